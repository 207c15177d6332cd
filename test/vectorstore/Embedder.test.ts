import { assert, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { ProviderError, ServiceUnavailableError, ValidationError } from "../../src/ProviderError.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import type * as OpenAiEmbedder from "../../src/vectorstore/OpenAiEmbedder.ts"
import { Document, DocumentId, type Service, type VectorStore } from "../../src/vectorstore/VectorStore.ts"

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

/** An embedder that counts, and fails as it is told. */
const route = (space: Embedder.EmbeddingSpace, fails?: "down" | "refused") => {
  const asked: Array<string> = []
  const reason = fails === "down"
    ? new ServiceUnavailableError({ message: "down", rule: "test", delivered: "no" })
    : new ValidationError({ message: "too long", rule: "test", delivered: "yes" })
  const state = { fails }
  const service: Embedder.Service = {
    space,
    embed: (texts) =>
      Effect.suspend(() => {
        asked.push(...texts)
        return state.fails === undefined
          ? Effect.succeed(texts.map((text) => ({ space: space.id, values: [text.length, 1] })))
          : Effect.fail(new ProviderError({ provider: "route", operation: "embed", reason }))
      })
  }
  return { asked, service, state }
}
const space = { id: "p/m/2@1", provider: "p", model: "m", dimensions: 2, revision: "1" }

it.effect("remembered queries are answered while the embedder is down, the least used are forgotten", () =>
  Effect.gen(function*() {
    const { asked, service, state } = route(space, undefined)
    const cached = Embedder.cached(service, { capacity: 2 })
    yield* cached.embed(["a", "bb"], "query")
    yield* cached.embed(["a"], "query")
    yield* cached.embed(["ccc"], "query")
    assert.deepStrictEqual(asked, ["a", "bb", "ccc"])
    state.fails = "down"
    assert.deepStrictEqual((yield* cached.embed(["ccc", "a"], "query")).map(({ values }) => values[0]), [3, 1])
    yield* Effect.flip(cached.embed(["bb"], "query"))
    // Documents are not remembered: nobody asks for them twice.
    yield* Effect.flip(cached.embed(["a"], "document"))
    // What statistics change is not remembered.
    assert.strictEqual(Embedder.cached(local), local)
  }))

it.effect("with the embedder down, a query asked before is found by its vector, any other by its words, and it says so", () =>
  Effect.gen(function*() {
    const { service, state } = route(space)
    const store = yield* MemoryStore.makeWith(Embedder.cached(service))
    yield* store.add(Document.make({ id: DocumentId.make("one"), content: "zebras graze" }))
    const search = (query: string) =>
      Effect.map(store.search({ query, mode: "vector" }), ({ losses, mode }) => [mode, ...losses])
    assert.deepStrictEqual(yield* search("zebras"), ["vector"])
    state.fails = "down"
    assert.deepStrictEqual(yield* search("zebras"), ["vector"])
    assert.deepStrictEqual(yield* search("grazing"), ["lexical", "LexicalInsteadOfVector"])
  }))

it.effect("scenario 61: only another route to the same space takes over", () =>
  Effect.gen(function*() {
    const first = route(space, "down")
    const second = route(space)
    const both = yield* Embedder.fallback(first.service, second.service)
    assert.strictEqual((yield* both.embed(["abc"], "query"))[0]?.values[0], 3)
    const foreign = route({ ...space, id: "p/other/2@1", model: "other" })
    const refused = yield* Effect.flip(Embedder.fallback(first.service, foreign.service))
    assert.strictEqual(refused.field, "others")
    // A refused text is refused everywhere.
    const picky = route(space, "refused")
    const untouched = route(space)
    yield* Effect.flip(
      Effect.flatMap(Embedder.fallback(picky.service, untouched.service), ({ embed }) => embed(["x"], "query"))
    )
    assert.deepStrictEqual(untouched.asked, [])
  }))

it.effect("a vector of another space does not compile where the space is known, and is refused where it is not", () =>
  Effect.gen(function*() {
    const wide = Embedder.makeLocal()
    const narrow = Embedder.makeLocal({ dimensions: 64 })
    expectTypeOf(wide.space.id).toEqualTypeOf<"local/hashed-words/1536@1">()
    expectTypeOf(narrow).toEqualTypeOf<Embedder.Service<"local/hashed-words/64@1">>()
    expectTypeOf<Effect.Success<ReturnType<typeof OpenAiEmbedder.make<"text-embedding-3-large", 1_024>>>>()
      .toEqualTypeOf<Embedder.Service<"openai/text-embedding-3-large/1024@1">>()
    expectTypeOf<Effect.Success<ReturnType<typeof OpenAiEmbedder.make<"text-embedding-ada-002">>>>()
      .toEqualTypeOf<Embedder.Service<"openai/text-embedding-ada-002/1536@1">>()
    const [vector] = yield* narrow.embed(["zebras"], "query")
    const store = yield* MemoryStore.makeWith(wide)
    expectTypeOf(store.space).toEqualTypeOf<"local/hashed-words/1536@1" | undefined>()
    // @ts-expect-error -- a query of one space among rows of another
    const typed = yield* Effect.flip(store.search({ query: "zebras", vector }))
    assert.strictEqual(typed.reason.detail, "ForeignSpace")
    const [own] = yield* wide.embed(["zebras"], "query")
    assert.deepStrictEqual((yield* store.search({ query: "zebras", vector: own })).mode, "vector")
    // @ts-expect-error -- a route to another space
    const routes = yield* Effect.flip(Embedder.fallback(wide, narrow))
    assert.strictEqual(routes.field, "others")
    // Any store stands for a store, and there the vector is looked at when it comes.
    const any: Service = store
    expectTypeOf<typeof store>().toExtend<(typeof VectorStore)["Service"]>()
    assert.strictEqual((yield* Effect.flip(any.search({ query: "zebras", vector }))).reason.detail, "ForeignSpace")
  }))

it.effect("an embedder that keeps no promise costs a store its vectors, never its documents or its answers", () =>
  Effect.gen(function*() {
    const space = { id: "p/m/3@1", provider: "p", model: "m", dimensions: 3, revision: "1" }
    const making = (make: (text: string) => Embedder.Vector | undefined): Embedder.Service => ({
      space,
      embed: (texts) => Effect.succeed(texts.flatMap((text) => make(text) ?? []))
    })
    const of = (...values: ReadonlyArray<number>) => making(() => ({ space: space.id, values }))
    const broken: Readonly<Record<string, Embedder.Service>> = {
      "too narrow": of(1, 0),
      "too wide": of(1, 0, 0, 0),
      "not finite": of(Number.NaN, 0, 1),
      "all zeros": of(0, 0, 0),
      "of another space": making(() => ({ space: "p/other/3@1", values: [1, 0, 0] })),
      "dying": { space, embed: () => Effect.die(new Error("boom")) },
      "throwing": making(() => {
        throw new Error("boom")
      }),
      "missing": making((text) => text.includes("zebras") ? { space: space.id, values: [1, 0, 0] } : undefined)
    }
    const documents = ["zebras graze", "whales sing"].map((content, i) =>
      Document.make({ id: DocumentId.make(`d${i}`), content })
    )
    for (const [what, embedder] of Object.entries(broken)) {
      const error = yield* Effect.flip(Embedder.verified(embedder).embed(["zebras", "whales"], "document"))
      assert.deepStrictEqual(
        [error.reason._tag, error.reason.detail],
        ["ConfigurationError", what === "dying" || what === "throwing" ? "Defect" : "DimensionMismatch"],
        what
      )
      const store = yield* MemoryStore.makeWith(embedder)
      yield* store.addMany(documents)
      assert.deepStrictEqual(yield* Effect.map(store.stats, ({ documents, embedded }) => [documents, embedded]), [2, 0])
      const { hits, losses } = yield* store.search({ query: "whales" })
      assert.deepStrictEqual([hits.map(({ id }) => id as string), losses], [["d1"], ["LexicalInsteadOfVector"]], what)
    }
    // Lengths are made equal, so that a score is a cosine.
    const [long] = yield* Embedder.verified(of(3, 0, 4)).embed(["x"], "query")
    assert.deepStrictEqual(long?.values, [0.6, 0, 0.8])
  }))

it.effect("a senseless width is refused by name", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Effect.scoped(Layer.build(Embedder.layerLocal({ dimensions: 1.5 }))))
    assert.strictEqual(error.field, "dimensions")
  }))
