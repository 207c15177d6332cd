import { assert, expectTypeOf, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { ProviderError, RateLimitError } from "../src/ProviderError.ts"
import * as RateLimit from "../src/RateLimit.ts"

/** A fork that has run up to its first wait. */
const fork = Effect.forkChild({ startImmediately: true })

it.effect("waits in the order of arrival, at the rate of the limit", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 10, burst: 2 })
    const starts: Array<readonly [number, number]> = []
    const fibers = yield* Effect.forEach([1, 2, 3, 4], (n) =>
      fork(Effect.map(Clock.currentTimeMillis, (now) => void starts.push([n, now])).pipe(limit.withLimit())))
    yield* TestClock.adjust("1 second")
    yield* Effect.forEach(fibers, Fiber.join)
    assert.deepStrictEqual(starts, [[1, 0], [2, 0], [3, 100], [4, 200]])
  }))

it.effect("refuses at once with the wait, where waiting is not wanted or would be too long", () =>
  Effect.gen(function*() {
    const refusing = yield* RateLimit.make({ name: "openai", limit: 1, window: "10 seconds", onLimit: "refuse" })
    yield* refusing.take()
    const refused = yield* Effect.flip(Effect.void.pipe(refusing.withLimit()))
    expectTypeOf(refused).toEqualTypeOf<RateLimit.RateLimited>()
    assert.strictEqual(Duration.toMillis(refused.retryAfter), 10_000)
    const waiting = yield* RateLimit.make({ limit: 1, window: "10 seconds", maxWait: "15 seconds" })
    yield* waiting.take()
    const first = yield* fork(waiting.take())
    const second = yield* Effect.flip(waiting.take())
    assert.strictEqual(Duration.toMillis(second.retryAfter), 20_000)
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(first)
    const hurried = yield* Effect.flip(waiting.take().pipe(Deadline.within("3 seconds")))
    assert.strictEqual(hurried._tag, "RateLimited")
  }))

it.effect("an interrupted waiter gives its place back: five of them do not delay the next", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 1, burst: 1 })
    yield* limit.take()
    const given = yield* Effect.forEach([1, 2, 3, 4, 5], () => fork(limit.take()))
    yield* Effect.forEach(given, Fiber.interrupt)
    const next = yield* fork(limit.take())
    yield* TestClock.adjust("999 millis")
    assert.isUndefined(next.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(next)
  }))

it.effect("nobody starts before what Retry-After says, those who wait already included", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 100, burst: 1 })
    yield* limit.take()
    const waiting = yield* fork(limit.take())
    yield* limit.holdUntil(5_000)
    yield* limit.holdUntil(2_000)
    yield* TestClock.adjust("4999 millis")
    assert.isUndefined(waiting.pollUnsafe())
    assert.strictEqual(yield* limit.available, 0)
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(waiting)
  }))

