import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, type Scope } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as SharedBreaker from "../../src/fleet/SharedBreaker.ts"
import { client, eventually, make as makeServer, missing, type RedisServer } from "./redisServer.ts"

/** A circuit of ten seconds' open time whose word is told within 50 ms. */
const options = (
  node: string,
  others?: SharedBreaker.Options
): Parameters<typeof SharedBreaker.SharedBreaker.layer>[0] => ({
  node,
  interval: "50 millis",
  nodeTimeToLive: "1 second",
  maxWait: "200 millis",
  breaker: { name: "rates", failureThreshold: 2, recoveryTimeout: "10 seconds", jitter: false, rampUp: 0 },
  ...others
})

/** A process of its own: its own client, breaker and fibers. */
const startNode = (
  server: RedisServer,
  node: string,
  others?: SharedBreaker.Options
): Effect.Effect<SharedBreaker.Service, unknown, Scope.Scope> =>
  Effect.map(
    Layer.build(SharedBreaker.SharedBreaker.layer(options(node, others)).pipe(Layer.provide(client(server)))),
    Context.get(SharedBreaker.SharedBreaker)
  )

const succeed = (self: SharedBreaker.Service, key = "eu") => Effect.void.pipe(self.breaker.execute({ key }))
const trip = (self: SharedBreaker.Service, key = "eu") =>
  Effect.fail("down").pipe(self.breaker.execute({ key }), Effect.ignore, Effect.repeat({ times: 1 }))
const isOpen = (self: SharedBreaker.Service, key = "eu") =>
  Effect.map(self.breaker.state(key), (state) => state === "Open")
/** Long enough for everybody to have heard everything twice. */
const rounds = Effect.sleep("150 millis")

const withServer = <E>(
  f: (server: RedisServer) => Effect.Effect<void, E, Scope.Scope>
): Effect.Effect<void, E, Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* makeServer
    yield* server.start
    yield* f(server)
  })

