/**
 * Circuits, levels, bulkheads and events as Effect metrics, so that Prometheus and OTLP show what the dashboard shows.
 * The names are resilience4j's, but for the prefix: its Grafana panels work by renaming.
 */
import { Effect, Layer, Metric, Schedule, Stream } from "effect"
import { Event, EventLog } from "../Event.ts"
import { Operations, type Snapshot } from "./Operations.ts"

const states = ["closed", "open", "half_open", "forced_open", "disabled"] as const

/** A circuit that waits for its first probe is open still. */
const stateOf = {
  Closed: "closed",
  Open: "open",
  ReadyToProbe: "open",
  HalfOpen: "half_open",
  ForcedOpen: "forced_open",
  Disabled: "disabled"
} as const

type Circuit = Snapshot["circuits"][number]

const noop = (): void => {}

/** Registers what there is every second; the figures are those of the last snapshot. */
export const layer: Layer.Layer<never, never, Operations | EventLog> = Layer.effectDiscard(Effect.gen(function*() {
  const operations = yield* Operations
  const log = yield* EventLog
  const context = yield* Effect.context()
  const registered = new Map<string, Metric.Registration>()
  yield* Effect.addFinalizer(() => Effect.sync(() => registered.forEach((registration) => registration.remove())))

  const gauge = (name: string, description: string, attributes: Record<string, string>, value: () => number) =>
    Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
      get: () => ({ value: value() }),
      update: noop,
      modify: noop
    })

  let latest = yield* operations.snapshot
  const circuit = (key: string): Circuit | undefined => latest.circuits.find((it) => it.key === key)

  const refresh = Effect.gen(function*() {
    latest = yield* operations.snapshot
    const wanted = new Map<string, () => Metric.Registration>()
    for (const { key } of latest.circuits) {
      for (const state of states) {
        wanted.set(
          `state ${key} ${state}`,
          () =>
            gauge("ft_breaker_state", "1 for the state that the circuit is in", { key, state }, () => {
              const now = circuit(key)
              return now !== undefined && stateOf[now.state] === state ? 1 : 0
            })
        )
      }
      wanted.set(
        `ratio ${key}`,
        () =>
          gauge("ft_breaker_failure_ratio", "Share of failures in the circuit's window", { key }, () => {
            const now = circuit(key)
            return now === undefined || now.calls === 0 ? 0 : now.failures / now.calls
          })
      )
      for (const [kind, count] of Object.entries(buffered)) {
        wanted.set(
          `buffered ${key} ${kind}`,
          () =>
            gauge("ft_breaker_buffered_calls", "Calls in the circuit's window", { key, kind }, () => {
              const now = circuit(key)
              return now === undefined ? 0 : count(now)
            })
        )
      }
    }
    for (const { service } of latest.levels) {
      wanted.set(
        `level ${service}`,
        () =>
          gauge(
            "ft_service_level",
            "0 is Full, 4 is Emergency",
            { service },
            () => latest.levels.find((it) => it.service === service)?.rank ?? 0
          )
      )
    }
    for (const { name } of latest.capacity) {
      wanted.set(
        `available ${name}`,
        () =>
          gauge("ft_bulkhead_available", "Calls that may still begin", { service: name }, () => {
            const now = latest.capacity.find((it) => it.name === name)
            return now === undefined ? 0 : Math.max(0, now.limit - now.running)
          })
      )
    }
    for (const [id, registration] of registered) {
      if (wanted.has(id)) continue
      registration.remove()
      registered.delete(id)
    }
    for (const [id, register] of wanted) {
      if (!registered.has(id)) registered.set(id, register())
    }
  })

  // Every event there can be, at 0 from the start.
  const events = new Map(Event.members.map((member) => [
    member.fields._tag.schema.literal,
    Metric.counter("ft_events_total", {
      description: "Notable things that happened",
      attributes: { event: member.fields._tag.schema.literal },
      incremental: true
    })
  ]))
  yield* Effect.forEach(events.values(), (counter) => Metric.update(counter, 0), { discard: true })
  yield* Effect.forkScoped(Stream.runForEach(log.since(), ({ event }) => Metric.update(events.get(event._tag)!, 1)))

  yield* refresh
  yield* Effect.forkScoped(Effect.repeat(refresh, Schedule.spaced("1 second")))
}))

const buffered: { readonly [kind: string]: (circuit: Circuit) => number } = {
  failed: ({ failures }) => failures,
  successful: ({ calls, failures }) => calls - failures,
  slow: ({ slow }) => slow
}
