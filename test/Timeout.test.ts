import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import type { InvalidOptions } from "../src/InvalidOptions.ts"
import * as Pipeline from "../src/Pipeline.ts"
import * as Timeout from "../src/Timeout.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

const fork = Effect.forkChild({ startImmediately: true })

/** The exit of the effect and when it came, after so much time. */
const after = <A, E, R>(duration: Duration.Input, self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const started = yield* Clock.currentTimeMillis
    const fiber = yield* fork(Effect.all([Effect.exit(self), Clock.currentTimeMillis]))
    yield* TestClock.adjust(duration)
    const [exit, at] = yield* Fiber.join(fiber)
    return { exit, millis: at - started }
  })

const failed = (exit: Exit.Exit<unknown, unknown>): unknown => Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit

it.effect("passes on what ends in time: value, failure and defect", () =>
  Effect.gen(function*() {
    const within = Timeout.attempt("1 second")
    expectTypeOf(Effect.fail("no" as const).pipe(within)).toEqualTypeOf<
      Effect.Effect<never, "no" | Timeout.TimedOut>
    >()
    assert.strictEqual(yield* Effect.succeed(1).pipe(within), 1)
    assert.strictEqual(yield* Effect.flip(Effect.fail("no").pipe(within)), "no")
    assert.isTrue(Exit.hasDies(yield* Effect.exit(Effect.die("bug").pipe(within))))
    const { exit, millis } = yield* after("2 seconds", Effect.as(Effect.sleep("999 millis"), "late").pipe(within))
    assert.deepStrictEqual([exit, millis], [Exit.succeed("late"), 999])
  }))

it.effect("fails at the limit and cancels the work", () =>
  Effect.gen(function*() {
    let cancelled = false
    const slow = Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => void (cancelled = true))))
    const { exit, millis } = yield* after("2 seconds", slow.pipe(Timeout.attempt("1 second")))
    const error = failed(exit)
    assert.instanceOf(error, Timeout.TimedOut)
    assert.strictEqual(error.message, "The attempt timed out after 1s")
    assert.deepStrictEqual([millis, cancelled], [1000, true])
  }))

it.effect("returns on time where the work ignores its interruption, and tells when it really ended", () =>
  Effect.gen(function*() {
    const ends: Array<readonly [boolean, number]> = []
    const clock = yield* Clock.Clock
    const stubborn = Effect.uninterruptible(Effect.sleep("10 seconds"))
    const limited = stubborn.pipe(Timeout.attemptWith("1 second", {
      onEnd: (_exit, late) => void ends.push([late, clock.currentTimeMillisUnsafe()])
    }))
    const { millis } = yield* after("1 second", limited)
    assert.strictEqual(millis, 1000)
    assert.deepStrictEqual(ends, [])
    yield* TestClock.adjust("9 seconds")
    assert.deepStrictEqual(ends, [[true, 10_000]])
  }))

it.effect("a slow finalizer does not hold the caller up", () =>
  Effect.gen(function*() {
    let cleaned = false
    const work = Effect.never.pipe(
      Effect.ensuring(Effect.andThen(Effect.sleep("5 seconds"), Effect.sync(() => void (cleaned = true))))
    )
    const { millis } = yield* after("1 second", work.pipe(Timeout.attempt("1 second")))
    assert.deepStrictEqual([millis, cleaned], [1000, false])
    yield* TestClock.adjust("5 seconds")
    assert.isTrue(cleaned)
  }))

it.effect("a late success is dropped, and told as late", () =>
  Effect.gen(function*() {
    const ends: Array<unknown> = []
    const late = Effect.uninterruptible(Effect.as(Effect.sleep("2 seconds"), "late"))
    const { exit } = yield* after(
      "5 seconds",
      late.pipe(Timeout.attemptWith("1 second", { onEnd: (exit, late) => void ends.push(Exit.isSuccess(exit), late) }))
    )
    assert.instanceOf(failed(exit), Timeout.TimedOut)
    assert.strictEqual(ends.length, 2)
    assert.isTrue(ends[1])
  }))

