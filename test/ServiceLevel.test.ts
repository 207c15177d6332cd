import { assert, expectTypeOf, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Event from "../src/Event.ts"
import * as ServiceLevel from "../src/ServiceLevel.ts"

/** A dependency that is well or not, as told. */
const dependency = () => {
  const state = { well: true }
  const health = Effect.suspend(() => state.well ? Effect.void : Effect.fail("down"))
  return Object.assign(state, { check: ServiceLevel.healthCheck("db", health) })
}

it.effect("scenario 46: a new service is at full_service; one degrade makes it reduced_functionality", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    const { isDegraded, name, rank, reasons } = yield* level.status
    assert.deepStrictEqual({ isDegraded, name, rank, reasons }, {
      isDegraded: false,
      name: "full_service",
      rank: 0,
      reasons: []
    })
    assert.strictEqual(yield* level.degrade("Database connection lost"), "Reduced")
    const after = yield* level.status
    assert.deepStrictEqual([after.rank, after.name, after.isDegraded], [1, "reduced_functionality", true])
  }))

it.effect("scenario 47: two degrades list both reasons with time and cause; two recovers bring back Full without reasons", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    yield* level.degrade("one")
    yield* TestClock.adjust("1 second")
    yield* level.degrade("two")
    assert.deepStrictEqual((yield* level.status).reasons, [
      { at: 0, reason: "one", by: "Caller" },
      { at: 1000, reason: "two", by: "Caller" }
    ])
    yield* level.recover()
    yield* level.recover()
    const { rank, reasons } = yield* level.status
    assert.deepStrictEqual({ rank, reasons }, { rank: 0, reasons: [] })
  }))

it.effect("scenario 48: at level 2 whoever tolerates 3 or 2 is let through, 1 and 0 are refused; reset brings 0", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make({ service: "search" })
    yield* level.degrade("bad", 2)
    const allowed = yield* Effect.forEach([4, 3, 2, 1, 0], level.allows)
    assert.deepStrictEqual(allowed, [true, true, true, false, false])
    const guarded = level.require("Reduced")(Effect.succeed(1))
    expectTypeOf(guarded).toEqualTypeOf<Effect.Effect<number, ServiceLevel.LevelTooLow>>()
    const refused = yield* Effect.flip(guarded)
    assert.deepStrictEqual([refused.service, refused.required, refused.actual], ["search", "Reduced", "Basic"])
    yield* level.reset
    assert.strictEqual(yield* level.current, "Full")
    assert.strictEqual(yield* guarded, 1)
  }))

it.effect("scenario 49: levels beyond the ends are taken as the ends, and recover(-3) moves nothing", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    assert.strictEqual(yield* level.degrade("worst", 99), "Emergency")
    assert.strictEqual(yield* level.degrade("again"), "Emergency")
    assert.strictEqual(yield* level.recover(-3), "Emergency")
    assert.strictEqual(yield* level.degrade("better?", -1), "Emergency")
    assert.strictEqual(yield* level.recover(99), "Full")
  }))

it.effect("scenario 50: with a healthy dependency and no traffic it recovers step by step", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make({ checks: [dependency().check] })
    yield* level.degrade("outage", "Emergency")
    const seen: Array<ServiceLevel.Level> = []
    for (let i = 0; i < 5; i++) {
      yield* TestClock.adjust("35 seconds")
      seen.push(yield* level.current)
    }
    assert.deepStrictEqual(seen, ["Minimal", "Basic", "Reduced", "Full", "Full"])
  }))

it.effect("scenario 51: checks that alternate do not move it, and five bad ones at once move it by none", () =>
  Effect.gen(function*() {
    const db = dependency()
    const level = yield* ServiceLevel.make({ checks: [db.check] })
    const changes: Array<ServiceLevel.Change> = []
    yield* Effect.forkChild(Stream.runForEach(level.changes, (change) => Effect.sync(() => changes.push(change))))
    for (let i = 0; i < 100; i++) {
      db.well = i % 2 === 0
      yield* TestClock.adjust("5 seconds")
    }
    assert.deepStrictEqual(changes, [])
    db.well = false
    for (let i = 0; i < 5; i++) yield* level.check
    assert.strictEqual(yield* level.current, "Full")
  }))

it.effect("a dependency that stays down takes it down level by level, and says why", () =>
  Effect.gen(function*() {
    const db = dependency()
    const level = yield* ServiceLevel.make({ checks: [db.check] })
    db.well = false
    yield* TestClock.adjust("1 minute")
    const { level: now, reasons } = yield* level.status
    assert.strictEqual(now, "Emergency")
    assert.deepStrictEqual(
      reasons.map(({ by, reason }) => [reason, by]),
      Array.from({ length: 4 }, () => ["db is unhealthy", "Check"])
    )
  }))

it.effect("a check that answers false or does not answer at all is bad; the worst reading counts", () =>
  Effect.gen(function*() {
    for (const health of [Effect.succeed(false), Effect.never, Effect.fail("no"), Effect.die("bug")]) {
      const level = yield* ServiceLevel.make({
        checks: [ServiceLevel.healthCheck("a", Effect.void), ServiceLevel.healthCheck("b", health)]
      })
      yield* TestClock.adjust("21 seconds")
      assert.notStrictEqual(yield* level.current, "Full")
    }
    const mild = yield* ServiceLevel.make({ checks: [ServiceLevel.healthCheck("b", Effect.fail("no"), "Reduced")] })
    yield* TestClock.adjust("5 minutes")
    assert.strictEqual(yield* mild.current, "Reduced")
  }))

