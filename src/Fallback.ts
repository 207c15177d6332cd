/**
 * What to do when a provider does not answer: ask the next, take what some of several say, or fall back on what was
 * declared. A mode is a function, and its type tells what may come of it. No value is ever invented.
 */
import { Cause, Clock, type Context, Duration, Effect, type Exit, Fiber, Option, Result, Schema } from "effect"
import * as Deadline from "./Deadline.ts"
import { arm, disarm } from "./internal/deadlineTimer.ts"
import { checks, millisOf } from "./internal/options.ts"
import { stackless } from "./internal/stackless.ts"
import { ProviderError, TimeoutError } from "./ProviderError.ts"
import * as Served from "./Served.ts"

// -- modes -----------------------------------------------------------------------------------------------------------

/** How a call deals with failures. `A` is the type of its answer. */
export type Mode<A = unknown> = Graceful<A, "Partial" | "Default"> | Silent<A> | Cached | Partial<A, A> | FailFast

/** See `graceful`. `K` are the kinds of answer that it adds. */
export interface Graceful<out A, out K extends "Partial" | "Default"> {
  readonly _tag: "Graceful"
  readonly salvage: Salvage<A> | undefined
  readonly orElse: Option.Option<A>
  /** For the type alone. */
  readonly kinds?: K
}

/** Takes from the failures what can be saved, such as the items of a batch that were stored. */
export type Salvage<out A> = (
  failures: ReadonlyArray<Served.Failure>
) => Option.Option<{ readonly value: A; readonly missing: ReadonlyArray<string> }>

/** See `silent`. */
export interface Silent<out A> {
  readonly _tag: "Silent"
  readonly empty: A
}

/** See `cached`. */
export interface Cached {
  readonly _tag: "Cached"
}

/** See `partial`. Answers are an `A`, what they are combined into is a `B`. */
export interface Partial<in A, out B> {
  readonly _tag: "Partial"
  readonly combine: (answers: ReadonlyArray<Answered<A>>) => B
  readonly options: GatherOptions
}

/** See `failFast`. */
export interface FailFast {
  readonly _tag: "FailFast"
}

/** One source's answer. */
export interface Answered<out A> {
  readonly source: string
  readonly value: A
}

/** What `graceful` falls back on in the end. */
export interface GracefulOptions<out A> {
  readonly orElse?: A
  readonly salvage?: Salvage<A>
}

type ValueOf<O> =
  | (O extends { readonly orElse: infer A } ? A : never)
  | (O extends { readonly salvage: Salvage<infer A> } ? A : never)

type KindOf<O> =
  | (O extends { readonly orElse: unknown } ? "Default" : never)
  | (O extends { readonly salvage: unknown } ? "Partial" : never)

/**
 * The providers in order, then an old answer from the cache, then what `salvage` saves from the failures, then the
 * declared value; else a typed failure. A request that is wrong in itself fails at once, declared value or not.
 */
