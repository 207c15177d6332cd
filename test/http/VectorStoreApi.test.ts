import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, FileSystem, Layer, Metric } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import { createServer } from "node:http"
import * as ServerFile from "../../src/cli/ServerFile.ts"
import * as Health from "../../src/Health.ts"
import * as Boundary from "../../src/http/Boundary.ts"
import { Library } from "../../src/http/Library.ts"
import { routerConfig, VectorStoreApi } from "../../src/http/VectorStoreApi.ts"
import * as VectorStoreHandlers from "../../src/http/VectorStoreHandlers.ts"
import { ProviderError, reasons, type ReasonTag, table } from "../../src/ProviderError.ts"
import * as Served from "../../src/Served.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { VectorStore } from "../../src/vectorstore/VectorStore.ts"
import * as Holdfast from "../cli/holdfast.ts"

const Api = HttpApi.make("theirs").add(VectorStoreApi)

const library = Library.layerStore.pipe(Layer.provideMerge(MemoryStore.layer()), Layer.provide(Embedder.local))

const served = (store: Layer.Layer<Library>) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(VectorStoreHandlers.layer(Api)),
      Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true })),
      Layer.provide(Boundary.layer(Api, { maxBody: 65_536 }))
    ),
    { disableLogger: true, disableListenLog: true, routerConfig }
  ).pipe(
    Layer.provide(store),
    Layer.provide(Health.Health.layer({ providers: [{ name: "memory" }] })),
    Layer.provide(Telemetry.layer()),
    Layer.provide(Layer.sync(Metric.MetricRegistry, () => new Map())),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
  )

const request = Effect.fnUntraced(function*(path: string, init?: RequestInit) {
  const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address) + path
  return yield* Effect.promise(async (signal) => {
    const response = await fetch(url, { ...init, signal })
    const text = await response.text()
    // oxlint-disable-next-line typescript/no-explicit-any -- read field by field below
    const body: any = text === "" ? undefined : JSON.parse(text)
    return { status: response.status, headers: response.headers, body }
  })
})

const send = (method: string, body: unknown): RequestInit => ({
  method,
  body: JSON.stringify(body),
  headers: { "content-type": "application/json" }
})

it.live("reads and deletes a document of the longest id there may be", () =>
  Effect.gen(function*() {
    for (const id of ["x".repeat(512), "\u{1f600}".repeat(256), "ü/".repeat(256)]) {
      yield* request("/api/vectorstore/documents", send("POST", { id, content: "Sunlight makes it." }))
      const path = `/api/vectorstore/documents/${encodeURIComponent(id)}`
      assert.strictEqual((yield* request(path)).body.id, id)
      assert.strictEqual((yield* request(path, send("PUT", {}))).status, 405)
      assert.strictEqual((yield* request(path, { method: "DELETE" })).status, 204)
    }
    const longer = yield* request(`/api/vectorstore/documents/${"x".repeat(513)}`)
    assert.strictEqual(longer.status, 404)
  }).pipe(Effect.provide(served(library))))

it.live("stores, finds, changes and deletes a document", () =>
  Effect.gen(function*() {
    const path = "/api/vectorstore/documents"
    const added = yield* request(path, send("POST", { id: "a/b 1", title: "Vitamin D", content: "Sunlight makes it." }))
    assert.strictEqual(added.status, 201)
    assert.deepStrictEqual(added.body, { id: "a/b 1", provider: "memory" })
    const one = `${path}/${encodeURIComponent("a/b 1")}`
    assert.strictEqual((yield* request(one)).body.title, "Vitamin D")
    const found = yield* request("/api/vectorstore/search?query=vitamin&limit=1")
    assert.strictEqual(found.status, 200)
    assert.deepInclude(found.body, { completeness: "Complete", reasons: [] })
    assert.deepInclude(found.body.answer, {
      _tag: "Live",
      provider: "memory",
      attempts: 1,
      degraded: false,
      failures: []
    })
    assert.strictEqual(found.body.answer.value.hits[0].id, "a/b 1")
    const by = yield* request("/api/vectorstore/search", send("POST", { query: "sunlight", mode: "lexical" }))
    assert.strictEqual(by.body.answer.value.mode, "lexical")
    const patched = yield* request(one, send("PATCH", { content: "Milk has some." }))
    assert.deepStrictEqual(patched.body, { id: "a/b 1", title: "Vitamin D", content: "Milk has some." })
    assert.strictEqual((yield* request(path)).body.documents.length, 1)
    assert.strictEqual((yield* request("/api/vectorstore/stats")).body.documents, 1)
    assert.deepStrictEqual((yield* request("/api/vectorstore/sources")).body.sources, [
      { name: "memory", state: "Healthy", reasons: [] }
    ])
    assert.strictEqual((yield* request(one, { method: "DELETE" })).status, 204)
    for (const init of [{}, { method: "DELETE" }, send("PATCH", { title: "x" })]) {
      const gone = yield* request(one, init)
      assert.strictEqual(gone.status, 404)
      assert.strictEqual(gone.headers.get("content-type"), "application/problem+json")
    }
  }).pipe(Effect.provide(served(library))))

