/** The tables of a store in Postgres, made and brought up to date by whoever comes first. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { EmbeddingSpace } from "../Embedder.ts"
import { transaction } from "./transaction.ts"

/** Names in one schema of the database. */
export interface Tables {
  readonly schema: string
  readonly documents: Fragment
  readonly terms: Fragment
  readonly postings: Fragment
  readonly collection: Fragment
  readonly spaces: Fragment
  readonly embeddings: Fragment
  readonly operations: Fragment
  readonly migrations: Fragment
}

export const tables = (sql: SqlClient, schema: string): Tables => {
  // The schema is named in every statement: a pooler keeps no search_path.
  const named = (table: string): Fragment => sql.literal(`"${schema.replaceAll("\"", "\"\"")}"."${table}"`)
  return {
    schema,
    documents: named("documents"),
    terms: named("terms"),
    postings: named("postings"),
    collection: named("collection"),
    spaces: named("spaces"),
    embeddings: named("embeddings"),
    operations: named("operations"),
    migrations: named("migrations")
  }
}

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

/** The one number that the writers and migrators of a schema wait for; held to the end of the transaction. */
export const lockKey = (schema: string): string => `holdfast/${schema}`

export const takeLock = (sql: SqlClient, schema: string): Fragment =>
  sql`pg_advisory_xact_lock(hashtextextended(${lockKey(schema)}, 0))`

type Migration = (sql: SqlClient, t: Tables) => ReadonlyArray<Fragment>

/** In order; what has run once is never changed, only added to. */
const migrations: ReadonlyArray<Migration> = [
  (sql, t) => [
    sql`CREATE TABLE ${t.documents} (
      no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      id text COLLATE "C" NOT NULL UNIQUE,
      title text,
      content text NOT NULL,
      attributes jsonb,
      lexemes tsvector NOT NULL,
      length int NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )`,
    sql`CREATE INDEX ON ${t.documents} USING gin (attributes jsonb_path_ops)`,
    sql`CREATE TABLE ${t.terms} (
      no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      term text COLLATE "C" NOT NULL UNIQUE,
      frequency int NOT NULL
    ) WITH (fillfactor = 70)`,
    // Rows of 16 bytes and a key that answers without them; no foreign keys, for they would double the cost of a write.
    sql`CREATE TABLE ${t.postings} (
      term int NOT NULL,
      document int NOT NULL,
      count int NOT NULL,
      length int NOT NULL,
      PRIMARY KEY (term, document) INCLUDE (count, length)
    )`,
    sql`CREATE TABLE ${t.collection} (
      one boolean PRIMARY KEY DEFAULT true CHECK (one),
      documents bigint NOT NULL,
      length bigint NOT NULL
    )`,
    sql`INSERT INTO ${t.collection} (documents, length) VALUES (0, 0)`,
    sql`CREATE TABLE ${t.operations} (
      operation text COLLATE "C" NOT NULL,
      document text COLLATE "C" NOT NULL,
      stored_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (operation, document)
    )`
  ]
]

/**
 * Whether the schema has a table or index of this name.
 *
 * **Gotchas**
 *
 * Not by `to_regclass`: that answers from a cache which a lock of ours does not refresh, so that who waited for another
 * to make the tables would not see them.
 */
const exists = (sql: SqlClient, t: Tables, name: string) =>
  Effect.map(
    sql`SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE n.nspname = ${t.schema} AND c.relname = ${name}`,
    (rows) => rows.length > 0
  )

/** Makes what is missing. Safe for several processes at once, and for a role that may not create when nothing is missing. */
export const migrate = Effect.fnUntraced(function*(sql: SqlClient, t: Tables) {
  const literal = `"${t.schema.replaceAll("\"", "\"\"")}"`
  const version = Effect.gen(function*() {
    if (!(yield* exists(sql, t, "migrations"))) return 0
    const [last] = yield* sql<{ readonly version: number }>`
      SELECT coalesce(max(version), 0)::int AS version FROM ${t.migrations}`
    return last?.version ?? 0
  })
  if ((yield* version) >= migrations.length) return
  yield* transaction(
    sql,
    Effect.gen(function*() {
      yield* sql`SELECT ${takeLock(sql, t.schema)}`
      const done = yield* version
      if (done === 0) {
        yield* sql`CREATE SCHEMA IF NOT EXISTS ${sql.literal(literal)}`
        yield* sql`CREATE TABLE IF NOT EXISTS ${t.migrations} (
        version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()
      )`
      }
      for (const [index, migration] of migrations.entries()) {
        if (index < done) continue
        for (const statement of migration(sql, t)) yield* sql`${statement}`
        yield* sql`INSERT INTO ${t.migrations} (version) VALUES (${index + 1})`
      }
    })
  )
})

/** Prepares the tables for an embedding space, or says why there can be no vectors. */
export const prepareVectors = Effect.fnUntraced(
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
      )`
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
 * Makes the space's index where it is missing and there are enough rows for one.
 *
 * **Details**
 *
 * An index made over rows that are there costs a quarter of one that grows with them; without one, all rows are
 * compared, which is right too, and quick while they are few.
 */
export const indexVectors = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, { space, type }: Extract<Vectors, { _tag: "Indexed" }>) {
    if (type === "vector") return
    const index = `embeddings_space_${space}`
    const missing = Effect.gen(function*() {
      if (yield* exists(sql, t, index)) return false
      const [row] = yield* sql<{ readonly rows: number }>`
      SELECT count(*)::int AS rows FROM ${t.embeddings} WHERE space = ${space}`
      return row !== undefined && row.rows >= indexedFrom
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

/** Fewer rows are compared one by one. */
const indexedFrom = 2_000

/** pgvector's HNSW index holds 2,000 dimensions as they are and 4,000 at half the precision. */
const indexType = ({ dimensions }: EmbeddingSpace): string =>
  dimensions <= 2_000 ? `vector(${dimensions})` : dimensions <= 4_000 ? `halfvec(${dimensions})` : "vector"

const atLeast = (version: string, major: number, minor: number): boolean => {
  const [first = 0, second = 0] = version.split(".").map(Number)
  return first > major || (first === major && second >= minor)
}
