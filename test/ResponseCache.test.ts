import { assert, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Random,
  Schema,
  Scope
} from "effect"
import { KeyValueStore, Persistence } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import * as Fallback from "../src/Fallback.ts"
import { type InvalidOptions } from "../src/InvalidOptions.ts"
import {
  AuthorizationError,
  NetworkError,
  NotFoundError,
  ProviderError,
  type Reason,
  ValidationError
} from "../src/ProviderError.ts"
import * as ResponseCache from "../src/ResponseCache.ts"
import * as Served from "../src/Served.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

const evidence = { message: "", rule: "test", delivered: "unknown" } as const
const failing = (reason: Reason): ProviderError => new ProviderError({ provider: "p", operation: "get", reason })
const network = failing(new NetworkError(evidence))
const forbidden = failing(new AuthorizationError(evidence))
const notFound = failing(new NotFoundError(evidence))

/** A provider that counts its calls and says what it is told to say. */
const provider = <A>(first: A) => {
  const self = {
    calls: 0,
    answer: Exit.succeed(first) as Exit.Exit<A, ProviderError>,
    lookup: Effect.suspend((): Effect.Effect<A, ProviderError> => {
      self.calls++
      return self.answer
    }),
    served: Effect.suspend((): Effect.Effect<Served.Live<A>, ProviderError> =>
      Effect.map(self.lookup, (value) => Served.live(value, "p"))
    )
  }
  return self
}

// -- fresh, old, dead ------------------------------------------------------------------------------------------------

it.effect("a fresh answer is served without asking, until its time is over", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds" })
    const p = provider(1)
    assert.strictEqual(yield* cache.get("a", p.lookup), 1)
    yield* TestClock.adjust("9999 millis")
    assert.strictEqual(yield* cache.get("a", p.lookup), 1)
    assert.strictEqual(p.calls, 1)
    yield* TestClock.adjust("1 millis")
    yield* cache.get("a", p.lookup)
    assert.strictEqual(p.calls, 2)
  }))

it.effect("a clock that was set back by hours keeps no answer fresh for hours", () =>
  Effect.gen(function*() {
    yield* TestClock.setTime(36_000_000)
    const cache = yield* ResponseCache.make<number>({ fresh: "1 minute" })
    const p = provider(1)
    yield* cache.get("a", p.lookup)
    yield* TestClock.setTime(0)
    yield* cache.get("a", p.lookup)
    yield* cache.get("a", p.lookup)
    assert.strictEqual(p.calls, 2)
  }))

it.effect("serve tells live from cached, with provider and age", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const p = provider(1)
    assert.deepStrictEqual(yield* cache.serve("a", p.served), Served.live(1, "p"))
    yield* TestClock.adjust("3 seconds")
    const served = yield* cache.serve("a", p.served)
    assert.deepStrictEqual(served, Served.cached(1, "p", 3000))
    expectTypeOf(served).toEqualTypeOf<Served.Served<number, "Live" | "Cached" | "Stale">>()
  }))

it.effect("a failure is not kept, and what was fetched after it is", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const p = provider(1)
    p.answer = Exit.fail(network)
    assert.strictEqual(yield* Effect.flip(cache.get("a", p.lookup)), network)
    p.answer = Exit.succeed(2)
    assert.strictEqual(yield* cache.get("a", p.lookup), 2)
    assert.strictEqual(p.calls, 2)
  }))

it.effect("scenario 37: 0, \"\", false and null are answers like any other; so is undefined", () =>
  Effect.gen(function*() {
    for (const value of [0, "", false, null, undefined]) {
      const cache = yield* ResponseCache.make<unknown>()
      const p = provider<unknown>(value)
      yield* cache.serve("a", p.served)
      const served = yield* cache.serve("a", p.served)
      assert.strictEqual(served._tag, "Cached")
      assert.strictEqual(served.value, value)
      assert.strictEqual(yield* cache.get("a", p.lookup), value)
      assert.strictEqual(p.calls, 1)
    }
  }))

it.effect("past its freshness an answer is served at once while one call fetches another", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: "5 seconds" })
    const p = provider(1)
    yield* cache.serve("a", p.served)
    yield* TestClock.adjust("12 seconds")
    p.answer = Exit.succeed(2)
    const slow = Effect.delay(p.served, "1 second")
    assert.deepStrictEqual(yield* cache.serve("a", slow), Served.stale(1, "p", 12_000))
    assert.deepStrictEqual(yield* cache.serve("a", slow), Served.stale(1, "p", 12_000))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* cache.serve("a", slow), Served.cached(2, "p", 0))
    assert.strictEqual(p.calls, 2)
    const { refreshes, stale } = yield* cache.stats
    assert.deepStrictEqual({ refreshes, stale }, { refreshes: 1, stale: 2 })
  }))

it.effect("a refresh that ends at once does not put the new value into the old answer", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: "5 seconds" })
    const p = provider(1)
    yield* cache.serve("a", p.served)
    yield* TestClock.adjust("12 seconds")
    p.answer = Exit.succeed(2)
    assert.deepStrictEqual(yield* cache.serve("a", p.served), Served.stale(1, "p", 12_000))
    assert.deepStrictEqual(yield* cache.serve("a", p.served), Served.cached(2, "p", 0))
  }))

