/** What a circuit is told by its user, and the rules made of it. */
import type { Duration } from "effect"
import type { CircuitSettings } from "./circuitCore.ts"
import type { CircuitRules } from "./circuitState.ts"
import { checks } from "./options.ts"

/** How one circuit behaves. */
export interface CircuitOptions {
  /** Failures in a row that open the circuit; `false` for never. Defaults to 5. */
  readonly failureThreshold?: number | false | undefined
  /** The share of failures in the window that opens it, above 0 and up to 1; `false` for never. Defaults to 0.5. */
  readonly failureRate?: number | false | undefined
  /** Failures in the window that open it, in a row or not. Never by default. */
  readonly failureCount?: number | undefined
  /**
   * Calls that the window must hold before anything opens the circuit. By default 10 for shares, and none for failures
   * in a row. Given below `failureThreshold`, shares wait for `failureThreshold` calls; never for more than
   * `monitorCalls`.
   */
  readonly minimumThroughput?: number | undefined
  /** How far back calls count. Defaults to `"30 seconds"`. */
  readonly monitorWindow?: Duration.Input | undefined
  /** Steps in which the window moves on. Defaults to 10. */
  readonly monitorBuckets?: number | undefined
  /** Counts the last so many calls, whenever they were, instead of a time. */
  readonly monitorCalls?: number | undefined
  /** From this long on, a call is slow, whether it succeeds or fails. Nothing is slow by default. */
  readonly slowCallDuration?: Duration.Input | undefined
  /** The share of slow calls that opens the circuit. Defaults to 0.5. */
  readonly slowCallRate?: number | undefined
  /** A new circuit does not open before this, while connections and caches are still cold. Defaults to 0. */
  readonly warmUp?: Duration.Input | undefined
  /** How long the circuit stays open the first time. Defaults to `"5 seconds"`. */
  readonly recoveryTimeout?: Duration.Input | undefined
  /**
   * The longest open time; a provider's own hint may be longer. Defaults to `"10 seconds"`, or `recoveryTimeout` if that
   * is longer: a probe each 10 seconds is nothing to a provider that is asked more often when it is well, while every
   * second of waiting after its recovery is an outage to the callers (`holdfast simulate outage` tells how much).
   */
  readonly maxRecoveryTimeout?: Duration.Input | undefined
  /** Each opening lasts so many times the one before; quiet spells undo the growth. Defaults to 2. */
  readonly recoveryMultiplier?: number | undefined
  /** Takes up to half off each open time by chance, so that clients do not come back in step. Defaults to `true`. */
  readonly jitter?: boolean | undefined
  /** The longest time that a provider's own hint opens or holds the circuit. Defaults to `"1 hour"`. */
  readonly maxHint?: Duration.Input | undefined
  /** Probes that may run at once. Defaults to 1. */
  readonly maxProbes?: number | undefined
  /** Successful probes that close the circuit. Defaults to 3. */
  readonly successThreshold?: number | undefined
  /** Failed probes that open it again. Defaults to 2: one flake is forgiven. */
  readonly probeFailureThreshold?: number | undefined
  /**
   * How long a probe may take before it counts as failed and another may try; longer than any healthy call. Each
   * overdue probe doubles the next lease. Defaults to `"11 seconds"`.
   */
  readonly probeLease?: Duration.Input | undefined
  /**
   * How long a circuit takes after recovery from letting in a tenth of the calls to all of them. A call always passes
   * 100 ms after the last one. Defaults to `"10 seconds"`; 0 lets everybody in at once.
   */
  readonly rampUp?: Duration.Input | undefined
  /**
   * While the share of successes is below this, a closed circuit sheds calls in proportion: at half of it, every other
   * call. Never by default.
   */
  readonly shedBelow?: number | undefined
  /** Counts and changes state, but refuses nobody. Defaults to `false`. */
  readonly dryRun?: boolean | undefined
}

