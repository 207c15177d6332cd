import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import * as Event from "../src/Event.ts"
import * as Hedge from "../src/Hedge.ts"
import * as Retry from "../src/Retry.ts"
import * as RetryBudget from "../src/RetryBudget.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

const fork = Effect.forkChild({ startImmediately: true })
const twice = { operation: "get", idempotent: true }

/** What one attempt does: waits, then answers or fails. */
interface Attempt {
  readonly takes: number
  readonly fails?: string
}

/** Attempts by index, and what became of them. */
const attempts = (plan: ReadonlyArray<Attempt>) => {
  const starts: Array<number> = []
  const interrupted: Array<number> = []
  const work = (index: number) =>
    Effect.gen(function*() {
      starts[index] = yield* Clock.currentTimeMillis
      const { fails, takes } = plan[index] ?? { takes: 0, fails: "unplanned" }
      yield* Effect.sleep(takes)
      return fails === undefined ? `answer ${index}` : yield* Effect.fail(fails)
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => void interrupted.push(index))))
  return { work, starts, interrupted }
}

const after = <A, E, R>(duration: Duration.Input, self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const started = yield* Clock.currentTimeMillis
    const fiber = yield* fork(Effect.all([Effect.exit(self), Clock.currentTimeMillis]))
    yield* TestClock.adjust(duration)
    const [exit, at] = yield* Fiber.join(fiber)
    return { exit, millis: at - started }
  })

it.effect("a slow first attempt gets a second beside it; the first success wins and the other is interrupted", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const one = attempts([{ takes: 1000 }, { takes: 50 }])
    const { exit, millis } = yield* after("5 seconds", hedge.execute(twice)(one.work))
    assert.deepStrictEqual([exit, millis], [Exit.succeed("answer 1"), 150])
    assert.deepStrictEqual([one.starts, one.interrupted], [[0, 100], [0]])

    const other = attempts([{ takes: 120 }, { takes: 50 }])
    const won = yield* after("5 seconds", hedge.execute(twice)(other.work))
    assert.deepStrictEqual([won.exit, won.millis, other.interrupted], [Exit.succeed("answer 0"), 120, [1]])
  }))

it.effect("a quick first attempt is the only one, and leaves no timer", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const { starts, work } = attempts([{ takes: 99 }])
    const { millis } = yield* after("5 seconds", hedge.execute(twice)(work))
    assert.deepStrictEqual([millis, starts.length], [99, 1])
    assert.strictEqual(yield* Effect.succeed(1).pipe(hedge.execute(twice)), 1)
  }))

it.effect("first success, not first result: a hedge that fails at once does not decide", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const { interrupted, work } = attempts([{ takes: 300 }, { takes: 10, fails: "hedge" }])
    const { exit, millis } = yield* after("5 seconds", hedge.execute(twice)(work))
    assert.deepStrictEqual([exit, millis, interrupted], [Exit.succeed("answer 0"), 300, []])
    const late = attempts([{ takes: 150, fails: "first" }, { takes: 400 }])
    const saved = yield* after("5 seconds", hedge.execute(twice)(late.work))
    assert.deepStrictEqual([saved.exit, saved.millis], [Exit.succeed("answer 1"), 500])
  }))

it.effect("where all fail, the failure is the first attempt's, with the others' in the cause", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis", maxHedges: 2 })
    const { work } = attempts([{ takes: 900, fails: "first" }, { takes: 10, fails: "second" }, {
      takes: 10,
      fails: "third"
    }])
    const { exit, millis } = yield* after("5 seconds", hedge.execute(twice)(work))
    assert.strictEqual(millis, 900)
    assert.isTrue(Exit.isFailure(exit))
    if (!Exit.isFailure(exit)) return
    const errors = exit.cause.reasons.map((reason) => Cause.isFailReason(reason) ? reason.error : reason)
    assert.deepStrictEqual(errors, ["first", "second", "third"])
    assert.strictEqual(Cause.squash(exit.cause), "first")
  }))

it.effect("a first attempt that fails before a hedge began fails the call", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const { starts, work } = attempts([{ takes: 50, fails: "first" }])
    const { exit, millis } = yield* after("5 seconds", hedge.execute(twice)(work))
    assert.deepStrictEqual([exit, millis, starts.length], [Exit.fail("first"), 50, 1])
  }))

