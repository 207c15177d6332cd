import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { OpenAI as OpenAI7 } from "openai"
import { OpenAI as OpenAI6 } from "openai6"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import { FileId, OpenAiClient, VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import type * as Client from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import { Document, DocumentId, type Service, VectorStore } from "../../src/vectorstore/VectorStore.ts"

const clients = { 6: OpenAI6, 7: OpenAI7 } as const

const optionsOf = (emulator: OpenAiEmulator.Emulator) => ({
  apiKey: emulator.apiKey,
  baseURL: emulator.url,
  vectorStore: VectorStoreId.make(emulator.vectorStore),
  pollInterval: "2 millis",
  requestTimeout: "2 seconds"
} as const)

const build = (emulator: OpenAiEmulator.Emulator, options?: Partial<OpenAiStore.Options & Client.Options>) =>
  Layer.build(OpenAiStore.layer({ ...optionsOf(emulator), ...options }))

const setUp = Effect.fnUntraced(function*(
  options?: Partial<OpenAiStore.Options & Client.Options>,
  settings?: OpenAiEmulator.Options
) {
  const emulator = yield* OpenAiEmulator.make(settings)
  const context = yield* build(emulator, options)
  return {
    emulator,
    store: yield* Effect.provideContext(VectorStore, context),
    client: yield* Effect.provideContext(OpenAiClient, context)
  }
})

for (const version of [7, 6] as const) {
  for (const { name, run } of StoreContract.cases()) {
    it.live(`openai ${version}: ${name}`, () =>
      Effect.gen(function*() {
        const { emulator, store } = yield* setUp({ client: clients[version] })
        yield* run(store)
        assert.deepStrictEqual(yield* emulator.orphans, [])
      }))
  }
}
