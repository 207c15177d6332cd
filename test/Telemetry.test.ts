import { assert, it } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Metric, Schema } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as series from "../src/internal/telemetrySeries.ts"
import * as Telemetry from "../src/Telemetry.ts"

const now = Clock.currentTimeMillis

const recorderOf = (service: string, operation: string) =>
  Effect.gen(function*() {
    const telemetry = yield* Telemetry.Telemetry
    assert.isDefined(telemetry)
    return telemetry.recorder(service, operation)
  })

const registry = Layer.sync(Metric.MetricRegistry, () => new Map())
const layer = (options?: Telemetry.Options) => Telemetry.layer(options).pipe(Layer.provideMerge(registry))

const call = (recorder: Telemetry.Recorder, outcome: Telemetry.CallOutcome, latency = 10) =>
  Effect.map(now, (at) => {
    recorder.begin(at)
    recorder.end(outcome, latency, at)
  })

it("puts 10 ms times every power of two on a bound", () => {
  for (const [millis, exact] of [[0, 0], [0.3125, 0], [10, 15], [20, 18], [81_920, 54], [81_921, 55]] as const) {
    assert.strictEqual(series.bucketOf(millis), exact, `${millis} ms`)
  }
  assert.strictEqual(series.bucketOf(10.001), 16)
})

it.prop("keeps a latency within its bucket's bounds", {
  millis: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 200_000 }))
}, ({ millis }) => {
  const bucket = series.bucketOf(millis)
  assert.isAtMost(millis, series.boundOf(bucket) * (1 + 1e-9))
  if (bucket > 0) assert.isAbove(millis, series.boundOf(bucket - 1) * (1 - 1e-9))
})

it.effect("scenario 54: counts 2 successes and 1 failure as 3/2/1, with percentiles", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("neon", "search")
    yield* call(recorder, "success", 10)
    yield* call(recorder, "success", 20)
    yield* call(recorder, "failure", 400)
    const { services: [neon], summary } = yield* (yield* Telemetry.Measurements).read()
    assert.isDefined(neon)
    assert.deepInclude(neon, { total: 3, successful: 2, failed: 1, cancelled: 0, inFlight: 0 })
    assert.strictEqual(neon.successRate, 2 / 3)
    assert.closeTo(neon.latency.mean!, 430 / 3, 1e-9)
    assert.closeTo(neon.latency.p50!, 20, 20 * 0.26)
    assert.closeTo(neon.latency.p95!, 400, 400 * 0.26)
    assert.closeTo(neon.latency.p99!, 400, 400 * 0.26)
    assert.strictEqual(summary.total, 3)
  }).pipe(Effect.provide(layer())))

it.effect("tells the percentiles of 1 to 1,000 ms within a bucket's width", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("neon", "search")
    for (let millis = 1; millis <= 1_000; millis++) yield* call(recorder, "success", millis)
    const { summary: { latency } } = yield* (yield* Telemetry.Measurements).read()
    for (const [told, exact] of [[latency.p50, 500], [latency.p90, 900], [latency.p95, 950], [latency.p99, 990]]) {
      assert.closeTo(told!, exact!, exact! * 0.13)
    }
  }).pipe(Effect.provide(layer())))

it.effect("has no rate and no latency without calls", () =>
  Effect.gen(function*() {
    const { services: [openai] } = yield* (yield* Telemetry.Measurements).read({ services: ["openai"] })
    assert.deepInclude(openai!, { total: 0, successRate: null, errorRate: null })
    assert.deepStrictEqual(openai!.latency, { mean: null, p50: null, p90: null, p95: null, p99: null })
  }).pipe(Effect.provide(layer())))

it.effect("counts a refused call as failed, without a latency", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("openai", "search")
    yield* call(recorder, "refused", 5_000)
    const { summary } = yield* (yield* Telemetry.Measurements).read()
    assert.deepInclude(summary, { total: 1, failed: 1, refused: 1, errorRate: 1 })
    assert.strictEqual(summary.latency.mean, null)
  }).pipe(Effect.provide(layer())))

it.effect("scenario 65: an hour holds the calls of the last hour alone", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const recorder = yield* recorderOf("neon", "search")
    yield* call(recorder, "failure")
    yield* TestClock.adjust("61 minutes")
    yield* call(recorder, "success")
    const hour = yield* measurements.read({ range: "1 hour" })
    assert.deepInclude(hour.summary, { total: 1, successful: 1 })
    assert.strictEqual(hour.window.from, 60_000)
    assert.strictEqual((yield* measurements.read({ range: "2 hours" })).summary.total, 2)
    yield* TestClock.adjust("24 hours")
    assert.strictEqual((yield* measurements.read()).summary.total, 1)
    yield* TestClock.adjust("1 hour")
    assert.strictEqual((yield* measurements.read()).summary.total, 0)
  }).pipe(Effect.provide(layer())))

