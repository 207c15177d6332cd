import { assert, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber, Layer, Metric, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Event from "../src/Event.ts"
import * as Health from "../src/Health.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import { AuthenticationError, NetworkError, ProviderError, type ReasonTag } from "../src/ProviderError.ts"
import * as Telemetry from "../src/Telemetry.ts"

const telemetry = Telemetry.layer().pipe(
  Layer.provide(Layer.sync(Metric.MetricRegistry, () => new Map()))
)

const run = <A, E>(
  options: Health.Options,
  test: Effect.Effect<A, E, Health.Health | Telemetry.Measurements | Event.EventLog>
) =>
  test.pipe(
    Effect.provide(
      Health.Health.layer(options).pipe(Layer.provideMerge(Layer.mergeAll(telemetry, Event.EventLog.layer())))
    )
  )

const states = (verdicts: ReadonlyArray<Health.Verdict>) => verdicts.map(({ state }) => state)

const record = Effect.fnUntraced(function*(
  provider: string,
  counts: { readonly ok?: number; readonly failed?: number; readonly reason?: ReasonTag }
) {
  const now = yield* Clock.currentTimeMillis
  const recorder = (yield* Telemetry.Telemetry)!.recorder(provider, "search")
  for (let i = 0; i < (counts.ok ?? 0); i++) {
    recorder.begin(now)
    recorder.end("success", 5, now)
  }
  for (let i = 0; i < (counts.failed ?? 0); i++) {
    recorder.begin(now)
    recorder.error(counts.reason ?? "NetworkError", now)
    recorder.end("failure", 5, now)
  }
})

const down = new ProviderError({
  provider: "openai",
  operation: "health",
  reason: new NetworkError({ message: "sk-secret", rule: "test", delivered: "no" })
})

const circuit = (state: Health.Circuit["state"], waitMillis = 0) =>
  Effect.succeed({ state, retryAfter: Duration.millis(waitMillis) })

it.effect("is healthy with nothing known, and a provider without credentials is not unhealthy", () =>
  run(
    {
      providers: [{ name: "openai", configured: false }, { name: "neon" }],
      services: [{ name: "unified", providers: ["openai", "neon"] }]
    },
    Effect.gen(function*() {
      const verdicts = yield* (yield* Health.Health).check()
      assert.deepStrictEqual(verdicts.map(({ name, state }) => [name, state]), [
        ["openai", "NotConfigured"],
        ["neon", "Healthy"],
        ["unified", "Healthy"]
      ])
      assert.isTrue(Health.canAnswer(verdicts))
    })
  ))

it.effect("shows a dead primary though the second answers", () =>
  run(
    {
      providers: [{ name: "openai", circuit: circuit("Open", 4_200) }, { name: "neon" }],
      services: [{ name: "unified", providers: ["openai", "neon"] }]
    },
    Effect.gen(function*() {
      const [unified, openai, neon] = yield* (yield* Health.Health).check(["unified", "openai", "neon"])
      assert.deepStrictEqual(states([unified!, openai!, neon!]), ["Degraded", "Failed", "Healthy"])
      assert.deepStrictEqual(unified?.reasons, ["openai is down: its circuit is open for another 5 s"])
    })
  ))

it.effect("has failed when every provider has", () =>
  run(
    {
      providers: [{ name: "openai", circuit: circuit("Open", 1) }, { name: "neon", circuit: circuit("ForcedOpen") }],
      services: [{ name: "unified", providers: ["openai", "neon"] }]
    },
    Effect.gen(function*() {
      const verdicts = yield* (yield* Health.Health).check()
      assert.deepStrictEqual(states(verdicts), ["Failed", "Failed", "Failed"])
      assert.isFalse(Health.canAnswer(verdicts))
    })
  ))

it.effect("a service none of whose providers takes part has failed, and says why", () =>
  run(
    { providers: [{ name: "openai", configured: false }], services: [{ name: "unified", providers: ["openai"] }] },
    Effect.gen(function*() {
      const [unified] = yield* (yield* Health.Health).check(["unified"])
      assert.deepInclude(unified, { state: "Failed", reasons: ["none of its providers takes part"] })
    })
  ))

it.effect("judges a circuit by its state", () =>
  run(
    {
      providers: (["Closed", "Disabled", "HalfOpen", "ReadyToProbe", "Open", "ForcedOpen"] as const).map((state) => ({
        name: state,
        circuit: circuit(state)
      }))
    },
    Effect.gen(function*() {
      const verdicts = yield* (yield* Health.Health).check()
      assert.deepStrictEqual(states(verdicts), ["Healthy", "Healthy", "Degraded", "Degraded", "Failed", "Failed"])
    })
  ))

it.effect("judges by the outcomes of the last minutes, and forgets them", () =>
  run(
    { providers: [{ name: "openai" }] },
    Effect.gen(function*() {
      const check = Effect.map((yield* Health.Health).check(), ([verdict]) => verdict?.state)
      yield* record("openai", { ok: 20, failed: 2 })
      assert.strictEqual(yield* check, "Healthy")
      yield* record("openai", { failed: 1 })
      assert.strictEqual(yield* check, "Degraded")
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* check, "Healthy")
      yield* record("openai", { failed: 3, reason: "AuthenticationError" })
      assert.strictEqual(yield* check, "Failed")
    })
  ))

