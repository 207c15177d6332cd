/**
 * Vectors in Postgres by pgvector: one row for each document and space, an HNSW index for each space that is large enough.
 * Where there is no pgvector, the reason is told.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { EmbeddingSpace } from "../Embedder.ts"
import type { Hit } from "../VectorStore.ts"
import { columns, intArray, type Row, type Scored, textArray, toHit } from "./postgresRows.ts"
import { exists, type Tables, takeLock } from "./postgresSchema.ts"
import { transaction } from "./transaction.ts"

/** What the database can do with vectors. */
export type Vectors =
  | { readonly _tag: "None"; readonly why: string }
  | {
    readonly _tag: "Indexed"
    /** The space's number in this database. */
    readonly space: number
    /** The type the index compares by, such as `vector(1536)`; of the rows' own type where there is no index. */
    readonly type: string
    /** Whether an index scan goes on until enough rows pass the filter (pgvector 0.8). */
    readonly iterative: boolean
  }

/** There can be vectors. */
export type Indexed = Extract<Vectors, { _tag: "Indexed" }>

/**
 * Rows of up to a page keep their vector, which 2 kB is the usual limit for: to compare all is two to three times as quick
 * as to fetch each from the table beside.
 */
const wholePage = 8_160

/** Prepares the tables for an embedding space, or says why there can be no vectors. */
export const prepare = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, space: EmbeddingSpace | undefined): Effect.fn.Return<Vectors, SqlError> {
    if (space === undefined) return { _tag: "None", why: "the store has no embedder" }
    const installed = sql<{ readonly version: string }>`
      SELECT extversion AS version FROM pg_extension WHERE extname = 'vector'`
    let [extension] = yield* installed
    if (extension === undefined) {
      const [available] = yield* sql`SELECT 1 FROM pg_available_extensions WHERE name = 'vector'`
      if (available === undefined) return { _tag: "None", why: "the server has no pgvector" }
      const made = yield* Effect.result(
        transaction(
          sql,
          Effect.andThen(sql`SELECT ${takeLock(sql, "extension")}`, sql`CREATE EXTENSION IF NOT EXISTS vector`)
        )
      )
      ;[extension] = yield* installed
      if (extension === undefined) {
        return {
          _tag: "None",
          why: made._tag === "Failure"
            ? "pgvector is not enabled, and this role may not: run CREATE EXTENSION vector as the owner"
            : "pgvector is not enabled"
        }
      }
    }
    const iterative = atLeast(extension.version, 0, 8)
    const known = sql<{ readonly no: number }>`SELECT no FROM ${t.spaces} WHERE id = ${space.id}`
    const [before] = (yield* exists(sql, t, "spaces")) ? yield* known : []
    if (before !== undefined) return { _tag: "Indexed", space: before.no, type: indexType(space), iterative }
    const no = yield* transaction(
      sql,
      Effect.gen(function*() {
        yield* sql`SELECT ${takeLock(sql, t.schema)}`
        yield* sql`CREATE TABLE IF NOT EXISTS ${t.spaces} (
        no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id text NOT NULL UNIQUE,
        provider text NOT NULL,
        model text NOT NULL,
        dimensions int NOT NULL,
        revision text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
      )`
        yield* sql`CREATE TABLE IF NOT EXISTS ${t.embeddings} (
        document int NOT NULL REFERENCES ${t.documents} (no) ON DELETE CASCADE,
        space int NOT NULL REFERENCES ${t.spaces} (no),
        embedding vector NOT NULL,
        PRIMARY KEY (document, space)
      ) WITH (toast_tuple_target = ${sql.literal(String(wholePage))})`
        const [other] = yield* known
        if (other !== undefined) return other.no
        const [made] = yield* sql<{ readonly no: number }>`
        INSERT INTO ${t.spaces} (id, provider, model, dimensions, revision)
        VALUES (${space.id}, ${space.provider}, ${space.model}, ${space.dimensions}, ${space.revision}) RETURNING no`
        return made?.no ?? 0
      })
    )
    return { _tag: "Indexed", space: no, type: indexType(space), iterative }
  }
)

/**
 * Makes the space's index where it is missing and there are at least `from` rows.
 *
 * **Details**
 *
 * An index made over rows that are there costs a quarter of one that grows with them.
 */
export const makeIndex = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, { space, type }: Indexed, from: number) {
    if (type === "vector") return
    const index = `embeddings_space_${space}`
    const missing = Effect.gen(function*() {
      if (yield* exists(sql, t, index)) return false
      const [row] = yield* sql<{ readonly rows: number }>`
      SELECT count(*)::int AS rows FROM ${t.embeddings} WHERE space = ${space}`
      return row !== undefined && row.rows >= from
    })
    if (!(yield* missing)) return
    yield* transaction(
      sql,
      Effect.gen(function*() {
        yield* sql`SELECT ${takeLock(sql, t.schema)}, set_config('statement_timeout', '0', true),
      set_config('maintenance_work_mem', '256MB', true)`
        if (!(yield* missing)) return
        yield* sql`CREATE INDEX ${sql(index)} ON ${t.embeddings}
      USING hnsw ((embedding::${sql.literal(type)}) ${sql.literal(`${type.replace(/\(.*/, "")}_cosine_ops`)})
      WHERE space = ${sql.literal(String(space))}`
      })
    )
  }
)

/** pgvector's HNSW index holds 2,000 dimensions as they are and 4,000 at half the precision. */
const indexType = ({ dimensions }: EmbeddingSpace): string =>
  dimensions <= 2_000 ? `vector(${dimensions})` : dimensions <= 4_000 ? `halfvec(${dimensions})` : "vector"