it.live("reports a batch item by item", () =>
  Effect.gen(function*() {
    const documents = [{ id: "1", content: "one" }, { id: "2", content: "two" }]
    const { body } = yield* request("/api/vectorstore/documents/batch", send("POST", { documents }))
    assert.deepStrictEqual(body, {
      items: [{ id: "1", outcome: "Stored" }, { id: "2", outcome: "Stored" }],
      stored: 2,
      failed: 0
    })
  }).pipe(Effect.provide(served(library))))

it.live("refuses bad input with a problem that names it", () =>
  Effect.gen(function*() {
    for (
      const [path, words] of [
        ["/search", "query"],
        ["/search?query=", "words to look for"],
        ["/search?query=%20%20", "words to look for"],
        ["/search?query=a&limit=0", "1 to 100"],
        ["/search?query=a&limit=10000", "1 to 100"],
        ["/search?query=a&limit=ten", "limit"],
        ["/search?query=a&lmit=1", "lmit"],
        ["/search?query=a&mode=magic", "mode"],
        ["/search?query=a&filter=%7B", "filter"],
        [`/search?query=${"a".repeat(10_001)}`, "10,000"],
        ["/documents?limit=1001", "1 to 1000"]
      ] as const
    ) {
      const { body, headers, status } = yield* request(`/api/vectorstore${path}`)
      assert.strictEqual(status, 400, path)
      assert.strictEqual(headers.get("content-type"), "application/problem+json", path)
      assert.include(JSON.stringify(body.errors), words, path)
    }
    for (const body of [{}, { id: "", content: "x" }, { id: "1", content: "" }, { id: "1", content: "x", extra: 1 }]) {
      assert.strictEqual((yield* request("/api/vectorstore/documents", send("POST", body))).status, 400)
    }
    const large = send("POST", { id: "1", content: "x".repeat(70_000) })
    assert.strictEqual((yield* request("/api/vectorstore/documents", large)).status, 413)
    const form = { method: "POST", body: "id=1", headers: { "content-type": "application/x-www-form-urlencoded" } }
    assert.strictEqual((yield* request("/api/vectorstore/documents", form)).status, 415)
    assert.strictEqual((yield* request("/api/vectorstore/stats")).body.documents, 0)
  }).pipe(Effect.provide(served(library))))

const error = (tag: ReasonTag) =>
  new ProviderError({
    provider: "openai",
    operation: "search",
    reason: new reasons[tag]({ message: "Incorrect API key sk-secret", rule: "test", delivered: "yes", status: 400 })
  })

it("tells every category by a status, and never in a provider's words", () => {
  const statuses = Object.fromEntries(
    (Object.keys(table) as ReadonlyArray<ReasonTag>).map((tag) => {
      const problem = VectorStoreHandlers.problemOf(error(tag))
      assert.notInclude(JSON.stringify(problem), "sk-secret")
      return [tag, problem.status]
    })
  )
  assert.deepStrictEqual(statuses, {
    NetworkError: 503,
    TimeoutError: 504,
    RateLimitError: 429,
    ServiceUnavailableError: 503,
    TemporaryFailureError: 503,
    AuthenticationError: 500,
    AuthorizationError: 500,
    InvalidRequestError: 400,
    NotFoundError: 400,
    ConfigurationError: 500,
    ValidationError: 422,
    UnknownError: 500,
    CriticalError: 500
  })
})

