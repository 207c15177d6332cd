/**
 * A vector store in memory that really stores and searches: words by BM25, vectors by exact cosine. For tests, for
 * small collections, and as the last source that cannot be down. Nothing outlives the process.
 */
import { Effect, Layer, Option, Semaphore } from "effect"
import { best, type Found, LexicalIndex } from "../internal/bm25.ts"
import type { LexicalQuery } from "../internal/lexicalQuery.ts"
import type { ProviderError } from "../ProviderError.ts"
import { Embedder, type Service as EmbedderService, type Vector, verified } from "./Embedder.ts"
import { inParts } from "./internal/batch.ts"
import { compareText, matches } from "./internal/filters.ts"
import { checkDocument, checkList, checkPatch, everyDocument, sameText } from "./internal/requests.ts"
import { embedDocuments, makeSearch, modesOf } from "./internal/searching.ts"
import {
  type BatchOptions,
  type Document,
  type DocumentId,
  type DocumentPatch,
  type Filter,
  type Hit,
  type ItemReport,
  type ListRequest,
  type Page,
  type Service,
  VectorStore
} from "./VectorStore.ts"

export interface Options {
  /** Names the store in errors and answers. Defaults to `"memory"`. */
  readonly name?: string | undefined
}

/** A store with the context's embedder. */
export const make = (options?: Options): Effect.Effect<Service, never, Embedder> =>
  Effect.flatMap(Embedder, (embedder) => makeWith(embedder, options))

/** A store with an embedder of a known space: a vector of another one does not compile. */
export const makeWith = <Space extends string>(
  embedder: EmbedderService<Space>,
  options?: Options
): Effect.Effect<Service<Space>> => build(verified(embedder), options)

/** A store that finds words only and needs no embedder. */
export const makeLexical = (options?: Options): Effect.Effect<Service> => build(undefined, options)

export const layer = (options?: Options): Layer.Layer<VectorStore, never, Embedder> =>
  Layer.effect(VectorStore, make(options))

export const layerLexical = (options?: Options): Layer.Layer<VectorStore> =>
  Layer.effect(VectorStore, makeLexical(options))

/** Operation ids are forgotten from the oldest on. */
const rememberedOperations = 1_000

