import { assert, expectTypeOf, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Exit, Fiber, Layer, Option, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Chaos from "../src/Chaos.ts"
import type { CircuitOpen } from "../src/CircuitBreaker.ts"
import * as Deadline from "../src/Deadline.ts"
import * as Event from "../src/Event.ts"
import * as Fallback from "../src/Fallback.ts"
import * as FaultTolerance from "../src/FaultTolerance.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import type { ProviderError } from "../src/ProviderError.ts"
import * as Served from "../src/Served.ts"
import type * as ServiceLevel from "../src/ServiceLevel.ts"
import * as Telemetry from "../src/Telemetry.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

/** What a provider of the tests fails with: an HTTP answer. */
interface HttpFailure {
  readonly status: number
  readonly headers?: { readonly [name: string]: string }
}

class Store extends Context.Service<Store, {
  readonly get: (id: string) => Effect.Effect<string, HttpFailure>
}>()("test/Store") {}

/** A provider that answers as told, and counts. */
interface Told extends FaultTolerance.Provider<Store, typeof Store.Service> {
  readonly name: string
  readonly service: typeof Store.Service
  readonly layer: Layer.Layer<Store>
  calls: number
  answer: Effect.Effect<string, HttpFailure>
}
const provider = (name: string, answer: Effect.Effect<string, HttpFailure> = Effect.succeed(name)): Told => {
  const self = { name, calls: 0, answer }
  const service: typeof Store.Service = {
    get: () =>
      Effect.suspend(() => {
        self.calls++
        return self.answer
      })
  }
  return Object.assign(self, { service, layer: Layer.succeed(Store, service) })
}
const down = Effect.fail<HttpFailure>({ status: 503 })
const unsure = Effect.fail<HttpFailure>({ status: 502 })
const forbidden = Effect.fail<HttpFailure>({ status: 403 })
const invalid = Effect.fail<HttpFailure>({ status: 400 })

const use = (store: typeof Store.Service) => store.get("1")

const categories = (served: { readonly failures: ReadonlyArray<Served.Failure> }) =>
  served.failures.map(({ category, provider }) => `${provider}: ${category}`)

/** What the stages of a pipeline may refuse with, where it is not known which there are. */
type AnyRefusal = "CallShed" | "CircuitOpen" | "RateLimited" | "BulkheadFull"

/** Without retries nothing sleeps, so that a test need not move the clock. */
const plain = { service: "store", enableRetry: false } as const

const idleRecorder: Telemetry.Recorder = {
  begin: () => {},
  end: () => {},
  error: () => {},
  retry: () => {},
  hedge: () => {},
  breakerTrip: () => {},
  fallback: () => {},
  cache: () => {},
  gaveUp: () => {},
  answered: () => {}
}

// -- what may come of a call -----------------------------------------------------------------------------------------

it.effect("the type of a call lists the kinds of answer and the errors that are possible, and no others", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const cached = yield* FaultTolerance.make(Store, { ...plain, providers: [a.layer], cache: { fresh: "1 minute" } })
    const uncached = yield* FaultTolerance.make(Store, { ...plain, providers: [a.layer] })

    // A cache, and a key: an answer may come from it. One without the other: never.
    expectTypeOf(cached.execute({ operation: "get", cacheKey: 1 }, use)).toEqualTypeOf<
      Effect.Effect<Served.Served<string, "Live" | "Cached" | "Stale">, ProviderError | Fallback.AllProvidersFailed>
    >()
    expectTypeOf(cached.execute({ operation: "get" }, use)).toEqualTypeOf<
      Effect.Effect<Served.Live<string>, ProviderError | Fallback.AllProvidersFailed>
    >()
    expectTypeOf(uncached.execute({ operation: "get", cacheKey: 1 }, use)).toEqualTypeOf<
      Effect.Effect<Served.Live<string>, ProviderError | Fallback.AllProvidersFailed>
    >()

    // What a mode declares takes the error away.
    const silent = uncached.execute({ operation: "get", mode: Fallback.silent("none") }, use)
    expectTypeOf(silent).toEqualTypeOf<Effect.Effect<Served.Served<string, "Live" | "Default">>>()
    const orElse = uncached.execute({ operation: "get", mode: Fallback.graceful({ orElse: "none" }) }, use)
    expectTypeOf(orElse).toEqualTypeOf<Effect.Effect<Served.Served<string, "Live" | "Default">, ProviderError>>()
    const partial = uncached.execute({
      operation: "get",
      mode: Fallback.partial({ combine: (answers: ReadonlyArray<Fallback.Answered<string>>) => answers[0]!.value })
    }, use)
    expectTypeOf(partial).toEqualTypeOf<
      Effect.Effect<Served.Served<string, "Live" | "Partial">, Fallback.TooFewAnswers>
    >()
    // @ts-expect-error `cool` is no option of a breaker
    void FaultTolerance.make(Store, { ...plain, providers: [a.layer], pipeline: { breaker: { cool: "1 second" } } })
    // @ts-expect-error the declared value is of another type
    uncached.execute({ operation: "get", mode: Fallback.silent(1) }, use)
    // @ts-expect-error `cachekey` is no option of a call: nothing would be cached
    cached.execute({ operation: "get", cachekey: "a" }, use)
    // @ts-expect-error nor is `deadline`, which is called `timeout` here
    uncached.execute({ operation: "get", deadline: "1 second" }, use)

    // @ts-expect-error nor is `nmae` of a provider
    void FaultTolerance.make(Store, { ...plain, providers: [a.layer, { nmae: "b", service: a.service }] })

    // The level gates only what says which level it tolerates.
    expectTypeOf(uncached.execute({ operation: "get", requiredServiceLevel: 2 }, use)).toEqualTypeOf<
      Effect.Effect<Served.Live<string>, ProviderError | Fallback.AllProvidersFailed | ServiceLevel.LevelTooLow>
    >()
    expectTypeOf(
      uncached.execute({ operation: "get", requiredServiceLevel: "Basic", mode: Fallback.silent("none") }, use)
    ).toEqualTypeOf<Effect.Effect<Served.Served<string, "Live" | "Default">>>()

    // Only failFast shows the stages of the pipeline; who handles one takes it from the type.
    const fast = uncached.execute({ operation: "get", mode: Fallback.failFast() }, use)
    expectTypeOf(fast).toEqualTypeOf<
      Effect.Effect<Served.Live<string>, ProviderError | CircuitOpen | Deadline.DeadlineExceeded>
    >()
    expectTypeOf(Effect.catchTag(fast, "CircuitOpen", () => Effect.succeed(Served.orElse("none")))).toEqualTypeOf<
      Effect.Effect<Served.Served<string, "Live" | "Default">, ProviderError | Deadline.DeadlineExceeded>
    >()
    const bare = yield* FaultTolerance.make(Store, { ...plain, providers: [a.layer], enableCircuitBreaker: false })
    expectTypeOf(bare.execute({ operation: "get", mode: Fallback.failFast() }, use)).toEqualTypeOf<
      Effect.Effect<Served.Live<string>, ProviderError | Deadline.DeadlineExceeded>
    >()
    assert.strictEqual(a.calls, 0)
  }))

