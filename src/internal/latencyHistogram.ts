/**
 * Latencies in buckets that grow with the value, as an HDR histogram has them: exact below 16 µs, above that 16 buckets
 * to every power of two, so that a quantile is never below the true one and at most 6.25 % above it. Recording costs a
 * few nanoseconds and allocates nothing; the buckets themselves (1.8 kB) are made by the first record.
 */

const subBits = 4
const sub = 1 << subBits
const maxMicros = 0x7fffffff // 35 minutes; what takes longer counts as that
const size = (31 - subBits + 1) * sub

/** The bucket of a value in whole microseconds. */
const indexOf = (micros: number): number => {
  if (micros < sub) return micros
  const shift = 31 - Math.clz32(micros) - subBits
  return ((shift + 1) << subBits) + (micros >>> shift) - sub
}

/** The highest value of a bucket, in milliseconds. */
const upperOf = (index: number): number => {
  if (index < sub) return index / 1000
  const shift = (index >>> subBits) - 1
  return ((sub + (index & (sub - 1)) + 1) * 2 ** shift - 1) / 1000
}

export class LatencyHistogram {
  count = 0
  /** Milliseconds, all together. */
  sum = 0
  /** 0 while nothing was recorded. */
  max = 0
  #buckets: Uint32Array | undefined

  /** Milliseconds; fractions count down to the microsecond. What is negative or no number counts as 0. */
  record(millis: number): void {
    const value = millis > 0 ? millis : 0
    this.#buckets ??= new Uint32Array(size)
    this.#buckets[indexOf(Math.min(Math.round(value * 1000), maxMicros))]!++
    this.count++
    this.sum += value
    if (value > this.max) this.max = value
  }

  /** Milliseconds at or below which the share `p` of the records lies; `undefined` while nothing was recorded. */
  quantile(p: number): number | undefined {
    return quantileOf(p, this.count, this.max, this.#buckets, undefined)
  }

  /** The quantile of both histograms together. */
  quantileWith(other: LatencyHistogram, p: number): number | undefined {
    return quantileOf(p, this.count + other.count, Math.max(this.max, other.max), this.#buckets, other.#buckets)
  }

  /** The mean in milliseconds; `undefined` while nothing was recorded. */
  get mean(): number | undefined {
    return this.count === 0 ? undefined : this.sum / this.count
  }

  /** Adds the records of another histogram. */
  merge(other: LatencyHistogram): void {
    if (other.#buckets === undefined) return
    this.#buckets ??= new Uint32Array(size)
    for (let i = 0; i < size; i++) this.#buckets[i]! += other.#buckets[i]!
    this.count += other.count
    this.sum += other.sum
    if (other.max > this.max) this.max = other.max
  }

  reset(): void {
    this.#buckets?.fill(0)
    this.count = 0
    this.sum = 0
    this.max = 0
  }
}

const quantileOf = (
  p: number,
  count: number,
  max: number,
  one: Uint32Array | undefined,
  two: Uint32Array | undefined
): number | undefined => {
  if (count === 0) return undefined
  const rank = Math.max(1, Math.ceil(p * count))
  if (rank >= count) return max
  let seen = 0
  for (let i = 0; i < size; i++) {
    seen += (one?.[i] ?? 0) + (two?.[i] ?? 0)
    if (seen >= rank) return Math.min(upperOf(i), max)
  }
  return max
}

/** How many records a computed quantile stays good for: reading it walks the buckets, which is too dear per call. */
const staleAfter = 32

/**
 * The latencies of about the last `spanMillis`: of this span and the one before, so that what was measured ages. Nothing
 * is scheduled; spans turn when a record or a question comes.
 */
export class LatencyWindow {
  readonly #spanMillis: number
  #now = new LatencyHistogram()
  #before = new LatencyHistogram()
  #since: number | undefined
  #cachedFor = -1
  #cached: number | undefined
  #cachedAt = 0

  constructor(spanMillis: number) {
    this.#spanMillis = spanMillis
  }

  record(millis: number, now: number): void {
    this.#turn(now)
    this.#now.record(millis)
  }

  /** How many records the window holds. */
  count(now: number): number {
    this.#turn(now)
    return this.#now.count + this.#before.count
  }

  /** As of at most 32 records ago; `undefined` with fewer records than `minSamples`. */
  quantile(p: number, minSamples: number, now: number): number | undefined {
    this.#turn(now)
    const count = this.#now.count + this.#before.count
    if (count < minSamples) return undefined
    if (p !== this.#cachedFor || count - this.#cachedAt >= staleAfter || count <= staleAfter) {
      this.#cached = this.#now.quantileWith(this.#before, p)
      this.#cachedFor = p
      this.#cachedAt = count
    }
    return this.#cached
  }

  #turn(now: number): void {
    if (this.#since === undefined) this.#since = now
    const age = now - this.#since
    if (age >= 0 && age < this.#spanMillis) return
    if (age >= 0) {
      const old = this.#before
      // After two spans without a call both are too old. A clock that went back only starts the span anew.
      if (age >= 2 * this.#spanMillis) this.#now.reset()
      old.reset()
      this.#before = this.#now
      this.#now = old
      this.#cachedFor = -1
    }
    this.#since = now
  }
}
