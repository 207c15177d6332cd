/**
 * One service over several providers: who is asked, what is answered when they fail, and from where. The order is fixed,
 * outer to inner:
 *
 *     observe · level gate · cache · last resort · deadline · fallback · [a pipeline per provider]
 *
 * A hit and a gated call touch no provider, so they say nothing about its health; the last resort stands outside the
 * deadline, so that spent time still gets an old answer. Interruption is never an answer.
 */
import {
  Cause,
  Clock,
  Config,
  Context,
  Duration,
  Effect,
  Exit,
  type Fiber,
  Layer,
  Option,
  Result,
  type Schema,
  type Scope
} from "effect"
import type { CircuitOpen } from "./CircuitBreaker.ts"
import * as Deadline from "./Deadline.ts"
import * as Event from "./Event.ts"
import * as Fallback from "./Fallback.ts"
import { checked, checks } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import * as Pipeline from "./Pipeline.ts"
import { mayRetry, ProviderError, type ReasonTag } from "./ProviderError.ts"
import * as ResponseCache from "./ResponseCache.ts"
import * as Retry from "./Retry.ts"
import * as Served from "./Served.ts"
import * as ServiceLevel from "./ServiceLevel.ts"
import { type CallOutcome, type Recorder, Telemetry } from "./Telemetry.ts"

// -- options ---------------------------------------------------------------------------------------------------------

/** The policies around one provider; its name is the provider's. */
export type PipelineOptions = Omit<Pipeline.Options, "provider">

/** One provider: by a Layer of the service's key, or built already. */
export interface Provider<Id, S> {
  /** In answers, errors, events and metrics. Defaults to its place: primary, secondary, emergency, provider-4 ... */
  readonly name?: string | undefined
  readonly layer?: Layer.Layer<Id, unknown, unknown> | undefined
  readonly service?: S | undefined
  /** What differs from the policies of all providers. */
  readonly pipeline?: PipelineOptions | undefined
  /** Whether it makes sense to ask, such as whether it is configured. Asked before every call, for 5 seconds at most. */
  readonly availability?: ((service: S) => Effect.Effect<boolean, unknown>) | undefined
  /** Asks the provider how it is; drives the service level. Not asked by default: circuits tell. */
  readonly health?: ((service: S) => Effect.Effect<unknown, unknown>) | undefined
}

export interface Options<Id, S> {
  /** Names the service in errors, events and metrics. */
  readonly service: string
  /** First choice first; each is built once. A Layer alone is a provider with nothing special. */
  readonly providers: ReadonlyArray<Layer.Layer<Id, unknown, unknown> | Provider<Id, S>>
  /** The policies around each provider, over the defaults: retry, circuit breaker and attempt timeout as they come. */
  readonly pipeline?: PipelineOptions | undefined
  /** Defaults to no cache. With one, a call that gives a `cacheKey` may be answered `Cached` or `Stale`. */
  readonly cache?: ResponseCache.Options | ResponseCache.ResponseCache | undefined
  /** How the service level moves; one made elsewhere may be shared. It is driven by the providers' circuits. */
  readonly level?: ServiceLevel.Options | ServiceLevel.Service | undefined
  /** For a whole call, all providers together; an earlier deadline of the caller holds too. Defaults to `"30 seconds"`. */
  readonly deadline?: Duration.Input | undefined
  /** The most that one provider gets of the time, which is shared by the providers left. Defaults to no limit. */
  readonly fallbackTimeout?: Duration.Input | undefined
  /** How many calls at once may be with a provider that is not their first. Defaults to 10. */
  readonly fallbackConcurrency?: number | undefined
  /** Whether the next provider is asked after this error. Defaults to the error's own verdict. */
  readonly fallbackOn?: ((error: ProviderError) => boolean) | undefined
  /** The share of providers that must answer in mode `partial`, where the mode gives none. Defaults to 0.3. */
  readonly partialResultsThreshold?: number | undefined
  /** Defaults to true. */
  readonly enableRetry?: boolean | undefined
  /** Defaults to true. */
  readonly enableCircuitBreaker?: boolean | undefined
  /** Without it only the first provider is asked. Defaults to true. */
  readonly enableFallback?: boolean | undefined
  /** Without it the level stays Full and gates nothing. Defaults to true. */
  readonly enableGracefulDegradation?: boolean | undefined
}