it.effect("learns from the provider's headers, in each of their forms", () =>
  Effect.gen(function*() {
    const cases: ReadonlyArray<readonly [RateLimit.HeadersLike, number]> = [
      [{ "x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s" }, 3],
      [new Headers({ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s" }), 0],
      [{ "ratelimit-remaining": "2", "ratelimit-reset": "30" }, 2],
      // Azure sends what makes no sense: -1 and nothing are not read.
      [{ "x-ratelimit-remaining-requests": "-1" }, 100],
      [{ "x-ratelimit-remaining-requests": "" }, 100],
      [{ "x-ratelimit-remaining": " " }, 100],
      [{ "ratelimit-remaining": "1e1" }, 100],
      // Tokens are no calls: only when there are none is there anything to wait for.
      [{ "x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "30s" }, 100],
      [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "30s" }, 0],
      [{ "retry-after": "30" }, 0],
      [{ "retry-after": "soon" }, 100],
      [{}, 100]
    ]
    for (const [headers, available] of cases) {
      const limit = yield* RateLimit.make({ limit: 100, burst: 100 })
      yield* limit.learn(headers)
      assert.strictEqual(yield* limit.available, available)
    }
    const held = yield* RateLimit.make({ limit: 100, burst: 100 })
    yield* held.learn({ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s" })
    const next = yield* Effect.flip(held.take())
    assert.strictEqual(Duration.toMillis(next.retryAfter), 62_000)
  }))

it.effect("a reset in epoch milliseconds is read as that, and one that is years away is not believed", () =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_741_305_500_000)
    const limit = yield* RateLimit.make({ limit: 100, onLimit: "refuse" })
    yield* limit.learn({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1741305600000" })
    assert.strictEqual(Duration.toMillis((yield* Effect.flip(limit.take())).retryAfter), 100_000)
    const unbelieving = yield* RateLimit.make({ limit: 100, onLimit: "refuse" })
    yield* unbelieving.learn({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999" })
    assert.strictEqual(unbelieving.core.heldFor(1_741_305_500_000), 0)
  }))

it.effect("sliding window, pacing and cost", () =>
  Effect.gen(function*() {
    const startsOf = Effect.fnUntraced(function*(options: RateLimit.Options, costs: ReadonlyArray<number>) {
      const limit = yield* RateLimit.make(options)
      const began = yield* Clock.currentTimeMillis
      const starts: Array<number> = []
      const fibers = yield* Effect.forEach(costs, (cost) =>
        fork(
          Effect.map(Clock.currentTimeMillis, (now) => void starts.push(now - began)).pipe(limit.withLimit({ cost }))
        ))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.forEach(fibers, Fiber.join)
      return starts
    })
    assert.deepStrictEqual(yield* startsOf({ limit: 2, algorithm: "sliding-window" }, [1, 1, 1, 2]), [
      0,
      0,
      1_000,
      2_000
    ])
    assert.deepStrictEqual(yield* startsOf({ limit: 4, algorithm: "pacing" }, [1, 1, 2, 1]), [0, 250, 500, 1_000])
  }))

it.effect("what can never be allowed is refused, and senseless options by name", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 2, algorithm: "sliding-window" })
    assert.isFalse(Duration.isFinite((yield* Effect.flip(limit.take({ cost: 3 }))).retryAfter))
    for (
      const [field, options] of [
        ["limit", {} as RateLimit.Options],
        ["limit", { limit: 0 }],
        ["limit", { limit: Number.MIN_VALUE }],
        ["window", { limit: 1, window: 0 }],
        ["burst", { limit: 1, burst: 2, algorithm: "pacing" }],
        ["limit", { limit: 1.5, algorithm: "sliding-window" }]
      ] as const
    ) {
      assert.strictEqual((yield* Effect.flip(RateLimit.make(options))).field, field)
    }
    // @ts-expect-error neither waiting nor refusing
    assert.strictEqual((yield* Effect.flip(RateLimit.make({ limit: 1, onLimit: "refused" }))).field, "onLimit")
    // @ts-expect-error no such algorithm
    assert.strictEqual((yield* Effect.flip(RateLimit.make({ limit: 1, algorithm: "leaky" }))).field, "algorithm")
  }))

/** Starts so many callers at once, and tells what has become of them whenever asked. */
const crowd = Effect.fnUntraced(function*(limit: RateLimit.Service, size: number) {
  const fibers = yield* Effect.forEach(Array.from({ length: size }), () => fork(limit.take()))
  return () => {
    const exits = fibers.map((fiber) => fiber.pollUnsafe())
    return {
      started: exits.filter((exit) => exit !== undefined && Exit.isSuccess(exit)).length,
      waiting: exits.filter((exit) => exit === undefined).length,
      refused: exits.filter((exit) => exit !== undefined && Exit.isFailure(exit)).length
    }
  }
})

it.effect("of a crowd only those are let in who start within maxWait, and all of them do", () =>
  Effect.gen(function*() {
    const cases: ReadonlyArray<readonly [RateLimit.Options, hold: number, started: number, waiting: number]> = [
      [{ limit: 1, algorithm: "pacing", maxWait: "3 seconds" }, 0, 1, 3],
      [{ limit: 1, algorithm: "token-bucket", maxWait: "10 seconds" }, 5_000, 0, 6],
      [{ limit: 1, algorithm: "pacing", maxWait: "10 seconds" }, 5_000, 0, 6],
      [{ limit: 10, algorithm: "sliding-window", maxWait: "1500 millis" }, 0, 10, 10],
      [{ limit: 10, algorithm: "sliding-window", maxWait: "1500 millis" }, 400, 0, 20]
    ]
    for (const [options, hold, started, waiting] of cases) {
      const limit = yield* RateLimit.make(options)
      const began = yield* Clock.currentTimeMillis
      if (hold > 0) yield* limit.holdUntil(began + hold)
      const counts = yield* crowd(limit, 200)
      const refused = 200 - started - waiting
      assert.deepStrictEqual(counts(), { started, waiting, refused })
      const next = yield* Effect.flip(limit.take())
      yield* TestClock.adjust(options.maxWait ?? 0)
      assert.deepStrictEqual(counts(), { started: started + waiting, waiting: 0, refused })
      // After what it was told there is room.
      yield* TestClock.setTime(began + Duration.toMillis(next.retryAfter))
      assert.isAtLeast(yield* limit.available, 1)
    }
  }))

it.effect("who waits for a limit that a throttle has cut starts within maxWait or is refused by then", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 50, algorithm: "adaptive", maxWait: "3 seconds" })
    yield* limit.take()
    yield* limit.feedback("Throttled")
    const after = yield* crowd(limit, 60)
    // The bucket holds 1.4 now, and 1.4 come each second.
    assert.deepStrictEqual(after(), { started: 1, waiting: 4, refused: 55 })
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(after().waiting, 0)
    const cut = yield* RateLimit.make({ limit: 10, burst: 1, algorithm: "adaptive", maxWait: "3 seconds" })
    const before = yield* crowd(cut, 31)
    assert.strictEqual(before().waiting, 30)
    yield* cut.feedback("Throttled")
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(before().waiting, 0)
    assert.isAbove(before().refused, 0)
    assert.strictEqual(cut.core.queued, 0)
  }))

