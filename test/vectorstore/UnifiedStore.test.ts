import { assert, it, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Stream } from "effect"
import { PersistedQueue } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as Event from "../../src/Event.ts"
import { InvalidOptions } from "../../src/InvalidOptions.ts"
import {
  AuthenticationError,
  InvalidRequestError,
  ProviderError,
  RateLimitError,
  ServiceUnavailableError,
  TemporaryFailureError
} from "../../src/ProviderError.ts"
import * as Served from "../../src/Served.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import { everyDocument } from "../../src/vectorstore/internal/requests.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import { lossesIn } from "../../src/vectorstore/UnifiedAnswer.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { DocumentId, type Filter, type Service } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"
import { document, fill, openai, pipeline, sourceOf, three, troubled } from "./troubled.ts"

const everything = (store: Service) => Stream.runCollect(store.documents)

// -- the contract ------------------------------------------------------------------------------------------------------

for (const { name, run } of StoreContract.cases()) {
  it.live(`over memory and OpenAI, in order: ${name}`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const unified = yield* UnifiedStore.make({
        sources: [
          { name: "memory", layer: Layer.provide(MemoryStore.layer(), Embedder.local) },
          { name: "openai", layer: openai(emulator, "10 seconds") }
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

const Database = Layer.merge(Embedded.layer, Embedder.local)

layer(Database, { excludeTestServices: true, timeout: "60 seconds" })("over Postgres and OpenAI, all at once", (it) => {
  StoreContract.cases().forEach(({ name, run }, i) => {
    it.effect(name, () =>
      Effect.gen(function*() {
        const emulator = yield* OpenAiEmulator.make()
        const unified = yield* UnifiedStore.make({
          strategy: "AllAtOnce",
          sources: [
            { name: "neon", layer: NeonStore.layer({ schema: `unified_${i}` }) },
            { name: "openai", layer: openai(emulator, "10 seconds") }
          ]
        })
        yield* run(unified.store)
        yield* unified.outbox.drained
      }), 60_000)
  })
})

// -- what an answer tells ------------------------------------------------------------------------------------------------

it("an outcome tells how long to wait where that is known, and losses are of what has them", () => {
  const value: UnifiedStore.UnifiedAnswer = {
    mode: "lexical",
    hits: [],
    losses: ["OnlyStopWords"],
    answered: [],
    unfit: []
  }
  const retryAfter = Duration.seconds(3)
  const served = Served.live(value, "c", {
    failures: [
      new Served.Failure({ provider: "a", category: "CircuitOpen", retryAfter }),
      new Served.Failure({ provider: "b", category: "RATE_LIMIT", retryAfter }),
      new Served.Failure({ provider: "d", category: "BulkheadFull" }),
      new Served.Failure({ provider: "e", category: "NETWORK" })
    ]
  })
  assert.deepStrictEqual(UnifiedStore.outcomes(served), [
    { _tag: "Skipped", source: "a", reason: "CircuitOpen", retryAfter },
    { _tag: "Failed", source: "b", category: "RATE_LIMIT", retryAfter },
    { _tag: "Skipped", source: "d", reason: "BulkheadFull" },
    { _tag: "Failed", source: "e", category: "NETWORK" }
  ])
  assert.deepStrictEqual([value, {}, undefined, { losses: "many" }].map(lossesIn), [1, 0, 0, 0])
})

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

for (const strategy of ["InOrder", "AllAtOnce"] as const) {
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

it.effect("a source that only refuses does not stay the fastest, whether it ever answered or not", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "Fastest" })
    yield* fill([a, b, c])
    // Refused by a setting, which opens no circuit.
    yield* a.is("unconfigured")
    yield* Effect.replicateEffect(unified.search({ query: "zebras" }), 30)
    assert.isAtMost(a.calls("search"), 1)
    const [first, other] = b.calls("search") > c.calls("search") ? [b, c] : [c, b]
    yield* first.is("unconfigured")
    const before = other.calls("search")
    yield* Effect.replicateEffect(unified.search({ query: "zebras" }), 10)
    assert.strictEqual(other.calls("search") - before, 10)
    const asked = first.calls("search")
    yield* Effect.replicateEffect(unified.search({ query: "zebras" }), 5)
    assert.strictEqual(first.calls("search"), asked)
    // It is tried again now and then, and is known again when it answers.
    yield* a.is("none")
    yield* Effect.replicateEffect(unified.search({ query: "zebras" }), 200)
    assert.isAbove(a.calls("search"), 1)
  }))

it.effect("a clock that is set back while a source searches makes it no quicker", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 hour")
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* fill([a, b])
    let searches = 0
    const back: Service = {
      ...a.memory,
      search: (request) =>
        Effect.sleep("50 millis").pipe(
          Effect.andThen(searches++ === 0 ? TestClock.setTime(0) : Effect.void),
          Effect.andThen(a.memory.search(request))
        )
    }
    const unified = yield* UnifiedStore.make({
      pipeline,
      strategy: "Fastest",
      sources: [sourceOf("a", back), b.source]
    })
    const first: Array<string> = []
    for (let i = 0; i < 5; i++) {
      const search = yield* Effect.forkChild(unified.search({ query: "zebras" }))
      yield* TestClock.adjust("50 millis")
      const { answered } = (yield* Fiber.join(search)).value
      for (const { source, tookMillis } of answered) {
        assert.isAtLeast(tookMillis, 0)
        first.push(source)
      }
    }
    assert.deepStrictEqual(first, ["a", "b", "b", "b", "b"])
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
    const both = yield* UnifiedStore.make({
      pipeline,
      strategy: "AllAtOnce",
      minSources: 2,
      sources: [a.source, b.source]
    })
    const few = yield* Effect.flip(both.search({ query: "zebras", mode: "lexical" }))
    assert.isTrue(few._tag === "ProviderError" && few.reason._tag === "ValidationError")
    assert.include(few.message, "2 sources must answer, and only 1 can search so: b")
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
    const strategy = "Quickest" as UnifiedStore.Strategy
    const unknown = yield* Effect.flip(UnifiedStore.make({ strategy, sources: [a.source, b.source] }))
    assert.isTrue(unknown._tag === "InvalidOptions" && unknown.field === "strategy")
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

it.effect("a write that waits for the first source to be read is told of that one", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* UnifiedStore.make({ pipeline, sources: [a.source, b.source] }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    const one = yield* Effect.forkChild(unified.store.add(document("one", "zebras")), { startImmediately: true })
    yield* a.is("unconfigured")
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(one)
    assert.deepStrictEqual(
      events.flatMap((event) => event._tag === "Noted" ? [`${event.subject}: ${event.message}`] : []),
      ["b: a write did not reach it and will be repeated: a: CONFIGURATION"]
    )
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
    for (const name of ["a", "d"]) {
      const refused = yield* Effect.flip(unified.outbox.reconcile(name))
      assert.isTrue(refused instanceof InvalidOptions && refused.field === "mirror", name)
    }
  }))

it.effect("stores that take longer to list than a call may take are reconciled page by page, each tried again", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const documents = Array.from({ length: 900 }, (_, i) => document(`d${i}`, "zebras"))
    yield* Effect.forEach([a, b], ({ memory }) => memory.addMany(documents))
    yield* b.memory.add(document("more", "zebras"))
    let pages = 0
    const slowly = ({ memory, name }: typeof a) => {
      const list: Service["list"] = (request) =>
        Effect.suspend(() => Effect.delay(memory.list(request), ++pages === 3 ? "11 seconds" : "4 seconds"))
      return sourceOf(name, { ...memory, list, documents: everyDocument(list) })
    }
    const unified = yield* UnifiedStore.make({ pipeline, sources: [slowly(a), slowly(b)] })
    const reconciling = yield* Effect.forkChild(unified.outbox.reconcile())
    yield* TestClock.adjust("2 minutes")
    assert.deepStrictEqual(yield* Fiber.join(reconciling), [{ mirror: "b", added: 0, changed: 0, removed: 1 }])
    assert.deepStrictEqual([pages, (yield* b.memory.stats).documents], [9, 900])
  }))