it.effect("holds nothing against a provider that refuses bad requests", () =>
  run(
    { providers: [{ name: "openai" }] },
    Effect.gen(function*() {
      yield* record("openai", { failed: 50, reason: "InvalidRequestError" })
      assert.deepStrictEqual(states(yield* (yield* Health.Health).check()), ["Healthy"])
    })
  ))

it.effect("a lower service level is degraded", () =>
  run(
    {
      providers: [{ name: "neon" }],
      services: [{ name: "unified", providers: ["neon"], level: Effect.succeed({ rank: 2, name: "Basic" }) }]
    },
    Effect.gen(function*() {
      const [unified] = yield* (yield* Health.Health).check(["unified"])
      assert.deepInclude(unified, { state: "Degraded", reasons: ["service level is Basic"] })
    })
  ))

it.effect("a probe asks once for many, keeps its answer, and shows no provider's words", () =>
  Effect.gen(function*() {
    const calls = yield* Ref.make(0)
    const gate = yield* Deferred.make<void>()
    const probe = Ref.update(calls, (n) => n + 1).pipe(
      Effect.andThen(Deferred.await(gate)),
      Effect.andThen(Effect.fail(down))
    )
    yield* run(
      { providers: [{ name: "openai", probe }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        const fiber = yield* Effect.forkChild(Effect.all([health.probe(), health.probe()], { concurrency: 2 }))
        yield* Effect.yieldNow
        yield* Deferred.succeed(gate, undefined)
        const [first, second] = yield* Fiber.join(fiber)
        assert.deepStrictEqual(first[0]?.reasons, ["did not answer when asked: NETWORK"])
        assert.deepStrictEqual(second, first)
        assert.strictEqual(yield* Ref.get(calls), 1)
        yield* TestClock.adjust("10 seconds")
        yield* health.probe()
        assert.strictEqual(yield* Ref.get(calls), 2)
        yield* health.check()
        assert.strictEqual(yield* Ref.get(calls), 2)
      })
    )
  }))

it.effect("a provider that hangs is down after the time allowed, though its probe ignores interruption", () =>
  Effect.forEach([Effect.never, Effect.uninterruptible(Effect.never)], (probe) =>
    run(
      { providers: [{ name: "openai", probe }] },
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild((yield* Health.Health).probe())
        yield* TestClock.adjust("5 seconds")
        const [verdict] = yield* Fiber.join(fiber)
        assert.deepInclude(verdict, { state: "Failed", reasons: ["did not answer when asked: TIMEOUT"] })
      })
    )))

it.effect("a probe that dies is a failed one, and a check that does ends no later ones", () =>
  Effect.gen(function*() {
    let asked = 0
    let broken = true
    const probe = Effect.suspend(() => {
      asked++
      return broken ? Effect.die("bug") : Effect.void
    })
    const circuit = Effect.suspend(() =>
      asked === 2 && broken
        ? Effect.die("bug")
        : Effect.succeed({ state: "Disabled", retryAfter: Duration.zero } as const)
    )
    yield* run(
      { providers: [{ name: "openai", probe, circuit }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        const [verdict] = yield* health.probe()
        assert.deepInclude(verdict, { state: "Failed", reasons: ["did not answer when asked: UNKNOWN"] })
        // The second probe dies, and so does the look at the circuit after it, once and for all.
        yield* TestClock.adjust("90 seconds")
        assert.strictEqual(asked, 2)
        broken = false
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(asked, 3)
        assert.deepStrictEqual(states(yield* health.check()), ["Healthy"])
      })
    )
  }))

it.effect("a probe's answer is not kept for longer on a clock that was set back", () =>
  Effect.gen(function*() {
    let asked = 0
    yield* TestClock.setTime(3_600_000)
    yield* run(
      { providers: [{ name: "openai", probe: Effect.sync(() => void asked++) }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        yield* health.probe()
        yield* TestClock.setTime(0)
        yield* health.probe()
        yield* health.probe()
        assert.strictEqual(asked, 2)
      })
    )
  }))

