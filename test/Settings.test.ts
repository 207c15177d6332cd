import { assert, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Event from "../src/Event.ts"
import * as FaultTolerance from "../src/FaultTolerance.ts"
import { circuitSettings } from "../src/internal/circuitOptions.ts"
import { initial } from "../src/internal/circuitState.ts"
import { at, isObject, leaves, merge } from "../src/internal/settingsForm.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import * as presets from "../src/presets.ts"
import * as ResponseCache from "../src/ResponseCache.ts"
import * as Retry from "../src/Retry.ts"
import * as Settings from "../src/Settings.ts"

class Store extends Context.Service<Store, {
  readonly get: (id: string) => Effect.Effect<string, { readonly status: number }>
}>()("test/Store") {}

/** A provider that answers as told. */
interface Told extends FaultTolerance.Provider<Store, typeof Store.Service> {
  calls: number
  answer: Effect.Effect<string, { readonly status: number }>
}
const provider = (name: string): Told => {
  const self = { calls: 0, answer: Effect.succeed(name) as Effect.Effect<string, { readonly status: number }> }
  return Object.assign(self, {
    name,
    service: {
      get: () =>
        Effect.suspend(() => {
          self.calls++
          return self.answer
        })
    }
  })
}
const down = Effect.fail({ status: 503 })
const use = (store: typeof Store.Service) => store.get("1")

/** A service that takes what it is told, or does not. */
const target = (service: string, options: Partial<Settings.Target["options"]> = {}) => {
  const self = {
    service,
    options: { service, ...options },
    providers: [{ name: "a" }, { name: "b" }],
    told: [] as Array<FaultTolerance.Changes>,
    refuses: (_changes: FaultTolerance.Changes): boolean => false,
    reconfigure: (changes: FaultTolerance.Changes): Effect.Effect<void, InvalidOptions> =>
      Effect.suspend(() => {
        if (self.refuses(changes)) {
          return Effect.fail(new InvalidOptions({ module: "test", field: "breaker.jitter", why: "must not be" }))
        }
        self.told.push(changes)
        return Effect.void
      })
  }
  return self
}

const patchOf = (settings: unknown) => ({ services: { store: settings } })
const refusal = (self: Effect.Effect<unknown, Settings.InvalidSettings>) =>
  Effect.map(Effect.flip(self), ({ problems }) => problems)

it.effect("scenario 19: 11 retries or a base delay of 50 ms is a typed error that names the field", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({ services: [target("store")] })
    const error = yield* Effect.flip(settings.patch(patchOf({ retryConfig: { maxRetries: 11, baseDelayMs: 50 } })))
    assert.instanceOf(error, Settings.InvalidSettings)
    assert.deepStrictEqual(error.problems, [
      { field: "services.store.retryConfig.maxRetries", message: "must be a whole number, from 0 to 10, not 11" },
      {
        field: "services.store.retryConfig.baseDelayMs",
        message: "must be a duration, from 100 to 30000 ms, not 50 ms"
      }
    ])
    assert.include(error.message, "retryConfig.maxRetries must be a whole number")
  }))

it.effect("holds every setting of the specification to its range, at both ends", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({ services: [target("store", { deadline: "10 minutes", cache: {} })] })
    const ranges: ReadonlyArray<readonly [section: string, field: string, min: number, max: number, below: number]> = [
      ["retryConfig", "maxRetries", 0, 10, -1],
      ["retryConfig", "baseDelayMs", 100, 30_000, 99],
      ["retryConfig", "maxDelayMs", 1_000, 60_000, 999],
      ["retryConfig", "backoffMultiplier", 1, 10, 0.9],
      ["retryConfig", "jitterFactor", 0, 1, -0.1],
      ["retryConfig", "timeoutMs", 1_000, 300_000, 999],
      ["circuitBreakerConfig", "failureThreshold", 1, 100, 0],
      ["circuitBreakerConfig", "recoveryTimeoutMs", 5_000, 300_000, 4_999],
      ["circuitBreakerConfig", "monitorWindowMs", 10_000, 600_000, 9_999],
      ["circuitBreakerConfig", "minimumThroughput", 1, 1_000, 0],
      ["circuitBreakerConfig", "successThreshold", 1, 10, 0],
      ["fallbackConfig", "cacheRetentionMs", 60_000, 86_400_000, 59_999],
      ["fallbackConfig", "maxCacheSize", 100, 10_000, 99],
      ["fallbackConfig", "fallbackTimeoutMs", 1_000, 30_000, 999],
      ["fallbackConfig", "partialResultsThreshold", 0, 1, -0.1]
    ]
    for (const [section, field, min, max, below] of ranges) {
      for (const value of [min, max]) {
        // So that the rules between fields do not speak.
        const room = field === "baseDelayMs"
          ? { maxDelayMs: 60_000 }
          : field === "maxDelayMs"
          ? { baseDelayMs: 100 }
          : {}
        yield* settings.patch(patchOf({ [section]: { ...room, [field]: value } }))
      }
      for (const value of [below, max + 1]) {
        const [problem] = yield* refusal(settings.patch(patchOf({ [section]: { [field]: value } })))
        assert.match(problem?.message ?? "", /^must be a (whole number|number|duration), from/, `${field} ${value}`)
      }
    }
  }))

