import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  adaptive,
  type Limiter,
  pacing,
  RateLimitCore,
  slidingWindow,
  tokenBucket
} from "../../src/internal/rateLimitCore.ts"

/** Starts a call whenever the limit allows it and returns the starts within the time. */
const greedy = (limiter: Limiter, millis: number, cost = 1): ReadonlyArray<number> => {
  const starts: Array<number> = []
  for (let now = 0; now < millis;) {
    const wait = limiter.wait(cost, now)
    if (wait === 0) {
      limiter.take(cost, now)
      starts.push(now)
    } else now += wait
  }
  return starts
}

it("a token bucket allows a burst, then its rate", () => {
  const starts = greedy(tokenBucket(10 / 1_000, 5), 1_001)
  assert.deepStrictEqual(starts.slice(0, 7), [0, 0, 0, 0, 0, 100, 200])
  assert.lengthOf(starts, 15)
})

it("a token bucket does not gather more than its burst", () => {
  const bucket = tokenBucket(1, 3)
  bucket.take(3, 0)
  assert.strictEqual(bucket.available(1_000_000), 3)
})

it("pacing spreads calls evenly, keeps the pace over a clock's grain and makes up for nothing", () => {
  const pace = pacing(1_000 / 3)
  const starts = greedy(pace, 3_000)
  assert.deepStrictEqual(starts, [0, 334, 667, 1_000, 1_334, 1_667, 2_000, 2_334, 2_667])
  assert.strictEqual(pace.wait(1, 60_000), 0)
  pace.take(1, 60_000)
  assert.strictEqual(pace.wait(1, 60_000), 334)
})

it("a cost above 1 takes the place of as many calls", () => {
  assert.deepStrictEqual(greedy(slidingWindow(4, 1_000), 2_001, 2), [0, 0, 1_000, 1_000, 2_000, 2_000])
  assert.deepStrictEqual(greedy(pacing(100), 401, 2), [0, 200, 400])
  assert.deepStrictEqual(greedy(tokenBucket(1 / 100, 2), 401, 2), [0, 200, 400])
})

it("what was taken last can be taken back", () => {
  for (const limiter of [tokenBucket(1 / 100, 1), slidingWindow(1, 100), pacing(100)]) {
    assert.strictEqual(limiter.wait(1, 0), 0)
    limiter.take(1, 0)
    assert.strictEqual(limiter.wait(1, 0), 100)
    limiter.untake(1)
    assert.strictEqual(limiter.wait(1, 0), 0)
  }
})

it("what the provider says is left caps what is allowed", () => {
  for (const limiter of [tokenBucket(1 / 100, 10), slidingWindow(10, 1_000)]) {
    limiter.cap(2, 0)
    assert.strictEqual(limiter.available(0), 2)
    limiter.cap(50, 0)
    assert.strictEqual(limiter.available(0), 2)
  }
})

const Gap = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 }))

it.prop("a sliding window never allows more than its limit in any span", {
  gaps: Schema.Array(Gap).check(Schema.isMaxLength(200)),
  limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 }))
}, ({ gaps, limit }) => {
  const window = slidingWindow(limit, 1_000)
  const starts: Array<number> = []
  let now = 0
  for (const gap of gaps) {
    now += gap
    const inSpan = starts.filter((start) => start > now - 1_000).length
    const wait = window.wait(1, now)
    assert.strictEqual(wait === 0, inSpan < limit)
    if (wait === 0) {
      window.take(1, now)
      starts.push(now)
    } else {
      // Not a millisecond longer than needed.
      assert.isBelow(starts.filter((start) => start > now + wait - 1_000).length, limit)
      assert.strictEqual(starts.filter((start) => start > now + wait - 1 - 1_000).length, limit)
    }
  }
})

it("a sliding window of a billion takes what a call costs at once, and holds as little for it as for one", () => {
  const limit = 1_000_000_000
  const window = slidingWindow(limit, 1_000)
  window.take(limit - 2, 0)
  window.take(1.5, 10)
  assert.strictEqual(window.wait(limit - 2, 20), 980)
  assert.strictEqual(window.wait(limit - 1, 20), 990)
  assert.strictEqual(window.wait(1, 20, limit), 1_980)
  window.untake(2)
  assert.strictEqual(window.available(20), 2)
  window.untake(limit - 3)
  assert.strictEqual(window.wait(limit - 1, 20), 0)
  assert.strictEqual(window.wait(limit, 20), 980)
  window.cap(0, 30)
  assert.strictEqual(window.available(1_029), 1)
  assert.strictEqual(window.available(1_030), limit)
})

it.prop("a clock that goes back never lets more through than the rate and the burst", {
  moves: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: -300, maximum: 300 }))).check(
    Schema.isMaxLength(100)
  )
}, ({ moves }) => {
  for (const limiter of [tokenBucket(1 / 100, 3), slidingWindow(3, 300), pacing(100)]) {
    const core = new RateLimitCore(limiter)
    let now = 1_000
    let passed = 0
    let taken = 0
    for (const move of [0, ...moves]) {
      now += move
      passed += Math.max(0, move)
      while (core.tryTake(1, now)) taken++
      // Nor does anybody wait longer than on a clock that was never set back.
      assert.isAtMost(core.expectedWait(1, now), 300)
    }
    assert.isAtMost(taken, 3 + passed / 100)
  }
})