it.effect("what ends within its limit, at once or later, is not told as late", () =>
  Effect.gen(function*() {
    const ends: Array<readonly [unknown, boolean]> = []
    const onEnd = (exit: Exit.Exit<string>, late: boolean): void => void ends.push([exit, late])
    for (const work of [Effect.succeed("at once"), Effect.as(Effect.sleep("500 millis"), "later")]) {
      yield* after("1 second", work.pipe(Timeout.attemptWith("1 second", { onEnd })))
    }
    assert.deepStrictEqual(ends, [[Exit.succeed("at once"), false], [Exit.succeed("later"), false]])
  }))

it.effect("interrupting the caller interrupts the work and waits for its end", () =>
  Effect.gen(function*() {
    const order: Array<string> = []
    const work = Effect.never.pipe(
      Effect.ensuring(Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void order.push("cleaned"))))
    )
    const fiber = yield* fork(work.pipe(Timeout.attempt("1 minute")))
    const ending = yield* fork(
      Effect.andThen(Fiber.interrupt(fiber), Effect.sync(() => void order.push("interrupted")))
    )
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(ending)
    assert.deepStrictEqual(order, ["cleaned", "interrupted"])
  }))

it.effect("holds inside an uninterruptible caller", () =>
  Effect.gen(function*() {
    const { exit, millis } = yield* after(
      "2 seconds",
      Effect.uninterruptible(Effect.never.pipe(Timeout.attempt("1 second")))
    )
    assert.instanceOf(failed(exit), Timeout.TimedOut)
    assert.strictEqual(millis, 1000)
  }))

it.effect("zero fails without beginning, infinity is no limit, a function is asked for each attempt", () =>
  Effect.gen(function*() {
    let calls = 0
    const work = Effect.andThen(Effect.sync(() => calls++), Effect.sleep("1 minute"))
    const zero = yield* Effect.exit(work.pipe(Timeout.attempt(0)))
    assert.instanceOf(failed(zero), Timeout.TimedOut)
    assert.strictEqual(calls, 0)
    const free = yield* after("1 minute", work.pipe(Timeout.attempt(Infinity)))
    assert.isTrue(Exit.isSuccess(free.exit))
    const limits = [Duration.seconds(1), Duration.seconds(2)]
    const dynamic = work.pipe(Timeout.attempt(() => limits.shift() ?? "3 seconds"))
    const taken = [yield* after("5 seconds", dynamic), yield* after("5 seconds", dynamic)]
    assert.deepStrictEqual(taken.map(({ millis }) => millis), [1000, 2000])
  }))

// -- promises --------------------------------------------------------------------------------------------------------

const never = (): Promise<never> => new Promise<never>(() => {})

it.effect("a promise function is aborted at the limit by its own signal, and only its own", () =>
  Effect.gen(function*() {
    const signals: Array<AbortSignal> = []
    const hang = (signal: AbortSignal): Promise<never> => {
      signals.push(signal)
      return never()
    }
    const slow = yield* fork(Timeout.promise("5 seconds", hang))
    const quick = yield* fork(Effect.flip(Timeout.promise("1 second", hang)))
    yield* TestClock.adjust("1 second")
    const error = yield* Fiber.join(quick)
    assert.strictEqual(error._tag, "TimedOut")
    // opossum aborts every call of the breaker when one times out.
    assert.deepStrictEqual(signals.map(({ aborted }) => aborted), [false, true])
    assert.strictEqual(signals[1]?.reason, error)
    yield* Fiber.interrupt(slow)
    assert.isTrue(signals[0]?.aborted)
  }))

