/** Attempts whose work runs apart from the fiber that waits for it: in a fiber of its own, or as a promise. */
import { Context, Effect, Effectable, Exit, Fiber, Tracer } from "effect"
import * as Deadline from "../Deadline.ts"
import { attemptMillis } from "../Timeout.ts"
import { arm, disarm, type Timer } from "./deadlineTimer.ts"
import { liveClock } from "./liveClock.ts"
import { Attempt, fail, interrupted, look, type Plan, type Restore } from "./pipelineAttempt.ts"
import type { AnyEffect, AnyExit, AnyFiber, Resume } from "./pipelineStages.ts"
import type { Timed } from "./pipelineTimers.ts"

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
  /** Whether the frame of `framed` is around it, because it had to wait; then that deals with a failure. */
  private inFrame = false

  begin(resume: Resume): Effect.Effect<void> | undefined {
    const answer = this.ask()
    if (answer === "Admitted") return this.launch(resume)
    if (answer === "Refused") {
      resume(this.rescue())
    } else {
      // Asked again where nothing interrupts, which is not so here: what was taken before could be lost.
      this.untake()
      this.inFrame = true
      resume(Effect.uninterruptibleMask((restore) => this.proceed(restore)))
    }
    return undefined
  }

  /** Cancels its run of that number, if it is still in it. */
  cancelled(run: number): Effect.Effect<void> {
    if (run !== this.runs) return Effect.void
    this.cancel()
    // Nothing can make a promise end, so it is not waited for; the permit is held until it does.
    return this.child === undefined ? Effect.void : Fiber.interrupt(this.child)
  }

  protected go(restore: Restore): AnyEffect {
    return this.framed(restore, Effect.callback((resume) => this.launch(resume)))
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
    this.plan.spare = this
  }

  private answer(exit: AnyExit): AnyEffect {
    return this.failure === undefined ? exit : this.inFrame ? this.failure : this.rescue()
  }

  /** What it holds once it is started, it gives back when the work ends, which may be later than now. */
  protected override leave(exit: AnyExit): void {
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
    const own = timeout === undefined ? Infinity : timeout.quantile?.current(now) ?? timeout.millis
    const limit = timeout === undefined
      ? Infinity
      : attemptMillis(own, Math.min(this.deadlineAt, inherited) - now, timeout.ofRemaining)
    this.timer = arm(this.fiber, Math.min(limit, remaining), () => {
      if (limit >= remaining) return this.overrun(remaining)
      // Cut off by the deadline's share, it says nothing of how long the work takes.
      if (limit === own) timeout?.quantile?.record(limit, this.now())
      this.expire(limit)
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

/**
 * One attempt, of one that has ended well where there is one. To be called inside the `register` of `Effect.callback`,
 * with its `resume`.
 */
export const beginApart = (plan: Plan, fiber: AnyFiber, resume: Resume): Effect.Effect<void> | undefined => {
  const { spare } = plan
  if (!(spare instanceof Apart)) return new Apart(plan, fiber).begin(resume)
  plan.spare = undefined
  spare.renew(fiber)
  return spare.begin(resume)
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
