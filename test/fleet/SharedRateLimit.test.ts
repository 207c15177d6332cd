import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as SharedRateLimit from "../../src/fleet/SharedRateLimit.ts"
import * as Pipeline from "../../src/Pipeline.ts"
import type * as RateLimit from "../../src/RateLimit.ts"
import { interruptedSomewhere, law } from "../internal/interruptionLaw.ts"
import { client, eventually, make as makeServer, missing, type RedisServer } from "./redisServer.ts"

const windowMillis = 300

/** 60 calls in any 300 ms, and exchanges that are quick enough for a test. */
const options = (node: string, others?: Partial<SharedRateLimit.Options>): SharedRateLimit.Options => ({
  name: "rates",
  node,
  limit: 60,
  window: windowMillis,
  lease: 6,
  interval: "40 millis",
  nodeTimeToLive: "400 millis",
  storeTimeout: "100 millis",
  ...others
})

/** A process of its own. */
const startNode = (
  server: RedisServer,
  node: string,
  others?: Partial<SharedRateLimit.Options>
): Effect.Effect<SharedRateLimit.Service, unknown, Scope.Scope> =>
  Effect.map(
    Layer.build(SharedRateLimit.SharedRateLimit.layer(options(node, others)).pipe(Layer.provide(client(server)))),
    Context.get(SharedRateLimit.SharedRateLimit)
  )

/** Keeps taking as fast as the limit allows, and notes when. */
const hungry = (limit: RateLimit.Service, starts: Array<number>) =>
  limit.take().pipe(
    Effect.andThen(Clock.currentTimeMillis),
    Effect.map((now) => starts.push(now)),
    Effect.forever,
    Effect.forkChild
  )

/** The most starts in any window. */
const mostInWindow = (starts: ReadonlyArray<number>): number => {
  const sorted = starts.toSorted((a, b) => a - b)
  let most = 0
  let from = 0
  for (let to = 0; to < sorted.length; to++) {
    while (sorted[to]! - sorted[from]! >= windowMillis) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

const sharesOf = (nodes: ReadonlyArray<SharedRateLimit.Service>) => Effect.forEach(nodes, ({ share }) => share)
const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => a + b, 0)

/** All have found each other, and everything is given out. */
const settled = (nodes: ReadonlyArray<SharedRateLimit.Service>) =>
  eventually("all is given out", Effect.map(sharesOf(nodes), (shares) => sum(shares) >= 58))

/**
 * Stands still within a turn of the event loop, so that a call is noted at the time it was let through, however long the
 * machine was busy with others between the two.
 */
const turns: Clock.Clock = (() => {
  const live = Context.get(Context.empty(), Clock.Clock)
  let millis: number | undefined
  const now = (): number => {
    if (millis === undefined) setImmediate(() => millis = undefined)
    return millis ??= live.currentTimeMillisUnsafe()
  }
  return Object.create(live, {
    currentTimeMillisUnsafe: { value: now },
    currentTimeMillis: { value: Effect.sync(now) }
  })
})()

const withServer = <E>(
  f: (server: RedisServer) => Effect.Effect<void, E, Scope.Scope>
): Effect.Effect<void, E, Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* makeServer
    yield* server.start
    yield* f(server)
  }).pipe(Effect.provideService(Clock.Clock, turns))