describe("with a real Redis", () => {
  it.live("shared distributed state: two trips open the circuit of a third process, one does not", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const [a, b, c] = [yield* startNode(server, "a"), yield* startNode(server, "b"), yield* startNode(server, "c")]
        yield* trip(a)
        yield* eventually(
          "c hears of a",
          Effect.map(c.peers, (peers) => peers.some(({ opinions }) => opinions.length > 0))
        )
        yield* rounds
        assert.strictEqual(yield* b.breaker.state("eu"), "Closed")
        assert.strictEqual(yield* c.breaker.state("eu"), "Closed")
        yield* trip(b)
        yield* eventually("c opens", isOpen(c))
        const refused = yield* Effect.flip(succeed(c))
        assert.strictEqual(refused._tag, "CircuitOpen")
        assert.isAbove(Duration.toMillis(refused.retryAfter), 5_000)
        // Other circuits are not theirs to open.
        assert.strictEqual(yield* c.breaker.state("us"), "Closed")
      })
    )
  })

  it.live("shared distributed state: one bad node poisons nobody, whatever it says", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const [bad, good] = [yield* startNode(server, "bad"), yield* startNode(server, "good")]
        for (const key of ["eu", "us", "asia"]) yield* trip(bad, key)
        const redis = Context.get(yield* Layer.build(client(server)), Redis.Redis)
        yield* eventually(
          "nonsense is told",
          Effect.as(redis.send("HSET", "holdfast:breaker:rates", "mad", "9999999999999999 {", "old", "no"), true).pipe(
            Effect.orElseSucceed(() => false)
          )
        )
        yield* eventually(
          "good hears of bad",
          Effect.map(good.peers, (peers) => peers.some(({ opinions }) => opinions.length === 3))
        )
        yield* rounds
        for (const key of ["eu", "us", "asia"]) assert.strictEqual(yield* good.breaker.state(key), "Closed")
        assert.isTrue(yield* good.connected)
      })
    )
  })

  it.live("shared distributed state: hearsay is not passed on, and recovery is each process's own", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const own = { quorum: 1 }
        const [a, b] = [yield* startNode(server, "a"), yield* startNode(server, "b", own)]
        const watcher = yield* startNode(server, "watcher")
        yield* trip(a)
        yield* eventually("b opens on one word", isOpen(b))
        yield* rounds
        // Two are open, but one of them by hearsay: were it passed on, the watcher would open too.
        assert.strictEqual(yield* watcher.breaker.state("eu"), "Closed")
        const said = (yield* watcher.peers).flatMap(({ opinions }) => opinions.map(({ node }) => node))
        assert.deepStrictEqual(said, ["a"])
        // b's operator knows better; a's word from before then does not open it again.
        yield* b.breaker.forceClose("eu")
        yield* rounds
        assert.strictEqual(yield* b.breaker.state("eu"), "Closed")
        assert.strictEqual(yield* a.breaker.state("eu"), "Open")
      })
    )
  })

  it.live("shared distributed state: an operator's word and fresh success of one's own stand", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const names = ["a", "b", "off", "busy", "quiet"]
        const [a, b, off, busy, quiet] = yield* Effect.forEach(names, (name) => startNode(server, name))
        yield* off!.breaker.disable("eu")
        const traffic = yield* Effect.forkChild(
          Effect.forever(Effect.andThen(succeed(busy!), Effect.sleep("5 millis")))
        )
        yield* trip(a!)
        yield* trip(b!)
        yield* eventually("quiet opens", isOpen(quiet!))
        yield* rounds
        assert.strictEqual(yield* off!.breaker.state("eu"), "Disabled")
        assert.strictEqual(yield* busy!.breaker.state("eu"), "Closed")
        yield* Fiber.interrupt(traffic)
        yield* quiet!.breaker.forceOpen("eu")
        yield* rounds
        assert.strictEqual(yield* quiet!.breaker.state("eu"), "ForcedOpen")
      })
    )
  })

  it.live("shared distributed state: a process that starts during the outage knows of it with its first call", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const [a, b] = [yield* startNode(server, "a"), yield* startNode(server, "b")]
        yield* trip(a)
        yield* trip(b)
        yield* eventually("both are told", Effect.map(a.peers, (peers) => peers.some((it) => it.opinions.length > 0)))
        yield* rounds
        const late = yield* startNode(server, "late")
        yield* eventually("late is connected", late.sync)
        assert.strictEqual(yield* late.breaker.state("eu"), "Open")
      })
    )
  })

  it.live("shared distributed state: Redis killed, everybody goes on alone; restarted, they listen again", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const notes: Array<string> = []
        const sink = Layer.succeed(Event.Sink, (event: Event.Event) => {
          if (event._tag === "Noted") notes.push(event.message)
        })
        const [a, b] = [yield* startNode(server, "a"), yield* startNode(server, "b")]
        const c = yield* startNode(server, "c").pipe(Effect.provide(sink))
        yield* eventually("all are connected", Effect.map(c.peers, (peers) => peers.length === 2))
        yield* server.kill
        yield* eventually("the loss is seen", Effect.map(c.connected, (is) => !is))
        // Own trips and own calls as ever.
        yield* trip(a)
        yield* trip(b)
        assert.isTrue(yield* isOpen(a))
        const [took] = yield* Effect.timed(succeed(c, "us"))
        assert.isBelow(Duration.toMillis(took), 500)
        assert.strictEqual(yield* c.breaker.state("eu"), "Closed")
        yield* server.start
        // The new Redis knows nothing; what a and b know is told again.
        yield* eventually("c opens", isOpen(c))
        assert.includeMembers(notes, [
          "the shared store does not answer, going on alone",
          "the shared store is back",
          "eu is opened on the word of a, b"
        ])
      })
    )
  })

  it.live("shared distributed state: a process starts and works where there is no Redis, and finds it later", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return Effect.gen(function*() {
      const server = yield* makeServer
      const a = yield* startNode(server, "a")
      assert.isFalse(yield* a.connected)
      yield* trip(a)
      assert.isTrue(yield* isOpen(a))
      yield* server.start
      yield* eventually("it is found", a.connected)
    })
  })

  it.live("shared distributed state: a frozen Redis delays no call", (ctx) => {
    ctx.skip(missing !== undefined, missing)
    return withServer((server) =>
      Effect.gen(function*() {
        const a = yield* startNode(server, "a")
        yield* eventually("it is connected", a.connected)
        yield* server.freeze
        yield* eventually("the loss is seen", Effect.map(a.connected, (is) => !is))
        const [took] = yield* Effect.timed(Effect.repeat(succeed(a), { times: 999 }))
        assert.isBelow(Duration.toMillis(took), 2_000)
        yield* server.thaw
        yield* eventually("it is back", a.connected)
      })
    )
  })
})

