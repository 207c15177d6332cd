/** A transaction whose failure is told as what it was, also where the connection died under it. */
import { type Cause, Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/**
 * Runs the effect in a transaction.
 *
 * **Gotchas**
 *
 * `sql.withTransaction` alone makes a defect of a rollback that fails, and loses for it what the effect failed with. A
 * backend that was terminated cannot roll back, and need not: the server has done so.
 */
export const transaction = <A, E, R>(sql: SqlClient, self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
  Effect.suspend(() => {
    let failed: Cause.Cause<E> | undefined
    return sql.withTransaction(Effect.tapCause(self, (cause) => Effect.sync(() => void (failed = cause)))).pipe(
      Effect.catchCause((cause) => Effect.failCause<E | SqlError>(failed ?? cause))
    )
  })