describe("with a real Redis", () => {
  it.live("shared store: four hungry processes together never exceed the limit in any window, and use it", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const nodes = yield* Effect.forEach(["a", "b", "c"], (name) => startNode(server, name))
        const starts: Array<number> = []
        for (const node of nodes) yield* hungry(node, starts)
        yield* settled(nodes)
        // One more comes when all is given out.
        const late = yield* startNode(server, "late")
        const lateStarts: Array<number> = []
        yield* hungry(late, lateStarts)
        yield* Effect.sleep("1500 millis")
        const all = [...starts, ...lateStarts]
        assert.isAtMost(mostInWindow(all), 60)
        assert.isAtMost(sum(yield* sharesOf([...nodes, late])), 60)
        // The last second, in which the late one has its part.
        const since = (yield* Clock.currentTimeMillis) - 1_000
        assert.isAbove(all.filter((at) => at > since).length, 60 * (1_000 / windowMillis) * 0.75)
        const [share] = yield* sharesOf([late])
        assert.approximately(share!, 15, 3)
      })
    )
  })

  it.live("shared store: shares follow demand: one busy process gets nearly all, the idle ones get theirs when they ask", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const nodes = yield* Effect.forEach(["a", "b", "c"], (name) => startNode(server, name))
        const [busy, idle] = nodes
        yield* settled(nodes)
        yield* eventually("all are seen", Effect.map(idle!.nodes, (nodes) => nodes === 3))
        const starts: Array<number> = []
        yield* hungry(busy!, starts)
        yield* eventually("the busy one has nearly all", Effect.map(busy!.share, (share) => share >= 55))
        yield* hungry(idle!, starts)
        yield* eventually("the idle one has its half", Effect.map(idle!.share, (share) => share >= 26))
        assert.isAtMost(mostInWindow(starts), 60)
      })
    )
  })

  it.live("shared store: Redis killed, everybody goes on with the last share; restarted and empty, nobody exceeds", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const nodes = yield* Effect.forEach(["a", "b", "c"], (name) =>
          startNode(server, name, { nodeTimeToLive: "2 seconds" }))
        const starts: Array<number> = []
        for (const node of nodes) {
          yield* hungry(node, starts)
        }
        yield* settled(nodes)
        const before = yield* sharesOf(nodes)
        yield* server.kill
        yield* eventually(
          "the loss is seen",
          Effect.map(nodes[0]!.connected, (is) =>
            !is)
        )
        const killedAt = yield* Clock.currentTimeMillis
        yield* Effect.sleep("900 millis")
        assert.deepStrictEqual(yield* sharesOf(nodes), before)
        assert.isAbove(starts.filter((at) => at > killedAt).length, 100)
        yield* server.start
        // One that knows nothing comes to a Redis that knows nothing: it gets a lease, not all.
        const fresh = yield* startNode(server, "fresh", { nodeTimeToLive: "2 seconds" })
        const freshStarts: Array<number> = []
        yield* hungry(fresh, freshStarts)
        yield* eventually(
          "all are back",
          Effect.map(Effect.forEach(nodes, (it) => it.connected), (all) => all.every((is) => is))
        )
        assert.isAtMost(mostInWindow([...starts, ...freshStarts]), 60 + 6)
        yield* settled([...nodes, fresh])
        yield* Effect.sleep("500 millis")
        assert.isAtMost(mostInWindow([...starts, ...freshStarts]), 60 + 6)
        assert.isAtMost(sum(yield* sharesOf([...nodes, fresh])), 60)
      })
    )
  })

  it.live("shared store: a process that leaves gives its share back, one that vanishes loses it", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const stays = yield* startNode(server, "stays")
        const scope = yield* Scope.make()
        yield* Scope.provide(startNode(server, "leaves"), scope)
        const redis = Context.get(yield* Layer.build(client(server)), Redis.Redis)
        yield* eventually("two are there", Effect.map(stays.nodes, (nodes) => nodes === 2))
        yield* Scope.close(scope, Exit.void)
        yield* eventually("it has all", Effect.map(stays.share, (share) => share === 60))
        assert.strictEqual(yield* stays.nodes, 1)
        // Somebody who said once that it holds 50, and never again.
        const held = `${(yield* Clock.currentTimeMillis) + 400} 50 50`
        yield* redis.send("HSET", "holdfast:limit:rates", "vanished", held)
        yield* eventually("it yields", Effect.map(stays.share, (share) => share <= 31))
        yield* eventually("it has all again", Effect.map(stays.share, (share) => share === 60))
      })
    )
  })

  it.live("shared store: a pipeline takes it as its rate limit", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const limit = yield* startNode(server, "a", { onLimit: "refuse", window: "1 minute", limit: 10, lease: 10 })
        yield* eventually("it has a share", Effect.map(limit.share, (share) => share === 10))
        const pipeline = yield* Pipeline.make({ provider: "rates", rateLimit: limit })
        const call = Effect.succeed("asked").pipe(pipeline.protect({ operation: "latest" }))
        yield* Effect.repeat(call, { times: 9 })
        const error = yield* Effect.flip(call)
        assert.strictEqual(error._tag, "RateLimited")
        assert.isAbove(Duration.toMillis((error as RateLimit.RateLimited).retryAfter), 50_000)
      })
    )
  })
})

// -- without a server ------------------------------------------------------------------------------------------------

/** A Redis whose `eval` answers like this, given the arguments after the key: node, claim, used, demand ... */
const answering = (answer: (args: ReadonlyArray<string>) => Effect.Effect<unknown, Redis.RedisError>) =>
  Layer.effect(
    Redis.Redis,
    Effect.map(
      Redis.make({
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the caller knows what is asked for
          (command === "EVALSHA" ? answer(args.slice(3)) : Effect.succeed("sha")) as Effect.Effect<A, Redis.RedisError>,
        subscribe: () => Effect.succeed(Effect.never),
        connect: Effect.never
      }),
      (redis) => Redis.Redis.of(redis)
    )
  )

const minute = { limit: 10, window: "1 minute", lease: 2, interval: "1 second", nodeTimeToLive: "10 seconds" } as const