it.live("says who failed and when to ask again when nobody answers", () =>
  Effect.gen(function*() {
    const { body, headers, status } = yield* request("/api/vectorstore/search?query=vitamin")
    assert.strictEqual(status, 503)
    assert.strictEqual(headers.get("retry-after"), "5")
    assert.deepInclude(body, { title: "No provider could answer", retryAfter: 5 })
    assert.deepStrictEqual(body.failures, [{ provider: "openai", category: "NETWORK" }])
  }).pipe(Effect.provide(served(
    Layer.effect(
      Library,
      Effect.map(VectorStore, (store) =>
        Library.of({
          documents: store,
          lacks: Effect.succeed([]),
          search: () =>
            Effect.fail({
              _tag: "AllProvidersFailed",
              failures: [Served.failure("openai", error("NetworkError"))],
              earliestRetry: Duration.millis(4_200)
            })
        }))
    ).pipe(Layer.provide(MemoryStore.layer()), Layer.provide(Embedder.local))
  ))))

it("names everything that an answer lacks", () => {
  const value = { mode: "lexical" as const, hits: [], losses: ["LexicalInsteadOfVector" as const] }
  const failures = [Served.failure("openai", error("NetworkError"))]
  assert.deepInclude(VectorStoreHandlers.respond(Served.live(value, "neon", { degraded: true, failures })), {
    completeness: "Degraded",
    reasons: ["openai did not answer: NETWORK", "searched by words instead of meaning"]
  })
  const refused = [Served.failure("openai", { _tag: "CircuitOpen" })]
  assert.deepInclude(
    VectorStoreHandlers.respond(Served.live({ ...value, losses: [] }, "neon", { degraded: true, failures: refused })),
    {
      completeness: "Degraded",
      reasons: ["openai was not asked: its circuit is open"]
    }
  )
  assert.deepInclude(VectorStoreHandlers.respond(Served.stale({ ...value, losses: [] }, "openai", 90_000, failures)), {
    completeness: "Degraded",
    reasons: ["openai did not answer: NETWORK", "the answer is 90 s old"]
  })
  assert.deepInclude(VectorStoreHandlers.respond(Served.cached({ ...value, losses: [] }, "openai", 1)), {
    completeness: "Complete",
    reasons: []
  })
  assert.deepInclude(
    VectorStoreHandlers.respond(Served.live({ ...value, losses: [] }, "neon"), ["12 of 50 documents are in"]),
    {
      completeness: "Degraded",
      reasons: ["12 of 50 documents are in"]
    }
  )
})

it.live("ingest stores through a running server, also a text that was another in between", () =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped({ prefix: "holdfast-" })
    const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    yield* ServerFile.leave({ directory, databaseUrl: undefined }, url)
    const file = `${directory}/notes.md`
    const ingest = Effect.fnUntraced(function*(text: string) {
      yield* fs.writeFileString(file, text)
      const { code, stdout } = yield* Holdfast.here(["ingest", file], { HOLDFAST_DIRECTORY: directory })
      assert.strictEqual(code, 0, stdout)
      const { body } = yield* request("/api/vectorstore/documents?limit=100")
      const parts = (body.documents as ReadonlyArray<{ readonly content: string }>).map(({ content }) => content)
      return { parts, stdout }
    })
    const paragraphs = (word: string, count: number) =>
      Array.from({ length: count }, (_, i) => `${word} ${i} ${"of many words ".repeat(60)}`).join("\n\n")
    const zebras = yield* ingest(paragraphs("zebras", 24))
    assert.isAbove(zebras.parts.length, 3)
    const lions = yield* ingest(paragraphs("lions", 4))
    assert.isBelow(lions.parts.length, zebras.parts.length)
    assert.notInclude(lions.parts.join(), "zebras")
    const again = yield* ingest(paragraphs("zebras", 24))
    assert.deepStrictEqual(again.parts, zebras.parts)
    assert.notInclude(again.stdout, "stored before")
    // What is there is seen to be, and not sent once more.
    const same = yield* ingest(paragraphs("zebras", 24))
    assert.include(same.stdout, `0 documents of 1 file stored; ${zebras.parts.length} were stored before`)
  }).pipe(Effect.scoped, Effect.provide([served(library), NodeServices.layer])))
