/**
 * Counts of the latest calls, in a ring of buckets. A bucket is a span of time or, in a window of calls, one call:
 * `tick` numbers the buckets, and the window holds the current one and the `size - 1` before it.
 *
 * The current bucket is in plain fields and the totals are kept up to date, so that counting a call is a few additions;
 * the rings are made when first needed, and the rings of failures and slow calls only after one of those.
 */

type Ring = Array<number>

export class SlidingWindow {
  /** Calls, failures and slow calls in the window. */
  total = 0
  failures = 0
  slow = 0
  private readonly size: number
  private tick: number
  private position = 0
  private bucketTotal = 0
  private bucketFailures = 0
  private bucketSlow = 0
  private totals: Ring | undefined = undefined
  private failed: Ring | undefined = undefined
  private slowed: Ring | undefined = undefined

  constructor(size: number, tick: number) {
    this.size = size
    this.tick = tick
  }

  /** Counts a call. `failure` and `slow` are 0 or 1, or a failure's weight. */
  record(tick: number, failure: number, slow: number): void {
    if (tick !== this.tick) this.advance(tick)
    this.total++
    this.bucketTotal++
    if (failure !== 0) {
      this.failures += failure
      this.bucketFailures += failure
    }
    if (slow !== 0) {
      this.slow += slow
      this.bucketSlow += slow
    }
  }

  /** Moves to the bucket `tick` and forgets what has left the window. A clock set back keeps what was counted. */
  advance(tick: number): void {
    const steps = tick - this.tick
    this.tick = tick
    if (steps <= 0) return
    if (steps >= this.size) return this.clear()
    if (this.bucketTotal > 0) this.store()
    for (let step = 0; step < steps; step++) {
      this.position = this.position + 1 === this.size ? 0 : this.position + 1
      this.forget(this.position)
    }
  }

  /** The bucket after the current one: in a window of calls, the next call's. */
  get next(): number {
    return this.tick + 1
  }

  clear(): void {
    this.total = this.failures = this.slow = 0
    this.bucketTotal = this.bucketFailures = this.bucketSlow = 0
    this.totals = this.failed = this.slowed = undefined
  }

  /** The buckets from the oldest to the current one, each as calls, failures and slow calls. */
  buckets(): ReadonlyArray<readonly [total: number, failures: number, slow: number]> {
    const past = Array.from({ length: this.size - 1 }, (_, index) => {
      const at = (this.position + 1 + index) % this.size
      return [this.totals?.[at] ?? 0, this.failed?.[at] ?? 0, this.slowed?.[at] ?? 0] as const
    })
    return [...past, [this.bucketTotal, this.bucketFailures, this.bucketSlow]]
  }

  /** The window that `buckets` was taken from; `tick` is the number of its last bucket. */
  static from(size: number, tick: number, buckets: ReturnType<SlidingWindow["buckets"]>): SlidingWindow {
    const self = new SlidingWindow(size, tick - buckets.length + 1)
    buckets.forEach(([total, failures, slow], index) => {
      self.advance(tick - buckets.length + 1 + index)
      self.total += total
      self.failures += failures
      self.slow += slow
      self.bucketTotal = total
      self.bucketFailures = failures
      self.bucketSlow = slow
    })
    return self
  }

  private store(): void {
    this.totals ??= this.ring()
    this.totals[this.position] = this.bucketTotal
    this.bucketTotal = 0
    if (this.bucketFailures !== 0) {
      this.failed ??= this.ring()
      this.failed[this.position] = this.bucketFailures
      this.bucketFailures = 0
    }
    if (this.bucketSlow !== 0) {
      this.slowed ??= this.ring()
      this.slowed[this.position] = this.bucketSlow
      this.bucketSlow = 0
    }
  }

  private ring(): Ring {
    return Array.from({ length: this.size }, () => 0)
  }

  private forget(position: number): void {
    if (this.totals === undefined) return
    this.total -= this.totals[position] ?? 0
    this.totals[position] = 0
    if (this.failed !== undefined) {
      this.failures -= this.failed[position] ?? 0
      this.failed[position] = 0
    }
    if (this.slowed !== undefined) {
      this.slow -= this.slowed[position] ?? 0
      this.slowed[position] = 0
    }
  }
}
