/**
 * Each way that OpenAI, or what stands before it, fails: as the store tells it, with both versions of the client, and that
 * the store goes on after. The names are the rows of `failureModes.test.ts`.
 */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, type Scope } from "effect"
import { OpenAI as OpenAI7 } from "openai"
import { OpenAI as OpenAI6 } from "openai6"
import * as Pipeline from "../../src/Pipeline.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { OpenAiClient, VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import type * as Client from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiEmbedder from "../../src/vectorstore/OpenAiEmbedder.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { Document, DocumentId, VectorStore } from "../../src/vectorstore/VectorStore.ts"
import { eventually } from "../testing/eventually.ts"

const clients = { 6: OpenAI6, 7: OpenAI7 } as const

const document = (i: number): Document =>
  Document.make({ id: DocumentId.make(`d${i}`), content: `zebra number ${i} grazes` })
const documents = [1, 2, 3].map(document)

const layerOf = (emulator: OpenAiEmulator.Emulator, options?: Partial<OpenAiStore.Options & Client.Options>) =>
  OpenAiStore.layer({
    apiKey: emulator.apiKey,
    baseURL: emulator.url,
    vectorStore: VectorStoreId.make(emulator.vectorStore),
    pollInterval: "2 millis",
    ...options
  })

const setUp = Effect.fnUntraced(function*(
  options?: Partial<OpenAiStore.Options & Client.Options>,
  settings?: OpenAiEmulator.Options
) {
  const emulator = yield* OpenAiEmulator.make({ documents, ...settings })
  const context = yield* Layer.build(layerOf(emulator, options))
  return {
    emulator,
    store: yield* Effect.provideContext(VectorStore, context),
    client: yield* Effect.provideContext(OpenAiClient, context)
  }
})

const apiError = (status: number, code: string, message = "No."): Fault.Fault => ({
  _tag: "Status",
  status,
  body: { error: { message, type: "invalid_request_error", param: null, code } }
})

/** Whether the request may have been done. */
type Delivered = "no" | "unknown" | "yes"

/** The fault, its category and detail, the verdicts `retry fallback breaker`, and what is known of the delivery. */
type Row = readonly [name: string, fault: Fault.Fault, category: string, verdicts: string, delivered: Delivered]

const counted = "IfIdempotent Next Failure"
const callers = "Never Stop Success"
const settings = "Never Next Ignored"

