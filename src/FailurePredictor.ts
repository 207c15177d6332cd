/**
 * Tells that a provider is about to fail from how its calls go: more failures than usual, a few very slow calls, or most
 * calls slower. It needs less evidence than a breaker, and sees latency as well as failures.
 *
 * It only watches by default, and its scorecard holds its alarms against what a breaker did: whether it may act is for
 * its reader to judge. Told to act it sheds a share of the calls; it never refuses them all.
 */
import { Clock, Context, Duration, Effect, Exit, Layer, PubSub, Schema, type Scope, Stream } from "effect"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import * as Event from "./Event.ts"
import { admittedShare, CallTrend, callTrendRules, type Prediction, ValueTrend } from "./internal/failurePrediction.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import { Scorecard as Score } from "./internal/scorecard.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

export type { Prediction } from "./internal/failurePrediction.ts"

/** The call was refused and never ran, so that a provider that seems about to fail has less to do. */
export class CallShed extends Schema.TaggedError<CallShed>()("CallShed", {
  predictor: Schema.String,
  retryAfter: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `${this.predictor} seems about to fail: shed, retry after ${Duration.format(this.retryAfter)}`
  }
}

export interface Options {
  /** Names the predictor in errors and events; the provider's name will do. Defaults to `"default"`. */
  readonly name?: string | undefined
  /** `"shadow"` (default) refuses nobody; `"shed"` refuses a share of the calls during an alarm. */
  readonly mode?: "shadow" | "shed" | undefined
  /** The share of calls that is let in however bad it looks, from above 0. Defaults to 0.1. */
  readonly leastShare?: number | undefined
  /** An alarm is right when a circuit opens within this time after it. Defaults to `"5 minutes"`. */
  readonly horizon?: Duration.Input | undefined
  /** Over this time it learns what latency is usual. Defaults to `"30 minutes"`. */
  readonly usual?: Duration.Input | undefined
  /** How long evidence counts: in this time more than half of it is forgotten. Defaults to `"5 minutes"`. */
  readonly memory?: Duration.Input | undefined
  /** Judges how calls end. Defaults to {@link CircuitBreaker.classify}; what it ignores says nothing. */
  readonly classify?: CircuitBreaker.Classify<unknown, unknown> | undefined
}

/** The predictor's alarms against the openings of the circuits it watches. */
export interface Scorecard {
  /** Openings, and how many of them an alarm had come before. */
  readonly trips: number
  readonly foreseen: number
  /** Alarms that no opening followed within the horizon. One that shedding prevented counts here too. */
  readonly falseAlarms: number
  /** Whether an alarm still waits for what it foretells. */
  readonly pending: boolean
  /** Right alarms of all that are decided, and foreseen openings of all; `undefined` while there are none. */
  readonly precision: number | undefined
  readonly recall: number | undefined
  /** How long before the opening the alarm came, for half of those foreseen. */
  readonly medianLead: Duration.Duration | undefined
}

/** An alarm is raised or lowered. */
export interface Change extends Prediction {
  /** Epoch milliseconds. */
  readonly at: number
}

export interface Service {
  readonly name: string
  /** Runs the effect and learns from how it ends and how long it took. Interrupted calls say nothing. */
  readonly execute: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CallShed, R>
  /** The same for one that never refuses, whatever the mode. */
  readonly observe: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Takes a call that was measured elsewhere. */
  readonly record: (failed: boolean, latency: Duration.Input) => Effect.Effect<void>
  /**
   * Takes one value of a gauge, such as a queue's length or a minute's mean latency, and gives from 0 to 1 how likely it
   * is that it tells of trouble; 0.5 and above is an alarm. Values that are no finite numbers are gaps.
   */
  readonly gauge: (name: string, value: number) => Effect.Effect<number>
  /** What is expected of the next calls. */
  readonly prediction: Effect.Effect<Prediction>
  /** Alarms raised and lowered, from now on. A slow reader loses the oldest. */
  readonly changes: Stream.Stream<Change>
  /** Holds alarms against the openings of a breaker's circuit, or of all its circuits, while the scope lasts. */
  readonly watch: (
    breaker: CircuitBreaker.Service,
    key?: string
  ) => Effect.Effect<void, never, Scope.Scope>
  readonly scorecard: Effect.Effect<Scorecard>
  /**
   * The rule itself, for whoever has the outcome, the latency and the time at hand.
   * @internal
   */
  readonly core: CallTrend
  /**
   * For the pipeline: the protocol of policies, plain and synchronous. `now` is epoch milliseconds.
   * @internal
   */
  readonly stage: Stage
}

