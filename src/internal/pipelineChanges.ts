/**
 * Other options for a provider's pipelines while they run: what they come to, the pipelines anew around the stages that
 * go on, and the steps that tell those stages, all done or none.
 */
import { Duration, Effect, Exit } from "effect"
import type * as Bulkhead from "../Bulkhead.ts"
import * as FailurePredictor from "../FailurePredictor.ts"
import { InvalidOptions } from "../InvalidOptions.ts"
import * as Pipeline from "../Pipeline.ts"
import * as RateLimit from "../RateLimit.ts"
import { checked, checks } from "./options.ts"
import { breakerOptions, isService, part } from "./pipelineOptions.ts"
import type { Refusal } from "./pipelineService.ts"

/** A stage's options over its own, field by field; `false` turns it off. */
type Overlay<Stage> = Partial<Stage> | false

/** What may change of a provider's policies while they run. */
export interface PipelineChanges {
  readonly timeout?: Duration.Input | undefined
  readonly retry?: Overlay<Pipeline.RetryOptions> | undefined
  readonly breaker?: Overlay<Pipeline.BreakerOptions> | undefined
  readonly hedge?: Overlay<Pipeline.HedgeOptions> | undefined
  /** Can be turned off, and no more: its alarms are of what it learnt under its options. */
  readonly predictor?: Overlay<Pipeline.PredictorOptions> | undefined
  readonly rateLimit?: Overlay<Omit<RateLimit.Options, "name">> | undefined
  readonly bulkhead?: Overlay<Omit<Bulkhead.Options, "name">> | undefined
}

type Loose = { readonly [stage: string]: unknown }

/** The options under the changes. */
export const changed = (options: Loose, changes: PipelineChanges | undefined): Loose => {
  const result: { [stage: string]: unknown } = { ...options }
  for (const [stage, change] of Object.entries(changes ?? {})) {
    const own = options[stage]
    if (change === false) result[stage] = undefined
    else if (typeof change === "object" && change !== null && !Duration.isDuration(change)) {
      result[stage] = { ...(typeof own === "object" ? own : {}), ...change }
    } else if (change !== undefined) result[stage] = change
  }
  return result
}

/** Stages whose errors are in the types of calls. */
const refusing = ["predictor", "breaker", "rateLimit", "bulkhead"] as const

/** What a predictor's options come to; of one made elsewhere nothing is known. */
const foresight = ({ predictor }: Pipeline.Options): unknown =>
  predictor === undefined || (predictor !== true && isService(predictor))
    ? predictor
    : FailurePredictor.settingsOf(predictor === true ? {} : predictor)

/** Refuses changes of what was never there, or is not ours. */
const checkStages = (first: Pipeline.Options, next: Pipeline.Options): void => {
  const { ensure } = checks("FaultTolerance", `providers.${next.provider}.`)
  for (const stage of refusing) {
    const [of, to] = [first[stage], next[stage]]
    if (to === undefined) continue
    ensure(of !== undefined, stage, "cannot be added while the service runs: it was not there at the start")
    ensure(!(typeof of === "object" && isService(of)) || of === to, stage, "was made elsewhere; change it there")
  }
  ensure(
    next.predictor === undefined || alike(foresight(first), foresight(next)),
    "predictor",
    "can only be turned off while the service runs"
  )
}

// -- pipelines -------------------------------------------------------------------------------------------------------

/** The pipeline as a whole, and without retry, breaker or both; they share what they have in common. */
export interface Variants {
  readonly whole: Pipeline.Pipeline<Refusal>
  readonly noRetry: Pipeline.Pipeline<Refusal>
  readonly noBreaker: Pipeline.Pipeline<Refusal>
  readonly neither: Pipeline.Pipeline<Refusal>
}

/** What goes on: the stages from the start, what was measured from those in force. */
export interface Going {
  readonly first: Variants
  readonly live: Variants
  readonly rateLimit: RateLimit.Service | undefined
}

const none: Pipeline.Kept["operations"] = new Map()

