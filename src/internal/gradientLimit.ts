/**
 * A concurrency limit that follows the latency: while calls take as long as they used to, it grows; when they take longer,
 * work is queueing at the provider, and it shrinks before errors appear.
 *
 * After the gradient limits of Netflix's `concurrency-limits`: the ratio of the base latency to the recent one, bounded to
 * [0.5, 1], times the limit, plus the limit's root as an allowance for a queue. Unlike `Gradient2Limit`, whose long-term
 * average follows a standing queue upwards, the base is a minimum that rises by a thousandth in each window: it notices a
 * provider that has become slower for good, within minutes, and no sooner.
 */
export interface Settings {
  readonly min: number
  readonly max: number
  /** How many times the base latency is still well. */
  readonly tolerance: number
  /** The share of the new limit in the next. */
  readonly smoothing: number
}

export interface State {
  /** Not rounded; what is used is its floor. */
  readonly limit: number
  /** The base latency in milliseconds; `Infinity` before the first sample. */
  readonly baseMillis: number
}

/** What one sampling window saw. */
export interface Sample {
  /** The mean latency in milliseconds. */
  readonly meanMillis: number
  /** The most that ran at once. */
  readonly inFlight: number
  /** Whether a call was turned away or timed out at the provider. */
  readonly dropped: boolean
}

export const next = (state: State, sample: Sample, settings: Settings): State => {
  const { meanMillis } = sample
  const baseMillis = Math.min(meanMillis, state.baseMillis * 1.001)
  const bounded = (limit: number): State => ({
    limit: Math.min(settings.max, Math.max(settings.min, limit)),
    baseMillis
  })
  if (sample.dropped) return bounded(state.limit * 0.9)
  // A limit that is not used says nothing about a higher one.
  if (sample.inFlight < state.limit / 2) return bounded(state.limit)
  const gradient = Math.max(0.5, Math.min(1, settings.tolerance * baseMillis / Math.max(meanMillis, Number.MIN_VALUE)))
  const target = state.limit * gradient + Math.sqrt(state.limit)
  return bounded(state.limit + (target - state.limit) * settings.smoothing)
}
