/**
 * A rate limit on our side: token bucket, sliding window, smooth pacing, or a rate that adapts to the provider's throttles;
 * waiting or refusing; learning from what the provider's headers say. Waiters are served in the order they came, and one that is interrupted has taken nothing.
 *
 * **When to use**
 *
 * Within one process. Where a limit is shared by processes, use Effect's `persistence/RateLimiter` on Redis.
 */
import { Clock, Context, Duration, Effect, Exit, Layer, Result, Schema } from "effect"
import * as Deadline from "./Deadline.ts"
import { checked, checks } from "./internal/options.ts"
import {
  adaptive,
  type Limiter,
  pacing,
  RateLimitCore,
  type RateLimitWaiter,
  slidingWindow,
  tokenBucket
} from "./internal/rateLimitCore.ts"
import { fromHeaders, header } from "./internal/retryAfter.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import { isProviderError } from "./ProviderError.ts"

/**
 * The limit is reached; after `retryAfter` there is room, everybody who waits now served. Where calls of several costs
 * wait for a sliding window, it may be longer; where a call costs more than can ever be allowed, it is infinite.
 */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  limit: Schema.String,
  retryAfter: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `Rate limit ${this.limit} is reached, retry after ${Duration.format(this.retryAfter)}`
  }
}

export interface Options {
  /** Names the limit in errors. Defaults to `"default"`. */
  readonly name?: string | undefined
  /** How many calls, counted by cost, in each `window`. */
  readonly limit: number
  /** Defaults to `"1 second"`. */
  readonly window?: Duration.Input | undefined
  /**
   * `"token-bucket"` (default) allows a burst and refills evenly; `"sliding-window"` never allows more than `limit` in any
   * span of `window`; `"pacing"` spreads calls evenly. `"adaptive"` is a token bucket for a limit that nobody knows: each
   * throttle of the provider cuts the rate to 0.7 of what was sent, each answer lets it grow again, up to `limit`. It
   * learns in a pipeline, by `withLimit` from failures that `isThrottle` knows, or by `feedback`.
   */
  readonly algorithm?: "token-bucket" | "sliding-window" | "pacing" | "adaptive" | undefined
  /** The most calls at once, for the token buckets. Defaults to one second's worth, at least 1. */
  readonly burst?: number | undefined
  /** Defaults to `"wait"`. */
  readonly onLimit?: "wait" | "refuse" | undefined
  /**
   * Who would wait longer is refused at once, those included who wait already when a hold comes. The deadline of the call
   * shortens it. Where the limit falls meanwhile, who waits is refused after `maxWait` at the latest. Defaults to
   * `"30 seconds"`.
   */
  readonly maxWait?: Duration.Input | undefined
  /**
   * For `withLimit`: whether a failure means that there were too many calls. One that throws says no. Defaults to a
   * `ProviderError` for a `RateLimitError`, which alone counts in a pipeline.
   */
  readonly isThrottle?: ((error: unknown) => boolean) | undefined
}

export interface CallOptions {
  /**
   * What the call counts for: a finite number, at least 0; any other is a defect. A sliding window counts whole calls,
   * rounded up. Defaults to 1.
   */
  readonly cost?: number | undefined
}

/** Response headers: a `Headers` or a plain object with lower-case names. */
export type HeadersLike =
  | { readonly get: (name: string) => string | null }
  | { readonly [name: string]: string | undefined }

