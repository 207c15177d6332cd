/** Postgres for the commands: the embedded one in the directory, or the one of `DATABASE_URL`. */
import { Effect, Layer } from "effect"
import { join } from "node:path"
import * as EmbeddedPostgres from "../vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../vectorstore/Embedder.ts"
import * as NeonStore from "../vectorstore/NeonStore.ts"
import * as OutboxQueue from "../vectorstore/OutboxQueue.ts"
import type { Configuration } from "./Configuration.ts"

type Where = Pick<Configuration, "databaseUrl" | "directory">

const database = ({ databaseUrl, directory }: Where) =>
  databaseUrl === undefined
    ? EmbeddedPostgres.layer({ directory: join(directory, "postgres") })
    : NeonStore.layerPool({ url: databaseUrl })

/** The embedded database makes no index of vectors: that would take its only connection for minutes. */
const options = ({ databaseUrl }: Where): NeonStore.Options => databaseUrl === undefined ? { indexFrom: Infinity } : {}

/** A store with all that it needs. */
export type Store = ReturnType<typeof layer>

/**
 * The store, and the queue of what is on its way to it, in one database: the embedded one bears no second connection.
 * What is missing in the store is made in the background.
 */
export const lasting = Effect.fnUntraced(function*(where: Where) {
  const given = Layer.succeedContext(yield* Layer.build(database(where)))
  return {
    store: NeonStore.layerTended(options(where)).pipe(Layer.provide(given), Layer.provide(Embedder.local)),
    queue: yield* Layer.build(Layer.provide(OutboxQueue.layerPostgres, given))
  }
})

/** The store and its database, for a process that stays for a moment. */
export const layer = (where: Where) =>
  NeonStore.layer(options(where)).pipe(Layer.provide(database(where)), Layer.provide(Embedder.local))
