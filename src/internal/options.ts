/**
 * Checks of options, shared by all policies. A check returns the option's value or its default, and throws
 * `InvalidOptions` for what makes no sense; `checked` turns that into a typed failure.
 */
import { Duration, Effect, Formatter, Option, Result, type Schema, SchemaIssue } from "effect"
import { InvalidOptions } from "../InvalidOptions.ts"

/** Bounds of a number; both are included. */
export interface Bounds {
  readonly min?: number | undefined
  readonly max?: number | undefined
}

/** The checks of one module's options. */
export interface Checks {
  /** A whole number, at least 0 unless told otherwise. */
  readonly int: (field: string, value: number | undefined, fallback: number, bounds?: Bounds) => number
  /** A finite number, at least 0 unless told otherwise. */
  readonly number: (field: string, value: number | undefined, fallback: number, bounds?: Bounds) => number
  /** A share above 0 and up to 1. */
  readonly ratio: (field: string, value: number | undefined, fallback: number) => number
  /** A finite duration as milliseconds, at least 0 unless told otherwise; bounds are milliseconds. */
  readonly millis: (
    field: string,
    value: Duration.Input | undefined,
    fallback: Duration.Input,
    bounds?: Bounds
  ) => number
  /** One of the names: a caller in JavaScript may say any. */
  readonly oneOf: <A extends string>(field: string, value: A, names: ReadonlyArray<NoInfer<A>>) => A
  /** A text that is not empty. */
  readonly text: (field: string, value: unknown) => void
  /** Options, where there are any: a caller in JavaScript may say `false` or `null` for none. */
  readonly options: (field: string, value: unknown, orTrue?: "or true") => void
  /** Refuses what a schema did not take, by the first field that is wrong; `at` is where it stands in the options. */
  readonly decoded: (result: Result.Result<unknown, Schema.SchemaError>, at?: ReadonlyArray<string>) => void
  /** Refuses the option unless the condition holds. */
  readonly ensure: (condition: boolean, field: string, why: string) => void
}

/** What is wrong with a field. */
export interface Problem {
  /** Its path, as in `services.unified.retry.maxRetries`; empty for the whole. */
  readonly field: string
  readonly message: string
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** What a schema found wrong, field by field. */
export const problemsOf = (issue: SchemaIssue.Issue, at: ReadonlyArray<PropertyKey> = []): ReadonlyArray<Problem> =>
  format(issue).issues.map(({ message, path = [] }) => ({
    field: [...at, ...path].map((part) => String(typeof part === "object" ? part.key : part)).join("."),
    message: message === "Expected no excess property" ? "is no setting" : message
  }))

const describe = ({ max, min = 0 }: Bounds, unit: string): string => {
  if (min === Number.MIN_VALUE) return max === undefined ? "above 0" : `above 0 and at most ${max}${unit}`
  return max === undefined ? `at least ${min}${unit}` : `from ${min} to ${max}${unit}`
}

/** `undefined` for what is no duration; `Duration.fromInput` takes NaN for zero. */
const toMillis = (input: Duration.Input): number | undefined => {
  const isNumber = !(typeof input === "object" ? Object.values(input ?? {}) : [input]).some(Number.isNaN)
  return isNumber ? Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis)) : undefined
}

/**
 * A duration that comes with a call as milliseconds; it may be infinite, and below zero. What is none is a defect that
 * names the field.
 */
export const millisOf = (module: string, field: string, input: Duration.Input): number => {
  const millis = typeof input === "number" && !Number.isNaN(input) ? input : toMillis(input)
  if (millis === undefined) throw new InvalidOptions({ module, field, why: `must be a duration, not ${shown(input)}` })
  return millis
}

const shown = (value: unknown): string => Formatter.format(value)

const within = (value: number, { max = Infinity, min = 0 }: Bounds): boolean => value >= min && value <= max

/** The checks for one module. `prefix` goes before each field's name, as in `"retry."`. */
export const checks = (module: string, prefix = ""): Checks => {
  const refuse = (field: string, why: string): never => {
    throw new InvalidOptions({ module, field: prefix + field, why })
  }
  return {
    int: (field, value, fallback, bounds = {}) => {
      const n = value ?? fallback
      return Number.isSafeInteger(n) && within(n, bounds)
        ? n
        : refuse(field, `must be a whole number, ${describe(bounds, "")}, not ${shown(n)}`)
    },
    number: (field, value, fallback, bounds = {}) => {
      const n = value ?? fallback
      return Number.isFinite(n) && within(n, bounds)
        ? n
        : refuse(field, `must be a finite number, ${describe(bounds, "")}, not ${shown(n)}`)
    },
    ratio: (field, value, fallback) => {
      const n = value ?? fallback
      return n > 0 && n <= 1 ? n : refuse(field, `must be above 0 and at most 1, not ${shown(n)}`)
    },
    millis: (field, value, fallback, bounds = {}) => {
      const input = value ?? fallback
      const millis = toMillis(input)
      if (millis === undefined) return refuse(field, `must be a duration, not ${shown(input)}`)
      return Number.isFinite(millis) && within(millis, bounds)
        ? millis
        : refuse(field, `must be a finite duration, ${describe(bounds, " ms")}, not ${shown(input)}`)
    },
    oneOf: (field, value, names) =>
      names.includes(value) ? value : refuse(field, `must be one of ${names.join(", ")}, not ${shown(value)}`),
    text: (field, value) => {
      if (typeof value !== "string" || value === "") {
        refuse(field, `must be a text that is not empty, not ${shown(value)}`)
      }
    },
    options: (field, value, orTrue) => {
      if (value === undefined || (typeof value === "object" && value !== null) || (value === true && orTrue)) return
      refuse(field, `must be options${orTrue ? " or true" : ""}, not ${shown(value)}; leave it out for none`)
    },
    decoded: (result, at) => {
      if (Result.isSuccess(result)) return
      for (const { field, message } of problemsOf(result.failure.issue, at)) refuse(field, message)
    },
    ensure: (condition, field, why) => {
      if (!condition) refuse(field, why)
    }
  }
}

/** Runs what the checks guard: an `InvalidOptions` thrown in it is a typed failure, anything else a defect. */
export const checked = <A>(build: () => A): Effect.Effect<A, InvalidOptions> =>
  Effect.try({
    try: build,
    catch: (error) => {
      if (error instanceof InvalidOptions) return error
      throw error
    }
  })
