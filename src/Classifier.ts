/**
 * Makes a `ProviderError` of a foreign failure. The decision goes by evidence, and says which rule took it.
 *
 * **Details**
 *
 * Everything below the failure is read: `cause`, the members of an `AggregateError`, and what drivers call it otherwise.
 * Evidence counts in this order; in each step the deepest error is asked first, so that the deepest specific fact wins
 * over its wrappers, and among the members of a list what cannot be cured wins over what can, and nothing was surely not
 * done unless all of them say so:
 *
 * 1. `own-reason`: a reason of `ProviderError`, as it stands or out of a log
 * 2. `tag` (Effect's errors, our refusals), `code` (Node, TLS, undici, drivers, SQLSTATE, APIs), `name` where it is an
 *    API's code, `http-status` (with what the body adds), `grpc-status`, then codes and names that say no more than a status
 * 3. `text`: phrases of drivers, proxies and providers, as whole words; codes within the text
 * 4. `abort`, `program` (a bug of ours), and the words that an unknown code or name is made of
 * 5. `status-in-text`, where digits stand as a status; then general words
 * 6. `wrapper`: something between here and there broke
 *
 * Whatever says that no repetition can help (an exhausted credit in a 429, a wrong password in a 500) is looked for first.
 */
import { Context, Duration, Layer, Schema } from "effect"
import * as rules from "./internal/classificationRules.ts"
import type { Decision } from "./internal/classificationTables.ts"
import { type Chain, type Evidence, gather } from "./internal/failureEvidence.ts"
import { checks } from "./internal/options.ts"
import * as retryAfter from "./internal/retryAfter.ts"
import { scrub } from "./internal/scrub.ts"
import {
  type Category,
  type Delivered,
  isProviderError,
  ProviderError,
  reasons,
  type ReasonTag,
  type Severity,
  table,
  VerdictOverrides,
  type Verdicts,
  verdicts
} from "./ProviderError.ts"

export type { Rule } from "./internal/classificationRules.ts"
export type { Decision } from "./internal/classificationTables.ts"
export type { Evidence } from "./internal/failureEvidence.ts"

/** Where a failure arose. */
export interface FailureContext {
  readonly provider: string
  readonly operation: string
  /** Whether the work may be repeated. */
  readonly idempotent?: boolean | undefined
  /**
   * What the client was doing: in `connect` nothing was delivered, in `commit` the outcome is not known. Read from the
   * failure itself where that says so, as Effect's `SqlError` does.
   */
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
  /** Whether this work may be repeated at the same provider; work of unknown kind counts as idempotent. */
  readonly retryable: boolean
  readonly severity: Severity
  /** How long the provider asked us to wait: a floor, never a cap. */
  readonly retryAfterMillis: number | undefined
  readonly delivered: Delivered
  /** The rule that decided, and the fact it went by: `http-status:503`. */
  readonly rule: string
  /** Safe to show: scrubbed of what looks like a secret, at most 500 characters. */
  readonly message: string
  readonly status: number | undefined
  readonly code: string | undefined
  /** What kind within the category, such as `QuotaExhausted`. */
  readonly detail: string | undefined
  readonly overrides: VerdictOverrides | undefined
}

export interface Classifier {
  /** Never throws; the same for the same failure and context. */
  readonly classify: (failure: unknown, context?: Partial<FailureContext>) => Classification
  /** A `ProviderError` passes through as it is. */
  readonly toError: (failure: unknown, context: FailureContext) => ProviderError
}

export interface Options {
  /** Asked before the built-in rules, in their order. A rule that throws has no say. */
  readonly rules?: ReadonlyArray<rules.Rule> | undefined
  /** Other classifiers for single providers, by the provider's name. */
  readonly providers?: { readonly [provider: string]: Classifier } | undefined
}

/** The built-in rules, from the strongest evidence to the weakest. */
export const builtInRules: ReadonlyArray<rules.Rule> = rules.builtIn.flat()

