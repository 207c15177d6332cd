import { assert, it, layer, type Vitest } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { ProviderError } from "../../src/ProviderError.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { Document, DocumentId } from "../../src/vectorstore/VectorStore.ts"
import { missing, start } from "../testing/postgresServer.ts"
import { drift } from "./drift.ts"

// The server has no pgvector (Debian's has none): what is tested here is what one embedded session cannot show.
const pool = (url: string) => NeonStore.layerPool({ url: Redacted.make(url), maxConnections: 10 })

/** Started once for this file; each test has a database of its own. */
class Server extends Context.Service<Server, { readonly host: string; readonly port: number }>()("test/Server") {}
let databases = 0
const database = Effect.gen(function*() {
  const { host, port } = yield* Server
  const name = `of_test_${++databases}`
  yield* Effect.flatMap(SqlClient, (sql) => sql`CREATE DATABASE ${sql.literal(name)}`).pipe(
    Effect.provide(pool(`postgres://holdfast@${host}:${port}/postgres`))
  )
  return `postgres://holdfast@${host}:${port}/${name}`
})
const store = Layer.unwrap(Effect.map(database, pool))

const document = (i: number, words = "zebras graze"): Document =>
  Document.make({ id: DocumentId.make(`d${i}`), content: `${words} number ${i}` })

const documents = (count: number) => Array.from({ length: count }, (_, i) => document(i))

if (missing !== undefined) it.skip(`a PostgreSQL server: ${missing}`, () => {})
else layer(Layer.effect(Server, start), { excludeTestServices: true, timeout: "60 seconds" })("on a server", tests)

