/** Documents in Postgres with all that is kept of them: their row, their words, their vectors. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { analyse } from "../../internal/bm25.ts"
import type { Vector } from "../Embedder.ts"
import type { Document, DocumentId } from "../VectorStore.ts"
import { columns, intArray, type Row, textArray, toDocument } from "./postgresRows.ts"
import type { Tables } from "./postgresSchema.ts"
import * as Vectors from "./postgresVectors.ts"
import * as Words from "./postgresWords.ts"

/** A document to be stored, with its vector where there is one. */
export interface Prepared {
  readonly document: Document
  readonly vector: Vector | undefined
}

/**
 * Stores documents of different ids. One that was there is taken out first and gets a new number: the index of words takes
 * higher numbers only.
 */
export const put = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, vectors: Vectors.Vectors, batch: ReadonlyArray<Prepared>) {
    if (batch.length === 0) return
    const ids = textArray(sql, batch.map(({ document }) => document.id))
    const known = yield* sql<{ readonly id: string }>`SELECT id FROM ${t.documents} WHERE id = ANY (${ids})`
    const before = known.length === 0 ? [] : yield* remove(sql, t, known.map(({ id }) => id))
    const created = new Map(before.map(({ created, id }) => [id, created]))
    const terms = batch.map(({ document: { content, title } }) => analyse(title, content))
    const texts = (of: (document: Document) => string | undefined) =>
      textArray(sql, batch.map(({ document }) => of(document) ?? null))
    // As lists and not as JSON, which the server takes longer to read.
    const rows = yield* sql<{ readonly no: number; readonly id: string }>`
      INSERT INTO ${t.documents} (id, title, content, attributes, lexemes, length, created_at)
      SELECT id, title, content, attributes::jsonb, lexemes::tsvector, length, coalesce(created::timestamptz, now())
      FROM unnest(${ids}, ${texts(({ title }) => title)}, ${texts(({ content }) => content)}, ${
      texts(({ attributes }) => attributes && JSON.stringify(attributes))
    }, ${textArray(sql, terms.map(Words.lexemes))}, ${intArray(sql, terms.map(({ length }) => length))}, ${
      texts(({ id }) => created.get(id))
    }) AS x (id, title, content, attributes, lexemes, length, created) RETURNING no, id`
    const numbers = new Map(rows.map(({ id, no }) => [id, no]))
    const entries = batch.flatMap(({ document: { id } }, i) => {
      const no = numbers.get(id)
      const found = terms[i]
      return no === undefined || found === undefined ? [] : [[no, found] as const]
    })
    yield* Words.add(sql, t, entries)
    if (vectors._tag === "None") return
    const embeddings = batch.flatMap(({ document: { id }, vector }) => {
      const no = numbers.get(id)
      return no === undefined || vector === undefined ? [] : [{ no, values: vector.values }]
    })
    if (embeddings.length > 0) yield* Vectors.add(sql, t, vectors, embeddings)
  }
)

/** Changes what is not searched by words or vectors: both stay, in every space. */
export const setAttributes = (sql: SqlClient, t: Tables, { attributes, id }: Document) =>
  sql`UPDATE ${t.documents} SET attributes = ${attributes === undefined ? null : JSON.stringify(attributes)}::jsonb
    WHERE id = ${id}`

/** Takes documents out, their vectors with them, and says which were there, and since when. */
export const remove = (sql: SqlClient, t: Tables, ids: ReadonlyArray<string>) =>
  sql<{ readonly id: string; readonly created: string }>`
    WITH gone AS (
      DELETE FROM ${t.documents} WHERE id = ANY (${textArray(sql, ids)})
      RETURNING no, id, lexemes, length, created_at
    ),
    ${Words.remove(sql, t)}
    SELECT id, created_at::text AS created FROM gone`

export const read = (sql: SqlClient, t: Tables, id: DocumentId): Effect.Effect<Document | undefined, SqlError> =>
  Effect.map(
    sql<Row>`SELECT ${columns(sql)} FROM ${t.documents} AS d WHERE d.id = ${id}`,
    ([row]) => row === undefined ? undefined : toDocument(row)
  )

/** The next documents after an id, in the order of ids. */
export const page = (sql: SqlClient, t: Tables, after: DocumentId | undefined, limit: number) =>
  Effect.map(
    sql<Row>`SELECT ${columns(sql)} FROM ${t.documents} AS d
      ${after === undefined ? sql`` : sql`WHERE d.id > ${after}`} ORDER BY d.id LIMIT ${limit}`,
    (rows) => rows.map(toDocument)
  )
