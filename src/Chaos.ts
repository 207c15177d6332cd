/**
 * Faults on purpose: a plan says where, when and which; a seed makes it the same plan every time. Chaos is innermost in
 * a pipeline, so that every policy meets it, and it does nothing unless somebody opted in.
 */
import { Clock, Config, Context, Duration, Effect, Layer, Option, Schema, Struct } from "effect"
import * as Event from "./Event.ts"
import { draw } from "./internal/draw.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import { InvalidOptions } from "./InvalidOptions.ts"
import { ProviderError, reasons, type ReasonTag, table } from "./ProviderError.ts"

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 }))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Positive = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000_000 }))

/** How long a delay is, in milliseconds. */
export const Latency = Schema.Union([
  Schema.TaggedStruct("Constant", { millis: Millis }),
  Schema.TaggedStruct("Uniform", { from: Millis, to: Millis }),
  Schema.TaggedStruct("Exponential", { mean: Millis }),
  /** Long-tailed, as real latencies are: `exp(N(ln median, sigma))`. */
  Schema.TaggedStruct("LogNormal", {
    median: Millis,
    sigma: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
  })
])
export type Latency = typeof Latency.Type

const tags = Struct.keys(table)

/** What is done to a call. */
export const Fault = Schema.Union([
  /** Fails with an error of the category instead of calling. */
  Schema.TaggedStruct("Fail", {
    reason: Schema.Literals(tags),
    retryAfterMillis: Schema.optionalKey(Millis)
  }),
  /** Waits before the call. */
  Schema.TaggedStruct("Delay", { latency: Latency }),
  /** Never answers. */
  Schema.TaggedStruct("Hang", {}),
  /** Calls, and loses the answer: the connection breaks with the request's fate unknown. */
  Schema.TaggedStruct("Reset", {}),
  /** Calls, and answers with what no decoder would accept. */
  Schema.TaggedStruct("Corrupt", {}),
  /** Calls, and keeps only this share of the answer if it is a list, or of each list in it if it is a plain object. */
  Schema.TaggedStruct("Partial", { share: Share }),
  /** Calls under a clock that is wrong by so much. */
  Schema.TaggedStruct("Skew", {
    millis: Schema.Finite.check(Schema.isBetween({ minimum: -86_400_000, maximum: 86_400_000 }))
  })
])
export type Fault = typeof Fault.Type

/** Which calls meet which fault. Of several rules the first that strikes decides, but delays add up to what follows. */
export const Rule = Schema.Struct({
  fault: Fault,
  /** Only this provider. */
  provider: Schema.optionalKey(Schema.String),
  /** Only this operation. */
  operation: Schema.optionalKey(Schema.String),
  /** Begins so many milliseconds after the plan. Defaults to 0. */
  fromMillis: Schema.optionalKey(Millis),
  /** Ends so many milliseconds after the plan began, above `fromMillis`. Defaults to never. */
  untilMillis: Schema.optionalKey(Millis),
  /** The share of the calls that it strikes. Defaults to all. */
  rate: Schema.optionalKey(Share),
  /** Strikes at most so often. Defaults to no bound. */
  times: Schema.optionalKey(Positive)
}).check(
  Schema.makeFilter(({ fromMillis = 0, untilMillis = Infinity }) =>
    untilMillis > fromMillis || { path: ["untilMillis"], issue: `Expected a value above fromMillis, ${fromMillis}` }
  )
)
export type Rule = typeof Rule.Type

/** A whole experiment. */
export const FaultPlan = Schema.Struct({
  seed: Schema.Int,
  rules: Schema.Array(Rule).check(Schema.isMaxLength(64)),
  /** The stop rule: the whole plan ends after so many faults. */
  maxFaults: Schema.optionalKey(Positive),
  /** The blast radius: at most this share of all calls since the plan began is struck. Defaults to all. */
  blastRadius: Schema.optionalKey(Share)
})
export type FaultPlan = typeof FaultPlan.Type

/** A plan that runs. */
export interface Running {
  readonly plan: FaultPlan
  /** Epoch milliseconds. */
  readonly since: number
  /** Epoch milliseconds; `Infinity` for a plan without an end. */
  readonly until: number
  /** Calls seen and calls struck. */
  readonly calls: number
  readonly faults: number
}

