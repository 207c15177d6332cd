/**
 * Files to documents, and documents to a store. JSONL has a document on each line, Markdown and text are cut where a
 * paragraph ends. What cannot be read is told by file and line, and does not lose the rest.
 */
import { Effect, Exit, FileSystem, Option, Path, type PlatformError, Schema } from "effect"
import { createHash } from "node:crypto"
import type { ProviderError } from "../ProviderError.ts"
import { Attributes, Document, DocumentId, type Page, type Service } from "./VectorStore.ts"

/** Something that could not be read. */
export interface Problem {
  readonly file: string
  /** Counted from 1; absent where it is about the whole file. */
  readonly line?: number
  readonly message: string
}

/** A file as documents. */
export interface Source {
  readonly file: string
  readonly documents: ReadonlyArray<Document>
  readonly problems: ReadonlyArray<Problem>
  /** The same for the same text under the same name: ingesting it again stores nothing twice. */
  readonly operationId: string
  /** Where a text was cut, the name that its parts have in common: `name`, `name#2` and so on. */
  readonly partsOf?: string
}

/** What became of the documents of some sources. */
export interface Report {
  readonly stored: number
  readonly alreadyStored: number
  /** Refused, or of unknown fate. */
  readonly failed: ReadonlyArray<{ readonly file: string; readonly id: string; readonly error: ProviderError }>
}

const jsonLines = new Set([".jsonl", ".ndjson"])
const markdown = new Set([".md", ".markdown"])
const plain = new Set([".txt", ".text"])
const known = (extension: string): boolean =>
  jsonLines.has(extension) || markdown.has(extension) || plain.has(extension)

/**
 * The files that `paths` name, folders by what is in them; without hidden ones and `node_modules`, in order. Links are
 * followed, and a folder that they lead to again is not entered again.
 */
export const find = Effect.fnUntraced(function*(paths: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files: Array<string> = []
  const problems: Array<Problem> = []
  const entered = new Set<string>()
  const extension = (file: string): string => path.extname(file).toLowerCase()

  const visit = (entry: string, named: boolean): Effect.Effect<void> =>
    Effect.catch(enter(entry, named), ({ message, reason }) =>
      Effect.sync(() =>
        problems.push({
          file: entry,
          message: reason._tag === "NotFound" ? "there is no such file or folder" : message
        })
      ))
  /** What is wrong with one entry is told by its name, and does not lose the rest. */
  const enter: (entry: string, named: boolean) => Effect.Effect<void, PlatformError.PlatformError> = Effect.fnUntraced(
    function*(entry, named) {
      const { type } = yield* fs.stat(entry)
      if (type === "Directory") {
        const real = yield* fs.realPath(entry)
        if (entered.has(real)) return
        entered.add(real)
        for (const name of (yield* fs.readDirectory(entry)).sort()) {
          if (!name.startsWith(".") && name !== "node_modules") yield* visit(path.join(entry, name), false)
        }
      } else if (known(extension(entry)) && (named || type === "File")) files.push(entry)
      else if (named) problems.push({ file: entry, message: "is no Markdown (.md), text (.txt) or JSONL (.jsonl)" })
    }
  )
  // One file has one name, and so one document, however it is told.
  for (const entry of paths) yield* visit(path.normalize(entry), true)
  return { files: [...new Set(files)], problems }
})

/** Reads one file. Never fails: what goes wrong is among the problems. */
export const read = Effect.fnUntraced(function*(file: string): Effect.fn.Return<
  Source,
  never,
  FileSystem.FileSystem | Path.Path
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const bytes = yield* Effect.result(fs.readFile(file))
  const none = { file, documents: [], operationId: "" }
  if (bytes._tag === "Failure") {
    return { ...none, problems: [{ file, message: `cannot be read: ${bytes.failure.message}` }] }
  }
  const text = decodeText(bytes.success)
  if (Option.isNone(text)) return { ...none, problems: [{ file, message: "is not UTF-8 text" }] }
  const name = file.replaceAll("\\", "/")
  const found = jsonLines.has(path.extname(file).toLowerCase())
    ? fromJsonLines(name, text.value)
    : fromText(name, text.value, path.basename(file))
  const operationId = `ingest:${createHash("sha256").update(name).update("\0").update(text.value).digest("hex")}`
  return { file, ...found, operationId }
})

