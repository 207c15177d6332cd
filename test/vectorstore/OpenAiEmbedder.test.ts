import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as OpenAiClient from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiEmbedder from "../../src/vectorstore/OpenAiEmbedder.ts"

const setUp = Effect.fnUntraced(function*(options?: OpenAiEmbedder.Options) {
  const emulator = yield* OpenAiEmulator.make()
  const client = yield* OpenAiClient.make({ apiKey: emulator.apiKey, baseURL: emulator.url })
  const embedder = yield* Effect.provideService(OpenAiEmbedder.make(options), OpenAiClient.OpenAiClient, client)
  return { emulator, embedder }
})

const dot = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => a.reduce((sum, it, i) => sum + it * (b[i] ?? 0), 0)

it.live("embeds texts in order, each of length 1 and of the space it names", () =>
  Effect.gen(function*() {
    const { emulator, embedder } = yield* setUp({ dimensions: 256 })
    assert.strictEqual(embedder.space.id, "openai/text-embedding-3-small/256@1")
    const texts = ["zebras graze", "tax law", "zebras drink"]
    const straight = yield* embedder.embed(texts, "document")
    // The API may answer in any order.
    const shuffled = yield* embedder.embed(texts, "document").pipe(emulator.during(Fault.shuffle))
    assert.deepStrictEqual(shuffled, straight)
    for (const { space, values } of straight) {
      assert.strictEqual(space, embedder.space.id)
      assert.strictEqual(values.length, 256)
      assert.approximately(dot(values, values), 1, 1e-9)
    }
    const [a, b, c] = straight.map(({ values }) => values)
    assert.isAbove(dot(a!, c!), dot(a!, b!))
    assert.deepStrictEqual(yield* embedder.embed([], "query"), [])
  }))

it.live("calls made at once share one request, and each gets its own vectors", () =>
  Effect.gen(function*() {
    const { emulator, embedder } = yield* setUp()
    const texts = Array.from({ length: 30 }, (_, i) => `zebra number ${i}`)
    const alone = yield* embedder.embed([texts[7]!], "query")
    yield* emulator.resetRequests
    const all = yield* Effect.forEach(texts, (text) => embedder.embed([text], "query"), { concurrency: "unbounded" })
    assert.deepStrictEqual(yield* emulator.requests, { "embeddings.create": 1 })
    assert.deepStrictEqual(all[7], alone)
  }))

it.live("keeps to the limits of texts and of tokens, and cuts a text that is too long", () =>
  Effect.gen(function*() {
    const { emulator, embedder } = yield* setUp({ dimensions: 64 })
    const many = yield* embedder.embed(Array.from({ length: 2_100 }, (_, i) => `text ${i}`), "document")
    assert.strictEqual(many.length, 2_100)
    assert.strictEqual((yield* emulator.requests)["embeddings.create"], 2)
    yield* emulator.resetRequests
    const long = yield* embedder.embed(Array.from({ length: 60 }, () => "zebra ".repeat(4_000)), "document")
    assert.strictEqual(long.length, 60)
    assert.isAtLeast((yield* emulator.requests)["embeddings.create"] ?? 0, 2)
    assert.strictEqual((yield* embedder.embed(["zebra ".repeat(20_000)], "document")).length, 1)
    assert.strictEqual((yield* embedder.embed(["漢".repeat(20_000)], "document")).length, 1)
  }))

it.live("halves a batch that is refused as too large, instead of failing", () =>
  Effect.gen(function*() {
    const { emulator, embedder } = yield* setUp({ dimensions: 64 })
    yield* emulator.fault({
      _tag: "Status",
      status: 400,
      body: {
        error: {
          message: "Requested 453357 tokens, max 300000 tokens per request",
          type: "invalid_request_error",
          param: null,
          code: "max_tokens_per_request"
        }
      }
    }, { times: 1 })
    assert.strictEqual((yield* embedder.embed(["a zebra", "a lion", "a whale"], "document")).length, 3)
    assert.strictEqual((yield* emulator.requests)["embeddings.create"], 3)
  }))

it.live("refuses what is no vector, and an empty text", () =>
  Effect.gen(function*() {
    const { emulator, embedder } = yield* setUp({ dimensions: 64 })
    const page = (data: unknown): Fault.Fault => ({
      _tag: "Status",
      status: 200,
      body: { object: "list", data: data as never, model: "m", usage: { prompt_tokens: 1, total_tokens: 1 } }
    })
    const zeros = Array.from({ length: 64 }, () => 0)
    const bad = [
      [],
      [{ index: 0, embedding: [1, 2, 3] }],
      [{ index: 0, embedding: zeros }],
      [{ index: 1, embedding: zeros.map(() => 1) }],
      [{ index: 0, embedding: "AAAA" }],
      "nothing"
    ]
    for (const data of bad) {
      const error = yield* Effect.flip(embedder.embed(["x"], "query").pipe(emulator.during(page(data))))
      assert.deepStrictEqual([error.reason._tag, error.reason.detail], ["UnknownError", "InvalidResponse"])
    }
    const empty = yield* Effect.flip(embedder.embed(["x", " "], "query"))
    assert.strictEqual(empty.reason._tag, "ValidationError")
    const down = yield* Effect.flip(embedder.embed(["x", "y"], "query").pipe(emulator.during(Fault.status(503))))
    assert.strictEqual(down.reason._tag, "ServiceUnavailableError")
  }))

it.live("vectors of another revision are of another space", () =>
  Effect.gen(function*() {
    const { embedder } = yield* setUp({ dimensions: 64, revision: "2026-11" })
    const [vector] = yield* embedder.embed(["zebras"], "query")
    assert.strictEqual(vector?.space, "openai/text-embedding-3-small/64@2026-11")
    assert.strictEqual(embedder.space.revision, "2026-11")
  }))

it.live("refuses widths that the model cannot have", () =>
  Effect.gen(function*() {
    for (
      const options of [{ dimensions: 0 }, { dimensions: 4_000 }, {
        model: "text-embedding-ada-002",
        dimensions: 512
      }] as const
    ) {
      const error = yield* Effect.flip(setUp(options))
      assert.isTrue(error._tag === "InvalidOptions" && error.field === "dimensions")
    }
  }))
