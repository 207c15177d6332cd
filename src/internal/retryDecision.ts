/**
 * Whether a failed attempt is followed by another, and after which wait: all rules of retry in one pure function. The
 * budget is asked after it, since asking takes tokens.
 */
import { Duration } from "effect"
import * as Backoff from "../Backoff.ts"
import { isProviderError, type ReasonTag, type RetryVerdict } from "../ProviderError.ts"
import { refusals } from "../Served.ts"
import { memberOf, tagOf } from "./foreign.ts"

/** What a failure says to retry. */
export interface Evidence {
  /** Its category, whose schedule applies. */
  readonly tag: ReasonTag
  readonly verdict: RetryVerdict
  /** How long we were told to wait: a floor. */
  readonly retryAfterMillis?: number | undefined
  /** A refusal of our own, such as an open circuit: nothing was sent, and only its own wait makes sense. */
  readonly refusal?: boolean | undefined
}

/** One category's schedule. */
export interface CategorySettings extends Backoff.Settings {
  /** How many retries failures of this category may cause. */
  readonly maxRetries: number
}

export interface RetrySettings {
  /** Attempts after the first, whatever the categories. */
  readonly maxRetries: number
  /** A provider that asks for a longer wait is given up on at once. */
  readonly maxRetryAfterMillis: number
  /** The longest time from the first attempt's start to the last one's start. */
  readonly maxElapsedMillis: number
  readonly categories: { readonly [Tag in ReasonTag]: CategorySettings }
}

/** Why there is no further attempt. */
export type Why =
  /** Another attempt would fail too. */
  | "NotRetryable"
  /** It might help, but the work may not be repeated. */
  | "NotIdempotent"
  /** All attempts were used. */
  | "AttemptsSpent"
  /** All attempts that this category allows were used, or its schedule ended. */
  | "CategorySpent"
  /** The provider asks for a wait, and another one can be asked at once. */
  | "AskedElsewhere"
  /** The provider asks for a wait above `maxRetryAfter`. */
  | "RetryAfterTooLong"
  /** The wait and an attempt do not fit before the deadline. */
  | "DeadlineTooClose"
  /** The wait does not fit in `maxElapsed`. */
  | "ElapsedTooLong"
  /** There were no tokens left for added attempts. */
  | "BudgetExhausted"

export type Decision =
  | { readonly _tag: "Retry"; readonly delayMillis: number; readonly backoffMillis: number }
  | { readonly _tag: "GiveUp"; readonly why: Why }

export interface Input {
  readonly evidence: Evidence
  /** Whether the work may be repeated although it may have been done. */
  readonly idempotent: boolean
  /** The attempt that failed; 1 for the first. */
  readonly attempt: number
  /** How many failures of this category the call has had, this one included. */
  readonly failures: number
  /** The backoff of the last wait for this category; 0 before the first. */
  readonly previousDelay: number
  /** Milliseconds since the call began; 0 where that is not kept. */
  readonly elapsed: number
  /** Milliseconds to the deadline; Infinity without one. */
  readonly remaining: number
  /** Milliseconds that an attempt is expected to take. */
  readonly expected: number
  /** Whether another provider can be asked: then no wait that this one asks for is worth it. */
  readonly elsewhere?: boolean | undefined
  /** Numbers from 0 up to 1. */
  readonly random: () => number
  readonly settings: RetrySettings
  /** The wait that the category's own Schedule gave, instead of the computed backoff; `"Done"` where it ended. */
  readonly scheduled?: number | "Done" | undefined
}

const giveUp = (why: Why): Decision => ({ _tag: "GiveUp", why })

export const next = (input: Input): Decision => {
  const { evidence, settings } = input
  if (evidence.verdict === "Never") return giveUp("NotRetryable")
  if (evidence.verdict === "IfIdempotent" && !input.idempotent) return giveUp("NotIdempotent")
  if (input.attempt > settings.maxRetries) return giveUp("AttemptsSpent")

  const hint = evidence.retryAfterMillis
  if (hint !== undefined && input.elsewhere === true) return giveUp("AskedElsewhere")
  if (evidence.refusal === true && !isBounded(evidence, input.remaining)) return giveUp("NotRetryable")

  const category = settings.categories[evidence.tag]
  if (input.failures > category.maxRetries || input.scheduled === "Done") return giveUp("CategorySpent")
  if (hint !== undefined && hint > settings.maxRetryAfterMillis) return giveUp("RetryAfterTooLong")

  const backoffMillis = evidence.refusal === true
    ? 0
    : input.scheduled ?? Backoff.delay(category, input.failures, input.previousDelay, input.random())
  const floor = Math.max(backoffMillis, hint ?? 0)
  const latest = input.remaining - input.expected
  if (floor > latest || input.remaining <= 0) return giveUp("DeadlineTooClose")
  if (input.elapsed + floor > settings.maxElapsedMillis) return giveUp("ElapsedTooLong")
  // Jitter upwards is only for spreading: it gives way where the deadline or maxElapsed leaves no room for it.
  const room = Math.min(latest, settings.maxElapsedMillis - input.elapsed)
  const delayMillis = hint === undefined
    ? backoffMillis
    : Math.min(room, Backoff.afterHint(hint, backoffMillis, input.random()))
  return { _tag: "Retry", delayMillis, backoffMillis }
}

/** A refusal that tells no time, or that no deadline bounds, is better answered by another provider now. */
export const isBounded = (refusal: Evidence, remainingOrDeadline: number): boolean =>
  refusal.retryAfterMillis !== undefined && remainingOrDeadline !== Infinity

/**
 * What can be told of an error without classifying it: a `ProviderError`, an attempt timeout, a deadline, or a refusal of
 * our own that tells its `retryAfter`. `undefined` for everything else: a foreign error may tell a wait as well, but not
 * that nothing was done.
 */
export const evidenceOf = (error: unknown): Evidence | undefined => {
  if (isProviderError(error)) {
    return { tag: error.reason._tag, verdict: error.verdicts.retry, retryAfterMillis: waitOf(error) }
  }
  const tag = tagOf(error)
  if (tag === "TimedOut") return timedOut
  if (tag === "DeadlineExceeded") return final
  const retryAfterMillis = waitOf(error)
  return retryAfterMillis !== undefined && tag !== undefined && refusals.has(tag)
    ? { tag: "ServiceUnavailableError", verdict: "Always", retryAfterMillis, refusal: true }
    : undefined
}

/** What the caller's own predicate says of an error that is no `ProviderError`; the wait that the error tells stays. */
export const answered = (error: unknown, again: boolean): Evidence => ({
  // The caller knows what it does, so that this is not the unknown category.
  ...(evidenceOf(error) ?? { tag: "TemporaryFailureError", retryAfterMillis: waitOf(error) }),
  verdict: again ? "Always" : "Never"
})

/** The `retryAfter` that an error tells, in milliseconds. */
export const waitOf = (error: unknown): number | undefined => {
  const wait = memberOf(error, "retryAfter")
  return Duration.isDuration(wait) ? Duration.toMillis(wait) : undefined
}

const timedOut: Evidence = { tag: "TimeoutError", verdict: "IfIdempotent" }
const final: Evidence = { tag: "TimeoutError", verdict: "Never" }