/** Options of one call whose answer is an `A`. */
export interface CallOptions<A = unknown> {
  /** What is asked for, as a class of calls: `"search"`, not the text searched for. The specification's `operationName`. */
  readonly operation: string
  /** The whole request, as any structural value; equal requests share an answer. Without it nothing is cached. */
  readonly cacheKey?: unknown
  /** On whose behalf: nobody is answered from another's cache. */
  readonly tenant?: string | undefined
  /** Defaults to `Fallback.graceful()`. */
  readonly mode?: Fallback.Mode<A> | undefined
  /** The worst service level that the call tolerates: 0 is Full only, 4 is always. Defaults to always. */
  readonly requiredServiceLevel?: ServiceLevel.LevelInput | undefined
  /** For the whole call, in place of the service's `deadline`. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether the work may be done twice. Defaults to true where a `cacheKey` is given. Without it no provider is asked
   * again for what may have been done; `false` keeps it from the next provider too, unless it surely was not done.
   */
  readonly idempotent?: boolean | undefined
  /** The cached answer goes when one of these is invalidated. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Tags that this call, a write, makes invalid, whatever comes of it. */
  readonly invalidates?: ReadonlyArray<string> | undefined
  /** Lets the cached answer be shared between processes; see `ResponseCache.layerShared`. */
  readonly schema?: Schema.Codec<A, unknown> | undefined
  readonly priority?: number | undefined
  readonly correlationId?: string | undefined
  readonly bypassRetry?: boolean | undefined
  readonly bypassCircuitBreaker?: boolean | undefined
  /** Neither reads nor writes the cache. */
  readonly bypassCache?: boolean | undefined
}

// -- what may come of it ---------------------------------------------------------------------------------------------

type Given<O, Field extends string> = O extends { readonly [F in Field]: infer V } ?
  ([V] extends [undefined] ? false : true)
  : false

type ModeOf<C> = C extends { readonly mode: infer M } ? ([M] extends [undefined] ? Fallback.Graceful<never, never> : M)
  : Fallback.Graceful<never, never>

type KindsOfMode<M> = M extends Fallback.Graceful<infer _A, infer K> ? K
  : M extends Fallback.Silent<infer _A> ? "Default"
  : M extends Fallback.Partial<infer _A> ? "Partial"
  : never

/** The kinds of answer that a call may get. */
export type KindsOf<HasCache extends boolean, C> =
  | "Live"
  | KindsOfMode<ModeOf<C>>
  | (HasCache extends true ? (Given<C, "cacheKey"> extends true ? "Cached" | "Stale" : never) : never)

type ErrorsOfMode<M, E> = M extends Fallback.Silent<infer _A> ? never
  : M extends Fallback.Partial<infer _A> ? Fallback.TooFewAnswers
  : M extends Fallback.FailFast ? ProviderError | Deadline.DeadlineExceeded | E
  : M extends Fallback.Graceful<infer _A, infer K>
    ? "Default" extends K ? ProviderError : ProviderError | Fallback.AllProvidersFailed
  : ProviderError | Fallback.AllProvidersFailed

type LevelErrorOf<C> = Given<C, "requiredServiceLevel"> extends false ? never
  : ModeOf<C> extends Fallback.Silent<infer _A> ? never
  : ModeOf<C> extends Fallback.Graceful<infer _A, infer K> ? "Default" extends K ? never : ServiceLevel.LevelTooLow
  : ServiceLevel.LevelTooLow

/** The errors that a call may fail with; `E` are those that the pipelines' stages add. */
export type ErrorsOf<E, C> = ErrorsOfMode<ModeOf<C>, E> | LevelErrorOf<C>

type OwnErrors<O> = O extends { readonly pipeline: infer P } ? Pipeline.ErrorOf<P> : never

/** The errors that the stages of a configuration add. */
export type StageErrors<O> = O extends { readonly providers: ReadonlyArray<infer P> }
  ? O extends { readonly enableCircuitBreaker: false } ? Exclude<OwnErrors<O> | OwnErrors<P>, CircuitOpen>
  : OwnErrors<O> | OwnErrors<P> | CircuitOpen
  : never