it.effect("tells which fields do not go together", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({ services: [target("store", { cache: {} })] })
    const fields = (patch: unknown) =>
      Effect.map(refusal(settings.patch(patchOf(patch))), (problems) => problems.map(({ field }) => field))
    assert.deepStrictEqual(yield* fields({ retry: { baseDelay: "5 seconds", maxDelay: "2 seconds" } }), [
      "services.store.retry.maxDelay"
    ])
    // One of them stands already, as a default.
    assert.deepStrictEqual(yield* fields({ timeout: "31 seconds" }), ["services.store.timeout"])
    assert.deepStrictEqual(yield* fields({ deadlineMs: 9_999 }), ["services.store.deadlineMs"])
    assert.deepStrictEqual(yield* fields({ providers: { b: { timeout: "40s" } } }), [
      "services.store.providers.b.timeout"
    ])
    assert.deepStrictEqual(yield* fields({ cache: { fresh: "2 minutes", cacheRetention: "1 minute" } }), [
      "services.store.cache.cacheRetention"
    ])
    yield* settings.patch(patchOf({ timeout: "31 seconds", deadline: "1 minute" }))
  }))

it.effect("leaves a preset alone that the rules between fields would refuse", () =>
  Effect.gen(function*() {
    // An attempt of a minute within half a minute.
    const settings = yield* Settings.make({ services: [target("store", presets.openAi)] })
    yield* settings.patch(patchOf({ retry: { maxRetries: 2 } }))
    assert.deepStrictEqual(
      (yield* refusal(settings.patch(patchOf({ deadline: "20 seconds" })))).map(({ field }) => field),
      ["services.store.deadline"]
    )
  }))

it.effect("says what is no setting, no service, no provider, no object, or given twice", () =>
  Effect.gen(function*() {
    const store = yield* FaultTolerance.make(Store, { service: "store", providers: [provider("a")] })
    const settings = yield* Settings.make({ services: [store] })
    const said = (patch: unknown) =>
      Effect.map(refusal(settings.patch(patch)), (problems) =>
        problems.map(({ field, message }) => `${field}: ${message}`).join("; "))
    assert.strictEqual(
      yield* said(patchOf({ retry: { maxretries: 1 } })),
      "services.store.retry.maxretries: is no setting"
    )
    assert.match(yield* said({ services: { other: {} } }), /^services\.other: is no service here; there are: store$/)
    assert.match(yield* said(patchOf({ providers: { z: {} } })), /^services\.store\.providers\.z: is no provider/)
    assert.match(yield* said([]), /must be an object/)
    // Deeper than the stack, which was a defect.
    const deep = JSON.parse(`{"services":{"store":${"{\"a\":".repeat(50_000)}1${"}".repeat(50_000)}}}`)
    assert.strictEqual(yield* said(deep), ": must not be nested more than 16 deep")
    assert.match(
      yield* said(patchOf({ timeout: "soon" })),
      /^services\.store\.timeout: must be milliseconds, or a duration/
    )
    assert.match(
      yield* said(patchOf({ retry: { baseDelay: 500, baseDelayMs: 600 } })),
      /^services\.store\.retry\.baseDelay: is given twice/
    )
    assert.match(yield* said(patchOf({ timeout: 5_000, retryConfig: { timeoutMs: 6_000 } })), /timeout: is given twice/)
    assert.match(yield* said(patchOf({ bulkhead: {} })), /bulkhead: cannot be added while the service runs/)
    assert.match(yield* said(patchOf({ cache: {} })), /^services\.store\.cache: cannot be added/)
    assert.match(yield* said(patchOf(JSON.parse("{\"__proto__\":{\"timeout\":1}}"))), /__proto__: is no setting/)
    // Names that every object has; the first was a defect.
    for (const name of ["constructor", "__proto__", "toString"]) {
      for (const inner of ["1", "{\"a\":1}"]) {
        const own = yield* said(patchOf(JSON.parse(`{"${name}":${inner}}`)))
        assert.strictEqual(own, `services.store.${name}: is no setting`)
        const nested = yield* said(patchOf(JSON.parse(`{"retry":{"${name}":${inner}}}`)))
        assert.strictEqual(nested, `services.store.retry.${name}: is no setting`)
      }
    }
    // What was behind a second dot was left out without a word.
    for (const name of ["retry.maxRetries", "retry.maxRetries.x"]) {
      assert.strictEqual(yield* said(patchOf({ [name]: 2 })), `services.store.${name}: is no setting`)
    }
    assert.strictEqual(
      yield* said(patchOf({ retryConfig: { "maxRetries.x": 2 } })),
      "services.store.retryConfig.maxRetries.x: is no setting"
    )
    assert.strictEqual((yield* settings.effective).version, 0)
  }))

