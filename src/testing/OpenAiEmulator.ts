/**
 * An OpenAI API on loopback: a real HTTP server with files, vector stores, search and embeddings, its errors, headers
 * and pages, and faults that are switched while it runs. It stores, ranks and embeds for real, in memory.
 *
 * **When to use**
 *
 * To exercise the real client, and everything above it, without a key, a network or a bill. It works in real time: use
 * it in `it.live`, not under the test clock.
 *
 * **Details**
 *
 * Another process drives it by JSON under `/_control`: `POST /_control/faults` with a `Fault.Rule` answers `{ id }`, `GET`
 * lists them, `DELETE /_control/faults` or `/_control/faults/{id}` clears; `POST /_control/documents` with
 * `{ vectorStore, documents }` loads documents at once; `POST /_control/outage` with `{ millis }` closes the port and
 * every connection for that long; `GET /_control/requests` counts requests by route, `DELETE` starts again.
 */
import {
  Cause,
  Clock,
  Context,
  Duration,
  Effect,
  FiberSet,
  Layer,
  Redacted,
  Result,
  Schema,
  Scope,
  Semaphore
} from "effect"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { makeLocal } from "../vectorstore/Embedder.ts"
import { Document } from "../vectorstore/VectorStore.ts"
import * as Fault from "./Fault.ts"
import * as OpenAiData from "./OpenAiData.ts"

/** The port could not be opened. `code` is Node's, such as `EADDRINUSE`. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  port: Schema.Int,
  code: Schema.String
}) {
  override get message(): string {
    return `The emulator could not listen on port ${this.port}: ${this.code}`
  }
}

export interface Options {
  /** Defaults to a free one. */
  readonly port?: number | undefined
  /** The key that clients must send. Defaults to `"sk-emulator"`. */
  readonly apiKey?: string | undefined
  /** A vector store that is there from the start. Defaults to `"vs_holdfast"`. */
  readonly vectorStore?: string | undefined
  /** What the vector store holds from the start. */
  readonly documents?: Iterable<Document> | undefined
  /** How long an attached file is in progress. Defaults to 0: it is done at once. */
  readonly processing?: Duration.Input | undefined
  /** Seeds the chances of faults by probability. Defaults to 1. */
  readonly seed?: number | undefined
}

/** One request as it went. */
export interface Exchange {
  readonly route: string
  readonly method: string
  readonly path: string
  /** 0 where no status was sent. */
  readonly status: number
  /** How often the client's own retries had repeated it. */
  readonly clientRetry: number
  /** What the caller said of itself: its trace, and its own id of the request. */
  readonly traceparent: string | undefined
  readonly clientRequestId: string | undefined
}

export interface Emulator {
  /** The base URL for a client, `http://127.0.0.1:{port}/v1`. */
  readonly url: string
  readonly port: number
  readonly apiKey: Redacted.Redacted
  readonly vectorStore: string
  /** Switches a fault on, and tells its id. */
  readonly fault: (fault: Fault.Fault, options?: Fault.Options) => Effect.Effect<string>
  /** Switches one fault off, or all of them. */
  readonly clear: (id?: string) => Effect.Effect<void>
  readonly rules: Effect.Effect<ReadonlyArray<Fault.Rule & { readonly id: string }>>
  /** A fault for as long as the effect runs. */
  readonly during: (fault: Fault.Fault, options?: Fault.Options) => <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** Stores documents without any request, as `OpenAiStore` would have. */
  readonly load: (documents: Iterable<Document>, vectorStore?: string) => Effect.Effect<void>
  /** Requests by route since the start or the last `resetRequests`; what no route takes counts as `unknown`. */
  readonly requests: Effect.Effect<Readonly<Record<string, number>>>
  /** The last 10,000 requests, oldest first. */
  readonly exchanges: Effect.Effect<ReadonlyArray<Exchange>>
  readonly resetRequests: Effect.Effect<void>
  /** Open connections. */
  readonly connections: Effect.Effect<number>
  /** Names of the uploaded files that no vector store holds. */
  readonly orphans: Effect.Effect<ReadonlyArray<string>>
  /** How many files are uploaded. */
  readonly files: Effect.Effect<number>
  /** Closes the port and breaks every connection; the data stays. */
  readonly stop: Effect.Effect<void>
  /** Listens again on the same port. */
  readonly start: Effect.Effect<void, ListenFailed>
}

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Route {
  readonly name: string
  readonly method: string
  readonly path: RegExp
  readonly run: (data: OpenAiData.OpenAiData, call: OpenAiData.Call) => OpenAiData.Answer
}

