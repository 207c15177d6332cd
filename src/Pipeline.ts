/**
 * One provider's calls through all policies at once. The order is fixed, outer to inner:
 *
 *     deadline · retry and budget · hedge · breaker peek · rate limit · bulkhead · predictor · breaker admit · attempt timeout
 *     · chaos · call
 *
 * A stage that is not configured costs nothing and leaves no error in the type. What the work fails with is classified as
 * a `ProviderError`; defects stay defects; an interruption is neutral everywhere.
 */
import { type Context, type Duration, Effect, Layer } from "effect"
import { HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import type * as Bulkhead from "./Bulkhead.ts"
import { Chaos } from "./Chaos.ts"
import type * as CircuitBreaker from "./CircuitBreaker.ts"
import * as Deadline from "./Deadline.ts"
import type * as FailurePredictor from "./FailurePredictor.ts"
import { LatencyWindow } from "./internal/latencyHistogram.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import { protect } from "./internal/pipelineCall.ts"
import { explainFacts, type Explanation, renderExplanation } from "./internal/pipelineExplain.ts"
import { circuitKey, factsOf, type Options, partsOf } from "./internal/pipelineOptions.ts"
import type { Call, Operation, Work } from "./internal/pipelineStages.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import { ProviderError } from "./ProviderError.ts"
import type * as RateLimit from "./RateLimit.ts"
import type * as RetryBudget from "./RetryBudget.ts"

export type {
  BreakerOptions,
  HedgeOptions,
  Options,
  PredictorOptions,
  RetryOptions
} from "./internal/pipelineOptions.ts"
export { circuitKey } from "./internal/pipelineOptions.ts"

type Adds<O, Stage extends string, E> = Stage extends keyof O ? ([O[Stage]] extends [undefined] ? never : E) : never

/** Only a predictor that is told to shed refuses anybody; of one made elsewhere that is not known. */
type Sheds<P> = P extends { readonly stage: unknown } ? FailurePredictor.CallShed
  : P extends { readonly mode?: infer Mode }
    ? unknown extends Mode ? never : "shed" extends Mode ? FailurePredictor.CallShed : never
  : never

/**
 * Refuses fields that the options do not have, and those that a stage or its options, or one of a list, do not have: a
 * type parameter lets a misspelled field pass, and then the stage, or its limit, is not there.
 */
export type Known<O, All> = {
  readonly [K in keyof O]: K extends FieldsOf<All> ? Inner<O[K], FieldOf<All, K>> : NoOption<K>
}

type Inner<O, All> = O extends Plain
  ? { readonly [K in keyof O]: K extends FieldsOf<All> ? Innermost<O[K], FieldOf<All, K>> : NoOption<K> }
  : O extends ReadonlyArray<unknown> ? { readonly [I in keyof O]: OneOf<O[I], ItemOf<All>> }
  : unknown

type OneOf<O, All> = O extends Plain ? Known<O, All> : unknown

type Innermost<O, All> = O extends Plain ? KnownFields<O, All> : unknown

/** The same for fields alone, whatever is in them: of a call, a misspelled one would not hold. */
export type KnownFields<O, All> = { readonly [K in Exclude<keyof O, FieldsOf<All>>]: NoOption<K> }

/** Nothing is of this type; its name is what the compiler says of a field that is no option. */
interface NoOption<Field> {
  readonly [noOption]: Field
}
declare const noOption: unique symbol

/** Objects whose fields are options. */
type Plain = { readonly [field: string]: unknown }

/** The fields that any of the forms of an option has. */
type FieldsOf<All> = All extends object ? keyof All : never
type FieldOf<All, K> = All extends object ? K extends keyof All ? All[K] : never : never
type ItemOf<All> = All extends ReadonlyArray<infer Item> ? Item : never

/** The errors that the configured stages add to `ProviderError`. */
export type ErrorOf<O> =
  | Adds<O, "deadline", Deadline.DeadlineExceeded>
  | (O extends { readonly predictor?: infer P } ? Sheds<P> : never)
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
  /** In the bulkhead's queue, higher goes first. Defaults to 0, as does what is no number. */
  readonly priority?: number | undefined
  /** In the bulkhead's queue, tenants are served in turn. */
  readonly tenant?: string | undefined
  /** What the call counts for in the rate limit: a finite number, at least 0; any other is a defect. Defaults to 1. */
  readonly cost?: number | undefined
  /** For this call; the pipeline's own and the caller's hold too. Adds `DeadlineExceeded`. */
  readonly deadline?: Duration.Input | undefined
  /** Is kept in the errors. Defaults to `Correlation.current`. */
  readonly correlationId?: string | undefined
}