export interface Service {
  readonly name: string
  /** Runs the effect when the limit allows it. */
  readonly withLimit: (
    options?: CallOptions
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RateLimited, R>
  /** Waits for the limit, or fails at once where waiting is not wanted or too long. */
  readonly take: (options?: CallOptions) => Effect.Effect<void, RateLimited>
  /** Nobody starts before this time (epoch milliseconds), as a `Retry-After` says. Only lengthens. */
  readonly holdUntil: (epochMillis: number) => Effect.Effect<void>
  /**
   * Holds as long as the headers of an answer ask for: `retry-after` and its forms in milliseconds, else the reset of what
   * has nothing remaining. No more calls start at once than `x-ratelimit-remaining-requests`, `x-ratelimit-remaining` and
   * `ratelimit-remaining` leave; remaining tokens count only when there are none. Ignores what makes no sense, and holds
   * of more than 31 days.
   */
  readonly learn: (headers: HeadersLike) => Effect.Effect<void>
  /** How many calls could start at once now. */
  readonly available: Effect.Effect<number>
  /** Tells an adaptive limit that the provider refused a call because there were too many, or answered one. */
  readonly feedback: (outcome: "Throttled" | "Answered") => Effect.Effect<void>
  /**
   * For the pipeline: the limit itself.
   * @internal
   */
  readonly core: RateLimitCore
  /**
   * For the pipeline: as `take`. The frame of the caller gives back what was taken when `lease.taken`.
   * @internal
   */
  readonly wait: (lease: Lease, options?: CallOptions) => Effect.Effect<void, RateLimited>
}

/** Whether a caller has taken from the limit; whoever installed the frame that gives it back looks here. */
export interface Lease {
  taken: boolean
}

export class RateLimit extends Context.Service<RateLimit, Service>()("holdfast/RateLimit") {
  static readonly layer = (options: Options): Layer.Layer<RateLimit, InvalidOptions> =>
    Layer.effect(RateLimit, make(options))
}

const limiterOf = (options: Options): Limiter => {
  const check = checks("RateLimit")
  const algorithm = check.oneOf("algorithm", options.algorithm ?? "token-bucket", [
    "token-bucket",
    "sliding-window",
    "pacing",
    "adaptive"
  ])
  check.ensure(options.limit !== undefined, "limit", "is needed")
  const limit = check.number("limit", options.limit, 1, { min: Number.MIN_VALUE })
  const windowMillis = check.millis("window", options.window, "1 second", { min: 1 })
  const perMilli = limit / windowMillis
  check.ensure(perMilli > 0, "limit", "is too small for a number to tell it from none")
  const bucket = algorithm === "token-bucket" || algorithm === "adaptive"
  check.ensure(options.burst === undefined || bucket, "burst", `has no meaning with ${algorithm}`)
  const burst = check.number("burst", options.burst, Math.max(1, perMilli * 1_000), { min: 1 })
  switch (algorithm) {
    case "token-bucket":
      return tokenBucket(perMilli, burst)
    case "adaptive":
      return adaptive(perMilli, burst)
    case "sliding-window":
      return slidingWindow(check.int("limit", options.limit, 1, { min: 1 }), windowMillis)
    case "pacing":
      return pacing(1 / perMilli)
  }
}

/** What remains is counted in calls by these. */
const remainingHeaders = [
  "x-ratelimit-remaining-requests",
  "x-ratelimit-remaining",
  "x-rate-limit-remaining",
  "ratelimit-remaining"
]

const isRateLimitError = (error: unknown): boolean => isProviderError(error) && error.reason._tag === "RateLimitError"

/** Makes a rate limit. */
export const make = (options: Options): Effect.Effect<Service, InvalidOptions> =>
  checked(() => {
    const check = checks("RateLimit")
    const name = options.name ?? "default"
    const core = new RateLimitCore(limiterOf(options))
    const onLimit = check.oneOf("onLimit", options.onLimit ?? "wait", ["wait", "refuse"])
    const maxWaitMillis = check.millis("maxWait", options.maxWait, "30 seconds")
    const patienceMillis = onLimit === "refuse" ? 0 : maxWaitMillis

    const wait = (lease: Lease, call: CallOptions = {}): Effect.Effect<void, RateLimited> =>
      Effect.withFiber((fiber) => {
        const cost = call.cost ?? 1
        const clock = fiber.getRef(Clock.Clock)
        const now = clock.currentTimeMillisUnsafe()
        lease.taken = core.tryTake(cost, now)
        if (lease.taken) return Effect.void
        // The core has not granted it; whether it makes sense is a question for here.
        check.number("cost", cost, 1)
        const latest = Math.min(now + patienceMillis, fiber.getRef(Deadline.current))
        return now + core.expectedWait(cost, now) > latest
          ? limited(cost, now)
          : queue(lease, cost, latest, clock)
      })

    const limited = (cost: number, now: number): Effect.Effect<never, RateLimited> =>
      Effect.fail(
        stackless(() => new RateLimited({ limit: name, retryAfter: Duration.millis(core.expectedWait(cost, now)) }))
      )

    const queue = (
      lease: Lease,
      cost: number,
      latest: number,
      clock: Clock.Clock
    ): Effect.Effect<void, RateLimited> =>
      Effect.withFiber((fiber) => {
        let inQueue = false
        const waiter: RateLimitWaiter & { turn: () => void } = { cost, latest, turn: () => {} }
        const told = (join: boolean) =>
          Effect.callback<void>((resume) => {
            // Resumed by the scheduler: inline, a chain of those who go would grow the stack with the queue.
            waiter.turn = () => fiber.currentDispatcher.scheduleTask(() => resume(Effect.void), 0)
            if (!join) return
            inQueue = true
            if (core.enqueue(waiter)) resume(Effect.void)
          })
        // Asked again after each wait, and when a hold has come: it may be longer, or too long now.
        const turn: Effect.Effect<void, RateLimited> = Effect.suspend(() => {
          const now = clock.currentTimeMillisUnsafe()
          const wait = core.takeTurn(waiter, now)
          lease.taken = wait === 0
          if (lease.taken) return Effect.void
          if (wait < Infinity) return Effect.flatMap(Effect.raceFirst(Effect.sleep(wait), told(false)), () => turn)
          core.leave(waiter)
          return limited(cost, now)
        })
        return Effect.onExitPrimitive(Effect.flatMap(told(true), () => turn), (exit) => {
          if (lease.taken && Exit.isFailure(exit)) {
            lease.taken = false
            core.limiter.untake(cost)
          }
          if (inQueue) core.leave(waiter)
          return undefined
        })
      })

    const take = (call?: CallOptions): Effect.Effect<void, RateLimited> =>
      Effect.suspend(() => wait({ taken: false }, call))

    const learn = (headers: HeadersLike): Effect.Effect<void> =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const name of remainingHeaders) {
          const remaining = header(headers, name)?.trim() ?? ""
          if (/^\d{1,15}$/.test(remaining)) core.cap(Number(remaining), now)
        }
        const hold = fromHeaders(headers, now, true)
        if (hold !== undefined) core.holdUntil(now + hold, now)
      })

    const { isThrottle: ask = isRateLimitError } = options
    // What throws while a call ends would take the place of its error.
    const isThrottle = (error: unknown): boolean => Result.getOrElse(Result.try(() => ask(error)), () => false)
    /** Other failures are no answer: they say nothing of the rate. */
    const listening = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
      const { feedback } = core.limiter
      if (feedback === undefined) return self
      return Effect.clockWith((clock) =>
        Effect.onExitPrimitive(self, (exit) => {
          const failure = Exit.findErrorOption(exit)
          const throttled = failure._tag === "Some" && isThrottle(failure.value)
          if (throttled || Exit.isSuccess(exit)) feedback(throttled, clock.currentTimeMillisUnsafe())
          return undefined
        })
      )
    }

    return {
      name,
      core,
      wait,
      take,
      withLimit: (call) => (self) => Effect.flatMap(take(call), () => listening(self)),
      feedback: (outcome) =>
        Effect.map(Clock.currentTimeMillis, (now) => core.limiter.feedback?.(outcome === "Throttled", now)),
      holdUntil: (epochMillis) => Effect.map(Clock.currentTimeMillis, (now) => core.holdUntil(epochMillis, now)),
      learn,
      available: Effect.map(Clock.currentTimeMillis, (now) => core.available(now))
    }
  })