it.effect("a hold refuses at once those in the queue who would wait too long now, and no others", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 1, maxWait: "10 seconds" })
    const counts = yield* crowd(limit, 11)
    yield* limit.holdUntil(5_000)
    yield* TestClock.adjust(0)
    assert.deepStrictEqual(counts(), { started: 1, waiting: 6, refused: 4 })
    yield* TestClock.adjust("10 seconds")
    assert.deepStrictEqual(counts(), { started: 7, waiting: 0, refused: 4 })
    const patient = yield* crowd(limit, 2)
    yield* limit.holdUntil(3_600_000)
    yield* TestClock.adjust(0)
    assert.deepStrictEqual(patient(), { started: 0, waiting: 0, refused: 2 })
    assert.strictEqual(limit.core.queued, 0)
  }))

it.effect("ten thousand who are put out of the queue or let in together do not grow the stack", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 10_000, maxWait: "10 seconds" })
    yield* limit.take({ cost: 10_000 })
    const counts = yield* crowd(limit, 10_000)
    yield* limit.holdUntil(5_000)
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(counts(), { started: 10_000, waiting: 0, refused: 0 })
    const held = yield* crowd(limit, 10_000)
    yield* limit.holdUntil(60_000)
    yield* TestClock.adjust(0)
    assert.deepStrictEqual(held(), { started: 0, waiting: 0, refused: 10_000 })
  }))

