/**
 * A bulkhead whose limit finds itself: it grows while latency stays what it was and shrinks when calls begin to queue at
 * the provider, which shows in the latency before it shows in errors.
 *
 * **When to use**
 *
 * Where nobody knows the right limit, or it changes with load. A fixed `Bulkhead` is the plainer choice where it is known.
 *
 * **Gotchas**
 *
 * The base is the lowest latency of a window in which at least half of the limit was in use; quieter ones say nothing.
 * Start low: a limit that starts above what the provider bears never sees how quick it is when nobody waits.
 */
import { Cause, type Duration, Effect, Exit, Result } from "effect"
import * as Bulkhead from "./Bulkhead.ts"
import * as Gradient from "./internal/gradientLimit.ts"
import { checked, checks } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

export interface Options extends Omit<Bulkhead.Options, "limit"> {
  /** Where the limit starts. Defaults to 20. */
  readonly initial?: number | undefined
  /** Defaults to 4. */
  readonly min?: number | undefined
  /** Defaults to 200. */
  readonly max?: number | undefined
  /** How long latency is gathered before the limit moves. Defaults to `"1 second"`. */
  readonly window?: Duration.Input | undefined
  /** How many times the base latency is still well. Defaults to 1.5. */
  readonly tolerance?: number | undefined
  /**
   * Whether a failure means that the provider has too much to do; in a pipeline it is asked of the `ProviderError`.
   * One that throws says no. Defaults to none does.
   */
  readonly isOverload?: ((error: unknown) => boolean) | undefined
}

/**
 * Makes a bulkhead with an adaptive limit, for calls alone or as a pipeline's `bulkhead`. To `resize` it is to tell where
 * the limit goes on from, between `min` and `max`; `configure` leaves the limit where it is unless one is given.
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Bulkhead.Service, InvalidOptions> {
  const check = checks("AdaptiveLimit")
  const { settings, start, windowMillis } = yield* checked(() => {
    const min = check.int("min", options.min, 4, { min: 1 })
    const max = check.int("max", options.max, 200, { min })
    return {
      settings: { min, max, tolerance: check.number("tolerance", options.tolerance, 1.5, { min: 1 }), smoothing: 0.2 },
      start: check.int("initial", options.initial, Math.min(max, Math.max(min, 20)), { min, max }),
      windowMillis: check.millis("window", options.window, "1 second", { min: 1 })
    }
  })
  const bulkhead = yield* Bulkhead.make({ ...options, limit: start })
  const { isOverload: ask = () => false } = options
  // What the pipeline does while a call ends must not be cut short, or its permit is lost.
  const isOverload = (error: unknown): boolean => Result.getOrElse(Result.try(() => ask(error)), () => false)
  let state: Gradient.State = { limit: start, baseMillis: Infinity }
  let since = 0
  let calls = 0
  let totalMillis = 0
  let inFlight = 0
  let dropped = false

  const learn = (latencyMillis: number, now: number, failure?: { readonly error: unknown }): void => {
    inFlight = Math.max(inFlight, bulkhead.core.running)
    dropped ||= failure !== undefined && isOverload(failure.error)
    calls++
    totalMillis += Math.max(0, latencyMillis)
    if (since === 0) since = now
    if (now - since < windowMillis && now >= since) return
    state = Gradient.next(state, { meanMillis: totalMillis / calls, inFlight, dropped }, settings)
    const limit = Math.floor(state.limit)
    if (limit !== bulkhead.core.limit) bulkhead.core.resize(limit)
    since = now
    calls = totalMillis = inFlight = 0
    dropped = false
  }

  /** Interrupted calls say nothing about the provider. */
  const measured = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const began = clock.currentTimeMillisUnsafe()
      return Effect.onExitPrimitive(self, (exit) => {
        if (Exit.hasInterrupts(exit)) return undefined
        const now = clock.currentTimeMillisUnsafe()
        learn(now - began, now, Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined)
        return undefined
      })
    })

  const limitOf = (limit: number | undefined) =>
    checked(() => check.int("limit", limit, bulkhead.core.limit, { min: settings.min, max: settings.max }))
  const moved = (limit: number): void => {
    state = { ...state, limit }
    bulkhead.core.resize(limit)
  }

  return {
    ...bulkhead,
    learn,
    withPermit: (call) => (self) => bulkhead.withPermit(call)(measured(self)),
    resize: (limit) => Effect.map(limitOf(limit), moved),
    configure: Effect.fnUntraced(function*(options) {
      const limit = yield* limitOf(options.limit)
      yield* bulkhead.configure({ ...options, limit })
      moved(limit)
    })
  }
})
