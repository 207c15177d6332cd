/** The store that the commands run: OpenAI first where it is configured, Postgres second, and every policy around them. */
import { Clock, Context, Duration, Effect, Layer, Option, Ref } from "effect"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Event from "../Event.ts"
import * as Fallback from "../Fallback.ts"
import * as FaultTolerance from "../FaultTolerance.ts"
import * as Health from "../Health.ts"
import { type Documents, Library } from "../http/Library.ts"
import { Operations } from "../http/Operations.ts"
import { respond } from "../http/VectorStoreHandlers.ts"
import type { ProviderError } from "../ProviderError.ts"
import * as Telemetry from "../Telemetry.ts"
import * as OpenAiStore from "../vectorstore/OpenAiStore.ts"
import { type SearchRequest, type Service, VectorStore } from "../vectorstore/VectorStore.ts"
import type { Configuration } from "./Configuration.ts"
import * as Home from "./Home.ts"

/** The stores below the service. */
export class Stores extends Context.Service<Stores, {
  /** Postgres: where documents live that belong to this server. */
  readonly home: Service
  /** Told while documents are being indexed: how many are in, of how many. */
  readonly indexing: Ref.Ref<Option.Option<{ readonly done: number; readonly total: number }>>
}>()("holdfast/cli/Stores") {}

const service = "unified"

const makeService = (configuration: Configuration) =>
  FaultTolerance.make(VectorStore, {
    service,
    providers: [
      ...(configuration.openai === undefined
        ? []
        : [{
          name: "openai",
          layer: OpenAiStore.layer({ ...configuration.openai, requestTimeout: configuration.timeout })
        }]),
      { name: "neon", layer: Home.layer(configuration) }
    ],
    pipeline: {
      retry: { maxRetries: 1 },
      breaker: { recoveryTimeout: configuration.recoveryTimeout },
      bulkhead: true,
      timeout: configuration.timeout
    },
    cache: { fresh: "10 seconds", stale: "1 hour" },
    // Room for both providers to take their time once.
    deadline: Duration.times(configuration.timeout, 4),
    fallbackTimeout: Duration.times(configuration.timeout, 2)
  })

type FaultTolerant = Effect.Success<ReturnType<typeof makeService>>

/** Everything that the server serves from. */
export const layer = (configuration: Configuration) =>
  Layer.unwrap(Effect.gen(function*() {
    const unified = yield* makeService(configuration)
    const indexing = yield* Ref.make(Option.none<{ readonly done: number; readonly total: number }>())
    const home = unified.providers.at(-1)!.service
    const guards = unified.providers.flatMap(({ name, pipeline: { breaker } }) =>
      breaker === undefined ? [] : [{ provider: name, breaker }]
    )
    const { level } = unified
    return Operations.layer({
      guards,
      levels: [{
        service,
        status: Effect.map(level.status, ({ name, rank, reasons, since }) => ({
          rank,
          name,
          since,
          reasons: reasons.map(({ reason }) => reason)
        })),
        hold: (rank, reason, duration) =>
          level.force(rank, {
            reason,
            actor: "operator",
            ...(duration === undefined ? {} : { for: duration })
          }),
        release: level.release
      }],
      bulkheads: unified.providers.flatMap(({ pipeline: { bulkhead } }) => bulkhead ?? [])
    }).pipe(
      Layer.provideMerge(Health.Health.layer({
        providers: [
          ...(configuration.openai === undefined ? [{ name: "openai", configured: false }] : []),
          ...unified.providers.map(({ name, pipeline, service }): Health.Provider => ({
            name,
            circuit: worstCircuit(name, pipeline.breaker),
            // By the circuit of searches, so that a probe's success closes it.
            probe: Effect.asVoid(
              pipeline.protect({ operation: "health", key: "search", idempotent: true })(service.health)
            )
          }))
        ],
        services: [{ name: service, providers: ["openai", "neon"], level: level.status }]
      })),
      Layer.merge(Layer.succeed(Stores, { home, indexing })),
      Layer.merge(Layer.succeed(Library, {
        search: (request) => searchIn(unified, request),
        documents: documentsIn(unified, yield* Event.Sink),
        lacks: Effect.map(
          Ref.get(indexing),
          Option.match({
            onNone: () => [],
            onSome: ({ done, total }) => [`${done} of ${total} documents are indexed so far`]
          })
        )
      }))
    )
  })).pipe(Layer.provideMerge(Layer.merge(Telemetry.layer(), Event.EventLog.layer())))