it.effect("says from when its figures are", () =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_764_000_000_000)
    yield* Effect.gen(function*() {
      const measurements = yield* Telemetry.Measurements
      assert.deepStrictEqual((yield* measurements.read()).window, { from: 1_764_000_000_000, to: 1_764_000_000_000 })
      yield* TestClock.adjust("30 hours")
      const { window } = yield* measurements.read({ range: "24 hours" })
      assert.strictEqual(window.to - window.from, 24 * 3_600_000)
    }).pipe(Effect.provide(layer()))
  }))

it.effect("scenario 56: a reset during a call leaves success at most total", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const recorder = yield* recorderOf("neon", "search")
    yield* call(recorder, "success")
    recorder.begin(yield* now)
    yield* measurements.reset()
    assert.deepInclude((yield* measurements.read()).services[0]!, { total: 0, successful: 0, inFlight: 1 })
    recorder.end("success", 5, yield* now)
    assert.deepInclude((yield* measurements.read()).services[0]!, { total: 1, successful: 1, inFlight: 0 })
  }).pipe(Effect.provide(layer())))

it.effect("scenario 66: resets the named service alone, and leaves the Prometheus counters", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    yield* call(yield* recorderOf("neon", "search"), "success", 10)
    yield* call(yield* recorderOf("openai", "search"), "success", 10)
    yield* TestClock.adjust("5 minutes")
    yield* measurements.reset(["neon"])
    const { services, window } = yield* measurements.read()
    assert.deepStrictEqual(services.map(({ service, total }) => [service, total]), [["neon", 0], ["openai", 1]])
    assert.strictEqual(window.from, 0)
    assert.strictEqual((yield* measurements.read({ services: ["neon"] })).window.from, 300_000)
    assert.deepStrictEqual((yield* measurements.lifetime).map(({ service, total }) => [service, total]), [
      ["neon", 1],
      ["openai", 1]
    ])
    const text = yield* PrometheusMetrics.format()
    assert.include(text, `ft_calls_total{service="neon",operation="search",outcome="success"} 1\n`)
  }).pipe(Effect.provide(layer())))

it.effect("shows every series at 0 before the first error, and cumulative buckets in seconds", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("neon", "search")
    assert.include(
      yield* PrometheusMetrics.format(),
      `ft_errors_total{service="neon",operation="search",category="RATE_LIMIT"} 0\n`
    )
    yield* call(recorder, "success", 15)
    recorder.error("RateLimitError", yield* now)
    const text = yield* PrometheusMetrics.format()
    assert.include(text, `category="RATE_LIMIT"} 1\n`)
    assert.include(text, `ft_call_duration_seconds_bucket{service="neon",operation="search",le="0.01"} 0\n`)
    assert.include(text, `ft_call_duration_seconds_bucket{service="neon",operation="search",le="0.02"} 1\n`)
    assert.include(text, `ft_call_duration_seconds_bucket{service="neon",operation="search",le="+Inf"} 1\n`)
    assert.include(text, `ft_call_duration_seconds_sum{service="neon",operation="search"} 0.015\n`)
    assert.strictEqual(text.split("# TYPE ft_call_duration_seconds histogram").length, 2)
  }).pipe(Effect.provide(layer())))

it.effect("takes its series out of the registry when it closes", () =>
  Effect.gen(function*() {
    yield* Effect.provide(recorderOf("neon", "search"), Telemetry.layer())
    assert.strictEqual((yield* Metric.MetricRegistry).size, 0)
  }).pipe(Effect.provide(registry)))

it.effect("counts what is beyond the bound as other", () =>
  Effect.gen(function*() {
    for (let index = 0; index < 20; index++) yield* call(yield* recorderOf("neon", `operation-${index}`), "success")
    yield* call(yield* recorderOf("unheard", "of"), "success")
    const { services, summary } = yield* (yield* Telemetry.Measurements).read()
    assert.strictEqual(summary.total, 21)
    assert.deepStrictEqual(services.map(({ service, operations }) => [service, operations.length]), [
      ["neon", 5],
      ["other", 1]
    ])
    assert.strictEqual(services[0]?.operations.find(({ operation }) => operation === "other")?.total, 16)
  }).pipe(Effect.provide(layer({ maxSeries: 4 }))))

it.effect("gives the same recorder for the same names", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* recorderOf("neon", "search"), yield* recorderOf("neon", "search"))
  }).pipe(Effect.provide(layer())))

