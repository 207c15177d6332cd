/**
 * The form of settings: which there are, in which ranges, and under which other names the specification knows them. Data
 * alone; times are milliseconds once they are decoded.
 */
import { Duration, Option, Schema, SchemaGetter } from "effect"
import type { Problem } from "./options.ts"

// -- values ----------------------------------------------------------------------------------------------------------

const range = (min: number, max: number, unit: string): string =>
  max === Infinity ? `at least ${min}${unit}` : `from ${min} to ${max}${unit}`

/** A whole number in a range, both ends included. */
const int = (min: number, max = Infinity) =>
  Schema.Number.check(
    Schema.makeFilter((n: number) =>
      (Number.isSafeInteger(n) && n >= min && n <= max) || `must be a whole number, ${range(min, max, "")}, not ${n}`
    )
  )

const number = (min: number, max = Infinity) =>
  Schema.Number.check(
    Schema.makeFilter((n: number) =>
      (Number.isFinite(n) && n >= min && n <= max) || `must be a number, ${range(min, max, "")}, not ${n}`
    )
  )

/** Above 0 and up to 1. */
const ratio = Schema.Number.check(
  Schema.makeFilter((n: number) => (n > 0 && n <= 1) || `must be above 0 and at most 1, not ${n}`)
)

/** Milliseconds, or words such as `"30 seconds"` or `"500ms"`; a range in milliseconds. */
const time = (min = 0, max = Infinity) =>
  Schema.Union([Schema.Number, Schema.String]).annotate({
    message: "must be milliseconds, or a duration such as \"30 seconds\""
  }).pipe(Schema.decodeTo(
    Schema.Number.check(Schema.makeFilter((n: number) =>
      Number.isNaN(n)
        ? "must be milliseconds, or a duration such as \"30 seconds\""
        : (Number.isFinite(n) && n >= min && n <= max) || `must be a duration, ${range(min, max, " ms")}, not ${n} ms`
    )),
    { decode: SchemaGetter.transform(toMillis), encode: SchemaGetter.transform((n: number) => n) }
  ))

const short: { readonly [unit: string]: string } = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" }

/** `NaN` for what is no time. */
const toMillis = (input: number | string): number => {
  if (typeof input === "number") return input
  const words = input.replace(/^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/, (_, amount, unit) => `${amount} ${short[unit]}`)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- any other text is no duration
  return Option.match(Duration.fromInput(words as Duration.Input), { onNone: () => NaN, onSome: Duration.toMillis })
}

const of = Schema.optionalKey

// -- sections --------------------------------------------------------------------------------------------------------

const Retry = Schema.Struct({
  maxRetries: of(int(0, 10)),
  baseDelay: of(time(100, 30_000)),
  maxDelay: of(time(1_000, 60_000)),
  backoffMultiplier: of(number(1, 10)),
  jitter: of(Schema.Literals(["full", "equal", "decorrelated", "proportional", "none"])),
  jitterFactor: of(number(0, 1)),
  maxRetryAfter: of(time()),
  maxElapsed: of(time()),
  budget: of(Schema.Literal("unlimited"))
})

const CircuitBreaker = Schema.Struct({
  failureThreshold: of(Schema.Union([Schema.Literal(false), int(1, 100)])),
  failureRate: of(Schema.Union([Schema.Literal(false), ratio])),
  minimumThroughput: of(int(1, 1_000)),
  monitorWindow: of(time(10_000, 600_000)),
  recoveryTimeout: of(time(5_000, 300_000)),
  maxRecoveryTimeout: of(time(5_000)),
  recoveryMultiplier: of(number(1)),
  jitter: of(Schema.Boolean),
  successThreshold: of(int(1, 10)),
  probeFailureThreshold: of(int(1)),
  probeLease: of(time(1)),
  rampUp: of(time()),
  slowCallDuration: of(time(1)),
  slowCallRate: of(ratio)
})

const Hedge = Schema.Struct({ delay: of(time()), maxHedges: of(int(1, 5)), budget: of(Schema.Literal("unlimited")) })

const Predictor = Schema.Struct({
  mode: of(Schema.Literals(["shadow", "shed"])),
  leastShare: of(ratio),
  horizon: of(time(1)),
  usual: of(time(1)),
  memory: of(time(1))
})

const RateLimit = Schema.Struct({
  limit: of(number(Number.MIN_VALUE)),
  window: of(time(1)),
  algorithm: of(Schema.Literals(["token-bucket", "sliding-window", "pacing", "adaptive"])),
  burst: of(number(1)),
  onLimit: of(Schema.Literals(["wait", "refuse"])),
  maxWait: of(time())
})

