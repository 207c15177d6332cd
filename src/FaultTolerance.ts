/**
 * One service over several providers: who is asked, what is answered when they fail, and from where. The order is fixed,
 * outer to inner:
 *
 *     observe · level gate · cache · last resort · deadline · fallback · [a pipeline per provider]
 *
 * A hit and a gated call touch no provider, so they say nothing about its health; the last resort stands outside the
 * deadline, so that spent time still gets an old answer. Interruption is never an answer.
 */
import { Clock, Config, Context, type Duration, Effect, Layer, Option, type Scope, Semaphore } from "effect"
import type { CircuitOpen } from "./CircuitBreaker.ts"
import type * as Deadline from "./Deadline.ts"
import * as Event from "./Event.ts"
import type * as Fallback from "./Fallback.ts"
import { checked, checks } from "./internal/options.ts"
import {
  allOrNone,
  changed,
  checkedStages,
  given,
  type PipelineChanges,
  rateLimitOf,
  type Step,
  stepOf,
  stepsOf,
  type Variants,
  variantsOf
} from "./internal/pipelineChanges.ts"
import {
  type CallOptions,
  type Core,
  execute,
  type Live,
  type Member,
  type Refusal
} from "./internal/pipelineService.ts"
import { InvalidOptions } from "./InvalidOptions.ts"
import type * as Pipeline from "./Pipeline.ts"
import type { ProviderError } from "./ProviderError.ts"
import * as ResponseCache from "./ResponseCache.ts"
import type * as Served from "./Served.ts"
import * as ServiceLevel from "./ServiceLevel.ts"
import { Telemetry } from "./Telemetry.ts"

export type { PipelineChanges } from "./internal/pipelineChanges.ts"
export type { CallOptions } from "./internal/pipelineService.ts"

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

/** What may change while a service runs; what is not given is as `make` was told. */
export interface Changes extends
  Pick<
    Options<never, never>,
    | "deadline"
    | "fallbackTimeout"
    | "fallbackConcurrency"
    | "partialResultsThreshold"
    | "enableRetry"
    | "enableCircuitBreaker"
    | "enableFallback"
    | "enableGracefulDegradation"
  >
{
  /** Of all providers; what a provider has for itself goes before. */
  readonly pipeline?: PipelineChanges | undefined
  /** Of single providers, by name. */
  readonly providers?: { readonly [name: string]: PipelineChanges } | undefined
  readonly cache?: Partial<Omit<ResponseCache.Options, "name">> | undefined
  readonly level?: Partial<Omit<ServiceLevel.Options, "service" | "checks">> | undefined
}

// -- what may come of it ---------------------------------------------------------------------------------------------

/** Whether a field is, or may be, given. */
type Given<O, Field extends string> = Field extends keyof O ? ([O[Field]] extends [undefined] ? false : true) : false

/** All that the mode may be. */
type ModeOf<C> =
  | (C extends { readonly mode: object } ? never : Fallback.Graceful<never, never>)
  | ("mode" extends keyof C ? Exclude<C["mode"], undefined> : never)

type KindsOfMode<M> = M extends Fallback.Graceful<infer _A, infer K> ? K
  : M extends Fallback.Silent<infer _A> ? "Default"
  : M extends Fallback.Partial<never, unknown> ? "Partial"
  : never

/** The kinds of answer that a call may get. */
export type KindsOf<HasCache extends boolean, C> =
  | "Live"
  | KindsOfMode<ModeOf<C>>
  | (HasCache extends true ? (Given<C, "cacheKey"> extends true ? "Cached" | "Stale" : never) : never)

type ErrorsOfMode<M, E> = M extends Fallback.Silent<infer _A> ? never
  : M extends Fallback.Partial<never, unknown> ? Fallback.TooFewAnswers
  : M extends Fallback.FailFast ? ProviderError | Deadline.DeadlineExceeded | E
  : M extends Fallback.Graceful<infer _A, infer K>
    ? "Default" extends K ? ProviderError : ProviderError | Fallback.AllProvidersFailed
  : ProviderError | Fallback.AllProvidersFailed