/** Makes them, anew around what goes on. */
export const variantsOf = Effect.fnUntraced(function*(
  options: Pipeline.Options,
  going: Going | undefined
): Effect.fn.Return<Variants, InvalidOptions> {
  const whole = going === undefined ? yield* Pipeline.make(options) : yield* Pipeline.remake(options, {
    predictor: going.first.whole.predictor,
    breaker: going.first.whole.breaker,
    bulkhead: going.first.whole.bulkhead,
    rateLimit: going.rateLimit,
    budget: going.first.whole.budget ?? going.live.whole.budget,
    operations: going.live.whole.operations
  })
  const without = (left: Partial<Pipeline.Options>, before: Pipeline.Pipeline<Refusal> | undefined) =>
    Pipeline.remake({ ...options, ...left }, { ...whole, operations: before?.operations ?? none })
  return {
    whole,
    noRetry: yield* without({ retry: undefined }, going?.live.noRetry),
    noBreaker: yield* without({ breaker: undefined }, going?.live.noBreaker),
    neither: yield* without({ retry: undefined, breaker: undefined }, going?.live.neither)
  }
})

/** The rate limit to go on with: the one there is, or one of other options that is held as long. */
export const rateLimitOf = Effect.fnUntraced(function*(
  first: Pipeline.Options,
  before: Pipeline.Options,
  next: Pipeline.Options,
  { first: { whole }, live }: Omit<Going, "rateLimit">
): Effect.fn.Return<RateLimit.Service | undefined, InvalidOptions> {
  const { rateLimit } = next
  const current = live.whole.rateLimit
  if (rateLimit === undefined || isService(rateLimit)) return whole.rateLimit
  if (alike(before.rateLimit, rateLimit)) return current
  const other = alike(first.rateLimit, rateLimit) ? whole.rateLimit : undefined
  const made = other ?? (yield* part("rateLimit", RateLimit.make({ name: next.provider, ...rateLimit })))
  const held = current ?? whole.rateLimit
  if (held !== undefined) yield* made.holdUntil(held.core.heldUntil)
  return made
})

/** Options are data. */
const alike = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

// -- steps -----------------------------------------------------------------------------------------------------------

/** A change of something that runs, and how to take it back. */
export interface Step {
  readonly apply: Effect.Effect<void, InvalidOptions>
  readonly undo: Effect.Effect<void, InvalidOptions>
}

/** Tells a stage its options, where they differ. */
export const stepOf = <O>(
  stage: string,
  configure: (options: O) => Effect.Effect<void, InvalidOptions>,
  before: O,
  next: O
): ReadonlyArray<Step> => {
  const named = (options: O) =>
    Effect.mapError(
      configure(options),
      ({ field, module, why }) => new InvalidOptions({ module, field: `${stage}.${field}`, why })
    )
  return before === next ? [] : [{ apply: named(next), undo: named(before) }]
}

/** What the stages that go on are to be told. */
export const stepsOf = Effect.fnUntraced(function*(
  { whole: { breaker, bulkhead } }: Variants,
  before: Pipeline.Options,
  next: Pipeline.Options
): Effect.fn.Return<ReadonlyArray<Step>, InvalidOptions> {
  const steps: Array<Step> = []
  const at = (stage: string) => `providers.${next.provider}.${stage}`
  const [old, now] = [yield* breakerOptions(before), yield* breakerOptions(next)]
  if (breaker !== undefined && now !== undefined && !alike(old, now)) {
    steps.push(...stepOf(at("breaker"), breaker.configure, old ?? now, now))
  }
  const [less, more] = [bulkheadOptions(before), bulkheadOptions(next)]
  if (bulkhead !== undefined && more !== undefined && !alike(less, more)) {
    steps.push(...stepOf(at("bulkhead"), bulkhead.configure, less ?? more, more))
  }
  return steps
})

const bulkheadOptions = ({ bulkhead }: Pipeline.Options): Bulkhead.Options | undefined =>
  bulkhead === true ? {} : bulkhead === undefined || isService(bulkhead) ? undefined : bulkhead

/** Takes all steps, or none: where one fails, it and those before it are taken back. */
export const allOrNone = (steps: ReadonlyArray<Step>): Effect.Effect<void, InvalidOptions> =>
  Effect.uninterruptible(Effect.gen(function*() {
    for (const [index, step] of steps.entries()) {
      const exit = yield* Effect.exit(step.apply)
      if (Exit.isSuccess(exit)) continue
      yield* Effect.forEach(steps.slice(0, index + 1).reverse(), ({ undo }) => Effect.exit(undo), { discard: true })
      return yield* exit
    }
  }))

/** The fields that are given. */
export const given = <O extends object>(options: O | undefined): Partial<O> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- some of the fields of an O
  Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<O>

/** Makes sure that what is made anew makes sense, before anything is. */
export const checkedStages = (first: Pipeline.Options, next: Pipeline.Options) =>
  checked(() => checkStages(first, next))
