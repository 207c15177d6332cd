/**
 * The index of words in Postgres: which documents hold a term and how often, ranked by BM25 in SQL. Phrases and excluded
 * words are looked up in the documents' own `tsvector`.
 *
 * **Details**
 *
 * A term's postings are lists of documents in the order of their numbers, a row for each stretch of it. Whatever is
 * written has higher numbers than all before, so that a write adds rows and touches none, one for each of its terms
 * however many documents hold it; and so that the row a posting is in can be told from the number alone. What many
 * small writes left is gathered into longer rows by `gather`.
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
import { listLength, type Tables } from "./postgresSchema.ts"

// --- writes

/** Puts the documents into the index, in one statement. Their numbers must be higher than all in the index. */
export const add = Effect.fnUntraced(
  function*(sql: SqlClient, t: Tables, entries: ReadonlyArray<readonly [no: number, terms: Terms]>) {
    const { counts, documents, ends, lengths, starts, terms, totalLength } = lists(entries)
    yield* sql`WITH counted AS (
        UPDATE ${t.collection} SET documents = documents + ${entries.length}::int, length = length + ${totalLength}::int
      ),
      given AS (SELECT ${intArray(sql, documents)} AS documents, ${intArray(sql, counts)} AS counts, ${
      intArray(sql, lengths)
    } AS lengths)
      INSERT INTO ${t.postings} (term, first, documents, counts, lengths)
      SELECT x.term, documents[x.start], documents[x.start:x.end], counts[x.start:x.end], lengths[x.start:x.end]
      FROM given, unnest(${textArray(sql, terms)}, ${intArray(sql, starts)}, ${intArray(sql, ends)})
        AS x (term, start, "end")`
  }
)

/** All postings, by term and then by document, with where each row of them starts and ends; counted from 1. */
const lists = (entries: ReadonlyArray<readonly [no: number, terms: Terms]>) => {
  const inOrder = [...entries].sort(([a], [b]) => a - b)
  const numbers = inOrder.map(([no]) => no)
  const sizes = inOrder.map(([, { length }]) => length)
  // For each term the places of its documents in that order, each followed by how often it holds the term: one list of
  // numbers for a term and not three, for most of the time here goes into making them.
  const byTerm = new Map<string, Array<number>>()
  inOrder.forEach(([, { positions }], at) =>
    positions.forEach(({ length }, term) => {
      const held = byTerm.get(term)
      if (held === undefined) byTerm.set(term, [at, length])
      else held.push(at, length)
    })
  )
  const all = {
    terms: Array<string>(),
    starts: Array<number>(),
    ends: Array<number>(),
    documents: Array<number>(),
    counts: Array<number>(),
    lengths: Array<number>(),
    totalLength: sizes.reduce((sum, length) => sum + length, 0)
  }
  // In the order of the table's key.
  for (const term of Array.from(byTerm.keys()).sort()) {
    const held = byTerm.get(term) ?? []
    const start = all.documents.length
    for (let i = 0; i < held.length; i += 2) {
      const at = held[i] ?? 0
      all.documents.push(numbers[at] ?? 0)
      all.counts.push(held[i + 1] ?? 0)
      all.lengths.push(sizes[at] ?? 0)
    }
    const end = all.documents.length
    for (let from = start; from < end; from += listLength) {
      all.terms.push(term)
      all.starts.push(from + 1)
      all.ends.push(Math.min(end, from + listLength))
    }
  }
  return all
}

/** The row that holds the term's posting of the document, if there is one. */
const holding = (sql: SqlClient, t: Tables, term: string, document: string): Fragment =>
  sql`(SELECT * FROM ${t.postings} AS p WHERE p.term = ${sql.literal(term)} AND p.first <= ${sql.literal(document)}
    ORDER BY p.first DESC LIMIT 1)`