it.effect("a change that comes while mirrors are reconciled is not undone", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    yield* a.memory.addMany(Array.from({ length: 300 }, (_, i) => document(`d${i}`, "old")))
    yield* a.memory.add(document("gone", "old"))
    yield* b.memory.add(document("kept", "old"))
    // What a listing lacks may have been stored since; and each part of a hundred takes its time.
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [
        a.source,
        sourceOf("b", {
          ...b.memory,
          addMany: (all, options) => Effect.delay(b.memory.addMany(all, options), all.length < 50 ? 0 : "1 second")
        })
      ]
    })
    const reconciling = yield* Effect.forkChild(unified.outbox.reconcile(), { startImmediately: true })
    yield* TestClock.adjust("500 millis")
    for (const id of ["d0", "d150", "d299", "kept"]) yield* unified.store.add(document(id, "new"))
    yield* unified.store.delete(DocumentId.make("gone"))
    yield* TestClock.adjust("1 minute")
    const [done] = yield* Fiber.join(reconciling)
    assert.strictEqual(done?.removed, 0)
    assert.deepStrictEqual(yield* everything(b.memory), yield* everything(a.memory))
    assert.strictEqual((yield* b.memory.stats).documents, 301)
  }))

it.effect("a write whose retry is refused reaches the mirrors, for an attempt before may have been done", () =>
  Effect.gen(function*() {
    const evidence = { message: "test", rule: "test" } as const
    const refusals = [
      new RateLimitError({ ...evidence, delivered: "no", retryAfter: Duration.seconds(30) }),
      new AuthenticationError({ ...evidence, delivered: "yes" }),
      new ServiceUnavailableError({ ...evidence, delivered: "no" })
    ]
    for (const [index, refusal] of refusals.entries()) {
      for (const done of [true, false]) {
        const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
        const fails = (reason: ProviderError["reason"]) =>
          Effect.fail(new ProviderError({ provider: "a", operation: "add", reason }))
        let calls = 0
        const unified = yield* UnifiedStore.make({
          pipeline,
          sources: [
            sourceOf("a", {
              ...a.memory,
              // The answer to the first is lost.
              add: (it) =>
                Effect.suspend(() =>
                  ++calls === 1 && done
                    ? Effect.andThen(
                      a.memory.add(it),
                      fails(new ServiceUnavailableError({ ...evidence, delivered: "unknown" }))
                    )
                    : fails(refusal)
                )
            }),
            b.source
          ]
        })
        const write = yield* Effect.forkChild(Effect.flip(unified.store.add(document("one", "zebras"))))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(write)).reason._tag, refusal._tag)
        yield* unified.outbox.drained
        assert.strictEqual((yield* b.memory.stats).documents, done ? 1 : 0, `refusal ${index}`)
      }
    }
  }))

