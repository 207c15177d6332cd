/**
 * A circuit breaker: while a provider fails, calls to it are refused at once instead of waited for; a few probes find
 * out when it is back. The rules are one pure function in `internal/circuitState.ts`.
 *
 * A breaker holds one circuit, or one for each key, made when first used. Alone it wraps any effect by `execute`; the
 * pipeline drives the same circuits.
 */
import { Clock, Config, Context, Duration, Effect, Layer, PubSub, Random, Stream } from "effect"
import * as Event from "./Event.ts"
import { CircuitCore, type CoreTransition } from "./internal/circuitCore.ts"
import type { CircuitOpen } from "./internal/circuitOpen.ts"
import { chance, type CircuitOptions, circuitSettings } from "./internal/circuitOptions.ts"
import { CircuitRegistry } from "./internal/circuitRegistry.ts"
import { type Classify, guard } from "./internal/circuitRun.ts"
import * as CircuitSnapshot from "./internal/circuitSnapshot.ts"
import { initial, type TransitionReason } from "./internal/circuitState.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

export { CircuitOpen } from "./internal/circuitOpen.ts"
export type { CircuitOptions } from "./internal/circuitOptions.ts"
export { type Classify, classify, type Judgement } from "./internal/circuitRun.ts"

/** The circuits of a breaker as data. */
export const Snapshot = CircuitSnapshot.Snapshot
export type Snapshot = CircuitSnapshot.Snapshot

export interface Options extends CircuitOptions {
  /** Names the circuit of calls without a key. Defaults to `"default"`. */
  readonly name?: string | undefined
  /** Settings of single keys, over the breaker's own. */
  readonly keys?: { readonly [key: string]: CircuitOptions } | undefined
  /** How many circuits are kept; the least useful goes first. Defaults to 10,000. */
  readonly maxKeys?: number | undefined
  /** After this long without a call a circuit is forgotten, unless it is open or held by hand. Defaults to `"1 hour"`. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** The share of the circuits kept that may be open at once, as far as they open by themselves. Defaults to 1. */
  readonly maxOpenShare?: number | undefined
  /** Judges all calls that bring no judge of their own. Defaults to {@link classify}. */
  readonly classify?: Classify<unknown, unknown> | undefined
}

export interface CallOptions<A = never, E = never> {
  /** Which circuit. Defaults to the breaker's own. */
  readonly key?: string | undefined
  /** Judges this call. */
  readonly classify?: Classify<A, E> | undefined
  /**
   * Interrupts the call when its circuit opens meanwhile, and fails it with `CircuitOpen`: for work that may be repeated,
   * such as reads. By default calls under way run on.
   */
  readonly interruptOnTrip?: boolean | undefined
}

/** What a circuit does with the next call. `ReadyToProbe`: the open time is over, the next call is a probe. */
export type StateName = "Closed" | "Open" | "ReadyToProbe" | "HalfOpen" | "ForcedOpen" | "Disabled"

/** One circuit, seen from outside. */
export interface Status {
  readonly key: string
  readonly state: StateName
  /** When the state began, in epoch milliseconds. */
  readonly since: number
  /** Until a call may pass; zero when it may now, infinite when an operator decides. */
  readonly retryAfter: Duration.Duration
  readonly consecutiveFailures: number
  /** What the window holds. */
  readonly calls: number
  readonly failures: number
  readonly slow: number
  /** Over the circuit's life: how often it opened, refused a call, and got an outcome too late to count. */
  readonly trips: number
  readonly refused: number
  readonly late: number
}

/** A circuit changed its state. */
export interface Transition {
  readonly key: string
  readonly from: Exclude<StateName, "ReadyToProbe">
  readonly to: Exclude<StateName, "ReadyToProbe">
  readonly reason: TransitionReason
  /** Epoch milliseconds. */
  readonly at: number
}