it.effect("a call takes options of the declared type and any mode, whether or not `use` says what it takes", () =>
  Effect.gen(function*() {
    const list = Effect.succeed<ReadonlyArray<number>>([1])
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [provider("a")] })
    const declared: FaultTolerance.CallOptions<string> = { operation: "get", mode: Fallback.silent("none") }
    assert.deepStrictEqual(yield* execute(declared, (store) => store.get("1")), Served.live("a", "a"))

    // What may be given counts as given.
    const cached = yield* FaultTolerance.make(Store, { ...plain, providers: [provider("a")], cache: {} })
    const any = cached.execute(declared, use)
    expectTypeOf<Effect.Success<typeof any>>().toEqualTypeOf<Served.Served<string>>()
    expectTypeOf<Effect.Error<typeof any>["_tag"]>().toEqualTypeOf<
      "ProviderError" | "AllProvidersFailed" | "TooFewAnswers" | "LevelTooLow" | "DeadlineExceeded" | AnyRefusal
    >()
    const sometimes = execute({ operation: "get", ...(declared.priority === 1 && { mode: declared.mode }) }, use)
    expectTypeOf<Effect.Success<typeof sometimes>["_tag"]>().toEqualTypeOf<"Live" | "Default" | "Partial">()
    const maybe = execute({ operation: "get", ...(declared.priority === 1 && { mode: Fallback.silent("none") }) }, use)
    expectTypeOf<Effect.Success<typeof maybe>["_tag"]>().toEqualTypeOf<"Live" | "Default">()
    expectTypeOf<Effect.Error<typeof maybe>["_tag"]>().toEqualTypeOf<"ProviderError" | "AllProvidersFailed">()

    const first = (answers: ReadonlyArray<Fallback.Answered<string>>) => answers[0]?.value ?? ""
    const combined = execute(
      { operation: "get", mode: Fallback.partial({ combine: first }) },
      (store) => store.get("1")
    )
    expectTypeOf(combined).toEqualTypeOf<
      Effect.Effect<Served.Served<string, "Live" | "Partial">, Fallback.TooFewAnswers>
    >()
    const lists = execute(
      { operation: "list", mode: Fallback.partial({ combine: Fallback.concat<number> }) },
      () => list
    )
    expectTypeOf(lists).toEqualTypeOf<
      Effect.Effect<Served.Served<ReadonlyArray<number>, "Live" | "Partial">, Fallback.TooFewAnswers>
    >()

    const numbers: FaultTolerance.CallOptions<number> = { operation: "get" }
    // @ts-expect-error the options are of a call that answers a number
    void execute(numbers, (store) => store.get("1"))
    const count = (answers: ReadonlyArray<Fallback.Answered<string>>) => answers.length
    // @ts-expect-error the answers are combined into something else
    void execute({ operation: "get", mode: Fallback.partial({ combine: count }) }, use)
  }))

it("making it fails with what its Layers fail with and needs what they need", () => {
  const layer = Layer.effect(Store, Effect.flatMap(Store, (store) => Effect.fail("no key").pipe(Effect.as(store))))
  expectTypeOf(FaultTolerance.make(Store, { service: "s", providers: [layer, { service: provider("a").service }] }))
    .toExtend<
      Effect.Effect<
        FaultTolerance.FaultTolerance<typeof Store.Service, false, CircuitOpen>,
        InvalidOptions | string,
        Scope.Scope | Store
      >
    >()
})

// -- fallback --------------------------------------------------------------------------------------------------------

it.effect("scenarios 31, 32: the first that answers is told, with every cause before it", () =>
  Effect.gen(function*() {
    const [a, b, c] = [provider("a"), provider("b"), provider("c")]
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b, c] })
    const get = execute({ operation: "get" }, use)
    assert.deepStrictEqual(yield* get, Served.live("a", "a"))
    assert.strictEqual(b.calls, 0)
    a.answer = down
    b.answer = forbidden
    const third = yield* get
    assert.deepStrictEqual([third.value, third.degraded], ["c", true])
    assert.deepStrictEqual(categories(third), ["a: SERVICE_UNAVAILABLE", "b: AUTHORIZATION"])
    c.answer = down
    const error = yield* Effect.flip(get)
    assert.strictEqual(error._tag, "AllProvidersFailed")
  }))

it.effect("what a provider asks to wait for is not waited out while another can be asked, but by the last", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a"), provider("b")]
    const throttled = Effect.fail(
      Object.assign(new Error("429 slow down"), { status: 429, headers: { "retry-after": "5" } })
    )
    const { execute } = yield* FaultTolerance.make(Store, { service: "store", providers: [a, b] })
    const get = execute({ operation: "get", idempotent: true }, use)
    a.answer = throttled
    // Now, and also while the provider is held back: the clock does not move.
    for (let i = 0; i < 3; i++) assert.strictEqual((yield* get).value, "b")
    b.answer = throttled
    const fiber = yield* Effect.forkChild(get, { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(fiber.pollUnsafe())
    b.answer = Effect.succeed("b, later")
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual((yield* Fiber.join(fiber)).value, "b, later")
  }))

it.effect("Layers are built once, in order, and named by their place", () =>
  Effect.gen(function*() {
    const built: Array<string> = []
    const layer = (name: string) =>
      Layer.effect(
        Store,
        Effect.sync(() => {
          built.push(name)
          return provider(name).service
        })
      )
    const { execute, providers } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [layer("a"), layer("b"), { layer: layer("c") }, layer("d"), { name: "own", layer: layer("e") }]
    })
    yield* execute({ operation: "get" }, use)
    yield* execute({ operation: "get" }, use)
    assert.deepStrictEqual(built, ["a", "b", "c", "d", "e"])
    assert.deepStrictEqual(providers.map(({ name }) => name), [
      "primary",
      "secondary",
      "emergency",
      "provider-4",
      "own"
    ])
  }))

