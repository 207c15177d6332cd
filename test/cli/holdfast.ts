/** The `holdfast` command, as a process of its own or within this one. */
import type * as NodeServices from "@effect/platform-node/NodeServices"
import { ConfigProvider, Console, Data, Effect, Exit, type Scope, Stdio } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { program } from "../../src/cli/program.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

export interface Running {
  readonly child: ChildProcess
  /** All that it has written so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** How it ended: the exit code, or the signal's name. */
  readonly ended: Promise<number | string>
}

export class NeverSaid extends Data.TaggedError("NeverSaid")<{ readonly message: string }> {}

/** Starts it; it is killed with the scope, if it still runs. */
export const start = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { DATABASE_URL: _d, OPENAI_API_KEY: _k, OPENAI_VECTORSTORE: _v, OPENAI_BASE_URL: _u, ...inherited } =
        process.env
      const child = spawn(process.execPath, ["--conditions=holdfast-source", main, ...args], {
        env: { ...inherited, NO_COLOR: "1", FORCE_COLOR: "0", ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const text = { stdout: "", stderr: "" }
      child.stdout.on("data", (chunk: Buffer) => text.stdout += chunk.toString())
      child.stderr.on("data", (chunk: Buffer) => text.stderr += chunk.toString())
      return {
        child,
        stdout: () => text.stdout,
        stderr: () => text.stderr,
        ended: new Promise<number | string>((resolve) =>
          child.on("close", (code, signal) => resolve(code ?? signal ?? -1))
        )
      }
    }),
    ({ child, ended }) => Effect.promise(() => (child.kill("SIGKILL"), ended))
  )

/** Runs it to its end. */
export const run = (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) =>
  Effect.scoped(Effect.gen(function*() {
    const running = yield* start(args, env)
    const code = yield* Effect.promise(() => running.ended)
    return { code, stdout: running.stdout(), stderr: running.stderr() }
  }))

/** Runs the command to its end. */
export type Run = (
  ...args: Parameters<typeof run>
) => Effect.Effect<Effect.Success<ReturnType<typeof run>>, never, NodeServices.NodeServices>

/** As `run`, within this process: a start costs a second. All that it says is in `stdout`. */
export const here: Run = Effect.fnUntraced(function*(args, env = {}) {
  const lines: Array<string> = []
  const log = (...line: ReadonlyArray<unknown>): void => void lines.push(line.join(" "))
  const printing: Console.Console = Object.assign(Object.create(yield* Console.Console), { log, error: log })
  const exit = yield* Effect.exit(program).pipe(
    Effect.provide(Stdio.layerTest({ args: Effect.succeed(args) })),
    Effect.provideService(Console.Console, printing),
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
  )
  return { code: Exit.isSuccess(exit) ? 0 : 1, stdout: lines.join("\n"), stderr: "" }
})

/** Waits until it has written what the pattern finds, and gives the first group. */
export const says = Effect.fnUntraced(function*({ child, ended, stderr, stdout }: Running, pattern: RegExp) {
  const match = yield* Effect.callback<RegExpExecArray | undefined>((resume) => {
    const look = () => {
      const found = pattern.exec(stdout())
      if (found !== null) resume(Effect.succeed(found))
    }
    child.stdout?.on("data", look)
    void ended.then(() => resume(Effect.sync(() => pattern.exec(stdout()) ?? undefined)))
    look()
  })
  if (match === undefined) {
    return yield* new NeverSaid({ message: `${pattern} was never said.\n${stdout()}\n${stderr()}` })
  }
  return match[1] ?? match[0]
})

/** Asks it to end, and tells how and in how many milliseconds it did. */
export const stop = (running: Running, signal: NodeJS.Signals = "SIGINT") =>
  Effect.promise(async () => {
    const at = performance.now()
    running.child.kill(signal)
    const code = await running.ended
    return { code, millis: performance.now() - at }
  })
