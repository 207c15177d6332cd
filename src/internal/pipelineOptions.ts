/** A pipeline's options, and the stages that they come to. */
import { Duration, Effect } from "effect"
import * as Bulkhead from "../Bulkhead.ts"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import { Classifier } from "../Classifier.ts"
import * as Event from "../Event.ts"
import * as FailurePredictor from "../FailurePredictor.ts"
import * as Hedge from "../Hedge.ts"
import { InvalidOptions } from "../InvalidOptions.ts"
import * as RateLimit from "../RateLimit.ts"
import * as Retry from "../Retry.ts"
import type * as RetryBudget from "../RetryBudget.ts"
import { Telemetry } from "../Telemetry.ts"
import * as Timeout from "../Timeout.ts"
import { checked, checks } from "./options.ts"
import type { Facts } from "./pipelineExplain.ts"
import type { Stages, TimeoutStage } from "./pipelineStages.ts"
import { AttemptTimers } from "./pipelineTimers.ts"
import type { RetryCore } from "./retryRun.ts"

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
  /**
   * Watches for trouble before the circuit opens, and holds its alarms against the circuit's openings. Adds `CallShed`
   * where it is told to `"shed"`.
   */
  readonly predictor?: true | PredictorOptions | FailurePredictor.Service | undefined
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
export type PredictorOptions = Omit<FailurePredictor.Options, "name" | "classify">
export type BreakerOptions = Omit<CircuitBreaker.Options, "name" | "classify">

/** The name that the breaker of a pipeline knows a circuit by. */
export const circuitKey = (provider: string, key: string): string => `${provider}/${key}`

/** What the options come to. */
export interface Parts {
  readonly stages: Stages
  /** For every call; `Infinity` for none. */
  readonly deadlineMillis: number
  /** What pays for retries and hedges. */
  readonly budget: RetryBudget.Service | undefined
  readonly telemetry: Telemetry | undefined
  /** Whether retries want to know how long attempts take. */
  readonly measured: boolean
}

/** Makes the stages, or names the option that makes no sense. */
export const partsOf = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Parts, InvalidOptions> {
  const { provider } = options
  const deadlineMillis = yield* checked(() => {
    checkForms(options)
    return deadlineOf(options.deadline)
  })
  const timeout = yield* part(isPlain(options.timeout) ? undefined : "timeout", checked(() => timeoutStage(options)))
  const own = breakerOptionsOf(options, timeout)
  const breaker = yield* part(
    "breaker",
    own === undefined
      ? Effect.succeed(typeof options.breaker === "object" && isService(options.breaker) ? options.breaker : undefined)
      : Effect.mapError(CircuitBreaker.make(own), ({ field, module, why }) =>
        // As the options name it.
        new InvalidOptions({ module, field: field.replace(`keys.${circuitKey(provider, "")}`, "keys."), why }))
  )
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
  const predictor = yield* part(
    "predictor",
    given<FailurePredictor.Service, PredictorOptions>(
      options.predictor,
      (own) => FailurePredictor.make({ ...own, name: provider })
    )
  )
  const retry = yield* part("retry", retryOf(options))
  const hedge = yield* part("hedge", hedgeOf(options, retry?.budget))
  yield* checked(() => checkTogether(options, timeout))
  const classifier = yield* Classifier
  const telemetry = yield* Telemetry

  const measured = retry?.attemptTime === "measured"
  const stages: Stages = {
    provider,
    retry: retry?.core,
    hedge,
    predictor,
    breaker,
    rateLimit,
    bulkhead,
    timeout,
    attemptMillis: typeof retry?.attemptTime === "number" ? retry.attemptTime : 0,
    toError: classifier.toError,
    timed: telemetry !== undefined || predictor !== undefined || timeout?.quantile !== undefined || measured ||
      bulkhead?.learn !== undefined ||
      (retry !== undefined && retry.core.settings.maxElapsedMillis < Infinity) || countsSlowCalls(options.breaker),
    waiting: new Map()
  }
  return { stages, deadlineMillis, budget: retry?.budget ?? hedge?.budget, telemetry, measured }
})

/** Names the stage whose option makes no sense, where the option is not the stage itself. */
export const part = <A>(
  stage: string | undefined,
  self: Effect.Effect<A, InvalidOptions>
): Effect.Effect<A, InvalidOptions> =>
  Effect.mapError(
    self,
    ({ field, why }) =>
      new InvalidOptions({ module: "Pipeline", field: stage === undefined ? field : `${stage}.${field}`, why })
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

/** Whether a stage was made elsewhere. */
export const isService = <Service extends { readonly core: unknown }>(option: object | Service): option is Service =>
  "core" in option

const timeoutStage = ({ retry, timeout }: Options): TimeoutStage | undefined => {
  if (timeout === undefined) return undefined
  const own: Timeout.Options = timeout === true ? {} : isPlain(timeout) ? { timeout } : timeout
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

/** Whether a timeout is given as a duration alone. */
const isPlain = (option: Options["timeout"]): option is Duration.Input =>
  typeof option !== "object" || Duration.isDuration(option) ||
  !Object.keys(option).every((key) => timeoutFields.has(key))

const breakerOptionsOf = (
  { breaker, provider }: Options,
  timeout: TimeoutStage | undefined
): CircuitBreaker.Options | undefined => {
  if (breaker === undefined || (breaker !== true && isService(breaker))) return undefined
  const own: BreakerOptions = breaker === true ? {} : breaker
  return {
    // A probe is given up on a second after its attempt has timed out, not before.
    ...(timeout !== undefined && { probeLease: timeout.millis + 1_000 }),
    ...own,
    name: provider,
    ...(own.keys !== undefined && {
      keys: Object.fromEntries(Object.entries(own.keys).map(([key, value]) => [circuitKey(provider, key), value]))
    })
  }
}

/** What the breaker is made of, where it was not made elsewhere. */
export const breakerOptions = (
  options: Options
): Effect.Effect<CircuitBreaker.Options | undefined, InvalidOptions> =>
  checked(() => breakerOptionsOf(options, timeoutStage(options)))

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

/** A caller in JavaScript may say anything. */
const checkForms = (options: Options): void => {
  const check = checks("Pipeline")
  check.text("provider", options.provider)
  for (const stage of ["retry", "predictor", "breaker", "bulkhead"] as const) {
    check.options(stage, options[stage], "or true")
  }
  for (const stage of ["hedge", "rateLimit"] as const) check.options(stage, options[stage])
  check.ensure(options.timeout !== null, "timeout", "must be a duration, not null; leave it out for none")
}

/** What each stage takes for itself, but makes no sense together. */
const checkTogether = (options: Options, timeout: TimeoutStage | undefined): void => {
  const check = checks("Pipeline")
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

/** The numbers that an explanation is made from. */
export const factsOf = (options: Options, { budget, stages }: Parts, attemptsInside: number): Facts => {
  const { bulkhead, hedge, retry, timeout } = stages
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
    predictor: stages.predictor?.stage.mode,
    timeoutMillis: timeout?.millis,
    attemptsInside
  }
}
