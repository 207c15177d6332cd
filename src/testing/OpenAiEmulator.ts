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
import { Cause, Clock, Context, type Duration, Effect, FiberSet, Layer, Redacted, Scope } from "effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { millisOf } from "../internal/options.ts"
import { makeLocal } from "../vectorstore/Embedder.ts"
import type { Document } from "../vectorstore/VectorStore.ts"
import * as Fault from "./Fault.ts"
import * as Loopback from "./internal/loopback.ts"
import type { ListenFailed } from "./internal/loopback.ts"
import { control, type Controlled } from "./internal/openAiControl.ts"
import { deliver, distort, json, send, standardError } from "./internal/openAiReplies.ts"
import { perform, routeNames, routeOf } from "./internal/openAiRoutes.ts"
import * as OpenAiData from "./OpenAiData.ts"

export { ListenFailed } from "./internal/loopback.ts"
export { routeNames } from "./internal/openAiRoutes.ts"

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
  /** Switches a fault on, and tells its id. A fault, an option or a route that is none is a defect. */
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

const readBody = (request: IncomingMessage): Effect.Effect<Buffer> =>
  Effect.callback<Buffer>((resume) => {
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => resume(Effect.succeed(Buffer.concat(parts))))
    // The client went away: there is nobody to answer.
    request.on("close", () => request.complete || resume(Effect.never))
  })

/** Starts an emulator; it ends, with all its connections, when the scope does. */
export const make: (options?: Options) => Effect.Effect<Emulator, ListenFailed, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options = {}) {
    const apiKey = options.apiKey ?? "sk-emulator"
    const vectorStore = options.vectorStore ?? "vs_holdfast"
    const board = Fault.makeBoard(options.seed, routeNames)
    const data = OpenAiData.make({
      processingMillis: millisOf("OpenAiEmulator", "processing", options.processing ?? 0),
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
    let serial = 0
    let outages = 0
    const counts = new Map<string, number>()
    let exchanges: Array<Exchange> = []

    const forget = (): void => {
      counts.clear()
      exchanges = []
    }

    const load = (documents: Iterable<Document>, id = vectorStore): void => data.load(id, documents, now())
    const controlled: Controlled = {
      board,
      counts,
      forget,
      load,
      outage: (millis) =>
        Effect.sync(() => outages++).pipe(
          // A moment for the answer to leave, then the outage.
          Effect.andThen(Effect.sleep("20 millis")),
          Effect.andThen(Effect.suspend(() => loopback.stop)),
          Effect.andThen(Effect.sleep(millis)),
          // Of outages that overlap the last one ends it.
          Effect.andThen(Effect.suspend(() => --outages === 0 ? loopback.start : Effect.void)),
          Effect.forkIn(scope, { startImmediately: true }),
          Effect.asVoid
        )
    }

    const handle = Effect.fnUntraced(function*(request: IncomingMessage, response: ServerResponse) {
      const body = yield* readBody(request)
      const method = request.method ?? "GET"
      const url = new URL(request.url ?? "/", "http://127.0.0.1")
      if (url.pathname.startsWith("/_control/")) {
        return yield* send(response, yield* control(controlled, method, url.pathname, body))
      }
      const name = routeOf(method, url.pathname)
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
          ? yield* perform(data, name, { method, url, contentType: request.headers["content-type"] ?? "", body }, now)
          : standardError(401)
        : standardError(500)
      const reply = distort(honest, fault)
      yield* deliver(request, response, { ...reply, headers: { ...headers, ...reply.headers } }, fault, record)
    })

    const loopback = yield* Loopback.open({
      port: options.port,
      make: () =>
        createServer((request, response) => {
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
        }),
      stopped: FiberSet.clear(fibers)
    })
    const { port, sockets, start, stop } = loopback
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
      load: (documents, id) => Effect.sync(() => load(documents, id)),
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

const headerOf = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export class OpenAiEmulator extends Context.Service<OpenAiEmulator, Emulator>()("holdfast/testing/OpenAiEmulator") {
  static readonly layer = (options?: Options): Layer.Layer<OpenAiEmulator, ListenFailed> =>
    Layer.effect(OpenAiEmulator, make(options))
}
