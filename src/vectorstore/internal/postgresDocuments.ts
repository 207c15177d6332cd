/** Documents in Postgres with all that is kept of them: their row, their words, their vectors. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { analyse } from "../../internal/bm25.ts"
import type { Vector } from "../Embedder.ts"
import type { Document, DocumentId } from "../VectorStore.ts"
import { columns, type Row, textArray, toDocument } from "./postgresRows.ts"
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
    const analysed = new Map(
      batch.map(({ document: { content, id, title } }) => [id as string, analyse(title, content)])
    )
    const given = JSON.stringify(batch.map(({ document: { attributes, content, id, title } }) => {
      const terms = analysed.get(id)
      return {
        id,
        title,
        content,
        attributes,
        lexemes: terms && Words.lexemes(terms),
        length: terms?.length,
        created: created.get(id)
      }
    }))
    const rows = yield* sql<{ readonly no: number; readonly id: string }>`
      INSERT INTO ${t.documents} (id, title, content, attributes, lexemes, length, created_at)
      SELECT id, title, content, attributes, lexemes::tsvector, length, coalesce(created, now())
      FROM json_to_recordset(${given}::text::json) AS x (
        id text, title text, content text, attributes jsonb, lexemes text, length int, created timestamptz
      ) RETURNING no, id`
    const entries = rows.flatMap(({ id, no }) => {
      const terms = analysed.get(id)
      return terms === undefined ? [] : [[no, terms] as const]
    })
    yield* Words.add(sql, t, entries)
    if (vectors._tag === "None") return
    const numbers = new Map(rows.map(({ id, no }) => [id, no]))
    const embeddings = batch.flatMap(({ document, vector }) =>
      vector === undefined ? [] : [{ document: numbers.get(document.id), values: vector.values }]
    )
    if (embeddings.length > 0) yield* Vectors.add(sql, t, vectors, embeddings)
  }
)

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
