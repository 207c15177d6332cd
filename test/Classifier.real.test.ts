/** Clients made to fail for real on loopback: what they throw is classified right. */
import { PgClient } from "@effect/sql-pg"
import { assert, it, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { SqlClient } from "effect/sql"
import { readFileSync } from "node:fs"
import { createServer, type Server } from "node:https"
import OpenAI7 from "openai"
import OpenAI6 from "openai6"
import * as Classifier from "../src/Classifier.ts"
import { Fault, OpenAiEmulator } from "../src/testing/index.ts"
import * as Embedded from "./embedded.ts"
import * as Postgres from "./testing/postgresServer.ts"

// The two clients' types are not assignable to each other; the calls used here are the same.
const versions = { "openai 6": OpenAI6 as unknown as typeof OpenAI7, "openai 7": OpenAI7 }

/** Reads the vector store's record from this address. */
type Client = (url: string, key: string, timeout: number) => Effect.Effect<unknown, unknown>

const openai = (version: keyof typeof versions): Client => (baseURL, apiKey, timeout) =>
  Effect.tryPromise({
    try: (signal) =>
      new versions[version]({ apiKey, baseURL, maxRetries: 0, timeout, logLevel: "off" })
        .vectorStores.retrieve("vs_holdfast", { signal }),
    catch: (error) => error
  })

const clients: { readonly [name: string]: Client } = {
  "openai 6": openai("openai 6"),
  "openai 7": openai("openai 7"),
  fetch: (url, key, timeout) =>
    Effect.tryPromise({
      try: async () => {
        const response = await fetch(`${url}/vector_stores/vs_holdfast`, {
          headers: { authorization: `Bearer ${key}` },
          signal: AbortSignal.timeout(timeout)
        })
        if (!response.ok) throw response
        return await response.json()
      },
      catch: (error) => error
    }),
  HttpClient: (url, key, timeout) =>
    HttpClient.get(`${url}/vector_stores/vs_holdfast`, { headers: { authorization: `Bearer ${key}` } }).pipe(
      Effect.flatMap(HttpClientResponse.filterStatusOk),
      Effect.flatMap((response) => response.json),
      Effect.timeout(timeout),
      Effect.provide(FetchHttpClient.layer)
    )
}

const classified = (self: Effect.Effect<unknown, unknown>) =>
  Effect.map(
    Effect.flip(self),
    (failure) => Classifier.classify(failure, { provider: "openai", operation: "retrieve" })
  )

const categories = (found: Classifier.Classification) => [found.category, found.retryable] as const

for (const [name, client] of Object.entries(clients)) {
  const patient = 10_000
  const setUp = Effect.map(OpenAiEmulator.make(), (emulator) => ({
    emulator,
    call: (timeout = patient) => classified(client(emulator.url, Redacted.value(emulator.apiKey), timeout)),
    at: (url: string) => classified(client(url, "sk-x", patient))
  }))

  it.live(`${name}: refused, unknown host, https to an http port, an unknown certificate`, () =>
    Effect.gen(function*() {
      const { at, call, emulator } = yield* setUp
      const wrongProtocol = yield* at(emulator.url.replace("http:", "https:"))
      assert.deepStrictEqual(categories(wrongProtocol), ["CONFIGURATION", false], wrongProtocol.rule)
      yield* emulator.stop
      const refused = yield* call()
      assert.deepStrictEqual(categories(refused), ["NETWORK", true])
      assert.deepStrictEqual([refused.code, refused.delivered], ["ECONNREFUSED", "no"])
      const unknownHost = yield* at("http://no-such-host.invalid/v1")
      assert.strictEqual(unknownHost.category, "NETWORK")
      assert.include(["ENOTFOUND", "EAI_AGAIN"], unknownHost.code)
      const secure = yield* httpsServer
      const selfSigned = yield* at(`https://127.0.0.1:${secure}/v1`)
      assert.deepStrictEqual(categories(selfSigned), ["CONFIGURATION", false])
      assert.strictEqual(selfSigned.code, "DEPTH_ZERO_SELF_SIGNED_CERT")
    }))

  it.live(`${name}: reset, hung, truncated`, () =>
    Effect.gen(function*() {
      const { call, emulator } = yield* setUp
      for (const at of ["request", "answer", "body"] as const) {
        const reset = yield* emulator.during(Fault.reset(at))(call())
        assert.deepStrictEqual(categories(reset), ["NETWORK", true], `${at}: ${reset.rule}`)
        assert.strictEqual(reset.delivered, "unknown")
      }
      const hung = yield* emulator.during(Fault.hang("headers"))(call(200))
      assert.deepStrictEqual(categories(hung), ["TIMEOUT", true], hung.rule)
      const cut = yield* emulator.during(Fault.body("truncated"))(call())
      assert.include(["NETWORK", "UNKNOWN"], cut.category, cut.rule)
      assert.isTrue(cut.retryable)
    }))

  it.live(`${name}: statuses, a gateway's page, waits and an empty purse`, () =>
    Effect.gen(function*() {
      const { call, emulator } = yield* setUp
      const page = yield* emulator.during(Fault.badGateway)(call())
      assert.deepStrictEqual(categories(page), ["SERVICE_UNAVAILABLE", true])
      const limited = yield* emulator.during(Fault.rateLimited(7_000))(call())
      assert.deepStrictEqual(categories(limited), ["RATE_LIMIT", true])
      assert.strictEqual(limited.retryAfterMillis, 7_000)
      const expected = {
        400: "INVALID_REQUEST",
        401: "AUTHENTICATION",
        403: "AUTHORIZATION",
        404: "NOT_FOUND",
        408: "TIMEOUT",
        413: "VALIDATION",
        422: "VALIDATION",
        500: "TEMPORARY_FAILURE",
        503: "SERVICE_UNAVAILABLE"
      }
      for (const [status, category] of Object.entries(expected)) {
        const found = yield* emulator.during(Fault.status(Number(status)))(call())
        assert.strictEqual(found.category, category, `${status}: ${found.rule}`)
        assert.strictEqual(found.status, Number(status))
      }
      // A response alone does not hold its body: who throws it says no more than its status.
      if (name.startsWith("openai")) {
        const quota = yield* emulator.during(Fault.quotaExhausted())(call())
        assert.deepStrictEqual([quota.category, quota.detail, quota.retryable], [
          "CONFIGURATION",
          "QuotaExhausted",
          false
        ])
      }
    }))

  it.live(`${name}: a 200 that is none`, () =>
    Effect.gen(function*() {
      const { call, emulator } = yield* setUp
      // An empty body is no failure to any client but fetch's own, nor is a page to those that give texts out as they are.
      const kinds = name === "fetch"
        ? (["malformed", "empty", "html"] as const)
        : name === "HttpClient"
        ? (["malformed", "html"] as const)
        : (["malformed"] as const)
      for (const kind of kinds) {
        const found = yield* emulator.during(Fault.body(kind))(call())
        assert.deepStrictEqual([found.category, found.detail], ["UNKNOWN", "InvalidResponse"], `${kind}: ${found.rule}`)
        assert.strictEqual(found.verdicts.breaker, "Failure")
      }
    }))
}

it.live("a caller's own abort is a cancellation, whatever the client makes of it", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    yield* emulator.fault(Fault.hang("headers"))
    for (const version of ["openai 6", "openai 7"] as const) {
      const client = new versions[version]({ apiKey: "sk-x", baseURL: emulator.url, maxRetries: 0, logLevel: "off" })
      const aborted = yield* classified(Effect.tryPromise({
        try: () => client.vectorStores.retrieve("vs_holdfast", { signal: AbortSignal.timeout(100) }),
        catch: (error) => error
      }))
      assert.isFalse(aborted.category === "NETWORK")
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 100)
      const cancelled = yield* classified(Effect.tryPromise({
        try: () => fetch(`${emulator.url}/vector_stores`, { signal: controller.signal }),
        catch: (error) => error
      }))
      assert.deepStrictEqual([cancelled.category, cancelled.detail], ["UNKNOWN", "Cancelled"])
      assert.strictEqual(cancelled.verdicts.breaker, "Ignored")
    }
  }))

