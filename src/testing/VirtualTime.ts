/**
 * Runs a whole program in virtual time: nothing is waited for, a day passes in seconds, and the same seed gives the same
 * run to the last step. Fibers are scheduled by a queue of our own; when nothing is left to do at an instant, the clock
 * moves to the next one at which something happens.
 *
 * **When to use**
 *
 * For simulations of thousands of clients. In a test of one behaviour Effect's `TestClock` is the plain choice.
 *
 * **Gotchas**
 *
 * Only what waits by Effect's `Clock` can run here. A program that waits for a real promise, socket or timer has nothing
 * left to do in virtual time and fails with `NothingLeft`.
 */
import { Clock, Context, Duration, Effect, Exit, Random, Scheduler, Schema } from "effect"
import { checks } from "../internal/options.ts"

/** The program waits for something that virtual time knows nothing of: a promise, a socket, a deferred nobody completes. */
export class NothingLeft extends Schema.TaggedError<NothingLeft>()("NothingLeft", {
  /** Virtual epoch milliseconds at which everything stood still. */
  at: Schema.Finite
}) {}

/** The clock of a run, for models that schedule plain functions. */
export interface VirtualClock extends Clock.Clock {
  /** Calls `f` after so many milliseconds, at once for what is not above 0; the returned function takes it back. */
  readonly schedule: (millis: number, f: () => void) => () => void
}

export interface Options {
  /** Seeds `Random`. Defaults to 1. */
  readonly seed?: number | undefined
  /** Epoch milliseconds at the start. Defaults to 0. */
  readonly start?: number | undefined
}

/**
 * Runs the program that `build` makes from the clock, until it ends. Synchronous. Throws `InvalidOptions` for a start that
 * is no time.
 */
export const run = <A, E>(
  build: (clock: VirtualClock) => Effect.Effect<A, E>,
  options: Options = {}
): Exit.Exit<A, E | NothingLeft> => {
  const tasks = new TaskQueue()
  const clock = new HeapClock(checks("VirtualTime").number("start", options.start, 0))
  const context = Context.make(Clock.Clock, clock).pipe(
    Context.add(Scheduler.Scheduler, new Scheduler.MixedScheduler("async", (f) => tasks.add(f)))
  )
  const fiber = Effect.runForkWith(context)(Effect.suspend(() => build(clock)).pipe(Random.withSeed(options.seed ?? 1)))
  for (;;) {
    tasks.drain()
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return exit
    if (!clock.next()) {
      fiber.interruptUnsafe()
      tasks.drain()
      return Exit.fail(new NothingLeft({ at: clock.currentTimeMillisUnsafe() }))
    }
  }
}

/** First in, first out; what is added while it drains is drained too. */
class TaskQueue {
  #tasks: Array<(() => void) | undefined> = []

  add(f: () => void): () => void {
    const tasks = this.#tasks
    const index = tasks.push(f) - 1
    return () => {
      tasks[index] = undefined
    }
  }

  drain(): void {
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks
      this.#tasks = []
      for (let i = 0; i < tasks.length; i++) tasks[i]?.()
    }
  }
}

/** One thing that will happen. */
interface Timer {
  readonly at: number
  /** Of two at one instant the earlier made goes first. */
  readonly order: number
  f: (() => void) | undefined
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

class HeapClock implements VirtualClock {
  /** A binary heap, the next timer first. What was taken back stays until its time comes or half the heap is such. */
  #heap: Array<Timer> = []
  #takenBack = 0
  #order = 0
  #now: number

  constructor(start: number) {
    this.#now = start
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.#now)
  }
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  currentTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.#now * 1_000)) * 1_000n
  }
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  monotonicTimeNanosUnsafe(): bigint {
    return this.currentTimeNanosUnsafe()
  }
  readonly monotonicTimeNanos = this.currentTimeNanos

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const cancel = this.schedule(Duration.toMillis(duration), () => resume(Effect.void))
      return Effect.sync(cancel)
    })
  }

  schedule(millis: number, f: () => void): () => void {
    if (millis === Infinity) return () => {}
    const timer: Timer = { at: this.#now + (millis > 0 ? millis : 0), order: this.#order++, f }
    this.#heap.push(timer)
    this.#up(this.#heap.length - 1)
    return () => {
      if (timer.f === undefined) return
      timer.f = undefined
      this.#takenBack++
      if (this.#takenBack > 1_024 && this.#takenBack * 2 > this.#heap.length) this.#compact()
    }
  }

  /** Moves to the next instant and does the first thing there. False when nothing is left. */
  next(): boolean {
    for (;;) {
      const timer = this.#pop()
      if (timer === undefined) return false
      const { f } = timer
      if (f === undefined) {
        this.#takenBack--
        continue
      }
      timer.f = undefined
      this.#now = Math.max(this.#now, timer.at)
      f()
      return true
    }
  }

  #compact(): void {
    const kept = this.#heap.filter((timer) => timer.f !== undefined)
    // Sorted is a heap too.
    kept.sort((a, b) => before(a, b) ? -1 : 1)
    this.#heap = kept
    this.#takenBack = 0
  }

  #up(from: number): void {
    const heap = this.#heap
    const timer = heap[from]!
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(timer, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let index = 0
    for (;;) {
      let child = index * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
    return first
  }
}
