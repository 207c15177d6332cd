/** The embedded Postgres for tests that are not about making one: that takes seconds, copying one does not. */
import { Effect, Layer } from "effect"
import { constants } from "node:fs"
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as EmbeddedPostgres from "../src/vectorstore/EmbeddedPostgres.ts"
import { openDatabase } from "../src/vectorstore/internal/pglite.ts"

const modules = join(import.meta.dirname, "..", "node_modules")

const version = async (name: string): Promise<string> =>
  JSON.parse(await readFile(join(modules, "@electric-sql", name, "package.json"), "utf8")).version

/** Stays from run to run, for as long as the packages are the same. */
const template = Effect.promise(async () => {
  const name = `postgres-${await version("pglite")}-${await version("pglite-pgvector")}`
  const folder = join(modules, ".cache", "holdfast", name)
  if ((await stat(folder).catch(() => undefined)) !== undefined) return folder
  await mkdir(dirname(folder), { recursive: true })
  const making = await mkdtemp(`${folder}-`)
  const database = await openDatabase(making)
  await database.close()
  // Of two that make it at once the first one's is taken.
  await rename(making, folder).catch(() => rm(making, { recursive: true }))
  return folder
})

/** A directory for `HOLDFAST_DIRECTORY`, with an empty database in it; gone with the scope. */
export const home = Effect.acquireRelease(
  Effect.flatMap(template, (postgres) =>
    Effect.promise(async () => {
      const folder = await mkdtemp(join(tmpdir(), "holdfast-"))
      await cp(postgres, join(folder, "postgres"), { recursive: true, mode: constants.COPYFILE_FICLONE })
      return folder
    })),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** A database of its own in this thread. */
export const layer = Layer.unwrap(
  Effect.map(home, (folder) => EmbeddedPostgres.layer({ inProcess: true, directory: join(folder, "postgres") }))
)
