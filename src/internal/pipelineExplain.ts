/** What a pipeline's settings come to, worked out before the outage does it. Pure: milliseconds and counts in, sentences out. */
import { Duration } from "effect"
import * as Backoff from "../Backoff.ts"
import type { RetrySettings } from "./retryDecision.ts"

/** The numbers that matter; `Infinity` for what is not bounded. */
export interface Facts {
  readonly deadlineMillis: number
  readonly retry: RetrySettings | undefined
  readonly retryBase: Backoff.Settings | undefined
  /** Added attempts per request on average, or `undefined` where nothing bounds them. */
  readonly budgetRatio: number | undefined
  readonly hedge: { readonly maxHedges: number; readonly delayMillis: number; readonly hasBudget: boolean } | undefined
  readonly breaker: { readonly failureThreshold: number; readonly recoveryMillis: number } | undefined
  readonly rateLimitWaitMillis: number | undefined
  readonly bulkhead: { readonly limit: number; readonly queue: number; readonly maxWaitMillis: number } | undefined
  readonly predictor: "shadow" | "shed" | undefined
  readonly timeoutMillis: number | undefined
  /** Attempts that the protected work makes by itself, such as a client library's own retries, for each of ours. */
  readonly attemptsInside: number
}

export interface Explanation {
  readonly provider: string
  /** The configured stages, outer to inner, each with what it does. */
  readonly stages: ReadonlyArray<{ readonly stage: string; readonly what: string }>
  /** The most attempts that one call can make at the provider. */
  readonly attempts: number
  /** The longest that one call can take, waits included. Infinite where nothing bounds it. */
  readonly worstCase: Duration.Duration
  /** The same where the provider asks for the longest wait that is honoured, each time. */
  readonly worstCaseWithRetryAfter: Duration.Duration
  /** What an outage multiplies the load by: for one call, and for all calls together for long. */
  readonly amplification: { readonly perCall: number; readonly sustained: number }
  readonly warnings: ReadonlyArray<string>
}

export const explainFacts = (provider: string, facts: Facts): Explanation => {
  const { deadlineMillis, hedge, retry } = facts
  const rounds = 1 + (retry?.maxRetries ?? 0)
  const atOnce = 1 + (hedge?.maxHedges ?? 0)
  const attempts = rounds * atOnce * facts.attemptsInside

  const waits = (facts.rateLimitWaitMillis ?? 0) + (facts.bulkhead?.maxWaitMillis ?? 0)
  const one = waits + (facts.timeoutMillis ?? Infinity)
  const round = hedge === undefined ? one : one + hedge.delayMillis * hedge.maxHedges
  const pauses = Array.from(
    { length: rounds - 1 },
    (_, index) => facts.retryBase === undefined ? 0 : Backoff.longest(facts.retryBase, index + 1)
  )
  const longestHint = (retry?.maxRetryAfterMillis ?? 0) * (1 + Backoff.retryAfterSpread)
  const total = (pause: (backoff: number) => number): Duration.Duration =>
    Duration.millis(
      Math.min(
        deadlineMillis,
        rounds * round + pauses.reduce((sum, backoff) => sum + pause(backoff), 0),
        retry === undefined ? Infinity : retry.maxElapsedMillis + round
      )
    )
  const worstCase = total((backoff) => backoff)

  const added = atOnce * rounds - 1
  const sustained = added === 0 || facts.budgetRatio === undefined ? atOnce * rounds : 1 + facts.budgetRatio
  return {
    provider,
    stages: stagesOf(facts),
    attempts,
    worstCase,
    worstCaseWithRetryAfter: total((backoff) => Math.max(backoff, longestHint)),
    amplification: { perCall: attempts, sustained: sustained * facts.attemptsInside },
    warnings: warningsOf(facts, rounds * atOnce, attempts, worstCase)
  }
}

const shown = (millis: number): string =>
  millis === Infinity ? "for ever" : Duration.format(Duration.millis(Math.round(millis)))

