/** Writes one by one and in batches, and a lexical search in ten times as many documents, in the embedded Postgres. */
import { Effect, Layer, ManagedRuntime } from "effect"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { Document, DocumentId, type Service } from "../../src/vectorstore/VectorStore.ts"
import * as scifact from "../vectorstore/scifact.ts"
import type { Suite } from "./harness.ts"

const runtime = ManagedRuntime.make(Layer.merge(EmbeddedPostgres.layer(), Embedder.local))
const abstracts = await Effect.runPromise(scifact.documents)
const queries = await Effect.runPromise(scifact.queries)

/** The first lines of abstracts, as often as it takes. */
const documents = (count: number, prefix = ""): ReadonlyArray<Document> =>
  Array.from({ length: count }, (_, i) => {
    const { content } = abstracts[i % abstracts.length]!
    return Document.make({ id: DocumentId.make(`${prefix}${i}`), content: content.slice(0, 300) })
  })

const filled = Effect.fnUntraced(function*(schema: string, count: number) {
  const store = yield* NeonStore.makeLexical({ schema })
  if (count > 0) yield* store.addMany(documents(count))
  return store
})

const small = await runtime.runPromise(filled("small", 5_000))
const large = await runtime.runPromise(filled("large", 50_000))
const single = await runtime.runPromise(filled("single", 0))
const batched = await runtime.runPromise(filled("batched", 0))

let next = 0
const searches = (store: Service) => () => (calls: number) =>
  runtime.runPromise(Effect.forEach(
    Array.from({ length: calls }, () => queries[next++ % queries.length]!),
    ({ text }) => store.search({ query: text, mode: "lexical" }),
    { discard: true }
  ))

const batch = 1_000

export const suite: Suite = {
  name: "stores",
  waits: true,
  cases: [
    { name: "search in 5,000", make: searches(small), unit: 8 },
    { name: "search in 50,000", make: searches(large), unit: 8 },
    {
      name: "add",
      unit: 10,
      make: () => (calls) =>
        runtime.runPromise(Effect.forEach(documents(calls, `${next++}-`), single.add, { discard: true }))
    },
    {
      name: "addMany",
      unit: batch,
      make: () => (calls) =>
        runtime.runPromise(Effect.asVoid(batched.addMany(documents(calls, `${next++}-`), { batchSize: batch })))
    }
  ],
  goals: [
    { name: "ten times the documents", of: "search in 50,000", per: "search in 5,000", atMost: 4 },
    { name: "a document of a batch for one alone", of: "addMany", per: "add", atMost: 0.05 }
  ]
}
