/**
 * What the OpenAI emulator holds and how it answers: files, vector stores, their files, batches and search, embeddings.
 * No network here; the shapes, limits, orders and errors are those of the API's description of 2026-08-21.
 */
import { Option, Result, Schema } from "effect"
import { LexicalIndex } from "../internal/bm25.ts"
import { parse } from "../internal/lexicalQuery.ts"
import { encode } from "../vectorstore/OpenAiDocument.ts"
import type { Document } from "../vectorstore/VectorStore.ts"

/** An error as the API tells it. */
export interface Failure {
  readonly status: number
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

export type Answer = Result.Result<unknown, Failure>

/** A request that was routed: the ids in its path, its query, its JSON body. */
export interface Call {
  readonly ids: ReadonlyArray<string>
  readonly query: URLSearchParams
  readonly body: unknown
  /** Epoch milliseconds. */
  readonly now: number
}

/** An uploaded file. */
export interface Upload {
  readonly filename: string
  readonly text: string
  readonly purpose: string
  readonly bytes: number
}

export type ProcessingCode = "server_error" | "unsupported_file" | "invalid_file"

export interface Options {
  /** How long an attached file is in progress, in milliseconds. */
  readonly processingMillis: number
  /** Whether an attached file fails to be processed. */
  readonly processing: (filename: string, text: string) => ProcessingCode | undefined
  /** Vectors of this width, one for each text. */
  readonly embed: (texts: ReadonlyArray<string>, dimensions: number) => ReadonlyArray<ReadonlyArray<number>>
}

interface File extends Upload {
  readonly id: string
  readonly createdAt: number
}

const Scalar = Schema.Union([Schema.String.check(Schema.isMaxLength(512)), Schema.Finite, Schema.Boolean])
const Key = Schema.String.check(Schema.isMaxLength(64))
const Attributes = Schema.Record(Key, Scalar).check(Schema.isMaxProperties(16))
type Attributes = typeof Attributes.Type

interface Attached {
  readonly file: File
  readonly storeId: string
  readonly createdAt: number
  readonly readyAt: number
  readonly failure: ProcessingCode | undefined
  readonly chunking: unknown
  readonly batchId: string | undefined
  attributes: Attributes
  cancelled: boolean
}

interface Chunk {
  readonly attached: Attached
  readonly text: string
}

interface Store {
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

interface Batch {
  readonly id: string
  readonly storeId: string
  readonly createdAt: number
  readonly files: ReadonlyArray<Attached>
}

const invalid = (message: string, param: string | null = null, code: string | null = null): Failure => ({
  status: 400,
  message,
  type: "invalid_request_error",
  param,
  code
})

const missing = (message: string, param: string | null = null): Failure => ({ ...invalid(message, param), status: 404 })

const limitedInt = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Metadata = Schema.NullOr(
  Schema.Record(Key, Schema.String.check(Schema.isMaxLength(512))).check(Schema.isMaxProperties(16))
)
const ExpiresAfter = Schema.Struct({ anchor: Schema.Literal("last_active_at"), days: limitedInt(1, 365) })
const Chunking = Schema.Union([
  Schema.Struct({ type: Schema.Literal("auto") }),
  Schema.Struct({
    type: Schema.Literal("static"),
    static: Schema.Struct({ max_chunk_size_tokens: limitedInt(100, 4096), chunk_overlap_tokens: limitedInt(0, 2048) })
      .check(Schema.makeFilter((it) => it.chunk_overlap_tokens <= it.max_chunk_size_tokens / 2))
  })
])
const NullableAttributes = Schema.optionalKey(Schema.NullOr(Attributes))
const FileRef = Schema.Struct({
  file_id: Schema.String,
  attributes: NullableAttributes,
  chunking_strategy: Schema.optionalKey(Chunking)
})
const CreateStore = Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  file_ids: Schema.optionalKey(Schema.Array(Schema.String).check(Schema.isMaxLength(500))),
  metadata: Schema.optionalKey(Metadata),
  expires_after: Schema.optionalKey(ExpiresAfter),
  chunking_strategy: Schema.optionalKey(Chunking)
})
const UpdateStore = Schema.Struct({
  name: Schema.optionalKey(Schema.NullOr(Schema.String)),
  metadata: Schema.optionalKey(Metadata),
  expires_after: Schema.optionalKey(Schema.NullOr(ExpiresAfter))
})
const CreateBatch = Schema.Struct({
  file_ids: Schema.optionalKey(Schema.Array(Schema.String).check(Schema.isMinLength(1), Schema.isMaxLength(2000))),
  files: Schema.optionalKey(Schema.Array(FileRef).check(Schema.isMinLength(1), Schema.isMaxLength(2000))),
  attributes: NullableAttributes,
  chunking_strategy: Schema.optionalKey(Chunking)
})
const UpdateFile = Schema.Struct({ attributes: Schema.NullOr(Attributes) })