/**
 * Stores the documents of all sources, each file under its own operation id, so that an interrupted run goes on where
 * it was. Of a text that got shorter or empty, the parts that it no longer has are deleted.
 *
 * **Gotchas**
 *
 * A file that was stored before is not stored again, even where its documents were changed or deleted since; `again`
 * does. Only a text is of which a part is gone or says something else, as after another text of the same name.
 */
export const ingest = Effect.fnUntraced(function*(
  store: Pick<Service, "addMany" | "get" | "list" | "delete">,
  sources: ReadonlyArray<Source>,
  options?: {
    readonly again?: boolean | undefined
    readonly onProgress?: ((done: number, total: number) => Effect.Effect<void>) | undefined
  }
): Effect.fn.Return<Report, ProviderError> {
  const total = sources.reduce((sum, { documents }) => sum + documents.length, 0)
  const failed: Array<Report["failed"][number]> = []
  let stored = 0
  let alreadyStored = 0
  let before = 0
  for (const { documents, file, operationId, partsOf } of sources) {
    const start = before
    const add = (id: { readonly operationId?: string }) =>
      documents.length === 0
        ? Effect.succeed([])
        : Effect.map(
          store.addMany(documents, {
            ...id,
            onProgress: (done) => options?.onProgress?.(start + done, total) ?? Effect.void
          }),
          ({ items }) => items
        )
    let items = yield* add(options?.again === true ? {} : { operationId })
    if (partsOf !== undefined && items.every(({ _tag }) => _tag === "Stored" || _tag === "AlreadyStored")) {
      // The text was another in between.
      const earlier = documents.filter((_, i) => items[i]?._tag === "AlreadyStored")
      const there = earlier.length === 0
        ? new Map<string, string>()
        : yield* storedParts(store, partsOf, documents.length)
      if (!earlier.every(({ content, id }) => there.get(id) === words(content))) items = yield* add({})
      yield* deleteParts(store, partsOf, documents.length)
    }
    for (const item of items) {
      if ("error" in item) failed.push({ file, id: item.id, error: item.error })
      else if (item._tag === "Stored") stored++
      else alreadyStored++
    }
    before += documents.length
  }
  return { stored, alreadyStored, failed }
})

/** A provider may give back other spaces than it was given. */
const words = (text: string): string => text.replace(/\s+/g, " ").trim()

/** What is stored under the ids of a text's parts, by id: all but the first are next to each other in the list. */
const storedParts = Effect.fnUntraced(function*(
  store: Pick<Service, "get" | "list">,
  partsOf: string,
  parts: number
) {
  const name = partId(partsOf, 1)
  const found = new Map<string, string>()
  for (const { content, id } of Option.toArray(yield* store.get(name))) found.set(id, words(content))
  let after: DocumentId | undefined = parts > 1 ? DocumentId.make(`${name}#`) : undefined
  while (after !== undefined) {
    const page: Page = yield* store.list({ after, limit: Math.min(1_000, parts) })
    const ours = page.documents.filter(({ id }) => id.startsWith(`${name}#`))
    for (const { content, id } of ours) found.set(id, words(content))
    after = ours.length === page.documents.length ? page.next : undefined
  }
  return found
})

/** Deletes a text's parts after so many. The last one first: a run that is cut short leaves no gap to stop at. */
const deleteParts = Effect.fnUntraced(function*(
  store: Pick<Service, "get" | "delete">,
  partsOf: string,
  kept: number
) {
  let last = kept
  while (Option.isSome(yield* store.get(partId(partsOf, last + 1)))) last++
  for (; last > kept; last--) yield* store.delete(partId(partsOf, last))
})

