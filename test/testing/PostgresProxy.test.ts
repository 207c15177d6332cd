import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Result, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { connect, type Socket } from "node:net"
import * as Classifier from "../../src/Classifier.ts"
import { InvalidOptions } from "../../src/InvalidOptions.ts"
import type { ReasonTag } from "../../src/ProviderError.ts"
import { PostgresProxy } from "../../src/testing/index.ts"
import { framesOf, message } from "../../src/testing/internal/postgresWire.ts"
import { eventually } from "./eventually.ts"
import * as Postgres from "./postgresServer.ts"

// One server for all tests of the file: a start takes most of a second.
const scope = Scope.makeUnsafe()
let server: { readonly host: string; readonly port: number } | undefined
beforeAll(async () => {
  if (Postgres.missing === undefined) server = await Effect.runPromise(Scope.provide(Postgres.start, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const setUp = Effect.fnUntraced(function*(
  options?: Partial<PostgresProxy.Options>,
  pool?: { readonly maxConnections?: number; readonly connectTimeout?: Duration.Input }
) {
  const proxy = yield* PostgresProxy.make({ upstream: server!, ...options })
  const client = Effect.map(
    Layer.build(PgClient.layer({
      host: proxy.host,
      port: proxy.port,
      username: "holdfast",
      password: Redacted.make("none"),
      database: "postgres",
      maxConnections: 1,
      connectTimeout: "2 seconds",
      ...pool
    })),
    (context) => Effect.provideContext(SqlClient, context)
  ).pipe(Effect.flatten)
  return { proxy, client }
})

/** A query's failure as the classifier has it. */
const classified = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(self), (error) => Classifier.classify(error, { provider: "neon", operation: "query" }))

const live = (name: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, (context) => {
    context.skip(Postgres.missing !== undefined, Postgres.missing)
    return test()
  })

live("passes queries on, prepared ones, transactions and large answers too", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
    yield* sql`DROP TABLE IF EXISTS t`
    yield* sql`CREATE TABLE t (id int PRIMARY KEY, body text)`
    yield* sql.withTransaction(Effect.gen(function*() {
      for (let i = 0; i < 20; i++) yield* sql`INSERT INTO t ${sql.insert({ id: i, body: "x".repeat(100_000) })}`
    }))
    const rows = yield* sql<{ body: string }>`SELECT body FROM t`
    assert.strictEqual(rows.reduce((sum, { body }) => sum + body.length, 0), 2_000_000)
    assert.isAtLeast((yield* proxy.counts).queries, 23)
    assert.strictEqual(yield* proxy.connections, 1)
  }))

live("answers a query with any SQLSTATE, and the connection stays", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`SELECT 0`
    const expected = [
      ["40001", "TemporaryFailureError"],
      ["55P03", "TemporaryFailureError"],
      ["53300", "ServiceUnavailableError"],
      ["57P03", "ServiceUnavailableError"],
      ["23505", "ValidationError"],
      ["42P01", "ConfigurationError"],
      ["42501", "AuthorizationError"],
      ["53100", "CriticalError"]
    ] as const
    for (const [code, tag] of expected) {
      yield* proxy.fault({ _tag: "FailQuery", code, message: "injected" }, { containing: "SELECT 1", times: 1 })
      assert.deepStrictEqual(yield* sql`SELECT 2::int AS two`, [{ two: 2 }])
      const { code: seen, tag: found } = yield* classified(sql`SELECT 1`)
      assert.deepStrictEqual([seen, found], [code, tag])
    }
    assert.deepStrictEqual(yield* sql`SELECT 3::int AS three`, [{ three: 3 }])
    assert.strictEqual((yield* proxy.counts).connections, 1)
  }))

live("a failed query fails its transaction, and the next one is well", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`DROP TABLE IF EXISTS t`
    yield* sql`CREATE TABLE t (id int)`
    yield* proxy.fault({ _tag: "FailQuery", code: "40P01", message: "deadlock detected" }, {
      containing: "INSERT",
      after: 1,
      times: 1
    })
    const twice = sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (1)`, sql`INSERT INTO t VALUES (2)`))
    assert.strictEqual((yield* classified(twice)).code, "40P01")
    assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM t`, [{ n: 0 }])
    yield* twice
    assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM t`, [{ n: 2 }])
    // As with a real server, nothing is left of a transaction whose COMMIT fails.
    yield* proxy.fault({ _tag: "FailQuery", code: "40001", message: "could not serialize access" }, {
      containing: "COMMIT",
      times: 1
    })
    assert.strictEqual((yield* classified(twice)).code, "40001")
    assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM t`, [{ n: 2 }])
  }))