type LayerOf<P> = P extends Layer.Layer<infer _I, infer E, infer R> ? Layer.Layer<never, E, R>
  : P extends { readonly layer: Layer.Layer<infer _I, infer E, infer R> } ? Layer.Layer<never, E, R>
  : Layer.Layer<never>

type LayersOf<O> = O extends { readonly providers: ReadonlyArray<infer P> } ? LayerOf<P> : never

/** Providers of the service `S` with all their policies. */
export interface FaultTolerance<S, HasCache extends boolean = boolean, E = never> {
  readonly service: string
  /**
   * Asks the providers, in the way that the call's mode says. What `use` fails with is classified as a `ProviderError`.
   */
  readonly execute: <A, E0, R, const C extends CallOptions<NoInfer<A>>>(
    options: C,
    use: (provider: S) => Effect.Effect<A, E0, R>
  ) => Effect.Effect<Served.Served<A, KindsOf<HasCache, C>>, ErrorsOf<E, C>, R>
  readonly providers: ReadonlyArray<Built<S>>
  readonly level: ServiceLevel.Service
  /** The cache, where there is one. */
  readonly cache: ResponseCache.ResponseCache | undefined
}

/** A provider as it was built. */
export interface Built<S> {
  readonly name: string
  readonly service: S
  readonly pipeline: Pipeline.Pipeline<unknown>
}

// -- making it -------------------------------------------------------------------------------------------------------

/** `false`, and nothing else, runs the service without policies: the first provider, uncached, as it is. */
const enabled = Config.String("USE_FAULT_TOLERANT").pipe(
  Config.option,
  Config.map((value) => Option.getOrElse(value, () => "") !== "false")
)

const ordinals = ["primary", "secondary", "emergency"]

const nameOf = (provider: object, index: number): string =>
  "name" in provider && typeof provider.name === "string"
    ? provider.name
    : ordinals[index] ?? `provider-${index + 1}`

/**
 * Builds the providers, once and in order, and the policies around them. All of it lives as long as the scope.
 *
 * **Example** (A lookup that outlives its first provider)
 *
 * ```ts
 * import { Context, Effect, Layer } from "effect"
 * import { FaultTolerance } from "holdfast"
 *
 * class Geocoder extends Context.Service<Geocoder, {
 *   readonly lookup: (address: string) => Effect.Effect<string, Error>
 * }>()("docs/Geocoder") {}
 * const Primary = Layer.succeed(Geocoder, { lookup: () => Effect.fail(new Error("connect ECONNREFUSED")) })
 * const Backup = Layer.succeed(Geocoder, { lookup: (address) => Effect.succeed(`${address}: 52.5 N`) })
 *
 * const program = Effect.gen(function*() {
 *   const geocoder = yield* FaultTolerance.make(Geocoder, { service: "geocoder", providers: [Primary, Backup] })
 *   const place = yield* geocoder.execute({ operation: "lookup" }, (geocoder) => geocoder.lookup("Berlin"))
 *   return `${place.value}, by ${place._tag === "Live" ? place.provider : "nobody"}`
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => Berlin: 52.5 N, by secondary
 * ```
 */
export const make = <Id, S, const O extends Options<Id, S>>(
  key: Context.Key<Id, S>,
  options: O
): Effect.Effect<
  FaultTolerance<S, Given<O, "cache">, StageErrors<O>>,
  InvalidOptions | Layer.Error<LayersOf<O>>,
  Scope.Scope | Layer.Services<LayersOf<O>>
> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types of the options say what is in them
  build(key, options) as Effect.Effect<never>