it.effect("scenario 33: a provider that is not available is not asked", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a"), provider("b")]
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [{ name: "a", service: a.service, availability: () => Effect.succeed(false) }, b]
    })
    assert.strictEqual((yield* execute({ operation: "get" }, use)).value, "b")
    assert.strictEqual(a.calls, 0)
  }))

it.effect("scenario 34: a primary that hangs is interrupted at the fallback timeout", () =>
  Effect.gen(function*() {
    let interrupted = false
    const a = provider("a", Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true))))
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a, provider("b")],
      fallbackTimeout: "1 second"
    })
    const fiber = yield* Effect.forkChild(execute({ operation: "get" }, use))
    yield* TestClock.adjust("1 second")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual([served.value, categories(served)], ["b", ["a: TIMEOUT"]])
    assert.isTrue(interrupted)
  }))

it.effect("scenario 35: the primary's own success is kept, and served with its age when it then fails", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "10 seconds", revalidate: 0 }
    })
    const get = execute({ operation: "get", cacheKey: { id: 1 } }, use)
    yield* get
    a.answer = down
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(yield* get, Served.cached("a", "a", 5000))
    yield* TestClock.adjust("25 seconds")
    const old = yield* get
    assert.deepStrictEqual([old._tag, Served.ageOf(old), categories(old)], ["Stale", 30_000, [
      "a: SERVICE_UNAVAILABLE"
    ]])
  }))

it.effect("scenario 36: mode cached serves what has expired, flagged as stale, within its limit", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "1 second", revalidate: 0, stale: "1 minute" }
    })
    const get = execute({ operation: "get", cacheKey: 1, mode: Fallback.cached() }, use)
    yield* get
    a.answer = down
    yield* TestClock.adjust("60 seconds")
    assert.strictEqual((yield* get)._tag, "Stale")
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* Effect.flip(get))._tag, "AllProvidersFailed")
  }))

it.effect("scenario 38: in mode silent, when all fail, the declared value is served, and says so", () =>
  Effect.gen(function*() {
    const a = provider("a", down)
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a] })
    const served = yield* execute({ operation: "get", mode: Fallback.silent("none") }, use)
    assert.deepStrictEqual([served._tag, served.value, categories(served)], ["Default", "none", [
      "a: SERVICE_UNAVAILABLE"
    ]])
    a.answer = invalid
    assert.strictEqual((yield* execute({ operation: "get", mode: Fallback.silent("none") }, use))._tag, "Default")
  }))

it.effect("scenarios 39, 59: in mode partial enough sources are combined and the others named; too few, or none, is a failure", () =>
  Effect.gen(function*() {
    const sources = ["a", "b", "c", "d"].map((name) => provider(name))
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: sources,
      partialResultsThreshold: 0.5
    })
    const get = execute({
      operation: "get",
      mode: Fallback.partial({
        combine: (answers: ReadonlyArray<Fallback.Answered<string>>) => answers.map(({ value }) => value).join()
      })
    }, use)
    assert.deepStrictEqual(yield* get, Served.live("a,b,c,d", "a+b+c+d"))
    sources[1]!.answer = down
    const some = yield* get
    assert.deepStrictEqual([some._tag, some.value], ["Partial", "a,c,d"])
    assert.deepStrictEqual(some._tag === "Partial" && some.missing, ["b"])
    sources[2]!.answer = down
    sources[3]!.answer = down
    const few = yield* Effect.flip(get)
    assert.deepStrictEqual([few._tag, few.answered], ["TooFewAnswers", ["a"]])
    sources[0]!.answer = down
    assert.strictEqual((yield* Effect.flip(get)).failures.length, 4)
  }))

it.effect("scenario 40: graceful goes from old cache over what can be salvaged and the declared value to a typed failure", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "1 second", revalidate: 0, stale: "1 minute" },
      enableCircuitBreaker: false
    })
    const salvage = (failures: ReadonlyArray<Served.Failure>) =>
      failures.length === 1 ? Option.some({ value: "half", missing: ["other half"] }) : Option.none()
    const all = execute({ operation: "get", cacheKey: 1, mode: Fallback.graceful({ salvage, orElse: "none" }) }, use)
    const declared = execute({ operation: "get", cacheKey: 1, mode: Fallback.graceful({ orElse: "none" }) }, use)
    yield* all
    a.answer = down
    yield* TestClock.adjust("30 seconds")
    assert.strictEqual((yield* all)._tag, "Stale")
    yield* TestClock.adjust("1 hour")
    const saved = yield* all
    assert.deepStrictEqual([saved._tag, saved.value], ["Partial", "half"])
    assert.deepStrictEqual([(yield* declared)._tag, (yield* declared).value], ["Default", "none"])
    assert.strictEqual((yield* Effect.flip(execute({ operation: "get", cacheKey: 1 }, use)))._tag, "AllProvidersFailed")
    // A request that is wrong in itself is the caller's to know of.
    a.answer = invalid
    assert.strictEqual((yield* Effect.flip(declared)).category, "INVALID_REQUEST")
  }))

it.effect("scenario 41: failFast asks the primary alone, and its error is as it is", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", down), provider("b")]
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b], cache: { fresh: 1 } })
    const error = yield* Effect.flip(execute({ operation: "get", mode: Fallback.failFast(), cacheKey: 1 }, use))
    assert.strictEqual(error._tag === "ProviderError" && error.category, "SERVICE_UNAVAILABLE")
    assert.strictEqual(b.calls, 0)
  }))

it.effect("a write that must not happen twice is neither repeated nor given to another, unless it surely was not done", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", unsure), provider("b")]
    const { execute } = yield* FaultTolerance.make(Store, { service: "store", providers: [a, b] })
    const write = execute({ operation: "put", idempotent: false }, use)
    assert.strictEqual((yield* Effect.flip(write))._tag, "ProviderError")
    assert.deepStrictEqual([a.calls, b.calls], [1, 0])
    a.answer = forbidden
    assert.strictEqual((yield* write).value, "b")
  }))

