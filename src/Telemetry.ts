/** One source for every view of what happened: counters and latency histograms by service and operation. */
import { Clock, Context, Duration, Effect, Layer, Metric, Record } from "effect"
import * as series from "./internal/telemetrySeries.ts"
import { reasons, type ReasonTag, table } from "./ProviderError.ts"

/** How a call ended. `refused`: no provider was asked (circuit open, bulkhead full, level too low). */
export type CallOutcome = "success" | "failure" | "cancelled" | "refused"

/** Whether a cache answered. */
export type CacheResult = "hit" | "stale" | "miss" | "coalesced"

/** The counters of one service's operation. Plain, synchronous, never throws; `now` is epoch milliseconds. */
export interface Recorder {
  readonly begin: (now: number) => void
  /** Every `begin` is followed by exactly one `end`. */
  readonly end: (outcome: CallOutcome, latencyMillis: number, now: number) => void
  readonly error: (category: ReasonTag, now: number) => void
  readonly retry: (now: number) => void
  readonly hedge: (now: number) => void
  readonly breakerTrip: (now: number) => void
  readonly fallback: (from: string, to: string, now: number) => void
  readonly cache: (result: CacheResult, now: number) => void
}

export interface Telemetry {
  /** The recorder of a service (or provider) and operation; the same one for the same names. */
  readonly recorder: (service: string, operation: string) => Recorder
}

/** Where calls are counted. Nothing is counted by default. */
export const Telemetry = Context.Reference<Telemetry | undefined>("holdfast/Telemetry", {
  defaultValue: () => undefined
})

/** Latencies of the calls that succeeded or failed, in milliseconds; `null` where there were none. */
export interface Latency {
  readonly mean: number | null
  readonly p50: number | null
  readonly p90: number | null
  readonly p95: number | null
  readonly p99: number | null
}

/** What was counted. At every instant `total = successful + failed + cancelled`. */
export interface Totals {
  /** Calls that ended. */
  readonly total: number
  readonly successful: number
  /** With those refused before any provider was asked. */
  readonly failed: number
  readonly refused: number
  readonly cancelled: number
  /** Attempts after the first. */
  readonly retried: number
  readonly hedged: number
  readonly breakerTrips: number
  /** Providers given up on for a call. */
  readonly fallbacks: number
  readonly cache: { readonly [Result in CacheResult]: number }
  /** Attempts that failed, by category. */
  readonly errors: { readonly [Tag in ReasonTag]: number }
  readonly latency: Latency
  /** Share of successes, 0 to 1; `null` without calls. */
  readonly successRate: number | null
  /** Share of failures, 0 to 1; `null` without calls. */
  readonly errorRate: number | null
}

export interface OperationReading extends Totals {
  readonly operation: string
}

export interface ServiceReading extends Totals {
  readonly service: string
  /** Calls under way. */
  readonly inFlight: number
  readonly operations: ReadonlyArray<OperationReading>
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
  /** Starts the windows again, of all services or of those named. Counters for Prometheus go on. */
  readonly reset: (services?: ReadonlyArray<string>) => Effect.Effect<void>
}>()("holdfast/Telemetry/Measurements") {}

/** The recorders, and what they counted; the same counters as Effect metrics, for Prometheus and OTLP. */
export const layer = (options?: Options): Layer.Layer<Measurements> =>
  Layer.effectContext(
    Effect.map(make(options), ({ measurements, telemetry }) =>
      Context.make(Measurements, measurements).pipe(Context.add(Telemetry, telemetry)))
  )

const tags = Record.keys(reasons)
const errorField = Record.map(reasons, (_, tag) => series.field.error + tags.indexOf(tag))
const cacheField = {
  hit: series.field.cacheHit,
  stale: series.field.cacheStale,
  miss: series.field.cacheMiss,
  coalesced: series.field.cacheCoalesced
} as const satisfies { readonly [Result in CacheResult]: number }

const maxFlows = 256

interface Service {
  readonly operations: Map<string, { readonly series: series.Series; readonly recorder: Recorder }>
  readonly flows: Map<string, { readonly from: string; readonly to: string; count: number }>
  since: number
}