it.effect("several hedges start one after the other", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis", maxHedges: 2 })
    const { interrupted, starts, work } = attempts([{ takes: 9000 }, { takes: 9000 }, { takes: 50 }])
    const { exit } = yield* after("5 seconds", hedge.execute(twice)(work))
    assert.deepStrictEqual([exit, starts, interrupted], [Exit.succeed("answer 2"), [0, 100, 200], [0, 1]])
    const began: Array<number> = []
    const second = hedge.execute(twice)((index) => {
      began.push(index)
      return index === 0 ? Effect.never : Effect.succeed(index)
    })
    yield* after("5 seconds", second)
    assert.deepStrictEqual(began, [0, 1])
  }))

it.effect("the loser is not waited for; an interrupted caller waits for all", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const stubborn = (index: number) => index === 0 ? Effect.uninterruptible(Effect.sleep("1 minute")) : Effect.void
    const { millis } = yield* after("2 minutes", hedge.execute(twice)(stubborn))
    assert.strictEqual(millis, 100)

    const { interrupted, work } = attempts([{ takes: 9000 }, { takes: 9000 }])
    const fiber = yield* fork(hedge.execute(twice)(work))
    yield* TestClock.adjust("1 second")
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(interrupted, [0, 1])
  }))

it.effect("work that may not be done twice is not hedged", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const { starts, work } = attempts([{ takes: 1000 }])
    yield* after("5 seconds", hedge.execute({ operation: "pay" })(work))
    assert.strictEqual(starts.length, 1)
  }))

it.effect("hedges pay from the budget; an empty one stops new hedges and lets the running ones be", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 2, ratio: 0, floorPerSecond: 0 })
    const hedge = yield* Hedge.make({ delay: "100 millis", budget })
    const call = hedge.execute(twice)(attempts([{ takes: 1000 }, { takes: 500 }]).work)
    const fibers = yield* Effect.forEach([1, 2, 3], () => fork(call))
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["answer 1", "answer 1", "answer 0"])
    assert.deepStrictEqual(yield* budget.stats, { balance: 0, withdrawn: 2, refused: 1 })
  }))

it.effect("retries and hedges share one budget, and a request counts once", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 1, ratio: 0.5, floorPerSecond: 0 })
    yield* budget.withdraw(1)
    const hedge = yield* Hedge.make({ delay: "100 millis", budget, countsRequests: "no" })
    const retry = yield* Retry.make({ budget })
    yield* Effect.void.pipe(hedge.execute(twice), retry.execute(twice))
    assert.strictEqual((yield* budget.stats).balance, 0.5)
    const alone = yield* Hedge.make({ delay: "100 millis", budget })
    yield* Effect.void.pipe(alone.execute(twice))
    assert.strictEqual((yield* budget.stats).balance, 1)
    // The hedge takes the token, so the retry finds none.
    const failing = attempts([{ takes: 200, fails: "first" }, { takes: 10, fails: "second" }])
    const exit = yield* after(
      "5 seconds",
      hedge.execute(twice)(failing.work).pipe(
        retry.execute({ idempotent: true, while: () => true }),
        Effect.sandbox,
        Effect.flip
      )
    )
    assert.isTrue(Exit.isSuccess(exit.exit))
    if (Exit.isSuccess(exit.exit)) assert.strictEqual(Retry.whyGivenUp(exit.exit.value), "BudgetExhausted")
  }))

it.effect("no hedge is begun that could not answer before the deadline", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ delay: "100 millis" })
    const tight = attempts([{ takes: 180 }, { takes: 1 }])
    yield* after("1 second", hedge.execute(twice)(tight.work).pipe(Deadline.within("199 millis")))
    assert.strictEqual(tight.starts.length, 1)
    const roomy = attempts([{ takes: 180 }, { takes: 1 }])
    yield* after("1 second", hedge.execute(twice)(roomy.work).pipe(Deadline.within("200 millis")))
    assert.strictEqual(roomy.starts.length, 2)
  }))

