/**
 * A circuit breaker that also listens to other processes. Each process decides alone, with its own circuits; what trips
 * there is told to the others by way of Redis, and a circuit that is still closed opens when enough of them agree.
 *
 * **Details**
 *
 * No call ever waits for Redis: a fiber in the background exchanges what is known, once per `interval` and at every trip.
 * While Redis is away every process is as good as alone. What others say
 *
 * - counts only from a quorum of different processes, so that one with a broken network poisons nobody;
 * - fades, and is worth nothing once the circuits there were due to be probed;
 * - is refuted by what this process has itself seen succeed since;
 * - opens closed circuits only: an operator's `forceOpen` and `disable` stand, and `maxOpenShare` holds;
 * - is never passed on: only what a process has seen for itself is told to others.
 *
 * A circuit opened so goes on like any other: it is probed and closed by this process alone.
 */
import { Clock, Context, type Duration, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { Redis } from "effect/persistence"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Event from "../Event.ts"
import type { CircuitCore } from "../internal/circuitCore.ts"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import * as Beat from "./internal/beat.ts"
import { openFor, type Opinion, type QuorumRules } from "./internal/quorum.ts"

export type { Opinion } from "./internal/quorum.ts"

export interface Options {
  /** Processes with the same name listen to each other. Defaults to the breaker's. */
  readonly name?: string | undefined
  /** The name of this process, which no other has. Defaults to a random one. */
  readonly node?: string | undefined
  /**
   * How many other processes must agree, or `"majority"` of all seen lately, this one among them, but at least 2.
   * Defaults to 2.
   */
  readonly quorum?: number | "majority" | undefined
  /** What one says fades evenly in this time: two of equal age are a quorum for half of it. Defaults to `"30 seconds"`. */
  readonly decay?: Duration.Input | undefined
  /** The word of others opens a circuit for no longer, where its own options do not. Defaults to `"30 seconds"`. */
  readonly maxOpen?: Duration.Input | undefined
  /** Between exchanges with Redis. Defaults to `"1 second"`. */
  readonly interval?: Duration.Input | undefined
  /** A process not heard of for so long is forgotten. Defaults to ten intervals. */
  readonly nodeTimeToLive?: Duration.Input | undefined
  /** How long the fiber in the background waits for an answer, and `make` for the first. Defaults to `"1 second"`. */
  readonly maxWait?: Duration.Input | undefined
  /** Begins the key in Redis. Defaults to `"holdfast:breaker:"`. */
  readonly prefix?: string | undefined
}

/** Another process, as it was last heard of. */
export interface Peer {
  readonly node: string
  readonly opinions: ReadonlyArray<Opinion>
}

export interface Service {
  readonly node: string
  /** The breaker that was given: calls go by it as ever. */
  readonly breaker: CircuitBreaker.Service
  /** Who was there at the last exchange. */
  readonly peers: Effect.Effect<ReadonlyArray<Peer>>
  /** Whether the last exchange succeeded. */
  readonly connected: Effect.Effect<boolean>
  /** One exchange now. False when Redis did not answer. */
  readonly sync: Effect.Effect<boolean>
}

export class SharedBreaker extends Context.Service<SharedBreaker, Service>()("holdfast/fleet/SharedBreaker") {
  /** A breaker that is shared, and how. */
  static readonly layer = (
    options?: Options & { readonly breaker?: CircuitBreaker.Options | undefined }
  ): Layer.Layer<SharedBreaker | CircuitBreaker.CircuitBreaker, InvalidOptions, Redis.Redis> =>
    Layer.effectContext(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options?.breaker)
      return Context.make(CircuitBreaker.CircuitBreaker, breaker).pipe(
        Context.add(SharedBreaker, yield* make(breaker, options))
      )
    }))
}

