/**
 * A call to a provider failed, and `reason` says why: one tagged error for each of the specification's thirteen
 * categories. One table holds what each category means for retry, fallback and breaker; it does not compile when a
 * category has no row.
 */
import { type Duration, Schema } from "effect"

/** Whether the same provider may be asked again: never, only for repeatable work, or always (nothing was delivered). */
export const RetryVerdict = Schema.Literals(["Never", "IfIdempotent", "Always"])
export type RetryVerdict = typeof RetryVerdict.Type

/** Whether the next provider should be asked. */
export const FallbackVerdict = Schema.Literals(["Next", "Stop"])
export type FallbackVerdict = typeof FallbackVerdict.Type

/** What the failure says about the provider's health. `Success`: it answered, the fault was the caller's. */
export const BreakerVerdict = Schema.Literals(["Success", "Failure", "Ignored"])
export type BreakerVerdict = typeof BreakerVerdict.Type

export const Severity = Schema.Literals(["Low", "Medium", "High", "Critical"])
export type Severity = typeof Severity.Type

/** What is known of the request's fate: `"no"` means it surely never reached the provider. */
export const Delivered = Schema.Literals(["no", "unknown", "yes"])
export type Delivered = typeof Delivered.Type

/** The three verdicts on a failure. */
export interface Verdicts {
  readonly retry: RetryVerdict
  readonly fallback: FallbackVerdict
  readonly breaker: BreakerVerdict
  /** Opens the circuit at once and for this many milliseconds, whatever the counts say. */
  readonly openForMillis?: number | undefined
}

/** Verdicts that the evidence changes from the category's own. */
export const VerdictOverrides = Schema.Struct({
  retry: Schema.optionalKey(RetryVerdict),
  fallback: Schema.optionalKey(FallbackVerdict),
  breaker: Schema.optionalKey(BreakerVerdict),
  openForMillis: Schema.optionalKey(Schema.Finite)
})

export type VerdictOverrides = typeof VerdictOverrides.Type

const evidence = {
  /** Safe to show: keys, tokens, passwords and connection strings are scrubbed. */
  message: Schema.String,
  /** The classification rule that decided. */
  rule: Schema.String,
  delivered: Delivered,
  /** The HTTP status, where there was a response. */
  status: Schema.optionalKey(Schema.Int),
  /** The Node, SQLSTATE or API code. */
  code: Schema.optionalKey(Schema.String),
  /** How long the provider asked us to wait: a floor, never a cap. */
  retryAfter: Schema.optionalKey(Schema.DurationFromMillis),
  /** What kind within the category, such as `QuotaExhausted` or `DimensionMismatch`. */
  detail: Schema.optionalKey(Schema.String),
  /** How bad it is, where that differs from the category's own. */
  severity: Schema.optionalKey(Severity),
  overrides: Schema.optionalKey(VerdictOverrides)
}

/** The provider could not be reached, or the connection broke. */
export class NetworkError extends Schema.TaggedError<NetworkError>()("NetworkError", evidence) {}

/** A time limit passed: ours, a gateway's or the provider's. */
export class TimeoutError extends Schema.TaggedError<TimeoutError>()("TimeoutError", evidence) {}

/** The provider asked us to slow down. */
export class RateLimitError extends Schema.TaggedError<RateLimitError>()("RateLimitError", evidence) {}

/** The provider was reached, but cannot serve now. */
export class ServiceUnavailableError
  extends Schema.TaggedError<ServiceUnavailableError>()("ServiceUnavailableError", evidence)
{}

/** A fault that passes by itself: an internal error, a deadlock, a lock. */
export class TemporaryFailureError
  extends Schema.TaggedError<TemporaryFailureError>()("TemporaryFailureError", evidence)
{}

/** Who we are was refused; another attempt would be refused too. */
export class AuthenticationError extends Schema.TaggedError<AuthenticationError>()("AuthenticationError", evidence) {}

