import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Redacted, Schema } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { createHmac } from "node:crypto"
import * as Alerts from "../src/Alerts.ts"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import * as Event from "../src/Event.ts"
import { initial, type Rules, type State, transition } from "../src/internal/alertState.ts"
import * as ServiceLevel from "../src/ServiceLevel.ts"
import * as Telemetry from "../src/Telemetry.ts"

/** Counts calls of a service: so many good ones, so many failed. */
const calls = Effect.fnUntraced(function*(good: number, failed: number, latencyMillis = 10) {
  const telemetry = yield* Telemetry.Telemetry
  const now = yield* Effect.clockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))
  const recorder = telemetry!.recorder("orders", "place")
  for (let i = 0; i < good + failed; i++) {
    recorder.begin(now)
    recorder.end(i < good ? "success" : "failure", latencyMillis, now)
  }
})

const errorRate: Alerts.Rule = {
  name: "high error rate",
  severity: "page",
  condition: { _tag: "ErrorRate", service: "orders", above: 0.05, rangeMillis: 600_000 }
}

const alerting = (options: Alerts.Options) => Alerts.Alerts.layer(options).pipe(Layer.provideMerge(Telemetry.layer()))

const recording = () => {
  const notices: Array<Alerts.Notice> = []
  const notifier: Alerts.Notifier = { name: "test", notify: (notice) => Effect.sync(() => void notices.push(notice)) }
  return { notices, notifier }
}

it.effect("scenario 67: error rate above 5 % over 10 min: 1 in 100 is silent, 10 in 100 fires once, then resolves", () => {
  const { notices, notifier } = recording()
  const events: Array<Event.Event> = []
  return Effect.gen(function*() {
    yield* calls(99, 1)
    yield* TestClock.adjust("1 minute")
    assert.lengthOf(notices, 0)
    yield* calls(90, 10)
    yield* TestClock.adjust("5 minutes")
    assert.deepStrictEqual(notices.map(({ change }) => change), ["Fired"])
    yield* TestClock.adjust("20 minutes")
    assert.deepStrictEqual(notices.map(({ change }) => change), ["Fired", "Resolved"])
    const [alert] = yield* Effect.flatMap(Alerts.Alerts, ({ current }) => current)
    assert.strictEqual(alert?.state, "Quiet")
    assert.deepStrictEqual(
      events.flatMap((event) => event._tag === "AlertChanged" ? [event.firing] : []),
      [true, false]
    )
  }).pipe(
    Effect.provide(alerting({ rules: [errorRate], notifiers: [notifier] })),
    Effect.provideService(Event.Sink, (event) => void events.push(event))
  )
})

it.effect("a burn rate fires only while both windows burn, and not on a handful of calls", () => {
  const { notices, notifier } = recording()
  const rule: Alerts.Rule = {
    name: "burn",
    severity: "page",
    condition: {
      _tag: "BurnRate",
      service: "orders",
      objective: 0.99,
      factor: 14.4,
      longMillis: 3_600_000,
      shortMillis: 300_000
    }
  }
  return Effect.gen(function*() {
    yield* calls(0, 5)
    yield* TestClock.adjust("1 minute")
    assert.lengthOf(notices, 0)
    yield* calls(60, 40)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(notices.map(({ change }) => change), ["Fired"])
    // Ten minutes later the long window still burns, the short one no longer does.
    yield* calls(1, 0)
    yield* TestClock.adjust("10 minutes")
    assert.deepStrictEqual(notices.map(({ change }) => change), ["Fired", "Resolved"])
  }).pipe(Effect.provide(alerting({ rules: [rule], notifiers: [notifier] })))
})

it.effect("latency quantiles and gauges; a condition must hold for its time", () => {
  const { notices, notifier } = recording()
  let lag = 0
  const rules: ReadonlyArray<Alerts.Rule> = [
    {
      name: "slow",
      severity: "ticket",
      condition: { _tag: "Latency", service: "orders", quantile: "p95", aboveMillis: 1_000, rangeMillis: 300_000 }
    },
    {
      name: "lag",
      severity: "ticket",
      condition: { _tag: "Gauge", gauge: "outbox lag", above: 100 },
      forMillis: 60_000
    }
  ]
  return Effect.gen(function*() {
    yield* calls(100, 0, 2_000)
    lag = 101
    yield* TestClock.adjust("30 seconds")
    assert.deepStrictEqual(notices.map(({ alert }) => alert.rule), ["slow"])
    lag = 0
    yield* TestClock.adjust("30 seconds")
    lag = 500
    yield* TestClock.adjust("59 seconds")
    assert.lengthOf(notices, 1)
    yield* TestClock.adjust("20 seconds")
    assert.deepStrictEqual(notices.map(({ alert }) => alert.rule), ["slow", "lag"])
  }).pipe(
    Effect.provide(alerting({ rules, notifiers: [notifier], gauges: { "outbox lag": Effect.sync(() => lag) } }))
  )
})

