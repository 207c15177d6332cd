import { assert, it } from "@effect/vitest"
import { Clock, Context, type Duration, Effect, Exit, Fiber, Layer, Metric, Record, Schema } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import * as series from "../src/internal/telemetrySeries.ts"
import * as Pipeline from "../src/Pipeline.ts"
import * as RetryBudget from "../src/RetryBudget.ts"
import * as ServiceLevel from "../src/ServiceLevel.ts"
import * as Telemetry from "../src/Telemetry.ts"
import { seeded } from "./internal/seeded.ts"
import { tried } from "./proofs.ts"

const now = Clock.currentTimeMillis

const recorderOf = (service: string, operation: string, about?: Telemetry.About) =>
  Effect.gen(function*() {
    const telemetry = yield* Telemetry.Telemetry
    assert.isDefined(telemetry)
    return telemetry.recorder(service, operation, about)
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

it.effect("a latency that is no finite number spoils no sum, and no minute after it", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("neon", "search")
    for (const latency of [Infinity, NaN, -5, 30]) yield* call(recorder, "success", latency)
    yield* TestClock.adjust("2 minutes")
    yield* call(recorder, "failure", Infinity)
    const { summary } = yield* (yield* Telemetry.Measurements).read()
    assert.strictEqual(summary.total, 5)
    assert.strictEqual(summary.latency.mean, 6)
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
    const labels = `service="neon",operation="search",outcome="success"`
    assert.include(text, `ft_call_duration_seconds_bucket{${labels},le="0.01"} 0\n`)
    assert.include(text, `ft_call_duration_seconds_bucket{${labels},le="0.02"} 1\n`)
    assert.include(text, `ft_call_duration_seconds_bucket{${labels},le="+Inf"} 1\n`)
    assert.include(text, `ft_call_duration_seconds_sum{${labels}} 0.015\n`)
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

it.effect("a bound that is no whole number is refused by name", () =>
  Effect.gen(function*() {
    for (const maxSeries of [NaN, -1, Infinity]) {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer({ maxSeries }))))
      assert.deepInclude(error, { module: "Telemetry", field: "maxSeries" })
    }
  }))

it.effect("gives the same recorder for the same names", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* recorderOf("neon", "search"), yield* recorderOf("neon", "search"))
  }).pipe(Effect.provide(layer())))

it.effect("tells where calls went, minute by minute what happened, and the cache's part", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const recorder = yield* recorderOf("unified", "search")
    recorder.fallback("openai", "neon", "graceful", yield* now)
    yield* call(recorder, "success")
    yield* TestClock.adjust("1 minute")
    recorder.fallback("openai", "neon", "graceful", yield* now)
    recorder.cache("stale", yield* now)
    yield* call(recorder, "failure")
    const { flows, summary } = yield* measurements.read()
    assert.deepStrictEqual(flows, [{ service: "unified", from: "openai", to: "neon", mode: "graceful", count: 2 }])
    assert.deepStrictEqual(summary.cache, { hit: 0, stale: 1, miss: 0, coalesced: 0 })
    const minutes = yield* measurements.minutes("unified", 3)
    assert.deepStrictEqual(minutes.map(({ at, failed, successful }) => [at, successful, failed]), [
      [-60_000, 0, 0],
      [0, 1, 0],
      [60_000, 0, 1]
    ])
  }).pipe(Effect.provide(layer())))

const outcomes = ["success", "failure", "cancelled", "refused"] as const
const caches = ["hit", "stale", "miss", "coalesced"] as const
const completenesses = ["complete", "partial", "stale", "lexical", "failed"] as const
const tags = ["NetworkError", "RateLimitError"] as const
const counters = ["retry", "hedge", "breakerTrip"] as const

const Service = Schema.Literals(["openai", "neon"])
const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Step = Schema.Union([
  Schema.TaggedStruct("call", {
    service: Service,
    outcome: Schema.Literals(outcomes),
    latency: upTo(5_000),
    attempt: upTo(4),
    handled: Schema.Boolean,
    /** Of a failure. */
    tag: Schema.Literals(tags)
  }),
  Schema.TaggedStruct("count", {
    service: Service,
    what: Schema.Literals([...counters, ...caches, ...completenesses, "fallback", "gaveUp", "gaveUpRetried"])
  }),
  Schema.TaggedStruct("wait", { minutes: upTo(200) }),
  Schema.TaggedStruct("reset", { service: Service })
])

