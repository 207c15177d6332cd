/** The note that a running server leaves in its directory, so that other commands ask it instead of the locked store. */
import { Effect, FileSystem, Option, Path, Redacted, Schema } from "effect"
import { createHash } from "node:crypto"
import type { Configuration } from "./Configuration.ts"

const Note = Schema.fromJsonString(Schema.Struct({
  pid: Schema.Int,
  url: Schema.String,
  /** Which database the server stands on: a digest, since the address holds a password. Empty for the embedded one. */
  database: Schema.String
}))

type Home = Pick<Configuration, "directory" | "databaseUrl">

const databaseOf = ({ databaseUrl }: Home): string =>
  databaseUrl === undefined ? "" : createHash("sha256").update(Redacted.value(databaseUrl)).digest("hex")
const encode = Schema.encodeSync(Note)
const decode = Schema.decodeUnknownOption(Note)

const pathOf = (directory: string) => Effect.map(Path.Path, (path) => path.join(directory, "server.json"))

/** Leaves the note for as long as the scope is open. */
export const leave = Effect.fnUntraced(function*(home: Home, url: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* pathOf(home.directory)
  yield* Effect.acquireRelease(
    fs.writeFileString(path, encode({ pid: process.pid, url, database: databaseOf(home) })),
    () => Effect.ignore(fs.remove(path))
  )
})

/**
 * Where a server of this directory and database answers, if one runs. A note of a process that died counts for nothing,
 * and a server on another database is somebody else's.
 */
export const find = Effect.fnUntraced(function*(home: Home) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.option(fs.readFileString(yield* pathOf(home.directory)))
  const note = Option.filter(Option.flatMap(text, decode), ({ database }) => database === databaseOf(home))
  return yield* Option.match(note, {
    onNone: () => Effect.succeedNone,
    onSome: ({ pid, url }) => Effect.map(isAlive(pid), (alive) => alive ? Option.some(url) : Option.none())
  })
})

/** Signal 0 asks and does nothing. A process of another user is alive, too. */
const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.try({ try: () => process.kill(pid, 0), catch: (error) => error }).pipe(
    Effect.catch((error) => Effect.succeed(error instanceof Error && "code" in error && error.code === "EPERM"))
  )
