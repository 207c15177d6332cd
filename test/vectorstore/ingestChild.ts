/** A process that stores 1,000 documents under one operation id, and tells how far it is. */
import { Effect, Layer } from "effect"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { Document, DocumentId } from "../../src/vectorstore/VectorStore.ts"

const documents = Array.from(
  { length: 1_000 },
  (_, i) => Document.make({ id: DocumentId.make(`d${i}`), content: `zebra number ${i} grazes on the savanna` })
)

const program = Effect.gen(function*() {
  const store = yield* NeonStore.make()
  const { items } = yield* store.addMany(documents, {
    operationId: "thousand",
    batchSize: 50,
    onProgress: (done) => Effect.sync(() => console.log(`done ${done}`))
  })
  const before = items.filter(({ _tag }) => _tag === "AlreadyStored").length
  const { documents: stored, embedded } = yield* store.stats
  const { hits } = yield* store.search({ query: "zebra number 999", mode: "lexical" })
  console.log(`end ${JSON.stringify({ before, stored, embedded, best: hits[0]?.id })}`)
})

await Effect.runPromise(program.pipe(
  Effect.provide(Layer.merge(EmbeddedPostgres.layer({ directory: process.argv[2] }), Embedder.local))
))