it.effect("scenario 55: in an outage a write fails, and is never answered with a value of another kind", () =>
  Effect.gen(function*() {
    const a = provider("a", unsure)
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: 1 } })
    const deleted = execute({ operation: "delete", idempotent: false }, (store) => Effect.as(use(store), true))
    expectTypeOf(deleted).toEqualTypeOf<
      Effect.Effect<Served.Live<boolean>, ProviderError | Fallback.AllProvidersFailed>
    >()
    assert.strictEqual((yield* Effect.flip(deleted))._tag, "ProviderError")
  }))

it.effect("one deadline holds for all providers; the caller's own is kept where it is earlier", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", Effect.never), provider("b", Effect.never)]
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b], deadline: "20 seconds" })
    const timed = (call: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.exit(call))
        let seconds = 0
        while (fiber.pollUnsafe() === undefined) {
          yield* TestClock.adjust("1 second")
          seconds++
        }
        return seconds
      })
    assert.strictEqual(yield* timed(execute({ operation: "get" }, use)), 20)
    assert.strictEqual(yield* timed(execute({ operation: "get", timeout: "4 seconds" }, use)), 4)
    assert.strictEqual(yield* timed(Deadline.within("6 seconds")(execute({ operation: "get" }, use))), 6)
    assert.strictEqual(yield* timed(execute({ operation: "get", mode: Fallback.failFast() }, use)), 10)
  }))

// -- cache -----------------------------------------------------------------------------------------------------------

it.effect("scenario 44: a write makes invalid what its tags say, also where it fails", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: "1 hour" } })
    const search = execute({ operation: "search", cacheKey: "q", tags: ["documents"] }, use)
    yield* search
    assert.strictEqual((yield* search)._tag, "Cached")
    yield* execute({ operation: "delete", invalidates: ["documents"] }, () => Effect.void)
    assert.strictEqual((yield* search)._tag, "Live")
    yield* Effect.exit(execute({ operation: "delete", invalidates: ["documents"] }, () => down))
    assert.strictEqual((yield* search)._tag, "Live")
  }))

it.effect("scenario 45: 1,000 identical calls at once ask once; one that has less time than the beginner does not wait longer", () =>
  Effect.gen(function*() {
    const a = provider("a", Effect.delay(Effect.succeed("A"), "5 seconds"))
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: "1 minute" } })
    const get = execute({ operation: "get", cacheKey: 1 }, use)
    const many = yield* Effect.forkChild(
      Effect.all(Array.from({ length: 1000 }, () => get), { concurrency: "unbounded" })
    )
    const hurried = yield* Effect.forkChild(
      Effect.flip(execute({ operation: "get", cacheKey: 1, timeout: "1 second" }, use))
    )
    yield* TestClock.adjust("1 second")
    const late = yield* Fiber.join(hurried)
    assert.deepStrictEqual(late._tag === "AllProvidersFailed" && categories(late), ["store: DeadlineExceeded"])
    yield* TestClock.adjust("4 seconds")
    const answers = yield* Fiber.join(many)
    assert.isTrue(answers.every(({ value }) => value === "A"))
    assert.strictEqual(a.calls, 1)
  }))

it.effect("while the circuit is open the old answer is served at once, and the probe's success brings a new one", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      pipeline: { breaker: { failureThreshold: 1, recoveryTimeout: "1 minute", jitter: false } },
      cache: { fresh: "1 second", revalidate: 0, stale: "1 hour" }
    })
    const get = execute({ operation: "get", cacheKey: 1 }, use)
    yield* get
    yield* TestClock.adjust("2 seconds")
    a.answer = down
    yield* get
    const { calls } = a
    const old = yield* get
    assert.deepStrictEqual([old._tag, categories(old), a.calls - calls], ["Stale", ["a: CircuitOpen"], 0])
    a.answer = Effect.succeed("new")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual([(yield* get).value, (yield* get)._tag], ["new", "Cached"])
  }))

it.effect("who joined another's call and ran out of time is told in the words of his mode", () =>
  Effect.gen(function*() {
    const a = provider("a", Effect.delay(Effect.succeed("A"), "5 seconds"))
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: "1 minute" } })
    const options = { operation: "get", cacheKey: 1 } as const
    yield* Effect.forkChild(execute(options, use))
    yield* TestClock.adjust(0)
    const hurried = { ...options, timeout: "1 second" } as const
    const calls = yield* Effect.forkChild(Effect.all([
      Effect.flip(execute({ ...hurried, mode: Fallback.failFast() }, use)),
      Effect.flip(execute({ ...hurried, mode: Fallback.partial({ combine: () => "" }) }, use)),
      Effect.map(execute({ ...hurried, mode: Fallback.silent("none") }, use), ({ value }) => value)
    ], { concurrency: "unbounded" }))
    yield* TestClock.adjust("1 second")
    const [fast, partial, silent] = yield* Fiber.join(calls)
    assert.deepStrictEqual([fast._tag, partial._tag, silent], ["DeadlineExceeded", "TooFewAnswers", "none"])
    assert.strictEqual(a.calls, 1)
  }))

it.effect("what refreshes in the background has the service's deadline, not the caller's", () =>
  Effect.gen(function*() {
    const seen: Array<number> = []
    const a = provider("a")
    a.answer = Effect.withFiber((fiber) => {
      seen.push(fiber.getRef(Deadline.current))
      return Effect.succeed("A")
    })
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "1 second", revalidate: "1 minute" },
      deadline: "10 seconds"
    })
    const get = execute({ operation: "get", cacheKey: 1 }, use)
    yield* get
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual((yield* Deadline.within("500 millis")(get))._tag, "Stale")
    assert.deepStrictEqual(seen, [10_000, 12_000])
  }))

it.effect("tenants and operations do not share answers, and the cache can be passed by", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: "1 minute" } })
    const kinds = yield* Effect.forEach([
      { operation: "get", cacheKey: 1, tenant: "x" },
      { operation: "get", cacheKey: 1, tenant: "y" },
      { operation: "find", cacheKey: 1, tenant: "x" },
      { operation: "get", cacheKey: 1, tenant: "x" },
      { operation: "get", cacheKey: 1, tenant: "x", bypassCache: true }
    ], (options) => Effect.map(execute(options, use), ({ _tag }) => _tag))
    assert.deepStrictEqual(kinds, ["Live", "Live", "Live", "Cached", "Live"])
  }))

it.effect("who may not read it any more is not served it from the cache, not even in the outage after", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "1 second", revalidate: 0 }
    })
    const get = execute({ operation: "get", cacheKey: 1 }, use)
    yield* get
    yield* TestClock.adjust("2 seconds")
    for (const answer of [forbidden, down]) {
      a.answer = answer
      assert.strictEqual((yield* Effect.flip(get))._tag, "AllProvidersFailed")
    }
  }))