live(
  "a transaction that goes on after an injected error is refused by the server itself",
  () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp()
      const sql = yield* client
      yield* sql`DROP TABLE IF EXISTS t`
      yield* sql`CREATE TABLE t (id int)`
      yield* proxy.fault({ _tag: "FailQuery", code: "40001", message: "could not serialize access" }, {
        containing: "INSERT",
        times: 1
      })
      const careless = sql.withTransaction(
        Effect.andThen(Effect.ignore(sql`INSERT INTO t VALUES (1)`), sql`INSERT INTO t VALUES (2)`)
      )
      assert.strictEqual((yield* classified(careless)).code, "25P02")
      assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM t`, [{ n: 0 }])
    })
)

/** Every text, and what it means: whether another attempt helps hangs on it alone. */
const texts: { readonly [text in keyof typeof PostgresProxy.neon]: readonly [tag: ReasonTag, detail?: string] } = {
  computeUnreachable: ["ServiceUnavailableError", "TooManyConnections"],
  tooManyAttempts: ["ServiceUnavailableError", "TooManyConnections"],
  tooManyConnections: ["ServiceUnavailableError", "TooManyConnections"],
  controlPlane: ["ServiceUnavailableError"],
  slotsReserved: ["ServiceUnavailableError", "TooManyConnections"],
  tooManyClients: ["ServiceUnavailableError", "TooManyConnections"],
  terminated: ["ServiceUnavailableError"],
  authenticationTimeout: ["TimeoutError"],
  queryWaitTimeout: ["TimeoutError"],
  endpointMissing: ["ConfigurationError"],
  endpointIdMissing: ["ConfigurationError"],
  endpointDisabled: ["ConfigurationError"],
  databaseMissing: ["ConfigurationError"],
  startupParameter: ["ConfigurationError"],
  quota: ["ConfigurationError", "QuotaExhausted"],
  checkQuotas: ["ConfigurationError", "QuotaExhausted"],
  activeEndpoints: ["ConfigurationError", "QuotaExhausted"],
  password: ["AuthenticationError"],
  notAllowed: ["AuthorizationError"],
  blockedNetwork: ["AuthorizationError"],
  vpcEndpoint: ["AuthorizationError"]
}
live(
  "XX000 texts: refuses connections in each of Neon's words, and the classifier tells why",
  () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp()
      for (const text of Object.keys(texts) as Array<keyof typeof texts>) {
        const id = yield* proxy.fault(PostgresProxy.refusedByNeon(text))
        const error = yield* Effect.flip(Effect.scoped(Effect.flatMap(client, (sql) => sql`SELECT 1`)))
        const found = Classifier.classify(error, { provider: "neon", operation: "connect", phase: "connect" })
        const [tag, detail] = texts[text]
        assert.deepStrictEqual(
          [found.tag, found.detail, found.code, found.delivered],
          [tag, detail, "XX000", "no"],
          text
        )
        assert.strictEqual(found.retryable, tag === "ServiceUnavailableError" || tag === "TimeoutError", text)
        yield* proxy.clear(id)
      }
      assert.deepStrictEqual(yield* (yield* client)`SELECT 1::int AS one`, [{ one: 1 }])
    })
)

live("resets a query before it is done, or after", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`DROP TABLE IF EXISTS t`
    yield* sql`CREATE TABLE t (id int)`
    for (const at of ["query", "answer"] as const) {
      yield* proxy.fault({ _tag: "ResetQuery", at }, { containing: "INSERT", times: 1 })
      assert.strictEqual((yield* classified(sql`INSERT INTO t VALUES (1)`)).tag, "NetworkError")
      assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM t`, [{ n: at === "query" ? 0 : 1 }])
    }
  }))