it.effect("a check that is interrupted or hangs for good is bad, and neither ends the checks nor hides the others", () =>
  Effect.gen(function*() {
    for (const trouble of [Effect.interrupt, Effect.uninterruptible(Effect.never)]) {
      let well = true
      const check = Effect.suspend(() => well ? Effect.succeed({ target: "Full", reason: "" } as const) : trouble)
      const other = { name: "other", check: Effect.succeed({ target: "Full", reason: "" } as const) }
      const level = yield* ServiceLevel.make({ checks: [{ name: "db", check }, other] })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* level.current, "Full")
      well = false
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* level.current, "Emergency")
      assert.strictEqual((yield* level.status).reasons[0]?.reason, "db did not answer")
      well = true
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* level.current, "Full")
    }
  }))

it.effect("it recovers by whole levels: a half moves nothing, and what is no number neither", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    yield* level.degrade("bad", "Emergency")
    for (const steps of [0.5, Number.NaN, -Infinity]) assert.strictEqual(yield* level.recover(steps), "Emergency")
    assert.strictEqual(yield* level.recover(1.5), "Minimal")
    assert.strictEqual(yield* level.recover(Infinity), "Full")
  }))

it.effect("a level that rises is not told with what is still wrong as the reason", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make({ badChecks: 1, spacing: 0, dwell: 0 })
    const read = yield* Effect.forkChild(Stream.runCollect(Stream.take(level.changes, 4)), { startImmediately: true })
    const readings = [["Basic", "db is down"], ["Basic", "db is down"], ["Reduced", "cache is slow"], [
      "Full",
      ""
    ]] as const
    for (const [target, reason] of readings) {
      yield* level.observe({ target, reason })
      yield* level.observe({ target, reason })
    }
    assert.deepStrictEqual((yield* Fiber.join(read)).map(({ reason, to }) => [to, reason]), [
      ["Reduced", "db is down"],
      ["Basic", "db is down"],
      ["Reduced", "checks are better: cache is slow"],
      ["Full", "checks are good"]
    ])
  }))

it.effect("an operator's level holds against the checks until it expires, and those who watch are told", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const level = yield* ServiceLevel.make({ service: "search", checks: [dependency().check] }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    const watching = yield* Effect.forkChild(Stream.runCollect(Stream.take(level.changes, 2)))
    yield* TestClock.adjust(0)
    yield* level.force("Minimal", { reason: "maintenance", actor: "ann", for: "10 minutes" })
    yield* TestClock.adjust("599999 millis")
    assert.strictEqual(yield* level.current, "Minimal")
    assert.strictEqual((yield* level.status).override?.reason, "maintenance")
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* level.current, "Full")
    assert.isUndefined((yield* level.status).override)
    assert.deepStrictEqual((yield* Fiber.join(watching)).map(({ from, to }) => [from, to]), [
      ["Full", "Minimal"],
      ["Minimal", "Full"]
    ])
    assert.deepStrictEqual(events.map(({ _tag }) => _tag), ["LevelChanged", "OperatorAction", "LevelChanged"])
  }))

it.effect("what was forced can be released, and a later override is not ended by an earlier one", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    yield* level.force("Minimal", { reason: "a", for: "1 minute" })
    yield* level.force("Basic", { reason: "b", for: "10 minutes" })
    yield* TestClock.adjust("2 minutes")
    assert.strictEqual(yield* level.current, "Basic")
    yield* level.release
    assert.strictEqual(yield* level.current, "Full")
  }))

it.effect("a level is forced for a time above zero or until it is released; anything else is refused by name", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make()
    for (const time of [Number.NaN, 0, -1, "bogus" as "1 second"]) {
      const error = yield* Effect.flip(level.force("Basic", { reason: "drill", for: time }))
      assert.deepStrictEqual([error.module, error.field], ["ServiceLevel", "for"])
      assert.strictEqual(yield* level.current, "Full")
    }
    yield* level.force("Basic", { reason: "drill", for: Infinity })
    yield* TestClock.adjust("400 days")
    assert.strictEqual(yield* level.current, "Basic")
    yield* level.release
    assert.strictEqual(yield* level.current, "Full")
  }))

it.effect("nothing goes on when the scope has closed", () =>
  Effect.gen(function*() {
    let checks = 0
    const scope = yield* Scope.make()
    const check = ServiceLevel.healthCheck("count", Effect.sync(() => void checks++))
    const level = yield* Scope.provide(ServiceLevel.make({ checks: [check] }), scope)
    yield* level.force("Basic", { reason: "", for: "1 minute" })
    yield* TestClock.adjust("10 seconds")
    yield* Scope.close(scope, Exit.void)
    const before = checks
    assert.isAbove(before, 1)
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(checks, before)
  }))

it.effect("options that make no sense are refused by name", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(ServiceLevel.make({ badChecks: 0 }))
    assert.strictEqual(error.field, "badChecks")
  }))
