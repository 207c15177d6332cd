/** One call to one provider: the attempt that sees to its retries, or with hedging the same in frames around it. */
import { type Cause, Clock, Effect, Exit } from "effect"
import type * as Hedge from "../Hedge.ts"
import type { Recorder } from "../Telemetry.ts"
import { runningFiber } from "./deadlineRun.ts"
import { liveClock } from "./liveClock.ts"
import { beginApart } from "./pipelineApart.ts"
import { deadlineOf, noTime, type Plan, until } from "./pipelineAttempt.ts"
import { inPlace } from "./pipelineInPlace.ts"
import { type AnyEffect, type AnyFiber, type Call, spanAttributes, type Stages, type Work } from "./pipelineStages.ts"
import { RetryRun } from "./retryRun.ts"
import { isTraced, spanned } from "./tracing.ts"

/** The call through all stages: an attempt that sees to its retries, or with hedging the same in frames around it. */
export const protect = (stages: Stages, call: Call, work: Work): AnyEffect =>
  stages.hedge === undefined ? attempt(stages, call, work, false) : hedged(stages, stages.hedge, call, work)

const attempt = (stages: Stages, call: Call, work: Work, single: boolean): AnyEffect => {
  const plan: Plan = {
    stages,
    call,
    work,
    single,
    clocked: stages.timed || stages.rateLimit !== undefined || call.deadlineMillis < Infinity,
    recover: single ? undefined : stages.retry !== undefined ? further : call.shared.recorder && gaveUp,
    circuit: undefined,
    context: undefined,
    clock: liveClock,
    inherited: Infinity,
    spare: undefined
  }
  // A timeout may leave the work behind: a promise, or an effect in a fiber of its own.
  return work._tag === "Promise" || stages.timeout !== undefined || call.deadlineMillis < Infinity
    ? Effect.callback((resume) => {
      const fiber = runningFiber()
      if (single || !isTraced(fiber)) return beginApart(plan, fiber, resume)
      return resume(traced(fiber, call, Effect.callback((resume) => beginApart(plan, runningFiber(), resume))))
    })
    : Effect.uninterruptibleMask((restore) => {
      const fiber = runningFiber()
      if (single || !isTraced(fiber)) return inPlace(plan, fiber, restore)
      return restore(
        traced(fiber, call, Effect.uninterruptibleMask((restore) => inPlace(plan, runningFiber(), restore)))
      )
    })
}

/** The attempts after the one whose failure this is. */
const further = ({ call, stages, work }: Plan, startedAt: number, cause: Cause.Cause<unknown>): AnyEffect =>
  again(stages, call, startedAt, cause, attempt(stages, call, work, true))

/** There are none: that one was all. */
const gaveUp = ({ call }: Plan, _startedAt: number, cause: Cause.Cause<unknown>): AnyEffect => {
  call.shared.recorder?.gaveUp(false)
  return Effect.failCause(cause)
}

/** The whole call in a span. The attempts have their own below it; what circuits, retries and hedges do is told in it. */
const traced = (fiber: AnyFiber, call: Call, self: AnyEffect): AnyEffect =>
  spanned(fiber, `${call.provider}.${call.operation}`, spanAttributes(call), self)

const hedged = (stages: Stages, hedge: Hedge.Service, call: Call, work: Work): AnyEffect => {
  const { recorder } = call.shared
  const one = attempt(stages, call, work, true)
  const another = recorder === undefined ? one : telling(recorder.hedge, one)
  const unit = hedge.execute(call)((index) => index === 0 ? one : another)
  const whole: AnyEffect = Effect.withFiber((fiber) => {
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    stages.retry?.budget?.deposit()
    const retried = stages.retry === undefined
      ? givingUp(recorder, unit, () => false)
      : Effect.catchCause(unit, (cause) => again(stages, call, now, cause, unit))
    return until(deadlineOf(call, fiber, now), retried)
  })
  return Effect.withFiber((fiber) => isTraced(fiber) ? traced(fiber, call, whole) : whole)
}

/** The attempts after the first. `startedAt` may be `noTime`. */
const again = (
  stages: Stages,
  call: Call,
  startedAt: number,
  cause: Cause.Cause<unknown>,
  unit: AnyEffect
): AnyEffect => {
  const { latencies, recorder } = call.shared
  const expected = latencies?.quantile(0.5, 1, startedAt) ?? stages.attemptMillis
  const run = new RetryRun(stages.retry!, call, startedAt === noTime ? undefined : startedAt, expected)
  if (recorder === undefined) return run.recover(cause, unit)
  let retried = false
  const retry = (now: number): void => {
    retried = true
    recorder.retry(now)
  }
  return givingUp(recorder, run.recover(cause, telling(retry, unit)), () => retried)
}

/** Tells when the call fails for good. */
const givingUp = (recorder: Recorder | undefined, call: AnyEffect, retried: () => boolean): AnyEffect =>
  recorder === undefined ? call : Effect.onExitPrimitive(call, (exit) => {
    if (exit._tag === "Failure" && !Exit.hasInterrupts(exit)) recorder.gaveUp(retried())
    return undefined
  })

const telling = (tell: (now: number) => void, effect: AnyEffect): AnyEffect =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    tell(now)
    return effect
  })
