import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import * as OutboxQueue from "../../src/vectorstore/OutboxQueue.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { DocumentId } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"
import { document, pipeline, troubled } from "./troubled.ts"

const pending = ({ outbox }: UnifiedStore.Unified) => Effect.map(outbox.lag, ([lag]) => lag?.pending)

it.live(
  "writes that a process could not mirror are seen and delivered by the next one, each in its last state",
  () =>
    Effect.gen(function*() {
      const database = Layer.succeedContext(yield* Layer.build(Embedded.layer))
      const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
      const start = Effect.gen(function*() {
        const queue = yield* Layer.build(Layer.fresh(Layer.provide(OutboxQueue.layerPostgres, database)))
        return yield* Effect.provide(UnifiedStore.make({ pipeline, sources: [a.source, b.source] }), queue)
      })
      const rows = Effect.flatMap(SqlClient, (sql) =>
        sql<{ readonly state: string; readonly last_failure: string | null }>`
          SELECT state, last_failure FROM holdfast_outbox`).pipe(Effect.provide(database))
      const failures = Effect.map(rows, (rows) =>
        rows.flatMap(({ last_failure }) =>
          last_failure ?? []
        ))
      yield* b.memory.add(document("two", "to be deleted"))
      yield* b.is("down")
      yield* Effect.scoped(Effect.gen(function*() {
        const unified = yield* start
        yield* unified.store.add(document("one", "old"))
        yield* unified.store.add(document("one", "new"))
        yield* unified.store.delete(DocumentId.make("two"))
        yield* eventually(failures, (known) => known.length > 0)
        assert.strictEqual(yield* pending(unified), 2)
      }))
      const unified = yield* start
      assert.strictEqual(yield* eventually(pending(unified), (count) => count === 2), 2)
      assert.strictEqual(unified.outbox.pending("b", DocumentId.make("two")), "delete")
      yield* b.is("none")
      assert.strictEqual(yield* eventually(pending(unified), (count) => count === 0), 0)
      assert.deepStrictEqual((yield* b.memory.list()).documents, [document("one", "new")])
      assert.deepStrictEqual((yield* rows).map(({ state }) => state), ["completed", "completed", "completed"])
      const told = yield* failures
      assert.isNotEmpty(told)
      // The category, and no words of the provider.
      for (const failure of told) assert.match(failure, /"_tag":"(SERVICE_UNAVAILABLE|CircuitOpen)"/)
    }).pipe(Effect.scoped),
  60_000
)

it.live("a queue whose database does not answer keeps nobody from starting, writing and searching", () =>
  Effect.gen(function*() {
    const nowhere = NeonStore.layerPool({ url: Redacted.make("postgres://nobody@127.0.0.1:1/none") })
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* Effect.provide(
      UnifiedStore.make({ pipeline, sources: [a.source, b.source] }),
      yield* Layer.build(Layer.provide(OutboxQueue.layerPostgres, nowhere))
    )
    yield* unified.store.add(document("one", "zebras"))
    assert.strictEqual(yield* pending(unified), 1)
    assert.strictEqual((yield* unified.search({ query: "zebras" })).value.hits.length, 1)
    yield* unified.outbox.reconcile()
    assert.deepStrictEqual((yield* b.memory.list()).documents, [document("one", "zebras")])
  }).pipe(Effect.scoped))
