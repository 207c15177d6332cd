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
import { Clock, Context, Effect, Exit, Layer, Result, Schema, Semaphore } from "effect"
import { Toml } from "effect/encoding"
import * as Event from "./Event.ts"
import { checked, checks, type Problem, problemsOf } from "./internal/options.ts"
import {
  type Change,
  differences,
  type Effective,
  effectiveOf,
  type Layers,
  type Outside,
  rulesOf,
  together
} from "./internal/settingsEffective.ts"
import {
  asGiven,
  at,
  type Found,
  isObject,
  merge,
  named,
  namedServices,
  PipelineForm,
  type ProviderForm,
  type ServiceForm,
  SettingsForm
} from "./internal/settingsForm.ts"
import { changesOf, pipelineOf, sectionsOf, type Target } from "./internal/settingsOptions.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import type * as Pipeline from "./Pipeline.ts"

export type { Problem } from "./internal/options.ts"
export { Change, Effective, EffectiveService, Source } from "./internal/settingsEffective.ts"
export type { ProviderForm, ServiceForm } from "./internal/settingsForm.ts"
export type { Target } from "./internal/settingsOptions.ts"

/** Settings cannot be taken; nothing has changed. */
export class InvalidSettings extends Schema.TaggedError<InvalidSettings>()("InvalidSettings", {
  problems: Schema.Array(Schema.Struct({ field: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ field, message }) => field === "" ? message : `${field} ${message}`).join("; ")
  }
}

const invalid = (problems: ReadonlyArray<Problem>) => new InvalidSettings({ problems })

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
export const parse = (name: string, whole: string): Effect.Effect<unknown, InvalidSettings> => {
  // Some editors mark the beginning.
  const text = whole.replace(/^\uFEFF/, "")
  return Effect.fromResult(
    name.toLowerCase().endsWith(".toml")
      ? Toml.parse(text)
      : Result.try({
        try: (): unknown => JSON.parse(text),
        // It quotes the text, which may have more in it than a terminal should be sent.
        catch: (error) =>
          new Error(`no JSON, ${(error instanceof Error ? error.message : "").replace(/\p{Cc}/gu, "?")}`)
      })
  ).pipe(Effect.mapError(({ message }) => invalid([{ field: "", message: `${name}: ${message}` }])))
}

// -- pipelines for themselves ----------------------------------------------------------------------------------------

/** A pipeline's settings, as options. */
export interface PipelineSettings {
  readonly options: Pipeline.Options
  /** What the client library tries by itself for each of our attempts. */
  readonly attemptsInside: number | undefined
  /** What the file calls an option, as in `pipelines.openai.breaker.probeLease`. */
  readonly nameOf: (option: string) => string
}

/**
 * Decodes the pipelines that a file describes: one, several under `pipelines` by name, or those of the providers under
 * `services`. What is wrong is told of all of them, in the names of the file.
 */
export const pipelines = Effect.fnUntraced(function*(
  file: unknown,
  name: string
): Effect.fn.Return<ReadonlyArray<PipelineSettings>, InvalidSettings> {
  yield* refuse(
    ["services", "pipelines"].filter((field) => isEmpty(at(file, [field])))
      .map((field) => ({ field, message: "must name at least one" }))
  )
  if (isObject(file) && isObject(file["services"])) {
    const [own, found] = namedServices(file)
    yield* refuse(found.problems)
    const { services = {} } = yield* decode(SettingsForm, own, found)
    return Object.entries(services).flatMap(([service, { deadline = 30_000, providers = {}, ...common }]) =>
      (Object.keys(providers).length === 0 ? [undefined] : Object.keys(providers)).map((provider) => {
        const special = provider === undefined ? {} : providers[provider] ?? {}
        const own: ProviderForm = {
          ...merge(merge({ retry: {}, circuitBreaker: {} }, sectionsOf(common)), special),
          ...(common.enableRetry === false && { retry: false }),
          ...(common.enableCircuitBreaker === false && { circuitBreaker: false })
        }
        const { options } = pipelineOf(provider === undefined ? service : `${service}/${provider}`, {
          ...own,
          deadline
        })
        return {
          options: { timeout: true, ...options },
          attemptsInside: undefined,
          nameOf: (option) => {
            const path = settingOf(option)
            const isSpecial = at(special, path.split(".", 1)) !== undefined
            return asGiven(found, `services.${service}.${isSpecial ? `providers.${provider}.` : ""}${path}`)
          }
        }
      })
    )
  }
  const listed = isObject(file) ? file["pipelines"] : undefined
  const several = isObject(listed)
  const all = several ? Object.entries(listed) : [[name, file] as const]
  const beside = several && isObject(file) ? Object.keys(file).filter((key) => key !== "pipelines") : []
  yield* refuse(beside.map((field) => ({ field, message: "is no setting" })))
  return yield* Effect.mapError(
    Effect.validate(all, ([provider, own]) =>
      Effect.gen(function*() {
        const prefix = several ? `pipelines.${provider}.` : ""
        const [value, found] = named(own, prefix)
        yield* refuse(found.problems)
        const { attemptsInside, ...settings } = yield* decode(
          PipelineForm,
          value,
          found,
          several ? ["pipelines", provider] : []
        )
        return {
          ...pipelineOf(settings.provider ?? provider, settings),
          attemptsInside,
          nameOf: (option: string) => asGiven(found, `${prefix}${settingOf(option)}`)
        }
      })),
    (errors) => invalid(errors.flatMap(({ problems }) => problems))
  )
})

