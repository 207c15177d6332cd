import { assert, it } from "@effect/vitest"
import { Clock, ConfigProvider, type Duration, Effect, Exit, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { OpenAI as OpenAI7 } from "openai"
import { OpenAI as OpenAI6 } from "openai6"
import type { ProviderError } from "../../src/ProviderError.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import { FileId, OpenAiClient, VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import type * as Client from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import { Document, DocumentId, type Filter, type Service, VectorStore } from "../../src/vectorstore/VectorStore.ts"
import { eventually } from "../testing/eventually.ts"
import { killedAt, whole } from "./ingestion.ts"

const clients = { 6: OpenAI6, 7: OpenAI7 } as const

const optionsOf = (emulator: OpenAiEmulator.Emulator) => ({
  apiKey: emulator.apiKey,
  baseURL: emulator.url,
  vectorStore: VectorStoreId.make(emulator.vectorStore),
  pollInterval: "2 millis",
  requestTimeout: "2 seconds"
} as const)

const build = (emulator: OpenAiEmulator.Emulator, options?: Partial<OpenAiStore.Options & Client.Options>) =>
  Layer.build(OpenAiStore.layer({ ...optionsOf(emulator), ...options }))

const setUp = Effect.fnUntraced(function*(
  options?: Partial<OpenAiStore.Options & Client.Options>,
  settings?: OpenAiEmulator.Options
) {
  const emulator = yield* OpenAiEmulator.make(settings)
  const context = yield* build(emulator, options)
  return {
    emulator,
    store: yield* Effect.provideContext(VectorStore, context),
    client: yield* Effect.provideContext(OpenAiClient, context)
  }
})

for (const version of [7, 6] as const) {
  for (const { name, run } of StoreContract.cases()) {
    it.live(`openai ${version}: ${name}`, () =>
      Effect.gen(function*() {
        const { emulator, store } = yield* setUp({ client: clients[version] })
        yield* run(store)
        assert.deepStrictEqual(yield* emulator.orphans, [])
      }))
  }
}

const document = (name: string, content = `zebra called ${name}`, more?: Partial<Document>): Document =>
  Document.make({ id: DocumentId.make(name), content, ...more })
const documents = (count: number, content = "zebra"): ReadonlyArray<Document> =>
  Array.from({ length: count }, (_, i) => document(`d${String(i).padStart(4, "0")}`, `${content} number ${i}`))
const ids = (store: Service) => Effect.map(store.list({ limit: 1_000 }), (page) => page.documents.map(({ id }) => id))

it.live("asks the cheapest question for health, once, with no retries of the client's own", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    yield* store.health
    assert.deepStrictEqual(yield* emulator.requests, { "vectorStores.list": 1 })
    yield* emulator.fault(Fault.status(500))
    const error = yield* Effect.flip(store.search({ query: "zebra" }))
    assert.strictEqual(error.reason._tag, "TemporaryFailureError")
    assert.strictEqual((yield* emulator.requests)["vectorStores.search"], 1)
    assert.isTrue((yield* emulator.exchanges).every(({ clientRetry }) => clientRetry === 0))
  }))

it.live("scenario 55: in an outage every operation fails as what it is, never with a value", () =>
  Effect.gen(function*() {
    const { client, emulator, store } = yield* setUp({}, { documents: documents(3) })
    yield* emulator.stop
    const id = DocumentId.make("d0000")
    const operations: ReadonlyArray<Effect.Effect<unknown, { readonly reason: { readonly _tag: string } }>> = [
      store.search({ query: "zebra" }),
      store.add(document("new")),
      store.addMany(documents(2)),
      store.get(id),
      store.update(id, { content: "x" }),
      store.delete(id),
      store.list(),
      store.stats,
      store.health,
      client.files.delete(FileId.make("file-1")),
      client.embeddings({ model: "text-embedding-3-small", input: ["x"] })
    ]
    for (const operation of operations) {
      assert.strictEqual((yield* Effect.flip(operation)).reason._tag, "NetworkError")
    }
  }))

