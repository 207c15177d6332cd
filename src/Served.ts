/**
 * An answer and where it came from: live from a provider, cached, stale, partial, or a declared default, with every
 * failure on the way. The second type parameter lists the kinds that are possible, so that a caller handles those and
 * no others.
 */
import { Duration, Effect, Option, Schema } from "effect"
import { dual } from "effect/Function"
import { ProviderError } from "./ProviderError.ts"

/**
 * A provider that did not answer, and why. Safe to show: it holds no message.
 *
 * **Details**
 *
 * `category` is the specification's name for a provider's failure, such as `"RATE_LIMIT"`, and the error's tag for a
 * refusal, such as `"CircuitOpen"`.
 */
export class Failure extends Schema.Class<Failure>("Failure")({
  provider: Schema.String,
  category: Schema.String,
  /** How long to wait before it makes sense to ask again, where that is known. */
  retryAfter: Schema.optionalKey(Schema.DurationFromMillis)
}) {
  /** The error itself. Not enumerable and never encoded. */
  declare readonly error: unknown

  /** Keeps the error with the failure. */
  withError(error: unknown): this {
    return Object.defineProperty(this, "error", { value: error, enumerable: false, configurable: true })
  }
}

/** The failure that an error of a provider's call amounts to. */
export const failure = (provider: string, error: { readonly _tag: string }): Failure => {
  const retryAfter = "retryAfter" in error && Duration.isDuration(error.retryAfter) ? error.retryAfter : undefined
  return new Failure({
    provider,
    category: error instanceof ProviderError ? error.category : error._tag,
    ...(retryAfter === undefined ? {} : { retryAfter })
  }).withError(error)
}

/** Categories that say that the provider was not asked: refusals of our own policies. */
export const refusals: ReadonlySet<string> = new Set([
  "CircuitOpen",
  "CallShed",
  "RateLimited",
  "BulkheadFull",
  "FallbackFull",
  "Unavailable",
  "LevelTooLow",
  "NoTarget"
])

interface Answer<A> {
  readonly value: A
  /** Every provider that was given up on before this answer, in order. */
  readonly failures: ReadonlyArray<Failure>
}

/** A provider answered now. */
export interface Live<A> extends Answer<A> {
  readonly _tag: "Live"
  readonly provider: string
  /** How often this provider was asked: 1 plus retries and hedges. */
  readonly attempts: number
  /** True when attempts ran beside each other. */
  readonly hedged: boolean
  /** True when this is not the provider of first choice. */
  readonly degraded: boolean
}

/** A fresh answer from the cache. */
export interface Cached<A> extends Answer<A> {
  readonly _tag: "Cached"
  /** Who gave the answer when it was made. */
  readonly provider: string
  /** Milliseconds since the answer was made. */
  readonly age: number
}

/** An answer from the cache that is no longer fresh: nothing better was to be had, or a better one is on its way. */
export interface Stale<A> extends Answer<A> {
  readonly _tag: "Stale"
  /** Who gave the answer when it was made. */
  readonly provider: string
  /** Milliseconds since the answer was made. */
  readonly age: number
}

/** An answer made without some of its sources. */
export interface Partial<A> extends Answer<A> {
  readonly _tag: "Partial"
  /** The sources or items that are not in it. */
  readonly missing: ReadonlyArray<string>
  /** Milliseconds since the answer was made: 0 unless it comes from the cache. */
  readonly age: number
}

/** The value declared for the case that nobody answers. */
export interface Default<A> extends Answer<A> {
  readonly _tag: "Default"
}

interface ByKind<A> {
  readonly Live: Live<A>
  readonly Cached: Cached<A>
  readonly Stale: Stale<A>
  readonly Partial: Partial<A>
  readonly Default: Default<A>
}

/** The kinds from best to worst. */
export const kinds = ["Live", "Cached", "Stale", "Partial", "Default"] as const
export type Kind = typeof kinds[number]

/** An answer of one of the kinds `K`. */
export type Served<A, K extends Kind = Kind> = ByKind<A>[K]