/** One thing that happened: `ended` beside the outcome of calls with a latency. */
interface Fact {
  readonly at: number
  readonly service: string
  readonly what: string
  readonly latency?: number
}

const factsOf = (step: typeof Step.Type, at: number): ReadonlyArray<Fact> => {
  switch (step._tag) {
    case "call": {
      const { attempt, handled, latency, outcome, service, tag } = step
      const own = { at, service }
      if (outcome === "cancelled" || outcome === "refused") return [{ ...own, what: outcome }]
      const failed = outcome === "failure" && handled
      return [
        { ...own, what: outcome, latency },
        { ...own, what: `attempt ${Math.min(attempt, 3)} ${failed}`, latency },
        ...(outcome === "failure" ? [{ ...own, what: tag }] : []),
        ...(attempt > 0 && outcome === "success" ? [{ ...own, what: "successful_with_retry" }] : [])
      ]
    }
    case "count":
      return [{ at, service: step.service, what: step.what }]
    case "wait":
    case "reset":
      return []
  }
}

const perform = (recorder: Telemetry.Recorder, step: typeof Step.Type, at: number): void => {
  if (step._tag === "call") {
    recorder.begin(at)
    if (step.outcome === "failure") recorder.error(step.tag, at)
    recorder.end(step.outcome, step.latency, at, step.attempt, step.outcome === "failure" && step.handled)
  }
  if (step._tag !== "count") return
  const { what } = step
  switch (what) {
    case "retry":
    case "hedge":
    case "breakerTrip":
      return recorder[what](at)
    case "hit":
    case "miss":
    case "coalesced":
      return recorder.cache(what, at)
    case "stale":
      recorder.cache(what, at)
      return recorder.answered(what, at)
    case "complete":
    case "partial":
    case "lexical":
    case "failed":
      return recorder.answered(what, at)
    case "fallback":
      return recorder.fallback("openai", "neon", "graceful", at)
    case "gaveUp":
      return recorder.gaveUp(false)
    case "gaveUpRetried":
      return recorder.gaveUp(true)
  }
}

/** Every series with its value. */
const seriesOf = (text: string) =>
  new Map(Array.from(text.matchAll(/^(\w+\{.*\}) (\S+)$/gm), ([, name, value]) => [name!, Number(value)] as const))

