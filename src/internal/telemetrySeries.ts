/**
 * The counters and latencies of one service's operation over 24 hours, in bounded memory: one row of counts for each of
 * the last 64 minutes, rolled up into thirds of an hour behind them. Writes touch the current row alone.
 */

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
  /** The first of thirteen error categories. */
  error: 12,
  /** The first of the latency buckets. */
  latency: 25
} as const

/** Three buckets to the octave, so that 10 ms times a power of two is always a bound: 0.3125 ms to 81.92 s. */
const lowestMillis = 0.3125
const perOctave = 3
const octaves = 18
const last = perOctave * octaves + 1
const width = field.latency + last + 1

/** The upper bound of a latency bucket in milliseconds; the last has none. */
export const boundOf = (bucket: number): number =>
  bucket >= last ? Number.POSITIVE_INFINITY : lowestMillis * 2 ** (bucket / perOctave)

/** The bucket of a latency: the first whose bound is not below it. */
export const bucketOf = (millis: number): number =>
  millis <= lowestMillis
    ? 0
    // What is a bound but for rounding belongs to it.
    : Math.min(last, Math.ceil(Math.log2(millis / lowestMillis) * perOctave - 1e-9))

const minuteMillis = 60_000
const fineRows = 64
const coarseMinutes = 20
// A day, and the third that it begins in.
const coarseRows = 73

/** What a span of time holds. `latencyMillis` is the sum over successes and failures. */
export interface Counts {
  readonly row: Float64Array
  latencyMillis: number
}

export const emptyCounts = (): Counts => ({ row: new Float64Array(width), latencyMillis: 0 })

export const add = (to: Counts, from: Counts): void => addRow(to, from.row, 0, from.latencyMillis)

/** The calls that reached their end by themselves: those whose latency was kept. */
const measured = ({ row }: Counts): number => row[field.success]! + row[field.failure]!

export const meanLatency = (counts: Counts): number | null =>
  measured(counts) === 0 ? null : counts.latencyMillis / measured(counts)

/** The latency below which a share `quantile` of the calls stayed, within 13 %; `null` without calls. */
export const quantile = (counts: Counts, quantile: number): number | null => {
  const total = measured(counts)
  if (total === 0) return null
  const rank = Math.max(1, Math.ceil(quantile * total))
  let before = 0
  for (let bucket = 0; bucket < last; bucket++) {
    const here = counts.row[field.latency + bucket]!
    if (before + here >= rank) {
      const upper = boundOf(bucket)
      const lower = bucket === 0 ? 0 : boundOf(bucket - 1)
      return lower + (upper - lower) * ((rank - before) / here)
    }
    before += here
  }
  return boundOf(last - 1)
}

/** `[upper bound in milliseconds, calls at or below it]` for every octave: what a Prometheus histogram shows. */
export const cumulative = ({ row }: Counts): ReadonlyArray<readonly [number, number]> => {
  const pairs: Array<readonly [number, number]> = []
  let sum = 0
  for (let bucket = 0; bucket <= last; bucket++) {
    sum += row[field.latency + bucket]!
    if (bucket === last || bucket % perOctave === 0) pairs.push([boundOf(bucket), sum])
  }
  return pairs
}

/** The first minute of a window that ends now: whole minutes up to an hour, whole thirds of an hour beyond, a day at most. */
export const windowStart = (now: number, rangeMillis: number): number => {
  const step = rangeMillis <= 60 * minuteMillis ? minuteMillis : coarseMinutes * minuteMillis
  const oldest = now - Math.min(rangeMillis, 24 * 60 * minuteMillis)
  return Math.floor(oldest / step) * step
}

export class Series {
  readonly #current = new Uint32Array(width)
  #currentMinute = -1
  #nextMinuteAt = Number.NEGATIVE_INFINITY
  #currentLatency = 0
  // Allocated when the first minute ends, and when the first minute is rolled up.
  #fine: Rows | undefined
  #coarse: Rows | undefined
  /** Never reset: what a monotonic counter shows, without the current minute. */
  readonly #past = emptyCounts()
  inFlight = 0

