/**
 * One provider's calls through all policies at once. The order is fixed, outer to inner:
 *
 *     deadline · retry and budget · hedge · breaker peek · rate limit · bulkhead · breaker admit · attempt timeout · chaos · call
 *
 * A stage that is not configured costs nothing and leaves no error in the type. What the work fails with is classified as
 * a `ProviderError`; defects stay defects; an interruption is neutral everywhere.
 */
import { type Context, Duration, Effect, Layer } from "effect"
import * as Bulkhead from "./Bulkhead.ts"
import { Chaos } from "./Chaos.ts"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import { Classifier } from "./Classifier.ts"
import type * as Deadline from "./Deadline.ts"
import * as Event from "./Event.ts"
import * as Hedge from "./Hedge.ts"
import { LatencyWindow } from "./internal/latencyHistogram.ts"
import { checked, checks } from "./internal/options.ts"
import {
  type Call,
  type Operation,
  protect,
  type Stages,
  type TimeoutStage,
  type Work
} from "./internal/pipelineAttempt.ts"
import { explainFacts, type Explanation, renderExplanation } from "./internal/pipelineExplain.ts"
import { AttemptTimers } from "./internal/pipelineTimers.ts"
import type { RetryCore } from "./internal/retryRun.ts"
import { InvalidOptions } from "./InvalidOptions.ts"
import type { ProviderError } from "./ProviderError.ts"
import * as RateLimit from "./RateLimit.ts"
import * as Retry from "./Retry.ts"
import type * as RetryBudget from "./RetryBudget.ts"
import { Telemetry } from "./Telemetry.ts"
import * as Timeout from "./Timeout.ts"

/** Which stages there are. `true` is a stage with its defaults; one made elsewhere may be shared. */
export interface Options {
  /** The provider's name, in errors, events and metrics. */
  readonly provider: string
  /** For the whole call, retries and waits included. Adds `DeadlineExceeded`. */
  readonly deadline?: Duration.Input | undefined
  /** Adds no error: the call fails with what its last attempt failed with. Its budget is on unless `"unlimited"`. */
  readonly retry?: true | RetryOptions | undefined
  /** Adds no error. Only idempotent calls are hedged; it shares the budget of `retry`. */
  readonly hedge?: HedgeOptions | undefined
  /** Adds `CircuitOpen`. */
  readonly breaker?: true | BreakerOptions | CircuitBreaker.Service | undefined
  /** Adds `RateLimited`. */
  readonly rateLimit?: RateLimit.Options | RateLimit.Service | undefined
  /** Adds `BulkheadFull`. */
  readonly bulkhead?: true | Bulkhead.Options | Bulkhead.Service | undefined
  /** For one attempt, 10 seconds when `true`. Adds no error: a timeout is a `ProviderError`. */
  readonly timeout?: true | Duration.Input | Timeout.Options | undefined
}

export type RetryOptions = Omit<Retry.Options, "provider">
export type HedgeOptions = Omit<Hedge.Options, "provider" | "countsRequests">
export type BreakerOptions = Omit<CircuitBreaker.Options, "name" | "classify">

type Adds<O, Stage extends string, E> = Stage extends keyof O ? ([O[Stage]] extends [undefined] ? never : E) : never

/** The errors that the configured stages add to `ProviderError`. */
export type ErrorOf<O> =
  | Adds<O, "deadline", Deadline.DeadlineExceeded>
  | Adds<O, "breaker", CircuitBreaker.CircuitOpen>
  | Adds<O, "rateLimit", RateLimit.RateLimited>
  | Adds<O, "bulkhead", Bulkhead.BulkheadFull>