it.live("leaves no orphan, wherever an upload breaks", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp({}, { processing: "5 millis" })
    const steps = [
      ["files.create", Fault.reset("request")],
      ["files.create", Fault.reset("answer")],
      ["files.create", Fault.body("text")],
      ["vectorStores.files.create", Fault.reset("request")],
      ["vectorStores.files.create", Fault.status(400)],
      ["vectorStores.files.retrieve", Fault.status(500)]
    ] as const
    for (const [route, fault] of steps) {
      yield* emulator.fault(fault, { route, times: route === "vectorStores.files.retrieve" ? 3 : 1 })
      assert.isTrue((yield* Effect.exit(store.add(document("one"))))._tag === "Failure", route)
      yield* emulator.clear()
      assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 0], `${route} ${fault._tag}`)
    }
    // What cannot be cleaned up at once is cleaned up before the next write.
    yield* emulator.fault(Fault.reset("answer"), { route: "files.create", times: 1 })
    yield* emulator.fault(Fault.status(500), { route: "files.list" })
    yield* Effect.flip(store.add(document("one")))
    assert.strictEqual((yield* emulator.orphans).length, 1)
    yield* emulator.clear()
    yield* store.add(document("two"))
    assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 1])
  }))

it.live("finds out that a file was attached when the answer was lost", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    yield* emulator.fault(Fault.reset("answer"), { route: "vectorStores.files.create", times: 1 })
    yield* store.add(document("one"))
    assert.deepStrictEqual(yield* ids(store), ["one"])
    assert.strictEqual(yield* emulator.files, 1)
  }))

it.live("keeps the old version when the new one fails, and finds no old one when only its removal failed", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    yield* store.add(document("one", "old zebra"))
    yield* emulator.fault(Fault.processingFailed("invalid_file"), { times: 1 })
    const error = yield* Effect.flip(store.add(document("one", "new zebra")))
    assert.deepStrictEqual([error.reason._tag, error.reason.code], ["ValidationError", "invalid_file"])
    assert.strictEqual(Option.getOrThrow(yield* store.get(DocumentId.make("one"))).content, "old zebra")
    yield* emulator.fault(Fault.status(503), { route: "files.delete" })
    yield* store.add(document("one", "new zebra"))
    assert.strictEqual(yield* emulator.files, 2)
    const { hits } = yield* store.search({ query: "old zebra" })
    assert.deepStrictEqual(hits.map(({ content }) => content), ["new zebra"])
    yield* emulator.clear()
    yield* store.add(document("two"))
    assert.strictEqual(yield* emulator.files, 2)
  }))

it.live("reads the newest of a document's files, where a replaced one could not be deleted", () =>
  Effect.gen(function*() {
    const live = yield* Clock.Clock
    let ahead = 0
    const clock: Clock.Clock = Object.assign(Object.create(live), {
      currentTimeMillisUnsafe: () => live.currentTimeMillisUnsafe() + ahead
    })
    const emulator = yield* Effect.provideService(OpenAiEmulator.make(), Clock.Clock, clock)
    const store = yield* Effect.provideContext(VectorStore, yield* build(emulator))
    // What is searched for is the id: the older one is found first.
    for (const content of ["zebra zebra", "okapi"]) {
      yield* emulator.fault(Fault.status(503), { route: "files.delete" })
      yield* store.add(document("zebra", content))
      yield* emulator.clear()
      ahead += 60_000
    }
    const another = yield* Effect.provideContext(VectorStore, yield* build(emulator))
    const found = yield* another.get(DocumentId.make("zebra"))
    assert.strictEqual(Option.getOrUndefined(found)?.content, "okapi")
    const page = yield* another.list()
    assert.deepStrictEqual(page.documents.map(({ content }) => content), ["okapi"])
    const updated = yield* another.update(DocumentId.make("zebra"), { title: "In the forest" })
    assert.strictEqual(Option.getOrUndefined(updated)?.content, "okapi")
    assert.strictEqual(yield* emulator.files, 1)
  }))

