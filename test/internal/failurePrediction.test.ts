import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { admittedShare, CallTrend, ValueTrend } from "../../src/internal/failurePrediction.ts"
import { Scorecard } from "../../src/internal/scorecard.ts"
import { SortedSample } from "../../src/internal/sortedSample.ts"

const Latency = Schema.Union([
  Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })),
  Schema.Literals([0, -1, 1e300]),
  Schema.Number
])
const Passed = Schema.Union([
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_000 })),
  Schema.Literals([0, -5_000, 86_400_000])
])
const Calls = Schema.Array(Schema.Struct({ failed: Schema.Boolean, latency: Latency, passed: Passed }))

/** A hundred and fifty calls a minute for `minutes`, and when it is then. */
const usual = (trend: CallTrend, minutes: number, from = 0): number => {
  let now = from
  for (let call = 0; call < minutes * 150; call++) {
    now += 400
    trend.record(false, 20 + (call * 7) % 13, now)
  }
  return now
}

it.prop("is total and bounded, whatever comes on any clock", { calls: Calls }, ({ calls }) => {
  const trend = new CallTrend()
  let now = 1_000_000
  for (const { failed, latency, passed } of calls) {
    now += passed
    trend.record(failed, latency, now)
    const { failureShare, latencyRatio, probability } = trend.predict(now)
    assert.isTrue(probability >= 0 && probability <= 1)
    assert.isTrue(failureShare >= 0 && failureShare <= 1)
    assert.isTrue(latencyRatio >= 0 && latencyRatio <= 100)
    // What is not told anew is believed less and less.
    assert.isAtMost(trend.probability(now + 60_000), probability + 1e-12)
  }
})

it.prop("says the same whenever the clock began", {
  calls: Calls,
  shift: Schema.Int.check(Schema.isBetween({ minimum: -1e9, maximum: 1e12 }))
}, ({ calls, shift }) => {
  const one = new CallTrend()
  const other = new CallTrend()
  let now = 1e10
  for (const { failed, latency, passed } of calls) {
    now += passed
    one.record(failed, latency, now)
    other.record(failed, latency, now + shift)
    assert.deepStrictEqual(one.predict(now), other.predict(now + shift))
  }
})

it.prop("a failure in place of a success never makes it surer that all is well", { calls: Calls }, ({ calls }) => {
  const one = new CallTrend()
  const other = new CallTrend()
  let now = usual(one, 5)
  usual(other, 5)
  for (const { failed, passed } of calls) {
    now += Math.max(0, passed)
    one.record(failed, 25, now)
    other.record(true, 25, now)
    assert.isAtLeast(other.failures.value, one.failures.value - 1e-9)
  }
})

it("three failures are enough where there never were any, and not where they are usual", () => {
  const quiet = new CallTrend()
  let now = usual(quiet, 30)
  for (let i = 0; i < 3; i++) quiet.record(true, 25, now += 400)
  assert.isTrue(quiet.alarmed)
  assert.strictEqual(quiet.predict(now).reason, "Failures")

  const shaky = new CallTrend()
  now = 0
  let alarms = 0
  for (let call = 0; call < 20_000; call++) {
    shaky.record(call % 20 === 0, 25, now += 400)
    if (call > 2_000 && shaky.alarmed) alarms++
  }
  assert.strictEqual(alarms, 0)
})

it("one failure alone is none, however long there was none before", () => {
  const trend = new CallTrend()
  const now = usual(trend, 120)
  trend.record(true, 25, now + 400)
  assert.isFalse(trend.alarmed)
})

it("sees that most calls got slower, and that a few became very slow", () => {
  const slower = new CallTrend()
  let now = usual(slower, 30)
  let calls = 0
  for (; !slower.alarmed && calls < 200; calls++) slower.record(false, 70, now += 400)
  assert.isBelow(calls, 20)
  assert.strictEqual(slower.predict(now).reason, "Latency")

  const tail = new CallTrend()
  now = usual(tail, 30)
  for (calls = 0; !tail.alarmed && calls < 600; calls++) tail.record(false, calls % 25 === 0 ? 900 : 25, now += 400)
  assert.isBelow(calls, 250)
})

it("a flat stream, constant zeros and a drift within the usual raise nothing", () => {
  for (
    const latencyOf of [() => 25, () => 0, (i: number) => 20 + 8 * Math.sin(i / 500), (i: number) => 20 + i / 2_000]
  ) {
    const trend = new CallTrend()
    let now = 0
    for (let i = 0; i < 20_000; i++) {
      trend.record(false, latencyOf(i), now += 400)
      assert.isFalse(trend.alarmed, `${String(latencyOf)} at ${i}`)
    }
  }
})