/** @internal */
export interface Stage {
  readonly mode: "shadow" | "shed"
  /** Whether a call is let in. */
  readonly admits: (now: number) => boolean
  readonly refused: (now: number) => CallShed
  readonly settle: (failed: boolean, latencyMillis: number, now: number) => void
  /** Takes what becomes of a circuit. */
  readonly watcher: () => (transition: CircuitBreaker.Transition) => void
}

export class FailurePredictor extends Context.Service<FailurePredictor, Service>()("holdfast/FailurePredictor") {
  static readonly layer = (options?: Options): Layer.Layer<FailurePredictor, InvalidOptions> =>
    Layer.effect(FailurePredictor, make(options))
}

/** More gauges than this are not told apart. */
const maxGauges = 64

/** A shedding predictor lets a call pass when the last one is this long past, so that quiet clients notice nothing. */
const quietMillis = 100

/**
 * What the options come to.
 * @internal
 */
export const settingsOf = (options: Omit<Options, "name" | "classify">) => {
  const check = checks("FailurePredictor")
  return {
    mode: check.oneOf("mode", options.mode ?? "shadow", ["shadow", "shed"]),
    leastShare: check.ratio("leastShare", options.leastShare, 0.1),
    horizonMillis: check.millis("horizon", options.horizon, "5 minutes", { min: 1 }),
    rules: {
      ...callTrendRules,
      usualMillis: check.millis("usual", options.usual, callTrendRules.usualMillis, { min: 1 }),
      memoryMillis: check.millis("memory", options.memory, callTrendRules.memoryMillis, { min: 1 })
    }
  }
}

