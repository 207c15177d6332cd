/** What outlives a process: the state of circuits and what their windows hold, as data. */
import { Schema } from "effect"
import type { CircuitCore } from "./circuitCore.ts"
import { initial, type State } from "./circuitState.ts"
import { SlidingWindow } from "./slidingWindow.ts"

const CircuitSnapshot = Schema.Struct({
  key: Schema.String,
  state: Schema.Literals(["Closed", "Open", "HalfOpen", "ForcedOpen", "Disabled"]),
  since: Schema.Finite,
  /** The end of the open time, or of the ramp of a closed circuit. */
  until: Schema.Finite,
  heldUntil: Schema.Finite,
  openings: Schema.Finite,
  openMillis: Schema.Finite,
  overdue: Schema.Int,
  /** What probes said so far. */
  successes: Schema.Int,
  failures: Schema.Int,
  consecutive: Schema.Finite,
  /** Calls, failures and slow calls of each bucket, oldest first. Restored only into a window of the same shape. */
  window: Schema.Struct({
    bucketMillis: Schema.Finite,
    ofCalls: Schema.Boolean,
    buckets: Schema.Array(Schema.Tuple([Schema.Finite, Schema.Finite, Schema.Finite]))
  })
})
type CircuitSnapshot = typeof CircuitSnapshot.Type

/** The circuits of a breaker at a time. Probes under way are not in it: their processes will not report to another. */
export const Snapshot = Schema.Struct({
  /** Epoch milliseconds. */
  at: Schema.Finite,
  circuits: Schema.Array(CircuitSnapshot)
})
export type Snapshot = typeof Snapshot.Type

export const take = (core: CircuitCore, now: number): CircuitSnapshot => {
  const state = core.current
  const { bucketMillis, ofCalls } = core.settings
  return {
    key: core.key,
    state: state._tag,
    since: state.since,
    until: state._tag === "Open" ? state.until : state._tag === "Closed" ? state.rampUntil : 0,
    heldUntil: state.heldUntil,
    openings: state.openings,
    openMillis: state.openMillis,
    overdue: state.overdue,
    successes: state._tag === "HalfOpen" ? state.successes : 0,
    failures: state._tag === "HalfOpen" ? state.failures : 0,
    consecutive: core.consecutive,
    window: { bucketMillis, ofCalls, buckets: core.buckets(now) }
  }
}

/** Puts the remembered circuit in the place of `core`. `at`: when the snapshot was taken. */
export const put = (core: CircuitCore, self: CircuitSnapshot, at: number, now: number): void => {
  const { bucketMillis, ofCalls, windowSize } = core.settings
  const sameShape = bucketMillis === self.window.bucketMillis && ofCalls === self.window.ofCalls &&
    windowSize === self.window.buckets.length
  const bucket = core.bucketOf(at)
  const window = sameShape
    ? SlidingWindow.from(windowSize, bucket, self.window.buckets)
    : new SlidingWindow(windowSize, bucket)
  core.restore(stateOf(self, at, core.current.generation + 1), self.consecutive, window, now)
}

const stateOf = (self: CircuitSnapshot, at: number, generation: number): State => {
  const { heldUntil, openMillis, openings, overdue, since } = self
  const common = { ...initial(since), generation, at, openings, openMillis, overdue, heldUntil }
  switch (self.state) {
    case "Closed":
      return { ...common, _tag: "Closed", rampUntil: self.until }
    case "Open":
      return { ...common, _tag: "Open", until: self.until }
    case "HalfOpen":
      return { ...common, _tag: "HalfOpen", probes: [], successes: self.successes, failures: self.failures }
    case "ForcedOpen":
    case "Disabled":
      return { ...common, _tag: self.state }
  }
}
