/**
 * The index of words in Postgres: which documents hold a term and how often, ranked by BM25 in SQL. Phrases and excluded
 * words are looked up in the documents' own `tsvector`.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { b, idf, k1, pairDepth, pairWeight, type Terms } from "../../internal/bm25.ts"
import type { LexicalQuery, Phrase } from "../../internal/lexicalQuery.ts"
import type { Filter, Hit } from "../VectorStore.ts"
import { compile } from "./filterSql.ts"
import { columns, floatArray, intArray, type Scored, textArray, toHit } from "./postgresRows.ts"
import type { Tables } from "./postgresSchema.ts"

/**
 * How many postings a search without a condition reads in full. The rarest terms come first; documents that hold none of
 * them but only the common ones behind can hardly be among the best, and are not looked at.
 */
const postingsRead = 10_000

/** Takes the documents out of the index. */
export const remove = (sql: SqlClient, t: Tables, ids: ReadonlyArray<string>) =>
  sql`WITH gone AS (SELECT no, length, lexemes FROM ${t.documents} WHERE id = ANY (${textArray(sql, ids)})),
    held AS MATERIALIZED (
      SELECT gone.no AS document, terms.no AS term
      FROM gone, unnest(gone.lexemes) AS x JOIN ${t.terms} AS terms ON terms.term = x.lexeme
    ),
    removed AS (
      DELETE FROM ${t.postings} AS p USING held WHERE p.term = held.term AND p.document = held.document
    ),
    lowered AS (
      UPDATE ${t.terms} AS terms SET frequency = frequency - held.documents
      FROM (SELECT term, count(*)::int AS documents FROM held GROUP BY term) AS held WHERE terms.no = held.term
    )
    UPDATE ${t.collection} AS c SET documents = c.documents - gone.documents, length = c.length - gone.length
    FROM (SELECT count(*) AS documents, coalesce(sum(length), 0) AS length FROM gone) AS gone`

/** Puts the documents into the index: one statement for the terms, one for the postings, however many. */
export const add = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, entries: ReadonlyArray<readonly [no: number, terms: Terms]>) {
    const postings = new Map<string, Array<readonly [document: number, count: number, length: number]>>()
    let length = 0
    for (const [document, terms] of entries) {
      length += terms.length
      for (const [term, { length: count }] of terms.positions) {
        const posting = [document, count, terms.length] as const
        const known = postings.get(term)
        if (known === undefined) postings.set(term, [posting])
        else known.push(posting)
      }
    }
    const frequencies = Array.from(postings.values(), (documents) => documents.length)
    // Not by ON CONFLICT: it would take a number of the 2 billion for each term that is there already.
    const terms = yield* sql<{ readonly no: number; readonly term: string }>`
      WITH given AS MATERIALIZED (
        SELECT term, documents
        FROM unnest(${textArray(sql, [...postings.keys()])}, ${intArray(sql, frequencies)}) AS x (term, documents)
      ),
      raised AS (
        UPDATE ${t.terms} AS terms SET frequency = frequency + given.documents
        FROM given WHERE terms.term = given.term RETURNING terms.no, terms.term
      ),
      added AS (
        INSERT INTO ${t.terms} (term, frequency) SELECT term, documents FROM given
        WHERE NOT EXISTS (SELECT FROM ${t.terms} AS known WHERE known.term = given.term) RETURNING no, term
      )
      SELECT no, term FROM raised UNION ALL SELECT no, term FROM added ORDER BY no`
    const rows = terms.flatMap(({ no, term }) =>
      (postings.get(term) ?? []).map(([document, count, length]) => [no, document, count, length] as const)
    )
    const column = (i: 0 | 1 | 2 | 3): Fragment => intArray(sql, rows.map((row) => row[i]))
    yield* sql`WITH counted AS (
        UPDATE ${t.collection} SET documents = documents + ${entries.length}::int, length = length + ${length}::int
      )
      INSERT INTO ${t.postings} (term, document, count, length)
      SELECT * FROM unnest(${column(0)}, ${column(1)}, ${column(2)}, ${column(3)})`
  }
)

/** How many documents there are, how long they are, and which of the terms occur in how many of them. */
export const statistics = Effect.fnUntraced(function*(sql: SqlClient, t: Tables, terms: ReadonlyArray<string>) {
  const rows = yield* sql<{
    readonly no: number | null
    readonly term: string | null
    readonly frequency: number | null
    readonly documents: number
    readonly length: number
  }>`SELECT terms.no, terms.term, terms.frequency, c.documents::int, c.length::float8
    FROM ${t.collection} AS c LEFT JOIN ${t.terms} AS terms ON terms.term = ANY (${
    textArray(sql, terms)
  }) AND terms.frequency > 0`
  const [first] = rows
  const documents = first?.documents ?? 0
  return {
    documents,
    meanLength: Math.max(1, (first?.length ?? 0) / Math.max(1, documents)),
    terms: rows.flatMap(({ frequency, no, term }) =>
      no === null || term === null || frequency === null ? [] : [{ no, term, frequency }]
    )
  }
})

