/**
 * The circuit breaker's rules, pure: from a state, an event, the time and the rules to an answer and the next state.
 *
 *     Closed --trip--> Open --time over, next call--> HalfOpen --successes--> Closed (ramping up)
 *                       ^                                |
 *                       +------------failures-----------+          ForcedOpen and Disabled are set by hand
 *
 * Every closed period and every probe has its own number, handed out as the call's token. A call that ends under
 * another number than it began with is late: it changes nothing. Times are epoch milliseconds.
 */
import type { BreakerVerdict } from "../ProviderError.ts"

/** What a circuit goes by. `Infinity` switches a threshold off. */
export interface CircuitRules {
  /** Failures in a row that trip. */
  readonly failureThreshold: number
  /** Calls that the window must hold before failures in a row trip. */
  readonly consecutiveMinimum: number
  /** Share of failures in the window that trips, and failures in it that trip. */
  readonly failureRate: number
  readonly failureCount: number
  /** Calls that the window must hold before a share of it trips. */
  readonly minimumThroughput: number
  /** From this latency on a call is slow, and this share of slow calls trips. */
  readonly slowCallMillis: number
  readonly slowCallRate: number
  /** No trip before a circuit is this old. */
  readonly warmUpMillis: number
  /** The first open time, its growth, its bound, and whether chance shortens it by up to half. */
  readonly recoveryMillis: number
  readonly recoveryMultiplier: number
  readonly maxRecoveryMillis: number
  readonly jitter: boolean
  /** No provider's wish to be left alone lasts longer. */
  readonly maxHintMillis: number
  /** Probes at a time, successes that close, failures that open again, and how long a probe may take. */
  readonly maxProbes: number
  readonly successThreshold: number
  readonly probeFailureThreshold: number
  readonly probeLeaseMillis: number
  /** How long a closed circuit takes to let everybody in again. */
  readonly rampMillis: number
  /** Sheds calls while the window's share of successes is below this; 0 never does. */
  readonly shedBelow: number
  /** Counts and changes state, but refuses nobody. */
  readonly dryRun: boolean
}

interface Common {
  /** The last number handed out. */
  readonly generation: number
  /** When this state began. */
  readonly since: number
  /** The latest time this state has seen; a clock behind it was set back. */
  readonly at: number
  /** How often the circuit opened without a quiet spell between: the exponent of the next open time. */
  readonly openings: number
  /** How long the last open period was to last; staying closed that long is a quiet spell. */
  readonly openMillis: number
  /** Probes that outstayed their lease since the circuit was last closed; each doubles the next lease. */
  readonly overdue: number
  /** Calls are refused until then, because the provider asked for it. 0 when it did not. */
  readonly heldUntil: number
}

/** A call let through to see whether the provider is back. */
export interface Probe {
  readonly token: number
  readonly leaseUntil: number
}

/** Calls pass and are counted. Until `rampUntil` only a growing share of them passes. */
export interface Closed extends Common {
  readonly _tag: "Closed"
  readonly rampUntil: number
}

/** Calls are refused. From `until` on the next call becomes a probe. */
export interface Open extends Common {
  readonly _tag: "Open"
  readonly until: number
}

/** A few probes at a time decide. */
export interface HalfOpen extends Common {
  readonly _tag: "HalfOpen"
  readonly probes: ReadonlyArray<Probe>
  readonly successes: number
  readonly failures: number
}

/** Calls are refused until an operator says otherwise. */
export interface ForcedOpen extends Common {
  readonly _tag: "ForcedOpen"
}

/** Calls pass and nothing is judged until an operator says otherwise. */
export interface Disabled extends Common {
  readonly _tag: "Disabled"
}

export type State = Closed | Open | HalfOpen | ForcedOpen | Disabled