type ApiFilter =
  | {
    readonly type: "eq" | "ne" | "gt" | "gte" | "lt" | "lte"
    readonly key: string
    readonly value: Attributes[string]
  }
  | { readonly type: "in" | "nin"; readonly key: string; readonly value: ReadonlyArray<string | number> }
  | { readonly type: "and" | "or"; readonly filters: ReadonlyArray<ApiFilter> }
const ApiFilter: Schema.Codec<ApiFilter> = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["eq", "ne", "gt", "gte", "lt", "lte"]), key: Key, value: Scalar }),
  Schema.Struct({
    type: Schema.Literals(["in", "nin"]),
    key: Key,
    value: Schema.Array(Schema.Union([Schema.String, Schema.Finite]))
  }),
  Schema.Struct({
    type: Schema.Literals(["and", "or"]),
    filters: Schema.Array(Schema.suspend((): Schema.Codec<ApiFilter> => ApiFilter)).check(Schema.isMinLength(1))
  })
])
const Search = Schema.Struct({
  query: Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1))]),
  max_num_results: Schema.optionalKey(limitedInt(1, 50)),
  rewrite_query: Schema.optionalKey(Schema.Boolean),
  ranking_options: Schema.optionalKey(Schema.Struct({
    ranker: Schema.optionalKey(Schema.Literals(["auto", "none", "default-2024-11-15"])),
    score_threshold: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
  })),
  filters: Schema.optionalKey(ApiFilter)
})
const Embeddings = Schema.Struct({
  model: Schema.String,
  input: Schema.Union([
    Schema.NonEmptyString,
    Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1), Schema.isMaxLength(2048))
  ]),
  dimensions: Schema.optionalKey(limitedInt(1, 3072)),
  encoding_format: Schema.optionalKey(Schema.Literals(["float", "base64"])),
  user: Schema.optionalKey(Schema.String)
})

/** Widest vectors of each embedding model, and whether they can be shortened. */
const models: Readonly<Record<string, { readonly dimensions: number; readonly shortens: boolean }>> = {
  "text-embedding-3-small": { dimensions: 1536, shortens: true },
  "text-embedding-3-large": { dimensions: 3072, shortens: true },
  "text-embedding-ada-002": { dimensions: 1536, shortens: false }
}

const textFile = /\.(txt|md|json|jsonl|html|css|js|ts|py|java|c|cpp|cs|go|php|rb|sh|tex|pdf|docx?|pptx)$/i

// Chunks of 800 tokens that overlap by half, at about four characters to a token.
const charactersPerToken = 4
const chunkSize = 800 * charactersPerToken
const chunkStep = 400 * charactersPerToken

const estimateTokens = (text: string): number => Math.ceil(text.length / charactersPerToken)

const decodeBody = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, body: unknown) =>
  Result.mapError(
    Schema.decodeUnknownResult(schema, { onExcessProperty: "error" })(body),
    (error) => invalid(`Invalid request body: ${error.message}`)
  )

const isList = (filter: ApiFilter): filter is Extract<ApiFilter, { readonly type: "in" | "nin" }> =>
  filter.type === "in" || filter.type === "nin"

const matches = (filter: ApiFilter, attributes: Attributes): boolean => {
  if ("filters" in filter) {
    const holds = (it: ApiFilter) => matches(it, attributes)
    return filter.type === "and" ? filter.filters.every(holds) : filter.filters.some(holds)
  }
  const actual = attributes[filter.key]
  // A key that is not there matches nothing, not even `ne` and `nin`.
  if (actual === undefined) return false
  if (isList(filter)) {
    return filter.value.some((it) => it === actual) === (filter.type === "in")
  }
  const { value } = filter
  const comparable = typeof actual === typeof value
  switch (filter.type) {
    case "eq":
      return actual === value
    case "ne":
      return actual !== value
    case "gt":
      return comparable && actual > value
    case "gte":
      return comparable && actual >= value
    case "lt":
      return comparable && actual < value
    case "lte":
      return comparable && actual <= value
  }
}

