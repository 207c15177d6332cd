/** One call through a circuit: admission, the work, and the judgement of how it ended. */
import { Cause, Clock, type Context, Duration, Effect, Effectable, Exit, type Fiber } from "effect"
import { type BreakerVerdict, isProviderError } from "../ProviderError.ts"
import { refusals } from "../Served.ts"
import { type CircuitCore, type CircuitSettings, REFUSED } from "./circuitCore.ts"
import type { CircuitOpen } from "./circuitOpen.ts"
import type { CircuitRules } from "./circuitState.ts"
import { runningFiber } from "./deadlineRun.ts"
import { tagOf } from "./foreign.ts"
import { liveClock, roughMillis } from "./liveClock.ts"

/** What an exit says of the provider. */
export interface Judgement {
  readonly verdict: BreakerVerdict
  /** Opens the circuit at once, for at least so long. */
  readonly openFor?: Duration.Input | undefined
  /** How many failures this one counts as. Defaults to 1. */
  readonly weight?: number | undefined
}

/** Judges how a call ended. Interruptions never come here: they say nothing. */
export type Classify<A = never, E = never> = (exit: Exit.Exit<A, E>) => BreakerVerdict | Judgement

/** Verdicts of our own policies, which say nothing of the provider. */
const ownVerdicts = new Set([...refusals, "BudgetExhausted", "DeadlineExceeded", "AllProvidersFailed"])

/**
 * How a call's end is judged by default.
 *
 * **Details**
 *
 * A `ProviderError` brings its verdict. Refusals of our own policies are `Ignored`, and so are defects: they are faults
 * of this program. Any other failure is a `Failure`.
 */
export const classify: Classify<unknown, unknown> = (exit) => {
  if (exit._tag === "Success") return "Success"
  const fail = firstFail(exit.cause)
  if (fail === undefined) return "Ignored"
  const { error } = fail
  if (typeof error !== "object" || error === null) return "Failure"
  if (isProviderError(error)) {
    const { breaker, openForMillis } = error.verdicts
    return openForMillis === undefined ? breaker : { verdict: breaker, openFor: openForMillis }
  }
  const tag = tagOf(error)
  return tag !== undefined && ownVerdicts.has(tag) ? "Ignored" : "Failure"
}

const firstFail = <E>(cause: Cause.Cause<E>): Cause.Fail<E> | undefined => {
  for (const reason of cause.reasons) if (reason._tag === "Fail") return reason
  return undefined
}

/** Settles a call with what its end says, or releases it when it was interrupted. */
const settle = <A, E>(
  core: CircuitCore,
  token: number,
  exit: Exit.Exit<A, E>,
  judge: Classify<A, E>,
  latencyMillis: number,
  now: number
): void => {
  if (exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)) return core.release(token, now)
  const judgement = judge(exit)
  if (typeof judgement === "string") return core.settle(token, judgement, latencyMillis, now)
  const { openFor, verdict, weight } = judgement
  const openForMillis = openFor === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(openFor))
  core.settle(token, verdict, latencyMillis, now, openForMillis, weight)
}

/**
 * Whether counting a failure needs no true look at the clock: where every other call fails, 2.2 times a bare one instead
 * of 2.5.
 */
const countsRoughly = ({ shedBelow, warmUpMillis }: CircuitRules): boolean => shedBelow === 0 && warmUpMillis === 0

/**
 * What `execute` makes of an effect.
 *
 * While the circuit is closed a run is one look at its era and one frame around the work; the frame is built once for a
 * closed period, since nothing in it belongs to one run. It has no finaliser: an interrupted call does not count, so an
 * interruption may skip it. With a finaliser a call costs 40 ns more, and built anew for each run 50 ns. It is the effect
 * itself: `Effect.withFiber` around it takes 130 bytes more where it is built for each call.
 */
class Guarded<A, E, R> extends Effectable.Class<A, E | CircuitOpen, R> {
  private readonly find: (key?: string) => CircuitCore
  private readonly key: string | undefined
  private readonly judge: Classify<A, E> | undefined
  private readonly self: Effect.Effect<A, E, R>
  private core: CircuitCore | undefined = undefined
  /** What `framed` was built for, beside the circuit. */
  private era = -1
  private settings: CircuitSettings | undefined = undefined
  private context: Context.Context<never> | undefined = undefined
  private clock: Clock.Clock | undefined = undefined
  private framed: Effect.Effect<A, E, R> | undefined = undefined

