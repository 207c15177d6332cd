/**
 * A time limit for one attempt, kept even where the work ignores its interruption: the caller is answered on time, the
 * work is cancelled, and whoever holds something for it (a permit, a connection) is told when it really ended.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, type Fiber, Layer, Schema } from "effect"
import * as Deadline from "./Deadline.ts"
import { type OnEnd, runningFiber, startWithin } from "./internal/deadlineRun.ts"
import { arm, disarm } from "./internal/deadlineTimer.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import { QuantileLimit } from "./internal/quantileLimit.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

/** The attempt was not answered within its limit. Another attempt may be, if the work may be repeated. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", {
  /** The limit. */
  after: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `The attempt timed out after ${Duration.format(this.after)}`
  }
}

const timedOut = (millis: number): TimedOut =>
  stackless(() => new TimedOut({ after: Duration.millis(Math.max(0, millis)) }))

/** The limit of an attempt: a time, or a function that is asked for each attempt. */
export type Limit = Duration.Input | (() => Duration.Input)

export interface AttemptOptions<A, E> {
  /**
   * Called once, when the work has really ended; `late` where the limit had passed before. Give back here what the work
   * still uses after the caller has gone. Work that never began, because the limit was zero, has ended late by an
   * interruption. Must not throw.
   */
  readonly onEnd?: ((exit: Exit.Exit<A, E>, late: boolean) => void) | undefined
}

/**
 * Fails with `TimedOut` when the effect takes longer than the limit.
 *
 * **Details**
 *
 * At the limit the work is interrupted and the failure given at once; finalizers and work that ignores interruption go
 * on by themselves. Interrupting the caller interrupts the work and waits for it. The work runs in a fiber of its own
 * and can be interrupted at the limit even where the caller cannot. An infinite limit is none; a limit of zero fails
 * without beginning.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Timeout } from "holdfast"
 *
 * const stuck = Effect.uninterruptible(Effect.never)
 * const error = await Effect.runPromise(stuck.pipe(Timeout.attempt("10 millis"), Effect.flip))
 * error._tag // => "TimedOut"
 * ```
 */
export const attempt = (limit: Limit) => {
  const millis = toMillis(limit)
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | TimedOut, R> =>
    limited(self, millis, undefined, undefined)
}

/** As `attempt`, and tells when the work really ended. */
export const attemptWith =
  <A, E>(limit: Limit, options: AttemptOptions<A, E>) =>
  <R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | TimedOut, R> =>
    limited(self, toMillis(limit), options.onEnd, undefined)

const toMillis = (limit: Limit): () => number => {
  if (typeof limit === "function") return () => millisOf("Timeout", "limit", limit())
  const millis = millisOf("Timeout", "limit", limit)
  return () => millis
}

const limited = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  limit: (fiber: Fiber.Fiber<unknown, unknown>) => number,
  onEnd: OnEnd<A, E> | undefined,
  onLimit: (() => void) | undefined
): Effect.Effect<A, E | TimedOut, R> =>
  Effect.callback<A, E | TimedOut, R>((resume) => {
    const fiber = runningFiber()
    const millis = limit(fiber)
    if (!(millis > 0)) {
      onEnd?.(Exit.interrupt(), true)
      return resume(Effect.fail(timedOut(millis)))
    }
    const failure = (): Effect.Effect<never, TimedOut> => {
      onLimit?.()
      return Effect.fail(timedOut(millis))
    }
    return startWithin(fiber, fiber.context, self, millis, failure, onEnd, resume)
  })

export interface PromiseOptions<A, E> extends AttemptOptions<A, E> {
  /** Makes the failure from what the promise was rejected with. Defaults to `Cause.UnknownError`. */
  readonly catch?: ((cause: unknown) => E) | undefined
}

/**
 * A promise function under a limit, in one step: half the cost of `Effect.tryPromise` and `attempt` together, since no
 * fiber is started. At the limit and on interruption the call's own signal is aborted; the promise is not waited for,
 * and a late rejection is swallowed. A signal is only made for a function that takes one.
 */
