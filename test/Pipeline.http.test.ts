import { assert, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import type { CircuitOpen } from "../src/CircuitBreaker.ts"
import * as Deadline from "../src/Deadline.ts"
import * as Pipeline from "../src/Pipeline.ts"
import type { ProviderError } from "../src/ProviderError.ts"

/** A client that answers with these statuses, the last one for ever, and counts. */
const answering = (...statuses: ReadonlyArray<number>) => {
  const seen: Array<string> = []
  const client = HttpClient.make((request) =>
    Effect.sync(() => {
      seen.push(`${request.method} ${request.url}`)
      const status = statuses[Math.min(seen.length, statuses.length) - 1]!
      return HttpClientResponse.fromWeb(request, new Response(`status ${status}`, { status }))
    })
  )
  return { client, seen }
}

const make = Pipeline.make({ provider: "p", retry: { maxRetries: 2, baseDelay: 0 }, breaker: { failureThreshold: 3 } })

it.effect("retries what HTTP calls idempotent, and what carries a key", () =>
  Effect.gen(function*() {
    const pipeline = yield* make
    const get = answering(503, 503, 200)
    const response = yield* get.client.pipe(Pipeline.httpClient(pipeline)).get("https://a.example/x?q=1")
    assert.strictEqual(response.status, 200)
    assert.strictEqual(get.seen.length, 3)

    const post = answering(500, 200)
    const error = yield* post.client.pipe(Pipeline.httpClient(pipeline)).post("https://b.example/x").pipe(Effect.flip)
    assert.strictEqual(error._tag, "ProviderError")
    assert.strictEqual(post.seen.length, 1)

    const keyed = answering(500, 200)
    const request = HttpClientRequest.post("https://c.example/x").pipe(
      HttpClientRequest.setHeader("Idempotency-Key", "1")
    )
    assert.strictEqual((yield* keyed.client.pipe(Pipeline.httpClient(pipeline)).execute(request)).status, 200)
    assert.strictEqual(keyed.seen.length, 2)
  }))

it.effect("has a circuit for each method and host, without user or path in its name", () =>
  Effect.gen(function*() {
    const pipeline = yield* make
    const { client } = answering(200)
    yield* client.pipe(Pipeline.httpClient(pipeline)).get("https://me:secret@a.example:8080/path/1?q=2")
    yield* client.pipe(Pipeline.httpClient(pipeline, { operation: ({ url }) => url.split("/").at(-1)! })).get(
      "https://b.example/own"
    )
    const states = yield* pipeline.breaker!.states
    assert.deepStrictEqual(states.map(({ key }) => key), ["p/GET a.example:8080", "p/own"])
  }))

it.effect("a request belongs to the scope of who sends it, below the pipeline and above it", () =>
  Effect.gen(function*() {
    const pipeline = yield* make
    const signals: Array<AbortSignal> = []
    const client = HttpClient.make((request, _url, signal) =>
      Effect.sync(() => {
        signals.push(signal)
        return HttpClientResponse.fromWeb(request, new Response("", { status: 200 }))
      })
    )
    const below = client.pipe(HttpClient.withScope, Pipeline.httpClient(pipeline))
    const above = client.pipe(Pipeline.httpClient(pipeline), HttpClient.withScope)
    yield* Effect.scoped(below.get("https://a.example/"))
    yield* Effect.scoped(Deadline.within("1 minute")(below.get("https://a.example/")))
    yield* Effect.scoped(above.get("https://a.example/"))
    assert.deepStrictEqual(signals.map(({ aborted }) => aborted), [true, true, true])
  }))

it.effect("types the errors, and a 404 is the caller's fault", () =>
  Effect.gen(function*() {
    const pipeline = yield* make
    const { client } = answering(404)
    const guarded = client.pipe(Pipeline.httpClient(pipeline))
    expectTypeOf(guarded).toEqualTypeOf<
      HttpClient.HttpClient.With<
        HttpClientError.HttpClientError | ProviderError | CircuitOpen | Deadline.DeadlineExceeded
      >
    >()
    const error = yield* guarded.get("https://a.example/").pipe(Effect.flip)
    assert.strictEqual(error._tag === "ProviderError" && error.reason._tag, "NotFoundError")
    assert.strictEqual((yield* pipeline.breaker!.status("p/GET a.example")).failures, 0)
  }))

it.effect("under a service, answers pass as they are and refusals are transport errors", () =>
  Effect.gen(function*() {
    const pipeline = yield* make
    const { client, seen } = answering(404, 503)
    const layer = Pipeline.layerHttpClient(pipeline).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
    yield* Effect.gen(function*() {
      const missing = yield* HttpClient.get("https://a.example/x")
      assert.strictEqual(missing.status, 404)
      assert.strictEqual(yield* missing.text, "status 404")
      const down = yield* HttpClient.get("https://a.example/x")
      assert.strictEqual(down.status, 503)
      // One and three requests: the circuit is open.
      assert.strictEqual(seen.length, 4)
      const error = yield* Effect.flip(HttpClient.get("https://a.example/x"))
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.strictEqual((error.reason.cause as CircuitOpen)._tag, "CircuitOpen")
      assert.strictEqual(seen.length, 4)
    }).pipe(Effect.provide(layer))
  }))