const rows: ReadonlyArray<Row> = [
  // No answer, or none that is one.
  ["no headers", Fault.hang("headers"), "TIMEOUT RequestTimeout", counted, "unknown"],
  ["stalled body", Fault.hang("body"), "TIMEOUT RequestTimeout", counted, "unknown"],
  ["reset", Fault.reset("request"), "NETWORK", counted, "unknown"],
  ["reset after it was done", Fault.reset("answer"), "NETWORK", counted, "unknown"],
  ["reset in the body", Fault.reset("body"), "NETWORK", counted, "unknown"],
  ["truncated body", Fault.body("truncated"), "NETWORK", counted, "unknown"],
  ["bad JSON", Fault.body("malformed"), "UNKNOWN InvalidResponse", counted, "yes"],
  ["empty 200", Fault.body("empty"), "UNKNOWN InvalidResponse", counted, "yes"],
  ["text 200", Fault.body("text"), "UNKNOWN InvalidResponse", counted, "yes"],
  ["HTML 200", Fault.body("html"), "UNKNOWN InvalidResponse", counted, "yes"],
  ["HTML 502", Fault.badGateway, "SERVICE_UNAVAILABLE", counted, "yes"],
  // Limits, and what is no limit though it looks like one.
  ["rate 429 with both headers", Fault.rateLimited(7_000), "RATE_LIMIT", "Always Next Ignored", "yes"],
  ["429 of a new code", apiError(429, "something_new"), "RATE_LIMIT", "Always Next Ignored", "yes"],
  ...[
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "insufficient_quota",
    "billing_hard_limit_reached"
  ].map((code): Row => [
    `quota 429 ${code}`,
    Fault.quotaExhausted(code),
    "CONFIGURATION QuotaExhausted",
    "Never Next Failure",
    "yes"
  ]),
  // Refusals.
  ["400", Fault.status(400), "INVALID_REQUEST", callers, "yes"],
  ["400 of a new code", apiError(400, "something_new"), "INVALID_REQUEST", callers, "yes"],
  ["400 too many tokens", apiError(400, "max_tokens_per_request"), "VALIDATION InputTooLarge", callers, "yes"],
  [
    "400 context length",
    apiError(400, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
    "VALIDATION InputTooLarge",
    callers,
    "yes"
  ],
  ["413", Fault.status(413), "VALIDATION InputTooLarge", callers, "yes"],
  ["422", Fault.status(422), "VALIDATION", callers, "yes"],
  ["401", Fault.status(401), "AUTHENTICATION", settings, "yes"],
  ["402", Fault.status(402), "CONFIGURATION QuotaExhausted", "Never Next Failure", "yes"],
  ["403", Fault.status(403), "AUTHORIZATION", settings, "yes"],
  ["404 of the model", apiError(404, "model_not_found"), "CONFIGURATION ModelMissing", settings, "yes"],
  ["404 of the vector store", Fault.status(404), "CONFIGURATION VectorStoreMissing", settings, "yes"],
  // Its own trouble.
  ["408", Fault.status(408), "TIMEOUT", counted, "yes"],
  ["409", Fault.status(409), "TEMPORARY_FAILURE Locked", counted, "yes"],
  ["500", Fault.status(500), "TEMPORARY_FAILURE", counted, "yes"],
  // A proxy says it too, of a request that was done: only what is idempotent is repeated.
  ["503", Fault.unavailable(), "SERVICE_UNAVAILABLE", counted, "yes"],
  ["504", Fault.status(504), "SERVICE_UNAVAILABLE", counted, "yes"],
  ["520", Fault.status(520), "SERVICE_UNAVAILABLE", counted, "yes"]
]

for (const version of [7, 6] as const) {
  const client = clients[version]
  const live = (name: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(`openai ${version}: ${name}`, run, 60_000)

  for (const [name, fault, category, verdicts, delivered] of rows) {
    live(name, () =>
      Effect.gen(function*() {
        const requestTimeout = fault._tag === "Hang" ? "150 millis" : "10 seconds"
        const { emulator, store } = yield* setUp({ client, requestTimeout })
        const search = store.search({ query: "zebra" })
        const error = yield* Effect.flip(search.pipe(emulator.during(fault)))
        const { breaker, fallback, retry } = error.verdicts
        assert.deepStrictEqual(
          {
            category: [error.category, error.reason.detail].filter((it) => it !== undefined).join(" "),
            verdicts: `${retry} ${fallback} ${breaker}`,
            delivered: error.reason.delivered
          },
          { category, verdicts, delivered }
        )
        // Once: the client repeats nothing by itself. And it is well again after.
        assert.deepStrictEqual((yield* emulator.exchanges).map(({ clientRetry }) => clientRetry), [0])
        assert.strictEqual((yield* search).hits.length, 3)
      }))
  }

  live(
    "Retry-After 90: the wait is told in full, nobody asks before it is over, and another answers",
    () =>
      Effect.gen(function*() {
        const emulator = yield* OpenAiEmulator.make({ documents })
        const memory = yield* MemoryStore.makeLexical()
        yield* memory.addMany(documents)
        const unified = yield* UnifiedStore.make({
          sources: [{ name: "openai", layer: layerOf(emulator, { client }) }, { name: "memory", service: memory }]
        })
        yield* emulator.fault(Fault.status(429, { "retry-after": "90" }))
        for (let i = 0; i < 3; i++) {
          const served = yield* unified.search({ query: "zebra" })
          assert.strictEqual(served._tag === "Live" ? served.provider : served._tag, "memory")
          const wait = Duration.toMillis(served.failures[0]?.retryAfter ?? 0)
          assert.isTrue(wait > 80_000 && wait <= 90_000, String(wait))
        }
        // The client's own retries would have come after half a second.
        yield* Effect.sleep("700 millis")
        assert.deepStrictEqual(yield* emulator.requests, { "vectorStores.search": 1 })
      }).pipe(Effect.scoped)
  )

  live(
    "x-should-retry: false ends what would be repeated; true repeats what would not, where that is safe",
    () =>
      Effect.gen(function*() {
        const { client: api, emulator, store } = yield* setUp({ client })
        const { protect } = yield* Pipeline.make({ provider: "openai", retry: { maxRetries: 2, baseDelay: "1 milli" } })
        const asked = (fault: Fault.Fault) => (call: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            yield* emulator.resetRequests
            yield* Effect.flip(call.pipe(emulator.during(fault)))
            return (yield* emulator.exchanges).length
          })
        const search = protect({ operation: "search", idempotent: true })(store.search({ query: "zebra" }))
        const create = protect({ operation: "create", idempotent: false })(api.stores.create({}))
        const should = (status: number, is?: "true" | "false") =>
          Fault.status(status, is === undefined ? {} : { "x-should-retry": is })
        assert.strictEqual(yield* asked(should(500))(search), 3)
        assert.strictEqual(yield* asked(should(500, "false"))(search), 1)
        assert.strictEqual(yield* asked(should(400))(search), 1)
        assert.strictEqual(yield* asked(should(400, "true"))(search), 3)
        assert.strictEqual(yield* asked(should(400, "true"))(create), 1)
        assert.strictEqual(yield* asked(should(500, "true"))(create), 1)
        // A wait is a floor under it all the same.
        const recovers = search.pipe(emulator.during(should(400, "true"), { times: 2 }))
        assert.isNotNull(yield* recovers)
      }).pipe(Effect.scoped)
  )

  live("shuffled embeddings: every document and every query keeps its own vector", () =>
    Effect.gen(function*() {
      const { client: api, emulator } = yield* setUp({ client })
      yield* emulator.fault(Fault.shuffle, { route: "embeddings.create" })
      const embedder = yield* Effect.provideService(OpenAiEmbedder.make({ dimensions: 512 }), OpenAiClient, api)
      const store = yield* MemoryStore.makeWith(embedder)
      const subjects = ["zebras", "whales", "taxes", "kinases", "volcanoes", "violins", "glaciers", "bridges"]
      const about = subjects.map((subject) =>
        Document.make({ id: DocumentId.make(subject), content: `All there is to know of ${subject}` })
      )
      yield* store.addMany(about)
      assert.strictEqual((yield* store.stats).embedded, subjects.length)
      // At once: they share a request, whose answers are shuffled too.
      const found = yield* Effect.forEach(
        subjects,
        (subject) => Effect.map(store.search({ query: subject, mode: "vector" }), ({ hits }) => hits[0]?.id as string),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(found, subjects)
      assert.isBelow((yield* emulator.requests)["embeddings.create"] ?? 0, subjects.length)
    }))

  live(
    "unknown poll status: it is waited for with a pause between the looks, and not for ever",
    () =>
      Effect.gen(function*() {
        const { emulator, store } = yield* setUp({ client }, { documents: [], processing: "5 millis" })
        const route = "vectorStores.files.retrieve"
        yield* emulator.fault(Fault.unknownStatus("queued"), { route, times: 3 })
        yield* emulator.fault(Fault.status(500), { route, times: 2 })
        yield* store.add(document(1))
        assert.isAtLeast((yield* emulator.requests)[route] ?? 0, 6)
        yield* emulator.resetRequests
        yield* emulator.fault(Fault.unknownStatus("queued"), { route })
        const hasty = yield* Effect.flatMap(
          Layer.build(layerOf(emulator, { client, processingDeadline: "100 millis" })),
          (context) => Effect.provideContext(VectorStore, context)
        )
        const error = yield* Effect.flip(hasty.add(document(2)))
        assert.deepStrictEqual([error.category, error.reason.detail], ["TIMEOUT", "ProcessingTimeout"])
        assert.isBelow((yield* emulator.requests)[route] ?? 0, 60)
        const { documents } = yield* store.list()
        assert.deepStrictEqual(documents.map(({ id }) => id as string), ["d1"])
        assert.strictEqual(yield* emulator.files, 1)
      }).pipe(Effect.scoped)
  )

  for (const at of ["headers", "body"] as const) {
    live(`a request that hangs at its ${at} is closed when its caller goes`, () =>
      Effect.gen(function*() {
        const { emulator, store } = yield* setUp({ client })
        yield* emulator.fault(Fault.hang(at))
        const fiber = yield* Effect.forkChild(store.search({ query: "zebra" }))
        yield* eventually(emulator.connections, (open) => open > 0)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* eventually(emulator.connections, (open) => open === 0), 0)
      }))
  }
}
