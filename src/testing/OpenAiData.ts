/**
 * What the OpenAI emulator holds and how it answers: files, vector stores, their files, batches and search, embeddings.
 * No network here; the shapes, limits, orders and errors are those of the API's description of 2026-08-21.
 */
import { Option, Result } from "effect"
import { LexicalIndex } from "../internal/bm25.ts"
import { encode } from "../vectorstore/OpenAiDocument.ts"
import type { Document } from "../vectorstore/VectorStore.ts"
import {
  type Answer,
  type Attributes,
  type Chunking,
  CreateBatch,
  CreateStore,
  decodeBody,
  Embeddings,
  type Failure,
  FileRef,
  inputsOf,
  invalid,
  missing,
  page,
  Search,
  UpdateFile,
  UpdateStore
} from "./internal/openAiBodies.ts"
import {
  type Attached,
  type Batch,
  type File,
  type ProcessingCode,
  showAttached,
  showBatch,
  showFile,
  showStore,
  statusOf,
  type Store,
  type Upload
} from "./internal/openAiObjects.ts"
import { attach as put, detach, estimateTokens, rank } from "./internal/openAiPassages.ts"

export type { Answer, Failure } from "./internal/openAiBodies.ts"

/** A request that was routed: the ids in its path, its query, its JSON body. */
export interface Call {
  readonly ids: ReadonlyArray<string>
  readonly query: URLSearchParams
  readonly body: unknown
  /** Epoch milliseconds. */
  readonly now: number
}

export interface Options {
  /** How long an attached file is in progress, in milliseconds. */
  readonly processingMillis: number
  /** Whether an attached file fails to be processed. */
  readonly processing: (filename: string, text: string) => ProcessingCode | undefined
  /** Vectors of this width, one for each text. */
  readonly embed: (texts: ReadonlyArray<string>, dimensions: number) => ReadonlyArray<ReadonlyArray<number>>
}

/** Widest vectors of each embedding model, and whether they can be shortened. */
const models: ReadonlyMap<string, { readonly dimensions: number; readonly shortens: boolean }> = new Map([
  ["text-embedding-3-small", { dimensions: 1536, shortens: true }],
  ["text-embedding-3-large", { dimensions: 3072, shortens: true }],
  ["text-embedding-ada-002", { dimensions: 1536, shortens: false }]
])

/** What a file can be uploaded for. */
const purposes = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]

const textFile = /\.(txt|md|json|jsonl|html|css|js|ts|py|java|c|cpp|cs|go|php|rb|sh|tex|pdf|docx?|pptx)$/i

/** A fresh, empty account. */
export const make = (options: Options) => {
  const files = new Map<string, File>()
  const stores = new Map<string, Store>()
  const batches = new Map<string, Batch>()
  let serial = 0
  const nextId = (prefix: string): string => `${prefix}${(++serial).toString(36).padStart(8, "0")}`

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

  const attach = (
    store: Store,
    file: File,
    attributes: Attributes | null | undefined,
    chunking: typeof Chunking.Type | undefined,
    batchId: string | undefined,
    now: number
  ): Attached => {
    const attached: Attached = {
      file,
      storeId: store.id,
      createdAt: now,
      readyAt: now + options.processingMillis,
      failure: options.processing(file.filename, file.text) ??
        (file.text.trim() === "" ? "invalid_file" : textFile.test(file.filename) ? undefined : "unsupported_file"),
      chunking: chunking?.type === "static"
        ? chunking
        : { type: "static", static: { max_chunk_size_tokens: 800, chunk_overlap_tokens: 400 } },
      batchId,
      attributes: attributes ?? {},
      cancelled: false
    }
    put(store, attached)
    store.lastActiveAt = now
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
      upload.purpose === ""
        ? Result.fail(invalid("Missing required parameter: 'purpose'.", "purpose"))
        : purposes.includes(upload.purpose)
        ? Result.succeed(showFile(putFile(upload, now)))
        : Result.fail(invalid(`'${upload.purpose}' is not one of ['${purposes.join("', '")}'] - 'purpose'`, "purpose")),
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
            score < threshold ? [] : [{
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
      Result.flatMap(storeOf(ids[0]), (store) => pageOfAttached(Array.from(store.files.values()), query, now)),
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
      Result.flatMap(batchOf(ids), (batch) => pageOfAttached(batch.files, query, now)),

    embeddings: ({ body }: Call): Answer =>
      Result.gen(function*() {
        const input = yield* decodeBody(Embeddings, body)
        const model = models.get(input.model)
        if (model === undefined) {
          return yield* Result.fail({
            ...missing(`The model '${input.model}' does not exist or you do not have access to it.`),
            code: "model_not_found"
          })
        }
        if (input.dimensions !== undefined && (!model.shortens || input.dimensions > model.dimensions)) {
          return yield* Result.fail(invalid(`Invalid 'dimensions' for ${input.model}.`, "dimensions"))
        }
        const inputs = inputsOf(input.input)
        const sizes = inputs.map((one) => typeof one === "string" ? estimateTokens(one) : one.length)
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
        const texts = inputs.map((one) => typeof one === "string" ? one : one.join(" "))
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
    const batch = Result.fromOption(
      Option.filter(Option.fromNullishOr(batches.get(batchId ?? "")), (batch) => batch.storeId === storeId),
      () => missing(`No vector store file batch found with id '${batchId}'.`, "batch_id")
    )
    return Result.andThen(storeOf(storeId), batch)
  }
}

const statuses = ["in_progress", "completed", "failed", "cancelled"]

/** A page of those whose status the query asks for. */
const pageOfAttached = (files: ReadonlyArray<Attached>, query: URLSearchParams, now: number): Answer => {
  const only = query.get("filter")
  if (only !== null && !statuses.includes(only)) {
    return Result.fail(invalid(`Invalid 'filter': expected one of ${statuses.join(", ")}, not '${only}'.`, "filter"))
  }
  const shown = files.filter((it) => only === null || statusOf(it, now) === only)
  return page(shown, (it) => it.file.id, query, (it) => showAttached(it, now))
}

export type OpenAiData = ReturnType<typeof make>
