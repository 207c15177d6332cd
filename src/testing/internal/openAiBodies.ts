/** What the emulated API takes: request bodies and their limits, filters, cursors; and how it says no. */
import { Result, Schema } from "effect"

/** An error as the API tells it. */
export interface Failure {
  readonly status: number
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

export type Answer = Result.Result<unknown, Failure>

export const invalid = (message: string, param: string | null = null, code: string | null = null): Failure => ({
  status: 400,
  message,
  type: "invalid_request_error",
  param,
  code
})

export const missing = (message: string, param: string | null = null): Failure => ({
  ...invalid(message, param),
  status: 404
})

const Scalar = Schema.Union([Schema.String.check(Schema.isMaxLength(512)), Schema.Finite, Schema.Boolean])
const Key = Schema.String.check(Schema.isMaxLength(64))
export const Attributes = Schema.Record(Key, Scalar).check(Schema.isMaxProperties(16))
export type Attributes = typeof Attributes.Type

const limitedInt = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Metadata = Schema.NullOr(
  Schema.Record(Key, Schema.String.check(Schema.isMaxLength(512))).check(Schema.isMaxProperties(16))
)
const ExpiresAfter = Schema.Struct({ anchor: Schema.Literal("last_active_at"), days: limitedInt(1, 365) })
export const Chunking = Schema.Union([
  Schema.Struct({ type: Schema.Literal("auto") }),
  Schema.Struct({
    type: Schema.Literal("static"),
    static: Schema.Struct({ max_chunk_size_tokens: limitedInt(100, 4096), chunk_overlap_tokens: limitedInt(0, 2048) })
      .check(Schema.makeFilter((it) => it.chunk_overlap_tokens <= it.max_chunk_size_tokens / 2))
  })
])
const NullableAttributes = Schema.optionalKey(Schema.NullOr(Attributes))
export const FileRef = Schema.Struct({
  file_id: Schema.String,
  attributes: NullableAttributes,
  chunking_strategy: Schema.optionalKey(Chunking)
})
export const CreateStore = Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  file_ids: Schema.optionalKey(Schema.Array(Schema.String).check(Schema.isMaxLength(500))),
  metadata: Schema.optionalKey(Metadata),
  expires_after: Schema.optionalKey(ExpiresAfter),
  chunking_strategy: Schema.optionalKey(Chunking)
})
export const UpdateStore = Schema.Struct({
  name: Schema.optionalKey(Schema.NullOr(Schema.String)),
  metadata: Schema.optionalKey(Metadata),
  expires_after: Schema.optionalKey(Schema.NullOr(ExpiresAfter))
})
export const CreateBatch = Schema.Struct({
  file_ids: Schema.optionalKey(Schema.Array(Schema.String).check(Schema.isMinLength(1), Schema.isMaxLength(2000))),
  files: Schema.optionalKey(Schema.Array(FileRef).check(Schema.isMinLength(1), Schema.isMaxLength(2000))),
  attributes: NullableAttributes,
  chunking_strategy: Schema.optionalKey(Chunking)
})
export const UpdateFile = Schema.Struct({ attributes: Schema.NullOr(Attributes) })

export type ApiFilter =
  | {
    readonly type: "eq" | "ne" | "gt" | "gte" | "lt" | "lte"
    readonly key: string
    readonly value: Attributes[string]
  }
  | { readonly type: "in" | "nin"; readonly key: string; readonly value: ReadonlyArray<string | number> }
  | { readonly type: "and" | "or"; readonly filters: ReadonlyArray<ApiFilter> }