const build = Effect.fnUntraced(function*<Id, S>(key: Context.Key<Id, S>, options: Options<Id, S>) {
  const { service } = options
  const settings = yield* checked(() => settingsOf(options))
  const on = yield* Effect.orElseSucceed(enabled, () => true)
  const is = (flag: boolean | undefined): boolean => on && flag !== false

  const members: Array<Member<S>> = []
  for (
    const [index, item] of (is(options.enableFallback) ? options.providers : options.providers.slice(0, 1)).entries()
  ) {
    const provider: Provider<Id, S> = isLayer(item) ? { layer: item } : item
    const name = nameOf(provider, index)
    const { breaker, retry, ...others } = on ? { ...defaults, ...options.pipeline, ...provider.pipeline } : {}
    members.push({
      name,
      service: provider.service ?? Context.get(yield* Layer.build(provider.layer!), key),
      availability: provider.availability,
      health: provider.health,
      pipeline: yield* variantsOf({
        ...others,
        provider: name,
        retry: is(options.enableRetry) ? retry : undefined,
        breaker: is(options.enableCircuitBreaker) ? breaker : undefined
      })
    })
  }

  const level = options.level !== undefined && "refusal" in options.level
    ? options.level
    : yield* ServiceLevel.make({
      service,
      ...options.level,
      checks: is(options.enableGracefulDegradation) ? [checkOf(members), ...options.level?.checks ?? []] : []
    })
  const cache = !on || options.cache === undefined
    ? undefined
    : "parts" in options.cache
    ? options.cache
    : yield* ResponseCache.make({ name: service, ...options.cache })
  const telemetry = yield* Telemetry
  const core: Core<S> = {
    ...settings,
    deadlineMillis: on ? settings.deadlineMillis : Infinity,
    service,
    members,
    level: is(options.enableGracefulDegradation) ? level : undefined,
    cache,
    sink: yield* Event.Sink,
    recorder: (operation) => telemetry?.recorder(service, operation),
    limit: { limit: settings.fallbackConcurrency, running: 0 },
    fallbackOn: options.fallbackOn ?? ((error) => error.verdicts.fallback === "Next")
  }
  const self: FaultTolerance<S, boolean, unknown> = {
    service,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types above say what the mode makes of a call
    execute: (options, use) => execute(core, options as CallOptions, use) as Effect.Effect<never>,
    providers: members.map(({ name, pipeline, service }) => ({ name, service, pipeline: pipeline(false, false) })),
    level,
    cache
  }
  return self
})

const defaults = { retry: true, breaker: true, timeout: true } as const satisfies PipelineOptions

const isLayer = <Id>(
  item: Layer.Layer<Id, unknown, unknown> | object
): item is Layer.Layer<Id, unknown, unknown> => Layer.isLayer(item)

type Settings =
  & Pick<
    Options<never, never>,
    "deadline" | "fallbackConcurrency" | "fallbackTimeout" | "partialResultsThreshold"
  >
  & { readonly providers: ReadonlyArray<{ readonly name?: string | undefined } | object> }

const settingsOf = (options: Settings) => {
  const { deadline, fallbackConcurrency, fallbackTimeout, partialResultsThreshold, providers } = options
  const { ensure, int, millis, number } = checks("FaultTolerance")
  ensure(providers.length > 0, "providers", "must hold at least one")
  ensure(
    providers.every((provider) => isLayer(provider) || "layer" in provider || "service" in provider),
    "providers",
    "must each have a layer or a service"
  )
  ensure(new Set(providers.map(nameOf)).size === providers.length, "providers", "must have different names")
  return {
    deadlineMillis: millis("deadline", deadline, "30 seconds", { min: 1 }),
    fallbackTimeoutMillis: fallbackTimeout === undefined
      ? Infinity
      : millis("fallbackTimeout", fallbackTimeout, 0, { min: 1 }),
    fallbackConcurrency: int("fallbackConcurrency", fallbackConcurrency, 10),
    partialResultsThreshold: number("partialResultsThreshold", partialResultsThreshold, 0.3, { max: 1 })
  }
}

/** The pipeline without retry, without breaker, or with both; they share what is left. */
const variantsOf = Effect.fnUntraced(function*(options: Pipeline.Options) {
  const whole = yield* Pipeline.make(options)
  const shared = { ...options, breaker: whole.breaker, rateLimit: whole.rateLimit, bulkhead: whole.bulkhead }
  const noRetry = yield* Pipeline.make({ ...shared, retry: undefined })
  const noBreaker = yield* Pipeline.make({ ...shared, breaker: undefined })
  const neither = yield* Pipeline.make({ ...shared, retry: undefined, breaker: undefined })
  return (bypassRetry: boolean, bypassBreaker: boolean): Pipeline.Pipeline<Refusal> =>
    bypassRetry ? (bypassBreaker ? neither : noRetry) : bypassBreaker ? noBreaker : whole
})