const route = (name: string, method: string, path: string, run: Route["run"]): Route => ({
  name,
  method,
  // As the API does, a trailing slash is no part of the path: an empty id makes `/vector_stores/` the list.
  path: new RegExp(`^/v1${path.replace(/:id/g, "([^/]+)")}/?$`),
  run
})

const routes: ReadonlyArray<Route> = [
  route("files.list", "GET", "/files", (data, call) => data.listFiles(call)),
  route("files.retrieve", "GET", "/files/:id", (data, call) => data.getFile(call)),
  route("files.delete", "DELETE", "/files/:id", (data, call) => data.deleteFile(call)),
  route("files.content", "GET", "/files/:id/content", (data, call) => data.fileContent(call)),
  route("vectorStores.create", "POST", "/vector_stores", (data, call) => data.createStore(call)),
  route("vectorStores.list", "GET", "/vector_stores", (data, call) => data.listStores(call)),
  route("vectorStores.retrieve", "GET", "/vector_stores/:id", (data, call) => data.getStore(call)),
  route("vectorStores.update", "POST", "/vector_stores/:id", (data, call) => data.updateStore(call)),
  route("vectorStores.delete", "DELETE", "/vector_stores/:id", (data, call) => data.deleteStore(call)),
  route("vectorStores.search", "POST", "/vector_stores/:id/search", (data, call) => data.search(call)),
  route("vectorStores.files.create", "POST", "/vector_stores/:id/files", (data, call) => data.attach(call)),
  route("vectorStores.files.list", "GET", "/vector_stores/:id/files", (data, call) => data.listAttached(call)),
  route("vectorStores.files.retrieve", "GET", "/vector_stores/:id/files/:id", (data, call) => data.getAttached(call)),
  route("vectorStores.files.update", "POST", "/vector_stores/:id/files/:id", (data, call) => data.updateAttached(call)),
  route("vectorStores.files.delete", "DELETE", "/vector_stores/:id/files/:id", (data, call) => data.detach(call)),
  route(
    "vectorStores.files.content",
    "GET",
    "/vector_stores/:id/files/:id/content",
    (data, call) => data.attachedContent(call)
  ),
  route(
    "vectorStores.fileBatches.create",
    "POST",
    "/vector_stores/:id/file_batches",
    (data, call) => data.createBatch(call)
  ),
  route(
    "vectorStores.fileBatches.retrieve",
    "GET",
    "/vector_stores/:id/file_batches/:id",
    (data, call) => data.getBatch(call)
  ),
  route(
    "vectorStores.fileBatches.cancel",
    "POST",
    "/vector_stores/:id/file_batches/:id/cancel",
    (data, call) => data.cancelBatch(call)
  ),
  route(
    "vectorStores.fileBatches.listFiles",
    "GET",
    "/vector_stores/:id/file_batches/:id/files",
    (data, call) => data.listBatchFiles(call)
  ),
  route("embeddings.create", "POST", "/embeddings", (data, call) => data.embeddings(call))
]

const uploadRoute = "files.create"

/** Every route's name: what a fault's `route` can be. */
export const routeNames: ReadonlyArray<string> = [uploadRoute, ...routes.map(({ name }) => name)]

const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body)
})

const failure = ({ code, message, param, status, type }: OpenAiData.Failure): Reply =>
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

const standardError = (status: number): Reply => {
  const [message, type, code] = standardErrors[status] ?? ["The request failed.", "server_error", null]
  return failure({ status, message, type, code, param: null })
}

