/** What the unified store adds to its slowest source, and what a batch saves at OpenAI. */
import { Effect, Exit, Layer, Scope } from "effect"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { Document, DocumentId, type Service, VectorStore } from "../../src/vectorstore/VectorStore.ts"
import type { Prepared, Suite } from "./harness.ts"

const words = ["zebra", "giraffe", "whale", "savanna", "ocean", "graze", "sing", "browse", "stripes", "forest"]
const text = (i: number) => Array.from({ length: 40 }, (_, j) => words[(i * 7 + j * j) % words.length]).join(" ")
let serial = 0
const documents = (count: number): Array<Document> =>
  Array.from({ length: count }, () => Document.make({ id: DocumentId.make(`d${serial++}`), content: text(serial) }))

/** A prepared case whose resources end with it. */
const scoped = (
  make: Effect.Effect<(calls: number) => Effect.Effect<unknown, unknown>, unknown, Scope.Scope>
): Prepared => {
  const scope = Scope.makeUnsafe()
  const made = Effect.runPromise(Scope.provide(make, scope))
  return {
    run: async (calls) => {
      await Effect.runPromise((await made)(calls))
    },
    close: () => void Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** A store over 1,000 documents that answers after so long. */
const distant = Effect.fnUntraced(function*(name: string, millis: number) {
  const store = yield* MemoryStore.makeLexical({ name })
  yield* store.addMany(documents(1_000))
  const search: Service["search"] = (request) => Effect.andThen(Effect.sleep(millis), store.search(request))
  return { ...store, search }
})
const request = { query: "zebras graze on the savanna" }
const repeated = <A, E>(self: Effect.Effect<A, E>) => (calls: number) =>
  Effect.replicateEffect(self, calls, { discard: true })

/** A store at an API that takes 25 ms for each request. */
const openai = Effect.gen(function*() {
  const emulator = yield* OpenAiEmulator.make()
  yield* emulator.fault(Fault.latency(25))
  const store = OpenAiStore.layer({
    apiKey: emulator.apiKey,
    baseURL: emulator.url,
    vectorStore: VectorStoreId.make(emulator.vectorStore)
  })
  return yield* Effect.flatMap(Layer.build(store), (context) => Effect.provideContext(VectorStore, context))
})

export const suite: Suite = {
  name: "unified",
  waits: true,
  cases: [
    {
      name: "slowest source",
      make: () => scoped(Effect.map(distant("slow", 20), (store) => repeated(store.search(request))))
    },
    {
      name: "unified, all at once",
      make: () =>
        scoped(Effect.gen(function*() {
          const unified = yield* UnifiedStore.make({
            strategy: "AllAtOnce",
            sources: [
              { name: "quick", service: yield* distant("quick", 5) },
              { name: "slow", service: yield* distant("slow", 20) }
            ]
          })
          return repeated(unified.search(request))
        }))
    },
    {
      name: "openai, add",
      make: () => scoped(Effect.map(openai, ({ add }) => (calls) => Effect.forEach(documents(calls), add)))
    },
    {
      name: "openai, addMany",
      unit: 500,
      make: () => scoped(Effect.map(openai, ({ addMany }) => (calls) => addMany(documents(calls))))
    }
  ],
  goals: [
    {
      name: "unified / its slowest source",
      of: "unified, all at once",
      per: "slowest source",
      atMost: 1.15
    },
    { name: "addMany / add", of: "openai, addMany", per: "openai, add", atMost: 0.05 }
  ]
}