/** What drives the level: a provider is up when its circuits let calls through and its own check, if any, is content. */
const checkOf = <S>(members: ReadonlyArray<Member<S>>): ServiceLevel.Check =>
  ServiceLevel.providersCheck(members.map(({ health, name, pipeline, service }) => {
    // A pipeline knows of the operations that went through it; those with retry and those without are apart.
    const lets = Effect.map(
      Clock.currentTimeMillis,
      (now) => [true, false].every((bypassRetry) => pipeline(bypassRetry, false).availability(now) <= 0)
    )
    return {
      name,
      up: health === undefined
        ? lets
        : Effect.flatMap(
          lets,
          (is) => is ? Effect.map(health(service), (answer) => answer !== false) : Effect.succeed(false)
        )
    }
  }))

// -- one call --------------------------------------------------------------------------------------------------------

interface Member<S> {
  readonly name: string
  readonly service: S
  readonly availability: Provider<never, S>["availability"]
  readonly health: Provider<never, S>["health"]
  readonly pipeline: (bypassRetry: boolean, bypassBreaker: boolean) => Pipeline.Pipeline<Refusal>
}

/** An error of a stage. */
type Refusal = Pipeline.ErrorOf<Required<PipelineOptions>>

/** What a call may fail with, whatever its mode. */
type Failing =
  | ProviderError
  | Refusal
  | Deadline.DeadlineExceeded
  | Fallback.AllProvidersFailed
  | Fallback.TooFewAnswers
  | ServiceLevel.LevelTooLow

type AnyServed = Served.Served<unknown>
type Asking = Effect.Effect<AnyServed, Failing, unknown>

interface Core<S> extends ReturnType<typeof settingsOf> {
  readonly service: string
  readonly members: ReadonlyArray<Member<S>>
  readonly level: ServiceLevel.Service | undefined
  readonly cache: ResponseCache.ResponseCache | undefined
  readonly sink: Event.Sink
  readonly recorder: (operation: string) => Recorder | undefined
  readonly limit: Fallback.Limit
  readonly fallbackOn: (error: ProviderError) => boolean
}

const execute = <S>(
  core: Core<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>
): Asking => {
  const recorder = core.recorder(options.operation)
  const plain: Asking = Effect.withFiber((fiber) => answer(core, options, use, recorder, fiber))
  const counted = recorder === undefined ? plain : observed(plain, recorder)
  const { invalidates } = options
  return invalidates === undefined || core.cache === undefined
    ? counted
    : Effect.ensuring(counted, Effect.forEach(invalidates, core.cache.invalidateTag, { discard: true }))
}

/** Counts the call. The frame stands before the call is begun, so that every beginning has its end. */
const observed = (self: Asking, recorder: Recorder): Asking =>
  Effect.withFiber((fiber) => {
    let startedAt: number | undefined
    return Effect.onExitPrimitive(
      Effect.suspend(() => {
        startedAt = nowOf(fiber)
        recorder.begin(startedAt)
        return self
      }),
      (exit) => {
        if (startedAt === undefined) return undefined
        const now = nowOf(fiber)
        const outcome = outcomeOf(exit)
        recorder.end(outcome, now - startedAt, now)
        const category = outcome === "failure" ? categoryOf(exit) : undefined
        if (category !== undefined) recorder.error(category, now)
        return undefined
      }
    )
  })

