/**
 * One rate limit for all processes together. Each has a share of it, given by Redis in the background, and keeps to its
 * share alone: no call waits for Redis.
 *
 * **Details**
 *
 * The limit is a sliding window: in any span of `window` the shares together allow at most `limit`. Redis gives one
 * process only what the others do not hold, and a process holds its share, or what it has used within the window where
 * that is more, until it has said that it has less. So shares move without ever overlapping. They follow demand: who uses
 * little gives, who is short gets, and what nobody asks for is split evenly.
 *
 * While Redis is away everybody goes on with the last share, and the sum holds. A Redis that has lost what it knew lets
 * nobody grow until all have had the time to tell it again. So the limit is exceeded only by what Redis cannot know: the
 * share of a process that is cut off from a Redis which answers others, once that is given away, and the `lease` of one
 * that starts while Redis is away or has just lost what it knew.
 *
 * **When to use**
 *
 * Effect's `persistence/RateLimiter` asks the store for every call: exact to the call, and as slow and as available as the
 * store. With a limit below the number of processes some get no share at all: take that one there.
 */
import { Clock, Context, type Duration, Effect, Layer, type Scope } from "effect"
import { Redis } from "effect/persistence"
import { checked, checks } from "../internal/options.ts"
import type { Limiter, RateLimitCore } from "../internal/rateLimitCore.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import * as RateLimit from "../RateLimit.ts"
import * as Beat from "./internal/beat.ts"
import { divide } from "./internal/divide.ts"

export interface Options {
  /** Processes with the same name share the limit; it is in errors too. */
  readonly name: string
  /** How many calls, counted by cost, all processes together may start in any span of `window`. A whole number. */
  readonly limit: number
  /** Defaults to `"1 second"`. */
  readonly window?: Duration.Input | undefined
  /** Defaults to `"wait"`. */
  readonly onLimit?: "wait" | "refuse" | undefined
  /** Who would wait longer is refused at once. Defaults to `"30 seconds"`. */
  readonly maxWait?: Duration.Input | undefined
  /**
   * The share of a process that starts where Redis does not answer, or knows nobody yet: then for `nodeTimeToLive`, since
   * others may have shares from before. Defaults to a tenth of the limit, at least 1.
   */
  readonly lease?: number | undefined
  /** The name of this process, which no other has. Defaults to a random one. */
  readonly node?: string | undefined
  /** Between exchanges with Redis; who is short of its share asks sooner. Defaults to `"1 second"`. */
  readonly interval?: Duration.Input | undefined
  /**
   * A process not heard of for so long, or for the `window` where that is longer, has no share any more. A client that
   * connects again may take a few seconds. Defaults to ten intervals.
   */
  readonly nodeTimeToLive?: Duration.Input | undefined
  /** How long an answer of Redis is waited for, by the fiber in the background and by `make`. Defaults to `"1 second"`. */
  readonly storeTimeout?: Duration.Input | undefined
  /** Begins the key in Redis. Defaults to `"holdfast:limit:"`. */
  readonly prefix?: string | undefined
}

/** A rate limit like any other, for `withLimit` or a pipeline's `rateLimit`. */
export interface Service extends RateLimit.Service {
  readonly node: string
  /** How many calls this process may start in a window now. */
  readonly share: Effect.Effect<number>
  /** How many processes have a share, this one among them, as of the last exchange. */
  readonly nodes: Effect.Effect<number>
  /** Whether the last exchange succeeded. */
  readonly connected: Effect.Effect<boolean>
  /** One exchange now. False when Redis did not answer. */
  readonly sync: Effect.Effect<boolean>
}

export class SharedRateLimit extends Context.Service<SharedRateLimit, Service>()("holdfast/fleet/SharedRateLimit") {
  /** The limit, as itself and as `RateLimit`. */
  static readonly layer = (
    options: Options
  ): Layer.Layer<SharedRateLimit | RateLimit.RateLimit, InvalidOptions, Redis.Redis> =>
    Layer.effectContext(
      Effect.map(make(options), (limit) =>
        Context.make(RateLimit.RateLimit, limit).pipe(Context.add(SharedRateLimit, limit)))
    )
}