export const promise = <A, E = Cause.UnknownError>(
  limit: Limit,
  f: (signal: AbortSignal) => PromiseLike<A>,
  options?: PromiseOptions<A, E>
): Effect.Effect<A, E | TimedOut> => runPromise(f, toMillis(limit), options, undefined, undefined)

const runPromise = <A, E>(
  f: (signal: AbortSignal) => PromiseLike<A>,
  limit: (fiber: Fiber.Fiber<unknown, unknown>) => number,
  options: PromiseOptions<A, E> | undefined,
  onEnd: OnEnd<A, E> | undefined,
  onLimit: (() => void) | undefined
): Effect.Effect<A, E | TimedOut> =>
  Effect.callback<A, E | TimedOut>((resume) => {
    const fiber = runningFiber()
    const millis = limit(fiber)
    if (!(millis > 0)) {
      options?.onEnd?.(Exit.interrupt(), true)
      return resume(Effect.fail(timedOut(millis)))
    }
    const controller = f.length === 0 ? undefined : new AbortController()
    let late = false
    const timer = arm(fiber, millis, () => {
      late = true
      const error = timedOut(millis)
      controller?.abort(error)
      onLimit?.()
      resume(Effect.fail(error))
    })
    const end = (exit: Exit.Exit<A, E>): void => {
      if (!late) disarm(timer)
      onEnd?.(exit, late)
      options?.onEnd?.(exit, late)
      resume(exit)
    }
    started(f, controller?.signal).then(
      (value) => end(Exit.succeed(value)),
      (cause) => end(rejected(cause, options?.catch))
    )
    return Effect.sync(() => {
      disarm(timer)
      controller?.abort()
    })
  })

/**
 * A true promise, since a foreign one may throw when it is asked, or answer twice. What the function throws before it has
 * made its own counts as a rejection.
 */
const started = <A>(f: (signal: AbortSignal) => PromiseLike<A>, signal: AbortSignal | undefined): Promise<A> => {
  // `try` at the edge: the function is foreign, and this runs outside of any effect.
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without a signal the function takes none
    return Promise.resolve(f(signal as AbortSignal))
  } catch (cause) {
    return Promise.reject(cause)
  }
}

