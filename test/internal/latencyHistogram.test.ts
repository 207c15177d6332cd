import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { LatencyHistogram, LatencyWindow } from "../../src/internal/latencyHistogram.ts"

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))
const Samples = Schema.NonEmptyArray(Millis)
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** The smallest value at or below which the share lies. */
const exact = (samples: ReadonlyArray<number>, p: number): number =>
  [...samples].sort((a, b) => a - b)[Math.max(1, Math.ceil(p * samples.length)) - 1]!

const histogram = (samples: ReadonlyArray<number>): LatencyHistogram => {
  const made = new LatencyHistogram()
  for (const sample of samples) made.record(sample)
  return made
}

it.prop("a quantile is never below the true one and at most 6.25 % above", { samples: Samples, p: Share }, (
  { p, samples }
) => {
  const quantile = histogram(samples).quantile(p)!
  const truth = exact(samples, p)
  // Half a microsecond is lost by rounding.
  assert.isAtLeast(quantile, truth - 0.0005)
  assert.isAtMost(quantile, truth * 1.0625 + 0.0015)
})

it.prop("merging is recording both", { one: Samples, other: Samples, p: Share }, ({ one, other, p }) => {
  const both = histogram([...one, ...other])
  const merged = histogram(one)
  merged.merge(histogram(other))
  assert.strictEqual(merged.quantile(p), both.quantile(p))
  assert.strictEqual(histogram(one).quantileWith(histogram(other), p), both.quantile(p))
  assert.strictEqual(merged.count, both.count)
  assert.strictEqual(merged.max, both.max)
  assert.approximately(merged.mean!, both.mean!, 1e-6)
})

it("the 95th percentile of 1 to 20 is 19, and of nothing nothing", () => {
  assert.strictEqual(histogram(Array.from({ length: 20 }, (_, i) => i + 1)).quantile(0.95), 19.455)
  assert.strictEqual(histogram([5, 5, 5]).quantile(0.5), 5)
  assert.isUndefined(new LatencyHistogram().quantile(0.5))
  assert.isUndefined(new LatencyHistogram().mean)
})

it("takes what makes no sense as zero and what is too long as 35 minutes", () => {
  const odd = histogram([-1, Number.NaN, 1e12])
  assert.strictEqual(odd.count, 3)
  assert.strictEqual(odd.quantile(0.5), 0)
  assert.strictEqual(odd.quantile(1), 1e12)
  odd.record(1e12)
  assert.isAtLeast(odd.quantile(0.7)!, 35 * 60_000)
})

it("forgets on reset", () => {
  const made = histogram([1, 2, 3])
  made.reset()
  assert.deepStrictEqual([made.count, made.sum, made.max, made.quantile(0.5)], [0, 0, 0, undefined])
  made.record(7)
  assert.strictEqual(made.quantile(0.5), 7)
})

it("a window forgets what is older than two spans, idle time included", () => {
  const window = new LatencyWindow(1000)
  window.record(100, 0)
  window.record(100, 999)
  assert.strictEqual(window.count(1000), 2)
  window.record(5, 1500)
  assert.strictEqual(window.count(1999), 3)
  assert.strictEqual(window.count(2000), 1)
  assert.strictEqual(window.quantile(0.99, 1, 2000), 5)
  window.record(7, 2100)
  assert.strictEqual(window.count(1e9), 0)
  assert.isUndefined(window.quantile(0.5, 1, 1e9))
})

it("a window knows nothing before it has its samples, and follows a clock that went back", () => {
  const window = new LatencyWindow(1000)
  for (let i = 0; i < 9; i++) window.record(50, 5000)
  assert.isUndefined(window.quantile(0.5, 10, 5000))
  window.record(50, 5000)
  assert.isDefined(window.quantile(0.5, 10, 5000))
  assert.strictEqual(window.count(100), 10)
  assert.strictEqual(window.count(1099), 10)
  assert.strictEqual(window.count(2100), 0)
})

it("a window's quantile follows within 32 records", () => {
  const window = new LatencyWindow(60_000)
  for (let i = 0; i < 100; i++) window.record(10, 0)
  assert.isBelow(window.quantile(0.9, 1, 0)!, 11)
  for (let i = 0; i < 32; i++) window.record(1000, 0)
  assert.isAtLeast(window.quantile(0.9, 1, 0)!, 1000)
})