it.effect("a foreign promise that answers twice ends once, and what it throws when asked is its rejection", () =>
  Effect.gen(function*() {
    const ends: Array<readonly [Exit.Exit<unknown, unknown>, late: boolean]> = []
    const onEnd = (exit: Exit.Exit<unknown, unknown>, late: boolean): void => void ends.push([exit, late])
    // oxlint-disable unicorn/no-thenable -- that is what it is
    const twice: PromiseLike<number> = {
      then: (resolve, reject) => {
        void resolve?.(1)
        void reject?.("too late")
        return twice as never
      }
    }
    const throwing: PromiseLike<number> = {
      then: () => {
        throw new Error("not today")
      }
    }
    // oxlint-enable unicorn/no-thenable
    assert.strictEqual(yield* Timeout.promise("1 second", () => twice, { onEnd }), 1)
    const thrown = yield* Effect.flip(Timeout.promise("1 second", () => throwing, { onEnd, catch: String }))
    assert.strictEqual(thrown, "Error: not today")
    assert.deepStrictEqual(ends, [[Exit.succeed(1), false], [Exit.fail("Error: not today"), false]])
  }))

it.effect("a limit below zero is over, and told as zero", () =>
  Effect.gen(function*() {
    const timeout = yield* Timeout.make()
    const late = [
      Timeout.attempt(-5)(Effect.void),
      Timeout.promise(-5, () => Promise.resolve()),
      Effect.provideService(timeout.attempt(Effect.void), Deadline.current, (yield* Clock.currentTimeMillis) - 1_000)
    ]
    for (const self of late) {
      assert.deepStrictEqual(yield* Effect.flip(self), new Timeout.TimedOut({ after: Duration.zero }))
    }
  }))

it.effect("a promise's value, rejection and throw come through; a late rejection is swallowed but told", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* Timeout.promise("1 second", () => Promise.resolve(1)), 1)
    const unknown = yield* Effect.flip(Timeout.promise("1 second", () => Promise.reject(new Error("no"))))
    expectTypeOf(unknown).toEqualTypeOf<Cause.UnknownError | Timeout.TimedOut>()
    assert.isTrue(Cause.isUnknownError(unknown))
    const typed = Timeout.promise("1 second", (): Promise<number> => {
      throw new Error("at once")
    }, { catch: (cause) => `caught ${String(cause)}` })
    expectTypeOf(typed).toEqualTypeOf<Effect.Effect<number, string | Timeout.TimedOut>>()
    assert.strictEqual(yield* Effect.flip(typed), "caught Error: at once")
    const broken = Timeout.promise("1 second", () => Promise.reject("x"), {
      catch: () => {
        throw new Error("the mapping is broken")
      }
    })
    assert.isTrue(Exit.hasDies(yield* Effect.exit(broken)))

    const ends: Array<readonly [boolean, boolean]> = []
    const latch = Promise.withResolvers<never>()
    const fiber = yield* fork(Effect.flip(Timeout.promise("1 second", () => latch.promise, {
      onEnd: (exit, late) => void ends.push([Exit.isFailure(exit), late])
    })))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* Fiber.join(fiber))._tag, "TimedOut")
    assert.deepStrictEqual(ends, [])
    latch.reject(new Error("late"))
    yield* Effect.promise(() => Promise.resolve())
    assert.deepStrictEqual(ends, [[true, true]])
  }))

// -- the policy ------------------------------------------------------------------------------------------------------

it.effect("a policy's attempt takes at most half of what remains to the deadline", () =>
  Effect.gen(function*() {
    const timeout = yield* Timeout.make({ timeout: "10 seconds" })
    assert.strictEqual((yield* after("1 minute", Effect.never.pipe(timeout.attempt))).millis, 10_000)
    const two = yield* after(
      "1 minute",
      Effect.all([Effect.flip(Effect.never.pipe(timeout.attempt)), Effect.flip(Effect.never.pipe(timeout.attempt))])
        .pipe(Deadline.within("4 seconds"))
    )
    // Two seconds, then one: the deadline of four is not reached.
    assert.strictEqual(two.millis, 3000)
    assert.isTrue(Exit.isSuccess(two.exit))
  }))

