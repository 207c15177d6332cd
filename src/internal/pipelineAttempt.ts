/**
 * One attempt at one provider: in which order the stages are asked, how the work is started, and the one settlement that
 * gives everything back.
 *
 * All stages are plain cores (`admit`, `settle`), so that an attempt is one admission, one settlement and one pair of
 * clock reads, however many stages there are. Composed of one operator per policy it costs 1.4 to 2.4 times as much.
 */
import { Cause, Clock, Context, Duration, Effect, Effectable, Exit, Fiber, Tracer } from "effect"
import type * as Bulkhead from "../Bulkhead.ts"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import type { FailureContext } from "../Classifier.ts"
import * as Correlation from "../Correlation.ts"
import * as Deadline from "../Deadline.ts"
import * as Hedge from "../Hedge.ts"
import { ProviderError, TimeoutError } from "../ProviderError.ts"
import type * as RateLimit from "../RateLimit.ts"
import type { Recorder } from "../Telemetry.ts"
import { attemptMillis } from "../Timeout.ts"
import { type CircuitCore, REFUSED } from "./circuitCore.ts"
import { runningFiber } from "./deadlineRun.ts"
import { arm, disarm, type Timer } from "./deadlineTimer.ts"
import type { LatencyWindow } from "./latencyHistogram.ts"
import { liveClock, roughMillis } from "./liveClock.ts"
import type { AttemptTimers, Timed } from "./pipelineTimers.ts"
import type { QuantileLimit } from "./quantileLimit.ts"
import { attempt as attemptNumber, type RetryCall, type RetryCore, RetryRun } from "./retryRun.ts"
import { stackless } from "./stackless.ts"
import { begin, categoryType, errorType, finish, isTraced, note, spanned } from "./tracing.ts"

