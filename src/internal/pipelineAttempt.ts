/**
 * One attempt at one provider: in which order the stages are asked, and the one settlement that gives everything back.
 *
 * All stages are plain cores (`admit`, `settle`), so that an attempt is one admission, one settlement and one pair of
 * clock reads, however many stages there are. Composed of one operator per policy it costs 1.4 to 2.4 times as much.
 */
import { Cause, Clock, type Context, Duration, Effect, Exit, type Tracer } from "effect"
import type * as Bulkhead from "../Bulkhead.ts"
import * as Correlation from "../Correlation.ts"
import * as Deadline from "../Deadline.ts"
import * as Hedge from "../Hedge.ts"
import { isProviderError, mayRetry, ProviderError, TimeoutError } from "../ProviderError.ts"
import type * as RateLimit from "../RateLimit.ts"
import { type CircuitCore, REFUSED } from "./circuitCore.ts"
import { liveClock, roughMillis } from "./liveClock.ts"
import {
  type AnyEffect,
  type AnyExit,
  type AnyFiber,
  type Call,
  spanAttributes,
  type Stages,
  type Work
} from "./pipelineStages.ts"
import { attempt as attemptNumber } from "./retryRun.ts"
import { stackless } from "./stackless.ts"
import { begin, categoryType, errorType, finish, isTraced, note } from "./tracing.ts"

type Failed = Exit.Failure<never, unknown>

/** How an admission went. Whoever waits is asked everything again afterwards. */
type Answer = "Admitted" | "Refused" | "AwaitLimit" | "AwaitPermit"

/** The longest that a `Retry-After` holds the provider back; whoever wants more says so again. */
const maxHoldMillis = 3_600_000

/** A time that nobody wants to know, since a look at the clock costs 45 ns. No clock says so: a test's begins at 0. */
export const noTime = -1

export const interrupted: AnyExit = Exit.interrupt()
/** What all runs of one `protect` share. */
export interface Plan {
  readonly stages: Stages
  readonly call: Call
  readonly work: Work
  /** One attempt, whose failure is only told; otherwise the first, which sees to the further ones. */
  readonly single: boolean
  /** Whether the time matters even where the circuit is closed. */
  readonly clocked: boolean
  /** Deals with a failure by further attempts, where there may be any. `startedAt` may be `noTime`. */
  readonly recover:
    | ((plan: Plan, startedAt: number, cause: Cause.Cause<unknown>) => AnyEffect)
    | undefined
  circuit: CircuitCore | undefined
  /** The context of the last run, and what was found in it: most runs have the same, and a look-up costs 20 ns. */
  context: Context.Context<never> | undefined
  clock: Clock.Clock
  inherited: number
  /** An attempt that has ended well, to be used again. */
  spare: Attempt | undefined
}

/** Lets interruptions in again: what a region that nothing interrupts gives for the time of waiting and working. */
export type Restore = (effect: AnyEffect) => AnyEffect

/** How far an attempt has come. */
type Phase = "Asking" | "Admitted" | "Started" | "Settled"

/** What the two kinds of attempts have in common: asking the stages, and the settlement. */
export abstract class Attempt implements Bulkhead.Lease, RateLimit.Lease {
  /** Whether it has the bulkhead's permit. */
  held = false
  /** Whether it has taken from the rate limit. */
  taken = false
  /** When it was admitted, or `noTime`. */
  protected at = noTime
  protected token: number = REFUSED
  protected phase: Phase = "Asking"
  protected failure: Failed | undefined = undefined
  /** Where somebody takes the spans, from the start of the work to its settlement. */
  protected span: Tracer.Span | undefined = undefined
  protected readonly plan: Plan
  protected fiber: AnyFiber
  protected clock: Clock.Clock
  protected circuit: CircuitCore | undefined
  protected deadlineAt: number

