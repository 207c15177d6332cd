/**
 * A vector store at OpenAI: each document is one file, attached with its attributes.
 *
 * **Details**
 *
 * Storing takes two requests, upload and attach, and a wait until the file is processed. What fails on the way is
 * cleaned up: at once, or before the next write when the provider cannot be reached. A batch with an `operationId` is
 * resumed where it ended, also by another process: the id is part of each file's name.
 *
 * **Gotchas**
 *
 * A document may have 15 attributes: one of the API's 16 holds its id. Files that others put into the vector store are
 * found too, under their file's id. Hits hold the passage that was found, not the whole document.
 */
import { Clock, type Config, type Duration, Effect, Exit, Layer, Option, Stream } from "effect"
import { KeyedLocks } from "../internal/keyedLocks.ts"
import { checked, checks, millisOf } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import type { ProviderError } from "../ProviderError.ts"
import { compareText } from "./internal/filters.ts"
import { makeAddMany } from "./internal/openAiBatch.ts"
import { isExact } from "./internal/openAiFilters.ts"
import { makeLookup } from "./internal/openAiLookup.ts"
import { attributesOf, digest, makePlace } from "./internal/openAiPlace.ts"
import { makeSearch } from "./internal/openAiSearch.ts"
import { makeUploads, newOperation, newToken, operationOf, toEach } from "./internal/openAiUploads.ts"
import { checkDocument, checkList, checkPatch, everyDocument, refusal } from "./internal/requests.ts"
import type * as Client from "./OpenAiClient.ts"
import { OpenAiClient } from "./OpenAiClient.ts"
import { configuration, type NotConfigured } from "./OpenAiConfiguration.ts"
import * as OpenAiDocument from "./OpenAiDocument.ts"
import type { FileId, Passage, VectorStoreId } from "./OpenAiTypes.ts"
import {
  type Attributes,
  type Document,
  type DocumentId,
  type DocumentPatch,
  type ListRequest,
  type Page,
  type Service,
  VectorStore
} from "./VectorStore.ts"

export { configuration, NotConfigured } from "./OpenAiConfiguration.ts"

export interface Options {
  readonly vectorStore: VectorStoreId
  /** How passages are ranked. Defaults to the API's `"auto"`. */
  readonly ranker?: "auto" | "none" | "default-2024-11-15" | undefined
  /** How many files are uploaded, read or deleted at once. Defaults to 16. */
  readonly concurrency?: number | undefined
  /** For how long the list of files is believed; own writes renew it. Defaults to `"30 seconds"`. */
  readonly listTimeToLive?: Duration.Input | undefined
  /** The time to clean up after a failed write before the failure is told. Defaults to `"2 seconds"`. */
  readonly cleanupTimeout?: Duration.Input | undefined
}

/** OpenAI embeds by itself, and takes no vectors. */
const space = "openai/file-search"

interface Entry {
  readonly fileId: FileId
  readonly attributes: Attributes
  readonly status: string
}

