/** The `holdfast` command. Only the subcommand that was asked for is loaded: `classify` need not wait for Postgres. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import {
  Cause,
  Config,
  Console,
  Effect,
  Exit,
  FileSystem,
  Layer,
  Logger,
  PlatformError,
  References,
  Runtime,
  Schema,
  Stdio
} from "effect"
import { CliError, Command } from "effect/cli"
import { fileURLToPath } from "node:url"
import * as Advice from "./Advice.ts"

const loaders = {
  serve: () => import("./serve.ts").then(({ serve }) => serve),
  demo: () => import("./demo.ts").then(({ demo }) => demo),
  ingest: () => import("./ingest.ts").then(({ ingest }) => ingest),
  search: () => import("./search.ts").then(({ search }) => search),
  eval: () => import("./eval.ts").then(({ evaluate }) => evaluate),
  classify: () => import("./classify.ts").then(({ classify }) => classify),
  explain: () => import("./explain.ts").then(({ explain }) => explain),
  simulate: () => import("./simulate.ts").then(({ simulate }) => simulate),
  replay: () => import("./replay.ts").then(({ replay }) => replay)
}

const version = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.readFileString(fileURLToPath(new URL("../../package.json", import.meta.url)))
).pipe(
  Effect.flatMap(Schema.decodeEffect(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))),
  Effect.map(({ version }) => version),
  Effect.orDie
)

/** All commands where none of them is named, so that help and "did you mean" know them all. */
const load = (name: string | undefined) => {
  const named = Object.entries(loaders).filter(([known]) => known === name)
  return Effect.promise(() => Promise.all((named.length > 0 ? named : Object.entries(loaders)).map(([, it]) => it())))
}

/** Results go to stdout, logs to stderr. */
const logs = Layer.merge(
  process.env["LOG_FORMAT"] === "json"
    ? Logger.layer([Logger.withConsoleError(Logger.formatJson)])
    : Layer.succeed(Logger.LogToStderr, true),
  Layer.effect(References.MinimumLogLevel, Config.LogLevel("LOG_LEVEL").pipe(Config.withDefault("Info")))
)

/** Whoever read our results has seen enough, as `head` has: that is no failure. */
const isClosedPipe = (error: unknown): boolean =>
  error instanceof PlatformError.PlatformError && error.reason.method === "stdout" &&
  error.cause instanceof Error && "code" in error.cause && error.cause.code === "EPIPE"

/** The command with the arguments of `Stdio`. What it fails with has been told. */
export const program = Effect.gen(function*() {
  const args = yield* (yield* Stdio.Stdio).args
  const commands = yield* load(args[0])
  const root = Command.make("holdfast").pipe(
    Command.withDescription("A vector store that keeps answering while its providers do not"),
    Command.withSubcommands(commands)
  )
  yield* Command.runWith(root, { version: yield* version })(args)
}).pipe(
  Effect.provide(logs),
  Effect.catchDefect((defect) => Advice.isOfFiles(defect) ? Effect.fail(defect) : Effect.die(defect)),
  Effect.catchIf(isClosedPipe, () => Effect.void),
  // What a handler fails with is told in its own words, without a stack.
  Effect.catch((error) =>
    CliError.isCliError(error) || error instanceof Reported
      ? Effect.fail(error)
      : Effect.andThen(Console.error(`\nERROR\n  ${Advice.tell(error)}`), Effect.fail(new Reported()))
  )
)

class Reported extends Schema.TaggedError<Reported>()("Reported", {}) {
  override readonly [Runtime.errorReported] = false
}

/** Ctrl-C is how a server ends: that is no failure. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && ["serve", "demo"].includes(process.argv[2] ?? "")
    ? onExit(0)
    : Runtime.defaultTeardown(exit, onExit)

/** Whatever hangs at the end is given up on. The process is ending: no fiber is left that could be asked. */
const giveUp = (): void => void setTimeout(() => process.exit(1), 4_500).unref()

/** They compute for minutes without a moment for a handler of signals, and hold nothing: a signal just ends them. */
const computing = new Set(["simulate", "replay"])

const runEndedBySignals = Runtime.makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (code) => void (process.exitCode = code)))
})

/** The command as this process. */
export const run = (): void => {
  const main = program.pipe(Effect.provide(NodeServices.layer))
  if (computing.has(process.argv[2] ?? "")) return runEndedBySignals(main, { teardown })
  process.once("SIGINT", giveUp)
  process.once("SIGTERM", giveUp)
  NodeRuntime.runMain(main, { teardown })
}
