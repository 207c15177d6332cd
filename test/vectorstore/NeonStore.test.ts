import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Option, Redacted, Result, Schema } from "effect"
import * as Arbitrary from "effect/Arbitrary"
import { SqlClient } from "effect/sql/SqlClient"
import { ProviderError, ServiceUnavailableError } from "../../src/ProviderError.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { Document, DocumentId, type Filter, type Service } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"
import { drift } from "./drift.ts"
import * as scifact from "./scifact.ts"

const Database = Layer.merge(Embedded.layer, Embedder.local)

const document = (id: string, content: string, attributes?: Document["attributes"]): Document =>
  Document.make({ id: DocumentId.make(id), content, ...(attributes === undefined ? {} : { attributes }) })

/** An embedder that works until it is told otherwise. */
const breakable = () => {
  const inner = Embedder.makeLocal()
  const state = { down: false, asked: 0 }
  const error = new ProviderError({
    provider: "local",
    operation: "embed",
    reason: new ServiceUnavailableError({ message: "down", rule: "test", delivered: "no" })
  })
  const service: Embedder.Service = {
    ...inner,
    embed: (texts, role, statistics) =>
      Effect.suspend(() => {
        state.asked += texts.length
        return state.down ? Effect.fail(error) : inner.embed(texts, role, statistics)
      })
  }
  return { service, state }
}

const hits = (store: Service, query: string, mode: "lexical" | "vector" | "hybrid", filter?: Filter) =>
  Effect.map(store.search({ query, mode, filter }), ({ hits }) => hits.map(({ id }) => id as string))

