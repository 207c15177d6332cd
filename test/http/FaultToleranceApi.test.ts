import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Logger, Metric, Redacted, References, Schema } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer, HttpServerRequest } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as Boundary from "../../src/http/Boundary.ts"
import { FaultToleranceApi, HealthEnvelope, MetricsEnvelope, Operator } from "../../src/http/FaultToleranceApi.ts"
import * as FaultToleranceHandlers from "../../src/http/FaultToleranceHandlers.ts"
import * as OperationsHandlers from "../../src/http/OperationsHandlers.ts"
import * as OperatorToken from "../../src/http/OperatorToken.ts"
import * as Throttle from "../../src/http/Throttle.ts"
import * as RetryBudget from "../../src/RetryBudget.ts"
import * as ServiceLevel from "../../src/ServiceLevel.ts"
import * as Telemetry from "../../src/Telemetry.ts"

const Api = HttpApi.make("theirs").add(FaultToleranceApi)
const token = "an-operator's-token"

let openaiCircuit: Health.Circuit = { state: "Closed", retryAfter: Duration.zero }

const services = Layer.mergeAll(
  Health.Health.layer({
    providers: [{ name: "openai", circuit: Effect.sync(() => openaiCircuit) }, { name: "neon" }],
    services: [{ name: "unified", providers: ["openai", "neon"] }]
  })
).pipe(
  Layer.provideMerge(Layer.mergeAll(Telemetry.layer(), Event.EventLog.layer())),
  Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
)

const servedWith = (options?: OperatorToken.Options) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(FaultToleranceHandlers.layer(Api)),
      Layer.provide(OperatorToken.layer(Redacted.make(token), options)),
      Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true })),
      Layer.provide(Boundary.layer(Api, { maxBody: 65_536 }))
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(services),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
  )
const served = servedWith()

// oxlint-disable-next-line typescript/no-explicit-any -- read field by field below
type Parsed = { status: number; headers: Headers; body: any; text: string }

const request = Effect.fnUntraced(function*(path: string, init?: RequestInit) {
  const address = (yield* HttpServer.HttpServer).address
  const url = HttpServer.formatAddress(address) + path
  return yield* Effect.promise(async (signal): Promise<Parsed> => {
    const response = await fetch(url, { ...init, signal })
    const text = await response.text()
    let body: unknown
    try {
      body = JSON.parse(text)
    } catch {
      body = undefined
    }
    return { status: response.status, headers: response.headers, body, text }
  })
})

const json = (body: unknown, headers?: Record<string, string>): RequestInit => ({
  method: "POST",
  body: JSON.stringify(body),
  headers: { "content-type": "application/json", ...headers }
})
const operator = { authorization: `Bearer ${token}` }

const problem = ({ body, headers, status }: Parsed, expected: number) => {
  assert.strictEqual(status, expected)
  assert.strictEqual(headers.get("content-type"), "application/problem+json")
  assert.isString(headers.get("x-request-id"))
  assert.strictEqual(body.requestId, headers.get("x-request-id"))
  assert.strictEqual(headers.get("cache-control"), "no-store")
  assert.strictEqual(body.status, expected)
}

const count = Effect.fnUntraced(function*(service: string, outcomes: ReadonlyArray<Telemetry.CallOutcome>) {
  const recorder = (yield* Telemetry.Telemetry)!.recorder(service, "search")
  for (const outcome of outcomes) {
    const now = Date.now()
    recorder.begin(now)
    if (outcome === "failure") recorder.error("NetworkError", now)
    recorder.end(outcome, 250, now)
  }
})

it("handlers fit an API that has their group, and no other", () => {
  assert.isDefined(FaultToleranceHandlers.layer(Api))
  // @ts-expect-error -- there is no such group in it
  assert.isDefined(OperationsHandlers.layer(Api))
})