// -- level -----------------------------------------------------------------------------------------------------------

it.effect("scenario 53: at level 2 a call that needs 0 is refused without asking, one that tolerates 3 goes through", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute, level } = yield* FaultTolerance.make(Store, { ...plain, providers: [a] })
    yield* level.degrade("service unavailable")
    yield* level.degrade("service unavailable")
    const refused = yield* Effect.flip(execute({ operation: "put", requiredServiceLevel: 0 }, use))
    assert.strictEqual(refused._tag, "LevelTooLow")
    assert.strictEqual(a.calls, 0)
    assert.strictEqual((yield* execute({ operation: "get", requiredServiceLevel: 3 }, use)).value, "a")
  }))

it.effect("a gated call still gets the cache, fresh or old, and then what its mode declares", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute, level } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a],
      cache: { fresh: "10 seconds", revalidate: 0, stale: "1 minute" }
    })
    const options = { operation: "get", cacheKey: 1, requiredServiceLevel: "Full" } as const
    yield* execute(options, use)
    yield* level.force("Basic", { reason: "test", for: "1 day" })
    assert.strictEqual((yield* execute(options, use))._tag, "Cached")
    yield* TestClock.adjust("20 seconds")
    const old = yield* execute(options, use)
    assert.deepStrictEqual([old._tag, categories(old)], ["Stale", ["store: LevelTooLow"]])
    assert.strictEqual((yield* execute({ ...options, mode: Fallback.silent("none") }, use))._tag, "Stale")
    assert.strictEqual((yield* execute({ ...options, mode: Fallback.failFast() }, use))._tag, "Stale")
    yield* TestClock.adjust("1 hour")
    assert.strictEqual((yield* Effect.flip(execute(options, use)))._tag, "LevelTooLow")
    const declared = yield* execute({ ...options, mode: Fallback.graceful({ orElse: "none" }) }, use)
    assert.strictEqual(declared._tag, "Default")
    assert.strictEqual(a.calls, 1)
  }))

it.effect("scenario 51: neither alternating 429s nor five timeouts at once move the level by more than one", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const { execute, level } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], deadline: "1 second" })
    for (let i = 0; i < 20; i++) {
      a.answer = i % 2 === 0 ? Effect.fail({ status: 429 }) : Effect.succeed("ok")
      yield* Effect.exit(execute({ operation: "get" }, use))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* level.current, "Full")
    }
    a.answer = Effect.never
    const fiber = yield* Effect.forkChild(
      Effect.all(Array.from({ length: 5 }, () => Effect.exit(execute({ operation: "get" }, use))), { concurrency: 5 })
    )
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    assert.include(["Full", "Reduced"], yield* level.current)
  }))

it.effect("scenario 50: circuits take the level down and, without traffic, it comes back step by step", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", down), provider("b", down)]
    const { execute, level } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a, b],
      pipeline: { breaker: { failureThreshold: 1, recoveryTimeout: "1 minute", jitter: false } }
    })
    yield* Effect.flip(execute({ operation: "get" }, use))
    yield* TestClock.adjust("45 seconds")
    assert.strictEqual(yield* level.current, "Emergency")
    assert.include((yield* level.status).reasons.at(-1)?.reason, "a, b")
    yield* TestClock.adjust("3 minutes")
    assert.strictEqual(yield* level.current, "Full")
  }))

it.effect("one open circuit of the first choice takes the level down, though its other operations go through", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a"), provider("b")]
    const { execute, level } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a, b],
      pipeline: { breaker: { failureThreshold: 1, recoveryTimeout: "1 minute", jitter: false } }
    })
    yield* execute({ operation: "get" }, use)
    a.answer = down
    yield* execute({ operation: "search" }, use)
    yield* TestClock.adjust("45 seconds")
    assert.strictEqual(yield* level.current, "Basic")
    yield* TestClock.adjust("3 minutes")
    assert.strictEqual(yield* level.current, "Full")
  }))

it.effect("a provider's own check drives the level too", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a"), provider("b")]
    const { level } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [a, { name: "b", service: b.service, health: () => Effect.succeed(false) }]
    })
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* level.current, "Reduced")
  }))

it.effect("a provider whose circuit is open is not up, whatever its own check says", () =>
  Effect.gen(function*() {
    const a = provider("a", down)
    const { execute, level } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [{ name: "a", service: a.service, health: () => Effect.succeed(true) }],
      pipeline: { breaker: { failureThreshold: 1, recoveryTimeout: "10 minutes", jitter: false } }
    })
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* level.current, "Full")
    yield* Effect.flip(execute({ operation: "get" }, use))
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* level.current, "Emergency")
  }))

it.effect("how the level moves can be changed while it runs, and changed back", () =>
  Effect.gen(function*() {
    const state = { up: false }
    const own = { name: "a", service: provider("a").service, health: () => Effect.sync(() => state.up) }
    const { level, reconfigure } = yield* FaultTolerance.make(Store, { ...plain, providers: [own] })
    yield* reconfigure({ level: { badChecks: 100 } })
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* level.current, "Full")
    yield* reconfigure({})
    yield* TestClock.adjust("1 minute")
    assert.notStrictEqual(yield* level.current, "Full")
  }))

// -- switches --------------------------------------------------------------------------------------------------------

it.effect("scenario 52: a network error once makes two calls and one retry", () =>
  Effect.gen(function*() {
    const a = provider("a")
    a.answer = Effect.suspend(() => a.calls === 1 ? down : Effect.succeed("A"))
    const measured = yield* Telemetry.Measurements
    const { execute } = yield* FaultTolerance.make(Store, { service: "store", providers: [a] })
    const fiber = yield* Effect.forkChild(execute({ operation: "get", idempotent: true }, use))
    yield* TestClock.adjust("1 minute")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual([served.value, served.attempts, served.hedged, a.calls], ["A", 2, false, 2])
    const { services: [store] } = yield* measured.read({ services: ["store"] })
    assert.strictEqual(store?.retried, 1)
  }).pipe(Effect.provide(Telemetry.layer())))