it.live("finds an older file of a document behind 50 passages of another, so that none is left", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    const long = (word: string) => document("long", `${word} `.repeat(60_000))
    const id = DocumentId.make("long")
    const version = (word: string) =>
      Effect.gen(function*() {
        // The removal of what was there fails, and another process knows nothing of it.
        yield* emulator.fault(Fault.status(503), { route: "files.delete" })
        yield* store.add(long(word))
        yield* emulator.clear()
      })
    const writes: ReadonlyArray<(store: Service) => Effect.Effect<unknown, ProviderError>> = [
      (store) => store.add(long("quagga")),
      (store) => store.update(id, { content: "quagga" }),
      (store) => store.addMany([long("quagga"), ...documents(3)]),
      (store) => store.delete(id)
    ]
    for (const [i, write] of writes.entries()) {
      yield* version("zebra")
      yield* version("okapi")
      const another = yield* Effect.provideContext(VectorStore, yield* build(emulator))
      yield* write(another)
      const left = (yield* ids(another)).filter((it) => it === id)
      assert.strictEqual(left.length, i === 3 ? 0 : 1)
      for (const word of ["zebra", "okapi"]) {
        const { hits } = yield* another.search({ query: word })
        assert.isFalse(hits.some((it) => it.id === id && it.content.includes(word)), `${i} ${word}`)
      }
      yield* another.delete(id)
      assert.isTrue(Option.isNone(yield* another.get(id)))
    }
  }))

it.live("a delete that failed or was interrupted halfway says, when repeated, that the document was there", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp({}, { documents: documents(4) })
    for (
      const [i, route, fault] of [
        [0, "vectorStores.files.delete", Fault.rateLimited(1)],
        [1, "files.delete", Fault.reset("answer")],
        [2, "vectorStores.files.delete", Fault.hang()]
      ] as const
    ) {
      const id = DocumentId.make(`d000${i}`)
      const requests = (yield* emulator.requests)[route] ?? 0
      yield* emulator.fault(fault, { route, times: 1 })
      const fiber = yield* Effect.forkChild(store.delete(id))
      yield* eventually(emulator.requests, (sent) => (sent[route] ?? 0) > requests)
      if (fault._tag === "Hang") yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)), route)
      assert.isTrue(yield* store.delete(id), route)
      assert.isFalse(yield* store.delete(id), route)
    }
  }))

it.live("writes of one document leave one version, in batches too", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    const [a, b, c] = [document("a"), document("b"), document("c")]
    yield* Effect.all([
      store.addMany([a, b, c]),
      store.addMany([c, b, a]),
      store.add(b),
      store.update(c.id, { content: "another zebra" })
    ], { concurrency: "unbounded" })
    assert.strictEqual(yield* emulator.files, 3)
    yield* Effect.all([store.addMany([a, b]), store.delete(a.id)], { concurrency: "unbounded" })
    assert.deepStrictEqual([yield* ids(store), yield* emulator.files], [["b", "c"], 2])
  }))

it.live("scenario 58: a batch reports on each document, and what failed is not there", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    yield* emulator.fault(Fault.processingFailed("server_error", "number 1"))
    const { items } = yield* store.addMany(documents(25), { batchSize: 10 })
    const failed = items.filter(({ _tag }) => _tag === "Failed")
    // 1 and 10 to 19
    assert.strictEqual(failed.length, 11)
    assert.isTrue(failed.every((it) => it._tag === "Failed" && it.error.reason._tag === "TemporaryFailureError"))
    assert.strictEqual((yield* ids(store)).length, 14)
    assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 14])
    const refused = yield* Effect.flip(store.addMany(documents(2), { batchSize: 0 }))
    assert.strictEqual(refused.reason._tag, "ValidationError")
  }))