const build = Effect.fnUntraced(function*<Space extends string>(
  embedder: EmbedderService<Space> | undefined,
  options: Options = {}
): Effect.fn.Return<Service<Space>> {
  const name = options.name ?? "memory"
  const documents = new Map<string, Document>()
  const vectors = new Map<string, Float32Array>()
  const index = new LexicalIndex()
  const operations = new Map<string, Set<DocumentId>>()
  // Embedding suspends between reading and writing; one writer at a time keeps the three in step.
  const lock = yield* Semaphore.make(1)
  const writing = Semaphore.withPermit(lock)
  let sorted: ReadonlyArray<Document> | undefined

  const put = (document: Document, vector: Vector | undefined): void => {
    documents.set(document.id, document)
    index.set(document.id, document.title, document.content)
    if (vector === undefined) vectors.delete(document.id)
    else vectors.set(document.id, Float32Array.from(vector.values))
    sorted = undefined
  }
  const embed = (batch: ReadonlyArray<Document>): Effect.Effect<ReadonlyArray<Vector | undefined>> =>
    embedder === undefined ? Effect.succeed([]) : embedDocuments(embedder, batch)

  const store = Effect.fnUntraced(function*(batch: ReadonlyArray<Document>) {
    const embedded = yield* embed(batch)
    batch.forEach((document, i) => put(document, embedded[i]))
  })

  const add = Effect.fnUntraced(function*(document: Document) {
    const refused = checkDocument(name, "add", document)
    if (refused !== undefined) return yield* refused
    yield* store([document])
  }, writing)

  const addMany = Effect.fnUntraced(function*(batch: ReadonlyArray<Document>, options: BatchOptions = {}) {
    const before = operation(options.operationId)
    return yield* inParts(name, batch, options, (part) => {
      const fresh = part.filter(({ id }) => before?.has(id) !== true)
      const known = part.filter(({ id }) => before?.has(id) === true)
      return Effect.map(store(fresh), () => {
        for (const { id } of fresh) before?.add(id)
        return new Map(known.map(({ id }): [string, ItemReport] => [id, { _tag: "AlreadyStored", id }]))
      })
    })
  }, writing)

  const operation = (id: string | undefined): Set<DocumentId> | undefined => {
    if (id === undefined) return undefined
    const known = operations.get(id) ?? new Set()
    operations.set(id, known)
    if (operations.size > rememberedOperations) operations.delete(operations.keys().next().value ?? id)
    return known
  }

  const get = (id: DocumentId) => Effect.sync(() => Option.fromUndefinedOr(documents.get(id)))

  const update = Effect.fnUntraced(function*(id: DocumentId, patch: DocumentPatch) {
    yield* checkPatch(name, patch)
    const known = documents.get(id)
    if (known === undefined) return Option.none<Document>()
    const changed: Document = { ...known, ...patch, id }
    // The same text keeps the vector it has, whether the embedder is there or not.
    if (sameText(known, changed) && (embedder === undefined || vectors.has(id))) {
      documents.set(id, changed)
      sorted = undefined
    } else yield* store([changed])
    return Option.some(changed)
  }, writing)

  const remove = (id: DocumentId) =>
    writing(Effect.sync(() => {
      index.delete(id)
      vectors.delete(id)
      sorted = undefined
      return documents.delete(id)
    }))

  const list = Effect.fnUntraced(function*(request: ListRequest = {}): Effect.fn.Return<Page, ProviderError> {
    const limit = yield* checkList(name, request)
    const all = sorted ??= [...documents.values()].sort((a, b) => compareText(a.id, b.id))
    const { after } = request
    const start = after === undefined ? 0 : firstAfter(all, after)
    const page = all.slice(start, start + limit)
    const last = page.at(-1)?.id
    return {
      documents: page,
      ...(last !== undefined && start + limit < all.length ? { next: last } : {})
    }
  })

  const hits = (found: ReadonlyArray<Found>): ReadonlyArray<Hit> =>
    found.flatMap(({ id, score }) => {
      const document = documents.get(id)
      return document === undefined ? [] : [{ ...document, score }]
    })
  const keeps = (filter: Filter | undefined) => (id: string): boolean =>
    filter === undefined || matches(filter, documents.get(id)?.attributes ?? {})

  const nearest = (values: ReadonlyArray<number>, query: LexicalQuery, filter: Filter | undefined, limit: number) => {
    const keep = keeps(filter)
    // Most of a local query's coordinates are 0.
    const at = values.flatMap((value, i) => value === 0 ? [] : [i])
    const found: Array<Found> = []
    for (const [id, row] of vectors) {
      if (!keep(id) || !index.matches(id, query)) continue
      let score = 0
      for (const i of at) score += (row[i] ?? 0) * (values[i] ?? 0)
      found.push({ id, score })
    }
    return hits(found.sort(best).slice(0, limit))
  }

  return {
    name,
    modes: modesOf(embedder),
    space: embedder?.space.id,
    search: makeSearch({
      name,
      embedder,
      statistics: () => Effect.succeed({ documents: index.size, frequency: (term) => index.frequency(term) }),
      lexical: (query, filter, limit) => Effect.sync(() => hits(index.search(query, limit, keeps(filter)))),
      vector: (values, query, filter, limit) => Effect.sync(() => nearest(values, query, filter, limit))
    }),
    add,
    addMany,
    get,
    update,
    delete: remove,
    list,
    documents: everyDocument(list),
    stats: Effect.sync(() => ({
      documents: documents.size,
      embedded: vectors.size,
      ...(embedder === undefined ? {} : { space: embedder.space.id }),
      modes: [...modesOf(embedder)]
    })),
    health: Effect.void
  }
})

/** The place of the first id above `after`; the documents are in order. */
const firstAfter = (documents: ReadonlyArray<Document>, after: DocumentId): number => {
  let low = 0
  let high = documents.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareText(documents[middle]?.id ?? "", after) <= 0) low = middle + 1
    else high = middle
  }
  return low
}
