import { assert, expectTypeOf, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

const fork = Effect.forkChild({ startImmediately: true })

const endsAt = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const started = yield* Clock.currentTimeMillis
    const fiber = yield* fork(Effect.andThen(Effect.exit(self), Clock.currentTimeMillis))
    yield* TestClock.adjust("1 hour")
    return (yield* Fiber.join(fiber)) - started
  })

it.effect("fails with DeadlineExceeded when the time is up, and cancels the work", () =>
  Effect.gen(function*() {
    let cancelled = false
    const work = Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => void (cancelled = true))))
    const fiber = yield* fork(Effect.flip(work.pipe(Deadline.within("3 seconds"))))
    yield* TestClock.adjust("2999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const error = yield* Fiber.join(fiber)
    expectTypeOf(error).toEqualTypeOf<Deadline.DeadlineExceeded>()
    assert.deepStrictEqual([error.after, cancelled], [Duration.seconds(3), true])
    assert.strictEqual(error.message, "The deadline passed, 3s after the call began")
  }))

it.effect("nested deadlines: the earliest holds, whichever way they are nested", () =>
  Effect.gen(function*() {
    const remaining = Effect.map(Deadline.remaining, Duration.toMillis)
    assert.strictEqual(yield* remaining, Infinity)
    const inner = (millis: number) => remaining.pipe(Deadline.within(millis))
    assert.strictEqual(yield* inner(500).pipe(Deadline.within(1000)), 500)
    assert.strictEqual(yield* inner(2000).pipe(Deadline.within(1000)), 1000)
    assert.strictEqual(yield* remaining, Infinity)
    const never = Effect.never.pipe(Deadline.within("2 seconds"))
    assert.strictEqual(yield* endsAt(never.pipe(Deadline.within("1 second"))), 1000)
    assert.strictEqual(
      yield* endsAt(Effect.never.pipe(Deadline.within("1 second"), Deadline.within("2 seconds"))),
      1000
    )
  }))

it.effect("time that passed counts: a later part gets what is left", () =>
  Effect.gen(function*() {
    const parts = Effect.andThen(Effect.sleep("700 millis"), Deadline.remaining)
    const fiber = yield* fork(parts.pipe(Deadline.within("1 second")))
    yield* TestClock.adjust("700 millis")
    assert.deepStrictEqual(yield* Fiber.join(fiber), Duration.millis(300))
  }))

it.effect("what a child fiber does has the deadline too", () =>
  Effect.gen(function*() {
    const left = Effect.flatMap(Effect.forkChild(Deadline.remaining), Fiber.join)
    assert.deepStrictEqual(yield* left.pipe(Deadline.within("1 second")), Duration.seconds(1))
  }))

it.effect("one that has passed fails without beginning the work; none and infinity leave it alone", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("10 seconds")
    let calls = 0
    const work = Effect.sync(() => ++calls)
    const late = yield* Effect.flip(work.pipe(Deadline.until(9000)))
    assert.deepStrictEqual([late._tag, calls], ["DeadlineExceeded", 0])
    assert.strictEqual(yield* work.pipe(Deadline.within(Infinity)), 1)
    assert.strictEqual(yield* work.pipe(Deadline.until(10_001)), 2)
  }))

it.effect("is kept where the work ignores it", () =>
  Effect.gen(function*() {
    const stubborn = Effect.uninterruptible(Effect.sleep("10 minutes"))
    assert.strictEqual(yield* endsAt(stubborn.pipe(Deadline.within("1 second"))), 1000)
  }))

it.effect("goes out as a header and comes in as one, shorter by what was used", () =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* Deadline.outgoing, {})
    const call = Effect.andThen(Effect.sleep("250 millis"), Deadline.outgoing)
    const fiber = yield* fork(call.pipe(Deadline.within("1 second")))
    yield* TestClock.adjust("250 millis")
    const headers = yield* Fiber.join(fiber)
    assert.deepStrictEqual(headers, { "x-deadline-ms": "750" })
    const left = Deadline.remaining.pipe(Deadline.incoming(headers))
    assert.deepStrictEqual(yield* left, Duration.millis(750))
    assert.deepStrictEqual(yield* left.pipe(Deadline.within("100 millis")), Duration.millis(100))
    const both = Deadline.incoming({ "x-deadline-ms": "750", "grpc-timeout": "500m" })
    assert.deepStrictEqual(yield* Deadline.remaining.pipe(both), Duration.millis(500))
    const none = Deadline.incoming({ "x-deadline-ms": "soon", "grpc-timeout": "1 week" })
    assert.deepStrictEqual(yield* Deadline.remaining.pipe(none), Duration.infinity)
  }))

it("reads headers in their forms and ignores the others", () => {
  assert.deepStrictEqual(["0", "1500", " 7 "].map(Deadline.fromHeader), [0, 1500, 7])
  for (const bad of [undefined, "", "-1", "1.5", "1e3", "5s", "NaN", "9".repeat(16), "1 2"]) {
    assert.isUndefined(Deadline.fromHeader(bad))
  }
  const grpc = ["1H", "2M", "3S", "250m", "1000u", "1000000n"].map(Deadline.fromGrpcTimeout)
  assert.deepStrictEqual(grpc, [3_600_000, 120_000, 3000, 250, 1, 1])
  for (const bad of [undefined, "", "5", "5s", "-5S", "1.5S", "123456789m", "S"]) {
    assert.isUndefined(Deadline.fromGrpcTimeout(bad))
  }
  assert.isUndefined(Deadline.toHeader(Infinity))
  assert.isUndefined(Deadline.toGrpcTimeout(Infinity))
  assert.strictEqual(Deadline.toHeader(-5), "0")
  assert.isUndefined(Deadline.toHeader(NaN))
  assert.isUndefined(Deadline.toGrpcTimeout(NaN))
  assert.strictEqual(Deadline.fromHeader(Deadline.toHeader(1e22)), 999_999_999_999_999)
})

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))

it.prop("a header never gives more time than there is, and little less", [Millis], ([millis]) => {
  const plain = Deadline.fromHeader(Deadline.toHeader(millis))!
  assert.isTrue(plain <= millis && plain > millis - 1)
  const grpc = Deadline.fromGrpcTimeout(Deadline.toGrpcTimeout(millis))!
  // Eight digits: beyond a day it counts in seconds, and so on.
  assert.isTrue(grpc <= millis && grpc > millis * 0.999 - 1001)
})

it("interruption law: whenever it comes, no work is left but what a deadline left behind, and that ends", () => {
  const seen = { interrupted: 0, exceeded: 0, inTime: 0 }
  law(
    5000,
    Effect.gen(function*() {
      let running = 0
      const work = Effect.suspend(() => {
        running++
        return someSteps(60)
      }).pipe(Effect.ensuring(Effect.andThen(someSteps(10), Effect.sync(() => running--))))
      const { exit } = yield* interruptedSomewhere(
        work.pipe(Deadline.within(30), Deadline.within(50), Effect.result),
        100
      )
      const exceeded = Exit.isSuccess(exit) && exit.value._tag === "Failure"
      if (!exceeded) assert.strictEqual(running, 0)
      yield* Effect.sleep("1 second")
      assert.strictEqual(running, 0)
      if (exceeded) seen.exceeded++
      else if (Exit.isSuccess(exit)) seen.inTime++
      else seen.interrupted++
    })
  )
  for (const times of Object.values(seen)) assert.isAbove(times, 100)
})
