/** What is counted of one service's operation: the fields, the buckets of its latencies, and what can be read from them. */
import { type Row, WindowedCounts } from "./windowedCounts.ts"

/** Where each count stands in a row. */
export const field = {
  success: 0,
  failure: 1,
  cancelled: 2,
  refused: 3,
  retry: 4,
  hedge: 5,
  breakerTrip: 6,
  fallback: 7,
  cacheHit: 8,
  cacheStale: 9,
  cacheMiss: 10,
  cacheCoalesced: 11,
  complete: 12,
  partial: 13,
  stale: 14,
  lexical: 15,
  failed: 16,
  /** The sum of the latencies, in microseconds. */
  latencyMicros: 17,
  /** The first of thirteen error categories. */
  error: 18,
  /** The first of the latency buckets. */
  latency: 31
} as const

/** Three buckets to the octave, so that 10 ms times a power of two is always a bound: 0.3125 ms to 81.92 s. */
const lowestMillis = 0.3125
const perOctave = 3
const octaves = 18
const last = perOctave * octaves + 1
const buckets = last + 1
const width = field.latency + buckets

/** The upper bound of a latency bucket in milliseconds; the last has none. */
export const boundOf = (bucket: number): number =>
  bucket >= last ? Number.POSITIVE_INFINITY : lowestMillis * 2 ** (bucket / perOctave)

/** The bucket of a latency: the first whose bound is not below it. */
export const bucketOf = (millis: number): number =>
  !(millis > lowestMillis)
    ? 0
    // What is a bound but for rounding belongs to it.
    : Math.min(last, Math.ceil(Math.log2(millis / lowestMillis) * perOctave - 1e-9))

/**
 * Whole, so that differences of sums are exact: a counter that seems to fall is taken for a new one. What is no finite
 * latency adds nothing: no sum would come back from it.
 */
const microsOf = (millis: number): number => millis > 0 && millis < Infinity ? Math.round(millis * 1_000) : 0

export const emptyRow = (): Row => new Float64Array(width)

/** The calls that reached their end by themselves: those whose latency was kept. */
const measured = (row: Row): number => row[field.success]! + row[field.failure]!

/** In milliseconds; `null` without calls. */
export const meanLatency = (row: Row): number | null =>
  measured(row) === 0 ? null : row[field.latencyMicros]! / 1_000 / measured(row)

/**
 * The latency below which a share `quantile` of the calls stayed, within 13 % from 0.3 ms to 82 s, and never above that;
 * `null` without calls.
 */
export const quantile = (row: Row, quantile: number): number | null => {
  const total = measured(row)
  if (total === 0) return null
  const rank = Math.max(1, Math.ceil(quantile * total))
  let before = 0
  for (let bucket = 0; bucket < last; bucket++) {
    const here = row[field.latency + bucket]!
    if (before + here >= rank) {
      const upper = boundOf(bucket)
      const lower = bucket === 0 ? 0 : boundOf(bucket - 1)
      return lower + (upper - lower) * ((rank - before) / here)
    }
    before += here
  }
  return boundOf(last - 1)
}

/** Latencies since the process began, as a Prometheus histogram shows them. */
export interface Histogram {
  /** `[upper bound in milliseconds, calls at or below it]`; the last bound is infinite. */
  readonly cumulative: ReadonlyArray<readonly [number, number]>
  readonly count: number
  readonly sumMillis: number
}

/** Bounds of an octave each: 0.3125 ms, 0.625 ms and so on. */
export const fine: Step = perOctave
/** Bounds of two octaves each. */
export const coarse: Step = 2 * perOctave

/** How many buckets come together in a histogram. */
type Step = number

/** The bounds of a histogram in milliseconds, the infinite one last. */
export const boundsOf = (step: Step): ReadonlyArray<number> => [
  ...Array.from({ length: Math.ceil(last / step) }, (_, index) => boundOf(index * step)),
  Infinity
]

const boundIndex = (bucket: number, step: Step): number => Math.ceil(bucket / step)

