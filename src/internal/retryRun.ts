/**
 * One call's retries, from its first failure on: nothing here exists while calls succeed. `Retry` and the pipeline drive
 * the same run.
 */
import { Cause, Clock, Context, Duration, Effect, type Fiber, Pull, Random, Schedule } from "effect"
import { Classifier } from "../Classifier.ts"
import * as Deadline from "../Deadline.ts"
import type * as Event from "../Event.ts"
import { isProviderError, type ReasonTag, table } from "../ProviderError.ts"
import type { BudgetCore } from "./budgetCore.ts"
import {
  answered,
  type Decision,
  type Evidence,
  evidenceOf,
  isBounded,
  next,
  type RetrySettings,
  type Why
} from "./retryDecision.ts"
import { categoryType, note } from "./tracing.ts"

/** What all calls of one policy share. */
export interface RetryCore {
  readonly provider: string
  readonly settings: RetrySettings
  readonly budget: BudgetCore | undefined
  readonly timeoutCost: number
  /** Categories whose waits come from a Schedule of the user's own. */
  readonly schedules: { readonly [Tag in ReasonTag]?: Schedule.Schedule<unknown> | undefined }
  readonly sink: Event.Sink
}

/** What is known of a call before it is made. */
export interface RetryCall {
  readonly operation: string
  readonly idempotent: boolean
  /** Decides on all errors that are no `ProviderError`, instead of the classifier. */
  readonly while: ((error: unknown) => boolean) | undefined
}

/** An attempt that failed. */
export interface FailedAttempt {
  /** 1 for the first. */
  readonly attempt: number
  readonly error: unknown
  /** When it failed, in epoch milliseconds. */
  readonly at: number
}

/** The failed attempts of a call that was given up on, oldest first, and why there were no more. */
export interface History {
  readonly failures: ReadonlyArray<FailedAttempt>
  readonly why: Why
}

/** The number of the running attempt. */
export const attempt = Context.Reference<number>("holdfast/Retry/attempt", { defaultValue: () => 1 })

/** Whether another provider can be asked as well. */
export const elsewhere = Context.Reference<boolean>("holdfast/Retry/elsewhere", { defaultValue: () => false })

/** Where a cause carries its history. */
export class Annotation extends Context.Service<Annotation, History>()("holdfast/Retry/History") {}

const histories = new WeakMap<object, History>()

/** The history of a call that ended with this error or cause; there is none where nothing could be done. */
export const historyOf = (failure: unknown): History | undefined => {
  if (Cause.isCause(failure)) {
    for (const reason of failure.reasons) {
      const history = Context.getOrUndefined(Cause.reasonAnnotations(reason), Annotation)
      if (history !== undefined) return history
    }
    const failed = errorOf(failure)
    return failed === undefined ? undefined : historyOf(failed.error)
  }
  return typeof failure === "object" && failure !== null ? histories.get(failure) : undefined
}

type Stepper = (now: number, input: unknown) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

/** How a category has fared in one call. */
interface Course {
  readonly tag: ReasonTag
  failures: number
  backoffMillis: number
  stepper: Stepper | undefined
}

export class RetryRun {
  readonly #core: RetryCore
  readonly #call: RetryCall
  readonly #startedAt: number | undefined
  readonly #expected: number
  readonly #failures: Array<FailedAttempt> = []
  readonly #courses: Array<Course> = []
  #paid = 0

  /**
   * @param startedAt when the call began, where that is known
   * @param expected milliseconds that an attempt is expected to take
   */
  constructor(core: RetryCore, call: RetryCall, startedAt: number | undefined, expected: number) {
    this.#core = core
    this.#call = call
    this.#startedAt = startedAt
    this.#expected = expected
  }

  /**
   * Answers a failed attempt with another, or with the failure. `again` is run for each further attempt.
   *
   * What cannot be helped is passed on as it is, before anything is made for it: refusals come in storms.
   */
  recover<A, E, R>(cause: Cause.Cause<E>, again: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const failed = errorOf(cause)
    const evidence = failed === undefined || this.#asks(failed.error) ? undefined : evidenceOf(failed.error)
    if (failed === undefined || evidence?.verdict === "Never") return Effect.failCause(cause)
    return evidence?.refusal === true
      ? Effect.withFiber((fiber) =>
        !fiber.getRef(elsewhere) && isBounded(evidence, fiber.getRef(Deadline.current))
          ? this.#framed(cause, again)
          : Effect.failCause(cause)
      )
      : this.#framed(cause, again)
  }

