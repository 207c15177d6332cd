/** Documents as rows of an answer, and lists as parameters. */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
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

// Lists go as arrays of a given type, in binary: guessed from its elements, one type would have to fit them all.
const array = (oid: number) => (sql: SqlClient, values: ReadonlyArray<string | number | null>): Fragment =>
  sql`${Result.getOrThrow(PgTypes.array(values, oid))}`
export const textArray: (sql: SqlClient, values: ReadonlyArray<string | null>) => Fragment = array(PgTypes.OID.text)
export const intArray: (sql: SqlClient, values: ReadonlyArray<number>) => Fragment = array(PgTypes.OID.int4)
export const floatArray: (sql: SqlClient, values: ReadonlyArray<number>) => Fragment = array(PgTypes.OID.float8)
