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
import {
  Array as Arr,
  Clock,
  Config,
  Duration,
  Effect,
  Exit,
  Layer,
  Option,
  Random,
  Redacted,
  Result,
  Schema,
  Semaphore,
  Stream
} from "effect"
import { createHash } from "node:crypto"
import { checked, checks } from "../internal/options.ts"
import { InvalidOptions } from "../InvalidOptions.ts"
import { ConfigurationError, ProviderError } from "../ProviderError.ts"
import { compareText, matches } from "./internal/filters.ts"
import { both, isExact, widen } from "./internal/openAiFilters.ts"
import {
  checkBatchSize,
  checkDocument,
  checkList,
  checkPatch,
  checkSearch,
  everyDocument,
  refusal
} from "./internal/requests.ts"
import * as Client from "./OpenAiClient.ts"
import { FileId, type FileObject, OpenAiClient, type Passage, type StoreFile, VectorStoreId } from "./OpenAiClient.ts"
import * as OpenAiDocument from "./OpenAiDocument.ts"
import {
  type Attributes,
  type BatchOptions,
  type BatchReport,
  type Document,
  type DocumentId,
  type DocumentPatch,
  type Hit,
  type ItemReport,
  type ListRequest,
  type Loss,
  type Page,
  type SearchAnswer,
  type SearchRequest,
  type Service,
  VectorStore
} from "./VectorStore.ts"

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

/** OpenAI is not configured: no fault, a choice. `missing` names the variables that are not set. */
export class NotConfigured extends Schema.TaggedError<NotConfigured>()("NotConfigured", {
  missing: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `OpenAI is not configured: set ${this.missing.join(" and ")}`
  }
}

const passagesAtMost = 50
const searchRounds = 4

/** Few enough that one answer has room for all of them, should none be new. */
const idsPerLookUp = 40

/** OpenAI embeds by itself, and takes no vectors. */
const space = "openai/file-search"

interface Entry {
  readonly fileId: FileId
  readonly attributes: Attributes
  readonly status: string
}

/** A document on its way in. */
interface Planned {
  readonly document: Document
  readonly encoded: OpenAiDocument.Encoded
  /** Its file, where an earlier run uploaded it. */
  readonly uploaded: FileId | undefined
}

const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16)

const attributesOf = (file: { readonly attributes?: Client.FileAttributes | null }): Attributes => file.attributes ?? {}

