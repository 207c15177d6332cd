/** A filter as SQL over a `jsonb` column, with the meaning of `filters.ts`. Values are parameters, never text. */
import type { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import type { Filter, Scalar } from "../VectorStore.ts"

/** `attributes` may be null, which is the same as no attributes. Null counts as false. */
export const compile = (sql: SqlClient, attributes: Fragment, filter: Filter): Fragment => {
  const each = (filters: ReadonlyArray<Filter>) => filters.map((inner) => compile(sql, attributes, inner))
  switch (filter.type) {
    case "and":
      return filter.filters.length === 0 ? sql`true` : sql.and(each(filter.filters))
    case "or":
      return filter.filters.length === 0 ? sql`false` : sql.or(each(filter.filters))
    // Containment, not a look at the key: an index answers it.
    case "eq":
      return sql`(${attributes} @> ${holding(filter.key, filter.value)}::jsonb)`
    case "ne":
      return sql`(${attributes} @> ${holding(filter.key, filter.value)}::jsonb) IS NOT TRUE`
    case "in":
      return oneOf(sql, attributes, filter.key, filter.value)
    case "nin":
      return sql`${oneOf(sql, attributes, filter.key, filter.value)} IS NOT TRUE`
    case "gt":
      return compare(sql, attributes, filter.key, ">", filter.value)
    case "gte":
      return compare(sql, attributes, filter.key, ">=", filter.value)
    case "lt":
      return compare(sql, attributes, filter.key, "<", filter.value)
    case "lte":
      return compare(sql, attributes, filter.key, "<=", filter.value)
  }
}

const holding = (key: string, value: Scalar): string => JSON.stringify({ [key]: value })

const oneOf = (sql: SqlClient, attributes: Fragment, key: string, values: ReadonlyArray<Scalar>): Fragment =>
  sql`((${attributes} -> ${key}::text) = ANY (ARRAY(SELECT jsonb_array_elements(${JSON.stringify(values)}::jsonb))))`

/** A `CASE` decides before anything is cast: a text is no number, whatever order the planner likes. */
const compare = (
  sql: SqlClient,
  attributes: Fragment,
  key: string,
  operator: ">" | ">=" | "<" | "<=",
  value: Scalar
): Fragment => {
  const is = sql.literal(operator)
  const found = sql`jsonb_typeof(${attributes} -> ${key}::text)`
  const text = sql`(${attributes} ->> ${key}::text)`
  const holds = typeof value === "number"
    ? sql`${text}::numeric ${is} ${String(value)}::numeric`
    : typeof value === "string"
    ? sql`${text} COLLATE "C" ${is} ${value}::text COLLATE "C"`
    : sql`${text}::boolean ${is} ${value}::boolean`
  return sql`CASE WHEN ${found} = ${typeof value}::text THEN ${holds} ELSE false END`
}
