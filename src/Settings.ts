/**
 * Settings that change while services run: what is in force and where each value came from, patches and files that are
 * taken whole or refused with reasons, and what has changed so far.
 *
 * **Details**
 *
 * Later sources stand over earlier ones: default, preset (what the program told `FaultTolerance.make`), file, environment,
 * patch. What comes from outside is held to the specification's ranges, and to rules between fields. Circuits, permits,
 * budgets and answers held go on, and calls under way end under the settings that they began with.
 */
import { Clock, Context, Duration, Effect, Exit, Layer, Option, Result, Schema, Semaphore } from "effect"
import { Toml } from "effect/encoding"
import * as Event from "./Event.ts"
import type * as FaultTolerance from "./FaultTolerance.ts"
import {
  at,
  fields,
  isObject,
  type Json,
  leaves,
  merge,
  named,
  namedServices,
  PipelineForm,
  type Problem,
  problemsOf,
  type ProviderForm,
  type ServiceForm,
  SettingsForm
} from "./internal/settingsForm.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import type * as Pipeline from "./Pipeline.ts"

export type { Problem, ProviderForm, ServiceForm } from "./internal/settingsForm.ts"

/** Settings cannot be taken; nothing has changed. */
export class InvalidSettings extends Schema.TaggedError<InvalidSettings>()("InvalidSettings", {
  problems: Schema.Array(Schema.Struct({ field: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ field, message }) => field === "" ? message : `${field} ${message}`).join("; ")
  }
}

const invalid = (problems: ReadonlyArray<Problem>) => new InvalidSettings({ problems })

/** Where a value came from. */
export const Source = Schema.Literals(["default", "preset", "file", "environment", "patch"])
export type Source = typeof Source.Type

/** The settings of one service in force. Times are milliseconds. */
export const EffectiveService = Schema.Struct({
  /** As a patch may give them; every provider with all of its policies. */
  settings: Schema.Record(Schema.String, Schema.Unknown),
  /** The source of each value, by its path in `settings`. */
  from: Schema.Record(Schema.String, Source)
})

/** All settings in force. */
export const Effective = Schema.Struct({
  /** Counts the changes since the start. */
  version: Schema.Int,
  services: Schema.Record(Schema.String, EffectiveService)
})
export type Effective = typeof Effective.Type

/** A change that was made. */
export const Change = Schema.Struct({
  version: Schema.Int,
  /** Epoch milliseconds. */
  at: Schema.Finite,
  source: Source,
  /** What is in force now, and was before; a value that is or was not there is left out. */
  fields: Schema.Array(Schema.Struct({
    field: Schema.String,
    from: Schema.optionalKey(Schema.Unknown),
    to: Schema.optionalKey(Schema.Unknown)
  }))
})
export type Change = typeof Change.Type

/** A service whose settings change: what `FaultTolerance.make` gives is one. */
export interface Target {
  readonly service: string
  readonly options: Omit<FaultTolerance.Options<never, never>, "providers">
  readonly providers: ReadonlyArray<{
    readonly name: string
    readonly options?: FaultTolerance.PipelineOptions | undefined
  }>
  readonly reconfigure: (changes: FaultTolerance.Changes) => Effect.Effect<void, InvalidOptions>
}

export interface Options {
  readonly services: ReadonlyArray<Target>
  /** What a file says, parsed. */
  readonly file?: unknown
  /** What the environment says, in the form of a file; it stands over the file. */
  readonly environment?: unknown
  /** How many changes are remembered. Defaults to 100. */
  readonly history?: number | undefined
}

export interface Service {
  readonly effective: Effect.Effect<Effective>
  /**
   * Takes a JSON merge patch: `null` takes back what earlier patches said of a field. All of it is taken, or it fails and
   * nothing has changed. Patches go one after the other.
   */
  readonly patch: (patch: unknown) => Effect.Effect<Effective, InvalidSettings>
  /** Puts what a file says in place of what it said before. */
  readonly load: (file: unknown) => Effect.Effect<Effective, InvalidSettings>
  /** The changes made, oldest first. */
  readonly history: Effect.Effect<ReadonlyArray<Change>>
}