const utf8 = new TextDecoder("utf-8", { fatal: true })
/** Nothing where the bytes are no UTF-8. A byte order mark is left out. */
const decodeText = Option.liftThrowable((bytes: Uint8Array): string => utf8.decode(bytes))
const parse = Option.liftThrowable((line: string): unknown => JSON.parse(line))

/** A line. The text may be called `content` or `text`, the attributes `attributes` or `metadata`; an id may be a number. */
const Line = Schema.Struct({
  id: Schema.Union([DocumentId, Schema.Int]),
  title: Schema.optionalKey(Schema.NullOr(Schema.String)),
  content: Schema.optionalKey(Document.fields.content),
  text: Schema.optionalKey(Document.fields.content),
  attributes: Schema.optionalKey(Schema.NullOr(Attributes)),
  metadata: Schema.optionalKey(Schema.NullOr(Attributes))
})
const decodeLine = Schema.decodeUnknownExit(Line)
const decodeDocument = Schema.decodeUnknownExit(Document)

const fromJsonLines = (file: string, text: string) => {
  const documents: Array<Document> = []
  const problems: Array<Problem> = []
  text.split("\n").forEach((raw, i) => {
    const line = i + 1
    if (raw.trim() === "") return
    const json = parse(raw)
    if (Option.isNone(json)) return problems.push({ file, line, message: "is no JSON" })
    const row = decodeLine(json.value)
    if (Exit.isFailure(row)) return problems.push({ file, line, message: why(row) })
    const { attributes = row.value.metadata, content = row.value.text, id, title } = row.value
    if (content === undefined) return problems.push({ file, line, message: "is no document: it has no \"text\"" })
    const document = decodeDocument({
      id: String(id),
      content,
      ...(title === undefined || title === null ? {} : { title }),
      ...(attributes === undefined || attributes === null ? {} : { attributes })
    })
    if (Exit.isFailure(document)) return problems.push({ file, line, message: why(document) })
    return documents.push(document.value)
  })
  return { documents, problems }
}

const why = (exit: Exit.Failure<unknown, Schema.SchemaError>): string => {
  const [reason] = exit.cause.reasons
  return `is no document: ${
    (reason?._tag === "Fail" ? reason.error.message : "malformed").replace(/\s+/g, " ").slice(0, 300)
  }`
}

/** Longer texts are cut, so that a hit shows what was found in them. */
const longestPart = 4_000

/** The id of a part, counted from 1. The end of a long path tells more than its start. */
const partId = (file: string, part: number): DocumentId =>
  DocumentId.make(`${file.slice(-500)}${part === 1 ? "" : `#${part}`}`)

const fromText = (file: string, text: string, name: string) => {
  const parts = cut(text)
  if (parts.length === 0) return { documents: [], problems: [{ file, message: "is empty" }], partsOf: file }
  const heading = /^#{1,6}\s+(\S.*)$/m.exec(text)?.[1]?.trim()
  const documents = parts.map((content, i): Document => ({
    id: partId(file, i + 1),
    title: heading ?? name,
    content,
    attributes: { source: file.slice(-512), part: i + 1 }
  }))
  return { documents, problems: [], partsOf: file }
}

/** Whole paragraphs up to the longest part; only a longer paragraph is cut within, where a word ends. */
const cut = (text: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  let part = ""
  const flush = (): void => {
    if (part.trim() !== "") parts.push(part.trim())
    part = ""
  }
  for (const paragraph of text.replaceAll("\r\n", "\n").split(/\n{2,}/)) {
    if (part.length + paragraph.length > longestPart || /^#{1,2}\s/.test(paragraph) && part.length > longestPart / 2) {
      flush()
    }
    let rest = paragraph
    while (rest.length > longestPart) {
      const space = rest.lastIndexOf(" ", longestPart)
      // A cut must not part a pair of surrogates.
      const end = space > 0
        ? space
        : /[\ud800-\udbff]/.test(rest.charAt(longestPart - 1))
        ? longestPart - 1
        : longestPart
      part = rest.slice(0, end)
      flush()
      rest = rest.slice(end)
    }
    part += `${part === "" ? "" : "\n\n"}${rest}`
  }
  flush()
  return parts
}
