/**
 * Faults of an HTTP provider as data: which answer goes wrong, how, how often. A rule can be switched at run time, and
 * read from JSON, so that another process can switch it.
 */
import { Schema } from "effect"
import { checks } from "../internal/options.ts"
import { Aim, makeRules, Millis } from "./rules.ts"

/** Answers with this status. `applied`: the request took effect all the same. Defaults to `false`. */
const Status = Schema.TaggedStruct("Status", {
  status: Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 599 })),
  headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** JSON, or a text as it is. Defaults to an error of the provider's own shape. */
  body: Schema.optionalKey(Schema.Json),
  applied: Schema.optionalKey(Schema.Boolean)
})

export const Fault = Schema.Union([
  Status,
  /** Waits before it answers; rules after this one still apply. */
  Schema.TaggedStruct("Latency", { millis: Millis }),
  /** Never answers: no headers at all, or headers and half of the body. */
  Schema.TaggedStruct("Hang", { at: Schema.Literals(["headers", "body"]) }),
  /** Breaks the connection: before the request is done, after it is done and before the answer, or within the answer. */
  Schema.TaggedStruct("Reset", { at: Schema.Literals(["request", "answer", "body"]) }),
  /** A 200 with a body that is none: broken JSON, cut off, empty, plain text, a web page. The request took effect. */
  Schema.TaggedStruct("Body", { kind: Schema.Literals(["malformed", "truncated", "empty", "text", "html"]) }),
  /** Replaces the top-level `status` of the answer, as by one that no client knows yet. */
  Schema.TaggedStruct("UnknownStatus", { status: Schema.String }),
  /** Puts the items of the answer's `data` in reverse order. */
  Schema.TaggedStruct("Shuffle", {}),
  /** An attached file fails to be processed. `containing` names a part of the file's name or text. */
  Schema.TaggedStruct("ProcessingFailed", {
    code: Schema.Literals(["server_error", "unsupported_file", "invalid_file"]),
    containing: Schema.optionalKey(Schema.String)
  })
])
export type Fault = typeof Fault.Type

export const Options = Schema.Struct({
  /** The route it is for, such as `"vectorStores.search"`. Defaults to every route. */
  route: Schema.optional(Schema.String),
  ...Aim.fields
})
export type Options = typeof Options.Type

export const Rule = Schema.Struct({ fault: Fault, ...Options.fields })
export type Rule = typeof Rule.Type

const apiError = (message: string, type: string, code: string | null) => ({
  error: { message, type, param: null, code }
})

/** A 429 that passes by waiting; all forms of the wait are sent, unless it is not known. */
export const rateLimited = (retryAfterMillis?: number): Fault => ({
  _tag: "Status",
  status: 429,
  headers: retryAfterMillis === undefined
    ? {}
    : {
      "retry-after": String(Math.ceil(retryAfterMillis / 1_000)),
      "retry-after-ms": String(retryAfterMillis),
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": retryAfterMillis < 1_000 ? `${retryAfterMillis}ms` : `${retryAfterMillis / 1_000}s`
    },
  body: apiError("Rate limit reached for requests. Please slow down.", "requests", "rate_limit_exceeded")
})

/** A 429 that no waiting helps: the account has no credit left. */
export const quotaExhausted = (code = "credit_balance_exhausted"): Fault => ({
  _tag: "Status",
  status: 429,
  body: apiError("You exceeded your current quota, please check your plan and billing.", "insufficient_quota", code)
})

/** An error of this status in the provider's own shape. */
export const status = (status: number, headers: Readonly<Record<string, string>> = {}): Fault => ({
  _tag: "Status",
  status,
  headers
})

/** A 503 that names its wait. */
export const unavailable = (retryAfterMillis = 1_000): Fault =>
  status(503, {
    "retry-after": String(Math.ceil(retryAfterMillis / 1_000)),
    "retry-after-ms": String(retryAfterMillis)
  })

/** A gateway's web page in place of an answer. */
export const badGateway: Fault = {
  _tag: "Status",
  status: 502,
  headers: { "content-type": "text/html" },
  body: "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
}

export const latency = (millis: number): Fault => ({ _tag: "Latency", millis })
export const hang = (at: "headers" | "body" = "headers"): Fault => ({ _tag: "Hang", at })
export const reset = (at: "request" | "answer" | "body" = "request"): Fault => ({ _tag: "Reset", at })
export const body = (kind: "malformed" | "truncated" | "empty" | "text" | "html"): Fault => ({ _tag: "Body", kind })
export const unknownStatus = (status: string): Fault => ({ _tag: "UnknownStatus", status })
export const shuffle: Fault = { _tag: "Shuffle" }
export const processingFailed = (
  code: "server_error" | "unsupported_file" | "invalid_file",
  containing?: string
): Fault => ({ _tag: "ProcessingFailed", code, ...(containing === undefined ? {} : { containing }) })

/** Faults in force: asked once per request and kind, they tell which hit it. */
export interface Board {
  /** Throws `InvalidOptions` for what is no rule. */
  readonly add: (rule: Rule) => string
  /** Takes one rule away, or all. */
  readonly clear: (id?: string) => void
  readonly rules: () => ReadonlyArray<Rule & { readonly id: string }>
  /** The faults that hit a request of this route, up to the first that is no latency; counts them down. */
  readonly hit: (route: string) => ReadonlyArray<Fault>
  /** The failure of processing that hits an attached file. */
  readonly processing: (name: string, text: string) => "server_error" | "unsupported_file" | "invalid_file" | undefined
}

/** Whether a fault of this kind lets the request have its effect. */
export const takesEffect = (fault: Fault): boolean => {
  switch (fault._tag) {
    case "Status":
      return fault.applied === true
    case "Hang":
      return fault.at === "body"
    case "Reset":
      return fault.at !== "request"
    case "Latency":
    case "Body":
    case "UnknownStatus":
    case "Shuffle":
    case "ProcessingFailed":
      return true
  }
}

/** A board without rules. The same seed draws the same chances. A rule for a route that is none of `routes` is refused. */
export const makeBoard = (seed = 1, routes?: ReadonlyArray<string>): Board => {
  const rules = makeRules("Fault", Rule, seed)
  return {
    add: (rule) => {
      if (routes !== undefined && rule.route !== undefined) checks("Fault").oneOf("route", rule.route, routes)
      return rules.add(rule)
    },
    clear: rules.clear,
    rules: () =>
      rules.all().map(({ id, left, rule }) => Object.assign({}, rule, left < Infinity ? { times: left } : {}, { id })),
    hit: (route) =>
      rules.take(
        ({ fault, route: only }) => fault._tag !== "ProcessingFailed" && (only === undefined || only === route),
        ({ fault }) => fault._tag !== "Latency"
      ).map(({ fault }) => fault),
    processing: (name, text) => {
      const [hit] = rules.take(
        ({ fault }) =>
          fault._tag === "ProcessingFailed" &&
          (fault.containing === undefined || name.includes(fault.containing) || text.includes(fault.containing)),
        () => true
      )
      return hit?.fault._tag === "ProcessingFailed" ? hit.fault.code : undefined
    }
  }
}
