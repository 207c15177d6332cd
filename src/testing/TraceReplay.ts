/**
 * Replays recorded incidents on a virtual clock through a detector and measures what it saw, as
 * `test/data/incidents/README.md` asks. Everything here is pure: the same traces give the same figures.
 */
import { CircuitCore, REFUSED } from "../internal/circuitCore.ts"
import { type CircuitOptions, circuitSettings } from "../internal/circuitOptions.ts"
import { initial } from "../internal/circuitState.ts"
import { CallTrend, ValueTrend } from "../internal/failurePrediction.ts"
import { type Bucket, bucketSeconds, bucketsOf, callsOf, type Series, type Traces } from "./Traces.ts"

/** Looks at calls one after another. */
export interface CallDetector {
  /** Takes a call and tells whether there is an alarm. */
  readonly record: (failed: boolean, latencyMillis: number, at: number) => boolean
  /** How bad it looks now; compared, not read. */
  readonly score: (at: number) => number
}

/** Looks at values one after another; `undefined` is a gap. Tells whether there is an alarm. */
export type ValueDetector = (value: number | undefined) => boolean

/** A circuit; `slowMillis` is from where on a call counts as failed. */
export const breaker = (options: CircuitOptions, slowMillis = Infinity) => (): CallDetector => {
  const settings = circuitSettings(options, { initial: initial(0), random: () => 0 })
  const core = new CircuitCore(settings, "replay", 0)
  const isOpen = () => core.current._tag === "Open"
  return {
    record: (failed, latencyMillis, at) => {
      const token = core.admit(at)
      if (token !== REFUSED) {
        core.settle(token, failed || latencyMillis > slowMillis ? "Failure" : "Success", latencyMillis, at)
      }
      return isOpen()
    },
    score: (at) => isOpen() ? Infinity : core.counts(at).failures
  }
}

/** The reference: 5 failed or slow calls of at least 10 within a minute open the circuit for a minute. */
export const reactive: CircuitOptions = {
  failureThreshold: false,
  failureRate: false,
  failureCount: 5,
  minimumThroughput: 10,
  monitorWindow: "60 seconds",
  monitorBuckets: 60,
  recoveryTimeout: "60 seconds",
  recoveryMultiplier: 1,
  jitter: false,
  successThreshold: 3,
  probeFailureThreshold: 1,
  rampUp: 0
}

export const predictor = (): CallDetector => {
  const trend = new CallTrend()
  return {
    record: (failed, latencyMillis, at) => {
      trend.record(failed, latencyMillis, at)
      return trend.alarmed
    },
    score: (at) => trend.probability(at)
  }
}

/** The reference: above twice the 99th percentile of what it learnt from. */
export const threshold = (learning: ReadonlyArray<number | undefined>): ValueDetector => {
  const sorted = learning.filter((value) => value !== undefined).sort((a, b) => a - b)
  const limit = 2 * quantile(sorted, 0.99)
  return (value) => value !== undefined && value > limit
}

export const gauge = (learning: ReadonlyArray<number | undefined>): ValueDetector => {
  const trend = new ValueTrend()
  for (const value of learning) trend.observe(value ?? Number.NaN)
  return (value) => value !== undefined && trend.observe(value) >= 0.5
}

/** What a detector saw of the episodes. */
export interface EpisodesReport {
  readonly availability: Detected
  readonly latency: Detected
  /** Alarms before the faults, a day. */
  readonly falsePerDay: number
  /** Area under the ROC curve of the highest score in a bucket against whether the bucket overlaps the fault. */
  readonly rocArea: number | undefined
  /** Alarms on the baseline alone, by node. */
  readonly baseline: { readonly [node: string]: number }
}

export interface Detected {
  readonly detected: number
  readonly total: number
  /** Seconds after the fault; `undefined` where none was detected. */
  readonly medianDelay: number | undefined
}

/** How many buckets of the node's baseline come before an episode. */
const warmBuckets = 36