  constructor(plan: Plan, fiber: AnyFiber) {
    const { call, single, stages } = plan
    this.plan = plan
    this.fiber = fiber
    this.clock = look(plan, fiber).clock
    this.circuit = circuitOf(plan)
    this.deadlineAt = call.deadlineMillis === Infinity
      ? Infinity
      // An attempt after the first finds the call's deadline in its context.
      : single
      ? fiber.getRef(Deadline.current)
      : deadlineOf(call, fiber, this.now())
    if (!single) stages.retry?.budget?.deposit()
  }

  /**
   * Makes a new attempt of one that has ended well and that nobody knows of any more: 100 to 200 ns less than another
   * object with all that belongs to it. It has no deadline.
   */
  renew(fiber: AnyFiber): void {
    const { plan } = this
    this.fiber = fiber
    this.clock = look(plan, fiber).clock
    this.circuit = circuitOf(plan)
    this.taken = false
    this.at = noTime
    this.phase = "Asking"
    if (!plan.single) plan.stages.retry?.budget?.deposit()
  }

  /** Starts the admitted work, in its frame. */
  protected abstract go(restore: Restore): AnyEffect

  protected now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /**
   * The order of the stages inside retry and hedge, written once: deadline, breaker peek, rate limit, bulkhead, predictor,
   * breaker admit. The attempt timeout, chaos and the call follow in `launch`.
   *
   * The breaker is asked twice. First it is only looked at, so that an open circuit burns no token of the limit. The
   * admission that counts comes last, so that no probe waits in a queue and who waited through a trip is refused. The
   * predictor has a say only while the circuit is closed: what probes are for is not its business.
   */
  ask(): Answer {
    const { call, clocked, stages: { bulkhead, predictor, rateLimit } } = this.plan
    const { circuit } = this
    const now = clocked || (circuit !== undefined && circuit.era < 0) ? this.now() : noTime
    if (now >= this.deadlineAt) return this.refuse(fail(this.exceeded()), now)
    if (circuit !== undefined && circuit.peek(now) > 0) return this.refuse(circuit.refused(now), now)
    if (rateLimit !== undefined && !this.taken) {
      this.taken = rateLimit.core.tryTake(call.cost, now)
      if (!this.taken) return "AwaitLimit"
    }
    if (bulkhead !== undefined && !this.held) {
      this.held = bulkhead.core.tryAcquire()
      if (!this.held) return "AwaitPermit"
    }
    if (predictor !== undefined && (circuit === undefined || circuit.era >= 0) && !predictor.stage.admits(now)) {
      return this.refuse(fail(predictor.stage.refused(now)), now)
    }
    if (circuit !== undefined) {
      this.token = circuit.admit(now)
      if (this.token === REFUSED) return this.refuse(circuit.refused(now), now)
    }
    this.at = now
    this.phase = "Admitted"
    return "Admitted"
  }

  /**
   * Asks the stages and goes on as they answer.
   *
   * To be called where nothing interrupts: what is taken here is given back by the frame of the work, and between the
   * two an interruption would lose it.
   */
  proceed(restore: Restore): AnyEffect {
    const { call, stages } = this.plan
    switch (this.ask()) {
      case "Admitted":
        return this.go(restore)
      case "Refused":
        return restore(this.rescue())
      case "AwaitLimit":
        return this.queue(restore, stages.rateLimit!.wait(this, { cost: call.cost }))
      case "AwaitPermit":
        return this.queue(restore, stages.bulkhead!.wait(this, call.queue))
    }
  }

  /** The work in the frame that gives back what is held and deals with a failure. */
  protected framed(restore: Restore, work: AnyEffect): AnyEffect {
    return Effect.matchCauseEffect(restore(work), {
      onSuccess: (value) => {
        const exit = Exit.succeed(value)
        this.leave(exit)
        return exit
      },
      onFailure: (cause) => this.failed(restore, cause)
    })
  }

  private failed(restore: Restore, cause: Cause.Cause<unknown>): AnyEffect {
    const exit = Exit.failCause(cause)
    this.leave(exit)
    return this.failure === undefined ? exit : restore(this.rescue())
  }

