/** `holdfast explain [FILE]`: what a pipeline's settings come to, before an outage shows it. */
import { Console, Effect, FileSystem, Option, Result, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import { Toml } from "effect/encoding"
import * as Pipeline from "../Pipeline.ts"
import * as presets from "../presets.ts"

/** The file cannot be read as settings; `message` says where. */
class BadSettings extends Schema.TaggedError<BadSettings>()("BadSettings", { message: Schema.String }) {}

export const explain = Command.make(
  "explain",
  {
    file: Argument.Path("file", { pathType: "file", mustExist: true }).pipe(
      Argument.withDescription("Settings as JSON or TOML: one pipeline, or several under \"pipelines\" by name"),
      Argument.optional
    )
  },
  Effect.fnUntraced(function*({ file }) {
    const subjects = Option.isNone(file) ? builtIn : yield* read(file.value)
    for (const { attemptsInside, options } of subjects) {
      const explanation = yield* Pipeline.explain(options, { attemptsInside }).pipe(
        Effect.mapError(({ field, message }) =>
          new BadSettings({ message: `${options.provider}: ${field} ${message}` })
        )
      )
      yield* Console.log(Pipeline.render(explanation))
    }
  })
).pipe(
  Command.withDescription(
    "Work out a pipeline's attempts, worst-case time and load in an outage, and what looks wrong"
  ),
  Command.withExamples([
    { command: "holdfast explain", description: "The defaults and the presets" },
    { command: "holdfast explain pipeline.toml", description: "Your own settings" }
  ])
)

interface Subject {
  readonly options: Pipeline.Options
  readonly attemptsInside?: number | undefined
}

const builtIn: ReadonlyArray<Subject> = [
  {
    options: {
      provider: "defaults",
      deadline: "30 seconds",
      retry: true,
      breaker: true,
      bulkhead: true,
      timeout: true
    }
  },
  ...([["OpenAI preset", presets.openAi], ["Neon preset", presets.neon], ["Unified preset", presets.unified]] as const)
    .map(([provider, preset]) => ({ options: { provider, ...preset.pipeline } }))
]

const read = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(path)
  const value = yield* Effect.fromResult(path.endsWith(".toml") ? Toml.parse(text) : parseJson(text)).pipe(
    Effect.mapError((error) => new BadSettings({ message: `${path}: ${error.message}` }))
  )
  return yield* Schema.decodeUnknownEffect(File)(renamed(value), { errors: "all", onExcessProperty: "error" }).pipe(
    Effect.mapError((error) => new BadSettings({ message: `${path}: ${error.message}` })),
    Effect.map((file): ReadonlyArray<Subject> =>
      "pipelines" in file
        ? Object.entries(file.pipelines).map(([provider, own]) => subject({ provider, ...own }))
        : [subject({ provider: path, ...file })]
    )
  )
})

const subject = ({ attemptsInside, ...options }: typeof Settings.Type & { readonly provider: string }): Subject => ({
  options,
  attemptsInside
})

const parseJson = (text: string): Result.Result<unknown, Error> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: (error) => new Error(String(error)) })

// -- the file's form -------------------------------------------------------------------------------------------------

/** As the specification writes them: sections ending in `Config`, times ending in `Ms`. */
const renamed = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]): ReadonlyArray<readonly [string, unknown]> => {
      const own = renamed(inner)
      if (key === "retryConfig" && typeof own === "object" && own !== null && "timeout" in own) {
        const { timeout, ...retry } = own
        return [["retry", retry], ["timeout", timeout]]
      }
      return [[sections[key] ?? key.replace(/Ms$/, ""), own]]
    })
  )
}

const sections: { readonly [key: string]: string } = { retryConfig: "retry", circuitBreakerConfig: "breaker" }

/** Milliseconds, or words such as `"30 seconds"`. */
const Time = Schema.Union([
  Schema.Finite,
  Schema.TemplateLiteral([
    Schema.Number,
    " ",
    Schema.Literals(["millis", "milli", "second", "seconds", "minute", "minutes", "hour", "hours"])
  ])
])

const optional = Schema.optionalKey

const RetrySettings = Schema.Struct({
  maxRetries: optional(Schema.Number),
  baseDelay: optional(Time),
  maxDelay: optional(Time),
  backoffMultiplier: optional(Schema.Number),
  jitter: optional(Schema.Literals(["full", "equal", "decorrelated", "proportional", "none"])),
  jitterFactor: optional(Schema.Number),
  maxRetryAfter: optional(Time),
  maxElapsed: optional(Time),
  budget: optional(Schema.Literal("unlimited"))
})

const BreakerSettings = Schema.Struct({
  failureThreshold: optional(Schema.Union([Schema.Number, Schema.Literal(false)])),
  failureRate: optional(Schema.Union([Schema.Number, Schema.Literal(false)])),
  minimumThroughput: optional(Schema.Number),
  monitorWindow: optional(Time),
  recoveryTimeout: optional(Time),
  maxRecoveryTimeout: optional(Time),
  recoveryMultiplier: optional(Schema.Number),
  jitter: optional(Schema.Boolean),
  successThreshold: optional(Schema.Number),
  probeFailureThreshold: optional(Schema.Number),
  probeLease: optional(Time),
  rampUp: optional(Time),
  slowCallDuration: optional(Time),
  slowCallRate: optional(Schema.Number)
})

const Settings = Schema.Struct({
  provider: optional(Schema.String),
  deadline: optional(Time),
  timeout: optional(Schema.Union([Schema.Literal(true), Time])),
  retry: optional(Schema.Union([Schema.Literal(true), RetrySettings])),
  hedge: optional(
    Schema.Struct({ delay: Time, maxHedges: optional(Schema.Number), budget: optional(Schema.Literal("unlimited")) })
  ),
  breaker: optional(Schema.Union([Schema.Literal(true), BreakerSettings])),
  rateLimit: optional(Schema.Struct({
    limit: Schema.Number,
    window: optional(Time),
    algorithm: optional(Schema.Literals(["token-bucket", "sliding-window", "pacing"])),
    burst: optional(Schema.Number),
    onLimit: optional(Schema.Literals(["wait", "refuse"])),
    maxWait: optional(Time)
  })),
  bulkhead: optional(Schema.Union([
    Schema.Literal(true),
    Schema.Struct({ limit: optional(Schema.Number), queue: optional(Schema.Number), maxWait: optional(Time) })
  ])),
  /** What the client library tries by itself for each of our attempts. */
  attemptsInside: optional(Schema.Number)
})

const File = Schema.Union([Schema.Struct({ pipelines: Schema.Record(Schema.String, Settings) }), Settings])
