/**
 * How much of a service is on offer: five levels, moved by checks over time, so that an operation that needs more than
 * there is can be refused at once. The level recovers by itself, without traffic.
 */
import { Clock, Context, Duration, Effect, Layer, MutableRef, Option, PubSub, Schema, type Scope, Stream } from "effect"
import * as Event from "./Event.ts"
import * as internal from "./internal/levelState.ts"
import { checked, checks } from "./internal/options.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import * as Timeout from "./Timeout.ts"

/** From most to least able. */
export const Level = Schema.Literals(internal.levels)
export type Level = internal.Level

/** A level, or its rank: 0 is Full, 4 is Emergency. A rank outside of that is taken as the nearest. */
export type LevelInput = Level | number

/** The rank of a level: 0 for Full to 4 for Emergency. */
export const rank = (level: LevelInput): number =>
  internal.rankOf(typeof level === "number" ? internal.levelOf(level) : level)

/** The specification's names. */
export const names = {
  Full: "full_service",
  Reduced: "reduced_functionality",
  Basic: "basic_service",
  Minimal: "minimal_service",
  Emergency: "emergency_mode"
} as const satisfies { readonly [L in Level]: string }

export type Reason = internal.Reason

/** The level on offer is worse than the worst that the operation tolerates. */
export class LevelTooLow extends Schema.TaggedError<LevelTooLow>()("LevelTooLow", {
  service: Schema.String,
  /** The worst level that the operation tolerates. */
  required: Level,
  actual: Level
}) {
  override get message(): string {
    return `${this.service} offers level ${this.actual}; this needs ${this.required} or better`
  }
}

/** What a check finds: the best level that can be held, and why it is not Full. */
export interface Reading {
  readonly target: Level
  readonly reason: string
}

export interface Check {
  readonly name: string
  readonly check: Effect.Effect<Reading>
}

/** A health check as a check: where it fails, or answers `false`, no better level than `worst` can be held. */
export const healthCheck = (
  name: string,
  health: Effect.Effect<unknown, unknown>,
  worst: Level = "Emergency"
): Check => {
  const bad: Reading = { target: worst, reason: `${name} is unhealthy` }
  return {
    name,
    check: Effect.match(health, {
      onFailure: () => bad,
      onSuccess: (answer) => answer === false ? bad : { target: "Full", reason: "" }
    })
  }
}

export interface Options {
  /** Names the service in errors and events. Defaults to `"service"`. */
  readonly service?: string | undefined
  /** What the level is driven by; the worst reading counts. Defaults to none: then only callers and operators move it. */
  readonly checks?: ReadonlyArray<Check> | undefined
  /** How often the checks are made, and how long each may take. Defaults to `"5 seconds"`. */
  readonly checkEvery?: Duration.Input | undefined
  /** How many bad checks in a row move the level down by one. Defaults to 2. */
  readonly badChecks?: number | undefined
  /** Bad checks that follow each other sooner count as one. Defaults to `"5 seconds"`. */
  readonly spacing?: Duration.Input | undefined
  /** How long checks must be good before the level moves up by one. Defaults to `"30 seconds"`. */
  readonly dwell?: Duration.Input | undefined
}

export interface Status {
  readonly level: Level
  readonly rank: number
  /** The specification's name. */
  readonly name: string
  readonly isDegraded: boolean
  /** Why the level went down, oldest first; the last 20, and none at Full. */
  readonly reasons: ReadonlyArray<Reason>
  /** When the level was last moved, in epoch milliseconds. */
  readonly since: number
  /** The level that an operator holds it at, since when and until when (epoch milliseconds) and why. */
  readonly override: internal.Override | undefined
}

export interface Change {
  readonly at: number
  readonly from: Level
  readonly to: Level
  readonly reason: string
}

