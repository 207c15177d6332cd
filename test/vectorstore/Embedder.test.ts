import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Embedder from "../../src/vectorstore/Embedder.ts"

const local = Embedder.makeLocal()
const dot = (a: Embedder.Vector, b: Embedder.Vector) =>
  a.values.reduce((sum, value, i) => sum + value * b.values[i]!, 0)

it.effect.prop(
  "vectors are finite, of length 1, and the same each time",
  { text: Schema.String },
  ({ text }) =>
    Effect.gen(function*() {
      const [first, second] = yield* local.embed([text, text], "document")
      assert.deepStrictEqual(first, second)
      assert.strictEqual(first!.values.length, 1_536)
      assert.isTrue(first!.values.every(Number.isFinite))
      assert.closeTo(dot(first!, first!), 1, 1e-9)
    })
)

it.effect("near texts are nearer than far ones, and the space names what made them", () =>
  Effect.gen(function*() {
    assert.strictEqual(local.space.id, "local/hashed-words/1536@1")
    const [zebra, lion, whale] = yield* local.embed(
      ["Zebras graze on the savanna", "A zebra grazing in the savanna", "Whales sing in the ocean"],
      "document"
    )
    assert.isAbove(dot(zebra!, lion!), 0.9)
    assert.isBelow(Math.abs(dot(zebra!, whale!)), 0.2)
    assert.strictEqual(zebra!.space, local.space.id)
  }))

it.effect("a query leans on the terms that few documents hold", () =>
  Effect.gen(function*() {
    const statistics = { documents: 1_000, frequency: (term: string) => term === "zebra" ? 1 : 900 }
    const [query] = yield* local.embed(["zebra savanna"], "query", statistics)
    const [zebra, savanna] = yield* local.embed(["zebra", "savanna"], "document")
    assert.isAbove(dot(query!, zebra!), 0.9)
    assert.isBelow(dot(query!, savanna!), 0.3)
  }))