it.effect("refuses a file for what is wrong in it, where a patch hides that too", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({ services: [target("store")] })
    yield* settings.patch(patchOf({ timeout: 2_000, retry: { maxRetries: 1 } }))
    for (
      const [file, field] of [
        [patchOf({ timeoutMs: "soon" }), "services.store.timeoutMs"],
        [patchOf({ retry: 5 }), "services.store.retry"],
        [{ services: [] }, "services"]
      ] as const
    ) {
      assert.deepStrictEqual((yield* refusal(settings.load(file))).map(({ field }) => field), [field])
    }
  }))

it.effect("tells what is wrong in the names that it was given in, the stages' own refusals too", () =>
  Effect.gen(function*() {
    const store = target("store")
    store.refuses = ({ pipeline }) => pipeline?.breaker !== undefined
    const settings = yield* Settings.make({ services: [store] })
    const fields = (patch: unknown) =>
      Effect.map(refusal(settings.patch(patch)), (all) => all.map(({ field }) => field))
    assert.deepStrictEqual(
      yield* fields(patchOf({ providers: { a: { breaker: { monitorWindowMs: 1 } } }, timeoutMs: 1 })),
      ["services.store.timeoutMs", "services.store.providers.a.breaker.monitorWindowMs"]
    )
    assert.deepStrictEqual(yield* fields(patchOf({ circuitBreakerConfig: { jitter: false } })), [
      "services.store.circuitBreakerConfig.jitter"
    ])
    yield* settings.load(patchOf({ retryConfig: { baseDelayMs: 5_000 } }))
    assert.deepStrictEqual(yield* fields(patchOf({ retryConfig: { maxDelayMs: 2_000 } })), [
      "services.store.retryConfig.maxDelayMs"
    ])
  }))

// -- sources ---------------------------------------------------------------------------------------------------------

it.effect("shows what is in force and where it came from: default, preset, file, environment, patch", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({
      services: [target("store", presets.neon)],
      file: patchOf({
        retry: { maxRetries: 5, baseDelay: "200ms" },
        circuitBreaker: { recoveryTimeout: "20 seconds" }
      }),
      environment: patchOf({ circuitBreaker: { recoveryTimeout: "10 seconds" } })
    })
    yield* settings.patch(patchOf({ retry: { maxRetries: 1 }, providers: { b: { timeout: "5 seconds" } } }))
    const { services, version } = yield* settings.effective
    assert.strictEqual(version, 3)
    const { from, settings: values } = services["store"]!
    const shown = (path: string) => [at(values, path.split(".")), from[path]]
    assert.deepStrictEqual(shown("retry.maxRetries"), [1, "patch"])
    assert.deepStrictEqual(shown("retry.baseDelay"), [200, "file"])
    assert.deepStrictEqual(shown("retry.maxDelay"), [15_000, "preset"])
    assert.deepStrictEqual(shown("circuitBreaker.recoveryTimeout"), [10_000, "environment"])
    assert.deepStrictEqual(shown("circuitBreaker.failureRate"), [0.5, "default"])
    assert.deepStrictEqual(shown("timeout"), [30_000, "preset"])
    assert.deepStrictEqual(shown("providers.a.timeout"), [30_000, "preset"])
    assert.deepStrictEqual(shown("providers.b.timeout"), [5_000, "patch"])
    assert.deepStrictEqual(shown("providers.b.retry.baseDelay"), [200, "file"])
    assert.deepStrictEqual(shown("deadline"), [30_000, "default"])
    assert.sameMembers(Object.keys(from), leaves(values).map(([path]) => path.join(".")))
    // What is shown may be sent back, and changes nothing.
    const { providers: _, ...common } = values
    assert.strictEqual((yield* settings.patch(patchOf(common))).version, version)
    Schema.decodeUnknownSync(Settings.Effective)(JSON.parse(JSON.stringify(yield* settings.effective)))
  }))

