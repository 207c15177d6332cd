/** The tables of a store in Postgres, made and brought up to date by whoever comes first. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { transaction } from "./transaction.ts"

/** Names in one schema of the database. */
export interface Tables {
  readonly schema: string
  readonly documents: Fragment
  readonly postings: Fragment
  readonly collection: Fragment
  readonly spaces: Fragment
  readonly embeddings: Fragment
  readonly operations: Fragment
  readonly migrations: Fragment
}

/** A table by its name; the schema is named in every statement, for a pooler keeps no search_path. */
const named = (sql: SqlClient, schema: string, table: string): Fragment =>
  sql.literal(`"${schema.replaceAll("\"", "\"\"")}"."${table}"`)

export const tables = (sql: SqlClient, schema: string): Tables => ({
  schema,
  documents: named(sql, schema, "documents"),
  postings: named(sql, schema, "posting_lists"),
  collection: named(sql, schema, "collection"),
  spaces: named(sql, schema, "spaces"),
  embeddings: named(sql, schema, "embeddings"),
  operations: named(sql, schema, "operations"),
  migrations: named(sql, schema, "migrations")
})

/** The one number that the writers and migrators of a schema wait for; held to the end of the transaction. */
const lockKey = (schema: string): string => `holdfast/${schema}`

export const takeLock = (sql: SqlClient, schema: string): Fragment =>
  sql`pg_advisory_xact_lock(hashtextextended(${lockKey(schema)}, 0))`

/** How many documents a row of postings is begun with; gathered ones hold from half of it on, in 2 kB: no more is kept apart. */
export const listLength = 96

type Migration = (sql: SqlClient, t: Tables, named: (table: string) => Fragment) => ReadonlyArray<Fragment>

/** In order; what has run once is never changed, only added to. */
const migrations: ReadonlyArray<Migration> = [
  (sql, t, named) => [
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
    sql`CREATE TABLE ${named("terms")} (
      no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      term text COLLATE "C" NOT NULL UNIQUE,
      frequency int NOT NULL
    ) WITH (fillfactor = 70)`,
    // Rows of 16 bytes and a key that answers without them; no foreign keys, for they would double the cost of a write.
    sql`CREATE TABLE ${named("postings")} (
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
  ],
  // Postings were a row each, which is what a batch spent its time on.
  (sql, t, named) => [
    sql`CREATE TABLE ${t.postings} (
      term text COLLATE "C" NOT NULL,
      first int NOT NULL,
      documents int[] NOT NULL,
      counts int[] NOT NULL,
      lengths int[] NOT NULL,
      PRIMARY KEY (term, first)
    )`,
    // Nothing is looked for by what is in them, and to count it takes long.
    sql`ALTER TABLE ${t.postings} ALTER documents SET STATISTICS 0, ALTER counts SET STATISTICS 0,
      ALTER lengths SET STATISTICS 0`,
    sql`INSERT INTO ${t.postings} (term, first, documents, counts, lengths)
      SELECT term, min(document), array_agg(document ORDER BY document), array_agg(count ORDER BY document),
        array_agg(length ORDER BY document)
      FROM (
        SELECT terms.term, p.document, p.count, p.length,
          (row_number() OVER (PARTITION BY p.term ORDER BY p.document) - 1) / ${listLength}::int AS place
        FROM ${named("postings")} AS p JOIN ${named("terms")} AS terms ON terms.no = p.term
      ) AS p
      GROUP BY term, place ORDER BY term, place`,
    sql`DROP TABLE ${named("postings")}, ${named("terms")}`
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
export const exists = (sql: SqlClient, t: Tables, name: string) =>
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
      yield* sql`SELECT ${takeLock(sql, t.schema)}, set_config('statement_timeout', '0', true),
        set_config('work_mem', '64MB', true)`
      const done = yield* version
      if (done === 0) {
        yield* sql`CREATE SCHEMA IF NOT EXISTS ${sql.literal(literal)}`
        yield* sql`CREATE TABLE IF NOT EXISTS ${t.migrations} (
        version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()
      )`
      }
      for (const [index, migration] of migrations.entries()) {
        if (index < done) continue
        for (const statement of migration(sql, t, (table) => named(sql, t.schema, table))) yield* sql`${statement}`
        yield* sql`INSERT INTO ${t.migrations} (version) VALUES (${index + 1})`
      }
    })
  )
})