/** What a document must keep to; `d` is its row. */
export const conditions = (sql: SqlClient, query: LexicalQuery, filter: Filter | undefined): Fragment | undefined => {
  const all = [
    ...(filter === undefined ? [] : [compile(sql, sql.literal("d.attributes"), filter)]),
    ...query.required.map((phrase) => sql`d.lexemes @@ ${phraseText(phrase)}::text::tsquery`),
    ...query.excluded.map((phrase) => sql`NOT d.lexemes @@ ${phraseText(phrase)}::text::tsquery`)
  ]
  return all.length === 0 ? undefined : sql.and(all)
}

/** The best by BM25, and by neighbouring terms among those. */
export const ranked = Effect.fnUntraced(
  function*(
    sql: SqlClient,
    t: Tables,
    query: LexicalQuery,
    filter: Filter | undefined,
    limit: number
  ): Effect.fn.Return<ReadonlyArray<Hit>, SqlError> {
    const { documents, meanLength, terms } = yield* statistics(sql, t, query.terms)
    if (terms.length === 0) return []
    const worth = new Map(terms.map(({ frequency, term }) => [term, idf(documents, frequency)]))
    const rarestFirst = [...terms].sort((a, b) => a.frequency - b.frequency || a.no - b.no)
    const condition = conditions(sql, query, filter)
    let sum = 0
    const read = condition === undefined
      ? rarestFirst.filter(({ frequency }, i) => (sum += frequency) <= postingsRead || i === 0)
      : rarestFirst
    const skipped = rarestFirst.slice(read.length)
    const wanted = (terms: ReadonlyArray<{ readonly no: number; readonly term: string }>) =>
      sql`unnest(${intArray(sql, terms.map(({ no }) => no))}, ${
        floatArray(sql, terms.map(({ term }) => (worth.get(term) ?? 0) * (k1 + 1)))
      }) AS wanted (term, worth)`
    const share = sql`wanted.worth * p.count / (p.count + ${k1 * (1 - b)}::float8 + ${
      (k1 * b) / meanLength
    }::float8 * p.length)`
    // OFFSET 0 keeps the planner from reading all postings to join them with a few terms.
    const scored = sql`SELECT p.document, sum(${share}) AS score
      FROM ${wanted(read)} CROSS JOIN LATERAL (
        SELECT p.document, p.count, p.length FROM ${t.postings} AS p WHERE p.term = wanted.term OFFSET 0
      ) AS p ${condition === undefined ? sql`` : sql`JOIN ${t.documents} AS d ON d.no = p.document WHERE ${condition}`}
      GROUP BY p.document ORDER BY score DESC LIMIT ${4 * pairDepth(limit)}`
    const looked = skipped.length === 0 ? sql`s.score` : sql`s.score + coalesce((
        SELECT sum(${share}) FROM ${
      wanted(skipped)
    } JOIN ${t.postings} AS p ON p.term = wanted.term AND p.document = s.document
      ), 0)`
    const score = query.pairs.reduce((sum, pair) => {
      const value = pair.reduce((sum, { term }) => sum + (worth.get(term) ?? 0), 0) * pairWeight
      return sql`${sum} + CASE WHEN d.lexemes @@ ${phraseText(pair)}::text::tsquery THEN ${value}::float8 ELSE 0 END`
    }, sql`nearest.score`)
    const rows = yield* sql<Scored>`
      WITH scored AS MATERIALIZED (${scored}),
      nearest AS MATERIALIZED (SELECT s.document, ${looked} AS score FROM scored AS s ORDER BY 2 DESC LIMIT ${
      pairDepth(limit)
    }),
      best AS MATERIALIZED (
        SELECT d.no, d.id, (${score})::real AS score FROM nearest JOIN ${t.documents} AS d ON d.no = nearest.document
        ORDER BY 3 DESC, length(d.id), d.id LIMIT ${limit}
      )
      SELECT ${columns(sql)}, best.score FROM best JOIN ${t.documents} AS d ON d.no = best.no
      ORDER BY best.score DESC, length(d.id), d.id`
    return rows.map(toHit)
  }
)

/** A `tsvector` of the store's own terms; they are letters and digits, so nothing is quoted. Positions count from 1 to 16,383. */
export const lexemes = ({ positions }: Terms): string =>
  Array.from(positions, ([term, places]) => {
    const kept = places.flatMap((place) => place < 16_383 ? [place + 1] : []).slice(0, 255)
    return `'${term}':${kept.length === 0 ? 16_383 : kept.join(",")}`
  }).join(" ")

/** A `tsquery` for terms that stand so. */
const phraseText = (phrase: Phrase): string =>
  phrase.map(({ offset, term }, i) => i === 0 ? `'${term}'` : `<${offset - (phrase[i - 1]?.offset ?? 0)}> '${term}'`)
    .join(" ")
