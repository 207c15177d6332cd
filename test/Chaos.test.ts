import { assert, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Exit, Fiber, Layer, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Chaos from "../src/Chaos.ts"
import * as Event from "../src/Event.ts"
import { draw } from "../src/internal/draw.ts"

const call = { provider: "openai", operation: "search" }

/** What a hundred calls of a plan come to: the category, or `ok`. */
const outcomes = Effect.fnUntraced(function*(plan: Chaos.FaultPlan, calls = 100) {
  const chaos = yield* Chaos.make
  yield* chaos.start(plan)
  return yield* Effect.forEach(
    Array.from({ length: calls }),
    () => Effect.succeed("ok").pipe(chaos.inject(call), Effect.catch((error) => Effect.succeed(error.category)))
  )
})

it.effect("strikes at its rate, and one seed strikes the same calls each time", () =>
  Effect.gen(function*() {
    const plan = (seed: number): Chaos.FaultPlan => ({
      seed,
      rules: [{ fault: { _tag: "Fail", reason: "RateLimitError", retryAfterMillis: 7_000 }, rate: 0.3 }]
    })
    const first = yield* outcomes(plan(1), 1_000)
    const struck = first.filter((outcome) => outcome === "RATE_LIMIT").length
    assert.isTrue(struck > 250 && struck < 350, String(struck))
    assert.deepStrictEqual(yield* outcomes(plan(1), 1_000), first)
    assert.notDeepEqual(yield* outcomes(plan(2), 1_000), first)
  }))

it.effect("keeps to where, when, how often, the blast radius and the stop rule", () =>
  Effect.gen(function*() {
    const fail: Chaos.Fault = { _tag: "Fail", reason: "NetworkError" }
    const struck = (plan: Chaos.FaultPlan) =>
      Effect.map(outcomes(plan), (all) => all.filter((outcome) => outcome !== "ok").length)
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail, provider: "neon" }] }), 0)
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail, operation: "add" }] }), 0)
    assert.strictEqual(
      yield* struck({ seed: 1, rules: [{ fault: fail, provider: "openai", operation: "search" }] }),
      100
    )
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail, times: 3 }] }), 3)
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail }], maxFaults: 5 }), 5)
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail }], blastRadius: 0.2 }), 20)
    assert.strictEqual(yield* struck({ seed: 1, rules: [{ fault: fail, fromMillis: 1 }] }), 0)
    const chaos = yield* Chaos.make
    yield* chaos.start({ seed: 1, rules: [{ fault: fail, fromMillis: 1_000, untilMillis: 2_000 }] })
    const strikes = Effect.map(Effect.exit(Effect.void.pipe(chaos.inject(call))), (exit) => exit._tag === "Failure")
    const seen: Array<boolean> = []
    for (let i = 0; i < 3; i++) {
      seen.push(yield* strikes)
      yield* TestClock.adjust("1 second")
    }
    assert.deepStrictEqual(seen, [false, true, false])
  }))

it.effect("does each kind of fault", () =>
  Effect.gen(function*() {
    const chaos = yield* Chaos.make
    let ran = 0
    const work = Effect.sync(() => {
      ran++
      return { hits: [1, 2, 3, 4], total: 4 }
    })
    const under = (fault: Chaos.Fault) =>
      Effect.andThen(chaos.start({ seed: 1, rules: [{ fault }] }), work.pipe(chaos.inject(call)))

    const failed = yield* Effect.flip(under({ _tag: "Fail", reason: "RateLimitError", retryAfterMillis: 7_000 }))
    assert.deepStrictEqual([failed.category, failed.reason.delivered, ran], ["RATE_LIMIT", "no", 0])
    assert.strictEqual(Duration.toMillis(failed.retryAfter ?? 0), 7_000)
    const reset = yield* Effect.flip(under({ _tag: "Reset" }))
    assert.deepStrictEqual([reset.category, reset.reason.delivered, ran], ["NETWORK", "unknown", 1])
    assert.strictEqual((yield* Effect.flip(under({ _tag: "Corrupt" }))).category, "UNKNOWN")
    assert.deepStrictEqual(yield* under({ _tag: "Partial", share: 0.5 }), { hits: [1, 2], total: 4 })

    yield* chaos.start({ seed: 1, rules: [{ fault: { _tag: "Skew", millis: -5_000 } }] })
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* Clock.currentTimeMillis.pipe(chaos.inject(call)), 5_000)

    const delayed = yield* Effect.forkChild(under({ _tag: "Delay", latency: { _tag: "Constant", millis: 300 } }), {
      startImmediately: true
    })
    yield* TestClock.adjust("299 millis")
    assert.isUndefined(delayed.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(delayed)
    const hung = yield* Effect.forkChild(under({ _tag: "Hang" }), { startImmediately: true })
    yield* TestClock.adjust("1 hour")
    assert.isUndefined(hung.pollUnsafe())
    yield* Fiber.interrupt(hung)
  }))

