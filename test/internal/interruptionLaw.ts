import { Cause, Clock, Effect, Exit, Fiber, Random, Scheduler } from "effect"
import * as VirtualTime from "../../src/testing/VirtualTime.ts"
import { tried } from "../proofs.ts"

/**
 * Runs the trial in virtual time under many seeds, in an ordinary run under a third of them. One that fails says which
 * seed: `PROPERTY_SEED` begins with it, and the same seed is the same run to the last step.
 */
export const law = <E>(trials: number, trial: Effect.Effect<void, E>): void => {
  const first = Number(process.env["PROPERTY_SEED"] ?? 0)
  for (let seed = first; seed < first + tried(Math.ceil(trials / 3), trials); seed++) {
    const exit = VirtualTime.run(() => trial, { seed })
    if (Exit.isFailure(exit)) {
      throw new Error(`PROPERTY_SEED=${seed} replays it: ${Cause.pretty(exit.cause)}`)
    }
  }
}

/**
 * Runs the effect in a fiber that may be suspended between any two of its operations, and interrupts it at a random
 * point of a random instant of the next `within` milliseconds. Waits for its exit, and tells that and the instant.
 */
export const interruptedSomewhere = <A, E, R>(self: Effect.Effect<A, E, R>, within: number) =>
  Effect.gen(function*() {
    const operations = yield* Random.nextIntBetween(3, 9)
    const fiber = yield* Effect.forkChild(Effect.provideService(self, Scheduler.MaxOpsBeforeYield, operations))
    if (yield* Random.nextBoolean) yield* Effect.sleep(yield* Random.nextIntBetween(0, within))
    const steps = yield* Random.nextIntBetween(0, 25)
    for (let i = 0; i < steps; i++) yield* Effect.yieldNow
    const at = yield* Clock.currentTimeMillis
    fiber.interruptUnsafe()
    return { exit: yield* Fiber.await(fiber), at }
  })

/** Work of a few random steps and waits, up to so many milliseconds. */
export const someSteps = (within: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    const steps = yield* Random.nextIntBetween(0, 3)
    for (let i = 0; i < steps; i++) {
      yield* (yield* Random.nextBoolean) ? Effect.yieldNow : Effect.sleep(yield* Random.nextIntBetween(0, within))
    }
  })
