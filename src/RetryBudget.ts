/**
 * A budget for added attempts, so that retries cannot hold an overloaded provider down: a tenth of the requests may be
 * repeated, not each of them three times. One budget per provider, shared by its retries and hedges.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { BudgetCore } from "./internal/budgetCore.ts"
import { checked, checks } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

export interface Options {
  /** Retries and hedges per request, on average. Defaults to 0.1. */
  readonly ratio?: number | undefined
  /**
   * The most that can be saved up, and what there is at first. Small, so that an outage does not begin with a storm of
   * saved retries. At least 1, or 0 for none at all. Defaults to 10.
   */
  readonly bucket?: number | undefined
  /** Added attempts per second that even a client with few requests gets. Defaults to 1. */
  readonly floorPerSecond?: number | undefined
  /**
   * What a retry after a timeout costs: the provider was held for long. Anything else costs 1. Defaults to 2, or to the
   * bucket where that is less.
   */
  readonly timeoutCost?: number | undefined
}

export interface Stats {
  /** The added attempts that can be paid now. */
  readonly balance: number
  /** Added attempts paid. */
  readonly withdrawn: number
  /** Added attempts that did not take place for want of budget. */
  readonly refused: number
}

export interface Service {
  readonly timeoutCost: number
  /** Counts a request. Retries and hedges do so by themselves. */
  readonly deposit: Effect.Effect<void>
  /**
   * Pays for an added attempt; `false` where the budget does not suffice. Costs 1 unless told otherwise; a cost that is
   * negative or no number is refused too.
   */
  readonly withdraw: (cost?: number) => Effect.Effect<boolean>
  readonly stats: Effect.Effect<Stats>
  /** What policies pay from. */
  readonly core: BudgetCore
}

/** The budget as a service, for all policies of one provider. */
export class RetryBudget extends Context.Service<RetryBudget, Service>()("holdfast/RetryBudget") {
  static readonly layer = (options?: Options): Layer.Layer<RetryBudget, InvalidOptions> =>
    Layer.effect(RetryBudget, make(options))
}

/**
 * For policies: the budget that they were given, or one of their own.
 * @internal
 */
export const givenTo = (
  module: string,
  budget: Service | "unlimited" | undefined
): Effect.Effect<Service | undefined, InvalidOptions> =>
  budget === undefined ? make() : checked(() => {
    if (budget === "unlimited") return undefined
    const isBudget = typeof budget === "object" && budget !== null && "core" in budget
    checks(module).ensure(isBudget, "budget", "must be a RetryBudget or \"unlimited\"")
    return budget
  })

export const make = (options?: Options): Effect.Effect<Service, InvalidOptions> =>
  checked(() => {
    const check = checks("RetryBudget")
    const bucket = check.number("bucket", options?.bucket, 10)
    check.ensure(bucket === 0 || bucket >= 1, "bucket", "must be 0 or at least 1, which is what an added attempt costs")
    const core = new BudgetCore({
      ratio: check.number("ratio", options?.ratio, 0.1, { max: 1 }),
      bucket,
      floorPerSecond: check.number("floorPerSecond", options?.floorPerSecond, 1)
    })
    const timeoutCost = check.number("timeoutCost", options?.timeoutCost, Math.max(1, Math.min(2, bucket)), { min: 1 })
    check.ensure(bucket === 0 || timeoutCost <= bucket, "timeoutCost", "must not be above the bucket")
    const now = Clock.currentTimeMillis
    return {
      core,
      timeoutCost,
      deposit: Effect.sync(() => core.deposit()),
      withdraw: (cost = 1) => Effect.map(now, (now) => core.withdraw(cost, now)),
      stats: Effect.map(now, (now) => ({
        balance: core.balance(now),
        withdrawn: core.withdrawn,
        refused: core.refused
      }))
    }
  })