it.effect("scenario 50: finds out without traffic that a provider is back", () =>
  Effect.gen(function*() {
    const answers = yield* Ref.make(false)
    let circuitState: Health.Circuit = { state: "ReadyToProbe", retryAfter: Duration.zero }
    const probe = Effect.gen(function*() {
      if (!(yield* Ref.get(answers))) return yield* Effect.fail(down)
      circuitState = { state: "Closed", retryAfter: Duration.zero }
    })
    yield* run(
      { providers: [{ name: "openai", probe, circuit: Effect.sync(() => circuitState) }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(states(yield* health.check()), ["Failed"])
        yield* Ref.set(answers, true)
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(states(yield* health.check()), ["Healthy"])
        const told = (yield* (yield* Event.EventLog).history()).map(({ event }) =>
          event._tag === "HealthChanged" ? [event.service, event.healthy] : undefined
        )
        assert.deepStrictEqual(told, [["openai", false], ["openai", false], ["openai", true]])
      })
    )
  }))

it.effect("a probe that our own circuit refuses says nothing of the provider", () =>
  Effect.gen(function*() {
    let state: Health.Circuit = { state: "Open", retryAfter: Duration.seconds(5) }
    const probe = Effect.fail({ _tag: "CircuitOpen" } as const)
    yield* run(
      { providers: [{ name: "openai", probe, circuit: Effect.sync(() => state) }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        const [refused] = yield* health.probe()
        assert.deepInclude(refused, { state: "Failed", reasons: ["its circuit is open for another 5 s"] })
        state = { state: "Closed", retryAfter: Duration.zero }
        assert.deepStrictEqual(states(yield* health.check()), ["Healthy"])
      })
    )
  }))

it.effect("a probe that any other policy of ours refuses says nothing of the provider", () =>
  Effect.forEach(["BulkheadFull", "CallShed", "RateLimited"], (_tag) =>
    run(
      { providers: [{ name: "openai", probe: Effect.fail({ _tag }) }] },
      Effect.gen(function*() {
        const health = yield* Health.Health
        assert.deepStrictEqual(states(yield* health.probe()), ["Healthy"], _tag)
      })
    )))

it.effect("a call that succeeds after a probe failed shows that the provider is back", () =>
  run(
    { providers: [{ name: "openai", probe: Effect.fail(down) }] },
    Effect.gen(function*() {
      const health = yield* Health.Health
      yield* record("openai", { ok: 3 })
      assert.deepStrictEqual(states(yield* health.probe()), ["Failed"])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(states(yield* health.check()), ["Failed"])
      yield* record("openai", { ok: 1 })
      assert.deepStrictEqual(states(yield* health.check()), ["Healthy"])
    })
  ))

it.effect("a service on a provider that nobody knows, a name that two have and a time below zero are refused by name", () =>
  Effect.gen(function*() {
    const neon: Health.Provider = { name: "neon" }
    const refused: ReadonlyArray<readonly [field: string, options: Health.Options]> = [
      ["services.0.providers", { providers: [neon], services: [{ name: "unified", providers: ["neon", "noen"] }] }],
      ["services.0.name", { providers: [neon], services: [{ name: "neon", providers: ["neon"] }] }],
      ["providers.1.name", { providers: [neon, neon] }],
      ["recent", { providers: [neon], recent: "-1 minute" }],
      ["probeTimeout", { providers: [neon], probeTimeout: -1 }],
      ["degradedAt", { providers: [neon], degradedAt: NaN }]
    ]
    for (const [field, options] of refused) {
      const error = yield* Effect.flip(run(options, Health.Health))
      assert.instanceOf(error, InvalidOptions)
      assert.deepStrictEqual([error.module, error.field], ["Health", field])
    }
  }))

it.effect("leaves out names that nobody has", () =>
  run(
    { providers: [{ name: "neon" }] },
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* (yield* Health.Health).check(["bogus"]), [])
    })
  ))

it.effect("a probe that authentication refuses says so", () =>
  run(
    {
      providers: [{
        name: "openai",
        probe: Effect.fail(
          new ProviderError({
            provider: "openai",
            operation: "health",
            reason: new AuthenticationError({ message: "bad key", rule: "test", delivered: "yes" })
          })
        )
      }]
    },
    Effect.gen(function*() {
      const [verdict] = yield* (yield* Health.Health).probe()
      assert.deepInclude(verdict, { state: "Failed", reasons: ["did not answer when asked: AUTHENTICATION"] })
    })
  ))
