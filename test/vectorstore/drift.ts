import type { SqlClient } from "effect/sql/SqlClient"

/** Where the index of words is not what the documents' own words say: postings too many, and those that lack. */
export const drift = (sql: SqlClient, schema: string) =>
  sql`WITH held AS (
      SELECT p.term, x.document, x.length
      FROM ${sql.literal(schema)}.posting_lists AS p, unnest(p.documents, p.lengths) AS x (document, length)
    ),
    said AS (
      SELECT x.lexeme AS term, d.no AS document, d.length
      FROM ${sql.literal(schema)}.documents AS d, unnest(d.lexemes) AS x
    )
    (TABLE held EXCEPT ALL TABLE said) UNION ALL (TABLE said EXCEPT ALL TABLE held)`