const searchIn = (unified: FaultTolerant, request: SearchRequest) =>
  unified.execute(
    { operation: "search", idempotent: true, cacheKey: request, tags: ["documents"], mode: Fallback.graceful() },
    (store) => store.search(request)
  )

/**
 * Reads fall back like searches. A write goes to the first provider, and fails when that does not take it; then it goes
 * to the others, and where one of those misses it, the event log says so.
 */
const documentsIn = (unified: FaultTolerant, sink: Event.Sink): Documents => {
  const read = <A, E>(operation: string, use: (store: Service) => Effect.Effect<A, E>) =>
    Effect.map(unified.execute({ operation, idempotent: true }, use), ({ value }) => value)
  const [first, ...mirrors] = unified.providers
  const write = Effect.fnUntraced(function*<A>(
    operation: string,
    use: (store: Service) => Effect.Effect<A, ProviderError>
  ) {
    const { value } = yield* unified.execute(
      // Every write of the contract may be repeated: the same id holds the same document.
      { operation, idempotent: true, mode: Fallback.failFast(), invalidates: ["documents"] },
      use
    )
    yield* Effect.forEach(
      mirrors,
      ({ name, pipeline, service }) =>
        pipeline.protect({ operation, idempotent: true })(use(service)).pipe(
          Effect.catch((error) => missed(name, operation, error))
        ),
      { discard: true }
    )
    return value
  })
  const missed = (provider: string, operation: string, error: unknown) =>
    Effect.map(Clock.currentTimeMillis, (at) =>
      sink?.({
        _tag: "Noted",
        at,
        subject: provider,
        message: `a write (${operation}) did not reach it: ${Health.kindOf(error)}`
      }))

  return {
    name: first!.name,
    add: (document) => write("add", (store) => store.add(document)),
    addMany: (documents, options) => write("addMany", (store) => store.addMany(documents, options)),
    update: (id, patch) => write("update", (store) => store.update(id, patch)),
    delete: (id) => write("delete", (store) => store.delete(id)),
    get: (id) => read("get", (store) => store.get(id)),
    list: (request) => read("list", (store) => store.list(request)),
    stats: read("stats", (store) => store.stats)
  }
}

const severity: { readonly [S in CircuitBreaker.StateName]: number } = {
  Closed: 0,
  Disabled: 0,
  ReadyToProbe: 1,
  HalfOpen: 2,
  Open: 3,
  ForcedOpen: 4
}

const closed: Health.Circuit = { state: "Closed", retryAfter: Duration.zero }

/** A provider has one circuit for each operation: the worst of them speaks for it. */
const worstCircuit = (name: string, breaker: CircuitBreaker.Service | undefined): Effect.Effect<Health.Circuit> =>
  breaker === undefined ?
    Effect.succeed(closed) :
    Effect.map(
      breaker.states,
      (states) =>
        states.filter(({ key }) => key.startsWith(`${name}/`)).reduce<Health.Circuit>(
          (worst, status) => severity[status.state] > severity[worst.state] ? status : worst,
          closed
        )
    )

/** One search without a server: the store is opened, asked and closed. */
export const searchOnce = (configuration: Configuration, request: SearchRequest) =>
  Effect.flatMap(Library, (library) => Effect.map(library.search(request), (answer) => respond(answer))).pipe(
    Effect.provide(layer(configuration))
  )