it.effect.prop(
  "reconciles every counter, window and series with a list of all that happened, whatever is reset in between",
  { steps: Schema.Array(Step).check(Schema.isMaxLength(60)), range: upTo(24 * 60 - 1) },
  ({ range, steps }) =>
    Effect.gen(function*() {
      const measurements = yield* Telemetry.Measurements
      const about = { kind: "provider" } as const
      const minutes = range + 1
      let kept: ReadonlyArray<Fact> = []
      const ever: Array<Fact> = []
      let shown = new Map<string, number>()
      for (const step of steps) {
        const at = yield* now
        if (step._tag === "wait") yield* TestClock.adjust(`${step.minutes} minutes`)
        else if (step._tag === "reset") {
          yield* measurements.reset([step.service])
          kept = kept.filter(({ service }) => service !== step.service)
        } else {
          perform(yield* recorderOf(step.service, "search", about), step, at)
          ever.push(...factsOf(step, at))
          kept = [...kept, ...factsOf(step, at)]
        }
        const to = yield* now
        const width = minutes <= 60 ? 60_000 : 1_200_000
        const from = Math.floor((to - minutes * 60_000) / width) * width
        const reading = yield* measurements.read({ services: ["openai", "neon"], range: `${minutes} minutes` })
        for (const read of reading.services) {
          const held = kept.filter(({ at, service }) => service === read.service && at >= from)
          const count = (what: string) => held.filter((fact) => fact.what === what).length
          assert.deepInclude(read, {
            successful: count("success"),
            failed: count("failure") + count("refused"),
            refused: count("refused"),
            cancelled: count("cancelled"),
            total: count("success") + count("failure") + count("refused") + count("cancelled"),
            retried: count("retry"),
            hedged: count("hedge"),
            breakerTrips: count("breakerTrip"),
            fallbacks: count("fallback"),
            inFlight: 0
          })
          assert.deepStrictEqual(read.cache, Record.fromIterableWith(caches, (it) => [it, count(it)]))
          assert.deepStrictEqual(read.completeness, Record.fromIterableWith(completenesses, (it) => [it, count(it)]))
          for (const tag of tags) assert.strictEqual(read.errors[tag], count(tag))
          const latencies = held.flatMap(({ latency, what }) =>
            latency === undefined || what.startsWith("attempt") ? [] : [latency]
          )
          if (latencies.length === 0) assert.isNull(read.latency.mean)
          else assert.closeTo(read.latency.mean!, latencies.reduce((a, b) => a + b, 0) / latencies.length, 1e-6)
          const flow = reading.flows.find(({ service }) => service === read.service)
          assert.strictEqual(
            flow?.count ?? 0,
            kept.filter(({ service, what }) => service === read.service && what === "fallback").length
          )
        }
        // What Prometheus reads never falls, whatever was reset.
        const next = seriesOf(yield* PrometheusMetrics.format())
        for (const [name, value] of shown) assert.isAtLeast(next.get(name)!, value, name)
        shown = next
      }
      for (const service of new Set(ever.map((fact) => fact.service))) {
        const all = ever.filter((fact) => fact.service === service)
        const count = (what: string) => all.filter((fact) => fact.what === what).length
        const sum = (what: string) =>
          all.reduce((total, fact) => fact.what === what ? total + fact.latency! : total, 0) / 1_000
        const labels = `service="${service}",operation="search"`
        const is = (name: string, value: number) => assert.closeTo(shown.get(name) ?? NaN, value, 1e-9, name)
        is(`ft_calls_total{${labels},outcome="success"}`, count("success"))
        is(`ft_calls_total{${labels},outcome="failure"}`, count("failure") - count("RateLimitError"))
        is(`ft_calls_total{${labels},outcome="ignored"}`, count("RateLimitError"))
        is(`ft_calls_total{${labels},outcome="not_permitted"}`, count("refused"))
        is(`ft_calls_total{${labels},outcome="cancelled"}`, count("cancelled"))
        is(`ft_errors_total{${labels},category="NETWORK"}`, count("NetworkError"))
        is(`ft_retries_total{${labels}}`, count("retry"))
        is(`ft_hedges_total{${labels}}`, count("hedge"))
        is(`ft_breaker_trips_total{${labels}}`, count("breakerTrip"))
        for (const outcome of ["success", "failure"]) {
          is(`ft_call_duration_seconds_count{${labels},outcome="${outcome}"}`, count(outcome))
          is(`ft_call_duration_seconds_sum{${labels},outcome="${outcome}"}`, sum(outcome))
        }
        for (const attempt of [0, 1, 2, 3]) {
          for (const handled of [false, true]) {
            const what = `attempt ${attempt} ${handled}`
            const named = `{${labels},attempt="${attempt === 3 ? "3plus" : attempt}",handled="${handled}"}`
            is(`ft_attempt_duration_seconds_count${named}`, count(what))
            is(`ft_attempt_duration_seconds_sum${named}`, sum(what))
          }
        }
        const calls = `ft_retry_calls_total{service="${service}",kind=`
        is(`${calls}"successful_with_retry"}`, count("successful_with_retry"))
        is(`${calls}"successful_without_retry"}`, count("success") - count("successful_with_retry"))
        is(`${calls}"failed_without_retry"}`, count("gaveUp"))
        is(`${calls}"failed_with_retry"}`, count("gaveUpRetried"))
      }
    }).pipe(Effect.provide(layer()))
)

