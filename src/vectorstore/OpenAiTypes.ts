/**
 * What OpenAI's files and vector stores are made of: ids, objects as they come, requests as they go. Statuses are open:
 * one that nobody knows yet is kept as it is.
 */
import { Schema } from "effect"

// An empty id would be sent and answered as a list; dots and slashes would change the path.
const Id = Schema.String.check(Schema.isPattern(/^[\w-]+$/))

/** A vector store's id, `vs_...`; never empty. */
export const VectorStoreId = Id.pipe(Schema.brand("VectorStoreId"))
export type VectorStoreId = typeof VectorStoreId.Type

/** A file's id, `file-...`; never empty. */
export const FileId = Id.pipe(Schema.brand("FileId"))
export type FileId = typeof FileId.Type

/** A file batch's id, `vsfb_...`; never empty. */
export const BatchId = Id.pipe(Schema.brand("BatchId"))
export type BatchId = typeof BatchId.Type

/** What a file is known by in a store: text, number or truth value. */
export const FileAttributes = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
export type FileAttributes = typeof FileAttributes.Type

const FileCounts = Schema.Struct({
  in_progress: Schema.Int,
  completed: Schema.Int,
  failed: Schema.Int,
  cancelled: Schema.Int,
  total: Schema.Int
})

/** A vector store. `status` is `expired`, `in_progress`, `completed`, or one that is not known yet. */
export const VectorStoreObject = Schema.Struct({
  id: VectorStoreId,
  created_at: Schema.Finite,
  name: Schema.optionalKey(Schema.NullOr(Schema.String)),
  usage_bytes: Schema.Finite,
  file_counts: FileCounts,
  status: Schema.String,
  last_active_at: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
  metadata: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.String))),
  expires_at: Schema.optionalKey(Schema.NullOr(Schema.Finite))
})
export type VectorStoreObject = typeof VectorStoreObject.Type

/** An uploaded file, attached or not. */
export const FileObject = Schema.Struct({
  id: FileId,
  bytes: Schema.Finite,
  created_at: Schema.Finite,
  filename: Schema.String,
  purpose: Schema.String
})
export type FileObject = typeof FileObject.Type

/** A file in a vector store. `status` is `in_progress`, `completed`, `failed`, `cancelled`, or one not known yet. */
export const StoreFile = Schema.Struct({
  id: FileId,
  created_at: Schema.Finite,
  vector_store_id: VectorStoreId,
  status: Schema.String,
  last_error: Schema.optionalKey(Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String }))),
  usage_bytes: Schema.Finite,
  attributes: Schema.optionalKey(Schema.NullOr(FileAttributes))
})
export type StoreFile = typeof StoreFile.Type

/** Files attached together. A `completed` batch may hold failed files: see `file_counts`. */
export const FileBatch = Schema.Struct({
  id: BatchId,
  created_at: Schema.Finite,
  vector_store_id: VectorStoreId,
  status: Schema.String,
  file_counts: FileCounts
})
export type FileBatch = typeof FileBatch.Type

/** A passage that a search found. `score` is 0 to 1. */
export const Passage = Schema.Struct({
  file_id: FileId,
  filename: Schema.String,
  score: Schema.Finite,
  attributes: Schema.optionalKey(Schema.NullOr(FileAttributes)),
  content: Schema.Array(Schema.Struct({ type: Schema.String, text: Schema.optionalKey(Schema.String) }))
})
export type Passage = typeof Passage.Type

/** Vectors as they come: by index, in base64 or as numbers. */
export const EmbeddingPage = Schema.Struct({
  data: Schema.Array(Schema.Struct({
    index: Schema.Int,
    embedding: Schema.Union([Schema.String, Schema.Array(Schema.Finite)])
  })),
  usage: Schema.Struct({ prompt_tokens: Schema.Int, total_tokens: Schema.Int })
})
export type EmbeddingPage = typeof EmbeddingPage.Type

// -- requests and their limits: what is beyond them is refused before it is sent

const within = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Key = Schema.String.check(Schema.isNonEmpty(), Schema.isMaxLength(64))
const Text = Schema.String.check(Schema.isMaxLength(512))
const Scalar = Schema.Union([Text, Schema.Finite, Schema.Boolean])
const sixteen = [Schema.isMaxProperties(16), Schema.isPropertyNames(Key)] as const

