import { assert, expectTypeOf, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import * as Event from "../src/Event.ts"
import * as FailurePredictor from "../src/FailurePredictor.ts"

const good = Effect.sleep("20 millis")
const bad = Effect.andThen(good, Effect.fail("down"))

/** So many calls, one every 400 ms. */
const calls = <A, E, R>(times: number, call: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const exits = []
    for (let i = 0; i < times; i++) {
      const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
      yield* TestClock.adjust("400 millis")
      exits.push(yield* Fiber.join(fiber))
    }
    return exits
  })

const refusals = (exits: ReadonlyArray<{ readonly _tag: string; readonly cause?: unknown }>) =>
  exits.filter((exit) => String(exit.cause).includes("CallShed")).length

it.effect("in shadow it tells of trouble and refuses nobody", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ name: "rates" })
    yield* calls(400, predictor.execute(good))
    assert.isFalse((yield* predictor.prediction).alarmed)
    const exits = yield* calls(20, predictor.execute(bad))
    const { alarmed, failureShare, probability, reason } = yield* predictor.prediction
    assert.deepStrictEqual([alarmed, reason], [true, "Failures"])
    assert.isAbove(probability, 0.99)
    assert.isAbove(failureShare, 0.4)
    assert.strictEqual(refusals(exits), 0)
  }))

it.effect("told to act it sheds a share, never all, and lets everybody in when calls go well again", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ name: "rates", mode: "shed" })
    assert.strictEqual(refusals(yield* calls(400, predictor.execute(good))), 0)
    yield* calls(10, predictor.execute(bad))
    const burst = (call: Effect.Effect<void, string>) =>
      Effect.gen(function*() {
        const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () =>
          Effect.forkChild(Effect.exit(predictor.execute(call)), { startImmediately: true }))
        yield* TestClock.adjust("400 millis")
        return yield* Effect.forEach(fibers, Fiber.join)
      })
    const shed = refusals(yield* burst(bad))
    assert.isAtLeast(shed, 80)
    assert.isAtMost(shed, 95)
    // A quiet client notices nothing.
    assert.strictEqual(refusals(yield* calls(200, predictor.execute(good))), 0)
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(refusals(yield* burst(good)), 0)
  }))

it.effect("a refusal carries when to come again, and is in the type", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ name: "rates", mode: "shed" })
    const call = predictor.execute(Effect.fail("down" as const))
    expectTypeOf(call).toEqualTypeOf<Effect.Effect<never, "down" | FailurePredictor.CallShed>>()
    expectTypeOf(predictor.observe(good)).toEqualTypeOf<Effect.Effect<void>>()
    yield* calls(400, predictor.execute(good))
    const errors = yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.flip(call))
    const shed = errors.filter((error) => error !== "down")
    assert.isAbove(shed.length, 10)
    assert.strictEqual(Duration.toMillis(shed[0]!.retryAfter), 100)
    assert.include(shed[0]!.message, "rates")
    // To a breaker around it, that is no failure of the provider.
    assert.isTrue(shed.every((error) => CircuitBreaker.classify(Effect.runSyncExit(Effect.fail(error))) === "Ignored"))
  }))

it.effect("interrupted calls, and what is ignored, say nothing", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ classify: () => "Ignored" })
    const judged = yield* FailurePredictor.make()
    yield* calls(400, judged.execute(good))
    const before = yield* judged.prediction
    const fibers = yield* Effect.forEach(
      Array.from({ length: 50 }),
      () => Effect.forkChild(judged.execute(Effect.never), { startImmediately: true })
    )
    yield* Effect.forEach(fibers, Fiber.interrupt)
    assert.deepStrictEqual(yield* judged.prediction, before)
    yield* calls(50, predictor.execute(bad))
    assert.strictEqual((yield* predictor.prediction).failureShare, 0)
  }))