it.effect("a histogram tells the least and the most as near as its buckets do", () =>
  Effect.gen(function*() {
    const recorder = yield* recorderOf("a", "get")
    const extremes = Effect.map(Metric.snapshot, (all) => {
      const found = all.find(({ id }) => id === "ft_call_duration_seconds")
      assert.strictEqual(found?.type, "Histogram")
      const { count, max, min } = found!.state as Metric.HistogramState
      return { count, min, max }
    })
    assert.deepStrictEqual(yield* extremes, { count: 0, min: 0, max: 0 })
    yield* call(recorder, "success", 30)
    yield* call(recorder, "success", 100)
    const { count, max, min } = yield* extremes
    assert.strictEqual(count, 2)
    assert.isTrue(0.015 <= min && min < 0.03, `${min}`)
    assert.isTrue(0.1 <= max && max <= 0.2, `${max}`)
    yield* call(recorder, "success", 1e9)
    const longest = (yield* extremes).max
    assert.isTrue(Number.isFinite(longest) && longest > max, `${longest}`)
  }).pipe(Effect.provide(layer())))

it.effect("what hedges cost is spent from the budget, too", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const pipeline = yield* Pipeline.make({ provider: "openai", retry: true, hedge: { delay: "100 millis" } })
    yield* measurements.watch("openai", { budget: pipeline.budget })
    const slow = Effect.sleep("150 millis").pipe(pipeline.protect({ operation: "search", idempotent: true }))
    const fiber = yield* Effect.forkChild(slow)
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    const shown = seriesOf(yield* PrometheusMetrics.format())
    assert.strictEqual(shown.get(`ft_retry_budget_spent_total{service="openai"}`), 1)
    assert.strictEqual(shown.get(`ft_hedges_total{service="openai",operation="search"}`), 1)
  }).pipe(Effect.scoped, Effect.provide(layer())))

it.effect("counts what a pipeline does: attempts by number, calls by what retry had to do with them, and its budget", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const pipeline = yield* Pipeline.make({
      provider: "openai",
      retry: {
        maxRetries: 5,
        jitter: "none",
        baseDelay: "1 second",
        budget: yield* RetryBudget.make({ bucket: 3, ratio: 0, floorPerSecond: 0 })
      }
    })
    yield* measurements.watch("openai", { budget: pipeline.budget })
    let failures = 0
    const work = Effect.suspend(() => failures-- > 0 ? Effect.fail({ status: 503 }) : Effect.void)
    const call = (fails: number) =>
      Effect.gen(function*() {
        failures = fails
        const fiber = yield* work.pipe(
          pipeline.protect({ operation: "search", idempotent: true }),
          Effect.exit,
          Effect.forkChild
        )
        yield* TestClock.adjust("10 minutes")
        return yield* Fiber.join(fiber)
      })
    assert.isTrue(Exit.isSuccess(yield* call(0)))
    assert.isTrue(Exit.isSuccess(yield* call(1)))
    // Two are left in the budget: the third retry is not paid.
    assert.isTrue(Exit.isFailure(yield* call(9)))
    // And none for this one.
    assert.isTrue(Exit.isFailure(yield* call(9)))
    const shown = seriesOf(yield* PrometheusMetrics.format())
    const calls = (kind: string) => shown.get(`ft_retry_calls_total{service="openai",kind="${kind}"}`)
    assert.deepStrictEqual(
      ["successful_without_retry", "successful_with_retry", "failed_without_retry", "failed_with_retry"].map(calls),
      [1, 1, 1, 1]
    )
    const attempts = (attempt: string, handled: boolean) =>
      shown.get(
        `ft_attempt_duration_seconds_count{service="openai",operation="search",attempt="${attempt}",handled="${handled}"}`
      )
    assert.deepStrictEqual([attempts("0", false), attempts("0", true)], [1, 3])
    assert.deepStrictEqual([attempts("1", false), attempts("1", true)], [1, 1])
    assert.deepStrictEqual([attempts("2", false), attempts("2", true)], [0, 1])
    assert.strictEqual(shown.get(`ft_retry_budget_remaining{service="openai"}`), 0)
    assert.strictEqual(shown.get(`ft_retry_budget_spent_total{service="openai"}`), 3)
    assert.strictEqual(shown.get(`ft_retry_budget_exhausted_total{service="openai"}`), 2)
    const budget = (range: Duration.Input) =>
      Effect.map(
        measurements.read({ services: ["openai"], range }),
        ({ services: [openai] }) => [openai?.retryBudget?.left, openai?.retried, openai?.retryBudget?.exhausted]
      )
    assert.deepStrictEqual(yield* budget("1 hour"), [0, 3, 2])
    assert.deepStrictEqual(yield* budget("5 minutes"), [0, 0, 0])
    assert.deepStrictEqual(yield* budget("15 minutes"), [0, 0, 1])
    yield* measurements.reset()
    assert.deepStrictEqual(yield* budget("1 hour"), [0, 0, 0])
  }).pipe(Effect.scoped, Effect.provide(layer())))