/** One provider's policies. `E` are the errors that its stages add. */
export interface Pipeline<out E = never> {
  readonly provider: string
  /** Runs the effect through the pipeline. */
  readonly protect: <const C extends CallOptions>(
    options: C & KnownFields<C, CallOptions>
  ) => <A, E0, R>(
    self: Effect.Effect<A, E0, R>
  ) => Effect.Effect<A, ProviderError | E | Adds<C, "deadline", Deadline.DeadlineExceeded>, R>
  /**
   * Runs a promise function through the pipeline: half the cost of wrapping `Effect.tryPromise`. A rejection is classified
   * like any failure. The signal is aborted at a timeout and on interruption, and only made for a function that takes it.
   */
  readonly promise: <A, const C extends CallOptions>(
    options: C & KnownFields<C, CallOptions>,
    start: (signal: AbortSignal) => PromiseLike<A>
  ) => Effect.Effect<A, ProviderError | E | Adds<C, "deadline", Deadline.DeadlineExceeded>>
  /**
   * Milliseconds until a call of this key would be let through by breaker and rate limit; 0 for now. Without a key, of the
   * operation that is soonest let through, among those seen. `now` is epoch milliseconds.
   */
  readonly availability: (now: number, key?: string) => number
  readonly predictor: FailurePredictor.Service | undefined
  readonly breaker: CircuitBreaker.Service | undefined
  readonly rateLimit: RateLimit.Service | undefined
  readonly bulkhead: Bulkhead.Service | undefined
  /** What pays for retries. */
  readonly budget: RetryBudget.Service | undefined
  /**
   * The operations seen, for whoever makes the pipeline anew.
   * @internal
   */
  readonly operations: ReadonlyMap<string, Operation>
}

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
export const make = <const O extends Options>(
  options: O & Known<O, Options>
): Effect.Effect<Pipeline<ErrorOf<O>>, InvalidOptions> => build(options)

/**
 * What goes on when a pipeline is made anew.
 * @internal
 */
export type Kept = Pick<Pipeline, "predictor" | "breaker" | "bulkhead" | "rateLimit" | "budget" | "operations">

/**
 * Makes a pipeline under other options, in which the stages kept go on as they are; those that the options do not have
 * are left out. Calls under way in the pipeline before end there.
 * @internal
 */
export const remake = (options: Options, kept: Kept): Effect.Effect<Pipeline, InvalidOptions> =>
  build(
    options.retry === undefined || kept.budget === undefined
      ? options
      : { ...options, retry: { budget: kept.budget, ...(options.retry === true ? {} : options.retry) } },
    kept
  )

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
  Effect.gen(function*() {
    const inside = yield* checked(() =>
      checks("Pipeline").int("attemptsInside", context?.attemptsInside, 1, { min: 1 })
    )
    return explainFacts(options.provider, factsOf(options, yield* partsOf(options), inside))
  })

/** An explanation as text for people. */
export const render: (self: Explanation) => string = renderExplanation

/** The pipeline as a service of the reader's own key. */
export const layer = <Id, const O extends Options>(
  key: Context.Key<Id, Pipeline<ErrorOf<O>>>,
  options: O & Known<O, Options>
): Layer.Layer<Id, InvalidOptions> => Layer.effect(key, build(options))