it.effect("a refresh is not bound by the deadline of the caller who caused it", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: "5 seconds" })
    const seen: Array<number> = []
    const lookup = Effect.flatMap(Deadline.current, (deadline) =>
      Effect.sync(() => {
        seen.push(deadline)
        return Served.live(1, "p")
      }))
    yield* cache.serve("a", lookup)
    yield* TestClock.adjust("12 seconds")
    yield* Deadline.within("100 millis")(cache.serve("a", lookup))
    assert.deepStrictEqual(seen, [Infinity, Infinity])
  }))

it.effect("a refresh that fails leaves the old answer, and ends with the cache", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const cache = yield* Scope.provide(ResponseCache.make<number>({ fresh: 10, revalidate: "1 hour" }), scope)
    const p = provider(1)
    yield* cache.serve("a", p.served)
    yield* TestClock.adjust("1 second")
    p.answer = Exit.fail(network)
    yield* cache.serve("a", p.served)
    assert.strictEqual((yield* cache.serve("a", p.served))._tag, "Stale")
    let ended = false
    yield* cache.serve("a", Effect.onExit(Effect.never, () => Effect.sync(() => void (ended = true))))
    assert.strictEqual((yield* cache.stats).inFlight, 1)
    yield* Scope.close(scope, Exit.void)
    assert.isTrue(ended)
    assert.strictEqual((yield* cache.stats).inFlight, 0)
  }))

it.effect("a refresh that hangs is given up when the old answer may not be served ahead of it any more", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "1 minute", revalidate: "1 minute" })
    const p = provider(1)
    yield* cache.serve("a", p.served)
    yield* TestClock.adjust("61 seconds")
    let ended = false
    const hung = Effect.onExit(Effect.never, () => Effect.sync(() => void (ended = true)))
    yield* cache.serve("a", hung)
    // Who has joined waits on, and counts against nobody else.
    const joined = yield* Effect.forkChild(cache.get("a", hung))
    yield* TestClock.adjust("59 seconds")
    assert.isFalse(ended)
    p.answer = Exit.succeed(2)
    assert.deepStrictEqual(yield* cache.serve("a", p.served), Served.live(2, "p"))
    yield* Fiber.interrupt(joined)
    assert.isTrue(ended)
    yield* TestClock.adjust("61 seconds")
    ended = false
    yield* cache.serve("a", hung)
    yield* TestClock.adjust("59 seconds")
    assert.isTrue(ended)
    assert.strictEqual((yield* cache.stats).inFlight, 0)
  }))

it.effect("a refresh has half a minute, however late it begins", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: "1 second" })
    const p = provider(1)
    yield* cache.serve("a", p.served)
    yield* TestClock.adjust("10 seconds")
    p.answer = Exit.succeed(2)
    yield* cache.serve("a", Effect.delay(p.served, "29 seconds"))
    yield* TestClock.adjust("29 seconds")
    assert.deepStrictEqual(yield* cache.serve("a", p.served), Served.cached(2, "p", 0))
  }))

// -- after failures --------------------------------------------------------------------------------------------------

it.effect("scenario 36: after a failure an expired answer is served as stale with its age, within the limit and no longer", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0, stale: "1 minute" })
    const p = provider(1)
    yield* cache.serve("a", p.served)
    p.answer = Exit.fail(network)
    yield* TestClock.adjust("69999 millis")
    const served = yield* cache.serve("a", p.served)
    assert.strictEqual(served._tag, "Stale")
    assert.strictEqual(Served.ageOf(served), 69_999)
    assert.deepStrictEqual(served.failures.map(({ category }) => category), ["NETWORK"])
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* Effect.flip(cache.serve("a", p.served)), network)
  }))

it.effect("nothing is kept longer than cacheRetention, unless stale says how long", () =>
  Effect.gen(function*() {
    const p = provider(1)
    const lastServed = Effect.fnUntraced(function*(options: ResponseCache.Options<number>) {
      const cache = yield* ResponseCache.make<number>(options)
      p.answer = Exit.succeed(1)
      yield* cache.serve("a", p.served)
      p.answer = Exit.fail(network)
      let minutes = 0
      while (Exit.isSuccess(yield* Effect.exit(cache.serve("a", p.served)))) {
        yield* TestClock.adjust("1 minute")
        minutes++
      }
      assert.isTrue(Option.isNone(yield* cache.peek("a")))
      return minutes
    })
    assert.strictEqual(yield* lastServed({ fresh: "1 minute", cacheRetention: "1 minute" }), 1)
    assert.strictEqual(
      yield* lastServed({ fresh: "2 minutes", revalidate: "9 minutes", cacheRetention: "5 minutes" }),
      5
    )
    assert.strictEqual(yield* lastServed({ fresh: () => "10 minutes", cacheRetention: "1 hour" }), 60)
    assert.strictEqual(yield* lastServed({ fresh: () => "Infinity", cacheRetention: "5 minutes" }), 5)
    assert.strictEqual(yield* lastServed({ cacheRetention: "5 minutes", stale: "8 minutes" }), 9)
    assert.strictEqual(yield* lastServed({ fresh: "5 minutes" }), 65)
  }))

it.effect("an old answer is never served after an authorization or validation failure, nor in an outage after it", () =>
  Effect.gen(function*() {
    for (const error of [forbidden, failing(new ValidationError(evidence))]) {
      const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0 })
      const p = provider(1)
      yield* cache.serve("a", p.served)
      yield* TestClock.adjust("11 seconds")
      p.answer = Exit.fail(error)
      assert.strictEqual(yield* Effect.flip(cache.serve("a", p.served)), error)
      p.answer = Exit.fail(network)
      assert.strictEqual(yield* Effect.flip(cache.serve("a", p.served)), network)
    }
  }))