  /** Adds one to a field of `field`. */
  count(index: number, now: number): void {
    if (now >= this.#nextMinuteAt) this.#turn(now)
    this.#current[index]!++
  }

  latency(millis: number, now: number): void {
    if (now >= this.#nextMinuteAt) this.#turn(now)
    const known = millis > 0 ? millis : 0
    this.#current[field.latency + bucketOf(known)]!++
    this.#currentLatency += known
  }

  /** Adds everything since `from` (as `windowStart` gives it) to `counts`. */
  addSince(from: number, counts: Counts): void {
    const minute = Math.floor(from / minuteMillis)
    if (this.#currentMinute >= minute) addRow(counts, this.#current, 0, this.#currentLatency)
    this.#fine?.addSince(minute, counts)
    this.#coarse?.addSince(Math.ceil(minute / coarseMinutes), counts)
  }

  /** The counts of one minute of the last hour, by its start. */
  addMinute(start: number, counts: Counts): void {
    const minute = Math.floor(start / minuteMillis)
    if (this.#currentMinute === minute) addRow(counts, this.#current, 0, this.#currentLatency)
    else this.#fine?.addAt(minute, counts)
  }

  /** Adds everything since the process began, resets or not. */
  addLifetime(counts: Counts): void {
    addRow(counts, this.#past.row, 0, this.#past.latencyMillis)
    addRow(counts, this.#current, 0, this.#currentLatency)
  }

  /** Since the process began, resets or not. */
  lifetime(index: number): number {
    return this.#past.row[index]! + this.#current[index]!
  }

  /** Forgets every window; the lifetime stays. */
  reset(): void {
    this.#toPast()
    this.#fine?.clear()
    this.#coarse?.clear()
  }

  #toPast(): void {
    addRow(this.#past, this.#current, 0, this.#currentLatency)
    this.#current.fill(0)
    this.#currentLatency = 0
  }

  #turn(now: number): void {
    if (this.#currentMinute >= 0) {
      this.#fine ??= new Rows(fineRows)
      this.#fine.put(this.#currentMinute, this.#current, 0, this.#currentLatency, (minute, rows, at, latency) => {
        this.#coarse ??= new Rows(coarseRows)
        this.#coarse.put(Math.floor(minute / coarseMinutes), rows, at, latency)
      })
      this.#toPast()
    }
    this.#currentMinute = Math.floor(now / minuteMillis)
    this.#nextMinuteAt = (this.#currentMinute + 1) * minuteMillis
  }
}

type Evict = (stamp: number, rows: Uint32Array, at: number, latency: number) => void

/** A ring of rows, each stamped with the span of time it belongs to. */
class Rows {
  readonly #stamps: Int32Array
  readonly #rows: Uint32Array
  readonly #latency: Float64Array

  constructor(length: number) {
    this.#stamps = new Int32Array(length).fill(-1)
    this.#rows = new Uint32Array(length * width)
    this.#latency = new Float64Array(length)
  }

  /** Adds a row to its span's; what stood there from an older span goes to `evict`. */
  put(stamp: number, row: Uint32Array, from: number, latency: number, evict?: Evict): void {
    const slot = stamp % this.#stamps.length
    const at = slot * width
    const old = this.#stamps[slot]!
    if (old !== stamp) {
      if (old >= 0) {
        evict?.(old, this.#rows, at, this.#latency[slot]!)
        this.#rows.fill(0, at, at + width)
        this.#latency[slot] = 0
      }
      this.#stamps[slot] = stamp
    }
    for (let i = 0; i < width; i++) this.#rows[at + i]! += row[from + i]!
    this.#latency[slot]! += latency
  }

  addSince(stamp: number, counts: Counts): void {
    for (let slot = 0; slot < this.#stamps.length; slot++) {
      if (this.#stamps[slot]! >= stamp) addRow(counts, this.#rows, slot * width, this.#latency[slot]!)
    }
  }

  addAt(stamp: number, counts: Counts): void {
    const slot = stamp % this.#stamps.length
    if (this.#stamps[slot] === stamp) addRow(counts, this.#rows, slot * width, this.#latency[slot]!)
  }

  clear(): void {
    this.#stamps.fill(-1)
    this.#rows.fill(0)
    this.#latency.fill(0)
  }
}

const addRow = (counts: Counts, row: Uint32Array | Float64Array, from: number, latency: number): void => {
  for (let i = 0; i < width; i++) counts.row[i]! += row[from + i]!
  counts.latencyMillis += latency
}
