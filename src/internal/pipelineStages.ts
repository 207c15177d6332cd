/** What a call goes through, as data: the stages of its provider, and what is known of it before it is made. */
import type { Effect, Exit, Fiber } from "effect"
import type * as Bulkhead from "../Bulkhead.ts"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import type { FailureContext } from "../Classifier.ts"
import type * as FailurePredictor from "../FailurePredictor.ts"
import type * as Hedge from "../Hedge.ts"
import type { ProviderError } from "../ProviderError.ts"
import type * as RateLimit from "../RateLimit.ts"
import type { Recorder } from "../Telemetry.ts"
import type { CircuitCore } from "./circuitCore.ts"
import type { LatencyWindow } from "./latencyHistogram.ts"
import type { AttemptTimers } from "./pipelineTimers.ts"
import type { QuantileLimit } from "./quantileLimit.ts"
import type { RetryCall, RetryCore } from "./retryRun.ts"

/** The stages of one provider, outer to inner. One that is not configured is `undefined`, and nothing is asked of it. */
export interface Stages {
  readonly provider: string
  readonly retry: RetryCore | undefined
  readonly hedge: Hedge.Service | undefined
  readonly predictor: FailurePredictor.Service | undefined
  readonly breaker: CircuitBreaker.Service | undefined
  readonly rateLimit: RateLimit.Service | undefined
  readonly bulkhead: Bulkhead.Service | undefined
  readonly timeout: TimeoutStage | undefined
  /** How long an attempt is expected to take where that is not measured. */
  readonly attemptMillis: number
  readonly toError: (failure: unknown, context: FailureContext) => ProviderError
  /** Whether somebody wants to know how long a call took: worth a second clock read, which is 45 ns. */
  readonly timed: boolean
  /** Those who wait for the limit or a permit, by circuit: they are woken when it opens, to be refused at once. */
  readonly waiting: Map<CircuitCore, Set<() => void>>
}

export interface TimeoutStage {
  readonly millis: number
  /** The share of the time left to the deadline that one attempt may take. */
  readonly ofRemaining: number
  /** Instead of `millis`, once it knows enough. */
  readonly quantile: QuantileLimit | undefined
  /** For attempts that have all of `millis`. */
  readonly timers: AttemptTimers
}

/** What all calls of one operation share. */
export interface Operation {
  readonly recorder: Recorder | undefined
  /** What successful calls took, where somebody wants to know how long the next will take. */
  readonly latencies: LatencyWindow | undefined
}

/** What is known of a call before it is made; one for all runs of a `protect`. */
export interface Call extends FailureContext, RetryCall {
  readonly idempotent: boolean
  readonly shared: Operation
  /** The name of its circuit. */
  readonly circuit: string
  readonly cost: number
  readonly queue: Bulkhead.CallOptions
  /** How long the whole call may take, `Infinity` for as long as it likes. */
  readonly deadlineMillis: number
}

/** How the provider is asked: by an effect, or by a promise function that takes a signal. */
export type Work =
  | { readonly _tag: "Effect"; readonly effect: AnyEffect }
  | { readonly _tag: "Promise"; readonly start: (signal: AbortSignal) => PromiseLike<unknown> }

// `Pipeline` gives the types; in here every effect may be any effect.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyEffect = Effect.Effect<any, any>
export type AnyExit = Exit.Exit<unknown, unknown>
export type AnyFiber = Fiber.Fiber<unknown, unknown>
export type Resume = (effect: AnyEffect) => void

/** What spans tell of a call. */
export const spanAttributes = ({ circuit, correlationId, operation, provider }: Call) => ({
  "ft.provider": provider,
  "ft.operation": operation,
  "ft.circuit": circuit,
  ...(correlationId !== undefined && { "ft.correlation_id": correlationId })
})
