/**
 * The whole vector-store surface of OpenAI, typed: vector stores, their files and batches, search, files, embeddings.
 *
 * **Details**
 *
 * The `openai` package does the talking, version 6.49 and up or 7, with its own retries off. It is used by its shape,
 * and only for the raw response: every body is decoded here, because the package hands out whatever text a proxy
 * answered with, and makes an empty list of it. Every failure is a `ProviderError`; interruption closes the connection.
 */
import { Context, type Duration, Effect, Layer, Option, Redacted, Result, Schema, Stream } from "effect"
import { Classifier } from "../Classifier.ts"
import * as Correlation from "../Correlation.ts"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import {
  ConfigurationError,
  mayRetry,
  ProviderError,
  TemporaryFailureError,
  TimeoutError,
  UnknownError,
  ValidationError
} from "../ProviderError.ts"

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

const page = <S extends Schema.Constraint>(item: S) =>
  Schema.Struct({ data: Schema.Array(item), has_more: Schema.optionalKey(Schema.Boolean) })

const Deleted = Schema.Struct({ id: Schema.String, deleted: Schema.Boolean })

const Content = Schema.Struct({ data: Schema.Array(Schema.Struct({ text: Schema.optionalKey(Schema.String) })) })

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

interface RequestOptions {
  readonly signal: AbortSignal
  readonly maxRetries: 0
  readonly headers: Readonly<Record<string, string>>
}

interface Pending {
  readonly asResponse: () => Promise<Response>
}

// The part of the openai package that is used, as both its versions have it.
/* eslint-disable typescript/method-signature-style -- parameters of the package's methods are narrower than ours */
interface Client {
  readonly files: {
    create(body: { readonly file: File; readonly purpose: "assistants" }, options: RequestOptions): Pending
    list(query: object, options: RequestOptions): Pending
    retrieve(id: string, options: RequestOptions): Pending
    delete(id: string, options: RequestOptions): Pending
  }
  readonly vectorStores: {
    create(body: object, options: RequestOptions): Pending
    list(query: object, options: RequestOptions): Pending
    retrieve(id: string, options: RequestOptions): Pending
    update(id: string, body: object, options: RequestOptions): Pending
    delete(id: string, options: RequestOptions): Pending
    search(id: string, body: object, options: RequestOptions): Pending
    readonly files: {
      create(id: string, body: object, options: RequestOptions): Pending
      list(id: string, query: object, options: RequestOptions): Pending
      retrieve(fileId: string, parameters: object, options: RequestOptions): Pending
      update(fileId: string, parameters: object, options: RequestOptions): Pending
      delete(fileId: string, parameters: object, options: RequestOptions): Pending
      content(fileId: string, parameters: object, options: RequestOptions): Pending
    }
    readonly fileBatches: {
      create(id: string, body: object, options: RequestOptions): Pending
      retrieve(batchId: string, parameters: object, options: RequestOptions): Pending
      cancel(batchId: string, parameters: object, options: RequestOptions): Pending
      listFiles(batchId: string, parameters: object, options: RequestOptions): Pending
    }
  }
  readonly embeddings: {
    create(body: object, options: RequestOptions): Pending
  }
}
/* eslint-enable */

/** The class that the `openai` package exports, of version 6 or 7. */
export type ClientClass = new(options: {
  readonly apiKey: string
  readonly baseURL: string
  readonly maxRetries: 0
  readonly logLevel: "off"
}) => unknown

export interface Options {
  readonly apiKey: Redacted.Redacted
  /** Defaults to `https://api.openai.com/v1`. */
  readonly baseURL?: string | undefined
  /** Defaults to the installed `openai` package's. */
  readonly client?: ClientClass | undefined
  /** The time for one request, headers and body. Defaults to `"60 seconds"`. */
  readonly requestTimeout?: Duration.Input | undefined
  /** The wait between two looks at a file in progress, unless the API asks for another. Defaults to `"1 second"`. */
  readonly pollInterval?: Duration.Input | undefined
  /** The time for attached files to be processed. Defaults to `"2 minutes"`. */
  readonly processingDeadline?: Duration.Input | undefined
  /** Names the provider in errors. Defaults to `"openai"`. */
  readonly name?: string | undefined
}

