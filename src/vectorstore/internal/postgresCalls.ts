/**
 * How a store calls Postgres: the tables are made at the first call, a call is one statement or a transaction, both with
 * a limit, one writes at a time, and every failure is classified.
 */
import { Clock, Effect, Semaphore } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import * as Classifier from "../../Classifier.ts"
import * as Event from "../../Event.ts"
import { ProviderError, TimeoutError } from "../../ProviderError.ts"
import type { EmbeddingSpace } from "../Embedder.ts"
import { migrate, type Tables, takeLock } from "./postgresSchema.ts"
import * as Vectors from "./postgresVectors.ts"
import { transaction } from "./transaction.ts"

export interface Options {
  /** The store's, in errors. */
  readonly name: string
  readonly space: EmbeddingSpace | undefined
  readonly statementTimeoutMillis: number
}

/** What is known of the database once its tables are there. */
export interface Ready {
  readonly vectors: Vectors.Vectors
}

export type Calls = Effect.Success<ReturnType<typeof make>>

export const make = Effect.fnUntraced(function*(sql: SqlClient, t: Tables, options: Options) {
  const { name, space } = options
  // The most that the setting holds, 24 days; 0 is no limit.
  const limit = Math.min(2_147_483_647, Math.ceil(options.statementTimeoutMillis))
  const timeout = String(limit)
  const classifier = yield* Classifier.Classifier
  const sink = yield* Event.Sink
  const preparing = yield* Semaphore.make(1)
  let state: Ready | undefined

  const typed = (operation: string) => <A, R>(self: Effect.Effect<A, SqlError | ProviderError, R>) =>
    Effect.mapError(self, (error): ProviderError => {
      if (error instanceof ProviderError) return error
      const { operation: step } = error.reason
      const phase = step === "connect" || step === "commit" ? step : "query"
      const provided = classifier.toError(error, { provider: name, operation, phase })
      // Somebody took the tables away: the next call makes them again.
      if (provided.reason.detail === "MigrationMissing") state = undefined
      return provided
    })

  const prepare = Effect.gen(function*() {
    yield* migrate(sql, t)
    const vectors = yield* Vectors.prepare(sql, t, space)
    if (vectors._tag === "None" && space !== undefined) {
      yield* Effect.logWarning(`${name} finds words only: ${vectors.why}`)
      sink?.(Event.Noted.make({
        at: yield* Clock.currentTimeMillis,
        subject: name,
        message: `Words only: ${vectors.why}`
      }))
    }
    return (state = { vectors })
  })
  const ready: Effect.Effect<Ready, SqlError> = Effect.suspend(() =>
    state !== undefined
      ? Effect.succeed(state)
      : Semaphore.withPermit(preparing, Effect.suspend(() => state === undefined ? prepare : Effect.succeed(state)))
  )

  /** Limits hold for one transaction only: a pooler hands the connection to somebody else after it. */
  const limits = (vectors: Vectors.Vectors, limit: number): Fragment =>
    vectors._tag === "None"
      ? sql`set_config('statement_timeout', ${timeout}, true)`
      : sql`set_config('statement_timeout', ${timeout}, true), ${Vectors.setUp(sql, vectors, limit)}`

  const overdue = (operation: string) =>
    new ProviderError({
      provider: name,
      operation,
      reason: new TimeoutError({
        message: `The statement was not done within ${limit} ms`,
        rule: "postgres/statement-limit",
        delivered: "unknown",
        code: "57014"
      })
    })

  return {
    typed,
    /** Makes the tables where they are missing. */
    ready,
    /** What was found at the first call; undefined before it. */
    known: (): Ready | undefined => state,
    /**
     * Statements that need no transaction. They end at the limit because they are cancelled from here, which takes one
     * trip to the server where a transaction with the server's limit takes four.
     */
    plain: <A>(operation: string, ask: (ready: Ready) => Effect.Effect<A, SqlError>) =>
      Effect.flatMap(ready, (ready) =>
        limit === 0
          ? ask(ready)
          : Effect.timeoutOrElse(ask(ready), { duration: limit, orElse: () => Effect.fail(overdue(operation)) })).pipe(
          typed(operation)
        ),
    /** A search. `limit` is how many neighbours one through the index of vectors is for. */
    reading: <A>(operation: string, limit: number, read: (ready: Ready) => Effect.Effect<A, SqlError>) =>
      ready.pipe(
        Effect.flatMap((ready) =>
          transaction(sql, Effect.andThen(sql`SELECT ${limits(ready.vectors, limit)}`, read(ready)))
        ),
        typed(operation)
      ),
    /** One writer at a time for each schema: two that change the same terms in different orders would lock each other out. */
    writing: <A>(operation: string, write: (ready: Ready) => Effect.Effect<A, SqlError>) =>
      ready.pipe(
        Effect.flatMap((ready) =>
          transaction(
            sql,
            // Two statements: a limit does not hold for the one that sets it, and the wait for the lock is to be limited.
            Effect.andThen(
              sql`SELECT ${limits(ready.vectors, 1)}`,
              Effect.andThen(sql`SELECT ${takeLock(sql, t.schema)}`, write(ready))
            )
          )
        ),
        typed(operation)
      )
  }
})