export interface Service {
  readonly name: string
  /** Runs the effect while the circuit lets it, and learns from how it ends. */
  readonly execute: <A = unknown, E = unknown>(
    options?: CallOptions<A, E>
  ) => <A1 extends A, E1 extends E, R>(self: Effect.Effect<A1, E1, R>) => Effect.Effect<A1, E1 | CircuitOpen, R>
  /** How long until a call would pass; zero when it would now. Takes nothing. */
  readonly peek: (key?: string) => Effect.Effect<Duration.Duration>
  readonly state: (key?: string) => Effect.Effect<StateName>
  readonly status: (key?: string) => Effect.Effect<Status>
  /** Every circuit kept. */
  readonly states: Effect.Effect<ReadonlyArray<Status>>
  /** The changes from now on, of all circuits. A slow reader loses the oldest. */
  readonly transitions: Stream.Stream<Transition>
  /** Waits until a call would pass. */
  readonly awaitReady: (key?: string) => Effect.Effect<void>
  /**
   * Refuses calls for at least so long, as a provider's `Retry-After` asks for, up to `maxHint`. It is no failure and no
   * opening. What an operator does in the meantime does not end it, but for `forceClose` and `reset`.
   */
  readonly hold: (duration: Duration.Input, key?: string) => Effect.Effect<void>
  /** Refuses calls until `enable`. */
  readonly forceOpen: (key?: string) => Effect.Effect<void>
  /** Closes the circuit and forgets its failures and what it was held for; its rules go on. */
  readonly forceClose: (key?: string) => Effect.Effect<void>
  /** Lets everybody pass and judges nothing until `enable`. */
  readonly disable: (key?: string) => Effect.Effect<void>
  /**
   * Gives the circuit back to its rules: ready to probe after `forceOpen`, closed after `disable`, either as soon as no
   * hold stands.
   */
  readonly enable: (key?: string) => Effect.Effect<void>
  /** Forgets the circuit, counters and all: the next call finds a new one. */
  readonly reset: (key?: string) => Effect.Effect<void>
  /** Goes on under other options. States and counters stay; a window begins anew when its shape changes. */
  readonly configure: (options: Options) => Effect.Effect<void, InvalidOptions>
  /** All circuits as data, for a process that will not live until the next call. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Puts circuits of a snapshot in place of those with the same keys. */
  readonly restore: (snapshot: Snapshot) => Effect.Effect<void>
  /**
   * For the pipeline: the circuit itself.
   * @internal
   */
  readonly core: (key?: string) => CircuitCore
  /**
   * Told each transition at once, by whoever causes it: quick, and never throwing.
   * @internal
   */
  readonly watchers: Set<(transition: Transition) => void>
}

export class CircuitBreaker extends Context.Service<CircuitBreaker, Service>()("holdfast/CircuitBreaker") {
  static readonly layer = (options?: Options): Layer.Layer<CircuitBreaker, InvalidOptions> =>
    Layer.effect(CircuitBreaker, make(options))
  static readonly layerConfig = (
    options: Config.Wrap<Options>
  ): Layer.Layer<CircuitBreaker, InvalidOptions | Config.ConfigError> =>
    Layer.effect(CircuitBreaker, Effect.flatMap(Config.unwrap(options), make))
}

