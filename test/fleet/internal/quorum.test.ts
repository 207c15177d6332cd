import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { needed, openFor, type Opinion, type QuorumRules, worth } from "../../../src/fleet/internal/quorum.ts"

const rules: QuorumRules = { quorum: 2, decayMillis: 30_000, maxOpenMillis: 60_000 }

const says = (node: string, ageMillis = 0, leftMillis = 5_000): Opinion => ({
  node,
  key: "k",
  reason: "FailureRate",
  ageMillis,
  leftMillis
})

it("shared distributed state: an opinion fades evenly from 1 to 0", () => {
  assert.deepStrictEqual([0, 15_000, 30_000, 40_000, -5].map((age) => worth(age, 30_000)), [1, 0.5, 0, 0, 1])
})

it("shared distributed state: a majority is more than half of all, and never one", () => {
  assert.deepStrictEqual([1, 2, 3, 4, 5, 10].map((nodes) => needed("majority", nodes)), [2, 2, 2, 3, 3, 6])
  assert.strictEqual(needed(3, 100), 3)
})

it("shared distributed state: two nodes open a circuit, one does not however often it says so", () => {
  assert.strictEqual(openFor([says("a"), says("b")], rules, 3, Infinity), 5_000)
  assert.strictEqual(openFor([says("a"), says("a"), says("a")], rules, 3, Infinity), 0)
  assert.strictEqual(openFor([], rules, 3, Infinity), 0)
})

it("shared distributed state: old opinions are no quorum, and two of equal age hold for half the decay", () => {
  assert.isAbove(openFor([says("a", 14_999), says("b", 14_999)], rules, 3, Infinity), 0)
  assert.strictEqual(openFor([says("a", 15_000), says("b", 15_000)], rules, 3, Infinity), 0)
  assert.strictEqual(openFor([says("a", 0), says("b", 30_000)], rules, 3, Infinity), 0)
  assert.isAbove(openFor([says("a", 0), says("b", 29_999)], rules, 3, Infinity), 0)
})

it("shared distributed state: an opinion ends with the open time it tells of", () => {
  assert.strictEqual(openFor([says("a"), says("b", 0, 0)], rules, 3, Infinity), 0)
  assert.strictEqual(openFor([says("a", 0, 9_000), says("b", 0, 2_000)], rules, 3, Infinity), 2_000)
  assert.strictEqual(
    openFor([says("a", 0, 9_000), says("b", 0, 2_000), says("c", 0, 4_000)], rules, 3, Infinity),
    4_000
  )
})

it("shared distributed state: no word of others lasts longer than maxOpen", () => {
  assert.strictEqual(openFor([says("a", 0, 1e9), says("b", 0, 1e9)], rules, 3, Infinity), 60_000)
})

it("shared distributed state: what was seen to succeed since refutes them", () => {
  const both = [says("a", 2_000), says("b", 1_000)]
  assert.isAbove(openFor(both, rules, 3, 3_000), 0)
  assert.strictEqual(openFor(both, rules, 3, 1_500), 0)
  assert.strictEqual(openFor(both, rules, 3, 1_000), 0)
})

const Age = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60_000 }))
const Opinions = Schema.Array(Schema.Struct({ node: Schema.Literals(["a", "b", "c", "d"]), age: Age, left: Age }))
  .check(Schema.isMaxLength(8))

it.prop("shared distributed state: fewer distinct nodes than the quorum never open anything", {
  said: Opinions,
  quorum: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
  proven: Age
}, ({ proven, quorum, said }) => {
  const opinions = said.map(({ age, left, node }) => says(node, age, left))
  const nodes = new Set(said.map(({ node }) => node)).size
  const millis = openFor(opinions, { ...rules, quorum }, 5, proven)
  if (nodes < quorum) assert.strictEqual(millis, 0)
  // At least so many of them say that they are open for as long.
  const longer = new Set(opinions.filter(({ leftMillis }) => leftMillis >= millis).map(({ node }) => node))
  assert.isTrue(millis === 0 || longer.size >= quorum)
})

it.prop(
  "shared distributed state: time alone never makes a quorum",
  { said: Opinions, later: Age },
  ({ later, said }) => {
    const at = (elapsed: number) =>
      openFor(said.map(({ age, left, node }) => says(node, age + elapsed, left - elapsed)), rules, 5, Infinity)
    if (at(0) === 0) assert.strictEqual(at(later), 0)
  }
)