it.effect("the delay follows the live quantile, and calls that lost count as slow", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make({ quantile: { p: 0.9, minSamples: 20 }, budget: "unlimited" })
    const call = (takes: number) => after("10 seconds", hedge.execute(twice)(attempts([{ takes }, { takes: 10 }]).work))
    const delay = Effect.map(hedge.delay, (delay) => delay === undefined ? undefined : Duration.toMillis(delay))
    for (let i = 0; i < 19; i++) yield* call(100)
    assert.isUndefined(yield* delay)
    assert.strictEqual((yield* call(4000)).millis, 4000)
    assert.isAtMost((yield* delay)!, 107)
    // One in four is slow now. Were those that lose to their hedge left out, the delay would stay at 100.
    for (let i = 0; i < 200; i++) yield* call(i % 4 === 0 ? 4000 : 100)
    assert.isAtLeast((yield* delay)!, 110)
  }))

it.effect("each attempt has its index, its target and its share of events; types stay exact", () =>
  Effect.gen(function*() {
    class Service extends Context.Service<Service, string>()("test/HedgeService") {}
    const events: Array<Event.Event> = []
    const hedge = yield* Hedge.make({ provider: "rates", delay: "100 millis" }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    const seen: Array<number> = []
    const work = Effect.gen(function*() {
      const index = yield* Hedge.index
      seen.push(index)
      yield* Effect.sleep(index === 0 ? "1 second" : "1 millis")
      return yield* Service
    })
    const call = work.pipe(hedge.execute(twice))
    expectTypeOf(call).toEqualTypeOf<Effect.Effect<string, never, Service>>()
    const { exit } = yield* after("5 seconds", call.pipe(Effect.provideService(Service, "here")))
    assert.deepStrictEqual([exit, seen], [Exit.succeed("here"), [0, 1]])
    assert.deepStrictEqual(events, [{ _tag: "Hedged", at: 100, provider: "rates", operation: "get", attempt: 2 }])
  }))

it.effect("as a service", () =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.Hedge
    const { starts, work } = attempts([{ takes: 1000 }, { takes: 1 }])
    yield* after("1 minute", hedge.execute(twice)(work))
    assert.deepStrictEqual(starts, [0, 50])
  }).pipe(Effect.provide(Hedge.Hedge.layer({ delay: "50 millis" }))))

it.effect("names the option that makes no sense", () =>
  Effect.gen(function*() {
    const field = (options: Hedge.Options) => Effect.map(Effect.flip(Hedge.make(options)), (error) => error.field)
    assert.strictEqual(yield* field({}), "delay")
    assert.strictEqual(yield* field({ delay: 0 }), "delay")
    assert.strictEqual(yield* field({ delay: 1, maxHedges: 0 }), "maxHedges")
    assert.strictEqual(yield* field({ quantile: { p: 1.5 } }), "quantile.p")
    // @ts-expect-error neither yes nor no
    assert.strictEqual(yield* field({ delay: 1, countsRequests: "never" }), "countsRequests")
    // @ts-expect-error no budget
    assert.strictEqual(yield* field({ delay: 1, budget: "none" }), "budget")
    assert.strictEqual(yield* field({ quantile: { floor: "1 minute", cap: "1 second" } }), "quantile.floor")
  }))

it("interruption law: whenever it comes, no attempt is left and the budget has paid for those that began", () => {
  const seen = { interrupted: 0, hedged: 0 }
  law(
    5000,
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 0, bucket: 100, floorPerSecond: 0 })
      const hedge = yield* Hedge.make({ delay: 8, maxHedges: 2, budget })
      let running = 0
      let begun = 0
      const work = (index: number) =>
        Effect.suspend(() => {
          running++
          begun = Math.max(begun, index)
          return Effect.gen(function*() {
            yield* someSteps(40)
            if (yield* Random.nextBoolean) yield* Effect.fail("no")
          })
        }).pipe(Effect.ensuring(Effect.andThen(someSteps(5), Effect.sync(() => running--))))
      const { exit } = yield* interruptedSomewhere(hedge.execute(twice)(work), 100)
      const interrupted = Exit.hasInterrupts(exit)
      // The losers of a success may still be cleaning up; an interrupted caller has waited.
      if (interrupted) assert.strictEqual(running, 0)
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual({ running, balance: (yield* budget.stats).balance }, { running: 0, balance: 100 - begun })
      if (interrupted) seen.interrupted++
      if (begun > 0) seen.hedged++
    })
  )
  assert.isAbove(seen.interrupted, 300)
  assert.isAbove(seen.hedged, 300)
})
