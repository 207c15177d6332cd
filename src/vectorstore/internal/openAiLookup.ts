/**
 * Which files hold which documents: asked of the store by the attribute that names the document. An answer has room for
 * so many passages only; what stands behind those of other files is found by the names of the files.
 */
import { Array as Arr, Effect, Option, Schema, Stream } from "effect"
import { ProviderError, UnknownError } from "../../ProviderError.ts"
import { documentId, idKey, parseName } from "../OpenAiDocument.ts"
import { FileId, type Passage, type StoreFile } from "../OpenAiTypes.ts"
import type { DocumentId } from "../VectorStore.ts"
import { attributesOf, type Place } from "./openAiPlace.ts"

/** How many passages one answer may have. */
export const passagesAtMost = 50

/** Few enough that one answer has room for all of them, should none be new. */
const idsPerLookUp = 40

export interface Lookup {
  /** The newest of the document's files that the search for it finds, to be read. */
  readonly any: (id: DocumentId) => Effect.Effect<Option.Option<Passage>, ProviderError>
  /** The files of a document, the newest first: several where one was replaced and is not deleted yet. */
  readonly one: (id: DocumentId) => Effect.Effect<ReadonlyArray<Passage>, ProviderError>
  /** The files of many documents, by document. */
  readonly many: (ids: ReadonlyArray<DocumentId>) => Effect.Effect<Map<DocumentId, Array<FileId>>, ProviderError>
}

/** `isReplaced` leaves out files whose document has a newer one. */
export const makeLookup = (
  { client, id: store, tag, within }: Place,
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

  /** Asks again without those found, for as long as an answer is full; who was in such a one may have more files. */
  const some = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
    const found = new Map<FileId, Passage>()
    const crowded = new Set<unknown>()
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
      if (passages.length < passagesAtMost) break
      for (const id of known) crowded.add(id)
      left = left.filter((id) => !known.has(id))
    }
    return { found: Array.from(found.values()), crowded }
  })

  const passageOf = (id: FileId, filename: string, { attributes = null }: StoreFile): Passage => ({
    file_id: id,
    filename,
    score: 0,
    attributes,
    content: []
  })

  /** All files of many documents. */
  const all = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
    const answers = yield* Effect.forEach(Arr.chunksOf(ids, idsPerLookUp), some, { concurrency })
    const found = answers.flatMap((it) => it.found)
    const crowded = new Set(answers.flatMap((it) => Array.from(it.crowded)))
    if (crowded.size === 0) return found
    const seen = new Set(found.map(({ file_id }) => file_id))
    const named = yield* Stream.runCollect(
      Stream.filter(client.files.list, (file) =>
        !seen.has(file.id) && !isReplaced(file.id) &&
        Option.exists(parseName(file.filename), (it) => crowded.has(it.id) && it.operation.startsWith(`${tag}-`)))
    )
    const hidden = yield* Effect.forEach(
      named,
      ({ filename, id }) =>
        Effect.map(client.storeFiles.get(store, id), (held) =>
          held.pipe(
            Option.filter(({ status }) => status === "completed"),
            Option.map((held) => passageOf(id, filename, held)),
            Option.toArray
          )),
      { concurrency }
    )
    return [...found, ...hidden.flat()]
  })

  /** A file of someone else's, by its own id. */
  const foreign = Effect.fnUntraced(function*(id: DocumentId) {
    const fileId = Schema.decodeUnknownOption(FileId)(id)
    if (Option.isNone(fileId) || !id.startsWith("file-")) return []
    const held = yield* client.storeFiles.get(store, fileId.value)
    const file = Option.isNone(held) ? Option.none() : yield* client.files.get(fileId.value)
    if (Option.isNone(held) || Option.isNone(file)) return []
    return [passageOf(fileId.value, file.value.filename, held.value)]
  })

  /** Which is newer no passage tells: it is asked for where there are several. */
  const newestFirst = Effect.fnUntraced(function*(files: ReadonlyArray<Passage>) {
    if (files.length < 2) return files
    const dated = yield* Effect.forEach(
      files,
      (file) =>
        Effect.map(client.storeFiles.get(store, file.file_id), (held) => ({
          file,
          since: Option.isSome(held) ? held.value.created_at : 0
        })),
      { concurrency }
    )
    return dated.sort((a, b) => b.since - a.since).map(({ file }) => file)
  })
  const orForeign = (id: DocumentId, files: ReadonlyArray<Passage>) =>
    files.length > 0 ? newestFirst(files) : foreign(id)

  return {
    any: (id) => Effect.map(Effect.flatMap(some([id]), ({ found }) => orForeign(id, found)), Arr.head),
    one: (id) => Effect.flatMap(all([id]), (found) => orForeign(id, found)),
    many: (ids) =>
      Effect.map(
        Effect.all([
          all(ids),
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