/** One call: the order of the stages, written once. */
const answer = <S>(
  core: Core<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>,
  recorder: Recorder | undefined,
  fiber: Fiber.Fiber<unknown, unknown>
): Asking => {
  const { cache, level } = core
  const { cacheKey, requiredServiceLevel, timeout } = options
  const mode = options.mode ?? plainGraceful
  const deadlineMillis = timeout === undefined
    ? core.deadlineMillis
    : Duration.toMillis(Duration.fromInputUnsafe(timeout))

  /** Gives the work until the deadline of the call; what ran out of time is told by the work itself. */
  const inTime = (self: Asking): Asking =>
    Effect.withFiber((fiber) =>
      Effect.provideService(
        self,
        Deadline.current,
        Math.min(nowOf(fiber) + deadlineMillis, fiber.getRef(Deadline.current))
      )
    )

  const lookup = inTime(Effect.suspend(() => ask(core, options, use, mode, recorder)))
  const call: ResponseCache.Call<unknown, Failing> | undefined =
    cache === undefined || cacheKey === undefined || options.bypassCache === true ? undefined : {
      key: ResponseCache.keyOf(cacheKey, options),
      tags: options.tags ?? [],
      schema: options.schema,
      lookup,
      late: () => lateOf(mode, core.service, options.operation, deadlineMillis),
      onResult: recorder === undefined ? undefined : (result) => recorder.cache(result, nowOf(fiber))
    }

  /** What is answered when nobody does. */
  const resort = (error: Failing, gated: boolean): Asking => {
    if (mode._tag === "FailFast" && !gated) return Effect.fail(error)
    const failures = failuresOf(core.service, error)
    const served = mode._tag === "Silent"
      ? Served.orElse(mode.empty, failures)
      : held(error, failures) ?? declared(mode, error, failures)
    if (served === undefined) return Effect.fail(error)
    const last = failures.at(-1)
    tell(core, options.operation, recorder, nowOf(fiber), last, served._tag)
    return Effect.succeed(served)
  }
  const held = (error: Failing, failures: ReadonlyArray<Served.Failure>): AnyServed | undefined =>
    call !== undefined && cache?.parts.qualifies(error) === true
      ? cache.parts.lastResort(call, nowOf(fiber), failures)
      : undefined

  if (level !== undefined && requiredServiceLevel !== undefined) {
    const refusal = level.refusal(requiredServiceLevel, nowOf(fiber))
    if (refusal !== undefined) return resort(refusal, true)
  }
  const fresh = call && cache?.parts.fresh(call, fiber)
  if (fresh !== undefined) return Effect.succeed(fresh)
  return Effect.catchCause(
    call === undefined || cache === undefined ? lookup : inTime(cache.parts.ask(call)),
    (cause) => {
      const found = Cause.findError(cause)
      return Result.isFailure(found) ? Effect.failCause(found.failure) : resort(found.success, false)
    }
  )
}

const plainGraceful = Fallback.graceful()

/** What a mode declares for the case that nobody answers. A request that is wrong in itself gets none of it. */
const declared = (
  mode: Exclude<Fallback.Mode, Fallback.Silent<unknown>>,
  error: Failing,
  failures: ReadonlyArray<Served.Failure>
): AnyServed | undefined => {
  if (mode._tag !== "Graceful" || (error instanceof ProviderError && !ResponseCache.qualifies(error))) return undefined
  const salvaged = mode.salvage?.(failures)
  return salvaged !== undefined && Option.isSome(salvaged)
    ? Served.partial(salvaged.value.value, salvaged.value.missing, failures)
    : Option.getOrUndefined(Option.map(mode.orElse, (value) => Served.orElse(value, failures)))
}

/** Asks providers, in the way of the mode. */
const ask = <S>(
  core: Core<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>,
  mode: Fallback.Mode,
  recorder: Recorder | undefined
): Asking => {
  const { operation } = options
  const { members, service } = core
  const idempotent = options.idempotent ?? options.cacheKey !== undefined
  const sourceOf = (member: Member<S>): Fallback.Source<unknown, ProviderError | Refusal, unknown> => {
    const tally: Fallback.Tally = { attempts: 0, hedged: false }
    return {
      name: member.name,
      tally,
      available: member.availability?.(member.service),
      call: Effect.suspend(() =>
        member.pipeline(options.bypassRetry === true, options.bypassCircuitBreaker === true).protect({
          operation,
          idempotent,
          priority: options.priority,
          tenant: options.tenant,
          correlationId: options.correlationId
        })(tallied(use(member.service), tally, recorder))
      )
    }
  }
  switch (mode._tag) {
    case "FailFast": {
      const { call, name, tally } = sourceOf(members[0]!)
      return Effect.withFiber((fiber) =>
        Effect.map(
          Deadline.until(fiber.getRef(Deadline.current))(call),
          (value) => Served.live(value, name, tally)
        )
      )
    }
    case "Partial":
      return Effect.map(
        Fallback.gather(members.map(sourceOf), {
          threshold: core.partialResultsThreshold,
          ...mode.options,
          service,
          operation
        }),
        ({ answered, failures, missing }) => {
          const value = mode.combine(answered)
          return missing.length > 0
            ? Served.partial(value, missing, failures)
            : Served.live(value, answered.map(({ source }) => source).join("+"))
        }
      )
    case "Graceful":
    case "Silent":
    case "Cached":
      return Fallback.inOrder(members.map(sourceOf), {
        service,
        operation,
        fallbackTimeout: core.fallbackTimeoutMillis === Infinity ? undefined : core.fallbackTimeoutMillis,
        limit: core.limit,
        fallbackOn: options.idempotent === false
          ? (error) => core.fallbackOn(error) && surelyNotDone(error)
          : core.fallbackOn,
        onNext: (failure, next, now) => tell(core, operation, recorder, now, failure, next)
      })
  }
}

