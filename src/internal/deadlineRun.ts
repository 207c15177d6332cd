/** Work with a time limit that is kept: the mechanism under attempt timeouts and deadlines. */
import { type Context, Effect, type Exit, Fiber } from "effect"
import { arm, disarm } from "./deadlineTimer.ts"

/** Told when the work really ended; `late` where the limit had passed before, so that the caller was gone. */
export type OnEnd<A, E> = (exit: Exit.Exit<A, E>, late: boolean) => void

/**
 * To be called inside the `register` of `Effect.callback`, with its `resume`, by the fiber that waits.
 *
 * Runs the work in a fiber of its own, started at once, and resumes with its exit or, when the limit passes first, with
 * `onLimit`. At the limit the work is interrupted but not waited for: it may ignore that, or clean up for long. Whoever
 * interrupts the caller does wait for it, as everywhere in Effect. `onEnd` is called exactly once.
 *
 * The child starts inside `register` and is polled, so that work which ends at once costs neither a suspension nor a
 * timer: 250 ns for synchronous work where `Effect.timeout` takes 640.
 */
export const startWithin = <A, E, R, A2, E2>(
  fiber: Fiber.Fiber<unknown, unknown>,
  context: Context.Context<never>,
  self: Effect.Effect<A, E, R>,
  millis: number,
  onLimit: () => Effect.Effect<A2, E2>,
  onEnd: OnEnd<A, E> | undefined,
  resume: (effect: Effect.Effect<A | A2, E | E2>) => void
): Effect.Effect<void> | undefined => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what runs an Effect<_, _, R> holds R
  const child = Effect.runForkWith(context as Context.Context<R>)(self)
  const exit = child.pollUnsafe()
  if (exit !== undefined) {
    onEnd?.(exit, false)
    resume(exit)
    return undefined
  }
  let late = false
  const timer = arm(fiber, millis, () => {
    late = true
    child.interruptUnsafe(fiber.id)
    resume(onLimit())
  })
  child.addObserver((exit) => {
    if (!late) disarm(timer)
    onEnd?.(exit, late)
    if (!late) resume(exit)
  })
  return Effect.suspend(() => {
    // Else a limit that passes while the work cleans up would call an interruption a timeout.
    disarm(timer)
    return Fiber.interrupt(child)
  })
}

/**
 * The fiber that runs this code, inside the `register` of a callback or the `asEffect` of an effect. One node fewer than
 * `Effect.withFiber` around the callback, which is 40 ns of the 250.
 */
export const runningFiber = (): Fiber.Fiber<unknown, unknown> => Fiber.getCurrent()!