/** Why a state was left. */
export type TransitionReason =
  | "ConsecutiveFailures"
  | "FailureRate"
  | "FailureCount"
  | "SlowCallRate"
  | "OpenHint"
  | "RecoveryTimeElapsed"
  | "ProbesSucceeded"
  | "ProbesFailed"
  | "ProbeOverdue"
  | "Operator"
  | "Restored"
  /** For want of calls or of room; the next call finds a new circuit, which is closed. */
  | "Forgotten"

/** A reason for leaving Closed. */
export type TripReason = Extract<
  TransitionReason,
  "ConsecutiveFailures" | "FailureRate" | "FailureCount" | "SlowCallRate"
>

export type Event =
  | { readonly _tag: "Admit" }
  /** `trip`: what the counts say after this outcome; `openForMillis`: the provider asked to be left alone. */
  | {
    readonly _tag: "Settle"
    readonly token: number
    readonly outcome: BreakerVerdict
    readonly trip: TripReason | undefined
    readonly openForMillis: number
  }
  /** The call was interrupted: it says nothing about the provider. */
  | { readonly _tag: "Release"; readonly token: number }
  | { readonly _tag: "Hold"; readonly until: number }
  | { readonly _tag: "ForceOpen" | "ForceClose" | "Disable" | "Enable" | "Tick" }

/** The call is refused. */
export const REFUSED = -1
/** The call may run, but its outcome does not count: the circuit is disabled, or open in a dry run. */
export const UNCOUNTED = -2
/** The outcome belongs to an earlier period. */
export const LATE = -3

/** A token, or one of the numbers above, or 0 where there is nothing to say. */
export type Answer = number

/** The answer, the next state, and why it was entered when its tag is another one. */
export type Step = readonly [answer: Answer, next: State, reason?: TransitionReason]

export const initial = (now: number): Closed => ({
  _tag: "Closed",
  generation: 0,
  since: now,
  at: now,
  openings: 0,
  openMillis: 0,
  overdue: 0,
  heldUntil: 0,
  rampUntil: 0
})

/** Millis until a call would be admitted; 0 when it would be now, `Infinity` when nobody knows. */
export const wait = (state: State, now: number, rules: CircuitRules): number => {
  const time = Math.max(now, state.at)
  switch (state._tag) {
    case "Closed":
      return Math.max(0, state.heldUntil - time)
    case "Disabled":
      return 0
    case "ForcedOpen":
      return Infinity
    case "Open":
      return Math.max(0, state.until - time)
    case "HalfOpen": {
      const slot = state.probes.length < rules.maxProbes
        ? 0
        : Math.min(...state.probes.map((probe) => probe.leaseUntil)) - time
      return Math.max(0, slot, state.heldUntil - time)
    }
  }
}

/** What the counts after a failure or a slow call say: the reason to trip, if there is one. */
export const tripReason = (
  counts: { readonly total: number; readonly failures: number; readonly slow: number },
  consecutive: number,
  rules: CircuitRules
): TripReason | undefined => {
  const { failures, slow, total } = counts
  if (consecutive >= rules.failureThreshold && total >= rules.consecutiveMinimum) return "ConsecutiveFailures"
  if (failures >= rules.failureCount && total >= rules.consecutiveMinimum) return "FailureCount"
  if (total < rules.minimumThroughput) return undefined
  if (failures / total >= rules.failureRate) return "FailureRate"
  if (slow / total >= rules.slowCallRate) return "SlowCallRate"
  return undefined
}

/** The share of calls a circuit lets in: below 1 while ramping up, or while too few calls succeed. */
export const admittedShare = (
  state: Closed,
  counts: { readonly total: number; readonly failures: number },
  now: number,
  rules: CircuitRules
): number => {
  // The ramp may have become shorter since it began.
  const end = Math.min(state.rampUntil, state.since + rules.rampMillis)
  const left = Math.min(1, (end - Math.max(now, state.at)) / rules.rampMillis)
  const ramp = left > 0 ? 0.1 + 0.9 * (1 - left) : 1
  const shed = rules.shedBelow > 0 && counts.total >= rules.minimumThroughput
    ? (1 - counts.failures / counts.total) / rules.shedBelow
    : 1
  return Math.min(1, ramp, shed)
}