it.effect("tells where calls went, minute by minute what happened, and the cache's part", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const recorder = yield* recorderOf("unified", "search")
    recorder.fallback("openai", "neon", yield* now)
    yield* call(recorder, "success")
    yield* TestClock.adjust("1 minute")
    recorder.fallback("openai", "neon", yield* now)
    recorder.cache("stale", yield* now)
    yield* call(recorder, "failure")
    const { flows, summary } = yield* measurements.read()
    assert.deepStrictEqual(flows, [{ service: "unified", from: "openai", to: "neon", count: 2 }])
    assert.deepStrictEqual(summary.cache, { hit: 0, stale: 1, miss: 0, coalesced: 0 })
    const minutes = yield* measurements.minutes("unified", 3)
    assert.deepStrictEqual(minutes.map(({ at, failed, successful }) => [at, successful, failed]), [
      [-60_000, 0, 0],
      [0, 1, 0],
      [60_000, 0, 1]
    ])
  }).pipe(Effect.provide(layer())))

const Step = Schema.Union([
  Schema.TaggedStruct("call", {
    service: Schema.Literals(["openai", "neon"]),
    outcome: Schema.Literals(["success", "failure", "cancelled", "refused"]),
    latency: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5_000 }))
  }),
  Schema.TaggedStruct("retry", { service: Schema.Literals(["openai", "neon"]) }),
  Schema.TaggedStruct("wait", { minutes: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 200 })) }),
  Schema.TaggedStruct("reset", { service: Schema.Literals(["openai", "neon"]) })
])

const Range = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 24 * 60 }))

it.effect.prop(
  "reconciles every counter and window with a list of all that happened",
  { steps: Schema.Array(Step).check(Schema.isMaxLength(60)), range: Range },
  ({ steps, range }) =>
    Effect.gen(function*() {
      const measurements = yield* Telemetry.Measurements
      let log: Array<{ at: number; service: string; outcome?: Telemetry.CallOutcome; latency?: number }> = []
      const ever: Record<string, number> = { openai: 0, neon: 0 }
      for (const step of steps) {
        const at = yield* now
        if (step._tag === "wait") yield* TestClock.adjust(`${step.minutes} minutes`)
        else if (step._tag === "reset") {
          yield* measurements.reset([step.service])
          log = log.filter(({ service }) => service !== step.service)
        } else {
          const recorder = yield* recorderOf(step.service, "search")
          if (step._tag === "retry") {
            recorder.retry(at)
            log.push({ at, service: step.service })
          } else {
            yield* call(recorder, step.outcome, step.latency)
            log.push({ at, ...step })
            if (step.outcome === "success") ever[step.service]!++
          }
        }
        const to = yield* now
        const width = range <= 60 ? 60_000 : 1_200_000
        const from = Math.floor((to - range * 60_000) / width) * width
        const reading = yield* measurements.read({ services: ["openai", "neon"], range: `${range} minutes` })
        for (const service of reading.services) {
          const kept = log.filter((entry) => entry.service === service.service && entry.at >= from)
          const count = (outcome?: Telemetry.CallOutcome) => kept.filter((entry) => entry.outcome === outcome).length
          assert.strictEqual(service.successful, count("success"))
          assert.strictEqual(service.failed, count("failure") + count("refused"))
          assert.strictEqual(service.refused, count("refused"))
          assert.strictEqual(service.cancelled, count("cancelled"))
          assert.strictEqual(service.retried, count())
          assert.strictEqual(service.total, service.successful + service.failed + service.cancelled)
          const latencies = kept.filter(({ outcome }) => outcome === "success" || outcome === "failure")
            .map(({ latency }) => latency!)
          if (latencies.length === 0) assert.isNull(service.latency.mean)
          else {
            assert.closeTo(service.latency.mean!, latencies.reduce((a, b) => a + b, 0) / latencies.length, 1e-6)
          }
        }
      }
      const text = yield* PrometheusMetrics.format()
      for (const service of ["openai", "neon"]) {
        if (!text.includes(`service="${service}"`)) continue
        assert.include(text, `{service="${service}",operation="search",outcome="success"} ${ever[service]}\n`)
      }
    }).pipe(Effect.provide(layer()))
)

it("holds 24 hours of 1,000 busy series in less than 64 MB", () => {
  setFlagsFromString("--expose-gc")
  const gc: () => void = runInNewContext("gc")
  gc()
  const before = process.memoryUsage()
  const all = Array.from({ length: 1_000 }, () => new series.Series())
  for (let minute = 0; minute < 24 * 60; minute += 1) {
    for (const one of all) {
      one.count(series.field.success, minute * 60_000)
      one.latency(minute % 300, minute * 60_000)
    }
  }
  // What the loop above left behind is not held.
  gc()
  const after = process.memoryUsage()
  const used = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
  assert.isBelow(used, 64e6)
  const counts = series.emptyCounts()
  for (const one of all) one.addSince(series.windowStart(24 * 3_600_000 - 1, 24 * 3_600_000), counts)
  assert.strictEqual(counts.row[series.field.success], 24 * 60 * 1_000)
})

it.effect("is off unless provided", () =>
  Effect.gen(function*() {
    assert.isUndefined(Context.get(yield* Effect.context(), Telemetry.Telemetry))
  }))