it.effect("a cost that is no number or below 0 is a defect and leaves the limit as it was, in a pipeline too", () =>
  Effect.gen(function*() {
    for (const algorithm of ["token-bucket", "adaptive", "sliding-window", "pacing"] as const) {
      const options: RateLimit.Options = { limit: 1, algorithm, onLimit: "refuse" }
      const limit = yield* RateLimit.make(options)
      const pipeline = yield* Pipeline.make({ provider: "p", breaker: true, rateLimit: options })
      for (const cost of [Number.NaN, -100, Infinity]) {
        const defects = [
          yield* Effect.catchDefect(limit.take({ cost }), Effect.succeed),
          yield* Effect.catchDefect(pipeline.protect({ operation: "call", cost })(Effect.void), Effect.succeed)
        ]
        for (const defect of defects) {
          assert.instanceOf(defect, InvalidOptions)
          assert.strictEqual(defect.field, "cost")
        }
      }
      for (const each of [limit, pipeline.rateLimit!]) assert.deepStrictEqual((yield* crowd(each, 10))().started, 1)
    }
  }))

it.effect("a sliding window counts a fraction of a call as a whole one", () =>
  Effect.gen(function*() {
    const limit = yield* RateLimit.make({ limit: 2, algorithm: "sliding-window", onLimit: "refuse" })
    yield* limit.take({ cost: 0.5 })
    yield* limit.take({ cost: 0.5 })
    assert.strictEqual(Duration.toMillis((yield* Effect.flip(limit.take({ cost: 0.5 }))).retryAfter), 1_000)
    limit.core.limiter.untake(0.5)
    assert.strictEqual(yield* limit.available, 1)
  }))

it.effect("when the clock is set back, what was left to wait is left to wait", () =>
  Effect.gen(function*() {
    for (const algorithm of ["token-bucket", "adaptive", "sliding-window", "pacing"] as const) {
      yield* TestClock.setTime(7_200_000)
      const limit = yield* RateLimit.make({ limit: 1, algorithm, maxWait: "2 seconds" })
      yield* limit.take()
      yield* TestClock.setTime(3_600_000)
      const next = yield* fork(limit.take())
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(next.pollUnsafe(), algorithm)
      yield* TestClock.adjust("1 millis")
      assert.isDefined(next.pollUnsafe(), algorithm)
      yield* limit.holdUntil(3_600_000 + 10_000)
      yield* TestClock.setTime(1_000)
      const held = yield* Effect.flip(limit.take())
      assert.strictEqual(Duration.toMillis(held.retryAfter), 9_000, algorithm)
      assert.strictEqual(limit.core.heldFor(1_000), 9_000, algorithm)
    }
  }))

it.effect("when the clock is set back, whoever waits has the patience that was left", () =>
  Effect.gen(function*() {
    yield* TestClock.setTime(7_200_000)
    const limit = yield* RateLimit.make({ limit: 1, maxWait: "2 seconds" })
    yield* limit.take()
    const patient = yield* fork(limit.take())
    yield* TestClock.setTime(3_600_000)
    yield* limit.holdUntil(3_600_000 + 1_500)
    assert.isUndefined(patient.pollUnsafe())
    yield* limit.holdUntil(3_600_000 + 2_500)
    assert.instanceOf(yield* Effect.flip(Fiber.join(patient)), RateLimit.RateLimited)
  }))

it.effect(
  "interruption law: whatever is interrupted, those who stay start as if the others had not come",
  () =>
    Effect.gen(function*() {
      for (let seed = 0; seed < 1_000; seed++) {
        yield* Effect.gen(function*() {
          const limit = yield* RateLimit.make({ limit: 100, burst: 1 })
          const began = yield* Clock.currentTimeMillis
          const starts: Array<number> = []
          const fibers: Array<Fiber.Fiber<void, unknown>> = []
          const interrupted = new Set<Fiber.Fiber<void, unknown>>()
          for (let i = 0; i < 8; i++) {
            fibers.push(
              yield* fork(
                Effect.flatMap(limit.take(), () =>
                  Effect.map(Clock.currentTimeMillis, (now) => void starts.push(now - began)))
              )
            )
            if (yield* Random.nextBoolean) {
              yield* TestClock.adjust(yield* Random.nextIntBetween(0, 15))
            }
            if (yield* Random.nextBoolean) {
              const victim = fibers[yield* Random.nextIntBetween(0, fibers.length - 1)]
              if (victim !== undefined) {
                victim.interruptUnsafe()
                interrupted.add(victim)
              }
            }
          }
          yield* TestClock.adjust("1 second")
          yield* Effect.forEach(fibers, Fiber.await)
          assert.strictEqual(limit.core.queued, 0, `seed ${seed}`)
          assert.isAtLeast(starts.length, fibers.length - interrupted.size, `seed ${seed}`)
          // No faster than the limit, and nobody waits for one who left.
          for (let i = 1; i < starts.length; i++) {
            assert.isAtLeast(starts[i]! - starts[i - 1]!, 10, `seed ${seed}`)
          }
          assert.isAtMost(starts.at(-1) ?? 0, 8 * 15 + 8 * 10, `seed ${seed}`)
          assert.strictEqual(yield* limit.available, 1, `seed ${seed}`)
        }).pipe(Random.withSeed(seed))
      }
    }),
  30_000
)

