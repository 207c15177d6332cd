/** The sample documents that come with the package: the 5,183 abstracts of SciFact. */
import { Effect, FileSystem, Option, Path, Ref, Schema } from "effect"
import { fileURLToPath } from "node:url"
import { type Document, DocumentId } from "../vectorstore/VectorStore.ts"
import * as Progress from "./Progress.ts"
import type { Stores } from "./Stack.ts"

const Row = Schema.fromJsonString(Schema.Struct({ id: DocumentId, title: Schema.String, text: Schema.String }))
const decode = Schema.decodeSync(Row)

const directory = fileURLToPath(new URL("../../examples/data/scifact", import.meta.url))

/** All of them, in the order of their files. */
export const read = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files = (yield* fs.readDirectory(directory)).filter((name) => /^docs-\d+\.jsonl$/.test(name)).sort()
  const texts = yield* Effect.forEach(files, (name) => fs.readFileString(path.join(directory, name)))
  return texts.flatMap((text) => text.split("\n")).filter((line) => line !== "").map((line): Document => {
    const { id, text, title } = decode(line)
    return { id, title, content: text }
  })
})

const Mark = Schema.fromJsonString(Schema.Struct({ documents: Schema.Int }))

/**
 * Stores the samples once. `home` is where the store lives: a mark in it tells a later start that they are in, and
 * without the mark an interrupted start goes on where it was.
 */
export const ensure = Effect.fnUntraced(function*({ home: store, indexing }: Stores["Service"], home: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const mark = path.join(home, "samples.json")
  if (yield* fs.exists(mark)) return
  const documents = yield* read
  const progress = yield* Progress.make("Indexing the sample documents")
  const report = yield* store.addMany(documents, {
    operationId: "holdfast-samples-scifact-1",
    onProgress: (done, total) =>
      Effect.andThen(Ref.set(indexing, Option.some({ done, total })), progress.update(done, total))
  }).pipe(Effect.ensuring(progress.finish))
  yield* Ref.set(indexing, Option.none())
  const failed = report.items.flatMap((item) => item._tag === "Failed" || item._tag === "Unknown" ? [item.error] : [])
  if (failed[0] !== undefined) return yield* failed[0]
  yield* fs.makeDirectory(home, { recursive: true })
  yield* fs.writeFileString(mark, Schema.encodeSync(Mark)({ documents: documents.length }))
})
