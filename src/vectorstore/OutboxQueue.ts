/** A queue in Postgres for the `Outbox`: what is on its way to a mirror outlives the process. */
import { Context, Effect, Layer, Scope, Semaphore } from "effect"
import { PersistedQueue } from "effect/persistence"
import { SqlClient } from "effect/sql/SqlClient"

/** An element that was not delivered yet. */
export interface Waits {
  readonly id: string
  /** As it was offered, in JSON. */
  readonly element: string
  readonly ageMillis: number
}

/** What is in queues that outlive the process, whoever put it there. */
export class Backlog extends Context.Service<Backlog, {
  /** What waits to be delivered, the oldest first; not what was offered with a delay that has not passed. */
  readonly read: (queue: string) => Effect.Effect<ReadonlyArray<Waits>, PersistedQueue.PersistedQueueError>
  /** Takes elements out again, as far as they are there. */
  readonly withdraw: (
    queue: string,
    ids: ReadonlyArray<string>
  ) => Effect.Effect<void, PersistedQueue.PersistedQueueError>
}>()("holdfast/vectorstore/OutboxQueue/Backlog") {}

const tableName = "holdfast_outbox"

/**
 * Queues in the context's store, from which what was delivered is removed: each entry has an id of its own, so that
 * keeping it would keep nothing from being told twice.
 */
export const layerTidy: Layer.Layer<
  PersistedQueue.PersistedQueueFactory,
  never,
  PersistedQueue.PersistedQueueStore
> = Layer.merge(PersistedQueue.layer, PersistedQueue.layerCleanup({ interval: "10 minutes", timeToLive: "10 minutes" }))

/**
 * Effect's `PersistedQueue` in the context's database, and what waits there.
 *
 * **Details**
 *
 * The table, `holdfast_outbox`, is made when the database first answers, so that a program starts without it; until then
 * to offer and to take fail. What was delivered is removed after ten minutes; what waits for a mirror that is configured no
 * more stays, for the case that it is again.
 */
export const layerPostgres: Layer.Layer<PersistedQueue.PersistedQueueFactory | Backlog, never, SqlClient> = Layer
  .unwrap(Effect.gen(function*() {
    const sql = yield* SqlClient
    const scope = yield* Effect.scope
    const lock = yield* Semaphore.make(1)
    let made: PersistedQueue.PersistedQueueStore["Service"] | undefined
    const unanswered = (cause: unknown) =>
      new PersistedQueue.PersistedQueueError({ message: "The queue does not answer", cause })
    const make = PersistedQueue.makeStoreSql({ tableName, pollInterval: "5 seconds" }).pipe(
      Effect.provideService(SqlClient, sql),
      Effect.provideService(Scope.Scope, scope),
      Effect.tap((store) =>
        Effect.sync(() => {
          made = store
        })
      ),
      // That its table cannot be made is a defect there, and an outage here.
      Effect.catchDefect((defect) => Effect.fail(defect)),
      Effect.mapError(unanswered)
    )
    const store = Semaphore.withPermit(lock, Effect.suspend(() => made === undefined ? make : Effect.succeed(made)))
    const lazy = PersistedQueue.PersistedQueueStore.of({
      offer: (element) => Effect.flatMap(store, ({ offer }) => offer(element)),
      take: (options) => Effect.flatMap(store, ({ take }) => take(options)),
      cleanup: (options) => made === undefined ? Effect.void : made.cleanup(options)
    })
    const asked = <A, E>(self: Effect.Effect<A, E>) => Effect.mapError(Effect.andThen(store, self), unanswered)
    const backlog = Backlog.of({
      read: (queue) =>
        asked(
          sql<Waits>`SELECT id, element, (extract(epoch FROM now()::timestamp - created_at::timestamp) * 1000)::float8
            AS "ageMillis" FROM ${sql(tableName)}
            WHERE queue_name = ${queue} AND state = 'pending' AND (attempts > 0 OR visible_at <= now())
            ORDER BY sequence`
        ),
      withdraw: (queue, ids) =>
        asked(sql`DELETE FROM ${sql(tableName)} WHERE queue_name = ${queue} AND ${sql.in("id", ids)}`)
    })
    return Layer.merge(
      Layer.succeed(Backlog, backlog),
      Layer.provide(layerTidy, Layer.succeed(PersistedQueue.PersistedQueueStore, lazy))
    )
  }))
