/**
 * The built-in rules, in groups from the strongest evidence to the weakest. Within a group the deepest error is asked
 * first, and it the rules in their order: so the deepest specific fact wins over the outer wrapper, and a code or a status
 * anywhere wins over words anywhere.
 */
import { Option, Schema } from "effect"
import { Delivered, type ReasonTag, Severity, table, VerdictOverrides } from "../ProviderError.ts"
import {
  apiCodes,
  clientCodes,
  codeFamilies,
  type Decision,
  genericCodes,
  grpcNames,
  meanings,
  memo,
  normalize,
  shortCodes,
  statuses,
  tags,
  wrappers
} from "./classificationTables.ts"
import { driverText, isFinal, sqlState, statusInText, wordText } from "./classificationTexts.ts"
import { type Evidence, isObject } from "./failureEvidence.ts"

/** Where the failure arose. */
export interface Context {
  readonly provider?: string | undefined
  readonly operation?: string | undefined
  readonly idempotent?: boolean | undefined
  readonly phase?: "connect" | "query" | "commit" | undefined
}

export interface Rule {
  readonly name: string
  /** The evidence it reads. */
  readonly reads: ReadonlyArray<keyof Evidence>
  /** Asked with each error of the failure, the deepest first. Must not throw. */
  readonly decide: (evidence: Evidence, context: Context) => Decision | undefined
}

const by = (meaning: Omit<Decision, "rule">, rule: string): Decision => ({ ...meaning, rule })

const codeDecision = memo((code): Decision | undefined =>
  clientCodes.get(code) ?? tlsCode(code) ?? sqliteCode(code) ?? sqlState(code) ?? apiCodes.get(normalize(code))
)

const weakCodeDecision = memo((code): Decision | undefined => {
  const normal = normalize(code)
  return genericCodes.get(normal) ?? shortCodes.get(normal)
})

const nameDecision = memo((name): Decision | undefined => apiCodes.get(normalize(name)) ?? clientCodes.get(name))
const weakNameDecision = memo((name): Decision | undefined => genericCodes.get(normalize(name)))
const familyDecision = memo((code): Decision | undefined => {
  const normal = normalize(code)
  return codeFamilies.find(([pattern]) => pattern.test(normal))?.[1]
})

/** OpenSSL's codes. */
const tlsCode = (code: string): Decision | undefined =>
  /^(?:ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_(?:GET|VERIFY|DECRYPT|DECODE)_|ERR_OSSL_)/.test(code)
    ? by(meanings.tls, `code:${code}`)
    : undefined

/** SQLite's extended codes begin with the plain ones. */
const sqliteCode = (code: string): Decision | undefined =>
  code.startsWith("SQLITE_") ? clientCodes.get(code.split("_", 2).join("_")) : undefined

const firstOf = (evidence: Evidence, decide: (code: string) => Decision | undefined): Decision | undefined => {
  const { code, codes } = evidence
  let found = code === "" ? undefined : decide(code)
  for (let i = 0; i < codes.length; i++) {
    if (found !== undefined && isFinal(found)) break
    const other = decide(codes[i] ?? "")
    if (other !== undefined && (found === undefined || isFinal(other))) found = other
  }
  return found
}

/** No text, or one that quotes somebody's query, says nothing of the failure. */
const isMute = ({ text }: Evidence): boolean =>
  text === "" || (text.charCodeAt(0) === 102 && text.startsWith("failed query:"))

// The end is what the SDKs of OpenAI and Anthropic say of an answer without a body.
const saidBy = (evidence: Evidence): Decision | undefined =>
  isMute(evidence) || evidence.text.endsWith("status code (no body)") ? undefined : driverText(evidence.text)

/** A rate that is really an exhausted credit, or a request that no waiting makes smaller. */
const refineRate = (decision: Decision, evidence: Evidence): Decision => {
  const said = saidBy(evidence)
  return said !== undefined && (said.detail === "QuotaExhausted" || said.detail === "InputTooLarge")
    ? said.detail === "InputTooLarge" ? { ...meanings.invalid("InputTooLarge"), rule: said.rule } : said
    : decision
}

const onStatus = (status: number, evidence: Evidence): Decision | undefined => {
  const plain = statuses.get(status) ?? statusClass(status)
  if (plain === undefined) return undefined
  if (status === 429) return refineRate(plain, evidence)
  if (status === 400 || status === 403 || status === 404 || status === 409 || status >= 500) {
    const said = saidBy(evidence)
    if (said !== undefined && saysMore(status, said, evidence)) return said
  }
  return plain
}

