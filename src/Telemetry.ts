/** One source for every view of what happened: counters and latency histograms by service and operation. */
import { Clock, Context, type Duration, Effect, Layer, type Scope } from "effect"
import type { Shown } from "./internal/metricRegistry.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import * as metrics from "./internal/telemetryMetrics.ts"
import * as series from "./internal/telemetrySeries.ts"
import { cacheField, type CacheResult, type Completeness, type Totals, totals } from "./internal/telemetryTotals.ts"
import {
  type BudgetReading,
  type CircuitReading,
  type LevelReading,
  type Watch,
  watch,
  type Watched
} from "./internal/telemetryWatch.ts"
import { addRow, type Row, windowStart } from "./internal/windowedCounts.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import type { ReasonTag } from "./ProviderError.ts"

export type { CacheResult, Completeness, Latency, Totals } from "./internal/telemetryTotals.ts"
export type { BudgetReading, CircuitReading, LevelReading, Watched } from "./internal/telemetryWatch.ts"

/** How a call ended. `refused`: no provider was asked (circuit open, bulkhead full, level too low). */
export type CallOutcome = "success" | "failure" | "cancelled" | "refused"

/** The counters of one service's operation. Plain, synchronous, never throws; `now` is epoch milliseconds. */
export interface Recorder {
  readonly begin: (now: number) => void
  /**
   * Every `begin` is followed by exactly one `end`. Of an attempt at a provider, `attempt` is its number, 0 for the first,
   * and `handled` tells whether it failed with what retry sees to.
   */
  readonly end: (
    outcome: CallOutcome,
    latencyMillis: number,
    now: number,
    attempt?: number,
    handled?: boolean
  ) => void
  /** A call to a provider failed, with or without attempts after the first. */
  readonly gaveUp: (retried: boolean) => void
  /** What an attempt failed with; told before its `end`. */
  readonly error: (category: ReasonTag, now: number) => void
  readonly retry: (now: number) => void
  readonly hedge: (now: number) => void
  readonly breakerTrip: (now: number) => void
  /** `mode` is that of the call, such as `"graceful"`. */
  readonly fallback: (from: string, to: string, mode: string, now: number) => void
  readonly cache: (result: CacheResult, now: number) => void
  /** Of a search, beside its `end`. */
  readonly answered: (completeness: Completeness, now: number) => void
}

/** What is known of an operation before its first call, so that all of its series are there from the start. */
export interface About {
  /** A provider's calls are attempts; a search's answers are more or less complete. Defaults to `"service"`. */
  readonly kind?: metrics.Kind | undefined
  /** Where calls may go from a provider that fails. */
  readonly flows?: ReadonlyArray<Pick<Flow, "from" | "to" | "mode">> | undefined
}

export interface Telemetry {
  /** The recorder of a service (or provider) and operation; the same one for the same names. */
  readonly recorder: (service: string, operation: string, about?: About) => Recorder
}

/** Where calls are counted. Nothing is counted by default. */
export const Telemetry = Context.Reference<Telemetry | undefined>("holdfast/Telemetry", {
  defaultValue: () => undefined
})

export interface OperationReading extends Totals {
  readonly operation: string
}

export interface ServiceReading extends Totals {
  readonly service: string
  /** Calls under way. */
  readonly inFlight: number
  readonly operations: ReadonlyArray<OperationReading>
  /** Those that are watched, over the same window. */
  readonly circuits: ReadonlyArray<CircuitReading>
  readonly level: LevelReading | undefined
  /** What pays for its retries and hedges, where that is watched; `retried` and `hedged` tell what was spent. */
  readonly retryBudget: BudgetReading | undefined
}

export interface ServiceLifetime extends Totals {
  readonly service: string
  /** Calls under way. */
  readonly inFlight: number
}

/** Where calls went that their provider could not answer, since the start or the last reset. */
export interface Flow {
  readonly service: string
  readonly from: string
  readonly to: string
  /** The mode of the calls, such as `"graceful"`. */
  readonly mode: string
  readonly count: number
}

export interface Reading {
  /** What the figures cover, in epoch milliseconds: never from before the start or the last reset. */
  readonly window: { readonly from: number; readonly to: number }
  readonly services: ReadonlyArray<ServiceReading>
  readonly summary: Totals
  readonly flows: ReadonlyArray<Flow>
}

/** One minute of a service. */
export interface Minute extends Totals {
  /** When it began, in epoch milliseconds. */
  readonly at: number
}

export interface ReadOptions {
  /** Services to read, in this order; one that was never called reads zero. Defaults to all, by name. */
  readonly services?: ReadonlyArray<string> | undefined
  /**
   * How far back. Up to an hour it is cut to whole minutes, beyond that to whole thirds of an hour, and at a day.
   * Defaults to 24 hours.
   */
  readonly range?: Duration.Input | undefined
}

export interface Options {
  /** Pairs of service and operation that are counted apart; later ones share the name `other`. Defaults to 1,000. */
  readonly maxSeries?: number | undefined
}

