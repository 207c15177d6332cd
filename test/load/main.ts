/**
 * Load in real time against the real server as a process of its own, the OpenAI emulator first and the embedded Postgres
 * second; `--help` tells how. Exits with 1 where a threshold is missed.
 */
import { Effect, Redacted } from "effect"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Holdfast from "../cli/holdfast.ts"
import * as Embedded from "../embedded.ts"
import { drive, type Driven, held, slope } from "./drive.ts"
import { attach, type Heap, inspectable } from "./inspected.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "20" },
    rate: { type: "string", default: "50" },
    documents: { type: "string", default: "400" },
    json: { type: "boolean" },
    help: { type: "boolean" }
  }
})
const usage = `npm run load -- [PROFILE ...] [--seconds N] [--rate N] [--documents N] [--json]

  steady   the rate for so many seconds; all must be answered
  spike    five times the rate for five seconds
  stress   half as much again, every five seconds, until it breaks
  chaos    the rate, while the first provider fails and is slow
  soak     the rate for so many seconds with faults; memory and handles must not grow

  Without a profile: all but soak. Every run ends with SIGTERM under load.
  --seconds    of steady, chaos and soak; 20
  --rate       requests a second; 50
  --documents  how many are searched; 400
  --json       the verdicts as JSON`
if (values.help) {
  console.log(usage)
  process.exit(0)
}
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

/** What the server holds at one moment, in seconds from the start of the soak. */
interface Sample extends Heap {
  readonly at: number
  readonly residentMiB: number
  readonly handles: number
}

const program = Effect.gen(function*() {
  const emulator = yield* OpenAiEmulator
  const home = yield* Embedded.home
  const documents = (yield* Effect.promise(() => rows("docs-1.jsonl"))).slice(0, Number(values.documents))
    .map(({ id, text, title }) => ({ id, title, content: text }))
  const queries = (yield* Effect.promise(() => rows("queries.jsonl"))).map(({ text }) => text)
  const server = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
    OPENAI_API_KEY: Redacted.value(emulator.apiKey),
    OPENAI_BASE_URL: emulator.url,
    OPENAI_VECTORSTORE: emulator.vectorStore,
    HOLDFAST_DIRECTORY: home,
    ...inspectable,
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
  yield* load(rate, Math.min(5, seconds / 2))

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
      const heap = yield* attach(server)
      const samples: Array<Sample> = []
      const parts: Array<Driven> = []
      const every = Math.max(2, Math.min(30, seconds / 10))
      // Caches, the history of events and the engine's code are filled first: until then they grow, and then no more.
      const filling = yield* emulator.fault({ _tag: "Status", status: 503 }, { probability: 0.5 })
      yield* load(rate * 4, Math.min(60, seconds / 10))
      yield* emulator.clear(filling)
      const began = performance.now()
      const fault = yield* emulator.fault({ _tag: "Status", status: 503 }, { probability: 0.1 })
      while ((performance.now() - began) / 1_000 < seconds) {
        parts.push(yield* load(rate, every))
        const live = yield* heap
        const now = held(server.child.pid ?? 0)
        if (now !== undefined) samples.push({ at: (performance.now() - began) / 1_000, ...live, ...now })
      }
      yield* emulator.clear(fault)
      const steady = samples.filter(({ at }) => at > seconds / 5)
      const of = (read: (sample: Sample) => number) => slope(steady.map((sample) => [sample.at, read(sample)]))
      const growth = {
        dataMiB: of(({ dataMiB }) => dataMiB),
        codeMiB: of(({ codeMiB }) => codeMiB),
        residentMiB: of(({ residentMiB }) => residentMiB),
        handles: of(({ handles }) => handles)
      }
      // Three standard errors away from level, and enough to matter: at ten a second 0.05 MiB are 90 bytes a request.
      const grows = (name: keyof typeof growth, most: number): ReadonlyArray<string> => {
        const { error, perMinute } = growth[name]
        return seconds >= 300 && perMinute - 3 * error > 0 && perMinute > most
          ? [`${name} grows by ${perMinute.toFixed(2)} a minute`]
          : []
      }
      const missed = [
        ...parts.flatMap((driven) => thresholds(driven, { errors: 0, p99: 3_000 })),
        ...grows("dataMiB", 0.05),
        // What the system holds for it may fragment; the heaps above are the sharper measure.
        ...grows("residentMiB", 1),
        ...grows("handles", 0.5),
        ...samples.some(({ handles }) => handles > 250) ? ["more than 250 handles"] : []
      ]
      return { profile: "soak", passed: missed.length === 0, missed, details: { growth, parts, samples } }
    }).pipe(Effect.scoped)
  }

  const verdicts: Array<Verdict> = []
  for (const profile of wanted) {
    const run = profiles[profile]
    if (run === undefined) {
      console.error(`no profile ${profile}\n\n${usage}`)
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
  // Under load, with answers that take their time: whatever was sent before the signal is answered before the end.
  yield* emulator.fault({ _tag: "Latency", millis: 300 })
  const last = drive({ url, queries, rate: Math.max(rate, 50), seconds: 2 })
  yield* Effect.sleep("1 second")
  const signalled = performance.now()
  const { code, millis } = yield* Holdfast.stop(server, "SIGTERM")
  const ended = yield* Effect.promise(() => last)
  const missed = [
    ...code === 0 ? [] : [`ended with ${code}`],
    ...millis < 5_000 ? [] : [`took ${Math.round(millis)} ms to end`],
    ...ended.untyped === 0 ? [] : [`${ended.untyped} failures without a problem body`],
    ...ended.lost.filter(({ sentAt }) => sentAt < signalled).map(({ sentAt, why }) =>
      `sent ${Math.round(signalled - sentAt)} ms before the signal and lost: ${why}`
    )
  ]
  const orderly = missed.length === 0
  verdicts.push({ profile: "shutdown", passed: orderly, missed, details: { code, millis, statuses: ended.statuses } })
  if (values.json) console.log(JSON.stringify(verdicts))
  else {
    console.log(`${orderly ? "passed" : "FAILED"}  shutdown  code ${code} after ${Math.round(millis)} ms under load`)
    for (const one of missed) console.log(`        ${one}`)
  }
  if (verdicts.some(({ passed }) => !passed)) process.exitCode = 1
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(OpenAiEmulator.layer())))
