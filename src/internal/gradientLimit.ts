/**
 * A concurrency limit that follows the latency: while calls take as long as they used to, it grows; when they take longer,
 * work is queueing at the provider, and it shrinks before errors appear.
 *
 * After the gradient limits of Netflix's `concurrency-limits`: the ratio of the base latency to the recent one, bounded to
 * [0.5, 1], times the limit, plus the limit's root as an allowance for a queue. Unlike `Gradient2Limit`, whose long-term
 * average follows a standing queue upwards, the base is a minimum that rises by a thousandth in each window: it notices a
 * provider that has become slower for good, within minutes, and no sooner. Windows that leave half of the limit unused
 * are passed over: one quick call in a quiet second would be a base that no call under load comes near.
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
  /** The base latency in milliseconds, at least 1; `Infinity` before the first sample. */
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
  // What was turned away may have been so at once: that is no latency.
  if (sample.dropped) return { ...state, limit: Math.max(settings.min, state.limit * 0.9) }
  if (sample.inFlight < state.limit / 2) return state
  // Below a millisecond the clock sees nothing, and a base of 0 would never rise again.
  const meanMillis = Math.max(1, sample.meanMillis)
  const baseMillis = Math.min(meanMillis, state.baseMillis * 1.001)
  const gradient = Math.max(0.5, Math.min(1, settings.tolerance * baseMillis / meanMillis))
  const target = state.limit * gradient + Math.sqrt(state.limit)
  const limit = state.limit + (target - state.limit) * settings.smoothing
  return { limit: Math.min(settings.max, Math.max(settings.min, limit)), baseMillis }
}