export interface CallOptions {
  /** What is asked of the provider, as a class of calls: `"search"`, not the text searched for. */
  readonly operation: string
  /** Which of the provider's circuits, such as a region or a model. Defaults to the operation. */
  readonly key?: string | undefined
  /** Whether the work may be repeated although it may have been done. Defaults to `false`. */
  readonly idempotent?: boolean | undefined
  /** In the bulkhead's queue, higher goes first. Defaults to 0. */
  readonly priority?: number | undefined
  /** In the bulkhead's queue, tenants are served in turn. */
  readonly tenant?: string | undefined
  /** What the call counts for in the rate limit. Defaults to 1. */
  readonly cost?: number | undefined
  /** For this call; the pipeline's own and the caller's hold too. Adds `DeadlineExceeded`. */
  readonly deadline?: Duration.Input | undefined
  /** Is kept in the errors. */
  readonly correlationId?: string | undefined
}

/** One provider's policies. `E` are the errors that its stages add. */
export interface Pipeline<out E = never> {
  readonly provider: string
  /** Runs the effect through the pipeline. */
  readonly protect: <const C extends CallOptions>(
    options: C
  ) => <A, E0, R>(
    self: Effect.Effect<A, E0, R>
  ) => Effect.Effect<A, ProviderError | E | Adds<C, "deadline", Deadline.DeadlineExceeded>, R>
  /**
   * Runs a promise function through the pipeline: half the cost of wrapping `Effect.tryPromise`. A rejection is classified
   * like any failure. The signal is aborted at a timeout and on interruption, and only made for a function that takes it.
   */
  readonly promise: <A, const C extends CallOptions>(
    options: C,
    start: (signal: AbortSignal) => PromiseLike<A>
  ) => Effect.Effect<A, ProviderError | E | Adds<C, "deadline", Deadline.DeadlineExceeded>>
  /**
   * Milliseconds until a call of this key would be let through by breaker and rate limit; 0 for now. Without a key, of the
   * operation that is soonest let through, among those seen. `now` is epoch milliseconds.
   */
  readonly availability: (now: number, key?: string) => number
  readonly breaker: CircuitBreaker.Service | undefined
  readonly rateLimit: RateLimit.Service | undefined
  readonly bulkhead: Bulkhead.Service | undefined
  /** What pays for retries. */
  readonly budget: RetryBudget.Service | undefined
}

/** The name that the breaker of a pipeline knows a circuit by. */
export const circuitKey = (provider: string, key: string): string => `${provider}/${key}`

/**
 * Makes the policies of one provider.
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Pipeline } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const rates = yield* Pipeline.make({ provider: "rates", retry: { maxRetries: 2 }, breaker: true, timeout: "2 seconds" })
 *   const latest = Effect.succeed(1.08).pipe(rates.protect({ operation: "latest", idempotent: true }))
 *   return yield* latest
 * })
 * await Effect.runPromise(program) // => 1.08
 * ```
 */
export const make = <const O extends Options>(options: O): Effect.Effect<Pipeline<ErrorOf<O>>, InvalidOptions> =>
  build(options)

export type { Explanation } from "./internal/pipelineExplain.ts"

/** What is not in the options, but multiplies what they do. */
export interface ExplainContext {
  /** Attempts that the protected work makes by itself for each of ours, as a client library does. Defaults to 1. */
  readonly attemptsInside?: number | undefined
}

/**
 * Works out what the options come to: the most attempts, the worst-case time, what an outage multiplies the load by, and
 * what looks like a mistake. Options that `make` would refuse are refused here too.
 */
export const explain = (options: Options, context?: ExplainContext): Effect.Effect<Explanation, InvalidOptions> =>
  Effect.map(build(options), (pipeline) => explainFacts(options.provider, factsOf(options, pipeline, context)))

/** An explanation as text for people. */
export const render: (self: Explanation) => string = renderExplanation

/** The pipeline as a service of the reader's own key. */
export const layer = <Id, const O extends Options>(
  key: Context.Key<Id, Pipeline<ErrorOf<O>>>,
  options: O
): Layer.Layer<Id, InvalidOptions> => Layer.effect(key, make(options))