it.effect("tells how long each circuit was in each state, over the window that is asked for", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const breaker = yield* CircuitBreaker.make({
      name: "openai",
      failureThreshold: 1,
      recoveryTimeout: "90 seconds",
      maxRecoveryTimeout: "90 seconds",
      jitter: false,
      successThreshold: 1
    })
    yield* breaker.state("openai/search")
    yield* measurements.watch("openai", { breaker })
    const circuits = (range: Duration.Input) =>
      Effect.map(
        measurements.read({ services: ["openai"], range }),
        ({ services: [openai] }) =>
          openai!.circuits.map(({ key, millis, openings, state }) => Object.assign({ key, state, openings }, millis))
      )
    const none = { Closed: 0, Open: 0, HalfOpen: 0, ForcedOpen: 0, Disabled: 0 }
    const search = { key: "openai/search", ...none }
    yield* TestClock.adjust("10 minutes")
    assert.deepStrictEqual(yield* circuits("1 hour"), [{ ...search, state: "Closed", openings: 0, Closed: 600_000 }])
    yield* Effect.exit(Effect.fail("down").pipe(breaker.execute({ key: "openai/search" })))
    yield* TestClock.adjust("2 minutes")
    // Ready to be probed is open still.
    assert.deepStrictEqual(yield* circuits("1 hour"), [
      { ...search, state: "ReadyToProbe", openings: 1, Closed: 600_000, Open: 120_000 }
    ])
    const probe = yield* Effect.sleep("4 seconds").pipe(breaker.execute({ key: "openai/search" }), Effect.forkChild)
    yield* TestClock.adjust("4 seconds")
    yield* Fiber.join(probe)
    yield* TestClock.adjust("6 seconds")
    // A circuit that came later is told of from then on, and what an operator does counts like the rest.
    yield* breaker.forceOpen("openai/add")
    yield* TestClock.adjust("50 seconds")
    assert.deepStrictEqual(yield* circuits("24 hours"), [
      { ...search, state: "Closed", openings: 1, Closed: 656_000, Open: 120_000, HalfOpen: 4_000 },
      { ...search, key: "openai/add", state: "ForcedOpen", openings: 0, Closed: 730_000, ForcedOpen: 50_000 }
    ])
    // The last two minutes, and the whole minute in which they began.
    assert.deepStrictEqual((yield* circuits("2 minutes"))[0], {
      ...search,
      state: "Closed",
      openings: 0,
      Closed: 56_000,
      Open: 60_000,
      HalfOpen: 4_000
    })
    yield* measurements.reset(["openai"])
    yield* TestClock.adjust("30 seconds")
    assert.deepStrictEqual((yield* circuits("1 hour"))[0], {
      ...search,
      state: "Closed",
      openings: 0,
      Closed: 30_000
    })
  }).pipe(Effect.scoped, Effect.provide(layer())))

it.effect("tells of circuits that came when as many as it can follow had come and gone", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const breaker = yield* CircuitBreaker.make({ failureThreshold: 1, recoveryTimeout: "1 hour", maxKeys: 2 })
    yield* measurements.watch("openai", { breaker })
    const fail = (key: string) => Effect.exit(breaker.execute({ key })(Effect.fail("down")))
    for (const key of ["a", "b", "c", "d", "e", "f"]) {
      yield* fail(key)
      yield* TestClock.adjust("1 second")
    }
    const { services: [openai] } = yield* measurements.read({ services: ["openai"] })
    const told = openai!.circuits.map(({ key, state }) => [key, state])
    assert.deepStrictEqual(told, (yield* breaker.states).map(({ key, state }) => [key, state]))
    assert.lengthOf(told, 2)
  }).pipe(Effect.scoped, Effect.provide(layer({ maxSeries: 4 }))))