  /**
   * The frame stands before anything is paid: what was paid for an attempt that never begins, because the caller was
   * interrupted while it waited, goes back.
   */
  #framed<A, E, R>(cause: Cause.Cause<E>, again: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.#core.budget === undefined
      ? this.#failed(cause, again)
      : Effect.onExitPrimitive(Effect.suspend(() => this.#failed(cause, again)), () => {
        this.#refund()
        return undefined
      })
  }

  #failed<A, E, R>(cause: Cause.Cause<E>, again: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const failed = errorOf(cause)
    if (failed === undefined) return Effect.failCause(cause)
    const { error } = failed
    return Effect.withFiber((fiber) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      const evidence = this.#evidence(error, fiber, now)
      const course = this.#course(evidence.tag)
      course.failures++
      this.#failures.push({ attempt: this.#failures.length + 1, error, at: now })
      const schedule = this.#core.schedules[evidence.tag]
      return schedule === undefined
        ? this.#decide(cause, error, evidence, course, undefined, now, fiber, again)
        : Effect.flatMap(
          scheduled(course, schedule, now, error),
          (wait) => this.#decide(cause, error, evidence, course, wait, now, fiber, again)
        )
    })
  }

  #decide<A, E, R>(
    cause: Cause.Cause<E>,
    error: E,
    evidence: Evidence,
    course: Course,
    scheduled: number | "Done" | undefined,
    now: number,
    fiber: Fiber.Fiber<unknown, unknown>,
    again: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> {
    const random = fiber.getRef(Random.Random)
    const decision = this.#pay(
      evidence.tag,
      now,
      next({
        evidence,
        idempotent: this.#call.idempotent,
        attempt: this.#failures.length,
        failures: course.failures,
        previousDelay: course.backoffMillis,
        elapsed: this.#startedAt === undefined ? 0 : now - this.#startedAt,
        remaining: fiber.getRef(Deadline.current) - now,
        expected: this.#expected,
        elsewhere: fiber.getRef(elsewhere),
        random: () => random.nextDoubleUnsafe(),
        settings: this.#core.settings,
        scheduled
      })
    )
    if (decision._tag === "GiveUp") return this.#giveUp(cause, error, evidence, decision.why)

    course.backoffMillis = decision.backoffMillis
    const failed = this.#failures.length
    this.#core.sink?.({
      _tag: "Retrying",
      at: now,
      provider: this.#core.provider,
      operation: this.#call.operation,
      attempt: failed,
      delayMillis: decision.delayMillis,
      category: table[evidence.tag].category
    })
    note(fiber, "retry", {
      "ft.attempt": failed,
      "ft.delay_ms": Math.round(decision.delayMillis),
      "error.type": categoryType(table[evidence.tag].category)
    })
    const begin = Effect.suspend(() => {
      this.#paid = 0
      return Effect.catchCause(
        Effect.provideService(again, attempt, failed + 1),
        (cause) => this.#failed(cause, again)
      )
    })
    return Effect.flatMap(Effect.sleep(decision.delayMillis), () => begin)
  }

  /** Budgets are asked last, since asking takes from them. */
  #pay(tag: ReasonTag, now: number, decision: Decision): Decision {
    const { budget, timeoutCost } = this.#core
    if (budget === undefined || decision._tag === "GiveUp") return decision
    const cost = tag === "TimeoutError" ? timeoutCost : 1
    if (!budget.withdraw(cost, now)) return { _tag: "GiveUp", why: "BudgetExhausted" }
    this.#paid = cost
    return decision
  }

  #refund(): void {
    if (this.#paid === 0) return
    this.#core.budget?.refund(this.#paid)
    this.#paid = 0
  }

  #giveUp<E>(cause: Cause.Cause<E>, error: E, evidence: Evidence, why: Why): Effect.Effect<never, E> {
    const history: History = { failures: this.#failures, why }
    // A refusal may be one error for all callers, so that only the cause can tell whose history this is.
    if (evidence.refusal !== true && typeof error === "object" && error !== null) histories.set(error, history)
    return Effect.failCause(Cause.annotate(cause, Context.make(Annotation, history), { overwrite: true }))
  }

  /** Whether the caller's own predicate decides on this error. */
  #asks(error: unknown): boolean {
    return this.#call.while !== undefined && !isProviderError(error)
  }

  #evidence(error: unknown, fiber: Fiber.Fiber<unknown, unknown>, now: number): Evidence {
    if (this.#asks(error)) return answered(error, this.#call.while!(error))
    const known = evidenceOf(error)
    if (known !== undefined) return known
    const { operation, idempotent } = this.#call
    const { retryAfterMillis, tag, verdicts } = fiber.getRef(Classifier).classify(error, {
      provider: this.#core.provider,
      operation,
      idempotent,
      now
    })
    return { tag, verdict: verdicts.retry, retryAfterMillis }
  }

  #course(tag: ReasonTag): Course {
    const known = this.#courses.find((course) => course.tag === tag)
    if (known !== undefined) return known
    const course: Course = { tag, failures: 0, backoffMillis: 0, stepper: undefined }
    this.#courses.push(course)
    return course
  }
}

/** The error of a cause. Interruptions and defects are never retried, not even beside an error. */
const errorOf = <E>(cause: Cause.Cause<E>): Cause.Fail<E> | undefined => {
  let first: Cause.Fail<E> | undefined
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason)) return undefined
    first ??= reason
  }
  return first
}

/** The next wait of the category's own Schedule, in milliseconds. */
const scheduled = (
  course: Course,
  schedule: Schedule.Schedule<unknown>,
  now: number,
  error: unknown
): Effect.Effect<number | "Done"> => {
  if (course.stepper === undefined) {
    return Effect.flatMap(Schedule.toStep(schedule), (stepper) => {
      course.stepper = stepper
      return scheduled(course, schedule, now, error)
    })
  }
  return Pull.matchEffect(course.stepper(now, error), {
    onSuccess: ([, wait]) => Effect.succeed(Duration.toMillis(wait)),
    onFailure: (cause) => Effect.failCause(cause),
    onDone: () => Effect.succeed("Done" as const)
  })
}