/** Latencies that are seldom enough to be counted apart, over the lifetime alone. */
class Latencies {
  readonly counts: Float64Array
  micros = 0
  readonly step: Step

  constructor(step: Step) {
    this.step = step
    this.counts = new Float64Array(boundIndex(last, step) + 1)
  }

  record(bucket: number, micros: number): void {
    this.counts[boundIndex(bucket, this.step)]!++
    this.micros += micros
  }
}

/** Attempts are told apart by their number up to 3, and by whether they failed with what retry sees to. */
const attemptKind = (attempt: number, handled: boolean): number => 2 * Math.min(attempt, 3) + (handled ? 1 : 0)

export class Series {
  readonly counts = new WindowedCounts(width)
  inFlight = 0
  /** Calls of a provider that retry had a part in, over the lifetime: without it those that succeed are not counted here. */
  readonly retryCalls = { successfulWith: 0, failedWithout: 0, failedWith: 0 }
  #failures: Latencies | undefined
  /** By `attemptKind`. The first, which nearly all attempts are, is what is left of all. */
  #attempts: Array<Latencies | undefined> | undefined

  count(index: number, now: number): void {
    this.counts.add(index, 1, now)
  }

  /** A call, or the first attempt of one, that succeeded: what happens most, and so does the least. */
  succeeded(latencyMillis: number, now: number): void {
    const row = this.counts.current(now)
    row[field.success]!++
    row[field.latency + bucketOf(latencyMillis)]!++
    row[field.latencyMicros]! += microsOf(latencyMillis)
  }

  /** Any other call or attempt that succeeded or failed. `attempt` counts from 0; `handled` where retry sees to it. */
  ended(
    outcome: "success" | "failure",
    latencyMillis: number,
    now: number,
    attempt: number,
    handled: boolean
  ): void {
    const bucket = bucketOf(latencyMillis)
    const micros = microsOf(latencyMillis)
    const row = this.counts.current(now)
    row[field[outcome]]!++
    row[field.latency + bucket]!++
    row[field.latencyMicros]! += micros
    if (outcome === "failure") (this.#failures ??= new Latencies(fine)).record(bucket, micros)
    else if (attempt > 0) this.retryCalls.successfulWith++
    const kind = attemptKind(attempt, handled)
    if (kind === 0) return
    this.#attempts ??= []
    ;(this.#attempts[kind] ??= new Latencies(coarse)).record(bucket, micros)
  }

  /** The latencies of all calls that ended so. */
  durations(outcome: "success" | "failure"): Histogram {
    const failures = this.#failures === undefined ? [] : [this.#failures]
    return outcome === "failure" ? histogramOf(fine, failures) : histogramOf(fine, failures, this.#lifetime())
  }

  /** The latencies of the attempts of a number, which retry saw to or not. */
  attempts(attempt: number, handled: boolean): Histogram {
    const kind = attemptKind(attempt, handled)
    const apart = (kind === 0 ? this.#attempts : [this.#attempts?.[kind]])?.filter((it) => it !== undefined) ?? []
    return kind === 0 ? histogramOf(coarse, apart, this.#lifetime()) : histogramOf(coarse, apart)
  }

  #lifetime(): Row {
    const row = emptyRow()
    this.counts.addLifetime(row)
    return row
  }
}

/** Adds the parts up, or takes them from all that a row has. */
const histogramOf = (step: Step, parts: ReadonlyArray<Latencies>, all?: Row): Histogram => {
  const bounds = boundsOf(step)
  const counts = new Float64Array(bounds.length)
  let micros = 0
  if (all !== undefined) {
    for (let bucket = 0; bucket <= last; bucket++) counts[boundIndex(bucket, step)]! += all[field.latency + bucket]!
    micros = all[field.latencyMicros]!
  }
  const sign = all === undefined ? 1 : -1
  for (const part of parts) {
    for (let index = 0; index < counts.length; index++) counts[index]! += sign * part.counts[index]!
    micros += sign * part.micros
  }
  let count = 0
  return {
    cumulative: bounds.map((bound, index) => [bound, count += counts[index]!] as const),
    count,
    sumMillis: micros / 1_000
  }
}