it("of several causes every one must qualify", () => {
  const failed = (...errors: ReadonlyArray<ProviderError>) =>
    Fallback.allFailed("s", "o", errors.map((error) => Served.failure("p", error)))
  assert.isTrue(ResponseCache.qualifies(failed(network, network)))
  assert.isFalse(ResponseCache.qualifies(failed(network, forbidden)))
  assert.isTrue(ResponseCache.qualifies(new Deadline.DeadlineExceeded({ after: Duration.seconds(1) })))
})

it.effect("a failure that cannot be looked at is covered by an old answer like any other", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0 })
    yield* cache.serve("a", provider(1).served)
    yield* TestClock.adjust("11 seconds")
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    assert.strictEqual((yield* cache.serve("a", Effect.fail(proxy)))._tag, "Stale")
  }))

it.effect("a defect and an interruption are not covered by an old answer", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0 })
    yield* cache.serve("a", provider(1).served)
    yield* TestClock.adjust("11 seconds")
    const died = yield* Effect.exit(cache.serve("a", Effect.die("bug")))
    assert.isTrue(Exit.hasDies(died))
    const interrupted = yield* Effect.exit(cache.serve("a", Effect.interrupt))
    assert.isTrue(Exit.hasInterrupts(interrupted))
  }))

it.effect("a partial answer does not take the place of a complete one, a default is not kept", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0 })
    yield* cache.serve("a", provider(1).served)
    yield* TestClock.adjust("11 seconds")
    assert.strictEqual((yield* cache.serve("a", Effect.succeed(Served.partial(2, ["x"]))))._tag, "Partial")
    const old = yield* cache.serve("a", Effect.fail(network))
    assert.strictEqual(old.value, 1)
    yield* cache.serve("b", Effect.succeed(Served.orElse(3)))
    assert.isTrue(Option.isNone(yield* cache.peek("b")))
    yield* cache.serve("c", Effect.succeed(Served.partial(4, ["x"])))
    yield* TestClock.adjust("1 second")
    const cached = yield* cache.serve("c", Effect.fail(network))
    assert.deepStrictEqual<unknown>(cached, Served.partial(4, ["x"], [], 1000))
  }))

it.effect("a lower quality does not overwrite while the better answer may be served", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<string>({ fresh: 1000, revalidate: 0, quality: (value) => value.length })
    yield* cache.get("a", Effect.succeed("long"))
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(yield* cache.get("a", Effect.succeed("no")), "no")
    assert.strictEqual(Option.getOrThrow(yield* cache.peek("a")).value, "long")
    yield* cache.get("a", Effect.succeed("longer"))
    assert.strictEqual(Option.getOrThrow(yield* cache.peek("a")).value, "longer")
  }))

it.effect("freshness may depend on the answer, and zero keeps it not at all", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<Option.Option<number>>({
      fresh: (value) => Option.isSome(value) ? "1 minute" : 0
    })
    const p = provider<Option.Option<number>>(Option.none())
    yield* cache.get("a", p.lookup)
    yield* cache.get("a", p.lookup)
    assert.strictEqual(p.calls, 2)
    p.answer = Exit.succeed(Option.some(1))
    yield* cache.get("a", p.lookup)
    yield* cache.get("a", p.lookup)
    assert.strictEqual(p.calls, 3)
  }))

it.effect("a function of the options that throws is a defect of the call, and leaves nothing behind", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({
      fresh: () => {
        throw new Error("bug")
      }
    })
    const fiber = yield* Effect.forkChild(Effect.exit(cache.get("a", Effect.delay(Effect.succeed(1), "1 second"))))
    yield* TestClock.adjust("1 second")
    assert.isTrue(Exit.hasDies(yield* Fiber.join(fiber)))
    assert.strictEqual((yield* cache.stats).inFlight, 0)
  }))

// -- keys, tags, bounds ----------------------------------------------------------------------------------------------

it.effect("scenario 43: requests that differ anywhere have answers of their own; equal ones share", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    let calls = 0
    const lookup = Effect.sync(() => ++calls)
    const text = "lorem ipsum ".repeat(20)
    const keys = [
      { text: `${text}a`, model: "small" },
      { text: `${text}b`, model: "small" },
      { text: `${text}a`, model: "large" }
    ]
    for (const key of keys) yield* cache.get(key, lookup)
    assert.strictEqual(calls, 3)
    assert.strictEqual(yield* cache.get({ model: "large", text: `${text}a` }, lookup), 3)
  }))

it.effect("no tenant and no operation is given another's answer", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<string>()
    for (const tenant of ["a", "b"]) {
      for (const operation of ["x", "y"]) {
        const own = `${tenant}${operation}`
        assert.strictEqual(yield* cache.get("key", Effect.succeed(own), { tenant, operation }), own)
        assert.strictEqual(yield* cache.get("key", Effect.succeed("other"), { tenant, operation }), own)
      }
    }
  }))

it.effect("scenario 44: what a write makes invalid is not served again, not even what was being fetched", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<ReadonlyArray<string>>()
    let documents = ["a", "b"]
    const search = Effect.delay(Effect.sync(() => documents), "1 second").pipe(
      // What the store had when it was asked.
      (slow) => Effect.suspend(() => Effect.as(slow, documents))
    )
    const find = (query: string) => cache.get(query, search, { tags: ["documents"] })
    const first = yield* Effect.forkChild(find("q"))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* Fiber.join(first), ["a", "b"])
    const running = yield* Effect.forkChild(find("slow"))
    yield* TestClock.adjust("500 millis")
    documents = ["b"]
    yield* cache.invalidateTag("documents")
    yield* TestClock.adjust("500 millis")
    assert.deepStrictEqual(yield* Fiber.join(running), ["a", "b"])
    for (const query of ["q", "slow"]) {
      const again = yield* Effect.forkChild(find(query))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(again), ["b"])
    }
  }))