/**
 * Makes a breaker. Its circuits share settings, bounds, listeners and the seed of their chance.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { CircuitBreaker } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const breaker = yield* CircuitBreaker.make({ name: "rates", failureThreshold: 2 })
 *   const call = Effect.fail("no answer").pipe(
 *     breaker.execute(),
 *     Effect.catchTag("CircuitOpen", (refusal) => Effect.succeed(refusal.message)),
 *     Effect.catch(() => Effect.succeed("failed"))
 *   )
 *   return [yield* call, yield* call, yield* call, yield* breaker.state()].join(", ")
 * })
 * await Effect.runPromise(program) // => "failed, failed, circuit rates is open, Open"
 * ```
 *
 * **When to use**
 *
 * For one provider with retries, timeouts and limits beside the breaker, take `Pipeline`. Effect's own
 * `persistence/CircuitBreaker` shares one circuit between processes by Redis, and is enough where consecutive failures
 * or a count window, one probe and a fixed schedule are.
 *
 * **Gotchas**
 *
 * A probe that outstays `probeLease` counts as failed: give a lease longer than any healthy call. Calls that are
 * interrupted say nothing, so put a timeout inside the breaker, where it counts as a failure, not around it.
 */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidOptions> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const sink = yield* Event.Sink
    const seed = yield* Random.nextInt
    const listeners = yield* PubSub.sliding<Transition>(256)
    const steps = yield* PubSub.sliding<{ readonly key: string }>(256)
    const name = options.name ?? "default"
    const now = () => clock.currentTimeMillisUnsafe()

    const open = new Set<CircuitCore>()
    const watchers: Service["watchers"] = new Set()
    const tell = ({ at, core, from, reason, to }: CoreTransition): void => {
      if (to._tag === "Open") open.add(core)
      else if (to._tag !== "HalfOpen") open.delete(core)
      const changed = { key: core.key, from: from._tag, to: to._tag, reason, at }
      for (const watch of watchers) watch(changed)
      PubSub.publishUnsafe(listeners, changed)
      sink?.(Event.BreakerChanged.make({ ...changed, ...(to._tag === "Open" && { until: to.until }) }))
    }
    const shared: Shared = {
      initial: initial(now()),
      random: chance(seed),
      onTransition: tell,
      onStep: ({ key }) => PubSub.publishUnsafe(steps, { key }),
      mayOpen: () => open.size < Math.max(1, Math.floor(registry.size * settings.maxOpenShare))
    }
    let settings = yield* checked(() => settingsOf(options, shared))
    const registry = new CircuitRegistry({
      bounds: () => settings,
      make: (key, now) => new CircuitCore(settings.ofKey(key), key, now),
      onRemove: (core, at) => {
        const { current } = core
        if (current._tag === "Closed") return
        tell({ core, from: current, to: initial(at), reason: "Forgotten", at })
      }
    })
    const core = (key: string = name) => registry.get(key, now)

    /** Runs `f` with the circuit and the time. */
    const using = <A>(key: string | undefined, f: (core: CircuitCore, now: number) => A) =>
      Effect.sync(() => f(core(key), now()))
    /** Waits for changes of a circuit until one will do. */
    const changed = <T extends { readonly key: string }>(
      changes: PubSub.Subscription<T>,
      key = name,
      done: (change: T) => boolean = () => true
    ) => PubSub.take(changes).pipe(Effect.repeat({ until: (it) => it.key === key && done(it) }))
    /** Fails when the circuit opens. */
    const tripped = (key?: string): Effect.Effect<never, CircuitOpen> =>
      Effect.scoped(Effect.gen(function*() {
        yield* changed(yield* PubSub.subscribe(listeners), key, ({ to }) => to === "Open" || to === "ForcedOpen")
        return yield* core(key).refused(now())
      }))
    const command = (tag: Command) => (key?: string) => using(key, (core, now) => core.command(tag, now))

    return {
      name,
      execute: <A, E>(call?: CallOptions<A, E>) => <A1 extends A, E1 extends E, R>(self: Effect.Effect<A1, E1, R>) => {
        const guarded = guard<A1, E1, R>(core, call?.key, call?.classify ?? settings.classify, self)
        return call?.interruptOnTrip === true ? Effect.raceFirst(guarded, tripped(call.key)) : guarded
      },
      peek: (key) => using(key, (core, now) => Duration.millis(core.peek(now))),
      state: (key) => using(key, stateName),
      status: (key) => using(key, statusOf),
      states: Effect.sync(() => registry.all(now()).map((core) => statusOf(core, now()))),
      transitions: Stream.fromPubSub(listeners),
      awaitReady: (key) =>
        Effect.scoped(Effect.gen(function*() {
          const changes = yield* PubSub.subscribe(steps)
          const waiting = using(key, (core, now) => core.peek(now))
          for (let wait = yield* waiting; wait > 0; wait = yield* waiting) {
            yield* Effect.raceFirst(Effect.sleep(wait), changed(changes, key))
          }
        })),
      hold: (duration, key) =>
        using(key, (core, now) => core.holdUntil(now + millisOf("CircuitBreaker", "duration", duration), now)),
      forceOpen: command("ForceOpen"),
      forceClose: command("ForceClose"),
      disable: command("Disable"),
      enable: command("Enable"),
      reset: (key) =>
        Effect.sync(() => {
          const found = registry.find(key ?? name)
          found?.command("ForceClose", now())
          if (found !== undefined) registry.remove(found, now())
        }),
      configure: (options) =>
        Effect.map(checked(() => settingsOf(options, shared)), (next) => {
          settings = next
          for (const core of registry.values()) core.configure(next.ofKey(core.key), now())
        }),
      snapshot: Effect.sync(() => ({
        at: now(),
        circuits: registry.all(now()).map((core) => CircuitSnapshot.take(core, now()))
      })),
      restore: ({ at, circuits }) =>
        Effect.sync(() => {
          for (const circuit of circuits) CircuitSnapshot.put(core(circuit.key), circuit, at, now())
        }),
      core,
      watchers
    }
  })

type Command = Parameters<CircuitCore["command"]>[0]

type Shared = Parameters<typeof circuitSettings>[1]

/** The options of a breaker, checked. */
const settingsOf = (options: Options, shared: Shared) => {
  const check = checks("CircuitBreaker")
  const maxOpenShare = check.ratio("maxOpenShare", options.maxOpenShare, 1)
  const bounded = { ...shared, mayOpen: maxOpenShare < 1 ? shared.mayOpen : undefined }
  const common = circuitSettings(options, bounded)
  const byKey = new Map(
    Object.entries(options.keys ?? {}).map(([key, own]) => [
      key,
      circuitSettings({ ...options, ...given(own) }, bounded, `keys.${key}.`)
    ])
  )
  return {
    maxOpenShare,
    maxKeys: check.int("maxKeys", options.maxKeys, 10_000, { min: 1 }),
    idleMillis: check.millis("idleTimeToLive", options.idleTimeToLive, "1 hour", { min: 1 }),
    ofKey: (key: string) => byKey.get(key) ?? common,
    classify: options.classify
  }
}

/** The options that are there: what is undefined leaves the breaker's own in force. */
const given = (own: CircuitOptions): CircuitOptions =>
  Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))

const stateName = (core: CircuitCore, now: number): StateName => {
  const waiting = core.wait(now)
  const { _tag } = core.current
  return _tag === "Open" && waiting === 0 ? "ReadyToProbe" : _tag
}

const statusOf = (core: CircuitCore, now: number): Status => {
  const { failures, slow, total } = core.counts(now)
  return {
    key: core.key,
    state: stateName(core, now),
    since: core.current.since,
    retryAfter: Duration.millis(core.peek(now)),
    consecutiveFailures: core.consecutive,
    calls: total,
    failures,
    slow,
    ...core.counters
  }
}