it("the specification's two example answers fit the envelopes, field by field", () => {
  const health = {
    success: true as const,
    data: {
      healthy: true,
      services: [{
        name: "openai",
        healthy: true,
        status: { isHealthy: true },
        metrics: { totalRequests: 150 },
        lastCheck: 1703123456789
      }],
      summary: { totalServices: 3, healthyServices: 3, degradedServices: 0, failedServices: 0 },
      timestamp: 1703123456789
    }
  }
  const metrics = {
    success: true as const,
    data: {
      services: [{
        name: "openai",
        totalRequests: 150,
        successfulRequests: 140,
        failedRequests: 10,
        retriedRequests: 25,
        circuitBreakerTrips: 1,
        fallbackActivations: 5,
        averageLatency: 250,
        successRate: 0.933,
        errorRate: 0.067
      }],
      summary: {
        totalRequests: 450,
        overallSuccessRate: 0.921,
        overallErrorRate: 0.079,
        totalRetries: 78,
        totalFallbacks: 12,
        averageLatency: 285
      }
    }
  }
  const options = { onExcessProperty: "error" } as const
  assert.deepEqual(Schema.decodeUnknownSync(HealthEnvelope, options)(health), health)
  assert.deepEqual(Schema.decodeUnknownSync(MetricsEnvelope, options)(metrics), metrics)
  // Every field that the specification names is required.
  for (const [schema, example] of [[HealthEnvelope, health], [MetricsEnvelope, metrics]] as const) {
    const decode = Schema.decodeUnknownResult(schema)
    for (const field of ["services", "summary"]) {
      const { [field]: _, ...rest } = example.data as Record<string, unknown>
      assert.strictEqual(decode({ ...example, data: rest })._tag, "Failure", field)
    }
  }
})

it.live("scenario 62: tells the health of those asked for, with metrics", () =>
  Effect.gen(function*() {
    yield* count("openai", ["success", "success"])
    const { body, headers, status } = yield* request(
      "/api/fault-tolerance/health?services=openai,neon,unified&detailed=true"
    )
    assert.strictEqual(status, 200)
    assert.strictEqual(headers.get("cache-control"), "no-store")
    const { data } = Schema.decodeUnknownSync(HealthEnvelope, { onExcessProperty: "error" })(body)
    assert.isTrue(data.healthy)
    assert.deepStrictEqual(data.services.map(({ name }) => name), ["openai", "neon", "unified"])
    assert.deepInclude(data.services[0]?.metrics, { totalRequests: 2, successRate: 1 })
    const plain = yield* request("/api/fault-tolerance/health")
    assert.deepStrictEqual(Object.keys(plain.body.data.services[0]), ["name", "healthy", "status", "lastCheck"])
  }).pipe(Effect.provide(served)))

it.live("scenario 63: refuses an unknown service with those allowed, and a broken body", () =>
  Effect.gen(function*() {
    const bogus = yield* request("/api/fault-tolerance/health?services=bogus")
    problem(bogus, 400)
    assert.deepStrictEqual(bogus.body.allowed, ["openai", "neon", "unified", "all"])
    problem(yield* request("/api/fault-tolerance/health", { ...json({}), body: "{" }), 400)
    problem(yield* request("/api/fault-tolerance/health", json({ services: "neon" })), 400)
    assert.strictEqual((yield* request("/api/fault-tolerance/health", { method: "POST" })).status, 200)
  }).pipe(Effect.provide(served)))

it.live("scenario 64: counts a degraded service as degraded, and a dead primary as failed", () =>
  Effect.gen(function*() {
    openaiCircuit = { state: "Open", retryAfter: Duration.seconds(1) }
    yield* Effect.addFinalizer(() => Effect.sync(() => openaiCircuit = { state: "Closed", retryAfter: Duration.zero }))
    const { body, status } = yield* request("/api/fault-tolerance/health?detailed=true")
    assert.strictEqual(status, 200)
    assert.deepStrictEqual(body.data.summary, {
      totalServices: 3,
      healthyServices: 1,
      degradedServices: 1,
      failedServices: 1
    })
    assert.isFalse(body.data.healthy)
    const alone = yield* request("/api/fault-tolerance/health?services=openai")
    assert.strictEqual(alone.status, 503)
    assert.isTrue(alone.body.success)
    const draft = yield* request("/api/fault-tolerance/health", { headers: { accept: "application/health+json" } })
    assert.strictEqual(draft.headers.get("content-type"), "application/health+json")
    assert.strictEqual(draft.body.status, "warn")
    assert.strictEqual(draft.body.checks["openai:availability"][0].status, "fail")
  }).pipe(Effect.scoped, Effect.provide(served)))