/** The settings of the running services. */
export class Settings extends Context.Service<Settings, Service>()("holdfast/Settings") {
  static readonly layer = (options: Options): Layer.Layer<Settings, InvalidSettings> =>
    Layer.effect(Settings, make(options))
}

/** Reads a file's text, TOML where its name ends so and JSON otherwise. */
export const parse = (name: string, text: string): Effect.Effect<unknown, InvalidSettings> =>
  Effect.fromResult(
    name.endsWith(".toml")
      ? Toml.parse(text)
      : Result.try({ try: (): unknown => JSON.parse(text), catch: (error) => new Error(String(error)) })
  ).pipe(Effect.mapError(({ message }) => invalid([{ field: "", message: `${name}: ${message}` }])))

// -- pipelines for themselves ----------------------------------------------------------------------------------------

/** A pipeline's settings, as options. */
export interface PipelineSettings {
  readonly options: Pipeline.Options
  /** What the client library tries by itself for each of our attempts. */
  readonly attemptsInside: number | undefined
}

/**
 * Decodes the pipelines that a file describes: one, several under `pipelines` by name, or those of the providers under
 * `services`.
 */
export const pipelines = Effect.fnUntraced(function*(
  file: unknown,
  name: string
): Effect.fn.Return<ReadonlyArray<PipelineSettings>, InvalidSettings> {
  if (isObject(file) && isObject(file["services"])) {
    const { services = {} } = yield* decodeServices(file)
    return Object.entries(services).flatMap(([service, { deadline, providers = {}, ...common }]) =>
      (Object.keys(providers).length === 0 ? [undefined] : Object.keys(providers)).map((provider) => {
        const own: ProviderForm = merge(sectionsOf(common), provider === undefined ? {} : providers[provider] ?? {})
        const { options } = pipelineOf(provider === undefined ? service : `${service}/${provider}`, own)
        return {
          options: { retry: true, breaker: true, timeout: true, deadline: deadline ?? "30 seconds", ...options },
          attemptsInside: undefined
        }
      })
    )
  }
  const listed = isObject(file) ? file["pipelines"] : undefined
  const several = isObject(listed)
  const all = several ? Object.entries(listed) : [[name, file] as const]
  return yield* Effect.forEach(all, ([provider, own]) =>
    Effect.gen(function*() {
      const path = several ? ["pipelines", provider] : []
      const [value, twice] = named(own, several ? `pipelines.${provider}.` : "")
      if (twice.length > 0) return yield* invalid(twice)
      const { attemptsInside, ...settings } = yield* Schema.decodeUnknownEffect(PipelineForm)(value, strict).pipe(
        Effect.mapError(({ issue }) => invalid(problemsOf(issue, path)))
      )
      return { ...pipelineOf(settings.provider ?? provider, settings), attemptsInside }
    }))
})

const strict = { errors: "all", onExcessProperty: "error" } as const

const pipelineOf = (
  provider: string,
  { bulkhead, circuitBreaker, deadline, hedge, rateLimit, retry, timeout }: Omit<PipelineForm, "attemptsInside">
): { readonly options: Pipeline.Options } => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a rate limit or hedge without what it needs is refused
  options: Object.fromEntries(
    Object.entries({ provider, deadline, timeout, retry, breaker: circuitBreaker, hedge, rateLimit, bulkhead })
      .filter(([, value]) => value !== undefined && value !== false)
  ) as unknown as Pipeline.Options
})

const refuse = (problems: ReadonlyArray<Problem>): Effect.Effect<void, InvalidSettings> =>
  problems.length === 0 ? Effect.void : Effect.fail(invalid(problems))

