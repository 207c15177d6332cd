import { assert, it, layer } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { InvalidRequestError, ProviderError, ServiceUnavailableError } from "../../src/ProviderError.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import * as Reembedding from "../../src/vectorstore/Reembedding.ts"
import { Document, DocumentId, type Service } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"

const wide = Embedder.makeLocal()
const narrow = Embedder.makeLocal({ dimensions: 128 })

const document = (i: number): Document => Document.make({ id: DocumentId.make(`d${i}`), content: `zebra number ${i}` })

const setUp = (schema: string) =>
  Effect.gen(function*() {
    const from = yield* Effect.provideService(NeonStore.make({ schema }), Embedder.Embedder, wide)
    const to = yield* Effect.provideService(NeonStore.make({ schema }), Embedder.Embedder, narrow)
    return { from, to, moving: yield* Reembedding.make({ from, to }) }
  })

const best = (store: Service, query: string) =>
  Effect.map(store.search({ query, mode: "vector" }), ({ hits, mode }) => [mode, hits[0]?.id as string | undefined])

layer(Embedded.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  "on the embedded Postgres",
  (it) => {
    it.effect(
      "everything is embedded anew while the old space answers, with what is written meanwhile",
      () =>
        Effect.gen(function*() {
          const { from, moving, to } = yield* setUp("moving")
          const { store } = moving
          yield* store.addMany(Array.from({ length: 600 }, (_, i) => document(i)))
          const [query] = yield* wide.embed(["zebra number 7"], "query")
          const [anew] = yield* narrow.embed(["zebra number 7"], "query")
          const progress: Array<readonly [number, number]> = []
          const embedded = yield* moving.run({
            onProgress: (done, total) =>
              Effect.gen(function*() {
                progress.push([done, total])
                // Still the old space, for words and for vectors that callers made.
                assert.strictEqual(store.space, wide.space.id)
                assert.deepStrictEqual(yield* best(store, "zebra number 7"), ["vector", "d7"])
                assert.strictEqual((yield* store.search({ query: "x", vector: query })).hits[0]?.id, "d7")
                yield* Effect.flip(store.search({ query: "x", vector: anew }))
                if (done === 250) {
                  // New, and changed behind the part that is done: the old vector must not stand for the new text.
                  yield* store.add(document(1_000))
                  yield* store.update(DocumentId.make("d3"), { content: "whales sing" })
                }
              }).pipe(Effect.orDie)
          })
          // The new one comes within the pass; the changed one in the next.
          assert.strictEqual(embedded, 602)
          assert.deepStrictEqual(progress.slice(0, 2), [[250, 600], [500, 600]])
          assert.isTrue(yield* moving.changedOver)
          assert.strictEqual(store.space, narrow.space.id)
          assert.deepStrictEqual(yield* best(store, "zebra number 1000"), ["vector", "d1000"])
          assert.deepStrictEqual(yield* best(store, "whales sing"), ["vector", "d3"])
          assert.strictEqual((yield* store.search({ query: "x", vector: anew })).hits[0]?.id, "d7")
          const foreign = yield* Effect.flip(store.search({ query: "x", vector: query }))
          assert.strictEqual(foreign.reason.detail, "ForeignSpace")
          assert.strictEqual((yield* to.stats).embedded, 601)
          // What is written from now on is embedded in the new space.
          yield* store.add(document(2_000))
          assert.strictEqual((yield* to.stats).embedded, 602)
          assert.strictEqual((yield* from.stats).documents, 602)
          assert.strictEqual(yield* moving.run(), 0)
        }),
      60_000
    )

    it.effect(
      "the old space goes on answering when the run fails or is interrupted, and the next run ends it",
      () =>
        Effect.gen(function*() {
          const { from, to } = yield* setUp("failing")
          yield* from.addMany(Array.from({ length: 500 }, (_, i) => document(i)))
          let broken = true
          const error = new ProviderError({
            provider: "neon",
            operation: "embed",
            reason: new ServiceUnavailableError({ message: "down", rule: "test", delivered: "no" })
          })
          const moving = yield* Reembedding.make({
            from,
            to: { ...to, embedMissing: (options) => broken ? Effect.fail(error) : to.embedMissing(options) }
          })
          assert.strictEqual((yield* Effect.flip(moving.run())).reason.message, "down")
          broken = false
          const started = yield* Latch.make()
          const fiber = yield* Effect.forkChild(
            moving.run({ onProgress: () => Effect.andThen(started.open, Effect.never) })
          )
          yield* started.await
          // A second run waits for the first.
          const second = yield* Effect.forkChild(moving.run())
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(yield* Fiber.join(second), 250)
          assert.isTrue(yield* moving.changedOver)
          assert.strictEqual((yield* to.stats).embedded, 500)
        }),
      60_000
    )

    it.effect(
      "a text that the new embedder refuses does not hold the change-over up, and refusing all of them does",
      () =>
        Effect.gen(function*() {
          let everything = true
          const refused = (texts: ReadonlyArray<string>) =>
            texts.some((text) => everything || text.endsWith("number 3"))
          const picky: typeof narrow = {
            ...narrow,
            embed: (texts, ...more) =>
              refused(texts)
                ? Effect.fail(
                  new ProviderError({
                    provider: "picky",
                    operation: "embed",
                    reason: new InvalidRequestError({ message: "no", rule: "test", delivered: "yes" })
                  })
                )
                : narrow.embed(texts, ...more)
          }
          const from = yield* Effect.provideService(NeonStore.make({ schema: "picky" }), Embedder.Embedder, wide)
          const to = yield* Effect.provideService(NeonStore.make({ schema: "picky" }), Embedder.Embedder, picky)
          const moving = yield* Reembedding.make({ from, to })
          yield* moving.store.addMany([document(1), document(2), document(3)])
          const error = yield* Effect.flip(moving.run())
          assert.deepStrictEqual([error.category, error.reason.detail], ["CONFIGURATION", "NothingEmbedded"])
          assert.isFalse(yield* moving.changedOver)
          assert.deepStrictEqual(yield* best(moving.store, "zebra number 2"), ["vector", "d2"])
          everything = false
          assert.strictEqual(yield* moving.run(), 2)
          assert.isTrue(yield* moving.changedOver)
          assert.deepStrictEqual(yield* best(moving.store, "zebra number 2"), ["vector", "d2"])
        }),
      60_000
    )
  }
)

for (const changedOver of [false, true]) {
  for (const { name, run } of StoreContract.cases()) {
    it.effect(`${changedOver ? "after" : "before"} the change-over: ${name}`, () =>
      Effect.gen(function*() {
        const to = yield* MemoryStore.makeWith(narrow)
        const moving = yield* Reembedding.make({
          from: yield* MemoryStore.makeWith(wide),
          to: { ...to, embedMissing: () => Effect.succeed(0) }
        })
        if (changedOver) yield* moving.run()
        yield* run(moving.store)
      }))
  }
}
