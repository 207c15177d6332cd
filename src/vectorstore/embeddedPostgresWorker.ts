/** The thread PGlite runs in, so that a long query does not stop the process. Started by `EmbeddedPostgres`. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads"
import { openDatabase } from "./internal/pglite.ts"
import { type Database, sessions } from "./internal/pgliteSession.ts"

/** What the thread tells. */
export type Said = { readonly _tag: "Ready" } | { readonly _tag: "Failed"; readonly message: string }

/** What the thread is told: a connection by its port, or to close the database and end. */
export type Told = { readonly _tag: "Connect"; readonly port: MessagePort } | { readonly _tag: "Close" }

const say = (said: Said): void => parentPort?.postMessage(said, [])

const serve = (database: Database): void => {
  const open = sessions(database)
  parentPort?.on("message", (told: Told) => {
    switch (told._tag) {
      case "Connect": {
        const { port } = told
        const session = open((bytes) => port.postMessage(bytes, []), () => port.close())
        port.on("message", (bytes: Uint8Array) => session.receive(bytes))
        port.on("close", () => session.close())
        return
      }
      case "Close": {
        const leave = (): void => parentPort?.close()
        database.close().then(leave, leave)
      }
    }
  })
  say({ _tag: "Ready" })
}

const directory: string | undefined = workerData

openDatabase(directory).then(
  serve,
  (error: unknown) => say({ _tag: "Failed", message: error instanceof Error ? error.message : String(error) })
)
