/** A process that stores 1,000 documents under one operation id, and tells how far it is: in a folder, or at an OpenAI. */
import { Effect, Layer, Redacted } from "effect"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import { Document, DocumentId, VectorStore } from "../../src/vectorstore/VectorStore.ts"

const documents = Array.from(
  { length: 1_000 },
  (_, i) => Document.make({ id: DocumentId.make(`d${i}`), content: `zebra number ${i} grazes on the savanna` })
)

const program = Effect.gen(function*() {
  const store = yield* VectorStore
  const { items } = yield* store.addMany(documents, {
    operationId: "thousand",
    batchSize: 50,
    onProgress: (done) => Effect.sync(() => console.log(`done ${done}`))
  })
  const before = items.filter(({ _tag }) => _tag === "AlreadyStored").length
  const { documents: stored, embedded } = yield* store.stats
  const { hits } = yield* store.search({ query: "zebra number 999", mode: store.modes.at(-1) })
  console.log(`end ${JSON.stringify({ before, stored, embedded, best: hits[0]?.id })}`)
})

const [, , where = "", vectorStore] = process.argv
const stores = vectorStore === undefined
  ? NeonStore.layer().pipe(
    Layer.provide(Layer.merge(EmbeddedPostgres.layer({ directory: where }), Embedder.local))
  )
  : OpenAiStore.layer({
    apiKey: Redacted.make("sk-emulator"),
    baseURL: where,
    vectorStore: VectorStoreId.make(vectorStore),
    pollInterval: "5 millis"
  })

await Effect.runPromise(Effect.provide(program, stores))
