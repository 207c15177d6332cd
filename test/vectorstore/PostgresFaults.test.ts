/**
 * What PostgreSQL and pgvector themselves do to a client, without any rig between: as it is classified, and that the pool
 * goes on after. What poolers, proxies and networks do besides is in `NeonFaults.test.ts`.
 */
import { afterAll, assert, beforeAll, it, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Classifier from "../../src/Classifier.ts"
import { transaction } from "../../src/vectorstore/internal/transaction.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"
import * as Postgres from "../testing/postgresServer.ts"

const scope = Scope.makeUnsafe()
let server: { readonly host: string; readonly port: number } | undefined
beforeAll(async () => {
  if (Postgres.missing === undefined) server = await Effect.runPromise(Scope.provide(Postgres.start, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const pool = (user = "holdfast", maxConnections = 1) =>
  Effect.map(
    Layer.build(
      NeonStore.layerPool({
        url: Redacted.make(`postgres://${user}:none@${server!.host}:${server!.port}/postgres`),
        maxConnections
      })
    ),
    (context) => Effect.provide(SqlClient, context)
  ).pipe(Effect.flatten)

/** A pool of one connection, its backend, and somebody else. */
const setUp = Effect.gen(function*() {
  const sql = yield* pool()
  const admin = yield* pool("holdfast", 2)
  const [backend] = yield* sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`
  yield* sql`DROP TABLE IF EXISTS t`
  yield* sql`CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)`
  yield* sql`INSERT INTO t VALUES (1), (2)`
  return {
    sql,
    admin,
    kill: admin`SELECT pg_terminate_backend(${backend!.pid})`,
    busy: admin<{ readonly query: string }>`SELECT query FROM pg_stat_activity WHERE pid = ${backend!.pid}
      AND state = 'active' AND wait_event = 'PgSleep'`,
    rows: Effect.map(admin<{ readonly count: number }>`SELECT count(*)::int AS count FROM t`, ([row]) => row?.count)
  }
})

const live = (name: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, (context) => {
    context.skip(Postgres.missing !== undefined, Postgres.missing)
    return test()
  }, 30_000)

const classified = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), (error) => {
    const { category, code, delivered, detail, verdicts } = Classifier.classify(error, { provider: "neon" })
    return { category, code, delivered, detail, retry: verdicts.retry }
  })

live("57P01 idle: the pool makes a new connection, and nobody notices", () =>
  Effect.gen(function*() {
    const { kill, sql } = yield* setUp
    yield* kill
    yield* Effect.sleep("50 millis")
    assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
  }))

live(
  "57P01 mid-query: a broken connection of unknown outcome, and the next query is well",
  () =>
    Effect.gen(function*() {
      const { busy, kill, sql } = yield* setUp
      const fiber = yield* Effect.forkChild(classified(sql`INSERT INTO t SELECT 3 FROM pg_sleep(20)`))
      yield* eventually(busy, (rows) => rows.length === 1)
      yield* kill
      const found = yield* Fiber.join(fiber)
      assert.include(["NETWORK", "SERVICE_UNAVAILABLE"], found.category)
      // The driver loses the server's word for it, so that only what is idempotent may be repeated.
      assert.deepStrictEqual([found.delivered, found.retry], ["unknown", "IfIdempotent"])
      assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
    })
)

live("57P01 in a transaction: nothing of it is stored, and the next one is well", () =>
  Effect.gen(function*() {
    const { kill, rows, sql } = yield* setUp
    const found = yield* classified(transaction(
      sql,
      Effect.gen(function*() {
        yield* sql`INSERT INTO t VALUES (3)`
        yield* kill
        yield* Effect.sleep("50 millis")
        yield* sql`INSERT INTO t VALUES (4)`
      })
    ))
    assert.include(["NETWORK", "SERVICE_UNAVAILABLE"], found.category)
    assert.strictEqual(yield* rows, 2)
    yield* transaction(sql, sql`INSERT INTO t VALUES (5)`)
    assert.strictEqual(yield* rows, 3)
  }))

live(
  "53300: more connections than the role may have are refused before anything was asked",
  () =>
    Effect.gen(function*() {
      const { admin } = yield* setUp
      yield* admin`DROP ROLE IF EXISTS few`
      yield* admin`CREATE ROLE few LOGIN CONNECTION LIMIT 1`
      const first = yield* pool("few")
      yield* first`SELECT 1`
      const found = yield* classified(Effect.flatMap(pool("few"), (sql) => sql`SELECT 1`))
      assert.deepStrictEqual(found, {
        category: "SERVICE_UNAVAILABLE",
        code: "53300",
        delivered: "no",
        detail: "TooManyConnections",
        retry: "Always"
      })
    })
)

live("55P03: a lock that is not to be had in time rolls back and may be tried again", () =>
  Effect.gen(function*() {
    const { admin, sql } = yield* setUp
    const found = yield* transaction(
      admin,
      Effect.andThen(
        admin`LOCK TABLE t`,
        classified(transaction(
          sql,
          Effect.andThen(
            sql`SELECT set_config('lock_timeout', '50', true)`,
            sql`INSERT INTO t VALUES (3)`
          )
        ))
      )
    )
    assert.deepStrictEqual([found.category, found.code, found.retry], ["TEMPORARY_FAILURE", "55P03", "Always"])
  }))

live("57014: a statement that takes too long is a timeout", () =>
  Effect.gen(function*() {
    const { sql } = yield* setUp
    const found = yield* classified(transaction(
      sql,
      Effect.andThen(
        sql`SELECT set_config('statement_timeout', '50', true)`,
        sql`SELECT pg_sleep(10)`
      )
    ))
    assert.deepStrictEqual([found.category, found.code, found.retry], ["TIMEOUT", "57014", "IfIdempotent"])
    assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
  }))

live(
  "40001: of two transactions that want the same row the second rolls back, and may be tried again as a whole",
  () =>
    Effect.gen(function*() {
      const { admin, sql } = yield* setUp
      const raise = sql`UPDATE t SET n = n + 1 WHERE id = 1`
      const tx = transaction(
        sql,
        Effect.gen(function*() {
          yield* sql`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`
          yield* sql`SELECT n FROM t`
          yield* admin`UPDATE t SET n = n + 10 WHERE id = 1`
          yield* raise
        })
      )
      const found = yield* classified(tx)
      assert.deepStrictEqual([found.category, found.code, found.retry], ["TEMPORARY_FAILURE", "40001", "Always"])
      yield* transaction(sql, raise)
      assert.deepStrictEqual(yield* admin`SELECT n FROM t WHERE id = 1`, [{ n: 11 }])
    })
)

live(
  "25P02: a transaction that goes on after an error is refused, and nothing of it is stored",
  () =>
    Effect.gen(function*() {
      const { rows, sql } = yield* setUp
      const found = yield* classified(transaction(
        sql,
        Effect.gen(function*() {
          yield* sql`INSERT INTO t VALUES (3)`
          yield* Effect.ignore(sql`INSERT INTO t VALUES (1)`)
          yield* sql`INSERT INTO t VALUES (4)`
        })
      ))
      assert.deepStrictEqual([found.category, found.code], ["UNKNOWN", "25P02"])
      assert.strictEqual(yield* rows, 2)
    })
)

live("25P03: a transaction that was idle too long is gone, and the next one is well", () =>
  Effect.gen(function*() {
    const { rows, sql } = yield* setUp
    const found = yield* classified(transaction(
      sql,
      Effect.gen(function*() {
        yield* sql`SELECT set_config('idle_in_transaction_session_timeout', '50', true)`
        yield* sql`INSERT INTO t VALUES (3)`
        yield* Effect.sleep("200 millis")
        yield* sql`INSERT INTO t VALUES (4)`
      })
    ))
    assert.include(["TIMEOUT", "NETWORK"], found.category)
    assert.strictEqual(yield* rows, 2)
    assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
  }))

layer(Embedded.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  "pgvector",
  (it) => {
    const refused = (name: string, query: (sql: SqlClient) => Effect.Effect<unknown, unknown>, detail?: string) =>
      it.effect(name, () =>
        Effect.gen(function*() {
          const sql = yield* SqlClient
          yield* sql`CREATE EXTENSION IF NOT EXISTS vector`
          yield* sql`DROP TABLE IF EXISTS v`
          yield* sql`CREATE TABLE v (embedding vector(3))`
          yield* sql`INSERT INTO v VALUES ('[1,2,3]')`
          const found = yield* classified(query(sql))
          assert.deepStrictEqual([found.category, found.detail], ["VALIDATION", detail])
          // The embedded database has one session, ever: it must be usable after.
          assert.deepStrictEqual(yield* sql`SELECT embedding::text AS embedding FROM v`, [{ embedding: "[1,2,3]" }])
        }))

    refused("dimension mismatch: of a row", (sql) => sql`INSERT INTO v VALUES ('[1,2]')`, "DimensionMismatch")
    refused(
      "dimension mismatch: of a query",
      (sql) => sql`SELECT embedding <=> '[1,2]'::vector FROM v`,
      "DimensionMismatch"
    )
    refused("raw vector select: it fails, and the next query is well", (sql) => sql`SELECT embedding FROM v`)
    refused("whole numbers and fractions in one array parameter", (sql) => sql`SELECT ${[1, 2.5]}`)
    refused("a vector that is not finite", (sql) => sql`INSERT INTO v VALUES ('[1,NaN,3]')`)
  }
)