interface Answered<A> {
  readonly value: A
  readonly headers: Headers
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** OpenAI's files and vector stores. `Option` and `boolean` tell apart what is not there; all else is a failure. */
export interface Api {
  readonly name: string
  readonly stores: {
    readonly create: (input: StoreInput) => Effect.Effect<VectorStoreObject, ProviderError>
    readonly get: (id: VectorStoreId) => Effect.Effect<Option.Option<VectorStoreObject>, ProviderError>
    readonly update: (id: VectorStoreId, input: StoreInput) => Effect.Effect<VectorStoreObject, ProviderError>
    /** `false` for what was not there. The files stay. */
    readonly delete: (id: VectorStoreId) => Effect.Effect<boolean, ProviderError>
    /** All pages, newest first. */
    readonly list: Stream.Stream<VectorStoreObject, ProviderError>
    /** The best passages, at most 50; several can be of one file. */
    readonly search: (id: VectorStoreId, body: SearchBody) => Effect.Effect<ReadonlyArray<Passage>, ProviderError>
  }
  readonly files: {
    /** Not to be repeated blindly: each makes a new file. */
    readonly upload: (filename: string, text: string) => Effect.Effect<FileObject, ProviderError>
    readonly get: (id: FileId) => Effect.Effect<Option.Option<FileObject>, ProviderError>
    /** Deletes it everywhere. `false` for what was not there. */
    readonly delete: (id: FileId) => Effect.Effect<boolean, ProviderError>
    /** All pages. */
    readonly list: Stream.Stream<FileObject, ProviderError>
  }
  readonly storeFiles: {
    readonly attach: (store: VectorStoreId, attachment: Attachment) => Effect.Effect<StoreFile, ProviderError>
    readonly get: (store: VectorStoreId, file: FileId) => Effect.Effect<Option.Option<StoreFile>, ProviderError>
    readonly update: (
      store: VectorStoreId,
      file: FileId,
      attributes: FileAttributes
    ) => Effect.Effect<StoreFile, ProviderError>
    /** Takes it out of the store; the file stays. `false` for what was not there. */
    readonly detach: (store: VectorStoreId, file: FileId) => Effect.Effect<boolean, ProviderError>
    /** All pages. */
    readonly list: (
      store: VectorStoreId,
      filter?: "in_progress" | "completed" | "failed" | "cancelled"
    ) => Stream.Stream<StoreFile, ProviderError>
    /** The text the store read from the file. */
    readonly content: (store: VectorStoreId, file: FileId) => Effect.Effect<Option.Option<string>, ProviderError>
    /** Waits until it is processed: completed, or the failure that its status tells. */
    readonly processed: (file: StoreFile) => Effect.Effect<StoreFile, ProviderError>
  }
  readonly batches: {
    /** Attaches at most 2,000 files together. */
    readonly create: (
      store: VectorStoreId,
      files: ReadonlyArray<Attachment>
    ) => Effect.Effect<FileBatch, ProviderError>
    readonly get: (store: VectorStoreId, batch: BatchId) => Effect.Effect<Option.Option<FileBatch>, ProviderError>
    readonly cancel: (store: VectorStoreId, batch: BatchId) => Effect.Effect<FileBatch, ProviderError>
    /** All pages. */
    readonly files: (store: VectorStoreId, batch: BatchId) => Stream.Stream<StoreFile, ProviderError>
    /** Waits until no file of it is in progress. A batch in which files failed is a success: read its files. */
    readonly processed: (batch: FileBatch) => Effect.Effect<FileBatch, ProviderError>
  }
  readonly embeddings: (body: {
    readonly model: string
    readonly input: ReadonlyArray<string>
    readonly dimensions?: number
  }) => Effect.Effect<EmbeddingPage, ProviderError>
  /** The files behind citations, in order; `None` for one that is gone. */
  readonly sourceFiles: (
    ids: ReadonlyArray<FileId>
  ) => Effect.Effect<ReadonlyArray<Option.Option<FileObject>>, ProviderError>
  /** Asks for one vector store: costs nothing, and shows that key and service are well. */
  readonly health: Effect.Effect<void, ProviderError>
}

/** The failure that a file's own status tells. */
export const processingError = (provider: string, operation: string, file: StoreFile): ProviderError => {
  const code = file.last_error?.code ?? file.status
  const evidence = {
    message: `The file was not processed: ${file.last_error?.message ?? file.status}`,
    rule: "openai/file-status",
    delivered: "yes" as const,
    code,
    detail: "ProcessingFailed"
  }
  const reason = code === "unsupported_file" || code === "invalid_file"
    ? new ValidationError(evidence)
    : new TemporaryFailureError(evidence)
  return new ProviderError({ provider, operation, reason })
}

const finished = (status: string): boolean => status === "completed" || status === "failed" || status === "cancelled"

/** Looks at a file in progress that fail one after the other before the wait is given up. */
const looksThatMayFail = 3

const defaultURL = "https://api.openai.com/v1"

const load = (name: string): Effect.Effect<ClientClass, ProviderError> =>
  Effect.tryPromise({
    try: () => import("openai").then((module) => module.OpenAI),
    catch: (cause) =>
      new ProviderError({
        provider: name,
        operation: "load",
        reason: new ConfigurationError({
          message: "The package openai is not installed: npm install openai",
          rule: "openai/package",
          delivered: "no"
        })
      }).causedBy(cause)
  })

/** The API by a client of your own choice or the installed one. Fails when the client refuses its options. */
export const make: (options: Options) => Effect.Effect<Api, ProviderError | InvalidOptions> = Effect.fnUntraced(
  function*(options: Options) {
    const check = checks("OpenAiClient")
    const settings = yield* checked(() => ({
      requestTimeout: check.millis("requestTimeout", options.requestTimeout, "60 seconds", { min: 1 }),
      pollInterval: check.millis("pollInterval", options.pollInterval, "1 second", { min: 1 }),
      processingDeadline: check.millis("processingDeadline", options.processingDeadline, "2 minutes", { min: 1 })
    }))
    const name = options.name ?? "openai"
    const classifier = yield* Classifier
    const ClientClass = options.client ?? (yield* load(name))
    const client = yield* Effect.try({
      try: () =>
        // The class is known by its shape alone: two versions of the package have types that exclude each other.
        // eslint-disable-next-line typescript/no-unsafe-type-assertion
        new ClientClass({
          apiKey: Redacted.value(options.apiKey),
          baseURL: options.baseURL ?? defaultURL,
          maxRetries: 0,
          logLevel: "off"
        }) as Client,
      catch: (cause) => classifier.toError(cause, { provider: name, operation: "connect", phase: "connect" })
    })

    const timedOut = (operation: string, millis: number, detail: string): ProviderError =>
      new ProviderError({
        provider: name,
        operation,
        reason: new TimeoutError({
          message: `No answer within ${millis} ms`,
          rule: "openai/timeout",
          delivered: "unknown",
          detail
        })
      })

    const invalidResponse = (operation: string, { status, text }: Answer, why: string): ProviderError =>
      new ProviderError({
        provider: name,
        operation,
        reason: new UnknownError({
          message: text === ""
            ? "The answer is empty"
            : `The answer is not what the API promises: ${why.slice(0, 300)}`,
          rule: "openai/response",
          delivered: "yes",
          status,
          detail: "InvalidResponse",
          // Often a proxy's page in place of the answer: worth another attempt.
          overrides: { retry: "IfIdempotent" }
        })
      })

    const request = (
      operation: string,
      idempotent: boolean,
      send: (client: Client, options: RequestOptions) => Pending
    ): Effect.Effect<Answer, ProviderError> =>
      Effect.flatMap(Correlation.outgoing("x-client-request-id"), (headers) =>
        Effect.tryPromise({
          try: (signal) =>
            send(client, { signal, maxRetries: 0, headers }).asResponse().then((response) =>
              response.text().then((text) => ({ status: response.status, headers: response.headers, text }))
            ),
          catch: (cause) => classifier.toError(cause, { provider: name, operation, idempotent })
        })).pipe(
          Effect.timeoutOrElse({
            duration: settings.requestTimeout,
            orElse: () => Effect.fail(timedOut(operation, settings.requestTimeout, "RequestTimeout"))
          })
        )

    const answered = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
      const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
      return (
        operation: string,
        idempotent: boolean,
        send: (client: Client, options: RequestOptions) => Pending
      ): Effect.Effect<Answered<S["Type"]>, ProviderError> =>
        Effect.flatMap(request(operation, idempotent, send), (answer) =>
          decode(answer.text).pipe(
            Effect.map((value) => ({ value, headers: answer.headers })),
            Effect.mapError((error) => invalidResponse(operation, answer, error.message))
          ))
    }
    const decoded = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
      const send = answered(schema)
      return (...call: Parameters<typeof send>): Effect.Effect<S["Type"], ProviderError> =>
        Effect.map(send(...call), ({ value }) => value)
    }

