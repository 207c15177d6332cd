/**
 * One attempt at one provider: in which order the stages are asked, how the work is started, and the one settlement that
 * gives everything back.
 *
 * All stages are plain cores (`admit`, `settle`), so that an attempt is one admission, one settlement and one pair of
 * clock reads, however many stages there are. Composed of one operator per policy it costs 1.4 to 2.4 times as much.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber } from "effect"
import type * as Bulkhead from "../Bulkhead.ts"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import type { FailureContext } from "../Classifier.ts"
import * as Deadline from "../Deadline.ts"
import type * as Hedge from "../Hedge.ts"
import { ProviderError, TimeoutError } from "../ProviderError.ts"
import type * as RateLimit from "../RateLimit.ts"
import type { Recorder } from "../Telemetry.ts"
import { attemptMillis } from "../Timeout.ts"
import { type CircuitCore, REFUSED } from "./circuitCore.ts"
import { runningFiber } from "./deadlineRun.ts"
import { arm, disarm, type Timer } from "./deadlineTimer.ts"
import type { QuantileLimit } from "./quantileLimit.ts"
import { attempt as attemptNumber, type RetryCall, type RetryCore, RetryRun } from "./retryRun.ts"
import { stackless } from "./stackless.ts"

/** The stages of one provider, outer to inner. One that is not configured is `undefined`, and nothing is asked of it. */
export interface Stages {
  readonly provider: string
  readonly retry: RetryCore | undefined
  readonly hedge: Hedge.Service | undefined
  readonly breaker: CircuitBreaker.Service | undefined
  readonly rateLimit: RateLimit.Service | undefined
  readonly bulkhead: Bulkhead.Service | undefined
  readonly timeout: TimeoutStage | undefined
  readonly toError: (failure: unknown, context: FailureContext) => ProviderError
  /** Whether somebody wants to know how long a call took: worth a second clock read. */
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
}

/** What all calls of one operation share. */
export interface Operation {
  readonly recorder: Recorder | undefined
  /** How long a successful call takes, as a moving mean. */
  expectedMillis: number
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
type Failed = Exit.Failure<never, unknown>

/** How an admission went. Whoever waits is asked everything again afterwards. */
type Answer = "Admitted" | "Refused" | "AwaitLimit" | "AwaitPermit"

/** The longest that a `Retry-After` holds the provider back; whoever wants more says so again. */
const maxHoldMillis = 3_600_000

const interrupted: AnyExit = Exit.interrupt()

/** The call through all stages: an attempt that sees to its retries, or with hedging the same in frames around it. */
export const protect = (stages: Stages, call: Call, work: Work): AnyEffect =>
  stages.hedge === undefined ? attempt(stages, call, work, false) : hedged(stages, stages.hedge, call, work)

const hedged = (stages: Stages, hedge: Hedge.Service, call: Call, work: Work): AnyEffect => {
  const { retry } = stages
  const { recorder } = call.shared
  const one = attempt(stages, call, work, true)
  const another = recorder === undefined ? one : Effect.flatMap(Clock.currentTimeMillis, (now) => {
    recorder.hedge(now)
    return one
  })
  const unit = hedge.execute(call)((index) => index === 0 ? one : another)
  return Effect.withFiber((fiber) => {
    const startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    retry?.budget?.deposit()
    const retried = retry === undefined ? unit : Effect.catchCause(
      unit,
      (cause) => new RetryRun(retry, call, startedAt, call.shared.expectedMillis).recover(cause, unit)
    )
    const first = fiber.getRef(attemptNumber) === 1 ? retried : Effect.provideService(retried, attemptNumber, 1)
    return call.deadlineMillis === Infinity ? first : Effect.provideService(
      first,
      Deadline.current,
      Math.min(startedAt + call.deadlineMillis, fiber.getRef(Deadline.current))
    )
  })
}

/**
 * A first attempt at the call, which sees to the further ones, or one of these (`single`), whose failure is only told.
 */
const attempt = (stages: Stages, call: Call, work: Work, single: boolean): AnyEffect =>
  // Work that a timeout may leave behind is a promise, or runs in a fiber of its own. Everything happens in the one
  // register: were the permit taken in one primitive and the work started in the next, an interruption between the two
  // would lose the permit. And work that ends at once costs neither a suspension nor a timer.
  work._tag === "Promise" || stages.timeout !== undefined || call.deadlineMillis < Infinity
    ? Effect.callback((resume) => {
      const self = new Attempt(stages, call, work, single, runningFiber(), true)
      const answer = self.ask(self.startedAt)
      if (answer === "Admitted") return self.launch(resume)
      resume(answer === "Refused" ? self.rescue() : self.framed(() => self.proceed(answer)))
      return undefined
    })
    // Other work runs where it is, inside a frame that stands before anything is taken.
    : Effect.withFiber((fiber) => {
      const self = new Attempt(stages, call, work, single, fiber, false)
      return self.framed(() => self.proceed(self.ask(self.startedAt)))
    })

class Attempt implements Bulkhead.Lease, RateLimit.Lease {
  readonly startedAt: number
  /** Whether it has the bulkhead's permit. */
  held = false
  /** Whether it has taken from the rate limit. */
  taken = false
  private token: number = REFUSED
  private admittedAt = -1
  private started = false
  /** Whether the outcome was told. */
  private settled = false
  private cancelled = false
  /** Whether the frames of `framed` are around it; then they deal with a failure. */
  private inFrame = false
  private failure: Failed | undefined = undefined
  private readonly stages: Stages
  private readonly call: Call
  private readonly work: Work
  private readonly single: boolean
  private readonly fiber: AnyFiber
  /** Whether the work runs apart from the fiber that waits for it. */
  private readonly apart: boolean
  private readonly clock: Clock.Clock
  private readonly circuit: CircuitCore | undefined
  private readonly deadlineAt: number

