/**
 * How a document is kept as an OpenAI file, and read back: the same document makes the same file everywhere.
 *
 * **Details**
 *
 * The file's name is `id~title length~operation.txt`: it names the document and the operation that stored it even where
 * a file was uploaded and never attached. The text is the title, a blank line, the content. The attributes are the
 * document's own, with `doc_id` and, where there is room, `doc_title` beside them.
 */
import { Option, Schema } from "effect"
import { type Attributes, type Document, DocumentId } from "./VectorStore.ts"

/** The attribute that holds the document's id. */
export const idKey = "doc_id"

/** The attribute that holds the title, cut to what an attribute can hold. */
export const titleKey = "doc_title"

/** How many attributes a document may have: the API's 16, less the one for the id. */
export const maxAttributes = 15

const maxValue = 512

/** A document as it is uploaded and attached. */
export interface Encoded {
  readonly filename: string
  readonly text: string
  readonly attributes: Attributes
}

// No path separators, no percent signs (form encoders escape with them), and no `~`, which parts the name.
const encodeName = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replace(/~/g, "%7E").replace(/%/g, "=")

const decodeName = Option.liftThrowable((text: string): string => decodeURIComponent(text.replace(/=/g, "%")))

/** What a file's name says. */
export interface Name {
  readonly id: DocumentId
  /** UTF-16 code units; absent without a title. */
  readonly titleLength: number | undefined
  /** The operation that stored it. */
  readonly operation: string
}

/** The name of a document's file. `operation` is made of letters, digits and hyphens. */
export const filename = (document: Pick<Document, "id" | "title">, operation: string): string =>
  `${encodeName(document.id)}~${document.title?.length ?? "-"}~${operation}.txt`

/** Reads a name made by `filename`; none for a file of someone else's. */
export const parseName = (name: string): Option.Option<Name> => {
  const [, encoded, length, operation] = /^([^~]+)~(\d+|-)~([\w-]+)\.txt$/.exec(name) ?? []
  return encoded === undefined || operation === undefined
    ? Option.none()
    : decodeName(encoded).pipe(
      Option.flatMap(Schema.decodeUnknownOption(DocumentId)),
      Option.map((id) => ({ id, titleLength: length === "-" ? undefined : Number(length), operation }))
    )
}

/** The file of a document. The document keeps the contract's limits and has at most `maxAttributes` attributes. */
export const encode = (document: Document, operation: string): Encoded => {
  const own = document.attributes ?? {}
  const room = Object.keys(own).length < maxAttributes
  return {
    filename: filename(document, operation),
    text: document.title === undefined ? document.content : `${document.title}\n\n${document.content}`,
    attributes: {
      ...own,
      [idKey]: document.id,
      ...(document.title === undefined || !room ? {} : { [titleKey]: document.title.slice(0, maxValue).toWellFormed() })
    }
  }
}

/** The document's own attributes, or none. */
export const ownAttributes = (attributes: Attributes | undefined): { readonly attributes?: Attributes } => {
  const { [idKey]: _id, [titleKey]: _title, ...own } = attributes ?? {}
  return Object.keys(own).length === 0 ? {} : { attributes: own }
}

/** Whose file it is: as its attributes say, else its name, else the file itself is the document. */
export const documentId = (
  fileId: string,
  attributes: Attributes | undefined,
  name?: string
): DocumentId =>
  Schema.decodeUnknownOption(DocumentId)(attributes?.[idKey]).pipe(
    Option.orElse(() => name === undefined ? Option.none() : Option.map(parseName(name), ({ id }) => id)),
    Option.getOrElse(() => DocumentId.make(fileId))
  )

/** The document in a whole file. A file of someone else's has its name as title. */
export const decode = (
  fileId: string,
  name: string,
  text: string,
  attributes: Attributes | undefined
): Document => {
  const id = documentId(fileId, attributes, name)
  const own = ownAttributes(attributes)
  return Option.match(parseName(name), {
    onNone: () => ({ id, title: name, content: text, ...own }),
    onSome: ({ titleLength }) =>
      titleLength === undefined
        ? { id, content: text, ...own }
        : { id, title: text.slice(0, titleLength), content: text.slice(titleLength + 2), ...own }
  })
}

/** The document in a whole file as its attributes alone tell it; none where its name is needed. */
export const decodeByAttributes = (text: string, attributes: Attributes): Option.Option<Document> => {
  const id = Schema.decodeUnknownOption(DocumentId)(attributes[idKey])
  const title = attributes[titleKey]
  const own = ownAttributes(attributes)
  const room = Object.keys(own.attributes ?? {}).length < maxAttributes
  if (Option.isNone(id) || !room || (typeof title === "string" && title.length >= maxValue)) return Option.none()
  return typeof title === "string"
    ? Option.some({ id: id.value, title, content: text.slice(title.length + 2), ...own })
    : Option.some({ id: id.value, content: text, ...own })
}

/** Title and content of a passage that a search found. A title that was cut is whole where the passage begins with it. */
export const passage = (
  name: string,
  text: string,
  attributes: Attributes | undefined
): { readonly title?: string; readonly content: string } => {
  const parsed = Option.getOrUndefined(parseName(name))
  const kept = attributes?.[titleKey]
  const title = typeof kept === "string" ? kept : parsed === undefined ? name : undefined
  if (title === undefined) return { content: text }
  const length = parsed?.titleLength
  // Where the cut parts a pair of surrogates, the last character kept is another than the title's.
  return length !== undefined && text.startsWith(title.slice(0, maxValue - 1)) && text.startsWith("\n\n", length)
    ? { title: text.slice(0, length), content: text.slice(length + 2) }
    : { title, content: text }
}
