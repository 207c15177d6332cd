import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { spawnSync } from "node:child_process"
import * as Event from "../../src/Event.ts"
import { Document } from "../../src/vectorstore/VectorStore.ts"
import { Breaker, seriesOf, shown, Store, valueOf } from "./shown.ts"

const shownText = Effect.andThen(TestClock.adjust("2 seconds"), PrometheusMetrics.format())

/** Every metric there is, with its labels and, where they are a closed set, the values. */
const families = {
  ft_calls_total: {
    service: ["unified", "openai"],
    operation: ["search"],
    outcome: ["success", "failure", "ignored", "not_permitted", "cancelled"]
  },
  ft_call_duration_seconds_bucket: {
    service: [],
    operation: [],
    outcome: ["success", "failure"],
    le: ["0.01", "+Inf"]
  },
  ft_attempt_duration_seconds_bucket: {
    service: ["openai"],
    operation: [],
    attempt: ["0", "1", "2", "3plus"],
    handled: ["true", "false"],
    le: ["0.02", "+Inf"]
  },
  ft_retry_calls_total: {
    service: ["openai"],
    kind: ["successful_without_retry", "successful_with_retry", "failed_without_retry", "failed_with_retry"]
  },
  ft_breaker_state: {
    key: ["openai/search"],
    state: ["closed", "open", "half_open", "forced_open", "disabled"]
  },
  ft_breaker_failure_ratio: { key: ["openai/search"] },
  ft_breaker_slow_call_ratio: { key: ["openai/search"] },
  ft_breaker_buffered_calls: { key: [], kind: ["failed", "successful", "slow"] },
  ft_events_total: {
    event: Event.Event.members.map((member) => member.fields._tag.schema.literal),
    severity: ["info", "warning", "error"],
    service: ["openai", "neon", "unified"]
  },
  ft_errors_total: {
    service: [],
    operation: [],
    category: ["NETWORK", "TIMEOUT", "RATE_LIMIT", "SERVICE_UNAVAILABLE", "TEMPORARY_FAILURE", "AUTHENTICATION"]
      .concat(["AUTHORIZATION", "INVALID_REQUEST", "NOT_FOUND", "CONFIGURATION", "VALIDATION", "UNKNOWN", "CRITICAL"])
  },
  ft_fallback_total: { service: ["unified"], from: ["openai"], to: ["neon"], mode: ["graceful", "silent", "cached"] },
  ft_search_results_total: {
    service: ["unified"],
    completeness: ["complete", "partial", "stale", "lexical", "failed"]
  },
  ft_cache_requests_total: { cache: ["unified"], result: ["hit", "stale", "miss", "coalesced"] },
  ft_service_level: { service: ["unified"] },
  ft_ratelimit_remaining: { service: ["openai"] },
  ft_bulkhead_available: { service: ["openai", "neon"] },
  ft_retry_budget_remaining: { service: ["openai", "neon"] },
  ft_retry_budget_spent_total: { service: ["openai", "neon"] },
  ft_retry_budget_exhausted_total: { service: ["openai", "neon"] },
  ft_outbox_pending_documents: { mirror: ["neon"] },
  ft_outbox_oldest_seconds: { mirror: ["neon"] },
  ft_outbox_refused_documents: { mirror: ["neon"] },
  ft_retries_total: { service: [], operation: [] },
  ft_hedges_total: { service: [], operation: [] },
  ft_breaker_trips_total: { service: [], operation: [] },
  ft_calls_in_flight: { service: [], operation: [] }
} as const satisfies { readonly [name: string]: { readonly [label: string]: ReadonlyArray<string> } }

it.effect("shows each metric with its labels and all of their values, at 0 after the first call, and no other", () =>
  Effect.gen(function*() {
    const store = yield* Store
    yield* store.search({ query: "aspirin" })
    const text = yield* shownText
    const series = seriesOf(text)
    for (const [name, labels] of Object.entries(families)) {
      const known = series.get(name)
      assert.isDefined(known, name)
      assert.sameMembers([...known.keys()], Object.keys(labels), name)
      for (const [label, values] of Object.entries(labels)) {
        assert.includeMembers([...known.get(label) ?? []], [...values], `${name}{${label}}`)
      }
    }
    const others = [...series.keys()].filter((name) => name.startsWith("ft_") && !/_(?:sum|count)$/.test(name))
    assert.sameMembers(others, Object.keys(families))
    assert.strictEqual(valueOf(text, `ft_search_results_total{service="unified",completeness="complete"}`), 1)
    assert.strictEqual(valueOf(text, `ft_search_results_total{service="unified",completeness="failed"}`), 0)
    assert.strictEqual(valueOf(text, `ft_retry_calls_total{service="openai",kind="successful_without_retry"}`), 1)
    assert.strictEqual(
      valueOf(text, `ft_fallback_total{service="unified",from="openai",to="neon",mode="graceful"}`),
      0
    )
  }).pipe(Effect.provide(shown)))