it.live("a batch whose answer is lost is cleaned up, and stored once when repeated", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp()
    yield* emulator.fault(Fault.reset("answer"), { route: "vectorStores.fileBatches.create", times: 1 })
    const first = yield* store.addMany(documents(8), { operationId: "op" })
    assert.isTrue(first.items.every(({ _tag }) => _tag === "Failed" || _tag === "Unknown"))
    const second = yield* store.addMany(documents(8), { operationId: "op" })
    assert.isTrue(second.items.every(({ _tag }) => _tag === "Stored" || _tag === "AlreadyStored"))
    assert.strictEqual((yield* ids(store)).length, 8)
    assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 8])
  }))

it.live("a batch in an outage is given up after so many uploads, not tried to its end", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp({ concurrency: 4 })
    const batch = documents(200)
    yield* emulator.fault(Fault.status(503), { route: "files.create", after: 20 })
    const { items } = yield* store.addMany(batch, { operationId: "op", batchSize: 50 })
    const count = (tag: string) => items.filter(({ _tag }) => _tag === tag).length
    assert.deepStrictEqual([count("Stored"), count("Failed")], [20, 180])
    assert.isTrue(items.every((it) => it._tag === "Stored" || it._tag === "Failed" && it.error.isRetryable))
    assert.isBelow((yield* emulator.requests)["files.create"] ?? 0, 40)
    yield* emulator.clear()
    // What is wrong with single documents is no outage, however many they are.
    yield* emulator.fault(Fault.status(400), { route: "files.create", times: 30 })
    const again = yield* store.addMany(batch, { operationId: "op", batchSize: 50 })
    assert.strictEqual(again.items.filter(({ _tag }) => _tag === "Stored").length, 150)
    assert.deepStrictEqual([yield* emulator.orphans, (yield* ids(store)).length], [[], 170])
  }))

it.live("a batch cut short is resumed by another process: all stored, none twice, nothing left over", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const batch = documents(300)
    const storeOf = Effect.flatMap(build(emulator), (context) => Effect.provideContext(VectorStore, context))
    const options = { operationId: "load-1", batchSize: 100 }
    const first = yield* storeOf
    // The process dies while the second hundred is being uploaded: it cannot clean up.
    const dying = yield* Effect.forkChild(first.addMany(batch, {
      ...options,
      onProgress: () =>
        emulator.fault(Fault.status(500), { route: "files.delete" }).pipe(
          Effect.andThen(emulator.fault(Fault.hang(), { route: "files.create", after: 50 }))
        )
    }))
    yield* eventually(emulator.orphans, (left) => left.length === 50)
    yield* Fiber.interrupt(dying)
    assert.isAbove((yield* emulator.orphans).length, 0)
    yield* emulator.clear()
    yield* emulator.resetRequests
    const { items } = yield* (yield* storeOf).addMany(batch, options)
    const count = (tag: string) => items.filter(({ _tag }) => _tag === tag).length
    assert.deepStrictEqual([count("AlreadyStored"), count("Stored")], [100, 200])
    assert.strictEqual((yield* ids(yield* storeOf)).length, 300)
    assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 300])
    // What was uploaded before is not uploaded again.
    assert.isBelow((yield* emulator.requests)["files.create"] ?? 0, 200)
  }))

it.live(
  "a process killed in the middle of a batch of 1,000: started again, 1,000 are stored, none twice",
  () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const killed = yield* killedAt(/done 300/, emulator.url, emulator.vectorStore)
      assert.notInclude(killed, "end ")
      // It had no time to clean up: what it uploaded last is attached to nothing.
      const left = yield* emulator.orphans
      assert.isBelow(yield* emulator.files, 1_000)
      yield* emulator.resetRequests
      const end = yield* whole(emulator.url, emulator.vectorStore)
      assert.isAtLeast(end.before, 300)
      assert.deepStrictEqual({ ...end, before: 0 }, { before: 0, stored: 1_000, embedded: 1_000, best: "d999" })
      assert.deepStrictEqual([yield* emulator.orphans, yield* emulator.files], [[], 1_000])
      // What was uploaded is not uploaded again.
      assert.isAtMost((yield* emulator.requests)["files.create"] ?? 0, 1_000 - end.before - left.length)
    }),
  120_000
)