export interface Service {
  readonly service: string
  readonly current: Effect.Effect<Level>
  readonly status: Effect.Effect<Status>
  /** Moves down by one level, or at least to the level given. */
  readonly degrade: (reason: string, level?: LevelInput) => Effect.Effect<Level>
  /** Moves up by so many whole levels, 1 by default; less than one, and what is no number, moves nothing. */
  readonly recover: (steps?: number) => Effect.Effect<Level>
  /** Back to Full, without reasons and without override. */
  readonly reset: Effect.Effect<void>
  /** What a check does: moves the level by one step at most, and only when it has been bad or good for long enough. */
  readonly observe: (reading: Reading) => Effect.Effect<Level>
  /** Goes on under other times and counts, `checkEvery` from the next check on; level, service and checks stay. */
  readonly configure: (options: Options) => Effect.Effect<void, InvalidOptions>
  /** Makes the checks now. */
  readonly check: Effect.Effect<Level>
  /**
   * Holds the level, whatever the checks find, for so long; 1 hour unless told otherwise. What is no duration above zero
   * is refused, an infinite one holds until `release`. The events tell who did and why; `actor` is "operator" by default.
   */
  readonly force: (
    level: LevelInput,
    options: { readonly reason: string; readonly actor?: string; readonly for?: Duration.Input }
  ) => Effect.Effect<void, InvalidOptions>
  /** Ends what `force` began. */
  readonly release: Effect.Effect<void>
  /** Whether an operation may run that tolerates no worse level than this: the specification's `canPerformOperation`. */
  readonly allows: (worst: LevelInput) => Effect.Effect<boolean>
  /** Runs the effect only while the level is no worse than this. */
  readonly require: (
    worst: LevelInput
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LevelTooLow, R>
  /** Every change from now on. A reader that is 64 changes behind loses the oldest. */
  readonly changes: Stream.Stream<Change>
  /**
   * The refusal of an operation that tolerates no worse level, if it is refused. `now` is epoch milliseconds.
   * @internal
   */
  readonly refusal: (worst: LevelInput, now: number) => LevelTooLow | undefined
}

export class ServiceLevel extends Context.Service<ServiceLevel, Service>()("holdfast/ServiceLevel") {
  static readonly layer = (options?: Options): Layer.Layer<ServiceLevel, InvalidOptions> =>
    Layer.effect(ServiceLevel, make(options))
}

/**
 * The check that looks whether providers are up, first choice first; `levelOfProviders` in `internal/levelState` has the
 * table. A provider whose own check fails is not.
 */
export const providersCheck = (
  providers: ReadonlyArray<{ readonly name: string; readonly up: Effect.Effect<boolean, unknown> }>
): Check => ({
  name: "providers",
  check: Effect.map(
    Effect.forEach(providers, ({ up }) => Effect.orElseSucceed(up, () => false), { concurrency: "unbounded" }),
    (up) => ({
      target: internal.levelOfProviders(up),
      reason: `down: ${providers.filter((_, index) => !up[index]).map(({ name }) => name).join(", ")}`
    })
  )
})

const settingsOf = (options: Options) => {
  const { int, millis } = checks("ServiceLevel")
  return {
    checkEveryMillis: millis("checkEvery", options.checkEvery, "5 seconds", { min: 1 }),
    badChecks: int("badChecks", options.badChecks, 2, { min: 1 }),
    spacingMillis: millis("spacing", options.spacing, "5 seconds"),
    dwellMillis: millis("dwell", options.dwell, "30 seconds")
  }
}

const heldMillis = (duration: Duration.Input): number => {
  const millis = Option.match(Duration.fromInput(duration), { onNone: () => 0, onSome: Duration.toMillis })
  checks("ServiceLevel").ensure(millis > 0, "for", "must be a duration above zero")
  return millis
}

/**
 * Checks go on until the scope closes.
 *
 * **Example** (An operation that is refused while less is on offer)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ServiceLevel } from "holdfast"
 *
 * const program = Effect.gen(function*() {
 *   const level = yield* ServiceLevel.make({ service: "search" })
 *   yield* level.degrade("Database connection lost")
 *   return yield* level.require("Full")(Effect.succeed("stored"))
 * })
 * const exit = Effect.scoped(program).pipe(Effect.catchTag("LevelTooLow", (error) => Effect.succeed(error.message)))
 * await Effect.runPromise(exit) // => search offers level Reduced; this needs Full or better
 * ```
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Service, InvalidOptions, Scope.Scope> {
  let settings = yield* checked(() => settingsOf(options))
  const service = options.service ?? "service"
  const all = options.checks ?? []
  const scope = yield* Effect.scope
  const sink = yield* Event.Sink
  const pubsub = yield* Effect.acquireRelease(PubSub.sliding<Change>(64), PubSub.shutdown)
  const state = MutableRef.make(internal.initial(yield* Clock.currentTimeMillis))
  const override = MutableRef.make<internal.Override | undefined>(undefined)

  const levelAt = (now: number): Level => internal.effective(MutableRef.get(state), MutableRef.get(override), now)

  /** Changes what decides on the level, and tells when the level is another afterwards. */
  const change = (reason: string, how: (now: number) => void): Effect.Effect<Level> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const from = levelAt(now)
      how(now)
      return tell(from, levelAt(now), reason, now)
    })

  const tell = (from: Level, to: Level, reason: string, now: number): Level => {
    if (from !== to) {
      PubSub.publishUnsafe(pubsub, { at: now, from, to, reason })
      sink?.(Event.LevelChanged.make({ at: now, service, from, to, reason }))
    }
    return to
  }

  const observe = ({ reason, target }: Reading): Effect.Effect<Level> =>
    Effect.suspend(() => {
      const better = internal.rankOf(target) < internal.rankOf(MutableRef.get(state).level)
      const why = target === "Full" ? "checks are good" : better ? `checks are better: ${reason}` : reason
      return change(why, (now) => {
        MutableRef.update(state, (state) => internal.checked(state, target, reason, now, settings))
      })
    })

  const check = Effect.suspend(() =>
    Effect.forEach(
      all,
      ({ check, name }) => {
        const lost = Effect.succeed<Reading>({ target: "Emergency", reason: `${name} did not answer` })
        return Effect.catchCause(Timeout.attempt(settings.checkEveryMillis)(check), () => lost)
      },
      { concurrency: "unbounded" }
    )
  ).pipe(Effect.flatMap((readings) => {
    const bad = readings.filter(({ target }) => target !== "Full")
    return observe({
      target: internal.levelOf(Math.max(0, ...bad.map(({ target }) => internal.rankOf(target)))),
      reason: bad.map(({ reason }) => reason).join("; ")
    })
  }))
  if (all.length > 0) {
    yield* check.pipe(
      Effect.andThen(Effect.suspend(() => Effect.sleep(settings.checkEveryMillis))),
      Effect.forever,
      Effect.forkIn(scope)
    )
  }

  const setOverride = (next: internal.Override | undefined, reason: string): Effect.Effect<Level> =>
    change(reason, () => MutableRef.set(override, next))

  const refusal = (worst: LevelInput, now: number): LevelTooLow | undefined => {
    const required = internal.levelOf(rank(worst))
    const actual = levelAt(now)
    return internal.rankOf(actual) <= internal.rankOf(required)
      ? undefined
      : stackless(() => new LevelTooLow({ service, required, actual }))
  }

  return {
    service,
    refusal,
    observe,
    check,
    configure: (options) =>
      Effect.map(checked(() => settingsOf(options)), (next) => {
        settings = next
      }),
    current: Effect.map(Clock.currentTimeMillis, levelAt),
    status: Effect.map(Clock.currentTimeMillis, (now) => {
      const level = levelAt(now)
      const { reasons, since } = MutableRef.get(state)
      const held = MutableRef.get(override)
      return {
        level,
        rank: internal.rankOf(level),
        name: names[level],
        isDegraded: level !== "Full",
        reasons,
        since,
        override: held !== undefined && now < held.until ? held : undefined
      }
    }),
    degrade: (reason, level) =>
      change(reason, (now) =>
        MutableRef.update(state, (state) => {
          const to = level === undefined
            ? internal.rankOf(state.level) + 1
            : Math.max(rank(level), internal.rankOf(state.level))
          return internal.moved(state, internal.levelOf(to), now, { at: now, reason, by: "Caller" })
        })),
    recover: (steps = 1) =>
      change("recovered", (now) => {
        const whole = Math.max(0, Math.trunc(steps) || 0)
        MutableRef.update(state, (state) =>
          internal.moved(state, internal.levelOf(internal.rankOf(state.level) - whole), now))
      }),
    reset: Effect.asVoid(change("reset", (now) => {
      MutableRef.set(state, internal.initial(now))
      MutableRef.set(override, undefined)
    })),
    force: Effect.fnUntraced(function*(level, { actor = "operator", for: duration = "1 hour", reason }) {
      const millis = yield* checked(() => heldMillis(duration))
      const now = yield* Clock.currentTimeMillis
      const own: internal.Override = { level: internal.levelOf(rank(level)), since: now, until: now + millis, reason }
      yield* setOverride(own, reason)
      const action = `level held at ${own.level}`
      sink?.(Event.OperatorAction.make({ at: now, action, target: service, actor, detail: reason }))
      if (millis === Infinity) return
      // The level read is right without this; it tells those who watch.
      yield* Effect.forkIn(
        Effect.delay(
          Effect.suspend(() => {
            if (MutableRef.get(override) !== own) return Effect.void
            MutableRef.set(override, undefined)
            return Effect.map(
              Clock.currentTimeMillis,
              (now) => tell(own.level, levelAt(now), "the override expired", now)
            )
          }),
          millis
        ),
        scope
      )
    }),
    release: Effect.asVoid(setOverride(undefined, "released")),
    allows: (worst) => Effect.map(Clock.currentTimeMillis, (now) => refusal(worst, now) === undefined),
    require: (worst) => {
      const check = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const refused = refusal(worst, now)
        return refused === undefined ? Effect.void : Effect.fail(refused)
      })
      return (self) => Effect.andThen(check, self)
    },
    changes: Stream.fromPubSub(pubsub)
  }
})
