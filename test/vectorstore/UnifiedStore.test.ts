import { assert, it, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Ref, Result, Stream } from "effect"
import { PersistedQueue } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as Event from "../../src/Event.ts"
import { ConfigurationError, ProviderError, ServiceUnavailableError } from "../../src/ProviderError.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { VectorStoreId } from "../../src/vectorstore/OpenAiClient.ts"
import * as OpenAiStore from "../../src/vectorstore/OpenAiStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import {
  Document,
  DocumentId,
  type Filter,
  type SearchMode,
  type Service,
  VectorStore
} from "../../src/vectorstore/VectorStore.ts"
import { eventually } from "../testing/eventually.ts"

const document = (name: string, content: string, more?: Partial<Document>): Document =>
  Document.make({ id: DocumentId.make(name), content, ...more })

type Trouble = "none" | "down" | "unconfigured" | "slow" | "hung"

/** A store in memory that can be in trouble, and counts what it is asked. */
const troubled = Effect.fnUntraced(function*(name: string, modes?: ReadonlyArray<SearchMode>) {
  const memory = yield* MemoryStore.makeLexical({ name })
  const trouble = yield* Ref.make<Trouble>("none")
  const calls = new Map<string, number>()
  const failing = (operation: string, trouble: "down" | "unconfigured") => {
    const evidence = { message: trouble, rule: "test", delivered: "unknown" as const }
    const reason = trouble === "down" ? new ServiceUnavailableError(evidence) : new ConfigurationError(evidence)
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
          return Effect.never
        case "down":
        case "unconfigured":
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
    source: { name, layer: Layer.succeed(VectorStore, service) }
  }
})

// Whole milliseconds: at a fraction of one the queue in memory would wait for less than the test clock can tell apart.
const pipeline = {
  retry: { maxRetries: 1, jitter: "none" },
  breaker: { failureThreshold: 3, jitter: false },
  timeout: "10 seconds"
} as const

const three = Effect.fnUntraced(function*(options?: Partial<UnifiedStore.Options>) {
  const [a, b, c] = yield* Effect.all([troubled("a"), troubled("b"), troubled("c")])
  const unified = yield* UnifiedStore.make({ pipeline, ...options, sources: [a.source, b.source, c.source] })
  return { a, b, c, unified }
})

const fill = Effect.fnUntraced(function*(stores: ReadonlyArray<{ readonly memory: Service }>) {
  for (const { memory } of stores) {
    yield* memory.addMany([
      document("one", "zebras graze"),
      document("two", "zebras graze and zebras drink"),
      document("three", "giraffes browse")
    ])
  }
})

// -- the contract ------------------------------------------------------------------------------------------------------

for (const { name, run } of StoreContract.cases()) {
  it.live(`over memory and OpenAI, in order: ${name}`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const unified = yield* UnifiedStore.make({
        sources: [
          { name: "memory", layer: Layer.provide(MemoryStore.layer(), Embedder.local) },
          {
            name: "openai",
            layer: OpenAiStore.layer({
              apiKey: emulator.apiKey,
              baseURL: emulator.url,
              vectorStore: VectorStoreId.make(emulator.vectorStore),
              pollInterval: "2 millis"
            })
          }
        ]
      })
      yield* run(unified.store)
      yield* unified.outbox.drained
      const theirs = unified.policies.providers[1]!.service
      const ids = (store: Service) => Effect.map(Stream.runCollect(store.documents), (all) => all.map(({ id }) => id))
      assert.deepStrictEqual(yield* ids(theirs), yield* ids(unified.store))
    }))
}

// -- over the real ones ------------------------------------------------------------------------------------------------

const Database = Layer.merge(EmbeddedPostgres.layer({ inProcess: true }), Embedder.local)

