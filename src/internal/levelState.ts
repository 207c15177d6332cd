/**
 * When a service's level moves: quickly down, slowly up, one level at a time, and never by one bad moment. Pure; time is
 * passed in, as epoch milliseconds.
 */

/** From most to least able; the index is the rank. */
export const levels = ["Full", "Reduced", "Basic", "Minimal", "Emergency"] as const
export type Level = typeof levels[number]

export const rankOf = (level: Level): number => levels.indexOf(level)

/** The level of a rank; beyond the ends, the end. */
export const levelOf = (rank: number): Level => levels[Math.min(4, Math.max(0, Math.trunc(rank) || 0))]!

export interface LevelSettings {
  /** How many bad checks in a row move the level down. */
  readonly badChecks: number
  /** Bad checks that follow sooner than this count as one. */
  readonly spacingMillis: number
  /** How long checks must be good, and the level at rest, before it moves up. */
  readonly dwellMillis: number
}

/** Why the level went down. */
export interface Reason {
  readonly at: number
  readonly reason: string
  /** Who moved it. */
  readonly by: "Check" | "Caller" | "Operator"
}

export interface LevelState {
  readonly level: Level
  /** The latest time this state has seen; a clock behind it was set back. */
  readonly at: number
  /** When it was last moved. */
  readonly since: number
  /** Bad checks in a row that count. */
  readonly bad: number
  readonly lastBad: number
  /** Since when checks are good, where the last one was. */
  readonly goodSince: number | undefined
  /** Newest last; empty at Full. */
  readonly reasons: ReadonlyArray<Reason>
}

export const initial = (now: number): LevelState => ({
  level: "Full",
  at: now,
  since: now,
  bad: 0,
  lastBad: -Infinity,
  goodSince: undefined,
  reasons: []
})

/** How many reasons are kept. */
export const maxReasons = 20

/** The same state at `now`. On a clock that was set back, what was left to wait is left to wait. */
const seen = (state: LevelState, now: number): LevelState => {
  const by = Math.min(0, now - state.at)
  return {
    ...state,
    at: now,
    since: state.since + by,
    lastBad: state.lastBad + by,
    goodSince: state.goodSince === undefined ? undefined : state.goodSince + by
  }
}

/** The level put where somebody wants it. What was counted so far is forgotten. */
export const moved = (before: LevelState, level: Level, now: number, reason?: Reason): LevelState => {
  const state = seen(before, now)
  const reasons = level === "Full"
    ? []
    : reason === undefined
    ? state.reasons
    : [...state.reasons, reason].slice(-maxReasons)
  return level === state.level
    ? { ...state, reasons }
    : { level, at: now, since: now, bad: 0, lastBad: -Infinity, goodSince: undefined, reasons }
}

/** A check that finds `target` the right level moves the level by one step at most. */
export const checked = (
  before: LevelState,
  target: Level,
  reason: string,
  now: number,
  { badChecks, dwellMillis, spacingMillis }: LevelSettings
): LevelState => {
  const state = seen(before, now)
  const rank = rankOf(state.level)
  const wanted = rankOf(target)
  if (wanted > rank) {
    const counts = now - state.lastBad >= spacingMillis
    const bad = counts ? state.bad + 1 : state.bad
    const lastBad = counts ? now : state.lastBad
    if (!counts || bad < badChecks) return { ...state, bad, lastBad, goodSince: undefined }
    const next = moved(state, levelOf(rank + 1), now, { at: now, reason, by: "Check" })
    // Where it calls for worse still, the check that moved the level is the first against the next.
    return wanted > rank + 1 ? { ...next, bad: 1, lastBad } : next
  }
  const goodSince = wanted < rank ? state.goodSince ?? now : undefined
  const good: LevelState = { ...state, bad: 0, lastBad: -Infinity, goodSince }
  return goodSince !== undefined && now - Math.max(goodSince, state.since) >= dwellMillis
    ? { ...moved(good, levelOf(rank - 1), now), goodSince: wanted < rank - 1 ? now : undefined }
    : good
}

/** A level that holds whatever the checks say, until it expires. */
export interface Override {
  readonly level: Level
  readonly since: number
  readonly until: number
  readonly reason: string
}

/** The level on offer. */
export const effective = (state: LevelState, override: Override | undefined, now: number): Level =>
  override !== undefined && now < override.until ? override.level : state.level

/**
 * The level that providers can hold, by who of them may be asked, first choice first.
 *
 * | first choice | others        | level     |
 * | ------------ | ------------- | --------- |
 * | up           | all up        | Full      |
 * | up           | some down     | Reduced   |
 * | down         | all up        | Basic     |
 * | down         | some up       | Minimal   |
 * | down         | none up       | Emergency |
 */
export const levelOfProviders = (up: ReadonlyArray<boolean>): Level => {
  const [first, ...others] = up
  const othersUp = others.filter((is) => is).length
  if (first === true) return othersUp === others.length ? "Full" : "Reduced"
  return othersUp === 0 ? "Emergency" : othersUp === others.length ? "Basic" : "Minimal"
}
