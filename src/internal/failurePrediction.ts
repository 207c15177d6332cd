/**
 * Two rules that tell from a stream of numbers that a provider is about to fail, free of effects; time is passed in, as
 * epoch milliseconds.
 *
 * `CallTrend` is for calls. It sorts each call into a class (failed, or how slow against what is usual) and knows from
 * experience how often each class comes. Every call is then evidence for or against a change, and the evidence is added
 * up as a CUSUM: the log-likelihood ratio of "a share of the calls is in trouble" to "all is as usual", never below 0
 * (E. S. Page, Continuous inspection schemes, Biometrika 41, 1954). A failure weighs the more the rarer failures are,
 * which is why two or three are enough where there never were any.
 *
 * `ValueTrend` is for a gauge of which one value comes at a time: a mean latency, a queue's length, a share of failures.
 *
 * Both forget: evidence by time, experience by newer experience. No answer depends on when the clock began.
 */
import { SortedSample } from "./sortedSample.ts"

/** How a `CallTrend` weighs. */
export interface CallTrendRules {
  /** Log-odds of evidence at which a change is as likely as none. */
  readonly alarm: number
  /** The same for latency, whose changes matter less and come oftener. */
  readonly latencyAlarm: number
  /** The share of calls whose trouble is looked for. */
  readonly share: number
  /** In this time evidence loses half of its weight when no call comes, and up to all but 1/e while many do. */
  readonly memoryMillis: number
  /** Over this time it learns what latency is usual. */
  readonly usualMillis: number
  /** Over so many calls it learns how often each class comes. */
  readonly usualCalls: number
}

export const callTrendRules: CallTrendRules = {
  alarm: 6,
  latencyAlarm: 10,
  share: 0.03,
  memoryMillis: 300_000,
  usualMillis: 1_800_000,
  usualCalls: 4_000
}

/** What is expected of the next calls. */
export interface Prediction {
  /** From 0 to 1: how likely it is that the provider is in trouble. */
  readonly probability: number
  /** Raised when the probability reaches 0.5, lowered when it falls below 0.05. */
  readonly alarmed: boolean
  /** The share of failing calls lately. */
  readonly failureShare: number
  /** What latency was lately, as a multiple of what is usual. */
  readonly latencyRatio: number
  /** What the evidence is of. */
  readonly reason: "Failures" | "Latency"
}

const sampleSize = 256

/** With fewer latencies nothing is said of latency. */
const enough = 32

/** How many peaks of evidence are remembered, and how many must be before they raise the alarm level. */
const peaks = 64
const enoughPeaks = 8

/**
 * Evidence of one kind. What it came to again and again while nothing happened is no alarm: calls are not independent of
 * each other, so that the plain ratio of likelihoods promises too much.
 */
export class Evidence {
  value = 0
  level: number
  readonly #least: number
  readonly #peaks = new SortedSample(peaks)
  #peak = 0

  constructor(least: number) {
    this.#least = least
    this.level = least
  }