layer(Database, { excludeTestServices: true, timeout: "60 seconds" })("over Postgres and OpenAI, all at once", (it) => {
  const openai = (emulator: OpenAiEmulator.Emulator) =>
    OpenAiStore.layer({
      apiKey: emulator.apiKey,
      baseURL: emulator.url,
      vectorStore: VectorStoreId.make(emulator.vectorStore),
      pollInterval: "2 millis",
      requestTimeout: "1 second"
    })

  StoreContract.cases().forEach(({ name, run }, i) => {
    it.effect(name, () =>
      Effect.gen(function*() {
        const emulator = yield* OpenAiEmulator.make()
        const unified = yield* UnifiedStore.make({
          strategy: "AllAtOnce",
          sources: [
            { name: "neon", layer: NeonStore.layer({ schema: `unified_${i}` }) },
            { name: "openai", layer: openai(emulator) }
          ]
        })
        yield* run(unified.store)
        yield* unified.outbox.drained
      }), 60_000)
  })

  it.effect("every subset of embedder, OpenAI, Postgres and cache down is told for what it is", () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const down = { embedder: false, openai: false, postgres: false }
      const error = (provider: string) =>
        new ProviderError({
          provider,
          operation: "call",
          reason: new ConfigurationError({ message: "down", rule: "test", delivered: "no" })
        })
      const embedder = yield* Embedder.Embedder
      const flaky = Embedder.Embedder.of({
        ...embedder,
        embed: (...input) => down.embedder ? Effect.fail(error("local")) : embedder.embed(...input)
      })
      const neon = yield* Effect.provideService(NeonStore.make({ schema: "subsets" }), Embedder.Embedder, flaky)
      const documents = [document("one", "zebras graze"), document("two", "whales sing")]
      yield* neon.addMany(documents)
      yield* emulator.load(documents)
      const flakyNeon: Service = {
        ...neon,
        search: (request) => down.postgres ? Effect.fail(error("neon")) : neon.search(request)
      }
      const store = yield* Effect.map(Layer.build(openai(emulator)), Context.get(VectorStore))
      const flakyOpenAi: Service = {
        ...store,
        search: (request) => down.openai ? Effect.fail(error("openai")) : store.search(request)
      }
      const told: Record<string, string> = {}
      for (const strategy of ["InOrder", "AllAtOnce"] as const) {
        for (let subset = 0; subset < 16; subset++) {
          const is = (bit: number) => (subset & bit) !== 0
          Object.assign(down, { embedder: false, openai: false, postgres: false })
          const unified = yield* UnifiedStore.make({
            strategy,
            pipeline: { retry: undefined },
            cache: { fresh: "2 millis", revalidate: 0, stale: "1 hour" },
            sources: [{ name: "openai", service: flakyOpenAi }, { name: "neon", service: flakyNeon }]
          })
          // A cache that is down knows nothing.
          if (!is(8)) yield* Effect.andThen(unified.search({ query: "zebras" }), Effect.sleep("5 millis"))
          Object.assign(down, { embedder: is(1), openai: is(2), postgres: is(4) })
          const result = yield* Effect.result(unified.search({ query: "zebras" }))
          const names = ["embedder", "openai", "postgres", "cache"].filter((_, i) => is(1 << i)).join("+") || "nothing"
          told[`${strategy}, ${names} down`] = Result.match(result, {
            onFailure: (failure) => failure._tag,
            onSuccess: (served) => {
              const found = UnifiedStore.describe(served)
              assert.strictEqual(found.hits[0]?.id, "one", names)
              const lost = found._tag === "Complete" ? [] : found.lost.map((it) => it._tag)
              return [served._tag, ...new Set(lost)].join(" ")
            }
          })
        }
      }
      const expected = (
        strategy: string,
        answers: readonly [well: string, noEmbedder: string, noOpenAi: string, neither: string, noPostgres: string]
      ) => {
        const [well, noEmbedder, noOpenAi, neither, noPostgres] = answers
        const rows: Record<string, string> = {}
        for (const cache of ["", "+cache"]) {
          const all = cache === "" ? "Stale SourceMissing Stale" : "AllProvidersFailed"
          const row = (names: string, answer: string) => {
            rows[`${strategy}, ${`${names}${cache}`.replace(/^\+/, "") || "nothing"} down`] = answer
          }
          row("", well)
          row("embedder", noEmbedder)
          row("openai", noOpenAi)
          row("embedder+openai", neither)
          row("postgres", noPostgres)
          row("embedder+postgres", noPostgres)
          row("openai+postgres", all)
          row("embedder+openai+postgres", all)
        }
        return rows
      }
      assert.deepStrictEqual(told, {
        ...expected("InOrder", [
          "Live",
          "Live",
          "Live SourceMissing",
          "Live SourceMissing LexicalInsteadOfVector",
          "Live"
        ]),
        ...expected("AllAtOnce", [
          "Live",
          "Live LexicalInsteadOfVector",
          "Partial SourceMissing",
          "Partial SourceMissing LexicalInsteadOfVector",
          "Partial SourceMissing"
        ])
      })
    }))
})