/** What a {@link when} rule asks for. All that is given must hold; of a list, one. Text is compared without case. */
export interface Condition {
  readonly code?: string | ReadonlyArray<string> | undefined
  readonly status?: number | ReadonlyArray<number> | undefined
  readonly name?: string | ReadonlyArray<string> | undefined
  readonly tag?: string | ReadonlyArray<string> | undefined
  readonly text?: string | RegExp | undefined
}

/**
 * A rule as data. Throws `InvalidOptions` for a decision that makes no sense.
 *
 * **Example**
 *
 * ```ts
 * import { Classifier } from "holdfast"
 *
 * const busy = Classifier.when("ledger-busy", { code: ["LEDGER_BUSY", "LEDGER_LOCKED"] }, { tag: "TemporaryFailureError" })
 * const ours = Classifier.make({ rules: [busy] })
 * ours.classify({ code: "LEDGER_BUSY" }).category // => "TEMPORARY_FAILURE"
 * ```
 */
export const when = (name: string, condition: Condition, decision: Decision): rules.Rule => {
  const check = checks("Classifier")
  check.ensure(Object.hasOwn(table, decision.tag), "tag", "is no category of errors")
  check.decoded(Schema.decodeUnknownResult(optionalOverrides)(decision.overrides), ["overrides"])
  const { code, name: names, status, tag, text } = condition
  const lower = typeof text === "string" ? text.toLowerCase() : text
  const says = (evidence: Evidence): boolean =>
    lower === undefined ||
    (typeof lower === "string" ? evidence.text.includes(lower) : evidence.text.search(lower) >= 0)
  return {
    name,
    reads: (["code", "status", "name", "tag", "text"] as const).filter((fact) => condition[fact] !== undefined),
    decide: (evidence) =>
      (code === undefined || isOneOf(code, evidence.code) || evidence.codes.some((other) => isOneOf(code, other))) &&
        (status === undefined || isOneOf(status, evidence.status)) &&
        (names === undefined || isOneOf(names, evidence.name) || isOneOf(names, evidence.className)) &&
        (tag === undefined || isOneOf(tag, evidence.tag)) && says(evidence)
        ? decision
        : undefined
  }
}

const optionalOverrides = Schema.UndefinedOr(VerdictOverrides)

const isOneOf = <A extends string | number>(expected: A | ReadonlyArray<A>, actual: A): boolean =>
  typeof expected === "object" ? expected.includes(actual) : expected === actual

interface Finding {
  readonly decision: Decision
  readonly rule: rules.Rule
  readonly evidence: Evidence
  /** The group's place: 0 is the strongest. */
  readonly group: number
}

type Groups = ReadonlyArray<ReadonlyArray<rules.Rule>>

const find = (chain: Chain, groups: Groups, context: rules.Context): Finding | undefined => {
  const { branches, links } = chain
  const below = branches.length === 0 ? undefined : findBelow(chain, groups, context)
  for (let group = 0; group < groups.length; group++) {
    if (below?.group === group) return below
    const members = groups[group] ?? []
    for (let i = links.length - 1; i >= 0; i--) {
      const evidence = links[i]
      if (evidence === undefined) continue
      for (let k = 0; k < members.length; k++) {
        const rule = members[k]
        const decision = rule?.decide(evidence, context)
        if (rule !== undefined && decision !== undefined) return { decision, rule, evidence, group }
      }
    }
  }
  return below
}

const findBelow = ({ branches, several }: Chain, groups: Groups, context: rules.Context): Finding | undefined => {
  let best: Finding | undefined
  let surelyNotDone = true
  for (const branch of branches) {
    const found = find(branch, groups, context)
    surelyNotDone &&= !several || isSurelyNotDone(found, branch, context)
    if (found !== undefined && (best === undefined || beats(found, best))) best = found
  }
  return best === undefined || surelyNotDone ? best : doubted(best)
}

const beats = (a: Finding, b: Finding): boolean =>
  a.group < b.group || (a.group === b.group && retries(a.decision) < retries(b.decision))

const retries = ({ overrides, tag }: Decision): number => (overrides?.retry ?? table[tag].retry) === "Never" ? 0 : 1

