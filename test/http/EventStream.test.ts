import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Metric } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as EventStream from "../../src/http/EventStream.ts"
import { Operations } from "../../src/http/Operations.ts"
import * as Telemetry from "../../src/Telemetry.ts"

const served = HttpRouter.serve(EventStream.layer(), { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provide(Operations.layer({})),
  Layer.provide(Health.Health.layer({ providers: [{ name: "openai" }] })),
  Layer.provideMerge(Layer.mergeAll(Telemetry.layer(), Event.EventLog.layer())),
  Layer.provide(Layer.sync(Metric.MetricRegistry, () => new Map())),
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 100 }))
)

interface Heard {
  readonly id: string
  readonly message: string
}

/** Listens until `count` events came, and goes. `meanwhile` happens once it hears. */
const listen = Effect.fnUntraced(function*<R>(
  count: number,
  lastEventId: string | undefined,
  meanwhile: Effect.Effect<void, never, R>
) {
  const { address } = yield* HttpServer.HttpServer
  const hears = yield* Deferred.make<void>()
  const stream = Effect.promise(async (signal): Promise<ReadonlyArray<Heard>> => {
    const abort = new AbortController()
    const response = await fetch(`${HttpServer.formatAddress(address)}/api/fault-tolerance/stream`, {
      signal: AbortSignal.any([signal, abort.signal]),
      headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId }
    })
    let text = ""
    const heard = () =>
      text.split("\n\n").slice(0, -1).flatMap((block): ReadonlyArray<Heard> => {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1]
        if (field("event") !== "event") return []
        const { message } = JSON.parse(field("data") ?? "{}") as { readonly message: string }
        return [{ id: field("id") ?? "", message }]
      })
    const decoder = new TextDecoder()
    for await (const part of response.body!) {
      text += decoder.decode(part, { stream: true })
      if (text.includes("event: snapshot")) Deferred.doneUnsafe(hears, Effect.void)
      if (heard().length >= count) break
    }
    abort.abort()
    return heard()
  })
  const then = Effect.andThen(Deferred.await(hears), Effect.andThen(Effect.sleep("50 millis"), meanwhile))
  const [found] = yield* Effect.all([stream, then], { concurrency: 2 })
  return found
})

const note = (message: string) =>
  Effect.flatMap(Event.EventLog, (log) => log.publish(Event.Noted.make({ at: 0, subject: "test", message })))

it.live(
  "SSE resume: who was cut off hears by Last-Event-ID what it missed, all of it and once",
  () =>
    Effect.gen(function*() {
      yield* note("before")
      const [first] = yield* listen(1, undefined, note("one"))
      // Who comes new hears what happens from now on.
      assert.strictEqual(first?.message, "one")
      for (const message of ["two", "three"]) yield* note(message)
      const missed = yield* listen(3, first?.id, note("four"))
      assert.deepStrictEqual(missed.map(({ message }) => message), ["two", "three", "four"])
      // The id of another process says nothing here.
      const fresh = yield* listen(1, "1-1", note("five"))
      assert.deepStrictEqual(fresh.map(({ message }) => message), ["five"])
    }).pipe(Effect.provide(served)),
  30_000
)