it.live(
  "no query fails while the primary is killed, hung, slow, limited and broken, and it is first again after",
  () =>
    Effect.gen(function*() {
      const documents = Array.from({ length: 300 }, (_, i) => document(`d${i}`, `zebra number ${i} of the herd`))
      const emulator = yield* OpenAiEmulator.make({ documents })
      const second = yield* troubled("second")
      yield* second.memory.addMany(documents)
      const unified = yield* UnifiedStore.make({
        pipeline: {
          retry: { maxRetries: 1, baseDelay: "5 millis" },
          breaker: { failureThreshold: 3, recoveryTimeout: "60 millis", maxRecoveryTimeout: "60 millis", rampUp: 0 },
          timeout: "150 millis"
        },
        sources: [
          {
            name: "openai",
            layer: OpenAiStore.layer({
              apiKey: emulator.apiKey,
              baseURL: emulator.url,
              vectorStore: VectorStoreId.make(emulator.vectorStore)
            })
          },
          second.source
        ]
      })
      let asked = 0
      const answers = (count: number) =>
        Effect.forEach(Array.from({ length: count }), () => {
          const n = asked++ % 300
          return Effect.map(unified.search({ query: `zebra number ${n}` }), (served) => {
            assert.strictEqual(served.value.hits[0]?.id, `d${n}`)
            return served._tag === "Live" ? served.provider : served._tag
          })
        })
      const well = Effect.gen(function*() {
        yield* emulator.clear()
        yield* emulator.start
        const { breaker } = unified.policies.providers[0]!.pipeline
        // Successes close the circuit; then the second store is left alone.
        const states = Effect.andThen(answers(1), breaker!.states)
        const now = yield* eventually(states, (all) => all.every(({ state }) => state === "Closed"))
        assert.deepStrictEqual(now.map(({ state }) => state), ["Closed"])
        const round = Effect.gen(function*() {
          const before = second.calls("search")
          return { providers: new Set(yield* answers(20)), asked: second.calls("search") - before }
        })
        // Not at the first try where the machine is busy and an attempt takes too long.
        const { asked, providers } = yield* eventually(round, ({ asked }) => asked === 0)
        assert.deepStrictEqual([asked, providers], [0, new Set(["openai"])])
      })
      const troubles = [
        emulator.stop,
        emulator.fault(Fault.hang()),
        emulator.fault(Fault.hang("body")),
        emulator.fault(Fault.latency(400)),
        emulator.fault(Fault.rateLimited(30)),
        emulator.fault(Fault.status(500)),
        emulator.fault(Fault.badGateway),
        emulator.fault(Fault.reset()),
        emulator.fault(Fault.body("html")),
        emulator.fault(Fault.status(500), { probability: 0.5 })
      ]
      yield* well
      for (const trouble of troubles) {
        yield* trouble
        const providers = new Set(yield* answers(20))
        assert.isTrue(providers.has("second"), `trouble ${troubles.indexOf(trouble)}`)
        yield* well
      }
    }),
  60_000
)

// -- searching ---------------------------------------------------------------------------------------------------------

