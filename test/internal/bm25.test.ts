import { assert, it } from "@effect/vitest"
import { idf, k1, LexicalIndex, pairWeight } from "../../src/internal/bm25.ts"
import { parse } from "../../src/internal/lexicalQuery.ts"

const indexOf = (documents: Readonly<Record<string, string>>): LexicalIndex => {
  const index = new LexicalIndex()
  for (const [id, content] of Object.entries(documents)) index.set(id, undefined, content)
  return index
}
const search = (index: LexicalIndex, query: string) => index.search(parse(query), 10, () => true)

it("scores by the formula of Okapi BM25", () => {
  // Robertson and Zaragoza, 2009, with the idf of Lucene, which is never negative.
  assert.closeTo(idf(10, 3), Math.log(1 + 7.5 / 3.5), 1e-12)
  const index = indexOf({ one: "zebra", two: "zebra zebra grass", other: "grass lion" })
  const mean = (1 + 3 + 2) / 3
  const share = (count: number, length: number): number => count / (count + k1 * (0.4 + 0.6 * length / mean))
  const scores = new Map(search(index, "zebra").map(({ id, score }) => [id, score]))
  assert.closeTo(scores.get("one")!, idf(3, 2) * (k1 + 1) * share(1, 1), 1e-12)
  assert.closeTo(scores.get("two")!, idf(3, 2) * (k1 + 1) * share(2, 3), 1e-12)
  assert.lengthOf(Array.from(scores), 2)
})

it("neighbours in the query are worth more where a document keeps them together", () => {
  assert.deepStrictEqual(
    ["solar panel prices", "solar solar", "panel of the roof", "panel of roofs"].map((query) =>
      parse(query).pairs.map((pair) => pair.map(({ offset, term }) => `${term}+${offset}`).join(" "))
    ),
    [["solar+0 panel+1", "panel+0 price+1"], [], [], ["panel+0 roof+2"]]
  )
  const index = indexOf({ apart: "the panel is not solar", together: "it is not a solar panel" })
  const [first, second] = search(index, "solar panel")
  assert.deepStrictEqual([first?.id, second?.id], ["together", "apart"])
  assert.closeTo(first!.score - second!.score, pairWeight * 2 * idf(2, 2), 1e-12)
})

it("a document that is gone, or was another before, is not found by what it said", () => {
  const index = indexOf({ a: "zebra", b: "zebra" })
  index.set("a", undefined, "lion")
  index.delete("b")
  assert.deepStrictEqual(search(index, "zebra"), [])
  assert.deepStrictEqual([index.size, index.frequency("zebra"), index.frequency("lion")], [1, 0, 1])
  assert.deepStrictEqual([index.matches("a", parse("\"lion\"")), index.matches("b", parse("\"zebra\""))], [true, false])
})
