/**
 * One call to a service over several providers: the order of the stages, written once, and what is told of it.
 *
 *     observe · level gate · cache · last resort · deadline · fallback · [a pipeline per provider]
 */
import { Cause, Clock, Duration, Effect, Exit, type Fiber, Option, Result, type Schema } from "effect"
import * as Deadline from "../Deadline.ts"
import * as Event from "../Event.ts"
import * as Fallback from "../Fallback.ts"
import type * as Pipeline from "../Pipeline.ts"
import { mayRetry, ProviderError, type ReasonTag } from "../ProviderError.ts"
import * as ResponseCache from "../ResponseCache.ts"
import * as Retry from "../Retry.ts"
import * as Served from "../Served.ts"
import type * as ServiceLevel from "../ServiceLevel.ts"
import type { CallOutcome, Recorder } from "../Telemetry.ts"
import { millisOf } from "./options.ts"
import { categoryType, isTraced, note, spanned } from "./tracing.ts"

/** Options of one call whose answer is an `A`. */
export interface CallOptions<A = unknown> {
  /** What is asked for, as a class of calls: `"search"`, not the text searched for. The specification's `operationName`. */
  readonly operation: string
  /** The whole request, as any structural value; equal requests share an answer. Without it nothing is cached. */
  readonly cacheKey?: unknown
  /** On whose behalf: nobody is answered from another's cache. */
  readonly tenant?: string | undefined
  /** Defaults to `Fallback.graceful()`. */
  readonly mode?: Fallback.Mode<A> | undefined
  /** The worst service level that the call tolerates: 0 is Full only, 4 is always. Defaults to always. */
  readonly requiredServiceLevel?: ServiceLevel.LevelInput | undefined
  /** For the whole call, in place of the service's `deadline`. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether the work may be done twice. Defaults to true where a `cacheKey` is given. Without it no provider is asked
   * again for what may have been done; `false` keeps it from the next provider too, unless it surely was not done.
   */
  readonly idempotent?: boolean | undefined
  /** The cached answer goes when one of these is invalidated. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Tags that this call, a write, makes invalid, whatever comes of it. */
  readonly invalidates?: ReadonlyArray<string> | undefined
  /** Lets the cached answer be shared between processes; see `ResponseCache.layerShared`. */
  readonly schema?: Schema.Codec<A, unknown> | undefined
  readonly priority?: number | undefined
  readonly correlationId?: string | undefined
  readonly bypassRetry?: boolean | undefined
  readonly bypassCircuitBreaker?: boolean | undefined
  /** Neither reads nor writes the cache. */
  readonly bypassCache?: boolean | undefined
}

/** A provider as a call sees it. */
export interface Member<S> {
  readonly name: string
  readonly service: S
  readonly availability: ((service: S) => Effect.Effect<boolean, unknown>) | undefined
  readonly pipeline: (bypassRetry: boolean, bypassBreaker: boolean) => Pipeline.Pipeline<Refusal>
}

/** An error of a stage. */
export type Refusal = Pipeline.ErrorOf<Required<Omit<Pipeline.Options, "provider">>>

/** What a call may fail with, whatever its mode. */
type Failing =
  | ProviderError
  | Refusal
  | Deadline.DeadlineExceeded
  | Fallback.AllProvidersFailed
  | Fallback.TooFewAnswers
  | ServiceLevel.LevelTooLow

type AnyServed = Served.Served<unknown>
type Asking = Effect.Effect<AnyServed, Failing, unknown>

/** What all calls of a service share. */
export interface Core<S> {
  readonly service: string
  readonly members: ReadonlyArray<Member<S>>
  readonly level: ServiceLevel.Service | undefined
  readonly cache: ResponseCache.ResponseCache | undefined
  readonly sink: Event.Sink
  readonly recorder: (operation: string) => Recorder | undefined
  readonly limit: Fallback.Limit
  readonly fallbackOn: (error: ProviderError) => boolean
  readonly deadlineMillis: number
  readonly fallbackTimeoutMillis: number
  readonly partialResultsThreshold: number
}

/** What is in force now; a call reads it once, when it begins. */
export interface Live<S> {
  readonly core: Core<S>
}