it.effect("a circuit that stays open and a level that stays low fire once each, and resolve when they are back", () => {
  const { notices, notifier } = recording()
  const rules: ReadonlyArray<Alerts.Rule> = [
    { name: "open", severity: "ticket", condition: { _tag: "CircuitOpen" }, forMillis: 300_000 },
    { name: "other", severity: "ticket", condition: { _tag: "CircuitOpen", service: "another" } },
    {
      name: "low",
      severity: "page",
      condition: { _tag: "LevelBelow", service: "shop", worst: "Reduced" },
      forMillis: 60_000
    }
  ]
  return Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const breaker = yield* CircuitBreaker.make({
      name: "orders",
      failureThreshold: 1,
      successThreshold: 1,
      probeFailureThreshold: 1,
      rampUp: 0
    })
    const level = yield* ServiceLevel.make({ service: "shop" })
    yield* measurements.watch("orders", { breaker })
    yield* measurements.watch("shop", { level })
    const fail = Effect.exit(Effect.fail("down").pipe(breaker.execute()))
    const changes = () => notices.map(({ alert, change }) => `${alert.rule} ${change}`)

    // It opens for a while: nobody is told.
    yield* fail
    yield* TestClock.adjust("1 minute")
    yield* Effect.void.pipe(breaker.execute())
    yield* TestClock.adjust("5 minutes")
    // One level down is what the rule tolerates.
    yield* level.degrade("one is down")
    yield* TestClock.adjust("5 minutes")
    assert.deepStrictEqual(changes(), [])

    // It fails whenever it is probed: half open is not closed, and starts nothing anew.
    yield* fail
    yield* level.degrade("another is down")
    for (let minute = 0; minute < 8; minute++) {
      yield* TestClock.adjust("1 minute")
      yield* fail
    }
    assert.deepStrictEqual(changes(), ["low Fired", "open Fired"])
    const current = yield* Effect.flatMap(Alerts.Alerts, ({ current }) => current)
    assert.deepStrictEqual(current.map(({ rule, state }) => [rule, state]), [
      ["open", "Firing"],
      ["other", "Quiet"],
      ["low", "Firing"]
    ])
    assert.strictEqual(current[2]?.message, "rank of the service level of shop, where 0 is Full: 2, limit 1")
    yield* TestClock.adjust("1 minute")
    yield* Effect.void.pipe(breaker.execute())
    yield* level.recover(2)
    yield* TestClock.adjust("1 hour")
    assert.deepStrictEqual(changes(), ["low Fired", "open Fired", "open Resolved", "low Resolved"])
  }).pipe(Effect.scoped, Effect.provide(alerting({ rules, notifiers: [notifier] })))
})

const above = (gauge: string, above = 5): Alerts.Rule => ({
  name: gauge,
  severity: "page",
  condition: { _tag: "Gauge", gauge, above }
})

it.effect("a gauge that fails, hangs or gives no number says nothing for that long, is logged once, and holds up no other rule", () =>
  Effect.gen(function*() {
    for (
      const trouble of [
        Effect.die("the database is gone"),
        Effect.interrupt,
        Effect.never,
        Effect.uninterruptible(Effect.never),
        Effect.succeed(Number.NaN),
        Effect.succeed(Infinity)
      ]
    ) {
      const { notices, notifier } = recording()
      const warnings: Array<unknown> = []
      let gauge: Effect.Effect<number> = Effect.succeed(9)
      let other = 0
      const rules = [{ ...above("lag"), cooldownMillis: 0 }, above("other")]
      yield* Effect.gen(function*() {
        const { current } = yield* Alerts.Alerts
        const changes = () => notices.map(({ alert, change }) => `${alert.rule} ${change}`)
        yield* TestClock.adjust("15 seconds")
        assert.deepStrictEqual(changes(), ["lag Fired"])

        gauge = trouble
        yield* TestClock.adjust("5 minutes")
        assert.lengthOf(warnings, 1)
        const [alert] = yield* current
        assert.deepStrictEqual([alert?.state, alert?.value, alert?.message], ["Firing", undefined, "lag: no figure"])
        yield* Schema.encodeEffect(Alerts.Alert)(alert!)
        other = 9
        yield* TestClock.adjust("15 seconds")
        assert.deepStrictEqual(changes(), ["lag Fired", "other Fired"])

        gauge = Effect.succeed(0)
        yield* TestClock.adjust("30 seconds")
        gauge = Effect.succeed(9)
        yield* TestClock.adjust("15 seconds")
        assert.deepStrictEqual(changes(), ["lag Fired", "other Fired", "lag Resolved", "lag Fired"])

        gauge = trouble
        yield* TestClock.adjust("5 minutes")
        assert.lengthOf(warnings, 2)
      }).pipe(
        Effect.provide(
          alerting({
            rules,
            notifiers: [notifier],
            gauges: { lag: Effect.suspend(() => gauge), other: Effect.sync(() => other) }
          })
        ),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(message))]))
      )
    }
  }))