it.effect("a delay adds to the fault that follows", () =>
  Effect.gen(function*() {
    const chaos = yield* Chaos.make
    yield* chaos.start({
      seed: 1,
      rules: [
        { fault: { _tag: "Delay", latency: { _tag: "Constant", millis: 100 } } },
        { fault: { _tag: "Fail", reason: "TimeoutError" } }
      ]
    })
    const fiber = yield* Effect.forkChild(Effect.flip(Effect.void.pipe(chaos.inject(call))), { startImmediately: true })
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("100 millis")
    assert.strictEqual((yield* Fiber.join(fiber)).category, "TIMEOUT")
  }))

it.effect("a plan ends by itself, is visible while it runs and tells of its faults", () =>
  Effect.gen(function*() {
    const told: Array<Event.Event> = []
    const chaos = yield* Effect.provideService(Chaos.make, Event.Sink, (event) => void told.push(event))
    yield* chaos.start({ seed: 1, rules: [{ fault: { _tag: "Corrupt" }, times: 1 }] }, "1 minute")
    yield* Effect.exit(Effect.void.pipe(chaos.inject(call)))
    yield* Effect.void.pipe(chaos.inject(call))
    const running = Option.getOrThrow(yield* chaos.running)
    assert.deepStrictEqual([running.calls, running.faults, running.until], [2, 1, 60_000])
    assert.deepStrictEqual(told, [{ _tag: "ChaosInjected", at: 0, ...call, fault: "Corrupt" }])
    yield* TestClock.adjust("1 minute")
    assert.isTrue(Option.isNone(yield* chaos.running))
  }))

it.effect("refuses to build unless somebody opted in", () =>
  Effect.gen(function*() {
    const refused = yield* Effect.flip(Layer.build(Chaos.layer()))
    assert.deepStrictEqual([refused.module, refused.field], ["Chaos", "enabled"])
    const context = yield* Layer.build(Chaos.layer({ seed: 1, rules: [] }, { enabled: true }))
    assert.isDefined(Context.get(context, Chaos.Chaos))
  }))

it.effect("a plan that makes no sense is refused by the name of its field", () =>
  Effect.gen(function*() {
    const rule: Chaos.Rule = { fault: { _tag: "Hang" } }
    const refused: ReadonlyArray<readonly [field: string, plan: Chaos.FaultPlan]> = [
      // It would never strike.
      ["plan.rules.0.untilMillis", { seed: 1, rules: [{ ...rule, fromMillis: 2_000, untilMillis: 2_000 }] }],
      ["plan.rules.0.rate", { seed: 1, rules: [{ ...rule, rate: 30 }] }],
      ["plan.rules.0.rate", { seed: 1, rules: [{ ...rule, rate: NaN }] }],
      ["plan.blastRadius", { seed: 1, rules: [rule], blastRadius: 10 }],
      ["plan.seed", { seed: 1.5, rules: [rule] }]
    ]
    for (const [field, plan] of refused) {
      const built = Effect.scoped(Layer.build(Chaos.layer(plan, { enabled: true })))
      assert.deepInclude(yield* Effect.flip(built), { module: "Chaos", field })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Effect.flatMap(Chaos.make, (chaos) => chaos.start(plan)))))
    }
  }))

it.prop("every plan there is survives the way through JSON", { plan: Chaos.FaultPlan }, ({ plan }) => {
  const json = JSON.stringify(Schema.encodeSync(Chaos.FaultPlan)(plan))
  assert.strictEqual(JSON.stringify(Schema.decodeUnknownSync(Chaos.FaultPlan)(JSON.parse(json))), json)
})

it("latencies have the distribution they say", () => {
  const n = 20_000
  const values = (latency: Chaos.Latency) => Array.from({ length: n }, (_, i) => Chaos.sample(latency, draw(7, 0, i)))
  const mean = (all: ReadonlyArray<number>) => all.reduce((sum, value) => sum + value, 0) / n
  const quantile = (all: ReadonlyArray<number>, q: number) => all.toSorted((a, b) => a - b)[Math.floor(q * n)] ?? NaN
  assert.closeTo(mean(values({ _tag: "Exponential", mean: 100 })), 100, 3)
  assert.closeTo(mean(values({ _tag: "Uniform", from: 50, to: 150 })), 100, 2)
  const tail = values({ _tag: "LogNormal", median: 100, sigma: 0.5 })
  assert.closeTo(quantile(tail, 0.5), 100, 3)
  assert.closeTo(quantile(tail, 0.95), 100 * Math.exp(0.5 * 1.645), 10)
})
