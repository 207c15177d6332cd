/** What is refused before any provider is asked, and what was done in part, in the same words by every store. */
import { Effect, Exit, Option, Schema, Stream } from "effect"
import { ProviderError, reasons, ValidationError } from "../../ProviderError.ts"
import type { EmbeddingSpace } from "../Embedder.ts"
import {
  type BatchOptions,
  Document,
  type DocumentId,
  DocumentPatch,
  Filter,
  type ListRequest,
  OperationId,
  type Page,
  type SearchRequest
} from "../VectorStore.ts"

export const longestQuery = 10_000
export const mostHits = 100
export const longestPage = 1_000
const deepestFilter = 16
const largestFilter = 1_000

/** The caller's fault: told before anything was sent. */
export const refusal = (provider: string, operation: string, message: string, detail: string): ProviderError =>
  new ProviderError({
    provider,
    operation,
    reason: new ValidationError({ message, detail, rule: "vectorstore/request", delivered: "no" })
  })

/** The detail of a failure that says, whatever else it says, that a part of the write was done. */
export const halfDoneDetail = "HalfDone"

/** The failure of what was done in part: whatever it says, nobody knows what is done. */
export const halfDone = (error: ProviderError): ProviderError => {
  const { _tag, message, ...evidence } = error.reason
  const reason = new reasons[_tag](
    Object.assign({}, evidence, { message, delivered: "unknown" as const, detail: halfDoneDetail })
  )
  return new ProviderError(Object.assign({}, error, { reason })).causedBy(error.cause)
}

const between = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most

// A NUL character or half a surrogate pair cannot be stored as UTF-8 text by every provider.
const isPlainText = (text: string): boolean => !text.includes("\0") && text.isWellFormed()

const texts = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
    ? [...Object.keys(value), ...Object.values(value).flatMap(texts)]
    : []

const problem = <A>(schema: Schema.Codec<A, unknown>) => {
  const validate = Schema.decodeUnknownExit(Schema.toType(schema))
  return (value: unknown): string | undefined => {
    const exit = validate(value, { errors: "first" })
    if (Exit.isFailure(exit)) {
      const [failure] = exit.cause.reasons
      const text = failure?._tag === "Fail" ? String(failure.error) : "it is malformed"
      return text.slice(0, 500)
    }
    return texts(value).every(isPlainText) ? undefined : "a text holds a NUL character or half a surrogate pair"
  }
}
const documentProblem = problem(Document)
const patchProblem = problem(DocumentPatch)
const malformedFilter = problem(Filter)

const listOf = (filter: unknown, field: "filters" | "value"): ReadonlyArray<unknown> => {
  const list: unknown = typeof filter === "object" && filter !== null ? Reflect.get(filter, field) : undefined
  return Array.isArray(list) ? list : []
}

/** Looks level by level, so that none is so deep that a look at it would fail. */
const sizeProblem = (filter: unknown): string | undefined => {
  let level: ReadonlyArray<unknown> = [filter]
  let size = 0
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === deepestFilter) return `it is more than ${deepestFilter} deep`
    size += level.reduce<number>((sum, it) => sum + 1 + listOf(it, "value").length, 0)
    if (size > largestFilter) return `it has more than ${largestFilter} conditions and values`
    level = level.flatMap((it) => listOf(it, "filters"))
  }
  return undefined
}

const filterProblem = (filter: Filter): string | undefined => sizeProblem(filter) ?? malformedFilter(filter)

/** The `ValidationError` of a document that not every store could hold, if it is one. `provider` names the store in it. */
export const checkDocument = (provider: string, operation: string, document: Document): ProviderError | undefined => {
  const found = documentProblem(document)
  return found === undefined ? undefined : refusal(provider, operation, `The document is refused: ${found}`, "Document")
}

/** Fails with a `ValidationError` where a change would make such a document. */
export const checkPatch = (provider: string, patch: DocumentPatch): Effect.Effect<void, ProviderError> => {
  const found = patchProblem(patch)
  return found === undefined
    ? Effect.void
    : Effect.fail(refusal(provider, "update", `The change is refused: ${found}`, "Document"))
}