// -- constructors ----------------------------------------------------------------------------------------------------

const none: ReadonlyArray<Failure> = []

/** A provider's answer; by the provider of first choice and at the first attempt unless told otherwise. */
export const live = <A>(
  value: A,
  provider: string,
  details?: {
    readonly attempts?: number
    readonly hedged?: boolean
    readonly degraded?: boolean
    readonly failures?: ReadonlyArray<Failure>
  }
): Live<A> => ({
  _tag: "Live",
  value,
  provider,
  attempts: details?.attempts ?? 1,
  hedged: details?.hedged ?? false,
  degraded: details?.degraded ?? false,
  failures: details?.failures ?? none
})

/** A fresh answer from the cache; `age` in milliseconds. */
export const cached = <A>(
  value: A,
  provider: string,
  age: number,
  failures: ReadonlyArray<Failure> = none
): Cached<A> => ({ _tag: "Cached", value, provider, age, failures })

/** An old answer from the cache; `age` in milliseconds. */
export const stale = <A>(
  value: A,
  provider: string,
  age: number,
  failures: ReadonlyArray<Failure> = none
): Stale<A> => ({ _tag: "Stale", value, provider, age, failures })

/** An answer without some of its sources. */
export const partial = <A>(
  value: A,
  missing: ReadonlyArray<string>,
  failures: ReadonlyArray<Failure> = none,
  age = 0
): Partial<A> => ({ _tag: "Partial", value, missing, age, failures })

/** The declared value. */
export const orElse = <A>(value: A, failures: ReadonlyArray<Failure> = none): Default<A> => ({
  _tag: "Default",
  value,
  failures
})

// -- reading ---------------------------------------------------------------------------------------------------------

/** The place of a kind: 0 is the best. */
export const rank = (kind: Kind): number => kinds.indexOf(kind)

/** False for a live answer of the first provider and for a fresh one from the cache. */
export const isDegraded = (self: Served<unknown>): boolean =>
  self._tag === "Live" ? self.degraded : self._tag !== "Cached"

/** The answer was of a kind that the caller does not take. It is kept in `served`. */
export class NotServed extends Schema.TaggedError<NotServed>()("NotServed", {
  wanted: Schema.Literals(["Live", "Fresh", "Complete"]),
  kind: Schema.Literals(kinds)
}) {
  /** The answer that was refused. Not enumerable and never encoded. */
  declare readonly served: Served<unknown>

  override get message(): string {
    return `Wanted an answer that is ${this.wanted}, not ${this.kind}`
  }
}

const refuse = (wanted: NotServed["wanted"], served: Served<unknown>): NotServed =>
  Object.defineProperty(new NotServed({ wanted, kind: served._tag }), "served", { value: served, enumerable: false })

/** Only a live answer will do. Use with `Effect.flatMap`. */
export const requireLive = <A>(self: Served<A>): Effect.Effect<Live<A>, NotServed> =>
  self._tag === "Live" ? Effect.succeed(self) : Effect.fail(refuse("Live", self))

/** Only a live answer or a fresh one from the cache will do. Use with `Effect.flatMap`. */
export const requireFresh = <A>(self: Served<A>): Effect.Effect<Live<A> | Cached<A>, NotServed> =>
  self._tag === "Live" || self._tag === "Cached" ? Effect.succeed(self) : Effect.fail(refuse("Fresh", self))

/** Anything but a partial answer or a declared default will do. Use with `Effect.flatMap`. */
export const requireComplete = <A>(self: Served<A>): Effect.Effect<Live<A> | Cached<A> | Stale<A>, NotServed> =>
  self._tag === "Partial" || self._tag === "Default"
    ? Effect.fail(refuse("Complete", self))
    : Effect.succeed(self)

/** The value, unless it is a declared default. */
export const toOption = <A>(self: Served<A>): Option.Option<A> =>
  self._tag === "Default" ? Option.none() : Option.some(self.value)

// -- changing --------------------------------------------------------------------------------------------------------

