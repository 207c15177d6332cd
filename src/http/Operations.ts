/**
 * What an operator sees and can move: circuits, service levels, capacity, alerts, chaos. The server says once which it
 * has; the API, the event stream, the metrics and the dashboard read from here.
 */
import { Clock, Context, Duration, Effect, Layer, Record } from "effect"
import { Alerts } from "../Alerts.ts"
import type * as Bulkhead from "../Bulkhead.ts"
import * as Chaos from "../Chaos.ts"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Event from "../Event.ts"
import { Health } from "../Health.ts"
import type * as Pipeline from "../Pipeline.ts"
import { table } from "../ProviderError.ts"
import type * as RateLimit from "../RateLimit.ts"
import type * as ServiceLevel from "../ServiceLevel.ts"
import { Measurements, type Totals, type Watched } from "../Telemetry.ts"
import type * as Outbox from "../vectorstore/Outbox.ts"
import type { CircuitView, LevelView, Snapshot, Standing } from "./Snapshot.ts"

/** A breaker and whom it guards. */
export interface Guard {
  readonly provider: string
  readonly breaker: CircuitBreaker.Service
}

/** A service's level and how an operator moves it. */
export interface Level {
  readonly service: string
  readonly status: Effect.Effect<Omit<typeof LevelView.Type, "service">>
  /** Holds the level at a rank, for a while or until released, and tells the events that an operator did. */
  readonly hold: (rank: number, reason: string, duration?: Duration.Input) => Effect.Effect<void>
  readonly release: Effect.Effect<void>
  /** Where telemetry sees how long it was at each. */
  readonly watched?: Watched["level"] | undefined
}

/** A service level as an operator sees and moves it. */
export const levelOf = (level: ServiceLevel.Service): Level => ({
  service: level.service,
  status: Effect.map(level.status, ({ name, override, rank, reasons, since }) =>
    override === undefined
      ? { rank, name, since, reasons: reasons.map(({ reason }) => reason) }
      : {
        rank,
        name,
        since: override.since,
        reasons: [override.reason],
        heldUntil: Number.isFinite(override.until) ? override.until : null
      }),
  hold: (rank, reason, duration) =>
    Effect.orDie(
      level.force(rank, { reason, actor: "operator", ...(duration === undefined ? {} : { for: duration }) })
    ),
  release: level.release,
  watched: level
})

export interface Options {
  /** Their circuits, bulkheads, rate limits and budgets. */
  readonly pipelines?:
    | ReadonlyArray<Pick<Pipeline.Pipeline<unknown>, "provider" | "breaker" | "bulkhead" | "rateLimit" | "budget">>
    | undefined
  readonly levels?: ReadonlyArray<Level> | undefined
  /** Breakers that are in no pipeline. */
  readonly guards?: ReadonlyArray<Guard> | undefined
  readonly bulkheads?: ReadonlyArray<Bulkhead.Service> | undefined
  readonly rateLimits?: ReadonlyArray<Pick<RateLimit.Service, "name" | "available">> | undefined
  /** What is on its way to mirrors. */
  readonly outboxes?: ReadonlyArray<Pick<Outbox.Outbox, "lag">> | undefined
}

export class Operations extends Context.Service<Operations, {
  readonly guards: ReadonlyArray<Guard>
  readonly levels: ReadonlyArray<Level>
  readonly alerts: Alerts["Service"] | undefined
  readonly chaos: Chaos.Service | undefined
  /** What stands now, cheap to ask. */
  readonly standing: Effect.Effect<Standing>
  /** At most one is taken each second, however many ask. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Tells the events of what an operator did. */
  readonly audit: (action: string, target: string, detail?: string) => Effect.Effect<void>
}>()("holdfast/http/Operations") {
  static readonly layer = (options: Options): Layer.Layer<Operations, never, Measurements | Health> =>
    Layer.effect(Operations, make(options))
}

