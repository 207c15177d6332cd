/**
 * What an operator sees and can move: circuits, service levels, capacity, alerts, chaos. The server says once which it
 * has; the API, the event stream and the dashboard read from here.
 */
import { Clock, Context, Duration, Effect, Layer, Record, Schema } from "effect"
import { Alert, Alerts } from "../Alerts.ts"
import type * as Bulkhead from "../Bulkhead.ts"
import * as Chaos from "../Chaos.ts"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Event from "../Event.ts"
import { Health, State } from "../Health.ts"
import { table } from "../ProviderError.ts"
import { Measurements, type Totals } from "../Telemetry.ts"

const Count = Schema.Int
const Millis = Schema.NullOr(Schema.Finite)

/** A circuit as the dashboard shows it. */
export const CircuitView = Schema.Struct({
  key: Schema.String,
  state: Schema.Literals(["Closed", "Open", "ReadyToProbe", "HalfOpen", "ForcedOpen", "Disabled"]),
  since: Schema.Finite,
  /** Milliseconds until a call may pass; `null` when an operator decides. */
  retryAfterMillis: Schema.NullOr(Schema.Finite),
  calls: Count,
  failures: Count,
  slow: Count,
  consecutiveFailures: Count,
  trips: Count,
  refused: Count
})

export const LevelView = Schema.Struct({
  service: Schema.String,
  /** 0 is Full, 4 is Emergency. */
  rank: Count,
  name: Schema.String,
  since: Schema.Finite,
  reasons: Schema.Array(Schema.String)
})

/** Counters since the start or the last reset: the reader takes differences. */
export const ServiceView = Schema.Struct({
  service: Schema.String,
  inFlight: Count,
  total: Count,
  successful: Count,
  failed: Count,
  refused: Count,
  cancelled: Count,
  retried: Count,
  hedged: Count,
  fallbacks: Count,
  cache: Schema.Struct({ hit: Count, stale: Count, miss: Count, coalesced: Count }),
  errors: Schema.Record(Schema.String, Count),
  /** Over the last five minutes, in milliseconds. */
  latency: Schema.Struct({ p50: Millis, p95: Millis, p99: Millis }),
  /** How fast the error budget of 99 % burns over the last hour and the last five minutes: 1 spends it in 30 days. */
  burn: Schema.Struct({ long: Millis, short: Millis })
})

/** Everything at one instant: whoever comes late needs no history. */
export const Snapshot = Schema.Struct({
  at: Schema.Finite,
  startedAt: Schema.Finite,
  health: Schema.Array(Schema.Struct({ name: Schema.String, state: State, reasons: Schema.Array(Schema.String) })),
  levels: Schema.Array(LevelView),
  circuits: Schema.Array(CircuitView),
  services: Schema.Array(ServiceView),
  flows: Schema.Array(
    Schema.Struct({ service: Schema.String, from: Schema.String, to: Schema.String, count: Count })
  ),
  capacity: Schema.Array(Schema.Struct({ name: Schema.String, running: Count, limit: Count, queued: Count })),
  alerts: Schema.Array(Alert),
  /** The plan that runs, until when (epoch milliseconds) and what it has done. */
  chaos: Schema.NullOr(
    Schema.Struct({ rules: Count, until: Schema.NullOr(Schema.Finite), calls: Count, faults: Count })
  )
})
export type Snapshot = typeof Snapshot.Type

/** A breaker and whom it guards. */
export interface Guard {
  readonly provider: string
  readonly breaker: CircuitBreaker.Service
}

/** A service's level and how an operator moves it. */
export interface Level {
  readonly service: string
  readonly status: Effect.Effect<Omit<typeof LevelView.Type, "service">>
  /** Holds the level at a rank, for a while or until released. */
  readonly hold: (rank: number, reason: string, duration?: Duration.Input) => Effect.Effect<void>
  readonly release: Effect.Effect<void>
}