/** Steps of a statement that take documents out of the index; `gone` is a step before it, with their former rows. */
export const remove = (sql: SqlClient, t: Tables): Fragment =>
  sql`held AS MATERIALIZED (
      SELECT p.term, p.first, array_agg(gone.no) AS documents
      FROM gone CROSS JOIN LATERAL unnest(gone.lexemes) AS x
        CROSS JOIN LATERAL ${holding(sql, t, "x.lexeme", "gone.no")} AS p
      GROUP BY p.term, p.first
    ),
    emptied AS (
      DELETE FROM ${t.postings} AS p USING held
      WHERE p.term = held.term AND p.first = held.first AND p.documents <@ held.documents
    ),
    shortened AS (
      UPDATE ${t.postings} AS p SET (documents, counts, lengths) = (
        SELECT array_agg(x.document ORDER BY x.document), array_agg(x.count ORDER BY x.document),
          array_agg(x.length ORDER BY x.document)
        FROM unnest(p.documents, p.counts, p.lengths) AS x (document, count, length)
        WHERE x.document <> ALL (held.documents)
      ) FROM held
      WHERE p.term = held.term AND p.first = held.first AND NOT p.documents <@ held.documents
    ),
    lowered AS (
      UPDATE ${t.collection} AS c SET documents = c.documents - gone.documents, length = c.length - gone.length
      FROM (SELECT count(*) AS documents, coalesce(sum(length), 0) AS length FROM gone) AS gone
    )`

/** A term in this many rows is worth gathering, where they hold fewer than `shortList` documents each. */
const manyLists = 64
const shortList = 8

/** How many rows are gathered in one transaction, that others need not wait for long. */
const gatheredAtOnce = 10_000

/** The terms that many small writes left scattered, in parts for `gather`. */
export const scattered = (sql: SqlClient, t: Tables) =>
  Effect.map(
    sql<{ readonly term: string; readonly rows: number }>`
      SELECT term, count(*)::int AS rows FROM ${t.postings} GROUP BY term
      HAVING count(*) >= ${manyLists} AND sum(cardinality(documents)) < ${shortList} * count(*) ORDER BY term`,
    (found) => {
      const parts: Array<Array<string>> = []
      let room = 0
      for (const { rows, term } of found) {
        if (room < rows) {
          parts.push([])
          room = gatheredAtOnce
        }
        parts.at(-1)?.push(term)
        room -= rows
      }
      return parts
    }
  )

/** Makes rows of half a list or more of neighbours that hold less. */
export const gather = (sql: SqlClient, t: Tables, terms: ReadonlyArray<string>) =>
  sql`WITH placed AS (
      SELECT term, first, (
        sum(cardinality(documents)) OVER (PARTITION BY term ORDER BY first) - cardinality(documents)
      ) / ${listLength / 2}::int AS place
      FROM ${t.postings} WHERE term = ANY (${textArray(sql, terms)})
    ),
    crowded AS (SELECT term, first, place, count(*) OVER (PARTITION BY term, place) AS rows FROM placed),
    gone AS (
      DELETE FROM ${t.postings} AS p USING crowded AS c
      WHERE c.rows > 1 AND p.term = c.term AND p.first = c.first
      RETURNING p.term, c.place, p.documents, p.counts, p.lengths
    )
    INSERT INTO ${t.postings} (term, first, documents, counts, lengths)
    SELECT gone.term, min(x.document), array_agg(x.document ORDER BY x.document),
      array_agg(x.count ORDER BY x.document), array_agg(x.length ORDER BY x.document)
    FROM gone CROSS JOIN LATERAL unnest(gone.documents, gone.counts, gone.lengths) AS x (document, count, length)
    GROUP BY gone.term, gone.place`

// --- searches

/**
 * How many postings a search without a condition reads in full. The rarest terms come first; documents that hold none of
 * them but only the common ones behind can hardly be among the best, and are not looked at.
 */
const postingsRead = 10_000

/** How many documents there are, how long they are, and which of the terms occur in how many of them. */
export const statistics = Effect.fnUntraced(function*(sql: SqlClient, t: Tables, terms: ReadonlyArray<string>) {
  const rows = yield* sql<{
    readonly term: string | null
    readonly frequency: number | null
    readonly documents: number
    readonly length: number
  }>`SELECT p.term, p.frequency, c.documents::int, c.length::float8
    FROM ${t.collection} AS c LEFT JOIN (
      SELECT term, sum(cardinality(documents))::int AS frequency FROM ${t.postings}
      WHERE term = ANY (${textArray(sql, terms)}) GROUP BY term
    ) AS p ON true`
  const [first] = rows
  const documents = first?.documents ?? 0
  return {
    documents,
    meanLength: Math.max(1, (first?.length ?? 0) / Math.max(1, documents)),
    terms: rows.flatMap(({ frequency, term }) => term === null || frequency === null ? [] : [{ term, frequency }])
  }
})