it.effect("holds its alarms against the openings of a circuit", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ horizon: "1 minute" })
    const breaker = yield* CircuitBreaker.make({ failureThreshold: 10, failureRate: false, rampUp: 0 })
    yield* predictor.watch(breaker)
    const healthy = good.pipe(breaker.execute(), predictor.execute)
    const failing = bad.pipe(breaker.execute(), predictor.execute)
    yield* calls(400, healthy)
    assert.deepStrictEqual(yield* predictor.scorecard, {
      trips: 0,
      foreseen: 0,
      falseAlarms: 0,
      pending: false,
      precision: undefined,
      recall: undefined,
      medianLead: undefined
    })
    yield* calls(12, failing)
    const first = yield* predictor.scorecard
    assert.deepStrictEqual([first.trips, first.foreseen, first.precision, first.recall], [1, 1, 1, 1])
    // Between the third failure and the tenth.
    assert.isAtLeast(Duration.toMillis(first.medianLead!), 2_000)

    yield* TestClock.adjust("1 hour")
    yield* calls(300, healthy)
    // Failures that stay below what the breaker minds: an alarm for nothing.
    yield* calls(5, failing)
    assert.isTrue((yield* predictor.scorecard).pending)
    yield* TestClock.adjust("2 minutes")
    const second = yield* predictor.scorecard
    assert.deepStrictEqual([second.falseAlarms, second.precision, second.recall], [1, 0.5, 1])
  }).pipe(Effect.scoped))

it.effect("an outage is over when its circuit is forgotten", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.make({ horizon: "1 minute" })
    const breaker = yield* CircuitBreaker.make({
      failureThreshold: 3,
      failureRate: false,
      idleTimeToLive: "10 minutes"
    })
    yield* predictor.watch(breaker)
    for (const key of ["a", "b"]) {
      yield* calls(3, Effect.exit(bad.pipe(breaker.execute({ key }))))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* breaker.states, [])
    }
    assert.strictEqual((yield* predictor.scorecard).trips, 2)
  }).pipe(Effect.scoped))

it.effect("publishes its alarms as events and as a stream", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const predictor = yield* FailurePredictor.make({ name: "rates" }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    const changes = yield* Effect.forkChild(Stream.runCollect(Stream.take(predictor.changes, 2)), {
      startImmediately: true
    })
    yield* calls(400, predictor.execute(good))
    yield* calls(5, predictor.execute(bad))
    yield* TestClock.adjust("1 hour")
    yield* calls(1, predictor.execute(good))
    assert.deepStrictEqual(Array.from(yield* Fiber.join(changes), ({ alarmed }) => alarmed), [true, false])
    assert.deepStrictEqual(events.map((event) => event._tag === "Noted" ? event.message : ""), [
      "seems about to fail: more failures than usual",
      "is as usual again"
    ])
  }))

it.effect("watches gauges, each by its name, and takes calls measured elsewhere", () =>
  Effect.gen(function*() {
    const predictor = yield* FailurePredictor.FailurePredictor
    for (let i = 0; i < 100; i++) {
      assert.isBelow(yield* predictor.gauge("queue", 10 + i % 5), 0.5)
      yield* predictor.gauge("memory", 1e9)
    }
    assert.isAbove(yield* predictor.gauge("queue", 90), 0.5)
    assert.isBelow(yield* predictor.gauge("memory", Number.NaN), 0.5)
    for (let i = 0; i < 400; i++) yield* predictor.record(false, "20 millis")
    for (let i = 0; i < 20; i++) yield* predictor.record(false, "2 seconds")
    assert.strictEqual((yield* predictor.prediction).reason, "Latency")
    assert.isAbove((yield* predictor.prediction).latencyRatio, 10)
  }).pipe(Effect.provide(Layer.fresh(FailurePredictor.FailurePredictor.layer()))))

it.effect("refuses senseless options by name", () =>
  Effect.gen(function*() {
    for (
      const [options, field] of [[{ leastShare: 0 }, "leastShare"], [{ horizon: 0 }, "horizon"], [
        { memory: -1 },
        "memory"
      ]] as const
    ) {
      const error = yield* Effect.flip(FailurePredictor.make(options))
      assert.deepStrictEqual([error.module, error.field], ["FailurePredictor", field])
    }
  }))

it.effect("options that make no sense are refused by name", () =>
  Effect.gen(function*() {
    const fieldOf = (options: FailurePredictor.Options) =>
      Effect.map(Effect.flip(FailurePredictor.make(options)), ({ field }) => field)
    assert.strictEqual(yield* fieldOf({ mode: "shedding" as "shed" }), "mode")
    assert.strictEqual(yield* fieldOf({ leastShare: 0 }), "leastShare")
    assert.strictEqual(yield* fieldOf({ horizon: NaN }), "horizon")
  }))