it.live("a deletion that OpenAI refuses halfway reaches the mirrors, and one that it refuses at once does not", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const unified = yield* UnifiedStore.make({
      pipeline: { retry: undefined },
      sources: [
        { name: "openai", layer: openai(emulator) },
        { name: "memory", layer: MemoryStore.layerLexical() }
      ]
    })
    const memory = unified.policies.providers[1]!.service
    for (const fault of [Fault.rateLimited(), Fault.status(401)]) {
      for (const route of ["files.delete", "vectorStores.files.delete"]) {
        const it = document("one", "zebras")
        yield* unified.store.add(it)
        yield* unified.outbox.drained
        yield* Effect.flip(unified.store.delete(it.id)).pipe(emulator.during(fault, { route }))
        yield* unified.outbox.drained
        assert.strictEqual((yield* memory.stats).documents, route === "files.delete" ? 1 : 0)
      }
    }
  }))

it.effect("a delivery that dies, or that the mirror itself interrupts, is repeated like one that failed", () =>
  Effect.gen(function*() {
    for (const fault of [Effect.die(new Error("broken")), Effect.interrupt]) {
      const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
      let calls = 0
      const unified = yield* UnifiedStore.make({
        pipeline,
        sources: [
          a.source,
          sourceOf("b", {
            ...b.memory,
            addMany: (all) => Effect.suspend(() => ++calls <= 2 ? fault : b.memory.addMany(all))
          })
        ]
      })
      yield* unified.store.add(document("one", "zebras"))
      yield* unified.store.add(document("two", "zebras"))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [0])
      assert.strictEqual((yield* b.memory.stats).documents, 2)
    }
  }))