export const ApiFilter: Schema.Codec<ApiFilter> = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["eq", "ne", "gt", "gte", "lt", "lte"]), key: Key, value: Scalar }),
  Schema.Struct({
    type: Schema.Literals(["in", "nin"]),
    key: Key,
    value: Schema.Array(Schema.Union([Schema.String, Schema.Finite]))
  }),
  Schema.Struct({
    type: Schema.Literals(["and", "or"]),
    filters: Schema.Array(Schema.suspend((): Schema.Codec<ApiFilter> => ApiFilter)).check(Schema.isMinLength(1))
  })
])
export const Search = Schema.Struct({
  query: Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1))]),
  max_num_results: Schema.optionalKey(limitedInt(1, 50)),
  rewrite_query: Schema.optionalKey(Schema.Boolean),
  ranking_options: Schema.optionalKey(Schema.Struct({
    ranker: Schema.optionalKey(Schema.Literals(["auto", "none", "default-2024-11-15"])),
    score_threshold: Schema.optionalKey(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
  })),
  filters: Schema.optionalKey(ApiFilter)
})
// Tokens are taken as numbers, too, of one text or of each.
const Texts = Schema.Array(Schema.NonEmptyString).check(Schema.isMinLength(1), Schema.isMaxLength(2048))
const Tokens = Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))).check(Schema.isMinLength(1))
export const Embeddings = Schema.Struct({
  model: Schema.String,
  input: Schema.Union([
    Schema.NonEmptyString,
    Texts,
    Tokens,
    Schema.Array(Tokens).check(Schema.isMinLength(1), Schema.isMaxLength(2048))
  ]),
  dimensions: Schema.optionalKey(limitedInt(1, 3072)),
  encoding_format: Schema.optionalKey(Schema.Literals(["float", "base64"])),
  user: Schema.optionalKey(Schema.String)
})

const isTokens = Schema.is(Tokens)

/** Each of the texts, or lists of tokens, that are to be embedded. */
export const inputsOf = (input: typeof Embeddings.Type["input"]): ReadonlyArray<string | ReadonlyArray<number>> =>
  typeof input === "string" || isTokens(input) ? [input] : input

export const decodeBody = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, body: unknown) =>
  Result.mapError(
    Schema.decodeUnknownResult(schema, { onExcessProperty: "error" })(body),
    (error) => invalid(`Invalid request body: ${error.message}`)
  )

const isList = (filter: ApiFilter): filter is Extract<ApiFilter, { readonly type: "in" | "nin" }> =>
  filter.type === "in" || filter.type === "nin"

export const matches = (filter: ApiFilter, attributes: Attributes): boolean => {
  if ("filters" in filter) {
    const holds = (it: ApiFilter) => matches(it, attributes)
    return filter.type === "and" ? filter.filters.every(holds) : filter.filters.some(holds)
  }
  const actual = attributes[filter.key]
  // A key that is not there matches nothing, not even `ne` and `nin`.
  if (actual === undefined) return false
  if (isList(filter)) {
    return filter.value.some((it) => it === actual) === (filter.type === "in")
  }
  const { value } = filter
  const comparable = typeof actual === typeof value
  switch (filter.type) {
    case "eq":
      return actual === value
    case "ne":
      return actual !== value
    case "gt":
      return comparable && actual > value
    case "gte":
      return comparable && actual >= value
    case "lt":
      return comparable && actual < value
    case "lte":
      return comparable && actual <= value
  }
}

/** One page of a list, by the API's cursors. */
export const page = <A>(
  items: ReadonlyArray<A>,
  idOf: (item: A) => string,
  query: URLSearchParams,
  show: (item: A) => unknown,
  limits: { readonly standard: number; readonly most: number } = { standard: 20, most: 100 }
): Answer => {
  const limit = query.get("limit") === null ? limits.standard : Number(query.get("limit"))
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.most) {
    return Result.fail(invalid(`Invalid 'limit': expected an integer from 1 to ${limits.most}.`, "limit"))
  }
  const order = query.get("order") ?? "desc"
  if (order !== "asc" && order !== "desc") {
    return Result.fail(invalid(`Invalid 'order': expected 'asc' or 'desc', not '${order}'.`, "order"))
  }
  const ordered = order === "asc" ? items : items.toReversed()
  const ids = ordered.map(idOf)
  const after = query.get("after")
  const before = query.get("before")
  if (after !== null && !ids.includes(after)) return Result.fail(invalid(`No such object: ${after}`, "after"))
  if (before !== null && !ids.includes(before)) return Result.fail(invalid(`No such object: ${before}`, "before"))
  const end = before === null ? ordered.length : ids.indexOf(before)
  // The page before an object is the one that ends with it.
  const backwards = before !== null && after === null
  const start = backwards ? Math.max(0, end - limit) : after === null ? 0 : ids.indexOf(after) + 1
  const shown = ordered.slice(start, Math.min(start + limit, end))
  return Result.succeed({
    object: "list",
    data: shown.map(show),
    first_id: shown[0] === undefined ? null : idOf(shown[0]),
    last_id: shown.length === 0 ? null : idOf(shown[shown.length - 1]!),
    has_more: backwards ? start > 0 : start + shown.length < end
  })
}