/** Runs one call. */
export const execute = <S>(
  live: Live<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>
): Asking => {
  const { cache, recorder: recorderOf } = live.core
  const recorder = recorderOf(options.operation)
  const plain: Asking = Effect.withFiber((fiber) => {
    const { core } = live
    if (!isTraced(fiber)) return answer(core, options, use, recorder, fiber)
    const own: Asking = Effect.withFiber((fiber) => answer(core, options, use, recorder, fiber))
    return spanned(fiber, `${core.service}.${options.operation}`, attributesOf(core, options), own, answerAttributes)
  })
  const counted = recorder === undefined ? plain : observed(plain, recorder)
  const { invalidates } = options
  return invalidates === undefined || cache === undefined
    ? counted
    : Effect.ensuring(counted, Effect.forEach(invalidates, cache.invalidateTag, { discard: true }))
}

const attributesOf = <S>({ service }: Core<S>, { correlationId, mode, operation }: CallOptions) => ({
  "ft.service": service,
  "ft.operation": operation,
  "ft.mode": (mode ?? plainGraceful)._tag,
  ...(correlationId !== undefined && { "ft.correlation_id": correlationId })
})

/** What was served, and by whom. */
const answerAttributes = (answer: AnyServed) => ({
  "ft.answer": answer._tag,
  "ft.failures": answer.failures.length,
  ...("provider" in answer && { "ft.provider": answer.provider }),
  ...(answer._tag === "Live" && { "ft.attempts": answer.attempts, "ft.degraded": answer.degraded })
})

/** Counts the call. The frame stands before the call is begun, so that every beginning has its end. */
const observed = (self: Asking, recorder: Recorder): Asking =>
  Effect.withFiber((fiber) => {
    let startedAt: number | undefined
    return Effect.onExitPrimitive(
      Effect.suspend(() => {
        startedAt = nowOf(fiber)
        recorder.begin(startedAt)
        return self
      }),
      (exit) => {
        if (startedAt === undefined) return undefined
        const now = nowOf(fiber)
        const outcome = outcomeOf(exit)
        recorder.end(outcome, now - startedAt, now)
        const category = outcome === "failure" || (outcome === "success" && Exit.isFailure(exit))
          ? categoryOf(exit)
          : undefined
        if (category !== undefined) recorder.error(category, now)
        return undefined
      }
    )
  })

/** One call: the order of the stages, written once. */
const answer = <S>(
  core: Core<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>,
  recorder: Recorder | undefined,
  fiber: Fiber.Fiber<unknown, unknown>
): Asking => {
  const { cache, level } = core
  const { cacheKey, requiredServiceLevel, timeout } = options
  const mode = options.mode ?? plainGraceful
  const deadlineMillis = timeout === undefined ? core.deadlineMillis : millisOf("FaultTolerance", "timeout", timeout)

  /** Gives the work until the deadline of the call; what ran out of time is told by the work itself. */
  const inTime = (self: Asking): Asking =>
    Effect.withFiber((fiber) =>
      Effect.provideService(
        self,
        Deadline.current,
        Math.min(nowOf(fiber) + deadlineMillis, fiber.getRef(Deadline.current))
      )
    )

  const lookup = inTime(Effect.withFiber((fiber) => ask(core, options, use, mode, recorder, fiber)))
  const call: ResponseCache.Call<unknown, Failing> | undefined =
    cache === undefined || cacheKey === undefined || options.bypassCache === true ? undefined : {
      key: ResponseCache.keyOf(cacheKey, options),
      tags: options.tags ?? [],
      schema: options.schema,
      lookup,
      late: () => lateOf(mode, core.service, options.operation, deadlineMillis),
      onResult: recorder === undefined ? undefined : (result) => recorder.cache(result, nowOf(fiber))
    }

  /** What is answered when nobody does. */
  const resort = (error: Failing, gated: boolean): Asking => {
    if (mode._tag === "FailFast" && !gated) return Effect.fail(error)
    const failures = failuresOf(core.service, error)
    // Silence is an answer of its own, but a gated call gets the cache in every mode.
    const served = (mode._tag === "Silent" && !gated ? undefined : held(error, failures)) ??
      (mode._tag === "Silent" ? Served.orElse(mode.empty, failures) : declared(mode, error, failures))
    if (served === undefined) return Effect.fail(error)
    const last = failures.at(-1)
    tell(core, options.operation, mode, recorder, fiber, last, served._tag)
    return Effect.succeed(served)
  }
  const held = (error: Failing, failures: ReadonlyArray<Served.Failure>): AnyServed | undefined =>
    call !== undefined && cache?.parts.qualifies(error) === true
      ? cache.parts.lastResort(call, nowOf(fiber), failures)
      : undefined

  if (level !== undefined && requiredServiceLevel !== undefined) {
    const refusal = level.refusal(requiredServiceLevel, nowOf(fiber))
    if (refusal !== undefined) return resort(refusal, true)
  }
  const fresh = call && cache?.parts.fresh(call, fiber)
  if (fresh !== undefined) return Effect.succeed(fresh)
  return Effect.catchCause(
    call === undefined || cache === undefined ? lookup : inTime(cache.parts.ask(call)),
    (cause) => {
      const found = Cause.findError(cause)
      return Result.isFailure(found) ? Effect.failCause(found.failure) : resort(found.success, false)
    }
  )
}