it.effect("a key can be set, looked at, made invalid, and all can be cleared", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ name: "own" })
    yield* cache.set({ id: 1 }, 7)
    assert.deepStrictEqual(yield* cache.peek({ id: 1 }), Option.some(Served.cached(7, "own", 0)))
    yield* cache.invalidate({ id: 1 })
    assert.isTrue(Option.isNone(yield* cache.peek({ id: 1 })))
    yield* cache.set("a", 1)
    yield* cache.clear
    assert.strictEqual((yield* cache.stats).entries, 0)
  }))

it.effect("an answer that was set is not overwritten by what was being fetched before", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const fiber = yield* Effect.forkChild(cache.get("a", Effect.delay(Effect.succeed(1), "1 second")))
    yield* TestClock.adjust("500 millis")
    yield* cache.set("a", 2)
    yield* TestClock.adjust("500 millis")
    assert.strictEqual(yield* Fiber.join(fiber), 1)
    assert.strictEqual(yield* cache.get("a", Effect.never), 2)
  }))

it.effect("an answer that was set outlives what was being fetched before and is not there", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const missing = Effect.delay(Effect.fail(notFound), "1 second")
    const fiber = yield* Effect.forkChild(Effect.flip(cache.get("a", missing)))
    yield* TestClock.adjust("500 millis")
    yield* cache.set("a", 2)
    yield* TestClock.adjust("500 millis")
    assert.strictEqual(yield* Fiber.join(fiber), notFound)
    assert.strictEqual(yield* cache.get("a", Effect.never), 2)
  }))

it.effect("scenario 42: entries are bounded exactly, by number and by bytes", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>({ capacity: 10 })
    for (let i = 0; i < 110; i++) yield* cache.get(`k${i}`, Effect.succeed(i))
    const { entries, evictions } = yield* cache.stats
    assert.deepStrictEqual({ entries, evictions }, { entries: 10, evictions: 100 })
    const weighed = yield* ResponseCache.make<string>({ maxBytes: 1000, sizeOf: (value) => value.length })
    for (const key of ["a", "b", "c"]) yield* weighed.get(key, Effect.succeed("x".repeat(400)))
    assert.strictEqual((yield* weighed.stats).bytes, 800)
    assert.isTrue(Option.isNone(yield* weighed.peek("a")))
    const odd = yield* ResponseCache.make<number>({ maxBytes: 1000, sizeOf: (value) => value })
    for (const bytes of [NaN, -1, Infinity]) {
      yield* odd.set("a", bytes)
      const { bytes: total, entries } = yield* odd.stats
      assert.deepStrictEqual([entries, total], [0, 0], `${bytes} bytes`)
    }
  }))

it.effect("a bound on bytes that is set later holds for the answers that are there", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<string>()
    for (const length of [400, 2000, 300, 500]) yield* cache.set(length, "x".repeat(length))
    yield* cache.configure({ maxBytes: 1000, sizeOf: (value) => value.length })
    const { bytes, entries, evictions } = yield* cache.stats
    assert.deepStrictEqual({ bytes, entries, evictions }, { bytes: 800, entries: 2, evictions: 2 })
    yield* cache.configure({})
    assert.strictEqual((yield* cache.stats).bytes, 0)
  }))

it.effect("options that make no sense are refused by name", () =>
  Effect.gen(function*() {
    const fieldOf = (options: ResponseCache.Options) =>
      Effect.map(Effect.flip(ResponseCache.make(options)), (error: InvalidOptions) => error.field)
    assert.strictEqual(yield* fieldOf({ capacity: -1 }), "capacity")
    assert.strictEqual(yield* fieldOf({ fresh: -1 }), "fresh")
    assert.strictEqual(yield* fieldOf({ maxBytes: 1.5 }), "maxBytes")
    assert.strictEqual(yield* fieldOf({ fresh: "2 minutes", cacheRetention: "1 minute" }), "cacheRetention")
    for (const maxWait of [NaN, 0, -1, "Infinity"] as const) {
      const layer = Layer.provide(ResponseCache.layerShared({ maxWait }), Persistence.layerMemory)
      assert.strictEqual((yield* Effect.flip(Effect.scoped(Layer.build(layer)))).field, "maxWait")
    }
  }))

// -- single flight ---------------------------------------------------------------------------------------------------

it.effect("scenario 45: 1,000 concurrent identical misses ask once", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const p = provider(1)
    const slow = Effect.delay(p.served, "1 second")
    const callers = yield* Effect.forkChild(
      Effect.all(Array.from({ length: 1000 }, () => cache.serve("a", slow)), { concurrency: "unbounded" })
    )
    yield* TestClock.adjust("1 second")
    const answers = yield* Fiber.join(callers)
    assert.strictEqual(p.calls, 1)
    assert.isTrue(answers.every(({ value }) => value === 1))
    const { coalesced, misses } = yield* cache.stats
    assert.deepStrictEqual({ coalesced, misses }, { coalesced: 999, misses: 1 })
  }))