it.effect("null takes back what was patched; a file takes the place of the file before", () =>
  Effect.gen(function*() {
    const store = target("store")
    const settings = yield* Settings.make({
      services: [store],
      file: patchOf({ retry: { maxRetries: 5, jitterFactor: 1 } })
    })
    yield* settings.patch(patchOf({ retry: { maxRetries: 1 }, timeout: "2s" }))
    yield* settings.patch(patchOf({ retry: null, timeout: null }))
    assert.deepStrictEqual(store.told.at(-1), { pipeline: { retry: { maxRetries: 5, jitterFactor: 1 } } })
    yield* settings.load(patchOf({ retry: { jitterFactor: 1 } }))
    assert.deepStrictEqual(store.told.at(-1), { pipeline: { retry: { jitterFactor: 1 } } })
    yield* settings.load({})
    assert.deepStrictEqual(store.told.at(-1), {})
  }))

it.effect("the defaults shown are those of the policies", () =>
  Effect.gen(function*() {
    const settings = yield* Settings.make({ services: [target("store", { cache: {} })] })
    const { settings: values } = (yield* settings.effective).services["store"]!
    const { settings: retry } = yield* Retry.make()
    const shared = { initial: initial(0), random: () => 0, onTransition: () => {}, mayOpen: undefined }
    const { bucketMillis, rules, windowSize } = circuitSettings({}, shared)
    const { NetworkError: first } = retry.categories
    assert.deepStrictEqual(values["retry"], {
      maxRetries: retry.maxRetries,
      baseDelay: first.baseMillis,
      maxDelay: first.maxMillis,
      backoffMultiplier: first.multiplier,
      jitter: first.jitter,
      maxRetryAfter: retry.maxRetryAfterMillis
    })
    assert.deepStrictEqual(values["circuitBreaker"], {
      failureThreshold: rules.failureThreshold,
      failureRate: rules.failureRate,
      monitorWindow: bucketMillis * windowSize,
      recoveryTimeout: rules.recoveryMillis,
      recoveryMultiplier: rules.recoveryMultiplier,
      jitter: rules.jitter,
      successThreshold: rules.successThreshold,
      probeFailureThreshold: rules.probeFailureThreshold,
      rampUp: rules.rampMillis
    })
  }))

// -- changes ---------------------------------------------------------------------------------------------------------

it.effect("tells the events of a change, and remembers so many", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const settings = yield* Settings.make({ services: [target("store")], history: 2 }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    yield* settings.patch(patchOf({ timeout: 2_000 }))
    yield* settings.patch(patchOf({ timeout: "2 seconds" }))
    assert.lengthOf(events, 1)
    assert.deepInclude(events[0], {
      _tag: "SettingsChanged",
      source: "patch",
      fields: ["services.store.timeout", "services.store.providers.a.timeout", "services.store.providers.b.timeout"]
    })
    yield* TestClock.adjust("1 second")
    for (const timeout of [3_000, 4_000]) yield* settings.patch(patchOf({ timeout }))
    const history = yield* settings.history
    assert.deepStrictEqual(history.map(({ version }) => version), [2, 3])
    assert.deepInclude(history[1], { at: 1_000, source: "patch" })
    assert.deepInclude(Array.from(history[1]?.fields ?? []), {
      field: "services.store.timeout",
      from: 3_000,
      to: 4_000
    })
  }))

it.effect("where one service refuses, those told before it are told the old settings again", () =>
  Effect.gen(function*() {
    const [first, second] = [target("first"), target("second")]
    const settings = yield* Settings.make({ services: [first, second] })
    yield* settings.patch({ services: { first: { timeout: 2_000 } } })
    second.refuses = ({ deadline }) => deadline === 50_000
    const both = (deadline: number) => ({ services: { first: { deadline }, second: { deadline } } })
    assert.deepStrictEqual(yield* refusal(settings.patch(both(50_000))), [
      { field: "services.second.circuitBreaker.jitter", message: "must not be" }
    ])
    assert.deepStrictEqual(first.told, [
      { pipeline: { timeout: 2_000 } },
      { deadline: 50_000, pipeline: { timeout: 2_000 } },
      { pipeline: { timeout: 2_000 } }
    ])
    assert.strictEqual((yield* settings.effective).version, 1)
    yield* settings.patch(both(40_000))
    assert.deepStrictEqual(second.told, [{ deadline: 40_000 }])
  }))