const decodeServices = Effect.fnUntraced(
  function*(value: unknown): Effect.fn.Return<SettingsForm, InvalidSettings> {
    const [own, twice] = namedServices(value)
    yield* refuse(twice)
    return yield* Schema.decodeUnknownEffect(SettingsForm)(own, strict).pipe(
      Effect.mapError(({ issue }) => invalid(problemsOf(issue)))
    )
  }
)

// -- what is in force ------------------------------------------------------------------------------------------------

const stageNames = ["timeout", "retry", "circuitBreaker", "hedge", "rateLimit", "bulkhead"] as const

/** What holds where nobody says anything, of the stages that are there. */
const defaultsOf = (given: Json): Json => {
  const has = (path: ReadonlyArray<string>): boolean => at(given, path) !== undefined
  const stages: { readonly [stage: string]: Json } = {
    retry: {
      maxRetries: 3,
      baseDelay: 100,
      maxDelay: 20_000,
      backoffMultiplier: 2,
      jitter: has(["retry", "jitterFactor"]) ? "proportional" : "full",
      maxRetryAfter: 60_000
    },
    circuitBreaker: {
      failureThreshold: 5,
      failureRate: 0.5,
      monitorWindow: 30_000,
      recoveryTimeout: 5_000,
      recoveryMultiplier: 2,
      jitter: true,
      successThreshold: 3,
      probeFailureThreshold: 2,
      rampUp: 10_000
    },
    hedge: { maxHedges: 1 },
    rateLimit: { window: 1_000, algorithm: "token-bucket", onLimit: "wait", maxWait: 30_000 },
    bulkhead: { limit: 64, queue: 64, maxWait: 1_000 },
    cache: {
      fresh: 60_000,
      revalidate: 60_000,
      ...(has(["cache", "cacheRetention"]) ? {} : { stale: 3_600_000 }),
      capacity: 1_000
    }
  }
  const always = new Set(["retry", "circuitBreaker"])
  return {
    deadline: 30_000,
    timeout: 10_000,
    fallback: { fallbackConcurrency: 10, partialResultsThreshold: 0.3 },
    level: { checkEvery: 5_000, badChecks: 2, spacing: 5_000, dwell: 30_000 },
    ...Object.fromEntries(
      Object.entries(stages).filter(([stage]) => {
        const own = given[stage]
        return own === undefined ? always.has(stage) : isObject(own)
      })
    )
  }
}

const times = new Set([
  "baseDelay",
  "maxDelay",
  "maxRetryAfter",
  "maxElapsed",
  "monitorWindow",
  "recoveryTimeout",
  "maxRecoveryTimeout",
  "probeLease",
  "rampUp",
  "slowCallDuration",
  "delay",
  "window",
  "maxWait",
  "fresh",
  "revalidate",
  "stale",
  "cacheRetention",
  "checkEvery",
  "spacing",
  "dwell"
])

const millisOf = (value: unknown): number | undefined => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- anything else is no duration
  const duration = Duration.fromInput(value as Duration.Input)
  const millis = Option.isSome(duration) ? Duration.toMillis(duration.value) : Infinity
  return Number.isFinite(millis) ? millis : undefined
}

/** The fields of a section that are data; a stage made elsewhere tells nothing. */
const sectionOf = (section: keyof typeof fields, options: unknown): unknown => {
  if (options === true) return {}
  if (!isObject(options)) return undefined
  return Object.fromEntries(
    fields[section].flatMap((field) => {
      const value = times.has(field) && options[field] !== undefined ? millisOf(options[field]) : options[field]
      return ["string", "number", "boolean"].includes(typeof value) ? [[field, value]] : []
    })
  )
}