/** One step. `random` is from 0 to 1 and shortens an open time where `jitter` is on. */
export const transition = (before: State, event: Event, now: number, rules: CircuitRules, random: number): Step => {
  const state = now < before.at ? shifted(before, now - before.at) : before
  switch (event._tag) {
    case "Tick":
      return [0, state]
    case "Admit":
      return admit(state, now, rules, random)
    case "Settle":
      return settle(state, event, now, rules, random)
    case "Release":
      return state._tag === "HalfOpen" && holds(state, event.token)
        ? [0, without(state, event.token, now)]
        : [0, state]
    case "Hold": {
      const until = Math.min(event.until, now + rules.maxHintMillis)
      return [
        0,
        state._tag === "Open"
          ? { ...state, at: now, until: Math.max(state.until, until) }
          : { ...state, at: now, heldUntil: Math.max(state.heldUntil, until) }
      ]
    }
    case "ForceOpen":
      return [0, { ...common(state, now), _tag: "ForcedOpen", heldUntil: askedFor(state) }, "Operator"]
    case "Disable":
      return [0, { ...common(state, now), _tag: "Disabled", heldUntil: askedFor(state) }, "Operator"]
    case "ForceClose":
      return [0, { ...initial(now), generation: state.generation + 1 }, "Operator"]
    case "Enable":
      switch (state._tag) {
        // Nobody knows how the provider fares after a forced open: the next call is a probe.
        case "ForcedOpen":
          return [0, { ...common(state, now), _tag: "Open", until: Math.max(now, state.heldUntil) }, "Operator"]
        case "Disabled":
          return [
            0,
            { ...initial(now), generation: state.generation + 1, heldUntil: state.heldUntil },
            "Operator"
          ]
        case "Closed":
        case "Open":
        case "HalfOpen":
          return [0, state]
      }
  }
}

/** Until when the provider asked to be left alone; an open time that is longer than planned is its wish. */
const askedFor = (state: State): number =>
  state._tag === "Open" && state.until > state.since + state.openMillis
    ? Math.max(state.until, state.heldUntil)
    : state.heldUntil

const admit = (state: State, now: number, rules: CircuitRules, random: number): Step => {
  if (wait(state, now, rules) > 0) return [REFUSED, state]
  switch (state._tag) {
    case "Closed":
      return [state.generation, state.heldUntil === 0 ? state : { ...state, heldUntil: 0 }]
    case "Disabled":
      return [UNCOUNTED, state]
    case "ForcedOpen":
      return [REFUSED, state]
    case "Open":
      return probe({ ...common(state, now), _tag: "HalfOpen", probes: [], successes: 0, failures: 0 }, now, rules)
    case "HalfOpen": {
      // A probe that outstayed its lease counts as failed; what it says later is late.
      const probes = state.probes.filter(({ leaseUntil }) => leaseUntil > now)
      const overdue = state.probes.length - probes.length
      const failures = state.failures + overdue
      const next: HalfOpen = { ...state, at: now, probes, failures, overdue: state.overdue + overdue }
      return overdue > 0 && failures >= rules.probeFailureThreshold
        ? [REFUSED, opened(next, now, 0, rules, random), "ProbeOverdue"]
        : probe(next, now, rules)
    }
  }
}

const probe = (state: HalfOpen, now: number, rules: CircuitRules): Step => {
  const token = state.generation + 1
  // A provider slower than the lease would never recover; doubled, the lease grows past it.
  const lease = Math.min(
    rules.probeLeaseMillis * 2 ** state.overdue,
    Math.max(rules.probeLeaseMillis, rules.maxRecoveryMillis)
  )
  const probes = [...state.probes, { token, leaseUntil: now + lease }]
  return [token, { ...state, generation: token, at: now, heldUntil: 0, probes }, "RecoveryTimeElapsed"]
}

