/** Attempts whose work runs in the fiber that waits for it. */
import { Effect, Tracer } from "effect"
import { Attempt, type Plan, type Restore } from "./pipelineAttempt.ts"
import type { AnyEffect, AnyExit, AnyFiber } from "./pipelineStages.ts"

/**
 * Work that runs where it is.
 *
 * One that has ended well is used for the next run, frame and all. One that ended otherwise is not, because its failure
 * is still to be dealt with.
 */
class InPlace extends Attempt {
  private frame: AnyEffect | undefined = undefined
  /** What `frame` was built with: another where the caller lets no interruption in. */
  private restore: Restore | undefined = undefined

  protected override leave(exit: AnyExit): void {
    super.leave(exit)
    if (exit._tag === "Success") this.plan.spare = this
  }

  protected go(restore: Restore): AnyEffect {
    this.started()
    const { work } = this.plan
    // Promises never run in place.
    const effect = work._tag === "Effect" ? work.effect : Effect.never
    if (this.span !== undefined) {
      return this.framed(restore, Effect.provideService(effect, Tracer.ParentSpan, this.span))
    }
    if (this.frame === undefined || restore !== this.restore) {
      this.restore = restore
      this.frame = this.framed(restore, effect)
    }
    return this.frame
  }
}

/** One attempt, of one that has ended well where there is one. To be called where nothing interrupts. */
export const inPlace = (plan: Plan, fiber: AnyFiber, restore: Restore): AnyEffect => {
  const { spare } = plan
  if (!(spare instanceof InPlace)) return new InPlace(plan, fiber).proceed(restore)
  plan.spare = undefined
  spare.renew(fiber)
  return spare.proceed(restore)
}
