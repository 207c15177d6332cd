import { assert, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { spawnSync } from "node:child_process"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import { Operations } from "../../src/http/Operations.ts"
import * as OperationsMetrics from "../../src/http/OperationsMetrics.ts"
import * as Telemetry from "../../src/Telemetry.ts"

const base = Layer.merge(Telemetry.layer(), Event.EventLog.layer()).pipe(
  Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
)

const layer = Layer.unwrap(Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.make({ name: "openai/search" })
  yield* breaker.state()
  return OperationsMetrics.layer.pipe(
    Layer.provide(Operations.layer({ guards: [{ provider: "openai", breaker }] })),
    Layer.provide(Health.Health.layer({ providers: [] })),
    Layer.merge(Layer.succeed(CircuitBreaker.CircuitBreaker, breaker))
  )
})).pipe(Layer.provideMerge(base))

it.effect("shows a circuit one-hot, and counts events from 0", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.CircuitBreaker
    yield* TestClock.adjust("2 seconds")
    const before = yield* PrometheusMetrics.format()
    assert.include(before, `ft_breaker_state{key="openai/search",state="closed"} 1\n`)
    assert.include(before, `ft_breaker_state{key="openai/search",state="forced_open"} 0\n`)
    assert.include(before, `ft_events_total{event="BreakerChanged"} 0\n`)
    yield* breaker.forceOpen()
    yield* TestClock.adjust("2 seconds")
    const after = yield* PrometheusMetrics.format()
    assert.include(after, `ft_breaker_state{key="openai/search",state="closed"} 0\n`)
    assert.include(after, `ft_breaker_state{key="openai/search",state="forced_open"} 1\n`)
    assert.include(after, `ft_events_total{event="BreakerChanged"} 1\n`)
  }).pipe(Effect.provide(layer)))

it.effect("passes promtool's check of metrics", (ctx) =>
  Effect.gen(function*() {
    ctx.skip(spawnSync("promtool", ["--version"]).error !== undefined, "promtool is not installed")
    const recorder = (yield* Telemetry.Telemetry)!.recorder("openai", "search")
    recorder.begin(0)
    recorder.end("success", 12, 0)
    yield* TestClock.adjust("2 seconds")
    const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], {
      input: yield* PrometheusMetrics.format(),
      encoding: "utf8"
    })
    assert.strictEqual(status, 0, stdout + stderr)
    assert.strictEqual(stdout + stderr, "")
  }).pipe(Effect.provide(layer)))