/** A provider's policies as a program gave them. */
const presetOfProvider = (options: FaultTolerance.PipelineOptions | undefined): Json => {
  const { breaker, bulkhead, hedge, rateLimit, retry, timeout } = options ?? {}
  const own = {
    timeout: timeout === undefined || timeout === true
      ? undefined
      : millisOf(isObject(timeout) && "timeout" in timeout ? timeout["timeout"] : timeout),
    retry: sectionOf("retry", retry),
    circuitBreaker: sectionOf("circuitBreaker", breaker),
    hedge: sectionOf("hedge", hedge),
    rateLimit: sectionOf("rateLimit", rateLimit),
    bulkhead: sectionOf("bulkhead", bulkhead)
  }
  return present({
    ...own,
    // Named, but as nothing: left out.
    ...(options !== undefined && "retry" in options && retry === undefined ? { retry: false } : {}),
    ...(options !== undefined && "breaker" in options && breaker === undefined ? { circuitBreaker: false } : {})
  })
}

const present = (value: Json): Json =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined))

/** A service's options as a program gave them. */
const presetOf = ({ options, providers }: Target): Json => {
  const { deadline, enableCircuitBreaker, enableFallback, enableGracefulDegradation, enableRetry } = options
  const { fallbackConcurrency, fallbackTimeout, partialResultsThreshold } = options
  return present({
    ...presetOfProvider(options.pipeline),
    deadline: deadline === undefined ? undefined : millisOf(deadline),
    fallback: present({
      fallbackTimeout: fallbackTimeout === undefined ? undefined : millisOf(fallbackTimeout),
      fallbackConcurrency,
      partialResultsThreshold
    }),
    cache: options.cache === undefined ? undefined : sectionOf("cache", options.cache),
    level: sectionOf("level", options.level),
    enableRetry,
    enableCircuitBreaker,
    enableFallback,
    enableGracefulDegradation,
    providers: Object.fromEntries(providers.map(({ name, options }) => [name, presetOfProvider(options)]))
  })
}

const sectionsOf = (value: Json): Json =>
  Object.fromEntries(stageNames.flatMap((stage) => value[stage] === undefined ? [] : [[stage, value[stage]]]))

const sources = ["file", "environment", "patch"] as const
type Outside = typeof sources[number]

/** What each source says of all services, under the settings' own names. */
type Layers = { readonly [S in Outside]: unknown }

const together = (layers: Layers): unknown => sources.reduce<unknown>((all, source) => merge(all, layers[source]), {})

/** One service's settings with where they came from. */
const effectiveOf = (target: Target, overlay: ServiceForm, layers: Layers): typeof EffectiveService.Type => {
  const preset = presetOf(target)
  const own = merge(preset, overlay)
  const common = merge(defaultsOf(own), own)
  const providers = target.providers.map(({ name }) => {
    const each = at(own, ["providers", name])
    const stages = merge(sectionsOf(own), isObject(each) ? each : {})
    return [name, sectionsOf(merge(defaultsOf(stages), stages))] as const
  })
  const settings: Json = { ...common, providers: Object.fromEntries(providers) }
  const outside = (path: ReadonlyArray<string>): Source | undefined =>
    sources.findLast((source) => at(layers[source], ["services", target.service, ...path]) !== undefined)
  const inside = (path: ReadonlyArray<string>): Source | undefined =>
    outside(path) ?? (at(preset, path) === undefined ? undefined : "preset")
  const from = leaves(settings).map(([path]) => {
    const [first, , ...rest] = path
    return [path.join("."), inside(path) ?? (first === "providers" ? inside(rest) : undefined) ?? "default"] as const
  })
  return { settings, from: Object.fromEntries(from) }
}

// -- rules between fields --------------------------------------------------------------------------------------------

