import { assert, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../src/Bulkhead.ts"
import * as Deadline from "../src/Deadline.ts"

/** A fork that has run up to its first wait. */
const fork = Effect.forkChild({ startImmediately: true })

it.effect("runs up to its limit, queues the next, refuses what exceeds the queue", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ name: "db", limit: 2, queue: 1 })
    const gate = yield* Deferred.make<void>()
    const work = Deferred.await(gate).pipe(bulkhead.withPermit())
    const fibers = yield* Effect.forEach([1, 2, 3], () => fork(work))
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 2, running: 2, queued: 1 })
    const refused = yield* Effect.flip(work)
    expectTypeOf(refused).toEqualTypeOf<Bulkhead.BulkheadFull>()
    assert.strictEqual(refused.message, "Bulkhead db is full (QueueFull, limit 2)")
    yield* Deferred.succeed(gate, undefined)
    yield* Effect.forEach(fibers, Fiber.join)
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 2, running: 0, queued: 0 })
  }))

it.effect("refuses who waited longer than maxWait, or than the deadline leaves", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1, maxWait: "1 second" })
    yield* fork(Effect.never.pipe(bulkhead.withPermit()))
    const patient = yield* fork(Effect.flip(Effect.void.pipe(bulkhead.withPermit())))
    const hurried = yield* fork(
      Effect.exit(Effect.void.pipe(bulkhead.withPermit(), Deadline.within("200 millis")))
    )
    yield* TestClock.adjust("200 millis")
    assert.isTrue(Exit.isFailure(yield* Fiber.join(hurried)))
    assert.strictEqual((yield* bulkhead.stats).queued, 1)
    yield* TestClock.adjust("799 millis")
    assert.isUndefined(patient.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    assert.strictEqual((yield* Fiber.join(patient)).why, "WaitedTooLong")
    assert.strictEqual((yield* bulkhead.stats).queued, 0)
  }))

it.effect("gives the permit back after success, failure, defect and interruption", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
    for (const work of [Effect.void, Effect.fail("no"), Effect.die("bug"), Effect.interrupt]) {
      yield* Effect.exit(work.pipe(bulkhead.withPermit()))
      assert.strictEqual((yield* bulkhead.stats).running, 0)
    }
  }))

it.effect("serves higher priorities first and tenants in turn", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1 })
    const order: Array<string> = []
    const gate = yield* Deferred.make<void>()
    const fibers = [yield* fork(Deferred.await(gate).pipe(bulkhead.withPermit()))]
    const join = (name: string, options: Bulkhead.CallOptions) =>
      fork(Effect.sync(() => void order.push(name)).pipe(bulkhead.withPermit(options)))
    fibers.push(yield* join("noisy1", { tenant: "noisy" }))
    fibers.push(yield* join("noisy2", { tenant: "noisy" }))
    fibers.push(yield* join("quiet", { tenant: "quiet" }))
    fibers.push(yield* join("urgent", { priority: 1 }))
    yield* Deferred.succeed(gate, undefined)
    yield* Effect.forEach(fibers, Fiber.join)
    assert.deepStrictEqual(order, ["urgent", "noisy1", "quiet", "noisy2"])
  }))

it.effect("a priority that is no number counts as 0, and who gives up waiting with it leaves nothing behind", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1, maxWait: "1 second" })
    const running = yield* fork(Effect.sleep("5 seconds").pipe(bulkhead.withPermit()))
    const gone = yield* fork(Effect.flip(Effect.void.pipe(bulkhead.withPermit({ priority: Number.NaN }))))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* Fiber.join(gone)).why, "WaitedTooLong")
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 1, running: 1, queued: 0 })
    yield* TestClock.adjust("3500 millis")
    const order: Array<string> = []
    for (const priority of [-1, Number.NaN, 1]) {
      yield* fork(Effect.sync(() => void order.push(String(priority))).pipe(bulkhead.withPermit({ priority })))
    }
    yield* TestClock.adjust("500 millis")
    yield* Fiber.join(running)
    assert.deepStrictEqual(order, ["1", "NaN", "-1"])
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 1, running: 0, queued: 0 })
  }))

it.effect("resizes while it runs, and refuses the queue when drained", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1 })
    const hold = () => fork(Effect.exit(Effect.never.pipe(bulkhead.withPermit())))
    yield* Effect.forEach([1, 2, 3], hold)
    yield* bulkhead.resize(2)
    yield* Effect.yieldNow
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 2, running: 2, queued: 1 })
    yield* bulkhead.drain
    assert.deepStrictEqual(yield* bulkhead.stats, { limit: 2, running: 2, queued: 0 })
    const invalid = yield* Effect.flip(bulkhead.resize(0))
    assert.strictEqual(invalid.field, "limit")
  }))

it.effect("senseless options are refused by name", () =>
  Effect.gen(function*() {
    for (
      const [field, options] of [
        ["limit", { limit: 0 }],
        ["limit", { limit: 1.5 }],
        ["queue", { queue: -1 }],
        ["maxWait", { maxWait: Infinity }]
      ] as const
    ) {
      assert.strictEqual((yield* Effect.flip(Bulkhead.make(options))).field, field)
    }
  }))

it.effect("ten thousand short calls behind one permit do not grow the stack", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 10_000 })
    let ran = 0
    yield* Effect.forEach(
      Array.from({ length: 10_000 }),
      () => Effect.sync(() => ran++).pipe(bulkhead.withPermit()),
      { concurrency: "unbounded" }
    )
    assert.strictEqual(ran, 10_000)
  }))

it.effect(
  "interruption law: any interruption at any step leaves no permit and no waiter behind",
  () =>
    Effect.gen(function*() {
      for (let seed = 0; seed < 2_000; seed++) {
        yield* Effect.gen(function*() {
          const bulkhead = yield* Bulkhead.make({ limit: 2, queue: 3, maxWait: "20 millis" })
          let running = 0
          let most = 0
          const fibers = []
          for (let i = 0; i < 8; i++) {
            const duration = yield* Random.nextIntBetween(0, 15)
            const work = Effect.suspend(() => {
              most = Math.max(most, ++running)
              return duration === 0 ? Effect.void : Effect.sleep(duration)
            }).pipe(Effect.ensuring(Effect.sync(() => running--)))
            fibers.push(yield* fork(work.pipe(bulkhead.withPermit({ tenant: String(i % 2) }))))
            if (yield* Random.nextBoolean) yield* TestClock.adjust(yield* Random.nextIntBetween(0, 6))
            if (yield* Random.nextBoolean) {
              const victim = fibers[yield* Random.nextIntBetween(0, fibers.length - 1)]
              // Not awaited: the interruption meets whatever happens at the same instant.
              if (victim !== undefined) victim.interruptUnsafe()
            }
          }
          yield* TestClock.adjust("1 second")
          yield* Effect.forEach(fibers, Fiber.await)
          const { queued, running: held } = yield* bulkhead.stats
          assert.deepStrictEqual({ held, queued, running }, { held: 0, queued: 0, running: 0 }, `seed ${seed}`)
          assert.isAtMost(most, 2, `seed ${seed}`)
        }).pipe(Random.withSeed(seed))
      }
    }),
  30_000
)
