import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as AdaptiveLimit from "../src/AdaptiveLimit.ts"
import { next, type Sample, type State } from "../src/internal/gradientLimit.ts"

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
