import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { ProviderError, ServiceUnavailableError } from "../../src/ProviderError.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { Document, DocumentId } from "../../src/vectorstore/VectorStore.ts"

for (const { name, run } of StoreContract.cases()) {
  it.effect(`with vectors: ${name}`, () => Effect.flatMap(MemoryStore.make(), run).pipe(Effect.provide(Embedder.local)))
  it.effect(`words only: ${name}`, () => Effect.flatMap(MemoryStore.makeLexical(), run))
}

it.effect("a document whose text stays keeps its vector while the embedder is down", () =>
  Effect.gen(function*() {
    const inner = Embedder.makeLocal()
    const reason = new ServiceUnavailableError({ message: "down", rule: "test", delivered: "no" })
    const error = new ProviderError({ provider: "local", operation: "embed", reason })
    let down = false
    const embed: typeof inner.embed = (...input) =>
      Effect.suspend(() => down ? Effect.fail(error) : inner.embed(...input))
    const store = yield* MemoryStore.makeWith({ ...inner, embed })
    const id = DocumentId.make("one")
    yield* store.add(Document.make({ id, content: "zebras" }))
    down = true
    yield* store.update(id, { attributes: { kept: true } })
    assert.deepStrictEqual((yield* store.list()).documents, [{ id, content: "zebras", attributes: { kept: true } }])
    assert.strictEqual((yield* store.stats).embedded, 1)
    yield* store.update(id, { content: "whales" })
    assert.strictEqual((yield* store.stats).embedded, 0)
  }))