type LevelErrorOf<M> = M extends Fallback.Silent<infer _A> ? never
  : M extends Fallback.Graceful<infer _A, infer K> ? "Default" extends K ? never : ServiceLevel.LevelTooLow
  : ServiceLevel.LevelTooLow

/** The errors that a call may fail with; `E` are those that the pipelines' stages add. */
export type ErrorsOf<E, C> =
  | ErrorsOfMode<ModeOf<C>, E>
  | (Given<C, "requiredServiceLevel"> extends true ? LevelErrorOf<ModeOf<C>> : never)

type OwnErrors<O> = O extends { readonly pipeline?: infer P } ? Pipeline.ErrorOf<NonNullable<P>> : never

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
   *
   * **Gotchas**
   *
   * An error of your own that the classifier does not know is `UNKNOWN`: it counts against the provider's circuit, and the
   * next provider is asked. Where no other provider would answer differently, let a rule say so, or answer with a value
   * instead: see the second example of `make`.
   */
  readonly execute: <A, E0, R, const C extends Omit<CallOptions, "mode" | "schema">>(
    options: C & Pipeline.KnownFields<C, CallOptions> & Pick<CallOptions<A>, "mode" | "schema">,
    use: (provider: S) => Effect.Effect<A, E0, R>
  ) => Effect.Effect<Served.Served<A, KindsOf<HasCache, C>>, ErrorsOf<E, C>, R>
  readonly providers: ReadonlyArray<Built<S>>
  readonly level: ServiceLevel.Service
  /** The cache, where there is one. */
  readonly cache: ResponseCache.ResponseCache | undefined
  /**
   * Goes on under other options, all of them or, where one is refused, none. Circuits, permits, budgets, the level and
   * answers held stay; calls under way end under the options that they began with.
   *
   * **Gotchas**
   *
   * What adds an error to the types, such as a bulkhead, can be changed and turned off, but not added where there was
   * none at the start. A stage made elsewhere can only be turned off.
   */
  readonly reconfigure: (changes: Changes) => Effect.Effect<void, InvalidOptions>
  /** What `make` was told, without the providers. */
  readonly options: Omit<Options<never, never>, "providers">
  /**
   * The same service over some of its providers, in this order; without fallback the first of them is asked. A name that
   * no provider has is a defect.
   */
  readonly among: (providers: ReadonlyArray<string>) => Pick<FaultTolerance<S, HasCache, E>, "execute">
}