/** A server that bears `bears` calls a second, each answered after 50 ms, and tells those beyond that they are too many. */
const throttling = (bears: number) => {
  const refusal = new ProviderError({
    provider: "busy",
    operation: "call",
    reason: new RateLimitError({ message: "too many", rule: "test", delivered: "no" })
  })
  const counts = { answered: 0, refused: 0 }
  let tokens = bears
  let at: number | undefined
  const call = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    tokens = Math.min(bears, tokens + (now - (at ?? now)) * bears / 1_000)
    at = now
    const served = tokens >= 1
    if (served) tokens--
    counts[served ? "answered" : "refused"]++
    yield* Effect.sleep("50 millis")
    if (!served) yield* refusal
  })
  return { call, counts }
}

it.effect("an adaptive limit converges near what a throttling server bears, in a pipeline and alone", () =>
  Effect.gen(function*() {
    const options: RateLimit.Options = { limit: 1_000, algorithm: "adaptive" }
    const pipeline = yield* Pipeline.make({ provider: "busy", rateLimit: options })
    const alone = yield* RateLimit.make(options)
    const ways = [pipeline.protect({ operation: "call" }), alone.withLimit()] as const
    for (const way of ways) {
      const { call, counts } = throttling(20)
      const clients = yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => fork(Effect.forever(Effect.exit(way(call))))
      )
      yield* TestClock.adjust("10 seconds")
      counts.answered = counts.refused = 0
      yield* TestClock.adjust("20 seconds")
      yield* Effect.forEach(clients, Fiber.interrupt)
      assert.approximately(counts.answered / 20, 20, 2)
      assert.isAtMost(counts.refused / 20, 1)
    }
  }))

it.effect("what was not throttled says nothing, and a limit that does not adapt is not told", () =>
  Effect.gen(function*() {
    const options: RateLimit.Options = {
      limit: 10,
      burst: 4,
      algorithm: "adaptive",
      isThrottle: (error) => error === "slow"
    }
    const limit = yield* RateLimit.make(options)
    yield* Effect.exit(limit.withLimit()(Effect.fail("broken")))
    assert.strictEqual(yield* limit.available, 3)
    yield* Effect.exit(limit.withLimit()(Effect.fail("slow")))
    // Two calls in the first half second are four a second; 0.7 of that is the bucket now.
    assert.strictEqual(yield* limit.available, 2)
    yield* limit.feedback("Throttled")
    assert.strictEqual(yield* limit.available, 2)
    const throwing = yield* RateLimit.make({
      ...options,
      isThrottle: () => {
        throw new Error("asked in vain")
      }
    })
    assert.deepStrictEqual(yield* Effect.exit(throwing.withLimit()(Effect.fail("slow"))), Exit.fail("slow"))
    assert.strictEqual(yield* throwing.available, 3)
    const fixed = yield* RateLimit.make({ limit: 10, burst: 4 })
    yield* fixed.feedback("Throttled")
    assert.strictEqual(yield* fixed.available, 4)
    const error = yield* Effect.flip(RateLimit.make({ limit: 10, burst: 0, algorithm: "adaptive" }))
    assert.strictEqual(error.field, "burst")
  }))