const Value = Schema.Union([
  Schema.Literals([1_000, 2_000, 4_000, 25_000, 50, -1]),
  Schema.Literals(["3 seconds", "soon"]),
  Schema.Null
])
const Patch = Schema.Struct({
  service: Schema.Literals(["first", "second", "third"]),
  timeout: Schema.optionalKey(Value),
  deadline: Schema.optionalKey(Value),
  retry: Schema.optionalKey(Schema.Union([
    Schema.Null,
    Schema.Literal(false),
    Schema.Struct({ baseDelay: Schema.optionalKey(Value), maxDelay: Schema.optionalKey(Value) })
  ])),
  also: Schema.Boolean,
  fails: Schema.Literals(["", "", "", "first", "second"])
})

it.effect.prop(
  "any patches leave what a model says, in every service, and never half of one",
  { patches: Schema.Array(Patch).check(Schema.isMaxLength(12)) },
  ({ patches }) =>
    Effect.gen(function*() {
      const services = [target("first"), target("second")]
      const settings = yield* Settings.make({ services })
      let model: unknown = {}
      let version = 0
      for (const { also, fails, service, ...own } of patches) {
        const patch = { services: { [service]: own, ...(also ? { second: own } : {}) } }
        const next = merge(model, patch)
        const wanted = accepts(next)
        for (const it of services) it.refuses = () => it.service === fails
        // Who is told of nothing new cannot refuse it.
        const touched = (name: string) => JSON.stringify(toldOf(model, name)) !== JSON.stringify(toldOf(next, name))
        const taken = wanted && (fails === "" || !touched(fails))
        const exit = yield* Effect.exit(settings.patch(patch))
        assert.strictEqual(exit._tag, taken ? "Success" : "Failure", JSON.stringify({ patch, model }))
        for (const it of services) it.refuses = () => false
        if (taken) {
          if (JSON.stringify(valuesOf(model)) !== JSON.stringify(valuesOf(next))) version++
          model = next
        }
        const effective = yield* settings.effective
        assert.strictEqual(effective.version, version)
        for (const { service, told } of services) {
          assert.deepStrictEqual(told.at(-1) ?? {}, toldOf(model, service))
          const { settings } = effective.services[service]!
          assert.deepStrictEqual(
            [
              settings["timeout"],
              settings["deadline"],
              at(settings, ["retry", "baseDelay"]),
              at(settings, ["retry", "maxDelay"])
            ],
            valuesOfService(model, service)
          )
        }
      }
    })
)

/** The model: numbers as they are, the one time in words, and what is out of its range. */
const number = (value: unknown): unknown => value === "3 seconds" ? 3_000 : value
const ownOf = (model: unknown, service: string): { readonly [field: string]: unknown } => {
  const own = at(model, ["services", service])
  return isObject(own) ? own : {}
}
const valuesOfService = (model: unknown, service: string): ReadonlyArray<unknown> => {
  const { deadline = 30_000, retry = {}, timeout = 10_000 } = ownOf(model, service)
  const of = (field: string, fallback: number) => isObject(retry) ? number(retry[field] ?? fallback) : undefined
  return [number(timeout), number(deadline), of("baseDelay", 100), of("maxDelay", 20_000)]
}
const valuesOf = (model: unknown) => ["first", "second"].map((service) => valuesOfService(model, service))
const within = (value: unknown, min: number, max: number): boolean =>
  value === undefined ||
  (typeof number(value) === "number" && Number(number(value)) >= min && Number(number(value)) <= max)
const accepts = (model: unknown): boolean =>
  at(model, ["services", "third"]) === undefined && ["first", "second"].every((service) => {
    const own = ownOf(model, service)
    const [timeout, deadline, base, max] = valuesOfService(model, service).map(Number)
    return within(own["timeout"], 1_000, 300_000) && within(own["deadline"], 1, Infinity) &&
      within(at(own, ["retry", "baseDelay"]), 100, 30_000) && within(at(own, ["retry", "maxDelay"]), 1_000, 60_000) &&
      !(timeout! > deadline!) && !(base! > max!)
  })
