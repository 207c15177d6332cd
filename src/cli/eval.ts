/** `holdfast eval`: what each way of searching finds of what people judged right, and what an outage costs. */
import { Console, Context, Data, Effect, Layer, Ref, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NetworkError, ProviderError } from "../ProviderError.ts"
import * as OpenAiEmulator from "../testing/OpenAiEmulator.ts"
import * as EmbeddedPostgres from "../vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../vectorstore/Embedder.ts"
import * as Evaluation from "../vectorstore/Evaluation.ts"
import * as MemoryStore from "../vectorstore/MemoryStore.ts"
import * as NeonStore from "../vectorstore/NeonStore.ts"
import { VectorStoreId } from "../vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../vectorstore/UnifiedStore.ts"
import { type Document, type SearchMode, type Service, VectorStore } from "../vectorstore/VectorStore.ts"
import * as Configuration from "./Configuration.ts"
import * as Progress from "./Progress.ts"

/** What was asked for cannot be measured; the message says why. */
class CannotEvaluate extends Data.TaggedError("CannotEvaluate")<{ readonly message: string }> {}

const samples = fileURLToPath(new URL("../../examples/data/scifact", import.meta.url))

/** The stores that are measured, and the sources of the unified one, in its order. */
const sources = ["openai", "neon", "memory"] as const
const modes: ReadonlyArray<SearchMode> = ["lexical", "vector", "hybrid"]

export const evaluate = Command.make(
  "eval",
  {
    queries: Flag.Path("queries", { pathType: "directory", mustExist: true }).pipe(
      Flag.withDescription(
        "A folder with queries.jsonl, qrels.jsonl and the documents, docs-*.jsonl. Defaults to the SciFact samples, whose documents also serve a folder that has none"
      ),
      Flag.withDefault(samples)
    ),
    store: Flag.Literals("store", [...sources, "unified"]).pipe(
      Flag.withDescription("Measure this store alone. Defaults to all"),
      Flag.atMost(1)
    ),
    down: Flag.Literals("down", sources).pipe(
      Flag.withDescription(
        "Measure the unified store with this source down; may be given again. Defaults to each in turn"
      ),
      Flag.atMost(sources.length)
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print the figures as JSON instead of a table"),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ down, json, queries: folder, store: only }) {
    const wanted = (name: typeof sources[number] | "unified"): boolean => only.length === 0 || only.includes(name)
    if (down.length > 0 && !wanted("unified")) {
      return yield* new CannotEvaluate({
        message: `--down is for the unified store: leave --store ${only[0]} away, or say --store unified`
      })
    }
    const configuration = yield* Configuration.read
    const queries = yield* Evaluation.readQueries(folder)
    if (queries.length === 0) return yield* new CannotEvaluate({ message: `${folder} has no judged queries` })
    const own = yield* Evaluation.readDocuments(folder)
    const documents = own.length > 0 ? own : yield* Evaluation.readDocuments(samples)
    const figures = yield* Effect.scoped(Effect.gen(function*() {
      const needed = sources.filter((name) => wanted(name) || wanted("unified"))
      const stores = new Map<string, Service>()
      for (const name of needed) {
        const store = yield* open[name](configuration, documents)
        stores.set(name, store)
      }
      const figures: Array<Evaluation.Measured> = []
      const measure = Effect.fnUntraced(function*(path: string, search: Service["search"]) {
        const progress = yield* Progress.make(path)
        figures.push(
          yield* Evaluation.measure(path, queries, search, progress.update).pipe(Effect.ensuring(progress.finish))
        )
      })
      for (const name of needed.filter(wanted)) {
        const store = stores.get(name)
        for (const mode of store === undefined ? [] : modes.filter((mode) => store.modes.includes(mode))) {
          yield* measure(`${name}-${mode}`, (request) => store!.search({ ...request, mode }))
        }
      }
      if (wanted("unified")) {
        const broken = yield* Ref.make<string | undefined>(undefined)
        for (const lost of [undefined, ...(down.length === 0 ? sources : down)]) {
          yield* Ref.set(broken, lost)
          // Its own for each, so that no circuit is open from the outage before.
          const unified = yield* UnifiedStore.make({
            strategy: "AllAtOnce",
            // A source that is down is down for all queries: waiting for it measures nothing.
            pipeline: { retry: undefined },
            sources: [...stores].map(([name, store]) => ({
              name,
              layer: Layer.succeed(VectorStore, {
                ...store,
                modes: store.modes,
                search: breakable(broken, name, store)
              })
            }))
          })
          yield* measure(lost === undefined ? "unified" : `unified, ${lost} down`, unified.store.search)
        }
      }
      return figures
    }))
    yield* Console.log(json ? JSON.stringify(figures, undefined, 2) : table(figures, queries.length, documents.length))
  }, Effect.provide(Embedder.local))
).pipe(
  Command.withDescription(
    "Measure what each way of searching finds of what people judged right, and what an outage costs"
  ),
  Command.withExamples([
    { command: "holdfast eval", description: "Every store, every mode, and the unified store with each source down" },
    { command: "holdfast eval --store memory --json", description: "One store, for a program to read" },
    { command: "holdfast eval --store unified --down neon", description: "What the loss of Postgres costs" }
  ])
)