/** A mirror that goes wrong on some documents, and what it was asked to put and to delete. */
const picky = Effect.fnUntraced(function*(reasonFor: (id: string) => ProviderError["reason"] | undefined) {
  const { memory, source: { name } } = yield* troubled("b")
  const asked: Array<string> = []
  const failing = <A>(ids: ReadonlyArray<string>, self: Effect.Effect<A, ProviderError>) =>
    Effect.suspend(() => {
      asked.push(ids.join(" "))
      const reason = ids.map(reasonFor).find((it) => it !== undefined)
      return reason === undefined
        ? self
        : Effect.fail(new ProviderError({ provider: name, operation: "write", reason }))
    })
  const service: Service = {
    ...memory,
    addMany: (all) => failing(all.map(({ id }) => id), memory.addMany(all)),
    delete: (id) => failing([id], memory.delete(id))
  }
  return { asked, memory, service, source: sourceOf(name, service) }
})

const evidence = { message: "test", rule: "test", delivered: "yes" } as const

it.effect("a mirror that refuses a whole batch, or to delete, for one document gets the others", () =>
  Effect.gen(function*() {
    const a = yield* troubled("a")
    const b = yield* picky((id) => id.startsWith("bad") ? new InvalidRequestError(evidence) : undefined)
    const unified = yield* UnifiedStore.make({ pipeline, strategy: "AllAtOnce", sources: [a.source, b.source] })
    const refused = Effect.map(unified.outbox.lag, ([lag]) => [lag?.pending, lag?.refused])
    yield* b.memory.add(document("bad 1", "old zebras"))
    yield* unified.store.addMany(["one", "bad 1", "two", "bad 2"].map((id) => document(id, "giraffes")))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* refused, [0, 2])
    assert.deepStrictEqual((yield* b.memory.list()).documents.map(({ content, id }) => `${id}: ${content}`), [
      "bad 1: old zebras",
      "one: giraffes",
      "two: giraffes"
    ])
    // What it has of a document whose newest state it refused does not stand beside what the first source says.
    assert.deepStrictEqual((yield* unified.search({ query: "zebras" })).value.hits, [])
    assert.deepStrictEqual(yield* unified.outbox.reconcile(), [{ mirror: "b", added: 0, changed: 0, removed: 0 }])
    yield* unified.store.delete(DocumentId.make("bad 1"))
    yield* unified.store.delete(DocumentId.make("one"))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* refused, [0, 2])
    assert.strictEqual((yield* b.memory.stats).documents, 2)
  }))

it.effect("a document that a mirror fails on for ever keeps no other away, and is tried alone", () =>
  Effect.gen(function*() {
    const a = yield* troubled("a")
    const b = yield* picky(() => undefined)
    const failed = new ProviderError({
      provider: "b",
      operation: "addMany",
      reason: new TemporaryFailureError(evidence)
    })
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [a.source, {
        name: "b",
        service: {
          ...b.service,
          addMany: (all) =>
            Effect.map(b.service.addMany(all.filter(({ id }) => id !== "bad")), ({ items }) => ({
              items: all.some(({ id }) => id === "bad")
                ? [{ _tag: "Failed", id: DocumentId.make("bad"), error: failed }, ...items]
                : items
            }))
        }
      }]
    })
    yield* unified.store.addMany(["one", "bad", "two"].map((id) => document(id, "zebras")))
    yield* TestClock.adjust("10 minutes")
    assert.deepStrictEqual(b.asked.filter((ids) => ids !== ""), ["one two"])
    assert.isAbove(b.asked.length, 10)
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [1])
    yield* unified.store.add(document("three", "zebras"))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* b.memory.stats).documents, 3)
  }))