it.effect("in order, the second source is not asked while the first is well", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three()
    yield* fill([a, b, c])
    const served = yield* unified.search({ query: "zebras" })
    assert.isTrue(served._tag === "Live" && served.provider === "a" && !served.degraded)
    const result = UnifiedStore.describe(served)
    assert.strictEqual(result._tag, "Complete")
    assert.deepStrictEqual(result.sources.map((it) => [it._tag, it.source]), [["Answered", "a"]])
    assert.deepStrictEqual([a.calls("search"), b.calls("search"), c.calls("search")], [1, 0, 0])
  }))

it.effect("in order, the next source answers for one that is down, and the answer says so", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three()
    yield* fill([a, b, c])
    yield* a.is("unconfigured")
    const served = yield* unified.search({ query: "zebras" })
    assert.isTrue(served._tag === "Live" && served.provider === "b" && served.degraded)
    const result = UnifiedStore.describe(served)
    assert.deepStrictEqual(result._tag === "Degraded" ? result.lost : [], [{ _tag: "SourceMissing", source: "a" }])
    assert.deepStrictEqual(result.sources.map(({ _tag, source }) => [_tag, source]), [["Answered", "b"], [
      "Failed",
      "a"
    ]])
    assert.strictEqual(c.calls("search"), 0)
  }))

it.effect("scenario 59: all at once, one source down costs its part of the answer and is named", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce" })
    yield* fill([a, b, c])
    const whole = yield* unified.search({ query: "zebras drink" })
    assert.strictEqual(UnifiedStore.describe(whole)._tag, "Complete")
    assert.deepStrictEqual(whole.value.hits.map(({ id, ranks }): unknown => [id, ranks]), [
      ["two", { a: 1, b: 1, c: 1 }],
      ["one", { a: 2, b: 2, c: 2 }]
    ])
    yield* b.is("unconfigured")
    const served = yield* unified.search({ query: "zebras drink" })
    assert.deepStrictEqual([served._tag, served._tag === "Partial" ? served.missing : []], ["Partial", ["b"]])
    assert.deepStrictEqual(served.value.hits.map(({ id }) => id as string), ["two", "one"])
    const result = UnifiedStore.describe(served)
    assert.deepStrictEqual(result._tag === "Degraded" ? result.lost : [], [{ _tag: "SourceMissing", source: "b" }])
    assert.deepStrictEqual(result.sources.map(({ _tag, source }) => `${_tag} ${source}`), [
      "Answered a",
      "Answered c",
      "Failed b"
    ])
  }))

for (const strategy of ["InOrder", "AllAtOnce"] as const) {
  it.effect(`scenario 41 and 59: ${strategy}, all down is a failure with every cause, never an empty list`, () =>
    Effect.gen(function*() {
      const { a, b, c, unified } = yield* three({ strategy })
      for (const it of [a, b, c]) yield* it.is("unconfigured")
      const error = yield* Effect.flip(unified.search({ query: "zebras" }))
      assert.isTrue(error._tag === "AllProvidersFailed")
      assert.deepStrictEqual(
        error._tag === "AllProvidersFailed" ? error.failures.map(({ category, provider }) => [provider, category]) : [],
        [["a", "CONFIGURATION"], ["b", "CONFIGURATION"], ["c", "CONFIGURATION"]]
      )
      const contract = yield* Effect.flip(unified.store.search({ query: "zebras" }))
      assert.deepStrictEqual([contract.reason._tag, contract.reason.detail], [
        "ServiceUnavailableError",
        "AllProvidersFailed"
      ])
    }))

  it.effect(`${strategy}: a wrong request fails as what it is, and nobody is asked`, () =>
    Effect.gen(function*() {
      const { a, unified } = yield* three({ strategy })
      for (const request of [{ query: "" }, { query: "x", limit: 0 }, { query: "x", limit: 10_000 }]) {
        const error = yield* Effect.flip(unified.search(request))
        assert.isTrue(error._tag === "ProviderError" && error.reason._tag === "ValidationError")
      }
      assert.strictEqual(a.calls("search"), 0)
    }))
}

