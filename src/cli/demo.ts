/** `holdfast demo`: an outage in half a minute, told for somebody who has never heard of circuit breakers. */
import { Clock, Console, Duration, Effect, Layer, Option, Ref, Schema, Stream } from "effect"
import { Command } from "effect/cli"
import { styleText } from "node:util"
import * as Event from "../Event.ts"
import { Library } from "../http/Library.ts"
import { respond } from "../http/VectorStoreHandlers.ts"
import type * as Served from "../Served.ts"
import { OpenAiEmulator } from "../testing/OpenAiEmulator.ts"
import * as EmbeddedPostgres from "../vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../vectorstore/Embedder.ts"
import * as NeonStore from "../vectorstore/NeonStore.ts"
import { VectorStoreId } from "../vectorstore/OpenAiClient.ts"
import type { SearchAnswer } from "../vectorstore/VectorStore.ts"
import type { Configuration } from "./Configuration.ts"
import * as Samples from "./Samples.ts"
import * as Stack from "./Stack.ts"

export const demo = Command.make("demo", {}, () => Effect.scoped(play)).pipe(
  Command.withDescription(
    "Play an outage: the first provider goes down, and searches go on. Takes half a minute, needs no key"
  )
)

const documents = 400

const questions = [
  "vitamin D and bone density",
  "does aspirin prevent cancer",
  "effects of sleep on memory",
  "how do stem cells age",
  "antibiotics and gut bacteria",
  "risk factors of heart disease",
  "gene therapy for blindness",
  "influenza vaccine in older people"
]

/** A memory-only Postgres: the demo neither reads nor locks what a server has in `.holdfast/`. */
const home = NeonStore.layer().pipe(Layer.provide(EmbeddedPostgres.layer()), Layer.provide(Embedder.local))

const play = Effect.gen(function*() {
  yield* Console.log([
    "",
    styleText("bold", "holdfast demo: a search service loses its first provider"),
    "",
    `  1st  ${first}   stands for OpenAI's vector store: an emulator on this machine, no key, nothing leaves it`,
    `  2nd  ${second}     a real Postgres, inside this process`,
    `  Both hold the same ${documents} scientific abstracts. Starting both...`
  ].join("\n"))
  const samples = (yield* Samples.read).slice(0, documents)
  const context = yield* Layer.build(OpenAiEmulator.layer({ documents: samples }))
  const emulator = yield* Effect.provide(OpenAiEmulator, context)
  const stack = yield* Layer.build(Stack.layer(configurationFor(emulator), {
    home,
    breaker: {
      failureThreshold: 3,
      recoveryTimeout: "2 seconds",
      recoveryMultiplier: 1,
      jitter: false,
      successThreshold: 2,
      rampUp: 0
    }
  }))
  yield* act(emulator, samples).pipe(Effect.provide(stack))
})

const configurationFor = (emulator: OpenAiEmulator["Service"]): Configuration => ({
  host: "127.0.0.1",
  allowedHosts: [],
  port: 0,
  directory: "",
  databaseUrl: undefined,
  adminToken: undefined,
  openai: {
    apiKey: emulator.apiKey,
    vectorStore: Schema.decodeSync(VectorStoreId)(emulator.vectorStore),
    baseURL: emulator.url
  },
  timeout: Duration.seconds(1),
  recoveryTimeout: Duration.seconds(2),
  chaos: false
})

const first = styleText("cyan", "openai")
const second = styleText("magenta", "neon")
const names: { readonly [provider: string]: string } = { openai: first, neon: second }

