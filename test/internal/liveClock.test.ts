import { assert, it, vi } from "@effect/vitest"
import { CircuitCore, type CircuitSettings } from "../../src/internal/circuitCore.ts"
import { initial } from "../../src/internal/circuitState.ts"
import { roughMillis, roughness } from "../../src/internal/liveClock.ts"
import { rules } from "./circuitModel.ts"

it("a rough look is never ahead, goes on while somebody looks, and begins anew after a rest", () => {
  vi.useFakeTimers({ now: 1_000_000 })
  try {
    assert.strictEqual(roughMillis(), 1_000_000)
    vi.advanceTimersByTime(19)
    assert.strictEqual(roughMillis(), 1_000_000)
    for (let i = 0; i < 10; i++) {
      vi.advanceTimersByTime(20)
      assert.isAtMost(roughMillis(), Date.now())
      assert.isAtMost(Date.now() - roughMillis(), 20)
    }
    vi.advanceTimersByTime(60_000)
    assert.strictEqual(vi.getTimerCount(), 0)
    assert.strictEqual(roughMillis(), Date.now())
  } finally {
    vi.useRealTimers()
  }
})

it("timers that were faked leave no stopped clock behind", () => {
  vi.useFakeTimers({ now: 1_000_000 })
  roughMillis()
  vi.useRealTimers()
  assert.isAtLeast(roughMillis(), Date.now() - roughness)
})

it("does not keep the process alive", () => {
  const holding = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
  const before = holding()
  roughMillis()
  assert.strictEqual(holding(), before)
})

it("a success with a rough time never takes the window back, and a clock set back does", () => {
  const start = 1_000_000
  const settings: CircuitSettings = {
    rules: { ...rules, failureThreshold: Infinity, failureRate: Infinity },
    windowSize: 4,
    bucketMillis: 100,
    ofCalls: false,
    initial: initial(start),
    random: () => 0
  }
  const core = new CircuitCore(settings, "a", start)
  // Around the edge of a bucket, true looks and rough ones from before it.
  for (let i = 0; i < 20; i++) {
    core.settle(core.admit(start + 100), "Failure", 0, start + 100)
    core.succeeded(start + 99)
  }
  assert.deepStrictEqual(core.counts(start + 100), { total: 40, failures: 20, slow: 0 })
  assert.strictEqual(core.consecutive, 0)
  assert.deepStrictEqual(core.buckets(start + 100).at(-1), [40, 20, 0])
  core.succeeded(start + 100 - roughness - 100)
  assert.isBelow(core.usedAt, start)
  assert.strictEqual(core.counts(core.usedAt).total, 41)
})
