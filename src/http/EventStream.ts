/**
 * Server-sent events: a snapshot at once and then every two seconds, and each event as it happens. A client that was cut
 * off resumes by `Last-Event-ID`; a slow one loses events and is told so by the ids; nobody slows a call.
 */
import { Duration, Effect, PubSub, Ref, Schedule, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { type Entry, Event, EventLog } from "../Event.ts"
import { Operations } from "./Operations.ts"
import { Snapshot } from "./Snapshot.ts"

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
const encodeText = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Written once for all who listen: each of them writing it anew takes a third of the calls' time at 200. */
const once = <A extends object, B>(write: (value: A) => B): (value: A) => B => {
  const written = new WeakMap<A, B>()
  return (value) => {
    const known = written.get(value)
    if (known !== undefined) return known
    const made = write(value)
    written.set(value, made)
    return made
  }
}

/** `GET /api/fault-tolerance/stream`. */
export const layer = (options?: Options) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const operations = yield* Operations
    const log = yield* EventLog
    const clients = yield* Ref.make(0)
    const maxClients = options?.maxClients ?? 200

    const retry = Sse.encoder.write(new Sse.Retry({ duration: Duration.seconds(2), lastEventId: undefined }))
    // With the place, so that who is cut off before the first event resumes from here.
    const hello = (after: number) => encodeText(`${retry}id: ${entryId(log.epoch, after)}\n\n`)
    const beat = encodeText(": hb\n\n")
    const writeSnapshot = once((snapshot: typeof Snapshot.Type) =>
      encodeText(Sse.encoder.write({ _tag: "Event", event: "snapshot", id: undefined, data: encodeSnapshot(snapshot) }))
    )
    const writeEntry = once(({ event, seq }: Entry) =>
      Sse.encoder.write({ _tag: "Event", event: "event", id: entryId(log.epoch, seq), data: encodeEvent(event) })
    )
    const snapshots = Stream.fromEffect(operations.snapshot).pipe(
      Stream.repeat(Schedule.spaced("2 seconds")),
      Stream.map(writeSnapshot)
    )
    const beats = Stream.map(Stream.tick("15 seconds"), () => beat)
    const write = (entries: ReadonlyArray<Entry>) => encodeText(entries.map(writeEntry).join(""))
    // A storm of events is two writes a second for each client. A slow one loses the oldest, which costs memory for nobody.
    const batches = yield* PubSub.sliding<Batch>(64)
    yield* log.since(yield* newest(log)).pipe(
      Stream.groupedWithin(256, "500 millis"),
      Stream.runForEach((entries) => PubSub.publish(batches, { entries, bytes: write(entries) })),
      Effect.forkScoped
    )
    const events = (after: number) =>
      Stream.unwrap(Effect.gen(function*() {
        const subscription = yield* PubSub.subscribe(batches)
        const past = yield* log.history(after)
        const last = past.at(-1)?.seq ?? after
        return Stream.fromIterable(past.length === 0 ? [] : [write(past)]).pipe(
          Stream.concat(
            Stream.fromSubscription(subscription).pipe(
              Stream.filter(({ entries }) => entries.at(-1)!.seq > last),
              Stream.map(({ bytes, entries }) =>
                entries[0]!.seq > last ? bytes : write(entries.filter(({ seq }) => seq > last))
              )
            )
          )
        )
      }))

    yield* router.add(
      "GET",
      "/api/fault-tolerance/stream",
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const isAdmitted = yield* Effect.acquireRelease(
          Ref.modify(clients, (count) => count < maxClients ? [true, count + 1] : [false, count]),
          (isAdmitted) => isAdmitted ? Ref.update(clients, (count) => count - 1) : Effect.void
        )
        if (!isAdmitted) {
          return HttpServerResponse.empty({ status: 503, headers: { "retry-after": "10" } })
        }
        const last = parseEntryId(request.headers["last-event-id"] ?? "")
        // Of an id of another process, everything kept is newer.
        const after = last === undefined ? yield* newest(log) : last.epoch === log.epoch ? last.seq : 0
        const body = Stream.make(hello(after)).pipe(
          Stream.concat(Stream.mergeAll([snapshots, events(after), beats], { concurrency: 3 })),
          Stream.interruptWhen(options?.until ?? Effect.never)
        )
        return HttpServerResponse.stream(body, {
          contentType: "text/event-stream",
          headers: { "cache-control": "no-store", "x-accel-buffering": "no" }
        })
      })
    )
  }))

interface Batch {
  /** At least one. */
  readonly entries: ReadonlyArray<Entry>
  readonly bytes: Uint8Array
}

/** Who comes new gets what happens from now on; the history has its own endpoint. */
const newest = (log: EventLog["Service"]): Effect.Effect<number> =>
  Effect.map(log.history(), (entries) => entries.at(-1)?.seq ?? 0)