  add(weight: number): void {
    const value = this.value + weight
    this.value = value > 0 ? Math.min(value, 2 * this.level) : 0
    if (this.value > this.#peak) this.#peak = this.value
  }

  /** Remembers how high it came since it was last asked to. */
  turn(): void {
    this.#peaks.add(this.#peak)
    this.#peak = this.value
    if (this.#peaks.size >= enoughPeaks) this.level = Math.max(this.#least, 1.5 * this.#peaks.quantile(0.9))
  }
}

/** Classes of answers by latency: up to the 95th percentile, up to 2, 4 and 8 times that, and beyond. */
const classes = 5
/** What a newcomer holds usual, and how many calls' worth this prejudice is. */
const prior = [0.95, 0.04, 0.006, 0.003, 0.001]
const priorFailures = 0.005
const priorCalls = 200
const newcomerCalls = 1_000
const block = 64
/** How calls in trouble spread over the classes. */
const trouble = [0, 0.25, 0.25, 0.25, 0.25]
/** Nothing is held rarer than this, so that one call alone proves nothing. */
const rarest = 0.001

/** The log-odds of 0.05. */
const calm = Math.log(0.05 / 0.95)

export class CallTrend {
  readonly rules: CallTrendRules
  /** As of the last call. */
  alarmed = false
  /** Evidence of more failures, of some very slow calls, and of most calls slower. */
  readonly failures: Evidence
  readonly tail: Evidence
  readonly bulk: Evidence
  /** Averages of the last calls, moved by a 32nd for each. */
  #failureShare = 0
  #ratio = 1
  #usualFailures = priorFailures
  readonly #usual = Float64Array.from(prior)
  readonly #weights = new Float64Array(classes)
  #usualSlower = 0.25
  #slower = 0
  #notSlower = 0
  #failure = 0
  #noFailure = 0
  readonly #sample = new SortedSample(sampleSize)
  #median = 0
  #upper = 0
  #high = 0
  #calls = 0
  /** The block of calls to learn from. */
  #sinceLearnt = 0
  #failed = 0
  #slow = 0
  readonly #seen = new Uint8Array(classes)
  /** Whether some evidence is above its level. */
  #above = false
  #sampledAt = 0
  #turnedAt = Number.NaN
  #at = Number.NaN

  constructor(rules: CallTrendRules = callTrendRules) {
    this.rules = rules
    this.failures = new Evidence(rules.alarm)
    this.tail = new Evidence(rules.latencyAlarm)
    this.bulk = new Evidence(rules.latencyAlarm)
    this.#weigh()
  }

  /** Takes one call. A latency that is no number or negative counts as 0. */
  record(failed: boolean, latencyMillis: number, now: number): void {
    const { memoryMillis } = this.rules
    // A clock that went back, or none, is a time that stands still.
    const passed = now - this.#at
    if (passed > 0) {
      const kept = 1 - passed / (memoryMillis + passed)
      this.failures.value *= kept
      this.tail.value *= kept
      this.bulk.value *= kept
    }
    if (passed !== 0) this.#at = now
    const age = now - this.#turnedAt
    if (!(age >= 0 && age < memoryMillis)) {
      this.#turnedAt = now
      if (age > 0) {
        this.failures.turn()
        this.tail.turn()
        this.bulk.turn()
      }
    }
    this.failures.add(failed ? this.#failure : this.#noFailure)
    this.#failed += failed ? 1 : 0
    this.#failureShare += ((failed ? 1 : 0) - this.#failureShare) / 32
    // How long a failure took says nothing about how long answers take.
    if (!failed) this.#timed(latencyMillis > 0 ? latencyMillis : 0, now)
    const { bulk, failures, tail } = this
    this.#above = failures.value >= failures.level || tail.value >= tail.level || bulk.value >= bulk.level
    this.alarmed = this.#above || (this.alarmed && this.#margin(1) >= calm)
    if (++this.#sinceLearnt === block) this.#learn()
  }

  /** How likely it is at this time that the provider is in trouble. */
  probability(now: number): number {
    const { memoryMillis } = this.rules
    const passed = now - this.#at
    return 1 / (1 + Math.exp(-this.#margin(passed > 0 ? 1 - passed / (memoryMillis + passed) : 1)))
  }

  predict(now: number): Prediction {
    const probability = this.probability(now)
    return {
      probability,
      alarmed: this.alarmed && probability >= 0.05,
      failureShare: this.#failureShare,
      latencyRatio: this.#ratio,
      reason: this.failures.value / this.failures.level >=
          Math.max(this.tail.value / this.tail.level, this.bulk.value / this.bulk.level)
        ? "Failures"
        : "Latency"
    }
  }

  /** How far the strongest evidence is above its level, in units where the least level counts as it is. */
  #margin(kept: number): number {
    const { bulk, failures, rules: { alarm }, tail } = this
    return alarm * (Math.max(
          failures.value / failures.level,
          tail.value / tail.level,
          bulk.value / bulk.level
        ) * kept - 1)
  }

  #timed(millis: number, now: number): void {
    const { usualMillis } = this.rules
    const sample = this.#sample
    if (sample.size >= enough) {
      const high = this.#high
      const of = millis <= high ? 0 : millis <= 2 * high ? 1 : millis <= 4 * high ? 2 : millis <= 8 * high ? 3 : 4
      this.tail.add(this.#weights[of]!)
      this.#seen[of]!++
      const slower = millis > this.#upper
      this.bulk.add(slower ? this.#slower : this.#notSlower)
      if (slower) this.#slow++
      if (this.#median > 0) this.#ratio += (Math.min(millis / this.#median, 100) - this.#ratio) / 32
    }
    const due = usualMillis / sampleSize * (this.#above ? 10 : 1)
    const since = now - this.#sampledAt
    if (sample.size < sampleSize || since >= due || since < 0) {
      this.#sampledAt = now
      sample.add(millis)
      this.#median = sample.quantile(0.5)
      this.#upper = Math.max(sample.quantile(0.75), this.#median * 2, 0.001)
      this.#high = Math.max(sample.quantile(0.95), this.#upper)
    }
  }

  /** Learns from the last calls what is usual; a block at a time, since per call it would cost more than all else. */
  #learn(): void {
    const { usualCalls } = this.rules
    // While in trouble more slowly: it must not become usual at once. A newcomer learns all the same.
    const pace = this.#above && this.#calls >= newcomerCalls ? 0.1 : 1
    const rate = pace * block / (block + Math.min(usualCalls, priorCalls + this.#calls))
    this.#calls += block
    this.#usualFailures += (this.#failed / block - this.#usualFailures) * rate
    const timed = this.#seen.reduce((sum, count) => sum + count, 0)
    if (timed > 0) {
      const share = rate * timed / block
      for (let i = 0; i < classes; i++) this.#usual[i]! += (this.#seen[i]! / timed - this.#usual[i]!) * share
      this.#usualSlower += (this.#slow / timed - this.#usualSlower) * share
    }
    this.#sinceLearnt = this.#failed = this.#slow = 0
    this.#seen.fill(0)
    this.#weigh()
  }

  /** What each class proves, by how often it comes. */
  #weigh(): void {
    const { share } = this.rules
    const failing = Math.max(this.#usualFailures, rarest)
    this.#failure = Math.log(1 - share + share / failing)
    this.#noFailure = Math.log(1 - share)
    for (let i = 0; i < classes; i++) {
      this.#weights[i] = Math.log(1 - share + share * trouble[i]! / Math.max(this.#usual[i]!, rarest))
    }
    // Most calls slower: half of them, where it usually is a quarter or less.
    this.#slower = Math.log(0.5 + 0.5 / Math.max(this.#usualSlower, 0.05))
    this.#notSlower = Math.log(0.5)
  }
}

/** A gauge says nothing of itself before so many values. */
const enoughValues = 20

/**
 * One value at a time, of anything that rises before or while a provider fails. How far a value lies above what 19 of 20
 * of the last 256 values reach is measured in the spread of those values, and no spread is taken to be less than half of
 * their median. At twice that it is an alarm at once; less must last.
 */
export class ValueTrend {
  /** From 0 to 2; an alarm from 1 on. */
  evidence = 0
  readonly #sample = new SortedSample(sampleSize)

  /** Takes a value; what is no finite number is a gap and changes nothing. Gives the probability of trouble. */
  observe(value: number): number {
    if (!Number.isFinite(value)) return this.probability
    const sample = this.#sample
    if (sample.size >= enoughValues) {
      const high = sample.quantile(0.95)
      const median = sample.quantile(0.5)
      const scale = Math.max(high - median, Math.abs(median) / 2)
      const above = value - high
      // Where nothing but one value was ever seen, nobody knows what a large one is: it must come again.
      const score = scale > 0 ? above / scale : above > 0 ? 1.5 : 0
      this.evidence = score > 0 ? Math.min(2, Math.max(0, this.evidence + score - 1)) : 0
    }
    sample.add(value)
    return this.probability
  }

  /** 0.5 and above is an alarm. */
  get probability(): number {
    return 1 / (1 + Math.exp(6 * (1 - this.evidence)))
  }
}

/** The share of calls to let in: all up to a probability of 0.5, then fewer, in proportion to the chance that all is well. */
export const admittedShare = (probability: number, least: number): number =>
  Math.min(1, Math.max(least, 2 * (1 - probability)))