live("a session that is terminated is replaced", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`SELECT 1`
    const terminate = {
      _tag: "Terminate",
      code: "57P01",
      message: "terminating connection due to administrator command"
    } as const
    yield* proxy.fault(terminate, { times: 1 })
    const { tag } = yield* classified(sql`SELECT 1`)
    assert.include(["NetworkError", "ServiceUnavailableError"], tag)
    assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
    for (const how of ["silent", "told"] as const) {
      assert.strictEqual(yield* proxy.closeIdle(how), 1)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* sql`SELECT 1::int AS one`, [{ one: 1 }])
    }
    assert.strictEqual((yield* proxy.counts).connections, 4)
  }))

live("delays and stalls, at connect and at a query", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const took = <A, E, R>(self: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.timed(self), ([duration]) => Duration.toMillis(duration))
    const cold = yield* took(
      Effect.flatMap(client, (sql) => sql`SELECT 1`).pipe(
        proxy.during({ _tag: "DelayConnection", millis: 120 }, { times: 1 })
      )
    )
    assert.isAtLeast(cold, 115)
    const sql = yield* client
    yield* sql`SELECT 1`
    assert.isAtLeast(yield* took(sql`SELECT 1`.pipe(proxy.during({ _tag: "DelayQuery", millis: 60 }))), 55)
    yield* proxy.fault({ _tag: "StallQuery" }, { times: 1 })
    assert.strictEqual((yield* Effect.timeoutOption(sql`SELECT 1`, "80 millis"))._tag, "None")
    yield* proxy.fault({ _tag: "StallConnection" })
    const stalled = yield* Effect.result(Effect.timeout(Effect.flatMap(client, (sql) => sql`SELECT 1`), "80 millis"))
    assert.isTrue(Result.isFailure(stalled))
  }))

live("limits connections as a server does", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp({ maxConnections: 2 }, { maxConnections: 4 })
    const sql = yield* client
    const slow = yield* Effect.forkChild(
      Effect.all([sql`SELECT pg_sleep(0.2)`, sql`SELECT pg_sleep(0.2)`], { concurrency: 2 })
    )
    yield* Effect.sleep("100 millis")
    const { tag } = yield* classified(Effect.timeout(sql`SELECT 1`, "5 seconds"))
    assert.strictEqual(tag, "ServiceUnavailableError")
    yield* Fiber.join(slow)
    yield* proxy.limit(Infinity)
    assert.strictEqual((yield* Effect.all([sql`SELECT 1`, sql`SELECT 1`, sql`SELECT 1`], { concurrency: 3 })).length, 3)
  }))

live("is stopped and started on the same port: connecting is refused meanwhile", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`SELECT 1`
    yield* proxy.stop
    const { code, delivered, tag } = yield* classified(Effect.timeout(sql`SELECT 1`, "10 seconds"))
    assert.include(["NetworkError"], tag, `${code} ${delivered}`)
    yield* proxy.start
    // The pool may still be telling of an attempt that began while it was refused.
    const again = Effect.retry(sql`SELECT 1::int AS one`, { times: 10, schedule: Schedule.spaced("50 millis") })
    assert.deepStrictEqual(yield* again, [{ one: 1 }])
  }))

/** A client that says what it likes, when it likes: the proxy's own words in the order in which they come. */
const raw = Effect.fnUntraced(function*(port: number) {
  const said: Array<string> = []
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  socket.on("error", () => {})
  socket.on("data", framesOf((type, body) => void said.push(`${type} ${body.toString("latin1")}`)))
  const greeting = message("?", Buffer.from("\0\x03\0\0user\0holdfast\0database\0postgres\0\0", "latin1"))
  socket.write(greeting.subarray(1))
  /** Answers and errors, as the client sees them up to so many times of being ready. */
  const until = (ready: number) =>
    Effect.map(
      eventually(Effect.sync(() => said), (said) => said.filter((it) => it.startsWith("Z")).length >= ready),
      (said) => said.flatMap((it) => /^[DE].*?(one|two|three|injected|aborted)/s.exec(it)?.[1] ?? [])
    )
  yield* until(1)
  return {
    socket,
    until,
    send: (...queries: ReadonlyArray<string>) =>
      socket.write(Buffer.concat(queries.map((sql) => message("Q", Buffer.from(`${sql}\0`)))))
  }
})

