/**
 * The circuit breaker told a second time, naively: every call is kept with its time, a call belongs to the period object
 * it was admitted in, and nothing is fast. Written from the rules of `reference/policies.md`, not from the code, so that
 * the two can be compared.
 */
import type { CircuitRules } from "../../src/internal/circuitState.ts"

export const rules: CircuitRules = {
  failureThreshold: 3,
  consecutiveMinimum: 0,
  failureRate: 0.5,
  failureCount: Infinity,
  minimumThroughput: 4,
  slowCallMillis: 100,
  slowCallRate: 0.75,
  warmUpMillis: 0,
  recoveryMillis: 100,
  recoveryMultiplier: 2,
  maxRecoveryMillis: 400,
  jitter: false,
  maxHintMillis: 400,
  maxProbes: 1,
  successThreshold: 2,
  probeFailureThreshold: 2,
  probeLeaseMillis: 50,
  rampMillis: 0,
  shedBelow: 0,
  dryRun: false
}

export type Outcome = "Success" | "Failure" | "Ignored"

/** A closed period, or one probe: what an admitted call belongs to. */
interface Period {
  leaseUntil: number
}

export class CircuitModel {
  state: "Closed" | "Open" | "HalfOpen" | "ForcedOpen" | "Disabled" = "Closed"
  late = 0
  trips = 0
  private readonly rules: CircuitRules
  private readonly windowSize: number
  private readonly bucketMillis: number
  private readonly start: number
  private period: Period = { leaseUntil: Infinity }
  private probes: Array<Period> = []
  private calls: Array<{ bucket: number; failed: boolean; slow: boolean }> = []
  private lastBucket = 0
  private streak = 0
  private good = 0
  private bad = 0
  private since: number
  /** The time of the last change; a clock behind it was set back, and all that is remembered moves with it. */
  private seen: number
  private until = 0
  private held = -Infinity
  private openings = 0
  private lastOpen = 0
  private overstayed = 0

  constructor(rules: CircuitRules, windowSize: number, bucketMillis: number, start: number) {
    this.rules = rules
    this.windowSize = windowSize
    this.bucketMillis = bucketMillis
    this.start = start
    this.since = this.seen = start
  }

  /** The period of an admitted call, or undefined for a refusal, or "uncounted" where nothing is judged. */
  admit(now: number): Period | "uncounted" | undefined {
    if (this.state !== "Closed") this.notice(now)
    switch (this.state) {
      case "Disabled":
        return "uncounted"
      case "ForcedOpen":
        return undefined
      case "Closed":
        if (this.held > -Infinity) this.notice(now)
        if (this.held > now) return undefined
        this.held = -Infinity
        return this.period
      case "Open": {
        if (now < this.until) return undefined
        this.good = this.bad = 0
        this.probes = []
        this.become("HalfOpen", now)
        return this.probe(now)
      }
      case "HalfOpen": {
        const running = this.probes.filter((probe) => probe.leaseUntil > now)
        const overdue = this.probes.length - running.length
        if (this.held > now || (this.probes.length >= this.rules.maxProbes && overdue === 0)) return undefined
        this.probes = running
        this.bad += overdue
        this.overstayed += overdue
        if (overdue > 0 && this.bad >= this.rules.probeFailureThreshold) {
          this.open(now, 0)
          return undefined
        }
        return this.probe(now)
      }
    }
  }

  settle(period: Period | "uncounted", outcome: Outcome, latency: number, now: number, hint = 0): void {
    if (period === "uncounted") return
    const slow = outcome !== "Ignored" && latency >= this.rules.slowCallMillis
    if (this.state === "Closed" && period === this.period) {
      if (outcome !== "Ignored") {
        const failed = outcome === "Failure"
        this.streak = failed ? this.streak + 1 : 0
        this.remember(failed, slow, now)
        if (hint > 0 || ((failed || slow) && this.tooBad())) this.open(now, hint)
      } else if (hint > 0) this.open(now, hint)
      return
    }
    if (this.state !== "Closed") this.notice(now)
    if (this.state !== "HalfOpen" || !this.probes.includes(period)) {
      this.late++
      return
    }
    if (hint > 0) return this.open(now, hint)
    this.probes = this.probes.filter((probe) => probe !== period)
    this.seen = now
    if (outcome === "Failure" || slow) {
      this.bad++
      if (this.bad >= this.rules.probeFailureThreshold) this.open(now, 0)
    } else if (outcome === "Success") {
      this.good++
      if (this.good >= this.rules.successThreshold) this.close(now, this.openings, this.lastOpen)
    }
  }

  interrupt(period: Period | "uncounted", now: number): void {
    if (this.state !== "Closed") this.notice(now)
    if (this.state !== "HalfOpen" || period === "uncounted" || !this.probes.includes(period)) return
    this.probes = this.probes.filter((probe) => probe !== period)
    this.seen = now
  }