it.live("uploads that no process will ever attach are swept, and others' files are left alone", () =>
  Effect.gen(function*() {
    const { client, emulator, store } = yield* setUp({ cleanupTimeout: "30 millis" }, { documents: documents(2) })
    yield* client.files.upload("someone-elses.txt", "text")
    yield* emulator.fault(Fault.status(500), { route: "vectorStores.files.create" })
    yield* emulator.fault(Fault.status(500), { route: "files.delete" })
    yield* Effect.flip(store.add(document("one")))
    yield* emulator.clear()
    const sweep = (olderThan: Duration.Input) =>
      Effect.provideService(
        OpenAiStore.sweep(VectorStoreId.make(emulator.vectorStore), { olderThan }),
        OpenAiClient,
        client
      )
    assert.strictEqual(yield* sweep("1 hour"), 0)
    assert.isTrue(Exit.hasDies(yield* Effect.exit(sweep(Number.NaN))))
    assert.strictEqual(yield* sweep("0 millis"), 1)
    assert.deepStrictEqual(yield* emulator.orphans, ["someone-elses.txt"])
    assert.strictEqual(yield* emulator.files, 3)
  }))

it.live("finds files of others under their own id, and reads, changes and deletes them", () =>
  Effect.gen(function*() {
    const { client, emulator, store } = yield* setUp()
    const file = yield* client.files.upload("handbook.md", "Okapis hide in the forest")
    yield* client.storeFiles.attach(VectorStoreId.make(emulator.vectorStore), { file_id: file.id })
    const { hits } = yield* store.search({ query: "okapi" })
    const id = DocumentId.make(file.id)
    assert.deepStrictEqual(hits.map(({ content, id, title }) => ({ id, title, content })), [
      { id, title: "handbook.md", content: "Okapis hide in the forest" }
    ])
    assert.deepStrictEqual(
      yield* store.get(id),
      Option.some({ id, title: "handbook.md", content: "Okapis hide in the forest" })
    )
    assert.deepStrictEqual(yield* client.sourceFiles([file.id, FileId.make("file-gone")]), [
      Option.some(file),
      Option.none()
    ])
    assert.strictEqual(yield* store.delete(id), true)
    assert.strictEqual(yield* emulator.files, 0)
  }))

it.live("reads back documents of any title, with as many attributes as there is room for", () =>
  Effect.gen(function*() {
    const { store } = yield* setUp()
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`key${i}`, i]))
    const given = [
      document("full", "text", { title: "A title", attributes: many(15) }),
      document("full and bare", "text\n\nmore", { attributes: many(15) }),
      document("long title", "text", { title: "t\n".repeat(400) }),
      document("~odd=id%7E/..", "\n\ntext", { title: "" })
    ]
    for (const it of given) yield* store.add(it)
    for (const it of given) assert.deepStrictEqual(yield* store.get(it.id), Option.some(it))
    const { documents } = yield* store.list()
    assert.deepStrictEqual(
      new Set(documents.map((it) => JSON.stringify(it))),
      new Set(given.map((it) => JSON.stringify(it)))
    )
    for (const attributes of [many(16), { doc_id: "x" }]) {
      const refused = yield* Effect.flip(store.add(document("x", "x", { attributes })))
      assert.strictEqual(refused.reason._tag, "ValidationError")
    }
  }))

it.live("finds a document of a long title by its whole title, and keeps no half of a character", () =>
  Effect.gen(function*() {
    const { client, store } = yield* setUp()
    const given = document("long", "zebra", { title: `${"a".repeat(511)}\u{1f993} and more` })
    yield* store.add(given)
    const { hits: [hit] } = yield* store.search({ query: "zebra" })
    assert.deepStrictEqual([hit?.title, hit?.content], [given.title, given.content])
    const files = yield* Stream.runCollect(client.storeFiles.list(VectorStoreId.make("vs_holdfast")))
    assert.deepStrictEqual(files.map((it) => String(it.attributes?.["doc_title"]).isWellFormed()), [true])
    assert.deepStrictEqual(yield* store.get(given.id), Option.some(given))
  }))

