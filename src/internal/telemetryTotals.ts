/** What was counted, as people read it. */
import { Record } from "effect"
import type { ReasonTag } from "../ProviderError.ts"
import { errorField } from "./telemetryMetrics.ts"
import * as series from "./telemetrySeries.ts"
import type { Row } from "./windowedCounts.ts"

/** Whether a cache answered. */
export type CacheResult = "hit" | "stale" | "miss" | "coalesced"

/**
 * How good the answer to a search was: of old, by words where meaning was wanted, without some of what was asked, or none.
 * What is several of these counts as the first that fits, in the order `failed`, `stale`, `lexical`, `partial`.
 */
export type Completeness = "complete" | "partial" | "stale" | "lexical" | "failed"

/** Latencies of the calls that succeeded or failed, in milliseconds; `null` where there were none. */
export interface Latency {
  readonly mean: number | null
  readonly p50: number | null
  readonly p90: number | null
  readonly p95: number | null
  readonly p99: number | null
}

/** What was counted. At every instant `total = successful + failed + cancelled`. */
export interface Totals {
  /** Calls that ended. */
  readonly total: number
  readonly successful: number
  /** With those refused before any provider was asked. */
  readonly failed: number
  readonly refused: number
  readonly cancelled: number
  /** Attempts after the first. */
  readonly retried: number
  readonly hedged: number
  readonly breakerTrips: number
  /** Providers given up on for a call. */
  readonly fallbacks: number
  readonly cache: { readonly [Result in CacheResult]: number }
  /** Answers to searches. */
  readonly completeness: { readonly [C in Completeness]: number }
  /** Attempts that failed, by category. */
  readonly errors: { readonly [Tag in ReasonTag]: number }
  readonly latency: Latency
  /** Share of successes, 0 to 1; `null` without calls. */
  readonly successRate: number | null
  /** Share of failures, 0 to 1; `null` without calls. */
  readonly errorRate: number | null
}

export const cacheField = {
  hit: series.field.cacheHit,
  stale: series.field.cacheStale,
  miss: series.field.cacheMiss,
  coalesced: series.field.cacheCoalesced
} as const satisfies { readonly [Result in CacheResult]: number }

export const totals = (row: Row): Totals => {
  const of = (index: number): number => row[index]!
  const { field } = series
  const successful = of(field.success)
  const refused = of(field.refused)
  const failed = of(field.failure) + refused
  const cancelled = of(field.cancelled)
  const total = successful + failed + cancelled
  return {
    total,
    successful,
    failed,
    refused,
    cancelled,
    retried: of(field.retry),
    hedged: of(field.hedge),
    breakerTrips: of(field.breakerTrip),
    fallbacks: of(field.fallback),
    cache: {
      hit: of(cacheField.hit),
      stale: of(cacheField.stale),
      miss: of(cacheField.miss),
      coalesced: of(cacheField.coalesced)
    },
    completeness: {
      complete: of(field.complete),
      partial: of(field.partial),
      stale: of(field.stale),
      lexical: of(field.lexical),
      failed: of(field.failed)
    },
    errors: Record.map(errorField, of),
    latency: {
      mean: series.meanLatency(row),
      p50: series.quantile(row, 0.5),
      p90: series.quantile(row, 0.9),
      p95: series.quantile(row, 0.95),
      p99: series.quantile(row, 0.99)
    },
    successRate: total === 0 ? null : successful / total,
    errorRate: total === 0 ? null : failed / total
  }
}
