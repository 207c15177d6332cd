import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { BulkheadCore, type BulkheadRefusal, type BulkheadWaiter } from "../../src/internal/bulkheadCore.ts"

/** A waiter that writes down what it was told. */
const waiting = (log: Array<string>, name: string, priority = 0, tenant = ""): BulkheadWaiter => ({
  priority,
  tenant,
  done: (refusal: BulkheadRefusal | undefined) => log.push(`${name}:${refusal ?? "ok"}`)
})

it("hands a permit to the first in the queue, and nobody overtakes", () => {
  const log: Array<string> = []
  const core = new BulkheadCore(1, 8)
  assert.isTrue(core.tryAcquire())
  core.enqueue(waiting(log, "a"))
  core.enqueue(waiting(log, "b"))
  core.release()
  assert.deepStrictEqual(log, ["a:ok"])
  assert.isFalse(core.tryAcquire())
  core.release()
  core.release()
  assert.deepStrictEqual(log, ["a:ok", "b:ok"])
  assert.deepStrictEqual([core.running, core.queued], [0, 0])
})

it("serves higher priorities first and the tenants of one priority in turn", () => {
  const log: Array<string> = []
  const core = new BulkheadCore(1, 16)
  core.tryAcquire()
  for (const n of [1, 2, 3]) core.enqueue(waiting(log, `noisy${n}`, 0, "noisy"))
  core.enqueue(waiting(log, "quiet1", 0, "quiet"))
  core.enqueue(waiting(log, "urgent", 1, "noisy"))
  core.enqueue(waiting(log, "quiet2", 0, "quiet"))
  for (let i = 0; i < 6; i++) core.release()
  assert.deepStrictEqual(log, ["urgent:ok", "noisy1:ok", "quiet1:ok", "noisy2:ok", "quiet2:ok", "noisy3:ok"])
})

it("makes room in a full queue for a higher priority and for the tenant that holds less of it", () => {
  const log: Array<string> = []
  const core = new BulkheadCore(1, 3)
  core.tryAcquire()
  for (const n of [1, 2, 3]) core.enqueue(waiting(log, `noisy${n}`, 0, "noisy"))
  assert.isFalse(core.enqueue(waiting(log, "noisy4", 0, "noisy")))
  assert.isTrue(core.enqueue(waiting(log, "quiet1", 0, "quiet")))
  // Two against one: if it left, they would take turns in displacing each other.
  assert.isFalse(core.enqueue(waiting(log, "quiet2", 0, "quiet")))
  assert.isTrue(core.enqueue(waiting(log, "urgent", 1, "other")))
  assert.isFalse(core.enqueue(waiting(log, "idle", -1, "other")))
  assert.deepStrictEqual(log, ["noisy3:Displaced", "noisy2:Displaced"])
  assert.strictEqual(core.queued, 3)
})

it("finds who leaves, whatever its priority", () => {
  const core = new BulkheadCore(1, 8)
  core.tryAcquire()
  const waiter = waiting([], "a", Number.NaN)
  core.enqueue(waiter)
  assert.isTrue(core.cancel(waiter))
  assert.isFalse(core.cancel(waiter))
  core.release()
  assert.deepStrictEqual([core.running, core.queued], [0, 0])
})

it("refuses everybody in the queue when drained", () => {
  const log: Array<string> = []
  const core = new BulkheadCore(1, 3)
  core.tryAcquire()
  core.enqueue(waiting(log, "a"))
  core.enqueue(waiting(log, "b", 2))
  core.drain()
  assert.deepStrictEqual(log, ["b:Drained", "a:Drained"])
  assert.deepStrictEqual([core.running, core.queued], [1, 0])
})

it("serves the queue when the limit rises, and lets those who run go on when it falls", () => {
  const log: Array<string> = []
  const core = new BulkheadCore(2, 8)
  core.tryAcquire()
  core.tryAcquire()
  for (const name of ["a", "b", "c"]) core.enqueue(waiting(log, name))
  core.resize(4)
  assert.deepStrictEqual(log, ["a:ok", "b:ok"])
  core.resize(1)
  core.release()
  core.release()
  core.release()
  assert.deepStrictEqual(log, ["a:ok", "b:ok"])
  core.release()
  assert.deepStrictEqual(log, ["a:ok", "b:ok", "c:ok"])
})

const Step = Schema.Union([
  Schema.TaggedStruct("Arrive", {
    priority: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })),
    tenant: Schema.Literals(["a", "b", "c"])
  }),
  Schema.TaggedStruct("Leave", { index: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })) }),
  Schema.TaggedStruct("GiveUp", { index: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })) }),
  Schema.TaggedStruct("Resize", { limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })) }),
  Schema.TaggedStruct("Drain", {})
])

it.prop("tells everybody once, in every order of arrivals, releases, interruptions and resizes", {
  steps: Schema.Array(Step).check(Schema.isMaxLength(60))
}, ({ steps }) => {
  const core = new BulkheadCore(2, 4)
  const told = new Map<BulkheadWaiter, number>()
  const waiters = new Set<BulkheadWaiter>()
  const holders: Array<BulkheadWaiter | "direct"> = []
  for (const step of steps) {
    switch (step._tag) {
      case "Arrive": {
        if (core.tryAcquire()) {
          holders.push("direct")
          break
        }
        const waiter: BulkheadWaiter = {
          priority: step.priority,
          tenant: step.tenant,
          done: (refusal) => {
            told.set(waiter, (told.get(waiter) ?? 0) + 1)
            waiters.delete(waiter)
            if (refusal === undefined) holders.push(waiter)
          }
        }
        if (core.enqueue(waiter)) waiters.add(waiter)
        break
      }
      case "Leave":
        if (holders.splice(step.index, 1).length > 0) core.release()
        break
      case "GiveUp": {
        const waiter = Array.from(waiters)[step.index]
        if (waiter !== undefined) {
          assert.isTrue(core.cancel(waiter))
          assert.isFalse(core.cancel(waiter))
          waiters.delete(waiter)
        }
        break
      }
      case "Resize":
        core.resize(step.limit)
        break
      case "Drain":
        core.drain()
        break
    }
    assert.strictEqual(core.running, holders.length)
    assert.strictEqual(core.queued, waiters.size)
    assert.isAtMost(core.queued, 4)
    // Nobody waits while there is room.
    assert.isTrue(core.queued === 0 || core.running >= core.limit)
    for (const times of told.values()) assert.strictEqual(times, 1)
  }
}, { arbitrary: { runs: 500 } })