it.effect("attempts that chaos struck before they reached the provider count too", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const measured = yield* Telemetry.Measurements
    const { execute } = yield* FaultTolerance.make(Store, { service: "store", providers: [a] })
    const fiber = yield* Effect.forkChild(execute({ operation: "get", idempotent: true }, use))
    yield* TestClock.adjust("1 minute")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual([served.value, served.attempts, served.hedged, a.calls], ["a", 3, false, 1])
    const { services: [store] } = yield* measured.read({ services: ["store"] })
    assert.strictEqual(store?.retried, 2)
  }).pipe(Effect.provide(Layer.mergeAll(
    Telemetry.layer(),
    Chaos.layer({ seed: 1, rules: [{ fault: { _tag: "Fail", reason: "NetworkError" }, times: 2 }] }, { enabled: true })
  ))))

it.effect("an answer that a second attempt beside the first brought says so", () =>
  Effect.gen(function*() {
    const a = provider("a")
    a.answer = Effect.suspend(() => a.calls === 1 ? Effect.never : Effect.succeed("A"))
    const { execute } = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [a],
      pipeline: { hedge: { delay: "100 millis" } }
    })
    const fiber = yield* Effect.forkChild(execute({ operation: "get", idempotent: true }, use))
    yield* TestClock.adjust("100 millis")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual([served.hedged, served.attempts], [true, 2])
  }))

it.effect("a provider may have policies of its own", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", Effect.never), provider("b", Effect.never)]
    const { execute } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [{ name: "a", service: a.service, pipeline: { timeout: "1 second" } }, b],
      pipeline: { timeout: "3 seconds" }
    })
    const fiber = yield* Effect.forkChild(Effect.flip(execute({ operation: "get" }, use)))
    yield* TestClock.adjust("3999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const error = yield* Fiber.join(fiber)
    assert.deepStrictEqual(error._tag === "AllProvidersFailed" && categories(error), ["a: TIMEOUT", "b: TIMEOUT"])
  }))

it.effect("retry, circuit breaker, fallback and degradation can be switched off, each by itself", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a", down), provider("b")]
    const options = { service: "store", providers: [a, b] } as const
    const idempotent = { operation: "get", idempotent: true } as const

    const noRetry = yield* FaultTolerance.make(Store, { ...options, enableRetry: false })
    yield* noRetry.execute(idempotent, use)
    assert.strictEqual(a.calls, 1)

    const noBreaker = yield* FaultTolerance.make(Store, { ...options, enableRetry: false, enableCircuitBreaker: false })
    for (let i = 0; i < 20; i++) yield* noBreaker.execute(idempotent, use)
    assert.strictEqual(a.calls, 21)

    const noFallback = yield* FaultTolerance.make(Store, { ...options, enableRetry: false, enableFallback: false })
    assert.strictEqual((yield* Effect.flip(noFallback.execute(idempotent, use)))._tag, "AllProvidersFailed")

    const noLevel = yield* FaultTolerance.make(Store, {
      ...options,
      enableRetry: false,
      enableGracefulDegradation: false
    })
    yield* noLevel.level.degrade("ignored")
    assert.strictEqual((yield* noLevel.execute({ operation: "get", requiredServiceLevel: 0 }, use)).value, "b")
  }))

it.effect("among asks the providers named, in that order; without fallback the first of them", () =>
  Effect.gen(function*() {
    const [a, b] = [provider("a"), provider("b")]
    const store = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b] })
    const asks = (names: ReadonlyArray<string>, mode?: Fallback.FailFast) =>
      Effect.map(store.among(names).execute({ operation: "get", mode }, use), ({ value }) => value)
    const reversed = store.among(["b", "a"]).execute({ operation: "get" }, use)
    assert.strictEqual((yield* reversed).value, "b")
    b.answer = down
    assert.strictEqual((yield* reversed).value, "a")
    b.answer = Effect.succeed("b")
    yield* store.reconfigure({ enableFallback: false })
    assert.deepStrictEqual([yield* asks(["b", "a"]), yield* asks(["b"]), yield* asks(["a"])], ["b", "b", "a"])
    assert.strictEqual(yield* asks(["b"], Fallback.failFast()), "b")
    b.answer = down
    assert.strictEqual((yield* Effect.flip(reversed))._tag, "AllProvidersFailed")
    for (const names of [[], ["a", "c"]]) assert.throws(() => store.among(names), InvalidOptions)

    const alone = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b], enableFallback: false })
    assert.strictEqual((yield* alone.among(["b"]).execute({ operation: "get" }, use)).value, "a")
  }))

it.effect("one call can pass by retry and circuit breaker", () =>
  Effect.gen(function*() {
    const a = provider("a", down)
    const { execute, providers } = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [a],
      pipeline: { breaker: { failureThreshold: 1 } }
    })
    const options = { operation: "get", idempotent: true, bypassRetry: true } as const
    yield* Effect.flip(execute(options, use))
    assert.strictEqual(a.calls, 1)
    const refused = yield* Effect.flip(execute(options, use))
    assert.deepStrictEqual(refused._tag === "AllProvidersFailed" && categories(refused), ["a: CircuitOpen"])
    a.answer = Effect.succeed("A")
    assert.strictEqual((yield* execute({ ...options, bypassCircuitBreaker: true }, use)).value, "A")
    assert.isAbove(providers[0]!.pipeline.availability(0, "get"), 0)
  }))

it.effect("USE_FAULT_TOLERANT=false, and no other text, asks the first provider alone, without any policy", () =>
  Effect.gen(function*() {
    for (const [value, policies] of [["false", false], ["FALSE", true], ["0", true], ["true", true]] as const) {
      const [a, b] = [provider("a", down), provider("b")]
      const made = FaultTolerance.make(Store, { ...plain, providers: [a, b], cache: { fresh: "1 minute" } }).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ USE_FAULT_TOLERANT: value })))
      )
      const { execute, level } = yield* made
      for (let i = 0; i < 10; i++) yield* Effect.exit(execute({ operation: "get", cacheKey: 1 }, use))
      assert.strictEqual(a.calls, policies ? 1 : 10, value)
      assert.strictEqual(b.calls, policies ? 1 : 0, value)
      yield* level.degrade("x")
      a.answer = Effect.succeed("A")
      const gated = yield* Effect.exit(execute({ operation: "put", requiredServiceLevel: 0 }, use))
      assert.strictEqual(Exit.isSuccess(gated), !policies, value)
      // What a mode declares holds anyway: the type says so.
      a.answer = down
      assert.include(["Default", "Live"], (yield* execute({ operation: "x", mode: Fallback.silent("") }, use))._tag)
    }
  }))