/** One page of a list, by the API's cursors. */
const page = <A>(
  items: ReadonlyArray<A>,
  idOf: (item: A) => string,
  query: URLSearchParams,
  show: (item: A) => unknown,
  limits: { readonly standard: number; readonly most: number } = { standard: 20, most: 100 }
): Answer => {
  const limit = query.get("limit") === null ? limits.standard : Number(query.get("limit"))
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.most) {
    return Result.fail(invalid(`Invalid 'limit': expected an integer from 1 to ${limits.most}.`, "limit"))
  }
  const ordered = query.get("order") === "asc" ? items : items.toReversed()
  const after = query.get("after")
  const before = query.get("before")
  const start = after === null ? 0 : ordered.findIndex((item) => idOf(item) === after) + 1
  if (after !== null && start === 0) return Result.fail(invalid(`No such object: ${after}`, "after"))
  const end = before === null ? ordered.length : ordered.findIndex((item) => idOf(item) === before)
  const shown = ordered.slice(start, Math.min(start + limit, end < 0 ? ordered.length : end))
  return Result.succeed({
    object: "list",
    data: shown.map(show),
    first_id: shown[0] === undefined ? null : idOf(shown[0]),
    last_id: shown.length === 0 ? null : idOf(shown[shown.length - 1]!),
    has_more: start + shown.length < (end < 0 ? ordered.length : end)
  })
}

const seconds = (millis: number): number => Math.floor(millis / 1_000)

