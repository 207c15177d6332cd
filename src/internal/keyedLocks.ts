/** Locks by key: one effect at a time for each. A key that nobody holds or waits for takes no room. */
import { Effect, Semaphore } from "effect"

interface Lock {
  readonly semaphore: Semaphore.Semaphore
  /** Who holds it or waits for it. */
  users: number
}

export class KeyedLocks<K> {
  readonly #locks = new Map<K, Lock>()

  /** Runs the effect once the key is free, in the order of those who came. */
  withLock<A, E, R>(key: K, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const lock = this.#locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        lock.users++
        this.#locks.set(key, lock)
        return lock
      }),
      ({ semaphore }) => semaphore.withPermit(self),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) this.#locks.delete(key)
        })
    )
  }

  /** Waits until all who hold or wait for a lock now are done. */
  readonly allDone: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(Array.from(this.#locks.values()), ({ semaphore }) => semaphore.withPermit(Effect.void), {
      concurrency: "unbounded",
      discard: true
    })
  )

  /** How many keys are held. */
  get size(): number {
    return this.#locks.size
  }
}