/**
 * The limit to use. Fails with a `ValidationError` for an empty or too long query, a limit out of range, a malformed
 * filter, or a vector that is not of `space`, which is undefined where the store takes none.
 */
export const checkSearch = (
  provider: string,
  request: SearchRequest,
  space: EmbeddingSpace | undefined
): Effect.Effect<number, ProviderError> => {
  const refuse = (message: string, detail: string) => Effect.fail(refusal(provider, "search", message, detail))
  const { filter, limit = 10, query, threshold, vector } = request
  if (query.trim() === "") return refuse("The query is empty: give at least one word", "Query")
  if (query.length > longestQuery) {
    return refuse(`The query has ${query.length} characters: at most ${longestQuery} are searched for`, "Query")
  }
  if (!between(limit, 1, mostHits)) return refuse(`The limit is ${limit}: it must be 1 to ${mostHits}`, "Limit")
  if (threshold !== undefined && Number.isNaN(threshold)) return refuse("The threshold is not a number", "Threshold")
  if (filter !== undefined) {
    const found = filterProblem(filter)
    if (found !== undefined) return refuse(`The filter is refused: ${found}`, "Filter")
  }
  if (vector !== undefined) {
    if (space === undefined || vector.space !== space.id) {
      return refuse(
        `The vector is of the space ${vector.space}; this store's is ${space?.id ?? "none"}`,
        "ForeignSpace"
      )
    }
    if (vector.values.length !== space.dimensions || !vector.values.every(Number.isFinite)) {
      return refuse(`The vector must be ${space.dimensions} finite numbers`, "DimensionMismatch")
    }
  }
  return Effect.succeed(limit)
}

/** The page's length. Fails with a `ValidationError` for one out of range. */
export const checkList = (provider: string, { limit = 100 }: ListRequest): Effect.Effect<number, ProviderError> =>
  between(limit, 1, longestPage)
    ? Effect.succeed(limit)
    : Effect.fail(refusal(provider, "list", `The limit is ${limit}: it must be 1 to ${longestPage}`, "Limit"))

/** How many documents go in one part of a batch, `usual` by default. Fails with a `ValidationError` for bad options. */
export const checkBatch = (
  provider: string,
  { batchSize, operationId }: BatchOptions,
  usual: number
): Effect.Effect<number, ProviderError> => {
  const refuse = (message: string, detail: string) => Effect.fail(refusal(provider, "addMany", message, detail))
  if (operationId !== undefined && !(isOperationId(operationId) && isPlainText(operationId))) {
    return refuse("The operation id must be a text of 1 to 128 characters, none of them NUL", "OperationId")
  }
  const size = batchSize ?? usual
  return between(size, 1, 100_000)
    ? Effect.succeed(size)
    : refuse(`The batch size is ${size}: it must be a whole number above 0`, "BatchSize")
}

const isOperationId = Schema.is(OperationId)

/** The text that stands for a document in an embedding. */
export const embeddingText = (document: Pick<Document, "title" | "content">): string =>
  document.title === undefined ? document.content : `${document.title}\n${document.content}`

/** Whether both are found by the same words and the same vector. */
export const sameText = (
  a: Pick<Document, "title" | "content">,
  b: Pick<Document, "title" | "content">
): boolean => a.title === b.title && a.content === b.content

/** A page that a provider which is asked for each document's text still gives within the limit of one call. */
const streamedPage = 250

/** All pages of a list as one stream: the `documents` of a store. */
export const everyDocument = <E>(
  list: (request: ListRequest) => Effect.Effect<Page, E>
): Stream.Stream<Document, E> =>
  Stream.paginate<DocumentId | undefined, Document, E>(
    undefined,
    (after) =>
      Effect.map(list({ after, limit: streamedPage }), ({ documents, next }) => [
        documents,
        next === undefined ? Option.none() : Option.some(next)
      ])
  )