const act = Effect.fnUntraced(function*(
  emulator: OpenAiEmulator["Service"],
  samples: Effect.Success<typeof Samples.read>
) {
  const { home } = yield* Stack.Stores
  yield* home.addMany(samples)
  yield* Effect.forkScoped(narrate)
  const tally = yield* Ref.make<Tally>({ asked: 0, failed: 0, by: new Map() })

  yield* chapter("All is well", "Every search is answered by the first provider.")
  yield* searches(tally, 4)

  yield* emulator.stop
  yield* chapter(
    "The first provider goes down",
    "Each search still tries it, fails, and is answered by the second. After three failures in a row",
    "a circuit breaker opens: for a while nobody waits for the dead provider at all."
  )
  yield* searches(tally, 7)

  yield* Effect.orDie(emulator.start)
  yield* chapter(
    "The first provider is back",
    "Nobody is told. When its two seconds are over, the circuit lets one search try it; two good answers close it."
  )
  yield* searches(tally, 9)

  const { asked, by, failed } = yield* Ref.get(tally)
  const share = [...by].map(([provider, count]) => `${names[provider] ?? provider} ${count}`).join(", ")
  yield* Console.log([
    "",
    `${styleText("bold", `${asked} searches, ${asked - failed} answered`)} (${share}), ${failed} failed.`,
    "Every answer said who gave it, and whether it was second best. Now with a server and your own questions:",
    "",
    "  npm start",
    ""
  ].join("\n"))
})

interface Tally {
  readonly asked: number
  readonly failed: number
  readonly by: ReadonlyMap<string, number>
}

const chapter = (title: string, ...lines: ReadonlyArray<string>) =>
  Console.log(
    ["", styleText(["bold", "underline"], title), ...lines.map((line) => styleText("gray", line)), ""].join("\n")
  )

/** One search every 400 ms, as if somebody typed. */
const searches = (tally: Ref.Ref<Tally>, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.andThen(one(tally), Effect.sleep("400 millis")), {
    discard: true
  })

const one = Effect.fnUntraced(function*(tally: Ref.Ref<Tally>) {
  const library = yield* Library
  const { asked } = yield* Ref.get(tally)
  // The number makes each question new, so that no answer comes from the cache.
  const query = `${questions[asked % questions.length]} ${asked + 1}`
  const before = yield* Clock.currentTimeMillis
  const result = yield* Effect.result(library.search({ query, limit: 3 }))
  const took = (yield* Clock.currentTimeMillis) - before
  const answer = result._tag === "Success" ? Option.some(result.success) : Option.none()
  const by = Option.match(answer, { onNone: () => "nobody", onSome: (it) => "provider" in it ? it.provider : it._tag })
  yield* Ref.update(tally, (sum) => ({
    asked: sum.asked + 1,
    failed: sum.failed + (Option.isNone(answer) ? 1 : 0),
    by: new Map(sum.by).set(by, (sum.by.get(by) ?? 0) + 1)
  }))
  yield* Console.log(Option.match(answer, {
    onNone: () => `  ${styleText("red", "✗")} "${questions[asked % questions.length]}": nobody answered`,
    onSome: (served) => line(questions[asked % questions.length]!, served, took)
  }))
})

const line = (question: string, served: Served.Served<SearchAnswer>, millis: number): string => {
  const { completeness, reasons } = respond(served)
  const by = "provider" in served ? names[served.provider] ?? served.provider : served._tag
  const why = completeness === "Complete" ? "" : styleText("yellow", `  second best: ${reasons.join("; ")}`)
  const mark = completeness === "Complete" ? styleText("green", "✓") : styleText("yellow", "✓")
  return `  ${mark} ${`"${question}"`.padEnd(38)} answered by ${by} in ${String(millis).padStart(4)} ms${why}`
}

/** Says what happens beside the searches. */
const narrate = Effect.gen(function*() {
  const log = yield* Event.EventLog
  yield* Stream.runForEach(log.since(), ({ event }) => {
    if (event._tag !== "BreakerChanged" || !event.key.startsWith("openai/")) return Effect.void
    const words = told[event.to]
    return words === undefined ? Effect.void : Console.log(styleText("bold", `    ${words}`))
  })
})

const told: { readonly [state: string]: string | undefined } = {
  Open: "⚡ circuit open: the first provider is left alone for 2 s",
  HalfOpen: "⚡ circuit half open: one search may try the first provider",
  Closed: "⚡ circuit closed: the first provider has all the traffic again"
}
