/** Each way a PostgreSQL server, a pooler or Neon's proxy fails, as the store tells it, and that the store goes on after. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { ReasonTag } from "../../src/ProviderError.ts"
import { PostgresProxy } from "../../src/testing/index.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { Document, DocumentId, type Service } from "../../src/vectorstore/VectorStore.ts"
import * as Postgres from "../testing/postgresServer.ts"

const scope = Scope.makeUnsafe()
let server: { readonly host: string; readonly port: number } | undefined
beforeAll(async () => {
  if (Postgres.missing === undefined) server = await Effect.runPromise(Scope.provide(Postgres.start, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

let schemas = 0
/** A store of three documents behind a proxy. */
const setUp = Effect.fnUntraced(function*() {
  const proxy = yield* PostgresProxy.make({ upstream: server! })
  const url = Redacted.make(`postgres://holdfast:none@${proxy.host}:${proxy.port}/postgres`)
  const schema = `faults_${schemas++}`
  const context = yield* Layer.build(NeonStore.layerPool({ url, maxConnections: 1 }))
  const store = yield* Effect.provide(NeonStore.makeLexical({ schema }), context)
  yield* store.addMany([1, 2, 3].map(document))
  /** The same by a pool of its own, made for the call. */
  const apart = <A, E>(use: (store: Service) => Effect.Effect<A, E>) =>
    Effect.flatMap(Effect.orDie(NeonStore.makeLexical({ schema })), use).pipe(
      Effect.provide(NeonStore.layerPool({ url }))
    )
  return { apart, proxy, schema, store }
})

const document = (i: number): Document =>
  Document.make({ id: DocumentId.make(`d${i}`), content: `zebras graze number ${i}` })

const live = (name: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, (context) => {
    context.skip(Postgres.missing !== undefined, Postgres.missing)
    return test()
  }, 30_000)

const gone = { code: "57P01", message: "terminating connection due to administrator command" } as const

const errors: ReadonlyArray<readonly [code: string, message: string, tag: ReasonTag]> = [
  ["55P03", "canceling statement due to lock timeout", "TemporaryFailureError"],
  ["57014", "canceling statement due to statement timeout", "TimeoutError"],
  ["40001", "could not serialize access due to concurrent update", "TemporaryFailureError"],
  ["40P01", "deadlock detected", "TemporaryFailureError"],
  ["25P02", "current transaction is aborted, commands ignored until end of transaction block", "UnknownError"],
  ["53100", "could not extend file: No space left on device", "CriticalError"],
  ["22000", "expected 1536 dimensions, not 3", "ValidationError"]
]
for (const [code, message, tag] of errors) {
  live(
    `${code} of a statement is ${tag}, for reads and writes, and the next call is well`,
    () =>
      Effect.gen(function*() {
        const { proxy, store } = yield* setUp()
        for (
          const [containing, call] of [["scored", store.search({ query: "zebras" })], [
            "INSERT",
            store.add(document(4))
          ]] as const
        ) {
          yield* proxy.fault({ _tag: "FailQuery", code, message }, { containing, times: 1 })
          const error = yield* Effect.flip(call)
          assert.strictEqual(error.reason._tag, tag)
          assert.strictEqual(error.reason.code, code)
          yield* call
        }
        assert.strictEqual((yield* store.stats).documents, 4)
      })
  )
}

live(
  "57P01 and 25P03 end the session within a transaction: a failure, no defect, and nothing of it is stored",
  () =>
    Effect.gen(function*() {
      const { proxy, store } = yield* setUp()
      const idle = { code: "25P03", message: "terminating connection due to idle-in-transaction timeout" } as const
      for (const told of [gone, idle]) {
        for (
          const [containing, call] of [["INSERT", store.add(document(9))], [
            "scored",
            store.search({ query: "zebras" })
          ]] as const
        ) {
          yield* proxy.fault({ _tag: "Terminate", ...told }, { containing, times: 1 })
          const error = yield* Effect.flip(call)
          assert.include(["NetworkError", "ServiceUnavailableError", "TemporaryFailureError"], error.reason._tag)
          assert.strictEqual(error.verdicts.breaker, "Failure")
          assert.strictEqual((yield* store.stats).documents, 3)
        }
      }
    })
)