const rejected = <E>(cause: unknown, toError: ((cause: unknown) => E) | undefined): Exit.Exit<never, E> => {
  // As in `Effect.tryPromise`, a `catch` that throws is a defect.
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- E is UnknownError unless `catch` says otherwise
    return Exit.fail(toError === undefined ? new Cause.UnknownError(cause) as E : toError(cause))
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** The limit of one attempt: `timeoutMillis`, or a share of what remains to the deadline where that is less. */
export const attemptMillis = (timeoutMillis: number, remainingMillis: number, ofRemaining: number): number =>
  Math.min(timeoutMillis, remainingMillis * ofRemaining)

export interface QuantileOptions {
  /** Which quantile of the latencies. Defaults to 0.99. */
  readonly p?: number | undefined
  /** The limit is so many times the quantile. Defaults to 3. */
  readonly factor?: number | undefined
  /** The limit is never below. Defaults to `"100 millis"`. */
  readonly floor?: Duration.Input | undefined
  /** With fewer latencies known, `timeout` is the limit. Defaults to 100. */
  readonly minSamples?: number | undefined
  /** How long a latency counts, up to twice that. Defaults to `"5 minutes"`. */
  readonly window?: Duration.Input | undefined
}

export interface Options {
  /** The limit, and where a quantile decides, its cap. Defaults to `"10 seconds"`. */
  readonly timeout?: Duration.Input | undefined
  /** The share of the time left to the deadline that one attempt may take. Defaults to 0.5: room for another. */
  readonly ofRemaining?: number | undefined
  /** Follow the live latencies instead of a fixed limit. Off by default. */
  readonly quantile?: QuantileOptions | undefined
}

export interface Service {
  /** Runs the effect as one attempt under the policy's limit. */
  readonly attempt: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TimedOut, R>
  /** Runs a promise function as one attempt; see the module's `promise`. */
  readonly promise: <A, E = Cause.UnknownError>(
    f: (signal: AbortSignal) => PromiseLike<A>,
    options?: PromiseOptions<A, E>
  ) => Effect.Effect<A, E | TimedOut>
  /** The limit that an attempt would get now. */
  readonly limit: Effect.Effect<Duration.Duration>
}

/** An attempt timeout as a service. */
export class Timeout extends Context.Service<Timeout, Service>()("holdfast/Timeout") {
  static readonly layer = (options?: Options): Layer.Layer<Timeout, InvalidOptions> =>
    Layer.effect(Timeout, make(options))
}

/** A timeout policy. With a quantile it learns from its own attempts: successes, and what its own limit cut off. */
export const make = (options?: Options): Effect.Effect<Service, InvalidOptions> =>
  Effect.map(checked(() => settings(options)), ({ ofRemaining, quantile, timeoutMillis }): Service => {
    const bounded = (millis: number, deadline: number, now: number): number =>
      deadline === Infinity ? millis : attemptMillis(millis, deadline - now, ofRemaining)
    const limit = (fiber: Fiber.Fiber<unknown, unknown>): number => {
      const deadline = fiber.getRef(Deadline.current)
      if (quantile === undefined && deadline === Infinity) return timeoutMillis
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      return bounded(quantile?.current(now) ?? timeoutMillis, deadline, now)
    }
    const service = {
      limit: Effect.withFiber((fiber) => Effect.succeed(Duration.millis(Math.max(0, limit(fiber)))))
    }
    if (quantile === undefined) {
      return {
        ...service,
        attempt: (self) => limited(self, limit, undefined, undefined),
        promise: (f, options) => runPromise(f, limit, options, undefined, undefined)
      }
    }
    /** The limit of one attempt, and what learns from it. */
    const measure = (fiber: Fiber.Fiber<unknown, unknown>) => {
      const clock = fiber.getRef(Clock.Clock)
      const start = clock.currentTimeMillisUnsafe()
      const own = quantile.current(start) ?? timeoutMillis
      const millis = bounded(own, fiber.getRef(Deadline.current), start)
      return {
        limit: () => millis,
        onEnd: (exit: Exit.Exit<unknown, unknown>, late: boolean): void => {
          if (late || exit._tag === "Failure") return
          const now = clock.currentTimeMillisUnsafe()
          quantile.record(now - start, now)
        },
        // Cut off by the caller's deadline, it says nothing of how long the work takes.
        onLimit: millis < own ? undefined : (): void => quantile.record(millis, clock.currentTimeMillisUnsafe())
      }
    }
    return {
      ...service,
      attempt: (self) =>
        Effect.withFiber((fiber) => {
          const { limit, onEnd, onLimit } = measure(fiber)
          return limited(self, limit, onEnd, onLimit)
        }),
      promise: (f, options) =>
        Effect.withFiber((fiber) => {
          const { limit, onEnd, onLimit } = measure(fiber)
          return runPromise(f, limit, options, onEnd, onLimit)
        })
    }
  })

/**
 * For the pipeline: what the options come to, or the throw of `InvalidOptions`.
 * @internal
 */
export const settings = (options?: Options) => {
  const check = checks("Timeout")
  const timeoutMillis = check.millis("timeout", options?.timeout, "10 seconds", { min: 1 })
  return {
    timeoutMillis,
    ofRemaining: check.ratio("ofRemaining", options?.ofRemaining, 0.5),
    quantile: options?.quantile === undefined ? undefined : quantileLimit(options.quantile, timeoutMillis)
  }
}

const quantileLimit = (options: QuantileOptions, capMillis: number): QuantileLimit => {
  const check = checks("Timeout", "quantile.")
  const floorMillis = check.millis("floor", options.floor, Math.min(100, capMillis))
  check.ensure(floorMillis <= capMillis, "floor", "must not be above the timeout")
  return new QuantileLimit({
    p: check.ratio("p", options.p, 0.99),
    factor: check.number("factor", options.factor, 3, { min: 1 }),
    floorMillis,
    capMillis,
    minSamples: check.int("minSamples", options.minSamples, 100, { min: 1 }),
    spanMillis: check.millis("window", options.window, "5 minutes", { min: 1 })
  })
}