// -- without a server ------------------------------------------------------------------------------------------------

/** A Redis that answers like this. */
const answering = (answer: Effect.Effect<unknown, Redis.RedisError>) =>
  Layer.effect(
    Redis.Redis,
    Effect.map(
      Redis.make({
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the caller knows what is asked for
        send: <A>() => answer as Effect.Effect<A, Redis.RedisError>,
        subscribe: () => Effect.succeed(Effect.never),
        connect: Effect.never
      }),
      (redis) => Redis.Redis.of(redis)
    )
  )

it.effect("shared distributed state: while Redis never answers, no call takes any time", () =>
  Effect.gen(function*() {
    const building = yield* Effect.forkChild(
      Layer.build(SharedBreaker.SharedBreaker.layer(options("a")).pipe(Layer.provide(answering(Effect.never)))),
      { startImmediately: true }
    )
    yield* TestClock.adjust("200 millis")
    const self = Context.get(yield* Fiber.join(building), SharedBreaker.SharedBreaker)
    // The clock stands still from here on: what waited would never end.
    yield* succeed(self)
    yield* trip(self)
    assert.isTrue(yield* isOpen(self))
    assert.isFalse(yield* self.connected)
    assert.deepStrictEqual(yield* self.peers, [])
  }))

it.effect("shared distributed state: pauses grow while the store is away, and a talkative breaker does not flood it", () =>
  Effect.gen(function*() {
    let asked = 0
    const count = <A>(answer: Effect.Effect<A, Redis.RedisError>) =>
      Effect.suspend(() => {
        asked++
        return answer
      })
    const down = Effect.fail(new Redis.RedisError({ cause: new Error("down") }))
    const self = Context.get(
      yield* Layer.build(
        SharedBreaker.SharedBreaker.layer({ ...options("a"), interval: "1 second", nodeTimeToLive: undefined }).pipe(
          Layer.provide(answering(count(down)))
        )
      ),
      SharedBreaker.SharedBreaker
    )
    assert.strictEqual(asked, 1)
    for (let second = 0; second < 60; second++) {
      yield* self.breaker.forceOpen("eu")
      yield* self.breaker.enable("eu")
      yield* TestClock.adjust("1 second")
    }
    // 1, 2, 4, then every 5 seconds
    assert.isAtMost(asked, 16)
    assert.isAtLeast(asked, 12)
  }))

it.effect("refuses options that make no sense, by field", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make()
    const fieldOf = (options: SharedBreaker.Options) =>
      Effect.map(Effect.flip(SharedBreaker.make(breaker, options)), ({ field, module }) => `${module} ${field}`)
    assert.strictEqual(yield* fieldOf({ quorum: 0 }), "SharedBreaker quorum")
    assert.strictEqual(yield* fieldOf({ interval: 0 }), "SharedBreaker interval")
    assert.strictEqual(yield* fieldOf({ nodeTimeToLive: "1 second" }), "SharedBreaker nodeTimeToLive")
    assert.strictEqual(yield* fieldOf({ node: "" }), "SharedBreaker node")
  }).pipe(Effect.provide(answering(Effect.succeed([])))))