/** The API's filters. */
export type ApiFilter =
  | {
    readonly type: "eq" | "ne" | "gt" | "gte" | "lt" | "lte"
    readonly key: string
    readonly value: string | number | boolean
  }
  | { readonly type: "in" | "nin"; readonly key: string; readonly value: ReadonlyArray<string | number> }
  | { readonly type: "and" | "or"; readonly filters: ReadonlyArray<ApiFilter> }

export const ApiFilter: Schema.Codec<ApiFilter> = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["eq", "ne", "gt", "gte", "lt", "lte"]), key: Key, value: Scalar }),
  Schema.Struct({
    type: Schema.Literals(["in", "nin"]),
    key: Key,
    value: Schema.Array(Schema.Union([Text, Schema.Finite])).check(Schema.isMinLength(1))
  }),
  Schema.Struct({
    type: Schema.Literals(["and", "or"]),
    filters: Schema.Array(Schema.suspend((): Schema.Codec<ApiFilter> => ApiFilter)).check(Schema.isMinLength(1))
  })
])

/** How files are cut into passages, in tokens: 100 to 4,096 each, overlapping by at most half. */
export const Chunking = Schema.Union([
  Schema.Struct({ type: Schema.Literal("auto") }),
  Schema.Struct({
    type: Schema.Literal("static"),
    static: Schema.Struct({ max_chunk_size_tokens: within(100, 4_096), chunk_overlap_tokens: within(0, 2_048) }).check(
      Schema.makeFilter((it) =>
        it.chunk_overlap_tokens <= it.max_chunk_size_tokens / 2 ? true : "an overlap of at most half"
      )
    )
  })
])
export type Chunking = typeof Chunking.Type

/** A search: of 1 query or several, for at most 50 passages (10). */
export const SearchBody = Schema.Struct({
  query: Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1))]),
  max_num_results: Schema.optionalKey(within(1, 50)),
  rewrite_query: Schema.optionalKey(Schema.Boolean),
  ranking_options: Schema.optionalKey(Schema.Struct({
    ranker: Schema.optionalKey(Schema.Literals(["auto", "none", "default-2024-11-15"])),
    /** 0 to 1. */
    score_threshold: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
  })),
  filters: Schema.optionalKey(ApiFilter)
})
export type SearchBody = typeof SearchBody.Type

const storeChange = {
  name: Schema.optionalKey(Schema.String),
  /** At most 16 pairs: keys of at most 64 characters, values of at most 512. */
  metadata: Schema.optionalKey(Schema.Record(Schema.String, Text).check(...sixteen)),
  /** 1 to 365 days after the last use. Defaults to never. */
  expiresAfterDays: Schema.optionalKey(within(1, 365))
}

/** What an update changes of a vector store; what is left out stays. */
export const StoreChange = Schema.Struct(storeChange)
export type StoreChange = typeof StoreChange.Type

/** A vector store to be. */
export const StoreInput = Schema.Struct({
  ...storeChange,
  description: Schema.optionalKey(Schema.String),
  /** Files that it holds from the start, at most 500. */
  file_ids: Schema.optionalKey(Schema.Array(FileId).check(Schema.isMaxLength(500))),
  chunking_strategy: Schema.optionalKey(Chunking)
})
export type StoreInput = typeof StoreInput.Type

const uploadBytes = 512 * 1_024 * 1_024

/** A text to upload: at most 512 MiB. */
export const Upload = Schema.Struct({
  filename: Schema.NonEmptyString,
  text: Schema.String.check(
    Schema.makeFilter((text) =>
      text.length * 3 <= uploadBytes || Buffer.byteLength(text) <= uploadBytes ? true : "at most 512 MiB"
    )
  )
})

/** Attributes as they may be given: at most 16, keys of at most 64 characters, texts of at most 512. */
export const LimitedAttributes = Schema.Record(Schema.String, Scalar).check(...sixteen)

/** A file to attach. */
export const Attachment = Schema.Struct({
  file_id: FileId,
  attributes: Schema.optionalKey(LimitedAttributes),
  chunking_strategy: Schema.optionalKey(Chunking)
})
export type Attachment = typeof Attachment.Type

/** Files to attach together: 1 to 2,000. */
export const Attachments = Schema.Array(Attachment).check(Schema.isMinLength(1), Schema.isMaxLength(2_000))

/** 1 to 2,048 texts to embed, none of them empty. */
export const EmbeddingBody = Schema.Struct({
  model: Schema.NonEmptyString,
  input: Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1), Schema.isMaxLength(2_048)),
  dimensions: Schema.optionalKey(within(1, 3_072))
})
export type EmbeddingBody = typeof EmbeddingBody.Type
