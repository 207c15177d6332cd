import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Limiter, pacing, slidingWindow, tokenBucket } from "../../src/internal/rateLimitCore.ts"

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

it.prop("a clock that goes back never lets more through than the rate and the burst", {
  moves: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: -300, maximum: 300 }))).check(
    Schema.isMaxLength(100)
  )
}, ({ moves }) => {
  const bucket = tokenBucket(1 / 100, 3)
  let now = 1_000
  // The bucket's own time begins with its first reading.
  bucket.wait(1, now)
  let latest = now
  let taken = 0
  for (const move of moves) {
    now += move
    latest = Math.max(latest, now)
    while (bucket.wait(1, now) === 0) {
      bucket.take(1, now)
      taken++
    }
  }
  assert.isAtMost(taken, 3 + (latest - 1_000) / 100)
})
