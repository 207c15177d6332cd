import { assert, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, Logger, Metric, Redacted, Ref } from "effect"
import { HttpServer } from "effect/http"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import { Library } from "../../src/http/Library.ts"
import { Operations } from "../../src/http/Operations.ts"
import { Draining, Startup } from "../../src/http/Probes.ts"
import * as Server from "../../src/http/Server.ts"
import * as Settings from "../../src/Settings.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { VectorStore } from "../../src/vectorstore/VectorStore.ts"

const healthy: Health.Circuit = { state: "Closed", retryAfter: Duration.zero }

const library = Layer.provide(Library.layerStore, MemoryStore.layerLexical())

const served = (
  circuit: Effect.Effect<Health.Circuit> = Effect.succeed(healthy),
  maxBody?: number,
  store: Layer.Layer<Library> = library
) =>
  Server.drainFirst.pipe(
    Layer.provideMerge(Server.layer({ port: 0, token: Redacted.make("operator"), maxBody })),
    Layer.provide(Operations.layer({})),
    Layer.provide(Settings.Settings.layer({ services: [] })),
    Layer.provide(Health.Health.layer({ providers: [{ name: "memory", circuit }] })),
    Layer.provide(store),
    Layer.provideMerge(Layer.mergeAll(Telemetry.layer(), Event.EventLog.layer(), Draining.layer, Startup.layer)),
    Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
  )

const request = Effect.fnUntraced(function*(path: string, init?: RequestInit) {
  const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address) + path
  return yield* Effect.promise(async (signal) => {
    const response = await fetch(url, { ...init, signal })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })
})

const status = (path: string, init?: RequestInit) => Effect.map(request(path, init), ({ status }) => status)

it.live("alive whatever its providers do, ready while somebody answers, started when told so", () =>
  Effect.gen(function*() {
    let circuit = healthy
    yield* Effect.gen(function*() {
      assert.strictEqual(yield* status("/startupz"), 503)
      yield* Ref.set(yield* Startup, "Started")
      assert.strictEqual(yield* status("/startupz"), 200)
      assert.strictEqual(yield* status("/readyz"), 200)
      circuit = { state: "Open", retryAfter: Duration.seconds(4) }
      const ready = yield* request("/readyz")
      assert.strictEqual(ready.status, 503)
      assert.strictEqual(ready.headers.get("content-type"), "application/health+json")
      assert.include(ready.text, "memory: its circuit is open for another 4 s")
      assert.strictEqual(JSON.parse(ready.text).status, "fail")
      const alive = yield* request("/livez")
      assert.deepStrictEqual([alive.status, JSON.parse(alive.text).status], [200, "pass"])
      circuit = healthy
      yield* Deferred.succeed(yield* Draining, undefined)
      assert.strictEqual(yield* status("/readyz"), 503)
      assert.strictEqual(yield* status("/livez"), 200)
    }).pipe(Effect.provide(served(Effect.sync(() => circuit))))
  }))

it.live("serves the page, the API reference and its document, each with its policy", () =>
  Effect.gen(function*() {
    for (const path of ["/", "/docs"]) {
      const { headers, status } = yield* request(path)
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/html; charset=utf-8")
      const policy = headers.get("content-security-policy") ?? ""
      assert.include(policy, "default-src 'none'")
      assert.notMatch(policy, /https?:/)
    }
    const document = JSON.parse((yield* request("/openapi.json")).text)
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"))
    assert.strictEqual(document.info.version, version)
    assert.containsSubset(Object.keys(document.paths), [
      "/api/fault-tolerance/health",
      "/api/fault-tolerance/metrics",
      "/api/vectorstore/search"
    ])
    const endpoints = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods as Record<string, { readonly summary?: string; readonly responses: object }>)
        .map(([method, endpoint]) => Object.assign({ name: `${method} ${path}` }, endpoint))
    )
    assert.isAbove(endpoints.length, 20)
    for (const { name, responses, summary } of endpoints) {
      assert.isString(summary, name)
      // Whoever moves something needs the token, and is told so.
      const moves = /^(?:post|patch) .*\/(?:reset|breakers\/\{key\}|level|chaos|config)$/.test(name)
      assert.strictEqual("401" in responses && "429" in responses, moves, name)
    }
    assert.strictEqual((yield* request("/favicon.ico")).headers.get("content-type"), "image/svg+xml")
    assert.strictEqual(
      (yield* request("/metrics")).headers.get("content-type"),
      "text/plain; version=0.0.4; charset=utf-8"
    )
  }).pipe(Effect.provide(served())))

