/** A real PostgreSQL server for the tests that need one, where its binaries are found. */
import { Effect, type Scope } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const folders = [...globSync("/usr/lib/postgresql/*/bin").sort().reverse(), ...(process.env["PATH"] ?? "").split(":")]
const folder = folders.find((it) => existsSync(join(it, "initdb")) && existsSync(join(it, "postgres")))

/** Why there is none, or undefined. */
export const missing: string | undefined = folder === undefined
  ? "no PostgreSQL binaries (initdb) were found"
  : undefined

// PostgreSQL refuses to run as root.
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Starts a server of its own, user `holdfast` without password, and ends it with the scope. */
export const start: Effect.Effect<{ readonly host: string; readonly port: number }, never, Scope.Scope> = Effect.gen(
  function*() {
    const home = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-pg-"))),
      (home) => Effect.sync(() => rmSync(home, { recursive: true, force: true }))
    )
    if (user.uid !== undefined) chownSync(home, user.uid, user.gid)
    const data = join(home, "data")
    const made = spawnSync(
      join(folder!, "initdb"),
      ["-D", data, "-U", "holdfast", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
      { ...user, cwd: home }
    )
    if (made.status !== 0) return yield* Effect.die(new Error(String(made.stderr)))
    const port = yield* freePort
    yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof spawn>>((resume) => {
        const options = ["-D", data, "-p", String(port), "-k", home, "-h", "127.0.0.1", "-c", "fsync=off"]
        const child = spawn(join(folder!, "postgres"), [...options, "-c", "shared_buffers=16MB"], {
          ...user,
          cwd: home,
          stdio: ["ignore", "ignore", "pipe"]
        })
        let said = ""
        child.stderr?.on("data", (text) => {
          said += String(text)
          if (said.includes("ready to accept connections")) resume(Effect.succeed(child))
        })
        child.on("exit", () => resume(Effect.die(new Error(said))))
      }),
      (child) =>
        Effect.callback<void>((resume) => {
          child.on("exit", () => resume(Effect.void))
          child.kill("SIGINT")
        })
    )
    return { host: "127.0.0.1", port }
  }
)