/**
 * Shares a breaker as long as the scope lives.
 *
 * **Example** (A pipeline whose circuits are shared)
 *
 * ```ts no-run
 * import { Effect } from "effect"
 * import { CircuitBreaker, Pipeline } from "holdfast"
 * import * as SharedBreaker from "holdfast/fleet/SharedBreaker"
 *
 * // Effect<Pipeline<CircuitOpen>, InvalidOptions, Redis | Scope>
 * export const rates = Effect.gen(function*() {
 *   const breaker = yield* CircuitBreaker.make({ name: "rates" })
 *   yield* SharedBreaker.make(breaker, { quorum: "majority" })
 *   return yield* Pipeline.make({ provider: "rates", breaker, timeout: "2 seconds" })
 * })
 * ```
 *
 * **Gotchas**
 *
 * `NodeRedis.layer` fails where Redis is not there at the start; `OptionalRedis.layer` around it does not. Give it
 * `disableOfflineQueue: true`, or commands pile up in the client while Redis is away.
 */
export const make = Effect.fnUntraced(function*(
  breaker: CircuitBreaker.Service,
  options: Options = {}
): Effect.fn.Return<Service, InvalidOptions, Redis.Redis | Scope.Scope> {
  const redis = yield* Redis.Redis
  const sink = yield* Event.Sink
  const clock = yield* Clock.Clock
  const settings = yield* checked(() => settingsOf(options))
  const { node, rules } = settings
  const name = options.name ?? breaker.name
  const now = () => clock.currentTimeMillisUnsafe()

  /** What this process has seen for itself. */
  const own = new Map<string, { readonly reason: string; readonly at: number; readonly until: number }>()
  /** When a circuit was opened on the word of others: that opening is no evidence. */
  const told = new Map<string, number>()
  let peers: ReadonlyArray<Peer> = []
  let wake = (): void => {}

  const hear = Effect.fnUntraced(function*({ at, key, reason, to }: CircuitBreaker.Transition) {
    // A probe under way says nothing yet.
    if (to === "HalfOpen") return
    const hearsay = told.get(key) === at
    told.delete(key)
    own.delete(key)
    if (to === "Open" && reason !== "Restored" && !hearsay) {
      own.set(key, { reason, at, until: at + breaker.core(key).wait(at) })
    }
    wake()
  })

  /** What is worth telling, the newest first. */
  const opinions = (at: number): ReadonlyArray<Told> => {
    for (const [key, trip] of own) {
      if (trip.until <= at || at - trip.at >= rules.decayMillis) own.delete(key)
    }
    return Array.from(own, ([key, trip]) => ({
      key,
      reason: trip.reason,
      age: at - trip.at,
      left: Math.min(trip.until - at, Number.MAX_SAFE_INTEGER)
    })).sort((a, b) => a.age - b.age).slice(0, maxTold)
  }

  const follow = (at: number): void => {
    for (const [key, said] of Map.groupBy(peers.flatMap(({ opinions }) => opinions), ({ key }) => key)) {
      // Asked without evidence of our own first, so that nobody's word alone makes a circuit here.
      if (openFor(said, rules, peers.length + 1, Infinity) === 0) continue
      const core = breaker.core(key)
      const { _tag, generation } = core.current
      const millis = openFor(said, rules, peers.length + 1, provenMillis(core, at))
      if (_tag !== "Closed" || millis === 0) continue
      told.set(key, at)
      // As a provider's own wish to be left alone would: the rules of the circuit decide.
      core.settle(generation, "Ignored", 0, at, millis)
      if (core.wait(at) === 0) continue
      const by = Array.from(new Set(said.map(({ node }) => node))).sort().join(", ")
      sink?.(Event.Noted.make({ at, subject: `fleet ${name}`, message: `${key} is opened on the word of ${by}` }))
    }
  }

  yield* Effect.forkScoped(Stream.runForEach(breaker.transitions, hear), { startImmediately: true })
  const beat = yield* Beat.make({
    ...settings,
    longestPauseMillis: settings.ttlMillis / 2,
    subject: `fleet ${name}`,
    exchange: Effect.suspend(() => {
      const body = encode({ trips: opinions(now()) })
      return Effect.map(redis.eval(exchange)(settings.prefix + name, node, body, settings.ttlMillis), (answer) => {
        peers = peersIn(answer).filter((peer) => peer.node !== node)
        follow(now())
        return false
      })
    })
  })
  wake = beat.wake

  return SharedBreaker.of({
    node,
    breaker,
    peers: Effect.sync(() => peers),
    connected: Effect.sync(beat.connected),
    sync: beat.now
  })
})