const isEmpty = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0

const strict = { errors: "all", onExcessProperty: "error" } as const

/** How deep what is given may be nested: merging goes down as deep as it does. No setting lies deeper than 6. */
const deepest = 16

const isDeeper = (value: unknown, levels: number): boolean =>
  isObject(value) && (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

const refuse = (problems: ReadonlyArray<Problem>): Effect.Effect<void, InvalidSettings> =>
  problems.length === 0 ? Effect.void : Effect.fail(invalid(problems))

/** What is wrong is told in the names that the settings were given in. */
const decode = <A>(
  form: Schema.Decoder<A>,
  value: unknown,
  found: Found,
  path: ReadonlyArray<string> = []
): Effect.Effect<A, InvalidSettings> =>
  Schema.decodeUnknownEffect(form)(value, strict).pipe(
    Effect.mapError(({ issue }) => invalid(problemsOf(issue, path))),
    toldAsGiven(found)
  )

const toldAsGiven = (found: Found): <A>(self: Effect.Effect<A, InvalidSettings>) => Effect.Effect<A, InvalidSettings> =>
  Effect.mapError(({ problems }) =>
    invalid(problems.map(({ field, message }) => ({ field: asGiven(found, field), message })))
  )

// -- what is in force ------------------------------------------------------------------------------------------------

/** The setting of an option. */
const settingOf = (option: string): string => option.replace(/(^|\.)breaker(?=\.|$)/, "$1circuitBreaker")

/** Options that a stage refuses, as a problem of a service's settings. */
const problemOf = (service: string, { field, why }: InvalidOptions): Problem => ({
  field: `services.${service}.${settingOf(field)}`,
  message: why
})

interface State {
  readonly layers: Layers
  readonly overlay: { readonly [service: string]: ServiceForm }
  readonly effective: Effective
}

/** Holds the settings of services, and puts those of file and environment in force. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Service, InvalidSettings> {
  const targets = options.services
  const remembered = yield* Effect.mapError(
    checked(() => checks("Settings").int("history", options.history, 100)),
    ({ field, why }) => invalid([{ field, message: why }])
  )
  const twice = targets.filter(({ service }, index) => targets.findIndex((other) => other.service === service) < index)
  yield* refuse(twice.map(({ service }) => ({ field: `services.${service}`, message: "is there twice" })))
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
      if (isDeeper(value, deepest)) {
        return yield* invalid([{ field: "", message: `must not be nested more than ${deepest} deep` }])
      }
      const [own, found] = namedServices(value)
      yield* refuse(found.problems)
      const layers = { ...state.layers, [source]: how(state.layers[source], own) }
      // By itself too: what a later source hides is still wrong when that is gone, as a patch is after a restart.
      yield* decode(SettingsForm, layers[source], found)
      const next = yield* toldAsGiven(found)(stateOf(layers, state.effective.version + 1))
      yield* toldAsGiven(found)(tell(state, next))
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