it.live("finds as many documents as asked for, though passages repeat and the API gives 50 at a time", () =>
  Effect.gen(function*() {
    const long = "zebras of the savanna graze all day long. ".repeat(400)
    const { store } = yield* setUp({}, {
      documents: [document("long", long), document("longer", long + long), ...documents(120)]
    })
    const { hits } = yield* store.search({ query: "zebras", limit: 100 })
    assert.strictEqual(new Set(hits.map(({ id }) => id)).size, 100)
    const few = yield* store.search({ query: "zebras savanna graze", limit: 3 })
    assert.deepStrictEqual(new Set(few.hits.slice(0, 2).map(({ id }) => id as string)), new Set(["long", "longer"]))
  }))

it.live("says when a filter that the API cannot be trusted with, or a long document, left hits unseen", () =>
  Effect.gen(function*() {
    const rare = Array.from(
      { length: 400 },
      (_, i) => document(`d${i}`, `zebra number ${i}`, { attributes: { rare: i % 80 === 79 } })
    )
    const { store } = yield* setUp({}, { documents: rare })
    const search = (filter: Filter, limit: number) => store.search({ query: "zebra", filter, limit })
    const exact: Filter = { type: "eq", key: "rare", value: true }
    const looked: Filter = { type: "ne", key: "rare", value: false }
    assert.deepStrictEqual([store.filters?.(exact), store.filters?.(looked)], [true, false])
    const whole = yield* search(exact, 10)
    assert.deepStrictEqual([whole.hits.length, whole.losses], [5, []])
    const part = yield* search(looked, 10)
    assert.isBelow(part.hits.length, 5)
    assert.deepStrictEqual(part.losses, ["FilterWeakened"])
    // As many as asked for is all that was asked for.
    const enough = yield* search({ type: "ne", key: "rare", value: true }, 10)
    assert.deepStrictEqual([enough.hits.length, enough.losses], [10, []])
    // A document of which every answer is full hides the others.
    const long = yield* setUp({}, {
      documents: Array.from(
        { length: 6 },
        (_, i) => document(`long${i}`, `zebras graze ${"on the wide savanna ".repeat(i + 1)}`.repeat(4_000))
      )
    })
    const few = yield* long.store.search({ query: "zebras graze", limit: 6 })
    assert.isBelow(few.hits.length, 6)
    assert.deepStrictEqual(few.losses, ["FewerThanAsked"])
    // Files of others cannot be left out of the next look by an attribute that they have not.
    const others = yield* setUp()
    for (const name of ["long", "short"]) {
      const file = yield* others.client.files.upload(`${name}.txt`, "zebras graze ".repeat(name === "long" ? 9_000 : 1))
      const id = VectorStoreId.make(others.emulator.vectorStore)
      yield* others.client.storeFiles.attach(id, { file_id: file.id })
    }
    const [one, two] = [
      yield* others.store.search({ query: "zebras graze", limit: 5 }),
      yield* others.store.search({ query: "zebras graze", limit: 1 })
    ]
    assert.deepStrictEqual([one.hits.length, one.losses, two.losses], [1, ["FewerThanAsked"], []])
  }))

it.live("a missing vector store is a wrong setting, a wrong key a refusal", () =>
  Effect.gen(function*() {
    const { emulator, store } = yield* setUp({ vectorStore: VectorStoreId.make("vs_gone") })
    const operations = [
      store.search({ query: "x" }),
      store.get(DocumentId.make("x")),
      store.list(),
      store.stats,
      store.add(document("x")),
      store.addMany([document("x")])
    ] as const
    for (const operation of operations) {
      const { reason } = yield* Effect.flip<unknown, { readonly reason: { _tag: string; detail?: string } }, never>(
        operation
      )
      assert.deepStrictEqual([reason._tag, reason.detail], ["ConfigurationError", "VectorStoreMissing"])
    }
    assert.strictEqual(yield* emulator.files, 0)
    const wrong = yield* build(emulator, { apiKey: Redacted.make("sk-wrong-key") })
    const error = yield* Effect.flip((yield* Effect.provideContext(VectorStore, wrong)).health)
    assert.strictEqual(error.reason._tag, "AuthenticationError")
    assert.notInclude(JSON.stringify(error), "sk-wrong-key")
  }))