it.effect("the work survives the caller who began it", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const p = provider(1)
    const slow = Effect.delay(p.lookup, "1 second")
    const first = yield* Effect.forkChild(cache.get("a", slow))
    const second = yield* Effect.forkChild(cache.get("a", slow))
    yield* TestClock.adjust("500 millis")
    yield* Fiber.interrupt(first)
    yield* TestClock.adjust("500 millis")
    assert.strictEqual(yield* Fiber.join(second), 1)
    assert.strictEqual(p.calls, 1)
  }))

it.effect("the work ends with the last who waits for it, and is not joined while it ends", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    let ended = 0
    const slow = Effect.onInterrupt(Effect.never, () => Effect.delay(Effect.sync(() => ended++), "1 second"))
    const first = yield* Effect.forkChild(cache.get("a", slow))
    const second = yield* Effect.forkChild(cache.get("a", slow))
    yield* TestClock.adjust(0)
    yield* Fiber.interrupt(first)
    assert.strictEqual((yield* cache.stats).inFlight, 1)
    const ending = yield* Effect.forkChild(Fiber.interrupt(second))
    yield* TestClock.adjust("500 millis")
    assert.strictEqual(yield* cache.get("a", Effect.succeed(2)), 2)
    yield* TestClock.adjust("500 millis")
    yield* Fiber.join(ending)
    assert.strictEqual(ended, 1)
    assert.strictEqual((yield* cache.stats).inFlight, 0)
    assert.strictEqual(yield* cache.get("a", Effect.never), 2)
  }))

it.effect("who joined and has more time than the beginner had asks again when that time ran out", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    let calls = 0
    const lookup = Effect.suspend(() => {
      calls++
      return Effect.delay(Effect.succeed(calls), "2 seconds")
    }).pipe((self) => Effect.withFiber((fiber) => Deadline.until(fiber.getRef(Deadline.current))(self)))
    const hurried = yield* Effect.forkChild(Effect.exit(
      Effect.provideService(cache.get("a", lookup), Deadline.current, 1000)
    ))
    const patient = yield* Effect.forkChild(cache.get("a", lookup))
    yield* TestClock.adjust("1 second")
    assert.isTrue(Exit.isFailure(yield* Fiber.join(hurried)))
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(yield* Fiber.join(patient), 2)
    assert.strictEqual(calls, 2)
  }))

it.effect("an answer that arrived since is taken instead of asking again", () =>
  Effect.gen(function*() {
    const cache = yield* ResponseCache.make<number>()
    const gate = yield* Deferred.make<void>()
    const first = yield* Effect.forkChild(cache.get("a", Effect.as(Deferred.await(gate), 1)))
    yield* TestClock.adjust(0)
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(first)
    const late = cache.parts.ask({
      key: ResponseCache.keyOf("a"),
      tags: [],
      schema: undefined,
      lookup: Effect.die("asked again")
    })
    assert.strictEqual((yield* late).value, 1)
  }))

/** When an answer was asked for and made, and for which key; in events, which are finer than time. */
interface Version {
  readonly key: number
  readonly begun: number
  readonly madeAt: number
}

it("interruption law and model: whoever is interrupted, nothing runs on, nobody hangs, and every answer is one the rules allow", () => {
  const fresh = 20
  const stale = 60
  law(
    3000,
    Effect.scoped(Effect.gen(function*() {
      const revalidate = (yield* Random.nextBoolean) ? 20 : 0
      const cache = yield* ResponseCache.make<number>({ fresh, revalidate, stale, capacity: 3 })
      const versions: Array<Version> = []
      const invalidated = [0, 0]
      let events = 0
      let running = 0
      const lookup = (key: number) =>
        Effect.suspend(() => {
          running++
          const begun = ++events
          return Effect.gen(function*() {
            yield* someSteps(15)
            if ((yield* Random.nextIntBetween(0, 4)) === 0) return yield* network
            return Served.live(versions.push({ key, begun, madeAt: yield* Clock.currentTimeMillis }) - 1, "p")
          }).pipe(Effect.onExit(() => Effect.sync(() => void running--)))
        })
      const check = (key: number, asked: number, served: Served.Served<number>): void => {
        const version = versions[served.value]!
        const age = Served.ageOf(served)
        assert.strictEqual(version.key, key)
        if (served._tag === "Live") return
        // What was kept was not begun before the last invalidation that the caller could know of.
        if (invalidated[key % 2]! < asked) assert.isAbove(version.begun, invalidated[key % 2]!)
        if (served._tag === "Cached") return assert.isBelow(age, fresh)
        assert.isAtLeast(age, fresh)
        assert.isBelow(age, fresh + (served.failures.length > 0 ? stale : revalidate))
      }
      const caller = Effect.gen(function*() {
        yield* someSteps(30)
        const key = yield* Random.nextIntBetween(0, 5)
        if ((yield* Random.nextIntBetween(0, 6)) === 0) {
          const before = ++events
          yield* cache.invalidateTag(`t${key % 2}`)
          invalidated[key % 2] = Math.max(invalidated[key % 2]!, before)
        }
        const asked = ++events
        check(key, asked, yield* cache.serve(key, lookup(key), { tags: [`t${key % 2}`] }))
      })
      yield* Effect.forEach(
        Array.from({ length: 8 }),
        () =>
          Effect.gen(function*() {
            const interrupt = yield* Random.nextBoolean
            const exit = interrupt ? (yield* interruptedSomewhere(caller, 60)).exit : yield* Effect.exit(caller)
            // Interrupted, or done before: never a failure that is nobody's, never a defect.
            if (Exit.isSuccess(exit) || (interrupt && Cause.hasInterrupts(exit.cause))) return
            const error = Exit.findErrorOption(exit)
            if (Option.isNone(error)) return yield* exit
            assert.strictEqual(error.value, network)
          }),
        { concurrency: "unbounded" }
      )
      // Only what the cache itself refreshes may still run; it ends by itself.
      if (revalidate > 0) yield* Effect.sleep(100)
      const { entries, inFlight } = yield* cache.stats
      assert.deepStrictEqual([running, inFlight], [0, 0])
      assert.isAtMost(entries, 3)
      const now = yield* Clock.currentTimeMillis
      for (let key = 0; key < 5; key++) {
        const held = yield* cache.peek(key)
        if (Option.isSome(held)) {
          const version = versions[held.value.value]!
          assert.strictEqual(version.key, key)
          assert.strictEqual(now - version.madeAt, Served.ageOf(held.value))
          assert.isAbove(version.begun, invalidated[key % 2]!)
        }
      }
    }))
  )
})