const isSurelyNotDone = (found: Finding | undefined, chain: Chain, context: rules.Context): boolean => {
  // What was met before has its say there.
  if (found === undefined) return chain.links.length === 0
  const phase = context.phase ?? phaseOf(chain)
  const { retry } = verdicts(found.decision.tag, deliveredOf(found, phase), overridesOf(found, chain, phase))
  return retry === "Always"
}

/** Of several errors one alone does not tell that nothing was done. */
const doubted = (found: Finding): Finding => {
  const { delivered, overrides, tag } = found.decision
  const retry = overrides?.retry ?? table[tag].retry
  return {
    ...found,
    decision: {
      ...found.decision,
      delivered: delivered === "no" ? "unknown" : delivered,
      overrides: retry === "Always" ? { ...overrides, retry: "IfIdempotent" } : overrides
    }
  }
}

/** All but the tag is worked out when it is asked for: most callers ask for little. */
class Result implements Classification {
  readonly tag: ReasonTag
  private readonly chain: Chain
  private readonly found: Finding | undefined
  private readonly context: Partial<FailureContext>

  constructor(chain: Chain, found: Finding | undefined, context: Partial<FailureContext>) {
    this.chain = chain
    this.found = found
    this.context = context
    this.tag = found === undefined ? "UnknownError" : found.decision.tag
  }

  get category(): Category {
    return table[this.tag].category
  }
  get verdicts(): Verdicts {
    return verdicts(this.tag, this.delivered, this.overrides)
  }
  get retryable(): boolean {
    const { retry } = this.verdicts
    return retry === "Always" || (retry === "IfIdempotent" && this.context.idempotent !== false)
  }
  get severity(): Severity {
    return this.found?.decision.severity ?? table[this.tag].severity
  }
  get rule(): string {
    return this.found === undefined ? "none" : this.found.decision.rule ?? this.found.rule.name
  }
  get detail(): string | undefined {
    return this.found?.decision.detail
  }
  get status(): number | undefined {
    return this.found?.evidence.status || first(this.chain, ({ status }) => status || undefined)
  }
  get code(): string | undefined {
    if (this.found === undefined) return undefined
    const { code, codes, number } = this.found.evidence
    return code || codes[0] || (number === undefined ? undefined : String(number))
  }
  get message(): string {
    return scrub(this.found?.evidence.message || first(this.chain, ({ message }) => message || undefined) || "")
  }
  get retryAfterMillis(): number | undefined {
    return waitOf(this.chain, this.tag, this.context.now)
  }
  get delivered(): Delivered {
    return deliveredOf(this.found, this.context.phase ?? phaseOf(this.chain))
  }
  get overrides(): VerdictOverrides | undefined {
    return overridesOf(this.found, this.chain, this.context.phase ?? phaseOf(this.chain))
  }
  toJSON(): Classification {
    const {
      category,
      code,
      delivered,
      detail,
      message,
      overrides,
      retryAfterMillis,
      retryable,
      rule,
      severity,
      status,
      tag,
      verdicts
    } = this
    return {
      tag,
      category,
      verdicts,
      retryable,
      severity,
      retryAfterMillis,
      delivered,
      rule,
      message,
      status,
      code,
      detail,
      overrides
    }
  }
}

/** The outermost answer. */
const first = <A>(chain: Chain, read: (evidence: Evidence) => A | undefined): A | undefined => {
  for (const evidence of chain.links) {
    const answer = read(evidence)
    if (answer !== undefined) return answer
  }
  for (const branch of chain.branches) {
    const answer = first(branch, read)
    if (answer !== undefined) return answer
  }
  return undefined
}

/** Of errors beside each other all must tell the same. */
const phaseOf = ({ branches, links, several }: Chain): FailureContext["phase"] => {
  for (let i = 0; i < links.length; i++) {
    const { operation } = links[i]!
    if (operation === "connect" || operation === "commit") return operation
  }
  if (branches.length === 0) return undefined
  const phases = branches.map(phaseOf)
  const phase = phases.find((phase) => phase !== undefined)
  return !several || phases.every((other) => other === phase) ? phase : undefined
}