export const graceful = <O extends GracefulOptions<unknown> = {}>(
  options?: O
): Graceful<ValueOf<O>, KindOf<O>> => {
  const mode: Graceful<unknown, never> = {
    _tag: "Graceful",
    salvage: options?.salvage,
    orElse: options !== undefined && "orElse" in options ? Option.some(options.orElse) : Option.none()
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the options hold exactly these values
  return mode as Graceful<ValueOf<O>, KindOf<O>>
}

/** The providers in order, else the declared value: it cannot fail. */
export const silent = <A>(empty: A): Silent<A> => ({ _tag: "Silent", empty })

/** The providers in order, then an old answer from the cache, else a typed failure. */
export const cached = (): Cached => ({ _tag: "Cached" })

/** All providers at once; enough of their answers are combined into one. */
export const partial = <A, B>(
  options: GatherOptions & { readonly combine: (answers: ReadonlyArray<Answered<A>>) => B }
): Partial<A, B> => ({ _tag: "Partial", combine: options.combine, options })

/** The first provider alone, and its error as it is. */
export const failFast = (): FailFast => ({ _tag: "FailFast" })

/** Joins the lists of several sources, in their order. */
export const concat = <T>(answers: ReadonlyArray<Answered<ReadonlyArray<T>>>): Array<T> =>
  answers.flatMap(({ value }) => value)

// -- errors ----------------------------------------------------------------------------------------------------------

/** No provider answered. Every cause is in `failures`, in the order in which providers were given up on. */
export class AllProvidersFailed extends Schema.TaggedError<AllProvidersFailed>()("AllProvidersFailed", {
  service: Schema.String,
  operation: Schema.String,
  failures: Schema.Array(Served.Failure),
  /** The soonest that one of them may be asked again, where one said so. */
  earliestRetry: Schema.optionalKey(Schema.DurationFromMillis)
}) {
  override get message(): string {
    return `${this.service}.${this.operation}: no provider answered: ${told(this.failures)}`
  }
  get retryAfter(): Duration.Duration | undefined {
    return this.earliestRetry
  }
}

/** Fewer sources answered than the threshold asks for. */
export class TooFewAnswers extends Schema.TaggedError<TooFewAnswers>()("TooFewAnswers", {
  service: Schema.String,
  operation: Schema.String,
  answered: Schema.Array(Schema.String),
  /** How many should have. */
  required: Schema.Int,
  failures: Schema.Array(Served.Failure),
  /** The soonest that one of them may be asked again, where one said so. */
  earliestRetry: Schema.optionalKey(Schema.DurationFromMillis)
}) {
  override get message(): string {
    return `${this.service}.${this.operation}: ${this.answered.length} of ${this.required} answered: ${
      told(this.failures)
    }`
  }
  get retryAfter(): Duration.Duration | undefined {
    return this.earliestRetry
  }
}

/** The provider says that it cannot be used now; it was not asked. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", { provider: Schema.String }) {}

/** So many calls fall back already that this one may not. */
export class FallbackFull extends Schema.TaggedError<FallbackFull>()("FallbackFull", { limit: Schema.Int }) {}

const told = (failures: ReadonlyArray<Served.Failure>): string =>
  failures.map(({ category, provider }) => `${provider}: ${category}`).join(", ")

const retryOf = (failures: ReadonlyArray<Served.Failure>): { readonly earliestRetry?: Duration.Duration } => {
  const waits = failures.flatMap(({ retryAfter }) => retryAfter ?? [])
  const [first, ...rest] = waits
  return first === undefined ? {} : { earliestRetry: rest.reduce((a, b) => Duration.min(a, b), first) }
}

/** The failure of a call that nobody answered. */
export const allFailed = (
  service: string,
  operation: string,
  failures: ReadonlyArray<Served.Failure>
): AllProvidersFailed => stackless(() => new AllProvidersFailed({ service, operation, failures, ...retryOf(failures) }))

// -- one after the other ---------------------------------------------------------------------------------------------

/** Who is asked, and by whose name it is told. */
export interface Source<out A, out E, out R = never> {
  readonly name: string
  readonly call: Effect.Effect<A, E, R>
  /** As `call`, for one that keeps a time limit (milliseconds) by itself; at its end it fails with `DeadlineExceeded`. */
  readonly callWithin?: ((millis: number) => Effect.Effect<A, E | Deadline.DeadlineExceeded, R>) | undefined
  /** Whether it makes sense to ask; asked for 5 seconds at most, and a failure means no. */
  readonly available?: Effect.Effect<boolean, unknown, R> | undefined
  /** How the call went, where somebody counts. */
  readonly tally?: Tally | undefined
}

/** The attempts of one call at one source. */
export interface Tally {
  attempts: number
  hedged: boolean
}

export interface InOrderOptions {
  readonly service: string
  readonly operation: string
  /** The most that one source may take of the time left, which is shared by the sources left. Defaults to no limit. */
  readonly fallbackTimeout?: Duration.Input | undefined
  /** Whether the next source is asked after this error. Defaults to the error's own verdict. */
  readonly fallbackOn?: ((error: ProviderError) => boolean) | undefined
  /** Limits how many calls may be with a source that is not their first. Defaults to no limit. */
  readonly limit?: Limit | undefined
  /** Told when a source is given up on and the next is asked, and when, in epoch milliseconds. */
  readonly onNext?: ((failure: Served.Failure, next: string, now: number) => void) | undefined
}

/** How many calls may fall back at once, so that a storm of them cannot take the process. */
export interface Limit {
  limit: number
  running: number
}

/**
 * Asks the sources one after the other until one answers.
 *
 * **Details**
 *
 * Each gets the time left to the deadline divided by the sources left. A source that takes longer is interrupted and
 * counts as timed out. An error whose verdict is `Stop` ends the call as it is: another source would say the same.
 */
export const inOrder = <A, E extends { readonly _tag: string }, R>(
  sources: ReadonlyArray<Source<A, E, R>>,
  options: InOrderOptions
): Effect.Effect<Served.Live<A>, ProviderError | AllProvidersFailed, R> => {
  const { fallbackOn = fallsOver, limit, onNext, operation, service } = options
  const mostMillis = options.fallbackTimeout === undefined
    ? Infinity
    : millisOf("Fallback", "fallbackTimeout", options.fallbackTimeout)

  const from = (
    index: number,
    failures: ReadonlyArray<Served.Failure>
  ): Effect.Effect<Served.Live<A>, ProviderError | AllProvidersFailed, R> => {
    const source = sources[index]
    if (source === undefined) return Effect.fail(allFailed(service, operation, failures))
    const own = Effect.map(
      withShare(source, mostMillis, sources.length - index, operation),
      (value) => Served.live(value, source.name, { ...source.tally, degraded: index > 0, failures })
    )
    return Effect.catchCause(index > 0 && limit !== undefined ? limited(own, limit) : own, (cause) => {
      const found = Cause.findError(cause)
      // Interruption and defects are no reason to ask another.
      if (Result.isFailure(found)) return Effect.failCause(found.failure)
      const error = found.success
      const now = [...failures, Served.failure(source.name, error)]
      if (error instanceof FallbackFull) return Effect.fail(allFailed(service, operation, now))
      if (error instanceof ProviderError && !fallbackOn(error)) return Effect.fail(error)
      const next = sources[index + 1]
      return next === undefined || onNext === undefined
        ? from(index + 1, now)
        : Effect.flatMap(Clock.currentTimeMillis, (at) => {
          onNext(now.at(-1)!, next.name, at)
          return from(index + 1, now)
        })
    })
  }
  return Effect.suspend(() => from(0, []))
}

const fallsOver = (error: ProviderError): boolean => error.verdicts.fallback === "Next"

/** The source's call with its share of the time. */
const withShare = <A, E, R>(
  { available, call, callWithin, name }: Source<A, E, R>,
  mostMillis: number,
  left: number,
  operation: string
): Effect.Effect<A, E | ProviderError | Unavailable, R> =>
  Effect.withFiber((fiber) => {
    const asked = available === undefined ? call : Effect.flatMap(
      Effect.catch(Effect.timeout(available, "5 seconds"), () => Effect.succeed(false)),
      (is): Effect.Effect<A, E | Unavailable, R> => is ? call : Effect.fail(new Unavailable({ provider: name }))
    )
    const deadline = fiber.getRef(Deadline.current)
    if (deadline === Infinity && mostMillis === Infinity) return asked
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const millis = Math.min(mostMillis, Math.max(0, deadline - now) / left)
    return Effect.catchIf(
      available === undefined && callWithin !== undefined ? callWithin(millis) : Deadline.until(now + millis)(asked),
      (error) => error instanceof Deadline.DeadlineExceeded,
      () => Effect.fail(timedOut(name, operation, millis))
    )
  })

const timedOut = (provider: string, operation: string, millis: number): ProviderError =>
  stackless(() =>
    new ProviderError({
      provider,
      operation,
      reason: new TimeoutError({
        message: `no answer within its share of the time, ${Math.round(millis)} ms`,
        rule: "fallback-share",
        delivered: "unknown"
      })
    })
  )

const limited = <A, E, R>(self: Effect.Effect<A, E, R>, limit: Limit): Effect.Effect<A, E | FallbackFull, R> =>
  Effect.suspend(() => {
    let held = false
    // The frame stands before the place is taken, so that no interruption fits between.
    return Effect.onExitPrimitive(
      Effect.suspend((): Effect.Effect<A, E | FallbackFull, R> => {
        if (limit.running >= limit.limit) return Effect.fail(new FallbackFull({ limit: limit.limit }))
        held = true
        limit.running++
        return self
      }),
      () => {
        if (held) limit.running--
        return undefined
      }
    )
  })

// -- all at once -----------------------------------------------------------------------------------------------------

export interface GatherOptions {
  /** The share of the sources that must answer, 0 to 1; at least one must. Defaults to 0.3. */
  readonly threshold?: number | undefined
  /** How many must answer, in place of `threshold`. */
  readonly minSources?: number | undefined
  /** After this time the answers at hand are taken as soon as they are enough. Defaults to none. */
  readonly softDeadline?: Duration.Input | undefined
}

export interface Gathered<out A> {
  /** In the order of the sources. */
  readonly answered: ReadonlyArray<Answered<A>>
  /** The sources that did not answer: those that failed and those that were not waited for. */
  readonly missing: ReadonlyArray<string>
  readonly failures: ReadonlyArray<Served.Failure>
}

/** The sources' own deadline passed before this one answered. */
export class NotWaitedFor extends Schema.TaggedError<NotWaitedFor>()("NotWaitedFor", { source: Schema.String }) {}

/**
 * Asks all sources at once and takes what they say when all have spoken; at the soft deadline when enough have; at the
 * deadline of the call what there is. Those that were not waited for are interrupted.
 *
 * **Details**
 *
 * Fails with `TooFewAnswers` as soon as enough answers cannot be had any more. A defect of one source is a defect of
 * all.
 *
 * **Example** (Two of three are enough)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Fallback } from "holdfast"
 *
 * const quotes = Fallback.gather([
 *   { name: "a", call: Effect.succeed(101) },
 *   { name: "b", call: Effect.fail({ _tag: "Closed" }) },
 *   { name: "c", call: Effect.succeed(99) }
 * ], { service: "quotes", operation: "latest", minSources: 2, softDeadline: "1 second" })
 *
 * const lowest = Effect.map(quotes, ({ answered, missing }) =>
 *   `${Math.min(...answered.map(({ value }) => value))}, without ${missing.join()}`)
 * await Effect.runPromise(lowest) // => 99, without b
 * ```
 */
export const gather = <A, E extends { readonly _tag: string }, R>(
  sources: ReadonlyArray<Source<A, E, R>>,
  options: GatherOptions & { readonly service: string; readonly operation: string }
): Effect.Effect<Gathered<A>, TooFewAnswers, R> =>
  Effect.withFiber((fiber) =>
    Effect.callback<Gathered<A>, TooFewAnswers, R>((resume) => {
      const required = requiredOf(sources.length, options)
      const exits = sources.map((): Exit.Exit<A, E> | undefined => undefined)
      const running = new Set<Fiber.Fiber<A, E>>()
      let done = false
      let soft = false

      const end = (result: Effect.Effect<Gathered<A>, TooFewAnswers>): void => {
        done = true
        disarm(softTimer)
        disarm(hardTimer)
        resume(result)
        for (const child of running) child.interruptUnsafe(fiber.id)
      }
      const take = (): void => {
        const answered: Array<Answered<A>> = []
        const failures: Array<Served.Failure> = []
        const missing: Array<string> = []
        for (const [index, { name }] of sources.entries()) {
          const exit = exits[index]
          if (exit?._tag === "Success") {
            answered.push({ source: name, value: exit.value })
            continue
          }
          missing.push(name)
          const error = exit === undefined ? new NotWaitedFor({ source: name }) : Cause.findErrorOption(exit.cause)
          if (!Option.isOption(error)) failures.push(Served.failure(name, error))
          else if (Option.isSome(error)) failures.push(Served.failure(name, error.value))
        }
        end(
          answered.length >= required
            ? Effect.succeed({ answered, missing, failures })
            : Effect.fail(tooFew(answered.map(({ source }) => source), required, failures, options))
        )
      }
      const look = (): void => {
        const succeeded = exits.filter((exit) => exit?._tag === "Success").length
        const pending = exits.filter((exit) => exit === undefined).length
        if (pending === 0 || succeeded + pending < required || (soft && succeeded >= required)) take()
      }

      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      const softTimer = options.softDeadline === undefined
        ? undefined
        : arm(fiber, millisOf("Fallback", "softDeadline", options.softDeadline), () => {
          soft = true
          look()
        })
      const hardTimer = arm(fiber, Math.max(0, fiber.getRef(Deadline.current) - now), () => take())

      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what runs an Effect<_, _, R> holds R
      const run = Effect.runForkWith(fiber.context as Context.Context<R>)
      for (const [index, { call }] of sources.entries()) {
        if (done) break
        const child = run(call)
        running.add(child)
        child.addObserver((exit) => {
          running.delete(child)
          if (done) return
          // A failure is the source's own; interruption and defects are everybody's.
          const found = exit._tag === "Failure" ? Cause.findError(exit.cause) : undefined
          if (found !== undefined && Result.isFailure(found)) return end(Effect.failCause(found.failure))
          exits[index] = exit
          look()
        })
      }
      if (!done && sources.length === 0) take()
      return Effect.suspend(() => {
        done = true
        disarm(softTimer)
        disarm(hardTimer)
        return Fiber.interruptAll(running)
      })
    })
  )

const requiredOf = (sources: number, { minSources, threshold }: GatherOptions): number => {
  const check = checks("Fallback")
  // 0.7 of 10 is 7.000000000000001 and means 7.
  const share = Math.ceil(check.number("threshold", threshold, 0.3, { max: 1 }) * sources - 1e-9)
  return Math.max(1, check.int("minSources", minSources, share))
}

const tooFew = (
  answered: ReadonlyArray<string>,
  required: number,
  failures: ReadonlyArray<Served.Failure>,
  { operation, service }: { readonly service: string; readonly operation: string }
): TooFewAnswers =>
  stackless(() => new TooFewAnswers({ service, operation, answered, required, failures, ...retryOf(failures) }))