const stagesOf = (facts: Facts): Explanation["stages"] => {
  const {
    breaker,
    budgetRatio,
    bulkhead,
    deadlineMillis,
    hedge,
    predictor,
    retry,
    retryBase,
    rateLimitWaitMillis,
    timeoutMillis
  } = facts
  const stages: Array<{ readonly stage: string; readonly what: string }> = []
  const add = (stage: string, what: string): void => void stages.push({ stage, what })
  if (deadlineMillis < Infinity) add("deadline", `the whole call ends after ${shown(deadlineMillis)}`)
  if (retry !== undefined && retryBase !== undefined) {
    const { baseMillis, jitter, maxMillis, multiplier } = retryBase
    add(
      "retry",
      `up to ${retry.maxRetries} more attempts, after ${shown(baseMillis)} ×${multiplier} up to ${shown(maxMillis)}, ` +
        `jitter ${jitter}; Retry-After is honoured up to ${shown(retry.maxRetryAfterMillis)}`
    )
    add(
      "budget",
      budgetRatio === undefined ? "none" : `added attempts are at most ${percent(budgetRatio)} of the requests`
    )
  }
  if (hedge !== undefined) {
    add(
      "hedge",
      `up to ${hedge.maxHedges} beside the first, of idempotent calls, when it is silent for ${
        shown(hedge.delayMillis)
      }`
    )
  }
  if (breaker !== undefined) add("breaker peek", "an open circuit refuses before anything else is taken")
  if (rateLimitWaitMillis !== undefined) {
    add("rate limit", rateLimitWaitMillis === 0 ? "refuses at the limit" : `waits up to ${shown(rateLimitWaitMillis)}`)
  }
  if (bulkhead !== undefined) {
    add("bulkhead", `${bulkhead.limit} at once, ${bulkhead.queue} waiting up to ${shown(bulkhead.maxWaitMillis)}`)
  }
  if (predictor !== undefined) {
    add("predictor", predictor === "shed" ? "sheds a share of the calls while it sees trouble coming" : "watches only")
  }
  if (breaker !== undefined) {
    add(
      "breaker admit",
      `opens after ${
        breaker.failureThreshold === Infinity ? "no number of" : breaker.failureThreshold
      } failures in a row, for ` +
        `${shown(breaker.recoveryMillis)} at first`
    )
  }
  if (timeoutMillis !== undefined) add("attempt timeout", `each attempt is answered within ${shown(timeoutMillis)}`)
  add(
    "call",
    facts.attemptsInside > 1 ? `makes up to ${facts.attemptsInside} attempts of its own` : "the provider is asked"
  )
  return stages
}

const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`

const warningsOf = (
  facts: Facts,
  own: number,
  attempts: number,
  worstCase: Duration.Duration
): ReadonlyArray<string> => {
  const { attemptsInside, breaker, budgetRatio, bulkhead, deadlineMillis, hedge, retry, retryBase, timeoutMillis } =
    facts
  const warnings: Array<string> = []
  const warn = (condition: boolean, text: string): void => {
    if (condition) warnings.push(text)
  }
  warn(
    timeoutMillis === undefined && deadlineMillis === Infinity,
    "nothing bounds a call in time: a hung one keeps its caller and its permit for ever"
  )
  warn(
    timeoutMillis !== undefined && timeoutMillis > deadlineMillis,
    `attempt timeout exceeds the deadline: ${shown(timeoutMillis ?? 0)} of ${
      shown(deadlineMillis)
    }, so that no attempt has all of it`
  )
  warn(
    attemptsInside > 1 && own > 1,
    `nested retries: ${attempts} attempts for one call, ${own} here times ${attemptsInside} inside`
  )
  warn(
    retry !== undefined && retry.maxRetries > 0 && budgetRatio === undefined,
    `no budget: an outage multiplies the load by ${attempts}, and it may not recover under that`
  )
  warn(
    hedge !== undefined && !hedge.hasBudget,
    "no budget for hedges: when everything is slow, everything is asked twice"
  )
  warn(
    own > 1 && breaker === undefined,
    "no breaker: while the provider is down, every call goes through all its attempts"
  )
  warn(
    breaker !== undefined && breaker.failureThreshold <= own,
    `one call of ${own} attempts opens the circuit by itself: failureThreshold is ${breaker?.failureThreshold}`
  )
  warn(
    (retry?.maxRetries ?? 0) > 0 && retryBase?.jitter === "none",
    "no jitter: clients that failed together come back together"
  )
  warn(
    retryBase !== undefined && retryBase.baseMillis >= deadlineMillis,
    "the first backoff is as long as the deadline: there is never a retry"
  )
  warn(
    bulkhead !== undefined && bulkhead.maxWaitMillis >= deadlineMillis,
    "the wait for a permit may take the whole deadline"
  )
  warn(
    deadlineMillis < Infinity && own > 1 && Duration.toMillis(worstCase) >= deadlineMillis,
    `the deadline of ${shown(deadlineMillis)} cuts the worst case: the last attempts may never start`
  )
  return warnings
}

/** The explanation as text for people. */
export const renderExplanation = (self: Explanation): string => {
  const width = Math.max(...self.stages.map(({ stage }) => stage.length))
  const { perCall, sustained } = self.amplification
  const times = (factor: number): string => String(Math.round(factor * 100) / 100)
  return [
    self.provider,
    ...self.stages.map(({ stage, what }) => `  ${stage.padEnd(width)}  ${what}`),
    `  attempts: ${self.attempts} at most`,
    `  worst case: ${format(self.worstCase)}` +
    (Duration.equals(self.worstCase, self.worstCaseWithRetryAfter)
      ? ""
      : `, with Retry-After ${format(self.worstCaseWithRetryAfter)}`),
    `  load in an outage: ×${times(perCall)} for one call, ×${times(sustained)} for all together`,
    ...self.warnings.map((warning) => `  warning: ${warning}`)
  ].join("\n")
}

const format = (duration: Duration.Duration): string =>
  Duration.isFinite(duration) ? Duration.format(duration) : "not bounded"