it.effect("all at once, a slow source is not waited for beyond the soft deadline", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce", softDeadline: "1 second" })
    yield* fill([a, b, c])
    yield* b.is("slow")
    yield* c.is("hung")
    const fiber = yield* Effect.forkChild(unified.search({ query: "zebras" }))
    yield* TestClock.adjust("1 second")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual(UnifiedStore.outcomes(served).map(({ _tag, source }) => `${_tag} ${source}`), [
      "Answered a",
      "TimedOut b",
      "TimedOut c"
    ])
    // Without it, all are waited for until they answer or their time is up.
    yield* c.is("none")
    const patient = yield* three({ strategy: "AllAtOnce" })
    yield* fill([patient.a, patient.b, patient.c])
    yield* patient.b.is("slow")
    const waiting = yield* Effect.forkChild(patient.unified.search({ query: "zebras" }))
    yield* TestClock.adjust("3 seconds")
    const found = UnifiedStore.outcomes(yield* Fiber.join(waiting))
    assert.deepStrictEqual(found.map((it) => it._tag === "Answered" ? [it.source, it.tookMillis] : []), [
      ["a", 0],
      ["b", 3_000],
      ["c", 0]
    ])
  }))

it.effect("all at once, by its defaults, the open circuit of a source is not waited for", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* b.memory.add(document("one", "zebras"))
    yield* a.is("down")
    const unified = yield* UnifiedStore.make({ strategy: "AllAtOnce", sources: [a.source, b.source] })
    for (let i = 0; i < 10; i++) {
      const search = yield* Effect.forkChild(unified.search({ query: "zebras" }))
      // Less than any open time; a probe that fails and is tried once more fits.
      yield* TestClock.adjust(i < 5 ? "5 seconds" : "1 second")
      const exit = search.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit) && exit.value._tag === "Partial", String(i))
    }
  }))

it.effect("scenario 60: with every circuit open it answers at once, asks nobody, and tells when to come back", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce" })
    for (const it of [a, b, c]) yield* it.is("down")
    for (let i = 0; i < 4; i++) {
      const fiber = yield* Effect.forkChild(Effect.result(unified.search({ query: "zebras" })))
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Result.isFailure(yield* Fiber.join(fiber)))
      yield* TestClock.setTime(0)
    }
    for (const { pipeline } of unified.policies.providers) {
      yield* pipeline.breaker!.forceOpen(`${pipeline.provider}/search`)
    }
    const asked = a.calls("search")
    const error = yield* Effect.flip(unified.search({ query: "zebras" }))
    assert.isTrue(error._tag === "AllProvidersFailed")
    assert.strictEqual(a.calls("search"), asked)
    assert.isTrue((yield* unified.sources).every(({ availableInMillis }) => availableInMillis > 0))
  }))

it.effect("the fastest goes first, not before it is much faster, and never one whose circuit is open", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "Fastest" })
    yield* fill([a, b, c])
    yield* a.is("slow")
    const search = Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(unified.search({ query: "zebras" }))
      yield* TestClock.adjust("3 seconds")
      const served = yield* Fiber.join(fiber)
      return served._tag === "Live" ? served.provider : served._tag
    })
    const first = yield* Effect.replicateEffect(search, 20)
    // Each is asked once, to be known; then the quickest of them.
    assert.deepStrictEqual(first.slice(0, 3), ["a", "b", "c"])
    assert.deepStrictEqual(new Set(first.slice(3)), new Set(["b"]))
    yield* b.is("slow")
    const after = yield* Effect.replicateEffect(search, 10)
    assert.strictEqual(after[0], "b")
    assert.strictEqual(after.at(-1), "c")
    const breaker = unified.policies.providers[2]!.pipeline.breaker!
    yield* breaker.forceOpen("c/search")
    assert.notStrictEqual(yield* search, "c")
  }))