/** A fresh, empty account. */
export const make = (options: Options) => {
  const files = new Map<string, File>()
  const stores = new Map<string, Store>()
  const batches = new Map<string, Batch>()
  let serial = 0
  const nextId = (prefix: string): string => `${prefix}${(++serial).toString(36).padStart(8, "0")}`

  const statusOf = (it: Attached, now: number): "in_progress" | "completed" | "failed" | "cancelled" =>
    it.cancelled ? "cancelled" : now < it.readyAt ? "in_progress" : it.failure === undefined ? "completed" : "failed"

  const counts = (items: Iterable<Attached>, now: number) => {
    const all = { in_progress: 0, completed: 0, failed: 0, cancelled: 0, total: 0 }
    for (const it of items) {
      all[statusOf(it, now)]++
      all.total++
    }
    return all
  }

  const showFile = (it: File) => ({
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

  const showAttached = (it: Attached, now: number) => {
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

  const showStore = (it: Store, now: number) => {
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

  const showBatch = (it: Batch, now: number) => {
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

  const storeOf = (id: string | undefined): Result.Result<Store, Failure> =>
    Result.fromNullishOr(
      stores.get(id ?? ""),
      () => missing(`Vector store with id '${id}' not found.`, "vector_store_id")
    )
  const fileOf = (id: string | undefined): Result.Result<File, Failure> =>
    Result.fromNullishOr(files.get(id ?? ""), () => missing(`No such File object: ${id}`, "id"))
  const attachedOf = (storeId: string | undefined, fileId: string | undefined): Result.Result<Attached, Failure> =>
    Result.flatMap(storeOf(storeId), (store) =>
      Result.fromNullishOr(
        store.files.get(fileId ?? ""),
        () => missing(`No file found with id '${fileId}' in vector store '${storeId}'.`, "file_id")
      ))

  const chunksOf = ({ file: { id, text } }: Attached): ReadonlyArray<readonly [key: string, text: string]> => {
    const starts = Array.from(
      { length: Math.max(1, Math.ceil((text.length - chunkStep) / chunkStep)) },
      (_, i) => i * chunkStep
    )
    return starts.map((start) => [`${id}#${start}`, text.slice(start, start + chunkSize)])
  }

  const unindex = (store: Store, attached: Attached): void => {
    for (const [key] of chunksOf(attached)) {
      store.index.delete(key)
      store.chunks.delete(key)
    }
  }

  const index = (store: Store, attached: Attached): void => {
    for (const [key, text] of chunksOf(attached)) {
      store.index.set(key, undefined, text)
      store.chunks.set(key, { attached, text })
    }
  }

  const detach = (store: Store, attached: Attached): void => {
    store.files.delete(attached.file.id)
    unindex(store, attached)
  }

  const attach = (
    store: Store,
    file: File,
    attributes: Attributes | null | undefined,
    chunking: typeof Chunking.Type | undefined,
    batchId: string | undefined,
    now: number
  ): Attached => {
    const failure = options.processing(file.filename, file.text) ??
      (file.text.trim() === "" ? "invalid_file" : textFile.test(file.filename) ? undefined : "unsupported_file")
    const attached: Attached = {
      file,
      storeId: store.id,
      createdAt: now,
      readyAt: now + options.processingMillis,
      failure,
      chunking: chunking?.type === "static"
        ? chunking
        : { type: "static", static: { max_chunk_size_tokens: 800, chunk_overlap_tokens: 400 } },
      batchId,
      attributes: attributes ?? {},
      cancelled: false
    }
    const before = store.files.get(file.id)
    if (before !== undefined) detach(store, before)
    store.files.set(file.id, attached)
    store.lastActiveAt = now
    if (failure === undefined) index(store, attached)
    return attached
  }

  const createStore = (id: string, name: string, now: number): Store => {
    const store: Store = {
      id,
      createdAt: now,
      files: new Map(),
      index: new LexicalIndex(),
      chunks: new Map(),
      name,
      metadata: {},
      expiresAfter: null,
      lastActiveAt: now
    }
    stores.set(id, store)
    return store
  }

  const putFile = (upload: Upload, now: number): File => {
    const file: File = { ...upload, id: nextId("file-"), createdAt: now }
    files.set(file.id, file)
    return file
  }

  const rank = (store: Store, query: string, now: number, filter: ApiFilter | undefined, limit: number) => {
    const keep = (key: string): boolean => {
      const chunk = store.chunks.get(key)
      return chunk !== undefined && statusOf(chunk.attached, now) === "completed" &&
        (filter === undefined || matches(filter, chunk.attached.attributes))
    }
    // Quotes and minus signs mean nothing to a search by meaning.
    const found = store.index.search({ ...parse(query), required: [], excluded: [] }, limit, keep)
    const keys = new Set(found.map(({ id }) => id))
    // A search by meaning finds something near, however far: the list is as long as it can be.
    for (const key of store.chunks.keys()) {
      if (keys.size >= limit) break
      if (keep(key)) keys.add(key)
    }
    const scores = new Map(found.map(({ id, score }) => [id, score]))
    return Array.from(keys, (key) => {
      const score = scores.get(key) ?? 0
      // The API's scores are 0 to 1.
      return { chunk: store.chunks.get(key), score: score / (score + 8) }
    })
  }

  return {
    /** Stores documents at once, as `OpenAiStore` would have uploaded them. Makes the store where it is missing. */
    load: (storeId: string, documents: Iterable<Document>, now: number): void => {
      const store = stores.get(storeId) ?? createStore(storeId, storeId, now)
      for (const document of documents) {
        const { attributes, filename, text } = encode(document, "load")
        const upload = { filename, text, purpose: "assistants", bytes: Buffer.byteLength(text) }
        attach(store, putFile(upload, now), attributes, undefined, undefined, now - options.processingMillis)
      }
    },
    /** Makes an empty store of this id, unless it is there. */
    ensureStore: (id: string, now: number): void => {
      if (!stores.has(id)) createStore(id, id, now)
    },
    /** Names of the files that no store holds. */
    orphans: (): ReadonlyArray<string> => {
      const held = new Set(Array.from(stores.values()).flatMap((store) => Array.from(store.files.keys())))
      return Array.from(files.values()).filter((file) => !held.has(file.id)).map((file) => file.filename)
    },
    fileCount: (): number => files.size,

    createFile: (upload: Upload, now: number): Answer =>
      upload.purpose === "" ?
        Result.fail(invalid("Missing required parameter: 'purpose'.", "purpose")) :
        Result.succeed(
          showFile(putFile(upload, now))
        ),
    listFiles: ({ query }: Call): Answer => {
      const purpose = query.get("purpose")
      const all = Array.from(files.values()).filter((it) => purpose === null || it.purpose === purpose)
      return page(all, (it) => it.id, query, showFile, { standard: 10_000, most: 10_000 })
    },
    getFile: ({ ids }: Call): Answer => Result.map(fileOf(ids[0]), showFile),
    deleteFile: ({ ids }: Call): Answer =>
      Result.map(fileOf(ids[0]), ({ id }) => {
        files.delete(id)
        for (const store of stores.values()) {
          const attached = store.files.get(id)
          if (attached !== undefined) detach(store, attached)
        }
        return { id, object: "file", deleted: true }
      }),
    fileContent: ({ ids }: Call): Answer =>
      Result.flatMap(fileOf(ids[0]), (file) =>
        file.purpose === "assistants"
          ? Result.fail(invalid("Not allowed to download files of purpose: assistants"))
          : Result.succeed(file.text)),

    createStore: ({ body, now }: Call): Answer =>
      Result.gen(function*() {
        const input = yield* decodeBody(CreateStore, body)
        const found: Array<File> = []
        for (const id of input.file_ids ?? []) found.push(yield* fileOf(id))
        const store = createStore(nextId("vs_"), input.name ?? "", now)
        store.metadata = input.metadata ?? {}
        store.expiresAfter = input.expires_after ?? null
        for (const file of found) attach(store, file, null, input.chunking_strategy, undefined, now)
        return showStore(store, now)
      }),
    listStores: ({ now, query }: Call): Answer =>
      page(Array.from(stores.values()), (it) => it.id, query, (it) => showStore(it, now)),
    getStore: ({ ids, now }: Call): Answer => Result.map(storeOf(ids[0]), (store) => showStore(store, now)),
    updateStore: ({ body, ids, now }: Call): Answer =>
      Result.gen(function*() {
        const store = yield* storeOf(ids[0])
        const input = yield* decodeBody(UpdateStore, body)
        if (input.name !== undefined) store.name = input.name ?? ""
        if (input.metadata !== undefined) store.metadata = input.metadata
        if (input.expires_after !== undefined) store.expiresAfter = input.expires_after
        return showStore(store, now)
      }),
    deleteStore: ({ ids }: Call): Answer =>
      Result.map(storeOf(ids[0]), ({ id }) => {
        stores.delete(id)
        return { id, object: "vector_store.deleted", deleted: true }
      }),
    search: ({ body, ids, now }: Call): Answer =>
      Result.gen(function*() {
        const store = yield* storeOf(ids[0])
        const input = yield* decodeBody(Search, body)
        const queries = typeof input.query === "string" ? [input.query] : input.query
        const threshold = input.ranking_options?.score_threshold ?? 0
        store.lastActiveAt = now
        const hits = rank(store, queries.join(" "), now, input.filters, input.max_num_results ?? 10)
        return {
          object: "vector_store.search_results.page",
          search_query: queries,
          data: hits.flatMap(({ chunk, score }) =>
            chunk === undefined || score < threshold ? [] : [{
              file_id: chunk.attached.file.id,
              filename: chunk.attached.file.filename,
              score,
              attributes: chunk.attached.attributes,
              content: [{ type: "text", text: chunk.text }]
            }]
          ),
          has_more: false,
          next_page: null
        }
      }),

    attach: ({ body, ids, now }: Call): Answer =>
      Result.gen(function*() {
        const store = yield* storeOf(ids[0])
        const input = yield* decodeBody(FileRef, body)
        const file = yield* fileOf(input.file_id)
        return showAttached(attach(store, file, input.attributes, input.chunking_strategy, undefined, now), now)
      }),
    listAttached: ({ ids, now, query }: Call): Answer =>
      Result.flatMap(storeOf(ids[0]), (store) => {
        const only = query.get("filter")
        const all = Array.from(store.files.values()).filter((it) => only === null || statusOf(it, now) === only)
        return page(all, (it) => it.file.id, query, (it) => showAttached(it, now))
      }),
    getAttached: ({ ids, now }: Call): Answer => Result.map(attachedOf(ids[0], ids[1]), (it) => showAttached(it, now)),
    updateAttached: ({ body, ids, now }: Call): Answer =>
      Result.gen(function*() {
        const attached = yield* attachedOf(ids[0], ids[1])
        const input = yield* decodeBody(UpdateFile, body)
        attached.attributes = input.attributes ?? {}
        return showAttached(attached, now)
      }),
    detach: ({ ids }: Call): Answer =>
      Result.gen(function*() {
        const store = yield* storeOf(ids[0])
        const attached = yield* attachedOf(ids[0], ids[1])
        detach(store, attached)
        return { id: attached.file.id, object: "vector_store.file.deleted", deleted: true }
      }),
    attachedContent: ({ ids }: Call): Answer =>
      Result.map(attachedOf(ids[0], ids[1]), ({ file }) => ({
        object: "vector_store.file_content.page",
        data: [{ type: "text", text: file.text }],
        has_more: false,
        next_page: null
      })),

    createBatch: ({ body, ids, now }: Call): Answer =>
      Result.gen(function*() {
        const store = yield* storeOf(ids[0])
        const input = yield* decodeBody(CreateBatch, body)
        if ((input.files === undefined) === (input.file_ids === undefined)) {
          return yield* Result.fail(invalid("Provide either 'file_ids' or 'files', not both."))
        }
        const refs: ReadonlyArray<typeof FileRef.Type> = input.files ??
          (input.file_ids ?? []).map((file_id) => ({ file_id, attributes: input.attributes ?? null }))
        const found: Array<readonly [typeof FileRef.Type, File]> = []
        for (const ref of refs) found.push([ref, yield* fileOf(ref.file_id)])
        const id = nextId("vsfb_")
        const batch: Batch = {
          id,
          storeId: store.id,
          createdAt: now,
          files: found.map(([ref, file]) =>
            attach(store, file, ref.attributes, ref.chunking_strategy ?? input.chunking_strategy, id, now)
          )
        }
        batches.set(id, batch)
        return showBatch(batch, now)
      }),
    getBatch: ({ ids, now }: Call): Answer => Result.map(batchOf(ids), (it) => showBatch(it, now)),
    cancelBatch: ({ ids, now }: Call): Answer =>
      Result.map(batchOf(ids), (batch) => {
        for (const it of batch.files) if (statusOf(it, now) === "in_progress") it.cancelled = true
        return showBatch(batch, now)
      }),
    listBatchFiles: ({ ids, now, query }: Call): Answer =>
      Result.flatMap(batchOf(ids), (batch) => {
        const only = query.get("filter")
        const all = batch.files.filter((it) => only === null || statusOf(it, now) === only)
        return page(all, (it) => it.file.id, query, (it) => showAttached(it, now))
      }),

    embeddings: ({ body }: Call): Answer =>
      Result.gen(function*() {
        const input = yield* decodeBody(Embeddings, body)
        const model = models[input.model]
        if (model === undefined) {
          return yield* Result.fail({
            ...missing(`The model '${input.model}' does not exist or you do not have access to it.`),
            code: "model_not_found"
          })
        }
        if (input.dimensions !== undefined && (!model.shortens || input.dimensions > model.dimensions)) {
          return yield* Result.fail(invalid(`Invalid 'dimensions' for ${input.model}.`, "dimensions"))
        }
        const texts = typeof input.input === "string" ? [input.input] : input.input
        const sizes = texts.map(estimateTokens)
        const longest = Math.max(...sizes)
        if (longest > 8_192) {
          return yield* Result.fail(invalid(
            `This model's maximum context length is 8192 tokens, however you requested ${longest} tokens.`,
            "input",
            "context_length_exceeded"
          ))
        }
        const total = sizes.reduce((sum, size) => sum + size, 0)
        if (total > 300_000) {
          return yield* Result.fail(invalid(
            `Requested ${total} tokens, max 300000 tokens per request`,
            null,
            "max_tokens_per_request"
          ))
        }
        const vectors = options.embed(texts, input.dimensions ?? model.dimensions)
        return {
          object: "list",
          data: vectors.map((embedding, index) => ({
            object: "embedding",
            index,
            embedding: input.encoding_format === "base64"
              ? Buffer.from(Float32Array.from(embedding).buffer).toString("base64")
              : embedding
          })),
          model: input.model,
          usage: { prompt_tokens: total, total_tokens: total }
        }
      })
  }

  function batchOf([storeId, batchId]: ReadonlyArray<string>): Result.Result<Batch, Failure> {
    return Option.fromNullishOr(batches.get(batchId ?? "")).pipe(
      Option.filter((batch) => batch.storeId === storeId),
      Result.fromOption(() => missing(`No vector store file batch found with id '${batchId}'.`, "batch_id"))
    )
  }
}

export type OpenAiData = ReturnType<typeof make>
