import { Effect, Schedule } from "effect"

/** Looks every 5 ms, for 5 s at most, until the value is as expected; gives the last one. */
export const eventually = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  until: (value: A) => boolean
): Effect.Effect<A, E, R> => Effect.repeat(self, { until, times: 1_000, schedule: Schedule.spaced("5 millis") })
