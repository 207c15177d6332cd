/** A time limit or delay that follows the latencies: a factor times a live quantile, between a floor and a cap. */
import { LatencyWindow } from "./latencyHistogram.ts"

export interface QuantileSettings {
  /** Which quantile, such as 0.99. */
  readonly p: number
  readonly factor: number
  readonly floorMillis: number
  readonly capMillis: number
  /** With fewer records there is no limit yet. */
  readonly minSamples: number
  /** How long a record counts, up to twice that. */
  readonly spanMillis: number
}

export class QuantileLimit {
  readonly settings: QuantileSettings
  readonly #window: LatencyWindow

  constructor(settings: QuantileSettings) {
    this.settings = settings
    this.#window = new LatencyWindow(settings.spanMillis)
  }

  /**
   * Record also what was cut off, with the time it had by then: whoever leaves the slow calls out sees the quantile sink
   * until every call is cut off. But not what a caller's deadline cut off, or short deadlines would become the limit of all.
   */
  record(millis: number, now: number): void {
    this.#window.record(millis, now)
  }

  /** Milliseconds; `undefined` while too little is known. */
  current(now: number): number | undefined {
    const { capMillis, factor, floorMillis, minSamples, p } = this.settings
    const quantile = this.#window.quantile(p, minSamples, now)
    return quantile === undefined ? undefined : Math.min(capMillis, Math.max(floorMillis, quantile * factor))
  }
}