it.effect("a limit from the live quantile: three times p99, between floor and timeout", () =>
  Effect.gen(function*() {
    const timeout = yield* Timeout.make({ timeout: "5 seconds", quantile: { minSamples: 100, floor: "50 millis" } })
    const call = (millis: number) => after(millis, Effect.sleep(millis).pipe(timeout.attempt))
    const limit = Effect.map(timeout.limit, Duration.toMillis)
    for (let i = 0; i < 99; i++) yield* call(100)
    assert.strictEqual(yield* limit, 5000)
    yield* call(100)
    assert.strictEqual(yield* limit, 300)
    assert.strictEqual((yield* after("1 minute", Effect.never.pipe(timeout.attempt))).millis, 300)
    assert.strictEqual(
      (yield* after("1 minute", timeout.promise(never))).millis,
      300
    )
    // A provider that became slow is not cut off for ever: what is cut off raises the limit, up to the timeout.
    for (let i = 0; i < 200; i++) yield* call(800)
    assert.isAtLeast(yield* limit, 800)
    // And what is old does not count.
    yield* TestClock.adjust("10 minutes")
    assert.strictEqual(yield* limit, 5000)
  }))

it.effect("quick failures say nothing of how long an answer takes", () =>
  Effect.gen(function*() {
    const timeout = yield* Timeout.make({ quantile: { p: 0.5, minSamples: 10 } })
    for (let i = 0; i < 10; i++) yield* after(100, Effect.sleep(100).pipe(timeout.attempt))
    for (let i = 0; i < 100; i++) yield* Effect.exit(Effect.fail("refused").pipe(timeout.attempt))
    assert.deepStrictEqual(yield* timeout.limit, Duration.millis(300))
  }))

it.effect("work that never began for want of time is told as ended, too", () =>
  Effect.gen(function*() {
    const ends: Array<unknown> = []
    const onEnd = (exit: Exit.Exit<unknown, unknown>, late: boolean) => void ends.push([Exit.hasInterrupts(exit), late])
    const timeout = yield* Timeout.make({ quantile: {} })
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      Effect.void.pipe(Timeout.attemptWith<void, never>(() => 0, { onEnd })),
      Timeout.promise(0, never, { onEnd }),
      Effect.andThen(Effect.sleep(1), timeout.promise(never, { onEnd })).pipe(
        Effect.provideService(Deadline.current, 0)
      )
    ]
    for (const [index, attempt] of attempts.entries()) {
      assert.instanceOf(failed((yield* after("1 second", attempt)).exit), Timeout.TimedOut)
      assert.deepStrictEqual(ends.splice(0), [[true, true]], String(index))
    }
  }))

it.effect("what a caller's deadline cut off does not lower the limit, neither alone nor in a pipeline", () =>
  Effect.gen(function*() {
    const options = { timeout: "10 seconds", quantile: { minSamples: 10 } } as const
    const timeout = yield* Timeout.make(options)
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: options })
    const work = Effect.sleep("1 second")
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      work.pipe(timeout.attempt),
      timeout.promise(never),
      work.pipe(pipeline.protect({ operation: "o" }))
    ]
    for (const attempt of attempts) {
      for (let i = 0; i < 20; i++) yield* after(200, attempt.pipe(Deadline.within("100 millis")))
    }
    assert.deepStrictEqual(yield* timeout.limit, Duration.seconds(10))
    for (const attempt of [attempts[0]!, attempts[2]!]) {
      assert.isTrue(Exit.isSuccess((yield* after("5 seconds", attempt)).exit))
    }
    // Its own cut-offs count.
    for (let i = 0; i < 10; i++) yield* after(1_000, work.pipe(timeout.attempt))
    for (let i = 0; i < 20; i++) yield* after("1 minute", Effect.never.pipe(timeout.attempt))
    assert.isAbove(Duration.toMillis(yield* timeout.limit), 3_500)
  }))

it.effect("names the option that makes no sense", () =>
  Effect.gen(function*() {
    const field = (options: Timeout.Options) =>
      Effect.map(Effect.flip(Timeout.make(options)), (error: InvalidOptions) => error.field)
    assert.strictEqual(yield* field({ timeout: 0 }), "timeout")
    assert.strictEqual(yield* field({ ofRemaining: 2 }), "ofRemaining")
    assert.strictEqual(yield* field({ quantile: { p: 0 } }), "quantile.p")
    assert.strictEqual(yield* field({ timeout: "1 second", quantile: { floor: "2 seconds" } }), "quantile.floor")
  }))

