/**
 * A PostgreSQL with pgvector inside the process, for those who have none: PGlite, reached by `@effect/sql-pg` over the
 * wire protocol. PGlite is one session, so this is one connection, ever.
 */
import { PgClient } from "@effect/sql-pg"
import { Deferred, Effect, Layer, Option, type Scope } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { resolve } from "node:path"
import { Duplex } from "node:stream"
import { MessageChannel, Worker } from "node:worker_threads"
import * as Classifier from "../Classifier.ts"
import { ConfigurationError, ProviderError } from "../ProviderError.ts"
import type { Said, Told } from "./embeddedPostgresWorker.ts"
import { lock } from "./internal/directoryLock.ts"
import { openDatabase } from "./internal/pglite.ts"
import { sessions } from "./internal/pgliteSession.ts"

export interface Options {
  /** Where the database lives, one process at a time. Defaults to memory: it is gone with the scope. */
  readonly directory?: string | undefined
  /** Runs PGlite in the caller's own thread: quicker to start, but a long query stops the process. Defaults to false. */
  readonly inProcess?: boolean | undefined
}

const provider = "embedded-postgres"

/** Opens a byte stream to the database. */
type Connect = () => Duplex

interface Connector {
  readonly connect: Connect
  /** The client is about to close: a statement that runs is not waited for much longer. */
  readonly hurry: Effect.Effect<void>
}

/** How long the end waits for a statement that runs. A thread that is ended loses no row it has acknowledged. */
const patience = "1500 millis"

/**
 * The client of a database of our own. Fails where the packages are missing, the directory is in use or the database
 * does not open. `statement_timeout`, cancelling and `LISTEN` do nothing here.
 */
export const layer = (options?: Options): Layer.Layer<PgClient.PgClient | SqlClient, ProviderError> =>
  Layer.unwrap(Effect.map(connector(options ?? {}), ({ connect, hurry }) =>
    // Built after the client, so that it is heard before the client waits for its connection.
    Layer.effectDiscard(Effect.addFinalizer(() => hurry)).pipe(Layer.provideMerge(
      PgClient.layer({
        stream: connect,
        username: "postgres",
        database: "postgres",
        maxConnections: 1,
        minConnections: 1,
        connectTimeout: "60 seconds"
      }).pipe(
        Layer.catch((error) => Layer.effectContext(Effect.fail(failed(error, "connect"))))
      )
    ))))

const failed = (failure: unknown, operation: string): ProviderError =>
  Classifier.toError(failure, { provider, operation, phase: "connect" })

const unusable = (message: string, detail: string, cause: unknown): ProviderError =>
  new ProviderError({
    provider,
    operation: "open",
    reason: new ConfigurationError({ message, detail, rule: "embedded-postgres", delivered: "no" })
  }).causedBy(cause)

const notOpened = (message: string): ProviderError =>
  /Cannot find (?:package|module)/.test(message)
    ? unusable(
      "The embedded Postgres needs two packages: npm install @electric-sql/pglite @electric-sql/pglite-pgvector",
      "PackageMissing",
      message
    )
    : unusable(`The embedded Postgres did not open: ${message}`, "NotOpened", message)

const connector = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Connector, ProviderError, Scope.Scope> {
    const directory = options.directory === undefined ? undefined : resolve(options.directory)
    if (directory !== undefined) {
      yield* lock(`${directory}.lock`).pipe(
        Effect.mapError((error) => unusable(error.message, "DirectoryLocked", error))
      )
    }
    return yield* options.inProcess === true ? inProcess(directory) : inWorker(directory)
  }
)

const inProcess = (directory: string | undefined): Effect.Effect<Connector, ProviderError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => openDatabase(directory),
      catch: (error) => notOpened(error instanceof Error ? error.message : String(error))
    }),
    (database) => Effect.promise(() => database.close().catch(() => undefined))
  ).pipe(
    Effect.map(sessions),
    Effect.map((open) => (): Duplex => {
      const stream: Duplex = new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          session.receive(chunk)
          done()
        },
        final(done) {
          session.close()
          done()
        },
        destroy(error, done) {
          session.close()
          done(error)
        }
      })
      const session = open((bytes) => stream.push(bytes), () => stream.push(null))
      return stream
    }),
    Effect.map((connect) => ({ connect, hurry: Effect.void }))
  )

// tsc rewrites the extension of an import, not of a URL, and Node strips no types under node_modules.
const workerFile = new URL(
  import.meta.url.endsWith(".ts") ? "./embeddedPostgresWorker.ts" : "./embeddedPostgresWorker.js",
  import.meta.url
)

const inWorker = Effect.fnUntraced(
  function*(directory: string | undefined): Effect.fn.Return<Connector, ProviderError, Scope.Scope> {
    const opened = yield* Deferred.make<void, ProviderError>()
    const ended = yield* Deferred.make<void>()
    let running = true
    const worker = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const worker = new Worker(workerFile, { workerData: directory, stdout: true, stderr: true })
        const settle = (effect: Effect.Effect<void, ProviderError>) => Deferred.doneUnsafe(opened, effect)
        worker.on("message", (said: Said) => {
          settle(said._tag === "Ready" ? Effect.void : Effect.fail(notOpened(said.message)))
        })
        worker.on("error", (error) => settle(Effect.fail(notOpened(error.message))))
        worker.on("exit", () => {
          running = false
          settle(Effect.fail(notOpened("its thread ended")))
          Deferred.doneUnsafe(ended, Effect.void)
        })
        return worker
      }),
      (worker) =>
        Effect.sync(() => worker.postMessage({ _tag: "Close" } satisfies Told, [])).pipe(
          Effect.andThen(Effect.timeoutOption(Deferred.await(ended), patience)),
          Effect.andThen(Effect.promise(() => worker.terminate()))
        )
    )
    const hurry = Effect.asVoid(Effect.forkDetach(
      Effect.flatMap(
        Effect.timeoutOption(Deferred.await(ended), patience),
        (done) => Option.isSome(done) ? Effect.void : Effect.promise(() => worker.terminate())
      )
    ))
    yield* Deferred.await(opened)
    // An open database alone keeps no process alive.
    worker.unref()
    const connect = (): Duplex => {
      const { port1: near, port2: far } = new MessageChannel()
      const stream: Duplex = new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          near.postMessage(new Uint8Array(chunk), [])
          done()
        },
        final(done) {
          near.close()
          done()
        },
        destroy(error, done) {
          near.close()
          done(error)
        }
      })
      near.on("message", (bytes: Uint8Array) => stream.push(bytes))
      // Ended alone, a query under way would wait for its answer.
      near.on("close", () => {
        stream.push(null)
        stream.destroy()
      })
      if (running) worker.postMessage({ _tag: "Connect", port: far } satisfies Told, [far])
      else stream.destroy(new Error("The thread of the embedded Postgres ended"))
      return stream
    }
    return { connect, hurry }
  }
)
