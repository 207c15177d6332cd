/**
 * `npm run load:streams -- [--clients 200] [--seconds 4] [--rounds 5]`: what listeners to the event stream, one of them
 * stalled, take from the throughput of calls in the same process. Prints the calls a second of processor time with and
 * without them, in turn, and fails where more than 10 % is lost by the medians. For a quiet machine: beside other work a
 * round's figure varies by a factor of two.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Context, Effect, Fiber, Layer, Metric, Schedule } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { type ChildProcess, fork } from "node:child_process"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as EventStream from "../../src/http/EventStream.ts"
import { Operations } from "../../src/http/Operations.ts"
import * as Pipeline from "../../src/Pipeline.ts"
import * as Telemetry from "../../src/Telemetry.ts"

interface Options {
  readonly clients: number
  /** How long each round takes. */
  readonly millis: number
  readonly rounds: number
}

interface Cost {
  /** Calls a second of processor time, for each round. */
  readonly quiet: ReadonlyArray<number>
  readonly listening: ReadonlyArray<number>
  /** The share of the calls that was lost, by the medians. */
  readonly lost: number
  /** Events that the listeners read. */
  readonly received: number
}

const served = Layer.unwrap(Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.make({ name: "openai/search" })
  return HttpRouter.serve(EventStream.layer({ maxClients: 1_000 }), { disableLogger: true, disableListenLog: true })
    .pipe(
      Layer.provideMerge(Operations.layer({ guards: [{ provider: "openai", breaker }] })),
      Layer.provideMerge(Health.Health.layer({ providers: [{ name: "openai" }] })),
      Layer.provideMerge(Layer.succeed(CircuitBreaker.CircuitBreaker, breaker))
    )
})).pipe(
  Layer.provideMerge(Layer.mergeAll(Telemetry.layer(), Event.EventLog.layer())),
  Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map())),
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 100 }))
)

const message = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once("message", resolve))

/** In a process of their own, so that only what serving them costs is counted. */
const listeners = (url: string, count: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(fileURLToPath(new URL("streamClients.ts", import.meta.url)), [url, String(count)])
      await message(child)
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Measures rounds with and without listeners in turn. Events happen ten times a second in both. */
const measure = ({ clients, millis, rounds }: Options): Promise<Cost> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(served)
    const url = HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)
    const breaker = Context.get(context, CircuitBreaker.CircuitBreaker)
    const pipeline = yield* Pipeline.make({ provider: "p", retry: true, breaker: true, timeout: "1 second" }).pipe(
      Effect.provideContext(context)
    )
    yield* breaker.forceOpen().pipe(
      Effect.andThen(breaker.forceClose()),
      Effect.repeat(Schedule.spaced("200 millis")),
      Effect.forkScoped
    )
    const call = Effect.promise(() => Promise.resolve(1)).pipe(
      pipeline.protect({ operation: "call", idempotent: true })
    )
    const round = Effect.gen(function*() {
      let calls = 0
      const caller = Effect.forever(Effect.andThen(call, Effect.sync(() => calls++)))
      const fibers = yield* Effect.forEach(Array.from({ length: 16 }), () => Effect.forkChild(caller))
      // By the processor's time of this process: what others do with the machine has no say.
      const from = process.cpuUsage()
      yield* Effect.sleep(millis)
      const { system, user } = process.cpuUsage(from)
      const seconds = (user + system) / 1_000_000
      yield* Fiber.interruptAll(fibers)
      return calls / seconds
    })
    const quiet: Array<number> = []
    const listening: Array<number> = []
    let received = 0
    yield* round // to warm up
    for (let index = 0; index < rounds; index++) {
      quiet.push(yield* round)
      const { events, perSecond } = yield* Effect.scoped(Effect.gen(function*() {
        const child = yield* listeners(url, clients)
        // What it costs to let them in is another question.
        yield* Effect.sleep("1 second")
        const perSecond = yield* round
        child.send("how many")
        return { perSecond, events: Number(yield* Effect.promise(() => message(child))) }
      }))
      received += events
      listening.push(perSecond)
    }
    return { quiet, listening, lost: 1 - median(listening) / median(quiet), received }
  }).pipe(Effect.scoped, Effect.runPromise)

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "200" },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "5" }
  }
})

const { listening, lost, quiet, received } = await measure({
  clients: Number(values.clients),
  millis: Number(values.seconds) * 1_000,
  rounds: Number(values.rounds)
})
const rate = (perSecond: number) => `${Math.round(perSecond).toLocaleString("en")} calls/s`
console.log(`without listeners  ${quiet.map(rate).join("  ")}`)
console.log(`with ${values.clients} listeners  ${listening.map(rate).join("  ")}   (${received} events received)`)
console.log(`lost  ${(lost * 100).toFixed(1)} %`)
process.exit(lost <= 0.1 ? 0 : 1)
