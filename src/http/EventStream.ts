/**
 * Server-sent events: a snapshot at once and then every two seconds, and each event as it happens. A client that was cut
 * off resumes by `Last-Event-ID`; a slow one loses events and is told so by the ids; nobody slows a call.
 */
import { Duration, Effect, Ref, Schedule, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { type Entry, Event, EventLog } from "../Event.ts"
import { Operations, Snapshot } from "./Operations.ts"

/** The id of an entry: `epoch-seq`. */
export const entryId = (epoch: number, seq: number): string => `${epoch}-${seq}`

/** What an id says; `undefined` for what is none. */
export const parseEntryId = (id: string): { readonly epoch: number; readonly seq: number } | undefined => {
  const match = /^(\d{1,16})-(\d{1,16})$/.exec(id)
  return match === null ? undefined : { epoch: Number(match[1]), seq: Number(match[2]) }
}

export interface Options {
  /** How many may listen at once; more are answered 503. Defaults to 200. */
  readonly maxClients?: number | undefined
  /** Ends every stream, so that a server can stop at once. */
  readonly until?: Effect.Effect<void> | undefined
}

const encodeSnapshot = Schema.encodeSync(Schema.fromJsonString(Snapshot))
const encodeEvent = Schema.encodeSync(Schema.fromJsonString(Event))

/** `GET /api/fault-tolerance/stream`. */
export const layer = (options?: Options) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const operations = yield* Operations
    const log = yield* EventLog
    const clients = yield* Ref.make(0)
    const maxClients = options?.maxClients ?? 200

    const hello = Sse.encoder.write(new Sse.Retry({ duration: Duration.seconds(2), lastEventId: undefined }))
    const snapshots = Stream.fromEffect(operations.snapshot).pipe(
      Stream.repeat(Schedule.spaced("2 seconds")),
      Stream.map((snapshot) =>
        Sse.encoder.write({ _tag: "Event", event: "snapshot", id: undefined, data: encodeSnapshot(snapshot) })
      )
    )
    const beats = Stream.map(Stream.tick("15 seconds"), () => ": hb\n\n")
    const events = (after: number) =>
      log.since(after).pipe(
        // For each client: a slow one loses the oldest, which costs memory for nobody.
        Stream.buffer({ capacity: 64, strategy: "sliding" }),
        Stream.map(({ event, seq }: Entry) =>
          Sse.encoder.write({ _tag: "Event", event: "event", id: entryId(log.epoch, seq), data: encodeEvent(event) })
        )
      )

    yield* router.add(
      "GET",
      "/api/fault-tolerance/stream",
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        if ((yield* Ref.get(clients)) >= maxClients) {
          return HttpServerResponse.empty({ status: 503, headers: { "retry-after": "10" } })
        }
        const last = parseEntryId(request.headers["last-event-id"] ?? "")
        const after = last?.epoch === log.epoch ? last.seq : yield* newest(log)
        const body = Stream.make(hello).pipe(
          Stream.concat(Stream.mergeAll([snapshots, events(after), beats], { concurrency: 3 })),
          Stream.interruptWhen(options?.until ?? Effect.never)
        )
        const counted = Stream.unwrap(
          Effect.acquireRelease(
            Ref.update(clients, (count) => count + 1),
            () => Ref.update(clients, (count) => count - 1)
          ).pipe(Effect.as(body))
        )
        return HttpServerResponse.stream(Stream.encodeText(counted), {
          contentType: "text/event-stream",
          headers: { "cache-control": "no-store", "x-accel-buffering": "no" }
        })
      })
    )
  }))

/** Who comes new gets what happens from now on; the history has its own endpoint. */
const newest = (log: EventLog["Service"]): Effect.Effect<number> =>
  Effect.map(log.history(), (entries) => entries.at(-1)?.seq ?? 0)