/** Whether a phrase says more than the status beside it. */
const saysMore = (status: number, said: Decision, { text }: Evidence): boolean => {
  switch (status) {
    case 400:
      return said.detail === "QuotaExhausted" || said.tag === "ValidationError" || said.tag === "AuthenticationError" ||
        said.tag === "AuthorizationError"
    case 403:
      return said.detail === "QuotaExhausted" || (said.tag === "RateLimitError" && /rate|too many|abuse/.test(text))
    case 404:
      return said.detail === "ModelMissing" || said.detail === "MigrationMissing"
    case 409:
      return said.detail === "Locked" || said.detail === "Duplicate"
    default:
      return isFinal(said)
  }
}

const statusClass = (status: number): Decision | undefined => {
  const rule = `http-status:${status}`
  if (status >= 500 && status < 600) return by(meanings.unavailable(), rule)
  if (status >= 400 && status < 500) return by(meanings.invalid(), rule)
  return undefined
}

/** Codes that mean several things: the text tells which. */
const refineCode = (decision: Decision, evidence: Evidence): Decision => {
  const { rule = "" } = decision
  const { text } = evidence
  switch (rule) {
    // pgvector's wrong dimension.
    case "sqlstate:22000":
      return text.includes("dimension") ? { ...meanings.validation("DimensionMismatch"), rule } : decision
    case "sqlstate:0A000":
      if (text.includes("cached plan")) return { ...meanings.temporary, detail: "StatementGone", rule }
      return text.startsWith("extension ") ? { ...meanings.missing, rule } : decision
    case "sqlstate:54000":
      return text.includes("index") ? { ...meanings.configuration(), rule } : decision
    // PgBouncer says everything so; PostgreSQL itself means a client's mistake.
    case "sqlstate:08P01":
      return saidBy(evidence) ?? { ...meanings.invalid(), rule }
    // Neon's proxy says everything at connect so; elsewhere it is an internal error.
    case "sqlstate:XX000": {
      const said = saidBy(evidence)
      return said === undefined || (said.tag === "TemporaryFailureError" && said.detail === undefined) ? decision : said
    }
    // SMTP refuses for good by 5xx, for now by 4xx.
    case "code:EENVELOPE":
    case "code:EMESSAGE":
      return /\b4\d\d[ -](?:4\.|try|grey)/.test(text) ? { ...meanings.temporary, rule } : decision
    case "sqlstate:28000":
      return /not allowed|not permitted/.test(text) ? { ...meanings.authorization, rule } : decision
  }
  return decision
}

const isLiteral = <A extends string>(values: ReadonlyArray<A>, value: unknown): value is A =>
  values.some((known) => known === value)

/** A reason of ours, as it stands or as it comes out of a log. */
const ownReason = ({ tag, value }: Evidence): Decision | undefined => {
  if (tag === "" || !isReasonTag(tag) || !isObject(value)) return undefined
  // A foreign object with one of our tags: its getters may throw.
  try {
    const { delivered, detail, overrides, rule, severity } = value
    if (typeof rule !== "string" || !isLiteral(Delivered.literals, delivered)) return undefined
    return {
      tag,
      rule,
      delivered,
      detail: typeof detail === "string" ? detail : undefined,
      overrides: Option.getOrUndefined(decodeOverrides(overrides)),
      severity: isLiteral(Severity.literals, severity) ? severity : undefined
    }
  } catch {
    return undefined
  }
}

const isReasonTag = (tag: string): tag is ReasonTag => Object.hasOwn(table, tag)
const decodeOverrides = Schema.decodeUnknownOption(VerdictOverrides)

const grpc = (number: number): Decision | undefined => {
  const name = grpcNames[number]
  return name === undefined ? undefined : weakCodeDecision(name)
}

const ruleOf = (name: string, reads: ReadonlyArray<keyof Evidence>, decide: Rule["decide"]): Rule => ({
  name,
  reads,
  decide
})

/** Names that tell nothing. */
const isPlain = (name: string): boolean => name === "Error" || name === "" || name === "error" || name === "TypeError"

/** What was classified before. */
const own: ReadonlyArray<Rule> = [ruleOf("own-reason", ["tag", "value"], ownReason)]