export interface Options {
  readonly guards?: ReadonlyArray<Guard> | undefined
  readonly levels?: ReadonlyArray<Level> | undefined
  readonly bulkheads?: ReadonlyArray<Bulkhead.Service> | undefined
}

export class Operations extends Context.Service<Operations, {
  readonly guards: ReadonlyArray<Guard>
  readonly levels: ReadonlyArray<Level>
  readonly alerts: Alerts["Service"] | undefined
  readonly chaos: Chaos.Service | undefined
  /** At most one is taken each second, however many ask. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Tells the events of what an operator did. */
  readonly audit: (action: string, target: string, detail?: string) => Effect.Effect<void>
}>()("holdfast/http/Operations") {
  static readonly layer = (options: Options): Layer.Layer<Operations, never, Measurements | Health> =>
    Layer.effect(Operations, make(options))
}

/** A circuit's status as it is shown. */
export const circuitView = ({ retryAfter, ...status }: CircuitBreaker.Status): typeof CircuitView.Type => ({
  ...status,
  retryAfterMillis: Duration.isFinite(retryAfter) ? Duration.toMillis(retryAfter) : null
})

/** The objective that the dashboard's burn rates are taken against. */
const objective = 0.99

const make = Effect.fnUntraced(function*(options: Options) {
  const measurements = yield* Measurements
  const health = yield* Health
  const alerts = yield* Effect.serviceOption(Alerts)
  const chaos = yield* Chaos.Chaos
  const sink = yield* Event.Sink
  const guards = options.guards ?? []
  const levels = options.levels ?? []

  const take = Effect.gen(function*() {
    const at = yield* Clock.currentTimeMillis
    const all = yield* measurements.read()
    const names = all.services.map(({ service }) => service)
    const recent = yield* measurements.read({ services: names, range: "5 minutes" })
    const hour = yield* measurements.read({ services: names, range: "1 hour" })
    const circuits = yield* Effect.forEach(guards, ({ breaker }) => breaker.states)
    const running = chaos === undefined ? undefined : yield* chaos.running
    const snapshot: Snapshot = {
      at,
      startedAt: measurements.startedAt,
      health: (yield* health.check()).map(({ name, reasons, state }) => ({ name, reasons, state })),
      levels: yield* Effect.forEach(
        levels,
        ({ service, status }) => Effect.map(status, (level) => Object.assign({ service }, level))
      ),
      circuits: circuits.flat().map(circuitView),
      services: all.services.map((service, index) =>
        Object.assign({}, service, {
          errors: Object.fromEntries(
            Record.toEntries(service.errors).flatMap(([tag, count]) =>
              count === 0 ? [] : [[table[tag].category, count]]
            )
          ),
          latency: recent.services[index]!.latency,
          burn: { long: burn(hour.services[index]!), short: burn(recent.services[index]!) }
        })
      ),
      flows: all.flows,
      capacity: yield* Effect.forEach(
        options.bulkheads ?? [],
        ({ name, stats }) => Effect.map(stats, (stats) => Object.assign({ name }, stats))
      ),
      alerts: alerts._tag === "None" ? [] : yield* alerts.value.current,
      chaos: running === undefined || running._tag === "None" ? null : {
        rules: running.value.plan.rules.length,
        until: Number.isFinite(running.value.until) ? running.value.until : null,
        calls: running.value.calls,
        faults: running.value.faults
      }
    }
    return snapshot
  })

  return Operations.of({
    guards,
    levels,
    alerts: alerts._tag === "None" ? undefined : alerts.value,
    chaos,
    snapshot: yield* Effect.cachedWithTTL(take, "1 second"),
    audit: (action, target, detail) =>
      Effect.map(Clock.currentTimeMillis, (at) =>
        sink?.({
          _tag: "OperatorAction",
          at,
          action,
          target,
          actor: "operator",
          ...(detail === undefined ? {} : { detail })
        }))
  })
})

const burn = ({ errorRate }: Totals): number | null => errorRate === null ? null : errorRate / (1 - objective)
