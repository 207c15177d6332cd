/** The built-in rules of classification: data first, in order of strength. */
import type { Delivered, ReasonTag, Severity, VerdictOverrides } from "../ProviderError.ts"
import type { Evidence } from "./failureEvidence.ts"

/** What a rule says. */
export interface Decision {
  readonly tag: ReasonTag
  /** The rule's name, and the fact it went by. */
  readonly rule: string
  readonly detail?: string | undefined
  readonly delivered?: Delivered | undefined
  readonly overrides?: VerdictOverrides | undefined
  readonly severity?: Severity | undefined
}

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
  readonly decide: (evidence: Evidence, context: Context) => Decision | undefined
}

type Meaning = Omit<Decision, "rule">

const network = (delivered: Delivered): Meaning => ({ tag: "NetworkError", delivered })
const timeout = (delivered: Delivered): Meaning => ({ tag: "TimeoutError", delivered })

const table = (name: string, rows: ReadonlyArray<readonly [Meaning, string]>): Map<string, Decision> =>
  new Map(
    rows.flatMap(([meaning, codes]) =>
      codes.split(" ").map((code) => [code, { ...meaning, rule: `${name}:${code}` }] as const)
    )
  )

const nodeCodes = table("node-code", [
  [network("no"), "ECONNREFUSED EAI_AGAIN ENOTFOUND ENETUNREACH EHOSTUNREACH"],
  [network("unknown"), "ECONNRESET EPIPE UND_ERR_SOCKET"],
  [timeout("no"), "UND_ERR_CONNECT_TIMEOUT"],
  [timeout("unknown"), "ETIMEDOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT"]
])

const byStatus = (status: number): ReasonTag | undefined => {
  switch (status) {
    case 401:
      return "AuthenticationError"
    case 402:
      return "ConfigurationError"
    case 403:
      return "AuthorizationError"
    case 404:
      return "NotFoundError"
    case 408:
      return "TimeoutError"
    case 413:
    case 422:
      return "ValidationError"
    case 429:
      return "RateLimitError"
    case 500:
      return "TemporaryFailureError"
  }
  if (status >= 400 && status < 500) return "InvalidRequestError"
  if (status > 500) return "ServiceUnavailableError"
  return undefined
}

/** From the strongest evidence to the weakest. */
export const builtIn: ReadonlyArray<ReadonlyArray<Rule>> = [
  [
    { name: "node-code", reads: ["code"], decide: ({ code }) => nodeCodes.get(code) },
    {
      name: "http-status",
      reads: ["status"],
      decide: ({ status }) => {
        const tag = byStatus(status)
        return tag === undefined ? undefined : { tag, rule: `http-status:${status}` }
      }
    },
    {
      name: "name",
      reads: ["name", "className"],
      decide: ({ className, name }) =>
        name === "TimeoutError" || className === "APIConnectionTimeoutError"
          ? { tag: "TimeoutError", rule: `name:${name}` }
          : name === "AbortError" || className === "APIUserAbortError"
          ? {
            tag: "UnknownError",
            detail: "Cancelled",
            rule: "name:AbortError",
            overrides: { breaker: "Ignored", fallback: "Stop" }
          }
          : undefined
    }
  ]
]