it.effect("shows a circuit one-hot with its ratios, and counts events by severity and service", () =>
  Effect.gen(function*() {
    const breaker = yield* Breaker
    const state = (text: string) => (name: string) =>
      valueOf(text, `ft_breaker_state{key="openai/search",state="${name}"}`)
    const changed = (severity: string) =>
      `ft_events_total{event="BreakerChanged",severity="${severity}",service="openai"}`
    yield* breaker.state("openai/search")
    const before = yield* shownText
    assert.deepStrictEqual(["closed", "open", "forced_open"].map(state(before)), [1, 0, 0])
    // Of no call there is no share.
    assert.isUndefined(valueOf(before, `ft_breaker_failure_ratio{key="openai/search"}`))
    assert.deepStrictEqual([valueOf(before, changed("error")), valueOf(before, changed("info"))], [0, 0])
    const call = breaker.execute({ key: "openai/search" })
    yield* Effect.all([call(Effect.void), Effect.exit(call(Effect.fail("down")))])
    yield* breaker.forceOpen("openai/search")
    const after = yield* shownText
    assert.deepStrictEqual(["closed", "open", "forced_open"].map(state(after)), [0, 0, 1])
    yield* breaker.enable("openai/search")
    assert.deepStrictEqual([valueOf(after, changed("error")), valueOf(after, changed("info"))], [1, 0])
    yield* breaker.forceClose("openai/search")
    yield* Effect.all([call(Effect.void), Effect.exit(call(Effect.fail("down")))])
    const closed = yield* shownText
    assert.strictEqual(valueOf(closed, `ft_breaker_failure_ratio{key="openai/search"}`), 0.5)
    assert.strictEqual(valueOf(closed, `ft_breaker_slow_call_ratio{key="openai/search"}`), 0)
    assert.deepStrictEqual(
      ["failed", "successful", "slow"].map((kind) =>
        valueOf(closed, `ft_breaker_buffered_calls{key="openai/search",kind="${kind}"}`)
      ),
      [1, 1, 0]
    )
    assert.strictEqual(valueOf(closed, changed("info")), 1)
    // A circuit that is forgotten leaves nothing behind.
    yield* breaker.reset("openai/search")
    assert.isUndefined(state(yield* shownText)("closed"))
  }).pipe(Effect.provide(shown)))

it.effect("counts each event under its severity, and under whom it is about", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    const level = { at: 0, service: "unified", reason: "" }
    const alert = { at: 0, rule: "burn", message: "" }
    const call = { at: 0, provider: "openai", operation: "search" }
    const events: ReadonlyArray<readonly [event: Event.Event, severity: string, service?: string]> = [
      [Event.LevelChanged.make({ ...level, from: "Full", to: "Reduced" }), "warning", "unified"],
      [Event.LevelChanged.make({ ...level, from: "Reduced", to: "Full" }), "info", "unified"],
      [Event.HealthChanged.make({ at: 0, service: "neon", healthy: false, reason: "" }), "warning", "neon"],
      [Event.HealthChanged.make({ at: 0, service: "neon", healthy: true, reason: "" }), "info", "neon"],
      [Event.AlertChanged.make({ ...alert, firing: true, severity: "page" }), "error"],
      [Event.AlertChanged.make({ ...alert, firing: true, severity: "ticket" }), "warning"],
      [Event.AlertChanged.make({ ...alert, firing: false, severity: "page" }), "info"],
      [Event.ChaosInjected.make({ ...call, fault: "Latency" }), "warning", "openai"],
      [Event.Hedged.make({ ...call, attempt: 1 }), "info", "openai"]
    ]
    for (const [event, severity, service] of events) {
      yield* log.publish(event)
      const about = service === undefined ? "" : `,service="${service}"`
      const series = `ft_events_total{event="${event._tag}",severity="${severity}"${about}}`
      assert.strictEqual(valueOf(yield* shownText, series), 1, series)
    }
  }).pipe(Effect.provide(shown)))

it.effect("keeps the names of events bounded", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    for (let i = 0; i < 300; i++) {
      yield* log.publish(Event.Noted.make({ at: 0, subject: `subject-${i}`, message: "" }))
      if (i % 100 === 0) yield* TestClock.adjust("1 second")
    }
    const text = yield* shownText
    const services = seriesOf(text).get("ft_events_total")?.get("service")
    assert.strictEqual(services?.size, 101)
    assert.isAbove(valueOf(text, `ft_events_total{event="Noted",severity="info",service="other"}`) ?? 0, 100)
  }).pipe(Effect.provide(shown)))

it.effect("shows how far a mirror is behind", () =>
  Effect.gen(function*() {
    const store = yield* Store
    const [, neon] = store.policies.providers
    yield* neon!.pipeline.breaker!.forceOpen("neon/addMany")
    yield* store.store.add(Document.make({ id: "a" as Document["id"], content: "aspirin" }))
    yield* TestClock.adjust("30 seconds")
    const text = yield* shownText
    assert.strictEqual(valueOf(text, `ft_outbox_pending_documents{mirror="neon"}`), 1)
    assert.isAtLeast(valueOf(text, `ft_outbox_oldest_seconds{mirror="neon"}`) ?? 0, 30)
    // Nobody calls now: all permits are free.
    assert.isAbove(valueOf(text, `ft_bulkhead_available{service="openai"}`) ?? 0, 0)
  }).pipe(Effect.provide(shown)))

it.effect("passes promtool's check of metrics", (ctx) =>
  Effect.gen(function*() {
    ctx.skip(spawnSync("promtool", ["--version"]).error !== undefined, "promtool is not installed")
    yield* (yield* Store).search({ query: "aspirin" })
    const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], {
      input: yield* shownText,
      encoding: "utf8"
    })
    assert.strictEqual(status, 0, stdout + stderr)
    assert.strictEqual(stdout + stderr, "")
  }).pipe(Effect.provide(shown)))
