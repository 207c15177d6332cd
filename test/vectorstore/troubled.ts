/** Stores in memory that are in trouble on demand, a unified store over three of them, and OpenAI by the emulator. */
import { Duration, Effect, Layer, Ref } from "effect"
import { ConfigurationError, ProviderError, RateLimitError, ServiceUnavailableError } from "../../src/ProviderError.ts"
import type { OpenAiEmulator } from "../../src/testing/index.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { Document, DocumentId, type SearchMode, type Service, VectorStore } from "../../src/vectorstore/VectorStore.ts"

export const document = (name: string, content: string, more?: Partial<Document>): Document =>
  Document.make({ id: DocumentId.make(name), content, ...more })

/** A store as a source of the unified one. */
export const sourceOf = (name: string, service: Service) => ({ name, layer: Layer.succeed(VectorStore, service) })

/** What is wrong with a store. `slow` answers after 3 seconds; `limited` asks for 30 seconds of peace. */
export type Trouble = "none" | "down" | "unconfigured" | "limited" | "slow" | "hung"

/** A store in memory that can be in trouble, and counts what it is asked. */
export const troubled = Effect.fnUntraced(function*(name: string, modes?: ReadonlyArray<SearchMode>) {
  const memory = yield* MemoryStore.makeLexical({ name })
  const trouble = yield* Ref.make<Trouble>("none")
  const calls = new Map<string, number>()
  let interrupted = 0
  const failing = (operation: string, trouble: "down" | "unconfigured" | "limited") => {
    const evidence = { message: trouble, rule: "test", delivered: "unknown" as const }
    const reason = trouble === "down"
      ? new ServiceUnavailableError(evidence)
      : trouble === "limited"
      ? new RateLimitError({ ...evidence, retryAfter: Duration.seconds(30) })
      : new ConfigurationError(evidence)
    return Effect.fail(new ProviderError({ provider: name, operation, reason }))
  }
  const guard = <A>(operation: string, self: Effect.Effect<A, ProviderError>): Effect.Effect<A, ProviderError> =>
    Effect.flatMap(Ref.get(trouble), (is) => {
      calls.set(operation, (calls.get(operation) ?? 0) + 1)
      switch (is) {
        case "none":
          return self
        case "slow":
          return Effect.delay(self, "3 seconds")
        case "hung":
          return Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
        case "down":
        case "unconfigured":
        case "limited":
          return failing(operation, is)
      }
    })
  const service: Service = {
    ...memory,
    modes: modes ?? memory.modes,
    search: (request) => guard("search", memory.search({ ...request, mode: "lexical" })),
    add: (it) => guard("add", memory.add(it)),
    addMany: (all, options) => guard("addMany", memory.addMany(all, options)),
    get: (id) => guard("get", memory.get(id)),
    update: (id, patch) => guard("update", memory.update(id, patch)),
    delete: (id) => guard("delete", memory.delete(id)),
    list: (request) => guard("list", memory.list(request)),
    stats: guard("stats", memory.stats),
    health: guard("health", memory.health)
  }
  return {
    name,
    memory,
    is: (to: Trouble) => Ref.set(trouble, to),
    calls: (operation: string) => calls.get(operation) ?? 0,
    /** How many calls were interrupted while it hung. */
    interrupted: () => interrupted,
    source: sourceOf(name, service)
  }
})

// Whole milliseconds: at a fraction of one the queue in memory would wait for less than the test clock can tell apart.
export const pipeline = {
  retry: { maxRetries: 1, jitter: "none" },
  breaker: { failureThreshold: 3, jitter: false },
  timeout: "10 seconds"
} as const

/** A unified store over three that can be in trouble. */
export const three = Effect.fnUntraced(function*(options?: Partial<UnifiedStore.Options>) {
  const [a, b, c] = yield* Effect.all([troubled("a"), troubled("b"), troubled("c")])
  const unified = yield* UnifiedStore.make({ pipeline, ...options, sources: [a.source, b.source, c.source] })
  return { a, b, c, unified }
})

/** Three documents into each. */
export const fill = Effect.fnUntraced(function*(stores: ReadonlyArray<{ readonly memory: Service }>) {
  for (const { memory } of stores) {
    yield* memory.addMany([
      document("one", "zebras graze"),
      document("two", "zebras graze and zebras drink"),
      document("three", "giraffes browse")
    ])
  }
})

/** An OpenAI store that asks the emulator often and, where it is in trouble, waits for it briefly. */
export const openai = (emulator: OpenAiEmulator.Emulator, requestTimeout: Duration.Input = "1 second") =>
  OpenAiStore.layer({
    apiKey: emulator.apiKey,
    baseURL: emulator.url,
    vectorStore: VectorStoreId.make(emulator.vectorStore),
    pollInterval: "2 millis",
    requestTimeout
  })
