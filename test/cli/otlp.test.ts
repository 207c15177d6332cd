import { NodeServices } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { createServer, type Server } from "node:http"
import * as Holdfast from "./holdfast.ts"

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
}

/** Keeps the spans that are sent to it. */
const receiver = Effect.acquireRelease(
  Effect.promise(() => {
    const spans: Array<Span> = []
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
        if (request.url === "/v1/traces") {
          const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as {
            readonly resourceSpans: ReadonlyArray<
              { readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }> }
            >
          }
          spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)))
        }
        response.end("{}")
      })
    })
    return new Promise<{ readonly server: Server; readonly spans: Array<Span> }>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve({ server, spans }))
    )
  }),
  ({ server }) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
)

it.live(
  "sends one trace of a request, below the caller's own, all the way to the database",
  () =>
    Effect.gen(function*() {
      const { server, spans } = yield* receiver
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const running = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
        HOLDFAST_DIRECTORY: yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped({ prefix: "holdfast-" }),
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`
      })
      const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
      const traceId = "0af7651916cd43dd8448eb211c80319c"
      const caller = "b7ad6b7169203331"
      yield* Effect.promise(() =>
        fetch(`${url}/api/vectorstore/search?query=sleep`, { headers: { traceparent: `00-${traceId}-${caller}-01` } })
      )
      // What is still held is sent at the end.
      assert.strictEqual((yield* Holdfast.stop(running)).code, 0)
      const ours = spans.filter((span) => span.traceId === traceId)
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
      assert.include(ways, "GET > unified.search")
      assert.isTrue(
        ways.some((way) => way.startsWith("GET > unified.search > ") && way.includes("postgres")),
        ways.join("\n")
      )
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  60_000
)