const open = {
  openai: (_: Configuration.Configuration, documents: ReadonlyArray<Document>) => openai(documents),
  neon: (configuration: Configuration.Configuration, documents: ReadonlyArray<Document>) =>
    Effect.tap(postgres(configuration, documents), (store) => fill(store, documents)),
  memory: (_: Configuration.Configuration, documents: ReadonlyArray<Document>) =>
    Effect.tap(MemoryStore.make(), (store) => fill(store, documents))
}

/** The real client against the emulator, which ranks by words: a measurement uploads nothing and costs nothing. */
const openai = Effect.fnUntraced(function*(documents: ReadonlyArray<Document>) {
  const emulator = yield* OpenAiEmulator.make({ documents })
  const context = yield* Layer.build(
    OpenAiStore.layer({
      apiKey: emulator.apiKey,
      baseURL: emulator.url,
      vectorStore: yield* Schema.decodeEffect(VectorStoreId)(emulator.vectorStore)
    })
  )
  return Context.get(context, VectorStore)
})

/** A collection of its own in the Postgres that the commands use; kept, so that the next time finds it indexed. */
const postgres = (configuration: Configuration.Configuration, documents: ReadonlyArray<Document>) => {
  const hash = createHash("sha256").update(JSON.stringify(documents)).digest("hex").slice(0, 12)
  return Effect.flatMap(
    Layer.build(
      configuration.databaseUrl === undefined
        // Beside the server's, which may be running.
        ? EmbeddedPostgres.layer({ directory: join(configuration.directory, "eval") })
        : NeonStore.layerPool({ url: configuration.databaseUrl })
    ),
    (context) => Effect.provide(NeonStore.make({ schema: `holdfast_eval_${hash}`, indexFrom: 2_000 }), context)
  )
}

const fill = Effect.fnUntraced(function*(store: Service, documents: ReadonlyArray<Document>) {
  const progress = yield* Progress.make(`Indexing for ${store.name}`)
  const { items } = yield* store.addMany(documents, { operationId: "eval", onProgress: progress.update }).pipe(
    Effect.ensuring(progress.finish)
  )
  const failed = items.flatMap((item) => "error" in item ? [item.error] : [])
  if (failed[0] !== undefined) return yield* failed[0]
})

const breakable = (broken: Ref.Ref<string | undefined>, name: string, store: Service): Service["search"] => (request) =>
  Effect.flatMap(Ref.get(broken), (down) => down === name ? Effect.fail(unreachable(name)) : store.search(request))

const unreachable = (provider: string): ProviderError =>
  new ProviderError({
    provider,
    operation: "search",
    reason: new NetworkError({ message: "made unreachable", rule: "cli/eval", delivered: "no" })
  })

const table = (figures: ReadonlyArray<Evaluation.Measured>, queries: number, documents: number): string => {
  const width = Math.max(...figures.map(({ path }) => path.length), 4)
  const row = (...[path, ...cells]: ReadonlyArray<string>) =>
    `${(path ?? "").padEnd(width)}${cells.map((cell) => cell.padStart(11)).join("")}`
  return [
    `${queries} queries over ${documents} documents`,
    "",
    row("path", "nDCG@10", "recall@10", "failed"),
    ...figures.map(({ failed, ndcg10, path, recall10 }) =>
      row(path, ndcg10.toFixed(4), recall10.toFixed(4), String(failed))
    )
  ].join("\n")
}