it.effect("tells how long a service was at each level", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const level = yield* ServiceLevel.make({ service: "unified" })
    yield* measurements.watch("unified", { level })
    yield* TestClock.adjust("5 minutes")
    yield* level.degrade("down")
    yield* TestClock.adjust("30 seconds")
    yield* level.force("Emergency", { reason: "drill", for: "1 minute" })
    yield* TestClock.adjust("90 seconds")
    const { services: [unified] } = yield* measurements.read({ services: ["unified"] })
    assert.deepStrictEqual(unified?.level, {
      level: "Reduced",
      millis: { Full: 300_000, Reduced: 60_000, Basic: 0, Minimal: 0, Emergency: 60_000 }
    })
  }).pipe(Effect.scoped, Effect.provide(layer())))

it.effect("shows where calls may go before they do, and keeps the paths bounded", () =>
  Effect.gen(function*() {
    const flows = [{ from: "openai", to: "neon", mode: "graceful" }]
    const recorder = yield* recorderOf("unified", "search", { flows })
    const at = `ft_fallback_total{service="unified",from="openai",to="neon",mode="graceful"}`
    assert.strictEqual(seriesOf(yield* PrometheusMetrics.format()).get(at), 0)
    for (let i = 0; i < 300; i++) recorder.fallback(`provider-${i}`, "neon", "graceful", yield* now)
    recorder.fallback("openai", "neon", "graceful", yield* now)
    const shown = seriesOf(yield* PrometheusMetrics.format())
    const all = Array.from(shown).filter(([name]) => name.startsWith("ft_fallback_total"))
    assert.lengthOf(all, 257)
    assert.strictEqual(shown.get(at), 1)
    assert.strictEqual(all.reduce((sum, [, count]) => sum + count, 0), 301)
    assert.strictEqual(shown.get(`ft_fallback_total{service="unified",from="other",to="other",mode="other"}`), 45)
  }).pipe(Effect.provide(layer())))

it.effect(
  "holds 24 hours of a busy operation in less than 64 kB, metric series and all",
  () =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const gc: () => void = runInNewContext("gc")
      // Buffers are freed beside the collection that found them: read until it is the same twice.
      const held = Effect.promise(async () => {
        for (let before = Infinity;;) {
          gc()
          await new Promise((resolve) => setImmediate(resolve))
          const { arrayBuffers, heapUsed } = process.memoryUsage()
          if (Math.abs(before - heapUsed - arrayBuffers) < 1e5) return before
          before = heapUsed + arrayBuffers
        }
      })
      const operations = tried(250, 1_000)
      const random = seeded(1)
      const tags = ["NetworkError", "TimeoutError", "RateLimitError", "ServiceUnavailableError"] as const
      const latencies = Array.from({ length: 997 }, () => 20 * Math.exp(2 * random.next()))
      yield* Effect.gen(function*() {
        let calls = 0
        const before = yield* held
        const recorders = yield* Effect.forEach(
          Array.from({ length: operations }),
          (_, index) => recorderOf(`provider-${index % 20}`, `operation-${index}`, { kind: "provider" })
        )
        for (let minute = 0; minute < 24 * 60; minute++) {
          const at = minute * 60_000
          for (const recorder of recorders) {
            for (let call = 0; call < 3; call++) {
              const latency = latencies[calls++ % latencies.length]!
              recorder.begin(at)
              if (calls % 5 !== 0) {
                recorder.end("success", latency, at)
                continue
              }
              recorder.error(tags[calls % 4]!, at)
              recorder.end("failure", latency, at, 0, true)
              recorder.retry(at)
              recorder.begin(at)
              recorder.end("success", latency, at, 1)
            }
          }
        }
        const used = (yield* held) - before
        assert.isBelow(used, operations * 64e3)
        yield* TestClock.adjust("24 hours")
        const { summary } = yield* (yield* Telemetry.Measurements).read()
        assert.strictEqual(summary.successful, 24 * 60 * 3 * operations)
      }).pipe(Effect.provide(layer()))
    }),
  60_000
)

it.effect("is off unless provided", () =>
  Effect.gen(function*() {
    assert.isUndefined(Context.get(yield* Effect.context(), Telemetry.Telemetry))
  }))
