/** `holdfast serve`: a vector store that keeps answering, over HTTP. */
import {
  Clock,
  ConfigProvider,
  Console,
  Data,
  Effect,
  Fiber,
  FileSystem,
  Layer,
  Option,
  Redacted,
  Ref,
  Schema
} from "effect"
import { Command, Flag } from "effect/cli"
import { FetchHttpClient, HttpServer } from "effect/http"
import { Otlp, OtlpSerialization } from "effect/observability"
import { randomBytes } from "node:crypto"
import { resolve } from "node:path"
import { styleText } from "node:util"
import * as Chaos from "../Chaos.ts"
import { Health, type Verdict } from "../Health.ts"
import * as OperatorToken from "../http/OperatorToken.ts"
import { Draining, Startup } from "../http/Probes.ts"
import * as Server from "../http/Server.ts"
import { makeFolder } from "../vectorstore/internal/directoryLock.ts"
import * as Configuration from "./Configuration.ts"
import * as Samples from "./Samples.ts"
import * as ServerFile from "./ServerFile.ts"
import * as SettingsFile from "./SettingsFile.ts"
import * as Stack from "./Stack.ts"

export const serve = Command.make(
  "serve",
  {
    port: Flag.Int("port").pipe(
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
      Flag.withAlias("p"),
      Flag.withDescription("Where to listen; 0 takes a free port. Defaults to HOLDFAST_PORT, or 3000"),
      Flag.optional
    ),
    host: Flag.String("host").pipe(
      Flag.withDescription("The address to listen at. Defaults to HOLDFAST_HOST, or 127.0.0.1: this machine alone"),
      Flag.optional
    ),
    config: Flag.Path("config", { pathType: "file", mustExist: true }).pipe(
      Flag.withDescription("Settings as JSON or TOML; read again when the file changes"),
      Flag.optional
    ),
    chaos: Flag.Path("chaos", { pathType: "file", mustExist: true }).pipe(
      Flag.withDescription("Faults on purpose: a JSON file with a fault plan that runs from the start"),
      Flag.optional
    ),
    samples: Flag.Boolean("samples").pipe(
      Flag.withDescription(
        "Put the 5,183 sample documents into Postgres on the first start. Defaults to true with the embedded Postgres alone, to " +
          "false with DATABASE_URL, and with OpenAI, which is asked first and does not hold them"
      ),
      Flag.optional
    )
  },
  Effect.fnUntraced(function*(flags) {
    const environment = yield* Configuration.read
    const file = Option.getOrUndefined(flags.config)
    const configuration = {
      ...environment,
      settings: { ...environment.settings, ...(file === undefined ? {} : { file: yield* SettingsFile.read(file) }) },
      ...(Option.isNone(flags.chaos) ? {} : { chaos: yield* faultPlan(flags.chaos.value) }),
      port: Option.getOrElse(flags.port, () => environment.port),
      host: Option.getOrElse(flags.host, () => environment.host)
    }
    const samples = Option.getOrElse(
      flags.samples,
      () => configuration.databaseUrl === undefined && configuration.openai === undefined
    )
    yield* Effect.scoped(Effect.gen(function*() {
      yield* start(configuration, samples, file)
      return yield* Effect.never
    })).pipe(Effect.provide(exporter))
  })
).pipe(
  Command.withDescription("Serve search, documents, health, metrics and the dashboard"),
  Command.withExamples([
    { command: "holdfast serve", description: "On http://127.0.0.1:3000, with an embedded Postgres in .holdfast/" },
    {
      command: "OPENAI_API_KEY=sk-... OPENAI_VECTORSTORE=vs_... holdfast serve --port 8080",
      description: "OpenAI first, the embedded Postgres second"
    }
  ])
)

/** The file given with `--chaos` is no fault plan; the message says where. */
class BadFaultPlan extends Data.TaggedError("BadFaultPlan")<{ readonly message: string }> {}

const faultPlan = Effect.fnUntraced(function*(path: string) {
  const text = yield* (yield* FileSystem.FileSystem).readFileString(path)
  return yield* Schema.decodeUnknownEffect(Schema.fromJsonString(Chaos.FaultPlan), { onExcessProperty: "error" })(text)
    .pipe(Effect.mapError(({ message }) => new BadFaultPlan({ message: `${path} is no fault plan: ${message}` })))
})

/** Traces, metrics and logs go where `OTEL_EXPORTER_OTLP_ENDPOINT` says; nowhere without it. */
const exporter = Otlp.layerFromConfig({ resource: { serviceName: "holdfast" }, loggerMergeWithExisting: true }).pipe(
  Layer.provide([FetchHttpClient.layer, OtlpSerialization.layerJson]),
  // The standard's default, which Effect leaves to be asked for.
  Layer.provide(ConfigProvider.layerAdd(ConfigProvider.fromUnknown({
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_METRICS_EXPORTER: "otlp",
    OTEL_LOGS_EXPORTER: "otlp"
  })))
)