/** We are known, but not allowed. */
export class AuthorizationError extends Schema.TaggedError<AuthorizationError>()("AuthorizationError", evidence) {}

/** The request is malformed or impossible. */
export class InvalidRequestError extends Schema.TaggedError<InvalidRequestError>()("InvalidRequestError", evidence) {}

/** What was addressed does not exist. */
export class NotFoundError extends Schema.TaggedError<NotFoundError>()("NotFoundError", evidence) {}

/** Our own set-up is wrong: a missing key, a bad URL, a certificate, a missing table, an exhausted quota. */
export class ConfigurationError extends Schema.TaggedError<ConfigurationError>()("ConfigurationError", evidence) {}

/** The request is well formed, but its data breaks a rule. */
export class ValidationError extends Schema.TaggedError<ValidationError>()("ValidationError", evidence) {}

/** The evidence says nothing. Defects wrapped at the edge end here too. */
export class UnknownError extends Schema.TaggedError<UnknownError>()("UnknownError", evidence) {}

/** The provider or its data is in danger: disk full, corruption. */
export class CriticalError extends Schema.TaggedError<CriticalError>()("CriticalError", evidence) {}

/** Why a call failed. */
export const Reason = Schema.Union([
  NetworkError,
  TimeoutError,
  RateLimitError,
  ServiceUnavailableError,
  TemporaryFailureError,
  AuthenticationError,
  AuthorizationError,
  InvalidRequestError,
  NotFoundError,
  ConfigurationError,
  ValidationError,
  UnknownError,
  CriticalError
])
export type Reason = typeof Reason.Type

/** The tag of a reason; the key of the table. */
export type ReasonTag = Reason["_tag"]

/** What a reason is made from. */
export type Evidence = ConstructorParameters<typeof NetworkError>[0]

/** The classes by tag. */
export const reasons = {
  NetworkError,
  TimeoutError,
  RateLimitError,
  ServiceUnavailableError,
  TemporaryFailureError,
  AuthenticationError,
  AuthorizationError,
  InvalidRequestError,
  NotFoundError,
  ConfigurationError,
  ValidationError,
  UnknownError,
  CriticalError
} as const

/** A category's row: the specification's name, the verdicts, how bad it is, and the HTTP status it is told by. */
export interface Row extends Verdicts {
  readonly category: string
  readonly severity: Severity
  readonly httpStatus: number
}

/**
 * One row for each category.
 *
 * **Details**
 *
 * The caller's faults (invalid request, not found, validation) show a provider that answers: `Success` for the breaker.
 * Authentication, authorization and configuration are `Ignored`, and so is a rate limit, which holds the provider
 * instead of counting against it.
 */
export const table = {
  NetworkError: row("NETWORK", "IfIdempotent", "Next", "Failure", "Medium", 503),
  TimeoutError: row("TIMEOUT", "IfIdempotent", "Next", "Failure", "Medium", 504),
  RateLimitError: row("RATE_LIMIT", "Always", "Next", "Ignored", "Medium", 429),
  ServiceUnavailableError: row("SERVICE_UNAVAILABLE", "IfIdempotent", "Next", "Failure", "High", 503),
  TemporaryFailureError: row("TEMPORARY_FAILURE", "IfIdempotent", "Next", "Failure", "Medium", 503),
  AuthenticationError: row("AUTHENTICATION", "Never", "Next", "Ignored", "High", 502),
  AuthorizationError: row("AUTHORIZATION", "Never", "Next", "Ignored", "High", 502),
  InvalidRequestError: row("INVALID_REQUEST", "Never", "Stop", "Success", "Low", 400),
  NotFoundError: row("NOT_FOUND", "Never", "Stop", "Success", "Low", 404),
  ConfigurationError: row("CONFIGURATION", "Never", "Next", "Ignored", "High", 500),
  ValidationError: row("VALIDATION", "Never", "Stop", "Success", "Low", 422),
  UnknownError: row("UNKNOWN", "Never", "Next", "Failure", "Medium", 500),
  CriticalError: row("CRITICAL", "Never", "Next", "Failure", "Critical", 500)
} as const satisfies { readonly [Tag in ReasonTag]: Row }

