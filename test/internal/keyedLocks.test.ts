import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { KeyedLocks } from "../../src/internal/keyedLocks.ts"

it.effect("one at a time for each key, in the order they came, whatever others do", () =>
  Effect.gen(function*() {
    const locks = new KeyedLocks<string>()
    const done: Array<string> = []
    const work = (key: string, name: string) =>
      locks.withLock(key, Effect.map(Effect.sleep("1 second"), () => done.push(name)))
    yield* Effect.all([work("a", "a1"), work("a", "a2"), work("b", "b1"), work("a", "a3")], {
      concurrency: "unbounded"
    }).pipe(Effect.forkChild)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(done, ["a1", "b1"])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(done, ["a1", "b1", "a2"])
    const settled = yield* Effect.forkChild(locks.allDone, { startImmediately: true })
    // Who comes later is not waited for.
    const later = yield* Effect.forkChild(locks.withLock("a", Effect.never), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(settled)
    assert.deepStrictEqual(done, ["a1", "b1", "a2", "a3"])
    yield* Fiber.interrupt(later)
    assert.strictEqual(locks.size, 0)
  }))

it.effect("a failure, a defect and an interruption, of who holds and of who waits, free the key and its room", () =>
  Effect.gen(function*() {
    const locks = new KeyedLocks<string>()
    const fork = (self: Effect.Effect<unknown, string>) =>
      Effect.forkChild(locks.withLock("a", self), { startImmediately: true })
    const holder = yield* fork(Effect.never)
    const waiter = yield* fork(Effect.void)
    const [failing, dying] = [yield* fork(Effect.fail("no")), yield* fork(Effect.die("broken"))]
    yield* Fiber.interrupt(waiter)
    assert.isUndefined(failing.pollUnsafe())
    yield* Fiber.interrupt(holder)
    assert.isTrue((yield* Fiber.await(failing))._tag === "Failure")
    assert.isTrue((yield* Fiber.await(dying))._tag === "Failure")
    assert.strictEqual(locks.size, 0)
    assert.strictEqual(yield* locks.withLock("a", Effect.succeed(1)), 1)
  }))
