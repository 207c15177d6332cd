/** Which settings are in force, where each value came from, and whether they make sense together. */
import { Schema } from "effect"
import type { Problem } from "./options.ts"
import { at, isObject, type Json, leaves, merge, type ServiceForm } from "./settingsForm.ts"
import { defaultsOf, presetOf, sectionsOf, type Target } from "./settingsOptions.ts"

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

/** Sources outside of the program, the earlier first. */
const sources = ["file", "environment", "patch"] as const
export type Outside = typeof sources[number]

/** What each source says of all services, under the settings' own names. */
export type Layers = { readonly [S in Outside]: unknown }

/** All sources outside of the program, the later over the earlier. */
export const together = (layers: Layers): unknown =>
  sources.reduce<unknown>((all, source) => merge(all, layers[source]), {})

/** One service's settings with where they came from. */
export const effectiveOf = (target: Target, overlay: ServiceForm, layers: Layers): typeof EffectiveService.Type => {
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

/** What is wrong with settings in force, as far as it came from outside. */
export const rulesOf = (service: string, { from, settings }: typeof EffectiveService.Type): ReadonlyArray<Problem> => {
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

/** The fields that differ. */
export const differences = (before: Effective, next: Effective): Change["fields"] => {
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
