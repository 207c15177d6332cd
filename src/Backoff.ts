/**
 * How long to wait before the next attempt: exponential growth under a cap, spread by one of five kinds of jitter. Pure
 * functions of the attempt and a random number, and the same as Schedules.
 */
import { Duration, Effect, Random, Schedule } from "effect"

/**
 * How waits are spread, so that clients that failed together do not come back together.
 *
 * - `"full"`: anywhere from 0 to the exponential delay. Spreads best
 * - `"equal"`: the upper half of that; never less than half the delay
 * - `"decorrelated"`: anywhere from the base to three times the wait before
 * - `"proportional"`: the delay, a share (`jitterFactor`) more or less
 * - `"none"`: the delay as it is
 */
export type Jitter = "full" | "equal" | "decorrelated" | "proportional" | "none"

/** What a wait is computed from. Milliseconds are plain numbers. */
export interface Settings {
  readonly baseMillis: number
  /** No wait is ever longer, jitter included. */
  readonly maxMillis: number
  /** Growth from one wait to the next. */
  readonly multiplier: number
  readonly jitter: Jitter
  /** The share of `"proportional"` jitter; 0.1 is ±10 %. */
  readonly jitterFactor: number
}

/** The exponential delay after so many failures (1 for the first), before any jitter. */
export const exponential = ({ baseMillis, maxMillis, multiplier }: Settings, failures: number): number =>
  Math.min(maxMillis, baseMillis * Math.min(Number.MAX_VALUE, multiplier ** (failures - 1)))

/**
 * Milliseconds to wait after so many failures.
 *
 * @param previousMillis the wait before this one (0 before the first); only `"decorrelated"` asks for it
 * @param random from 0 up to 1
 */
export const delay = (settings: Settings, failures: number, previousMillis: number, random: number): number => {
  const plain = exponential(settings, failures)
  switch (settings.jitter) {
    case "none":
      return plain
    case "full":
      return plain * random
    case "equal":
      return (plain * (1 + random)) / 2
    case "decorrelated": {
      const { baseMillis, maxMillis } = settings
      const previous = Math.max(baseMillis, previousMillis)
      return Math.min(maxMillis, baseMillis + random * (previous * 3 - baseMillis))
    }
    case "proportional":
      return Math.min(settings.maxMillis, plain * (1 + settings.jitterFactor * (2 * random - 1)))
  }
}

/** The longest that `delay` can give after so many failures. */
export const longest = (settings: Settings, failures: number): number => {
  switch (settings.jitter) {
    case "none":
    case "full":
    case "equal":
      return exponential(settings, failures)
    case "decorrelated":
      return Math.min(settings.maxMillis, settings.baseMillis * 3 ** failures)
    case "proportional":
      return Math.min(settings.maxMillis, exponential(settings, failures) * (1 + settings.jitterFactor))
  }
}

/** The longest jitter upwards over a wait that the provider asked for, as a share of it. */
export const retryAfterSpread = 0.2

/**
 * Milliseconds to wait where the provider named a time: never earlier than it said, never less than the backoff, and up
 * to a fifth more, since clients told the same time would otherwise come back in one wave.
 */
export const afterHint = (hintMillis: number, backoffMillis: number, random: number): number =>
  Math.max(backoffMillis, hintMillis * (1 + retryAfterSpread * random))

/** The waits as a Schedule that goes on for ever; its output is the wait. Random numbers come from Effect's `Random`. */
export const schedule = (settings: Settings): Schedule.Schedule<Duration.Duration> =>
  Schedule.fromStep(Effect.sync(() => {
    let failures = 0
    let previous = 0
    return () =>
      Effect.map(Random.next, (random) => {
        previous = delay(settings, ++failures, previous, random)
        const wait = Duration.millis(previous)
        return [wait, wait] as [Duration.Duration, Duration.Duration]
      })
  }))