layer(Database, { excludeTestServices: true, timeout: "60 seconds" })("NeonStore on the embedded Postgres", (it) => {
  StoreContract.cases().forEach(({ name, run }, i) => {
    it.effect(`with vectors: ${name}`, () => Effect.flatMap(NeonStore.make({ schema: `Vectors "${i}"` }), run))
    it.effect(`words only: ${name}`, () => Effect.flatMap(NeonStore.makeLexical({ schema: `words_${i}` }), run))
  })

  it.effect(
    "ranks as the memory store does, and its index of vectors keeps 0.95 of the exact neighbours",
    () =>
      Effect.gen(function*() {
        // The beginnings of real texts: what is ranked is the same, what is stored a third.
        const documents = (yield* scifact.documents).slice(0, 1_050)
          .map((document) => Document.make({ ...document, content: document.content.slice(0, 500) }))
        const queries = (yield* scifact.queries).filter((_, i) => i % 12 === 0)
        // Neighbours in 256 dimensions are as hard to find as in 1,536, and cost a sixth.
        const space = Embedder.layerLocal({ dimensions: 256 })
        const neon = yield* Effect.provide(NeonStore.make({ schema: "ranks", indexFrom: 1_000 }), space)
        const memory = yield* Effect.provide(MemoryStore.make(), space)
        yield* neon.addMany(documents)
        yield* memory.addMany(documents)
        const sql = yield* SqlClient
        assert.strictEqual(
          (yield* sql`SELECT FROM pg_indexes WHERE schemaname = 'ranks' AND indexdef LIKE '%hnsw%'`).length,
          1
        )
        let same = 0
        let kept = 0
        for (const { text } of queries) {
          const words = yield* hits(neon, text, "lexical")
          if (words.join() === (yield* hits(memory, text, "lexical")).join()) same++
          const exact = new Set(yield* hits(memory, text, "vector"))
          kept += (yield* hits(neon, text, "vector")).filter((id) => exact.has(id)).length / exact.size
        }
        assert.isAtLeast(same / queries.length, 0.95)
        assert.isAtLeast(kept / queries.length, 0.95)
      }),
    120_000
  )

  it.effect("filters mean the same in SQL as in memory", () =>
    Effect.gen(function*() {
      const neon = yield* NeonStore.makeLexical({ schema: "filters" })
      const memory = yield* MemoryStore.makeLexical()
      const Value = Schema.Union([
        Schema.Literals(["", "a", "B", "é", "\u{1f600}", "\uff5e", "10", "true"]),
        Schema.Literals([-1, 0, 0.1, 1, 10, 1e21, 1e-7]),
        Schema.Boolean
      ])
      const Key = Schema.Literals(["k", "a'b", "constructor"])
      const Leaf = Schema.Union([
        Schema.Struct({ type: Schema.Literals(["eq", "ne", "gt", "gte", "lt", "lte"]), key: Key, value: Value }),
        Schema.Struct({ type: Schema.Literals(["in", "nin"]), key: Key, value: Schema.Array(Value) })
      ])
      const Tree = Schema.Struct({ type: Schema.Literals(["and", "or"]), filters: Schema.Array(Leaf) })
      const Case = Schema.Union([Leaf, Tree])
      const Attributes = Schema.Struct({
        k: Schema.optionalKey(Value),
        "a'b": Schema.optionalKey(Value),
        constructor: Schema.optionalKey(Value)
      })
      const values = yield* Arbitrary.sampleEffect(Arbitrary.schema(Attributes), { count: 40, seed: 7 })
      const filters = yield* Arbitrary.sampleEffect(Arbitrary.schema(Case), { count: 150, seed: 8 })
      const documents = values.map((attributes, i) => document(`d${i}`, `zebra ${i}`, attributes))
      yield* neon.addMany(documents)
      yield* memory.addMany(documents)
      for (const filter of filters) {
        const request = { query: "zebra", limit: 100, filter } as const
        const [a, b] = yield* Effect.all([neon.search(request), memory.search(request)])
        assert.deepStrictEqual(
          a.hits.map(({ id }) => id).sort(),
          b.hits.map(({ id }) => id).sort(),
          JSON.stringify(filter)
        )
      }
    }), 60_000)

  it.effect("without the embedder it still stores, and finds by words, and says so", () =>
    Effect.gen(function*() {
      const { service, state } = breakable()
      const store = yield* NeonStore.make({ schema: "down" }).pipe(Effect.provideService(Embedder.Embedder, service))
      yield* store.add(document("before", "zebras graze"))
      state.down = true
      yield* store.add(document("during", "zebras sleep"))
      for (const mode of ["hybrid", "vector"] as const) {
        const answer = yield* store.search({ query: "zebras", mode })
        assert.strictEqual(answer.mode, "lexical")
        assert.deepStrictEqual(answer.losses, ["LexicalInsteadOfVector"])
        assert.strictEqual(answer.hits.length, 2)
      }
      assert.deepStrictEqual(yield* store.stats, {
        documents: 2,
        embedded: 1,
        space: service.space.id,
        modes: ["hybrid", "lexical", "vector"]
      })
      state.down = false
      assert.strictEqual(yield* store.embedMissing(), 1)
      assert.strictEqual((yield* store.stats).embedded, 2)
      assert.strictEqual(yield* store.embedMissing(), 0)
      state.down = true
      // What was embedded is the text, which is the same.
      const tagged = yield* store.update(DocumentId.make("before"), { attributes: { kept: true } })
      assert.deepStrictEqual(tagged, Option.some(document("before", "zebras graze", { kept: true })))
      assert.deepStrictEqual(yield* store.get(DocumentId.make("before")), tagged)
      assert.strictEqual((yield* store.stats).embedded, 2)
      assert.deepStrictEqual(
        yield* hits(store, "zebras", "lexical", { type: "eq", key: "kept", value: true }),
        ["before"]
      )
      // A vector that is older than the text would be a wrong one.
      yield* store.update(DocumentId.make("before"), { content: "whales sing" })
      assert.strictEqual((yield* store.stats).embedded, 1)
      assert.strictEqual((yield* Effect.flip(store.embedMissing())).reason._tag, "ServiceUnavailableError")
    }))

  it.effect("a part of the documents that cannot be embedded does not keep the later ones waiting", () =>
    Effect.gen(function*() {
      const { service, state } = breakable()
      const error = yield* Effect.flip(Effect.suspend(() => {
        state.down = true
        return service.embed(["x"], "document")
      }))
      const store = yield* NeonStore.make({ schema: "embedded_parts" }).pipe(Effect.provideService(Embedder.Embedder, {
        ...service,
        embed: (texts, role) => texts.includes("zebra 3") ? Effect.fail(error) : service.embed(texts, role)
      }))
      yield* store.addMany(Array.from({ length: 600 }, (_, i) => document(`d${i}`, `zebra ${i}`)))
      // All of it down: the third part is not tried.
      state.asked = 0
      assert.strictEqual(yield* Effect.flip(store.embedMissing()), error)
      assert.deepStrictEqual([state.asked, (yield* store.stats).embedded], [250, 0])
      state.down = false
      assert.strictEqual(yield* Effect.flip(store.embedMissing()), error)
      assert.strictEqual((yield* store.stats).embedded, 350)
    }))

  it.effect("a store that is tended makes up for what was missed, also the index, and forgets old operations", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const { service, state } = breakable()
      state.down = true
      const store = yield* NeonStore.make({ schema: "tended" }).pipe(Effect.provideService(Embedder.Embedder, service))
      yield* store.add(document("missed", "zebras graze"))
      yield* store.addMany([document("kept", "zebras sleep")], { operationId: "new" })
      yield* sql`INSERT INTO tended.operations (operation, document, stored_at) VALUES ('old', 'd', now() - interval '40 days')`
      state.down = false
      yield* Layer.build(NeonStore.layerTended({ schema: "tended", after: 0 })).pipe(
        Effect.provideService(Embedder.Embedder, service)
      )
      const made = yield* eventually(store.stats, ({ embedded }) => embedded === 2)
      assert.strictEqual(made.embedded, 2)
      const operations = sql`SELECT operation FROM tended.operations`
      assert.deepStrictEqual(yield* eventually(operations, (rows) => rows.length === 1), [{ operation: "new" }])
    }))

  it.effect("takes limits that never come", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const endless = { statementTimeout: Duration.infinity, keepOperations: Duration.infinity }
      const store = yield* NeonStore.make({ schema: "endless", indexFrom: 1, ...endless })
      yield* store.add(document("a", "zebras graze"))
      // What tends the tables goes on to the index of vectors, also after a process that was killed before it came to that.
      yield* store.embedMissing()
      const indexes = sql`SELECT FROM pg_indexes WHERE schemaname = 'endless' AND indexname = 'embeddings_space_1'`
      assert.strictEqual((yield* indexes).length, 1)
    }))

  it.effect("refuses options that make no sense, by their names", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [NeonStore.Options, string]> = [
        [{ statementTimeout: -1 }, "statementTimeout must not be negative"],
        [{ keepOperations: "soon" as never }, "keepOperations must be a duration, not \"soon\""],
        [{ indexFrom: Number.NaN }, "indexFrom must be a whole number, at least 0, not NaN"],
        [{ schema: "" }, "schema must be a text that is not empty"],
        [{ schema: `${"x".repeat(62)}é` }, "schema must be at most 63 bytes"]
      ]
      for (const [options, message] of wrong) {
        for (
          const refused of [
            yield* Effect.flip(NeonStore.make(options)),
            yield* Effect.flip(NeonStore.makeLexical(options))
          ]
        ) {
          assert.include(refused.message, message)
        }
      }
      const pool = NeonStore.layerPool({ url: Redacted.make("postgres://nobody@127.0.0.1:1/none"), maxConnections: -1 })
      assert.include(
        (yield* Effect.flip(Layer.build(pool))).message,
        "maxConnections must be a whole number, at least 1"
      )
      const late = yield* Effect.flip(Layer.build(NeonStore.layerTended({ after: "soon" as never })))
      assert.include(late.message, "after must be a duration, not \"soon\"")
    }))

  it.effect("compares all vectors where there are few, and no slower at the tenth time than at the first", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.make({ schema: "few" })
      yield* store.addMany(Array.from({ length: 600 }, (_, i) => document(`d${i}`, `zebra ${i}`)))
      yield* store.embedMissing()
      assert.strictEqual(
        (yield* sql`SELECT FROM pg_indexes WHERE schemaname = 'few' AND indexdef LIKE '%hnsw%'`).length,
        0
      )
      const times: Array<number> = []
      for (let i = 0; i < 15; i++) {
        const from = performance.now()
        assert.deepStrictEqual((yield* hits(store, `zebra ${i}`, "vector"))[0], `d${i}`)
        times.push(performance.now() - from)
      }
      // From the sixth on Postgres plans for any vector, and must not read its text again for every row: that took tenfold.
      assert.isBelow(Math.min(...times.slice(10)), 3 * Math.min(...times.slice(0, 5)))
    }))

  it.effect("embeds all in a new space while the old one goes on answering", () =>
    Effect.gen(function*() {
      const old = yield* NeonStore.make({ schema: "moved" })
      yield* old.addMany(Array.from({ length: 600 }, (_, i) => document(`d${i}`, `zebra ${i}`)))
      const narrow = yield* NeonStore.make({ schema: "moved" }).pipe(
        Effect.provide(Embedder.layerLocal({ dimensions: 64 }))
      )
      const progress: Array<number> = []
      assert.deepStrictEqual(yield* hits(narrow, "zebra 7", "vector"), [])
      const embedded = yield* narrow.embedMissing({
        onProgress: (done, total) =>
          Effect.gen(function*() {
            assert.strictEqual(total, 600)
            progress.push(done)
            assert.strictEqual((yield* hits(old, "zebra 7", "vector"))[0], "d7")
          }).pipe(Effect.orDie)
      })
      assert.strictEqual(embedded, 600)
      assert.deepStrictEqual(progress, [250, 500, 600])
      assert.strictEqual((yield* hits(narrow, "zebra 7", "vector"))[0], "d7")
      assert.strictEqual((yield* old.stats).embedded, 600)
    }), 30_000)

  it.effect("does not embed again what an operation stored before", () =>
    Effect.gen(function*() {
      const { service, state } = breakable()
      const store = yield* NeonStore.make({ schema: "again" }).pipe(Effect.provideService(Embedder.Embedder, service))
      const batch = Array.from({ length: 10 }, (_, i) => document(`d${i}`, `zebra ${i}`))
      yield* store.addMany(batch, { operationId: "op" })
      yield* store.addMany(batch, { operationId: "op" })
      assert.strictEqual(state.asked, 10)
    }))

  it.effect("scenario 61: embeddings of another space never meet a query of this one", () =>
    Effect.gen(function*() {
      const narrow = yield* NeonStore.make({ schema: "spaces" }).pipe(
        Effect.provide(Embedder.layerLocal({ dimensions: 64 }))
      )
      const wide = yield* NeonStore.make({ schema: "spaces" })
      yield* narrow.add(document("narrow", "zebras graze"))
      yield* wide.add(document("wide", "zebras sleep"))
      assert.deepStrictEqual(yield* hits(narrow, "zebras", "vector"), ["narrow"])
      assert.deepStrictEqual(yield* hits(wide, "zebras", "vector"), ["wide"])
      assert.strictEqual((yield* wide.stats).embedded, 1)
    }))

  it.effect(
    "keeps the index of words in step through changes one by one, and gathers what they scattered",
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const store = yield* NeonStore.make({ schema: "scattered" })
        const words = ["zebras graze", "zebras drink", "lions sleep and zebras graze", "giraffes browse"]
        for (let i = 0; i < 160; i++) yield* store.add(document(`d${i % 120}`, `${words[i % 4]} ${i}`))
        for (let i = 0; i < 20; i++) yield* store.delete(DocumentId.make(`d${i * 3}`))
        yield* store.update(DocumentId.make("d1"), { content: "zebras and zebras" })
        const rows = Effect.map(
          sql<
            { readonly rows: number }
          >`SELECT count(*)::int AS rows FROM scattered.posting_lists WHERE term = 'zebra'`,
          ([row]) => row?.rows ?? 0
        )
        const before = yield* hits(store, "zebras graze", "lexical")
        assert.deepStrictEqual(yield* drift(sql, "scattered"), [])
        assert.isAtLeast(yield* rows, 64)
        yield* store.embedMissing()
        assert.deepStrictEqual(yield* drift(sql, "scattered"), [])
        assert.isAtMost(yield* rows, 3)
        assert.deepStrictEqual(yield* hits(store, "zebras graze", "lexical"), before)
        // What is gathered can be taken out again.
        for (let i = 0; i < 120; i++) yield* store.delete(DocumentId.make(`d${i}`))
        assert.deepStrictEqual(yield* sql`TABLE scattered.posting_lists`, [])
      }),
    60_000
  )

  it.effect("takes over an index of the first version, a row for each posting", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const all = (yield* scifact.documents).slice(0, 150)
      const first = yield* NeonStore.makeLexical({ schema: "former" })
      yield* first.addMany(all)
      const queries = (yield* scifact.queries).slice(0, 20)
      const answers = (store: Service) => Effect.forEach(queries, ({ text }) => hits(store, text, "lexical"))
      const before = yield* answers(first)
      yield* sql`CREATE TABLE former.terms (
        no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, term text COLLATE "C" NOT NULL UNIQUE, frequency int NOT NULL
      )`
      yield* sql`INSERT INTO former.terms (term, frequency)
        SELECT term, sum(cardinality(documents)) FROM former.posting_lists GROUP BY term ORDER BY random()`
      yield* sql`CREATE TABLE former.postings AS
        SELECT terms.no AS term, x.document, x.count, x.length
        FROM former.posting_lists AS p JOIN former.terms AS terms ON terms.term = p.term,
          unnest(p.documents, p.counts, p.lengths) AS x (document, count, length)`
      yield* sql`DROP TABLE former.posting_lists`
      yield* sql`DELETE FROM former.migrations WHERE version = 2`
      const second = yield* NeonStore.makeLexical({ schema: "former" })
      assert.deepStrictEqual(yield* answers(second), before)
      assert.deepStrictEqual(yield* drift(sql, "former"), [])
      yield* second.add(document("new", "a wholly new quokka"))
      assert.deepStrictEqual(yield* hits(second, "quokka", "lexical"), ["new"])
    }))

  it.effect("makes its tables again when somebody took them away", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.make({ schema: "dropped" })
      yield* store.add(document("one", "zebras"))
      yield* sql`DROP SCHEMA dropped CASCADE`
      const lost = yield* Effect.result(store.get(DocumentId.make("one")))
      assert.isTrue(Result.isFailure(lost) && lost.failure.reason.detail === "MigrationMissing")
      assert.deepStrictEqual(yield* store.get(DocumentId.make("one")), Option.none())
      yield* store.add(document("one", "zebras"))
    }))

  it.effect("an interrupted batch leaves whole transactions, and goes on where it was", () =>
    Effect.gen(function*() {
      const store = yield* NeonStore.make({ schema: "interrupted" })
      const batch = Array.from({ length: 40 }, (_, i) => document(`d${i}`, `zebra ${i}`))
      const options = { operationId: "op", batchSize: 10 }
      yield* store.addMany(batch, {
        ...options,
        onProgress: (done) => done === 20 ? Effect.interrupt : Effect.void
      }).pipe(Effect.exit)
      assert.strictEqual((yield* store.stats).documents, 20)
      const { items } = yield* store.addMany(batch, options)
      assert.strictEqual(items.filter(({ _tag }) => _tag === "AlreadyStored").length, 20)
      assert.strictEqual((yield* store.stats).documents, 40)
    }))

  it.effect("scenario 58: a part that fails is reported by its items, and the parts after it are stored", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.make({ schema: "parts" })
      yield* store.stats
      yield* sql`CREATE FUNCTION parts.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$`
      yield* sql`CREATE TRIGGER refuse BEFORE INSERT ON parts.documents FOR EACH ROW
        WHEN (new.id BETWEEN 'd10' AND 'd19') EXECUTE FUNCTION parts.refuse()`
      const batch = Array.from({ length: 25 }, (_, i) => document(`d${String(i).padStart(2, "0")}`, `zebra ${i}`))
      const { items } = yield* store.addMany(batch, { batchSize: 10 })
      assert.deepStrictEqual(items.map((item) => item._tag === "Stored"), batch.map((_, i) => i < 10 || i >= 20))
      for (const item of items.slice(10, 20)) {
        assert.isTrue("error" in item && item.error.reason._tag === "CriticalError")
      }
      assert.strictEqual((yield* store.stats).documents, 15)
      const zero = yield* Effect.flip(store.addMany(batch, { batchSize: 0 }))
      assert.strictEqual(zero.reason._tag, "ValidationError")
    }))
})
