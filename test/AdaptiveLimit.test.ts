import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as AdaptiveLimit from "../src/AdaptiveLimit.ts"
import type * as Bulkhead from "../src/Bulkhead.ts"
import { next, type Sample, type State } from "../src/internal/gradientLimit.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { NetworkError, ProviderError } from "../src/ProviderError.ts"

const settings = { min: 4, max: 200, tolerance: 1.5, smoothing: 0.2 }

/** A provider that works on `capacity` calls at once; more only wait there. */
const latencyOf = (capacity: number) => (inFlight: number): number => 100 * Math.max(1, inFlight / capacity)

/** As many windows of more demand than the limit allows. */
const run = (windows: number, state: State, latency: (inFlight: number) => number): State => {
  for (let i = 0; i < windows; i++) {
    const inFlight = Math.floor(state.limit)
    state = next(state, { meanMillis: latency(inFlight), inFlight, dropped: false }, settings)
  }
  return state
}

it("grows to what the provider bears and not far beyond it", () => {
  for (const capacity of [10, 40, 100]) {
    const { limit } = run(200, { limit: 8, baseMillis: Infinity }, latencyOf(capacity))
    assert.isAtLeast(limit, capacity)
    assert.isAtMost(limit, capacity * 3)
  }
})

it("shrinks when the provider bears less, and recovers", () => {
  const well = run(100, { limit: 8, baseMillis: Infinity }, latencyOf(100))
  const browned = run(15, well, latencyOf(10))
  assert.isBelow(browned.limit, well.limit / 2)
  assert.isAbove(run(300, browned, latencyOf(100)).limit, well.limit * 0.7)
})

it("shrinks when calls are turned away, and stays when the limit is not used", () => {
  const state = { limit: 50, baseMillis: 100 }
  assert.strictEqual(next(state, { meanMillis: 100, inFlight: 50, dropped: true }, settings).limit, 45)
  const quick = next(state, { meanMillis: 1, inFlight: 50, dropped: true }, settings)
  assert.deepStrictEqual(quick, { limit: 45, baseMillis: 100 }, "a quick refusal is no latency")
  assert.strictEqual(next(state, { meanMillis: 100, inFlight: 10, dropped: false }, settings).limit, 50)
})

it.prop("never leaves its bounds", {
  samples: Schema.Array(Schema.Struct({
    meanMillis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 })),
    inFlight: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 })),
    dropped: Schema.Boolean
  })).check(Schema.isMaxLength(50))
}, ({ samples }) => {
  let state: State = { limit: 20, baseMillis: Infinity }
  for (const sample of samples satisfies ReadonlyArray<Sample>) {
    state = next(state, sample, settings)
    assert.isAtLeast(state.limit, 4)
    assert.isAtMost(state.limit, 200)
    assert.isFalse(Number.isNaN(state.baseMillis))
  }
})

it("a provider that answers within the clock's millisecond keeps its limit, and is no measure for ever", () => {
  const quick = run(100, { limit: 20, baseMillis: Infinity }, () => 0)
  assert.strictEqual(quick.limit, 200)
  assert.isAbove(run(100, quick, () => 1).limit, 190)
  // What was 0 ms long at best can become slower for good like any other.
  assert.isBelow(run(40, quick, () => 10).limit, 20)
  assert.isAbove(run(3_000, quick, () => 10).limit, 190)
})

it("a window that leaves the limit unused says nothing of the latency either", () => {
  const state = { limit: 20, baseMillis: Infinity }
  const quiet = next(state, { meanMillis: 2, inFlight: 1, dropped: false }, settings)
  assert.deepStrictEqual(quiet, state)
  assert.isAbove(run(20, quiet, () => 100).limit, 20)
})

/** Where the limit stands each second of 20, with the latency at 2 s from the 8th on; 30 callers that never rest. */
const course = (call: (work: Effect.Effect<void>) => Effect.Effect<void, unknown>, limit: Bulkhead.Service) =>
  Effect.gen(function*() {
    let millis = 100
    const work = Effect.suspend(() => Effect.sleep(millis))
    for (let i = 0; i < 30; i++) yield* Effect.forkChild(Effect.forever(call(work)))
    const seen: Array<number> = []
    for (let second = 0; second < 20; second++) {
      if (second === 8) millis = 2_000
      yield* TestClock.adjust("1 second")
      seen.push((yield* limit.stats).limit)
    }
    return seen
  })

const roomy = { queue: 1_000, maxWait: "1 hour" } as const