/** What a document must keep to; `d` is its row. */
export const conditions = (sql: SqlClient, query: LexicalQuery, filter: Filter | undefined): Fragment | undefined => {
  const all = [
    ...(filter === undefined ? [] : [compile(sql, sql.literal("d.attributes"), filter)]),
    ...query.required.map((phrase) => sql`d.lexemes @@ ${phraseText(phrase)}::tsquery`),
    ...query.excluded.map((phrase) => sql`NOT d.lexemes @@ ${phraseText(phrase)}::tsquery`)
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
    const rarestFirst = [...terms].sort((a, b) => a.frequency - b.frequency || (a.term < b.term ? -1 : 1))
    const condition = conditions(sql, query, filter)
    let sum = 0
    const read = condition === undefined
      ? rarestFirst.filter(({ frequency }, i) => (sum += frequency) <= postingsRead || i === 0)
      : rarestFirst
    const skipped = rarestFirst.slice(read.length)
    const wanted = (terms: ReadonlyArray<{ readonly term: string }>) =>
      sql`unnest(${textArray(sql, terms.map(({ term }) => term))}, ${
        floatArray(sql, terms.map(({ term }) => (worth.get(term) ?? 0) * (k1 + 1)))
      }) AS wanted (term, worth)`
    const share = (count: string, length: string) =>
      sql`wanted.worth * ${sql.literal(count)} / (${sql.literal(count)} + ${k1 * (1 - b)}::float8 + ${
        (k1 * b) / meanLength
      }::float8 * ${sql.literal(length)})`
    // Unnested in the list of columns, which is quicker than in a join.
    const scored = sql`SELECT p.document, sum(${share("p.count", "p.length")}) AS score
      FROM ${wanted(read)} CROSS JOIN LATERAL (
        SELECT unnest(p.documents) AS document, unnest(p.counts) AS count, unnest(p.lengths) AS length
        FROM ${t.postings} AS p WHERE p.term = wanted.term
      ) AS p ${condition === undefined ? sql`` : sql`JOIN ${t.documents} AS d ON d.no = p.document WHERE ${condition}`}
      GROUP BY p.document ORDER BY score DESC LIMIT ${4 * pairDepth(limit)}`
    const looked = skipped.length === 0 ? sql`s.score` : sql`s.score + coalesce((
        SELECT sum(${share("p.counts[at]", "p.lengths[at]")})
        FROM ${wanted(skipped)} CROSS JOIN LATERAL ${holding(sql, t, "wanted.term", "s.document")} AS p
          CROSS JOIN LATERAL array_position(p.documents, s.document) AS at
      ), 0)`
    const score = query.pairs.reduce((sum, pair) => {
      const value = pair.reduce((sum, { term }) => sum + (worth.get(term) ?? 0), 0) * pairWeight
      return sql`${sum} + CASE WHEN d.lexemes @@ ${phraseText(pair)}::tsquery THEN ${value}::float8 ELSE 0 END`
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
export const lexemes = ({ positions }: Terms): string => {
  let text = ""
  for (const [term, places] of positions) {
    let kept = ""
    let count = 0
    for (const place of places) {
      if (place < 16_383 && count++ < 255) kept += kept === "" ? place + 1 : `,${place + 1}`
    }
    text += ` '${term}':${kept === "" ? 16_383 : kept}`
  }
  return text
}

/** A `tsquery` for terms that stand so. */
const phraseText = (phrase: Phrase): string =>
  phrase.map(({ offset, term }, i) => i === 0 ? `'${term}'` : `<${offset - (phrase[i - 1]?.offset ?? 0)}> '${term}'`)
    .join(" ")