/**
 * Makes a predictor for one provider.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { FailurePredictor } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const predictor = yield* FailurePredictor.make({ name: "rates" })
 *   for (let call = 0; call < 400; call++) yield* predictor.record(false, 20)
 *   for (let call = 0; call < 3; call++) yield* predictor.record(true, 20)
 *   const { alarmed, reason } = yield* predictor.prediction
 *   return `${alarmed} ${reason}`
 * })
 * await Effect.runPromise(program) // => "true Failures"
 * ```
 *
 * **Gotchas**
 *
 * In a pipeline it is the stage `predictor`. By hand put it outside of a breaker, `work.pipe(breaker.execute(),
 * predictor.execute)`, or inside with `observe`: inside, its refusals would be taken for the provider's failures.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<Service, InvalidOptions> {
  const settings = yield* checked(() => settingsOf(options))
  const { mode } = settings
  const { name = "default" } = options
  const classify = options.classify ?? CircuitBreaker.classify
  const sink = yield* Event.Sink
  const listeners = yield* PubSub.sliding<Change>(64)
  const core = new CallTrend(settings.rules)
  const score = new Score(settings.horizonMillis)
  const gauges = new Map<string, ValueTrend>()
  /** The share of a call that shedding has saved up, and when it last let one in. */
  let credit = 0
  let admittedAt = -Infinity

  const changed = (now: number): void => {
    const prediction = core.predict(now)
    if (core.alarmed) score.alarm(now)
    PubSub.publishUnsafe(listeners, { ...prediction, at: now })
    sink?.(Event.Noted.make({
      at: now,
      subject: `predictor ${name}`,
      message: core.alarmed
        ? `seems about to fail: ${prediction.reason === "Failures" ? "more failures" : "slower"} than usual`
        : "is as usual again"
    }))
  }

  const settle = (failed: boolean, latencyMillis: number, now: number): void => {
    const before = core.alarmed
    core.record(failed, latencyMillis, now)
    if (core.alarmed !== before) changed(now)
  }

  const admits = (now: number): boolean => {
    if (mode === "shadow") return true
    const share = core.alarmed ? admittedShare(core.probability(now), settings.leastShare) : 1
    if (share === 1) return true
    credit += share
    const quiet = Math.abs(now - admittedAt) >= quietMillis
    if (credit < 1 && !quiet) return false
    credit = quiet ? 0 : credit - 1
    admittedAt = now
    return true
  }

  const refused = (now: number): CallShed => {
    const retryAfter = Duration.millis(Math.max(0, admittedAt + quietMillis - now))
    return stackless(() => new CallShed({ predictor: name, retryAfter }))
  }

  const measured = <A, E, R>(self: Effect.Effect<A, E, R>, clock: Clock.Clock, began: number) =>
    Effect.onExitPrimitive(self, (exit) => {
      if (Exit.hasInterrupts(exit)) return undefined
      const now = clock.currentTimeMillisUnsafe()
      const judgement = Exit.isSuccess(exit) && options.classify === undefined ? "Success" : classify(exit)
      const verdict = typeof judgement === "string" ? judgement : judgement.verdict
      if (verdict !== "Ignored") settle(verdict === "Failure", now - began, now)
      return undefined
    })

  const observe = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => measured(self, clock, clock.currentTimeMillisUnsafe()))

  const shedding = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CallShed, R> =>
    Effect.clockWith((clock): Effect.Effect<A, E | CallShed, R> => {
      const now = clock.currentTimeMillisUnsafe()
      return admits(now) ? measured(self, clock, now) : Effect.fail(refused(now))
    })

  /** An outage begins when the first circuit opens, and is over when the last one has closed. */
  const watcher: Stage["watcher"] = () => {
    const down = new Set<string>()
    return ({ at, from, key, to }) => {
      if (from === "Closed" && to === "Open") {
        down.add(key)
        score.trip(at)
      } else if (to === "Closed" && down.delete(key) && down.size === 0) {
        score.recovered()
      }
    }
  }

  const watch = (breaker: CircuitBreaker.Service, key?: string) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => {
          const tell = watcher()
          const watch: typeof tell = (change) => key === undefined || change.key === key ? tell(change) : undefined
          breaker.watchers.add(watch)
          return watch
        }),
        (watch) => Effect.sync(() => breaker.watchers.delete(watch))
      )
    )

  return FailurePredictor.of({
    name,
    core,
    stage: { mode, admits, refused, settle, watcher },
    execute: mode === "shed" ? shedding : observe,
    observe,
    record: (failed, latency) =>
      Effect.map(
        Clock.currentTimeMillis,
        (now) => settle(failed, millisOf("FailurePredictor", "latency", latency), now)
      ),
    gauge: (gauge, value) =>
      Effect.sync(() => {
        const known = gauges.get(gauge)
        if (known !== undefined) return known.observe(value)
        const made = new ValueTrend()
        if (gauges.size < maxGauges) gauges.set(gauge, made)
        return made.observe(value)
      }),
    prediction: Effect.map(Clock.currentTimeMillis, (now) => core.predict(now)),
    changes: Stream.fromPubSub(listeners),
    watch,
    scorecard: Effect.map(Clock.currentTimeMillis, (now) => {
      const pending = score.pending(now)
      const { falseAlarms, foreseen, medianLeadMillis, trips } = score
      const decided = foreseen + falseAlarms
      return {
        trips,
        foreseen,
        falseAlarms,
        pending,
        precision: decided === 0 ? undefined : foreseen / decided,
        recall: trips === 0 ? undefined : foreseen / trips,
        medianLead: medianLeadMillis === undefined ? undefined : Duration.millis(medianLeadMillis)
      }
    })
  })
})