    const asStore = decoded(VectorStoreObject)
    const asStores = decoded(page(VectorStoreObject))
    const asPassages = decoded(page(Passage))
    const asFile = decoded(FileObject)
    const asFiles = decoded(page(FileObject))
    const asStoreFile = decoded(StoreFile)
    const asStoreFiles = decoded(page(StoreFile))
    const asBatch = decoded(FileBatch)
    const answeredStoreFile = answered(StoreFile)
    const answeredBatch = answered(FileBatch)
    const asDeleted = decoded(Deleted)
    const asContent = decoded(Content)
    const asEmbeddings = decoded(EmbeddingPage)

    const orNone = <A>(self: Effect.Effect<A, ProviderError>): Effect.Effect<Option.Option<A>, ProviderError> =>
      missing(Effect.asSome(self), Option.none<A>())
    const orFalse = (self: Effect.Effect<typeof Deleted.Type, ProviderError>): Effect.Effect<boolean, ProviderError> =>
      missing(Effect.map(self, ({ deleted }) => deleted), false)

    /** Every page of a list; each is one request with a time limit of its own. */
    const pages = <A extends { readonly id: string }>(
      limit: number,
      fetchPage: (
        cursor: { readonly limit: number; readonly after?: string }
      ) => Effect.Effect<{ readonly data: ReadonlyArray<A>; readonly has_more?: boolean }, ProviderError>
    ): Stream.Stream<A, ProviderError> =>
      Stream.paginate<string | undefined, A, ProviderError>(
        undefined,
        (after) =>
          Effect.map(fetchPage({ limit, ...(after === undefined ? {} : { after }) }), ({ data, has_more }) => {
            const last = data.at(-1)
            // A cursor that does not move would list for ever.
            const more = has_more === true && last !== undefined && last.id !== after
            return [data, more ? Option.some(last.id) : Option.none()]
          })
      )