/** What each field takes for itself, but makes no sense together. Judged only where `judged` says that a field is. */
const rules = (
  settings: unknown,
  prefix: string,
  judged: (path: ReadonlyArray<string>) => boolean
): ReadonlyArray<Problem> => {
  const pairs = [
    ["retry.baseDelay", "retry.maxDelay"],
    ["timeout", "deadline"],
    ["fallback.fallbackTimeout", "deadline"],
    ["circuitBreaker.recoveryTimeout", "circuitBreaker.maxRecoveryTimeout"],
    ["circuitBreaker.slowCallDuration", "timeout"],
    ["hedge.delay", "timeout"],
    ["cache.fresh", "cache.cacheRetention"]
  ] as const
  return pairs.flatMap(([less, more]) => {
    const [low, high] = [less.split("."), more.split(".")]
    const [a, b] = [at(settings, low), at(settings, high)]
    if (typeof a !== "number" || typeof b !== "number" || a <= b || !(judged(low) || judged(high))) return []
    return judged(high)
      ? [{ field: `${prefix}${more}`, message: `must not be below ${less}: ${b} ms is less than ${a} ms` }]
      : [{ field: `${prefix}${less}`, message: `must not be above ${more}: ${a} ms is more than ${b} ms` }]
  })
}

const rulesOf = (service: string, { from, settings }: typeof EffectiveService.Type): ReadonlyArray<Problem> => {
  const outside = (path: ReadonlyArray<string>): boolean =>
    !["default", "preset", undefined].includes(from[path.join(".")])
  const prefix = `services.${service}.`
  const common = rules(settings, prefix, outside)
  const providers = isObject(settings["providers"]) ? settings["providers"] : {}
  return [
    ...common,
    ...Object.entries(providers).flatMap(([name, own]) =>
      // With the service's deadline, which providers have none of. What is wrong in common is said once.
      rules(
        merge(own, { deadline: settings["deadline"] }),
        `${prefix}providers.${name}.`,
        (path) => outside(path[0] === "deadline" ? path : ["providers", name, ...path])
      ).filter(({ message }) => !common.some((problem) => problem.message === message))
    )
  ]
}

// -- applying --------------------------------------------------------------------------------------------------------

const pipelineChanges = (
  { bulkhead, circuitBreaker: breaker, hedge, rateLimit, retry, timeout }: ProviderForm
): FaultTolerance.PipelineChanges => present({ timeout, retry, breaker, hedge, rateLimit, bulkhead })

/** Settings as a service takes them. */
const changesOf = (overlay: ServiceForm): FaultTolerance.Changes => {
  const { cache, deadline, enableCircuitBreaker, enableFallback, enableGracefulDegradation, enableRetry } = overlay
  const { enableCaching, ...held } = cache ?? {}
  const pipeline = pipelineChanges(overlay)
  return present({
    deadline,
    ...overlay.fallback,
    enableRetry,
    enableCircuitBreaker,
    enableFallback,
    enableGracefulDegradation,
    cache: cache === undefined ? undefined : { ...held, ...(enableCaching === false ? { capacity: 0 } : {}) },
    level: overlay.level,
    pipeline: Object.keys(pipeline).length === 0 ? undefined : pipeline,
    providers: overlay.providers === undefined
      ? undefined
      : Object.fromEntries(Object.entries(overlay.providers).map(([name, own]) => [name, pipelineChanges(own)]))
  })
}

/** Options that a stage refuses, as a problem of a service's settings. */
const problemOf = (service: string, { field, message }: InvalidOptions): Problem => ({
  field: `services.${service}.${field.replace(/(^|\.)breaker(?=\.|$)/, "$1circuitBreaker")}`,
  message
})

interface State {
  readonly layers: Layers
  readonly overlay: { readonly [service: string]: ServiceForm }
  readonly effective: Effective
}

