/**
 * What a unified store answers while its sources, its embedder or its cache are down, late, limited or gone. The names are
 * the rows of `failureModes.test.ts`.
 */
import { assert, it, layer } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { ConfigurationError, ProviderError } from "../../src/ProviderError.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"
import { type Service, VectorStore } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"
import { document, fill, openai, pipeline, three, type Trouble, troubled } from "./troubled.ts"

const Database = Layer.merge(Embedded.layer, Embedder.local)

layer(Database, { excludeTestServices: true, timeout: "60 seconds" })("over Postgres and OpenAI", (it) => {
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
          { name: "openai", layer: openai(emulator) },
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
      const { a, b, c, unified } = yield* three({ strategy, pipeline: { ...pipeline, retry: undefined } })
      yield* fill([a, b, c])
      yield* a.is("limited")
      yield* b.is("down")
      yield* c.is("unconfigured")
      const error = yield* Effect.flip(unified.search({ query: "zebras" }))
      if (error._tag !== "AllProvidersFailed") return assert.fail(error._tag)
      assert.deepStrictEqual(error.failures.map(({ category, provider }) => [provider, category]), [
        ["a", "RATE_LIMIT"],
        ["b", "SERVICE_UNAVAILABLE"],
        ["c", "CONFIGURATION"]
      ])
      assert.strictEqual(Duration.toMillis(error.earliestRetry ?? 0), 30_000)
      const contract = yield* Effect.flip(unified.store.search({ query: "zebras" }))
      assert.deepStrictEqual([contract.reason._tag, contract.reason.detail], [
        "ServiceUnavailableError",
        "AllProvidersFailed"
      ])
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
    // Listing goes on, which says nothing of searches.
    for (const it of [a, b, c]) yield* it.is("none")
    yield* Effect.forEach(
      unified.policies.providers,
      ({ pipeline, service }) => pipeline.protect({ operation: "list", idempotent: true })(service.list())
    )
    assert.isTrue((yield* unified.sources).every(({ availableInMillis }) => availableInMillis > 0))
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

it.effect("a stale hit never overwrites fresh: what was found last is what an outage is answered with", () =>
  Effect.gen(function*() {
    for (const strategy of ["InOrder", "AllAtOnce"] as const) {
      const { a, b, c, unified } = yield* three({
        strategy,
        cache: { fresh: "1 second", revalidate: 0, stale: "1 hour" }
      })
      const all = [a, b, c]
      const have = (content: string) => Effect.forEach(all, ({ memory }) => memory.add(document("one", content)))
      const are = (trouble: Trouble) => Effect.forEach(all, (it) => it.is(trouble))
      const search = Effect.map(unified.search({ query: "zebras" }), (served) => [
        served._tag,
        served.value.hits[0]?.content
      ])
      yield* have("old zebras")
      assert.deepStrictEqual(yield* search, ["Live", "old zebras"])
      yield* TestClock.adjust("1 minute")
      yield* are("unconfigured")
      assert.deepStrictEqual(yield* search, ["Stale", "old zebras"])
      // An answer served stale is no younger for it, and does not stand in the way of a new one.
      yield* have("new zebras")
      yield* are("none")
      assert.deepStrictEqual(yield* search, ["Live", "new zebras"])
      yield* are("unconfigured")
      assert.deepStrictEqual(yield* search, ["Cached", "new zebras"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* search, ["Stale", "new zebras"])
    }
  }))

it.effect("a complete answer outlives the sources in the cache, and a partial one does not take its place", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({
      strategy: "AllAtOnce",
      cache: { fresh: "1 second", revalidate: 0, stale: "1 hour" }
    })
    yield* fill([a, b, c])
    const search = unified.search({ query: "zebras" })
    yield* search
    assert.strictEqual((yield* search)._tag, "Cached")
    yield* TestClock.adjust("1 minute")
    yield* b.is("unconfigured")
    yield* c.is("unconfigured")
    const part = yield* search
    assert.deepStrictEqual([part._tag, part.value.answered.length], ["Partial", 1])
    yield* a.is("unconfigured")
    const stale = yield* search
    const result = UnifiedStore.describe(stale)
    // As it was found a minute ago, by all three.
    assert.deepStrictEqual([stale._tag, stale.value.answered.length], ["Stale", 3])
    assert.deepStrictEqual(
      result._tag === "Degraded" ? result.lost.filter(({ _tag }) => _tag === "Stale") : [],
      [{ _tag: "Stale", ageMillis: 60_000 }]
    )
    // Another question was never answered: it fails.
    assert.isTrue(Result.isFailure(yield* Effect.result(unified.search({ query: "giraffes" }))))
  }))

for (const strategy of ["InOrder", "AllAtOnce"] as const) {
  it.effect(`cancellation is not a partial result: ${strategy}, the sources are told, and nothing is kept`, () =>
    Effect.gen(function*() {
      const { a, b, c, unified } = yield* three({ strategy, cache: { fresh: "1 minute", stale: "1 hour" } })
      yield* fill([a, b, c])
      const [hung, other] = strategy === "InOrder" ? [a, b] : [b, a]
      yield* hung.is("hung")
      const fiber = yield* Effect.forkChild(unified.search({ query: "zebras" }))
      yield* TestClock.adjust("1 second")
      const asked = other.calls("search")
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.strictEqual(hung.interrupted(), 1)
      // In order, the next is not asked in its place; all at once, what had answered is thrown away.
      assert.strictEqual(other.calls("search"), asked)
      for (const it of [a, b, c]) yield* it.is("unconfigured")
      assert.strictEqual((yield* Effect.flip(unified.search({ query: "zebras" })))._tag, "AllProvidersFailed")
      // It was nobody's failure.
      assert.deepStrictEqual((yield* unified.sources).map(({ availableInMillis }) => availableInMillis), [0, 0, 0])
    }))

  it.effect(`cancellation is not a partial result: ${strategy}, a source that is interrupted by itself ends the search`, () =>
    Effect.gen(function*() {
      const { b, c } = yield* three()
      yield* fill([b, c])
      const gone: Service = { ...b.memory, search: () => Effect.interrupt }
      const unified = yield* UnifiedStore.make({
        pipeline,
        strategy,
        sources: [{ name: "gone", service: gone }, b.source, c.source]
      })
      const exit = yield* Effect.exit(unified.search({ query: "zebras" }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }))
}

it.effect("the order of the hits does not hang on who answers first", () =>
  Effect.gen(function*() {
    const { a, b, c, unified } = yield* three({ strategy: "AllAtOnce" })
    yield* a.memory.addMany([document("x", "zebras"), document("y", "zebras graze on the wide savanna")])
    yield* b.memory.addMany([document("y", "zebras"), document("z", "zebras graze on the wide savanna")])
    yield* c.memory.addMany([document("z", "zebras"), document("x", "zebras graze on the wide savanna")])
    const orders = yield* Effect.forEach([[], [a], [b], [c], [a, b], [b, c], [a, c]], (late) =>
      Effect.gen(function*() {
        for (const it of [a, b, c]) yield* it.is(late.includes(it) ? "slow" : "none")
        const fiber = yield* Effect.forkChild(unified.search({ query: "zebras" }))
        yield* TestClock.adjust("3 seconds")
        const { value } = yield* Fiber.join(fiber)
        return value.hits.map(({ id, score }): unknown => [id, score])
      }))
    assert.deepStrictEqual(orders[0]?.map((it) => (it as ReadonlyArray<unknown>)[0]), ["x", "y", "z"])
    for (const order of orders) assert.deepStrictEqual(order, orders[0])
  }))
