/**
 * One piece of work for all who ask for the same thing at once. The work belongs to nobody: it survives the caller that
 * began it and is interrupted when the last one leaves.
 */
import { Clock, Context, Effect, Exit, Fiber } from "effect"
import { current as currentDeadline } from "../Deadline.ts"
import { arm, disarm } from "./deadlineTimer.ts"

/** Work in progress. */
export interface Flight {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** The deadline of whoever began it, in epoch milliseconds. */
  readonly deadline: number
  /** Those who wait, and 1 for the cache itself while it refreshes. */
  waiters: number
  /** What it answers must not be kept: it was invalidated while it ran, or took too long. */
  discarded: boolean
}

/** What a caller brings. `onEnd` is part of the work: it is done before anybody is answered, unless interrupted. */
export interface Work<A, E, R> {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  /** Asked once, when the work is begun; `discarded` tells from then on whether its answer must not be kept. */
  readonly effect: (discarded: () => boolean) => Effect.Effect<A, E, R>
  readonly onEnd: (exit: Exit.Exit<A, E>, discarded: boolean, now: number) => void
  /** Asked before the work is begun: what has been answered since the caller looked. */
  readonly ready?: ((fiber: Fiber.Fiber<unknown, unknown>) => Exit.Exit<A, E> | undefined) | undefined
  /** What a caller who joined is told when his deadline passes before that of the work; else he waits on. */
  readonly late?: (() => E) | undefined
  /** Told once whether the caller began the work or joined it. */
  readonly onJoin?: ((began: boolean) => void) | undefined
}

export class SingleFlight {
  private readonly flights = new Map<string, Flight>()
  /** All that run, those that may no longer be joined included. */
  readonly running = new Set<Flight>()

  /** Joins the work under way for the key, or begins it. */
  join<A, E, R>(work: Work<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.withFiber((fiber) =>
      // Begun, counted and given back inside one primitive, so that no interruption fits between.
      Effect.callback<A, E, R>((resume) => {
        const known = this.flights.get(work.key)
        const ready = known === undefined ? work.ready?.(fiber) : undefined
        if (ready !== undefined) return resume(ready)
        const flight = known ?? this.begin(work, fiber.context)
        work.onJoin?.(known === undefined)
        const answer = (exit: Exit.Exit<unknown, unknown>): void =>
          resume(
            known !== undefined && this.outlived(flight, exit, fiber)
              ? this.join({ ...work, onJoin: undefined })
              // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one key, one kind of work
              : exit as Exit.Exit<A, E>
          )
        const exit = flight.fiber.pollUnsafe()
        if (exit !== undefined) return answer(exit)
        flight.waiters++
        const deadline = fiber.getRef(currentDeadline)
        const timer = known === undefined || work.late === undefined || deadline >= flight.deadline
          ? undefined
          : arm(fiber, Math.max(0, deadline - nowOf(fiber)), () => {
            forget()
            if (this.leave(flight)) flight.fiber.interruptUnsafe(fiber.id)
            resume(Exit.fail(work.late!()))
          })
        const forget = flight.fiber.addObserver((exit) => {
          disarm(timer)
          answer(exit)
        })
        return Effect.suspend(() => {
          disarm(timer)
          forget()
          return this.leave(flight) ? Fiber.interrupt(flight.fiber) : Effect.void
        })
      })
    )
  }

  /**
   * Begins the work for nobody in particular, unless it is under way; no caller's deadline limits it. After `maxMillis`
   * it is not joined any more, and not kept; it only goes on for those who joined. Tells whether it began the work.
   */
  refresh<A, E, R>(work: Work<A, E, R>, fiber: Fiber.Fiber<unknown, unknown>, maxMillis: number): boolean {
    if (this.flights.has(work.key)) return false
    const flight = this.begin(work, Context.add(fiber.context, currentDeadline, Infinity))
    if (flight.fiber.pollUnsafe() !== undefined) return true
    flight.waiters++
    const timer = arm(fiber, maxMillis, () => {
      this.overtake(flight)
      if (this.leave(flight)) flight.fiber.interruptUnsafe()
    })
    flight.fiber.addObserver(() => disarm(timer))
    return true
  }

  /** What runs under the key is not joined any more, and not kept. */
  discard(matches: (flight: Flight) => boolean): void {
    for (const flight of this.running) if (matches(flight)) this.overtake(flight)
  }

  /** Interrupts all that runs, and waits for its end. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Fiber.interruptAll(Array.from(this.running, (flight) => flight.fiber))
  )

  private begin<A, E, R>(work: Work<A, E, R>, context: Context.Context<never>): Flight {
    // Work that ends at once does so before there is a flight, and so before anybody could make it invalid.
    let flight: Flight | undefined
    const discarded = (): boolean => flight?.discarded === true
    const end = (exit: Exit.Exit<A, E>): Exit.Exit<A, E> => {
      work.onEnd(exit, discarded(), now())
      return exit
    }
    const clock = Context.get(context, Clock.Clock)
    const now = (): number => clock.currentTimeMillisUnsafe()
    const whole = Effect.matchCauseEffect(work.effect(discarded), {
      onFailure: (cause) => end(Exit.failCause(cause)),
      onSuccess: (value) => end(Exit.succeed(value))
    })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what runs an Effect<_, _, R> holds R
    const fiber = Effect.runForkWith(context as Context.Context<R>)(whole)
    const own: Flight = {
      key: work.key,
      tags: work.tags,
      fiber,
      deadline: Context.get(context, currentDeadline),
      waiters: 0,
      discarded: false
    }
    flight = own
    this.flights.set(work.key, own)
    this.running.add(own)
    fiber.addObserver(() => {
      this.running.delete(own)
      this.detach(own)
    })
    return own
  }

  private overtake(flight: Flight): void {
    flight.discarded = true
    this.detach(flight)
  }

  private detach(flight: Flight): void {
    if (this.flights.get(flight.key) === flight) this.flights.delete(flight.key)
  }

  /** Tells whether nobody waits any more, so that the work is to be interrupted. */
  private leave(flight: Flight): boolean {
    flight.waiters--
    if (flight.waiters > 0) return false
    // Nobody may join work that is being interrupted.
    this.detach(flight)
    return true
  }

  /** The work ended for want of its beginner's time, and the fiber has more. */
  private outlived(
    flight: Flight,
    exit: Exit.Exit<unknown, unknown>,
    fiber: Fiber.Fiber<unknown, unknown>
  ): boolean {
    if (exit._tag === "Success" || flight.deadline === Infinity) return false
    const now = nowOf(fiber)
    return now >= flight.deadline && fiber.getRef(currentDeadline) > now
  }
}

const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