/** What the recorders have counted. */
export class Measurements extends Context.Service<Measurements, {
  /** When counting began, in epoch milliseconds. */
  readonly startedAt: number
  readonly read: (options?: ReadOptions) => Effect.Effect<Reading>
  /** Every service since the start, whatever was reset: figures that only grow. */
  readonly lifetime: Effect.Effect<ReadonlyArray<ServiceLifetime>>
  /** The last minutes of a service, oldest first, the current one last. At most 60. */
  readonly minutes: (service: string, count: number) => Effect.Effect<ReadonlyArray<Minute>>
  /** Follows what belongs to a service or provider until the scope closes, so that readings tell of it. */
  readonly watch: (service: string, watched: Watched) => Effect.Effect<void, never, Scope.Scope>
  /** Starts the windows again, of all services or of those named. Counters for Prometheus go on. */
  readonly reset: (services?: ReadonlyArray<string>) => Effect.Effect<void>
}>()("holdfast/Telemetry/Measurements") {}

/** The recorders, and what they counted; the same counters as Effect metrics, for Prometheus and OTLP. */
export const layer = (options?: Options): Layer.Layer<Measurements, InvalidOptions> =>
  Layer.effectContext(
    Effect.map(make(options), ({ measurements, telemetry }) =>
      Context.make(Measurements, measurements).pipe(Context.add(Telemetry, telemetry)))
  )

/** Paths of fallback that are kept apart for each service; later ones share the name `other`. */
const maxFlows = 256

interface FlowCount {
  readonly labels: Pick<Flow, "from" | "to" | "mode">
  /** Since the start. */
  count: number
  /** How many of them were before the last reset. */
  before: number
}

interface Service {
  readonly operations: Map<string, { readonly series: series.Series; readonly recorder: Recorder }>
  readonly kinds: Set<metrics.Kind>
  readonly flows: Map<string, FlowCount>
  readonly watches: Set<Watch>
  since: number
}

const other = "other"

