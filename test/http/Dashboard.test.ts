import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { afterAll, assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Redacted, Scope } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import { TestClock } from "effect/testing"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import { join } from "node:path"
import type { Page } from "playwright-core"
import * as Alerts from "../../src/Alerts.ts"
import * as Chaos from "../../src/Chaos.ts"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as Boundary from "../../src/http/Boundary.ts"
import * as Dashboard from "../../src/http/Dashboard.ts"
import * as EventStream from "../../src/http/EventStream.ts"
import { levelOf, Operations } from "../../src/http/Operations.ts"
import { OperationsApi } from "../../src/http/OperationsApi.ts"
import * as OperationsHandlers from "../../src/http/OperationsHandlers.ts"
import * as OperatorToken from "../../src/http/OperatorToken.ts"
import * as Pipeline from "../../src/Pipeline.ts"
import * as ServiceLevel from "../../src/ServiceLevel.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import { absent, close, executablePath, openPage } from "../browser.ts"

const Api = HttpApi.make("theirs").add(OperationsApi)
const token = "an-operator's-token"
// Most of the time is waiting.
const alongside = { timeout: 90_000, concurrent: true }
const artefacts = join(import.meta.dirname, "..", "artifacts")

class Breaker extends Context.Service<Breaker, CircuitBreaker.Service>()("holdfast/test/Breaker") {}

const services = Layer.unwrap(Effect.gen(function*() {
  const breaker = yield* Breaker
  const level = yield* ServiceLevel.make({ service: "unified" })
  yield* level.degrade("openai is down")
  const { budget, bulkhead, rateLimit } = yield* Pipeline.make({
    provider: "openai",
    retry: true,
    bulkhead: { limit: 8 },
    rateLimit: { limit: 5 }
  })
  return Operations.layer({
    pipelines: [{ provider: "openai", breaker, budget, bulkhead, rateLimit }],
    levels: [levelOf(level)],
    outboxes: [{ lag: Effect.succeed([{ mirror: "neon", pending: 3, oldestMillis: 42_000, refused: 0 }]) }]
  })
})).pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      Health.Health.layer({ providers: [{ name: "openai" }, { name: "neon" }] }),
      Alerts.Alerts.layer({ rules: Alerts.defaultRules("unified") })
    )
  ),
  // Open for longer than any machine takes for the test.
  Layer.provideMerge(
    Layer.effect(
      Breaker,
      CircuitBreaker.make({ name: "openai.search", failureThreshold: 3, recoveryTimeout: "5 minutes" })
    )
  ),
  Layer.provideMerge(Layer.mergeAll(
    Telemetry.layer(),
    Event.EventLog.layer(),
    Chaos.layer({ seed: 1, rules: [] }, { enabled: true })
  )),
  Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
)

const served = (port: number) =>
  HttpRouter.serve(
    Layer.mergeAll(HttpApiBuilder.layer(Api), EventStream.layer(), Dashboard.layer).pipe(
      Layer.provide(OperationsHandlers.layer(Api)),
      Layer.provide(OperatorToken.layer(Redacted.make(token))),
      Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true })),
      Layer.provide(Boundary.layer(Api, { routes: Dashboard.routes }))
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(services),
    Layer.provideMerge(
      NodeHttpServer.layer(createServer, { port, host: "127.0.0.1", gracefulShutdownTimeout: "100 millis" })
    )
  )

/** A server in a scope of its own, so that it can be stopped within a test. */
const start = Effect.fnUntraced(function*(port: number) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const context = yield* Layer.buildWithScope(served(port), scope)
  const { address } = Context.get(context, HttpServer.HttpServer)
  return {
    stop: Scope.close(scope, Exit.void),
    url: HttpServer.formatAddress(address),
    port: "port" in address ? address.port : 0,
    breaker: Context.get(context, Breaker),
    log: Context.get(context, Event.EventLog),
    count: (outcome: Telemetry.CallOutcome, times: number, service = "unified") => {
      const recorder = Context.get(context, Telemetry.Telemetry)!.recorder(service, "search")
      for (let i = 0; i < times; i++) {
        recorder.begin(Date.now())
        recorder.end(outcome, 20 + i, Date.now())
      }
      if (outcome === "failure") recorder.error("NetworkError", Date.now())
    }
  }
})

