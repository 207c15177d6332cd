/** What the emulated account holds, and how it is shown: files, vector stores, files in them, batches. */
import type { LexicalIndex } from "../../internal/bm25.ts"
import type { Attributes, Chunking } from "./openAiBodies.ts"

/** An uploaded file. */
export interface Upload {
  readonly filename: string
  readonly text: string
  readonly purpose: string
  readonly bytes: number
}

export type ProcessingCode = "server_error" | "unsupported_file" | "invalid_file"

export interface File extends Upload {
  readonly id: string
  readonly createdAt: number
}

type StaticChunking = Extract<typeof Chunking.Type, { readonly type: "static" }>

/** A file in a vector store. */
export interface Attached {
  readonly file: File
  readonly storeId: string
  readonly createdAt: number
  readonly readyAt: number
  readonly failure: ProcessingCode | undefined
  readonly chunking: StaticChunking
  readonly batchId: string | undefined
  attributes: Attributes
  cancelled: boolean
}

/** A passage. */
export interface Chunk {
  readonly attached: Attached
  readonly text: string
}

export interface Store {
  readonly id: string
  readonly createdAt: number
  readonly files: Map<string, Attached>
  readonly index: LexicalIndex
  /** Passages by their key in the index. */
  readonly chunks: Map<string, Chunk>
  name: string
  metadata: Readonly<Record<string, string>> | null
  expiresAfter: { readonly anchor: "last_active_at"; readonly days: number } | null
  lastActiveAt: number
}

export interface Batch {
  readonly id: string
  readonly storeId: string
  readonly createdAt: number
  readonly files: ReadonlyArray<Attached>
}

const seconds = (millis: number): number => Math.floor(millis / 1_000)

export const statusOf = (it: Attached, now: number): "in_progress" | "completed" | "failed" | "cancelled" =>
  it.cancelled ? "cancelled" : now < it.readyAt ? "in_progress" : it.failure === undefined ? "completed" : "failed"

const counts = (items: Iterable<Attached>, now: number) => {
  const all = { in_progress: 0, completed: 0, failed: 0, cancelled: 0, total: 0 }
  for (const it of items) {
    all[statusOf(it, now)]++
    all.total++
  }
  return all
}

export const showFile = (it: File) => ({
  id: it.id,
  object: "file",
  bytes: it.bytes,
  created_at: seconds(it.createdAt),
  filename: it.filename,
  purpose: it.purpose,
  status: "processed",
  expires_at: null,
  status_details: null
})

export const showAttached = (it: Attached, now: number) => {
  const status = statusOf(it, now)
  return {
    id: it.file.id,
    object: "vector_store.file",
    created_at: seconds(it.createdAt),
    vector_store_id: it.storeId,
    status,
    last_error: status === "failed" ? { code: it.failure, message: "The file could not be processed." } : null,
    usage_bytes: status === "completed" ? it.file.bytes : 0,
    attributes: it.attributes,
    chunking_strategy: it.chunking
  }
}

export const showStore = (it: Store, now: number) => {
  const file_counts = counts(it.files.values(), now)
  const expiresAt = it.expiresAfter === null ? null : it.lastActiveAt + it.expiresAfter.days * 86_400_000
  return {
    id: it.id,
    object: "vector_store",
    created_at: seconds(it.createdAt),
    name: it.name,
    usage_bytes: Array.from(it.files.values()).reduce((sum, each) => sum + each.file.bytes, 0),
    file_counts,
    status: expiresAt !== null && now > expiresAt
      ? "expired"
      : file_counts.in_progress > 0
      ? "in_progress"
      : "completed",
    last_active_at: seconds(it.lastActiveAt),
    metadata: it.metadata,
    expires_after: it.expiresAfter,
    expires_at: expiresAt === null ? null : seconds(expiresAt)
  }
}

export const showBatch = (it: Batch, now: number) => {
  const file_counts = counts(it.files, now)
  return {
    id: it.id,
    object: "vector_store.files_batch",
    created_at: seconds(it.createdAt),
    vector_store_id: it.storeId,
    status: file_counts.in_progress > 0
      ? "in_progress"
      : file_counts.total > 0 && file_counts.cancelled === file_counts.total
      ? "cancelled"
      : "completed",
    file_counts
  }
}