// -- shared ----------------------------------------------------------------------------------------------------------

const sharing = Layer.provideMerge(ResponseCache.layerShared(), Persistence.layerMemory)

/** A store that tells what it held a second ago, and takes a second to drop it; as many to write as it is told. */
const slowStore = ({ writes }: { readonly writes: number } = { writes: 0 }) =>
  Layer.effect(
    Persistence.Persistence,
    Effect.map(Persistence.Persistence, ({ make }) => ({
      make: (options: Parameters<typeof make>[0]) =>
        Effect.map(make(options), (store): Persistence.PersistenceStore => ({
          ...store,
          get: (key) => Effect.tap(store.get(key), () => Effect.sleep("1 second")),
          set: (key, value) => Effect.delay(store.set(key, value), Duration.seconds(writes)),
          remove: (key) => Effect.delay(store.remove(key), "1 second")
        }))
    }))
  ).pipe(Layer.provide(Persistence.layerMemory))

it.effect.each(
  [
    ["memory", Persistence.layerMemory],
    ["key-value text", Layer.provide(Persistence.layerKvs, KeyValueStore.layerMemory)]
  ] as const
)(
  "two processes share answers through Persistence (%s), an old one in an outage too",
  ([, persistence]) =>
    Effect.gen(function*() {
      const options = { name: "shared", fresh: "10 seconds", revalidate: 0 } as const
      const call = { schema: Schema.Struct({ at: Schema.DateFromString }), tags: ["t"] }
      const one = yield* ResponseCache.make<{ readonly at: Date }>(options)
      const two = yield* ResponseCache.make<{ readonly at: Date }>(options)
      const p = provider({ at: new Date(0) })
      yield* one.serve("a", p.served, call)
      yield* TestClock.adjust("2 seconds")
      const served = yield* two.serve("a", p.served, call)
      assert.deepStrictEqual(served, Served.cached({ at: new Date(0) }, "p", 2000))
      assert.strictEqual(p.calls, 1)
      const three = yield* ResponseCache.make<{ readonly at: Date }>(options)
      p.answer = Exit.fail(network)
      yield* TestClock.adjust("10 seconds")
      const old = yield* three.serve("a", p.served, call)
      assert.strictEqual(old._tag, "Stale")
      assert.strictEqual(Served.ageOf(old), 12_000)
    }).pipe(Effect.provide(Layer.provide(ResponseCache.layerShared(), persistence)))
)

it.effect("an invalidation by one process holds for a third, and for what was being fetched", () =>
  Effect.gen(function*() {
    const options = { name: "shared", fresh: "1 minute", revalidate: 0 } as const
    const call = { schema: Schema.Number, tags: ["t"] }
    const one = yield* ResponseCache.make<number>(options)
    const two = yield* ResponseCache.make<number>(options)
    yield* one.get("a", Effect.succeed(1), call)
    const running = yield* Effect.forkChild(one.get("b", Effect.delay(Effect.succeed(1), "1 second"), call))
    yield* TestClock.adjust("500 millis")
    yield* two.invalidateTag("t")
    yield* TestClock.adjust("500 millis")
    yield* Fiber.join(running)
    const three = yield* ResponseCache.make<number>(options)
    assert.strictEqual(yield* three.get("a", Effect.succeed(2), call), 2)
    assert.strictEqual(yield* three.get("b", Effect.succeed(2), call), 2)
  }).pipe(Effect.provide(sharing)))

it.effect("what another process holds is not served in an outage after its tag was invalidated, once the store was asked", () =>
  Effect.gen(function*() {
    const options = { name: "shared", fresh: "10 seconds", revalidate: 0 } as const
    const call = { schema: Schema.Number, tags: ["t"] }
    const one = yield* ResponseCache.make<number>(options)
    const two = yield* ResponseCache.make<number>(options)
    const three = yield* ResponseCache.make<number>(options)
    const p = provider(1)
    // Made by one, read from the store by two.
    for (const cache of [one, two]) yield* cache.serve("a", p.served, call)
    yield* three.serve("other", p.served, { ...call, tags: ["u"] })
    yield* three.invalidateTag("t")
    yield* TestClock.adjust("1 minute")
    p.answer = Exit.fail(network)
    for (const cache of [one, two]) assert.strictEqual(yield* Effect.flip(cache.serve("a", p.served, call)), network)
    const old = yield* three.serve("other", p.served, { ...call, tags: ["u"] })
    assert.strictEqual(old._tag, "Stale")
  }).pipe(Effect.provide(sharing)))