it.live("scenario 65: measures every service, with rates within 0 and 1", () =>
  Effect.gen(function*() {
    yield* count("unified", ["success", "success", "failure", "cancelled"])
    const { body, status } = yield* request("/api/fault-tolerance/metrics?services=all&timeRange=1h")
    assert.strictEqual(status, 200)
    const { data } = Schema.decodeUnknownSync(MetricsEnvelope, { onExcessProperty: "error" })(body)
    assert.deepStrictEqual(data.services.map(({ name }) => name), ["openai", "neon", "unified"])
    const [openai, , unified] = data.services
    assert.deepInclude(openai, { totalRequests: 0, successRate: null, averageLatency: null })
    assert.deepInclude(unified, {
      totalRequests: 4,
      successfulRequests: 2,
      failedRequests: 1,
      cancelledRequests: 1,
      successRate: 0.5,
      errorRate: 0.25,
      averageLatency: 250
    })
    assert.deepStrictEqual(unified?.errorsByCategory, { NETWORK: 1 })
    assert.strictEqual(data.summary.totalRequests, 4)
    for (const timeRange of ["25h", "0m", "7d", "1 hour", "1s", ""]) {
      problem(yield* request(`/api/fault-tolerance/metrics?timeRange=${timeRange}`), 400)
    }
    problem(yield* request("/api/fault-tolerance/metrics?services=bogus"), 400)
    problem(yield* request("/api/fault-tolerance/metrics?sevices=neon"), 400)
    const csv = yield* request("/api/fault-tolerance/metrics?format=csv&services=unified")
    assert.include(csv.headers.get("content-type"), "text/csv")
    assert.match(csv.text, /^name,totalRequests,.*\r\n"unified",4,2,1,1,/)
  }).pipe(Effect.provide(served)))

it.live("tells what stands beside the counters, over the range that is asked for", () =>
  Effect.gen(function*() {
    const measurements = yield* Telemetry.Measurements
    const breaker = yield* CircuitBreaker.make({ name: "openai", failureThreshold: 1, recoveryTimeout: "1 hour" })
    const level = yield* ServiceLevel.make({ service: "unified" })
    const budget = yield* RetryBudget.make({ bucket: 4, ratio: 0, floorPerSecond: 0, timeoutCost: 1 })
    yield* measurements.watch("openai", { breaker, budget })
    yield* measurements.watch("unified", { level })
    yield* Effect.exit(Effect.fail("down").pipe(breaker.execute({ key: "openai/search" })))
    yield* level.degrade("openai is down")
    yield* Effect.all(Array.from({ length: 6 }, () => budget.withdraw()))
    const recorder = (yield* Telemetry.Telemetry)!.recorder("openai", "search", { kind: "provider" })
    for (let i = 0; i < 3; i++) recorder.retry(Date.now())
    recorder.hedge(Date.now())
    const { body } = yield* request("/api/fault-tolerance/metrics?services=openai,unified&timeRange=1h")
    const { data } = Schema.decodeUnknownSync(MetricsEnvelope, { onExcessProperty: "error" })(body)
    const [openai, unified] = data.services
    assert.deepStrictEqual(openai?.retryBudget, { left: 0, size: 4, spent: 4, exhausted: 2 })
    assert.strictEqual(openai?.hedgedRequests, 1)
    const [circuit] = openai?.circuits ?? []
    assert.deepInclude(circuit, { key: "openai/search", state: "Open", openings: 1 })
    assert.strictEqual(circuit?.timeInState.HalfOpen, 0)
    assert.isUndefined(openai?.serviceLevel)
    assert.strictEqual(unified?.serviceLevel?.level, "Reduced")
    assert.isUndefined(unified?.retryBudget)
    const csv = yield* request("/api/fault-tolerance/metrics?format=csv&services=openai")
    assert.match(csv.text, /,retryBudgetLeft,retryBudgetExhausted\r\n"openai",.*,0,2\r\n$/)
  }).pipe(Effect.scoped, Effect.provide(served)))