    const poll = <A>(
      operation: string,
      first: A,
      isFinished: (value: A) => boolean,
      look: Effect.Effect<Answered<A>, ProviderError>
    ): Effect.Effect<A, ProviderError> =>
      Effect.gen(function*() {
        let current = first
        let wait = settings.pollInterval
        let failures = 0
        while (!isFinished(current)) {
          yield* Effect.sleep(wait)
          const looked = yield* Effect.result(look)
          if (Result.isFailure(looked)) {
            // The work goes on at the provider's side: one look that fails does not undo it.
            if (++failures === looksThatMayFail || !mayRetry(looked.failure, true)) return yield* looked.failure
            continue
          }
          failures = 0
          current = looked.success.value
          const asked = Number(looked.success.headers.get("openai-poll-after-ms") ?? Number.NaN)
          wait = asked > 0 && asked <= 60_000 ? asked : settings.pollInterval
        }
        return current
      }).pipe(
        Effect.timeoutOrElse({
          duration: settings.processingDeadline,
          orElse: () => Effect.fail(timedOut(operation, settings.processingDeadline, "ProcessingTimeout"))
        })
      )

    const storeBody = ({ expiresAfterDays, ...input }: StoreInput) => ({
      ...input,
      ...(expiresAfterDays === undefined
        ? {}
        : { expires_after: { anchor: "last_active_at", days: expiresAfterDays } })
    })
    const getFile = (id: FileId) =>
      orNone(asFile("files.retrieve", true, (it, options) => it.files.retrieve(id, options)))

