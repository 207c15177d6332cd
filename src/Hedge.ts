/**
 * Hedging: while the first attempt is slow to answer, a second is started beside it, if possible elsewhere, and the
 * first success wins. It cuts the tail of latencies for a few per cent of load, which it pays from the retry budget.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer } from "effect"
import * as Deadline from "./Deadline.ts"
import * as Event from "./Event.ts"
import type { BudgetCore } from "./internal/budgetCore.ts"
import { runningFiber } from "./internal/deadlineRun.ts"
import { arm, disarm, type Timer } from "./internal/deadlineTimer.ts"
import { checked, checks } from "./internal/options.ts"
import { QuantileLimit } from "./internal/quantileLimit.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import * as RetryBudget from "./RetryBudget.ts"

export interface QuantileOptions {
  /** Which quantile of the first attempts' latencies; 1 - p is the load that hedging adds. Defaults to 0.95. */
  readonly p?: number | undefined
  /** The delay is never shorter. Defaults to `"10 millis"`. */
  readonly floor?: Duration.Input | undefined
  /** The delay is never longer. Defaults to `"30 seconds"`. */
  readonly cap?: Duration.Input | undefined
  /** With fewer latencies known, `delay` holds, and without one there are no hedges. Defaults to 100. */
  readonly minSamples?: number | undefined
  /** How long a latency counts, up to twice that. Defaults to `"5 minutes"`. */
  readonly window?: Duration.Input | undefined
}

export interface Options {
  /** Whose calls these are, in events. Defaults to `"default"`. */
  readonly provider?: string | undefined
  /** How long an attempt may be silent before the next is started beside it. Either this or `quantile` is needed. */
  readonly delay?: Duration.Input | undefined
  /** Follow the live latencies instead of a fixed delay. */
  readonly quantile?: QuantileOptions | undefined
  /** Attempts beside the first, 1 to 5. More than one buys little. Defaults to 1. */
  readonly maxHedges?: number | undefined
  /**
   * What pays for hedges; share one with the retries of the same provider. `"unlimited"` for none. Defaults to a budget of
   * this policy's own, with its default options.
   */
  readonly budget?: RetryBudget.Service | "unlimited" | undefined
  /**
   * Whether calls count as requests for the budget. Say `"no"` where a `Retry` with the same budget stands around them,
   * which counts them already. Defaults to `"yes"`.
   */
  readonly countsRequests?: "yes" | "no" | undefined
}

export interface CallOptions {
  /** Names the work, in events. Defaults to `"call"`. */
  readonly operation?: string | undefined
  /** Whether the work may be done twice. Without it there is no hedge. Defaults to `false`. */
  readonly idempotent?: boolean | undefined
}

/** The work, or a function that gives each attempt its own, such as another target: 0 is the first, 1 its first hedge. */
export type Work<A, E, R> = Effect.Effect<A, E, R> | ((index: number) => Effect.Effect<A, E, R>)

export interface Service {
  /**
   * Runs the work, and again beside itself while it is silent.
   *
   * **Details**
   *
   * The first success wins; the others are interrupted and not waited for. Where all fail, the failure is the first
   * attempt's, with the others' after it in the cause. A first attempt that fails before any hedge began fails the call:
   * that is for `Retry`. Each attempt runs in a fiber of its own.
   */
  readonly execute: (options?: CallOptions) => <A, E, R>(work: Work<A, E, R>) => Effect.Effect<A, E, R>
  /** The delay that a call would get now; `undefined` while too little is known for one. */
  readonly delay: Effect.Effect<Duration.Duration | undefined>
  readonly budget: RetryBudget.Service | undefined
}

/** A hedging policy as a service. */
export class Hedge extends Context.Service<Hedge, Service>()("holdfast/Hedge") {
  static readonly layer = (options: Options): Layer.Layer<Hedge, InvalidOptions> => Layer.effect(Hedge, make(options))
}

/** Which attempt is running: 0 for the first, 1 for its first hedge. Visible to the work. */
export const index = Context.Reference<number>("holdfast/Hedge/index", { defaultValue: () => 0 })

/**
 * A hedging policy.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Hedge } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const hedge = yield* Hedge.make({ delay: "10 millis" })
 *   const replicas = [Effect.never, Effect.succeed("from the second replica")]
 *   const read = hedge.execute({ operation: "read", idempotent: true })
 *   return yield* read((index) => replicas[index] ?? Effect.never)
 * })
 * await Effect.runPromise(program) // => "from the second replica"
 * ```
 */
export const make = (options: Options): Effect.Effect<Service, InvalidOptions> =>
  Effect.gen(function*() {
    const { counts, delayMillis, maxHedges, quantile } = yield* checked(() => decode(options))
    const budget = yield* RetryBudget.givenTo("Hedge", options.budget)
    const policy: Policy = {
      provider: options.provider ?? "default",
      delayMillis,
      quantile,
      maxHedges,
      budget: budget?.core,
      counts,
      sink: yield* Event.Sink
    }
    return {
      execute: ({ idempotent = false, operation = "call" } = {}) => <A, E, R>(work: Work<A, E, R>) =>
        idempotent
          ? Effect.callback<A, E, R>((resume) => new Run(policy, operation, work, resume).begin())
          : Effect.isEffect(work)
          ? work
          : Effect.suspend(() => work(0)),
      delay: Effect.map(Clock.currentTimeMillis, (now) => {
        const millis = delayAt(policy, now)
        return millis === undefined ? undefined : Duration.millis(millis)
      }),
      budget
    }
  })

