/**
 * The contract every vector store keeps: search, add, get, update, delete, list, stats, health. A provider is a Layer of
 * this key; whatever goes wrong is a `ProviderError`, and a list is never empty because something failed.
 */
import { Context, Effect, type Option, Schema, SchemaIssue, type Stream } from "effect"
import type { ProviderError } from "../ProviderError.ts"
import type { Vector } from "./Embedder.ts"

/** A document's identity: non-empty, at most 512 characters. */
export const DocumentId = Schema.String.check(Schema.isNonEmpty(), Schema.isMaxLength(512)).pipe(
  Schema.brand("DocumentId")
)
export type DocumentId = typeof DocumentId.Type

/** A value that can be filtered by. */
export const Scalar = Schema.Union([Schema.String.check(Schema.isMaxLength(512)), Schema.Finite, Schema.Boolean])
export type Scalar = typeof Scalar.Type

const Key = Schema.String.check(Schema.isNonEmpty(), Schema.isMaxLength(64))

/** At most 16 keys of at most 64 characters, as every store here can hold. */
export const Attributes = Schema.Record(Schema.String, Scalar).check(
  Schema.isMaxProperties(16),
  // As the record's own keys, others would be left out without a word.
  Schema.isPropertyNames(Key)
)
export type Attributes = typeof Attributes.Type

export const Document = Schema.Struct({
  id: DocumentId,
  title: Schema.optionalKey(Schema.String),
  content: Schema.String.check(Schema.isNonEmpty()),
  attributes: Schema.optionalKey(Attributes)
})
export type Document = typeof Document.Type

/** What an update changes; what is left out stays. `attributes` replaces the whole record. */
export const DocumentPatch = Schema.Struct({
  title: Schema.optionalKey(Schema.String),
  content: Schema.optionalKey(Schema.String.check(Schema.isNonEmpty())),
  attributes: Schema.optionalKey(Attributes)
})
export type DocumentPatch = typeof DocumentPatch.Type

/**
 * Which documents may be found. A missing key fails `eq gt gte lt lte in` and satisfies `ne` and `nin`, in every store.
 * Values of another type than the attribute's compare as unequal, and as neither greater nor less. At most 16 deep, with
 * at most 1,000 conditions and listed values in all.
 */
export type Filter =
  | { readonly type: "eq" | "ne" | "gt" | "gte" | "lt" | "lte"; readonly key: string; readonly value: Scalar }
  | { readonly type: "in" | "nin"; readonly key: string; readonly value: ReadonlyArray<Scalar> }
  | { readonly type: "and" | "or"; readonly filters: ReadonlyArray<Filter> }

const AnyDepth: Schema.Codec<Filter> = Schema.Union([
  Schema.Struct({
    type: Schema.Literals(["eq", "ne", "gt", "gte", "lt", "lte"]),
    key: Key,
    value: Scalar
  }),
  Schema.Struct({ type: Schema.Literals(["in", "nin"]), key: Key, value: Schema.Array(Scalar) }),
  Schema.Struct({
    type: Schema.Literals(["and", "or"]),
    filters: Schema.Array(Schema.suspend((): Schema.Codec<Filter> => AnyDepth))
  })
])

export const Filter: Schema.Codec<Filter> = AnyDepth.pipe(
  // One that is so deep that reading it takes the whole stack is no filter, and no defect.
  Schema.middlewareDecoding((read) =>
    Effect.catchDefect(read, (defect) =>
      defect instanceof RangeError
        ? Effect.fail(new SchemaIssue.InvalidValue({ message: "a filter is at most 16 deep" }))
        : Effect.die(defect))
  )
)

/** How hits were found. */
export const SearchMode = Schema.Literals(["vector", "lexical", "hybrid"])
export type SearchMode = typeof SearchMode.Type

export interface SearchRequest<Space extends string = string> {
  /**
   * The words to look for: 1 to 10,000 characters. A lexical search keeps to `"phrases in quotes"`, leaves out documents
   * with a `-word` or a `-"phrase"`, and of stop words alone finds nothing, with the loss `OnlyStopWords`.
   */
  readonly query: string
  /** Vector search with this instead of the query's own embedding. Refused when its space is not the store's. */
  readonly vector?: Vector<Space> | undefined
  /** Defaults to the store's best. */
  readonly mode?: SearchMode | undefined
  readonly filter?: Filter | undefined
  /** 1 to 100. Defaults to 10. */
  readonly limit?: number | undefined
  /** Hits below this score are left out. Scores of different modes and stores do not compare. */
  readonly threshold?: number | undefined
}

export const Hit = Schema.Struct({
  id: DocumentId,
  title: Schema.optionalKey(Schema.String),
  content: Schema.String,
  attributes: Schema.optionalKey(Attributes),
  /** The store's own score, higher is better; no probability. */
  score: Schema.Finite
})
export type Hit = typeof Hit.Type