/** The stages of one provider, outer to inner. One that is not configured is `undefined`, and nothing is asked of it. */
export interface Stages {
  readonly provider: string
  readonly retry: RetryCore | undefined
  readonly hedge: Hedge.Service | undefined
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
type AnyEffect = Effect.Effect<any, any>
type AnyExit = Exit.Exit<unknown, unknown>
type AnyFiber = Fiber.Fiber<unknown, unknown>
type Resume = (effect: AnyEffect) => void
type Failed = Exit.Failure<never, unknown>

/** How an admission went. Whoever waits is asked everything again afterwards. */
type Answer = "Admitted" | "Refused" | "AwaitLimit" | "AwaitPermit"

/** The longest that a `Retry-After` holds the provider back; whoever wants more says so again. */
const maxHoldMillis = 3_600_000

const interrupted: AnyExit = Exit.interrupt()

/** What all runs of one `protect` share. */
interface Plan {
  readonly stages: Stages
  readonly call: Call
  readonly work: Work
  /** One attempt, whose failure is only told; otherwise the first, which sees to the further ones. */
  readonly single: boolean
  /** Whether the time matters even where the circuit is closed. */
  readonly clocked: boolean
  circuit: CircuitCore | undefined
  /** The context of the last run, and what was found in it: most runs have the same, and a look-up costs 20 ns. */
  context: Context.Context<never> | undefined
  clock: Clock.Clock
  inherited: number
  /** An attempt that has ended well, to be used again. */
  spareInPlace: InPlace | undefined
  spareApart: Apart | undefined
}

/** The call through all stages: an attempt that sees to its retries, or with hedging the same in frames around it. */
export const protect = (stages: Stages, call: Call, work: Work): AnyEffect =>
  stages.hedge === undefined ? attempt(stages, call, work, false) : hedged(stages, stages.hedge, call, work)

const attempt = (stages: Stages, call: Call, work: Work, single: boolean): AnyEffect => {
  // A timeout may leave the work behind: a promise, or an effect in a fiber of its own.
  const apart = work._tag === "Promise" || stages.timeout !== undefined || call.deadlineMillis < Infinity
  const clocked = stages.timed || stages.rateLimit !== undefined || call.deadlineMillis < Infinity
  const plan: Plan = {
    stages,
    call,
    work,
    single,
    clocked,
    circuit: undefined,
    context: undefined,
    clock: liveClock,
    inherited: Infinity,
    spareInPlace: undefined,
    spareApart: undefined
  }
  return apart
    ? Effect.callback((resume) => {
      const fiber = runningFiber()
      if (!single && isTraced(fiber)) return resume(traced(fiber, call, newApart(plan)))
      const spare = plan.spareApart
      if (spare === undefined) return new Apart(plan, fiber).begin(resume)
      plan.spareApart = undefined
      spare.renew(fiber)
      return spare.begin(resume)
    })
    : Effect.withFiber((fiber) => {
      if (!single && isTraced(fiber)) {
        return traced(fiber, call, Effect.withFiber((fiber) => new InPlace(plan, fiber).frames))
      }
      const spare = plan.spareInPlace
      if (spare === undefined) return new InPlace(plan, fiber).frames
      plan.spareInPlace = undefined
      spare.renew(fiber)
      return spare.frames
    })
}

const newApart = (plan: Plan): AnyEffect => Effect.callback((resume) => new Apart(plan, runningFiber()).begin(resume))

/** The whole call in a span. The attempts have their own below it; what circuits, retries and hedges do is told in it. */
const traced = (fiber: AnyFiber, call: Call, self: AnyEffect): AnyEffect =>
  spanned(fiber, `${call.provider}.${call.operation}`, attributesOf(call), self)

const attributesOf = ({ circuit, correlationId, operation, provider }: Call) => ({
  "ft.provider": provider,
  "ft.operation": operation,
  "ft.circuit": circuit,
  ...(correlationId !== undefined && { "ft.correlation_id": correlationId })
})

const hedged = (stages: Stages, hedge: Hedge.Service, call: Call, work: Work): AnyEffect => {
  const { recorder } = call.shared
  const one = attempt(stages, call, work, true)
  const another = recorder === undefined ? one : telling(recorder.hedge, one)
  const unit = hedge.execute(call)((index) => index === 0 ? one : another)
  const whole: AnyEffect = Effect.withFiber((fiber) => {
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    stages.retry?.budget?.deposit()
    const retried = stages.retry === undefined
      ? unit
      : Effect.catchCause(unit, (cause) => again(stages, call, now, cause, unit))
    return until(deadlineOf(call, fiber, now), retried)
  })
  return Effect.withFiber((fiber) => isTraced(fiber) ? traced(fiber, call, whole) : whole)
}

/** Whoever has no deadline of its own leaves the caller's to whoever set it. */
const deadlineOf = (call: Call, fiber: AnyFiber, now: number): number =>
  call.deadlineMillis === Infinity ? Infinity : Math.min(now + call.deadlineMillis, fiber.getRef(Deadline.current))

const until = (deadlineAt: number, effect: AnyEffect): AnyEffect =>
  deadlineAt === Infinity ? effect : Effect.provideService(effect, Deadline.current, deadlineAt)

/** The attempts after the first. `startedAt` is 0 where nobody wants to know. */
const again = (
  stages: Stages,
  call: Call,
  startedAt: number,
  cause: Cause.Cause<unknown>,
  unit: AnyEffect
): AnyEffect => {
  const { latencies, recorder } = call.shared
  const expected = latencies?.quantile(0.5, 1, startedAt) ?? stages.attemptMillis
  const run = new RetryRun(stages.retry!, call, startedAt === 0 ? undefined : startedAt, expected)
  return run.recover(cause, recorder === undefined ? unit : telling(recorder.retry, unit))
}

const telling = (tell: (now: number) => void, effect: AnyEffect): AnyEffect =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    tell(now)
    return effect
  })

/** How far an attempt has come. */
type Phase = "Asking" | "Admitted" | "Started" | "Settled"