  hold(until: number, now: number): void {
    if (until <= now) return
    this.notice(now)
    this.seen = now
    const bounded = Math.min(until, now + this.rules.maxHintMillis)
    if (this.state === "Open") this.until = Math.max(this.until, bounded)
    else this.held = Math.max(this.held, bounded)
  }

  command(command: "ForceOpen" | "ForceClose" | "Disable" | "Enable", now: number): void {
    this.notice(now)
    // An open time beyond the planned one is the provider's wish, as a hold is: only closing by hand ends it.
    const byHand = command === "ForceOpen" || command === "Disable"
    if (byHand && this.state === "Open" && this.until > this.since + this.lastOpen) {
      this.held = Math.max(this.held, this.until)
    }
    if (command === "ForceOpen") this.become("ForcedOpen", now)
    else if (command === "Disable") this.become("Disabled", now)
    else if (command === "ForceClose" || this.state === "Disabled") {
      if (command === "ForceClose") this.held = -Infinity
      this.close(now, 0, 0)
    } else if (this.state === "ForcedOpen") {
      this.until = Math.max(now, this.held)
      this.trips++
      this.become("Open", now)
    }
  }

  /** Millis until a call would be let in. */
  wait(now: number): number {
    if (this.state !== "Closed") this.notice(now)
    switch (this.state) {
      case "Disabled":
        return 0
      case "ForcedOpen":
        return Infinity
      case "Closed":
        if (this.held > -Infinity) this.notice(now)
        return Math.max(0, this.held - now)
      case "Open":
        return Math.max(0, this.until - now)
      case "HalfOpen": {
        const free = this.probes.length < this.rules.maxProbes
        const first = Math.min(...this.probes.map((probe) => probe.leaseUntil))
        return Math.max(0, this.held - now, free ? 0 : first - now)
      }
    }
  }

  private probe(now: number): Period {
    const longest = Math.max(this.rules.probeLeaseMillis, this.rules.maxRecoveryMillis)
    const period = { leaseUntil: now + Math.min(longest, this.rules.probeLeaseMillis * 2 ** this.overstayed) }
    this.probes.push(period)
    this.seen = now
    this.held = -Infinity
    return period
  }

  private remember(failed: boolean, slow: boolean, now: number): void {
    const bucket = Math.floor((now - this.start) / this.bucketMillis)
    const back = Math.max(0, this.lastBucket - bucket)
    this.calls = this.calls.map((call) => ({ ...call, bucket: call.bucket - back }))
    this.lastBucket = bucket
    this.calls.push({ bucket, failed, slow })
  }

  private tooBad(): boolean {
    const held = this.calls.filter((call) => call.bucket > this.lastBucket - this.windowSize)
    const failed = held.filter((call) => call.failed).length
    const slow = held.filter((call) => call.slow).length
    const { rules } = this
    return (this.streak >= rules.failureThreshold && held.length >= rules.consecutiveMinimum) ||
      (failed >= rules.failureCount && held.length >= rules.consecutiveMinimum) ||
      (held.length >= rules.minimumThroughput &&
        (failed / held.length >= rules.failureRate || slow / held.length >= rules.slowCallRate))
  }

  private open(now: number, hint: number): void {
    this.notice(now)
    if (this.state === "Closed" && this.openings > 0) {
      for (let quiet = now - this.since; quiet >= this.lastOpen && this.openings > 0; quiet -= this.lastOpen) {
        this.openings = Math.floor(this.openings / 2)
      }
    }
    const { maxRecoveryMillis, recoveryMillis, recoveryMultiplier } = this.rules
    this.lastOpen = Math.min(maxRecoveryMillis, recoveryMillis * recoveryMultiplier ** this.openings)
    this.until = Math.max(now + this.lastOpen, now + Math.min(hint, this.rules.maxHintMillis), this.held)
    this.held = -Infinity
    if (this.lastOpen < maxRecoveryMillis) this.openings++
    this.trips++
    this.become("Open", now)
  }

  private close(now: number, openings: number, lastOpen: number): void {
    this.openings = openings
    this.lastOpen = lastOpen
    this.overstayed = 0
    this.period = { leaseUntil: Infinity }
    this.calls = []
    this.streak = 0
    this.lastBucket = Math.floor((now - this.start) / this.bucketMillis)
    this.become("Closed", now)
  }

  private become(state: CircuitModel["state"], now: number): void {
    this.state = state
    this.since = this.seen = now
  }

  private notice(now: number): void {
    const back = this.seen - now
    if (back <= 0) return
    this.seen -= back
    this.since -= back
    this.until -= back
    this.held -= back
    for (const probe of this.probes) probe.leaseUntil -= back
  }
}