it.effect("a token that lets everybody pass, or that nobody can send, is refused", () =>
  Effect.gen(function*() {
    for (const bad of ["", " ", "secret\n", " secret", "geheimnis-ä", "a\r\nb"]) {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(OperatorToken.layer(Redacted.make(bad)))))
      assert.deepInclude(error, { module: "OperatorToken", field: "token" })
      assert.notInclude(error.message, "secret")
    }
    for (const good of [token, "x", "a secret of yours"]) {
      yield* Effect.scoped(Layer.build(OperatorToken.layer(Redacted.make(good))))
    }
  }))

it.effect("a token that ends lets its owner pass until that instant, and from then on nobody", () =>
  Effect.gen(function*() {
    const reset = Effect.map(
      request("/api/fault-tolerance/metrics/reset", json({}, operator)),
      ({ status }) => status
    )
    yield* TestClock.adjust("59999 millis")
    assert.strictEqual(yield* reset, 200)
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* reset, 401)
  }).pipe(Effect.provide(servedWith({ until: DateTime.makeUnsafe(60_000) }))))

it.effect("who asks too often is told the seconds until the next may ask, rounded up", () =>
  Effect.gen(function*() {
    const ask = yield* Throttle.make("Probes", 7)
    for (let i = 0; i < 10; i++) yield* ask
    assert.deepInclude(yield* Effect.flip(ask), {
      detail: "Probes are limited to 7 a minute.",
      retryAfter: 9
    })
    yield* TestClock.adjust("8500 millis")
    assert.strictEqual((yield* Effect.flip(ask)).retryAfter, 1)
    yield* TestClock.adjust("1 seconds")
    yield* ask
  }).pipe(Effect.provideService(
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request("http://localhost/"))
  )))

it.live("probes and resets are asked for at a bounded rate, and who is refused is told when to come again", () =>
  Effect.gen(function*() {
    for (
      const [path, init] of [
        ["/api/fault-tolerance/health", json({})],
        ["/api/fault-tolerance/metrics/reset", json({}, operator)]
      ] as const
    ) {
      const answers = yield* Effect.all(Array.from({ length: 12 }, () => request(path, init)))
      const refused = answers.filter(({ status }) => status === 429)
      assert.isAtLeast(refused.length, 1, path)
      assert.isAtLeast(answers.filter(({ status }) => status === 200).length, 10, path)
      problem(refused[0]!, 429)
      assert.strictEqual(refused[0]?.headers.get("retry-after"), String(refused[0]?.body.retryAfter))
    }
  }).pipe(Effect.provide(served)))

it.live("scenario 66: resets the named service alone, and all without a body; for the operator", () =>
  Effect.gen(function*() {
    yield* count("neon", ["success"])
    yield* count("openai", ["success"])
    const path = "/api/fault-tolerance/metrics/reset"
    const refused = yield* request(path, json({ services: ["neon"] }))
    problem(refused, 401)
    assert.include(refused.headers.get("www-authenticate")!, "Bearer")
    problem(yield* request(path, json({}, { authorization: "Bearer wrong" })), 401)
    const one = yield* request(path, json({ services: ["neon"] }, operator))
    assert.deepStrictEqual(one.body.data.resetResults, [{ service: "neon", reset: true }])
    const totals = Effect.map(
      request("/api/fault-tolerance/metrics?services=openai,neon"),
      ({ body }) => body.data.services.map((service: { totalRequests: number }) => service.totalRequests)
    )
    assert.deepStrictEqual(yield* totals, [1, 0])
    assert.strictEqual((yield* request(path, { method: "POST", headers: operator })).status, 200)
    assert.deepStrictEqual(yield* totals, [0, 0])
    const events = yield* (yield* Event.EventLog).history()
    assert.deepStrictEqual(events.map(({ event }) => event._tag), ["OperatorAction", "OperatorAction"])
  }).pipe(Effect.provide(served)))