  constructor(
    stages: Stages,
    call: Call,
    work: Work,
    single: boolean,
    fiber: AnyFiber,
    apart: boolean
  ) {
    this.stages = stages
    this.call = call
    this.work = work
    this.single = single
    this.fiber = fiber
    this.apart = apart
    // From the fiber, for each call: 10 ns dearer than one captured early, but a test clock is obeyed.
    this.clock = fiber.getRef(Clock.Clock)
    this.startedAt = this.clock.currentTimeMillisUnsafe()
    this.circuit = stages.breaker?.core(call.circuit)
    // Whoever has no deadline of its own leaves it to the caller's to be enforced.
    this.deadlineAt = call.deadlineMillis === Infinity
      ? Infinity
      : Math.min(this.startedAt + (single ? Infinity : call.deadlineMillis), fiber.getRef(Deadline.current))
    if (!single) stages.retry?.budget?.deposit()
  }

  /**
   * The order of the stages inside retry and hedge, written once: deadline, breaker peek, rate limit, bulkhead, breaker
   * admit. The attempt timeout, chaos and the call follow in `launch`.
   *
   * The breaker is asked twice. First it is only looked at, so that an open circuit burns no token of the limit. The
   * admission that counts comes last, so that no probe waits in a queue and who waited through a trip is refused.
   */
  ask(now: number): Answer {
    const { bulkhead, rateLimit } = this.stages
    const { circuit } = this
    if (now >= this.deadlineAt) return this.refuse(fail(this.exceeded()), now)
    if (circuit !== undefined && circuit.peek(now) > 0) return this.refuse(circuit.refused(now), now)
    if (rateLimit !== undefined && !this.taken) {
      this.taken = rateLimit.core.tryTake(this.call.cost, now)
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
    this.admittedAt = now
    this.call.shared.recorder?.begin(now)
    return "Admitted"
  }

  /** Runs the rest inside the frames that give back what is held and deal with a failure. */
  framed(body: () => AnyEffect): AnyEffect {
    this.inFrame = true
    return Effect.catchCause(
      Effect.onExitPrimitive(Effect.suspend(body), (exit) => this.leave(exit)),
      (cause) => this.failure === undefined ? Effect.failCause(cause) : this.rescue()
    )
  }

  proceed(answer: Answer): AnyEffect {
    switch (answer) {
      case "Admitted":
        return this.apart ? Effect.callback((resume) => this.launch(resume)) : this.inPlace()
      case "Refused":
        return this.failure!
      case "AwaitLimit":
        return this.queue(this.stages.rateLimit!.wait(this, { cost: this.call.cost }))
      case "AwaitPermit":
        return this.queue(this.stages.bulkhead!.wait(this, this.call.queue))
    }
  }

  /** Starts the admitted work under the attempt timeout, apart from the waiting fiber. Returns how to cancel it. */
  launch(resume: (effect: AnyEffect) => void): Effect.Effect<void> | undefined {
    this.started = true
    const { work } = this
    return work._tag === "Effect" ? this.runEffect(work.effect, resume) : this.runPromise(work.start, resume)
  }

  /** What a failure comes to: another attempt, or the failure. */
  rescue(): AnyEffect {
    const { call, deadlineAt, stages, work } = this
    const failure = this.failure!
    if (stages.retry === undefined || this.single) return failure
    const run = new RetryRun(stages.retry, call, this.startedAt, call.shared.expectedMillis)
    const rest = run.recover(failure.cause, attempt(stages, call, work, true))
    return deadlineAt === Infinity ? rest : Effect.provideService(rest, Deadline.current, deadlineAt)
  }

  /** Waits for its turn, or until the circuit opens, and asks everything again. */
  private queue(wait: Effect.Effect<void, unknown>): AnyEffect {
    const { circuit, deadlineAt } = this
    const bounded = deadlineAt === Infinity ? wait : Effect.provideService(wait, Deadline.current, deadlineAt)
    const turn = circuit === undefined ? bounded : Effect.raceFirst(bounded, this.trip(circuit))
    return Effect.matchEffect(turn, {
      onFailure: (error) => {
        this.refuse(fail(error), this.clock.currentTimeMillisUnsafe())
        return this.failure!
      },
      onSuccess: () => Effect.suspend(() => this.proceed(this.ask(this.clock.currentTimeMillisUnsafe())))
    })
  }

  private trip(circuit: CircuitCore): Effect.Effect<void> {
    const { waiting } = this.stages
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

  // -- starting and ending the work ----------------------------------------------------------------------------------

  private runEffect(effect: AnyEffect, resume: (effect: AnyEffect) => void): Effect.Effect<void> | undefined {
    const child = Effect.runForkWith(this.context())(effect)
    const exit = child.pollUnsafe()
    if (exit !== undefined) {
      resume(this.ended(exit, this.stages.timed ? this.clock.currentTimeMillisUnsafe() : this.admittedAt))
      return undefined
    }
    const timer = this.armTimeout(resume, () => child.interruptUnsafe(this.fiber.id))
    child.addObserver((exit) => {
      disarm(timer)
      const late = this.settled
      const answer = this.ended(exit, this.clock.currentTimeMillisUnsafe())
      if (!late) resume(answer)
    })
    return Effect.suspend(() => {
      this.cancelled = true
      disarm(timer)
      return Fiber.interrupt(child)
    })
  }

  private runPromise(
    start: (signal: AbortSignal) => PromiseLike<unknown>,
    resume: (effect: AnyEffect) => void
  ): Effect.Effect<void> {
    // Making a controller costs more than all stages together: only for a function that takes the signal.
    const controller = start.length === 0 ? undefined : new AbortController()
    const promise = started(start, controller?.signal)
    const timer = this.armTimeout(resume, () => controller?.abort())
    const end = (exit: AnyExit): void => {
      disarm(timer)
      resume(this.ended(exit, this.clock.currentTimeMillisUnsafe()))
    }
    promise.then((value) => end(Exit.succeed(value)), (error) => end(Exit.fail(error)))
    return Effect.sync(() => {
      this.cancelled = true
      disarm(timer)
      controller?.abort()
      // Nothing can make a promise end, so it is not waited for; the permit is held until it does.
      this.judge(interrupted, this.clock.currentTimeMillisUnsafe())
    })
  }

  private inPlace(): AnyEffect {
    this.started = true
    const effect = this.work._tag === "Effect" ? this.work.effect : Effect.never
    return this.inherits() ? Effect.provideService(effect, attemptNumber, 1) : effect
  }

  /** What the work runs with: the fiber's own context, except for what this call changes. */
  private context(): Context.Context<never> {
    const { deadlineAt, fiber } = this
    const context = this.inherits() ? Context.add(fiber.context, attemptNumber, 1) : fiber.context
    return deadlineAt === Infinity ? context : Context.add(context, Deadline.current, deadlineAt)
  }

  /** Whether a first attempt runs within a later one of another pipeline, whose number is not its own. */
  private inherits(): boolean {
    return !this.single && this.stages.retry !== undefined && this.fiber.getRef(attemptNumber) !== 1
  }

  /** At the limit the caller is answered at once, even where the work ignores its interruption. */
  private armTimeout(resume: (effect: AnyEffect) => void, cancel: () => void): Timer | undefined {
    const { timeout } = this.stages
    const remaining = this.deadlineAt - this.admittedAt
    const limit = timeout === undefined ? Infinity : attemptMillis(
      timeout.quantile?.current(this.admittedAt) ?? timeout.millis,
      Math.min(this.deadlineAt, this.fiber.getRef(Deadline.current)) - this.admittedAt,
      timeout.ofRemaining
    )
    return arm(this.fiber, Math.min(limit, remaining), () => {
      const now = this.clock.currentTimeMillisUnsafe()
      this.settled = true
      if (limit < remaining) {
        timeout?.quantile?.record(limit, now)
        this.providerFailed(this.timedOut(limit), now)
      } else if (timeout === undefined) {
        this.providerFailed(this.timedOut(remaining), now)
        this.failure = fail(this.exceeded())
      } else {
        // It got less time than an attempt is due, and says nothing about the provider.
        this.dropped(now)
        this.failure = fail(this.exceeded())
      }
      cancel()
      resume(this.answer(interrupted))
    })
  }

  /** The work has ended: what it held is free, and unless it was given up before, this is its outcome. */
  private ended(exit: AnyExit, now: number): AnyEffect {
    if (this.settled) {
      this.giveBack()
      return exit
    }
    this.judge(exit, now)
    this.giveBack()
    return this.answer(exit)
  }

  private answer(exit: AnyExit): AnyEffect {
    return this.failure === undefined ? exit : this.inFrame ? this.failure : this.rescue()
  }

  private leave(exit: AnyExit): undefined {
    // Work apart settles itself when it ends, which may be later than now.
    if (this.apart && this.started) return
    if (!this.settled) this.judge(exit, this.clock.currentTimeMillisUnsafe())
    this.giveBack()
  }

  private giveBack(): void {
    if (this.held) {
      this.held = false
      this.stages.bulkhead!.core.release()
    }
    if (this.taken && !this.started) {
      this.taken = false
      this.stages.rateLimit!.core.limiter.untake(this.call.cost)
    }
  }

  // -- what the outcome means ----------------------------------------------------------------------------------------

  /** The one settlement of an admitted attempt. */
  private judge(exit: AnyExit, now: number): void {
    this.settled = true
    if (this.admittedAt < 0) return
    if (exit._tag === "Success") return this.succeeded(now)
    const { reasons } = exit.cause
    if (this.cancelled || reasons.some(Cause.isInterruptReason)) return this.dropped(now)
    const failure = reasons.find(Cause.isFailReason)
    if (failure === undefined) return this.died(now)
    const { error } = failure
    if (error instanceof ProviderError) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- seen above not to have succeeded
      this.failure = exit as Failed
      this.providerFailed(error, now)
    } else {
      const classified = this.stages.toError(error, { ...this.call, now })
      this.providerFailed(classified, now)
    }
  }

  private succeeded(now: number): void {
    const latency = now - this.admittedAt
    this.circuit?.settle(this.token, "Success", latency, now)
    this.stages.timeout?.quantile?.record(latency, now)
    const { shared } = this.call
    shared.expectedMillis += (latency - shared.expectedMillis) / 16
    shared.recorder?.end("success", latency, now)
  }

  private providerFailed(error: ProviderError, now: number): void {
    const { circuit } = this
    const { rateLimit } = this.stages
    const { breaker, openForMillis } = error.verdicts
    const latency = now - this.admittedAt
    const hold = error.reason._tag === "RateLimitError" && error.retryAfter !== undefined
      ? now + Math.min(maxHoldMillis, Duration.toMillis(error.retryAfter))
      : 0
    this.failure ??= fail(error)
    rateLimit?.core.holdUntil(hold)
    if (circuit !== undefined) {
      const before = circuit.current
      circuit.settle(this.token, breaker, latency, now, openForMillis)
      // Where there is no limit to hold, the circuit refuses until then.
      if (rateLimit === undefined && hold > 0) circuit.holdUntil(hold, now)
      if (before._tag !== "Open" && circuit.current._tag === "Open") this.call.shared.recorder?.breakerTrip(now)
      this.refuseWaiting(circuit, now)
    }
    this.call.shared.recorder?.error(error.reason._tag, now)
    this.call.shared.recorder?.end("failure", latency, now)
  }

  /** A defect says nothing that could be classified, but no answer came. */
  private died(now: number): void {
    this.circuit?.settle(this.token, "Failure", now - this.admittedAt, now)
    this.call.shared.recorder?.end("failure", now - this.admittedAt, now)
  }

  /** Interrupted: neutral everywhere. */
  private dropped(now: number): void {
    this.circuit?.release(this.token, now)
    this.call.shared.recorder?.end("cancelled", now - this.admittedAt, now)
  }

  private refuse(failure: Exit.Exit<never, unknown>, now: number): "Refused" {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an exit that cannot succeed
    this.failure = failure as Failed
    this.giveBack()
    this.call.shared.recorder?.begin(now)
    this.call.shared.recorder?.end("refused", 0, now)
    return "Refused"
  }

  /** Whoever waits behind a circuit that refuses now is woken, and refused when it asks again. */
  private refuseWaiting(circuit: CircuitCore, now: number): void {
    const all = this.stages.waiting.get(circuit)
    if (all === undefined || circuit.peek(now) === 0) return
    // By the scheduler: inline, their fibers would run in the middle of this settlement.
    for (const wake of all) this.fiber.currentDispatcher.scheduleTask(wake, 0)
  }

  private timedOut(millis: number): ProviderError {
    const { correlationId, operation, provider } = this.call
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

  private exceeded(): Deadline.DeadlineExceeded {
    const { deadlineMillis } = this.call
    return stackless(() => new Deadline.DeadlineExceeded({ after: Duration.millis(deadlineMillis) }))
  }
}

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
