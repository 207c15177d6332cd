import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { createServer, type Server } from "node:http"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Embedded from "../embedded.ts"
import * as Holdfast from "./holdfast.ts"

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number; readonly boolValue?: boolean }
}

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly events: ReadonlyArray<{ readonly name: string }>
}

interface Traces {
  readonly resourceSpans: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>
  }>
}

/** Keeps the spans that are sent to it, and the other paths that were. */
const receiver = Effect.acquireRelease(
  Effect.promise(() => {
    const spans: Array<Span> = []
    const paths = new Set<string | undefined>()
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
        paths.add(request.url)
        if (request.url === "/v1/traces") {
          const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as Traces
          spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)))
        }
        response.end("{}")
      })
    })
    return new Promise<{ readonly server: Server; readonly spans: Array<Span>; readonly paths: typeof paths }>(
      (resolve) => server.listen(0, "127.0.0.1", () => resolve({ server, spans, paths }))
    )
  }),
  ({ server }) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
)

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

const attribute = (span: Span | undefined, key: string) => {
  const value = span?.attributes.find((it) => it.key === key)?.value
  return value?.stringValue ?? value?.intValue ?? value?.boolValue
}

/** Each request's trace, by its number. */
const traceId = (index: number) => `0af7651916cd43dd8448eb211c8031${String(index).padStart(2, "0")}`
const caller = "b7ad6b7169203331"

it.live(
  "sends one trace of each request, below the caller's own, to the provider, the log and the collector",
  () =>
    Effect.gen(function*() {
      const { paths, server, spans } = yield* receiver
      const emulator = yield* OpenAiEmulator
      const running = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
        HOLDFAST_DIRECTORY: yield* Embedded.home,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${portOf(server)}`,
        OPENAI_API_KEY: Redacted.value(emulator.apiKey),
        OPENAI_BASE_URL: emulator.url,
        OPENAI_VECTORSTORE: emulator.vectorStore,
        LOG_FORMAT: "json",
        LOG_LEVEL: "Debug"
      })
      const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
      const ask = (index: number, path = `/api/vectorstore/search?query=sleep+${index}`) =>
        Effect.promise(async () => {
          const response = await fetch(`${url}${path}`, {
            headers: { traceparent: `00-${traceId(index)}-${caller}-01`, "x-request-id": `request-${index}` }
          })
          return { id: response.headers.get("x-request-id"), status: response.status, body: await response.text() }
        })

      yield* emulator.resetRequests
      assert.deepInclude(yield* ask(0), { status: 200, id: "request-0" })
      const exchange = (yield* emulator.exchanges).find(({ traceparent }) => traceparent?.includes(traceId(0)))
      assert.strictEqual(exchange?.clientRequestId, "request-0")
      // Each search asks twice: the third opens the circuit, the fourth is refused.
      yield* Effect.forEach([1, 2, 3, 4], (index) => ask(index), { discard: true }).pipe(
        emulator.during({ _tag: "Status", status: 500 })
      )
      const unknown = yield* ask(5, "/api/vectorstore/documents/nobody")
      assert.strictEqual(unknown.status, 404)
      assert.strictEqual(JSON.parse(unknown.body).requestId, "request-5")

      // What is still held is sent at the end.
      assert.strictEqual((yield* Holdfast.stop(running)).code, 0)
      assert.includeMembers([...paths], ["/v1/traces", "/v1/metrics", "/v1/logs"])
      const traceOf = (index: number) => {
        const ours = spans.filter((span) => span.traceId === traceId(index))
        const byId = new Map(ours.map((span) => [span.spanId, span]))
        const ways = ours.map((span) => {
          const way = [span.name]
          let up = span.parentSpanId
          while (up !== undefined && up !== caller) {
            const parent = byId.get(up)
            assert.isDefined(parent, `${span.name} has a parent that was never sent`)
            way.unshift(parent.name)
            up = parent.parentSpanId
          }
          assert.strictEqual(up, caller)
          return way.join(" > ")
        })
        const named = (name: string) => ours.filter((span) => span.name === name)
        const events = (name: string) => named(name).flatMap(({ events }) => events.map((event) => event.name))
        return { ours, ways, named, events }
      }

      const well = traceOf(0)
      const attempt = well.named("openai.search attempt")[0]
      assert.strictEqual(exchange?.traceparent, `00-${traceId(0)}-${attempt?.spanId}-01`)
      assert.include(well.ways, "GET > unified.search > openai.search > openai.search attempt")
      assert.isEmpty(well.named("neon.search"), "the second is not asked")

      const opening = traceOf(3)
      assert.lengthOf(opening.named("openai.search attempt"), 1, "a circuit that opened ends the retries")
      assert.strictEqual(attribute(opening.named("openai.search attempt")[0], "error.type"), "TEMPORARY_FAILURE")
      assert.include(opening.events("openai.search"), "breaker.opened")
      assert.include(opening.events("unified.search"), "fallback")
      assert.include(opening.ways, "GET > unified.search > neon.search > neon.search attempt")
      assert.isTrue(
        opening.ways.some((way) => way.startsWith("GET > unified.search > neon.search > neon.search attempt > ")),
        opening.ways.join("\n")
      )
      const retried = traceOf(1)
      assert.deepStrictEqual(
        retried.named("openai.search attempt").map((span) => Number(attribute(span, "ft.attempt"))),
        [1, 2]
      )
      assert.include(retried.events("openai.search"), "retry")
      const refused = traceOf(4)
      assert.isEmpty(refused.named("openai.search attempt"))
      assert.include(refused.events("openai.search"), "breaker.refused")
      assert.strictEqual(attribute(refused.named("openai.search")[0], "error.type"), "CircuitOpen")

      // One id in every span of the request below the server's, in the log, and no secret anywhere.
      for (const index of [0, 1, 2, 3, 4]) {
        const { ours } = traceOf(index)
        for (const span of ours) assert.strictEqual(attribute(span, "request.id"), `request-${index}`, span.name)
      }
      const logged = running.stderr().split("\n").filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as { readonly annotations: Readonly<Record<string, unknown>> })
        .filter(({ annotations }) => annotations["request.id"] === "request-3")
      assert.isNotEmpty(logged)
      assert.notInclude(JSON.stringify(spans), Redacted.value(emulator.apiKey))
      assert.notInclude(running.stderr(), Redacted.value(emulator.apiKey))
    }).pipe(Effect.scoped, Effect.provide(OpenAiEmulator.layer())),
  60_000
)