  constructor(
    find: (key?: string) => CircuitCore,
    key: string | undefined,
    judge: Classify<A, E> | undefined,
    self: Effect.Effect<A, E, R>
  ) {
    super()
    this.find = find
    this.key = key
    this.judge = judge
    this.self = self
  }

  asEffect(): Effect.Effect<A, E | CircuitOpen, R> {
    const { core, framed } = this
    const fiber = runningFiber()
    return framed !== undefined && core !== undefined && core.era === this.era && core.settings === this.settings &&
        fiber.context === this.context
      ? framed
      : this.prepare(fiber)
  }

  private prepare(fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<A, E | CircuitOpen, R> {
    if (this.core === undefined || this.core.retired) {
      this.core = this.find(this.key)
      this.framed = undefined
    }
    const { core } = this
    // A look at the context costs a tenth of a look-up in it, and most runs share one.
    if (this.clock === undefined || fiber.context !== this.context) {
      this.context = fiber.context
      const clock = fiber.getRef(Clock.Clock)
      if (clock !== this.clock) this.framed = undefined
      this.clock = clock
    }
    const { clock } = this
    if (core.era < 0) {
      // Looked at first: a refusal builds nothing.
      const now = clock.currentTimeMillisUnsafe()
      return core.peek(now) > 0 ? core.refused(now) : this.slotted(core, clock)
    }
    if (core.settings.rules.slowCallMillis !== Infinity) {
      return this.frame(core, core.era, clock, clock.currentTimeMillisUnsafe())
    }
    if (this.framed === undefined || core.era !== this.era || core.settings !== this.settings) {
      this.era = core.era
      this.settings = core.settings
      this.framed = this.frame(core, core.era, clock, undefined)
    }
    return this.framed
  }

  /** The work and its settlement; `startedAt` only where latency matters. */
  private frame(
    core: CircuitCore,
    token: number,
    clock: Clock.Clock,
    startedAt: number | undefined
  ): Effect.Effect<A, E, R> {
    const { judge } = this
    const roughly = startedAt === undefined && judge === undefined && clock === liveClock
    return Effect.matchCauseEffect(this.self, {
      onSuccess: (value) => {
        if (roughly && core.era === token) {
          core.succeeded(roughMillis())
          return Exit.succeed(value)
        }
        const now = clock.currentTimeMillisUnsafe()
        const latency = startedAt === undefined ? 0 : now - startedAt
        if (judge === undefined) core.settle(token, "Success", latency, now)
        else settle(core, token, Exit.succeed(value), judge, latency, now)
        return Exit.succeed(value)
      },
      onFailure: (cause) => {
        const exit = Exit.failCause(cause)
        if (roughly && core.era === token && countsRoughly(core.settings.rules) && classify(exit) === "Failure") {
          const reason = core.failed(roughMillis())
          if (reason !== undefined) core.trip(token, reason, clock.currentTimeMillisUnsafe())
          return exit
        }
        const now = clock.currentTimeMillisUnsafe()
        settle(core, token, exit, judge ?? classify, startedAt === undefined ? 0 : now - startedAt, now)
        return exit
      }
    })
  }

  /** Takes a slot, or is refused after all: somebody else may have come first. */
  private slotted(core: CircuitCore, clock: Clock.Clock): Effect.Effect<A, E | CircuitOpen, R> {
    let token = REFUSED
    // The frame stands before the slot is taken: between an admission and a frame installed after it, an interruption
    // would lose the slot. What was settled is not there to be released any more.
    return Effect.onExitPrimitive(
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        const now = clock.currentTimeMillisUnsafe()
        token = core.admit(now)
        return token === REFUSED ? core.refused(now) : this.frame(core, token, clock, now)
      }),
      () => {
        core.release(token, clock.currentTimeMillisUnsafe())
        return undefined
      }
    )
  }
}

/** Runs the effect through the circuit that `find` gives for `key`, looked up when it is run. */
export const guard = <A, E, R>(
  find: (key?: string) => CircuitCore,
  key: string | undefined,
  judge: Classify<A, E> | undefined,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | CircuitOpen, R> => new Guarded(find, key, judge, self)