const settle = (
  state: State,
  { openForMillis, outcome, token, trip }: Extract<Event, { readonly _tag: "Settle" }>,
  now: number,
  rules: CircuitRules,
  random: number
): Step => {
  switch (state._tag) {
    case "Closed": {
      if (token !== state.generation) return [LATE, state]
      const reason = openForMillis > 0 ? "OpenHint" : trip
      return reason === undefined ? [0, state] : [0, opened(state, now, openForMillis, rules, random), reason]
    }
    case "HalfOpen": {
      if (!holds(state, token)) return [LATE, state]
      if (openForMillis > 0) return [0, opened(state, now, openForMillis, rules, random), "OpenHint"]
      const next = without(state, token, now)
      switch (outcome) {
        case "Ignored":
          return [0, next]
        case "Success": {
          const successes = next.successes + 1
          return successes >= rules.successThreshold
            ? [0, closed(next, now, rules), "ProbesSucceeded"]
            : [0, { ...next, successes }]
        }
        case "Failure": {
          const failures = next.failures + 1
          return failures >= rules.probeFailureThreshold
            ? [0, opened(next, now, 0, rules, random), "ProbesFailed"]
            : [0, { ...next, failures }]
        }
      }
    }
    // oxlint-disable-next-line eslint/no-fallthrough -- every outcome of HalfOpen has returned
    case "Open":
    case "ForcedOpen":
    case "Disabled":
      return [LATE, state]
  }
}

/** Opens for a time that grows with every opening; a hint only lengthens it. */
const opened = (state: Closed | HalfOpen, now: number, hint: number, rules: CircuitRules, random: number): Open => {
  const past = state._tag === "Closed" ? afterQuiet(state, now) : state.openings
  const planned = Math.min(rules.recoveryMillis * rules.recoveryMultiplier ** past, rules.maxRecoveryMillis)
  const openMillis = Math.ceil(rules.jitter ? planned * (1 - random / 2) : planned)
  return {
    ...common(state, now),
    _tag: "Open",
    // Beyond the longest open time there is nothing to count.
    openings: planned >= rules.maxRecoveryMillis ? past : past + 1,
    openMillis,
    heldUntil: 0,
    until: Math.max(now + Math.max(openMillis, Math.min(hint, rules.maxHintMillis)), state.heldUntil)
  }
}

/** The count of openings, halved for every quiet spell as long as the last open period. */
const afterQuiet = (state: Closed, now: number): number =>
  state.openings === 0 ? 0 : Math.floor(state.openings / 2 ** Math.floor((now - state.since) / state.openMillis))

const closed = (state: HalfOpen, now: number, rules: CircuitRules): Closed => ({
  ...common(state, now),
  _tag: "Closed",
  overdue: 0,
  rampUntil: rules.rampMillis > 0 ? now + rules.rampMillis : 0
})

/** What goes over into another state: a new number, and what is remembered of earlier openings. */
const common = (state: State, now: number): Common => ({
  generation: state.generation + 1,
  since: now,
  at: now,
  openings: state.openings,
  openMillis: state.openMillis,
  overdue: state.overdue,
  heldUntil: state.heldUntil
})

const holds = (state: HalfOpen, token: number): boolean => state.probes.some((probe) => probe.token === token)

const without = (state: HalfOpen, token: number, now: number): HalfOpen => ({
  ...state,
  at: now,
  probes: state.probes.filter((probe) => probe.token !== token)
})

/** The same state on a clock that was set back: what was left to wait is left to wait. */
const shifted = <S extends State>(state: S, by: number): S => {
  const moved = (time: number): number => time === 0 ? 0 : time + by
  return {
    ...state,
    since: state.since + by,
    at: state.at + by,
    heldUntil: moved(state.heldUntil),
    ...(state._tag === "Closed" && { rampUntil: moved(state.rampUntil) }),
    ...(state._tag === "Open" && { until: moved(state.until) }),
    ...(state._tag === "HalfOpen" && {
      probes: state.probes.map(({ leaseUntil, token }) => ({ token, leaseUntil: leaseUntil + by }))
    })
  }
}