const ControlDocuments = Schema.Struct({
  vectorStore: Schema.optionalKey(Schema.NonEmptyString),
  documents: Schema.Array(Document)
})
const ControlOutage = Schema.Struct({
  millis: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 3_600_000 }))
})

const readBody = (request: IncomingMessage): Effect.Effect<Buffer> =>
  Effect.callback<Buffer>((resume) => {
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => resume(Effect.succeed(Buffer.concat(parts))))
    // The client went away: there is nobody to answer.
    request.on("close", () => request.complete || resume(Effect.never))
  })

const parseJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

/** Starts an emulator; it ends, with all its connections, when the scope does. */
export const make: (options?: Options) => Effect.Effect<Emulator, ListenFailed, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options = {}) {
    const apiKey = options.apiKey ?? "sk-emulator"
    const vectorStore = options.vectorStore ?? "vs_holdfast"
    const board = Fault.makeBoard(options.seed)
    const data = OpenAiData.make({
      processingMillis: Duration.toMillis(Duration.fromInputUnsafe(options.processing ?? 0)),
      processing: board.processing,
      embed: (texts, dimensions) =>
        Effect.runSync(makeLocal({ dimensions }).embed(texts, "document")).map(({ values }) => values)
    })
    const scope = yield* Scope.Scope
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    data.ensureStore(vectorStore, now())
    if (options.documents !== undefined) data.load(vectorStore, options.documents, now())

    const fibers = yield* FiberSet.make<void>()
    const run = yield* FiberSet.runtime(fibers)()
    const sockets = new Set<Socket>()
    let server: Server | undefined
    let port = options.port ?? 0
    let serial = 0
    const counts = new Map<string, number>()
    let exchanges: Array<Exchange> = []

    const upload = (body: Buffer, contentType: string): Effect.Effect<Reply> =>
      Effect.tryPromise(() =>
        new Response(new Uint8Array(body), { headers: { "content-type": contentType } }).formData()
      ).pipe(
        Effect.flatMap((form) => {
          const file = form.get("file")
          const purpose = form.get("purpose")
          if (file === null || typeof file === "string") {
            return Effect.succeed(standardError(400))
          }
          return Effect.map(Effect.promise(() => file.text()), (text) =>
            answerOf(data.createFile({
              filename: file.name,
              text,
              purpose: typeof purpose === "string" ? purpose : "",
              bytes: file.size
            }, now())))
        }),
        Effect.catch(() => Effect.succeed(standardError(400)))
      )

    const perform = (request: IncomingMessage, url: URL, name: string, body: Buffer): Effect.Effect<Reply> => {
      const contentType = request.headers["content-type"] ?? ""
      if (name === uploadRoute) return upload(body, contentType)
      const found = routes.find((it) => it.name === name)
      if (found === undefined) {
        return Effect.succeed(failure({
          status: 404,
          message: `Invalid URL (${request.method} ${url.pathname})`,
          type: "invalid_request_error",
          param: null,
          code: null
        }))
      }
      const parsed = body.length === 0 ? Result.succeed({}) : parseJson(body.toString("utf8"))
      if (Result.isFailure(parsed)) return Effect.succeed(standardError(400))
      const ids = (found.path.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent)
      return Effect.succeed(
        answerOf(found.run(data, { ids, query: url.searchParams, body: parsed.success, now: now() }))
      )
    }

    const control = (method: string, path: string, body: Buffer): Effect.Effect<Reply> => {
      const input = body.length === 0 ? {} : Result.getOrElse(parseJson(body.toString("utf8")), () => undefined)
      const refuse = (error: { readonly message: string }) => json(400, { message: error.message })
      switch (`${method} ${path}`) {
        case "POST /_control/faults":
          return Effect.succeed(Result.match(Schema.decodeUnknownResult(Fault.Rule)(input), {
            onFailure: refuse,
            onSuccess: (rule) => json(200, { id: board.add(rule) })
          }))
        case "GET /_control/faults":
          return Effect.succeed(json(200, board.rules()))
        case "DELETE /_control/faults":
          board.clear()
          return Effect.succeed(json(200, {}))
        case "GET /_control/requests":
          return Effect.succeed(json(200, Object.fromEntries(counts)))
        case "DELETE /_control/requests":
          forget()
          return Effect.succeed(json(200, {}))
        case "POST /_control/documents":
          return Effect.succeed(Result.match(Schema.decodeUnknownResult(ControlDocuments)(input), {
            onFailure: refuse,
            onSuccess: (it) => {
              data.load(it.vectorStore ?? vectorStore, it.documents, now())
              return json(200, { loaded: it.documents.length })
            }
          }))
        case "POST /_control/outage":
          return Result.match(Schema.decodeUnknownResult(ControlOutage)(input), {
            onFailure: (error) => Effect.succeed(refuse(error)),
            onSuccess: ({ millis }) =>
              // A moment for this answer to leave, then the outage.
              Effect.sleep("20 millis").pipe(
                Effect.andThen(stop),
                Effect.andThen(Effect.sleep(millis)),
                Effect.andThen(start),
                Effect.forkIn(scope),
                Effect.as(json(200, {}))
              )
          })
      }
      const [, id] = /^\/_control\/faults\/([\w-]+)$/.exec(path) ?? []
      if (method === "DELETE" && id !== undefined) {
        board.clear(id)
        return Effect.succeed(json(200, {}))
      }
      return Effect.succeed(json(404, { message: "No such control" }))
    }

    const handle = Effect.fnUntraced(function*(request: IncomingMessage, response: ServerResponse) {
      const body = yield* readBody(request)
      const method = request.method ?? "GET"
      const url = new URL(request.url ?? "/", "http://127.0.0.1")
      if (url.pathname.startsWith("/_control/")) {
        return yield* send(response, yield* control(method, url.pathname, body))
      }
      const name = method === "POST" && /^\/v1\/files\/?$/.test(url.pathname)
        ? uploadRoute
        : routes.find((it) => it.method === method && it.path.test(url.pathname))?.name ?? "unknown"
      counts.set(name, (counts.get(name) ?? 0) + 1)
      const record = (status: number): void => {
        exchanges.push({
          route: name,
          method,
          path: url.pathname,
          status,
          clientRetry: Number(request.headers["x-stainless-retry-count"] ?? 0),
          traceparent: headerOf(request, "traceparent"),
          clientRequestId: headerOf(request, "x-client-request-id")
        })
        if (exchanges.length > 20_000) exchanges = exchanges.slice(-10_000)
      }
      const headers = {
        "x-request-id": `req_${(++serial).toString(16).padStart(16, "0")}`,
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-tokens": "999000",
        "x-ratelimit-reset-tokens": "60ms"
      }
      const hits = board.hit(name)
      for (const fault of hits) if (fault._tag === "Latency") yield* Effect.sleep(fault.millis)
      const fault = hits.find((it) => it._tag !== "Latency")
      const honest = fault === undefined || Fault.takesEffect(fault)
        ? request.headers.authorization === `Bearer ${apiKey}`
          ? yield* perform(request, url, name, body)
          : standardError(401)
        : standardError(500)
      const reply = distort(honest, fault)
      const full: Reply = { ...reply, headers: { ...headers, ...reply.headers } }
      if (fault?._tag === "Reset" && fault.at !== "body") {
        record(0)
        request.socket.resetAndDestroy()
        return
      }
      if (fault?._tag === "Hang" && fault.at === "headers") {
        record(0)
        return yield* Effect.never
      }
      record(full.status)
      if (fault?._tag === "Hang" || fault?._tag === "Reset" || (fault?._tag === "Body" && fault.kind === "truncated")) {
        const half = Buffer.from(full.body)
        response.writeHead(full.status, { ...full.headers, "content-length": String(half.length) })
        yield* Effect.callback<void>((resume) => {
          response.write(half.subarray(0, half.length >> 1), () => resume(Effect.void))
        })
        if (fault._tag === "Hang") return yield* Effect.never
        // Let the half arrive: a reset drops what is still on its way.
        yield* Effect.sleep("10 millis")
        if (fault._tag === "Reset") request.socket.resetAndDestroy()
        else request.socket.destroy()
        return
      }
      return yield* send(response, full)
    })

    const forget = (): void => {
      counts.clear()
      exchanges = []
    }

    const lock = yield* Semaphore.make(1)
    const stop: Effect.Effect<void> = Semaphore.withPermit(
      lock,
      Effect.gen(function*() {
        const open = server
        if (open === undefined) return
        server = undefined
        yield* Effect.callback<void>((resume) => {
          open.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
        yield* FiberSet.clear(fibers)
      })
    )
    const start: Effect.Effect<void, ListenFailed> = Semaphore.withPermit(
      lock,
      Effect.suspend(() => server === undefined ? listen : Effect.void)
    )
    const listen = Effect.callback<void, ListenFailed>((resume) => {
      const opening = createServer((request, response) => {
        const fiber = run(
          handle(request, response).pipe(
            // A mistake of the emulator's own is answered, not left to hang.
            Effect.catchCause((cause) =>
              Cause.hasInterruptsOnly(cause) || response.headersSent
                ? Effect.failCause(cause)
                : send(response, json(500, { error: { message: Cause.pretty(cause), type: "emulator_error" } }))
            )
          )
        )
        response.on("close", () => fiber.interruptUnsafe())
      })
      opening.on("connection", (socket) => {
        sockets.add(socket)
        socket.on("close", () => sockets.delete(socket))
      })
      opening.on(
        "error",
        (error: NodeJS.ErrnoException) =>
          resume(Effect.fail(new ListenFailed({ port, code: error.code ?? error.message })))
      )
      opening.listen(port, "127.0.0.1", () => {
        const address = opening.address()
        if (typeof address === "object" && address !== null) port = address.port
        server = opening
        resume(Effect.void)
      })
    })

    yield* Effect.acquireRelease(start, () => stop)

    const emulator: Emulator = {
      url: `http://127.0.0.1:${port}/v1`,
      port,
      apiKey: Redacted.make(apiKey),
      vectorStore,
      fault: (fault, options) => Effect.sync(() => board.add({ fault, ...options })),
      clear: (id) => Effect.sync(() => board.clear(id)),
      rules: Effect.sync(board.rules),
      during: (fault, options) => (self) =>
        Effect.acquireUseRelease(
          Effect.sync(() => board.add({ fault, ...options })),
          () => self,
          (id) => Effect.sync(() => board.clear(id))
        ),
      load: (documents, id = vectorStore) => Effect.sync(() => data.load(id, documents, now())),
      requests: Effect.sync(() => Object.fromEntries(counts)),
      exchanges: Effect.sync(() => exchanges.slice(-10_000)),
      resetRequests: Effect.sync(forget),
      connections: Effect.sync(() => sockets.size),
      orphans: Effect.sync(data.orphans),
      files: Effect.sync(data.fileCount),
      stop,
      start
    }
    return emulator
  }
)

const answerOf = (answer: OpenAiData.Answer): Reply =>
  Result.match(answer, {
    onFailure: failure,
    onSuccess: (value) =>
      typeof value === "string"
        ? { status: 200, headers: { "content-type": "application/octet-stream" }, body: value }
        : json(200, value)
  })

const send = (response: ServerResponse, { body, headers, status }: Reply): Effect.Effect<void> =>
  Effect.callback((resume) => {
    response.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(body)) })
    response.end(body, () => resume(Effect.void))
  })

const distort = (reply: Reply, fault: Fault.Fault | undefined): Reply => {
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

const headerOf = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export class OpenAiEmulator extends Context.Service<OpenAiEmulator, Emulator>()("holdfast/testing/OpenAiEmulator") {
  static readonly layer = (options?: Options): Layer.Layer<OpenAiEmulator, ListenFailed> =>
    Layer.effect(OpenAiEmulator, make(options))
}