it.live("an API that passes over filters makes no document's files another's, and is not asked for ever", () =>
  Effect.gen(function*() {
    class Unfiltered extends OpenAI7 {
      constructor(options: ConstructorParameters<Client.ClientClass>[0]) {
        super(options)
        const { vectorStores } = this
        const search = vectorStores.search.bind(vectorStores)
        vectorStores.search = (id, body, options) => search(id, { query: body.query, max_num_results: 50 }, options)
      }
    }
    const { emulator, store } = yield* setUp({ client: Unfiltered })
    for (const count of [5, 60]) {
      yield* emulator.load(documents(count))
      const before = yield* emulator.files
      const id = DocumentId.make("another")
      for (
        const call of [store.get(id), store.delete(id), store.add(document("another")), store.addMany(documents(2))]
      ) {
        const { reason } = yield* Effect.flip<unknown, ProviderError, never>(call)
        assert.deepStrictEqual([reason._tag, reason.detail], ["UnknownError", "InvalidResponse"])
      }
      assert.strictEqual(yield* emulator.files, before)
    }
  }))

it.live("the whole surface: stores are made, changed, listed by pages and deleted", () =>
  Effect.gen(function*() {
    const { client, emulator } = yield* setUp()
    const made = yield* client.stores.create({ name: "mine", metadata: { by: "me" }, expiresAfterDays: 7 })
    assert.deepStrictEqual([made.name, made.status, made.metadata], ["mine", "completed", { by: "me" }])
    assert.strictEqual((yield* client.stores.update(made.id, { name: "ours" })).name, "ours")
    yield* Effect.forEach(Array.from({ length: 120 }), () => client.stores.create({}), { concurrency: 8 })
    assert.strictEqual(yield* Effect.map(client.stores.list.pipe(Stream.runCollect), (all) => all.length), 122)
    const file = yield* client.files.upload("a.txt", "text")
    const batch = yield* client.batches.create(made.id, [{ file_id: file.id, attributes: { a: 1 } }])
    const done = yield* client.batches.processed(batch)
    assert.deepStrictEqual([done.status, done.file_counts.completed], ["completed", 1])
    const held = yield* client.storeFiles.get(made.id, file.id)
    assert.deepStrictEqual(Option.map(held, ({ attributes }) => attributes), Option.some({ a: 1 }))
    assert.strictEqual(yield* client.storeFiles.detach(made.id, file.id), true)
    assert.strictEqual(yield* client.storeFiles.detach(made.id, file.id), false)
    assert.strictEqual(yield* client.stores.delete(made.id), true)
    assert.strictEqual(yield* client.stores.delete(made.id), false)
    assert.deepStrictEqual(yield* client.stores.get(made.id), Option.none())
    assert.isAbove((yield* emulator.requests)["vectorStores.list"] ?? 0, 1)
    assert.throws(() => VectorStoreId.make(""))
    assert.throws(() => FileId.make(".."))
  }))