interface Policy {
  readonly provider: string
  readonly delayMillis: number | undefined
  readonly quantile: QuantileLimit | undefined
  readonly maxHedges: number
  readonly budget: BudgetCore | undefined
  readonly counts: boolean
  readonly sink: Event.Sink
}

const delayAt = (policy: Policy, now: number): number | undefined => policy.quantile?.current(now) ?? policy.delayMillis

/** One call with its attempts. */
class Run<A, E, R> {
  readonly #policy: Policy
  readonly #operation: string
  readonly #work: Work<A, E, R>
  readonly #resume: (exit: Exit.Exit<A, E>) => void
  readonly #fiber = runningFiber()
  readonly #clock = this.#fiber.getRef(Clock.Clock)
  readonly #start = this.#clock.currentTimeMillisUnsafe()
  readonly #attempts: Array<Fiber.Fiber<A, E>> = []
  /** By attempt: an index without a cause has not failed. */
  readonly #causes: Array<Cause.Cause<E> | undefined> = []
  #pending = 0
  #answered = false
  #timer: Timer | undefined

  constructor(policy: Policy, operation: string, work: Work<A, E, R>, resume: (exit: Exit.Exit<A, E>) => void) {
    this.#policy = policy
    this.#operation = operation
    this.#work = work
    this.#resume = resume
  }

  begin(): Effect.Effect<void> | undefined {
    const { budget, counts } = this.#policy
    if (counts) budget?.deposit()
    this.#launch()
    if (this.#answered) return undefined
    this.#wait(delayAt(this.#policy, this.#start))
    return Effect.suspend(() => {
      this.#end()
      return Fiber.interruptAll(this.#attempts)
    })
  }

  #launch(): void {
    const number = this.#causes.length
    this.#causes.push(undefined)
    this.#pending++
    const work = this.#work
    const effect = Effect.isEffect(work) ? work : Effect.suspend(() => work(number))
    const context = number === 0 ? this.#fiber.context : Context.add(this.#fiber.context, index, number)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what runs an Effect<_, _, R> holds R
    const fiber = Effect.runForkWith(context as Context.Context<R>)(effect)
    this.#attempts.push(fiber)
    fiber.addObserver((exit) => this.#settled(number, exit))
  }

  /** The next hedge, when an attempt has been silent for so long. */
  #wait(delayMillis: number | undefined): void {
    if (delayMillis === undefined || this.#causes.length > this.#policy.maxHedges) return
    this.#timer = arm(this.#fiber, delayMillis, () => {
      this.#timer = undefined
      if (!this.#mayHedge(delayMillis)) return
      this.#launch()
      if (!this.#answered) this.#wait(delayMillis)
    })
  }

  /** A hedge needs about the delay itself, since few answers take longer; asking the budget takes from it. */
  #mayHedge(delayMillis: number): boolean {
    const { budget, provider, sink } = this.#policy
    const now = this.#clock.currentTimeMillisUnsafe()
    if (this.#fiber.getRef(Deadline.current) - now < delayMillis) return false
    if (budget !== undefined && !budget.withdraw(1, now)) return false
    sink?.({ _tag: "Hedged", at: now, provider, operation: this.#operation, attempt: this.#causes.length + 1 })
    return true
  }

  #settled(number: number, exit: Exit.Exit<A, E>): void {
    this.#pending--
    if (this.#answered) return
    if (Exit.isSuccess(exit)) {
      this.#measure()
      this.#answer(exit)
      return
    }
    this.#causes[number] = exit.cause
    if (this.#pending === 0) {
      this.#answer(Exit.failCause(Cause.fromReasons(this.#causes.flatMap((cause) => cause?.reasons ?? []))))
    }
  }

  /**
   * How long the first attempt took, or had taken when it lost: leaving out those that lost would pull the quantile down,
   * and with it the delay, until every call is hedged. One that failed says nothing.
   */
  #measure(): void {
    const { quantile } = this.#policy
    if (quantile === undefined || this.#causes[0] !== undefined) return
    const now = this.#clock.currentTimeMillisUnsafe()
    quantile.record(now - this.#start, now)
  }

  #answer(exit: Exit.Exit<A, E>): void {
    this.#end()
    for (const fiber of this.#attempts) fiber.interruptUnsafe(this.#fiber.id)
    this.#resume(exit)
  }

  #end(): void {
    this.#answered = true
    disarm(this.#timer)
    this.#timer = undefined
  }
}

const decode = (options: Options) => {
  const check = checks("Hedge")
  check.ensure(
    options.delay !== undefined || options.quantile !== undefined,
    "delay",
    "is needed where there is no quantile"
  )
  return {
    counts: check.oneOf("countsRequests", options.countsRequests ?? "yes", ["yes", "no"]) === "yes",
    delayMillis: options.delay === undefined ? undefined : check.millis("delay", options.delay, 0, { min: 1 }),
    maxHedges: check.int("maxHedges", options.maxHedges, 1, { min: 1, max: 5 }),
    quantile: options.quantile === undefined ? undefined : quantileLimit(options.quantile)
  }
}

const quantileLimit = (options: QuantileOptions): QuantileLimit => {
  const check = checks("Hedge", "quantile.")
  const floorMillis = check.millis("floor", options.floor, "10 millis", { min: 1 })
  const capMillis = check.millis("cap", options.cap, "30 seconds")
  check.ensure(floorMillis <= capMillis, "floor", "must not be above the cap")
  return new QuantileLimit({
    p: check.ratio("p", options.p, 0.95),
    factor: 1,
    floorMillis,
    capMillis,
    minSamples: check.int("minSamples", options.minSamples, 100, { min: 1 }),
    spanMillis: check.millis("window", options.window, "5 minutes", { min: 1 })
  })
}
