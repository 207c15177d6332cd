import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { fuse, type Fused } from "../../src/vectorstore/RankFusion.ts"

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

it("breaks ties by the better place, then the earlier source", () => {
  const fused = fuse([{ source: "a", items: ["2", "1"] }, { source: "b", items: ["10", "1b"] }], { key })
  assert.deepStrictEqual(fused.map((it) => it.key), ["2", "10", "1", "1b"])
  // Both in both sources, crosswise: equal scores, equal best places, and the first source had "x" first.
  const crossed = fuse([{ source: "a", items: ["x", "w"] }, { source: "b", items: ["w", "x"] }], { key })
  assert.deepStrictEqual(crossed.map((it) => it.key), ["x", "w"])
  // "x" is seen first, and "w" has its first place in the earlier source.
  const lists = [["p", "q", "x"], ["w"], ["x"], ["r", "s", "w"]].map((items, i) => ({ source: `s${i}`, items }))
  assert.deepStrictEqual(fuse(lists, { key }).slice(0, 2).map((it) => it.key), ["w", "x"])
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

const Rankings = Schema.Array(Schema.Struct({ weight: Schema.Literals([0.1, 0.5, 1, 3]), items: Items })).check(
  Schema.isMaxLength(5)
)
const named = (rankings: typeof Rankings.Type) => rankings.map((it, i) => ({ ...it, source: `s${i}` }))
const scores = (fused: ReadonlyArray<Fused<string>>) => new Map(fused.map((it) => [it.key, it.score]))

it.prop(
  "permutation invariance: in whatever order the sources are, scores are the same to the last bit, and only ties may turn",
  { rankings: Rankings, seed: Schema.Int },
  ({ rankings, seed }) => {
    const sources = named(rankings)
    const turned = sources
      .map((it, i) => ({ it, at: Math.imul(seed ^ i, 0x9e3779b1) >>> 0 }))
      .sort((a, b) => a.at - b.at)
      .map(({ it }) => it)
    const [one, other] = [fuse(sources, { key }), fuse(turned, { key })]
    assert.deepStrictEqual(scores(one), scores(other))
    assert.deepStrictEqual(one.map(({ score }) => score), other.map(({ score }) => score))
    const best = ({ ranks }: Fused<string>) => Math.min(...ranks.values())
    assert.deepStrictEqual(one.map(best), other.map(best))
  }
)

it("places that sum to the same in another order are a tie, to the last bit", () => {
  const at = (rank: number, other: string) => [...Array.from({ length: rank - 1 }, (_, i) => `${other}${i}`), "x"]
  const score = (ranks: ReadonlyArray<number>) =>
    scores(fuse(ranks.map((rank, i) => ({ source: `s${i}`, items: at(rank, `${i}-`) })), { key })).get("x")
  // Summed as they come, these two differ by one unit in the last place.
  assert.strictEqual(score([1, 5, 9]), score([9, 5, 1]))
})

it.prop(
  "tie stability: the same input gives the same order, and what comes behind all moves nothing",
  { rankings: Rankings },
  ({ rankings }) => {
    const sources = named(rankings)
    const order = (last: ReadonlyArray<string>) =>
      fuse(sources.map(({ items, source, weight }) => ({ source, weight, items: [...items, ...last] })), { key })
        .map((it) => it.key)
    const before = order([])
    assert.deepStrictEqual(order([]), before)
    assert.deepStrictEqual(order(["zz"]).filter((it) => it !== "zz"), before)
  }
)
