/**
 * Circuits, levels, bulkheads, limits, mirrors and events as Effect metrics, so that Prometheus and OTLP show what the
 * dashboard shows. The names are resilience4j's, but for the prefix: its Grafana panels work by renaming.
 */
import { Effect, Layer, Schedule } from "effect"
import type { EventLog } from "../Event.ts"
import { type Family, gauge, type Labels, type Shown } from "../internal/metricRegistry.ts"
import * as EventMetrics from "./EventMetrics.ts"
import { Operations } from "./Operations.ts"
import type { CircuitView, Standing } from "./Snapshot.ts"

const families = {
  state: ["ft_breaker_state", "1 for the state that the circuit is in"],
  failureRatio: ["ft_breaker_failure_ratio", "Share of failures in the circuit's window; absent while that is empty"],
  slowRatio: ["ft_breaker_slow_call_ratio", "Share of slow calls in the circuit's window; absent while that is empty"],
  buffered: ["ft_breaker_buffered_calls", "Calls in the circuit's window"],
  level: ["ft_service_level", "0 is Full, 4 is Emergency"],
  bulkhead: ["ft_bulkhead_available", "Calls that may still begin"],
  rateLimit: ["ft_ratelimit_remaining", "Calls that may start at once under our own rate limit"],
  pending: ["ft_outbox_pending_documents", "Documents whose newest state a mirror has not got"],
  oldest: ["ft_outbox_oldest_seconds", "How long the oldest of them waits"],
  refused: ["ft_outbox_refused_documents", "Documents that a mirror refused for what they are"]
} as const satisfies { readonly [name: string]: Family }

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

type Figure = readonly [Family, Labels, value: number]

const ofCircuit = ({ calls, failures, key, slow, state }: CircuitView): ReadonlyArray<Figure> => [
  ...states.map((one): Figure => [families.state, { key, state: one }, stateOf[state] === one ? 1 : 0]),
  ...Object.entries({ failed: failures, successful: calls - failures, slow }).map(
    ([kind, count]): Figure => [families.buffered, { key, kind }, count]
  ),
  // Of nothing there is no share.
  ...(calls === 0 ? [] : [
    [families.failureRatio, { key }, failures / calls],
    [families.slowRatio, { key }, slow / calls]
  ] satisfies ReadonlyArray<Figure>)
]

const figuresOf = (standing: Standing): ReadonlyArray<Figure> => [
  ...standing.circuits.flatMap(ofCircuit),
  ...standing.levels.map(({ rank, service }): Figure => [families.level, { service }, rank]),
  ...standing.capacity.map(({ limit, name, running }): Figure => [
    families.bulkhead,
    { service: name },
    Math.max(0, limit - running)
  ]),
  ...standing.rateLimits.map(({ name, remaining }): Figure => [families.rateLimit, { service: name }, remaining]),
  ...standing.mirrors.flatMap(({ mirror, oldestMillis, pending, refused }): ReadonlyArray<Figure> => [
    [families.pending, { mirror }, pending],
    [families.oldest, { mirror }, oldestMillis / 1_000],
    [families.refused, { mirror }, refused]
  ])
]

/** Registers what there is every second; the figures are from then. */
const standing = Layer.effectDiscard(Effect.gen(function*() {
  const operations = yield* Operations
  const context = yield* Effect.context()
  const shown = new Map<string, { readonly now: { value: number }; readonly series: Shown }>()
  yield* Effect.addFinalizer(() => Effect.sync(() => shown.forEach(({ series }) => series.remove())))

  const refresh = Effect.map(operations.standing, (standing) => {
    const gone = new Set(shown.keys())
    for (const [family, labels, value] of figuresOf(standing)) {
      const id = JSON.stringify([family[0], labels])
      gone.delete(id)
      const known = shown.get(id)
      const now = known?.now ?? { value }
      now.value = value
      if (known === undefined) shown.set(id, { now, series: gauge(context, family, labels, () => now.value) })
    }
    for (const id of gone) {
      shown.get(id)?.series.remove()
      shown.delete(id)
    }
  })
  yield* refresh
  yield* Effect.forkScoped(Effect.repeat(refresh, Schedule.spaced("1 second")))
}))

export const layer: Layer.Layer<never, never, Operations | EventLog> = Layer.merge(standing, EventMetrics.layer)
