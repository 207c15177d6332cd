/**
 * The whole vector-store surface of OpenAI, typed: vector stores, their files and batches, search, files, embeddings.
 *
 * **Details**
 *
 * The `openai` package does the talking, version 6.49 and up or 7, with its own retries off. It is used by its shape,
 * and only for the raw response: every body is decoded here, because the package hands out whatever text a proxy
 * answered with, and makes an empty list of it. Every failure is a `ProviderError`; interruption closes the connection.
 */
import { Context, Effect, Layer, Option, Schema, type Stream } from "effect"
import type { InvalidOptions } from "../InvalidOptions.ts"
import { ProviderError, TemporaryFailureError, ValidationError } from "../ProviderError.ts"
import * as Requests from "./internal/openAiRequests.ts"
import { missing, type Options, orFalse, orNone, pages } from "./internal/openAiRequests.ts"
import { refusal } from "./internal/requests.ts"
import {
  Attachment,
  Attachments,
  type BatchId,
  EmbeddingBody,
  EmbeddingPage,
  type FileAttributes,
  FileBatch,
  type FileId,
  FileObject,
  LimitedAttributes,
  Passage,
  SearchBody,
  StoreChange,
  StoreFile,
  StoreInput,
  Upload,
  type VectorStoreId,
  VectorStoreObject
} from "./OpenAiTypes.ts"

export type { ClientClass, Options } from "./internal/openAiRequests.ts"
export * from "./OpenAiTypes.ts"

/** OpenAI's files and vector stores. `Option` and `boolean` tell apart what is not there; all else is a failure. */
export interface Api {
  readonly name: string
  readonly stores: {
    readonly create: (input: StoreInput) => Effect.Effect<VectorStoreObject, ProviderError>
    readonly get: (id: VectorStoreId) => Effect.Effect<Option.Option<VectorStoreObject>, ProviderError>
    readonly update: (id: VectorStoreId, change: StoreChange) => Effect.Effect<VectorStoreObject, ProviderError>
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
  readonly embeddings: (body: EmbeddingBody) => Effect.Effect<EmbeddingPage, ProviderError>
  /** The files behind citations, in order; `None` for one that is gone. */
  readonly sourceFiles: (
    ids: ReadonlyArray<FileId>
  ) => Effect.Effect<ReadonlyArray<Option.Option<FileObject>>, ProviderError>
  /** Asks for one vector store: costs nothing, and shows that key and service are well. */
  readonly health: Effect.Effect<void, ProviderError>
}

const page = <S extends Schema.Constraint>(item: S) =>
  Schema.Struct({ data: Schema.Array(item), has_more: Schema.optionalKey(Schema.Boolean) })

const Deleted = Schema.Struct({ id: Schema.String, deleted: Schema.Boolean })

const Content = Schema.Struct({ data: Schema.Array(Schema.Struct({ text: Schema.optionalKey(Schema.String) })) })

/** The failure that a file's own status tells. */
export const processingError = (
  provider: string,
  operation: string,
  file: Pick<StoreFile, "status" | "last_error">
): ProviderError => {
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

/** The API by a client of your own choice or the installed one. Fails when the client refuses its options. */
export const make: (options: Options) => Effect.Effect<Api, ProviderError | InvalidOptions> = Effect
  .fnUntraced(
    function*(options: Options) {
      const { answered, decoded, poll } = yield* Requests.make(options)
      const name = options.name ?? Requests.defaultName
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

      /** What is beyond the API's limits is refused here: at once, and with the reason. */
      const checked = <A, B>(
        operation: string,
        schema: Schema.Codec<A, unknown>,
        value: A,
        send: (value: A) => Effect.Effect<B, ProviderError>
      ): Effect.Effect<B, ProviderError> =>
        Effect.flatMap(
          Effect.mapError(
            Schema.decodeUnknownEffect(Schema.toType(schema))(value),
            ({ message }) => refusal(name, operation, `The request is refused: ${message.slice(0, 500)}`, "Request")
          ),
          send
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
            checked(
              "vectorStores.create",
              StoreInput,
              input,
              (input) =>
                asStore(
                  "vectorStores.create",
                  false,
                  (it, options) => it.vectorStores.create(storeBody(input), options)
                )
            ),
          get: (id) =>
            orNone(asStore("vectorStores.retrieve", true, (it, options) => it.vectorStores.retrieve(id, options))),
          update: (id, change) =>
            checked(
              "vectorStores.update",
              StoreChange,
              change,
              (change) =>
                asStore(
                  "vectorStores.update",
                  true,
                  (it, options) => it.vectorStores.update(id, storeBody(change), options)
                )
            ),
          delete: (id) =>
            orFalse(asDeleted("vectorStores.delete", true, (it, options) => it.vectorStores.delete(id, options))),
          list: pages(
            100,
            (cursor) => asStores("vectorStores.list", true, (it, options) => it.vectorStores.list(cursor, options))
          ),
          search: (id, body) =>
            checked("vectorStores.search", SearchBody, body, (body) =>
              Effect.map(
                asPassages("vectorStores.search", true, (it, options) => it.vectorStores.search(id, body, options)),
                ({ data }) => data
              ))
        },
        files: {
          upload: (filename, text) =>
            checked(
              "files.create",
              Upload,
              { filename, text },
              ({ filename, text }) =>
                asFile("files.create", false, (it, options) =>
                  it.files.create(
                    { file: new File([text], filename, { type: "text/plain" }), purpose: "assistants" },
                    options
                  ))
            ),
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
            checked(
              "vectorStores.files.create",
              Attachment,
              attachment,
              (attachment) =>
                asStoreFile(
                  "vectorStores.files.create",
                  false,
                  (it, options) => it.vectorStores.files.create(store, attachment, options)
                )
            ),
          get: (store, file) =>
            orNone(
              asStoreFile("vectorStores.files.retrieve", true, (it, options) =>
                it.vectorStores.files.retrieve(file, { vector_store_id: store }, options))
            ),
          update: (store, file, attributes) =>
            checked(
              "vectorStores.files.update",
              LimitedAttributes,
              attributes,
              (attributes) =>
                asStoreFile(
                  "vectorStores.files.update",
                  true,
                  (it, options) => it.vectorStores.files.update(file, { vector_store_id: store, attributes }, options)
                )
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
            checked(
              "vectorStores.fileBatches.create",
              Attachments,
              files,
              (files) =>
                asBatch(
                  "vectorStores.fileBatches.create",
                  false,
                  (it, options) => it.vectorStores.fileBatches.create(store, { files }, options)
                )
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
          checked(
            "embeddings.create",
            EmbeddingBody,
            body,
            (body) =>
              asEmbeddings(
                "embeddings.create",
                true,
                (it, options) => it.embeddings.create({ ...body, encoding_format: "base64" }, options)
              )
          ),
        sourceFiles: (ids) => Effect.forEach(ids, getFile, { concurrency: 8 }),
        health: Effect.asVoid(
          asStores("vectorStores.list", true, (it, options) => it.vectorStores.list({ limit: 1 }, options))
        )
      }
      return api
    }
  )

export class OpenAiClient extends Context.Service<OpenAiClient, Api>()("holdfast/vectorstore/OpenAiClient") {
  static readonly layer = (options: Options): Layer.Layer<OpenAiClient, ProviderError | InvalidOptions> =>
    Layer.effect(OpenAiClient, make(options))
}