/** Facts that stand by themselves. */
const specific: ReadonlyArray<Rule> = [
  ruleOf("tag", ["tag"], ({ tag }) => tag === "" ? undefined : tags.get(tag)),
  ruleOf("code", ["code", "codes", "text"], (evidence) => {
    if (evidence.code === "" && evidence.codes.length === 0) return undefined
    const decision = firstOf(evidence, codeDecision)
    if (decision === undefined) return undefined
    if (decision.tag === "RateLimitError") return refineRate(decision, evidence)
    // axios says so of its own timeouts.
    if (evidence.code === "ECONNABORTED" && evidence.text.includes("timeout")) {
      return { ...meanings.timeout("unknown"), rule: decision.rule }
    }
    if (evidence.operation === "connect" && decision.tag === "TimeoutError") return { ...decision, delivered: "no" }
    return refineCode(decision, evidence)
  }),
  ruleOf("name", ["name", "className"], ({ name }) => isPlain(name) ? undefined : nameDecision(name)),
  ruleOf(
    "http-status",
    ["status", "text"],
    (evidence) => evidence.status < 300 ? undefined : onStatus(evidence.status, evidence)
  ),
  ruleOf("grpc-status", ["number", "details", "text"], (evidence) => {
    const { details, name, number } = evidence
    if (number === undefined || (details === "" && name !== "ConnectError" && evidence.className !== "ConnectError")) {
      return undefined
    }
    const decision = grpc(number)
    return decision?.tag === "RateLimitError" ? refineRate(decision, evidence) : decision
  }),
  ruleOf("generic-code", ["code", "codes", "text"], (evidence) => {
    // Of node-fetch's own abort the type is "aborted", as is gRPC's name for a conflict.
    if (evidence.name === "AbortError" || (evidence.code === "" && evidence.codes.length === 0)) return undefined
    const decision = firstOf(evidence, weakCodeDecision)
    if (decision === undefined) return undefined
    if (decision.tag === "RateLimitError") return refineRate(decision, evidence)
    const said = saidBy(evidence)
    // "Unauthorized" is said of both.
    if (decision.tag === "AuthenticationError" && said?.tag === "AuthorizationError") return said
    if (isFinal(decision)) return decision
    return said !== undefined && isFinal(said) ? said : decision
  }),
  ruleOf(
    "status-code",
    ["number", "text"],
    (evidence) =>
      evidence.number === undefined || evidence.number < 400 ? undefined : onStatus(evidence.number, evidence)
  ),
  ruleOf(
    "generic-name",
    ["name", "className"],
    ({ className, name }) =>
      (isPlain(name) ? undefined : weakNameDecision(name)) ??
        (isPlain(className) ? undefined : nameDecision(className) ?? weakNameDecision(className))
  )
]

/** Messages of drivers, proxies and providers, and a status stated in the text. */
const phrases: ReadonlyArray<Rule> = [
  ruleOf("text", ["text"], saidBy),
  ruleOf("status-in-text", ["text"], (evidence) => {
    if (isMute(evidence)) return undefined
    const status = statusInText(evidence.text)
    const decision = status === 0 ? undefined : statuses.get(status) ?? statusClass(status)
    return decision === undefined ? undefined : { ...decision, rule: `status-in-text:${status}` }
  })
]

const jsErrors = new Set([
  "TypeError",
  "ReferenceError",
  "RangeError",
  "EvalError",
  "URIError",
  "SyntaxError",
  "AssertionError"
])

const networkTypeErrors = /^(?:fetch failed|terminated)$/

/** What names say. */
const names: ReadonlyArray<Rule> = [
  ruleOf("abort", ["name", "text"], ({ className, name, text }) =>
    name === "AbortError" || className === "AbortError"
      ? text.includes("timeout") || text.includes("timed out")
        ? by(meanings.timeout("unknown"), "name:AbortError")
        : by(meanings.cancelled, "name:AbortError")
      : undefined),
  ruleOf(
    "program",
    ["name", "message"],
    ({ message, name }) =>
      jsErrors.has(name) && !networkTypeErrors.test(message) && message !== ""
        ? by(meanings.defect, `name:${name}`)
        : undefined
  ),
  ruleOf("code-family", ["code", "codes"], (evidence) => firstOf(evidence, familyDecision)),
  ruleOf("name-family", ["name", "className"], ({ className, name }) => {
    if (wrappers.has(name) || wrappers.has(className)) return undefined
    return familyDecision(name) ?? familyDecision(className)
  })
]

/** General words. */
const words: ReadonlyArray<Rule> = [
  ruleOf(
    "words",
    ["text"],
    (evidence) => isMute(evidence) ? undefined : wordText(evidence.text)
  ),
  ruleOf(
    "html",
    ["text"],
    ({ text }) =>
      text.startsWith("<!doctype") || text.startsWith("<html") ? by(meanings.invalidResponse, "html") : undefined
  )
]

/** Wrappers that say no more than that something between here and there broke. */
const outer: ReadonlyArray<Rule> = [
  ruleOf(
    "wrapper",
    ["tag", "name", "className", "code", "message"],
    ({ className, code, message, name, tag }) =>
      wrappers.get(tag) ?? wrappers.get(name) ?? wrappers.get(className) ?? wrappers.get(code) ??
        (message === "fetch failed" ? wrappers.get("FetchError") : undefined)
  )
]

/** From the strongest evidence to the weakest. */
export const builtIn: ReadonlyArray<ReadonlyArray<Rule>> = [own, specific, phrases, names, words, outer]