/** A store over the context's `OpenAiClient`. */
export const make: (options: Options) => Effect.Effect<Service, InvalidOptions, OpenAiClient> = Effect.fnUntraced(
  function*(options: Options) {
    const client = yield* OpenAiClient
    const { name } = client
    const check = checks("OpenAiStore")
    const { cleanupMillis, concurrency, listTimeToLive } = yield* checked(() => ({
      concurrency: check.int("concurrency", options.concurrency, 16, { min: 1 }),
      listTimeToLive: check.millis("listTimeToLive", options.listTimeToLive, "30 seconds"),
      cleanupMillis: check.millis("cleanupTimeout", options.cleanupTimeout, "2 seconds")
    }))
    const place = makePlace(client, options.vectorStore)
    const { id: storeId, missing, orMissing } = place
    const uploads = makeUploads(place, { concurrency, cleanupMillis })
    const { isReplaced, settle } = uploads
    const lookup = makeLookup(place, { concurrency, isReplaced })

    const storeFiles = Stream.mapError(client.storeFiles.list(storeId), orMissing)
    const [files, forgetFiles] = yield* Effect.cachedInvalidateWithTTL(
      Effect.suspend(() =>
        Stream.runFold(storeFiles, () => new Map<DocumentId, Array<Entry>>(), (found, file) => {
          const attributes = attributesOf(file)
          const id = OpenAiDocument.documentId(file.id, attributes)
          const entry = { fileId: file.id, attributes, status: file.status }
          const known = found.get(id)
          if (known === undefined) found.set(id, [entry])
          else known.push(entry)
          return found
        })
      ),
      (exit) => Exit.isSuccess(exit) ? listTimeToLive : 0
    )

    const locks = new KeyedLocks<DocumentId>()
    /**
     * Runs one write of a document at a time: two at once would leave two versions. Those of a batch are locked in one
     * order, so that no two batches wait for each other.
     */
    const exclusively = (ids: ReadonlyArray<DocumentId>) => <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Array.from(new Set(ids)).sort().reduce((self, id) => locks.withLock(id, self), self)

    const put = Effect.fnUntraced(function*(document: Document, before: ReadonlyArray<Passage>) {
      // The operation that first stored the document stays known, so that its batch is not stored again.
      const operation = before.map((it) => operationOf(it.filename)).find((it) => it !== undefined)
      const encoded = OpenAiDocument.encode(document, yield* newToken(place, operation ?? (yield* newOperation)))
      const { filename } = encoded
      yield* uploads.upload(encoded).pipe(
        Effect.flatMap((id) => uploads.attach(id, encoded.attributes)),
        Effect.flatMap(client.storeFiles.processed),
        Effect.onExit((exit) => {
          if (Exit.isFailure(exit)) return uploads.abandon([filename])
          uploads.kept(filename)
          return Effect.void
        }),
        (self) => uploads.working([filename], self)
      )
      yield* uploads.replace(before.map(({ file_id }) => file_id))
      yield* forgetFiles
    })

    const refuse = (operation: string, document: Document): ProviderError | undefined => {
      const error = checkDocument(name, operation, document)
      if (error !== undefined) return error
      const keys = Object.keys(document.attributes ?? {})
      if (keys.length > OpenAiDocument.maxAttributes) {
        const most = OpenAiDocument.maxAttributes
        return refusal(name, operation, `The document has ${keys.length} attributes: OpenAI holds ${most}`, "Document")
      }
      const taken = keys.find((key) => key === OpenAiDocument.idKey || key === OpenAiDocument.titleKey)
      return taken === undefined
        ? undefined
        : refusal(name, operation, `The attribute ${taken} is taken: OpenAI keeps the document's own in it`, "Document")
    }

    const add = (document: Document): Effect.Effect<void, ProviderError> =>
      Effect.suspend(() => {
        const refused = refuse("add", document)
        return refused === undefined
          ? Effect.andThen(settle, lookup.one(document.id)).pipe(
            Effect.flatMap((before) => put(document, before)),
            exclusively([document.id])
          )
          : Effect.fail(refused)
      })

    /** The whole document in a file. */
    const read = Effect.fnUntraced(function*(
      fileId: FileId,
      attributes: Attributes,
      filename: string | undefined
    ): Effect.fn.Return<Option.Option<Document>, ProviderError> {
      const text = yield* client.storeFiles.content(storeId, fileId)
      if (Option.isNone(text)) return Option.none()
      if (filename !== undefined) return Option.some(OpenAiDocument.decode(fileId, filename, text.value, attributes))
      const known = OpenAiDocument.decodeByAttributes(text.value, attributes)
      if (Option.isSome(known)) return known
      const file = yield* client.files.get(fileId)
      return Option.map(file, (it) => OpenAiDocument.decode(fileId, it.filename, text.value, attributes))
    })
    const readPassage = (it: Passage) => read(it.file_id, attributesOf(it), it.filename)

    const get = (id: DocumentId): Effect.Effect<Option.Option<Document>, ProviderError> =>
      Effect.flatMap(
        lookup.any(id),
        Option.match({ onNone: () => Effect.succeed(Option.none()), onSome: readPassage })
      )

    const update = (id: DocumentId, patch: DocumentPatch): Effect.Effect<Option.Option<Document>, ProviderError> =>
      Effect.gen(function*() {
        yield* checkPatch(name, patch)
        const found = yield* lookup.one(id)
        const [first] = found
        const known = first === undefined ? Option.none<Document>() : yield* readPassage(first)
        if (Option.isNone(known)) return known
        const changed: Document = { ...known.value, ...patch, id }
        const refused = refuse("update", changed)
        if (refused !== undefined) return yield* refused
        if (patch.title === undefined && patch.content === undefined) {
          const { attributes } = OpenAiDocument.encode(changed, "attributes")
          yield* toEach(found, (fileId) => client.storeFiles.update(storeId, fileId, attributes))
          yield* forgetFiles
        } else {
          yield* settle
          yield* put(changed, found)
        }
        return Option.some(changed)
      }).pipe(exclusively([id]))

    /** Documents that a delete found and may have deleted before it failed: who deletes them again is told so. */
    const begun = new Set<DocumentId>()

    const remove = (id: DocumentId): Effect.Effect<boolean, ProviderError> =>
      Effect.gen(function*() {
        yield* settle
        const found = yield* lookup.one(id)
        const deleted = yield* Effect.onExit(toEach(found, uploads.delete), (exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) begun.add(id)
          }))
        yield* forgetFiles
        const before = begun.delete(id)
        return before || deleted.includes(true)
      }).pipe(exclusively([id]))

    const list = Effect.fnUntraced(function*(request: ListRequest = {}): Effect.fn.Return<Page, ProviderError> {
      const limit = yield* checkList(name, request)
      const { after } = request
      const known = yield* files
      const ids = Array.from(known.keys())
        .filter((id) => after === undefined || compareText(id, after) > 0)
        .filter((id) => known.get(id)?.some(({ status }) => status === "completed") === true)
        .sort(compareText)
      const documents = yield* Effect.forEach(ids.slice(0, limit), (id) => {
        const entry = known.get(id)?.find(({ status }) => status === "completed")
        return entry === undefined
          ? Effect.succeed(Option.none<Document>())
          : read(entry.fileId, entry.attributes, undefined)
      }, { concurrency })
      const last = ids[limit - 1]
      return {
        documents: documents.flatMap(Option.toArray),
        ...(last !== undefined && ids.length > limit ? { next: last } : {})
      }
    })

    const addMany = makeAddMany(place, uploads, lookup, {
      concurrency,
      refuse: (document) => refuse("addMany", document),
      changed: forgetFiles
    })

    return {
      name,
      modes: ["vector"],
      filters: isExact,
      search: makeSearch(place, { ranker: options.ranker ?? "auto", isReplaced }),
      add,
      addMany: (documents, batch) => exclusively(documents.map(({ id }) => id))(addMany(documents, batch)),
      get,
      update,
      delete: remove,
      list,
      documents: everyDocument(list),
      stats: Effect.flatMap(
        client.stores.get(storeId),
        Option.match({
          onNone: () => Effect.fail(missing),
          onSome: ({ file_counts }) =>
            Effect.succeed({
              documents: file_counts.completed,
              embedded: file_counts.completed,
              space,
              modes: ["vector" as const]
            })
        })
      ),
      health: client.health
    } satisfies Service
  }
)

