/**
 * Uploads that leave no orphan. Storing a file takes two requests, upload and attach; what is between the two, and what was
 * replaced and not deleted yet, is written down here until it is settled.
 */
import { Effect, Option, Random, Stream } from "effect"
import type { ProviderError } from "../../ProviderError.ts"
import { type Encoded, parseName } from "../OpenAiDocument.ts"
import type { FileId, FileObject, Passage, StoreFile } from "../OpenAiTypes.ts"
import type { Attributes } from "../VectorStore.ts"
import { digest, type Place } from "./openAiPlace.ts"
import { halfDone } from "./requests.ts"

export interface Options {
  readonly concurrency: number
  /** How long cleaning up may take. */
  readonly cleanupMillis: number
}

export interface Uploads {
  /** Uploads, and remembers the file as lost until it is `kept`. */
  readonly upload: (encoded: Encoded) => Effect.Effect<FileId, ProviderError>
  /** Takes over a file that an earlier run uploaded, as lost until it is `kept`. */
  readonly adopt: (filename: string, id: FileId) => void
  /** Attaches; where the answer was lost, looks whether it happened. */
  readonly attach: (id: FileId, attributes: Attributes) => Effect.Effect<StoreFile, ProviderError>
  /** The file is in the store, and lost no more. */
  readonly kept: (filename: string) => void
  /** Deletes these uploads, and tells which are gone for sure. Never fails, and never takes long. */
  readonly abandon: (filenames: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>>
  /** Marks names as being worked on while the effect runs, so that nobody else cleans them up. */
  readonly working: <A, E>(filenames: ReadonlyArray<string>, self: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Deletes the files of documents that have newer ones; what is not deleted now is before the next write. */
  readonly replace: (ids: ReadonlyArray<FileId>) => Effect.Effect<void>
  readonly isReplaced: (id: FileId) => boolean
  /** Cleans up what earlier writes left behind. */
  readonly settle: Effect.Effect<void>
  /** Deletes a file everywhere. `false` for what was not there. */
  readonly delete: (id: FileId) => Effect.Effect<boolean, ProviderError>
  /** Every uploaded file whose name is wanted. */
  readonly named: (isWanted: (filename: string) => boolean) => Effect.Effect<Array<FileObject>, ProviderError>
}

export const makeUploads = ({ client, id: store, within }: Place, options: Options): Uploads => {
  const { cleanupMillis, concurrency } = options
  /** Uploads whose fate is open, by file name; the id where it is known. */
  const lost = new Map<string, FileId | undefined>()
  /** Files of documents that were replaced, not deleted yet. */
  const replaced = new Set<FileId>()
  /** Names that a write is working on. */
  const writing = new Set<string>()

  const remove = (id: FileId): Effect.Effect<boolean, ProviderError> =>
    // The file first: were it detached first, a failure in between would leave a file that nothing points to.
    Effect.flatMap(client.files.delete(id), (deleted) =>
      client.storeFiles.detach(store, id).pipe(
        Effect.map((detached) => deleted || detached),
        Effect.mapError((error) => deleted ? halfDone(error) : error)
      ))

  const named: Uploads["named"] = (isWanted) =>
    Stream.runCollect(Stream.filter(client.files.list, ({ filename }) => isWanted(filename)))

  const abandon: Uploads["abandon"] = (filenames) =>
    Effect.suspend(() => {
      const open = filenames.filter((filename) => lost.has(filename))
      const gone = new Set<string>()
      const unnamed = open.some((filename) => lost.get(filename) === undefined)
      const found = unnamed ? named((filename) => lost.has(filename)) : Effect.succeed([])
      return Effect.flatMap(found, (files) =>
        Effect.forEach(open, (filename) => {
          const id = lost.get(filename) ?? files.find((file) => file.filename === filename)?.id
          return Effect.map(id === undefined ? Effect.succeed(false) : remove(id), () => {
            lost.delete(filename)
            gone.add(filename)
          })
        }, { concurrency, discard: true })).pipe(
          Effect.timeout(cleanupMillis),
          Effect.ignore,
          Effect.as(gone)
        )
    })

  const removeReplaced = Effect.suspend(() =>
    Effect.forEach(
      Array.from(replaced),
      (id) => Effect.map(remove(id), () => replaced.delete(id)),
      { concurrency, discard: true }
    )
  )

  return {
    upload: ({ filename, text }) =>
      Effect.suspend(() => {
        lost.set(filename, undefined)
        return Effect.map(client.files.upload(filename, text), ({ id }) => {
          lost.set(filename, id)
          return id
        })
      }),
    adopt: (filename, id) => void lost.set(filename, id),
    attach: (id, attributes) =>
      Effect.catch(
        within(client.storeFiles.attach(store, { file_id: id, attributes })),
        (error) =>
          error.verdicts.breaker === "Failure" && error.reason.delivered !== "no"
            ? Effect.flatMap(client.storeFiles.get(store, id), Effect.fromOption).pipe(Effect.mapError(() => error))
            : Effect.fail(error)
      ),
    kept: (filename) => void lost.delete(filename),
    abandon,
    working: (filenames, self) =>
      Effect.suspend(() => {
        for (const filename of filenames) writing.add(filename)
        return Effect.ensuring(
          self,
          Effect.sync(() => {
            for (const filename of filenames) writing.delete(filename)
          })
        )
      }),
    replace: (ids) =>
      Effect.suspend(() => {
        for (const id of ids) replaced.add(id)
        return Effect.ignore(removeReplaced)
      }),
    isReplaced: (id) => replaced.has(id),
    settle: Effect.suspend(() => {
      const open = Array.from(lost.keys()).filter((filename) => !writing.has(filename))
      return open.length + replaced.size === 0
        ? Effect.void
        : Effect.andThen(abandon(open), Effect.ignore(removeReplaced))
    }),
    delete: remove,
    named
  }
}

/** Does the same to each file of a document, in order. */
export const toEach = <A>(files: ReadonlyArray<Passage>, use: (id: FileId) => Effect.Effect<A, ProviderError>) =>
  Effect.forEach(files, ({ file_id }, i) => Effect.mapError(use(file_id), (error) => i === 0 ? error : halfDone(error)))

/** An operation's name, where its caller gave none. */
export const newOperation = Effect.map(Effect.all([Random.nextInt, Random.nextInt]), ([a, b]) => digest(`${a} ${b}`))

/** What parts the names of two files of one document: whose store, by which operation, which upload. */
export const newToken = ({ tag }: Place, operation: string): Effect.Effect<string> =>
  Effect.map(newOperation, (upload) => `${tag}-${operation}-${upload}`)

/** The operation that stored a file, as its name tells. */
export const operationOf = (filename: string): string | undefined =>
  Option.getOrUndefined(parseName(filename))?.operation.split("-")[1]

/** Whether a file was uploaded by this operation for this store. */
export const isOf = ({ tag }: Place, operation: string) => (filename: string): boolean =>
  filename.includes(`~${tag}-${operation}-`)