const build = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Built, InvalidOptions> {
  const { provider } = options
  const { millis: deadlineMillis } = yield* checked(() => ({ millis: deadlineOf(options.deadline) }))
  const timeout = yield* part("timeout", checked(() => timeoutStage(options)))
  yield* checked(() => checkTogether(options, timeout))
  const breaker = yield* part("breaker", breakerOf(options, timeout))
  const rateLimit = yield* part(
    "rateLimit",
    options.rateLimit === undefined
      ? Effect.undefined
      : isService(options.rateLimit)
      ? Effect.succeed(options.rateLimit)
      : RateLimit.make({ name: provider, ...options.rateLimit })
  )
  const bulkhead = yield* part(
    "bulkhead",
    given<Bulkhead.Service, Bulkhead.Options>(options.bulkhead, (own) => Bulkhead.make({ name: provider, ...own }))
  )
  const retry = yield* part("retry", retryOf(options))
  const hedge = yield* part("hedge", hedgeOf(options, retry?.budget))
  const classifier = yield* Classifier
  const telemetry = yield* Telemetry
  const chaos = yield* Chaos

  const stages: Stages = {
    provider,
    retry: retry?.core,
    hedge,
    breaker,
    rateLimit,
    bulkhead,
    timeout,
    attemptMillis: typeof retry?.attemptTime === "number" ? retry.attemptTime : 0,
    toError: classifier.toError,
    timed: telemetry !== undefined || timeout?.quantile !== undefined || retry?.attemptTime === "measured" ||
      (retry !== undefined && retry.core.settings.maxElapsedMillis < Infinity) || countsSlowCalls(options.breaker),
    waiting: new Map()
  }

  const operations = new Map<string, Operation>()
  const shared = (operation: string): Operation => {
    const known = operations.get(operation)
    if (known !== undefined) return known
    const made: Operation = {
      recorder: telemetry?.recorder(provider, operation),
      latencies: retry?.attemptTime === "measured" ? new LatencyWindow(latencyMillis) : undefined
    }
    if (operations.size < maxOperations) operations.set(operation, made)
    return made
  }
  const toCall = (options: CallOptions): Call => {
    const { cost, correlationId, idempotent, key, operation, priority, tenant } = options
    return {
      provider,
      operation,
      idempotent: idempotent ?? false,
      correlationId,
      while: undefined,
      shared: shared(operation),
      circuit: circuitKey(provider, key ?? operation),
      cost: cost ?? 1,
      queue: { priority, tenant },
      deadlineMillis: options.deadline === undefined
        ? deadlineMillis
        : Math.min(deadlineMillis, Duration.toMillis(Duration.fromInputUnsafe(options.deadline)))
    }
  }
  // Chaos is innermost, so that every policy meets it.
  const run = (options: CallOptions, work: Work) =>
    protect(
      stages,
      toCall(options),
      chaos === undefined ? work : {
        _tag: "Effect",
        effect: chaos.inject({ provider, operation: options.operation })(asEffect(work))
      }
    )

  const availability = (now: number, key?: string): number => {
    const held = rateLimit === undefined ? 0 : Math.max(0, rateLimit.core.heldUntil - now)
    if (breaker === undefined) return held
    const keys = key === undefined ? Array.from(operations.keys()) : [key]
    const waits = keys.map((key) => breaker.core(circuitKey(provider, key)).peek(now))
    return Math.max(held, waits.length === 0 ? 0 : Math.min(...waits))
  }

  return {
    provider,
    protect: (options) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- R is what the protected effect requires in turn
      run(options, { _tag: "Effect", effect: effect as Effect.Effect<A, E> }),
    promise: (options, start) => run(options, { _tag: "Promise", start }),
    availability,
    breaker,
    rateLimit,
    bulkhead,
    budget: retry?.budget ?? hedge?.budget,
    stages
  }
})

/** A pipeline, and for its explanation what it was built from. */
interface Built extends Pipeline {
  readonly stages: Stages
}

/** Names that calls bring are not bounded; what is kept for them is. */
const maxOperations = 1_000

/** How long a measured attempt counts, up to twice that. */
const latencyMillis = 5 * 60_000

