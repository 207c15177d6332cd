/**
 * Chooses which of several like targets a call goes to: replicas, regions, keys of one provider. Targets whose circuit is
 * open are skipped, one that comes back starts slowly, and fast failures attract nobody.
 *
 * **When to use**
 *
 * For targets that are as good as each other. Providers with an order of preference belong to `FaultTolerance`; a balanced
 * group may be one of them, see {@link make}.
 */
import { Cause, Clock, Duration, Effect, Random, Schema } from "effect"
import type * as CircuitBreaker from "./CircuitBreaker.ts"
import { type Algorithm, BalancerCore, NONE } from "./internal/balancerCore.ts"
import { chance } from "./internal/circuitOptions.ts"
import { type Classify, classify } from "./internal/circuitRun.ts"
import { checked, checks } from "./internal/options.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

export type { Algorithm } from "./internal/balancerCore.ts"

/** Every target is out, and panic mode is switched off. */
export class NoTarget extends Schema.TaggedError<NoTarget>()("NoTarget", {
  balancer: Schema.String,
  /** Until the first is expected back. */
  retryAfter: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `No target of ${this.balancer} is available, retry after ${Duration.format(this.retryAfter)}`
  }
}

/** One of those to choose from. */
export interface Target<out T> {
  /** Tells targets apart; with `"consistent"` it also decides which keys are theirs. */
  readonly name: string
  /** What a call is given. */
  readonly target: T
  /** Its share of the calls, above 0. Defaults to 1. */
  readonly weight?: number | undefined
  /**
   * Milliseconds until it would take a call at `now` (epoch milliseconds); 0 for now. Asked for every call, so it must be
   * quick: `pipeline.availability` and {@link ofBreaker} are. Defaults to always 0.
   */
  readonly availability?: ((now: number) => number) | undefined
}

export interface Options<T> {
  /** In errors. Defaults to `"default"`. */
  readonly name?: string | undefined
  readonly targets: ReadonlyArray<Target<T>>
  /**
   * - `"least-loaded"` (default): of two drawn by weight, the one with fewer calls running.
   * - `"peak-ewma"`: of two, the one with the lower product of latency and calls running; latencies rise at once and fade.
   * - `"round-robin"`: in turn, smoothly by weight.
   * - `"consistent"`: the same target for the same `key`, as long as it is not out; of one that comes back the keys return
   *   by and by, in its slow start. Calls without a key are `"least-loaded"`.
   */
  readonly algorithm?: Algorithm | undefined
  /**
   * When more than this share of the targets is out, or all of them are, the balancer stops believing it and uses all.
   * `false` never does: with all out a call fails with `NoTarget`. Defaults to 1: only when all are out.
   */
  readonly panicShare?: number | false | undefined
  /** A target that comes back gets a tenth of its share, growing to all of it in this time. Defaults to `"10 seconds"`. */
  readonly slowStart?: Duration.Input | undefined
  /** In this time what was seen of a target, its latency and its failures, fades to 37 %. Defaults to `"10 seconds"`. */
  readonly decay?: Duration.Input | undefined
  /** Judges calls. Defaults to `CircuitBreaker.classify`. */
  readonly classify?: Classify<unknown, unknown> | undefined
}

export interface CallOptions {
  /** With `"consistent"`: equal keys go to the same target; see `algorithm`. */
  readonly key?: string | undefined
}

/** A target, seen from outside. */
export interface Status {
  readonly name: string
  readonly inFlight: number
  /** Calls sent there so far. */
  readonly calls: number
  /** Until it takes calls; zero when it does now. */
  readonly retryAfter: Duration.Duration
  /** Its share of the calls now: its weight, less while it starts slowly. */
  readonly weight: number
}

/** `E` is what the balancer itself may fail with. */
export interface LoadBalancer<out T, out E = never> {
  readonly name: string
  /** Runs the effect that `use` makes of the target chosen. */
  readonly execute: <A, E1, R>(
    use: (target: T) => Effect.Effect<A, E1, R>,
    options?: CallOptions
  ) => Effect.Effect<A, E | E1, R>
  /**
   * All targets, first the one that a call would go to, which in panic may be out, last the others that are out: an order
   * for whoever tries one after the other, such as `Fallback.inOrder`. Calls are then to be made by `on`.
   */
  readonly order: (options?: CallOptions) => Effect.Effect<ReadonlyArray<Target<T>>>
  /** Runs an effect as a call to this target, chosen by whomever: it counts as running there and its end is learnt from. */
  readonly on: (name: string) => <A, E1, R>(self: Effect.Effect<A, E1, R>) => Effect.Effect<A, E1, R>
  readonly status: Effect.Effect<ReadonlyArray<Status>>
  /** Whether so many targets are out that all are used. */
  readonly panicking: Effect.Effect<boolean>
}

type ErrorOf<O> = O extends { readonly panicShare: false } ? NoTarget : never

/** The availability of a target that is called through this breaker. */
export const ofBreaker = (breaker: CircuitBreaker.Service, key?: string) => (now: number): number =>
  breaker.core(key).peek(now)