it.effect("rules and an interval that make no sense are refused by name", () =>
  Effect.gen(function*() {
    const burn = (objective: number): Alerts.Rule => Alerts.defaultRules("orders", objective)[0]!
    const swapped: Alerts.Rule = {
      name: "swapped",
      severity: "page",
      condition: { _tag: "BurnRate", service: "a", objective: 0.9, factor: 2, longMillis: 60_000, shortMillis: 60_001 }
    }
    const refused: ReadonlyArray<readonly [field: string, options: Alerts.Options]> = [
      ["rules.0.condition.objective", { rules: [burn(1)] }],
      ["rules.0.condition.shortMillis", { rules: [swapped] }],
      ["rules.0.minEvents", { rules: [{ ...errorRate, minEvents: -1 }] }],
      ["rules.1.name", { rules: [errorRate, { ...above("lag"), name: "" }] }],
      ["rules.1.name", { rules: [errorRate, { ...burn(0.9), name: errorRate.name }] }],
      ["rules.0.condition.gauge", { rules: [above("lag")], gauges: { "lag ": Effect.succeed(0) } }],
      ["rules.0.condition.gauge", { rules: [above("toString")] }],
      ["rules.0.condition.above", { rules: [above("lag", Number.NaN)] }],
      ["interval", { rules: [], interval: 0 }],
      ["interval", { rules: [], interval: "99 millis" }],
      ["interval", { rules: [], interval: "bogus" as "1 second" }]
    ]
    for (const [field, options] of refused) {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(alerting(options))))
      assert.deepStrictEqual([error.module, error.field], ["Alerts", field])
    }
    yield* Effect.scoped(Layer.build(alerting({ rules: [burn(0.99), errorRate], interval: "100 millis" })))
    const client = HttpClient.make(() => Effect.die("not called"))
    const url = "http://127.0.0.1/hook"
    const webhooks: ReadonlyArray<readonly [field: string, options: Alerts.WebhookOptions]> = [
      ...[NaN, -1, 0.5, Infinity].map((retries) => ["retries", { url, retries }] as const),
      ...["", "127.0.0.1/hook", "ftp://127.0.0.1/hook", "https://ann:pass-word@127.0.0.1/hook", "https://ann@127.0.0.1"]
        .map((url) => ["url", { url }] as const),
      ["secret", { url, secret: Redacted.make("") }]
    ]
    for (const [field, options] of webhooks) {
      const webhook = Alerts.webhook(options)
      const error = yield* Effect.flip(Effect.provideService(webhook, HttpClient.HttpClient, client))
      assert.deepInclude(error, { module: "Alerts", field })
      assert.notInclude(error.message, "pass-word")
    }
  }))

it.effect("a notifier that fails or hangs holds nobody up", () => {
  const { notices, notifier } = recording()
  const broken: Alerts.Notifier = { name: "broken", notify: () => Effect.die("no") }
  const hung: Alerts.Notifier = { name: "hung", notify: () => Effect.never }
  const thrown: Alerts.Notifier = {
    name: "thrown",
    notify: () => {
      throw new Error("no")
    }
  }
  return Effect.gen(function*() {
    yield* calls(0, 100)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(notices.map(({ change }) => change), ["Fired"])
  }).pipe(Effect.provide(alerting({ rules: [errorRate], notifiers: [broken, hung, thrown, notifier] })))
})