const deliveredOf = (found: Finding | undefined, phase: FailureContext["phase"]): Delivered => {
  if (phase === "connect") return "no"
  if (found === undefined) return "unknown"
  const { decision, evidence } = found
  const answered = evidence.status !== 0 || decision.rule?.startsWith("sqlstate") === true
  return decision.delivered ?? (answered ? "yes" : "unknown")
}

const overridesOf = (
  found: Finding | undefined,
  chain: Chain,
  phase: FailureContext["phase"]
): VerdictOverrides | undefined => {
  if (found === undefined) return undefined
  const { detail, overrides, tag } = found.decision
  const { headers } = found.evidence
  const headersFound = headers ?? first(chain, (evidence) => evidence.headers)
  const should = headersFound === undefined ? undefined : retryAfter.header(headersFound, "x-should-retry")
  if (should === "false") return { ...overrides, retry: "Never" }
  if (should === "true" && table[tag].fallback === "Stop" && overrides?.retry === undefined) {
    return { ...overrides, retry: "IfIdempotent" }
  }
  // What broke while a transaction was committed may have been committed.
  if (phase === "commit" && detail !== "RolledBack" && (overrides?.retry ?? table[tag].retry) === "Always") {
    return { ...overrides, retry: "IfIdempotent" }
  }
  return overrides
}

const waitOf = (chain: Chain, tag: ReasonTag, now: number | undefined): number | undefined => {
  const limited = tag === "RateLimitError"
  return first(
    chain,
    ({ headers }) => headers === undefined ? undefined : retryAfter.fromHeaders(headers, now, limited)
  ) ??
    first(chain, fieldWait) ??
    (limited || tag === "ServiceUnavailableError"
      ? first(chain, ({ text }) => text === "" ? undefined : retryAfter.fromText(text))
      : undefined)
}

/** What the error or its response's body says of waiting. */
const fieldWait = ({ hint, value }: Evidence): number | undefined =>
  retryAfter.fromFields(hint) ?? retryAfter.fromFields(value)

/** A classifier with rules of your own in front of the built-in ones. */
export const make = (options?: Options): Classifier => {
  const own = options?.rules?.map(guarded) ?? []
  const groups = own.length === 0 ? rules.builtIn : [own, ...rules.builtIn]

  const classify: Classifier["classify"] = (failure, context = {}) => {
    const other = context.provider === undefined ? undefined : options?.providers?.[context.provider]
    if (other !== undefined) return other.classify(failure, context)
    const chain = gather(failure)
    return new Result(chain, find(chain, groups, context), context)
  }

  const toError: Classifier["toError"] = (failure, context) => {
    if (isProviderError(failure)) return failure
    const { code, delivered, detail, message, overrides, retryAfterMillis, rule, severity, status, tag } = classify(
      failure,
      context
    )
    const reason = new reasons[tag]({
      message,
      rule,
      delivered,
      ...(status === undefined ? undefined : { status }),
      ...(code === undefined ? undefined : { code: scrub(code) }),
      ...(retryAfterMillis === undefined ? undefined : { retryAfter: Duration.millis(retryAfterMillis) }),
      ...(detail === undefined ? undefined : { detail }),
      ...(overrides === undefined ? undefined : { overrides }),
      ...(severity === table[tag].severity ? undefined : { severity })
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

/** A rule that may throw must not make classification throw. */
const guarded = (rule: rules.Rule): rules.Rule => ({
  ...rule,
  decide: (evidence, context) => {
    try {
      return rule.decide(evidence, context)
    } catch {
      return undefined
    }
  }
})

const builtIn = make()

/** By the built-in rules. */
export const classify = builtIn.classify

/** By the built-in rules. */
export const toError = builtIn.toError

/** The classifier in force; the built-in rules by default. */
export const Classifier = Context.Reference<Classifier>("holdfast/Classifier", { defaultValue: () => builtIn })

/** Puts rules in front of the built-in ones. */
export const layer = (options: Options): Layer.Layer<never> => Layer.succeed(Classifier, make(options))
