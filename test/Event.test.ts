import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import * as Event from "../src/Event.ts"

const noted = (index: number) => Event.Noted.make({ at: index, subject: "s", message: String(index) })
const fellBack = (index: number) =>
  Event.FellBack.make({ at: index, service: "s", operation: "o", from: "a", to: "b", category: "NETWORK" })

const seqs = (entries: ReadonlyArray<Event.Entry>) => entries.map(({ seq }) => seq)

it.effect("keeps the newest, in their order, and tells those after a place", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    for (let i = 1; i <= 100; i++) {
      yield* log.publish(noted(i))
      const history = yield* log.history()
      assert.deepStrictEqual(
        seqs(history),
        Array.from({ length: Math.min(i, 5) }, (_, index) => Math.max(1, i - 4) + index)
      )
    }
    assert.deepStrictEqual(seqs(yield* log.history(98)), [99, 100])
    assert.deepStrictEqual(yield* log.history(100), [])
  }).pipe(Effect.provide(Event.EventLog.layer({ capacity: 5 }))))

it.effect("does not let what calls cause push out what changed", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    yield* log.publish(noted(1))
    for (let i = 2; i <= 1_000; i++) yield* log.publish(fellBack(i))
    yield* log.publish(noted(1_001))
    assert.deepStrictEqual(seqs(yield* log.history()), [1, 996, 997, 998, 999, 1_000, 1_001])
  }).pipe(Effect.provide(Event.EventLog.layer({ capacity: 5 }))))

it.effect("a stream from a place has the history and everything new: no gap, no duplicate", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    for (let i = 1; i <= 10; i++) yield* log.publish(i % 2 === 0 ? noted(i) : fellBack(i))
    const read = yield* log.since(4).pipe(
      Stream.take(10),
      Stream.runCollect,
      Effect.forkChild({ startImmediately: true })
    )
    for (let i = 11; i <= 20; i++) yield* log.publish(noted(i))
    assert.deepStrictEqual(seqs(yield* Fiber.join(read)), [5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
  }).pipe(Effect.provide(Event.EventLog.layer())))

it.effect("a stream from the newest place, or from one yet to come, has only what comes after it", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    for (let i = 1; i <= 3; i++) yield* log.publish(noted(i))
    const read = (after: number) =>
      log.since(after).pipe(Stream.take(1), Stream.runCollect, Effect.forkChild({ startImmediately: true }))
    const [newest, later] = [yield* read(3), yield* read(5)]
    for (let i = 4; i <= 7; i++) yield* log.publish(noted(i))
    assert.deepStrictEqual(seqs(yield* Fiber.join(newest)), [4])
    assert.deepStrictEqual(seqs(yield* Fiber.join(later)), [6])
  }).pipe(Effect.provide(Event.EventLog.layer())))

it.effect("a reader that does not keep up loses the oldest, and holds up nobody", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    const seen: Array<number> = []
    const slow = yield* log.since().pipe(
      Stream.runForEach(({ seq }) => Effect.andThen(Effect.sleep("1 hour"), Effect.sync(() => seen.push(seq)))),
      Effect.forkChild({ startImmediately: true })
    )
    for (let i = 1; i <= 2_000; i++) yield* log.publish(noted(i))
    assert.strictEqual((yield* log.history()).at(-1)?.seq, 2_000)
    yield* Fiber.interrupt(slow)
    assert.isAtMost(seen.length, 1)
  }).pipe(Effect.provide(Event.EventLog.layer({ capacity: 10 }))))

it.effect("a capacity that is no whole number is refused by name", () =>
  Effect.gen(function*() {
    for (const capacity of [NaN, -1, 0.5, Infinity]) {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Event.EventLog.layer({ capacity }))))
      assert.deepInclude(error, { module: "Event", field: "capacity" })
    }
  }))