function row<
  const Category extends string,
  const Retry extends RetryVerdict,
  const Fallback extends FallbackVerdict,
  const Breaker extends BreakerVerdict
>(
  category: Category,
  retry: Retry,
  fallback: Fallback,
  breaker: Breaker,
  severity: Severity,
  httpStatus: number
) {
  return { category, retry, fallback, breaker, severity, httpStatus }
}

type TagsByRetry<V extends RetryVerdict> = {
  [Tag in ReasonTag]: (typeof table)[Tag]["retry"] extends V ? Tag : never
}[ReasonTag]

/** The reasons whose category may be retried. */
export type RetryableReason = Extract<Reason, { readonly _tag: TagsByRetry<"IfIdempotent" | "Always"> }>

/** The reasons whose category is never retried. */
export type FinalReason = Extract<Reason, { readonly _tag: TagsByRetry<"Never"> }>

/** The specification's name of a category, such as `RATE_LIMIT`. */
export type Category = (typeof table)[ReasonTag]["category"]

/** The verdicts on a category as its evidence changes them. */
export const verdicts = (tag: ReasonTag, delivered: Delivered, overrides?: VerdictOverrides): Verdicts => {
  const { breaker, fallback, retry } = table[tag]
  // What was surely not delivered may be repeated, whatever the work is.
  const own: Verdicts = {
    retry: delivered === "no" && retry === "IfIdempotent" ? "Always" : retry,
    fallback,
    breaker
  }
  return overrides === undefined ? own : { ...own, ...overrides }
}

/**
 * A call to a provider failed; `reason` says why.
 *
 * **Details**
 *
 * The encoded form leaves out `cause`: it is for the process's own eyes.
 */
export class ProviderError extends Schema.TaggedError<ProviderError>()("ProviderError", {
  provider: Schema.String,
  operation: Schema.String,
  reason: Reason,
  correlationId: Schema.optionalKey(Schema.String)
}) {
  /** The foreign failure. Not enumerable and never encoded. */
  declare readonly cause: unknown

  /** Keeps the foreign failure with the error. */
  causedBy(cause: unknown): this {
    return Object.defineProperty(this, "cause", { value: cause, enumerable: false, configurable: true })
  }

  override get message(): string {
    return `${this.provider}.${this.operation}: ${this.category}: ${this.reason.message}`
  }
  /** The specification's name of the category. */
  get category(): Category {
    return table[this.reason._tag].category
  }
  get severity(): Severity {
    return this.reason.severity ?? table[this.reason._tag].severity
  }
  /** The HTTP status this failure is told by. */
  get httpStatus(): number {
    return table[this.reason._tag].httpStatus
  }
  get verdicts(): Verdicts {
    return verdicts(this.reason._tag, this.reason.delivered, this.reason.overrides)
  }
  /** True when the same provider may be asked again, provided the work may be repeated. */
  get isRetryable(): boolean {
    return this.verdicts.retry !== "Never"
  }
  get retryAfter(): Duration.Duration | undefined {
    return this.reason.retryAfter
  }
}

/** Whether it is a `ProviderError`. Never throws: a hostile proxy does even when it is asked what it is. */
export const isProviderError = (failure: unknown): failure is ProviderError => {
  try {
    return failure instanceof ProviderError
  } catch {
    return false
  }
}

/** Whether work that failed so may be repeated at the same provider. */
export const mayRetry = (self: ProviderError, idempotent: boolean): boolean => {
  const { retry } = self.verdicts
  return retry === "Always" || (retry === "IfIdempotent" && idempotent)
}