/** Holds the settings of services, and puts those of file and environment in force. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Service, InvalidSettings> {
  const targets = options.services
  const remembered = options.history ?? 100
  const sink = yield* Event.Sink
  const lock = yield* Semaphore.make(1)
  const history: Array<Change> = []

  const stateOf = Effect.fnUntraced(function*(layers: Layers, version: number) {
    const { services = {} } = yield* Schema.decodeUnknownEffect(SettingsForm)(together(layers), strict).pipe(
      Effect.mapError(({ issue }) => invalid(problemsOf(issue)))
    )
    yield* refuse(
      Object.keys(services).filter((name) => !targets.some(({ service }) => service === name)).map((name) => ({
        field: `services.${name}`,
        message: `is no service here; there are: ${targets.map(({ service }) => service).join(", ")}`
      }))
    )
    const each = targets.map((target) =>
      [target.service, effectiveOf(target, services[target.service] ?? {}, layers)] as const
    )
    yield* refuse(each.flatMap(([service, effective]) => rulesOf(service, effective)))
    const state: State = { layers, overlay: services, effective: { version, services: Object.fromEntries(each) } }
    return state
  })

  /** All services or none: those told already are told the old settings again. */
  const tell = Effect.fnUntraced(function*(before: State, next: State): Effect.fn.Return<void, InvalidSettings> {
    const of = ({ overlay }: State, { service }: Target) => changesOf(overlay[service] ?? {})
    const touched = targets.filter((target) => JSON.stringify(of(before, target)) !== JSON.stringify(of(next, target)))
    for (const [index, target] of touched.entries()) {
      const exit = yield* Effect.exit(
        Effect.mapError(target.reconfigure(of(next, target)), (error) => invalid([problemOf(target.service, error)]))
      )
      if (Exit.isSuccess(exit)) continue
      yield* Effect.forEach(
        touched.slice(0, index).reverse(),
        (target) => Effect.exit(target.reconfigure(of(before, target))),
        { discard: true }
      )
      return yield* exit
    }
  })

  const nothing: Layers = { file: {}, environment: {}, patch: {} }
  let state = yield* stateOf(nothing, 0)

  const replace = Effect.fnUntraced(
    function*(source: Outside, value: unknown, how: (old: unknown, value: unknown) => unknown) {
      if (!isObject(value)) return yield* invalid([{ field: "", message: "must be an object of settings" }])
      const [own, twice] = namedServices(value)
      yield* refuse(twice)
      const layers = { ...state.layers, [source]: how(state.layers[source], own) }
      const next = yield* stateOf(layers, state.effective.version + 1)
      yield* tell(state, next)
      const changed = differences(state.effective, next.effective)
      if (changed.length === 0) {
        state = { ...next, effective: { ...next.effective, version: state.effective.version } }
        return state.effective
      }
      state = next
      const now = yield* Clock.currentTimeMillis
      history.push({ version: next.effective.version, at: now, source, fields: changed })
      if (history.length > remembered) history.shift()
      sink?.(Event.SettingsChanged.make({ at: now, fields: changed.map(({ field }) => field), source }))
      return next.effective
    },
    Effect.uninterruptible,
    (self) => lock.withPermit(self)
  )

  const self: Service = {
    effective: Effect.sync(() => state.effective),
    patch: (patch) => replace("patch", patch, merge),
    load: (file) => replace("file", file, (_, own) => merge({}, own)),
    history: Effect.sync(() => history.slice())
  }
  if (options.file !== undefined) yield* self.load(options.file)
  if (options.environment !== undefined) yield* replace("environment", options.environment, merge)
  return self
})

/** The fields that differ. */
const differences = (before: Effective, next: Effective): Change["fields"] => {
  const flat = ({ services }: Effective) =>
    new Map(
      Object.entries(services).flatMap(([name, { settings }]) =>
        leaves(settings, ["services", name]).map(([path, value]) => [path.join("."), value] as const)
      )
    )
  const [old, now] = [flat(before), flat(next)]
  return Array.from(new Set([...old.keys(), ...now.keys()])).filter((field) => old.get(field) !== now.get(field)).map(
    (field) =>
      Object.assign({ field }, old.has(field) && { from: old.get(field) }, now.has(field) && { to: now.get(field) })
  )
}
