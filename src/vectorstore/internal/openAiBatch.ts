/**
 * Many documents at once: files are uploaded one by one and attached together, and every document gets its report. A batch
 * with an `operationId` goes on where an earlier run was cut short, for the id is part of each file's name.
 */
import { Effect, Option, Result, Stream } from "effect"
import type { ProviderError } from "../../ProviderError.ts"
import { processingError } from "../OpenAiClient.ts"
import * as OpenAiDocument from "../OpenAiDocument.ts"
import type { FileId, FileObject, StoreFile } from "../OpenAiTypes.ts"
import type { BatchOptions, BatchReport, Document, DocumentId, ItemReport } from "../VectorStore.ts"
import type { Lookup } from "./openAiLookup.ts"
import { digest, type Place } from "./openAiPlace.ts"
import { isOf, newOperation, newToken, type Uploads } from "./openAiUploads.ts"
import { checkBatch } from "./requests.ts"

export interface Options {
  readonly concurrency: number
  /** Why a document cannot be stored here. */
  readonly refuse: (document: Document) => ProviderError | undefined
  /** Run after each part. */
  readonly changed: Effect.Effect<void>
}

/** A document on its way in. */
interface Planned {
  readonly document: Document
  readonly encoded: OpenAiDocument.Encoded
  /** Its file, where an earlier run uploaded it. */
  readonly uploaded: FileId | undefined
}

type Sent = Planned & { readonly id: FileId }

/** The API attaches at most so many together. */
const largestPart = 2_000
const defaultPart = 500