const open = Effect.fnUntraced(
  function*(url: string, options: { readonly dark?: boolean; readonly width?: number } = {}) {
    const opened = yield* openPage({
      viewport: { width: options.width ?? 1280, height: 900 },
      colorScheme: options.dark === true ? "dark" : "light",
      reducedMotion: "reduce"
    })
    yield* Effect.promise(async () => {
      await opened.page.goto(url)
      await opened.page.locator("#stream.live").waitFor()
    })
    return opened
  }
)

afterAll(close)

const violations = (page: Page) =>
  Effect.promise(async () => {
    await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"))
    const found = await page.evaluate("axe.run()") as { violations: ReadonlyArray<{ id: string; help: string }> }
    return found.violations.map(({ help, id }) => `${id}: ${help}`)
  })

const shot = (page: Page, name: string) =>
  Effect.promise(async () => {
    mkdirSync(artefacts, { recursive: true })
    await page.screenshot({ path: join(artefacts, `dashboard-${name}.png`), fullPage: true })
  })

it.live("shows an outage as it happens, and lets an operator act with the token", (ctx) => {
  if (executablePath === undefined) return ctx.skip(absent)
  return Effect.gen(function*() {
    const server = yield* start(0)
    server.count("success", 50)
    const { errors, page } = yield* open(server.url)
    const fail = Effect.exit(Effect.fail("down").pipe(server.breaker.execute()))
    yield* Effect.all([fail, fail, fail])
    server.count("failure", 10, "openai")
    // The event is there within two seconds, the lane and the table say open.
    yield* Effect.promise(() =>
      page.locator("#events li", { hasText: "openai.search: Closed → Open" }).waitFor({ timeout: 2_000 })
    )
    yield* Effect.promise(() => page.locator(".lane .state", { hasText: "■ open" }).waitFor({ timeout: 5_000 }))
    yield* Effect.promise(() => page.locator("#errors", { hasText: "NETWORK" }).waitFor({ timeout: 5_000 }))
    assert.match(yield* Effect.promise(() => page.locator("#breakers").innerText()), /in \d+ s/)

    // A wrong token changes nothing; the right one closes the circuit.
    const close = page.getByRole("button", { name: "Close circuit openai.search" })
    yield* Effect.promise(async () => {
      await close.click()
      await page.locator("#token").fill("wrong")
      await page.getByRole("button", { name: "Continue" }).click()
      await page.getByText("The token is wrong").waitFor()
    })
    assert.strictEqual(yield* server.breaker.state(), "Open")
    // The one error so far is the browser's own line about the 401.
    assert.lengthOf(errors.splice(0), 1)
    yield* Effect.promise(async () => {
      await close.click()
      await page.locator("#token").fill(token)
      await page.getByRole("button", { name: "Continue" }).click()
      await page.locator("#breakers .state", { hasText: "closed" }).waitFor()
    })
    assert.strictEqual(yield* server.breaker.state(), "Closed")
    yield* Effect.promise(() => page.locator("#events li", { hasText: "breaker close: openai.search" }).waitFor())
    assert.deepStrictEqual(errors, [])
  }).pipe(Effect.scoped)
}, alongside)

