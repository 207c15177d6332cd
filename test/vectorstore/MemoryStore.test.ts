import { it } from "@effect/vitest"
import { Effect } from "effect"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"

for (const { name, run } of StoreContract.cases()) {
  it.effect(`with vectors: ${name}`, () => Effect.flatMap(MemoryStore.make(), run).pipe(Effect.provide(Embedder.local)))
  it.effect(`words only: ${name}`, () => Effect.flatMap(MemoryStore.makeLexical(), run))
}
