/**
 * Retry: another attempt after a failure, where it may help and does no harm. Each category of error has its own
 * schedule; the provider's `Retry-After` is a floor; nothing is begun that cannot end before the deadline; only work that
 * may be repeated is repeated; and a budget bounds what all calls together add.
 *
 * The rules are one pure function, `internal/retryDecision`.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Random, Schedule } from "effect"
import * as Backoff from "./Backoff.ts"
import * as Event from "./Event.ts"
import { LatencyWindow } from "./internal/latencyHistogram.ts"
import { checked, checks } from "./internal/options.ts"
import { type CategorySettings, evidenceOf, type RetrySettings, waitOf, type Why } from "./internal/retryDecision.ts"
import * as internal from "./internal/retryRun.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import { type ReasonTag, type RetryableReason, table } from "./ProviderError.ts"
import * as RetryBudget from "./RetryBudget.ts"

export type { Why } from "./internal/retryDecision.ts"
export type { FailedAttempt, History } from "./internal/retryRun.ts"

/** The categories that can be retried, and the unknown one, which some evidence may allow to be tried once more. */
export type Tag = RetryableReason["_tag"] | "UnknownError"

/** What differs for one category. */
export interface CategoryOptions {
  /** Retries that failures of this category may cause. Defaults to the policy's, for `UnknownError` to 1. */
  readonly maxRetries?: number | undefined
  /** Defaults to the policy's, for `RateLimitError` to 1 second at least. */
  readonly baseDelay?: Duration.Input | undefined
  readonly maxDelay?: Duration.Input | undefined
  readonly backoffMultiplier?: number | undefined
  readonly jitter?: Backoff.Jitter | undefined
  readonly jitterFactor?: number | undefined
  /**
   * Gives the waits instead of all above; its input is the error. Where it ends, so do the retries of this category. The
   * policy's limits, `Retry-After` and the deadline stand over it.
   */
  readonly schedule?: Schedule.Schedule<unknown> | undefined
}

export interface Options {
  /** Whose calls these are, in events. Defaults to `"default"`. */
  readonly provider?: string | undefined
  /** Attempts after the first, 0 to 10. Defaults to 3. */
  readonly maxRetries?: number | undefined
  /** The first wait, before jitter. Defaults to `"100 millis"`. */
  readonly baseDelay?: Duration.Input | undefined
  /** No backoff is longer. Defaults to `"20 seconds"`. */
  readonly maxDelay?: Duration.Input | undefined
  /** Growth from one wait to the next. Defaults to 2. */
  readonly backoffMultiplier?: number | undefined
  /** How waits are spread. Defaults to `"full"`, or to `"proportional"` where a `jitterFactor` is given. */
  readonly jitter?: Backoff.Jitter | undefined
  /** The share of `"proportional"` jitter. Defaults to 0.1. */
  readonly jitterFactor?: number | undefined
  /** A provider that asks for a longer wait is given up on at once. Defaults to `"60 seconds"`. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** No attempt starts later than so long after the first. Unlimited by default; a `Deadline` bounds the whole call. */
  readonly maxElapsed?: Duration.Input | undefined
  /** What differs for single categories. */
  readonly categories?: { readonly [T in Tag]?: CategoryOptions | undefined } | undefined
  /**
   * What pays for retries; share one with the hedges of the same provider. `"unlimited"` for none. Defaults to a budget
   * of this policy's own, with its default options.
   */
  readonly budget?: RetryBudget.Service | "unlimited" | undefined
  /**
   * How long an attempt is expected to take: one that would not fit before the deadline is not begun. `"measured"` is the
   * median of the last minutes' successes, at the price of two clock reads per call. Defaults to 0: only the wait counts.
   */
  readonly attemptTime?: Duration.Input | "measured" | undefined
}

export interface CallOptions<E = unknown> {
  /** Names the work, in events. Defaults to `"call"`. */
  readonly operation?: string | undefined
  /** Whether the work may be repeated although it may have been done. Defaults to `false`. */
  readonly idempotent?: boolean | undefined
  /**
   * Whether to retry an error that is no `ProviderError`, be it a foreign one, a `TimedOut` or a refusal such as
   * `CircuitOpen`; idempotency is then its concern. The policy's limits stand over it: a `retryAfter` that the error tells
   * is a floor, and a refusal is waited for only under a deadline. Without it foreign errors are classified, a timeout is
   * retried where the work is idempotent, and a refusal where its wait fits the deadline.
   */
  readonly while?: ((error: E) => boolean) | undefined
}

