/** What telemetry follows of a service beside its calls: its circuits, its level, and the budget of its retries. */
import { Clock, Effect, type Scope, Stream } from "effect"
import type * as CircuitBreaker from "../CircuitBreaker.ts"
import type * as RetryBudget from "../RetryBudget.ts"
import type * as ServiceLevel from "../ServiceLevel.ts"
import { levels } from "./levelState.ts"
import { StateClock } from "./stateClock.ts"
import { WindowedCounts } from "./windowedCounts.ts"

/** What is to be followed. */
export interface Watched {
  readonly breaker?: Pick<CircuitBreaker.Service, "states" | "transitions"> | undefined
  readonly level?: Pick<ServiceLevel.Service, "current" | "changes"> | undefined
  readonly budget?: Pick<RetryBudget.Service, "core"> | undefined
}

/** `ReadyToProbe` is open still: no call has passed yet. */
const circuitStates = ["Closed", "Open", "HalfOpen", "ForcedOpen", "Disabled"] as const
type CircuitState = typeof circuitStates[number]

const stateOf = (state: CircuitBreaker.StateName): CircuitState => state === "ReadyToProbe" ? "Open" : state

/** A circuit over a window. */
export interface CircuitReading {
  readonly key: string
  readonly state: CircuitBreaker.StateName
  /** When the state began, in epoch milliseconds. */
  readonly since: number
  /** How often it opened. */
  readonly openings: number
  /** How long it was in each state, in milliseconds. */
  readonly millis: { readonly [S in CircuitState]: number }
}

/** A service's level over a window. */
export interface LevelReading {
  readonly level: ServiceLevel.Level
  /** How long it was at each, in milliseconds. */
  readonly millis: { readonly [L in ServiceLevel.Level]: number }
}

/** What pays for a provider's retries and hedges. */
export interface BudgetReading {
  /** The added attempts that can be paid now. */
  readonly left: number
  /** The most there can be. */
  readonly size: number
  /** Added attempts that did not take place for want of budget, over the window. */
  readonly exhausted: number
}

export interface Watch {
  /** `from` is what `windowStart` gives. */
  readonly circuits: (from: number) => Effect.Effect<ReadonlyArray<CircuitReading>>
  readonly level: (from: number) => Effect.Effect<LevelReading | undefined>
  readonly budget: (from: number) => Effect.Effect<BudgetReading | undefined>
  readonly reset: (now: number) => void
}

/** How often the budget is looked at where nobody reads. */
const budgetEvery = "5 seconds"

/** Follows until the scope closes. At most `maxCircuits` circuits are told of at a time. */
export const watch = Effect.fnUntraced(function*(
  { breaker, budget, level }: Watched,
  maxCircuits: number
): Effect.fn.Return<Watch, never, Scope.Scope> {
  const startedAt = yield* Clock.currentTimeMillis
  const circuitClocks = new Map<string, StateClock<CircuitState>>()
  /** From the start where it never changed since. */
  const circuitClock = (key: string, state: CircuitState, since: number) => {
    const known = circuitClocks.get(key)
    if (known !== undefined || circuitClocks.size >= maxCircuits) return known
    const made = new StateClock(circuitStates, state, Math.max(startedAt, since))
    circuitClocks.set(key, made)
    return made
  }
  if (breaker !== undefined) {
    for (const { key, since, state } of yield* breaker.states) circuitClock(key, stateOf(state), since)
    yield* breaker.transitions.pipe(
      Stream.runForEach(({ at, from, key, to }) =>
        Effect.sync(() => circuitClock(key, from, startedAt)?.moved(to, at))
      ),
      Effect.forkScoped({ startImmediately: true })
    )
  }

  const levelClock = level === undefined ? undefined : new StateClock(levels, yield* level.current, startedAt)
  if (level !== undefined) {
    yield* level.changes.pipe(
      Stream.runForEach(({ at, to }) => Effect.sync(() => levelClock?.moved(to, at))),
      Effect.forkScoped({ startImmediately: true })
    )
  }

  const refusals = new WindowedCounts(1)
  let refused = budget?.core.refused ?? 0
  const lookAtBudget = (now: number): void => {
    if (budget === undefined || budget.core.refused === refused) return
    refusals.add(0, budget.core.refused - refused, now)
    refused = budget.core.refused
  }
  if (budget !== undefined) {
    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(Effect.sleep(budgetEvery), Effect.map(Clock.currentTimeMillis, lookAtBudget)))
    )
  }

  return {
    circuits: Effect.fnUntraced(function*(from) {
      if (breaker === undefined) return []
      const now = yield* Clock.currentTimeMillis
      const states = yield* breaker.states
      // Circuits come and go with their keys: those that are gone leave their room to those that came.
      if (circuitClocks.size >= maxCircuits) {
        const keys = new Set(states.map(({ key }) => key))
        for (const key of circuitClocks.keys()) if (!keys.has(key)) circuitClocks.delete(key)
      }
      return states.flatMap(({ key, since, state }) => {
        const clock = circuitClock(key, stateOf(state), since)
        if (clock === undefined) return []
        clock.seen(stateOf(state), since)
        const { entered, millis } = clock.read(from, now)
        return [{ key, state, since, openings: entered.Open, millis }]
      })
    }),
    level: Effect.fnUntraced(function*(from) {
      if (level === undefined || levelClock === undefined) return undefined
      const now = yield* Clock.currentTimeMillis
      const current = yield* level.current
      levelClock.seen(current, now)
      return { level: current, millis: levelClock.read(from, now).millis }
    }),
    budget: Effect.fnUntraced(function*(from) {
      if (budget === undefined) return undefined
      const now = yield* Clock.currentTimeMillis
      lookAtBudget(now)
      const row = new Float64Array(1)
      refusals.addSince(from, row)
      return { left: budget.core.balance(now), size: budget.core.settings.bucket, exhausted: row[0]! }
    }),
    reset: (now) => {
      lookAtBudget(now)
      refusals.reset()
      levelClock?.reset(now)
      for (const clock of circuitClocks.values()) clock.reset(now)
    }
  }
})
