import { assert, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { Redacted } from "effect"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Embedded from "../embedded.ts"
import * as Holdfast from "./holdfast.ts"

const scifact = fileURLToPath(new URL("../../examples/data/scifact/", import.meta.url))

const rows = (file: string) =>
  Effect.promise(async () =>
    (await readFile(join(scifact, file), "utf8")).split("\n").filter((line) => line !== "").map((line) =>
      JSON.parse(line) as { readonly id: string; readonly title: string; readonly text: string }
    )
  )

// oxlint-disable-next-line typescript/no-explicit-any -- read field by field below
type Answered = { readonly status: number; readonly body: any }

const ask = (url: string, path: string, init?: RequestInit) =>
  Effect.promise(async (signal): Promise<Answered> => {
    const response = await fetch(`${url}${path}`, { ...init, signal })
    return { status: response.status, body: await response.json() }
  })

it.live(
  "answers 200 queries of the public while the primary is killed, hung, slow, and answers 429 and 500",
  () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator
      const home = yield* Embedded.home
      const documents = (yield* rows("docs-1.jsonl")).slice(0, 50).map(({ id, text, title }) => ({
        id,
        title,
        content: text
      }))
      const queries = (yield* rows("queries.jsonl")).slice(0, 200).map(({ text }) => text)

      const server = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
        OPENAI_API_KEY: Redacted.value(emulator.apiKey),
        OPENAI_BASE_URL: emulator.url,
        OPENAI_VECTORSTORE: emulator.vectorStore,
        HOLDFAST_DIRECTORY: home,
        HOLDFAST_TIMEOUT: "500ms",
        HOLDFAST_RECOVERY_TIMEOUT: "300ms",
        HOLDFAST_ADMIN_TOKEN: "operator"
      })
      const url = yield* Holdfast.says(server, /serving at (http:\/\/\S+)/)

      // On a busy machine an upload may take longer than its limit: what was not stored is sent again.
      const stored = yield* ask(url, "/api/vectorstore/documents/batch", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ documents, operationId: "outage" })
      }).pipe(Effect.repeat({ until: ({ body }) => body.failed === 0, times: 5 }))
      assert.deepInclude(stored.body, { stored: documents.length, failed: 0 })

      const remaining = [...queries]
      /** The next queries, some at once; every one must be answered by somebody. */
      const public_ = (count: number) =>
        Effect.forEach(remaining.splice(0, count), (query) =>
          Effect.map(ask(url, `/api/vectorstore/search?query=${encodeURIComponent(query)}`), ({ body, status }) => {
            assert.strictEqual(status, 200, `${query}: ${JSON.stringify(body)}\n${server.stderr()}`)
            assert.oneOf(body.answer.provider, ["openai", "neon"])
            assert.strictEqual(body.completeness, body.answer.provider === "openai" ? "Complete" : "Degraded")
            return body.answer.provider as string
          }), { concurrency: 3 })
      const neonSearches = Effect.promise(async () => {
        const text = await (await fetch(`${url}/metrics`)).text()
        return /ft_calls_total\{service="neon",operation="search",outcome="success"\} (\d+)/.exec(text)?.[1]
      })
      let asked = 0
      /** Until the circuit is closed again, found out by probes and not by the queries. */
      const recovered = ask(url, "/api/fault-tolerance/health?services=openai&detailed=true").pipe(
        // A new question each time, so that no answer comes from the cache.
        Effect.tap(() =>
          ask(url, `/api/vectorstore/search?query=anybody+there+${++asked}`)
        ),
        Effect.repeat({
          schedule: Schedule.spaced("100 millis"),
          until: ({ body }) =>
            !/circuit/.test(body.data.services[0].status.reasons.join())
        })
      )

      assert.deepStrictEqual(new Set(yield* public_(40)), new Set(["openai"]))
      assert.isUndefined(yield* neonSearches, "the second is not called while the first is well")

      yield* emulator.stop
      assert.deepStrictEqual(new Set(yield* public_(30)), new Set(["neon"]))
      yield* Effect.orDie(emulator.start)
      yield* recovered

      for (
        const fault of [
          { _tag: "Hang", at: "headers" },
          { _tag: "Latency", millis: 2_000 },
          { _tag: "Status", status: 429, headers: { "retry-after": "1" } },
          { _tag: "Status", status: 500 }
        ] as const
      ) {
        const id = yield* emulator.fault(fault)
        assert.include(yield* public_(25), "neon", JSON.stringify(fault))
        yield* emulator.clear(id)
        yield* recovered
      }
      assert.include(yield* public_(30), "openai")
      assert.strictEqual(remaining.length, 0)

      const { body: { events } } = yield* ask(url, "/api/fault-tolerance/events?type=BreakerChanged")
      const moves: ReadonlyArray<string> = events.map(({ event }: { event: { to: string } }) => event.to)
      assert.isAbove(moves.filter((to) => to === "Open").length, 1)
      assert.strictEqual(moves.at(-1), "Closed")
      const { body: { data: { services: [unified] } } } = yield* ask(
        url,
        "/api/fault-tolerance/metrics?services=unified"
      )
      assert.strictEqual(unified.failedRequests, 0)
      assert.strictEqual(unified.totalRequests, unified.successfulRequests)

      const { code, millis } = yield* Holdfast.stop(server)
      assert.strictEqual(code, 0, server.stderr())
      assert.isBelow(millis, 5_000)
      yield* Effect.repeat(emulator.connections, {
        until: (open) => open === 0,
        schedule: Schedule.spaced("20 millis")
      })
    }).pipe(Effect.provide(OpenAiEmulator.layer())),
  120_000
)