function tests(it: Vitest.MethodsNonLive<Server>): void {
  it.effect("keeps the contract on a PostgreSQL server with a pool", () =>
    Effect.gen(function*() {
      for (const [i, { name, run }] of StoreContract.cases().entries()) {
        const store = yield* NeonStore.make({ schema: `contract_${i}` })
        yield* run(store).pipe(Effect.annotateLogs("case", name))
      }
    }).pipe(Effect.provide(Layer.merge(store, Embedder.local))), 60_000)

  it.effect("finds words only without pgvector, and says so", () =>
    Effect.gen(function*() {
      const store = yield* NeonStore.make()
      yield* store.add(document(1))
      assert.deepStrictEqual(store.modes, ["lexical"])
      assert.deepStrictEqual((yield* store.stats).modes, ["lexical"])
      for (const mode of ["vector", "hybrid", undefined] as const) {
        const answer = yield* store.search({ query: "zebras", mode })
        assert.strictEqual(answer.mode, "lexical")
        assert.deepStrictEqual(answer.losses, mode === undefined ? [] : ["LexicalInsteadOfVector"])
        assert.strictEqual(answer.hits[0]?.id, "d1")
      }
    }).pipe(Effect.provide(Layer.merge(store, Embedder.local))), 60_000)

  it.effect("lets several processes make the tables at once", () =>
    Effect.gen(function*() {
      const url = yield* database
      // Each has a pool of its own, as a process has.
      yield* Effect.forEach(
        Array.from({ length: 6 }, (_, i) => i),
        (i) =>
          Effect.gen(function*() {
            const store = yield* NeonStore.makeLexical({ schema: "shared" })
            yield* store.add(document(i))
          }).pipe(Effect.provide(pool(url))),
        { concurrency: "unbounded", discard: true }
      )
      const stats = yield* Effect.flatMap(NeonStore.makeLexical({ schema: "shared" }), (store) => store.stats).pipe(
        Effect.provide(pool(url))
      )
      assert.strictEqual(stats.documents, 6)
    }).pipe(Effect.scoped), 60_000)

  it.effect("keeps the index in step under writers that want the same words", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.makeLexical()
      yield* Effect.forEach(
        Array.from({ length: 60 }, (_, i) => i),
        (i) =>
          i % 6 === 5
            ? store.delete(DocumentId.make(`d${i % 20}`))
            : store.add(document(i % 20, i % 2 === 0 ? "zebras graze slowly" : "slowly grazing lions")),
        { concurrency: 10, discard: true }
      )
      assert.deepStrictEqual(yield* drift(sql, "holdfast"), [])
      const [totals] = yield* sql`
      SELECT c.documents = (SELECT count(*) FROM holdfast.documents) AS documents,
        c.length = (SELECT coalesce(sum(length), 0) FROM holdfast.documents) AS length FROM holdfast.collection AS c`
      assert.deepStrictEqual(totals, { documents: true, length: true })
    }).pipe(Effect.provide(store)), 60_000)

  it.effect("goes on after its connections were killed", () =>
    Effect.gen(function*() {
      const url = yield* database
      yield* Effect.gen(function*() {
        const store = yield* NeonStore.makeLexical()
        yield* store.addMany(documents(20))
        yield* Effect.flatMap(SqlClient, (sql) =>
          sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`)
          .pipe(Effect.provide(pool(url)))
        // The first may still meet a dead connection: that is told as one that may be repeated.
        const first = yield* Effect.result(store.search({ query: "zebras" }))
        if (first._tag === "Failure") {
          assert.isTrue(first.failure.isRetryable, first.failure.message)
        }
        assert.strictEqual((yield* store.search({ query: "zebras" })).hits.length, 10)
      }).pipe(Effect.provide(pool(url)))
    }).pipe(Effect.scoped), 60_000)

  it.effect("ends a statement at its time limit", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.makeLexical({ statementTimeout: "300 millis" })
      yield* store.add(document(1))
      const held = yield* Deferred.make<void>()
      // Somebody else holds the writers' lock.
      const holder = yield* Effect.forkChild(sql.withTransaction(
        Effect.andThen(
          sql`SELECT pg_advisory_xact_lock(hashtextextended('holdfast/holdfast', 0))`,
          Effect.andThen(Deferred.succeed(held, undefined), Effect.never)
        )
      ))
      yield* Deferred.await(held)
      const error = yield* Effect.flip(store.add(document(2)))
      yield* Fiber.interrupt(holder)
      assert.strictEqual(error.category, "TIMEOUT")
      assert.strictEqual(error.reason.code, "57014")
    }).pipe(Effect.provide(store)), 60_000)

  it.effect("ends a read of a document at its time limit", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* NeonStore.makeLexical({ schema: "read_limit", statementTimeout: "300 millis" })
      const { id } = document(1)
      yield* store.add(document(1))
      const held = yield* Deferred.make<void>()
      const holder = yield* Effect.forkChild(sql.withTransaction(
        Effect.andThen(
          sql`LOCK TABLE read_limit.documents, read_limit.collection, read_limit.operations IN ACCESS EXCLUSIVE MODE`,
          Effect.andThen(Deferred.succeed(held, undefined), Effect.never)
        )
      ))
      yield* Deferred.await(held)
      const ended = (call: Effect.Effect<unknown, ProviderError>) =>
        Effect.map(Effect.flip(call), ({ category, reason }) => [category, reason.code])
      const calls: Readonly<Record<string, Effect.Effect<unknown, ProviderError>>> = {
        get: store.get(id),
        list: store.list(),
        stats: store.stats,
        search: store.search({ query: "zebras" }),
        update: store.update(id, { title: "Zebras" }),
        "what an operation stored": store.addMany([document(1)], { operationId: "again" })
      }
      for (const [name, call] of Object.entries(calls)) assert.deepStrictEqual(yield* ended(call), late, name)
      // In the server too: nothing waits for the lock any more.
      const waiting = yield* sql`SELECT FROM pg_locks WHERE NOT granted`
      yield* Fiber.interrupt(holder)
      assert.strictEqual(waiting.length, 0)
      assert.isTrue(Option.isSome(yield* store.get(id)))
    }).pipe(Effect.provide(store)), 60_000)
}

const late = ["TIMEOUT", "57014"]
