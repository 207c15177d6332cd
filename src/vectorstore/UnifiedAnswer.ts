/** What a unified store answers: the hits, who found them and how, and what is missing. */
import { type Duration, Predicate } from "effect"
import { refusals, type Served } from "../Served.ts"
import type { Completeness } from "../Telemetry.ts"
import type { Hit, Loss, SearchAnswer, SearchMode } from "./VectorStore.ts"

/** A hit with its place in each source that has it, counted from 1. */
export interface UnifiedHit extends Hit {
  readonly ranks?: Readonly<Record<string, number>>
}

/** A source's part in an answer. */
export interface SourceAnswer {
  readonly source: string
  readonly mode: SearchMode
  readonly hits: number
  readonly tookMillis: number
  /** How often it was asked. */
  readonly attempts: number
}

export interface UnifiedAnswer extends SearchAnswer {
  readonly hits: ReadonlyArray<UnifiedHit>
  readonly answered: ReadonlyArray<SourceAnswer>
  /** Sources that were not asked because they cannot search so. */
  readonly unfit: ReadonlyArray<Unfit>
}

/** A source that has not the mode asked for, or whose vectors are of another space than the one given. */
export interface Unfit {
  readonly source: string
  readonly reason: "ModeUnsupported" | "SpaceUnsupported"
}

/** What became of a source in a search. */
export type SourceOutcome =
  | SourceAnswer & { readonly _tag: "Answered" }
  | { readonly _tag: "FromCache"; readonly source: string; readonly ageMillis: number }
  | {
    readonly _tag: "Failed"
    readonly source: string
    readonly category: string
    readonly retryAfter?: Duration.Duration
  }
  /** It did not answer in its time; a search of all did not wait longer. */
  | { readonly _tag: "TimedOut"; readonly source: string }
  /** It was not asked: its circuit is open, it is full, or it cannot search so. */
  | {
    readonly _tag: "Skipped"
    readonly source: string
    readonly reason: string
    readonly retryAfter?: Duration.Duration
  }

/** What an answer lacks against the best there is. */
export type Lost =
  | { readonly _tag: "SourceMissing"; readonly source: string }
  | { readonly _tag: "Stale"; readonly ageMillis: number }
  | { readonly _tag: Loss }

/** An answer as a caller must take it: complete, or with every loss named. */
export type SearchResult =
  | {
    readonly _tag: "Complete"
    readonly hits: ReadonlyArray<UnifiedHit>
    readonly sources: ReadonlyArray<SourceOutcome>
  }
  | {
    readonly _tag: "Degraded"
    readonly hits: ReadonlyArray<UnifiedHit>
    readonly sources: ReadonlyArray<SourceOutcome>
    readonly lost: readonly [Lost, ...ReadonlyArray<Lost>]
  }

const lateness: ReadonlySet<string> = new Set(["NotWaitedFor", "TIMEOUT", "DeadlineExceeded"])

/** What became of each source. */
export const outcomes = (served: Served<UnifiedAnswer>): ReadonlyArray<SourceOutcome> => {
  const { answered, unfit } = served.value
  const fromCache = served._tag === "Cached" || served._tag === "Stale"
  return [
    ...answered.map((it): SourceOutcome =>
      fromCache
        ? { _tag: "FromCache", source: it.source, ageMillis: served.age }
        : Object.assign({ _tag: "Answered" as const }, it)
    ),
    ...served.failures.map(({ category, provider: source, retryAfter }): SourceOutcome => {
      const wait = retryAfter === undefined ? {} : { retryAfter }
      return refusals.has(category)
        ? { _tag: "Skipped", source, reason: category, ...wait }
        : lateness.has(category)
        ? { _tag: "TimedOut", source }
        : { _tag: "Failed", source, category, ...wait }
    }),
    ...unfit.map(({ reason, source }): SourceOutcome => ({ _tag: "Skipped", source, reason }))
  ]
}

/** An answer as complete or degraded, with every loss. */
export const describe = (served: Served<UnifiedAnswer>): SearchResult => {
  const { hits, losses } = served.value
  const sources = outcomes(served)
  const missing = new Set([
    ...served.failures.map(({ provider }) => provider),
    ...(served._tag === "Partial" ? served.missing : [])
  ])
  const [first, ...rest]: ReadonlyArray<Lost> = [
    ...Array.from(missing, (source) => ({ _tag: "SourceMissing" as const, source })),
    ...(served._tag === "Stale" ? [{ _tag: "Stale" as const, ageMillis: served.age }] : []),
    ...losses.map((_tag) => ({ _tag }))
  ]
  return first === undefined
    ? { _tag: "Complete", hits, sources }
    : { _tag: "Degraded", hits, sources, lost: [first, ...rest] }
}

/** How many losses an answer tells, whatever it is an answer to. */
export const lossesIn = (value: unknown): number =>
  Predicate.hasProperty(value, "losses") && Array.isArray(value.losses) ? value.losses.length : 0

/** How complete an answer is, as metrics tell it. */
export const completenessOf = (served: Served<UnifiedAnswer>): Completeness =>
  served._tag === "Stale"
    ? "stale"
    : served.value.losses.includes("LexicalInsteadOfVector")
    ? "lexical"
    : describe(served)._tag === "Degraded"
    ? "partial"
    : "complete"
