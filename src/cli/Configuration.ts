/** What the commands read from the environment, with each variable named once. */
import { Config, type DateTime, Duration, Effect, Redacted, Schema, SchemaGetter } from "effect"
import type * as Alerts from "../Alerts.ts"
import type { FaultPlan } from "../Chaos.ts"
import * as OpenAiStore from "../vectorstore/OpenAiStore.ts"

const units: { readonly [unit: string]: string } = {
  ms: "millis",
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days"
}

/** `500ms`, `2s`, `1m`, or Effect's own `"2 seconds"`. */
export const ShortDuration = Schema.String.pipe(
  Schema.decodeTo(Schema.DurationFromString, {
    decode: SchemaGetter.transform((text: string) =>
      text.replace(/^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/, (_, amount, unit) => `${amount} ${units[unit]}`)
    ),
    encode: SchemaGetter.transform((text: string) => text)
  })
)

const Positive = ShortDuration.check(
  Schema.makeFilter((duration) => Duration.toMillis(duration) >= 1 || "it must be at least 1 ms")
)

const duration = (name: string, fallback: Duration.Input) =>
  Config.schema(Positive, name).pipe(Config.withDefault(Duration.fromInputUnsafe(fallback)))

/** What `OpenAiStore.configuration` reads. */
export type OpenAi = Effect.Success<typeof OpenAiStore.configuration>

export interface Configuration {
  readonly host: string
  /** Names by which a server that only this machine reaches may be asked. */
  readonly allowedHosts: ReadonlyArray<string>
  readonly port: number
  /** Where the embedded Postgres and what else stays are kept. */
  readonly directory: string
  /** A Postgres to use in place of the embedded one. */
  readonly databaseUrl: Redacted.Redacted | undefined
  readonly openai: OpenAi | undefined
  readonly adminToken: Redacted.Redacted | undefined
  readonly adminTokenUntil?: DateTime.Utc | undefined
  /** For one attempt at the primary. */
  readonly timeout: Duration.Duration
  /** How long a provider's circuit stays open before it is tried again. */
  readonly recoveryTimeout: Duration.Duration
  /** What a file and the environment say of the settings that can be changed while the server runs. */
  readonly settings?: { readonly file?: unknown; readonly environment?: unknown } | undefined
  /** Whether an operator may inject faults, or the plan that runs from the start. */
  readonly chaos: boolean | FaultPlan
  /** Who is told of alerts besides the log, and what signs what it is told. */
  readonly alerts?: Alerts.WebhookOptions | undefined
}

const optional = <A>(config: Config.Config<A>) => Config.withDefault(config, undefined)

/** OpenAI's part; none where no key is set, and a warning where only half of it is. */
const openai = OpenAiStore.configuration.pipe(
  Effect.catchTag("NotConfigured", ({ missing }) =>
    Effect.as(
      missing.length === 1
        ? Effect.logWarning(`OpenAI takes no part: ${missing.join()} is not set, though the rest is`)
        : Effect.void,
      undefined
    ))
)

const alerts = Effect.gen(function*() {
  const url = yield* optional(Config.URL("HOLDFAST_ALERT_WEBHOOK"))
  return url && { url: url.href, secret: yield* optional(Config.Redacted("HOLDFAST_ALERT_SECRET")) }
})

/** What the environment says of settings, as far as settings may say it: a circuit for tests may recover sooner. */
const environment = optional(Config.schema(ShortDuration, "HOLDFAST_RECOVERY_TIMEOUT")).pipe(
  Config.map((recovery) => {
    const millis = recovery === undefined ? 0 : Duration.toMillis(recovery)
    return millis < 5_000 || millis > 300_000
      ? {}
      : { services: { unified: { circuitBreaker: { recoveryTimeout: millis } } } }
  })
)

/** `DATABASE_URL` cannot be read. */
export class NoAddress extends Schema.TaggedError<NoAddress>()("NoAddress", { message: Schema.String }) {}

const databaseUrl = Effect.gen(function*() {
  const url = yield* optional(Config.Redacted("DATABASE_URL"))
  if (url === undefined || Redacted.value(url) === "") return undefined
  if (/^postgres(ql)?:\/\//i.test(Redacted.value(url)) && URL.canParse(Redacted.value(url))) return url
  return yield* new NoAddress({
    message:
      "DATABASE_URL is no address. Write it as postgres://user:password@host:5432/database, or unset it for an " +
      "embedded Postgres."
  })
})

/** The configuration of the environment. */
export const read = Effect.gen(function*() {
  return {
    host: yield* Config.String("HOLDFAST_HOST").pipe(Config.withDefault("127.0.0.1")),
    allowedHosts: (yield* Config.String("HOLDFAST_ALLOWED_HOSTS").pipe(Config.withDefault("")))
      .split(",").map((name) => name.trim()).filter((name) => name !== ""),
    port: yield* Config.Port("HOLDFAST_PORT").pipe(Config.withDefault(3_000)),
    directory: yield* Config.String("HOLDFAST_DIRECTORY").pipe(Config.withDefault(".holdfast")),
    databaseUrl: yield* databaseUrl,
    openai: yield* openai,
    adminToken: yield* optional(Config.Redacted("HOLDFAST_ADMIN_TOKEN")),
    adminTokenUntil: yield* optional(Config.schema(Schema.DateTimeUtcFromString, "HOLDFAST_ADMIN_TOKEN_UNTIL")),
    timeout: yield* duration("HOLDFAST_TIMEOUT", "3 seconds"),
    recoveryTimeout: yield* duration("HOLDFAST_RECOVERY_TIMEOUT", "5 seconds"),
    settings: { environment: yield* environment },
    chaos: yield* Config.Boolean("HOLDFAST_CHAOS").pipe(Config.withDefault(false)),
    alerts: yield* alerts
  } satisfies Configuration
})