it.live("openai: a missing key, a wrong path segment", () =>
  Effect.gen(function*() {
    for (const Client of Object.values(versions)) {
      const missing = yield* classified(Effect.try({
        try: () => new Client({ apiKey: undefined, adminAPIKey: null }),
        catch: (error) => error
      }))
      assert.deepStrictEqual(categories(missing), ["CONFIGURATION", false])
    }
  }))

const httpsServer = Effect.acquireRelease(
  Effect.callback<Server>((resume) => {
    const pem = (name: string) => readFileSync(new URL(`./data/tls/${name}.pem`, import.meta.url))
    const server = createServer({ cert: pem("cert"), key: pem("key") }, (_, response) => response.end("{}"))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => void server.close())
).pipe(Effect.map((server) => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}))

// -- Postgres --------------------------------------------------------------------------------------------------------

const onQuery = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), (error) => Classifier.classify(error, { provider: "neon", operation: "query" }))

layer(Embedded.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  "sql-pg on the embedded Postgres",
  (it) => {
    it.effect("statements that are wrong, data that is wrong, things that are missing", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE EXTENSION IF NOT EXISTS vector`
        yield* sql`CREATE TABLE chunks (id int PRIMARY KEY, body text NOT NULL, embedding vector(3))`
        yield* sql`INSERT INTO chunks VALUES (1, 'a', '[1,2,3]')`
        const expected = [
          [sql`INSERT INTO chunks VALUES (1, 'b', NULL)`, "23505", "VALIDATION", "Duplicate"],
          [sql`INSERT INTO chunks VALUES (2, NULL, NULL)`, "23502", "VALIDATION", undefined],
          [sql`INSERT INTO chunks VALUES (2, 'b', '[1,2]')`, "22000", "VALIDATION", "DimensionMismatch"],
          [sql`SELECT id FROM chunks ORDER BY embedding <=> '[1,2]'`, "22000", "VALIDATION", "DimensionMismatch"],
          [sql`SELECT 'abc 503'::int`, "22P02", "VALIDATION", undefined],
          [sql`SELECT * FROM nothing_here`, "42P01", "CONFIGURATION", "MigrationMissing"],
          [sql`SELECT 1 <=> 2`, "42883", "CONFIGURATION", "MigrationMissing"],
          [sql`SELEC 1`, "42601", "INVALID_REQUEST", undefined],
          [sql`SELECT nothing FROM chunks`, "42703", "INVALID_REQUEST", undefined]
        ] as const
        for (const [statement, code, category, detail] of expected) {
          const found = yield* onQuery(statement)
          assert.deepStrictEqual([found.code, found.category, found.detail], [code, category, detail])
          assert.isFalse(found.retryable)
          assert.strictEqual(found.delivered, "yes")
        }
      }))

    it.effect("what the server says of itself, sent by the server", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const raise = (code: string, message: string) =>
          sql.unsafe(`DO $$ BEGIN RAISE EXCEPTION '${message}' USING ERRCODE = '${code}'; END $$`)
        const expected = [
          ["57P01", "terminating connection due to administrator command", "SERVICE_UNAVAILABLE", true],
          ["40P01", "deadlock detected", "TEMPORARY_FAILURE", true],
          ["40001", "could not serialize access due to concurrent update", "TEMPORARY_FAILURE", true],
          ["57014", "canceling statement due to statement timeout", "TIMEOUT", true],
          ["55P03", "canceling statement due to lock timeout", "TEMPORARY_FAILURE", true],
          ["53300", "sorry, too many clients already", "SERVICE_UNAVAILABLE", true],
          ["53100", "could not extend file: No space left on device", "CRITICAL", false],
          ["25006", "cannot execute INSERT in a read-only transaction", "CONFIGURATION", false],
          ["42501", "permission denied for table docs", "AUTHORIZATION", false],
          ["XX000", "internal error 500", "UNKNOWN", false]
        ] as const
        for (const [code, message, category, retryable] of expected) {
          const found = yield* onQuery(raise(code, message))
          assert.deepStrictEqual([found.code, found.category, found.retryable], [code, category, retryable])
        }
        // Deadlocks and the like are undone by the server: even a write may be repeated.
        const deadlock = yield* onQuery(raise("40P01", "deadlock detected"))
        assert.strictEqual(deadlock.verdicts.retry, "Always")
      }))

    it.effect("an error swallowed within a transaction", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const found = yield* onQuery(sql.withTransaction(Effect.andThen(Effect.ignore(sql`SELECT 1/0`), sql`SELECT 1`)))
        assert.deepStrictEqual([found.code, found.retryable], ["25P02", false])
      }))
  }
)

const pgAt = (host: string, port: number, options?: { readonly database?: string; readonly password?: string }) =>
  Effect.flatMap(
    Layer.build(PgClient.layer({
      host,
      port,
      username: "holdfast",
      database: "postgres",
      maxConnections: 2,
      connectTimeout: "2 seconds",
      ...options,
      password: Redacted.make(options?.password ?? "none")
    })),
    (context) => Effect.provideContext(SqlClient.SqlClient, context)
  )

it.live("sql-pg: nobody listens, nothing that speaks Postgres listens", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const confused = yield* onQuery(Effect.flatMap(pgAt("127.0.0.1", emulator.port), (sql) => sql`SELECT 1`))
    assert.deepStrictEqual([confused.category, confused.detail], ["UNKNOWN", "InvalidResponse"])
    assert.strictEqual(confused.delivered, "no")
    yield* emulator.stop
    const refused = yield* onQuery(Effect.flatMap(pgAt("127.0.0.1", emulator.port), (sql) => sql`SELECT 1`))
    assert.deepStrictEqual(categories(refused), ["NETWORK", true])
    assert.deepStrictEqual([refused.code, refused.delivered], ["ECONNREFUSED", "no"])
  }))

it.live("sql-pg: a real deadlock, serialization failure, statement timeout and terminated backend", (context) => {
  context.skip(Postgres.missing !== undefined, Postgres.missing)
  return Effect.gen(function*() {
    const server = yield* Postgres.start
    const one = yield* pgAt(server.host, server.port)
    const other = yield* pgAt(server.host, server.port)
    yield* one`CREATE TABLE t (id int PRIMARY KEY, n int)`
    yield* one`INSERT INTO t VALUES (1, 0), (2, 0)`

    const swap = (sql: SqlClient.SqlClient, a: number, b: number) =>
      sql.withTransaction(Effect.gen(function*() {
        yield* sql`SET LOCAL deadlock_timeout = '50ms'`
        yield* sql`UPDATE t SET n = n + 1 WHERE id = ${a}`
        yield* Effect.sleep("100 millis")
        yield* sql`UPDATE t SET n = n + 1 WHERE id = ${b}`
      }))
    const deadlock = yield* onQuery(Effect.all([swap(one, 1, 2), swap(other, 2, 1)], { concurrency: 2 }))
    assert.deepStrictEqual([deadlock.code, deadlock.category, deadlock.retryable], ["40P01", "TEMPORARY_FAILURE", true])

    const count = (sql: SqlClient.SqlClient) =>
      sql.withTransaction(Effect.gen(function*() {
        yield* sql`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`
        yield* sql`SELECT sum(n) FROM t`
        yield* Effect.sleep("100 millis")
        yield* sql`UPDATE t SET n = n + 1 WHERE id = 1`
      }))
    const serial = yield* onQuery(Effect.all([count(one), count(other)], { concurrency: 2 }))
    assert.deepStrictEqual([serial.code, serial.category, serial.retryable], ["40001", "TEMPORARY_FAILURE", true])

    const slow = yield* onQuery(one.withTransaction(
      Effect.andThen(one`SET LOCAL statement_timeout = '50ms'`, one`SELECT pg_sleep(5)`)
    ))
    assert.deepStrictEqual([slow.code, slow.category, slow.retryable], ["57014", "TIMEOUT", true])

    const kill = Effect.andThen(
      Effect.sleep("150 millis"),
      other`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' AND pid <> pg_backend_pid()`
    )
    const killed = yield* onQuery(Effect.all([one`SELECT pg_sleep(3)`, kill], { concurrency: 2 }))
    assert.include(["SERVICE_UNAVAILABLE", "NETWORK"], killed.category)
    assert.isTrue(killed.retryable)
    assert.strictEqual(killed.delivered === "no", false)

    const missing = yield* onQuery(
      Effect.flatMap(pgAt(server.host, server.port, { database: "nope" }), (sql) => sql`SELECT 1`)
    )
    assert.deepStrictEqual([missing.code, missing.category, missing.retryable], ["3D000", "CONFIGURATION", false])
  })
})
