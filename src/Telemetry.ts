/** One source for every view of what happened: counters and latency histograms by service and operation. */
import { Context } from "effect"
import type { ReasonTag } from "./ProviderError.ts"

/** How a call ended. `refused`: no provider was asked (circuit open, bulkhead full, level too low). */
export type CallOutcome = "success" | "failure" | "cancelled" | "refused"

/** Whether a cache answered. */
export type CacheResult = "hit" | "stale" | "miss" | "coalesced"

/** The counters of one service's operation. Plain, synchronous, never throws; `now` is epoch milliseconds. */
export interface Recorder {
  readonly begin: (now: number) => void
  /** Every `begin` is followed by exactly one `end`. */
  readonly end: (outcome: CallOutcome, latencyMillis: number, now: number) => void
  readonly error: (category: ReasonTag, now: number) => void
  readonly retry: (now: number) => void
  readonly hedge: (now: number) => void
  readonly breakerTrip: (now: number) => void
  readonly fallback: (from: string, to: string, now: number) => void
  readonly cache: (result: CacheResult, now: number) => void
}

export interface Telemetry {
  /** The recorder of a service (or provider) and operation; the same one for the same names. */
  readonly recorder: (service: string, operation: string) => Recorder
}

/** Where calls are counted. Nothing is counted by default. */
export const Telemetry = Context.Reference<Telemetry | undefined>("holdfast/Telemetry", {
  defaultValue: () => undefined
})
