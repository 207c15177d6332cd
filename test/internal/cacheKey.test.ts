import { assert, it } from "@effect/vitest"
import { Data, DateTime, Duration, Equal, Option, Redacted, Result, Schema } from "effect"
import { cacheKey, scopedKey } from "../../src/internal/cacheKey.ts"
import { eachSeed } from "./eachSeed.ts"
import type { seeded } from "./seeded.ts"

const same = (a: unknown, b: unknown): void => assert.strictEqual(cacheKey(a), cacheKey(b))
const differ = (...values: ReadonlyArray<unknown>): void =>
  assert.strictEqual(new Set(values.map(cacheKey)).size, values.length)

it("a plain text is its own key", () => {
  assert.strictEqual(cacheKey("GET /a"), "GET /a")
})

it("scenario 43: long texts that begin alike, and the same text with another model, are different keys", () => {
  const long = "x".repeat(10_000)
  differ(`${long}a`, `${long}b`)
  differ({ text: "a", model: "small" }, { text: "a", model: "large" }, { text: "a" })
})

it("the order of fields, of map entries and of set members makes no difference; that of a list does", () => {
  same({ a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 })
  same(new Map([["a", 1], ["b", 2]]), new Map([["b", 2], ["a", 1]]))
  same(new Set([1, 2]), new Set([2, 1]))
  differ([1, 2], [2, 1])
})

it("a field that is undefined is as good as absent; null is not", () => {
  same({ a: 1, limit: undefined }, { a: 1 })
  differ({ a: 1, limit: null }, { a: 1 })
})

it("values of different types never share a key", () => {
  differ(1, "1", 1n, true, "true", null, "null", undefined, "undefined", [], {}, [1], ["1"], new Map(), new Set())
  differ(Number.NaN, "NaN", Infinity, -Infinity, 0)
  same(0, -0)
  differ("\u0001[1]", [1])
  differ(new Date(0), 0, new Date(1), new URL("http://a"), "http://a", /a/, /a/i)
  differ(new Float32Array([1, 2]), new Float64Array([1, 2]), [1, 2], new Float32Array([1, 3]))
})

it("the data types of Effect are keyed by what they hold", () => {
  same(Option.some({ a: 1 }), Option.some({ a: 1 }))
  differ(Option.some(1), Option.some(2), Option.none(), Result.succeed(1), Result.fail(1), 1)
  same(Duration.seconds(60), Duration.minutes(1))
  differ(DateTime.makeUnsafe(0), DateTime.makeUnsafe(1))
  class Query extends Schema.Class<Query>("Query")({ text: Schema.String }) {}
  class Tagged extends Data.TaggedClass("Tagged")<{ readonly text: string }> {}
  same(new Query({ text: "a" }), new Query({ text: "a" }))
  differ(new Query({ text: "a" }), new Query({ text: "b" }), new Tagged({ text: "a" }), { text: "a" })
})

it("two secrets are two keys, although both print as redacted", () => {
  differ(Redacted.make("a"), Redacted.make("b"))
  differ({ token: Redacted.make("a") }, { token: Redacted.make("b") })
  same(Redacted.make("a"), Redacted.make("a"))
})

it("what cannot be looked into is its own identity", () => {
  class Session {
    readonly #user: string
    constructor(user: string) {
      this.#user = user
    }
    get user(): string {
      return this.#user
    }
  }
  const session = new Session("a")
  same({ session }, { session })
  differ({ session }, { session: new Session("a") }, { session: new Session("b") })
  const f = (): number => 1
  same([f], [f])
  differ([f], [(): number => 1])
  const symbol = Symbol("a")
  same(symbol, symbol)
  differ(symbol, Symbol("a"), Symbol.for("a"))
})

it("a value that contains itself has a key", () => {
  const loop = (): object => {
    const a: { b: { a?: object } } = { b: {} }
    a.b.a = a
    return a
  }
  same(loop(), loop())
})

it("a later change of the value does not change its key", () => {
  const request = { ids: [1] }
  const key = cacheKey(request)
  request.ids.push(2)
  assert.notStrictEqual(cacheKey(request), key)
  assert.strictEqual(cacheKey({ ids: [1] }), key)
})

it("operation and tenant are apart from each other and from the key", () => {
  const keys = [
    scopedKey("k", undefined, undefined),
    scopedKey("k", "a", undefined),
    scopedKey("k", undefined, "a"),
    scopedKey("k", "a", "a"),
    scopedKey("k", "a1:b", undefined),
    scopedKey("k", "a", "b"),
    scopedKey("", "ab", "k"),
    scopedKey("bk", "a", undefined)
  ]
  assert.strictEqual(new Set(keys).size, keys.length)
})

const leaves: ReadonlyArray<unknown> = ["", "a", "b", "a,b", "\"a\"", "1", "null", "[", "\u0001", 0, 1, 1.5, null, true]

const value = (chance: ReturnType<typeof seeded>, depth: number): unknown => {
  if (depth === 0 || chance.next() < 0.4) return chance.pick(leaves)
  const items = Array.from({ length: chance.int(3) }, () => value(chance, depth - 1))
  switch (chance.int(4)) {
    case 0:
      return items
    case 1:
      return Object.fromEntries(items.map((item, index) => [chance.pick(["a", "b", `c${index}`]), item]))
    case 2:
      return new Map(items.map((item) => [chance.pick(["a", "b"]), item]))
    default:
      return Option.some(value(chance, depth - 1))
  }
}

it("two values share a key exactly when Effect calls them equal", () => {
  let equal = 0
  eachSeed(20_000, (chance) => {
    const a = value(chance, 2)
    const b = value(chance, 2)
    const expected = Equal.equals(a, b)
    if (expected) equal++
    assert.strictEqual(cacheKey(a) === cacheKey(b), expected)
  })
  // Else it would have shown nothing.
  assert.isAbove(equal, 300)
})