export interface Service {
  /** Replaces the plan. It ends by itself after `expiresIn`. A plan that `FaultPlan` does not describe is a defect. */
  readonly start: (plan: FaultPlan, expiresIn?: Duration.Input) => Effect.Effect<void>
  readonly stop: Effect.Effect<void>
  readonly running: Effect.Effect<Option.Option<Running>>
  /** Puts the faults of the running plan between the caller and the effect. Without a plan it is the effect itself. */
  readonly inject: (
    call: { readonly provider: string; readonly operation: string }
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ProviderError, R>
}

/** The chaos that pipelines made from here on meet. There is none by default, and then it costs nothing. */
export const Chaos = Context.Reference<Service | undefined>("holdfast/Chaos", { defaultValue: () => undefined })

export interface Options {
  /** Opts in. Defaults to the variable `HOLDFAST_CHAOS` being `true`. */
  readonly enabled?: boolean | undefined
}

/**
 * Chaos for the pipelines above it, running the plan from the start where one is given. Refuses to build with
 * `InvalidOptions` where the plan makes no sense, and unless `enabled`, or `HOLDFAST_CHAOS=true`, opts in: a plan cannot
 * reach production by accident.
 */
export const layer = (plan?: FaultPlan, options?: Options): Layer.Layer<never, InvalidOptions> =>
  Layer.effect(
    Chaos,
    Effect.gen(function*() {
      const enabled = options?.enabled ?? (yield* Effect.orElseSucceed(Config.Boolean("HOLDFAST_CHAOS"), () => false))
      if (!enabled) {
        return yield* new InvalidOptions({
          module: "Chaos",
          field: "enabled",
          why: "must be true, or HOLDFAST_CHAOS=true: faults on purpose want an opt-in"
        })
      }
      const chaos = yield* make
      if (plan !== undefined) {
        yield* checked(() => checkPlan(plan))
        yield* chaos.start(plan)
      }
      return chaos
    })
  )

const decodePlan = Schema.decodeUnknownResult(FaultPlan)
/** A type does not tell a rate of 0.3 from one of 30. */
const checkPlan = (plan: FaultPlan): void => checks("Chaos").decoded(decodePlan(plan), ["plan"])

/** The plan and what has been done of it. */
interface Active {
  readonly plan: FaultPlan
  readonly since: number
  readonly until: number
  calls: number
  faults: number
  readonly struck: Array<number>
}

/** Chaos without a plan. */
export const make: Effect.Effect<Service> = Effect.gen(function*() {
  const sink = yield* Event.Sink
  let active: Active | undefined

  const current = (now: number): Active | undefined => {
    if (active !== undefined && now >= active.until) active = undefined
    return active
  }

  /** The faults that this call meets, delays first. */
  const faultsFor = (run: Active, call: { readonly provider: string; readonly operation: string }, now: number) => {
    const n = run.calls++
    const { blastRadius = 1, maxFaults = Infinity, rules, seed } = run.plan
    const met: Array<{ readonly fault: Fault; readonly u: number }> = []
    for (const [index, rule] of rules.entries()) {
      if (run.faults >= maxFaults || run.faults + 1 > blastRadius * run.calls) break
      const applies = (rule.provider === undefined || rule.provider === call.provider) &&
        (rule.operation === undefined || rule.operation === call.operation) &&
        now - run.since >= (rule.fromMillis ?? 0) && now - run.since < (rule.untilMillis ?? Infinity) &&
        (run.struck[index] ?? 0) < (rule.times ?? Infinity) &&
        draw(seed, index * 2, n) < (rule.rate ?? 1)
      if (!applies) continue
      run.struck[index] = (run.struck[index] ?? 0) + 1
      met.push({ fault: rule.fault, u: draw(seed, index * 2 + 1, n) })
      if (rule.fault._tag !== "Delay") break
    }
    if (met.length > 0) run.faults++
    return met
  }

  return {
    start: (plan, expiresIn) =>
      Effect.map(Clock.currentTimeMillis, (since) => {
        checkPlan(plan)
        const until = since + (expiresIn === undefined ? Infinity : millisOf("Chaos", "expiresIn", expiresIn))
        active = { plan, since, until, calls: 0, faults: 0, struck: [] }
      }),
    stop: Effect.sync(() => {
      active = undefined
    }),
    running: Effect.map(Clock.currentTimeMillis, (now) => {
      const run = current(now)
      return run === undefined
        ? Option.none()
        : Option.some({ plan: run.plan, since: run.since, until: run.until, calls: run.calls, faults: run.faults })
    }),
    inject: (call) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | ProviderError, R> =>
      Effect.withFiber((fiber) => {
        const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
        const run = current(now)
        if (run === undefined) return self
        let effect: Effect.Effect<A, E | ProviderError, R> = self
        // Applied from the inside out: what is written first in the plan is met first.
        for (const { fault, u } of faultsFor(run, call, now).toReversed()) {
          sink?.({ _tag: "ChaosInjected", at: now, ...call, fault: fault._tag })
          effect = apply(fault, u, call)(effect)
        }
        return effect
      })
  }
})

const apply =
  (fault: Fault, u: number, call: { readonly provider: string; readonly operation: string }) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | ProviderError, R> => {
    const fail = (tag: ReasonTag, message: string, delivered: "no" | "unknown" | "yes", retryAfterMillis?: number) =>
      Effect.fail(
        new ProviderError({
          ...call,
          reason: new reasons[tag]({
            message: `${message} (chaos)`,
            rule: "chaos",
            delivered,
            ...(retryAfterMillis === undefined ? {} : { retryAfter: Duration.millis(retryAfterMillis) })
          })
        })
      )
    switch (fault._tag) {
      case "Fail":
        return fail(fault.reason, `failed as ${table[fault.reason].category}`, "no", fault.retryAfterMillis)
      case "Delay":
        return Effect.delay(self, Duration.millis(sample(fault.latency, u)))
      case "Hang":
        return Effect.never
      case "Reset":
        return Effect.flatMap(self, () => fail("NetworkError", "connection reset", "unknown"))
      case "Corrupt":
        return Effect.flatMap(self, () => fail("UnknownError", "the answer could not be read", "yes"))
      case "Partial":
        return Effect.map(self, (answer) => shorten(answer, fault.share))
      case "Skew":
        return Effect.clockWith((clock) => Effect.provideService(self, Clock.Clock, skewed(clock, fault.millis)))
    }
  }

/** A latency at the quantile `u`, in milliseconds. */
export const sample = (latency: Latency, u: number): number => {
  switch (latency._tag) {
    case "Constant":
      return latency.millis
    case "Uniform":
      return latency.from + (latency.to - latency.from) * u
    case "Exponential":
      return -latency.mean * Math.log(1 - u)
    case "LogNormal":
      return latency.median * Math.exp(latency.sigma * normalQuantile(u))
  }
}

/** The inverse of the standard normal distribution, after Tukey's lambda with 0.14: within 0.01 for 0.01 < u < 0.99. */
const normalQuantile = (u: number): number => {
  const p = Math.min(1 - 1e-9, Math.max(1e-9, u))
  return (p ** 0.14 - (1 - p) ** 0.14) / 0.1975
}

/** The answer with only the first part of each of its own lists; what holds none stays as it is. */
const shorten = <A>(answer: A, share: number): A => {
  const cut = (value: unknown): unknown =>
    Array.isArray(value) ? value.slice(0, Math.floor(value.length * share)) : value
  const plain = typeof answer === "object" && answer !== null && Object.getPrototypeOf(answer) === Object.prototype
  const shortened = plain
    ? Object.fromEntries(Object.entries(answer).map(([key, value]) => [key, cut(value)]))
    : cut(answer)
  // The shape is the answer's own with shorter lists, which no type can say of any A.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return shortened as A
}

const skewed = (clock: Clock.Clock, millis: number): Clock.Clock => {
  const nanos = BigInt(Math.round(millis)) * 1_000_000n
  const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + millis
  const currentTimeNanosUnsafe = () => clock.currentTimeNanosUnsafe() + nanos
  return {
    sleep: (duration) => clock.sleep(duration),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    currentTimeMillisUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
    currentTimeNanosUnsafe,
    currentTimeNanos: Effect.sync(currentTimeNanosUnsafe)
  }
}