export const makeAddMany = (place: Place, uploads: Uploads, lookup: Lookup, options: Options) => {
  const { client, id: store, missing, within } = place
  const { changed, concurrency, refuse } = options
  const { name } = client

  /** What an operation uploaded before it was cut short, by document. */
  const uploadedBy = Effect.fnUntraced(function*(operation: string) {
    const files = new Map<DocumentId, Array<FileObject>>()
    for (const file of yield* uploads.named(isOf(place, operation))) {
      for (const { id } of Option.toArray(OpenAiDocument.parseName(file.filename))) {
        files.set(id, [...files.get(id) ?? [], file])
      }
    }
    return files
  })

  /** Uploads, until so many in a row failed by the provider's fault that the rest need not be tried. */
  const uploadAll = (part: ReadonlyArray<Planned>, outage: Outage) =>
    Effect.forEach(part, ({ encoded, uploaded }) => {
      if (uploaded !== undefined) {
        uploads.adopt(encoded.filename, uploaded)
        return Effect.succeed(Result.succeed(uploaded))
      }
      return Effect.suspend(() =>
        outage.inRow >= concurrency && outage.last !== undefined
          ? Effect.succeed(Result.fail(outage.last))
          : Effect.tap(Effect.result(uploads.upload(encoded)), (result) =>
            Effect.sync(() => {
              const isOutage = Result.isFailure(result) && result.failure.verdicts.fallback === "Next"
              outage.inRow = isOutage ? outage.inRow + 1 : 0
              if (isOutage) outage.last = result.failure
            }))
      )
    }, { concurrency })

  /** The files as they are in the store, by id. */
  const attachAll = (sent: ReadonlyArray<Sent>) =>
    within(client.batches.create(
      store,
      sent.map(({ encoded, id }) => ({ file_id: id, attributes: encoded.attributes }))
    )).pipe(
      // Files that are still in progress at the deadline show as such in the list.
      Effect.tap((batch) => Effect.ignore(client.batches.processed(batch))),
      Effect.flatMap((batch) =>
        Stream.runFold(
          client.batches.files(store, batch.id),
          () => new Map<FileId, StoreFile>(),
          (found, file) => found.set(file.id, file)
        )
      ),
      Effect.result
    )

  /** Uploads, attaches together, waits; tells of each document what became of it. */
  const storePart = Effect.fnUntraced(function*(
    part: ReadonlyArray<Planned>,
    before: ReadonlyMap<DocumentId, ReadonlyArray<FileId>>,
    outage: Outage
  ) {
    const ids = yield* uploadAll(part, outage)
    const sent = ids.flatMap((id, i): ReadonlyArray<Sent> => {
      const planned = part[i]
      return planned === undefined || Result.isFailure(id) ? [] : [{ ...planned, id: id.success }]
    })
    const attached = sent.length === 0 ? Result.succeed(new Map<FileId, StoreFile>()) : yield* attachAll(sent)
    const fileOf = (id: FileId) => Result.isFailure(attached) ? undefined : attached.success.get(id)
    const stored = sent.filter(({ id }) => fileOf(id)?.status === "completed")
    for (const { encoded } of stored) uploads.kept(encoded.filename)
    const gone = yield* uploads.abandon(part.map(({ encoded }) => encoded.filename))
    yield* uploads.replace(
      stored.flatMap(({ document, id }) => (before.get(document.id) ?? []).filter((fileId) => fileId !== id))
    )
    return part.map(({ document, encoded }, i): ItemReport => {
      const id = ids[i]
      if (id === undefined || Result.isFailure(id)) {
        // What was never attached is not in the store, whatever became of the upload.
        return { _tag: "Failed", id: document.id, error: id?.failure ?? missing }
      }
      const file = fileOf(id.success)
      if (file?.status === "completed") return { _tag: "Stored", id: document.id }
      const error = Result.isFailure(attached)
        ? attached.failure
        : processingError(name, "addMany", file ?? { status: "in_progress" })
      return { _tag: gone.has(encoded.filename) ? "Failed" : "Unknown", id: document.id, error }
    })
  }, (self, part) => uploads.working(part.map(({ encoded }) => encoded.filename), self))

  return Effect.fnUntraced(function*(
    documents: ReadonlyArray<Document>,
    batch: BatchOptions = {}
  ): Effect.fn.Return<BatchReport, ProviderError> {
    const size = Math.min(largestPart, yield* checkBatch(name, batch, defaultPart))
    yield* uploads.settle
    const { operationId } = batch
    const operation = operationId === undefined ? yield* newOperation : digest(operationId)
    const reports = new Map<DocumentId, ItemReport>()
    const refused = new Map<Document, ItemReport>()
    // Of several with one id the last is stored, as if they were added one by one.
    const chosen = new Map<DocumentId, Document>()
    for (const document of documents) {
      const error = refuse(document)
      if (error === undefined) chosen.set(document.id, document)
      else refused.set(document, { _tag: "Failed", id: document.id, error })
    }
    const before = yield* lookup.many(Array.from(chosen.keys()))
    const earlier = operationId === undefined ? new Map<DocumentId, never>() : yield* uploadedBy(operation)
    /** Whether an upload of the operation's is in the store, on its way, broken, or was never attached. */
    const stateOf = (document: Document, file: FileObject): Effect.Effect<string, ProviderError> =>
      before.get(document.id)?.includes(file.id) === true
        ? Effect.succeed("completed")
        : Effect.map(
          client.storeFiles.get(store, file.id),
          Option.match({ onNone: () => "unattached", onSome: ({ status }) => status })
        )
    const broken: Array<FileId> = []
    const plan = Effect.fnUntraced(
      function*(document: Document): Effect.fn.Return<Option.Option<Planned>, ProviderError> {
        const encoded = OpenAiDocument.encode(document, yield* newToken(place, operation))
        let usable: FileObject | undefined
        for (const file of earlier.get(document.id) ?? []) {
          const state = yield* stateOf(document, file)
          if (state === "completed") {
            reports.set(document.id, { _tag: "AlreadyStored", id: document.id })
            return Option.none()
          }
          // The same title and length: the same text, as far as an operation's id means the same batch.
          const title = Option.map(OpenAiDocument.parseName(file.filename), ({ titleLength }) => titleLength)
          const same = file.bytes === Buffer.byteLength(encoded.text) && Option.contains(title, document.title?.length)
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
    yield* uploads.replace(broken)
    const outage: Outage = { inRow: 0, last: undefined }
    let done = documents.length - work.length
    for (let start = 0; start < work.length; start += size) {
      const part = work.slice(start, start + size)
      for (const report of yield* storePart(part, before, outage)) reports.set(report.id, report)
      done += part.length
      yield* changed
      yield* batch.onProgress?.(done, documents.length) ?? Effect.void
    }
    return {
      items: documents.map((document) =>
        refused.get(document) ?? reports.get(document.id) ?? { _tag: "AlreadyStored", id: document.id }
      )
    }
  })
}

/** How many uploads failed one after the other, and the last failure. */
interface Outage {
  inRow: number
  last: ProviderError | undefined
}