export interface Service {
  /**
   * Runs the effect, and again where its failure and the policy allow it. Fails with the last error; `Retry.attempts`
   * and `Retry.history` read all of them.
   */
  readonly execute: <E = unknown>(
    options?: CallOptions<E>
  ) => <A, E2 extends E, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
  /** The waits after failures of one category, as a Schedule that ends with its retries. */
  readonly schedule: (tag: Tag) => Schedule.Schedule<unknown>
  readonly settings: RetrySettings
  /** What pays for the retries. */
  readonly budget: RetryBudget.Service | undefined
  /** Milliseconds that an attempt is expected to take, or that it is to be measured. */
  readonly attemptMillis: number | "measured"
  /** What `execute` and the pipeline drive. */
  readonly core: internal.RetryCore
}

/** A retry policy as a service. */
export class Retry extends Context.Service<Retry, Service>()("holdfast/Retry") {
  static readonly layer = (options?: Options): Layer.Layer<Retry, InvalidOptions> => Layer.effect(Retry, make(options))
}

/**
 * The number of the running attempt: 1 at first, 2 in the first retry. Visible to the effect that is retried.
 *
 * **Gotchas**
 *
 * Where retries are nested, the inner one's first attempt still sees the outer one's number.
 */
export const attempt = internal.attempt

/**
 * Whether another provider can be asked as well, `false` by default. Then no wait that this one asks for is waited out,
 * be it an open circuit's or a `Retry-After`: `FaultTolerance` sets it for all providers but the last.
 */
export const elsewhere = internal.elsewhere

/** All errors of a call that ended with this error or cause, oldest first: at least the error itself. */
export const attempts = (failure: unknown): ReadonlyArray<unknown> =>
  internal.historyOf(failure)?.failures.map(({ error }) => error) ?? [errorIn(failure)]

/**
 * The failed attempts of a call that ended with this error or cause, and why there were no more. `undefined` where the
 * first failure was beyond help.
 *
 * **Gotchas**
 *
 * Ask the cause where errors are shared objects or plain values: an error object remembers the last call it ended.
 */
export const history: (failure: unknown) => internal.History | undefined = internal.historyOf

/** Why a call that ended with this error or cause was not tried again; `undefined` for what no retry has seen. */
export const whyGivenUp = (failure: unknown): Why | undefined => {
  const evidence = evidenceOf(errorIn(failure))
  const beyondHelp = evidence?.verdict === "Never" || evidence?.refusal === true
  return internal.historyOf(failure)?.why ?? (beyondHelp ? "NotRetryable" : undefined)
}

const errorIn = (failure: unknown): unknown => Cause.isCause(failure) ? Cause.squash(failure) : failure

/** The waits after failures of one category, under the default options. */
export const schedule = (tag: Tag): Schedule.Schedule<unknown> => scheduleOf(defaults.settings.categories[tag])

/**
 * A retry policy.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Retry } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const retry = yield* Retry.make({ maxRetries: 2, baseDelay: "1 millis" })
 *   const flaky = Effect.flatMap(Retry.attempt, (n) => n < 3 ? Effect.fail("busy") : Effect.succeed(`attempt ${n}`))
 *   return yield* flaky.pipe(retry.execute({ while: (error) => error === "busy" }))
 * })
 * await Effect.runPromise(program) // => "attempt 3"
 * ```
 */
export const make = (options?: Options): Effect.Effect<Service, InvalidOptions> =>
  Effect.gen(function*() {
    const { attemptMillis, categories, settings } = yield* checked(() => decode(options))
    const budget = yield* RetryBudget.givenTo("Retry", options?.budget)
    const core: internal.RetryCore = {
      provider: options?.provider ?? "default",
      settings,
      budget: budget?.core,
      timeoutCost: budget?.timeoutCost ?? 1,
      schedules: Object.fromEntries(Object.entries(categories).map(([tag, own]) => [tag, own?.schedule])),
      sink: yield* Event.Sink
    }
    const timed = attemptMillis === "measured" || settings.maxElapsedMillis < Infinity
    const driver = timed ? timedDriver(core, attemptMillis) : plainDriver(core, attemptMillis)
    return {
      execute: (options) => driver(toCall(options)),
      schedule: (tag) => categories[tag]?.schedule ?? scheduleOf(settings.categories[tag]),
      settings,
      budget,
      attemptMillis,
      core
    }
  })

type Driver = (call: internal.RetryCall) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * One failure frame around the work and, where there is a budget, one step before it: 40 and 20 ns. Everything else is
 * built on the first failure. (`Effect.retry` steps its schedule before the first attempt, which costs 1,050 ns.)
 */
const plainDriver = (core: internal.RetryCore, attemptMillis: number): Driver => (call) => (self) => {
  const framed = Effect.catchCause(
    self,
    (cause) => new internal.RetryRun(core, call, undefined, attemptMillis).recover(cause, self)
  )
  const { budget } = core
  if (budget === undefined) return framed
  return Effect.suspend(() => {
    budget.deposit()
    return framed
  })
}