const make = Effect.fnUntraced(function*(options?: Options) {
  const maxSeries = options?.maxSeries ?? 1_000
  const context = yield* Effect.context()
  const startedAt = yield* Clock.currentTimeMillis
  const services = new Map<string, Service>()
  const registrations: Array<Metric.Registration> = []
  let seriesCount = 0
  yield* Effect.addFinalizer(() => Effect.sync(() => registrations.forEach((registration) => registration.remove())))

  const serviceOf = (name: string): Service => {
    const known = services.get(name)
    if (known !== undefined) return known
    const made: Service = { operations: new Map(), flows: new Map(), since: startedAt }
    services.set(name, made)
    return made
  }

  const recorder = (name: string, operation: string): Recorder => {
    const known = services.get(name)?.operations.get(operation)
    if (known !== undefined) return known.recorder
    // Room for the shared name of every service that exists.
    if (seriesCount >= maxSeries && operation !== other) {
      return services.has(name) ? recorder(name, other) : recorder(other, other)
    }
    seriesCount++
    const service = serviceOf(name)
    const own = new series.Series()
    const made = makeRecorder(own, service)
    service.operations.set(operation, { series: own, recorder: made })
    registrations.push(...register(context, name, operation, own))
    return made
  }

  const totalsOf = (all: Iterable<series.Series>, from: number) => {
    const counts = series.emptyCounts()
    for (const one of all) one.addSince(from, counts)
    return counts
  }

  const read = Effect.fnUntraced(function*(options?: ReadOptions): Effect.fn.Return<Reading> {
    const to = yield* Clock.currentTimeMillis
    const from = series.windowStart(to, Duration.toMillis(Duration.fromInputUnsafe(options?.range ?? "24 hours")))
    const names = options?.services ?? [...services.keys()].sort()
    const summary = series.emptyCounts()
    const readings = names.map((name): ServiceReading => {
      const operations = [...services.get(name)?.operations ?? []]
      const all = operations.map(([, { series }]) => series)
      const counts = totalsOf(all, from)
      series.add(summary, counts)
      return {
        service: name,
        inFlight: all.reduce((sum, { inFlight }) => sum + inFlight, 0),
        ...totals(counts),
        operations: operations.map(([operation, one]) =>
          Object.assign({ operation }, totals(totalsOf([one.series], from)))
        )
      }
    })
    const since = names.map((name) => services.get(name)?.since ?? startedAt)
    return {
      window: { from: Math.max(from, since.length === 0 ? startedAt : Math.min(...since)), to },
      services: readings,
      summary: totals(summary),
      flows: names.flatMap((name) =>
        [...services.get(name)?.flows.values() ?? []].map(({ count, from, to }) => ({ service: name, from, to, count }))
      )
    }
  })

  const lifetime = Effect.sync(() =>
    [...services.keys()].sort().map((name): ServiceLifetime => {
      const counts = series.emptyCounts()
      let inFlight = 0
      for (const { series } of services.get(name)!.operations.values()) {
        series.addLifetime(counts)
        inFlight += series.inFlight
      }
      return Object.assign({ service: name, inFlight }, totals(counts))
    })
  )

  const minutes = Effect.fnUntraced(function*(name: string, count: number): Effect.fn.Return<ReadonlyArray<Minute>> {
    const now = yield* Clock.currentTimeMillis
    const wanted = Math.max(1, Math.min(60, Math.floor(count)))
    const first = Math.floor(now / 60_000) - wanted + 1
    return Array.from({ length: wanted }, (_, index) => {
      const at = (first + index) * 60_000
      const counts = series.emptyCounts()
      for (const { series } of services.get(name)?.operations.values() ?? []) series.addMinute(at, counts)
      return { at, ...totals(counts) }
    })
  })

  const reset = Effect.fnUntraced(function*(names?: ReadonlyArray<string>) {
    const now = yield* Clock.currentTimeMillis
    for (const name of names ?? services.keys()) {
      const service = services.get(name)
      if (service === undefined) continue
      for (const { series } of service.operations.values()) series.reset()
      service.flows.clear()
      service.since = now
    }
  })

  return {
    telemetry: { recorder } satisfies Telemetry,
    measurements: Measurements.of({ startedAt, read, lifetime, minutes, reset })
  }
})

const other = "other"

const makeRecorder = (own: series.Series, service: Service): Recorder => ({
  begin: () => {
    own.inFlight++
  },
  end: (outcome, latencyMillis, now) => {
    own.inFlight--
    own.count(series.field[outcome], now)
    if (outcome === "success" || outcome === "failure") own.latency(latencyMillis, now)
  },
  error: (category, now) => own.count(errorField[category], now),
  retry: (now) => own.count(series.field.retry, now),
  hedge: (now) => own.count(series.field.hedge, now),
  breakerTrip: (now) => own.count(series.field.breakerTrip, now),
  fallback: (from, to, now) => {
    own.count(series.field.fallback, now)
    const key = `${from}\u0000${to}`
    const flow = service.flows.get(key)
    if (flow !== undefined) flow.count++
    else if (service.flows.size < maxFlows) service.flows.set(key, { from, to, count: 1 })
  },
  cache: (result, now) => own.count(cacheField[result], now)
})