const toldOf = (model: unknown, service: string): FaultTolerance.Changes => {
  const { deadline, retry, timeout } = ownOf(model, service)
  const of = (own: unknown) =>
    isObject(own) ? Object.fromEntries(Object.entries(own).map(([key, value]) => [key, number(value)])) : own
  const pipeline = {
    ...(timeout === undefined ? {} : { timeout: number(timeout) }),
    ...(retry === undefined ? {} : { retry: of(retry) })
  }
  return JSON.parse(JSON.stringify({
    ...(deadline === undefined ? {} : { deadline: number(deadline) }),
    ...(Object.keys(pipeline).length === 0 ? {} : { pipeline })
  }))
}

// -- a running service -----------------------------------------------------------------------------------------------

const running = Effect.gen(function*() {
  const [a, b] = [provider("a"), provider("b")]
  const store = yield* FaultTolerance.make(Store, {
    service: "store",
    providers: [a, b],
    pipeline: { retry: { maxRetries: 0 }, breaker: { failureThreshold: 2, jitter: false }, bulkhead: { limit: 2 } },
    cache: { fresh: "1 minute" }
  })
  const settings = yield* Settings.make({ services: [store] })
  const get = store.execute({ operation: "get" }, use)
  return { a, b, store, settings, get }
})

it.effect("changes what runs, and circuits keep their state", () =>
  Effect.gen(function*() {
    const { a, get, settings, store } = yield* running
    const breaker = store.providers[0]!.pipeline.breaker!
    a.answer = down
    yield* get
    yield* get
    assert.strictEqual((yield* get).value, "b")
    assert.strictEqual(a.calls, 2)
    const before = yield* breaker.status("a/get")
    assert.strictEqual(before.state, "Open")

    yield* settings.patch(
      patchOf({
        circuitBreaker: { failureThreshold: 7 },
        retry: { maxRetries: 2, maxRetryAfter: 200 },
        timeout: "3 seconds"
      })
    )
    assert.strictEqual(store.providers[0]!.pipeline.breaker, breaker)
    assert.deepStrictEqual(yield* breaker.status("a/get"), before)
    assert.isAbove(store.providers[0]!.pipeline.availability(0), 0, "what is known of operations stays")
    assert.strictEqual((yield* get).value, "b")
    assert.strictEqual(a.calls, 2)

    // The new rules hold: after recovery it takes seven failures, and there are retries.
    yield* TestClock.adjust("1 minute")
    a.answer = Effect.succeed("a")
    const asked = a.calls
    for (let i = 0; i < 3; i++) yield* get
    yield* TestClock.adjust("20 seconds")
    a.answer = down
    const fiber = yield* Effect.forkChild(store.execute({ operation: "get", idempotent: true }, use))
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual((yield* Fiber.join(fiber)).value, "b")
    assert.strictEqual(a.calls, asked + 3 + 3)
    assert.strictEqual(yield* breaker.state("a/get"), "Closed")
  }))

it.effect("calls under way end under the settings that they began with", () =>
  Effect.gen(function*() {
    const { a, b, get, settings, store } = yield* running
    a.answer = Effect.delay(Effect.succeed("slow"), "6 seconds")
    b.answer = Effect.never
    const early = yield* Effect.forkChild(get)
    yield* TestClock.adjust("1 second")
    yield* settings.patch(patchOf({ timeout: "2 seconds", deadline: "4 seconds", bulkhead: { limit: 5, queue: 0 } }))
    const { bulkhead } = store.providers[0]!.pipeline
    assert.deepStrictEqual(yield* bulkhead!.stats, { limit: 5, running: 1, queued: 0 })
    const late = yield* Effect.forkChild(Effect.flip(get))
    yield* TestClock.adjust("8 seconds")
    assert.strictEqual((yield* Fiber.join(early)).value, "slow")
    assert.strictEqual((yield* Fiber.join(late))._tag, "AllProvidersFailed")
    assert.deepStrictEqual(yield* bulkhead!.stats, { limit: 5, running: 0, queued: 0 })
  }))

