import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Tracer } from "effect"
import { HttpClient, HttpClientResponse, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { HttpApi } from "effect/http-api"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import * as Correlation from "../src/Correlation.ts"
import * as Deadline from "../src/Deadline.ts"
import * as Boundary from "../src/http/Boundary.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { ProviderError } from "../src/ProviderError.ts"

it.effect("goes out by headers: the id always, the trace where somebody takes it", () =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* Correlation.outgoing(), {})
    const within = Correlation.outgoing("x-client-request-id").pipe(Effect.withSpan("call"), Correlation.within("r-1"))
    assert.deepStrictEqual(yield* within, { "x-client-request-id": "r-1" })
    const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
    const headers = yield* Effect.withTracer(within, tracer)
    assert.match(headers["traceparent"] ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  }))

it.effect("is in the errors of the providers that were asked for the request", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: "1 second" })
    const refused = yield* Effect.fail(new Error("ECONNREFUSED")).pipe(
      pipeline.protect({ operation: "get" }),
      Correlation.within("r-2"),
      Effect.flip
    )
    const late = yield* Effect.forkChild(
      Effect.never.pipe(pipeline.protect({ operation: "get" }), Correlation.within("r-3"), Effect.flip)
    )
    const own = yield* Effect.fail(new Error("ECONNREFUSED")).pipe(
      pipeline.protect({ operation: "get", correlationId: "own" }),
      Correlation.within("r-4"),
      Effect.flip
    )
    yield* TestClock.adjust("2 seconds")
    const all = [refused, yield* Fiber.join(late), own]
    assert.deepStrictEqual(all.map((it) => it instanceof ProviderError && it.correlationId), ["r-2", "r-3", "own"])
  }))

it.effect("each attempt of an HTTP client says how much time is left", () =>
  Effect.gen(function*() {
    const seen: Array<string | undefined> = []
    const client = HttpClient.make((request) =>
      Effect.sync(() => {
        seen.push(request.headers["x-deadline-ms"])
        return HttpClientResponse.fromWeb(request, new Response("", { status: seen.length === 1 ? 503 : 200 }))
      })
    )
    const pipeline = yield* Pipeline.make({
      provider: "p",
      deadline: "10 seconds",
      retry: { maxRetries: 1, baseDelay: "1 second", jitter: "none" }
    })
    const call = client.pipe(Pipeline.httpClient(pipeline)).get("https://a.example/")
    const fiber = yield* Effect.forkChild(call)
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(fiber)
    const none = yield* Pipeline.make({ provider: "q" })
    yield* client.pipe(Pipeline.httpClient(none)).get("https://a.example/")
    yield* client.pipe(Pipeline.httpClient(none)).get("https://a.example/").pipe(Deadline.within("3 seconds"))
    assert.deepStrictEqual(seen, ["10000", "9000", undefined, "3000"])
  }))

const served = HttpRouter.serve(
  Layer.mergeAll(
    HttpRouter.add("GET", "/never", Effect.never),
    HttpRouter.add(
      "GET",
      "/left",
      Effect.gen(function*() {
        const left = (yield* Deadline.current) - (yield* Clock.currentTimeMillis)
        return HttpServerResponse.jsonUnsafe({ left, id: yield* Correlation.current })
      })
    )
  ).pipe(Layer.provide(Boundary.layer(HttpApi.make("none")))),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

it.live("the server keeps to the deadline that a request brings, by either header", () =>
  Effect.gen(function*() {
    const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    const ask = (path: string, headers: Record<string, string>) =>
      Effect.promise(async (signal) => {
        const response = await fetch(url + path, { headers, signal })
        return { status: response.status, body: await response.json() as Record<string, unknown> }
      })
    for (const headers of [{ "x-deadline-ms": "50" }, { "grpc-timeout": "50m" }, { "x-deadline-ms": "0" }]) {
      const { body, status } = yield* ask("/never", { ...headers, "x-request-id": "request-1" })
      assert.strictEqual(status, 504)
      assert.deepInclude(body, { status: 504, requestId: "request-1" })
    }
    const { body } = yield* ask("/left", {
      "x-deadline-ms": "60000",
      "grpc-timeout": "5S",
      "x-request-id": "request-2"
    })
    assert.isAtMost(Number(body["left"]), 5_000)
    assert.isAbove(Number(body["left"]), 3_000)
    assert.strictEqual(body["id"], "request-2")
    // What cannot be read is ignored.
    assert.isNull((yield* ask("/left", { "x-deadline-ms": "soon" })).body["left"])
  }).pipe(Effect.provide(served)))
