/** A server on a port of the loopback that can be stopped, and started again on the same port. */
import { Effect, Schema, type Scope, Semaphore } from "effect"
import type { Server, Socket } from "node:net"

/** The port could not be opened. `code` is Node's, such as `EADDRINUSE`. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  port: Schema.Int,
  code: Schema.String
}) {
  override get message(): string {
    return `Could not listen on port ${this.port}: ${this.code}`
  }
}

export interface Options {
  /** Defaults to a free one. */
  readonly port: number | undefined
  readonly make: () => Server
  /** Run when it has stopped. */
  readonly stopped: Effect.Effect<void>
}

export interface Loopback {
  readonly port: number
  /** The open connections. */
  readonly sockets: ReadonlySet<Socket>
  /** Closes the port and breaks every connection. */
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void, ListenFailed>
}

/** Listens until the scope closes. */
export const open: (options: Options) => Effect.Effect<Loopback, ListenFailed, Scope.Scope> = Effect.fnUntraced(
  function*({ make, stopped, ...options }: Options) {
    let server: Server | undefined
    const sockets = new Set<Socket>()
    let port = options.port ?? 0
    const lock = yield* Semaphore.make(1)
    const stop: Effect.Effect<void> = Semaphore.withPermit(
      lock,
      Effect.gen(function*() {
        const open = server
        if (open === undefined) return
        server = undefined
        yield* Effect.callback<void>((resume) => {
          open.close(() => resume(Effect.void))
          for (const socket of sockets) socket.resetAndDestroy()
        })
        yield* stopped
      })
    )
    const listen = Effect.callback<void, ListenFailed>((resume) => {
      const opening = make()
      opening.on("connection", (socket: Socket) => {
        sockets.add(socket)
        socket.on("close", () => sockets.delete(socket))
      })
      opening.on(
        "error",
        (error: NodeJS.ErrnoException) =>
          resume(Effect.fail(new ListenFailed({ port, code: error.code ?? error.message })))
      )
      opening.listen(port, "127.0.0.1", () => {
        const address = opening.address()
        if (typeof address === "object" && address !== null) port = address.port
        server = opening
        resume(Effect.void)
      })
    })
    const start = Semaphore.withPermit(lock, Effect.suspend(() => server === undefined ? listen : Effect.void))
    yield* Effect.acquireRelease(start, () => stop)
    return { port, sockets, start, stop }
  }
)