/**
 * Makes a balancer.
 *
 * **Example** (Replicas in front, a backup behind them)
 *
 * ```ts
 * import { Context, Effect } from "effect"
 * import { FaultTolerance } from "holdfast"
 * import * as LoadBalancer from "holdfast/LoadBalancer"
 *
 * class Geocoder extends Context.Service<Geocoder, {
 *   readonly lookup: (address: string) => Effect.Effect<string, Error>
 * }>()("docs/Geocoder") {}
 * const at = (region: string) => ({ lookup: (address: string) => Effect.succeed(`${address} by ${region}`) })
 *
 * const program = Effect.gen(function*() {
 *   const replicas = yield* LoadBalancer.make({
 *     algorithm: "consistent",
 *     targets: [{ name: "eu", target: at("eu") }, { name: "us", target: at("us") }]
 *   })
 *   const geocoder = yield* FaultTolerance.make(Geocoder, {
 *     service: "geocoder",
 *     providers: [
 *       { name: "replicas", service: { lookup: (a) => replicas.execute((it) => it.lookup(a), { key: a }) } },
 *       { name: "backup", service: at("backup") }
 *     ]
 *   })
 *   const place = yield* geocoder.execute({ operation: "lookup" }, (it) => it.lookup("Berlin"))
 *   return place.value
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => Berlin by us
 * ```
 *
 * A retry around `execute` chooses anew. To try every target in turn, take `order`:
 *
 * ```ts no-run
 * import { Effect } from "effect"
 * import { Fallback, type ProviderError } from "holdfast"
 * import type * as LoadBalancer from "holdfast/LoadBalancer"
 *
 * export const everyone = <T, A>(
 *   balancer: LoadBalancer.LoadBalancer<T>,
 *   use: (target: T) => Effect.Effect<A, ProviderError.ProviderError>
 * ) =>
 *   Effect.flatMap(balancer.order(), (targets) =>
 *     Fallback.inOrder(
 *       targets.map(({ name, target }) => ({ name, call: balancer.on(name)(use(target)) })),
 *       { service: balancer.name, operation: "any" }
 *     ))
 * ```
 *
 * **Gotchas**
 *
 * In panic a target that is called through its own breaker still refuses while that is open. With `panicShare` below 1
 * those refusals shed load that the targets left could not bear; where they can, leave it at 1. A breaker behind a
 * balancer needs no `rampUp` of its own: the slow start sends it few calls, where a ramp would refuse them.
 */
export const make = <T, const O extends Omit<Options<T>, "targets">>(
  options: O & { readonly targets: ReadonlyArray<Target<T>> }
): Effect.Effect<LoadBalancer<T, ErrorOf<O>>, InvalidOptions> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without `panicShare: false` some target is always chosen
  build(options) as Effect.Effect<LoadBalancer<T>, InvalidOptions>

const build = Effect.fnUntraced(function*<T>(
  options: Options<T>
): Effect.fn.Return<LoadBalancer<T, NoTarget>, InvalidOptions> {
  const seed = yield* Random.nextInt
  const { classify: judge = classify, name = "default", targets } = options
  const core = yield* checked(() => coreOf(options, chance(seed)))

  /** Runs a call to the target that `admit` gives; the frame stands before the call is counted. */
  const run = <A, E, R>(
    admit: (now: number) => number,
    use: (target: T) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | NoTarget, R> =>
    Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      let index = NONE
      let startedAt = 0
      return Effect.onExitPrimitive(
        Effect.suspend((): Effect.Effect<A, E | NoTarget, R> => {
          startedAt = clock.currentTimeMillisUnsafe()
          index = admit(startedAt)
          return index === NONE
            ? Effect.fail(stackless(() => new NoTarget({ balancer: name, retryAfter: Duration.millis(core.soonest) })))
            : use(targets[index]!.target)
        }),
        (exit) => {
          if (index === NONE) return undefined
          // First: should the judge throw, the call has ended all the same.
          core.release(index)
          if (exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)) return undefined
          const now = clock.currentTimeMillisUnsafe()
          const judgement = judge(exit)
          core.learn(index, typeof judgement === "string" ? judgement : judgement.verdict, now - startedAt, now)
          return undefined
        }
      )
    })

  return {
    name,
    execute: (use, call) => run((now) => core.admit(now, call?.key), use),
    order: (call) => Effect.map(Clock.currentTimeMillis, (now) => core.order(now, call?.key).map((i) => targets[i]!)),
    on: (target) => <A, E, R>(self: Effect.Effect<A, E, R>) => {
      const index = targets.findIndex(({ name }) => name === target)
      const admit = (): number => {
        core.begin(index)
        return index
      }
      return index < 0
        ? Effect.die(new Error(`${name} has no target ${target}`))
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a given target is never none
        : run(admit, () => self) as Effect.Effect<A, E, R>
    },
    status: Effect.map(Clock.currentTimeMillis, (now) => {
      core.look(now)
      return core.targets.map(({ admitted, inFlight, target, wait, weight }) => ({
        name: target.name,
        inFlight,
        calls: admitted,
        retryAfter: Duration.millis(wait),
        weight
      }))
    }),
    panicking: Effect.map(Clock.currentTimeMillis, (now) => {
      core.look(now)
      return core.panicking
    })
  }
})

const coreOf = <T>(options: Options<T>, random: () => number): BalancerCore => {
  const check = checks("LoadBalancer")
  const { algorithm = "least-loaded", panicShare, targets } = options
  check.ensure(targets.length > 0, "targets", "must hold at least one")
  check.ensure(new Set(targets.map(({ name }) => name)).size === targets.length, "targets", "must have different names")
  return new BalancerCore(
    {
      algorithm: check.oneOf("algorithm", algorithm, ["least-loaded", "peak-ewma", "round-robin", "consistent"]),
      panicShare: panicShare === false ? Infinity : check.ratio("panicShare", panicShare, 1),
      slowStartMillis: check.millis("slowStart", options.slowStart, "10 seconds"),
      decayMillis: check.millis("decay", options.decay, "10 seconds", { min: 1 }),
      random
    },
    targets.map(({ availability, name, weight }) => ({
      name,
      weight: check.number(`targets.${name}.weight`, weight, 1, { min: Number.MIN_VALUE }),
      availability
    }))
  )
}
