import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, it, vi } from "@effect/vitest"
import { Deferred, Effect, Layer, Metric } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServer } from "effect/http"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import { connect } from "node:net"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as EventStream from "../../src/http/EventStream.ts"
import { Operations } from "../../src/http/Operations.ts"
import * as Telemetry from "../../src/Telemetry.ts"

const served = (
  options?: EventStream.Options,
  around: Layer.Layer<never, never, HttpRouter.HttpRouter> = Layer.empty
) =>
  Layer.unwrap(Effect.sync(() => {
    const server = createServer()
    // A connection that `fetch` opened and never used is waited for otherwise, until `fetch` lets it go.
    const cut = Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections())))
    return Layer.provideMerge(
      cut,
      HttpRouter.serve(Layer.provide(EventStream.layer(options), around), {
        disableLogger: true,
        disableListenLog: true
      })
    ).pipe(
      Layer.provide(Operations.layer({})),
      Layer.provide(Health.Health.layer({ providers: [{ name: "openai" }] })),
      Layer.provideMerge(Layer.mergeAll(Telemetry.layer(), Event.EventLog.layer({ capacity: 200 }))),
      Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map())),
      Layer.provideMerge(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" }))
    )
  }))

interface Message {
  readonly event: string | undefined
  readonly id: string | undefined
  readonly data: string
}

const field = (block: string, name: string): string | undefined =>
  block.split("\n").find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim()

/** Listens; what came in so far as text and as messages. */
const listen = Effect.fnUntraced(function*(lastEventId?: string) {
  const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
  const abort = new AbortController()
  yield* Effect.addFinalizer(() => Effect.sync(() => abort.abort()))
  const response = yield* Effect.promise(() =>
    fetch(`${url}/api/fault-tolerance/stream`, {
      signal: abort.signal,
      headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId }
    })
  )
  let text = ""
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true })
  }
  void read().catch(() => {})
  const messages = (): ReadonlyArray<Message> =>
    text.split("\n\n").filter((block) => block.includes("data:")).map((block) => ({
      event: field(block, "event"),
      id: field(block, "id"),
      data: field(block, "data") ?? ""
    }))
  return {
    response,
    text: () => text,
    ids: () => messages().flatMap(({ event, id }) => event === "event" && id !== undefined ? [id] : []),
    messages,
    end: Effect.sync(() => abort.abort())
  }
})

