import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { BudgetCore } from "../../src/internal/budgetCore.ts"

const settings = { ratio: 0.1, bucket: 10, floorPerSecond: 1 }

it("ten requests pay for one retry, however the tenths add up", () => {
  const core = new BudgetCore({ ...settings, bucket: 3, floorPerSecond: 0 })
  for (let i = 0; i < 3; i++) assert.isTrue(core.withdraw(1, 0))
  for (let i = 0; i < 9; i++) core.deposit()
  assert.isFalse(core.withdraw(1, 0))
  core.deposit()
  assert.isTrue(core.withdraw(1, 0))
  assert.isFalse(core.withdraw(1, 0))
  assert.deepStrictEqual([core.withdrawn, core.refused], [4, 2])
})

it("saves up no more than the bucket", () => {
  const core = new BudgetCore(settings)
  for (let i = 0; i < 1000; i++) core.deposit()
  assert.strictEqual(core.balance(1e9), 10)
})

it("the floor trickles in with time, and a clock that went back adds nothing", () => {
  const core = new BudgetCore(settings)
  for (let i = 0; i < 10; i++) core.withdraw(1, 0)
  assert.isFalse(core.withdraw(1, 999))
  assert.isTrue(core.withdraw(1, 1000))
  assert.isFalse(core.withdraw(1, 500))
  assert.isFalse(core.withdraw(1, 1499))
  assert.isTrue(core.withdraw(1, 1500))
})

it("a refund gives back exactly what was paid", () => {
  const core = new BudgetCore(settings)
  core.withdraw(2, 0)
  core.refund(2)
  assert.deepStrictEqual([core.balance(0), core.withdrawn], [10, 0])
})

const Step = Schema.Struct({
  kind: Schema.Literals(["deposit", "withdraw", "wait"]),
  by: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3000 }))
})

it.prop("over any run, what was paid is at most bucket, ratio and floor together", [Schema.Array(Step)], ([steps]) => {
  const core = new BudgetCore(settings)
  let now = 0
  let requests = 0
  let paid = 0
  for (const { by, kind } of steps) {
    if (kind === "deposit") {
      core.deposit()
      requests++
    } else if (kind === "wait") now += by
    else {
      const cost = 1 + (by % 2)
      if (core.withdraw(cost, now)) paid += cost
    }
    assert.isAtMost(core.balance(now), 10)
    assert.isAtLeast(core.balance(now), 0)
  }
  assert.isAtMost(paid, 10 + requests * 0.1 + now / 1000 + 1e-6)
})

it.prop("settling the floor late gives the same as settling it at every step", [Schema.Array(Step)], ([steps]) => {
  const lazy = new BudgetCore(settings)
  const eager = new BudgetCore(settings)
  let now = 0
  for (const { by, kind } of steps) {
    if (kind === "wait") now += by
    eager.balance(now)
    if (kind === "deposit") {
      lazy.deposit()
      eager.deposit()
    } else if (kind === "withdraw") assert.strictEqual(lazy.withdraw(1, now), eager.withdraw(1, now))
  }
  assert.approximately(lazy.balance(now), eager.balance(now), 1e-6)
})