/** A store over the context's `OpenAiClient`. */
export const make: (options: Options) => Effect.Effect<Service, InvalidOptions, OpenAiClient> = Effect.fnUntraced(
  function*(options: Options) {
    const client = yield* OpenAiClient
    const { name } = client
    const check = checks("OpenAiStore")
    const { cleanupTimeout, concurrency, listTimeToLive } = yield* checked(() => ({
      concurrency: check.int("concurrency", options.concurrency, 16, { min: 1 }),
      listTimeToLive: check.millis("listTimeToLive", options.listTimeToLive, "30 seconds"),
      cleanupTimeout: check.millis("cleanupTimeout", options.cleanupTimeout, "2 seconds")
    }))
    const storeId = options.vectorStore
    // In every file's name, so that a clean-up never touches the files of another vector store.
    const storeTag = digest(storeId)

    const storeMissing = new ProviderError({
      provider: name,
      operation: "vectorStores.retrieve",
      reason: new ConfigurationError({
        message: `There is no vector store ${storeId}`,
        rule: "openai/vector-store",
        delivered: "yes",
        status: 404,
        detail: "VectorStoreMissing"
      })
    })
    /** Where the store itself was asked for, a 404 is a wrong setting. */
    const inStore = <A>(self: Effect.Effect<A, ProviderError>): Effect.Effect<A, ProviderError> =>
      Effect.mapError(self, (error) => error.reason._tag === "NotFoundError" ? storeMissing : error)

    /** Uploads whose fate is open, by file name; the id where it is known. */
    const lost = new Map<string, FileId | undefined>()
    /** Files of documents that were replaced, not deleted yet. */
    const replaced = new Set<FileId>()

    const deleteFile = (id: FileId): Effect.Effect<boolean, ProviderError> =>
      // The file first: were it detached first, a failure in between would leave a file that nothing points to.
      Effect.flatMap(client.files.delete(id), (deleted) =>
        Effect.map(client.storeFiles.detach(storeId, id), (detached) => deleted || detached))

    const uploads = (isWanted: (filename: string) => boolean): Effect.Effect<Array<FileObject>, ProviderError> =>
      Stream.runCollect(Stream.filter(client.files.list, ({ filename }) => isWanted(filename)))

    /** Deletes these uploads, and tells which are gone for sure. Never fails, and never takes long. */
    const abandon = (filenames: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>> =>
      Effect.suspend(() => {
        const open = filenames.filter((filename) => lost.has(filename))
        const gone = new Set<string>()
        const unnamed = open.some((filename) => lost.get(filename) === undefined)
        const found = unnamed ? uploads((filename) => lost.has(filename)) : Effect.succeed([])
        return Effect.flatMap(found, (files) =>
          Effect.forEach(open, (filename) => {
            const id = lost.get(filename) ?? files.find((file) => file.filename === filename)?.id
            return Effect.map(id === undefined ? Effect.succeed(false) : deleteFile(id), () => {
              lost.delete(filename)
              gone.add(filename)
            })
          }, { concurrency, discard: true })).pipe(
            Effect.timeout(cleanupTimeout),
            Effect.ignore,
            Effect.as(gone)
          )
      })

    /** Marks names as being worked on while the effect runs. */
    const working = <A, E>(filenames: ReadonlyArray<string>, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        for (const filename of filenames) writing.add(filename)
        return Effect.ensuring(
          self,
          Effect.sync(() => {
            for (const filename of filenames) writing.delete(filename)
          })
        )
      })

    const removeReplaced = Effect.suspend(() =>
      Effect.forEach(
        Array.from(replaced),
        (id) => Effect.map(deleteFile(id), () => replaced.delete(id)),
        { concurrency, discard: true }
      )
    )

    /** Names that a write is working on. */
    const writing = new Set<string>()
    /** Cleans up what earlier writes left behind. */
    const settle = Effect.suspend(() => {
      const open = Array.from(lost.keys()).filter((filename) => !writing.has(filename))
      return open.length + replaced.size === 0
        ? Effect.void
        : Effect.andThen(abandon(open), Effect.ignore(removeReplaced))
    })

    const replace = (ids: ReadonlyArray<FileId>): Effect.Effect<void> =>
      Effect.suspend(() => {
        for (const id of ids) replaced.add(id)
        return Effect.ignore(removeReplaced)
      })

    const unique = Effect.map(Effect.all([Random.nextInt, Random.nextInt]), ([a, b]) => digest(`${a} ${b}`))
    /** What parts the names of two files of one document: whose store, by which operation, which upload. */
    const token = (operation: string) => Effect.map(unique, (upload) => `${storeTag}-${operation}-${upload}`)
    const operationOf = (filename: string): string | undefined =>
      Option.getOrUndefined(OpenAiDocument.parseName(filename))?.operation.split("-")[1]

    const upload = ({ filename, text }: OpenAiDocument.Encoded): Effect.Effect<FileId, ProviderError> =>
      Effect.suspend(() => {
        lost.set(filename, undefined)
        return Effect.map(client.files.upload(filename, text), ({ id }) => {
          lost.set(filename, id)
          return id
        })
      })

    /** Attaches; where the answer was lost, looks whether it happened. */
    const attach = (id: FileId, attributes: Attributes): Effect.Effect<StoreFile, ProviderError> =>
      Effect.catch(
        inStore(client.storeFiles.attach(storeId, { file_id: id, attributes })),
        (error) =>
          error.verdicts.breaker === "Failure" && error.reason.delivered !== "no"
            ? Effect.flatMap(client.storeFiles.get(storeId, id), Effect.fromOption).pipe(Effect.mapError(() => error))
            : Effect.fail(error)
      )

    /** The files of these documents. Asks again without those found, for as long as an answer is full. */
    const lookUpSome = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
      const found = new Map<FileId, Passage>()
      let left: ReadonlyArray<string> = ids
      while (left.length > 0) {
        const [query = ""] = left
        const passages = yield* inStore(client.stores.search(storeId, {
          query,
          max_num_results: passagesAtMost,
          filters: { type: "in", key: OpenAiDocument.idKey, value: left }
        }))
        const known = new Set(passages.map((it) => attributesOf(it)[OpenAiDocument.idKey]))
        for (const it of passages) if (!replaced.has(it.file_id)) found.set(it.file_id, it)
        left = passages.length < passagesAtMost ? [] : left.filter((id) => !known.has(id))
      }
      return Array.from(found.values())
    })

    const lookUp = (id: DocumentId): Effect.Effect<ReadonlyArray<Passage>, ProviderError> =>
      Effect.flatMap(lookUpSome([id]), (found) => found.length > 0 ? Effect.succeed(found) : lookUpForeign(id))

    /** The files of many documents, by document. */
    const lookUpMany = (ids: ReadonlyArray<DocumentId>): Effect.Effect<Map<DocumentId, Array<FileId>>, ProviderError> =>
      Effect.map(
        Effect.all([
          Effect.forEach(Arr.chunksOf(ids, idsPerLookUp), lookUpSome, { concurrency }),
          Effect.forEach(ids.filter((id) => id.startsWith("file-")), lookUpForeign, { concurrency })
        ]),
        (found) => {
          const files = new Map<DocumentId, Array<FileId>>()
          for (const it of found.flat(2)) {
            const id = OpenAiDocument.documentId(it.file_id, attributesOf(it), it.filename)
            const known = files.get(id)
            if (known === undefined) files.set(id, [it.file_id])
            else if (!known.includes(it.file_id)) known.push(it.file_id)
          }
          return files
        }
      )

    /** A file of someone else's, by its own id. */
    const lookUpForeign = Effect.fnUntraced(function*(id: DocumentId) {
      const fileId = Schema.decodeUnknownOption(FileId)(id)
      if (Option.isNone(fileId) || !id.startsWith("file-")) return []
      const held = yield* client.storeFiles.get(storeId, fileId.value)
      const file = Option.isNone(held) ? Option.none() : yield* client.files.get(fileId.value)
      if (Option.isNone(held) || Option.isNone(file)) return []
      const { attributes = null } = held.value
      return [{ file_id: fileId.value, filename: file.value.filename, score: 0, attributes, content: [] }]
    })

    const storeFiles = Stream.mapError(
      client.storeFiles.list(storeId),
      (error) => error.reason._tag === "NotFoundError" ? storeMissing : error
    )
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

    /** Runs one write of a document at a time: two at once would leave two versions. */
    const locks = new Map<DocumentId, { readonly semaphore: Semaphore.Semaphore; users: number }>()
    const exclusively = (id: DocumentId) => <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        const lock = locks.get(id) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        locks.set(id, lock)
        lock.users++
        return Semaphore.withPermit(lock.semaphore, self).pipe(Effect.ensuring(Effect.sync(() => {
          if (--lock.users === 0) locks.delete(id)
        })))
      })

    const put = Effect.fnUntraced(function*(document: Document, before: ReadonlyArray<Passage>) {
      // The operation that first stored the document stays known, so that its batch is not stored again.
      const operation = before.map((it) => operationOf(it.filename)).find((it) => it !== undefined)
      const encoded = OpenAiDocument.encode(document, yield* token(operation ?? (yield* unique)))
      const { filename } = encoded
      yield* upload(encoded).pipe(
        Effect.flatMap((id) => attach(id, encoded.attributes)),
        Effect.flatMap(client.storeFiles.processed),
        Effect.onExit((exit) => {
          if (Exit.isFailure(exit)) return abandon([filename])
          lost.delete(filename)
          return Effect.void
        }),
        (self) => working([filename], self)
      )
      yield* replace(before.map(({ file_id }) => file_id))
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
          ? Effect.andThen(settle, lookUp(document.id)).pipe(
            Effect.flatMap((before) => put(document, before)),
            exclusively(document.id)
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
      Effect.flatMap(lookUp(id), ([found]) => found === undefined ? Effect.succeed(Option.none()) : readPassage(found))

    const update = (id: DocumentId, patch: DocumentPatch): Effect.Effect<Option.Option<Document>, ProviderError> =>
      Effect.gen(function*() {
        yield* checkPatch(name, patch)
        const found = yield* lookUp(id)
        const [first] = found
        const known = first === undefined ? Option.none<Document>() : yield* readPassage(first)
        if (Option.isNone(known)) return known
        const changed: Document = { ...known.value, ...patch, id }
        const refused = refuse("update", changed)
        if (refused !== undefined) return yield* refused
        if (patch.title === undefined && patch.content === undefined) {
          const { attributes } = OpenAiDocument.encode(changed, "attributes")
          yield* Effect.forEach(found, ({ file_id }) => client.storeFiles.update(storeId, file_id, attributes))
          yield* forgetFiles
        } else {
          yield* settle
          yield* put(changed, found)
        }
        return Option.some(changed)
      }).pipe(exclusively(id))

    const remove = (id: DocumentId): Effect.Effect<boolean, ProviderError> =>
      Effect.gen(function*() {
        yield* settle
        const found = yield* lookUp(id)
        const deleted = yield* Effect.forEach(found, ({ file_id }) => deleteFile(file_id))
        yield* forgetFiles
        return deleted.includes(true)
      }).pipe(exclusively(id))

    const search = Effect.fnUntraced(function*(
      request: SearchRequest
    ): Effect.fn.Return<SearchAnswer, ProviderError> {
      const limit = yield* checkSearch(name, request, undefined)
      const { filter, mode, query, threshold = 0 } = request
      const hits = new Map<DocumentId, Hit>()
      const answer = (...losses: ReadonlyArray<Loss>): SearchAnswer => ({
        mode: "vector",
        hits: Array.from(hits.values()).slice(0, limit),
        losses: mode === "lexical" || mode === "hybrid" ? ["VectorInsteadOfLexical", ...losses] : losses
      })
      const wide = filter === undefined ? "everything" : widen(filter)
      const seen = new Set<DocumentId>()
      for (let round = 0; round < searchRounds && hits.size < limit; round++) {
        // Several passages can be of one document, and a widened filter lets others through.
        const size = filter === undefined && round === 0 ? Math.min(passagesAtMost, 2 * limit) : passagesAtMost
        const unseen = seen.size === 0
          ? "everything"
          : { type: "nin" as const, key: OpenAiDocument.idKey, value: Array.from(seen) }
        const filters = both([wide, unseen])
        if (filters === "nothing") return answer()
        const passages = yield* inStore(client.stores.search(storeId, {
          query,
          max_num_results: size,
          rewrite_query: false,
          ranking_options: {
            ranker: options.ranker ?? "auto",
            ...(threshold > 0 ? { score_threshold: Math.min(1, threshold) } : {})
          },
          ...(filters === "everything" ? {} : { filters })
        }))
        for (const passage of passages) {
          const attributes = attributesOf(passage)
          const id = OpenAiDocument.documentId(passage.file_id, attributes, passage.filename)
          seen.add(id)
          const own = OpenAiDocument.ownAttributes(attributes)
          if (replaced.has(passage.file_id) || hits.has(id) || passage.score < threshold) continue
          if (filter !== undefined && !matches(filter, own.attributes ?? {})) continue
          const text = passage.content.map((part) => part.text ?? "").join("\n")
          hits.set(id, {
            id,
            ...OpenAiDocument.passage(passage.filename, text, attributes),
            ...own,
            score: passage.score
          })
        }
        if (passages.length < size) return answer()
      }
      return hits.size >= limit
        ? answer()
        : answer(filter === undefined || isExact(filter) ? "FewerThanAsked" : "FilterWeakened")
    })

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

    /** Uploads, attaches together, waits; tells of each document what became of it. */
    const storePart = Effect.fnUntraced(function*(
      part: ReadonlyArray<Planned>,
      before: ReadonlyMap<DocumentId, ReadonlyArray<FileId>>
    ) {
      const ids = yield* Effect.forEach(part, ({ encoded, uploaded }) => {
        if (uploaded === undefined) return Effect.result(upload(encoded))
        lost.set(encoded.filename, uploaded)
        return Effect.succeed(Result.succeed(uploaded))
      }, { concurrency })
      const sent = ids.flatMap((id, i) => {
        const planned = part[i]
        return planned === undefined || Result.isFailure(id) ? [] : [{ ...planned, id: id.success }]
      })
      const attached = sent.length === 0 ? Result.succeed(new Map<FileId, StoreFile>()) : yield* attachAll(sent)
      const fileOf = (id: FileId) => Result.isFailure(attached) ? undefined : attached.success.get(id)
      const stored = sent.filter(({ id }) => fileOf(id)?.status === "completed")
      for (const { encoded } of stored) lost.delete(encoded.filename)
      const gone = yield* abandon(part.map(({ encoded }) => encoded.filename))
      yield* replace(
        stored.flatMap(({ document, id }) => (before.get(document.id) ?? []).filter((fileId) => fileId !== id))
      )
      return part.map(({ document, encoded }, i): ItemReport => {
        const id = ids[i]
        if (id === undefined || Result.isFailure(id)) {
          // What was never attached is not in the store, whatever became of the upload.
          return { _tag: "Failed", id: document.id, error: id?.failure ?? storeMissing }
        }
        const file = fileOf(id.success)
        if (file?.status === "completed") return { _tag: "Stored", id: document.id }
        const error = Result.isFailure(attached)
          ? attached.failure
          : Client.processingError(name, "addMany", file ?? absentFile(id.success, storeId))
        return { _tag: gone.has(encoded.filename) ? "Failed" : "Unknown", id: document.id, error }
      })
    }, (self, part) => working(part.map(({ encoded }) => encoded.filename), self))

    const attachAll = (sent: ReadonlyArray<Planned & { readonly id: FileId }>) =>
      inStore(client.batches.create(
        storeId,
        sent.map(({ encoded, id }) => ({ file_id: id, attributes: encoded.attributes }))
      )).pipe(
        // Files that are still in progress at the deadline show as such in the list.
        Effect.tap((batch) => Effect.ignore(client.batches.processed(batch))),
        Effect.flatMap((batch) =>
          Stream.runFold(
            client.batches.files(storeId, batch.id),
            () => new Map<FileId, StoreFile>(),
            (found, file) => found.set(file.id, file)
          )
        ),
        Effect.result
      )

    const addMany = Effect.fnUntraced(function*(
      documents: ReadonlyArray<Document>,
      batch: BatchOptions = {}
    ): Effect.fn.Return<BatchReport, ProviderError> {
      const size = Math.min(2_000, yield* checkBatchSize(name, batch.batchSize ?? 500))
      yield* settle
      const operation = batch.operationId === undefined ? yield* unique : digest(batch.operationId)
      const reports = new Map<DocumentId, ItemReport>()
      const refused = new Map<Document, ItemReport>()
      // Of several with one id the last is stored, as if they were added one by one.
      const chosen = new Map<DocumentId, Document>()
      for (const document of documents) {
        const error = refuse("addMany", document)
        if (error === undefined) chosen.set(document.id, document)
        else refused.set(document, { _tag: "Failed", id: document.id, error })
      }
      const before = yield* lookUpMany(Array.from(chosen.keys()))
      // What this very operation uploaded before it was cut short, by document.
      const earlier = new Map<DocumentId, Array<FileObject>>()
      if (batch.operationId !== undefined) {
        for (const file of yield* uploads((filename) => filename.includes(`~${storeTag}-${operation}-`))) {
          for (const { id } of Option.toArray(OpenAiDocument.parseName(file.filename))) {
            earlier.set(id, [...earlier.get(id) ?? [], file])
          }
        }
      }
      /** Whether an upload of the operation's is in the store, on its way, broken, or was never attached. */
      const stateOf = (document: Document, file: FileObject): Effect.Effect<string, ProviderError> =>
        before.get(document.id)?.includes(file.id) === true
          ? Effect.succeed("completed")
          : Effect.map(
            client.storeFiles.get(storeId, file.id),
            Option.match({ onNone: () => "unattached", onSome: ({ status }) => status })
          )
      const broken: Array<FileId> = []
      const plan = Effect.fnUntraced(
        function*(document: Document): Effect.fn.Return<Option.Option<Planned>, ProviderError> {
          const encoded = OpenAiDocument.encode(document, yield* token(operation))
          let usable: FileObject | undefined
          for (const file of earlier.get(document.id) ?? []) {
            const state = yield* stateOf(document, file)
            if (state === "completed") {
              reports.set(document.id, { _tag: "AlreadyStored", id: document.id })
              return Option.none()
            }
            // The same title and length: the same text, as far as an operation's id means the same batch.
            const title = Option.map(OpenAiDocument.parseName(file.filename), ({ titleLength }) => titleLength)
            const same = file.bytes === Buffer.byteLength(encoded.text) &&
              Option.contains(title, document.title?.length)
            if (state === "unattached" && same) usable = file
            else broken.push(file.id)
          }
          return Option.some(
            usable === undefined
              ? { document, encoded, uploaded: undefined }
              : { document, encoded: { ...encoded, filename: usable.filename }, uploaded: usable.id }
          )
        }
      )
      const work = (yield* Effect.forEach(chosen.values(), plan, { concurrency })).flatMap(Option.toArray)
      yield* replace(broken)
      let done = documents.length - work.length
      for (let start = 0; start < work.length; start += size) {
        const part = work.slice(start, start + size)
        for (const report of yield* storePart(part, before)) reports.set(report.id, report)
        done += part.length
        yield* forgetFiles
        yield* batch.onProgress?.(done, documents.length) ?? Effect.void
      }
      return {
        items: documents.map((document) =>
          refused.get(document) ?? reports.get(document.id) ?? { _tag: "AlreadyStored", id: document.id }
        )
      }
    })

    return {
      name,
      modes: ["vector"],
      filters: isExact,
      search,
      add,
      addMany,
      get,
      update,
      delete: remove,
      list,
      documents: everyDocument(list),
      stats: Effect.flatMap(
        client.stores.get(storeId),
        Option.match({
          onNone: () => Effect.fail(storeMissing),
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

const absentFile = (id: FileId, vector_store_id: VectorStoreId): StoreFile => ({
  id,
  vector_store_id,
  created_at: 0,
  status: "in_progress",
  usage_bytes: 0
})

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
  const age = Duration.toSeconds(Duration.fromInputUnsafe(options.olderThan ?? "1 hour"))
  const before = (yield* Clock.currentTimeMillis) / 1_000 - age
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

const setting = (variable: string) =>
  Effect.map(Config.option(Config.String(variable)), Option.filter((value) => value.trim() !== ""))

/** `OPENAI_API_KEY`, `OPENAI_VECTORSTORE` and `OPENAI_BASE_URL`; the first two must be set. */
export const configuration: Effect.Effect<
  Pick<Options & Client.Options, "apiKey" | "vectorStore" | "baseURL">,
  NotConfigured | InvalidOptions | Config.ConfigError
> = Effect.gen(function*() {
  const apiKey = yield* setting("OPENAI_API_KEY")
  const vectorStore = yield* setting("OPENAI_VECTORSTORE")
  const baseURL = Option.getOrUndefined(yield* setting("OPENAI_BASE_URL"))
  if (Option.isNone(apiKey) || Option.isNone(vectorStore)) {
    const missing = [
      ...(Option.isNone(apiKey) ? ["OPENAI_API_KEY"] : []),
      ...(Option.isNone(vectorStore) ? ["OPENAI_VECTORSTORE"] : [])
    ]
    return yield* new NotConfigured({ missing })
  }
  const id = Schema.decodeUnknownOption(VectorStoreId)(vectorStore.value)
  if (Option.isNone(id)) {
    return yield* new InvalidOptions({
      module: "OpenAiStore",
      field: "OPENAI_VECTORSTORE",
      message: "must be the id of a vector store, such as vs_abc123"
    })
  }
  return { apiKey: Redacted.make(apiKey.value), vectorStore: id.value, baseURL }
})

/** The store as the environment has it; fails with `NotConfigured` where the environment has none. */
export const layerConfig = (
  options?: Partial<Options & Client.Options>
): Layer.Layer<VectorStore | OpenAiClient, ProviderError | InvalidOptions | NotConfigured | Config.ConfigError> =>
  Layer.unwrap(Effect.map(configuration, (found) => layer({ ...options, ...found })))