/** The socket is real, the clock is not: looks again until it is so. */
const eventually = (what: () => boolean, why: string) =>
  Effect.promise(async () => {
    for (let i = 0; i < 300; i++) {
      if (what()) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.fail(why)
  })

const noted = (message: string) => Event.Noted.make({ at: 0, subject: "test", message })
const publish = Effect.fnUntraced(function*(...messages: ReadonlyArray<string>) {
  const log = yield* Event.EventLog
  for (const message of messages) yield* log.publish(noted(message))
  yield* TestClock.adjust("500 millis")
})
const ids = (from: number, to: number, epoch: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${epoch}-${from + index}`)

it.effect("says how to come back, a snapshot at once, and each event with its place", () =>
  Effect.gen(function*() {
    const { epoch } = yield* Event.EventLog
    yield* publish("before")
    const client = yield* listen()
    assert.strictEqual(client.response.headers.get("content-type"), "text/event-stream")
    assert.strictEqual(client.response.headers.get("cache-control"), "no-store")
    assert.strictEqual(client.response.headers.get("x-accel-buffering"), "no")
    yield* eventually(() => client.messages().length === 1, "no snapshot")
    assert.match(client.text(), /^retry: 2000\n/)
    assert.strictEqual(client.messages()[0]?.event, "snapshot")
    assert.strictEqual(JSON.parse(client.messages()[0]!.data).health[0].name, "openai")
    yield* publish("first", "second")
    yield* eventually(() => client.ids().length === 2, "no events")
    // Who comes new gets what happens from now on.
    assert.deepStrictEqual(client.ids(), ids(2, 3, epoch))
    assert.deepInclude(JSON.parse(client.messages().at(-1)!.data), { _tag: "Noted", message: "second" })
    yield* TestClock.adjust("2 seconds")
    yield* eventually(
      () => client.messages().filter(({ event }) => event === "snapshot").length >= 2,
      "no further snapshot"
    )
    const beats = () => client.text().split("\n\n").filter((block) => block === ": hb").length
    const before = beats()
    yield* TestClock.adjust("15 seconds")
    yield* eventually(() => beats() === before + 1, "no heartbeat")
  }).pipe(Effect.scoped, Effect.provide(served())))

it.effect("resumes after the last id: no gap and no duplicate", () =>
  Effect.gen(function*() {
    const { epoch } = yield* Event.EventLog
    const first = yield* listen()
    yield* eventually(() => first.messages().length === 1, "no snapshot")
    yield* publish("1", "2", "3")
    yield* eventually(() => first.ids().length === 3, "no events")
    yield* first.end
    yield* publish("4", "5")
    const second = yield* listen(first.ids()[1])
    yield* eventually(() => second.ids().length === 3, "not resumed")
    yield* publish("6")
    yield* eventually(() => second.ids().length === 4, "nothing new")
    assert.deepStrictEqual(second.ids(), ids(3, 6, epoch))
    // To another process's id, as after a restart, everything kept is new.
    const third = yield* listen("12345-2")
    yield* publish("7")
    yield* eventually(() => third.ids().length === 7, "not everything")
    assert.deepStrictEqual(third.ids(), ids(1, 7, epoch))
    // Who is cut off before the first event has an id to resume by.
    const fourth = yield* listen()
    yield* eventually(() => fourth.messages().length === 1, "no snapshot")
    assert.match(fourth.text(), new RegExp(`^retry: 2000\n\nid: ${epoch}-7\n\n`))
    // Longer away than the history reaches, it has what is left: the ids tell what is missing.
    for (let i = 8; i <= 407; i += 50) yield* publish(...Array.from({ length: 50 }, (_, index) => String(i + index)))
    const late = yield* listen(first.ids()[0])
    yield* eventually(() => late.ids().length >= 200, "not resumed")
    assert.deepStrictEqual(late.ids(), ids(208, 407, epoch))
  }).pipe(Effect.scoped, Effect.provide(served())))

it.effect("an event that is both in the history and in what is just being sent comes once", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    yield* log.publish(noted("waits to be sent"))
    const client = yield* listen(`${log.epoch}-0`)
    yield* eventually(() => client.ids().length === 1, "no history")
    yield* publish("next")
    yield* eventually(() => client.text().includes("next"), "nothing new")
    assert.deepStrictEqual(client.ids(), ids(1, 2, log.epoch))
  }).pipe(Effect.scoped, Effect.provide(served())))

it.effect("lets only so many listen, and the next one when somebody leaves", () =>
  Effect.gen(function*() {
    const first = yield* listen()
    yield* listen()
    const third = yield* listen()
    assert.strictEqual(third.response.status, 503)
    assert.strictEqual(third.response.headers.get("retry-after"), "10")
    yield* first.end
    const { response } = yield* listen().pipe(
      Effect.tap(() => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))),
      Effect.repeat({ until: ({ response }) => response.status === 200, times: 200 })
    )
    assert.strictEqual(response.status, 200)
  }).pipe(Effect.scoped, Effect.provide(served({ maxClients: 2 }))))

it.effect("counts a listener from its admission, though its stream begins later", () => {
  const all = Deferred.makeUnsafe<void>()
  let answered = 0
  const together = HttpRouter.middleware((self) =>
    Effect.tap(self, () => {
      if (++answered === 3) Deferred.doneUnsafe(all, Effect.void)
      return Deferred.await(all)
    }), { global: true })
  return Effect.gen(function*() {
    const clients = yield* Effect.all(Array.from({ length: 3 }, () => listen()), { concurrency: 3 })
    assert.strictEqual(clients.filter(({ response }) => response.status === 200).length, 2)
  }).pipe(Effect.scoped, Effect.provide(served({ maxClients: 2 }, together)))
})

it.effect("writes an event and a snapshot once, whoever listens", () =>
  Effect.gen(function*() {
    const writing = vi.spyOn(Sse.encoder, "write")
    yield* Effect.addFinalizer(() => Effect.sync(() => writing.mockRestore()))
    const written = (name: string) =>
      writing.mock.calls.filter(([event]) => event._tag === "Event" && event.event === name).length
    const clients = yield* Effect.all(Array.from({ length: 100 }, () => listen()), { concurrency: "unbounded" })
    const all = (count: number, name: string) =>
      eventually(
        () => clients.every((client) => client.messages().filter(({ event }) => event === name).length === count),
        `not all have ${count} of ${name}`
      )
    yield* all(1, "snapshot")
    yield* publish("first", "second", "third")
    yield* all(3, "event")
    yield* TestClock.adjust("1500 millis")
    yield* all(2, "snapshot")
    assert.deepStrictEqual({ events: written("event"), snapshots: written("snapshot") }, { events: 3, snapshots: 2 })
  }).pipe(Effect.scoped, Effect.provide(served())))

it.effect("a client that does not read loses events, and nobody else does", () =>
  Effect.gen(function*() {
    const log = yield* Event.EventLog
    const { address } = yield* HttpServer.HttpServer
    const port = "port" in address ? address.port : 0
    const stalled = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const socket = connect(port, "127.0.0.1")
        socket.pause()
        socket.write("GET /api/fault-tolerance/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        return socket
      }),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const quick = yield* listen()
    yield* eventually(() => quick.messages().length === 1, "no snapshot")
    // More than sockets and queues hold, at a pace that a reader keeps up with.
    const filling = "x".repeat(2_000)
    const rounds = 200
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 100; i++) yield* log.publish(noted(filling))
      yield* TestClock.adjust("500 millis")
      if (round % 10 === 0) {
        yield* eventually(() => quick.text().length >= round * 100 * 2_000, "the reader was held up")
      }
    }
    yield* eventually(() => quick.text().length > rounds * 100 * 2_000, "the reader was held up")
    assert.deepStrictEqual(quick.ids(), ids(1, rounds * 100, log.epoch))

    // Once it reads, it finds that it missed some, and goes on with the newest.
    let text = ""
    stalled.on("data", (chunk: Buffer) => text += chunk.toString()).resume()
    const last = `id: ${log.epoch}-${rounds * 100}\n`
    yield* eventually(() => text.includes(last), "it does not go on")
    const seen = Array.from(text.matchAll(/^id: \d+-(\d+)$/gm), ([, seq]) => Number(seq))
    assert.isBelow(seen.length, rounds * 100)
    assert.deepStrictEqual(seen, [...seen].sort((a, b) => a - b))
    assert.strictEqual(new Set(seen).size, seen.length)
  }).pipe(Effect.scoped, Effect.provide(served())), 60_000)
