/** What the emulated API sends: answers, its own errors, and both as a fault distorts them. */
import { Effect, Result, Schema } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import type * as Fault from "../Fault.ts"
import type * as OpenAiData from "../OpenAiData.ts"

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const parseJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

export const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body)
})

export const failure = ({ code, message, param, status, type }: OpenAiData.Failure): Reply =>
  json(status, { error: { message, type, param, code } })

const standardErrors: Readonly<Record<number, readonly [message: string, type: string, code: string | null]>> = {
  400: ["The request is malformed.", "invalid_request_error", null],
  401: [
    "Incorrect API key provided. You can find your API key in the dashboard.",
    "invalid_request_error",
    "invalid_api_key"
  ],
  403: ["Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"],
  404: ["Not found.", "invalid_request_error", null],
  408: ["Request timeout.", "timeout", null],
  409: ["The resource is locked by another request.", "conflict", null],
  413: ["The request is too large.", "invalid_request_error", "string_above_max_length"],
  422: ["The request could not be processed.", "invalid_request_error", null],
  429: ["Rate limit reached for requests.", "requests", "rate_limit_exceeded"],
  500: ["The server had an error while processing your request.", "server_error", null],
  503: ["The engine is currently overloaded, please try again later.", "server_error", "overloaded"]
}

export const standardError = (status: number): Reply => {
  const [message, type, code] = standardErrors[status] ?? ["The request failed.", "server_error", null]
  return failure({ status, message, type, code, param: null })
}

export const answerOf = (answer: OpenAiData.Answer): Reply =>
  Result.match(answer, {
    onFailure: failure,
    onSuccess: (value) =>
      typeof value === "string"
        ? { status: 200, headers: { "content-type": "application/octet-stream" }, body: value }
        : json(200, value)
  })

/** Sends the reply whole. */
export const send = (response: ServerResponse, { body, headers, status }: Reply): Effect.Effect<void> =>
  Effect.callback((resume) => {
    response.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(body)) })
    response.end(body, () => resume(Effect.void))
  })

/** Sends the reply, or as much of it as the fault lets through; `onStatus` hears the status, 0 where none is sent. */
export const deliver = Effect.fnUntraced(function*(
  request: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  fault: Fault.Fault | undefined,
  onStatus: (status: number) => void
) {
  if (fault?._tag === "Reset" && fault.at !== "body") {
    onStatus(0)
    request.socket.resetAndDestroy()
    return
  }
  if (fault?._tag === "Hang" && fault.at === "headers") {
    onStatus(0)
    return yield* Effect.never
  }
  onStatus(reply.status)
  if (fault?._tag !== "Hang" && fault?._tag !== "Reset" && !(fault?._tag === "Body" && fault.kind === "truncated")) {
    return yield* send(response, reply)
  }
  const whole = Buffer.from(reply.body)
  response.writeHead(reply.status, { ...reply.headers, "content-length": String(whole.length) })
  yield* Effect.callback<void>((resume) => {
    response.write(whole.subarray(0, whole.length >> 1), () => resume(Effect.void))
  })
  if (fault._tag === "Hang") return yield* Effect.never
  // Let the half arrive: a reset drops what is still on its way.
  yield* Effect.sleep("10 millis")
  if (fault._tag === "Reset") request.socket.resetAndDestroy()
  else request.socket.destroy()
})

/** The reply as the fault makes it. */
export const distort = (reply: Reply, fault: Fault.Fault | undefined): Reply => {
  switch (fault?._tag) {
    case undefined:
    case "Latency":
    case "Hang":
    case "Reset":
    case "ProcessingFailed":
      return reply
    case "Status": {
      const plain = standardError(fault.status)
      return {
        status: fault.status,
        headers: { ...plain.headers, ...fault.headers },
        body: fault.body === undefined
          ? plain.body
          : typeof fault.body === "string"
          ? fault.body
          : JSON.stringify(fault.body)
      }
    }
    case "UnknownStatus":
      return edit(reply, (body) => "status" in body ? { ...body, status: fault.status } : body)
    case "Shuffle":
      return edit(
        reply,
        (body) => "data" in body && Array.isArray(body.data) ? { ...body, data: body.data.toReversed() } : body
      )
    case "Body":
      switch (fault.kind) {
        case "truncated":
          return reply
        case "malformed":
          return { ...reply, status: 200, body: reply.body.slice(0, Math.max(1, reply.body.length >> 1)) }
        case "empty":
          return { status: 200, headers: { "content-type": "application/json" }, body: "" }
        case "text":
          return { status: 200, headers: { "content-type": "text/plain" }, body: "OK" }
        case "html":
          return {
            status: 200,
            headers: { "content-type": "text/html" },
            body: "<html><body><h1>Sign in to the network</h1></body></html>"
          }
      }
  }
}

const edit = (reply: Reply, change: (body: object) => object): Reply => {
  const parsed = Result.getOrElse(parseJson(reply.body), () => undefined)
  return typeof parsed === "object" && parsed !== null ? { ...reply, body: JSON.stringify(change(parsed)) } : reply
}