it.effect("the webhook signs, tries again, and repeats its delivery id", () =>
  Effect.gen(function*() {
    const seen: Array<{ readonly body: string; readonly headers: Readonly<Record<string, string | undefined>> }> = []
    const client = HttpClient.make((request) => {
      const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      seen.push({ body, headers: request.headers })
      return Effect.succeed(
        HttpClientResponse.fromWeb(request, new Response(null, { status: seen.length < 3 ? 503 : 204 }))
      )
    })
    const notifier = yield* Alerts.webhook({ url: "http://127.0.0.1/hook", secret: Redacted.make("s3cret") }).pipe(
      Effect.provideService(HttpClient.HttpClient, client)
    )
    const alert: Alerts.Alert = { rule: "r", severity: "page", state: "Firing", threshold: 1, message: "m" }
    const fiber = yield* Effect.forkChild(notifier.notify({ at: 5, change: "Fired", alert }), {
      startImmediately: true
    })
    // Signing is a real promise: time goes on after it, whenever that is.
    while (fiber.pollUnsafe() === undefined) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("10 seconds")
    }
    yield* Fiber.join(fiber)
    assert.lengthOf(seen, 3)
    assert.deepStrictEqual(JSON.parse(seen[0]?.body ?? ""), { at: 5, change: "Fired", alert })
    for (const { body, headers } of seen) {
      const signature = createHmac("sha256", "s3cret").update(body).digest("hex")
      assert.strictEqual(headers["x-holdfast-signature"], `sha256=${signature}`)
      assert.strictEqual(headers["x-holdfast-delivery"], "5-Fired-r")
    }
  }))

it.effect("a webhook that fails is logged without its address", () => {
  const lines: Array<string> = []
  const logger = Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))])
  const url = "http://127.0.0.1/services/T0/hook-secret"
  const answers: ReadonlyArray<readonly [says: string, client: HttpClient.HttpClient]> = [
    [
      "answered 404",
      HttpClient.make((request) =>
        Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 404 })))
      )
    ],
    [
      "could not be reached",
      HttpClient.make((request) =>
        Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({ request, cause: new Error(`connect ${url}`) })
          })
        )
      )
    ],
    ["did not answer within 10 seconds", HttpClient.make(() => Effect.never)]
  ]
  return Effect.gen(function*() {
    for (const [says, client] of answers) {
      const notifier = yield* Effect.provideService(
        Alerts.webhook({ url, retries: 0 }),
        HttpClient.HttpClient,
        client
      )
      const alerts = alerting({ rules: [errorRate], notifiers: [notifier] })
      yield* Effect.gen(function*() {
        yield* calls(0, 100)
        yield* TestClock.adjust("1 minute")
      }).pipe(Effect.provide(Layer.fresh(alerts)))
      assert.include(lines.at(-1), says)
    }
    assert.notInclude(lines.join(), "hook-secret")
  }).pipe(Effect.provide(logger))
})

const Step = Schema.Struct({
  violated: Schema.UndefinedOr(Schema.Boolean),
  after: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 90_000 }))
})

it.prop("fires and resolves in turn, never before its time nor within its rest", {
  steps: Schema.Array(Step).check(Schema.isMaxLength(60))
}, ({ steps }) => {
  const rules: Rules = { forMillis: 60_000, cooldownMillis: 120_000 }
  let state: State = initial
  let now = 0
  let violatedSince: number | undefined
  let resolvedAt = -Infinity
  let last: "Fired" | "Resolved" = "Resolved"
  for (const { after, violated } of steps) {
    now += after
    violatedSince = violated === true ? violatedSince ?? now : undefined
    const [change, next] = transition(state, violated, now, rules)
    state = next
    if (change === undefined) continue
    assert.notStrictEqual(change, last)
    last = change
    if (change === "Fired") {
      assert.isAtLeast(now - (violatedSince ?? Infinity), 60_000)
      assert.isAtLeast(now - resolvedAt, 120_000)
    } else resolvedAt = now
  }
})

it("a clock that is set back neither keeps a rule from firing nor lets it fire sooner", () => {
  const rules: Rules = { forMillis: 60_000, cooldownMillis: 120_000 }
  const hour = 3_600_000
  // Resolved at one o'clock, violated again at once, and then it is midnight.
  const [, resolved] = transition({ _tag: "Firing", since: hour, at: hour }, false, hour, rules)
  const [, pending] = transition(resolved, true, 0, rules)
  assert.deepStrictEqual(transition(pending, true, 119_999, rules)[0], undefined)
  assert.deepStrictEqual(transition(pending, true, 120_000, rules)[0], "Fired")
  // Pending since 50 seconds when it becomes midnight: 10 are left.
  const [, waiting] = transition(initial, true, hour, rules)
  const [, later] = transition(waiting, true, hour + 50_000, rules)
  const [, back] = transition(later, true, 0, rules)
  assert.deepStrictEqual(transition(back, true, 9_999, rules)[0], undefined)
  assert.deepStrictEqual(transition(back, true, 10_000, rules)[0], "Fired")
  // It has fired for a minute, before and after.
  const [, firing] = transition({ _tag: "Firing", since: hour, at: hour + 60_000 }, true, 0, rules)
  assert.deepStrictEqual(firing, { _tag: "Firing", since: -60_000, at: 0 })
})