/**
 * Takes part in a shared limit as long as the scope lives; then the share is given back.
 *
 * **Example** (Five hundred calls a minute, by all processes together)
 *
 * ```ts no-run
 * import { Effect } from "effect"
 * import { Pipeline } from "holdfast"
 * import * as SharedRateLimit from "holdfast/fleet/SharedRateLimit"
 *
 * // Effect<Pipeline<RateLimited>, InvalidOptions, Redis | Scope>
 * export const embedder = Effect.gen(function*() {
 *   const rateLimit = yield* SharedRateLimit.make({ name: "openai", limit: 500, window: "1 minute" })
 *   return yield* Pipeline.make({ provider: "openai", rateLimit, retry: true })
 * })
 * ```
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Service, InvalidOptions, Redis.Redis | Scope.Scope> {
  const redis = yield* Redis.Redis
  const clock = yield* Clock.Clock
  const settings = yield* checked(() => settingsOf(options))
  const { intervalMillis, key, limit, node, ttlMillis } = settings
  const local = yield* RateLimit.make({ ...options, algorithm: "sliding-window" })
  const whole: Limiter = { ...local.core.limiter }

  const share: Share = { calls: 0, burst: limit, short: 0, shortAt: 0, wake: () => {} }
  narrow(local.core, whole, share, settings)
  let nodes = 1
  let connected = (): boolean => false
  const used = () => limit - whole.available(clock.currentTimeMillisUnsafe())

  const tell = (claim: number, taken: number, demand: number) =>
    redis.eval(divide)(key, node, claim, taken, demand, limit, settings.lease, ttlMillis, settings.aliveMillis)
  const exchange = Effect.suspend(() => {
    const taken = used()
    // Who waits asks once an interval.
    if (clock.currentTimeMillisUnsafe() - share.shortAt > 2 * intervalMillis) share.short = 0
    const demand = Math.min(limit, Math.max(1, 2 * taken, taken + share.short))
    const claim = share.calls
    return Effect.map(tell(claim, taken, demand), ([given, seen]) => {
      share.calls = given
      nodes = seen
      // What a process can count on, and so the most that one call may cost.
      share.burst = Math.max(given, Math.floor(limit / seen))
      // What is given back is free for others once that is said.
      return given < claim
    })
  })
  // After the fiber in the background has ended. What was used stays held until it has left the window.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => connected() ? tell(0, used(), 0) : Effect.void).pipe(
      Effect.timeout(settings.storeMillis),
      Effect.ignore
    )
  )
  const beat = yield* Beat.make({
    subject: `fleet limit ${options.name}`,
    intervalMillis,
    maxWaitMillis: settings.storeMillis,
    longestPauseMillis: settings.aliveMillis / 2,
    exchange
  })
  connected = beat.connected
  if (!connected()) share.calls = settings.lease
  share.wake = beat.wake
  return SharedRateLimit.of({
    ...local,
    node,
    share: Effect.sync(() => share.calls),
    nodes: Effect.sync(() => nodes),
    connected: Effect.sync(connected),
    sync: beat.now
  })
})

const settingsOf = (options: Options) => {
  const { int, millis, text } = checks("SharedRateLimit")
  const { name, node = crypto.randomUUID(), prefix = "holdfast:limit:" } = options
  text("name", name)
  text("node", node)
  const limit = int("limit", options.limit, 1, { min: 1, max: 1_000_000_000 })
  const windowMillis = millis("window", options.window, "1 second", { min: 1 })
  const intervalMillis = millis("interval", options.interval, "1 second", { min: 10 })
  const aliveMillis = millis("nodeTimeToLive", options.nodeTimeToLive, intervalMillis * 10, { min: intervalMillis * 2 })
  return {
    limit,
    windowMillis,
    intervalMillis,
    aliveMillis,
    // Who is gone may have used its share just before.
    ttlMillis: Math.ceil(Math.max(aliveMillis, windowMillis)),
    lease: int("lease", options.lease, Math.max(1, Math.floor(limit / 10)), { max: limit }),
    node,
    storeMillis: millis("storeTimeout", options.storeTimeout, "1 second", { min: 1 }),
    key: prefix + name
  }
}

/** What this process may do, as of the last answer. */
interface Share {
  calls: number
  burst: number
  /** How much was asked for in vain lately, and when last. */
  short: number
  shortAt: number
  wake: () => void
}

/**
 * Makes a core that allows the whole limit allow a share of it. The share changes under way, and who waits first asks
 * again each interval, since it may have grown meanwhile. `RateLimit.make` made the core for itself, so it is changed in
 * place, before anybody uses it.
 */
const narrow = (
  core: RateLimitCore,
  whole: Limiter,
  share: Share,
  { intervalMillis, limit, windowMillis }: ReturnType<typeof settingsOf>
): void => {
  const takeFirst = core.takeFirst.bind(core)
  const wait = (cost: number, from: number, ahead = 0): number => {
    const { calls } = share
    const total = Math.ceil(ahead + cost)
    const turns = Math.max(0, Math.ceil(total / Math.max(1, calls)) - 1)
    const millis = cost <= calls
      // As if what is not ours were taken.
      ? whole.wait(total - turns * calls + limit - calls, from) + turns * windowMillis
      : windowMillis * Math.max(1, total / Math.max(1, calls))
    if (millis > 0 && calls < limit) {
      share.short = Math.min(limit, share.short + total)
      share.shortAt = from
      share.wake()
    }
    return millis
  }
  Object.assign(core, { takeFirst: (cost: number, now: number) => Math.min(intervalMillis, takeFirst(cost, now)) })
  Object.defineProperty(core.limiter, "burst", { get: () => share.burst })
  Object.assign(core.limiter, {
    wait,
    available: (now: number) => Math.max(0, whole.available(now) - (limit - share.calls)),
    cap: (remaining: number, now: number) => whole.cap(remaining + limit - share.calls, now)
  })
}
