/**
 * Foreign failure to `ProviderError`, decided from evidence: the deepest specific fact wins over the outer wrapper, a
 * code or status wins over words.
 */
import { Context, Duration, Layer } from "effect"
import * as rules from "./internal/classificationRules.ts"
import { type Chain, type Evidence, gather } from "./internal/failureEvidence.ts"
import {
  type Category,
  type Delivered,
  ProviderError,
  reasons,
  type ReasonTag,
  type Severity,
  table,
  type VerdictOverrides,
  type Verdicts,
  verdicts
} from "./ProviderError.ts"

export type { Decision, Rule } from "./internal/classificationRules.ts"
export type { Evidence } from "./internal/failureEvidence.ts"

/** Where a failure arose. */
export interface FailureContext {
  readonly provider: string
  readonly operation: string
  /** Whether the work may be repeated. */
  readonly idempotent?: boolean | undefined
  /** What the client was doing. In `connect` nothing was delivered; in `commit` the outcome is not known. */
  readonly phase?: "connect" | "query" | "commit" | undefined
  readonly correlationId?: string | undefined
  /** The time in epoch milliseconds: a `Retry-After` that is a date counts from here when the answer has no `Date`. */
  readonly now?: number | undefined
}

/** What a failure was found to be, and why. */
export interface Classification {
  readonly tag: ReasonTag
  /** The specification's name, such as `RATE_LIMIT`. */
  readonly category: Category
  readonly verdicts: Verdicts
  readonly severity: Severity
  /** How long the provider asked us to wait. */
  readonly retryAfterMillis?: number | undefined
  readonly delivered: Delivered
  /** The rule that decided, and the fact it went by: `http-status:503`. */
  readonly rule: string
  /** Safe to show. */
  readonly message: string
  readonly status?: number | undefined
  readonly code?: string | undefined
  readonly detail?: string | undefined
  readonly overrides?: VerdictOverrides | undefined
}

export interface Options {
  /** Asked before the built-in rules. */
  readonly rules?: ReadonlyArray<rules.Rule> | undefined
  /** Rules of single providers, by name, asked before `rules`. */
  readonly providers?: { readonly [provider: string]: ReadonlyArray<rules.Rule> } | undefined
}

export interface Classifier {
  /** Never throws; the same for the same failure and context. */
  readonly classify: (failure: unknown, context?: Partial<FailureContext>) => Classification
  /** A `ProviderError` passes through as it is. */
  readonly toError: (failure: unknown, context: FailureContext) => ProviderError
}

interface Finding {
  readonly decision: rules.Decision
  readonly evidence: Evidence
  readonly strength: number
}

const find = (
  chain: Chain,
  strengths: ReadonlyArray<ReadonlyArray<rules.Rule>>,
  context: rules.Context
): Finding | undefined => {
  let below: Finding | undefined
  for (const branch of chain.branches) {
    const found = find(branch, strengths, context)
    if (found !== undefined && (below === undefined || found.strength < below.strength)) below = found
  }
  for (const [strength, group] of strengths.entries()) {
    if (below?.strength === strength) return below
    for (let i = chain.links.length - 1; i >= 0; i--) {
      const evidence = chain.links[i]
      if (evidence === undefined) continue
      for (const rule of group) {
        const decision = rule.decide(evidence, context)
        if (decision !== undefined) return { decision, evidence, strength }
      }
    }
  }
  return below
}

/** A classifier with rules of your own in front of the built-in ones. */
export const make = (options?: Options): Classifier => {
  const strengths = options?.rules === undefined ? rules.builtIn : [options.rules, ...rules.builtIn]

  const classify = (failure: unknown, context: Partial<FailureContext> = {}): Classification => {
    const own = context.provider === undefined ? undefined : options?.providers?.[context.provider]
    const chain = gather(failure)
    const found = find(chain, own === undefined ? strengths : [own, ...strengths], context)
    const evidence = found?.evidence ?? chain.links[0]
    const decision = found?.decision ?? { tag: "UnknownError" as const, rule: "none" }
    const delivered = decision.delivered ?? "unknown"
    const row = table[decision.tag]
    return {
      tag: decision.tag,
      category: row.category,
      verdicts: verdicts(decision.tag, delivered, decision.overrides),
      severity: decision.severity ?? row.severity,
      delivered,
      rule: decision.rule,
      message: evidence?.message ?? "",
      status: evidence?.status || undefined,
      code: evidence?.code || undefined,
      detail: decision.detail,
      overrides: decision.overrides
    }
  }

  const toError = (failure: unknown, context: FailureContext): ProviderError => {
    if (failure instanceof ProviderError) return failure
    const { code, delivered, detail, message, overrides, retryAfterMillis, rule, status, tag } = classify(
      failure,
      context
    )
    const reason = new reasons[tag]({
      message,
      rule,
      delivered,
      ...(status === undefined ? undefined : { status }),
      ...(code === undefined ? undefined : { code }),
      ...(retryAfterMillis === undefined ? undefined : { retryAfter: Duration.millis(retryAfterMillis) }),
      ...(detail === undefined ? undefined : { detail }),
      ...(overrides === undefined ? undefined : { overrides })
    })
    return new ProviderError({
      provider: context.provider,
      operation: context.operation,
      reason,
      ...(context.correlationId === undefined ? undefined : { correlationId: context.correlationId })
    }).causedBy(failure)
  }

  return { classify, toError }
}

const builtIn = make()

export const { classify, toError } = builtIn

/** The classifier in force; the built-in rules by default. */
export const Classifier = Context.Reference<Classifier>("holdfast/Classifier", { defaultValue: () => builtIn })

/** Puts rules in front of the built-in ones. */
export const layer = (options: Options): Layer.Layer<never> => Layer.succeed(Classifier, make(options))