/** Whether work that failed so was refused before it was begun. */
const surelyNotDone = (error: ProviderError): boolean => mayRetry(error, false) || refusedBefore.has(error.reason._tag)

const refusedBefore: ReadonlySet<ReasonTag> = new Set([
  "AuthenticationError",
  "AuthorizationError",
  "ConfigurationError"
])

/** Counts the attempts at one provider. An attempt that is not one more than the retries began beside another. */
const tallied = (
  self: Effect.Effect<unknown, unknown, unknown>,
  tally: Fallback.Tally,
  recorder: Recorder | undefined
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.withFiber((fiber) => {
    tally.attempts++
    if (tally.attempts > 1) {
      const hedge = tally.attempts > fiber.getRef(Retry.attempt)
      if (hedge) tally.hedged = true
      if (recorder !== undefined) recorder[hedge ? "hedge" : "retry"](nowOf(fiber))
    }
    return self
  })

const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

// -- telling ---------------------------------------------------------------------------------------------------------

const tell = <S>(
  { service, sink }: Core<S>,
  operation: string,
  recorder: Recorder | undefined,
  at: number,
  failure: Served.Failure | undefined,
  to: string
): void => {
  const from = failure?.provider ?? service
  recorder?.fallback(from, to, at)
  sink?.(Event.FellBack.make({ at, service, operation, from, to, category: failure?.category ?? "" }))
}

/** What a caller is told who joined another's call and ran out of time before it. */
const lateOf = (mode: Fallback.Mode, service: string, operation: string, millis: number): Failing => {
  const error = new Deadline.DeadlineExceeded({ after: Duration.millis(millis) })
  const failures = [Served.failure(service, error)]
  switch (mode._tag) {
    case "FailFast":
      return error
    case "Partial":
      return new Fallback.TooFewAnswers({ service, operation, answered: [], required: 1, failures })
    case "Graceful":
    case "Silent":
    case "Cached":
      return Fallback.allFailed(service, operation, failures)
  }
}

const failuresOf = (service: string, error: Failing): ReadonlyArray<Served.Failure> =>
  "failures" in error
    ? error.failures
    : [Served.failure(error instanceof ProviderError ? error.provider : service, error)]

/** Failures that say that nobody was asked. */
const refusals: ReadonlySet<string> = new Set([
  "CircuitOpen",
  "BulkheadFull",
  "RateLimited",
  "FallbackFull",
  "Unavailable",
  "LevelTooLow"
])

const outcomeOf = (exit: Exit.Exit<AnyServed, Failing>): CallOutcome => {
  if (exit._tag === "Success") return "success"
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return Exit.hasInterrupts(exit) ? "cancelled" : "failure"
  return failuresOf("", error.value).every(({ category }) => refusals.has(category)) ? "refused" : "failure"
}

/** The category of the last provider that failed. */
const categoryOf = (exit: Exit.Exit<AnyServed, Failing>): ReasonTag | undefined => {
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return "UnknownError"
  const last = failuresOf("", error.value).findLast(({ error }) => error instanceof ProviderError)?.error
  return last instanceof ProviderError ? last.reason._tag : undefined
}