/** Knows when a call began, and how long attempts take where that is wanted. */
const timedDriver = (core: internal.RetryCore, attemptMillis: number | "measured"): Driver => {
  const window = attemptMillis === "measured" ? new LatencyWindow(windowMillis) : undefined
  return (call) => (self) => {
    const measured = window === undefined ? self : Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const start = clock.currentTimeMillisUnsafe()
      return Effect.onExitPrimitive(self, (exit) => {
        if (Exit.isSuccess(exit)) {
          const now = clock.currentTimeMillisUnsafe()
          window.record(now - start, now)
        }
        return undefined
      })
    })
    return Effect.withFiber((fiber) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      core.budget?.deposit()
      return Effect.catchCause(measured, (cause) => {
        const expected = attemptMillis === "measured" ? window?.quantile(0.5, 1, now) ?? 0 : attemptMillis
        return new internal.RetryRun(core, call, now, expected).recover(cause, measured)
      })
    })
  }
}

/** How long a measured attempt counts, up to twice that. */
const windowMillis = 5 * 60_000

const toCall = <E>(options: CallOptions<E> | undefined): internal.RetryCall => ({
  operation: options?.operation ?? "call",
  idempotent: options?.idempotent ?? false,
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `execute` takes only effects that fail with E
  while: options?.while as ((error: unknown) => boolean) | undefined
})

/** The category's waits, `Retry-After` included where the input tells one, as often as it may be retried. */
const scheduleOf = (settings: CategorySettings): Schedule.Schedule<unknown> =>
  Schedule.modifyDelay(Backoff.schedule(settings), ({ duration, input }) => {
    const hint = waitOf(input)
    return hint === undefined
      ? Effect.succeed(duration)
      : Effect.map(
        Random.next,
        (random) => Duration.millis(Backoff.afterHint(hint, Duration.toMillis(duration), random))
      )
  }).pipe(Schedule.upTo({ times: settings.maxRetries }))

const decode = (options: Options = {}) => {
  const check = checks("Retry")
  const maxRetries = check.int("maxRetries", options.maxRetries, 3, { max: 10 })
  const own = category(check, options, {
    maxRetries,
    baseMillis: 100,
    maxMillis: 20_000,
    multiplier: 2,
    jitter: options.jitterFactor === undefined ? "full" : "proportional",
    jitterFactor: 0.1
  })
  const throttled = { ...own, baseMillis: Math.min(own.maxMillis, Math.max(own.baseMillis, 1000)) }
  const unknown = { ...own, maxRetries: Math.min(1, maxRetries) }
  const categories: Record<string, CategoryOptions | undefined> = options.categories ?? {}
  for (const tag of Object.keys(categories)) {
    check.ensure(Object.hasOwn(table, tag), `categories.${tag}`, "is no category of errors")
  }
  const settings: RetrySettings = {
    maxRetries,
    maxRetryAfterMillis: check.millis("maxRetryAfter", options.maxRetryAfter, "60 seconds"),
    maxElapsedMillis: options.maxElapsed === undefined ? Infinity : check.millis("maxElapsed", options.maxElapsed, 0),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys are those of the table
    categories: Object.fromEntries(
      Object.keys(table).map((tag) => {
        const inherited = tag === "RateLimitError" ? throttled : tag === "UnknownError" ? unknown : own
        const special = categories[tag]
        return [
          tag,
          special === undefined ? inherited : category(checks("Retry", `categories.${tag}.`), special, inherited)
        ]
      })
    ) as { [T in ReasonTag]: CategorySettings }
  }
  const attemptMillis = options.attemptTime === "measured"
    ? "measured" as const
    : check.millis("attemptTime", options.attemptTime, 0)
  return { settings, categories, attemptMillis }
}

const category = (
  check: ReturnType<typeof checks>,
  options: CategoryOptions,
  inherited: CategorySettings
): CategorySettings => {
  const maxRetries = check.int("maxRetries", options.maxRetries, inherited.maxRetries, { max: 10 })
  const baseMillis = check.millis("baseDelay", options.baseDelay, inherited.baseMillis)
  const maxMillis = check.millis("maxDelay", options.maxDelay, Math.max(inherited.maxMillis, baseMillis))
  check.ensure(maxMillis >= baseMillis, "maxDelay", "must not be below baseDelay")
  return {
    maxRetries,
    baseMillis,
    maxMillis,
    multiplier: check.number("backoffMultiplier", options.backoffMultiplier, inherited.multiplier, { min: 1 }),
    jitter: check.oneOf("jitter", options.jitter ?? inherited.jitter, [
      "full",
      "equal",
      "decorrelated",
      "proportional",
      "none"
    ]),
    jitterFactor: check.number("jitterFactor", options.jitterFactor, inherited.jitterFactor, { max: 1 })
  }
}

const defaults = decode()
