import { assert, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Random, Schema } from "effect"
import * as VirtualTime from "../../src/testing/VirtualTime.ts"

const value = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw new Error("the run failed", { cause: exit.cause })
}

it("a day passes at once, in the order of the sleeps", () => {
  const seen = value(VirtualTime.run(() =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const later = (name: string, millis: number) =>
        Effect.sleep(millis).pipe(Effect.andThen(Effect.sync(() => void order.push(name))))
      yield* Effect.all([later("day", 86_400_000), later("b", 5), later("c", 5), later("a", 1)], {
        concurrency: "unbounded"
      })
      return { order, now: yield* Clock.currentTimeMillis }
    })
  ))
  assert.deepStrictEqual(seen, { order: ["a", "b", "c", "day"], now: 86_400_000 })
})

it("timeouts, interruption and forks behave as on any clock", () => {
  const seen = value(VirtualTime.run(() =>
    Effect.gen(function*() {
      const timedOut = yield* Effect.exit(Effect.timeout(Effect.sleep("2 seconds"), "1 second"))
      const fiber = yield* Effect.forkChild(Effect.never)
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(fiber)
      return { failed: Exit.isFailure(timedOut), now: yield* Clock.currentTimeMillis }
    })
  ))
  assert.deepStrictEqual(seen, { failed: true, now: 2_000 })
})

it("what is no number does not stop the clock", () => {
  assert.throws(() => VirtualTime.run(() => Effect.void, { start: NaN }), /VirtualTime: start must be/)
  const seen = value(VirtualTime.run((clock) =>
    Effect.andThen(
      Effect.callback<void>((resume) => void clock.schedule(NaN, () => resume(Effect.void))),
      Effect.delay(Clock.currentTimeMillis, "1 second")
    ), { start: 5 }))
  assert.strictEqual(seen, 1_005)
})

it("the same seed gives the same run", () => {
  const trace = (seed: number) =>
    value(VirtualTime.run(() =>
      Effect.gen(function*() {
        const log: Array<number> = []
        yield* Effect.forEach(
          Array.from({ length: 50 }),
          () =>
            Effect.gen(function*() {
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 1_000))
              log.push(yield* Clock.currentTimeMillis, yield* Random.next)
            }),
          { concurrency: "unbounded" }
        )
        return log
      }), { seed }))
  assert.deepStrictEqual(trace(7), trace(7))
  assert.notDeepEqual(trace(7), trace(8))
})

it("what waits for nothing that can happen is told so", () => {
  const exit = VirtualTime.run(() =>
    Effect.sleep("3 seconds").pipe(Effect.andThen(Deferred.make<void>()), Effect.flatMap(Deferred.await))
  )
  assert.isTrue(Exit.isFailure(exit))
  const failure = Exit.findErrorOption(exit)
  assert.deepStrictEqual(failure._tag === "Some" && [failure.value._tag, failure.value.at], ["NothingLeft", 3_000])
})

it.prop("plain functions happen in the order of their times, and not at all when taken back", {
  timers: Schema.Array(Schema.Struct({
    at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
    takenBack: Schema.Boolean
  })).check(Schema.isMaxLength(100))
}, ({ timers }) => {
  const happened = value(VirtualTime.run((clock) =>
    Effect.gen(function*() {
      const order: Array<number> = []
      const cancels = timers.map(({ at }, index) => clock.schedule(at, () => void order.push(index)))
      for (const [index, { takenBack }] of timers.entries()) if (takenBack) cancels[index]?.()
      yield* Effect.sleep(1_000)
      return order
    })
  ))
  const expected = timers.map((timer, index) => ({ ...timer, index })).filter(({ takenBack }) => !takenBack)
  assert.deepStrictEqual(
    happened,
    expected.toSorted((a, b) => a.at - b.at || a.index - b.index).map(({ index }) => index)
  )
})

it("a million timers of which most are taken back stay quick and small", () => {
  const left = value(VirtualTime.run((clock) =>
    Effect.gen(function*() {
      let fired = 0
      for (let i = 0; i < 1_000; i++) {
        const cancels = Array.from({ length: 1_000 }, () => clock.schedule(3_600_000, () => fired++))
        for (const cancel of cancels.slice(1)) cancel()
        yield* Effect.sleep(1)
      }
      yield* Effect.sleep("2 hours")
      return fired
    })
  ))
  assert.strictEqual(left, 1_000)
})