live("answers in order a client that does not wait for answers", () =>
  Effect.gen(function*() {
    const { proxy } = yield* setUp()
    const fault = proxy.fault({ _tag: "FailQuery", code: "40001", message: "injected" }, {
      containing: "'two'",
      times: 1
    })
    const { send, until } = yield* raw(proxy.port)
    yield* fault
    send("SELECT 'one' FROM pg_sleep(0.05)", "SELECT 'two'", "SELECT 'three'")
    assert.deepStrictEqual(yield* until(4), ["one", "injected", "three"])
    yield* fault
    send("BEGIN", "SELECT 'one' FROM pg_sleep(0.05)")
    yield* until(6)
    send("SELECT 'two'", "SELECT 'three'", "ROLLBACK", "SELECT 'three'")
    assert.deepStrictEqual((yield* until(10)).slice(3), ["one", "injected", "aborted", "three"])
  }))

live("leaves alone who is no client, and ends though a client does not listen", () =>
  Effect.gen(function*() {
    const proxy = yield* Effect.scoped(Effect.gen(function*() {
      const { proxy } = yield* setUp()
      yield* raw(proxy.port)
      const stranger = connect(proxy.port, "127.0.0.1", () => stranger.write(Buffer.alloc(8)))
      yield* Effect.callback<void>((resume) => {
        stranger.on("error", () => {})
        stranger.on("close", () => resume(Effect.void))
      })
      assert.strictEqual(yield* eventually(proxy.connections, (open) => open === 1), 1)
      const deaf = yield* raw(proxy.port)
      deaf.socket.pause()
      deaf.send("SELECT repeat('x', 1000000) FROM generate_series(1, 20)")
      yield* proxy.fault({ _tag: "Terminate", code: "57P01", message: "bye" }, { containing: "bye" })
      deaf.send("SELECT 'bye'")
      yield* eventually(proxy.connections, (open) => open === 1)
      return proxy
    }))
    assert.strictEqual(yield* proxy.connections, 0)
  }))

live("takes for idle no session whose query it delays", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* setUp()
    const sql = yield* client
    yield* sql`SELECT 0`
    yield* proxy.fault({ _tag: "DelayQuery", millis: 100 }, { times: 1 })
    const before = (yield* proxy.counts).queries
    const fiber = yield* Effect.forkChild(sql`SELECT 1::int AS one`)
    yield* eventually(proxy.counts, ({ queries }) => queries > before)
    assert.strictEqual(yield* proxy.closeIdle(), 0)
    assert.deepStrictEqual(yield* Fiber.join(fiber), [{ one: 1 }])
    assert.strictEqual(yield* proxy.closeIdle(), 1)
  }))

it("reads a message of any length in parts of any", () => {
  const given = [["D", 40_000_000], ["Z", 1], ["C", 0]] as const
  const bytes = Buffer.concat(given.map(([type, length]) => message(type, Buffer.alloc(length, type))))
  for (const size of [16_384, bytes.length]) {
    const seen: Array<readonly [string, number]> = []
    const take = framesOf((type, body) => void seen.push([type, body.length]))
    for (let at = 0; at < bytes.length; at += size) take(bytes.subarray(at, at + size))
    assert.deepStrictEqual(seen, [...given])
  }
  const seen: Array<string> = []
  const take = framesOf((type, body) => void seen.push(type + body.toString()))
  for (const byte of Buffer.concat([message("Q", Buffer.from("abc")), message("S", Buffer.alloc(0))])) {
    take(Buffer.of(byte))
  }
  assert.deepStrictEqual(seen, ["Qabc", "S"])
})

it.live("refuses a fault that would hit always or never, and a limit that is none", () =>
  Effect.gen(function*() {
    const upstream = { host: "127.0.0.1", port: 1 }
    const proxy = yield* PostgresProxy.make({ upstream })
    const stall: PostgresProxy.Fault = { _tag: "StallQuery" }
    const wrong: ReadonlyArray<readonly [field: string, Effect.Effect<unknown, unknown, Scope.Scope>]> = [
      ["times", proxy.fault(stall, { times: 0 })],
      ["probability", proxy.fault(stall, { probability: NaN })],
      ["fault.millis", proxy.fault({ _tag: "DelayQuery", millis: -1 })],
      ["connections", proxy.limit(NaN)],
      ["maxConnections", PostgresProxy.make({ upstream, maxConnections: -1 })]
    ]
    for (const [field, effect] of wrong) {
      const defect = yield* Effect.catchDefect(effect, Effect.succeed)
      assert.strictEqual(defect instanceof InvalidOptions ? defect.field : defect, field)
    }
  }))