live("a real backend killed within a transaction is a failure, and the store goes on", () =>
  Effect.gen(function*() {
    const { schema, store } = yield* setUp()
    const admin = yield* Effect.flatMap(
      Layer.build(
        NeonStore.layerPool({ url: Redacted.make(`postgres://holdfast:none@${server!.host}:${server!.port}/postgres`) })
      ),
      (context) => Effect.provide(SqlClient, context)
    )
    // The statement that kills its own backend stands in the middle of the write.
    yield* admin`CREATE FUNCTION ${admin(schema)}.die() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$`
    yield* admin`CREATE TRIGGER die BEFORE INSERT ON ${admin(schema)}.documents FOR EACH ROW
      EXECUTE FUNCTION ${admin(schema)}.die()`
    const error = yield* Effect.flip(store.add(document(9)))
    assert.include(["NetworkError", "ServiceUnavailableError"], error.reason._tag)
    yield* admin`DROP TRIGGER die ON ${admin(schema)}.documents`
    assert.deepStrictEqual(yield* store.get(DocumentId.make("d9")), Option.none())
    yield* store.add(document(9))
    assert.strictEqual((yield* store.stats).documents, 4)
  }))

live("57P01 of an idle connection costs no call", () =>
  Effect.gen(function*() {
    const { proxy, store } = yield* setUp()
    for (const how of ["told", "silent"] as const) {
      assert.strictEqual(yield* proxy.closeIdle(how), 1)
      yield* Effect.sleep("50 millis")
      assert.strictEqual((yield* store.search({ query: "zebras" })).hits.length, 3)
    }
  }))

live("an answer that is lost: a batch is unknown or repeated, and stored once", () =>
  Effect.gen(function*() {
    const { proxy, store } = yield* setUp()
    yield* proxy.fault({ _tag: "ResetQuery", at: "answer" }, { containing: "COMMIT", times: 1 })
    const batch = [4, 5, 6].map(document)
    const lost = yield* Effect.flip(store.addMany(batch, { operationId: "op" }))
    assert.strictEqual(lost.reason.delivered, "unknown")
    const { items } = yield* store.addMany(batch, { operationId: "op" })
    assert.isTrue(items.every(({ _tag }) => _tag === "AlreadyStored"))
    assert.strictEqual((yield* store.stats).documents, 6)
  }))

const refusals: ReadonlyArray<readonly [name: string, fault: PostgresProxy.Fault, tag: ReasonTag]> = [
  [
    "57P03",
    { _tag: "RefuseConnection", code: "57P03", message: "the database system is starting up" },
    "ServiceUnavailableError"
  ],
  [
    "53300",
    { _tag: "RefuseConnection", code: "53300", message: "sorry, too many clients already" },
    "ServiceUnavailableError"
  ],
  ["a suspended compute", PostgresProxy.refusedByNeon("computeUnreachable"), "ServiceUnavailableError"],
  ["the control plane", PostgresProxy.refusedByNeon("controlPlane"), "ServiceUnavailableError"],
  ["Neon's quota", PostgresProxy.refusedByNeon("quota"), "ConfigurationError"],
  ["Neon's missing endpoint", PostgresProxy.refusedByNeon("endpointMissing"), "ConfigurationError"],
  ["Neon's disabled endpoint", PostgresProxy.refusedByNeon("endpointDisabled"), "ConfigurationError"],
  ["SNI that is missing", PostgresProxy.refusedByNeon("endpointIdMissing"), "ConfigurationError"],
  ["Neon's password", PostgresProxy.refusedByNeon("password"), "AuthenticationError"],
  ["Neon's list of addresses", PostgresProxy.refusedByNeon("notAllowed"), "AuthorizationError"]
]
live("refusals at connect are told apart, and were not delivered", () =>
  Effect.gen(function*() {
    const { apart, proxy } = yield* setUp()
    for (const [name, fault, tag] of refusals) {
      yield* Effect.gen(function*() {
        const error = yield* Effect.flip(apart((store) => store.add(document(7))))
        if (error._tag === "InvalidOptions") return assert.fail(error.message)
        assert.strictEqual(error.reason._tag, tag, name)
        assert.strictEqual(error.reason.delivered, "no", name)
      }).pipe(proxy.during(fault))
    }
  }))

live("a database that takes 6 seconds to wake is waited for, and no failure", () =>
  Effect.gen(function*() {
    const { apart, proxy } = yield* setUp()
    yield* proxy.fault({ _tag: "DelayConnection", millis: 6_000 }, { times: 1 })
    assert.strictEqual((yield* apart((store) => store.search({ query: "zebras" }))).hits.length, 3)
  }))