it.effect("options that make no sense are refused by name", () =>
  Effect.gen(function*() {
    const a = provider("a")
    const fieldOf = Effect.fnUntraced(function*(options: Partial<FaultTolerance.Options<Store, typeof Store.Service>>) {
      const made = FaultTolerance.make(Store, { service: "s", providers: [{ service: a.service }], ...options })
      const exit = yield* Effect.exit(made as Effect.Effect<unknown, unknown, Scope.Scope>)
      const error = Exit.findErrorOption(exit)
      return Option.isSome(error) && error.value instanceof InvalidOptions ? error.value.field : undefined
    })
    assert.strictEqual(yield* fieldOf({ providers: [] }), "providers")
    assert.strictEqual(yield* fieldOf({ providers: [a, a] }), "providers")
    assert.strictEqual(yield* fieldOf({ providers: [a.layer, { ...a, name: "primary" }] }), "providers")
    assert.strictEqual(yield* fieldOf({ providers: [{ name: "empty" }] }), "providers")
    assert.strictEqual(yield* fieldOf({ providers: [{ layer: undefined }] }), "providers")
    assert.strictEqual(yield* fieldOf({ providers: [{ name: "", service: a.service }] }), "providers.name")
    assert.strictEqual(yield* fieldOf({ service: "" }), "service")
    for (const field of ["pipeline", "cache", "level"]) assert.strictEqual(yield* fieldOf({ [field]: false }), field)
    assert.strictEqual(yield* fieldOf({ deadline: 0 }), "deadline")
    assert.strictEqual(yield* fieldOf({ partialResultsThreshold: 2 }), "partialResultsThreshold")
    assert.strictEqual(yield* fieldOf({ pipeline: { retry: { maxRetries: 11 } } }), "retry.maxRetries")
    assert.strictEqual(
      yield* fieldOf({ providers: [a, { ...a, name: "b", pipeline: { retry: { maxRetries: 11 } } }] }),
      "providers.b.retry.maxRetries"
    )
  }))

// -- observing -------------------------------------------------------------------------------------------------------

it.effect("scenario 54: successes and failures reconcile, and a call that was helped counts as a success", () =>
  Effect.gen(function*() {
    const measured = yield* Telemetry.Measurements
    const [a, b] = [provider("a"), provider("b")]
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b] })
    const get = Effect.exit(execute({ operation: "get" }, use))
    yield* get
    a.answer = down
    yield* get
    b.answer = down
    yield* get
    const { flows, services: [store] } = yield* measured.read({ services: ["store"] })
    assert.deepStrictEqual([store?.total, store?.successful, store?.failed, store?.fallbacks], [3, 2, 1, 2])
    assert.strictEqual(store?.errors.ServiceUnavailableError, 1)
    assert.isNumber(store?.latency.p95)
    assert.deepStrictEqual(flows.map(({ count, from, to }) => [from, to, count]), [["a", "b", 2]])
  }).pipe(Effect.provide(Telemetry.layer())))

it.effect("a request that is wrong in itself burns no error budget, and is counted by its category", () => {
  const counted: Array<string> = []
  const recorder: Telemetry.Recorder = {
    ...idleRecorder,
    end: (outcome) => void counted.push(outcome),
    error: (category) => void counted.push(category)
  }
  return Effect.gen(function*() {
    const a = provider("a", invalid)
    const { execute } = yield* FaultTolerance.make(Store, {
      service: "store",
      providers: [a],
      enableRetry: false,
      enableCircuitBreaker: false,
      pipeline: { timeout: undefined }
    })
    yield* Effect.flip(execute({ operation: "get" }, use))
    a.answer = down
    yield* Effect.flip(execute({ operation: "get" }, use))
    assert.deepStrictEqual(counted, ["success", "InvalidRequestError", "failure", "ServiceUnavailableError"])
  }).pipe(
    Effect.provideService(Telemetry.Telemetry, {
      recorder: (service) => service === "store" ? recorder : idleRecorder
    })
  )
})

it.effect("events tell who was given up on and how the call was answered", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    yield* Effect.gen(function*() {
      const [a, b] = [provider("a", down), provider("b", down)]
      const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a, b] })
      yield* execute({ operation: "get", mode: Fallback.silent("none") }, use)
    }).pipe(Effect.provideService(Event.Sink, (event) => void events.push(event)))
    assert.deepStrictEqual(
      events.flatMap((event) => event._tag === "FellBack" ? [`${event.from} -> ${event.to}: ${event.category}`] : []),
      ["a -> b: SERVICE_UNAVAILABLE", "b -> Default: SERVICE_UNAVAILABLE"]
    )
  }))

it.effect("a refused call is not counted as a failure, an interrupted one as neither", () =>
  Effect.gen(function*() {
    const ends: Array<string> = []
    const recorder: Telemetry.Recorder = { ...idleRecorder, end: (outcome) => void ends.push(outcome) }
    yield* Effect.gen(function*() {
      const a = provider("a", Effect.never)
      const { execute, level } = yield* FaultTolerance.make(Store, { ...plain, providers: [a] })
      const fiber = yield* Effect.forkChild(execute({ operation: "get" }, use), { startImmediately: true })
      ends.length = 0
      yield* Fiber.interrupt(fiber)
      yield* level.degrade("x")
      yield* Effect.flip(execute({ operation: "get", requiredServiceLevel: 0 }, use))
    }).pipe(
      Effect.provideService(Telemetry.Telemetry, { recorder: (name) => name === "store" ? recorder : idleRecorder })
    )
    assert.deepStrictEqual(ends, ["cancelled", "refused"])
  }))

// -- the specification's services, on fakes --------------------------------------------------------------------------

it.effect("scenario 58: of a batch whose middle part fails the rest is stored, and every item has its report", () =>
  Effect.gen(function*() {
    interface Report {
      readonly stored: ReadonlyArray<number>
      readonly failed: ReadonlyArray<number>
    }
    class PartFailed {
      readonly status = 503
      readonly report: Report
      constructor(report: Report) {
        this.report = report
      }
    }
    const addMany = (items: ReadonlyArray<number>): Effect.Effect<Report, PartFailed> =>
      Effect.fail(
        new PartFailed({
          stored: items.filter((item) => item < 10 || item >= 20),
          failed: items.filter((item) => item >= 10 && item < 20)
        })
      )
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [provider("a")] })
    const reportOf = (failures: ReadonlyArray<Served.Failure>) => {
      const cause = (failures[0]!.error as ProviderError).cause
      return cause instanceof PartFailed
        ? Option.some({ value: cause.report, missing: cause.report.failed.map(String) })
        : Option.none()
    }
    const served = yield* execute(
      { operation: "addMany", mode: Fallback.graceful({ salvage: reportOf }) },
      () => addMany(Array.from({ length: 25 }, (_, index) => index))
    )
    assert.deepStrictEqual([served.value.stored.length, served._tag === "Partial" && served.missing.length], [15, 10])
  }))

