/**
 * Writes on their way from a primary store to its mirrors: recorded after the primary took them, delivered in the
 * background until each mirror has them.
 *
 * **Details**
 *
 * An entry names documents, not their content: delivering reads what the primary has then, so that late, repeated and
 * overtaken deliveries end in the same state. Entries wait in Effect's `PersistedQueue`: in the context's, such as that of
 * `OutboxQueue`, which is in Postgres and outlives the process, else in memory.
 *
 * In a queue that outlives the process a write is announced before it begins, by an entry that is held back and withdrawn
 * when the write is recorded: should the process be killed in between, whoever has the queue then delivers it.
 *
 * **Gotchas**
 *
 * A queue is named after the service and the mirror. Two services with one database need two names: else one takes the
 * other's entries, and the other's mirror goes without. Processes of one service that share a queue know by `OutboxQueue`
 * what the others delivered; of another queue, that goes on counting as waiting in the process that recorded it.
 */
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Schedule,
  Schema,
  type Scope,
  Stream
} from "effect"
import { PersistedQueue } from "effect/persistence"
import * as Event from "../Event.ts"
import { InvalidOptions } from "../InvalidOptions.ts"
import { table } from "../ProviderError.ts"
import * as Served from "../Served.ts"
import { allThere, documentsOf, type Party, same } from "./internal/mirrorSync.ts"
import * as MirrorSync from "./internal/mirrorSync.ts"
import * as OutboxQueue from "./OutboxQueue.ts"
import type { Document, DocumentId } from "./VectorStore.ts"

export type { Party } from "./internal/mirrorSync.ts"

export interface Options {
  /** Names the queues: of the services that share a database each needs its own. */
  readonly name: string
  readonly primary: Party
  readonly mirrors: ReadonlyArray<Party>
}

/** How far a mirror is behind. */
export interface Lag {
  readonly mirror: string
  /** Documents whose newest state it has not got, as far as this process knows or finds in a queue that outlives it. */
  readonly pending: number
  /** How long the oldest of them waits. */
  readonly oldestMillis: number
  /** Documents that it refused for what they are: it keeps what it had of them, and is asked no more. */
  readonly refused: number
}

/** What a reconciliation did to a mirror. */
export interface Reconciled {
  readonly mirror: string
  readonly added: number
  readonly changed: number
  readonly removed: number
}

/** What a document waits for. */
export type Change = "put" | "delete"

export interface Outbox {
  /**
   * Notes that the primary's state of these documents is about to change, and gives what takes the note back once
   * that is recorded, or known not to have happened. Does not fail, and waits for the queue a second at most.
   */
  readonly announce: (ids: ReadonlyArray<DocumentId>) => Effect.Effect<Effect.Effect<void>>
  /**
   * Notes that the primary's state of these documents changed, and says whether that is in the queue. Does not fail,
   * does not wait for a mirror, and for the queue a second at most: then it goes on trying in the background.
   */
  readonly record: (change: Change, ids: ReadonlyArray<DocumentId>) => Effect.Effect<boolean>
  /** What the mirror has not got yet of a document. */
  readonly pending: (mirror: string, id: DocumentId) => Change | undefined
  readonly lag: Effect.Effect<ReadonlyArray<Lag>>
  /** Waits until nothing that this process recorded is pending. */
  readonly drained: Effect.Effect<void>
  /** Compares everything and makes the mirrors, or one of them, equal to the primary. Refuses a name that is no mirror's. */
  readonly reconcile: (mirror?: string) => Effect.Effect<ReadonlyArray<Reconciled>, { readonly _tag: string }>
}

const Entry = Schema.Struct({
  // Unchecked: an id that no store takes is for the stores to refuse, and must not keep its entry out of the queue.
  ids: Schema.Array(Schema.String.pipe(Schema.brand("DocumentId"))),
  change: Schema.Literals(["put", "delete"])
})
const readEntry = Schema.decodeUnknownOption(Schema.fromJsonString(Entry))

/** How often it is looked what waits in a queue that outlives the process: others may write and deliver beside us. */
const lookEvery = "30 seconds"

/** How long a write waits until it is announced, and until it is recorded. */
const recordedWithin = "1 second"

/**
 * How long after its announcement a write is looked at that was not recorded; longer than writes take. One that takes
 * longer is looked at while it goes on, and once more when it has ended.
 */
const heldBack = "5 minutes"

const entryLength = 100

/** Behind an outage of any length: the pace of the first minute, then every half. */
const redeliveries = Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("30 seconds")])

interface Waiting {
  readonly change: Change
  readonly since: number
  readonly entry: string
}