it.effect("shared store: where Redis never answers a process starts with its lease, and no call waits for the store", () =>
  Effect.gen(function*() {
    const making = yield* Effect.forkChild(SharedRateLimit.make(options("a", minute)), { startImmediately: true })
    yield* TestClock.adjust("100 millis")
    const limit = yield* Fiber.join(making)
    assert.isFalse(yield* limit.connected)
    // The clock stands still from here on.
    yield* limit.take()
    yield* limit.take()
    assert.strictEqual(yield* limit.available, 0)
    const third = yield* Effect.flip(limit.take())
    assert.strictEqual(Duration.toSeconds(third.retryAfter), 60)
  }).pipe(Effect.provide(answering(() => Effect.never))))

it.effect("shared store: who waits is served as soon as the share grows, and a smaller share lets the window pass first", () => {
  let given = 2
  return Effect.gen(function*() {
    const limit = yield* SharedRateLimit.make({ ...options("a", minute), maxWait: "2 minutes" })
    yield* limit.take({ cost: 2 })
    const waiting = yield* Effect.forkChild(limit.take(), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(waiting.pollUnsafe())
    given = 5
    yield* TestClock.adjust("3 seconds")
    assert.isDefined(waiting.pollUnsafe())
    assert.strictEqual(yield* limit.available, 2)
    given = 1
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(yield* limit.available, 0)
    yield* TestClock.adjust("56 seconds")
    assert.strictEqual(yield* limit.share, 1)
    assert.strictEqual(yield* limit.available, 0)
    yield* TestClock.adjust("4 seconds")
    assert.strictEqual(yield* limit.available, 1)
  }).pipe(Effect.provide(answering(() => Effect.sync(() => [given, 2]))))
})

it.effect("shared store: tells what it holds, has used and wants, and asks sooner when it is short", () => {
  const told: Array<string> = []
  return Effect.gen(function*() {
    const limit = yield* SharedRateLimit.make({ ...options("a", minute), onLimit: "refuse" })
    yield* limit.take({ cost: 3 })
    yield* TestClock.adjust("1 second")
    yield* limit.take()
    yield* Effect.exit(limit.take())
    yield* TestClock.adjust("130 millis")
    // Claim, used, demand: nothing yet; then twice what was used; then that and more.
    assert.deepStrictEqual(told.slice(0, 3), ["0 0 1", "4 3 6", "4 4 8"])
  }).pipe(Effect.provide(answering((args) =>
    Effect.sync(() => {
      told.push(args.slice(1, 4).join(" "))
      return [4, 2]
    })
  )))
})

it.effect("shared store: a call dearer than any share this process can count on is refused, not kept waiting", () =>
  Effect.gen(function*() {
    const limit = yield* SharedRateLimit.make(options("a", { ...minute, maxWait: "1 hour" }))
    const exit = yield* Effect.exit(limit.take({ cost: 6 }))
    assert.isTrue(Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause))
    yield* limit.take({ cost: 4 })
  }).pipe(Effect.provide(answering(() => Effect.succeed([4, 2])))))

it("shared store: interruption law: who stops waiting has taken nothing", () => {
  law(
    100,
    Effect.gen(function*() {
      const limit = yield* SharedRateLimit.make(options("a", { ...minute, maxWait: "10 minutes" }))
      const exits = yield* Effect.forEach(
        Array.from({ length: 12 }),
        () => interruptedSomewhere(limit.take(), 90_000),
        { concurrency: "unbounded" }
      )
      const now = yield* Clock.currentTimeMillis
      const taken = exits.filter(({ at, exit }) => Exit.isSuccess(exit) && now - at < 60_000).length
      // A call that was let through more than a window ago has left the window, whenever its fiber was looked at.
      assert.isAtMost(4 - (yield* limit.available), taken)
      yield* Effect.sleep("60 seconds")
      assert.strictEqual(yield* limit.available, 4)
    }).pipe(Effect.scoped, Effect.provide(answering(() => Effect.succeed([4, 2]))))
  )
})

it.effect("refuses options that make no sense, by field", () =>
  Effect.gen(function*() {
    const fieldOf = (others: Partial<SharedRateLimit.Options>) =>
      Effect.map(
        Effect.flip(SharedRateLimit.make(options("a", others))),
        ({ field, module }) => `${module} ${field}`
      )
    assert.strictEqual(yield* fieldOf({ limit: 0 }), "SharedRateLimit limit")
    assert.strictEqual(yield* fieldOf({ lease: 61 }), "SharedRateLimit lease")
    assert.strictEqual(yield* fieldOf({ window: 0 }), "SharedRateLimit window")
    assert.strictEqual(yield* fieldOf({ maxWait: -1 }), "RateLimit maxWait")
    assert.strictEqual(yield* fieldOf({ name: "" }), "SharedRateLimit name")
    // Under this name Redis knows when the limit began.
    assert.strictEqual(yield* fieldOf({ node: "" }), "SharedRateLimit node")
  }).pipe(Effect.provide(answering(() => Effect.succeed([1, 1])))))