it.prop("who is told to wait behind others starts just then", {
  ahead: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
  used: Schema.Array(Gap).check(Schema.isMaxLength(8)),
  hold: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 }))
}, ({ ahead, hold, used }) => {
  for (
    const make of [
      () => tokenBucket(1 / 100, 3),
      () => adaptive(1 / 100, 3),
      () => slidingWindow(3, 1_000),
      () => pacing(100)
    ]
  ) {
    const core = new RateLimitCore(make())
    let now = 0
    for (const gap of used) core.tryTake(1, now += gap)
    core.holdUntil(now + hold, now)
    for (let i = 0; i < ahead; i++) core.enqueue({ cost: 1, latest: Infinity, turn: () => {} })
    const told = now + core.expectedWait(1, now)
    for (let i = 0; i < ahead; i++) {
      for (let wait = core.takeFirst(1, now); wait > 0; wait = core.takeFirst(1, now)) now += wait
    }
    for (let wait = core.takeFirst(1, now); wait > 0; wait = core.takeFirst(1, now)) now += wait
    assert.strictEqual(now, told)
  }
})

/** A server that bears `bears` calls a second and refuses the rest, answers after 50 ms, and a client that always wants more. */
const throttled = (limiter: Limiter, bears: number, demand: number, seconds: number, from = 0) => {
  const answers: Array<readonly [at: number, throttled: boolean]> = []
  let tokens = bears
  let answered = 0
  let refused = 0
  for (let now = from; now < from + seconds * 1_000; now++) {
    tokens = Math.min(bears, tokens + bears / 1_000)
    for (let due = answers[0]; due !== undefined && due[0] <= now; due = answers[0]) {
      answers.shift()
      limiter.feedback?.(due[1], now)
    }
    const wanted = Math.floor((now + 1) * demand / 1_000) - Math.floor(now * demand / 1_000)
    for (let i = 0; i < wanted && limiter.wait(1, now) === 0; i++) {
      limiter.take(1, now)
      const served = tokens >= 1
      if (served) tokens--
      answers.push([now + 50, !served])
      // The first ten seconds are for finding out.
      if (now - from < 10_000) continue
      if (served) answered++
      else refused++
    }
  }
  return { answered: answered / (seconds - 10), refused: refused / (seconds - 10) }
}

it("an adaptive limit converges near what a throttling server bears, whatever that is", () => {
  for (const [bears, demand] of [[2, 100], [5, 1_000], [20, 1_000], [20, 30], [100, 500]] as const) {
    const { answered, refused } = throttled(adaptive(1, 1_000), bears, demand, 60)
    assert.isAtLeast(answered, 0.9 * bears, `of ${bears}/s`)
    assert.isAtMost(refused, Math.max(0.5, 0.05 * bears), `of ${bears}/s`)
  }
  // The control: a fixed limit goes on being refused.
  assert.isAbove(throttled(tokenBucket(1, 1_000), 20, 1_000, 60).refused, 900)
})

it("an adaptive limit follows a server whose limit changes", () => {
  const limiter = adaptive(1, 1_000)
  assert.approximately(throttled(limiter, 50, 500, 40).answered, 50, 5)
  assert.approximately(throttled(limiter, 10, 500, 40, 40_000).answered, 10, 1.5)
  assert.approximately(throttled(limiter, 80, 500, 80, 80_000).answered, 80, 16)
})

it("one throttle leaves 0.7 of what was sent, and those of the same half second no less", () => {
  const limiter = adaptive(100 / 1_000, 100)
  for (let now = 0; now <= 2_000; now += 20) {
    assert.strictEqual(limiter.wait(1, now), 0)
    limiter.take(1, now)
    limiter.feedback?.(false, now)
  }
  assert.strictEqual(limiter.ratePerSecond(), 100)
  for (let i = 0; i < 20; i++) limiter.feedback?.(true, 2_000 + i)
  assert.approximately(limiter.ratePerSecond(), 35, 1)
  limiter.feedback?.(true, 2_600)
  assert.isBelow(limiter.ratePerSecond(), 30)
})

it.prop(
  "an adaptive limit's rate stays between half a call a second and its limit, whatever comes, on any clock",
  {
    steps: Schema.Array(Schema.Struct({
      passed: Schema.Int.check(Schema.isBetween({ minimum: -2_000, maximum: 5_000 })),
      kind: Schema.Literals(["take", "untake", "throttled", "answered"]),
      cost: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30 }))
    }))
  },
  ({ steps }) => {
    const limiter = adaptive(20 / 1_000, 20)
    let now = 1_000_000
    let last = 0
    for (const { cost, kind, passed } of steps) {
      now += passed
      if (kind === "take" && limiter.wait(cost, now) === 0) limiter.take(last = cost, now)
      if (kind === "untake") limiter.untake(last)
      if (kind === "untake") last = 0
      if (kind === "throttled" || kind === "answered") limiter.feedback?.(kind === "throttled", now)
      assert.isTrue(limiter.ratePerSecond() >= 0.5 && limiter.ratePerSecond() <= 20)
      const wait = limiter.wait(cost, now)
      assert.isTrue(Number.isFinite(wait) && wait >= 0)
    }
    // A call dearer than what the bucket holds now is granted all the same.
    assert.strictEqual(limiter.wait(20, now + 1_000_000), 0)
  }
)