    const api: Api = {
      name,
      stores: {
        create: (input) =>
          asStore("vectorStores.create", false, (it, options) => it.vectorStores.create(storeBody(input), options)),
        get: (id) =>
          orNone(asStore("vectorStores.retrieve", true, (it, options) => it.vectorStores.retrieve(id, options))),
        update: (id, input) =>
          asStore("vectorStores.update", true, (it, options) => it.vectorStores.update(id, storeBody(input), options)),
        delete: (id) =>
          orFalse(asDeleted("vectorStores.delete", true, (it, options) => it.vectorStores.delete(id, options))),
        list: pages(
          100,
          (cursor) => asStores("vectorStores.list", true, (it, options) => it.vectorStores.list(cursor, options))
        ),
        search: (id, body) =>
          asPassages("vectorStores.search", true, (it, options) => it.vectorStores.search(id, body, options)).pipe(
            Effect.map(({ data }) => data)
          )
      },
      files: {
        upload: (filename, text) =>
          asFile("files.create", false, (it, options) =>
            it.files.create(
              { file: new File([text], filename, { type: "text/plain" }), purpose: "assistants" },
              options
            )),
        get: getFile,
        delete: (id) => orFalse(asDeleted("files.delete", true, (it, options) => it.files.delete(id, options))),
        list: pages(
          10_000,
          (cursor) =>
            asFiles("files.list", true, (it, options) => it.files.list({ ...cursor, purpose: "assistants" }, options))
        )
      },
      storeFiles: {
        attach: (store, attachment) =>
          asStoreFile(
            "vectorStores.files.create",
            false,
            (it, options) => it.vectorStores.files.create(store, attachment, options)
          ),
        get: (store, file) =>
          orNone(
            asStoreFile("vectorStores.files.retrieve", true, (it, options) =>
              it.vectorStores.files.retrieve(file, { vector_store_id: store }, options))
          ),
        update: (store, file, attributes) =>
          asStoreFile(
            "vectorStores.files.update",
            true,
            (it, options) => it.vectorStores.files.update(file, { vector_store_id: store, attributes }, options)
          ),
        detach: (store, file) =>
          orFalse(
            asDeleted("vectorStores.files.delete", true, (it, options) =>
              it.vectorStores.files.delete(file, { vector_store_id: store }, options))
          ),
        list: (store, filter) =>
          pages(
            100,
            (cursor) =>
              asStoreFiles("vectorStores.files.list", true, (it, options) =>
                it.vectorStores.files.list(store, filter === undefined ? cursor : { ...cursor, filter }, options))
          ),
        content: (store, file) =>
          asContent(
            "vectorStores.files.content",
            true,
            (it, options) => it.vectorStores.files.content(file, { vector_store_id: store }, options)
          ).pipe(
            Effect.map(({ data }) => Option.some(data.map(({ text }) => text ?? "").join(""))),
            (self) => missing(self, Option.none<string>())
          ),
        processed: (file) =>
          poll(
            "vectorStores.files.retrieve",
            file,
            ({ status }) => finished(status),
            answeredStoreFile(
              "vectorStores.files.retrieve",
              true,
              (it, options) =>
                it.vectorStores.files.retrieve(file.id, { vector_store_id: file.vector_store_id }, options)
            )
          ).pipe(Effect.filterOrFail(
            ({ status }) => status === "completed",
            (failed) => processingError(name, "vectorStores.files.create", failed)
          ))
      },
      batches: {
        create: (store, files) =>
          asBatch(
            "vectorStores.fileBatches.create",
            false,
            (it, options) => it.vectorStores.fileBatches.create(store, { files }, options)
          ),
        get: (store, batch) =>
          orNone(
            asBatch("vectorStores.fileBatches.retrieve", true, (it, options) =>
              it.vectorStores.fileBatches.retrieve(batch, { vector_store_id: store }, options))
          ),
        cancel: (store, batch) =>
          asBatch(
            "vectorStores.fileBatches.cancel",
            true,
            (it, options) => it.vectorStores.fileBatches.cancel(batch, { vector_store_id: store }, options)
          ),
        files: (store, batch) =>
          pages(
            100,
            (cursor) =>
              asStoreFiles("vectorStores.fileBatches.listFiles", true, (it, options) =>
                it.vectorStores.fileBatches.listFiles(batch, { ...cursor, vector_store_id: store }, options))
          ),
        processed: (batch) =>
          poll(
            "vectorStores.fileBatches.retrieve",
            batch,
            ({ status }) => finished(status),
            answeredBatch(
              "vectorStores.fileBatches.retrieve",
              true,
              (it, options) =>
                it.vectorStores.fileBatches.retrieve(batch.id, { vector_store_id: batch.vector_store_id }, options)
            )
          )
      },
      embeddings: (body) =>
        asEmbeddings(
          "embeddings.create",
          true,
          (it, options) => it.embeddings.create({ ...body, encoding_format: "base64" }, options)
        ),
      sourceFiles: (ids) => Effect.forEach(ids, getFile, { concurrency: 8 }),
      health: Effect.asVoid(
        asStores("vectorStores.list", true, (it, options) => it.vectorStores.list({ limit: 1 }, options))
      )
    }
    return api
  }
)

/** What a 404 means where an id was asked for: it is not there. */
const missing = <A, B>(self: Effect.Effect<A, ProviderError>, absent: B): Effect.Effect<A | B, ProviderError> =>
  Effect.catch(
    self,
    (error): Effect.Effect<B, ProviderError> =>
      error.reason._tag === "NotFoundError" ? Effect.succeed(absent) : Effect.fail(error)
  )

export class OpenAiClient extends Context.Service<OpenAiClient, Api>()("holdfast/vectorstore/OpenAiClient") {
  static readonly layer = (options: Options): Layer.Layer<OpenAiClient, ProviderError | InvalidOptions> =>
    Layer.effect(OpenAiClient, make(options))
}