/**
 * What a search lost against what was asked for. `FilterWeakened`: not all that may pass the filter was looked at.
 * `FewerThanAsked`: it ended before it had as many as asked for, and there may be more.
 */
export const Loss = Schema.Literals([
  "LexicalInsteadOfVector",
  "VectorInsteadOfLexical",
  "FilterWeakened",
  "FewerThanAsked",
  "OnlyStopWords"
])
export type Loss = typeof Loss.Type

/** Hits, best first, with how they were found and what was lost on the way. */
export const SearchAnswer = Schema.Struct({ mode: SearchMode, hits: Schema.Array(Hit), losses: Schema.Array(Loss) })
export type SearchAnswer = typeof SearchAnswer.Type

/** The fate of one item of a batch: stored, stored before under the same operation id, refused, or not known. */
export type ItemReport =
  | { readonly _tag: "Stored" | "AlreadyStored"; readonly id: DocumentId }
  | { readonly _tag: "Failed" | "Unknown"; readonly id: DocumentId; readonly error: ProviderError }

/** One report per document given, in the order given. */
export interface BatchReport {
  readonly items: ReadonlyArray<ItemReport>
}

/** Names a batch, so that it can be repeated: 1 to 128 characters. */
export const OperationId = Schema.String.check(Schema.isNonEmpty(), Schema.isMaxLength(128))

export interface BatchOptions {
  /** Repeating a batch with the same `OperationId` stores nothing twice. Another text is refused. */
  readonly operationId?: string | undefined
  /** How many documents go in one request. Defaults to what the store does best. Below 1 is refused. */
  readonly batchSize?: number | undefined
  /** Told after each part of the batch. */
  readonly onProgress?: ((done: number, total: number) => Effect.Effect<void>) | undefined
}

export interface ListRequest {
  /** The id after which to go on; ids are listed in the order of their UTF-8 bytes. */
  readonly after?: DocumentId | undefined
  /** 1 to 1,000. Defaults to 100. */
  readonly limit?: number | undefined
}

export interface Page {
  readonly documents: ReadonlyArray<Document>
  /** Pass it as `after` to go on; absent on the last page. */
  readonly next?: DocumentId | undefined
}

export const Stats = Schema.Struct({
  documents: Schema.Int,
  /** How many have a vector in the store's space. */
  embedded: Schema.Int,
  /** The embedding space, where there is one. */
  space: Schema.optionalKey(Schema.String),
  modes: Schema.Array(SearchMode)
})
export type Stats = typeof Stats.Type

/** One provider of documents and search. `Space` is the embedding space whose vectors it takes, where it is known. */
export interface Service<Space extends string = string> {
  /** Names the provider in errors, answers and metrics. */
  readonly name: string
  /** What it can do; the first is its best. */
  readonly modes: ReadonlyArray<SearchMode>
  /** The space of the vectors that a search may be given; absent where it takes none. */
  readonly space?: Space | undefined
  /**
   * Whether the filter is applied while it searches. Where not, it looks through what it found, and says so when it may
   * have missed some. Defaults to yes for every filter.
   */
  readonly filters?: ((filter: Filter) => boolean) | undefined
  // A method: a store of a known space may stand where any store does, and there a vector is checked when it comes.
  // oxlint-disable-next-line typescript/method-signature-style
  search(this: void, request: SearchRequest<Space>): Effect.Effect<SearchAnswer, ProviderError>
  /** Stores the document, replacing one of the same id. */
  readonly add: (document: Document) => Effect.Effect<void, ProviderError>
  /** One bad document does not lose the others; fails only when nothing can be said of any. */
  readonly addMany: (
    documents: ReadonlyArray<Document>,
    options?: BatchOptions
  ) => Effect.Effect<BatchReport, ProviderError>
  readonly get: (id: DocumentId) => Effect.Effect<Option.Option<Document>, ProviderError>
  /** `None` for an id that is not there. */
  readonly update: (id: DocumentId, patch: DocumentPatch) => Effect.Effect<Option.Option<Document>, ProviderError>
  /** `false` for what was not there. */
  readonly delete: (id: DocumentId) => Effect.Effect<boolean, ProviderError>
  readonly list: (request?: ListRequest) => Effect.Effect<Page, ProviderError>
  /** Every document, page by page. */
  readonly documents: Stream.Stream<Document, ProviderError>
  readonly stats: Effect.Effect<Stats, ProviderError>
  /** Asks the provider with the cheapest call it has. */
  readonly health: Effect.Effect<void, ProviderError>
}

export class VectorStore extends Context.Service<VectorStore, Service>()("holdfast/vectorstore/VectorStore") {}