const Bulkhead = Schema.Struct({ limit: of(int(1)), queue: of(int(0)), maxWait: of(time()) })

const Fallback = Schema.Struct({
  fallbackTimeout: of(time(1_000, 30_000)),
  fallbackConcurrency: of(int(0)),
  partialResultsThreshold: of(number(0, 1))
})

const Cache = Schema.Struct({
  enableCaching: of(Schema.Boolean),
  fresh: of(time()),
  revalidate: of(time()),
  stale: of(time()),
  cacheRetention: of(time(60_000, 86_400_000)),
  capacity: of(int(100, 10_000))
})

const Level = Schema.Struct({
  checkEvery: of(time(1_000, 300_000)),
  badChecks: of(int(1)),
  spacing: of(time()),
  dwell: of(time())
})

const orOff = <S extends Schema.Constraint>(section: S) => of(Schema.Union([Schema.Literal(false), section]))

const stages = {
  /** For one attempt. */
  timeout: of(time(1_000, 300_000)),
  retry: orOff(Retry),
  circuitBreaker: orOff(CircuitBreaker),
  hedge: orOff(Hedge),
  /** While a service runs it can be turned off, and no more. */
  predictor: orOff(Predictor),
  rateLimit: orOff(RateLimit),
  bulkhead: orOff(Bulkhead)
}

/** The policies of one provider. `false` turns a stage off. */
export const ProviderForm = Schema.Struct(stages)
export type ProviderForm = typeof ProviderForm.Type

/** The settings of a service; what is under `providers` is for single ones. */
export const ServiceForm = Schema.Struct({
  ...stages,
  deadline: of(time(1)),
  fallback: of(Fallback),
  cache: of(Cache),
  level: of(Level),
  enableRetry: of(Schema.Boolean),
  enableCircuitBreaker: of(Schema.Boolean),
  enableFallback: of(Schema.Boolean),
  enableGracefulDegradation: of(Schema.Boolean),
  providers: of(Schema.Record(Schema.String, ProviderForm))
})
export type ServiceForm = typeof ServiceForm.Type

/** All services' settings, by name. */
export const SettingsForm = Schema.Struct({ services: of(Schema.Record(Schema.String, ServiceForm)) })
export type SettingsForm = typeof SettingsForm.Type

/** One pipeline, as `holdfast explain` takes it: what a program may say, which is more than what settings may change. */
export const PipelineForm = Schema.Struct({
  ...stages,
  timeout: of(time(1)),
  retry: orOff(Schema.Struct({
    ...Retry.fields,
    baseDelay: of(time()),
    maxDelay: of(time()),
    backoffMultiplier: of(number(1))
  })),
  circuitBreaker: orOff(Schema.Struct({
    ...CircuitBreaker.fields,
    failureThreshold: of(Schema.Union([Schema.Literal(false), int(1)])),
    minimumThroughput: of(int(1)),
    monitorWindow: of(time(1)),
    recoveryTimeout: of(time(1)),
    maxRecoveryTimeout: of(time(1)),
    successThreshold: of(int(1))
  })),
  provider: of(Schema.String),
  deadline: of(time(1)),
  /** What the client library tries by itself for each of our attempts. */
  attemptsInside: of(int(1))
})
export type PipelineForm = typeof PipelineForm.Type

/** The fields of the sections, for whoever reads them elsewhere. */
export const fields = {
  retry: Object.keys(Retry.fields),
  circuitBreaker: Object.keys(CircuitBreaker.fields),
  hedge: Object.keys(Hedge.fields),
  predictor: Object.keys(Predictor.fields),
  rateLimit: Object.keys(RateLimit.fields),
  bulkhead: Object.keys(Bulkhead.fields),
  cache: Object.keys(Cache.fields),
  level: Object.keys(Level.fields)
} as const

// -- other names -----------------------------------------------------------------------------------------------------

export type Json = { readonly [key: string]: unknown }

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Where a setting of another name belongs. */
const elsewhere = new Map(Object.entries({
  retryConfig: "retry",
  circuitBreakerConfig: "circuitBreaker",
  breaker: "circuitBreaker",
  fallbackConfig: "fallback",
  healthCheckInterval: "level.checkEvery",
  "retry.timeout": "timeout",
  "fallback.enableCaching": "cache.enableCaching",
  "fallback.cacheRetention": "cache.cacheRetention",
  "fallback.maxCacheSize": "cache.capacity",
  "cache.maxCacheSize": "cache.capacity"
}))