it.effect("asks only the sources that can search so, and says who was left out", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a", ["vector"]), troubled("b", ["lexical"])])
    yield* fill([a, b])
    const unified = yield* UnifiedStore.make({ pipeline, strategy: "AllAtOnce", sources: [a.source, b.source] })
    assert.deepStrictEqual(unified.store.modes, ["hybrid", "vector", "lexical"])
    const served = yield* unified.search({ query: "zebras", mode: "lexical" })
    assert.deepStrictEqual([a.calls("search"), b.calls("search"), served._tag], [0, 1, "Live"])
    const result = UnifiedStore.describe(served)
    assert.deepStrictEqual([result._tag, result.sources.map(({ _tag, source }) => `${_tag} ${source}`)], [
      "Complete",
      ["Answered b", "Skipped a"]
    ])
    yield* unified.search({ query: "zebras", mode: "hybrid" })
    assert.deepStrictEqual([a.calls("search"), b.calls("search")], [1, 2])
    const alone = yield* UnifiedStore.make({ pipeline, sources: [b.source] })
    const error = yield* Effect.flip(alone.search({ query: "zebras", mode: "vector" }))
    assert.isTrue(error._tag === "ProviderError" && error.reason._tag === "ValidationError")
  }))

it.effect("a vector goes to the sources of its space alone", () =>
  Effect.gen(function*() {
    const narrow = Embedder.makeLocal({ dimensions: 64 })
    const wide = Embedder.makeLocal()
    const [words, first, second] = yield* Effect.all([
      troubled("words"),
      MemoryStore.makeWith(narrow, { name: "narrow" }),
      MemoryStore.makeWith(wide, { name: "wide" })
    ])
    for (const store of [words.memory, first, second]) yield* store.add(document("one", "zebras graze"))
    for (const strategy of ["InOrder", "AllAtOnce"] as const) {
      const unified = yield* UnifiedStore.make({
        pipeline,
        strategy,
        sources: [words.source, { name: "narrow", service: first }, { name: "wide", service: second }]
      })
      assert.strictEqual(unified.store.space, narrow.space.id)
      const [vector] = yield* wide.embed(["zebras"], "query")
      const served = yield* unified.search({ query: "zebras", vector })
      assert.deepStrictEqual(
        UnifiedStore.outcomes(served).map((it) =>
          it._tag === "Skipped" ? [it.source, it.reason] : [it.source, it._tag]
        ),
        [["wide", "Answered"], ["words", "ModeUnsupported"], ["narrow", "SpaceUnsupported"]]
      )
      assert.deepStrictEqual([served._tag, UnifiedStore.describe(served)._tag], ["Live", "Complete"])
      const foreign = { space: "other/model/3@1", values: [1, 0, 0] }
      const error = yield* Effect.flip(unified.search({ query: "zebras", vector: foreign }))
      assert.isTrue(error._tag === "ProviderError" && error.reason.detail === "ForeignSpace")
    }
  }))

it.effect("a source that applies the filter while it searches goes before one that looks through what it found", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* fill([a, b])
    const partly: Service = { ...a.memory, filters: (filter) => filter.type === "eq" }
    const picky = yield* UnifiedStore.make({ pipeline, sources: [{ name: "a", service: partly }, b.source] })
    const by = (filter: Filter, strategy?: UnifiedStore.Strategy) =>
      Effect.map(
        picky.search({ query: "zebras", filter }, { strategy }),
        (served) => served._tag === "Live" ? [served.provider, served.degraded] : [served._tag]
      )
    const exact: Filter = { type: "eq", key: "none", value: 1 }
    const looked: Filter = { type: "ne", key: "none", value: 1 }
    assert.deepStrictEqual([yield* by(exact), yield* by(looked)], [["a", false], ["b", false]])
    assert.deepStrictEqual(
      new Set((yield* Effect.replicateEffect(by(looked, "Fastest"), 5)).map(([source]) => source)),
      new Set(["b"])
    )
    // Better looked through than not at all.
    yield* b.is("unconfigured")
    assert.deepStrictEqual(yield* by(looked), ["a", true])
  }))