it.live("answers what the router does not with a problem that says what to do", () =>
  Effect.gen(function*() {
    const nowhere = yield* request("/nowhere")
    problem(nowhere, 404)
    assert.deepInclude(nowhere.body, {
      title: "Not Found",
      detail: "There is nothing at this path. The paths are listed at /docs."
    })
    const wrongMethod = yield* request("/api/fault-tolerance/metrics?services=neon", { method: "DELETE" })
    problem(wrongMethod, 405)
    assert.strictEqual(wrongMethod.headers.get("allow"), "GET")
    problem(
      yield* request("/api/fault-tolerance/health", {
        method: "POST",
        body: "a",
        headers: { "content-type": "text/plain" }
      }),
      415
    )
    const large = yield* request("/api/fault-tolerance/health", json({ services: ["x".repeat(70_000)] }))
    problem(large, 413)
    assert.strictEqual(large.body.detail, "The body may have 65,536 bytes at most.")
    assert.strictEqual(large.body.maxBytes, 65_536)
    const foreign = { ...json({}), headers: { "content-type": "application/json", "sec-fetch-site": "cross-site" } }
    const address = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    assert.strictEqual(
      yield* Effect.promise(() => fetch(`${address}/api/fault-tolerance/health`, foreign).then(({ status }) => status)),
      403
    )
  }).pipe(Effect.provide(served)))

it.effect("a log at Debug has each answer with its path, without the query, and how long it took", () => {
  const logged: Array<unknown> = []
  const keep = Logger.layer([
    Logger.make(({ fiber, message }) => {
      if (String(message) === "answered") logged.push(fiber.getRef(References.CurrentLogAnnotations))
    })
  ])
  return Effect.gen(function*() {
    yield* TestClock.adjust("1 minute")
    yield* request("/api/fault-tolerance/health?services=neon")
    yield* request("/api/fault-tolerance/health", { method: "DELETE" })
    const path = "/api/fault-tolerance/health"
    const took = { "http.path": path, "http.millis": 0 }
    assert.containsSubset(logged, [
      { ...took, "http.method": "GET", "http.status": 200 },
      { ...took, "http.method": "DELETE", "http.status": 405 }
    ])
  }).pipe(
    Effect.provide(Layer.provide(served, Layer.merge(keep, Layer.succeed(References.MinimumLogLevel, "Debug"))))
  )
})

it.live("keeps a caller's request id where it looks like one", () =>
  Effect.gen(function*() {
    const id = (given: string) =>
      Effect.map(request("/nowhere", { headers: { "x-request-id": given } }), (it) => [
        it.headers.get("x-request-id"),
        it.body.requestId
      ])
    assert.deepStrictEqual(yield* id("order-12345678"), ["order-12345678", "order-12345678"])
    const [own] = yield* id("<script>alert(1)</script>")
    assert.match(own, /^[0-9a-f-]{36}$/)
  }).pipe(Effect.provide(served)))

it.live("a typed client reads it", () =>
  Effect.gen(function*() {
    const baseUrl = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    const client = yield* HttpApiClient.make(Api, { baseUrl })
    const metrics = yield* client.faultTolerance.metrics({ query: { services: ["neon"] } })
    assert.strictEqual(typeof metrics === "string" ? metrics : metrics.data.services[0]?.name, "neon")
    const health = yield* client.faultTolerance.health({ query: { detailed: true } })
    assert.isTrue("data" in health && health.data.healthy)
    const refused = yield* Effect.flip(client.faultTolerance.health({ query: { services: ["bogus"] } }))
    assert.strictEqual(refused._tag, "UnknownService")
  }).pipe(
    Effect.provide(HttpApiMiddleware.layerClient(Operator, ({ next, request }) => next(request))),
    Effect.provide(FetchHttpClient.layer),
    Effect.provide(served)
  ))
