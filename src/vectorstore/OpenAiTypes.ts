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

/** The API's filters. */
export type ApiFilter =
  | {
    readonly type: "eq" | "ne" | "gt" | "gte" | "lt" | "lte"
    readonly key: string
    readonly value: string | number | boolean
  }
  | { readonly type: "in" | "nin"; readonly key: string; readonly value: ReadonlyArray<string | number> }
  | { readonly type: "and" | "or"; readonly filters: ReadonlyArray<ApiFilter> }

/** How files are cut into passages, in tokens: 100 to 4,096 each, overlapping by at most half. */
export type Chunking =
  | { readonly type: "auto" }
  | {
    readonly type: "static"
    readonly static: { readonly max_chunk_size_tokens: number; readonly chunk_overlap_tokens: number }
  }

export interface SearchBody {
  readonly query: string | ReadonlyArray<string>
  /** 1 to 50. */
  readonly max_num_results?: number
  readonly rewrite_query?: boolean
  readonly ranking_options?: {
    readonly ranker?: "auto" | "none" | "default-2024-11-15"
    /** 0 to 1. */
    readonly score_threshold?: number
  }
  readonly filters?: ApiFilter
}

export interface StoreInput {
  readonly name?: string
  /** At most 16 pairs: keys of at most 64 characters, values of at most 512. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Days after the last use. Defaults to never. */
  readonly expiresAfterDays?: number
}

/** A file to attach. */
export interface Attachment {
  readonly file_id: FileId
  readonly attributes?: FileAttributes
  readonly chunking_strategy?: Chunking
}