it.effect("as many are found as asked for when a source is down, where the others have them", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce" })
    yield* a.memory.addMany(Array.from({ length: 100 }, (_, i) => document(`a${i}`, `zebra ${i}`)))
    yield* b.memory.addMany(Array.from({ length: 100 }, (_, i) => document(`b${i}`, `zebra ${i}`)))
    yield* c.memory.add(document("c0", "zebra"))
    for (const limit of [1, 10, 100]) {
      const count = Effect.map(unified.search({ query: "zebra", limit }), ({ value }) => value.hits.length)
      yield* b.is("none")
      assert.strictEqual(yield* count, limit)
      yield* b.is("unconfigured")
      assert.strictEqual(yield* count, limit)
    }
  }))

it.effect("a complete answer outlives the sources in the cache, and a partial one does not take its place", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({
      strategy: "AllAtOnce",
      cache: { fresh: "1 second", stale: "1 hour" }
    })
    yield* fill([a, b, c])
    yield* unified.search({ query: "zebras" })
    assert.strictEqual((yield* unified.search({ query: "zebras" }))._tag, "Cached")
    yield* TestClock.adjust("1 minute")
    for (const it of [a, b, c]) yield* it.is("unconfigured")
    const stale = yield* unified.search({ query: "zebras" })
    const result = UnifiedStore.describe(stale)
    assert.strictEqual(stale._tag, "Stale")
    assert.deepStrictEqual(
      result._tag === "Degraded" ? result.lost.filter(({ _tag }) => _tag === "Stale") : [],
      [{ _tag: "Stale", ageMillis: 60_000 }]
    )
    // Another question was never answered: it fails.
    assert.isTrue(Result.isFailure(yield* Effect.result(unified.search({ query: "giraffes" }))))
  }))

it.effect("weights and equal places decide the order, the same whoever answers first", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* a.memory.add(document("x", "zebras"))
    yield* b.memory.add(document("y", "zebras"))
    const order = (weights: Record<string, number>) =>
      Effect.gen(function*() {
        const unified = yield* UnifiedStore.make({
          pipeline,
          weights,
          strategy: "AllAtOnce",
          sources: [a.source, b.source]
        })
        return (yield* unified.search({ query: "zebras" })).value.hits.map(({ id }) => id as string)
      })
    assert.deepStrictEqual(yield* order({}), ["x", "y"])
    assert.deepStrictEqual(yield* order({ b: 2 }), ["y", "x"])
    const bad = yield* Effect.flip(order({ nobody: 1 }))
    assert.isTrue(bad._tag === "InvalidOptions" && bad.field === "weights")
  }))

// -- writing -----------------------------------------------------------------------------------------------------------

it.effect("a write goes to the first source and by the outbox to the others", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three()
    yield* unified.store.add(document("one", "zebras"))
    yield* unified.store.addMany([document("two", "zebras"), document("three", "zebras")])
    yield* unified.store.update(DocumentId.make("two"), { content: "giraffes" })
    yield* unified.store.delete(DocumentId.make("three"))
    yield* Effect.all([TestClock.adjust("1 second"), unified.outbox.drained], { concurrency: 2 })
    for (const { memory } of [a, b, c]) {
      const { documents } = yield* memory.list()
      assert.deepStrictEqual(documents.map(({ content, id }) => `${id} ${content}`), ["one zebras", "two giraffes"])
    }
  }))

it.effect("a write fails when the first source is down, and does not go elsewhere instead", () =>
  Effect.gen(function*() {
    const { a, b, unified } = yield* three()
    yield* a.is("unconfigured")
    const error = yield* Effect.flip(unified.store.add(document("one", "zebras")))
    assert.strictEqual(error.reason._tag, "ConfigurationError")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual((yield* b.memory.list()).documents, [])
  }))