for (const timeout of [undefined, "10 seconds"] as const) {
  it.effect(`moves in a pipeline as it does alone (${timeout === undefined ? "in place" : "apart"})`, () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minute")
      const limit = yield* AdaptiveLimit.make(roomy)
      const alone = yield* course(limit.withPermit(), limit)
      const bulkhead = yield* AdaptiveLimit.make(roomy)
      const pipeline = yield* Pipeline.make({ provider: "p", bulkhead, timeout })
      const seen = yield* course(pipeline.protect({ operation: "o" }), bulkhead)
      assert.isAbove(seen[7]!, 25)
      assert.isBelow(seen[19]!, seen[7]!)
      assert.deepStrictEqual(seen, alone)
    }))
}

it.effect("in a pipeline a failure that is overload shrinks the limit; a refusal and an interruption say nothing", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 minute")
    const bulkhead = yield* AdaptiveLimit.make({
      initial: 50,
      isOverload: (error) => error instanceof ProviderError && error.reason._tag === "TimeoutError"
    })
    const { protect } = yield* Pipeline.make({ provider: "p", bulkhead, timeout: "2 seconds", breaker: true })
    const call = { operation: "o" }
    const interrupted = yield* Effect.never.pipe(protect(call), Effect.forkChild({ startImmediately: true }))
    yield* Fiber.interrupt(interrupted)
    const reset = new NetworkError({ message: "reset", rule: "test", delivered: "unknown" })
    yield* Effect.fail(new ProviderError({ provider: "p", operation: "o", reason: reset })).pipe(
      protect(call),
      Effect.exit
    )
    yield* Effect.sleep("1 second").pipe(protect(call), Effect.forkChild({ startImmediately: true }))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* bulkhead.stats).limit, 50)
    yield* Effect.never.pipe(protect(call), Effect.exit, Effect.forkChild({ startImmediately: true }))
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual((yield* bulkhead.stats).limit, 45)
  }))

for (const timeout of [undefined, "10 seconds"] as const) {
  it.effect(`an isOverload that throws takes no permit from a pipeline (${timeout === undefined ? "in place" : "apart"})`, () =>
    Effect.gen(function*() {
      const bulkhead = yield* AdaptiveLimit.make({
        isOverload: () => {
          throw new Error("bug")
        }
      })
      const { protect } = yield* Pipeline.make({ provider: "p", bulkhead, timeout })
      const reset = new NetworkError({ message: "reset", rule: "test", delivered: "unknown" })
      const failure = new ProviderError({ provider: "p", operation: "o", reason: reset })
      const call = yield* Effect.forkChild(Effect.flip(Effect.fail(failure).pipe(protect({ operation: "o" }))))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(call), failure)
      assert.strictEqual((yield* bulkhead.stats).running, 0)
      assert.strictEqual(yield* Effect.flip(Effect.fail(failure).pipe(bulkhead.withPermit())), failure)
      assert.strictEqual((yield* bulkhead.stats).running, 0)
    }))
}

it.effect("other options leave the limit where it is, and one that is given is where it goes on from", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 minute")
    const limit = yield* AdaptiveLimit.make({ max: 30 })
    yield* limit.configure({ queue: 10 })
    assert.strictEqual((yield* limit.stats).limit, 20)
    yield* limit.configure({ limit: 25 })
    assert.strictEqual((yield* limit.stats).limit, 25)
    yield* limit.resize(10)
    for (let i = 0; i < 2; i++) {
      yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.sleep("1 second").pipe(limit.withPermit()), {
        concurrency: "unbounded"
      }).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("1 second")
    }
    assert.strictEqual((yield* limit.stats).limit, 10)
    assert.strictEqual((yield* Effect.flip(limit.resize(31))).field, "limit")
    assert.strictEqual((yield* Effect.flip(limit.configure({ limit: 3 }))).field, "limit")
    assert.strictEqual((yield* limit.stats).limit, 10)
  }))

it.effect("moves the limit of a running bulkhead with the latency of its calls", () =>
  Effect.gen(function*() {
    const limit = yield* AdaptiveLimit.make({ initial: 10, min: 2, queue: 1_000, maxWait: "1 hour" })
    const drive = Effect.fnUntraced(function*(millis: number) {
      const fiber = yield* Effect.forEach(
        Array.from({ length: 300 }),
        () => Effect.sleep(millis).pipe(limit.withPermit()),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)
    })
    yield* drive(100)
    const { limit: well } = yield* limit.stats
    assert.isAbove(well, 10)
    yield* drive(2_000)
    assert.isBelow((yield* limit.stats).limit, well)
    assert.strictEqual((yield* limit.stats).running, 0)
  }))