/** Replays every episode after three hours of its node's baseline, and the baselines alone. */
export const replayEpisodes = (
  { baseline, episodes }: Pick<Traces, "baseline" | "episodes">,
  detector: (baseline: ReadonlyArray<Bucket>) => () => CallDetector
): EpisodesReport => {
  const delays: { readonly [affects in "availability" | "latency"]: Array<number | undefined> } = {
    availability: [],
    latency: []
  }
  const during: Array<number> = []
  const outside: Array<number> = []
  let falses = 0
  let days = 0
  for (const episode of episodes) {
    const usual = baseline.get(episode.rootCause) ?? []
    const own = bucketsOf(episode)
    const from = (own[0]?.at ?? episode.issueAt) - warmBuckets * bucketSeconds
    const warm = usual.slice(0, warmBuckets).map(({ availability, quantiles, requests }, i) => ({
      at: from + i * bucketSeconds,
      requests,
      availability,
      quantiles
    }))
    const { record, score } = detector(usual)()
    let delay: number | undefined
    let before = false
    for (const bucket of [...warm, ...own]) {
      let highest = -Infinity
      for (const { at, failed, latencyMillis } of callsOf(bucket)) {
        const alarm = record(failed, latencyMillis, at)
        highest = Math.max(highest, score(at))
        if (alarm && !before && at < (episode.issueAt - bucketSeconds) * 1_000) falses++
        if (alarm && at >= episode.issueAt * 1_000) delay ??= at / 1_000 - episode.issueAt
        before = alarm
      }
      if (highest === -Infinity) continue
      const overlaps = bucket.at + bucketSeconds > episode.issueAt
      ;(overlaps ? during : outside).push(highest)
    }
    days += (episode.issueAt - bucketSeconds - from) / 86_400
    delays[episode.affects].push(delay)
  }
  return {
    availability: detectedOf(delays.availability),
    latency: detectedOf(delays.latency),
    falsePerDay: days === 0 ? 0 : falses / days,
    rocArea: rocArea(during, outside),
    baseline: Object.fromEntries(
      Array.from(baseline, ([node, buckets]) => [node, alarmsOn(buckets, detector(buckets)())])
    )
  }
}

const alarmsOn = (buckets: ReadonlyArray<Bucket>, { record }: CallDetector): number => {
  let alarms = 0
  let before = false
  for (const bucket of buckets) {
    for (const { at, failed, latencyMillis } of callsOf(bucket)) {
      const alarm = record(failed, latencyMillis, at)
      if (alarm && !before) alarms++
      before = alarm
    }
  }
  return alarms
}

const detectedOf = (delays: ReadonlyArray<number | undefined>): Detected => {
  const detected = delays.filter((delay) => delay !== undefined)
  return { detected: detected.length, total: delays.length, medianDelay: median(detected) }
}

/** Above what latency the reference calls a call of this node failed. */
export const slowMillisOf = (baseline: ReadonlyArray<Bucket>): number =>
  2_000 * (median(baseline.map(({ quantiles }) => quantiles[3])) ?? Infinity)

/** What a detector saw of series of one kind. */
export interface SeriesReport {
  readonly detected: number
  readonly total: number
  readonly falseAlarms: number
  readonly falsePerDay: number
  /** Steps before the labelled start; negative is after it. */
  readonly medianLead: number | undefined
  /** The lead of each window, to compare detectors by. */
  readonly leads: ReadonlyArray<number | undefined>
}

/** Steps without an alarm before one counts anew, and before a window in which one still counts for it. */
const margin = 6

export const replaySeries = (
  all: ReadonlyArray<Series>,
  detector: (learning: ReadonlyArray<number | undefined>) => ValueDetector
): SeriesReport => {
  const leads: Array<number | undefined> = []
  let falseAlarms = 0
  let days = 0
  for (const { samples, stepSeconds, windows } of all) {
    const learnt = Math.min(750, Math.floor(samples.length * 0.15))
    const detect = detector(samples.slice(0, learnt).map(({ value }) => value))
    const alarms: Array<number> = []
    let last = -Infinity
    samples.slice(learnt).forEach(({ at, value }, i) => {
      if (!detect(value)) return
      if (i - last > margin) alarms.push(at)
      last = i
    })
    const from = samples[learnt]?.at ?? 0
    const inside = ({ end, start }: Series["windows"][number]) => (at: number): boolean =>
      at >= start - margin * stepSeconds && at <= end
    falseAlarms += alarms.filter((at) => !windows.some((window) => inside(window)(at))).length
    days += ((samples.at(-1)?.at ?? from) - from) / 86_400
    for (const window of windows) {
      if (window.start < from || (window.kind !== "rise" && window.kind !== "anomaly")) continue
      const first = alarms.find(inside(window))
      leads.push(first === undefined ? undefined : ((window.at ?? window.start) - first) / stepSeconds)
    }
  }
  const detected = leads.filter((lead) => lead !== undefined)
  return {
    detected: detected.length,
    total: leads.length,
    falseAlarms,
    falsePerDay: days === 0 ? 0 : falseAlarms / days,
    medianLead: median(detected),
    leads
  }
}

const quantile = (sorted: ReadonlyArray<number>, p: number): number => {
  const at = p * (sorted.length - 1)
  const low = Math.max(0, Math.floor(at))
  const value = sorted[low] ?? 0
  return value + ((sorted[low + 1] ?? value) - value) * (at - low)
}

const median = (values: ReadonlyArray<number>): number | undefined =>
  values.length === 0 ? undefined : quantile(values.toSorted((a, b) => a - b), 0.5)

/** The chance that one of the first is above one of the second; half for equals. */
export const rocArea = (positives: ReadonlyArray<number>, negatives: ReadonlyArray<number>): number | undefined => {
  if (positives.length === 0 || negatives.length === 0) return undefined
  let wins = 0
  for (const a of positives) for (const b of negatives) wins += a > b ? 1 : a === b ? 0.5 : 0
  return wins / positives.length / negatives.length
}
