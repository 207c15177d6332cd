/** The store that the commands run: OpenAI first where it is configured, Postgres second, and every policy around them. */
import { Context, Duration, Effect, Layer, Option, Ref } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Alerts from "../Alerts.ts"
import * as Chaos from "../Chaos.ts"
import * as Event from "../Event.ts"
import * as Health from "../Health.ts"
import { Library } from "../http/Library.ts"
import { levelOf, Operations } from "../http/Operations.ts"
import { respond } from "../http/VectorStoreHandlers.ts"
import * as Pipeline from "../Pipeline.ts"
import * as Settings from "../Settings.ts"
import * as Telemetry from "../Telemetry.ts"
import * as OpenAiStore from "../vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../vectorstore/UnifiedStore.ts"
import type { SearchRequest, Service } from "../vectorstore/VectorStore.ts"
import type { Configuration } from "./Configuration.ts"
import * as Home from "./Home.ts"

/** The stores below the service. */
export class Stores extends Context.Service<Stores, {
  /** Postgres: where documents live that belong to this server. */
  readonly home: Service
  /** Told while documents are being indexed: how many are in, of how many. */
  readonly indexing: Ref.Ref<Option.Option<{ readonly done: number; readonly total: number }>>
}>()("holdfast/cli/Stores") {}

/** What a demonstration does in another way than a server. */
export interface Options {
  /** In place of the Postgres that the configuration names. */
  readonly home?: Home.Store | undefined
  readonly breaker?: Pipeline.BreakerOptions | undefined
}

const service = "unified"

/** The policies around the stores. */
const policiesOf = ({ recoveryTimeout }: Configuration, options: Options) => ({
  pipeline: {
    // Rather the next provider at once than a long wait for this one.
    retry: { maxRetries: 1, maxRetryAfter: "200 millis" },
    breaker: { recoveryTimeout, ...options.breaker },
    bulkhead: true,
    // Its alarms stand in the event log; its scorecard says whether it may be trusted to act.
    predictor: true,
    timeout: "1 minute"
  },
  cache: { fresh: "10 seconds", stale: "1 hour" },
  deadline: "2 minutes"
} as const)

/** Refuses the settings that the service would refuse, before anything of it is opened. */
export const checkSettings = (configuration: Configuration): Effect.Effect<void, Settings.InvalidSettings> =>
  Effect.asVoid(Settings.make({
    services: [{
      service,
      options: { service, ...policiesOf(configuration, {}) },
      providers: [...(configuration.openai === undefined ? [] : [{ name: "openai" }]), { name: "neon" }],
      reconfigure: () => Effect.void
    }],
    ...configuration.settings
  }))

const makeUnified = Effect.fnUntraced(function*(configuration: Configuration, options: Options) {
  const { openai, timeout } = configuration
  const home: { readonly store: Home.Store; readonly queue: Context.Context<never> } = options.home === undefined
    ? yield* Home.lasting(configuration)
    : { store: options.home, queue: Context.empty() }
  const unified = UnifiedStore.make({
    sources: [
      // The time limit is for each of its requests: a batch of documents is many.
      ...(openai === undefined
        ? []
        : [{ name: "openai", layer: OpenAiStore.layer({ ...openai, requestTimeout: timeout }) }]),
      { name: "neon", layer: home.store }
    ],
    name: service,
    ...policiesOf(configuration, options)
  })
  return yield* Effect.provide(unified, home.queue)
})

/** None unless somebody opted in, by the environment or with a plan. */
const chaosOf = ({ chaos }: Configuration) =>
  chaos === false ? Layer.empty : Chaos.layer(chaos === true ? undefined : chaos, { enabled: true })

/** Everything that the server serves from. */
export const layer = (configuration: Configuration, options: Options = {}) =>
  Layer.unwrap(Effect.gen(function*() {
    const webhook = configuration.alerts &&
      (yield* Effect.provide(Alerts.webhook(configuration.alerts), FetchHttpClient.layer))
    const unified = yield* makeUnified(configuration, options)
    const { level, providers } = unified.policies
    const indexing = yield* Ref.make(Option.none<{ readonly done: number; readonly total: number }>())
    const library = Library.of({
      // Twice at each provider, and then some.
      search: (request) =>
        unified.search(request, {
          timeout: Duration.sum(Duration.times(configuration.timeout, 4), Duration.seconds(10))
        }),
      documents: unified.store,
      lacks: Effect.map(
        Ref.get(indexing),
        Option.match({
          onNone: () => [],
          onSome: ({ done, total }) => [`${done} of ${total} documents are indexed so far`]
        })
      )
    })
    const operations = Operations.layer({
      pipelines: providers.map(({ pipeline }) => pipeline),
      levels: [levelOf(level)],
      outboxes: [unified.outbox]
    })
    const health = Health.Health.layer({
      providers: [
        ...(configuration.openai === undefined ? [{ name: "openai", configured: false }] : []),
        ...providers.map(({ name, pipeline, service }): Health.Provider => ({
          name,
          // Searches speak for the provider, so that a probe's success closes the circuit that counts.
          circuit: pipeline.breaker?.status(Pipeline.circuitKey(name, "search")),
          probe: pipeline.protect({ operation: "health", key: "search", idempotent: true })(service.health)
        }))
      ],
      services: [{ name: unified.name, providers: ["openai", "neon"], level: level.status }]
    })
    const alerts = Alerts.Alerts.layer({
      notifiers: webhook === undefined ? [Alerts.log] : [Alerts.log, webhook],
      rules: [...Alerts.defaultRules(unified.name), ...standingRules(unified.name)],
      gauges: {
        mirrorLagSeconds: Effect.map(unified.outbox.lag, (lags) =>
          Math.max(0, ...lags.map(({ oldestMillis }) => oldestMillis / 1_000)))
      }
    })
    return Layer.mergeAll(
      operations.pipe(Layer.provideMerge(health), Layer.provideMerge(alerts)),
      Settings.Settings.layer({ services: [unified.policies], ...configuration.settings }),
      Layer.succeed(Library, library),
      Layer.succeed(Stores, { home: providers.at(-1)!.service, indexing })
    )
  })).pipe(
    Layer.provideMerge(
      Layer.merge(Telemetry.layer(), Layer.provideMerge(chaosOf(configuration), Event.EventLog.layer()))
    )
  )

const standingRules = (service: string): ReadonlyArray<Alerts.Rule> => [
  { name: "a circuit stays open", severity: "ticket", condition: { _tag: "CircuitOpen" }, forMillis: 300_000 },
  {
    name: "the service level is low",
    severity: "page",
    condition: { _tag: "LevelBelow", service, worst: "Reduced" },
    forMillis: 60_000
  },
  {
    name: "a mirror lags behind",
    severity: "ticket",
    condition: { _tag: "Gauge", gauge: "mirrorLagSeconds", above: 300 },
    forMillis: 60_000
  }
]

/** One search without a server: the store is opened, asked and closed. */
export const searchOnce = (configuration: Configuration, request: SearchRequest) =>
  Effect.flatMap(Library, (library) => Effect.map(library.search(request), (answer) => respond(answer))).pipe(
    Effect.provide(layer(configuration))
  )
