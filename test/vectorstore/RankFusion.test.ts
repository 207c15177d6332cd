import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { fuse } from "../../src/vectorstore/RankFusion.ts"

const key = (item: string) => item

it("sums weight / (k + rank) over the sources", () => {
  const fused = fuse([{ source: "a", items: ["x", "y"] }, { source: "b", weight: 2, items: ["y", "z"] }], { key })
  assert.deepStrictEqual(fused.map((it) => [it.key, it.score]), [
    ["y", 1 / 62 + 2 / 61],
    ["z", 2 / 62],
    ["x", 1 / 61]
  ])
  assert.deepStrictEqual([...fused[0]!.ranks], [["a", 2], ["b", 1]])
})

it("breaks ties by the better place, then the earlier source, then the smaller id", () => {
  const fused = fuse([{ source: "a", items: ["2", "1"] }, { source: "b", items: ["10", "1b"] }], { key })
  assert.deepStrictEqual(fused.map((it) => it.key), ["2", "10", "1", "1b"])
  // Both in both sources, crosswise: equal scores, equal best places, and the first source had "x" first.
  const crossed = fuse([{ source: "a", items: ["x", "w"] }, { source: "b", items: ["w", "x"] }], { key })
  assert.deepStrictEqual(crossed.map((it) => it.key), ["x", "w"])
})

it("counts an item once for each source, at its first place", () => {
  const fused = fuse([{ source: "a", items: ["x", "x", "y"] }], { key, k: 0 })
  assert.deepStrictEqual(fused.map((it) => [it.key, it.score]), [["x", 1], ["y", 1 / 2]])
})

const Items = Schema.Array(Schema.Literals(["a", "b", "c", "d", "e", "f"]))

it.prop("keeps one source's order, and a second empty one changes nothing", { items: Items }, ({ items }) => {
  const distinct = [...new Set(items)]
  assert.deepStrictEqual(fuse([{ source: "a", items }], { key }).map((it) => it.key), distinct)
  assert.deepStrictEqual(
    fuse([{ source: "a", items }, { source: "b", items: [] }], { key }).map((it) => it.key),
    distinct
  )
})

it.prop("scores do not depend on the order of the sources", { a: Items, b: Items }, ({ a, b }) => {
  const scores = (fused: ReturnType<typeof fuse<string>>) =>
    new Map(fused.map((it) => [it.key, it.score] as const).sort(([x], [y]) => x < y ? -1 : 1))
  const one = fuse([{ source: "a", items: a }, { source: "b", items: b }], { key })
  const other = fuse([{ source: "b", items: b }, { source: "a", items: a }], { key })
  assert.deepStrictEqual([...scores(one)], [...scores(other)])
})