  /** What a failure comes to: another attempt, or the failure. */
  rescue(): AnyEffect {
    const { plan } = this
    const failure = this.failure!
    return plan.recover === undefined ? failure : until(this.deadlineAt, plan.recover(plan, this.at, failure.cause))
  }

  /** Waits for its turn, or until the circuit opens, and asks everything again. */
  private queue(restore: Restore, wait: Effect.Effect<void, unknown>): AnyEffect {
    const { circuit } = this
    const bounded = until(this.deadlineAt, wait)
    return Effect.matchCauseEffect(
      restore(circuit === undefined ? bounded : Effect.raceFirst(bounded, this.trip(circuit))),
      {
        onFailure: (cause) => {
          const refusal = cause.reasons.find(Cause.isFailReason)
          if (refusal !== undefined) this.refuse(fail(refusal.error), this.now())
          return this.failed(restore, cause)
        },
        onSuccess: () => this.proceed(restore)
      }
    )
  }

  private trip(circuit: CircuitCore): Effect.Effect<void> {
    const { waiting } = this.plan.stages
    return Effect.callback((resume) => {
      const wake = (): void => resume(Effect.void)
      const all = waiting.get(circuit) ?? new Set()
      waiting.set(circuit, all.add(wake))
      return Effect.sync(() => {
        all.delete(wake)
        if (all.size === 0) waiting.delete(circuit)
      })
    })
  }

  protected started(): void {
    this.phase = "Started"
    this.plan.call.shared.recorder?.begin(this.at)
    if (isTraced(this.fiber)) this.beginSpan()
  }

  private beginSpan(): void {
    const { circuit, fiber, plan: { call } } = this
    if (circuit !== undefined && is(circuit, "HalfOpen")) this.note("breaker.half_open")
    this.span = begin(fiber, `${call.provider}.${call.operation} attempt`, "client", {
      ...spanAttributes(call),
      "ft.attempt": fiber.getRef(attemptNumber),
      "ft.hedge": fiber.getRef(Hedge.index) > 0
    })
  }

  private finishSpan(span: Tracer.Span, exit: AnyExit): void {
    finish(span, this.fiber, exit)
    this.span = undefined
  }

  /** Notes what became of the circuit, on the span of the whole call. */
  private note(name: string, type?: string): void {
    note(this.fiber, name, {
      "ft.circuit": this.plan.call.circuit,
      ...(type !== undefined && { "error.type": type })
    })
  }

  protected leave(exit: AnyExit): void {
    if (this.phase !== "Settled") this.settle(exit)
    this.giveBack()
  }

  protected giveBack(): void {
    if (this.held) {
      this.held = false
      this.plan.stages.bulkhead!.core.release()
    }
  }

  /** The call did not take place: it does not count for the limit. */
  protected untake(): void {
    if (!this.taken) return
    this.taken = false
    this.plan.stages.rateLimit!.core.limiter.untake(this.plan.call.cost)
  }

  // -- what the outcome means ----------------------------------------------------------------------------------------

  /** What is settled most often, a success that nobody measures, needs no true look at the clock: 50 ns less. */
  protected settle(exit: AnyExit): void {
    const { circuit, plan } = this
    if (exit._tag === "Failure" || plan.clocked || this.span !== undefined || this.clock !== liveClock) {
      this.judge(exit, this.now())
    } else if (circuit === undefined) {
      this.phase = "Settled"
    } else if (circuit.era === this.token) {
      this.phase = "Settled"
      circuit.succeeded(roughMillis())
    } else {
      this.judge(exit, this.now())
    }
  }