const plainGraceful = Fallback.graceful()

/** What a mode declares for the case that nobody answers. A request that is wrong in itself gets none of it. */
const declared = (
  mode: Exclude<Fallback.Mode, Fallback.Silent<unknown>>,
  error: Failing,
  failures: ReadonlyArray<Served.Failure>
): AnyServed | undefined => {
  if (mode._tag !== "Graceful" || (error instanceof ProviderError && !ResponseCache.qualifies(error))) return undefined
  const salvaged = mode.salvage?.(failures)
  return salvaged !== undefined && Option.isSome(salvaged)
    ? Served.partial(salvaged.value.value, salvaged.value.missing, failures)
    : Option.getOrUndefined(Option.map(mode.orElse, (value) => Served.orElse(value, failures)))
}

/** Asks providers, in the way of the mode. */
const ask = <S>(
  core: Core<S>,
  options: CallOptions,
  use: (provider: S) => Effect.Effect<unknown, unknown, unknown>,
  mode: Fallback.Mode,
  recorder: Recorder | undefined,
  fiber: Fiber.Fiber<unknown, unknown>
): Asking => {
  const { operation } = options
  const { members, service } = core
  const idempotent = options.idempotent ?? options.cacheKey !== undefined
  /** `last` has nobody after it: only there it is worth while to wait as long as a provider asks for. */
  const sourceOf = (member: Member<S>, last: boolean): Fallback.Source<unknown, ProviderError | Refusal, unknown> => {
    const tally: Fallback.Tally = { attempts: 0, hedged: false }
    const protectedCall = (deadline: number | undefined) => {
      const call = Effect.suspend(() =>
        member.pipeline(options.bypassRetry === true, options.bypassCircuitBreaker === true).protect({
          operation,
          idempotent,
          priority: options.priority,
          tenant: options.tenant,
          correlationId: options.correlationId,
          deadline
        })(tallied(use(member.service), tally, recorder))
      )
      return last ? call : Effect.provideService(call, Retry.elsewhere, true)
    }
    return {
      name: member.name,
      tally,
      available: member.availability?.(member.service),
      call: protectedCall(undefined),
      callWithin: protectedCall
    }
  }
  switch (mode._tag) {
    case "FailFast": {
      const { call, name, tally } = sourceOf(members[0]!, true)
      return Effect.withFiber((fiber) =>
        Effect.map(
          Deadline.until(fiber.getRef(Deadline.current))(call),
          (value) => Served.live(value, name, tally)
        )
      )
    }
    case "Partial":
      return Effect.map(
        Fallback.gather(members.map((member) => sourceOf(member, true)), {
          ...mode.options,
          threshold: mode.options.threshold ?? core.partialResultsThreshold,
          service,
          operation
        }),
        ({ answered, failures, missing }) => {
          const value = mode.combine(answered)
          return missing.length > 0
            ? Served.partial(value, missing, failures)
            : Served.live(value, answered.map(({ source }) => source).join("+"))
        }
      )
    case "Graceful":
    case "Silent":
    case "Cached":
      return Fallback.inOrder(members.map((member, index) => sourceOf(member, index === members.length - 1)), {
        service,
        operation,
        fallbackTimeout: core.fallbackTimeoutMillis === Infinity ? undefined : core.fallbackTimeoutMillis,
        limit: core.limit,
        fallbackOn: options.idempotent === false
          ? (error) => core.fallbackOn(error) && surelyNotDone(error)
          : core.fallbackOn,
        onNext: (failure, next) => tell(core, operation, mode, recorder, fiber, failure, next)
      })
  }
}

