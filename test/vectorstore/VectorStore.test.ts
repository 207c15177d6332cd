import { assert, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { Attributes, Document, DocumentId, Filter } from "../../src/vectorstore/VectorStore.ts"

const decode = <A>(schema: Schema.Codec<A, unknown>) => Schema.decodeUnknownResult(schema)

it("an id is never empty, nor longer than any store holds", () => {
  for (const id of ["", "x".repeat(513)]) assert.throws(() => DocumentId.make(id))
  for (const id of ["x", "x".repeat(512), "a/b?c#d", "\u{1f600}"]) assert.strictEqual(DocumentId.make(id), id)
  assert.isTrue(Result.isFailure(decode(Document)({ id: "", content: "x" })))
})

it("attributes keep to what every store holds", () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]))
  const bad = [many(17), { "": 1 }, { ["k".repeat(65)]: 1 }, { a: "x".repeat(513) }, { a: null }, { a: [1] }, {
    a: NaN
  }]
  for (const attributes of bad) {
    assert.isTrue(Result.isFailure(decode(Attributes)(attributes)), JSON.stringify(attributes))
  }
  for (const attributes of [many(16), { ["k".repeat(64)]: "x".repeat(512) }, {}]) {
    assert.isTrue(Result.isSuccess(decode(Attributes)(attributes)))
  }
})

it.effect("a filter of any depth is read or refused, and never takes the stack down", () =>
  Effect.gen(function*() {
    const text = (depth: number) =>
      `${"{\"type\":\"and\",\"filters\":[".repeat(depth)}{"type":"eq","key":"a","value":1}${"]}".repeat(depth)}`
    const read = Schema.decodeUnknownEffect(Schema.fromJsonString(Filter))
    for (const depth of [0, 15]) yield* read(text(depth))
    for (const depth of [20_000, 200_000]) {
      const error = yield* Effect.flip(read(text(depth)))
      assert.strictEqual(error._tag, "SchemaError")
    }
  }))
