/**
 * `npm run load -- [steady|spike|stress|soak|chaos ...] [--seconds N] [--rate N] [--json]`: load in real time against the
 * real server as a process of its own, the OpenAI emulator first and the embedded Postgres second. Exits with 1 where a
 * threshold is missed.
 */
import { Effect, Redacted } from "effect"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Holdfast from "../cli/holdfast.ts"
import { drive, type Driven, held, slope } from "./drive.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "20" },
    rate: { type: "string", default: "50" },
    json: { type: "boolean" }
  }
})
const seconds = Number(values.seconds)
const rate = Number(values.rate)
const wanted = positionals.length > 0 ? positionals : ["steady", "spike", "stress", "chaos"]

interface Verdict {
  readonly profile: string
  readonly passed: boolean
  readonly missed: ReadonlyArray<string>
  readonly details: unknown
}

const scifact = fileURLToPath(new URL("../../examples/data/scifact/", import.meta.url))
const rows = async (file: string) =>
  (await readFile(join(scifact, file), "utf8")).split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line) as { readonly id: string; readonly title: string; readonly text: string }
  )

const failed = ({ requests, statuses }: Driven): number => (requests - (statuses["200"] ?? 0)) / Math.max(1, requests)

const thresholds = (driven: Driven, most: { readonly errors: number; readonly p99: number }): ReadonlyArray<string> => [
  ...failed(driven) > most.errors
    ? [`${(100 * failed(driven)).toFixed(2)} % failed, at most ${100 * most.errors} %`]
    : [],
  ...driven.latency.p99 > most.p99 ? [`p99 ${driven.latency.p99} ms, at most ${most.p99}`] : [],
  ...driven.untyped > 0 ? [`${driven.untyped} failures without a problem body`] : [],
  ...(driven.statuses["0"] ?? 0) > 0 ? [`${driven.statuses["0"]} requests without an answer`] : []
]