const whole = new Map<string, unknown>(Object.entries({
  timeout: 10_000,
  retry: {},
  circuitBreaker: {},
  predictor: {},
  bulkhead: {}
}))

/** Has the fields that it was given and no others, whatever they are called. */
const bare = (): { [key: string]: unknown } => Object.setPrototypeOf({}, null)

/** What is found while settings get their own names. */
export interface Found {
  readonly problems: Array<Problem>
  /** The names that they were given in, by their own. */
  readonly names: Map<string, string>
}

/** The name that a setting, or what it is in, was given in. */
export const asGiven = ({ names }: Found, field: string): string => {
  for (let end = field.length; end > 0; end = field.lastIndexOf(".", end - 1)) {
    const name = names.get(field.slice(0, end))
    if (name !== undefined) return name + field.slice(end)
  }
  return field
}

/**
 * Settings of one service or provider under their own names: without `Ms` at the end, sections without `Config`, `true`
 * for a stage with its defaults. What is given twice is a problem.
 */
const namedSection = (value: Json, at: string, found: Found): Json => {
  const result = bare()
  const problem = (problem: Problem): void => void found.problems.push(problem)
  const put = (path: string, inner: unknown, given: string): void => {
    found.names.set(`${at}${path}`, `${at}${given}`)
    const [section = path, key] = path.split(".", 2)
    const known = result[section]
    const mixed = section in result && !(isObject(known) && (key !== undefined || isObject(inner)))
    if (mixed) problem({ field: `${at}${path}`, message: "is given twice" })
    if (key === undefined && !isObject(inner)) {
      result[section] = inner
      return
    }
    const into = Object.assign(bare(), isObject(known) ? known : {})
    if (key === undefined) Object.assign(into, inner)
    else if (key in into) problem({ field: `${at}${path}`, message: "is given twice" })
    else into[key] = inner
    result[section] = into
  }
  const place = (path: string): string => elsewhere.get(path) ?? path
  /** A dot parts sections from fields, and is in the name of neither. */
  const isName = (name: string, field: string): boolean => {
    if (name.includes(".")) problem({ field: `${at}${field}`, message: "is no setting" })
    return !name.includes(".")
  }
  for (const [key, inner] of Object.entries(value)) {
    if (!isName(key, key)) continue
    const section = place(key.replace(/Ms$/, ""))
    if (section === "providers" && isObject(inner)) {
      result["providers"] = Object.fromEntries(
        Object.entries(inner).map(([name, own]) => [
          name,
          isObject(own) ? namedSection(own, `${at}providers.${name}.`, found) : own
        ])
      )
    } else if (!isObject(inner)) {
      put(section, inner === true ? whole.get(section) ?? inner : inner, key)
    } else {
      put(section, {}, key)
      for (const [name, own] of Object.entries(inner)) {
        if (isName(name, `${key}.${name}`)) put(place(`${section}.${name.replace(/Ms$/, "")}`), own, `${key}.${name}`)
      }
    }
  }
  return result
}

const nothing = (): Found => ({ problems: [], names: new Map() })

/** One pipeline's settings under their own names, and what was found. */
export const named = (value: unknown, at = "", found = nothing()): readonly [unknown, Found] => [
  isObject(value) ? namedSection(value, at, found) : value,
  found
]

/** All services' settings under their own names, and what was found. */
export const namedServices = (value: unknown): readonly [unknown, Found] => {
  const found = nothing()
  if (!isObject(value) || !isObject(value["services"])) return [value, found]
  const services = Object.entries(value["services"]).map(([name, own]) =>
    [name, named(own, `services.${name}.`, found)[0]] as const
  )
  return [{ ...value, services: Object.fromEntries(services) }, found]
}

// -- merging ---------------------------------------------------------------------------------------------------------

/** JSON merge patch (RFC 7396): objects are merged, `null` takes away, everything else replaces. */
export function merge(target: unknown, patch: Json): Json
export function merge(target: unknown, patch: unknown): unknown
export function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const result = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key)
    else result.set(key, merge(result.get(key), value))
  }
  return Object.fromEntries(result)
}

type Path = ReadonlyArray<string>

/** Every value with its path; what is empty has none. */
export const leaves = (value: unknown, path: Path = []): ReadonlyArray<readonly [path: Path, value: unknown]> =>
  isObject(value)
    ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]))
    : [[path, value]]

export const at = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => isObject(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined, value)