const totals = (counts: series.Counts): Totals => {
  const of = (index: number): number => counts.row[index]!
  const successful = of(series.field.success)
  const refused = of(series.field.refused)
  const failed = of(series.field.failure) + refused
  const cancelled = of(series.field.cancelled)
  const total = successful + failed + cancelled
  return {
    total,
    successful,
    failed,
    refused,
    cancelled,
    retried: of(series.field.retry),
    hedged: of(series.field.hedge),
    breakerTrips: of(series.field.breakerTrip),
    fallbacks: of(series.field.fallback),
    cache: {
      hit: of(cacheField.hit),
      stale: of(cacheField.stale),
      miss: of(cacheField.miss),
      coalesced: of(cacheField.coalesced)
    },
    errors: Record.map(errorField, of),
    latency: {
      mean: series.meanLatency(counts),
      p50: series.quantile(counts, 0.5),
      p90: series.quantile(counts, 0.9),
      p95: series.quantile(counts, 0.95),
      p99: series.quantile(counts, 0.99)
    },
    successRate: total === 0 ? null : successful / total,
    errorRate: total === 0 ? null : failed / total
  }
}

/** The metric families: names and labels as `/metrics` and OTLP show them. */
const families = {
  calls: ["ft_calls_total", "Calls that ended, by outcome"],
  duration: ["ft_call_duration_seconds", "Latency of the calls that succeeded or failed"],
  retries: ["ft_retries_total", "Attempts after the first"],
  hedges: ["ft_hedges_total", "Attempts started beside a slow one"],
  trips: ["ft_breaker_trips_total", "Times a circuit opened"],
  fallbacks: ["ft_fallbacks_total", "Providers given up on for a call"],
  errors: ["ft_errors_total", "Attempts that failed, by category"],
  cache: ["ft_cache_requests_total", "Cache lookups, by result"],
  inFlight: ["ft_calls_in_flight", "Calls under way"]
} as const

const outcomes = {
  success: series.field.success,
  failure: series.field.failure,
  cancelled: series.field.cancelled,
  not_permitted: series.field.refused
} as const

const noop = () => {}

/** Every series exists from the start, at 0, so that a rate sees the first error. */
const register = (
  context: Context.Context<never>,
  service: string,
  operation: string,
  own: series.Series
): Array<Metric.Registration> => {
  const labels = { service, operation }
  const counter = ([name, description]: readonly [string, string], index: number, more?: Record<string, string>) =>
    Metric.registerUnsafe(
      Metric.counter(name, { description, attributes: { ...labels, ...more }, incremental: true }),
      context,
      { get: () => ({ count: own.lifetime(index), incremental: true }), update: noop, modify: noop }
    )
  return [
    ...Object.entries(outcomes).map(([outcome, index]) => counter(families.calls, index, { outcome })),
    ...tags.map((tag) => counter(families.errors, errorField[tag], { category: table[tag].category })),
    ...Object.entries(cacheField).map(([result, index]) => counter(families.cache, index, { result })),
    counter(families.retries, series.field.retry),
    counter(families.hedges, series.field.hedge),
    counter(families.trips, series.field.breakerTrip),
    counter(families.fallbacks, series.field.fallback),
    Metric.registerUnsafe(
      Metric.gauge(families.inFlight[0], { description: families.inFlight[1], attributes: labels }),
      context,
      { get: () => ({ value: own.inFlight }), update: noop, modify: noop }
    ),
    Metric.registerUnsafe(
      Metric.histogram(families.duration[0], {
        description: families.duration[1],
        attributes: labels,
        boundaries: series.cumulative(series.emptyCounts()).map(([bound]) => bound / 1_000)
      }),
      context,
      {
        get: () => {
          const counts = series.emptyCounts()
          own.addLifetime(counts)
          const buckets = series.cumulative(counts).map(([bound, count]): [number, number] => [bound / 1_000, count])
          return {
            buckets,
            count: buckets.at(-1)?.[1] ?? 0,
            // An exporter shows neither; the sum and the buckets are what Prometheus reads.
            min: 0,
            max: 0,
            sum: counts.latencyMillis / 1_000
          }
        },
        update: noop,
        modify: noop
      }
    )
  ]
}
