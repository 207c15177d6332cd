/**
 * What happened: typed facts that policies tell of when something notable happens (a transition, a retry, a fallback),
 * never per successful call. Whoever wants them provides a `Sink`; `EventLog` keeps a bounded history and a live stream.
 */
import { Clock, Context, Effect, Layer, PubSub, Schema, Stream } from "effect"
import { checked, checks } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

const fact = <const Tag extends string, Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
  Schema.TaggedStruct(tag, { /** Epoch milliseconds. */ at: Schema.Finite, ...fields })

/** A circuit changed its state. `key` is the circuit's name. */
export const BreakerChanged = fact("BreakerChanged", {
  key: Schema.String,
  from: Schema.String,
  to: Schema.String,
  reason: Schema.String,
  /** Until when calls are refused, where that is known. */
  until: Schema.optionalKey(Schema.Finite)
})

/** An attempt failed and another will follow. `attempt` counts from 1; `delayMillis` is the wait before the next. */
export const Retrying = fact("Retrying", {
  provider: Schema.String,
  operation: Schema.String,
  attempt: Schema.Int,
  delayMillis: Schema.Finite,
  category: Schema.String
})

/** A second attempt was started beside the first. */
export const Hedged = fact("Hedged", { provider: Schema.String, operation: Schema.String, attempt: Schema.Int })

/** A provider was given up on for this call. `to` is the next provider, or how the call was answered without one. */
export const FellBack = fact("FellBack", {
  service: Schema.String,
  operation: Schema.String,
  from: Schema.String,
  to: Schema.String,
  category: Schema.String
})

/** The service level moved. 0 is Full, 4 is Emergency. */
export const LevelChanged = fact("LevelChanged", {
  service: Schema.String,
  from: Schema.String,
  to: Schema.String,
  reason: Schema.String
})

/** A health check changed its mind. */
export const HealthChanged = fact("HealthChanged", {
  service: Schema.String,
  healthy: Schema.Boolean,
  reason: Schema.String
})

/** A write reached or failed to reach a mirror, a batch was resumed, and the like. */
export const Noted = fact("Noted", { subject: Schema.String, message: Schema.String })

/** Somebody changed something by hand. */
export const OperatorAction = fact("OperatorAction", {
  action: Schema.String,
  target: Schema.String,
  actor: Schema.String,
  detail: Schema.optionalKey(Schema.String)
})

/** An alert started or stopped firing. */
export const AlertChanged = fact("AlertChanged", {
  rule: Schema.String,
  firing: Schema.Boolean,
  severity: Schema.String,
  message: Schema.String
})

/** Settings were replaced. */
export const SettingsChanged = fact("SettingsChanged", { fields: Schema.Array(Schema.String), source: Schema.String })

/** A fault was injected on purpose. */
export const ChaosInjected = fact("ChaosInjected", {
  provider: Schema.String,
  operation: Schema.String,
  fault: Schema.String
})

export const Event = Schema.Union([
  BreakerChanged,
  Retrying,
  Hedged,
  FellBack,
  LevelChanged,
  HealthChanged,
  Noted,
  OperatorAction,
  AlertChanged,
  SettingsChanged,
  ChaosInjected
])
export type Event = typeof Event.Type

/** Takes an event at once; must not throw. `undefined` means that nobody listens, so that no event need be built. */
export type Sink = ((event: Event) => void) | undefined

/** Where events go. Nobody listens by default. */
export const Sink = Context.Reference<Sink>("holdfast/Event/Sink", { defaultValue: () => undefined })

/** An event with its place in the log. `seq` grows by one. */
export interface Entry {
  readonly seq: number
  readonly event: Event
}

export interface Options {
  /**
   * How many events the history keeps of those that single calls cause, such as retries and fallbacks, and as many of all
   * others: an outage's thousands of fallbacks do not push out the transition that began it. Defaults to 1,000.
   */
  readonly capacity?: number | undefined
}

/** What single calls cause. */
const perCall: ReadonlySet<Event["_tag"]> = new Set(["Retrying", "Hedged", "FellBack", "ChaosInjected"])

/** A bounded history of events and a live stream of them. */
export class EventLog extends Context.Service<EventLog, {
  /** When this log began, in epoch milliseconds: tells entries of another process apart. */
  readonly epoch: number
  readonly publish: (event: Event) => Effect.Effect<void>
  /** The entries kept, oldest first, with `seq` above `after`. */
  readonly history: (after?: number) => Effect.Effect<ReadonlyArray<Entry>>
  /** The entries kept with `seq` above `after`, then every new one: no gap, no duplicate. A slow reader loses the oldest. */
  readonly since: (after?: number) => Stream.Stream<Entry>
}>()("holdfast/Event/EventLog") {
  /** The log, and the `Sink` that feeds it. */
  static readonly layer = (options?: Options): Layer.Layer<EventLog, InvalidOptions> =>
    Layer.effectContext(
      Effect.map(make(options), ({ log, sink }) => Context.make(EventLog, log).pipe(Context.add(Sink, sink)))
    )
}

const make = Effect.fnUntraced(function*(options?: Options) {
  const capacity = yield* checked(() => checks("Event").int("capacity", options?.capacity, 1_000))
  const epoch = yield* Clock.currentTimeMillis
  const ofCalls: Array<Entry> = []
  const others: Array<Entry> = []
  let seq = 0
  const pubsub = yield* Effect.acquireRelease(PubSub.sliding<Entry>(256), PubSub.shutdown)

  const sink = (event: Event): void => {
    const entry: Entry = { seq: ++seq, event }
    const entries = perCall.has(event._tag) ? ofCalls : others
    entries.push(entry)
    // A quarter more, then cut: amortised constant, where a shift per event would move the whole array.
    if (entries.length >= capacity * 1.25) entries.splice(0, entries.length - capacity)
    PubSub.publishUnsafe(pubsub, entry)
  }
  const kept = (after: number): ReadonlyArray<Entry> =>
    [ofCalls, others]
      .flatMap((entries) => entries.slice(-capacity).filter((entry) => entry.seq > after))
      .sort((a, b) => a.seq - b.seq)

  const log = EventLog.of({
    epoch,
    publish: (event) => Effect.sync(() => sink(event)),
    history: (after = 0) => Effect.sync(() => kept(after)),
    since: (after = 0) =>
      Stream.unwrap(Effect.gen(function*() {
        const subscription = yield* PubSub.subscribe(pubsub)
        const past = kept(after)
        const last = past.at(-1)?.seq ?? Math.max(after, seq)
        return Stream.fromIterable(past).pipe(
          Stream.concat(Stream.fromSubscription(subscription).pipe(Stream.filter((entry) => entry.seq > last)))
        )
      }))
  })
  return { log, sink }
})