it.live("knows which methods a path takes, inside the API and beside it", () =>
  Effect.gen(function*() {
    for (
      const [method, path, allow] of [
        ["POST", "/livez", "GET"],
        ["PUT", "/api/vectorstore/documents/1?x=1", "GET, PATCH, DELETE"],
        ["DELETE", "/api/vectorstore/search", "GET, POST"],
        ["POST", "/api/fault-tolerance/stream", "GET"]
      ] as const
    ) {
      const answer = yield* request(path, { method })
      assert.strictEqual(answer.status, 405, path)
      assert.strictEqual(answer.headers.get("allow"), allow)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
    }
    assert.strictEqual(yield* status("/api/nowhere"), 404)
  }).pipe(Effect.provide(served())))

it.live("takes no body above its limit", () =>
  Effect.gen(function*() {
    const send = (content: string) =>
      status("/api/vectorstore/documents", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ id: "1", content })
      })
    assert.strictEqual(yield* send("x".repeat(2_000)), 413)
    assert.strictEqual(yield* send("x"), 201)
  }).pipe(Effect.provide(served(undefined, 1_000))))

it.live("tells nobody what it did not foresee, but the log, and there without secrets", () =>
  Effect.gen(function*() {
    const logged = yield* Ref.make("")
    const keep = Logger.layer([
      Logger.make(({ message }) => Effect.runSync(Ref.update(logged, (text) => text + String(message))))
    ])
    const broken = Layer.effect(
      Library,
      Effect.map(VectorStore, (store) => ({
        documents: store,
        lacks: Effect.succeed([]),
        search: () => Effect.die(new Error("unforeseen, with password=hunter2hunter2"))
      }))
    ).pipe(Layer.provide(MemoryStore.layerLexical()))
    const { status, text } = yield* Effect.provide(
      request("/api/vectorstore/search?query=a"),
      Layer.provide(served(undefined, undefined, broken), keep)
    )
    assert.strictEqual(status, 500)
    assert.notInclude(text, "unforeseen")
    assert.include(yield* Ref.get(logged), "unforeseen")
    assert.notInclude(yield* Ref.get(logged), "hunter2")
  }))

it.live("says what to do about an address that is taken", () =>
  Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const port = Number(/:(\d+)$/.exec(HttpServer.formatAddress(address))?.[1])
    const error = yield* Effect.flip(Server.canListen({ port }))
    assert.include(error.message, `Port ${port} is in use on 127.0.0.1`)
    assert.include(error.message, `--port ${port + 1}`)
  }).pipe(Effect.provide(served())))

it.live("ends open streams when it stops", () =>
  Effect.gen(function*() {
    const ended = yield* Effect.scoped(Effect.gen(function*() {
      const context = yield* Layer.build(served())
      const url = yield* Effect.provide(
        Effect.map(HttpServer.HttpServer, ({ address }) => HttpServer.formatAddress(address)),
        context
      )
      const response = yield* Effect.promise(() => fetch(`${url}/api/fault-tolerance/stream`))
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
      return response.text().then((text) => text.includes("event: snapshot"), () => false)
    }))
    const [elapsed] = yield* Effect.timed(Effect.promise(() => ended))
    assert.isBelow(Duration.toMillis(elapsed), 2_000)
  }))