it.effect("what a tag made invalid while it was being fetched stays so although everything is cleared meanwhile", () =>
  Effect.gen(function*() {
    const options = { name: "shared" } as const
    const call = { schema: Schema.Number, tags: ["t"] }
    const one = yield* ResponseCache.make<number>(options)
    const two = yield* ResponseCache.make<number>(options)
    const running = yield* Effect.forkChild(one.get("a", Effect.delay(Effect.succeed(1), "1 second"), call))
    yield* TestClock.adjust("500 millis")
    yield* two.invalidateTag("t")
    yield* two.clear
    yield* TestClock.adjust("500 millis")
    yield* Fiber.join(running)
    const three = yield* ResponseCache.make<number>(options)
    assert.strictEqual(yield* three.get("a", Effect.succeed(2), call), 2)
  }).pipe(Effect.provide(sharing)))

it.effect("after an authorization failure no process reads the old answer back from the store", () =>
  Effect.gen(function*() {
    const options = { name: "shared", fresh: "10 seconds", revalidate: 0 } as const
    const call = { schema: Schema.Number }
    const one = yield* ResponseCache.make<number>(options)
    const two = yield* ResponseCache.make<number>(options)
    const p = provider(1)
    yield* one.serve("a", p.served, call)
    yield* TestClock.adjust("20 seconds")
    p.answer = Exit.fail(forbidden)
    assert.strictEqual(yield* Effect.flip(one.serve("a", p.served, call)), forbidden)
    p.answer = Exit.fail(network)
    for (const cache of [one, two]) assert.strictEqual(yield* Effect.flip(cache.serve("a", p.served, call)), network)
  }).pipe(Effect.provide(sharing)))

it.effect("the store drops what may not be read although the caller has gone meanwhile, and the memory before", () =>
  Effect.gen(function*() {
    const options = { fresh: "10 seconds", revalidate: 0 } as const
    const call = { schema: Schema.Number }
    const one = yield* ResponseCache.make<number>(options)
    const p = provider(1)
    const answered = yield* Effect.forkChild(one.serve("a", p.served, call))
    yield* TestClock.adjust("20 seconds")
    yield* Fiber.join(answered)
    p.answer = Exit.fail(forbidden)
    const refused = yield* Effect.forkChild(one.serve("a", p.served, call))
    // A second to read, then one to drop.
    yield* TestClock.adjust("1500 millis")
    yield* Fiber.interrupt(refused)
    assert.isTrue(Option.isNone(yield* one.peek("a")))
    yield* TestClock.adjust("500 millis")
    p.answer = Exit.fail(network)
    const down = yield* Effect.forkChild(Effect.flip(one.serve("a", p.served, call)))
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* Fiber.join(down), network)
  }).pipe(Effect.provide(Layer.provide(ResponseCache.layerShared({ maxWait: "10 seconds" }), slowStore()))))

it.effect("an invalidation reaches the store although its caller has gone meanwhile", () =>
  Effect.gen(function*() {
    const one = yield* ResponseCache.make<number>()
    const call = { schema: Schema.Number }
    const asked = yield* Effect.forkChild(one.get("a", Effect.succeed(1), call))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(asked)
    const invalidating = yield* Effect.forkChild(one.invalidate("a"))
    yield* TestClock.adjust("500 millis")
    yield* Fiber.interrupt(invalidating)
    yield* TestClock.adjust("500 millis")
    const two = yield* ResponseCache.make<number>()
    const again = yield* Effect.forkChild(two.get("a", Effect.succeed(2), call))
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* Fiber.join(again), 2)
  }).pipe(Effect.provide(Layer.provide(ResponseCache.layerShared({ maxWait: "10 seconds" }), slowStore()))))

it.effect("what invalidate, clear or set overtakes is not kept in the store either", () =>
  Effect.gen(function*() {
    const call = { schema: Schema.Number }
    const overtakers = {
      invalidate: (cache: ResponseCache.ResponseCache<number>) => cache.invalidate("a"),
      clear: (cache: ResponseCache.ResponseCache<number>) => cache.clear,
      set: (cache: ResponseCache.ResponseCache<number>) => cache.set("a", 2, call)
    }
    for (const [name, overtake] of Object.entries(overtakers)) {
      const one = yield* ResponseCache.make<number>({ name })
      const running = yield* Effect.forkChild(one.get("a", Effect.delay(Effect.succeed(1), "1 second"), call))
      yield* TestClock.adjust("500 millis")
      yield* overtake(one)
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(yield* Fiber.join(running), 1)
      const two = yield* ResponseCache.make<number>({ name })
      assert.strictEqual(yield* two.get("a", Effect.succeed(2), call), 2, name)
      assert.strictEqual(yield* one.get("a", Effect.succeed(2), call), 2, name)
    }
  }).pipe(Effect.provide(sharing)))

it.effect("what is still being written to the store does not outlive invalidate or clear", () =>
  Effect.gen(function*() {
    const call = { schema: Schema.Number }
    const overtakers = {
      invalidate: (cache: ResponseCache.ResponseCache<number>) => cache.invalidate("a"),
      clear: (cache: ResponseCache.ResponseCache<number>) => cache.clear
    }
    for (const [name, overtake] of Object.entries(overtakers)) {
      const one = yield* ResponseCache.make<number>({ name })
      const asked = yield* Effect.forkChild(one.get("a", Effect.succeed(1), call))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(asked), 1)
      const overtaken = yield* Effect.forkChild(overtake(one))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(overtaken)
      const two = yield* ResponseCache.make<number>({ name })
      const again = yield* Effect.forkChild(two.get("a", Effect.succeed(2), call))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(again), 2, name)
    }
  }).pipe(
    Effect.provide(Layer.provide(ResponseCache.layerShared({ maxWait: "10 seconds" }), slowStore({ writes: 3 })))
  ))

