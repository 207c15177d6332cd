/**
 * The instant by which a call must have been answered. It travels with the fiber, is only ever shortened by nested
 * calls, and goes out and comes in by header, so that nobody works on what nobody waits for.
 */
import { Clock, Context, Duration, Effect, type Fiber, Schema } from "effect"
import { runningFiber, startWithin } from "./internal/deadlineRun.ts"
import { millisOf } from "./internal/options.ts"
import { stackless } from "./internal/stackless.ts"

/**
 * The deadline of the running call in epoch milliseconds; `Infinity` where there is none. Policies read it: a retry, a
 * queue or a hedge that cannot finish before it is not begun.
 */
export const current = Context.Reference<number>("holdfast/Deadline", { defaultValue: () => Infinity })

/** The call was not answered before its deadline. It is never retried; another provider could not be in time either. */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", {
  /** How much time the call had been given. */
  after: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `The deadline passed, ${Duration.format(this.after)} after the call began`
  }
}

const exceeded = (millis: number): DeadlineExceeded =>
  stackless(() => new DeadlineExceeded({ after: Duration.millis(millis) }))

/**
 * Gives the effect until the instant (epoch milliseconds) or an earlier deadline that already stands.
 *
 * **Details**
 *
 * At the deadline the work is interrupted and the answer given at once, even where the work ignores the interruption. A
 * deadline that has passed fails without beginning the work.
 */
export const until =
  (epochMillis: number) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | DeadlineExceeded, R> =>
    bounded(self, () => millisOf("Deadline", "epochMillis", epochMillis))

/**
 * Gives the effect so much time from its start, or less where an earlier deadline already stands. As `until`.
 *
 * **Example**
 *
 * ```ts
 * import { Duration, Effect } from "effect"
 * import { Deadline } from "holdfast"
 *
 * const left = Deadline.remaining.pipe(
 *   Deadline.within("5 minutes"),
 *   Deadline.within("2 seconds")
 * )
 * Math.ceil(Duration.toSeconds(await Effect.runPromise(left))) // => 2
 * ```
 */
export const within = (duration: Duration.Input) => {
  const millis = millisOf("Deadline", "duration", duration)
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | DeadlineExceeded, R> =>
    bounded(self, (now) => now + millis)
}

const bounded = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  instant: (now: number) => number
): Effect.Effect<A, E | DeadlineExceeded, R> =>
  Effect.callback<A, E | DeadlineExceeded, R>((resume) => {
    const fiber = runningFiber()
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const deadline = Math.min(instant(now), fiber.getRef(current))
    const millis = deadline - now
    const failure = (): Effect.Effect<never, DeadlineExceeded> => Effect.fail(exceeded(Math.max(0, millis)))
    if (millis === Infinity) return resume(self)
    if (!(millis > 0)) return resume(failure())
    const context = Context.add(fiber.context, current, deadline)
    return startWithin(fiber, context, self, millis, failure, undefined, resume)
  })

/** The time left; infinite without a deadline, zero once it has passed. */
export const remaining: Effect.Effect<Duration.Duration> = Effect.withFiber((fiber) =>
  Effect.succeed(Duration.millis(Math.max(0, remainingMillis(fiber))))
)

/** Milliseconds left for a fiber; `Infinity` without a deadline, below zero once it has passed. */
const remainingMillis = (fiber: Fiber.Fiber<unknown, unknown>): number => {
  const deadline = fiber.getRef(current)
  return deadline === Infinity ? Infinity : deadline - fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
}

/** The header that carries the time left, in whole milliseconds. */
export const header = "x-deadline-ms"

/** The header of gRPC for the same, such as `250m` for 250 milliseconds. */
export const grpcHeader = "grpc-timeout"

/** The value of `x-deadline-ms` for the milliseconds left; `undefined` without a deadline. */
export const toHeader = (millis: number): string | undefined =>
  isLimit(millis) ? String(Math.min(999_999_999_999_999, Math.max(0, Math.floor(millis)))) : undefined

/** The milliseconds that an `x-deadline-ms` gives; `undefined` where it is absent or no whole number. */
export const fromHeader = (value: string | undefined): number | undefined =>
  value !== undefined && /^\s*\d{1,15}\s*$/.test(value) ? Number(value) : undefined

/** The value of `grpc-timeout` for the milliseconds left, in the finest unit that fits its eight digits. */
export const toGrpcTimeout = (millis: number): string | undefined => {
  if (!isLimit(millis)) return undefined
  const whole = Math.max(0, Math.floor(millis))
  const unit = grpcUnits.find(([, size]) => size >= 1 && whole / size < 1e8) ?? grpcUnits[grpcUnits.length - 1]!
  return `${Math.min(99_999_999, Math.floor(whole / unit[1]))}${unit[0]}`
}

/** The milliseconds that a `grpc-timeout` gives; `undefined` where it is absent or malformed. */
export const fromGrpcTimeout = (value: string | undefined): number | undefined => {
  const match = /^\s*(\d{1,8})([HMSmun])\s*$/.exec(value ?? "")
  return match === null ? undefined : Number(match[1]) * grpcUnits.find(([unit]) => unit === match[2])![1]
}

const isLimit = (millis: number): boolean => millis !== Infinity && !Number.isNaN(millis)

/** Units of `grpc-timeout` in milliseconds, finest first. */
const grpcUnits: ReadonlyArray<readonly [unit: string, millis: number]> = [
  ["n", 1e-6],
  ["u", 1e-3],
  ["m", 1],
  ["S", 1000],
  ["M", 60_000],
  ["H", 3_600_000]
]

/** The headers for a request that is made under this call's deadline: none without a deadline. */
export const outgoing: Effect.Effect<{ readonly [header]?: string }> = Effect.withFiber((fiber) => {
  const value = toHeader(remainingMillis(fiber))
  return Effect.succeed(value === undefined ? {} : { [header]: value })
})

/** Gives the effect the deadline that came with a request, by either header. What cannot be read is ignored. */
export const incoming =
  (headers: { readonly [name: string]: string | undefined }) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | DeadlineExceeded, R> => {
    const millis = Math.min(
      fromHeader(headers[header]) ?? Infinity,
      fromGrpcTimeout(headers[grpcHeader]) ?? Infinity
    )
    return within(millis)(self)
  }