const asEffect = (work: Work): Effect.Effect<unknown, unknown> =>
  work._tag === "Effect" ? work.effect : Effect.tryPromise({ try: work.start, catch: (error) => error })

// -- stages from options ---------------------------------------------------------------------------------------------

/** Names the stage whose option makes no sense. */
const part = <A>(stage: string, self: Effect.Effect<A, InvalidOptions>): Effect.Effect<A, InvalidOptions> =>
  Effect.mapError(
    self,
    ({ field, message }) => new InvalidOptions({ module: "Pipeline", field: `${stage}.${field}`, message })
  )

/** What was made elsewhere as it is; otherwise made from options, or not at all. */
const given = <Service extends { readonly core: unknown }, O extends object>(
  option: true | O | Service | undefined,
  make: (options?: O) => Effect.Effect<Service, InvalidOptions>
): Effect.Effect<Service | undefined, InvalidOptions> => {
  if (option === undefined) return Effect.undefined
  if (option === true) return make()
  return isService(option) ? Effect.succeed(option) : make(option)
}

const isService = <Service extends { readonly core: unknown }>(option: object | Service): option is Service =>
  "core" in option

const timeoutStage = ({ retry, timeout }: Options): TimeoutStage | undefined => {
  if (timeout === undefined) return undefined
  const own: Timeout.Options = timeout === true ? {} : isTimeoutOptions(timeout) ? timeout : { timeout }
  const { ofRemaining, quantile, timeoutMillis } = Timeout.settings(own)
  // Half of what remains leaves room for another attempt; where there is none, the attempt may have it all.
  return {
    millis: timeoutMillis,
    ofRemaining: own.ofRemaining ?? (retry === undefined ? 1 : ofRemaining),
    quantile,
    timers: new AttemptTimers(timeoutMillis)
  }
}

const timeoutFields = new Set(["timeout", "ofRemaining", "quantile"])

const isTimeoutOptions = (option: Duration.Input | Timeout.Options): option is Timeout.Options =>
  typeof option === "object" && !Duration.isDuration(option) &&
  Object.keys(option).every((key) => timeoutFields.has(key))

const breakerOf = (
  { breaker, provider }: Options,
  timeout: TimeoutStage | undefined
): Effect.Effect<CircuitBreaker.Service | undefined, InvalidOptions> =>
  given<CircuitBreaker.Service, BreakerOptions>(breaker, (own) =>
    CircuitBreaker.make({
      // A probe is given up on a second after its attempt has timed out, not before.
      ...(timeout !== undefined && { probeLease: timeout.millis + 1_000 }),
      ...own,
      name: provider,
      ...(own?.keys !== undefined && {
        keys: Object.fromEntries(Object.entries(own.keys).map(([key, value]) => [circuitKey(provider, key), value]))
      })
    }))

const countsSlowCalls = (breaker: Options["breaker"]): boolean =>
  typeof breaker === "object" && (isService(breaker)
    ? true
    : [breaker, ...Object.values(breaker.keys ?? {})].some((own) => own.slowCallDuration !== undefined))

const retryOf = Effect.fnUntraced(function*({ provider, retry }: Options) {
  if (retry === undefined) return undefined
  const own: RetryOptions = retry === true ? {} : retry
  const service = yield* Retry.make({ provider, ...own })
  const core: RetryCore = {
    provider,
    settings: service.settings,
    budget: service.budget?.core,
    timeoutCost: service.budget?.timeoutCost ?? 1,
    schedules: Object.fromEntries(
      Object.entries(own.categories ?? {}).map(([tag, category]) => [tag, category?.schedule])
    ),
    sink: yield* Event.Sink
  }
  const { attemptTime } = own
  return {
    core,
    budget: service.budget,
    attemptTime: attemptTime === "measured"
      ? attemptTime
      : Duration.toMillis(Duration.fromInputUnsafe(attemptTime ?? 0))
  }
})