/** Delivers as long as the scope is open. */
export const make: (options: Options) => Effect.Effect<Outbox, never, Scope.Scope> = Effect.fnUntraced(
  function*({ mirrors, name, primary }: Options) {
    const scope = yield* Effect.scope
    const sink = yield* Event.Sink
    const clock = yield* Clock.Clock
    const given = yield* Effect.serviceOption(PersistedQueue.PersistedQueueFactory)
    const factory = Option.isSome(given) ? given.value : yield* Effect.map(
      Layer.build(Layer.provide(OutboxQueue.layerTidy, PersistedQueue.layerStoreMemory)),
      Context.get(PersistedQueue.PersistedQueueFactory)
    )
    const queueOf = (mirror: Party): string => `holdfast/${name}/${mirror.name}`
    const note = (subject: string, message: string): void =>
      sink?.(Event.Noted.make({ at: clock.currentTimeMillisUnsafe(), subject, message }))

    const boxes = yield* Effect.forEach(mirrors, (mirror) =>
      Effect.map(
        factory.make({
          name: queueOf(mirror),
          schema: Entry,
          // An outage may be long: what is not delivered is not given up.
          maxAttempts: 1_000_000,
          retrySchedule: redeliveries
        }),
        (queue) => ({
          mirror,
          queue,
          waiting: new Map<DocumentId, Waiting>(),
          /** What was found in the queue, from a process before or beside this one. */
          found: new Map<DocumentId, Waiting>(),
          /** Entries delivered since the queue was last looked at, and before that: it may not have marked them yet. */
          delivered: new Set<string>(),
          deliveredBefore: new Set<string>(),
          /** Entries of this process that are in the queue, until they are delivered. */
          recorded: new Set<string>(),
          failing: false,
          ...MirrorSync.make({
            primary,
            mirror,
            atOnce: entryLength,
            onRefused: ({ category }) => note(mirror.name, `a document was refused: ${category}`)
          })
        })
      ))
    type Box = typeof boxes[number]
    type Part = { readonly box: Box; readonly ids: ReadonlyArray<DocumentId>; readonly entry: string }

    /** Whether the queue was not quick to take the last that it was offered. */
    let ailing = false

    const inBackground = <A>(self: Effect.Effect<A>) =>
      Effect.forkIn(Effect.interruptible(self), scope, { startImmediately: true })

    /** Puts an entry into the mirror's queue, and gives what waits until that was tried, and tells whether it is in. */
    const offer = Effect.fnUntraced(
      function*(change: Change, { box, entry, ids }: Part) {
        const since = clock.currentTimeMillisUnsafe()
        for (const id of ids) box.waiting.set(id, { change, entry, since: box.waiting.get(id)?.since ?? since })
        const offered = Effect.andThen(
          box.queue.offer({ ids, change }, { id: entry }),
          Effect.sync(() => {
            if (!box.delivered.has(entry)) box.recorded.add(entry)
          })
        )
        const tried = yield* Deferred.make<boolean>()
        yield* inBackground(offered.pipe(
          Effect.onExit((exit) => Deferred.succeed(tried, Exit.isSuccess(exit))),
          Effect.catch(() => {
            note(box.mirror.name, "a write could not be recorded for it, and will be as soon as the queue is well")
            return Effect.retry(offered, redeliveries)
          }),
          Effect.ignore
        ))
        return Deferred.await(tried)
      }
    )

    /** As `bring` where others deliver beside us, perhaps an older state: what changed meanwhile is brought over again. */
    const settle = Effect.fnUntraced(function*(box: Box, ids: ReadonlyArray<DocumentId>) {
      const first = yield* box.bring(ids)
      const changed = yield* box.changedSince(first)
      if (changed.length === 0) return first
      const again = yield* box.bring(changed.map(({ id }) => id))
      const still = yield* box.changedSince(again)
      // What goes on changing is left to an entry of its own, so that the others need not wait.
      for (const change of ["put", "delete"] as const) {
        const ids = still.flatMap(({ document, id }) => Option.isNone(document) === (change === "delete") ? [id] : [])
        if (ids.length > 0) yield* yield* offer(change, { box, ids, entry: crypto.randomUUID() })
      }
      const last = new Map(again.map((it) => [it.id, it]))
      return first.map((it) => last.get(it.id) ?? it)
    })

    const deliver = (box: Box) =>
      box.queue.take(({ ids }, { id: entry }) =>
        Effect.gen(function*() {
          // Of an entry of our own, what was brought over since it was recorded is left out.
          const due = box.recorded.has(entry) ? ids.filter((id) => box.waiting.has(id)) : ids
          const known = [box.waiting, box.found].map((all) => ({
            all,
            before: new Map(due.map((id) => [id, all.get(id)]))
          }))
          const from = clock.currentTimeMillisUnsafe()
          const brought = yield* Effect.mapError(
            // One delivers from a queue in memory.
            Option.isSome(given) ? settle(box, due) : box.bring(due),
            // What the mirror fails with is told of each document.
            (error) => ({ _tag: `${primary.name}: ${Served.failure(primary.name, error).category}` })
          )
          for (const { failure, id } of brought) {
            if (failure !== undefined) continue
            // The primary was read after all that was known by then; only what came since waits.
            for (const { all, before } of known) {
              const now = all.get(id)
              if (now === before.get(id)) all.delete(id)
              else if (now !== undefined) all.set(id, { ...now, since: Math.max(now.since, from) })
            }
          }
          yield* allThere(brought)
          box.delivered.add(entry)
          box.recorded.delete(entry)
        }).pipe(
          // The queue keeps what it failed with, and no words of a provider or of a defect.
          Effect.catchCause((cause) => Effect.fail({ _tag: categoryOf(box.mirror, cause) }))
        )
      )

    const run = (box: Box) =>
      Effect.suspend(() =>
        Effect.sleep(Math.min(30_000, Math.ceil(box.mirror.availability(clock.currentTimeMillisUnsafe()))))
      )
        .pipe(
          Effect.andThen(deliver(box)),
          // Nothing ends it but the scope: a queue that cannot mark what was delivered is a defect there, and an outage here.
          Effect.matchCauseEffect({
            onSuccess: () =>
              Effect.sync(() => {
                if (box.failing) note(box.mirror.name, "writes reach it again")
                box.failing = false
              }),
            onFailure: (cause) =>
              Effect.suspend(() => {
                const category = categoryOf(box.mirror, cause)
                if (!box.failing) {
                  note(box.mirror.name, `a write did not reach it and will be repeated: ${category}`)
                }
                box.failing = true
                return Effect.sleep(category === "PersistedQueueError" ? "1 second" : "100 millis")
              })
          }),
          Effect.forever
        )
    yield* Effect.forEach(boxes, (box) => Effect.forkScoped(run(box)), { discard: true })

    const backlog = yield* Effect.serviceOption(OutboxQueue.Backlog)
    const look = Effect.fnUntraced(function*(box: Box, { read }: OutboxQueue.Backlog["Service"]) {
      box.deliveredBefore = box.delivered
      box.delivered = new Set()
      const ours = Array.from(box.recorded)
      const rows = yield* read(queueOf(box.mirror))
      const now = yield* Clock.currentTimeMillis
      box.found.clear()
      for (const { ageMillis, element, id: entry } of rows) {
        // What was delivered while the queue was read may still be among what it said.
        if (box.recorded.has(entry) || box.delivered.has(entry) || box.deliveredBefore.has(entry)) continue
        const read = readEntry(element)
        if (Option.isNone(read)) continue
        const { change, ids } = read.value
        for (const id of ids) box.found.set(id, { change, entry, since: box.found.get(id)?.since ?? now - ageMillis })
      }
      // What is in the queue no more was delivered by another process.
      const there = new Set(rows.map(({ id }) => id))
      const gone = new Set(ours.filter((entry) => !there.has(entry)))
      for (const entry of gone) box.recorded.delete(entry)
      for (const [id, { entry }] of box.waiting) if (gone.has(entry)) box.waiting.delete(id)
    })
    if (Option.isSome(backlog)) {
      yield* Effect.forEach(boxes, (box) =>
        Effect.ignore(look(box, backlog.value)).pipe(
          Effect.repeat(Schedule.spaced(lookEvery)),
          Effect.forkScoped
        ), { discard: true })
    }

    /**
     * Waits for all, and says whether each was done in time. Apart, because the limit interrupts and the caller does not let
     * itself be interrupted.
     */
    const shortly = (all: ReadonlyArray<Effect.Effect<boolean>>) =>
      all.length === 0 ? Effect.succeed(true) : Effect.map(
        Effect.flatMap(
          inBackground(Effect.timeoutOption(Effect.all(all, { concurrency: "unbounded" }), recordedWithin)),
          Fiber.await
        ),
        (exit) => Exit.isSuccess(exit) && Option.exists(exit.value, (done) => done.every((it) => it))
      )

    const partsOf = (ids: ReadonlyArray<DocumentId>): ReadonlyArray<Part> =>
      boxes.flatMap((box) => chunks(ids, entryLength).map((ids) => ({ box, ids, entry: crypto.randomUUID() })))

    const announce = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
      // A queue that lets entries wait is not waited for twice by every write.
      if (Option.isNone(backlog) || ailing) return Effect.void
      const parts = partsOf(ids)
      // As a change that may have happened: what is deleted is hidden, and who knows whether it is.
      ailing = !(yield* shortly(parts.map(({ box, entry, ids }) =>
        Effect.isSuccess(box.queue.offer({ ids, change: "put" }, { id: entry, delay: heldBack }))
      )))
      return Effect.asVoid(Effect.suspend(() =>
        shortly(boxes.map((box) => {
          const entries = parts.flatMap((part) =>
            part.box === box ? [part.entry] : []
          )
          return Effect.isSuccess(backlog.value.withdraw(queueOf(box.mirror), entries))
        }))
      ))
    }, Effect.uninterruptible)

    const record = Effect.fnUntraced(function*(change: Change, ids: ReadonlyArray<DocumentId>) {
      const recorded = yield* shortly(yield* Effect.forEach(partsOf(ids), (part) => offer(change, part)))
      ailing = !recorded
      return recorded
    }, Effect.uninterruptible)

    /** What differs is brought over as it is then: a listing is old when its last page is read, and may be old at its first. */
    const compare = Effect.fnUntraced(function*(box: Box): Effect.fn.Return<Reconciled, { readonly _tag: string }> {
      const { mirror } = box
      const theirs = yield* Stream.runFold(
        documentsOf(mirror),
        () => new Map<DocumentId, Document>(),
        (all, it) => all.set(it.id, it)
      )
      const bring = (ids: ReadonlyArray<DocumentId>) =>
        Effect.tap(settle(box, ids), allThere).pipe(
          Effect.map((brought) => brought.filter(({ id }) => !box.refused.has(id)))
        )
      const unknown = new Set<DocumentId>()
      let added = 0
      let changed = 0
      let removed = 0
      yield* documentsOf(primary).pipe(
        Stream.filter((document) => {
          const known = theirs.get(document.id)
          theirs.delete(document.id)
          if (known === undefined) unknown.add(document.id)
          return !same(Option.fromUndefinedOr(known), Option.some(document))
        }),
        Stream.map(({ id }) => id),
        Stream.grouped(entryLength),
        Stream.runForEach((ids) =>
          Effect.map(bring(ids), (brought) => {
            const fresh = brought.filter(({ id }) => unknown.has(id)).length
            added += fresh
            changed += brought.length - fresh
          })
        )
      )
      for (const ids of chunks(Array.from(theirs.keys()), entryLength)) {
        removed += (yield* bring(ids)).filter(({ document }) => Option.isNone(document)).length
      }
      return { mirror: mirror.name, added, changed, removed }
    })

    return {
      announce,
      record,
      pending: (mirror, id) => {
        const box = boxes.find((box) => box.mirror.name === mirror)
        return (box?.waiting.get(id) ?? box?.found.get(id))?.change ??
          (box?.refused.has(id) === true ? "put" : undefined)
      },
      lag: Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        return boxes.map(({ found, mirror, refused, waiting }) => {
          const pending = new Set([...found.keys(), ...waiting.keys()]).size
          let oldest = now
          for (const all of [found, waiting]) for (const { since } of all.values()) oldest = Math.min(oldest, since)
          return { mirror: mirror.name, pending, oldestMillis: now - oldest, refused: refused.size }
        })
      }),
      drained: Effect.suspend(() =>
        Effect.repeat(Effect.sync(() => boxes.every(({ waiting }) => waiting.size === 0)), {
          until: (empty) => empty,
          schedule: Schedule.spaced(Duration.millis(10))
        })
      ).pipe(Effect.asVoid),
      reconcile: Effect.fnUntraced(function*(mirror) {
        const chosen = boxes.filter((box) => mirror === undefined || box.mirror.name === mirror)
        if (mirror !== undefined && chosen.length === 0) {
          return yield* new InvalidOptions({ module: "Outbox", field: "mirror", why: `is no mirror: ${mirror}` })
        }
        return yield* Effect.forEach(chosen, compare)
      })
    }
  }
)

/** What a delivery failed with, in one word; what no store tells by itself is unknown. */
const categoryOf = ({ name }: Party, cause: Cause.Cause<{ readonly _tag: string }>): string =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => table.UnknownError.category,
    onSome: (error) => Served.failure(name, error).category
  })

const chunks = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