const make = Effect.fnUntraced(function*(options?: Options) {
  const maxSeries = yield* checked(() => checks("Telemetry").int("maxSeries", options?.maxSeries, 1_000))
  const context = yield* Effect.context()
  const startedAt = yield* Clock.currentTimeMillis
  const services = new Map<string, Service>()
  const shown: Array<Shown> = []
  let seriesCount = 0
  yield* Effect.addFinalizer(() => Effect.sync(() => shown.forEach((one) => one.remove())))

  const serviceOf = (name: string): Service => {
    const known = services.get(name)
    if (known !== undefined) return known
    const made: Service = {
      operations: new Map(),
      kinds: new Set(),
      flows: new Map(),
      watches: new Set(),
      since: startedAt
    }
    services.set(name, made)
    return made
  }
  const seriesOf = (service: Service | undefined): ReadonlyArray<series.Series> =>
    Array.from(service?.operations.values() ?? [], ({ series }) => series)

  const flowOf = (name: string, from: string, to: string, mode: string): FlowCount => {
    const { flows } = serviceOf(name)
    const key = [from, to, mode].join("\u0000")
    const known = flows.get(key)
    if (known !== undefined) return known
    if (flows.size >= maxFlows && from !== other) return flowOf(name, other, other, other)
    const made: FlowCount = { labels: { from, to, mode }, count: 0, before: 0 }
    flows.set(key, made)
    shown.push(metrics.ofFlow(context, { service: name, ...made.labels }, () => made.count))
    return made
  }

  const recorder = (name: string, operation: string, about?: About): Recorder => {
    const known = services.get(name)?.operations.get(operation)
    if (known === undefined && seriesCount >= maxSeries && operation !== other) {
      // Room for the shared name of every service that exists.
      return services.has(name) ? recorder(name, other, about) : recorder(other, other, about)
    }
    const service = serviceOf(name)
    if (service.flows.size === 0) about?.flows?.forEach(({ from, mode, to }) => flowOf(name, from, to, mode))
    if (known !== undefined) return known.recorder
    seriesCount++
    const kind = about?.kind ?? "service"
    const own = new series.Series()
    const made = makeRecorder(own, (from, to, mode) => flowOf(name, from, to, mode))
    service.operations.set(operation, { series: own, recorder: made })
    shown.push(...metrics.ofOperation(context, { service: name, operation }, kind, own))
    for (const one of kind === "search" ? ["service", "search"] as const : [kind]) {
      if (service.kinds.has(one)) continue
      service.kinds.add(one)
      shown.push(...metrics.ofService(context, name, one, () => seriesOf(service)))
    }
    return made
  }

  const totalsOf = (all: Iterable<series.Series>, from: number): Row => {
    const row = series.emptyRow()
    for (const { counts } of all) counts.addSince(from, row)
    return row
  }

  const readService = Effect.fnUntraced(function*(name: string, from: number, summary: Row) {
    const service = services.get(name)
    const operations = [...service?.operations ?? []]
    const all = seriesOf(service)
    const row = totalsOf(all, from)
    addRow(summary, row)
    const watches = Array.from(service?.watches ?? [])
    const reading: ServiceReading = {
      service: name,
      inFlight: all.reduce((sum, { inFlight }) => sum + inFlight, 0),
      ...totals(row),
      operations: operations.map(([operation, one]) =>
        Object.assign({ operation }, totals(totalsOf([one.series], from)))
      ),
      circuits: (yield* Effect.forEach(watches, ({ circuits }) => circuits(from))).flat(),
      level: (yield* Effect.forEach(watches, ({ level }) => level(from))).find((it) => it !== undefined),
      retryBudget: (yield* Effect.forEach(watches, ({ budget }) => budget(from))).find((it) => it !== undefined)
    }
    return reading
  })

  const read = Effect.fnUntraced(function*(options?: ReadOptions): Effect.fn.Return<Reading> {
    const to = yield* Clock.currentTimeMillis
    const from = windowStart(to, millisOf("Telemetry", "range", options?.range ?? "24 hours"))
    const names = options?.services ?? [...services.keys()].sort()
    const summary = series.emptyRow()
    const readings = yield* Effect.forEach(names, (name) => readService(name, from, summary))
    const since = names.map((name) => services.get(name)?.since ?? startedAt)
    return {
      window: { from: Math.max(from, since.length === 0 ? startedAt : Math.min(...since)), to },
      services: readings,
      summary: totals(summary),
      flows: names.flatMap((name) =>
        Array.from(services.get(name)?.flows.values() ?? []).flatMap(({ before, count, labels }) =>
          count === before ? [] : [{ service: name, ...labels, count: count - before }]
        )
      )
    }
  })

  const lifetime = Effect.sync(() =>
    [...services.keys()].sort().map((name): ServiceLifetime => {
      const row = series.emptyRow()
      let inFlight = 0
      for (const one of seriesOf(services.get(name))) {
        one.counts.addLifetime(row)
        inFlight += one.inFlight
      }
      return Object.assign({ service: name, inFlight }, totals(row))
    })
  )

  const minutes = Effect.fnUntraced(function*(name: string, count: number): Effect.fn.Return<ReadonlyArray<Minute>> {
    const now = yield* Clock.currentTimeMillis
    const wanted = Math.max(1, Math.min(60, Math.floor(count)))
    const first = Math.floor(now / 60_000) - wanted + 1
    return Array.from({ length: wanted }, (_, index) => {
      const at = (first + index) * 60_000
      const row = series.emptyRow()
      for (const { counts } of seriesOf(services.get(name))) counts.addMinute(at, row)
      return { at, ...totals(row) }
    })
  })

  const watchService = Effect.fnUntraced(function*(name: string, watched: Watched) {
    const service = serviceOf(name)
    const started = yield* watch(watched, maxSeries)
    service.watches.add(started)
    yield* Effect.addFinalizer(() => Effect.sync(() => service.watches.delete(started)))
    if (watched.budget === undefined) return
    const clock = yield* Clock.Clock
    const { core } = watched.budget
    const spent = () =>
      seriesOf(service).reduce(
        (sum, { counts }) => sum + counts.lifetime(series.field.retry) + counts.lifetime(series.field.hedge),
        0
      )
    const own = metrics.ofBudget(context, name, {
      left: () => core.balance(clock.currentTimeMillisUnsafe()),
      spent,
      exhausted: () => core.refused
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => own.forEach((one) => one.remove())))
  })

  const reset = Effect.fnUntraced(function*(names?: ReadonlyArray<string>) {
    const now = yield* Clock.currentTimeMillis
    for (const name of names ?? services.keys()) {
      const service = services.get(name)
      if (service === undefined) continue
      for (const { counts } of seriesOf(service)) counts.reset()
      for (const flow of service.flows.values()) flow.before = flow.count
      for (const one of service.watches) one.reset(now)
      service.since = now
    }
  })

  return {
    telemetry: { recorder } satisfies Telemetry,
    measurements: Measurements.of({ startedAt, read, lifetime, minutes, watch: watchService, reset })
  }
})

const makeRecorder = (
  own: series.Series,
  flowOf: (from: string, to: string, mode: string) => FlowCount
): Recorder => ({
  begin: () => {
    own.inFlight++
  },
  end: (outcome, latencyMillis, now, attempt = 0, handled = false) => {
    own.inFlight--
    if (outcome === "success" && attempt === 0) own.succeeded(latencyMillis, now)
    else if (outcome === "success" || outcome === "failure") own.ended(outcome, latencyMillis, now, attempt, handled)
    else own.count(series.field[outcome], now)
  },
  gaveUp: (retried) => {
    own.retryCalls[retried ? "failedWith" : "failedWithout"]++
  },
  error: (category, now) => own.count(metrics.errorField[category], now),
  retry: (now) => own.count(series.field.retry, now),
  hedge: (now) => own.count(series.field.hedge, now),
  breakerTrip: (now) => own.count(series.field.breakerTrip, now),
  fallback: (from, to, mode, now) => {
    own.count(series.field.fallback, now)
    flowOf(from, to, mode).count++
  },
  cache: (result, now) => own.count(cacheField[result], now),
  answered: (completeness, now) => own.count(series.field[completeness], now)
})
