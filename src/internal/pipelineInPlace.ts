/** Attempts whose work runs in the fiber that waits for it. */
import { Effect, Tracer } from "effect"
import { Attempt, type Plan } from "./pipelineAttempt.ts"
import type { AnyEffect, AnyExit, AnyFiber } from "./pipelineStages.ts"

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
    if (exit._tag === "Success") this.plan.spare = this
  }

  protected go(): AnyEffect {
    this.started()
    const { work } = this.plan
    // Promises never run in place.
    const effect = work._tag === "Effect" ? work.effect : Effect.never
    return this.span === undefined ? effect : Effect.provideService(effect, Tracer.ParentSpan, this.span)
  }
}

/** One attempt, of one that has ended well where there is one. */
export const inPlace = (plan: Plan, fiber: AnyFiber): AnyEffect => {
  const { spare } = plan
  if (!(spare instanceof InPlace)) return new InPlace(plan, fiber).frames
  plan.spare = undefined
  spare.renew(fiber)
  return spare.frames
}
