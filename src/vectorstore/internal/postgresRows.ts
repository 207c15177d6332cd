/** Documents as rows of an answer, and lists as parameters. */
import type { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { type Document, DocumentId, type Hit } from "../VectorStore.ts"

export interface Row {
  readonly id: string
  readonly title: string | null
  readonly content: string
  readonly attributes: Record<string, string | number | boolean> | null
}

export interface Scored extends Row {
  readonly score: number
}

/** The columns of a `Row`; `d` is the table of documents. */
export const columns = (sql: SqlClient): Fragment => sql.literal("d.id, d.title, d.content, d.attributes")

export const toDocument = ({ attributes, content, id, title }: Row): Document => ({
  id: DocumentId.make(id),
  ...(title === null ? {} : { title }),
  content,
  ...(attributes === null ? {} : { attributes })
})

export const toHit = (row: Scored): Hit => ({ ...toDocument(row), score: row.score })

// Lists go as one text each: an array parameter must not mix whole numbers and fractions.
export const textArray = (sql: SqlClient, texts: ReadonlyArray<string>): Fragment =>
  sql`ARRAY(SELECT json_array_elements_text(${JSON.stringify(texts)}::text::json))`
export const intArray = (sql: SqlClient, numbers: ReadonlyArray<number>): Fragment =>
  sql`${`{${numbers.join(",")}}`}::text::int[]`
export const floatArray = (sql: SqlClient, numbers: ReadonlyArray<number>): Fragment =>
  sql`${`{${numbers.join(",")}}`}::text::float8[]`