const build = Effect.fnUntraced(function*(
  options: Options,
  kept?: Kept
): Effect.fn.Return<Pipeline, InvalidOptions> {
  const { provider } = options
  const { budget, deadlineMillis, measured, stages: made, telemetry } = yield* partsOf(options)
  const breaker = made.breaker && (kept?.breaker ?? made.breaker)
  const bulkhead = made.bulkhead && (kept?.bulkhead ?? made.bulkhead)
  const rateLimit = made.rateLimit && (kept?.rateLimit ?? made.rateLimit)
  const predictor = made.predictor && (kept?.predictor ?? made.predictor)
  if (kept === undefined && predictor !== undefined && breaker !== undefined) {
    const tell = predictor.stage.watcher()
    // A breaker that is shared has circuits of others too.
    breaker.watchers.add((change) => change.key.startsWith(circuitKey(provider, "")) ? tell(change) : undefined)
  }
  const stages = { ...made, predictor, breaker, bulkhead, rateLimit }
  const chaos = yield* Chaos

  const windowOf = () => measured ? new LatencyWindow(latencyMillis) : undefined
  const operations = new Map<string, Operation>(
    Array.from(
      kept?.operations ?? [],
      ([operation, known]) => [operation, { ...known, latencies: measured ? known.latencies ?? windowOf() : undefined }]
    )
  )
  const shared = (operation: string): Operation => {
    const known = operations.get(operation)
    if (known !== undefined) return known
    const made: Operation = {
      recorder: telemetry?.recorder(provider, operation, { kind: "provider" }),
      latencies: windowOf()
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
        : Math.min(deadlineMillis, Math.max(0, millisOf("Pipeline", "deadline", options.deadline)))
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
    const held = rateLimit === undefined ? 0 : rateLimit.core.heldFor(now)
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
    predictor,
    breaker,
    rateLimit,
    bulkhead,
    budget,
    operations
  }
})

/** Names that calls bring are not bounded; what is kept for them is. */
const maxOperations = 1_000

/** How long a measured attempt counts, up to twice that. */
const latencyMillis = 5 * 60_000

const asEffect = (work: Work): Effect.Effect<unknown, unknown> =>
  work._tag === "Effect" ? work.effect : Effect.tryPromise({ try: work.start, catch: (error) => error })

// -- HTTP clients ----------------------------------------------------------------------------------------------------

/** How requests become calls. */
export interface HttpClientOptions {
  /** The class of a request, for circuits and metrics. Defaults to its method and host. */
  readonly operation?: ((request: HttpClientRequest.HttpClientRequest) => string) | undefined
  /** Defaults to what HTTP says of the method, or an `Idempotency-Key` on the request. */
  readonly idempotent?: ((request: HttpClientRequest.HttpClientRequest) => boolean) | undefined
  /** What else is to be said of a request. */
  readonly call?: ((request: HttpClientRequest.HttpClientRequest) => Omit<CallOptions, "operation">) | undefined
}

/**
 * Sends every exchange of an `HttpClient` through the pipeline. A status of 400 and above is a failure.
 *
 * **Gotchas**
 *
 * An exchange ends with the head of the response. To bound the reading of the body too, protect the whole work instead.
 * A request whose body is a stream that can be read once only cannot be sent again: do without `retry` there. Put
 * `HttpClient.withScope` below, on the client that is given: above, it does not reach requests with a deadline.
 */
export const httpClient = <E>(pipeline: Pipeline<E>, options?: HttpClientOptions) =>
<E1, R>(
  client: HttpClient.HttpClient.With<E1, R>
): HttpClient.HttpClient.With<E1 | E | ProviderError | Deadline.DeadlineExceeded, R> =>
  through(client, (effect, request) => exchange(pipeline, options, request, effect))

/**
 * Puts the pipeline under everything that speaks by the `HttpClient` service: a `LanguageModel`, an `EmbeddingModel`, a
 * generated client. What the provider answered is passed on as it is, after the retries; what it did not answer is an
 * `HttpClientError` whose cause tells the refusal or the `ProviderError`.
 */
export const layerHttpClient = <E>(
  pipeline: Pipeline<E>,
  options?: HttpClientOptions
): Layer.Layer<HttpClient.HttpClient, never, HttpClient.HttpClient> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) =>
      through(client, (effect, request) =>
        Effect.catch(exchange(pipeline, options, request, effect), (error) =>
          asAnswered(error, request))))
  )

/** Each attempt says how much time is left for it. */
const through = <E, R, E1, R1>(
  client: HttpClient.HttpClient.With<E, R>,
  f: (
    effect: Effect.Effect<HttpClientResponse.HttpClientResponse, E, R>,
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, E1, R1>
): HttpClient.HttpClient.With<E | E1, R | R1> =>
  HttpClient.makeWith(
    Effect.flatMap((request: HttpClientRequest.HttpClientRequest) =>
      f(
        Effect.flatMap(Deadline.outgoing, (headers) =>
          client.postprocess(Effect.succeed(
            // A scope of the request holds by its identity.
            headers[Deadline.header] === undefined ? request : HttpClientRequest.setHeaders(request, headers)
          ))),
        request
      )
    ),
    client.preprocess
  )

const exchange = <E, E1, R>(
  pipeline: Pipeline<E>,
  options: HttpClientOptions | undefined,
  request: HttpClientRequest.HttpClientRequest,
  effect: Effect.Effect<HttpClientResponse.HttpClientResponse, E1, R>
) =>
  Effect.flatMap(effect, HttpClientResponse.filterStatus((status) => status < 400)).pipe(
    pipeline.protect({
      operation: options?.operation?.(request) ?? `${request.method} ${hostOf(request.url)}`,
      idempotent: options?.idempotent?.(request) ??
        (idempotentMethods.has(request.method) || request.headers["idempotency-key"] !== undefined),
      ...options?.call?.(request)
    })
  )

const idempotentMethods = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

const hostOf = (url: string): string => /^[a-z+]+:\/\/(?:[^/?#@]*@)?([^/?#]+)/i.exec(url)?.[1] ?? ""

const asAnswered = (
  error: unknown,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
  const cause = error instanceof ProviderError ? error.cause : undefined
  if (HttpClientError.isHttpClientError(cause)) {
    return cause.response === undefined ? Effect.fail(cause) : Effect.succeed(cause.response)
  }
  return Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request,
        cause: error,
        description: error instanceof Error ? error.message : String(error)
      })
    })
  )
}
