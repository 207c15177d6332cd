/** Real redis-server processes for the tests that need them, where the binary is found. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect, Layer, Logger, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import * as OptionalRedis from "../../src/fleet/OptionalRedis.ts"

const binary = (process.env["PATH"] ?? "").split(":")
  .flatMap((folder) => ["redis-server", "valkey-server"].map((name) => join(folder, name)))
  .find((it) => existsSync(it))

/** Why there is none, or undefined. */
export const missing: string | undefined = binary === undefined
  ? "neither redis-server nor valkey-server is here"
  : undefined

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** One server that may come and go, always at the same port. What it held is lost with it. */
export interface RedisServer {
  readonly port: number
  readonly start: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  /** Stops it without an end: connections stay open and nobody answers. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** A server that is not started yet, and is gone with the scope. */
export const make: Effect.Effect<RedisServer, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  let child: ChildProcess | undefined

  const start = Effect.callback<void>((resume) => {
    const started = spawn(
      binary!,
      ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
      { stdio: ["ignore", "pipe", "ignore"] }
    )
    child = started
    let said = ""
    started.stdout.on("data", (text) => {
      said += String(text)
      if (said.includes("Ready to accept connections")) resume(Effect.void)
    })
    started.on("exit", () => resume(Effect.die(new Error(said))))
  })
  const kill = Effect.callback<void>((resume) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.on("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
  const signal = (name: "SIGSTOP" | "SIGCONT") => Effect.sync(() => void child?.kill(name))

  yield* Effect.addFinalizer(() => kill)
  return { port, start, kill, freeze: signal("SIGSTOP"), thaw: signal("SIGCONT") }
})

/** A client of its own, as a process has it: there or not, it never fails. */
export const client = (server: RedisServer) =>
  OptionalRedis.layer(
    NodeRedis.layer({ url: `redis://127.0.0.1:${server.port}`, disableOfflineQueue: true })
  ).pipe(Layer.provide(Logger.layer([])))

/** Asks again and again until it is so; for what other processes make come true. Fails after five seconds. */
export const eventually = <E, R>(what: string, is: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.sleep("10 millis").pipe(
    Effect.andThen(is),
    Effect.repeat({ until: (it) => it }),
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(new Error(`not within 5 s: ${what}`)) }),
    Effect.asVoid
  )
