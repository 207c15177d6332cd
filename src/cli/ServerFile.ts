/** The note that a running server leaves in its directory, so that other commands ask it instead of the locked store. */
import { Effect, FileSystem, Option, Path, Schema } from "effect"

const Note = Schema.fromJsonString(Schema.Struct({ pid: Schema.Int, url: Schema.String }))
const encode = Schema.encodeSync(Note)
const decode = Schema.decodeUnknownOption(Note)

const pathOf = (directory: string) => Effect.map(Path.Path, (path) => path.join(directory, "server.json"))

/** Leaves the note for as long as the scope is open. */
export const leave = Effect.fnUntraced(function*(directory: string, url: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* pathOf(directory)
  yield* Effect.acquireRelease(
    fs.writeFileString(path, encode({ pid: process.pid, url })),
    () => Effect.ignore(fs.remove(path))
  )
})

/** Where a server of this directory answers, if one runs. A note of a process that died counts for nothing. */
export const find = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.option(fs.readFileString(yield* pathOf(directory)))
  const note = Option.flatMap(text, decode)
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
