/** What an operator sees at one instant, as the API, the event stream and the dashboard show it. */
import { Schema } from "effect"
import { Alert } from "../Alerts.ts"
import { State } from "../Health.ts"

const Count = Schema.Int
const Millis = Schema.NullOr(Schema.Finite)
const Share = Schema.NullOr(Schema.Finite)

/** A circuit, and from where on it opens. */
export const CircuitView = Schema.Struct({
  key: Schema.String,
  /** Whom it guards. */
  provider: Schema.String,
  state: Schema.Literals(["Closed", "Open", "ReadyToProbe", "HalfOpen", "ForcedOpen", "Disabled"]),
  since: Schema.Finite,
  /** Milliseconds until a call may pass; `null` when an operator decides. */
  retryAfterMillis: Millis,
  calls: Count,
  failures: Count,
  slow: Count,
  consecutiveFailures: Count,
  trips: Count,
  refused: Count,
  /** What opens it; `null` for what never does. */
  opensAt: Schema.Struct({
    /** The share of failures, once there were `minimumCalls`. */
    failureRate: Share,
    slowCallRate: Share,
    minimumCalls: Count,
    consecutiveFailures: Schema.NullOr(Count)
  })
})
export type CircuitView = typeof CircuitView.Type

export const LevelView = Schema.Struct({
  service: Schema.String,
  /** 0 is Full, 4 is Emergency. */
  rank: Count,
  name: Schema.String,
  since: Schema.Finite,
  reasons: Schema.Array(Schema.String),
  /** While an operator holds it: until when, in epoch milliseconds; `null` until it is released. */
  heldUntil: Schema.optionalKey(Schema.NullOr(Schema.Finite))
})

/** How fast the error budget burns over a window: 1 spends it in 30 days. `null` without calls. */
const Burn = Schema.Struct({ rate: Schema.NullOr(Schema.Finite), calls: Count })

/** What was counted of a service's calls. */
const counted = {
  successful: Count,
  failed: Count,
  refused: Count,
  cancelled: Count,
  retried: Count,
  hedged: Count,
  fallbacks: Count,
  cache: Schema.Struct({ hit: Count, stale: Count, miss: Count, coalesced: Count }),
  /** Of searches. */
  completeness: Schema.Struct({ complete: Count, partial: Count, stale: Count, lexical: Count, failed: Count })
}

/** In milliseconds. */
const Latency = Schema.Struct({ p50: Millis, p95: Millis, p99: Millis })

/** Counters since the start or the last reset: the reader takes differences. */
export const ServiceView = Schema.Struct({
  service: Schema.String,
  inFlight: Count,
  total: Count,
  ...counted,
  errors: Schema.Record(Schema.String, Count),
  /** Over the last five minutes. */
  latency: Latency,
  /** Against an objective of 99 %. */
  burn: Schema.Struct({ "5m": Burn, "30m": Burn, "1h": Burn, "6h": Burn }),
  /** What pays for retries and hedges: added attempts left of the most there can be, and how often there were none. */
  retryBudget: Schema.NullOr(Schema.Struct({ left: Schema.Finite, size: Schema.Finite, exhausted: Count }))
})

/** Where calls went from a provider that was given up on. */
export const FlowView = Schema.Struct({
  service: Schema.String,
  from: Schema.String,
  to: Schema.String,
  mode: Schema.String,
  count: Count
})

/** How far a mirror is behind. */
export const MirrorView = Schema.Struct({
  mirror: Schema.String,
  pending: Count,
  oldestMillis: Schema.Finite,
  refused: Count
})

const standing = {
  at: Schema.Finite,
  circuits: Schema.Array(CircuitView),
  levels: Schema.Array(LevelView),
  /** What may run at once, and does. */
  capacity: Schema.Array(Schema.Struct({ name: Schema.String, running: Count, limit: Count, queued: Count })),
  /** Calls that may start at once under our own rate limits. */
  rateLimits: Schema.Array(Schema.Struct({ name: Schema.String, remaining: Schema.Finite })),
  mirrors: Schema.Array(MirrorView)
}

/** What stands, without what was counted. */
export const Standing = Schema.Struct(standing)
export type Standing = typeof Standing.Type

/** Everything at one instant: whoever comes late needs no history. */
export const Snapshot = Schema.Struct({
  ...standing,
  startedAt: Schema.Finite,
  health: Schema.Array(Schema.Struct({ name: Schema.String, state: State, reasons: Schema.Array(Schema.String) })),
  services: Schema.Array(ServiceView),
  flows: Schema.Array(FlowView),
  alerts: Schema.Array(Alert),
  /** The plan that runs, until when (epoch milliseconds) and what it has done. */
  chaos: Schema.NullOr(
    Schema.Struct({ rules: Count, until: Schema.NullOr(Schema.Finite), calls: Count, faults: Count })
  )
})
export type Snapshot = typeof Snapshot.Type

/** One minute of a service, for charts. */
export const MinuteView = Schema.Struct({
  /** When it began, in epoch milliseconds. */
  at: Schema.Finite,
  ...counted,
  latency: Latency
})