/**
 * Changes the value; where it came from stays.
 *
 * **Example**
 *
 * ```ts
 * import { Served } from "holdfast"
 *
 * const price = Served.map(Served.stale(100, "exchange", 5000), (cents) => cents / 100)
 * price._tag // => Stale
 * price.value // => 1
 * ```
 */
export const map: {
  <A, B>(f: (value: A) => B): <S extends Served<A>>(self: S) => Served<B, S["_tag"]>
  <S extends Served<unknown>, B>(self: S, f: (value: S["value"]) => B): Served<B, S["_tag"]>
} = dual(
  2,
  <S extends Served<unknown>, B>(self: S, f: (value: S["value"]) => B): Served<B, S["_tag"]> =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the tag is kept, so the kind is
    ({ ...self, value: f(self.value) }) as unknown as Served<B, S["_tag"]>
)

/** One answer of two: the worst kind of the two wins, failures are joined, the greater age counts. */
export const combine = <S1 extends Served<unknown>, S2 extends Served<unknown>, C>(
  self: S1,
  that: S2,
  f: (a: S1["value"], b: S2["value"]) => C
): Served<C, S1["_tag"] | S2["_tag"]> => {
  const value = f(self.value, that.value)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the worst of two kinds is one of the two
  return worst(self, that, value, [...self.failures, ...that.failures]) as Served<C, S1["_tag"] | S2["_tag"]>
}

const worst = <C>(
  a: Served<unknown>,
  b: Served<unknown>,
  value: C,
  failures: ReadonlyArray<Failure>
): Served<C> => {
  const kind = rank(a._tag) >= rank(b._tag) ? a._tag : b._tag
  switch (kind) {
    case "Live":
      return {
        _tag: kind,
        value,
        provider: providers(a, b),
        attempts: attemptsOf(a) + attemptsOf(b),
        hedged: (a._tag === "Live" && a.hedged) || (b._tag === "Live" && b.hedged),
        degraded: (a._tag === "Live" && a.degraded) || (b._tag === "Live" && b.degraded),
        failures
      }
    case "Cached":
    case "Stale":
      return { _tag: kind, value, provider: providers(a, b), age: Math.max(ageOf(a), ageOf(b)), failures }
    case "Partial":
      return {
        _tag: kind,
        value,
        missing: [...missingOf(a), ...missingOf(b)],
        age: Math.max(ageOf(a), ageOf(b)),
        failures
      }
    case "Default":
      return { _tag: kind, value, failures }
  }
}

const providerOf = (self: Served<unknown>): string => "provider" in self ? self.provider : ""
const providers = (a: Served<unknown>, b: Served<unknown>): string =>
  providerOf(a) === providerOf(b) ? providerOf(a) : `${providerOf(a)}+${providerOf(b)}`
const attemptsOf = (self: Served<unknown>): number => self._tag === "Live" ? self.attempts : 0
/** Milliseconds since the answer was made. */
export const ageOf = (self: Served<unknown>): number => "age" in self ? self.age : 0
const missingOf = (self: Served<unknown>): ReadonlyArray<string> => self._tag === "Partial" ? self.missing : []

// -- HTTP ------------------------------------------------------------------------------------------------------------

/** The schema of an answer, for HTTP: every kind, around the value's own schema. */
export const schema = <S extends Schema.Constraint>(value: S) => {
  const failures = Schema.Array(Failure)
  return Schema.Union([
    Schema.TaggedStruct("Live", {
      value,
      failures,
      provider: Schema.String,
      attempts: Schema.Int,
      hedged: Schema.Boolean,
      degraded: Schema.Boolean
    }),
    Schema.TaggedStruct("Cached", { value, failures, provider: Schema.String, age: Schema.Finite }),
    Schema.TaggedStruct("Stale", { value, failures, provider: Schema.String, age: Schema.Finite }),
    Schema.TaggedStruct("Partial", { value, failures, missing: Schema.Array(Schema.String), age: Schema.Finite }),
    Schema.TaggedStruct("Default", { value, failures })
  ])
}