/** What the two kinds of attempts have in common: asking the stages, and the settlement. */
abstract class Attempt extends Effectable.Class<unknown, unknown> implements Bulkhead.Lease, RateLimit.Lease {
  /** Whether it has the bulkhead's permit. */
  held = false
  /** Whether it has taken from the rate limit. */
  taken = false
  /** When it was admitted; 0 where nobody wants to know, since a look at the clock costs 45 ns. */
  protected at = 0
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
    super()
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
    this.at = 0
    this.phase = "Asking"
    if (!plan.single) plan.stages.retry?.budget?.deposit()
  }

  /** Starts the admitted work. */
  protected abstract go(): AnyEffect

  protected now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /**
   * The order of the stages inside retry and hedge, written once: deadline, breaker peek, rate limit, bulkhead, breaker
   * admit. The attempt timeout, chaos and the call follow in `launch`.
   *
   * The breaker is asked twice. First it is only looked at, so that an open circuit burns no token of the limit. The
   * admission that counts comes last, so that no probe waits in a queue and who waited through a trip is refused.
   */
  ask(): Answer {
    const { call, clocked, stages: { bulkhead, rateLimit } } = this.plan
    const { circuit } = this
    const now = clocked || (circuit !== undefined && circuit.era < 0) ? this.now() : 0
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
    if (circuit !== undefined) {
      this.token = circuit.admit(now)
      if (this.token === REFUSED) return this.refuse(circuit.refused(now), now)
    }
    this.at = now
    this.phase = "Admitted"
    return "Admitted"
  }

  proceed(answer: Answer): AnyEffect {
    const { call, stages } = this.plan
    switch (answer) {
      case "Admitted":
        return this.go()
      case "Refused":
        return this.failure!
      case "AwaitLimit":
        return this.queue(stages.rateLimit!.wait(this, { cost: call.cost }))
      case "AwaitPermit":
        return this.queue(stages.bulkhead!.wait(this, call.queue))
    }
  }

  /** Runs the body inside the frames that give back what is held and deal with a failure. */
  framed(body: AnyEffect): AnyEffect {
    return Effect.catchCause(
      Effect.onExitPrimitive(body, (exit) => this.leave(exit)),
      (cause) => this.failure === undefined ? Effect.failCause(cause) : this.rescue()
    )
  }

  /** What a failure comes to: another attempt, or the failure. */
  rescue(): AnyEffect {
    const { call, single, stages, work } = this.plan
    const failure = this.failure!
    return stages.retry === undefined || single
      ? failure
      : until(this.deadlineAt, again(stages, call, this.at, failure.cause, attempt(stages, call, work, true)))
  }

  /** Waits for its turn, or until the circuit opens, and asks everything again. */
  private queue(wait: Effect.Effect<void, unknown>): AnyEffect {
    const { circuit } = this
    const bounded = until(this.deadlineAt, wait)
    return Effect.matchEffect(circuit === undefined ? bounded : Effect.raceFirst(bounded, this.trip(circuit)), {
      onFailure: (error) => {
        this.refuse(fail(error), this.now())
        return this.failure!
      },
      onSuccess: () => Effect.suspend(() => this.proceed(this.ask()))
    })
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
      ...attributesOf(call),
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

  protected leave(exit: AnyExit): undefined {
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
    if (error instanceof ProviderError) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- seen above not to have succeeded
      this.failure = exit as Failed
      this.providerFailed(error, now)
    } else {
      const { call, stages } = this.plan
      this.providerFailed(stages.toError(error, { ...call, correlationId: this.correlationId, now }), now)
    }
  }

  private latency(now: number): number {
    return this.at === 0 ? 0 : now - this.at
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
    stages.timeout?.quantile?.record(latency, now)
    shared.latencies?.record(latency, now)
    shared.recorder?.end("success", latency, now)
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
    const { call: { shared: { recorder } }, stages: { rateLimit } } = this.plan
    const { breaker, openForMillis } = error.verdicts
    const latency = this.latency(now)
    const hold = error.reason._tag === "RateLimitError" && error.retryAfter !== undefined
      ? now + Math.min(maxHoldMillis, Duration.toMillis(error.retryAfter))
      : 0
    this.failure ??= fail(error)
    rateLimit?.core.holdUntil(hold)
    if (error.reason._tag === "RateLimitError") rateLimit?.core.limiter.feedback?.(true, now)
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
    recorder?.end("failure", latency, now)
    if (this.span !== undefined) this.finishSpan(this.span, Exit.fail(error))
  }

  /** No answer came, but there is nothing to classify. */
  private died(now: number): void {
    const latency = this.latency(now)
    this.circuit?.settle(this.token, "Failure", latency, now)
    this.plan.call.shared.recorder?.end("failure", latency, now)
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

/**
 * Work that runs where it is, inside frames that stand before anything is taken.
 *
 * One that has ended well is used for the next run, frames and all. One that ended otherwise is not, because its failure
 * is still to be dealt with.
 */
class InPlace extends Attempt {
  readonly frames: AnyEffect = this.framed(this)

  // It is itself the body of its frames, which saves a closure and a primitive per call.
  override asEffect(): AnyEffect {
    return this.proceed(this.ask())
  }

  protected override leave(exit: AnyExit): undefined {
    super.leave(exit)
    if (exit._tag === "Success") this.plan.spareInPlace = this
  }

  protected go(): AnyEffect {
    this.started()
    const { work } = this.plan
    // Promises never run in place.
    const effect = work._tag === "Effect" ? work.effect : Effect.never
    return this.span === undefined ? effect : Effect.provideService(effect, Tracer.ParentSpan, this.span)
  }
}

/**
 * Work apart from the fiber that waits for it, which a timeout can leave behind.
 *
 * Everything happens in one register: were the permit taken in one primitive and the work started in the next, an
 * interruption between the two would lose the permit. And work that ends at once costs neither suspension nor timer.
 */
class Apart extends Attempt implements Timed {
  dueTick = 0
  next: Timed | undefined = undefined
  previous: Timed | undefined = undefined
  private timer: Timer | undefined = undefined
  private child: AnyFiber | undefined = undefined
  private controller: AbortController | undefined = undefined
  private resume: Resume = ignore
  /** Its runs so far. */
  private runs = 0
  // Made when first needed, and kept for its further runs.
  private onExit: ((exit: AnyExit) => void) | undefined = undefined
  private onValue: ((value: unknown) => void) | undefined = undefined
  private onError: ((error: unknown) => void) | undefined = undefined
  /** Whether the frames of `framed` are around it, because it had to wait; then they deal with a failure. */
  private inFrame = false

  begin(resume: Resume): Effect.Effect<void> | undefined {
    const answer = this.ask()
    if (answer === "Admitted") return this.launch(resume)
    if (answer === "Refused") {
      resume(this.rescue())
    } else {
      // Asked again inside the frames, which are not there yet: what was taken outside of them could be lost.
      this.untake()
      this.inFrame = true
      resume(this.framed(Effect.suspend(() => this.proceed(this.ask()))))
    }
    return undefined
  }

  override asEffect(): AnyEffect {
    return this.go()
  }

  /** Cancels its run of that number, if it is still in it. */
  cancelled(run: number): Effect.Effect<void> {
    if (run !== this.runs) return Effect.void
    this.cancel()
    // Nothing can make a promise end, so it is not waited for; the permit is held until it does.
    return this.child === undefined ? Effect.void : Fiber.interrupt(this.child)
  }

  protected go(): AnyEffect {
    return Effect.callback((resume) => this.launch(resume))
  }

  /** Starts the admitted work and its timeout. Returns how to cancel it. */
  private launch(resume: Resume): Effect.Effect<void> | undefined {
    this.started()
    this.resume = resume
    const { work } = this.plan
    return work._tag === "Effect" ? this.runEffect(work.effect) : this.runPromise(work.start)
  }

  private runEffect(effect: AnyEffect): Effect.Effect<void> | undefined {
    const { deadlineAt, fiber } = this
    const own = this.span === undefined ? fiber.context : Context.add(fiber.context, Tracer.ParentSpan, this.span)
    const context = deadlineAt === Infinity ? own : Context.add(own, Deadline.current, deadlineAt)
    const child = Effect.runForkWith(context)(effect)
    const exit = child.pollUnsafe()
    if (exit !== undefined) {
      this.end(exit)
      return undefined
    }
    this.child = child
    this.arm()
    child.addObserver(this.onExit ??= (exit) => this.endedLater(exit))
    return new Cancellation(this, this.runs)
  }

  private runPromise(start: (signal: AbortSignal) => PromiseLike<unknown>): Effect.Effect<void> {
    // Making a controller costs more than all stages together: only for a function that takes the signal.
    if (start.length > 0) this.controller = new AbortController()
    const promise = started(start, this.controller?.signal)
    this.arm()
    // A true promise, because what is called twice by a foreign one would meet another run.
    Promise.resolve(promise).then(
      this.onValue ??= (value) => this.endedLater(Exit.succeed(value)),
      this.onError ??= (error) => this.endedLater(Exit.fail(error))
    )
    return new Cancellation(this, this.runs)
  }

  /** The work has ended: what it held is free, and the caller gets the outcome. */
  private end(exit: AnyExit): void {
    this.settle(exit)
    this.giveBack()
    const { resume } = this
    const answer = this.answer(exit)
    // The next run may begin within `resume`.
    if (exit._tag === "Success" && this.deadlineAt === Infinity && !this.inFrame) this.spare()
    resume(answer)
  }

  private endedLater(exit: AnyExit): void {
    this.disarm()
    // After a timeout or an interruption nobody waits any more.
    if (this.phase === "Settled") this.giveBack()
    else this.end(exit)
  }

  /** Ended well, it stands in no list and no frame is around it: whoever still knows of it knows the number of its run. */
  private spare(): void {
    this.runs++
    this.child = undefined
    this.controller = undefined
    this.timer = undefined
    this.resume = ignore
    this.plan.spareApart = this
  }

  private answer(exit: AnyExit): AnyEffect {
    return this.failure === undefined ? exit : this.inFrame ? this.failure : this.rescue()
  }

  /** What it holds once it is started, it gives back when the work ends, which may be later than now. */
  protected override leave(exit: AnyExit): undefined {
    if (this.phase === "Asking" || this.phase === "Admitted") super.leave(exit)
  }

  /** The caller was interrupted: neutral, whatever the work makes of it. */
  private cancel(): void {
    // Effect cancels also what ended by an interruption of its own.
    if (this.phase === "Settled") return
    this.disarm()
    this.judge(interrupted, this.now())
    this.controller?.abort()
  }

  private arm(): void {
    const { timeout } = this.plan.stages
    const { inherited } = look(this.plan, this.fiber)
    if (
      timeout !== undefined && timeout.quantile === undefined && this.deadlineAt === Infinity &&
      inherited === Infinity && this.clock === liveClock
    ) {
      return timeout.timers.add(this)
    }
    const now = this.now()
    const remaining = this.deadlineAt - now
    const limit = timeout === undefined ? Infinity : attemptMillis(
      timeout.quantile?.current(now) ?? timeout.millis,
      Math.min(this.deadlineAt, inherited) - now,
      timeout.ofRemaining
    )
    this.timer = arm(this.fiber, Math.min(limit, remaining), () => {
      if (limit < remaining) this.expire(limit)
      else this.overrun(remaining)
    })
  }

  private disarm(): void {
    if (this.dueTick !== 0) this.plan.stages.timeout!.timers.remove(this)
    else disarm(this.timer)
  }

  /** The attempt timeout passed: a failure of the provider. */
  expire(limitMillis: number): void {
    const now = this.now()
    this.phase = "Settled"
    this.plan.stages.timeout?.quantile?.record(limitMillis, now)
    this.providerFailed(this.timedOut(limitMillis), now)
    this.abandon()
  }

  /** The deadline passed first. The attempt got less time than one is due and says nothing, unless it had all there is. */
  private overrun(remainingMillis: number): void {
    const now = this.now()
    this.phase = "Settled"
    if (this.plan.stages.timeout === undefined) this.providerFailed(this.timedOut(remainingMillis), now)
    else this.dropped(now)
    this.failure = fail(this.exceeded())
    this.abandon()
  }

  /** Answers the caller now, even where the work ignores its interruption; the permit goes when it ends. */
  private abandon(): void {
    this.controller?.abort()
    this.child?.interruptUnsafe(this.fiber.id)
    this.resume(this.answer(interrupted))
  }
}

/** Cancels one run of an attempt. */
class Cancellation extends Effectable.Class<void> {
  private readonly attempt: Apart
  private readonly run: number

  constructor(attempt: Apart, run: number) {
    super()
    this.attempt = attempt
    this.run = run
  }

  override asEffect(): Effect.Effect<void> {
    return this.attempt.cancelled(this.run)
  }
}

const ignore = (): void => {}

/** What a fiber's context says, a test clock included. Contexts never change, so the same one says the same. */
const look = (plan: Plan, fiber: AnyFiber): Plan => {
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
const fail = (error: unknown): Failed => Exit.fail(error) as Failed

/** What the function throws before it has made its promise counts as a rejection. */
const started = (
  start: (signal: AbortSignal) => PromiseLike<unknown>,
  signal: AbortSignal | undefined
): PromiseLike<unknown> => {
  // `try` at the edge: the function is foreign, and this runs outside of any effect.
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without a signal the function takes none
    return start(signal as AbortSignal)
  } catch (error) {
    return Promise.reject(error)
  }
}