it.effect("what is read from the store while it is made invalid is not kept", () =>
  Effect.gen(function*() {
    const call = { schema: Schema.Number }
    const inAWhile = <A>(self: Effect.Effect<A>) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(self)
        yield* TestClock.adjust("3 seconds")
        return yield* Fiber.join(fiber)
      })
    // The reading began before the invalidation, or while the store was at it.
    for (const [reading, dropping] of [[0, 500], [500, 0]] as const) {
      const name = `reading after ${reading} ms`
      const one = yield* ResponseCache.make<number>({ name })
      yield* inAWhile(one.get("a", Effect.succeed(1), call))
      const two = yield* ResponseCache.make<number>({ name })
      yield* inAWhile(Effect.all([
        Effect.delay(two.get("a", Effect.succeed(2), call), reading),
        Effect.delay(two.invalidate("a"), dropping)
      ], { concurrency: 2 }))
      assert.strictEqual(yield* inAWhile(two.get("a", Effect.succeed(3), call)), 3, name)
    }
  }).pipe(Effect.provide(Layer.provide(ResponseCache.layerShared({ maxWait: "10 seconds" }), slowStore()))))

it.effect("an answer that the store missed is not given up for the older one that it has", () =>
  Effect.gen(function*() {
    const store = { writes: true }
    const forgetful = Layer.effect(
      Persistence.Persistence,
      Effect.map(Persistence.Persistence, ({ make }) => ({
        make: (options: Parameters<typeof make>[0]) =>
          Effect.map(make(options), (own): Persistence.PersistenceStore => ({
            ...own,
            set: (key, value) => Effect.suspend(() => store.writes ? own.set(key, value) : Effect.void)
          }))
      }))
    ).pipe(Layer.provide(Persistence.layerMemory))
    yield* Effect.gen(function*() {
      const cache = yield* ResponseCache.make<number>({ fresh: "10 seconds", revalidate: 0 })
      const call = { schema: Schema.Number }
      const p = provider(1)
      yield* cache.serve("a", p.served, call)
      store.writes = false
      yield* TestClock.adjust("20 seconds")
      p.answer = Exit.succeed(2)
      yield* cache.serve("a", p.served, call)
      yield* TestClock.adjust("20 seconds")
      p.answer = Exit.fail(network)
      const old = yield* cache.serve("a", p.served, call)
      assert.deepStrictEqual([old.value, Served.ageOf(old)], [2, 20_000])
    }).pipe(Effect.provide(Layer.provide(ResponseCache.layerShared(), forgetful)))
  }))

it.effect("a store that fails or hangs is done without, and an invalidation that it misses is logged", () =>
  Effect.gen(function*() {
    const broken = (effect: Effect.Effect<never, Persistence.PersistenceError>) =>
      Layer.provide(
        ResponseCache.layerShared({ maxWait: "100 millis" }),
        Layer.succeed(Persistence.Persistence, {
          make: () =>
            Effect.succeed({
              get: () => effect,
              getMany: () => effect,
              set: () => effect,
              setMany: () => effect,
              remove: () => effect,
              clear: effect
            })
        })
      )
    const error = new Persistence.PersistenceError({ message: "gone" })
    for (const effect of [Effect.fail(error), Effect.never]) {
      const warnings: Array<unknown> = []
      const fiber = yield* Effect.gen(function*() {
        const cache = yield* ResponseCache.make<number>()
        const first = yield* cache.get("a", Effect.succeed(1), { schema: Schema.Number, tags: ["t"] })
        yield* cache.invalidateTag("t")
        yield* Effect.flip(cache.get("b", Effect.fail(forbidden), { schema: Schema.Number }))
        yield* cache.clear
        return first
      }).pipe(
        Effect.provide(broken(effect)),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(message))])),
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
      // A tag, a key, and all of it.
      assert.lengthOf(warnings, 3)
    }
  }))

it.effect("an answer that its schema no longer describes is asked for again, and its successor is shared", () =>
  Effect.gen(function*() {
    const call = { schema: Schema.String, tags: ["t"] }
    const before = yield* ResponseCache.make<number>({ name: "shared" })
    yield* before.get("a", Effect.succeed(1), { schema: Schema.Number, tags: ["t"] })
    const one = yield* ResponseCache.make<string>({ name: "shared" })
    assert.strictEqual(yield* one.get("a", Effect.succeed("one"), call), "one")
    const two = yield* ResponseCache.make<string>({ name: "shared" })
    assert.strictEqual(yield* two.get("a", Effect.succeed("two"), call), "one")
  }).pipe(Effect.provide(sharing)))

it.effect("without a schema nothing leaves the process", () =>
  Effect.gen(function*() {
    const one = yield* ResponseCache.make<number>({ name: "shared" })
    const two = yield* ResponseCache.make<number>({ name: "shared" })
    yield* one.get("a", Effect.succeed(1))
    assert.strictEqual(yield* two.get("a", Effect.succeed(2)), 2)
  }).pipe(Effect.provide(sharing)))