const hedgeOf = (
  { hedge, provider, retry }: Options,
  budget: RetryBudget.Service | undefined
): Effect.Effect<Hedge.Service | undefined, InvalidOptions> =>
  hedge === undefined
    ? Effect.undefined
    // The retry around it counts the requests.
    : Hedge.make({ provider, budget, ...hedge, countsRequests: retry === undefined ? "yes" : "no" })

const deadlineOf = (deadline: Duration.Input | undefined): number =>
  deadline === undefined ? Infinity : checks("Pipeline").millis("deadline", deadline, 0, { min: 1 })

/** What each stage takes for itself, but makes no sense together. */
const checkTogether = (options: Options, timeout: TimeoutStage | undefined): void => {
  const check = checks("Pipeline")
  check.ensure(options.provider.length > 0, "provider", "must not be empty")
  if (timeout === undefined) return
  const { breaker, hedge } = options
  if (typeof breaker === "object" && !isService(breaker)) {
    const millis = (field: "probeLease" | "slowCallDuration") =>
      breaker[field] === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(breaker[field]))
    check.ensure(
      (millis("probeLease") ?? Infinity) > timeout.millis,
      "breaker.probeLease",
      "must be longer than the attempt timeout, or a probe that still runs counts as failed"
    )
    check.ensure(
      (millis("slowCallDuration") ?? 0) < timeout.millis,
      "breaker.slowCallDuration",
      "must be shorter than the attempt timeout, or no call lives to be slow"
    )
  }
  check.ensure(
    hedge?.delay === undefined || Duration.toMillis(Duration.fromInputUnsafe(hedge.delay)) < timeout.millis,
    "hedge.delay",
    "must be shorter than the attempt timeout, or no hedge is ever started"
  )
}

// -- explanation -----------------------------------------------------------------------------------------------------

const factsOf = (options: Options, { budget, bulkhead, stages }: Built, context: ExplainContext | undefined) => {
  const { hedge, retry, timeout } = stages
  const own = typeof options.breaker === "object" && !isService(options.breaker) ? options.breaker : {}
  const toMillis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))
  /** Of a stage made elsewhere the wait is not known; its default is as good a guess as any. */
  const maxWait = (
    stage: true | { readonly maxWait?: Duration.Input | undefined } | { readonly core: unknown } | undefined,
    usual: Duration.Input
  ): number => toMillis(typeof stage === "object" && "maxWait" in stage ? stage.maxWait ?? usual : usual)
  const refuses = options.rateLimit !== undefined && "onLimit" in options.rateLimit &&
    options.rateLimit.onLimit === "refuse"
  return {
    deadlineMillis: deadlineOf(options.deadline),
    retry: retry?.settings,
    retryBase: retry?.settings.categories.NetworkError,
    budgetRatio: budget?.core.settings.ratio,
    hedge: hedge === undefined || options.hedge === undefined ? undefined : {
      maxHedges: options.hedge.maxHedges ?? 1,
      delayMillis: toMillis(options.hedge.delay ?? options.hedge.quantile?.cap ?? "30 seconds"),
      hasBudget: hedge.budget !== undefined
    },
    breaker: stages.breaker === undefined ? undefined : {
      failureThreshold: own.failureThreshold === false ? Infinity : own.failureThreshold ?? 5,
      recoveryMillis: toMillis(own.recoveryTimeout ?? "5 seconds")
    },
    rateLimitWaitMillis: stages.rateLimit === undefined
      ? undefined
      : refuses
      ? 0
      : maxWait(options.rateLimit, "30 seconds"),
    bulkhead: bulkhead === undefined ? undefined : {
      limit: bulkhead.core.limit,
      queue: typeof options.bulkhead === "object" && !isService(options.bulkhead) ? options.bulkhead.queue ?? 64 : 64,
      maxWaitMillis: maxWait(options.bulkhead, "1 second")
    },
    timeoutMillis: timeout?.millis,
    attemptsInside: context?.attemptsInside ?? 1
  }
}