/** Whether work that failed so was refused before it was begun. */
const surelyNotDone = (error: ProviderError): boolean => mayRetry(error, false) || refusedBefore.has(error.reason._tag)

const refusedBefore: ReadonlySet<ReasonTag> = new Set([
  "AuthenticationError",
  "AuthorizationError",
  "ConfigurationError"
])

/**
 * Counts the attempts at one provider. One that is not one more than the retries began beside another; where one is more,
 * those before it were struck by chaos before they came here.
 */
const tallied = (
  self: Effect.Effect<unknown, unknown, unknown>,
  tally: Fallback.Tally,
  recorder: Recorder | undefined
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const before = tally.attempts
    const number = fiber.getRef(Retry.attempt)
    tally.attempts = Math.max(before + 1, number)
    if (before >= number) {
      tally.hedged = true
      recorder?.hedge(nowOf(fiber))
    }
    for (let retry = Math.max(1, before); retry < number; retry++) recorder?.retry(nowOf(fiber))
    return self
  })

const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

// -- telling ---------------------------------------------------------------------------------------------------------

/** How metrics call the modes. */
const modes = {
  Graceful: "graceful",
  Silent: "silent",
  Cached: "cached",
  Partial: "partial",
  FailFast: "fail_fast"
} as const satisfies { readonly [M in Fallback.Mode["_tag"]]: string }

const tell = <S>(
  { service, sink }: Core<S>,
  operation: string,
  mode: Fallback.Mode,
  recorder: Recorder | undefined,
  fiber: Fiber.Fiber<unknown, unknown>,
  failure: Served.Failure | undefined,
  to: string
): void => {
  const at = nowOf(fiber)
  const from = failure?.provider ?? service
  note(fiber, "fallback", { "ft.from": from, "ft.to": to, "error.type": categoryType(failure?.category ?? "") })
  recorder?.fallback(from, to, modes[mode._tag], at)
  sink?.(Event.FellBack.make({ at, service, operation, from, to, category: failure?.category ?? "" }))
}

/** What a caller is told who joined another's call and ran out of time before it. */
const lateOf = (mode: Fallback.Mode, service: string, operation: string, millis: number): Failing => {
  const error = new Deadline.DeadlineExceeded({ after: Duration.millis(millis) })
  const failures = [Served.failure(service, error)]
  switch (mode._tag) {
    case "FailFast":
      return error
    case "Partial":
      return new Fallback.TooFewAnswers({ service, operation, answered: [], required: 1, failures })
    case "Graceful":
    case "Silent":
    case "Cached":
      return Fallback.allFailed(service, operation, failures)
  }
}

const failuresOf = (service: string, error: Failing): ReadonlyArray<Served.Failure> =>
  "failures" in error
    ? error.failures
    : [Served.failure(error instanceof ProviderError ? error.provider : service, error)]

const outcomeOf = (exit: Exit.Exit<AnyServed, Failing>): CallOutcome => {
  if (exit._tag === "Success") return "success"
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return Exit.hasInterrupts(exit) ? "cancelled" : "failure"
  // The caller's own fault was answered as it should be: it burns nobody's error budget.
  if (error.value instanceof ProviderError && error.value.verdicts.breaker === "Success") return "success"
  return failuresOf("", error.value).every(({ category }) => Served.refusals.has(category)) ? "refused" : "failure"
}

/** The category of the last provider that failed. */
const categoryOf = (exit: Exit.Exit<AnyServed, Failing>): ReasonTag | undefined => {
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return "UnknownError"
  const last = failuresOf("", error.value).findLast(({ error }) => error instanceof ProviderError)?.error
  return last instanceof ProviderError ? last.reason._tag : undefined
}