const atLeast = (version: string, major: number, minor: number): boolean => {
  const [first = 0, second = 0] = version.split(".").map(Number)
  return first > major || (first === major && second >= minor)
}

/** How many neighbours the index looks at; more find more and take longer. */
const breadth = (limit: number): number => Math.min(1_000, Math.max(200, 2 * limit))

/** How a search through the index is set up, for one transaction: a pooler hands the connection to somebody else after it. */
export const setUp = (sql: SqlClient, vectors: Indexed, limit: number): Fragment =>
  sql`set_config('hnsw.ef_search', ${String(breadth(limit))}, true)${
    sql.literal(
      vectors.iterative
        ? ", set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.max_scan_tuples', '2147483647', true)"
        : ""
    )
  }`

/** A vector of the document with the number. */
interface Numbered {
  readonly no: number
  readonly values: ReadonlyArray<number>
}

const given = (sql: SqlClient, embeddings: ReadonlyArray<Numbered>): Fragment =>
  sql`unnest(${intArray(sql, embeddings.map(({ no }) => no))}, ${
    textArray(sql, embeddings.map(({ values }) => vectorText(values)))
  }) AS x (document, embedding)`

/** Stores vectors of documents that have none in the space. */
export const add = (sql: SqlClient, t: Tables, { space }: Indexed, embeddings: ReadonlyArray<Numbered>) =>
  sql`INSERT INTO ${t.embeddings} (document, space, embedding)
    SELECT document, ${space}::int, embedding::vector FROM ${given(sql, embeddings)}`

/** A document without a vector, by its number. */
export interface Missing extends Row {
  readonly no: number
}

const withoutVector = (sql: SqlClient, t: Tables, { space }: Indexed): Fragment =>
  sql`FROM ${t.documents} AS d WHERE NOT EXISTS (
    SELECT FROM ${t.embeddings} AS e WHERE e.document = d.no AND e.space = ${space}::int)`

export const countMissing = (sql: SqlClient, t: Tables, vectors: Indexed) =>
  Effect.map(
    sql<{ readonly total: number }>`SELECT count(*)::int AS total ${withoutVector(sql, t, vectors)}`,
    ([counted]) => counted?.total ?? 0
  )

/** The next documents without a vector, after the number `after`. */
export const missing = (sql: SqlClient, t: Tables, vectors: Indexed, after: number, limit: number) =>
  sql<Missing>`SELECT d.no, ${columns(sql)} ${withoutVector(sql, t, vectors)}
    AND d.no > ${after} ORDER BY d.no LIMIT ${limit}`

/** Stores what was embedded, and says how many: a document that was changed meanwhile has another number and another text. */
export const addMissing = (sql: SqlClient, t: Tables, { space }: Indexed, embeddings: ReadonlyArray<Numbered>) =>
  Effect.map(
    sql`INSERT INTO ${t.embeddings} (document, space, embedding)
      SELECT x.document, ${space}::int, x.embedding::vector
      FROM ${given(sql, embeddings)} JOIN ${t.documents} AS d ON d.no = x.document
      ON CONFLICT DO NOTHING RETURNING document`,
    (rows) => rows.length
  )

/** Rows a condition may leave before they are worth an index scan; fewer are compared one by one, which loses none. */
const fewRows = 2_000

/** The nearest of the documents that keep to the condition on `d`. */
export const nearest = Effect.fnUntraced(function*(
  sql: SqlClient,
  t: Tables,
  vectors: Indexed,
  values: ReadonlyArray<number>,
  condition: Fragment | undefined,
  limit: number
): Effect.fn.Return<ReadonlyArray<Hit>, SqlError> {
  const vector = vectorText(values)
  const space = sql.literal(String(vectors.space))
  const few = condition !== undefined && (yield* sql<{ readonly count: number }>`
    SELECT count(*)::int AS count FROM (
      SELECT FROM ${t.documents} AS d WHERE ${condition} LIMIT ${fewRows + 1}
    ) AS kept`)[0]?.count !== fewRows + 1
  const type = sql.literal(vectors.type)
  const found = few
    ? sql`WITH kept AS MATERIALIZED (SELECT d.no FROM ${t.documents} AS d WHERE ${condition ?? sql`true`})
      SELECT e.document, e.embedding <=> ${vector}::vector AS distance
      FROM kept JOIN ${t.embeddings} AS e ON e.document = kept.no AND e.space = ${space}
      ORDER BY distance LIMIT ${limit}`
    : sql`SELECT e.document, e.embedding::${type} <=> ${vector}::${type} AS distance
      FROM ${t.embeddings} AS e ${
      condition === undefined
        ? sql`WHERE e.space = ${space}`
        : sql`JOIN ${t.documents} AS d ON d.no = e.document WHERE e.space = ${space} AND ${condition}`
    } ORDER BY distance LIMIT ${limit}`
  const rows = yield* sql<Scored>`SELECT ${columns(sql)}, (1 - found.distance)::real AS score
    FROM (${found}) AS found JOIN ${t.documents} AS d ON d.no = found.document
    ORDER BY score DESC, length(d.id), d.id`
  return rows.map(toHit)
})

/** Six places are what single precision keeps of values below 1. Most of a local vector is 0. */
const vectorText = (values: ReadonlyArray<number>): string =>
  `[${values.map((value) => value === 0 ? "0" : Number(value.toPrecision(7))).join(",")}]`