it("a tail that there always was raises nothing", () => {
  for (const every of [20, 30, 40]) {
    const trend = new CallTrend()
    for (let call = 0, now = 0; call < 5_000; call++, now += 400) {
      trend.record(false, call % every === 0 ? 500 : 20 + (call * 7) % 13, now)
      assert.isFalse(trend.predict(now).alarmed, `every ${every}th, call ${call}`)
    }
  }
})

it("an alarm ends when the calls are as usual again, and after a long gap", () => {
  const trend = new CallTrend()
  let now = usual(trend, 30)
  for (let i = 0; i < 20; i++) trend.record(true, 25, now += 400)
  assert.isTrue(trend.alarmed)
  assert.isFalse(trend.predict(now + 3_600_000).alarmed)
  now = usual(trend, 15, now)
  assert.isFalse(trend.alarmed)
})

it("what goes on for hours does not become usual in minutes", () => {
  const trend = new CallTrend()
  let now = usual(trend, 60)
  for (let i = 0; i < 150 * 15; i++) trend.record(i % 5 === 0, 25, now += 400)
  assert.isTrue(trend.alarmed)
})

const Values = Schema.Array(Schema.Union([
  Schema.Finite.check(Schema.isBetween({ minimum: -1e9, maximum: 1e9 })),
  Schema.Literals([0, 1]),
  Schema.Number
]))

it.prop("a gauge is total and bounded, and gaps change nothing", { values: Values }, ({ values }) => {
  const trend = new ValueTrend()
  const without = new ValueTrend()
  for (const value of values) {
    const probability = trend.observe(value)
    assert.isTrue(probability > 0 && probability < 1)
    if (Number.isFinite(value)) without.observe(value)
    assert.strictEqual(trend.evidence, without.evidence)
  }
})

it.prop("a gauge says the same in any unit, and the surer the higher a value is", {
  values: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))),
  last: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 }))
}, ({ last, values }) => {
  const all = [...Array.from({ length: 40 }, (_, i) => 100 + i % 7), ...values]
  const [one, other, higher] = [new ValueTrend(), new ValueTrend(), new ValueTrend()]
  for (const value of all) {
    one.observe(value)
    other.observe(value * 1_024)
    higher.observe(value)
  }
  const probability = one.observe(last)
  assert.strictEqual(other.observe(last * 1_024), probability)
  assert.isAtLeast(higher.observe(last + 500), probability)
})

it("one value off constant zero is no alarm, two in a row are; three times the usual is one at once", () => {
  const zero = new ValueTrend()
  for (let i = 0; i < 300; i++) zero.observe(0)
  assert.isBelow(zero.observe(1), 0.5)
  assert.isBelow(zero.observe(0), 0.5)
  zero.observe(1)
  assert.isAtLeast(zero.observe(1), 0.5)
  const busy = new ValueTrend()
  for (let i = 0; i < 300; i++) busy.observe(100 + i % 10)
  assert.isBelow(busy.observe(140), 0.5)
  assert.isAtLeast(busy.observe(330), 0.5)
})

it("sheds nothing up to even odds, then in proportion, and never all", () => {
  assert.deepStrictEqual([0, 0.5, 0.75, 1].map((p) => admittedShare(p, 0.1)), [1, 1, 0.5, 0.1])
})

it.prop("a sorted sample has the quantiles of its last values", {
  values: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 5 })))
}, ({ values }) => {
  const sample = new SortedSample(8)
  for (const value of values) sample.add(value)
  const kept = values.slice(-8).toSorted((a, b) => a - b)
  assert.strictEqual(sample.size, kept.length)
  if (kept.length === 0) return
  assert.strictEqual(sample.quantile(0), kept[0])
  assert.strictEqual(sample.quantile(1), kept.at(-1))
  if (kept.length % 2 === 1) assert.strictEqual(sample.quantile(0.5), kept[(kept.length - 1) / 2])
})

it("a scorecard tells foreseen, missed and false apart, at the horizon's edge and in an outage", () => {
  const score = new Scorecard(1_000)
  score.alarm(0)
  score.alarm(500)
  score.trip(1_000)
  assert.deepStrictEqual([score.trips, score.foreseen, score.medianLeadMillis], [1, 1, 1_000])
  // It is down already: neither is anything new.
  score.alarm(1_100)
  score.trip(1_200)
  score.recovered()
  assert.isFalse(score.pending(1_300))
  score.alarm(2_000)
  assert.isTrue(score.pending(3_000))
  score.trip(3_001)
  assert.deepStrictEqual([score.trips, score.foreseen, score.falseAlarms], [2, 1, 1])
})