/** The rules and the window that options ask for. */
export const circuitSettings = (
  options: CircuitOptions,
  shared: Pick<CircuitSettings, "initial" | "random" | "onTransition" | "onStep" | "mayOpen">,
  prefix = ""
): CircuitSettings => {
  const check = checks("CircuitBreaker", prefix)
  const failureThreshold = options.failureThreshold === false
    ? Infinity
    : check.int("failureThreshold", options.failureThreshold, 5, { min: 1 })
  const given = options.minimumThroughput === undefined
    ? undefined
    : check.int("minimumThroughput", options.minimumThroughput, 0, { min: 1 })
  const recoveryMillis = check.millis("recoveryTimeout", options.recoveryTimeout, "5 seconds", { min: 1 })
  const maxRecoveryMillis = check.millis(
    "maxRecoveryTimeout",
    options.maxRecoveryTimeout,
    Math.max(10_000, recoveryMillis),
    { min: recoveryMillis }
  )
  const windowMillis = check.millis("monitorWindow", options.monitorWindow, "30 seconds", { min: 1 })
  const buckets = check.int("monitorBuckets", options.monitorBuckets, 10, { min: 1, max: 10_000 })
  const calls = options.monitorCalls === undefined
    ? undefined
    : check.int("monitorCalls", options.monitorCalls, 0, { min: 1, max: 1_000_000 })
  const held = calls ?? Infinity
  const why = "must not be above monitorCalls, or the window never holds so many"
  check.ensure((given ?? 0) <= held, "minimumThroughput", why)
  check.ensure((options.failureCount ?? 0) <= held, "failureCount", why)
  const rules: CircuitRules = {
    failureThreshold,
    consecutiveMinimum: given ?? 0,
    failureRate: options.failureRate === false ? Infinity : check.ratio("failureRate", options.failureRate, 0.5),
    failureCount: options.failureCount === undefined
      ? Infinity
      : check.int("failureCount", options.failureCount, 0, { min: 1 }),
    minimumThroughput: Math.min(
      held,
      given === undefined ? 10 : Math.max(given, Number.isFinite(failureThreshold) ? failureThreshold : 0)
    ),
    slowCallMillis: options.slowCallDuration === undefined
      ? Infinity
      : check.millis("slowCallDuration", options.slowCallDuration, 0, { min: 1 }),
    slowCallRate: options.slowCallDuration === undefined
      ? Infinity
      : check.ratio("slowCallRate", options.slowCallRate, 0.5),
    warmUpMillis: check.millis("warmUp", options.warmUp, 0),
    recoveryMillis,
    recoveryMultiplier: check.number("recoveryMultiplier", options.recoveryMultiplier, 2, { min: 1 }),
    maxRecoveryMillis,
    jitter: options.jitter ?? true,
    maxHintMillis: check.millis("maxHint", options.maxHint, "1 hour"),
    maxProbes: check.int("maxProbes", options.maxProbes, 1, { min: 1 }),
    successThreshold: check.int("successThreshold", options.successThreshold, 3, { min: 1 }),
    probeFailureThreshold: check.int("probeFailureThreshold", options.probeFailureThreshold, 2, { min: 1 }),
    probeLeaseMillis: check.millis("probeLease", options.probeLease, "11 seconds", { min: 1 }),
    rampMillis: check.millis("rampUp", options.rampUp, "10 seconds"),
    shedBelow: options.shedBelow === undefined ? 0 : check.ratio("shedBelow", options.shedBelow, 0),
    dryRun: options.dryRun ?? false
  }
  check.ensure(
    options.slowCallRate === undefined || options.slowCallDuration !== undefined,
    "slowCallRate",
    "needs slowCallDuration"
  )
  return {
    ...shared,
    rules,
    windowSize: calls ?? buckets,
    bucketMillis: calls === undefined ? windowMillis / buckets : 1_000,
    ofCalls: calls !== undefined
  }
}

/** mulberry32: a few operations per number, and the same numbers for the same seed. */
export const chance = (seed: number) => {
  let state = seed | 0
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
