/** Postgres for the commands: the embedded one in the directory, or the one of `DATABASE_URL`. */
import { Layer } from "effect"
import { join } from "node:path"
import * as EmbeddedPostgres from "../vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../vectorstore/Embedder.ts"
import * as NeonStore from "../vectorstore/NeonStore.ts"
import type { Configuration } from "./Configuration.ts"

export const layer = (
  { databaseUrl, directory }: Pick<Configuration, "databaseUrl" | "directory">,
  /** Whether what is missing is made in the background, in a process that stays for more than a moment. */
  tended = true
) =>
  (tended ? NeonStore.layerTended() : NeonStore.layer()).pipe(
    Layer.provide(
      databaseUrl === undefined
        ? EmbeddedPostgres.layer({ directory: join(directory, "postgres") })
        : NeonStore.layerPool({ url: databaseUrl })
    ),
    Layer.provide(Embedder.local)
  )
