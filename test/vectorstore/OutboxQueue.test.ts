import { assert, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted, Ref } from "effect"
import { PersistedQueue } from "effect/persistence"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import * as OutboxQueue from "../../src/vectorstore/OutboxQueue.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { DocumentId, VectorStore } from "../../src/vectorstore/VectorStore.ts"
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
      // What was delivered is marked so afterwards.
      yield* eventually(rows, (rows) => rows.length === 3 && rows.every(({ state }) => state === "completed"))
      const told = yield* failures
      assert.isNotEmpty(told)
      // The category, and no words of the provider.
      for (const failure of told) assert.match(failure, /"_tag":"(SERVICE_UNAVAILABLE|CircuitOpen)"/)
    }).pipe(Effect.scoped),
  60_000
)

it.live(
  "a write whose process is killed before it is recorded reaches the mirror, and one that did not happen leaves nothing",
  () =>
    Effect.gen(function*() {
      const database = Layer.succeedContext(yield* Layer.build(Embedded.layer))
      const sql = Context.get(yield* Layer.build(database), SqlClient)
      const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
      const start = (first: typeof a.source) =>
        Effect.gen(function*() {
          const queue = yield* Layer.build(Layer.fresh(Layer.provide(OutboxQueue.layerPostgres, database)))
          return yield* Effect.provide(
            UnifiedStore.make({ pipeline: { ...pipeline, timeout: "1 hour" }, sources: [first, b.source] }),
            queue
          )
        })
      const entries = sql<{ readonly state: string }>`SELECT state FROM holdfast_outbox ORDER BY sequence`.pipe(
        Effect.map((rows) => rows.map(({ state }) => state))
      )
      // What its primary took is never heard of again, as in a process that is no more.
      const killed = yield* start({
        name: "a",
        layer: Layer.succeed(VectorStore, {
          ...a.memory,
          addMany: (all) => Effect.andThen(a.memory.addMany(all), Effect.never)
        })
      })
      yield* Effect.forkScoped(killed.store.addMany([document("one", "zebras"), document("two", "giraffes")]))
      yield* eventually(a.memory.stats, ({ documents }) => documents === 2)
      assert.deepStrictEqual(yield* entries, ["pending"])
      const next = yield* start(a.source)
      // Nobody knows yet that it was left behind, so it does not count as waiting.
      assert.strictEqual(yield* pending(next), 0)
      assert.isUndefined(next.outbox.pending("b", DocumentId.make("one")))

      yield* a.is("unconfigured")
      yield* Effect.exit(next.store.add(document("three", "lions")))
      assert.deepStrictEqual(yield* eventually(entries, (states) => states.length === 1), ["pending"])
      yield* a.is("none")

      yield* sql`UPDATE holdfast_outbox SET visible_at = visible_at - interval '5 minutes'`
      // A write wakes who delivers; its own announcement is withdrawn.
      yield* next.store.add(document("four", "monkeys"))
      yield* eventually(b.memory.stats, ({ documents }) => documents === 3)
      assert.deepStrictEqual(
        (yield* b.memory.list()).documents.map(({ id }) => id),
        [DocumentId.make("four"), DocumentId.make("one"), DocumentId.make("two")]
      )
      assert.deepStrictEqual(yield* eventually(entries, (states) => states.every((state) => state === "completed")), [
        "completed",
        "completed"
      ])
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

/** A queue in memory that others are said to use too; `held` are the ids of announcements in it, `rows` is what it says. */
const shared = Effect.fnUntraced(function*(
  offering: Effect.Effect<void>,
  rows: (offered: ReadonlyArray<OutboxQueue.Waits>) => ReadonlyArray<OutboxQueue.Waits> = () => []
) {
  const memory = yield* Effect.map(
    Layer.build(PersistedQueue.layerStoreMemory),
    Context.get(PersistedQueue.PersistedQueueStore)
  )
  const held = new Set<string>()
  const offered: Array<OutboxQueue.Waits> = []
  let announced = 0
  const store = Layer.succeed(PersistedQueue.PersistedQueueStore, {
    ...memory,
    offer: (element) => {
      if (element.delay === undefined) {
        offered.push({ id: element.id, element: JSON.stringify(element.element), ageMillis: 0 })
        return Effect.andThen(offering, memory.offer(element))
      }
      announced++
      held.add(element.id)
      return Effect.void
    }
  })
  const backlog = Layer.succeed(OutboxQueue.Backlog, {
    read: () => Effect.sync(() => rows(offered)),
    withdraw: (_, ids) => Effect.sync(() => ids.forEach((id) => held.delete(id)))
  })
  const queue = yield* Layer.build(Layer.merge(Layer.provide(PersistedQueue.layer, store), backlog))
  return { queue, held, announced: () => announced }
})

it.effect("what another process delivered waits no more, and is not hidden", () =>
  Effect.gen(function*() {
    const { queue } = yield* shared(Effect.void)
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* Effect.provide(UnifiedStore.make({ pipeline, sources: [a.source, b.source] }), queue)
    yield* a.memory.add(document("one", "zebras"))
    yield* b.is("down")
    yield* unified.store.delete(DocumentId.make("one"))
    assert.strictEqual(yield* pending(unified), 1)
    assert.strictEqual(unified.outbox.pending("b", DocumentId.make("one")), "delete")
    yield* TestClock.adjust("30 seconds")
    assert.strictEqual(yield* pending(unified), 0)
    assert.isUndefined(unified.outbox.pending("b", DocumentId.make("one")))
    yield* unified.outbox.drained
  }).pipe(Effect.scoped))

it.effect("how long the oldest waits is told of a document's first write, whoever wrote and whatever was written since", () =>
  Effect.gen(function*() {
    const waits = (id: string, minutes: number): OutboxQueue.Waits => ({
      id,
      element: JSON.stringify({ ids: ["one"], change: "put" }),
      ageMillis: minutes * 60_000
    })
    const { queue } = yield* shared(Effect.void, (offered) => [waits("first", 60), waits("second", 1), ...offered])
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* b.is("down")
    const unified = yield* Effect.provide(UnifiedStore.make({ pipeline, sources: [a.source, b.source] }), queue)
    yield* TestClock.adjust("1 millis")
    yield* unified.store.add(document("one", "zebras"))
    const [lag] = yield* unified.outbox.lag
    assert.deepStrictEqual([lag?.pending, lag?.oldestMillis], [1, 3_600_001])
  }).pipe(Effect.scoped))

it.effect("what was delivered and is not yet marked so in the queue does not count as waiting", () =>
  Effect.gen(function*() {
    const { queue } = yield* shared(Effect.void, (offered) => offered)
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* Effect.provide(UnifiedStore.make({ pipeline, sources: [a.source, b.source] }), queue)
    const id = DocumentId.make("one")
    yield* TestClock.adjust("29 seconds")
    yield* unified.store.delete(id)
    yield* unified.store.add(document("one", "zebras"))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* b.memory.stats).documents, 1)
    assert.strictEqual(yield* pending(unified), 0)
    assert.isUndefined(unified.outbox.pending("b", id))
  }).pipe(Effect.scoped))

it.effect("every write is announced, whatever is being recorded beside it, and withdrawn when it is recorded", () =>
  Effect.gen(function*() {
    const { announced, held, queue } = yield* shared(Effect.sleep("100 millis"))
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* Effect.provide(UnifiedStore.make({ pipeline, sources: [a.source, b.source] }), queue)
    const ids = Array.from({ length: 20 }, (_, i) => `d${i}`)
    const writes = yield* Effect.forkChild(
      Effect.forEach(ids, (id, i) => Effect.delay(unified.store.add(document(id, "zebras")), i * 30), {
        concurrency: "unbounded",
        discard: true
      })
    )
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(writes)
    assert.strictEqual(announced(), ids.length)
    assert.deepStrictEqual(Array.from(held), [])
  }).pipe(Effect.scoped))

it.effect("a queue that hangs holds a write up for a second, and has it when it answers", () =>
  Effect.gen(function*() {
    const well = yield* Deferred.make<void>()
    const queued = yield* Ref.make(0)
    const memory = yield* Effect.map(
      Layer.build(PersistedQueue.layerStoreMemory),
      Context.get(PersistedQueue.PersistedQueueStore)
    )
    const hanging = Layer.succeed(PersistedQueue.PersistedQueueStore, {
      ...memory,
      offer: (element) =>
        Effect.andThen(Deferred.await(well), memory.offer(element)).pipe(
          Effect.tap(() => Ref.update(queued, (n) => n + 1))
        )
    })
    const [a, b, c] = yield* Effect.all([troubled("a"), troubled("b"), troubled("c")])
    const unified = yield* Effect.provide(
      UnifiedStore.make({ pipeline, sources: [a.source, b.source, c.source] }),
      yield* Layer.build(Layer.provide(PersistedQueue.layer, hanging))
    )
    const write = yield* Effect.forkChild(unified.store.add(document("one", "zebras")), { startImmediately: true })
    yield* TestClock.adjust("999 millis")
    assert.isUndefined(write.pollUnsafe())
    // Whoever gives up by now has written all the same: both mirrors are to know.
    const gone = yield* Effect.forkChild(Fiber.interrupt(write), { startImmediately: true })
    assert.isUndefined(write.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(gone)
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [1, 1])
    assert.strictEqual(yield* Ref.get(queued), 0)
    yield* Deferred.succeed(well, undefined)
    yield* Effect.all([TestClock.adjust("1 minute"), unified.outbox.drained], { concurrency: 2 })
    assert.strictEqual(yield* Ref.get(queued), 2)
    for (const { memory } of [b, c]) {
      assert.deepStrictEqual((yield* memory.list()).documents, [document("one", "zebras")])
    }
  }))

it.effect("a queue that cannot mark what was delivered is asked for the next one all the same", () =>
  Effect.gen(function*() {
    const memory = yield* Effect.map(
      Layer.build(PersistedQueue.layerStoreMemory),
      Context.get(PersistedQueue.PersistedQueueStore)
    )
    let marked = 0
    const forgetful = Layer.succeed(PersistedQueue.PersistedQueueStore, {
      ...memory,
      take: (options) =>
        Effect.tap(
          memory.take(options),
          () => Effect.addFinalizer(() => ++marked === 1 ? Effect.die("the database is away") : Effect.void)
        )
    })
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* Effect.provide(
      UnifiedStore.make({ pipeline, sources: [a.source, b.source] }),
      yield* Layer.build(Layer.provide(PersistedQueue.layer, forgetful))
    )
    for (const id of ["one", "two"]) {
      yield* unified.store.add(document(id, "zebras"))
      yield* TestClock.adjust("1 minute")
    }
    assert.strictEqual(marked, 2)
    assert.strictEqual((yield* b.memory.stats).documents, 2)
  }))
