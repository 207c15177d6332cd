/**
 * Talks with a store in the background, again and again, so that nobody else has to wait for it. Whatever goes wrong there
 * is told once and tried again.
 */
import { Clock, Effect, Exit, Queue, type Scope, Semaphore } from "effect"
import * as Event from "../../Event.ts"

export interface Options {
  /** In events: what goes on alone while the store is away. */
  readonly subject: string
  readonly intervalMillis: number
  /** An answer that takes longer is not waited for. */
  readonly maxWaitMillis: number
  /** While the store is away the pauses grow to this. */
  readonly longestPauseMillis: number
  /** One exchange with the store. True when there is more to say at once. */
  readonly exchange: Effect.Effect<boolean, unknown>
}

export interface Beat {
  /** Whether the last exchange succeeded. */
  readonly connected: () => boolean
  /** Has the next exchange come soon. */
  readonly wake: () => void
  /** One exchange now, or when the one under way has ended. True when it succeeded. */
  readonly now: Effect.Effect<boolean>
}

/** Begins with an exchange, which is waited for, and goes on with the scope. */
export const make = Effect.fnUntraced(function*(
  { exchange, intervalMillis, longestPauseMillis, maxWaitMillis, subject }: Options
): Effect.fn.Return<Beat, never, Scope.Scope> {
  const sink = yield* Event.Sink
  const alarm = yield* Queue.sliding<void>(1)
  const alone = yield* Semaphore.make(1)
  let connected = true
  let failures = 0

  const once = Effect.gen(function*() {
    const exit = yield* Effect.exit(Effect.timeout(exchange, maxWaitMillis))
    const well = Exit.isSuccess(exit)
    failures = well ? 0 : failures + 1
    if (well !== connected) {
      connected = well
      const message = well ? "the shared store is back" : "the shared store does not answer, going on alone"
      sink?.(Event.Noted.make({ at: yield* Clock.currentTimeMillis, subject, message }))
    }
    if (well && exit.value) Queue.offerUnsafe(alarm, undefined)
    return well
  })
  const now = alone.withPermits(1)(once)
  const pause = Effect.suspend(() => {
    if (failures > 0) {
      return Effect.sleep(Math.min(intervalMillis * 2 ** (failures - 1), longestPauseMillis))
    }
    // Not even who is woken all the time floods the store.
    const shortest = intervalMillis / 8
    return Effect.andThen(
      Effect.sleep(shortest),
      Effect.raceFirst(Effect.sleep(intervalMillis - shortest), Queue.take(alarm))
    )
  })

  yield* now
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(pause, now)))
  return {
    connected: () => connected,
    wake: () => void Queue.offerUnsafe(alarm, undefined),
    now
  }
})