/** The store, and the client below it for everything else that OpenAI can do. */
export const layer = (
  options: Options & Client.Options
): Layer.Layer<VectorStore | OpenAiClient, ProviderError | InvalidOptions> =>
  Layer.provideMerge(Layer.effect(VectorStore, make(options)), OpenAiClient.layer(options))

/**
 * Deletes uploads of this store's that never were attached, as a process leaves them that was killed between the two
 * steps, and tells how many. `olderThan` spares those that another process may be about to attach; by default an hour.
 */
export const sweep: (
  vectorStore: VectorStoreId,
  options?: { readonly olderThan?: Duration.Input | undefined }
) => Effect.Effect<number, ProviderError, OpenAiClient> = Effect.fnUntraced(function*(vectorStore, options = {}) {
  const client = yield* OpenAiClient
  const age = millisOf("OpenAiStore", "olderThan", options.olderThan ?? "1 hour")
  const before = ((yield* Clock.currentTimeMillis) - age) / 1_000
  const held = yield* Stream.runFold(
    client.storeFiles.list(vectorStore),
    () => new Set<FileId>(),
    (ids, { id }) => ids.add(id)
  )
  const orphans = client.files.list.pipe(
    Stream.filter(({ created_at, filename, id }) =>
      created_at <= before && !held.has(id) &&
      Option.exists(OpenAiDocument.parseName(filename), ({ operation }) => operation.startsWith(digest(vectorStore)))
    ),
    Stream.mapEffect(({ id }) => client.files.delete(id), { concurrency: 8 })
  )
  return yield* Stream.runCount(orphans)
})

/** The store as the environment has it; fails with `NotConfigured` where the environment has none. */
export const layerConfig = (
  options?: Partial<Options & Client.Options>
): Layer.Layer<VectorStore | OpenAiClient, ProviderError | InvalidOptions | NotConfigured | Config.ConfigError> =>
  Layer.unwrap(Effect.map(configuration, (found) => layer({ ...options, ...found })))