  /** The one settlement. */
  protected judge(exit: AnyExit, now: number): void {
    const { phase } = this
    this.phase = "Settled"
    if (phase === "Asking" || phase === "Admitted") {
      // No call was made.
      this.untake()
      if (phase === "Admitted") this.circuit?.release(this.token, now)
      return
    }
    if (exit._tag === "Success") return this.succeeded(now)
    const { reasons } = exit.cause
    if (reasons.some(Cause.isInterruptReason)) return this.dropped(now)
    const failure = reasons.find(Cause.isFailReason)
    if (failure === undefined) return this.died(now)
    const { error } = failure
    if (isProviderError(error)) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- seen above not to have succeeded
      this.failure = exit as Failed
      this.providerFailed(error, now)
    } else {
      this.foreignFailed(error, now)
    }
  }

  private foreignFailed(failure: unknown, now: number): void {
    const { call, stages } = this.plan
    let error: ProviderError
    // `try`, because the classifier may be the user's own: thrown on, it would leave the caller without an answer.
    try {
      error = stages.toError(failure, { ...call, correlationId: this.correlationId, now })
    } catch (defect) {
      this.failure = die(defect)
      return this.died(now)
    }
    this.providerFailed(error, now)
  }

  private latency(now: number): number {
    return this.at === noTime ? 0 : now - this.at
  }

  /** How many attempts of the call were before this one. */
  private get earlier(): number {
    return this.plan.single ? this.fiber.getRef(attemptNumber) - 1 : 0
  }

  protected get correlationId(): string | undefined {
    return this.plan.call.correlationId ?? this.fiber.getRef(Correlation.current)
  }

  private succeeded(now: number): void {
    const { call: { shared }, stages } = this.plan
    const latency = this.latency(now)
    if (this.span === undefined) this.circuit?.settle(this.token, "Success", latency, now)
    else this.succeededTraced(this.span, latency, now)
    stages.rateLimit?.core.limiter.feedback?.(false, now)
    if (!stages.timed) return
    stages.bulkhead?.learn?.(latency, now)
    stages.predictor?.stage.settle(false, latency, now)
    stages.timeout?.quantile?.record(latency, now)
    shared.latencies?.record(latency, now)
    shared.recorder?.end("success", latency, now, this.earlier)
  }

  private succeededTraced(span: Tracer.Span, latency: number, now: number): void {
    const { circuit } = this
    if (circuit !== undefined) {
      const wasHalfOpen = is(circuit, "HalfOpen")
      circuit.settle(this.token, "Success", latency, now)
      if (wasHalfOpen && is(circuit, "Closed")) this.note("breaker.closed")
    }
    this.finishSpan(span, Exit.void)
  }

  protected providerFailed(error: ProviderError, now: number): void {
    const { circuit } = this
    const { call: { idempotent, shared: { recorder } }, stages: { bulkhead, predictor, rateLimit, retry } } = this.plan
    const { breaker, openForMillis } = error.verdicts
    const latency = this.latency(now)
    const hold = error.reason._tag === "RateLimitError" && error.retryAfter !== undefined
      ? now + Math.min(maxHoldMillis, Duration.toMillis(error.retryAfter))
      : 0
    this.failure ??= fail(error)
    bulkhead?.learn?.(latency, now, { error })
    rateLimit?.core.holdUntil(hold, now)
    if (error.reason._tag === "RateLimitError") rateLimit?.core.limiter.feedback?.(true, now)
    if (breaker !== "Ignored") predictor?.stage.settle(breaker === "Failure", latency, now)
    if (circuit !== undefined) {
      const wasOpen = is(circuit, "Open")
      circuit.settle(this.token, breaker, latency, now, openForMillis)
      // Where there is no limit to hold, the circuit refuses until then.
      if (rateLimit === undefined && hold > 0) circuit.holdUntil(hold, now)
      if (!wasOpen && is(circuit, "Open")) {
        recorder?.breakerTrip(now)
        this.note("breaker.opened", categoryType(error.category))
      }
      this.refuseWaiting(circuit, now)
    }
    recorder?.error(error.reason._tag, now)
    recorder?.end("failure", latency, now, this.earlier, retry !== undefined && mayRetry(error, idempotent))
    if (this.span !== undefined) this.finishSpan(this.span, Exit.fail(error))
  }

  /** No answer came, but there is nothing to classify. */
  private died(now: number): void {
    const latency = this.latency(now)
    this.plan.stages.bulkhead?.learn?.(latency, now)
    this.circuit?.settle(this.token, "Failure", latency, now)
    this.plan.call.shared.recorder?.end("failure", latency, now, this.earlier)
    if (this.span !== undefined) this.finishSpan(this.span, Exit.die("defect"))
  }

  protected dropped(now: number): void {
    this.circuit?.release(this.token, now)
    this.plan.call.shared.recorder?.end("cancelled", this.latency(now), now)
    if (this.span !== undefined) this.finishSpan(this.span, interrupted)
  }

  private refuse(failure: Exit.Exit<never, unknown>, now: number): "Refused" {
    const { recorder } = this.plan.call.shared
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an exit that cannot succeed
    this.failure = failure as Failed
    this.judge(failure, now)
    this.giveBack()
    recorder?.begin(now)
    recorder?.end("refused", 0, now)
    if (isTraced(this.fiber)) this.noteRefusal(this.failure)
    return "Refused"
  }

  private noteRefusal({ cause }: Failed): void {
    const type = errorType(cause)
    this.note(type === "CircuitOpen" ? "breaker.refused" : "refused", type)
  }

  /** Whoever waits behind a circuit that refuses now is woken, and refused when it asks again. */
  private refuseWaiting(circuit: CircuitCore, now: number): void {
    const all = this.plan.stages.waiting.get(circuit)
    if (all === undefined || circuit.peek(now) === 0) return
    // By the scheduler: inline, their fibers would run in the middle of this settlement.
    for (const wake of all) this.fiber.currentDispatcher.scheduleTask(wake, 0)
  }

  protected timedOut(millis: number): ProviderError {
    const { correlationId, plan: { call: { operation, provider } } } = this
    return stackless(() =>
      new ProviderError({
        provider,
        operation,
        reason: new TimeoutError({
          message: `no answer within ${Math.round(millis)} ms`,
          rule: "attempt-timeout",
          delivered: "unknown"
        }),
        ...(correlationId !== undefined && { correlationId })
      })
    )
  }

  protected exceeded(): Deadline.DeadlineExceeded {
    const { deadlineMillis } = this.plan.call
    return stackless(() => new Deadline.DeadlineExceeded({ after: Duration.millis(deadlineMillis) }))
  }
}