it.live("who comes late sees what was, and the keyboard keeps its place", (ctx) => {
  if (executablePath === undefined) return ctx.skip(absent)
  return Effect.gen(function*() {
    const server = yield* start(0)
    server.count("success", 30)
    yield* server.breaker.forceOpen()
    yield* Effect.sleep("300 millis")
    yield* server.breaker.forceClose()
    for (let i = 0; i < 1_500; i++) {
      yield* server.log.publish(
        Event.FellBack.make({
          at: Date.now(),
          service: "unified",
          operation: "search",
          from: "openai",
          to: "neon",
          category: "NETWORK"
        })
      )
    }
    const { errors, page } = yield* open(server.url)
    // The lane has the time that it was held open, though thousands of fallbacks came after it.
    yield* Effect.promise(() =>
      page.locator(".lane[data-circuit='openai.search'] .track i.ForcedOpen").waitFor({ timeout: 5_000 })
    )
    assert.match(
      (yield* Effect.promise(() =>
        page.locator(".lane[data-circuit='openai.search'] .track").getAttribute("aria-label")
      )) ?? "",
      /closed for \d+ %, held open for \d+ %/
    )
    // A thousand times the same is one line that says so, and can be left out.
    const fallbacks = page.locator("#events li", { hasText: "openai → neon" })
    yield* Effect.promise(() => fallbacks.locator(".times", { hasText: /× \d{2,}/ }).waitFor())
    assert.strictEqual(yield* Effect.promise(() => fallbacks.count()), 1)
    yield* Effect.promise(() => page.locator("#per-call").uncheck())
    assert.strictEqual(yield* Effect.promise(() => fallbacks.count()), 0)
    yield* Effect.promise(() => page.locator("#events li", { hasText: "ForcedOpen → Closed" }).waitFor())

    // By the keyboard alone: the button that has the focus keeps it over snapshots.
    const button = page.getByRole("button", { name: "Disable circuit openai.search" })
    yield* Effect.promise(() => button.focus())
    const shown = yield* Effect.promise(() => page.locator("#stream").innerText())
    yield* Effect.promise(() =>
      page.locator("#stream:not(:text-is(" + JSON.stringify(shown) + "))").waitFor({ timeout: 10_000 })
    )
    assert.strictEqual(
      yield* Effect.promise(() => page.evaluate("document.activeElement.getAttribute('aria-label')")),
      "Disable circuit openai.search"
    )
    yield* Effect.promise(async () => {
      await page.keyboard.press("Enter")
      await page.keyboard.type(token)
      await page.keyboard.press("Enter")
      await page.locator("#breakers .state", { hasText: "disabled" }).waitFor({ timeout: 5_000 })
    })
    assert.strictEqual(yield* server.breaker.state(), "Disabled")
    assert.strictEqual(yield* Effect.promise(() => button.getAttribute("aria-pressed")), "true")

    // The level is held and given back, faults on purpose are stopped, with the token given once.
    yield* Effect.promise(async () => {
      await page.getByLabel("Hold the level of unified at").selectOption("4")
      await page.locator("#banner .what", { hasText: "unified: Emergency" }).waitFor({ timeout: 5_000 })
    })
    // Whoever looks elsewhere sees that it is held, and not by its rules.
    const other = yield* open(server.url)
    yield* Effect.promise(async () => {
      const hold = (value: string) =>
        other.page.locator(`#banner option[value="${value}"]:checked`).waitFor({ state: "attached", timeout: 5_000 })
      await other.page.locator("#banner .why", { hasText: /held until .*: held from the dashboard$/ }).waitFor()
      await hold("4")
      await page.getByLabel("Hold the level of unified at").selectOption("")
      await hold("")
      await other.page.locator("#banner .why", { hasText: /openai is down$/ }).waitFor()
      await page.locator("#banner .what", { hasText: "unified: Reduced" }).waitFor({ timeout: 5_000 })
      await page.locator("#chaos", { hasText: "Faults on purpose" }).waitFor()
      await page.getByRole("button", { name: "Stop it" }).click()
      await page.locator("#chaos").waitFor({ state: "hidden", timeout: 5_000 })
    })
    assert.deepStrictEqual(errors, [])
  }).pipe(Effect.scoped)
}, alongside)