/** A circuit as it is shown. */
export const circuitView = ({ breaker, provider }: Guard, status: CircuitBreaker.Status): CircuitView => {
  const { late: _, retryAfter, ...shown } = status
  const { failureRate, failureThreshold, minimumThroughput, slowCallRate } = breaker.core(status.key).settings.rules
  const orNever = (value: number): number | null => Number.isFinite(value) ? value : null
  return {
    ...shown,
    provider,
    retryAfterMillis: Duration.isFinite(retryAfter) ? Duration.toMillis(retryAfter) : null,
    opensAt: {
      failureRate: orNever(failureRate),
      slowCallRate: orNever(slowCallRate),
      minimumCalls: minimumThroughput,
      consecutiveFailures: orNever(failureThreshold)
    }
  }
}

/** The objective that the dashboard's burn rates are taken against. */
const objective = 0.99

const make = Effect.fnUntraced(function*(options: Options) {
  const measurements = yield* Measurements
  const health = yield* Health
  const alerts = yield* Effect.serviceOption(Alerts)
  const chaos = yield* Chaos.Chaos
  const sink = yield* Event.Sink
  const { levels = [], outboxes = [], pipelines = [] } = options
  const guards = [
    ...pipelines.flatMap(({ breaker, provider }) => breaker === undefined ? [] : [{ provider, breaker }]),
    ...options.guards ?? []
  ]
  const bulkheads = [...pipelines.flatMap(({ bulkhead }) => bulkhead ?? []), ...options.bulkheads ?? []]
  // A pipeline's limit may be replaced while it runs.
  const rateLimits = Effect.sync(() => [
    ...pipelines.flatMap(({ rateLimit }) => rateLimit ?? []),
    ...options.rateLimits ?? []
  ])
  yield* Effect.forEach(guards, ({ breaker, provider }) => measurements.watch(provider, { breaker }))
  yield* Effect.forEach(pipelines, ({ budget, provider }) => measurements.watch(provider, { budget }))
  yield* Effect.forEach(levels, ({ service, watched }) => measurements.watch(service, { level: watched }))

  const standing = Effect.gen(function*() {
    const circuits = yield* Effect.forEach(
      guards,
      (guard) => Effect.map(guard.breaker.states, (all) => all.map((status) => circuitView(guard, status)))
    )
    const found: Standing = {
      at: yield* Clock.currentTimeMillis,
      circuits: circuits.flat(),
      levels: yield* Effect.forEach(
        levels,
        ({ service, status }) => Effect.map(status, (level) => Object.assign({ service }, level))
      ),
      capacity: yield* Effect.forEach(
        bulkheads,
        ({ name, stats }) => Effect.map(stats, (stats) => Object.assign({ name }, stats))
      ),
      rateLimits: yield* Effect.flatMap(
        rateLimits,
        (all) =>
          Effect.forEach(all, ({ available, name }) => Effect.map(available, (remaining) => ({ name, remaining })))
      ),
      mirrors: (yield* Effect.forEach(outboxes, ({ lag }) => lag)).flat()
    }
    return found
  })

  const take = Effect.gen(function*() {
    const stands = yield* standing
    const all = yield* measurements.read()
    const names = all.services.map(({ service }) => service)
    const over = (range: Duration.Input) =>
      Effect.map(measurements.read({ services: names, range }), ({ services }) => services)
    const [m5, m30, h1, h6] = yield* Effect.all([
      over("5 minutes"),
      over("30 minutes"),
      over("1 hour"),
      over("6 hours")
    ])
    const running = chaos === undefined ? undefined : yield* chaos.running
    const snapshot: Snapshot = {
      ...stands,
      startedAt: measurements.startedAt,
      health: (yield* health.check()).map(({ name, reasons, state }) => ({ name, reasons, state })),
      services: all.services.map(({ circuits: _circuits, level: _level, operations: _operations, ...service }, index) =>
        Object.assign(service, {
          errors: Object.fromEntries(
            Record.toEntries(service.errors).flatMap(([tag, count]) =>
              count === 0 ? [] : [[table[tag].category, count]]
            )
          ),
          latency: m5[index]!.latency,
          burn: { "5m": burn(m5[index]!), "30m": burn(m30[index]!), "1h": burn(h1[index]!), "6h": burn(h6[index]!) },
          retryBudget: service.retryBudget ?? null
        })
      ),
      flows: all.flows,
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
    standing,
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

const burn = ({ errorRate, total }: Totals) => ({
  rate: errorRate === null ? null : errorRate / (1 - objective),
  calls: total
})