const settingsOf = (options: Options) => {
  const { int, millis, text } = checks("SharedBreaker")
  const { node = crypto.randomUUID() } = options
  text("node", node)
  const intervalMillis = millis("interval", options.interval, "1 second", { min: 10 })
  const rules: QuorumRules = {
    quorum: options.quorum === "majority" ? "majority" : int("quorum", options.quorum, 2, { min: 1 }),
    decayMillis: millis("decay", options.decay, "30 seconds", { min: 1 }),
    maxOpenMillis: millis("maxOpen", options.maxOpen, "30 seconds", { min: 1 })
  }
  return {
    rules,
    node,
    intervalMillis,
    maxWaitMillis: millis("maxWait", options.maxWait, "1 second", { min: 1 }),
    ttlMillis: millis("nodeTimeToLive", options.nodeTimeToLive, intervalMillis * 10, { min: intervalMillis * 2 }),
    prefix: options.prefix ?? "holdfast:breaker:"
  }
}

/** How long ago this process saw the provider answer, at the latest; infinite when it did not. */
const provenMillis = (core: CircuitCore, now: number): number => {
  const { _tag, generation, since } = core.current
  // Closed again by its probes, or by an operator, who knows.
  const recovered = _tag === "Closed" && generation > 0 ? now - since : Infinity
  // When a call was settled is known to within a bucket; in doubt our own evidence is the newer.
  const answered = core.consecutive === 0 && core.counts(now).total > 0
    ? Math.max(0, now - core.usedAt - core.settings.bucketMillis)
    : Infinity
  return Math.min(recovered, answered)
}

// -- what is said ----------------------------------------------------------------------------------------------------

/** No process tells more: the newest matter. */
const maxTold = 1_000

const Millis = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** One trip. Times are spans as of the exchange, so that clocks need not agree. */
const Told = Schema.Struct({ key: Schema.String, reason: Schema.String, age: Millis, left: Millis })
type Told = typeof Told.Type

const Body = Schema.fromJsonString(Schema.Struct({ trips: Schema.Array(Told) }))
const encode = Schema.encodeSync(Body)
const decode = Schema.decodeUnknownOption(Body)

/** The answer: what time it is there, then of every process its name, when it spoke, and what it said. */
const peersIn = ([time, ...rest]: ReadonlyArray<string>): ReadonlyArray<Peer> => {
  const peers: Array<Peer> = []
  for (let i = 0; i + 2 < rest.length; i += 3) {
    const node = rest[i]!
    const elapsed = Math.max(0, Number(time) - Number(rest[i + 1]))
    const body = decode(rest[i + 2])
    // Who talks nonsense, such as another version, is there but says nothing.
    const trips = body._tag === "None" ? [] : body.value.trips
    peers.push({
      node,
      opinions: trips.map(({ age, key, left, reason }) => ({
        node,
        key,
        reason,
        ageMillis: age + elapsed,
        leftMillis: left - elapsed
      }))
    })
  }
  return peers
}

/** Says what this process has to say in place of what it said before, and tells what all said. */
const exchange = Redis.script(
  (key: string, node: string, body: string, ttlMillis: number) => [key, node, body, ttlMillis],
  {
    numberOfKeys: 1,
    lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ttl)
local all = redis.call('HGETALL', KEYS[1])
local answer = { string.format('%.0f', now) }
for i = 1, #all, 2 do
  local at, body = string.match(all[i + 1], '^(%d+) (.*)$')
  if at and math.abs(now - tonumber(at)) <= ttl then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = at
    answer[#answer + 1] = body
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return answer`
  }
).withReturnType<ReadonlyArray<string>>()