it.live("says when the stream is lost, and goes on after the server is back", (ctx) => {
  if (executablePath === undefined) return ctx.skip(absent)
  return Effect.gen(function*() {
    const first = yield* start(0)
    const { page } = yield* open(first.url)
    yield* first.stop
    yield* Effect.promise(() => page.getByText(/stream lost, data as of/).waitFor({ timeout: 10_000 }))
    const second = yield* start(first.port)
    // What happens before the page is back is shown, too.
    yield* second.breaker.forceOpen()
    yield* Effect.promise(() => page.locator("#stream.live").waitFor({ timeout: 15_000 }))
    yield* Effect.promise(() => page.locator("#events li", { hasText: "ForcedOpen" }).waitFor({ timeout: 5_000 }))
  }).pipe(Effect.scoped)
}, alongside)

it.live("is accessible and complete in light, dark and on a phone, under its policy", (ctx) => {
  if (executablePath === undefined) return ctx.skip(absent)
  return Effect.gen(function*() {
    const server = yield* start(0)
    for (
      const [name, options] of [
        ["light", {}],
        ["dark", { dark: true }],
        ["phone", { width: 390 }]
      ] as const
    ) {
      yield* Effect.gen(function*() {
        const { errors, page } = yield* open(server.url, options)
        yield* server.breaker.forceOpen()
        server.count("success", 40)
        server.count("failure", 4)
        server.count("failure", 4, "openai")
        server.count("success", 1, "payments-service.eu-central-1.internal.example.com:8443-primary")
        // Two snapshots: charts have something to draw.
        yield* Effect.promise(() => page.locator("#calls[aria-label*='answered']").waitFor({ timeout: 10_000 }))
        assert.deepStrictEqual(yield* violations(page), [], name)
        // Nothing is wider than the page or its card, long names neither: no sideways scrolling.
        assert.deepStrictEqual(
          yield* Effect.promise(() =>
            page.evaluate(
              "[...document.querySelectorAll('html, section')].filter((it) => it.scrollWidth > it.clientWidth)" +
                ".map((it) => it.textContent)"
            )
          ),
          [],
          name
        )
        assert.deepStrictEqual(errors, [], name)
        yield* shot(page, name)
      }).pipe(Effect.scoped)
    }
    const response = yield* Effect.promise(() => fetch(server.url))
    assert.include(response.headers.get("content-security-policy") ?? "", "script-src 'self'")
  }).pipe(Effect.scoped)
}, alongside)

it.effect("a level that is held is shown with the operator's reason, since when and until when", () =>
  Effect.gen(function*() {
    const level = yield* ServiceLevel.make({ service: "unified" })
    const shown = levelOf(level)
    yield* level.degrade("openai is down")
    yield* TestClock.adjust("1 minute")
    yield* shown.hold(2, "maintenance", "1 hour")
    assert.deepStrictEqual(yield* shown.status, {
      rank: 2,
      name: "basic_service",
      since: 60_000,
      reasons: ["maintenance"],
      heldUntil: 3_660_000
    })
    yield* shown.hold(0, "drill", Infinity)
    assert.deepInclude(yield* shown.status, { rank: 0, reasons: ["drill"], heldUntil: null })
    yield* shown.release
    assert.deepStrictEqual(yield* shown.status, {
      rank: 1,
      name: "reduced_functionality",
      since: 0,
      reasons: ["openai is down"]
    })
  }))

it("weighs less than 300 kB, scripts and all", () => {
  const require = createRequire(import.meta.url)
  const folder = join(import.meta.dirname, "..", "..", "src", "http", "dashboard")
  const files = [
    ...readdirSync(folder).map((name) => join(folder, name)),
    join(require.resolve("uplot/package.json"), "..", "dist", "uPlot.esm.js"),
    join(require.resolve("uplot/package.json"), "..", "dist", "uPlot.min.css")
  ]
  const bytes = files.reduce((sum, file) => sum + readFileSync(file).length, 0)
  assert.isBelow(bytes, 300_000)
})
