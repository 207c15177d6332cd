import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as RetryBudget from "../src/RetryBudget.ts"

it.effect("begins full, pays what is asked, and is filled by requests and by time", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 3, ratio: 0.5, floorPerSecond: 1 })
    assert.isTrue(yield* budget.withdraw(2))
    assert.isFalse(yield* budget.withdraw(2))
    yield* budget.deposit
    assert.deepStrictEqual(yield* budget.stats, { balance: 1.5, withdrawn: 1, refused: 1 })
    yield* TestClock.adjust("500 millis")
    assert.isTrue(yield* budget.withdraw(2))
    yield* TestClock.adjust("1 hour")
    assert.strictEqual((yield* budget.stats).balance, 3)
  }))

it.effect("a cost that makes no sense is refused and takes nothing", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 2, ratio: 0, floorPerSecond: 0 })
    for (const cost of [NaN, -1, -Infinity, Infinity]) assert.isFalse(yield* budget.withdraw(cost))
    assert.deepStrictEqual(yield* budget.stats, { balance: 2, withdrawn: 0, refused: 4 })
    assert.isTrue(yield* budget.withdraw(0))
    assert.isTrue(yield* budget.withdraw(2))
    assert.isFalse(yield* budget.withdraw())
  }))

it.effect("a bucket of zero allows no added attempt", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 0 })
    yield* TestClock.adjust("1 hour")
    assert.isFalse(yield* budget.withdraw())
  }))

it.effect("names the option that makes no sense", () =>
  Effect.gen(function*() {
    const field = (options: RetryBudget.Options) =>
      Effect.map(Effect.flip(RetryBudget.make(options)), (error) => error.field)
    assert.strictEqual(yield* field({ ratio: 1.5 }), "ratio")
    assert.strictEqual(yield* field({ bucket: -1 }), "bucket")
    assert.strictEqual(yield* field({ bucket: 0.5 }), "bucket")
    assert.strictEqual((yield* RetryBudget.make({ bucket: 1.5 })).timeoutCost, 1.5)
    assert.strictEqual(yield* field({ floorPerSecond: Infinity }), "floorPerSecond")
    assert.strictEqual(yield* field({ timeoutCost: 0.5 }), "timeoutCost")
    assert.strictEqual(yield* field({ timeoutCost: 11 }), "timeoutCost")
  }))

it.effect("the service is one budget for all that ask for it", () =>
  Effect.gen(function*() {
    const one = yield* RetryBudget.RetryBudget
    const other = yield* RetryBudget.RetryBudget
    yield* one.withdraw(4)
    assert.strictEqual((yield* other.stats).balance, 6)
  }).pipe(Effect.provide(RetryBudget.RetryBudget.layer())))
