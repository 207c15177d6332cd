import { assert, expectTypeOf, it } from "@effect/vitest"
import { Duration, Effect, Option, Schema } from "effect"
import { ProviderError, RateLimitError } from "../src/ProviderError.ts"
import * as Served from "../src/Served.ts"

const limited = new ProviderError({
  provider: "a",
  operation: "get",
  reason: new RateLimitError({
    message: "key sk-123 is over its limit",
    rule: "test",
    delivered: "yes",
    retryAfter: Duration.seconds(7)
  })
})
const failure = Served.failure("a", limited)

const all = {
  live: Served.live(1, "a"),
  second: Served.live(1, "b", { degraded: true, attempts: 2, failures: [failure] }),
  cached: Served.cached(1, "a", 5),
  stale: Served.stale(1, "a", 50, [failure]),
  partial: Served.partial(1, ["b"], [failure]),
  orElse: Served.orElse(1, [failure])
}

it("a failure tells who, why and how long to wait, and keeps the error to itself", () => {
  assert.strictEqual(failure.category, "RATE_LIMIT")
  assert.strictEqual(failure.error, limited)
  assert.strictEqual(JSON.stringify(failure).includes("sk-123"), false)
  assert.deepStrictEqual(Object.keys(failure), ["provider", "category", "retryAfter"])
  assert.strictEqual(Served.failure("b", { _tag: "CircuitOpen" }).category, "CircuitOpen")
})

it("what is degraded: anything but a live answer of the first provider or a fresh one from the cache", () => {
  assert.deepStrictEqual(Object.values(all).map(Served.isDegraded), [false, true, false, true, true, true])
})

it.effect("more can be demanded", () =>
  Effect.gen(function*() {
    const passes = Effect.fnUntraced(
      function*(demand: (self: Served.Served<number>) => Effect.Effect<unknown, Served.NotServed>) {
        const outcomes = yield* Effect.forEach(Object.values(all), (served) => Effect.isSuccess(demand(served)))
        return Object.keys(all).filter((_, index) => outcomes[index])
      }
    )
    assert.deepStrictEqual(yield* passes(Served.requireLive), ["live", "second"])
    assert.deepStrictEqual(yield* passes(Served.requireFresh), ["live", "second", "cached"])
    assert.deepStrictEqual(yield* passes(Served.requireComplete), ["live", "second", "cached", "stale"])
    const refused = yield* Effect.flip(Served.requireLive(all.stale))
    assert.strictEqual(refused.served, all.stale)
    assert.strictEqual(refused.message, "Wanted an answer that is Live, not Stale")
    assert.deepStrictEqual(Served.toOption(all.stale), Option.some(1))
    assert.isTrue(Option.isNone(Served.toOption(all.orElse)))
  }))

it("map changes the value alone, and keeps the kinds in the type", () => {
  const served = Served.map(all.stale, String)
  assert.deepStrictEqual(served, Served.stale("1", "a", 50, [failure]))
  expectTypeOf(served).toEqualTypeOf<Served.Stale<string>>()
  const either = (self: Served.Served<number, "Live" | "Cached">) => Served.map(self, String)
  expectTypeOf(either).returns.toEqualTypeOf<Served.Served<string, "Live" | "Cached">>()
  assert.strictEqual(Served.map(String)(all.cached).value, "1")
})

it("of two answers the worst kind wins, whatever their order", () => {
  const inOrder = [all.live, all.cached, all.stale, all.partial, all.orElse]
  for (const [i, a] of inOrder.entries()) {
    for (const [j, b] of inOrder.entries()) {
      const both = Served.combine(a, b, (x, y) => x + y)
      assert.strictEqual(both._tag, inOrder[Math.max(i, j)]?._tag)
      assert.strictEqual(both.value, 2)
      assert.strictEqual(both.failures.length, a.failures.length + b.failures.length)
    }
  }
  const both = Served.combine(all.live, all.second, (x, y) => x + y)
  expectTypeOf(both).toEqualTypeOf<Served.Live<number>>()
  assert.deepStrictEqual(both, Served.live(2, "a+b", { attempts: 3, degraded: true, failures: [failure] }))
  const old = Served.combine(all.stale, Served.partial(2, ["c"], [], 70), (x, y) => x + y)
  assert.deepStrictEqual(old, Served.partial(3, ["c"], [failure], 70))
})

it.effect("an answer goes over HTTP and comes back, without the errors' words", () =>
  Effect.gen(function*() {
    const schema = Served.schema(Schema.Int)
    const json = Schema.toCodecJson(schema)
    for (const served of Object.values(all)) {
      const encoded = yield* Schema.encodeEffect(json)(served)
      assert.isFalse(JSON.stringify(encoded).includes("sk-123"))
      const decoded = yield* Schema.decodeUnknownEffect(json)(JSON.parse(JSON.stringify(encoded)))
      assert.deepStrictEqual(decoded, served)
      expectTypeOf(decoded).toExtend<Served.Served<number>>()
    }
  }))
