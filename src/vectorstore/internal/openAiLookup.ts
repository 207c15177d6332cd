/** Which files hold which documents: asked of the store by the attribute that names the document. */
import { Array as Arr, Effect, Option, Schema } from "effect"
import { ProviderError, UnknownError } from "../../ProviderError.ts"
import { documentId, idKey } from "../OpenAiDocument.ts"
import { FileId, type Passage } from "../OpenAiTypes.ts"
import type { DocumentId } from "../VectorStore.ts"
import { attributesOf, type Place } from "./openAiPlace.ts"

/** How many passages one answer may have. */
export const passagesAtMost = 50

/** Few enough that one answer has room for all of them, should none be new. */
const idsPerLookUp = 40

export interface Lookup {
  /** The files of a document: several where one was replaced and is not deleted yet. */
  readonly one: (id: DocumentId) => Effect.Effect<ReadonlyArray<Passage>, ProviderError>
  /** The files of many documents, by document. */
  readonly many: (ids: ReadonlyArray<DocumentId>) => Effect.Effect<Map<DocumentId, Array<FileId>>, ProviderError>
}

/** `isReplaced` leaves out files whose document has a newer one. */
export const makeLookup = (
  { client, id: store, within }: Place,
  { concurrency, isReplaced }: { readonly concurrency: number; readonly isReplaced: (file: FileId) => boolean }
): Lookup => {
  /** What is found is replaced and deleted: files that nobody asked for must not be among it. */
  const unfiltered = () =>
    new ProviderError({
      provider: client.name,
      operation: "vectorStores.search",
      reason: new UnknownError({
        message: "The answer has passages that the filter does not let through",
        rule: "openai/filter",
        delivered: "yes",
        detail: "InvalidResponse"
      })
    })

  /** Asks again without those found, for as long as an answer is full. */
  const some = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
    const found = new Map<FileId, Passage>()
    let left: ReadonlyArray<string> = ids
    while (left.length > 0) {
      const [query = ""] = left
      const passages = yield* within(client.stores.search(store, {
        query,
        max_num_results: passagesAtMost,
        filters: { type: "in", key: idKey, value: left }
      }))
      const known = new Set(passages.map((it) => attributesOf(it)[idKey]))
      const asked = new Set<unknown>(left)
      if (Array.from(known).some((id) => !asked.has(id))) return yield* unfiltered()
      for (const it of passages) if (!isReplaced(it.file_id)) found.set(it.file_id, it)
      left = passages.length < passagesAtMost ? [] : left.filter((id) => !known.has(id))
    }
    return Array.from(found.values())
  })

  /** A file of someone else's, by its own id. */
  const foreign = Effect.fnUntraced(function*(id: DocumentId) {
    const fileId = Schema.decodeUnknownOption(FileId)(id)
    if (Option.isNone(fileId) || !id.startsWith("file-")) return []
    const held = yield* client.storeFiles.get(store, fileId.value)
    const file = Option.isNone(held) ? Option.none() : yield* client.files.get(fileId.value)
    if (Option.isNone(held) || Option.isNone(file)) return []
    const { attributes = null } = held.value
    return [{ file_id: fileId.value, filename: file.value.filename, score: 0, attributes, content: [] }]
  })

  return {
    one: (id) => Effect.flatMap(some([id]), (found) => found.length > 0 ? Effect.succeed(found) : foreign(id)),
    many: (ids) =>
      Effect.map(
        Effect.all([
          Effect.forEach(Arr.chunksOf(ids, idsPerLookUp), some, { concurrency }),
          Effect.forEach(ids.filter((id) => id.startsWith("file-")), foreign, { concurrency })
        ]),
        (found) => {
          const files = new Map<DocumentId, Array<FileId>>()
          for (const it of found.flat(2)) {
            const id = documentId(it.file_id, attributesOf(it), it.filename)
            const known = files.get(id)
            if (known === undefined) files.set(id, [it.file_id])
            else if (!known.includes(it.file_id)) known.push(it.file_id)
          }
          return files
        }
      )
  }
}
