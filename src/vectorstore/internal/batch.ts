/** A batch in parts, each stored as a whole: what becomes of every document where a part or a single one fails. */
import { Effect, Result } from "effect"
import { ProviderError } from "../../ProviderError.ts"
import type { BatchOptions, BatchReport, Document, ItemReport } from "../VectorStore.ts"
import { checkBatch, checkDocument } from "./requests.ts"

/** How many documents go in one part. */
const defaultBatchSize = 500

/**
 * Stores what is sound of the documents, part by part, by `storePart`, which reports on each or fails for all. Of several
 * with one id the last is stored, as if they were added one by one.
 */
export const inParts = Effect.fnUntraced(function*(
  name: string,
  documents: ReadonlyArray<Document>,
  options: BatchOptions,
  storePart: (part: ReadonlyArray<Document>) => Effect.Effect<ReadonlyMap<string, ItemReport>, ProviderError>
): Effect.fn.Return<BatchReport, ProviderError> {
  const size = yield* checkBatch(name, options, defaultBatchSize)
  const refused = documents.map((document) => checkDocument(name, "addMany", document))
  const chosen = new Map<string, Document>()
  documents.forEach((document, i) => {
    if (refused[i] === undefined) chosen.set(document.id, document)
  })
  const sound = Array.from(chosen.values())
  const reports = new Map<string, ItemReport>()
  // One part may fail alone; when a second does right after, the rest is not even tried.
  let failures = 0
  let last: ProviderError | undefined
  for (let start = 0; start < sound.length; start += size) {
    const part = sound.slice(start, start + size)
    const result = failures < 2 || last === undefined ? yield* Effect.result(storePart(part)) : Result.fail(last)
    if (Result.isFailure(result)) {
      // Nothing is known of any yet: the whole is to be repeated.
      if (start === 0) return yield* result.failure
      last = result.failure
    }
    const tried = failures < 2
    failures = Result.isSuccess(result) ? 0 : failures + 1
    for (const { id } of part) {
      if (Result.isSuccess(result)) reports.set(id, result.success.get(id) ?? { _tag: "Stored", id })
      else {
        const unknown = tried && result.failure.reason.delivered !== "no"
        reports.set(id, { _tag: unknown ? "Unknown" : "Failed", id, error: result.failure })
      }
    }
    const left = sound.length - start - part.length
    yield* options.onProgress?.(documents.length - left, documents.length) ?? Effect.void
  }
  return {
    items: documents.map(({ id }, i): ItemReport => {
      const error = refused[i]
      return error === undefined ? reports.get(id) ?? { _tag: "Stored", id } : { _tag: "Failed", id, error }
    })
  }
})

/** Whether the data is refused for what it is, so that it would be refused again. */
export const isRefused = (error: unknown): error is ProviderError =>
  error instanceof ProviderError &&
  (error.reason._tag === "ValidationError" || error.reason._tag === "InvalidRequestError")

/** Stores all at once; where the data is refused, by halves, until the bad ones stand alone. */
export const byHalves = <A extends { readonly document: Document }, E>(
  items: ReadonlyArray<A>,
  store: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<ItemReport>, E>
): Effect.Effect<ReadonlyArray<ItemReport>, E> =>
  Effect.catch(store(items), (error): Effect.Effect<ReadonlyArray<ItemReport>, E> => {
    if (!isRefused(error)) return Effect.fail(error)
    if (items.length === 1) {
      return Effect.succeed(items.map(({ document: { id } }): ItemReport => ({ _tag: "Failed", id, error })))
    }
    const half = Math.ceil(items.length / 2)
    return Effect.zipWith(
      byHalves(items.slice(0, half), store),
      byHalves(items.slice(half), store),
      (first, second) => [...first, ...second]
    )
  })