it.live("what is beyond the API's limits is refused before it is sent, and what is within is taken", () =>
  Effect.gen(function*() {
    const { client, emulator } = yield* setUp()
    const store = VectorStoreId.make(emulator.vectorStore)
    const file = yield* client.files.upload("a.txt", "zebras graze")
    const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`key${i}`, "x"]))
    const chunking = (size: number, overlap: number) =>
      ({ type: "static", static: { max_chunk_size_tokens: size, chunk_overlap_tokens: overlap } }) as const
    const beyond: Readonly<Record<string, Effect.Effect<unknown, ProviderError>>> = {
      "51 passages": client.stores.search(store, { query: "x", max_num_results: 51 }),
      "an empty query": client.stores.search(store, { query: "" }),
      "no query": client.stores.search(store, { query: [] }),
      "a threshold of 2": client.stores.search(store, { query: "x", ranking_options: { score_threshold: 2 } }),
      "an empty filter": client.stores.search(store, { query: "x", filters: { type: "and", filters: [] } }),
      "a long key": client.stores.search(store, {
        query: "x",
        filters: { type: "eq", key: "k".repeat(65), value: 1 }
      }),
      "much metadata": client.stores.create({ metadata: many }),
      "501 files": client.stores.create({ file_ids: Array.from({ length: 501 }, () => file.id) }),
      "a life of a year and a day": client.stores.update(store, { expiresAfterDays: 366 }),
      "a long key of metadata": client.stores.create({ metadata: { ["k".repeat(65)]: "x" } }),
      "a long key of attributes": client.storeFiles.update(store, file.id, { ["k".repeat(65)]: 1 }),
      "many attributes": client.storeFiles.attach(store, { file_id: file.id, attributes: many }),
      "a long text": client.storeFiles.update(store, file.id, { text: "x".repeat(513) }),
      "a small chunk": client.storeFiles.attach(store, { file_id: file.id, chunking_strategy: chunking(99, 0) }),
      "a large overlap": client.stores.create({ chunking_strategy: chunking(200, 101) }),
      "an empty batch": client.batches.create(store, []),
      "a batch of 2,001": client.batches.create(store, Array.from({ length: 2_001 }, () => ({ file_id: file.id }))),
      "a file without a name": client.files.upload("", "text"),
      "no text": client.embeddings({ model: "text-embedding-3-small", input: [] }),
      "an empty text": client.embeddings({ model: "text-embedding-3-small", input: ["x", ""] }),
      "2,049 texts": client.embeddings({ model: "m", input: Array.from({ length: 2_049 }, () => "x") })
    }
    yield* emulator.resetRequests
    for (const [what, call] of Object.entries(beyond)) {
      const { reason } = yield* Effect.flip(call)
      assert.deepStrictEqual([reason._tag, reason.delivered], ["ValidationError", "no"], what)
    }
    assert.deepStrictEqual(yield* emulator.requests, {})
    yield* client.stores.create({
      name: "whole",
      description: "with everything",
      file_ids: [file.id],
      metadata: { key: "x".repeat(512) },
      expiresAfterDays: 365,
      chunking_strategy: chunking(4_096, 2_048)
    })
    yield* client.batches.create(store, [{ file_id: file.id, chunking_strategy: { type: "auto" } }])
    const found = yield* client.stores.search(store, {
      query: ["zebras", "grazing"],
      max_num_results: 50,
      rewrite_query: false,
      ranking_options: { ranker: "default-2024-11-15", score_threshold: 0 },
      filters: { type: "or", filters: [{ type: "nin", key: "none", value: ["x"] }, { type: "ne", key: "k", value: 1 }] }
    })
    assert.deepStrictEqual(found, [])
  }))

it.effect("without a key or a vector store it is not configured, and says what is missing", () =>
  Effect.gen(function*() {
    const configured = (env: Record<string, string>) =>
      Effect.result(OpenAiStore.configuration).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
      )
    const none = yield* configured({ OPENAI_API_KEY: "" })
    assert.isTrue(none._tag === "Failure" && none.failure._tag === "NotConfigured")
    assert.deepStrictEqual(
      none._tag === "Failure" && none.failure._tag === "NotConfigured" ? none.failure.missing : [],
      ["OPENAI_API_KEY", "OPENAI_VECTORSTORE"]
    )
    const bad = yield* configured({ OPENAI_API_KEY: "sk-1", OPENAI_VECTORSTORE: "https://example.org/x" })
    assert.isTrue(bad._tag === "Failure" && bad.failure._tag === "InvalidOptions")
    const good = yield* configured({ OPENAI_API_KEY: "sk-1", OPENAI_VECTORSTORE: "vs_1" })
    assert.isTrue(good._tag === "Success" && good.success.vectorStore === "vs_1")
  }))