/** A provider as it was built. */
export interface Built<S> {
  readonly name: string
  readonly service: S
  /** Its own policies as `make` was told. */
  readonly options: PipelineOptions | undefined
  /** Follows `reconfigure`. */
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
 *
 * **Example** (An error of one's own, which no other provider would answer differently)
 *
 * ```ts
 * import { Context, Data, Effect, Layer } from "effect"
 * import { Classifier, FaultTolerance } from "holdfast"
 *
 * class SeatTaken extends Data.TaggedError("SeatTaken")<{ readonly seat: string }> {}
 * class Booking extends Context.Service<Booking, {
 *   readonly book: (seat: string) => Effect.Effect<string, SeatTaken>
 * }>()("docs/Booking") {}
 * const Taken = Layer.succeed(Booking, { book: (seat) => Effect.fail(new SeatTaken({ seat })) })
 * const Free = Layer.succeed(Booking, { book: (seat) => Effect.succeed(seat) })
 *
 * const taken = Classifier.when("seat-taken", { tag: "SeatTaken" }, { tag: "ValidationError" })
 * const program = Effect.gen(function*() {
 *   const booking = yield* FaultTolerance.make(Booking, { service: "booking", providers: [Taken, Free] })
 *   return yield* booking.execute({ operation: "book" }, (booking) => booking.book("12A"))
 * }).pipe(Effect.flip, Effect.scoped, Effect.provide(Classifier.layer({ rules: [taken] })))
 * const error = await Effect.runPromise(program)
 * error._tag === "ProviderError" && error.category // => VALIDATION
 * ```
 */
export const make = <Id, S, const O extends Options<Id, S>>(
  key: Context.Key<Id, S>,
  options: O & Pipeline.Known<O, Options<Id, S>>
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

  const members: Array<Checked<S>> = []
  for (
    const [index, item] of (is(options.enableFallback) ? options.providers : options.providers.slice(0, 1)).entries()
  ) {
    const provider: Provider<Id, S> = isLayer(item) ? { layer: item } : item
    const name = nameOf(provider, index)
    const optionsUnder = (changes: Changes) =>
      on ? pipelineOptions(name, options, provider, changes) : { provider: name }
    members.push({
      name,
      service: provider.service ?? Context.get(yield* Layer.build(provider.layer!), key),
      availability: provider.availability,
      health: provider.health,
      options: provider.pipeline,
      optionsUnder,
      ...withVariants(yield* at(name, provider.pipeline, {}, variantsOf(optionsUnder({}), undefined)))
    })
  }

  const level = options.level !== undefined && "refusal" in options.level
    ? options.level
    : yield* ServiceLevel.make({
      service,
      ...options.level,
      checks: is(options.enableGracefulDegradation)
        ? [checkOf(members, (index) => live.members[index]!), ...options.level?.checks ?? []]
        : []
    })
  const cache = !on || options.cache === undefined
    ? undefined
    : "parts" in options.cache
    ? options.cache
    : yield* ResponseCache.make({ name: service, ...options.cache })
  const telemetry = yield* Telemetry
  const sink = yield* Event.Sink
  const about = { flows: flowsOf(members.map(({ name }) => name), cache !== undefined) }
  const limit: Fallback.Limit = { limit: settings.fallbackConcurrency, running: 0 }
  const coreOf = (
    flags: Pick<Changes, "enableFallback" | "enableGracefulDegradation">,
    settings: ReturnType<typeof settingsOf>,
    members: ReadonlyArray<Checked<S>>
  ): Core<S> => ({
    ...settings,
    deadlineMillis: on ? settings.deadlineMillis : Infinity,
    service,
    members: is(flags.enableFallback) ? members : members.slice(0, 1),
    level: is(flags.enableGracefulDegradation) ? level : undefined,
    cache,
    sink,
    recorder: (operation) => telemetry?.recorder(service, operation, about),
    limit,
    fallbackOn: options.fallbackOn ?? ((error) => error.verdicts.fallback === "Next")
  })
  // What `reconfigure` replaces: a call reads one field of it, when it begins.
  const live: { core: Core<S>; members: ReadonlyArray<Checked<S>>; changes: Changes } = {
    core: coreOf(options, settings, members),
    members,
    changes: {}
  }

  const lock = yield* Semaphore.make(1)
  const reconfigure = Effect.fnUntraced(
    function*(changes: Changes): Effect.fn.Return<void, InvalidOptions> {
      const settings = yield* checked(() => {
        checkChanges(options, members, changes)
        return settingsOf({ ...options, ...given(changes), providers: options.providers })
      })
      const next: Array<Checked<S>> = []
      const steps: Array<Step> = []
      for (const [index, member] of members.entries()) {
        const [first, old, now] = [
          member.optionsUnder({}),
          member.optionsUnder(live.changes),
          member.optionsUnder(changes)
        ]
        yield* checkedStages(first, now)
        const going = { first: member.variants, live: live.members[index]!.variants }
        const made = Effect.flatMap(
          rateLimitOf(first, old, now, going),
          (rateLimit) => variantsOf(now, { ...going, rateLimit })
        )
        next.push({ ...member, ...withVariants(yield* at(member.name, member.options, changes, made)) })
        steps.push(...yield* stepsOf(member.variants, old, now))
      }
      if (cache !== undefined && (changes.cache ?? live.changes.cache) !== undefined) {
        const under = ({ cache }: Changes) => Object.assign({ name: service }, options.cache, given(cache))
        steps.push(...stepOf("cache", cache.configure, under(live.changes), under(changes)))
      }
      if ((changes.level ?? live.changes.level) !== undefined) {
        const under = ({ level }: Changes) => Object.assign({ service }, options.level, given(level))
        steps.push(...stepOf("level", level.configure, under(live.changes), under(changes)))
      }
      yield* allOrNone(steps)
      limit.limit = settings.fallbackConcurrency
      live.core = coreOf({ ...options, ...given(changes) }, settings, next)
      live.members = next
      live.changes = changes
    },
    Effect.uninterruptible,
    (self) => lock.withPermit(self)
  )

  const executing = (live: Live<S>): FaultTolerance<S, boolean, unknown>["execute"] => (options, use) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types above say what the mode makes of a call
    execute(live, options as CallOptions, use) as Effect.Effect<never>
  const self: FaultTolerance<S, boolean, unknown> = {
    service,
    execute: executing(live),
    providers: members.map(({ name, options, service, variants: { whole } }, index) => ({
      name,
      service,
      options,
      pipeline: following(whole, () => live.members[index]!.variants.whole)
    })),
    level,
    cache,
    reconfigure,
    options,
    among: (names) => {
      const { ensure } = checks("FaultTolerance")
      const all = new Set(options.providers.map(nameOf))
      ensure(names.length > 0, "among", "must name at least one provider")
      for (const name of names) ensure(all.has(name), "among", `names ${name}, which is no provider here`)
      let seen: Core<S> | undefined
      let core = live.core
      return {
        execute: executing({
          get core() {
            if (seen !== live.core) {
              seen = live.core
              const named = names.flatMap((name) => live.members.filter((member) => member.name === name))
              // Without fallback the first of them is asked; where that was off from the start, there is but one.
              const asked = named.length === 0 ? seen.members : named
              core = { ...seen, members: seen.members.length < live.members.length ? asked.slice(0, 1) : asked }
            }
            return core
          }
        })
      }
    }
  }
  return self
})

/** Where a call may go: from each provider to the next, and from the last to an answer without one. */
const flowsOf = (names: ReadonlyArray<string>, cached: boolean) => {
  const last = names.at(-1) ?? ""
  const flows = (from: string, to: string, modes: ReadonlyArray<string>) => modes.map((mode) => ({ from, to, mode }))
  return [
    ...names.slice(1).flatMap((to, index) => flows(names[index]!, to, ["graceful", "silent", "cached"])),
    ...flows(last, "Default", ["graceful", "silent"]),
    ...flows(last, "Stale", cached ? ["graceful", "cached"] : [])
  ]
}

/** A pipeline that is always the one in force. Its breaker and bulkhead stay; a rate limit may be replaced. */
const following = (
  first: Pipeline.Pipeline<Refusal>,
  now: () => Pipeline.Pipeline<Refusal>
): Pipeline.Pipeline<Refusal> => ({
  ...first,
  protect: (options) => (self) => Effect.suspend(() => now().protect(options)(self)),
  promise: (options, start) => Effect.suspend(() => now().promise(options, start)),
  availability: (at, key) => now().availability(at, key),
  get rateLimit() {
    return now().rateLimit
  }
})

/** The options of a provider's pipeline: those of all providers, then its own, each under what has changed of them. */
const pipelineOptions = <Id, S>(
  name: string,
  options: Options<Id, S>,
  provider: Provider<Id, S>,
  changes: Changes
): Pipeline.Options => {
  const common = changed({ ...defaults, ...options.pipeline }, changes.pipeline)
  const { breaker, retry, ...others }: PipelineOptions = changed(
    { ...common, ...provider.pipeline },
    changes.providers?.[name]
  )
  return {
    ...others,
    provider: name,
    retry: (changes.enableRetry ?? options.enableRetry) === false ? undefined : retry,
    breaker: (changes.enableCircuitBreaker ?? options.enableCircuitBreaker) === false ? undefined : breaker
  }
}

/** Names the provider whose own options make no sense. */
const at = <A>(
  name: string,
  own: PipelineOptions | undefined,
  { providers }: Changes,
  self: Effect.Effect<A, InvalidOptions>
): Effect.Effect<A, InvalidOptions> =>
  Effect.mapError(self, (error) =>
    Object.hasOwn({ ...own, ...providers?.[name] }, error.field.split(".", 1)[0]!)
      ? new InvalidOptions({ module: "FaultTolerance", field: `providers.${name}.${error.field}`, why: error.why })
      : error)

/** Refuses changes of what was never there, or is not ours. */
const checkChanges = <Id, S>(
  options: Options<Id, S>,
  members: ReadonlyArray<Checked<S>>,
  changes: Changes
): void => {
  const { ensure } = checks("FaultTolerance")
  for (const name of Object.keys(changes.providers ?? {})) {
    ensure(members.some((member) => member.name === name), `providers.${name}`, "is no provider of this service")
  }
  for (const flag of ["enableFallback", "enableGracefulDegradation"] as const) {
    ensure(options[flag] !== false || changes[flag] !== true, flag, "was off at the start and stays so")
  }
  const { cache, level } = options
  ensure(changes.cache === undefined || cache !== undefined, "cache", "cannot be added: there was none at the start")
  ensure(
    changes.cache === undefined || cache === undefined || !("parts" in cache),
    "cache",
    "was made elsewhere; change it there"
  )
  ensure(
    changes.level === undefined || level === undefined || !("refusal" in level),
    "level",
    "was made elsewhere; change it there"
  )
}

const defaults = { retry: true, breaker: true, timeout: true } as const satisfies PipelineOptions

const isLayer = <Id>(
  item: Layer.Layer<Id, unknown, unknown> | object
): item is Layer.Layer<Id, unknown, unknown> => Layer.isLayer(item)

type Settings =
  & Pick<
    Options<never, never>,
    "deadline" | "fallbackConcurrency" | "fallbackTimeout" | "partialResultsThreshold"
  >
  & { readonly [field in "service" | "pipeline" | "cache" | "level"]?: unknown }
  & { readonly providers: ReadonlyArray<object> }

const settingsOf = (options: Settings) => {
  const { deadline, fallbackConcurrency, fallbackTimeout, partialResultsThreshold, providers } = options
  const { ensure, int, millis, number, options: isOptions, text } = checks("FaultTolerance")
  text("service", options.service)
  for (const field of ["pipeline", "cache", "level"] as const) isOptions(field, options[field])
  ensure(Array.isArray(providers) && providers.length > 0, "providers", "must hold at least one")
  ensure(
    providers.every((provider: Partial<Provider<never, unknown>> | null) =>
      isLayer(provider ?? {}) || provider?.layer !== undefined || provider?.service !== undefined
    ),
    "providers",
    "must each have a layer or a service"
  )
  for (const name of providers.map(nameOf)) text("providers.name", name)
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

interface Checked<S> extends Member<S> {
  readonly health: Provider<never, S>["health"]
  readonly options: PipelineOptions | undefined
  readonly optionsUnder: (changes: Changes) => Pipeline.Options
  readonly variants: Variants
}

const withVariants = (variants: Variants): Pick<Checked<never>, "variants" | "pipeline"> => {
  const { neither, noBreaker, noRetry, whole } = variants
  return {
    variants,
    pipeline: (bypassRetry, bypassBreaker) =>
      bypassRetry ? (bypassBreaker ? neither : noRetry) : bypassBreaker ? noBreaker : whole
  }
}

/** What drives the level: a provider is up when all its circuits let calls through and its own check, if any, is content. */
const checkOf = <S>(
  members: ReadonlyArray<Checked<S>>,
  live: (index: number) => Checked<S>
): ServiceLevel.Check =>
  ServiceLevel.providersCheck(members.map(({ health, name, service }, index) => {
    // A pipeline knows of the operations that went through it; those with retry and those without are apart.
    const lets = Effect.map(Clock.currentTimeMillis, (now) =>
      [true, false].every((bypassRetry) => {
        const { availability, operations } = live(index).pipeline(bypassRetry, false)
        return Array.from(operations.keys()).every((key) => availability(now, key) <= 0)
      }))
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