it.effect("a stage that was there can be turned off and on; the cache keeps its answers", () =>
  Effect.gen(function*() {
    const { a, settings, store } = yield* running
    const cached = store.execute({ operation: "get", cacheKey: 1 }, use)
    yield* cached
    yield* settings.patch(
      patchOf({ circuitBreaker: false, bulkhead: false, retry: false, cache: { fresh: "5 seconds" } })
    )
    assert.strictEqual((yield* cached)._tag, "Cached")
    a.answer = down
    for (let i = 0; i < 5; i++) yield* store.execute({ operation: "get" }, use)
    assert.strictEqual(a.calls, 6, "no circuit opened")
    yield* settings.patch(patchOf({ circuitBreaker: null, bulkhead: null }))
    for (let i = 0; i < 5; i++) yield* store.execute({ operation: "get" }, use)
    assert.strictEqual(a.calls, 8)
    // A smaller cache lets go at once.
    yield* settings.patch(patchOf({ cache: { enableCaching: false } }))
    assert.strictEqual((yield* store.cache!.stats).entries, 0)
  }))

it.effect("an adaptive rate limit is shown, can be sent back as it is and be taken on while the service runs", () =>
  Effect.gen(function*() {
    const start = (algorithm: "adaptive" | "token-bucket") =>
      FaultTolerance.make(Store, {
        service: "store",
        providers: [provider("a")],
        pipeline: { rateLimit: { limit: 5, algorithm } }
      })
    const shown = yield* Settings.make({ services: [yield* start("adaptive")] })
    const values = (yield* shown.effective).services["store"]!.settings
    yield* shown.patch(patchOf({ rateLimit: values["rateLimit"], timeout: "2 seconds" }))

    const store = yield* start("token-bucket")
    const settings = yield* Settings.make({ services: [store] })
    const limiter = () => store.providers[0]!.pipeline.rateLimit!.core.limiter
    assert.isUndefined(limiter().feedback)
    yield* settings.patch(patchOf({ rateLimit: { algorithm: "adaptive" } }))
    assert.isDefined(limiter().feedback)
    const half = { rateLimit: { algorithm: "sliding-window", limit: 1.5 } }
    const fields = (patch: unknown) => Effect.map(refusal(settings.patch(patch)), ([problem]) => problem?.field)
    assert.strictEqual(yield* fields(patchOf(half)), "services.store.rateLimit.limit")
    assert.strictEqual(
      yield* fields(patchOf({ providers: { a: half } })),
      "services.store.providers.a.rateLimit.limit"
    )
    yield* store.execute({ operation: "get" }, use)
  }))

it.effect("a rate limit that a provider holds is held under every other limit, and under the first again", () =>
  Effect.gen(function*() {
    const store = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [provider("a")],
      pipeline: { rateLimit: { limit: 5 } }
    })
    const settings = yield* Settings.make({ services: [store] })
    const limit = () => store.providers[0]!.pipeline.rateLimit!
    const first = limit()
    const heldUnder = Effect.fnUntraced(function*(patch: unknown) {
      yield* settings.patch(patchOf({ rateLimit: patch }))
      return limit().core.heldFor(yield* Clock.currentTimeMillis)
    })
    yield* limit().holdUntil(60_000)
    assert.strictEqual(yield* heldUnder({ limit: 7 }), 60_000)
    assert.notStrictEqual(limit(), first)
    yield* limit().holdUntil(90_000)
    assert.strictEqual(yield* heldUnder(null), 90_000)
    assert.strictEqual(limit(), first)
  }))

it.effect("a predictor is shown, can be sent back as it is and be turned off, and nothing else", () =>
  Effect.gen(function*() {
    const a = provider("a")
    a.answer = down
    const store = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [a],
      pipeline: { retry: undefined, predictor: { horizon: "2 minutes" } }
    })
    const settings = yield* Settings.make({ services: [store] })
    const { from, settings: values } = (yield* settings.effective).services["store"]!
    assert.deepStrictEqual(values["predictor"], {
      mode: "shadow",
      leastShare: 0.1,
      horizon: 120_000,
      usual: 1_800_000,
      memory: 300_000
    })
    assert.deepStrictEqual([from["predictor.horizon"], from["predictor.mode"]], ["preset", "default"])
    const { predictor } = store.providers[0]!.pipeline
    yield* settings.patch(patchOf({ predictor: values["predictor"], timeout: "2 seconds" }))
    const [problem] = yield* refusal(settings.patch(patchOf({ predictor: { mode: "shed" } })))
    assert.include(problem?.message, "can only be turned off")
    const get = Effect.exit(store.execute({ operation: "get" }, use))
    const seen = Effect.map(predictor!.prediction, ({ failureShare }) => failureShare)
    yield* settings.patch(patchOf({ predictor: false }))
    yield* get
    assert.isFalse((yield* settings.effective).services["store"]!.settings["predictor"])
    assert.strictEqual(yield* seen, 0)
    yield* settings.patch(patchOf({ predictor: null }))
    yield* get
    assert.isAbove(yield* seen, 0)
  }))

