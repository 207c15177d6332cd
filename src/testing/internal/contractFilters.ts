/** The filters of the contract, and what they find. */
import type { Filter, Scalar } from "../../vectorstore/VectorStore.ts"

/** Documents by name, and what they are filtered by. */
export const coloured: ReadonlyArray<
  readonly [name: string, attributes: Readonly<Record<string, Scalar>> | undefined]
> = [
  ["red", { colour: "red", size: 1, fresh: true }],
  ["green", { colour: "green", size: 2, fresh: false }],
  ["blue", { colour: "blue", size: 10 }],
  ["text-size", { colour: "Red", size: "10" }],
  ["odd", { colour: "é%_'\"\\", size: -1.5, "a key's \"name\"": "x" }],
  ["bare", undefined]
]
const all = coloured.map(([name]) => name)

/** A filter and the names it finds. */
export const filterings: ReadonlyArray<readonly [filter: Filter, found: ReadonlyArray<string>]> = [
  [{ type: "eq", key: "colour", value: "red" }, ["red"]],
  [{ type: "eq", key: "colour", value: "é%_'\"\\" }, ["odd"]],
  [{ type: "eq", key: "a key's \"name\"", value: "x" }, ["odd"]],
  [{ type: "eq", key: "size", value: 10 }, ["blue"]],
  [{ type: "eq", key: "size", value: "10" }, ["text-size"]],
  [{ type: "eq", key: "fresh", value: true }, ["red"]],
  [{ type: "eq", key: "none", value: "x" }, []],
  [{ type: "ne", key: "colour", value: "red" }, ["green", "blue", "text-size", "odd", "bare"]],
  [{ type: "ne", key: "none", value: "x" }, all],
  [{ type: "ne", key: "size", value: "10" }, ["red", "green", "blue", "odd", "bare"]],
  [{ type: "gt", key: "size", value: 1 }, ["green", "blue"]],
  [{ type: "gte", key: "size", value: 1 }, ["red", "green", "blue"]],
  [{ type: "lt", key: "size", value: 1 }, ["odd"]],
  [{ type: "lte", key: "size", value: 1 }, ["red", "odd"]],
  [{ type: "gt", key: "size", value: "1" }, ["text-size"]],
  [{ type: "gt", key: "colour", value: "blue" }, ["red", "green", "odd"]],
  [{ type: "lte", key: "colour", value: "green" }, ["green", "blue", "text-size"]],
  [{ type: "lt", key: "none", value: 1 }, []],
  [{ type: "in", key: "colour", value: ["red", "blue", "pink"] }, ["red", "blue"]],
  [{ type: "in", key: "size", value: [1, "10"] }, ["red", "text-size"]],
  [{ type: "in", key: "colour", value: [] }, []],
  [{ type: "nin", key: "colour", value: ["red", "blue"] }, ["green", "text-size", "odd", "bare"]],
  [{ type: "nin", key: "colour", value: [] }, all],
  [{ type: "and", filters: [] }, all],
  [{ type: "or", filters: [] }, []],
  [
    { type: "and", filters: [{ type: "gt", key: "size", value: 0 }, { type: "ne", key: "fresh", value: true }] },
    ["green", "blue"]
  ],
  [
    {
      type: "or",
      filters: [
        { type: "eq", key: "colour", value: "red" },
        {
          type: "and",
          filters: [{ type: "lt", key: "size", value: 0 }, { type: "nin", key: "colour", value: ["red"] }]
        }
      ]
    },
    ["red", "odd"]
  ]
]

const leaf: Filter = { type: "eq", key: "a", value: 1 }
const nested = (depth: number): Filter =>
  Array.from({ length: depth }).reduce<Filter>((inner) => ({ type: "and", filters: [inner] }), leaf)
const wide = (width: number): Filter => ({ type: "or", filters: Array.from({ length: width }, () => leaf) })
const listed = (length: number): Filter => ({ type: "in", key: "a", value: Array.from({ length }, (_, i) => i) })

/** Beyond the limits, or no filter. */
export const badFilters: ReadonlyArray<readonly [what: string, filter: Filter]> = [
  ["an empty key", { ...leaf, key: "" }],
  ["a long key", { ...leaf, key: "k".repeat(65) }],
  ["a long value", { ...leaf, value: "v".repeat(513) }],
  ["a long value in a list", { type: "nin", key: "a", value: ["v".repeat(513)] }],
  ["a value that is no number", { ...leaf, value: Number.NaN }],
  ["a key with a NUL", { ...leaf, key: "a\0" }],
  ["a deep filter", nested(16)],
  ["an endless one", nested(100_000)],
  ["a wide one", wide(1_000)],
  ["a long list", listed(1_000)]
]

/** Just within the limits. */
export const goodFilters: ReadonlyArray<Filter> = [
  nested(15),
  wide(999),
  listed(999),
  { ...leaf, key: "k".repeat(64) }
]
