/** A bounded sample in order, so that quantiles are a look-up. The oldest goes first. */
export class SortedSample {
  readonly #ring: Float64Array
  readonly #sorted: Float64Array
  #next = 0
  size = 0

  constructor(capacity: number) {
    this.#ring = new Float64Array(capacity)
    this.#sorted = new Float64Array(capacity)
  }

  add(value: number): void {
    const ring = this.#ring
    const sorted = this.#sorted
    if (this.size === ring.length) {
      const at = this.#indexOf(ring[this.#next]!)
      sorted.copyWithin(at, at + 1, this.size--)
    }
    const at = this.#indexOf(value)
    sorted.copyWithin(at + 1, at, this.size++)
    sorted[at] = value
    ring[this.#next] = value
    this.#next = (this.#next + 1) % ring.length
  }

  /** Linear between the values, as most libraries do; 0 while there are none. */
  quantile(p: number): number {
    const at = p * (this.size - 1)
    const low = Math.max(0, Math.floor(at))
    const value = this.#sorted[low]!
    return low + 1 < this.size ? value + (this.#sorted[low + 1]! - value) * (at - low) : value
  }

  /** The first place that holds no less than the value. */
  #indexOf(value: number): number {
    let low = 0
    let high = this.size
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#sorted[middle]! < value) low = middle + 1
      else high = middle
    }
    return low
  }
}