/** Starts the server in the scope, and comes back when it is ready. */
export const start = Effect.fnUntraced(function*(
  configuration: Configuration.Configuration,
  samples: boolean,
  settings?: string
) {
  const began = yield* Clock.currentTimeMillis
  const token = configuration.adminToken ??
    (yield* Effect.sync(() => Redacted.make(randomBytes(18).toString("base64url"))))
  // What can be refused at once does not wait for the database.
  yield* Server.canListen(configuration)
  yield* Effect.scoped(Layer.build(OperatorToken.layer(token)))
  yield* Stack.checkSettings(configuration)
  const context = yield* Layer.build(
    // The drain is built last, so that it ends first.
    Server.drainFirst.pipe(
      Layer.provideMerge(
        Server.layer({
          host: configuration.host,
          allowedHosts: configuration.allowedHosts,
          port: configuration.port,
          token,
          tokenUntil: configuration.adminTokenUntil
        })
      ),
      Layer.provideMerge(Stack.layer(configuration)),
      Layer.provideMerge(Layer.merge(Draining.layer, Startup.layer))
    )
  )
  const url = HttpServer.formatAddress(
    yield* Effect.provide(Effect.map(HttpServer.HttpServer, ({ address }) => address), context)
  )
  return yield* Effect.gen(function*() {
    const stores = yield* Stack.Stores
    yield* Effect.sync(() => makeFolder(resolve(configuration.directory)))
    yield* ServerFile.leave(configuration, url)
    if (settings !== undefined) yield* Effect.forkScoped(SettingsFile.follow(settings))
    if (samples) yield* abandonable(Samples.ensure(stores, configuration.directory))
    const { documents, modes } = yield* stores.home.stats
    yield* Ref.set(yield* Startup, "Started")
    const [openai] = configuration.openai === undefined ? [] : yield* (yield* Health).probe(["openai"])
    const seconds = ((yield* Clock.currentTimeMillis) - began) / 1_000
    yield* Console.log(banner({ configuration, documents, modes, openai, seconds, token, url }))
    return { url, token }
  }).pipe(Effect.provide(context))
})

/**
 * Work that is left to itself on interruption: a statement under way is waited for, and that may take longer than somebody
 * who pressed Ctrl-C waits. What was stored stays stored, and the next start goes on from there.
 */
const abandonable = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(
    Effect.forkDetach(self, { startImmediately: true }),
    (fiber) => Effect.onInterrupt(Fiber.join(fiber), () => Effect.sync(() => fiber.interruptUnsafe()))
  )

const banner = ({ configuration, documents, modes, openai, seconds, token, url }: {
  readonly configuration: Configuration.Configuration
  readonly documents: number
  readonly modes: ReadonlyArray<string>
  /** How OpenAI answered just now, where it is configured. */
  readonly openai: Verdict | undefined
  readonly seconds: number
  readonly token: Redacted.Redacted
  readonly url: string
}): string => {
  const label = (text: string) => styleText("gray", text.padEnd(11))
  const home = configuration.databaseUrl === undefined
    ? `embedded in ${configuration.directory}/`
    : "at DATABASE_URL"
  const first = configuration.openai === undefined
    ? "not configured (set OPENAI_API_KEY and OPENAI_VECTORSTORE to put OpenAI first)"
    : `first, vector store ${configuration.openai.vectorStore}`
  const trouble = openai === undefined || openai.state === "Healthy"
    ? []
    : [
      `  ${label("")}${
        styleText("yellow", `${openai.reasons.join("; ")}. ${hint(openai.reasons)}Until then Postgres answers.`)
      }`
    ]
  return [
    "",
    `${styleText(["bold", "green"], "holdfast is serving")} at ${styleText("bold", url)} after ${seconds.toFixed(1)} s`,
    "",
    `  ${label("search")}curl '${url}/api/vectorstore/search?query=vitamin+D'`,
    `  ${label("health")}${url}/api/fault-tolerance/health?detailed=true`,
    `  ${label("metrics")}${url}/api/fault-tolerance/metrics`,
    `  ${label("dashboard")}${url}/`,
    `  ${label("API")}${url}/docs`,
    "",
    `  ${label("openai")}${first}`,
    ...trouble,
    `  ${label("neon")}Postgres ${home}, ${documents.toLocaleString("en")} documents`,
    ...(modes.includes("vector")
      ? []
      : [
        `  ${label("")}${
          styleText("yellow", "found by words alone: this Postgres has no pgvector (CREATE EXTENSION vector)")
        }`
      ]),
    ...(configuration.adminToken === undefined
      ? [`  ${label("operator")}token ${Redacted.value(token)} (new at every start; HOLDFAST_ADMIN_TOKEN chooses one)`]
      : []),
    "",
    "  Ctrl-C stops it.",
    ""
  ].join("\n")
}

const hint = (reasons: ReadonlyArray<string>): string =>
  reasons.some((reason) => reason.includes("AUTHENTICATION")) ? "Check OPENAI_API_KEY. " : ""