it.effect("as a service", () =>
  Effect.gen(function*() {
    const timeout = yield* Timeout.Timeout
    assert.strictEqual((yield* after("1 minute", Effect.never.pipe(timeout.attempt))).millis, 2000)
  }).pipe(Effect.provide(Timeout.Timeout.layer({ timeout: "2 seconds" }))))

it.effect("a long loop of timed work lets other fibers run", () =>
  Effect.gen(function*() {
    let turns = 0
    const other = yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sync(() => turns++), Effect.yieldNow)))
    let left = 20_000
    const work = Effect.sync(() => void left--).pipe(Timeout.attempt("1 second"))
    yield* Effect.whileLoop({ while: () => left > 0, body: () => work, step: () => {} })
    yield* Fiber.interrupt(other)
    assert.isAtLeast(turns, 5)
  }))

it("interruption law: whenever it comes, the work has ended once and with the caller, or late after the limit", () => {
  const seen = { interrupted: 0, late: 0, inTime: 0 }
  law(
    5000,
    Effect.gen(function*() {
      let running = 0
      const ends: Array<boolean> = []
      const stubborn = yield* Random.nextBoolean
      const started = yield* Deferred.make<void>()
      const work = Effect.suspend(() => {
        running++
        return Effect.andThen(Deferred.succeed(started, undefined), someSteps(60))
      }).pipe(Effect.ensuring(Effect.andThen(someSteps(10), Effect.sync(() => running--))))
      const limited = (stubborn ? Effect.uninterruptible(work) : work).pipe(
        Timeout.attemptWith(40, { onEnd: (_exit, late) => void ends.push(late) })
      )
      const { at, exit } = yield* interruptedSomewhere(limited, 100)
      const begun = yield* Deferred.isDone(started)
      const timedOut = Exit.isFailure(exit) && failed(exit) instanceof Timeout.TimedOut
      // Whoever is interrupted or answered has no work left; only a limit leaves some behind.
      if (!timedOut) assert.strictEqual(running, 0)
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual({ running, ends: ends.length }, { running: 0, ends: begun ? 1 : 0 })
      // An interruption is no timeout, however long the work then takes to clean up.
      if (timedOut) assert.isTrue(ends[0])
      else if (at < 40) assert.isNotTrue(ends[0])
      if (timedOut) seen.late++
      else if (Exit.hasInterrupts(exit)) seen.interrupted++
      else seen.inTime++
    })
  )
  for (const times of Object.values(seen)) assert.isAbove(times, 100)
})

// -- the live clock --------------------------------------------------------------------------------------------------

it.live("on the live clock it answers while the work goes on, and leaves no timer that holds the process", () =>
  Effect.gen(function*() {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
    const gate = yield* Deferred.make<void>()
    const stubborn = Effect.uninterruptible(Deferred.await(gate))
    const started = performance.now()
    // Effect.timeout would wait for the gate, that is for ever.
    assert.strictEqual((yield* Effect.flip(stubborn.pipe(Timeout.attempt("20 millis"))))._tag, "TimedOut")
    assert.isAtLeast(performance.now() - started, 19)
    const before = timers()
    const pending = yield* fork(Deferred.await(gate).pipe(Timeout.attempt("1 hour")))
    assert.strictEqual(timers(), before + 1)
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(pending)
    assert.strictEqual(timers(), before)
  }))

it.live("timers of one duration fire in the order they were set, those cancelled not at all", () =>
  Effect.gen(function*() {
    const order: Array<number> = []
    const fibers = yield* Effect.forEach([0, 1, 2, 3, 4], (i) =>
      fork(
        Effect.never.pipe(
          Timeout.attempt("15 millis"),
          Effect.catchTag("TimedOut", () => Effect.sync(() => order.push(i)))
        )
      ))
    yield* Fiber.interrupt(fibers[0]!)
    yield* Fiber.interrupt(fibers[2]!)
    yield* Fiber.interrupt(fibers[4]!)
    const later = yield* fork(Effect.exit(Effect.never.pipe(Timeout.attempt("15 millis"))))
    yield* Fiber.join(later)
    assert.deepStrictEqual(order, [1, 3])
  }))