/** Whoever has no deadline of its own leaves the caller's to whoever set it. */
export const deadlineOf = (call: Call, fiber: AnyFiber, now: number): number =>
  call.deadlineMillis === Infinity ? Infinity : Math.min(now + call.deadlineMillis, fiber.getRef(Deadline.current))

export const until = (deadlineAt: number, effect: AnyEffect): AnyEffect =>
  deadlineAt === Infinity ? effect : Effect.provideService(effect, Deadline.current, deadlineAt)

/** What a fiber's context says, a test clock included. Contexts never change, so the same one says the same. */
export const look = (plan: Plan, fiber: AnyFiber): Plan => {
  if (plan.context !== fiber.context) {
    plan.context = fiber.context
    plan.clock = fiber.getRef(Clock.Clock)
    plan.inherited = fiber.getRef(Deadline.current)
  }
  return plan
}

/** A circuit that was forgotten never has an era again, so that the look-up finds its successor. */
const circuitOf = (plan: Plan): CircuitCore | undefined =>
  plan.circuit !== undefined && plan.circuit.era >= 0
    ? plan.circuit
    : plan.circuit = plan.stages.breaker?.core(plan.call.circuit)

const is = (circuit: CircuitCore, state: CircuitCore["current"]["_tag"]): boolean => circuit.current._tag === state

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Exit.fail` makes failures
export const fail = (error: unknown): Failed => Exit.fail(error) as Failed

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Exit.die` makes failures
const die = (defect: unknown): Failed => Exit.die(defect) as Failed