it.effect("scenario 60: with its circuits open the service answers at once, by bounded work", () =>
  Effect.gen(function*() {
    const [a, memory] = [provider("a", down), provider("memory")]
    let probes = 0
    const { execute, providers } = yield* FaultTolerance.make(Store, {
      ...plain,
      providers: [{ name: "a", service: a.service, availability: () => Effect.sync(() => ++probes > 0) }, memory],
      pipeline: { breaker: { failureThreshold: 1 } }
    })
    yield* execute({ operation: "sources" }, use)
    const before = a.calls
    const served = yield* execute({ operation: "sources" }, use)
    assert.deepStrictEqual([served.value, categories(served), a.calls - before, probes], [
      "memory",
      ["a: CircuitOpen"],
      0,
      2
    ])
    assert.deepStrictEqual(
      providers.filter(({ pipeline }) => pipeline.availability(0, "sources") === 0).map(({ name }) => name),
      ["memory"]
    )
  }))

it.effect("scenario 61: an embedder of another space is not asked, and there is a typed refusal", () =>
  Effect.gen(function*() {
    class Embedder extends Context.Service<Embedder, {
      readonly space: string
      readonly embed: (text: string) => Effect.Effect<ReadonlyArray<number>, HttpFailure>
    }>()("test/Embedder") {}
    const index = "openai/3-small/1536"
    let asked = false
    const small = { space: index, embed: () => down }
    const other = {
      space: "cohere/v3/1536",
      embed: () =>
        Effect.sync((): ReadonlyArray<number> => {
          asked = true
          return [0]
        })
    }
    const { execute } = yield* FaultTolerance.make(Embedder, {
      ...plain,
      providers: [small, other].map((service) => ({
        name: service.space,
        service,
        availability: ({ space }: typeof Embedder.Service) => Effect.succeed(space === index)
      }))
    })
    const error = yield* Effect.flip(execute({ operation: "embed" }, (embedder) => embedder.embed("text")))
    assert.deepStrictEqual(categories(error as Fallback.AllProvidersFailed), [
      "openai/3-small/1536: SERVICE_UNAVAILABLE",
      "cohere/v3/1536: Unavailable"
    ])
    assert.isFalse(asked)
  }))

// -- interruption and end --------------------------------------------------------------------------------------------

it.effect("scenario 57: when the scope has closed nothing runs and nothing ticks", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    let running = 0
    const slow = Effect.suspend(() => {
      running++
      return Effect.onExit(Effect.never, () => Effect.sync(() => void running--))
    })
    let checks = 0
    const a = provider("a")
    const { execute } = yield* Scope.provide(
      FaultTolerance.make(Store, {
        ...plain,
        providers: [{ name: "a", service: a.service, health: () => Effect.sync(() => checks++) }],
        cache: { fresh: 10, revalidate: "1 hour" }
      }),
      scope
    )
    const get = execute({ operation: "get", cacheKey: 1 }, use)
    yield* get
    yield* TestClock.adjust("6 seconds")
    a.answer = slow
    assert.strictEqual((yield* get)._tag, "Stale")
    assert.strictEqual(running, 1)
    yield* Scope.close(scope, Exit.void)
    const before = checks
    assert.strictEqual(running, 0)
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(checks, before)
  }))

it.effect("an interruption is never an answer, whatever the mode declares", () =>
  Effect.gen(function*() {
    const a = provider("a", Effect.interrupt)
    const { execute } = yield* FaultTolerance.make(Store, { ...plain, providers: [a], cache: { fresh: 1 } })
    for (const mode of [Fallback.silent(""), Fallback.graceful({ orElse: "" }), Fallback.cached()]) {
      const exit = yield* Effect.exit(execute({ operation: "get", cacheKey: 1, mode }, use))
      assert.isTrue(Exit.hasInterrupts(exit))
    }
    a.answer = Effect.die("bug")
    const exit = yield* Effect.exit(execute({ operation: "get", mode: Fallback.silent("") }, use))
    assert.isTrue(Exit.hasDies(exit))
  }))

it("interruption law: wherever calls are interrupted, in every mode, counts and providers end as if they had not been", () => {
  law(
    1500,
    Effect.scoped(Effect.gen(function*() {
      let running = 0
      let begun = 0
      let ended = 0
      const recorder = {
        ...idleRecorder,
        begin: () => void begun++,
        end: () => void ended++
      }
      const answer = Effect.suspend(() => {
        running++
        return Effect.gen(function*() {
          yield* someSteps(15)
          if (yield* Random.nextBoolean) return yield* down
          return "answer"
        }).pipe(Effect.onExit(() => Effect.sync(() => void running--)))
      })
      const { cache, execute } = yield* FaultTolerance.make(Store, {
        service: "store",
        providers: ["a", "b"].map((name) => ({ name, service: provider(name, answer).service })),
        pipeline: { retry: { maxRetries: 1, baseDelay: 1 }, bulkhead: { limit: 3 } },
        cache: { fresh: 5, revalidate: 0 },
        fallbackConcurrency: 2,
        deadline: 60
      }).pipe(Effect.provideService(Telemetry.Telemetry, {
        recorder: (service) => service === "store" ? recorder : idleRecorder
      }))
      const modes = [
        Fallback.graceful({ orElse: "none" }),
        Fallback.silent("none"),
        Fallback.failFast(),
        Fallback.partial({ combine: () => "some" })
      ]
      const call = Effect.gen(function*() {
        const mode = modes[yield* Random.nextIntBetween(0, 4)]!
        const cacheKey = (yield* Random.nextBoolean) ? yield* Random.nextIntBetween(0, 2) : undefined
        return yield* execute({ operation: "get", idempotent: true, mode, cacheKey }, use)
      })
      yield* Effect.forEach(
        Array.from({ length: 6 }),
        () => interruptedSomewhere(call, 40),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([running, begun - ended, (yield* cache!.stats).inFlight], [0, 0, 0])
    }))
  )
})