const program = Effect.gen(function*() {
  const emulator = yield* OpenAiEmulator
  const home = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-load-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const documents = (yield* Effect.promise(() => rows("docs-1.jsonl"))).slice(0, 400)
    .map(({ id, text, title }) => ({ id, title, content: text }))
  const queries = (yield* Effect.promise(() => rows("queries.jsonl"))).map(({ text }) => text)
  const server = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
    OPENAI_API_KEY: Redacted.value(emulator.apiKey),
    OPENAI_BASE_URL: emulator.url,
    OPENAI_VECTORSTORE: emulator.vectorStore,
    HOLDFAST_DIRECTORY: home,
    HOLDFAST_TIMEOUT: "1s",
    HOLDFAST_RECOVERY_TIMEOUT: "500ms"
  })
  const url = yield* Holdfast.says(server, /serving at (http:\/\/\S+)/)
  for (let from = 0; from < documents.length; from += 100) {
    yield* Effect.promise(() =>
      fetch(`${url}/api/vectorstore/documents/batch`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ documents: documents.slice(from, from + 100), operationId: `load-${from}` })
      })
    )
  }
  const load = (rate: number, seconds: number) => Effect.promise(() => drive({ url, queries, rate, seconds }))
  // The code is compiled and the connections stand before anything is judged.
  yield* load(rate, 5)

  const profiles: { readonly [profile: string]: Effect.Effect<Verdict> } = {
    steady: Effect.map(load(rate, seconds), (driven) => {
      const missed = thresholds(driven, { errors: 0, p99: 1_000 })
      return { profile: "steady", passed: missed.length === 0, missed, details: driven }
    }),
    spike: Effect.gen(function*() {
      const parts = { before: yield* load(rate, 5), spike: yield* load(rate * 5, 5), after: yield* load(rate, 5) }
      const missed = [
        ...thresholds(parts.spike, { errors: 0.5, p99: 10_000 }),
        ...thresholds(parts.after, { errors: 0, p99: 2_000 }).map((one) => `after the spike: ${one}`)
      ]
      return { profile: "spike", passed: missed.length === 0, missed, details: parts }
    }),
    stress: Effect.gen(function*() {
      const steps: Array<{ readonly rate: number; readonly driven: Driven }> = []
      for (let at = rate; at <= 3_000; at *= 1.5) {
        const driven = yield* load(at, 5)
        steps.push({ rate: Math.round(at), driven })
        if (failed(driven) > 0.05 || driven.latency.p99 > 3_000) break
      }
      const untyped = steps.reduce((sum, { driven }) => sum + driven.untyped + (driven.statuses["0"] ?? 0), 0)
      const after = yield* load(rate, 5)
      const missed = [
        ...untyped > 0 ? [`${untyped} failures without a problem body or an answer`] : [],
        ...thresholds(after, { errors: 0, p99: 2_000 }).map((one) => `after the stress: ${one}`)
      ]
      return {
        profile: "stress",
        passed: missed.length === 0,
        missed,
        details: { breaksAt: steps.at(-1)?.rate, steps }
      }
    }),
    chaos: Effect.gen(function*() {
      const id = yield* emulator.fault({ _tag: "Status", status: 500 }, { probability: 0.3 })
      const slow = yield* emulator.fault({ _tag: "Latency", millis: 300 }, { probability: 0.2 })
      const driven = yield* load(rate, seconds)
      yield* emulator.clear(id)
      yield* emulator.clear(slow)
      const missed = thresholds(driven, { errors: 0, p99: 3_000 })
      return { profile: "chaos", passed: missed.length === 0, missed, details: driven }
    }),
    soak: Effect.gen(function*() {
      const samples: Array<readonly [number, number]> = []
      const handles: Array<readonly [number, number]> = []
      const parts: Array<Driven> = []
      const began = performance.now()
      const every = Math.max(2, Math.min(30, seconds / 10))
      const fault = yield* emulator.fault({ _tag: "Status", status: 503 }, { probability: 0.1 })
      while ((performance.now() - began) / 1_000 < seconds) {
        parts.push(yield* load(rate, every))
        const now = held(server.child.pid ?? 0)
        const at = (performance.now() - began) / 1_000
        // The first quarter fills caches and histograms.
        if (now !== undefined && at > seconds / 4) {
          samples.push([at, now.residentMiB])
          handles.push([at, now.handles])
        }
      }
      yield* emulator.clear(fault)
      const growth = { residentMiB: slope(samples), handles: slope(handles) }
      const missed = [
        ...parts.flatMap((driven) => thresholds(driven, { errors: 0, p99: 3_000 })),
        // Three standard errors away from level, and enough to matter. A young process still grows into its heap.
        ...seconds >= 300 && growth.residentMiB.perMinute - 3 * growth.residentMiB.error > 1
          ? [`memory grows by ${growth.residentMiB.perMinute.toFixed(1)} MiB a minute`]
          : [],
        ...seconds >= 300 && growth.handles.perMinute - 3 * growth.handles.error > 1
          ? [`handles grow by ${growth.handles.perMinute.toFixed(1)} a minute`]
          : [],
        ...handles.some(([, count]) => count > 200) ? ["more than 200 handles"] : []
      ]
      return { profile: "soak", passed: missed.length === 0, missed, details: { growth, parts } }
    })
  }

  const verdicts: Array<Verdict> = []
  for (const profile of wanted) {
    const run = profiles[profile]
    if (run === undefined) {
      console.error(`no profile ${profile}; there are: ${Object.keys(profiles).join(", ")}`)
      process.exitCode = 64
      return
    }
    const verdict = yield* run
    verdicts.push(verdict)
    if (!values.json) {
      console.log(`${verdict.passed ? "passed" : "FAILED"}  ${profile}  ${JSON.stringify(verdict.details)}`)
      for (const one of verdict.missed) console.log(`        ${one}`)
    }
  }
  // Under load: every request that was admitted is answered before the process ends.
  const last = drive({ url, queries, rate, seconds: 2 })
  yield* Effect.sleep("1 second")
  const { code, millis } = yield* Holdfast.stop(server, "SIGTERM")
  const ended = yield* Effect.promise(() => last)
  const orderly = code === 0 && millis < 5_000 && ended.untyped === 0
  verdicts.push({
    profile: "shutdown",
    passed: orderly,
    missed: orderly ? [] : [`code ${code} after ${millis} ms`],
    details: ended.statuses
  })
  if (values.json) console.log(JSON.stringify(verdicts))
  else console.log(`${orderly ? "passed" : "FAILED"}  shutdown  code ${code} after ${Math.round(millis)} ms under load`)
  if (verdicts.some(({ passed }) => !passed)) process.exitCode = 1
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(OpenAiEmulator.layer())))