it.effect("a batch that takes a mirror longer than a call may goes to it in smaller ones", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [
        a.source,
        sourceOf("b", {
          ...b.memory,
          addMany: (all) => Effect.delay(b.memory.addMany(all), 200 * all.length)
        })
      ]
    })
    yield* unified.store.addMany(Array.from({ length: 100 }, (_, i) => document(`d${i}`, "zebras")))
    yield* TestClock.adjust("3 minutes")
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [0])
    assert.strictEqual((yield* b.memory.stats).documents, 100)
  }))

it.effect("an id that no store takes waits in no queue", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* UnifiedStore.make({ pipeline, sources: [a.source, b.source] })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as a caller in JavaScript may
    assert.isFalse(yield* unified.store.delete("x".repeat(600) as DocumentId))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual((yield* unified.outbox.lag).map(({ pending }) => pending), [0])
  }))

it.effect("a document that was written often while a mirror was down reaches it once, and its lag starts anew then", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    const unified = yield* UnifiedStore.make({
      pipeline: { ...pipeline, breaker: undefined },
      sources: [a.source, b.source]
    })
    const lag = Effect.map(unified.outbox.lag, ([lag]) => [lag?.pending, lag?.oldestMillis])
    yield* b.is("down")
    for (let i = 0; i < 20; i++) {
      yield* unified.store.add(document("one", `zebra ${i}`))
      yield* TestClock.adjust("1 second")
    }
    assert.deepStrictEqual(yield* lag, [1, 20_000])
    yield* b.is("slow")
    const before = b.calls("addMany")
    // The newest is written while what was before it is on its way.
    yield* TestClock.adjust("31 seconds")
    yield* unified.store.add(document("one", "zebra 20"))
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* lag, [0, 0])
    assert.deepStrictEqual((yield* b.memory.list()).documents, [document("one", "zebra 20")])
    assert.isAtMost(b.calls("addMany") - before, 3)
  }))

it.effect("what changes again and again while others deliver too is brought over in its last state", () =>
  Effect.gen(function*() {
    const [a, b] = yield* Effect.all([troubled("a"), troubled("b")])
    let puts = 0
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [
        a.source,
        sourceOf("b", {
          // What reconciles takes its time, and the queue's own deliveries overtake it.
          ...b.memory,
          addMany: (all) => Effect.suspend(() => Effect.delay(b.memory.addMany(all), ++puts % 2 === 1 ? "1 second" : 0))
        })
      ]
    })
    yield* a.memory.add(document("one", "first"))
    const reconciling = yield* Effect.forkChild(unified.outbox.reconcile(), { startImmediately: true })
    for (const content of ["second", "third"]) {
      yield* TestClock.adjust("500 millis")
      yield* unified.store.add(document("one", content))
      yield* TestClock.adjust("500 millis")
    }
    yield* Fiber.join(reconciling)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual((yield* b.memory.list()).documents, [document("one", "third")])
    assert.isAbove(puts, 3)
  }))

it.live("what a mirror refuses for what it is holds nothing up and is counted", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const unified = yield* UnifiedStore.make({
      pipeline,
      sources: [
        { name: "memory", layer: MemoryStore.layerLexical() },
        { name: "openai", layer: openai(emulator) }
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
    yield* unified.store.delete(DocumentId.make("full"))
    yield* unified.outbox.drained
    assert.strictEqual((yield* unified.outbox.lag)[0]?.refused, 0)
  }))