it.effect("a mirror that was down gets what it missed, once, and its lag is visible meanwhile", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const { a, b, unified } = yield* three().pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    yield* b.is("down")
    yield* unified.store.add(document("one", "old"))
    yield* unified.store.add(document("one", "new"))
    yield* unified.store.add(document("two", "two"))
    yield* unified.store.delete(DocumentId.make("two"))
    yield* TestClock.adjust("2 minutes")
    const [lag] = yield* unified.outbox.lag
    assert.deepStrictEqual([lag?.mirror, lag?.pending], ["b", 2])
    assert.isAtLeast(lag?.oldestMillis ?? 0, 120_000)
    assert.isTrue(events.some((event) => event._tag === "Noted" && event.subject === "b"))
    yield* b.is("none")
    yield* Effect.all([TestClock.adjust("20 minutes"), unified.outbox.drained], { concurrency: 2 })
    assert.deepStrictEqual((yield* b.memory.list()).documents, (yield* a.memory.list()).documents)
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [0, 0])
  }))

it.effect("what is recorded in a queue that outlives the process is delivered by the next one", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = UnifiedStore.make({ pipeline, sources: [a.source, b.source] })
    yield* b.is("down")
    yield* Effect.scoped(Effect.gen(function*() {
      yield* (yield* unified).store.add(document("one", "zebras"))
      yield* TestClock.adjust("1 second")
    }))
    yield* b.is("none")
    yield* unified
    assert.deepStrictEqual((yield* b.memory.list()).documents, [])
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual((yield* b.memory.list()).documents, (yield* a.memory.list()).documents)
  }).pipe(Effect.provide(Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory))))

it.effect("a document that is deleted is not found in a mirror that does not know yet", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce" })
    yield* fill([a, b, c])
    yield* b.is("down")
    yield* c.is("down")
    yield* unified.store.delete(DocumentId.make("one"))
    yield* unified.store.update(DocumentId.make("two"), { content: "whales sing" })
    yield* TestClock.adjust("2 seconds")
    yield* b.is("none")
    yield* c.is("none")
    // The mirrors' own content is old still.
    assert.isTrue(Option.isSome(yield* b.memory.get(DocumentId.make("one"))))
    const { value } = yield* unified.search({ query: "zebras" })
    assert.deepStrictEqual(value.hits.map(({ id }) => id as string), [])
    // Nor is it read or listed, while the primary is away.
    yield* a.is("unconfigured")
    assert.deepStrictEqual(yield* unified.store.get(DocumentId.make("one")), Option.none())
    assert.isTrue(Option.isSome(yield* unified.store.get(DocumentId.make("three"))))
    const { documents } = yield* unified.store.list()
    assert.deepStrictEqual(documents.map(({ id }) => id as string), ["three", "two"])
  }))

it.effect("reconciling makes a mirror equal to the primary, whatever happened to it", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three()
    yield* fill([a, b, c])
    yield* a.memory.add(document("four", "only here"))
    yield* b.memory.add(document("one", "old zebras", { attributes: { old: true } }))
    yield* b.memory.add(document("five", "should not be here"))
    const done = yield* unified.outbox.reconcile("b")
    assert.deepStrictEqual(done, [{ mirror: "b", added: 1, changed: 1, removed: 1 }])
    assert.deepStrictEqual((yield* b.memory.list()).documents, (yield* a.memory.list()).documents)
    assert.deepStrictEqual((yield* unified.outbox.reconcile()).map(({ added, changed }) => added + changed), [0, 1])
  }))

it.live("what a mirror refuses for what it is holds nothing up and is counted", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [
        { name: "memory", layer: MemoryStore.layerLexical() },
        {
          name: "openai",
          layer: OpenAiStore.layer({
            apiKey: emulator.apiKey,
            baseURL: emulator.url,
            vectorStore: VectorStoreId.make(emulator.vectorStore),
            pollInterval: "2 millis"
          })
        }
      ]
    })
    const attributes = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`key${i}`, i]))
    yield* unified.store.add(document("full", "text", { attributes }))
    yield* emulator.fault(Fault.status(500), { route: "vectorStores.fileBatches.create", times: 1 })
    yield* unified.store.add(document("one", "text"))
    yield* unified.outbox.drained
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending, refused }) => ({ pending, refused })), [
      { pending: 0, refused: 1 }
    ])
    assert.strictEqual(yield* emulator.files, 1)
  }))