it.effect("one that fails in the middle is taken back", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make({ name: "store" })
    const stubborn = {
      ...cache,
      configure: () => Effect.fail(new InvalidOptions({ module: "test", field: "fresh", why: "not today" }))
    }
    const a = provider("a")
    const store = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [a],
      pipeline: { breaker: { failureThreshold: 2 }, bulkhead: { limit: 2 } },
      enableRetry: false,
      cache: {}
    })
    Object.assign(store.cache!, { configure: stubborn.configure })
    const settings = yield* Settings.make({ services: [store] })
    const before = yield* settings.effective
    const problems = yield* refusal(settings.patch(patchOf({
      circuitBreaker: { failureThreshold: 9 },
      bulkhead: { limit: 9 },
      cache: { fresh: "2 minutes" }
    })))
    assert.deepStrictEqual(problems, [{ field: "services.store.cache.fresh", message: "not today" }])
    assert.deepStrictEqual(yield* settings.effective, before)
    assert.strictEqual((yield* store.providers[0]!.pipeline.bulkhead!.stats).limit, 2)
    a.answer = down
    for (let i = 0; i < 2; i++) yield* Effect.flip(store.execute({ operation: "get" }, use))
    assert.strictEqual(yield* store.providers[0]!.pipeline.breaker!.state("a/get"), "Open", "the old threshold holds")
  }))

it.effect("patches at the same time go one after the other", () =>
  Effect.gen(function*() {
    const store = target("store")
    const slow = {
      ...store,
      reconfigure: (changes: FaultTolerance.Changes) => Effect.andThen(Effect.yieldNow, store.reconfigure(changes))
    }
    const settings = yield* Settings.make({ services: [slow] })
    yield* Effect.all([
      settings.patch(patchOf({ timeout: 2_000 })),
      settings.patch(patchOf({ deadline: 20_000 })),
      settings.patch(patchOf({ retry: false }))
    ], { concurrency: "unbounded" })
    assert.deepStrictEqual(store.told.at(-1), { deadline: 20_000, pipeline: { timeout: 2_000, retry: false } })
    assert.deepStrictEqual((yield* settings.history).map(({ version }) => version), [1, 2, 3])
  }))

it.effect("a file at the start is held to the rules too", () =>
  Effect.gen(function*() {
    const toml = yield* Settings.parse("a.toml", "[services.store.retry]\nmaxRetries = 11\n")
    const problems = yield* refusal(Settings.make({ services: [target("store")], file: toml }))
    assert.deepStrictEqual(problems.map(({ field }) => field), ["services.store.retry.maxRetries"])
    assert.match((yield* Effect.flip(Settings.parse("a.json", "{"))).message, /^a\.json: no JSON, /)
    const escaped = yield* Effect.flip(Settings.parse("a.json", "\u001b[31mred"))
    assert.notMatch(escaped.message, /\p{Cc}/u)
  }))

it.effect("a file is read whatever its editor marked, and however its name ends", () =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* Settings.parse("a.json", "\uFEFF{\"a\":1}"), { a: 1 })
    assert.deepStrictEqual(yield* Settings.parse("A.TOML", "\uFEFFa = 1"), { a: 1 })
  }))

it.effect("refuses two services of one name, and a history that has no length", () =>
  Effect.gen(function*() {
    const store = yield* FaultTolerance.make(Store, { service: "store", providers: [provider("a")] })
    const field = (options: Settings.Options) =>
      Effect.map(Effect.flip(Settings.make(options)), ({ problems }) => problems.map(({ field }) => field))
    assert.deepStrictEqual(yield* field({ services: [store, store] }), ["services.store"])
    assert.deepStrictEqual(yield* field({ services: [store], history: NaN }), ["history"])
    assert.deepStrictEqual(yield* field({ services: [store], history: -1 }), ["history"])
  }))

it.effect("is provided as a service", () =>
  Effect.gen(function*() {
    const { version } = yield* (yield* Settings.Settings).effective
    assert.strictEqual(version, 0)
  }).pipe(Effect.provide(Layer.fresh(Settings.Settings.layer({ services: [] })))))
