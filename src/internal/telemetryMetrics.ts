/** The counters of telemetry as metric series: names and labels as `/metrics` and OTLP show them. */
import { type Context, Record } from "effect"
import { reasons, table } from "../ProviderError.ts"
import * as registry from "./metricRegistry.ts"
import * as series from "./telemetrySeries.ts"

/** Whose calls they are: a provider's are attempts; a search's answers are more or less complete. */
export type Kind = "service" | "provider" | "search"

const tags = Record.keys(reasons)

export const errorField = Record.map(reasons, (_, tag) => series.field.error + tags.indexOf(tag))

/** Failures that say nothing of the provider's health; the breaker counts neither them nor refusals. */
const ignored = tags.filter((tag) => table[tag].breaker === "Ignored").map((tag) => errorField[tag])

const families = {
  calls: ["ft_calls_total", "Calls that ended, and attempts at a provider, by outcome"],
  duration: ["ft_call_duration_seconds", "Latency of the calls that succeeded or failed"],
  attempts: [
    "ft_attempt_duration_seconds",
    "Latency of attempts at a provider; handled where retry sees to the failure"
  ],
  retries: ["ft_retries_total", "Attempts after the first"],
  retryCalls: ["ft_retry_calls_total", "Calls to a provider, by what retry had to do with their end"],
  hedges: ["ft_hedges_total", "Attempts started beside a slow one"],
  trips: ["ft_breaker_trips_total", "Times a circuit opened"],
  fallback: ["ft_fallback_total", "Calls that went on from a provider that was given up on, by where they went"],
  errors: ["ft_errors_total", "Attempts that failed, by category"],
  cache: ["ft_cache_requests_total", "Cache lookups, by result"],
  search: ["ft_search_results_total", "Searches, by how complete the answer was"],
  inFlight: ["ft_calls_in_flight", "Calls under way"],
  budgetLeft: ["ft_retry_budget_remaining", "Added attempts that can be paid now"],
  budgetSpent: ["ft_retry_budget_spent_total", "Retries and hedges that the budget paid"],
  budgetExhausted: ["ft_retry_budget_exhausted_total", "Retries and hedges that did not take place for want of budget"]
} as const satisfies { readonly [name: string]: registry.Family }

const attempts = ["0", "1", "2", "3plus"]

/** Every series of an operation exists from the start, at 0, so that a rate sees the first error. */
export const ofOperation = (
  context: Context.Context<never>,
  labels: { readonly service: string; readonly operation: string },
  kind: Kind,
  own: series.Series
): ReadonlyArray<registry.Shown> => {
  const lifetime = (index: number): number => own.counts.lifetime(index)
  const count = (family: registry.Family, index: number, more?: registry.Labels) =>
    registry.counter(context, family, { ...labels, ...more }, () => lifetime(index))
  const calls = (outcome: string, value: () => number) =>
    registry.counter(context, families.calls, { ...labels, outcome }, value)
  const { cancelled, failure, refused, success } = series.field
  const spared = (): number => kind === "provider" ? ignored.reduce((sum, index) => sum + lifetime(index), 0) : 0
  return [
    calls("success", () => lifetime(success)),
    calls("failure", () => lifetime(failure) - spared()),
    calls("not_permitted", () => lifetime(refused)),
    calls("cancelled", () => lifetime(cancelled)),
    ...(["success", "failure"] as const).map((outcome) =>
      registry.histogram(
        context,
        families.duration,
        { ...labels, outcome },
        series.boundsOf(series.fine),
        () => own.durations(outcome)
      )
    ),
    ...tags.map((tag) => count(families.errors, errorField[tag], { category: table[tag].category })),
    count(families.retries, series.field.retry),
    count(families.hedges, series.field.hedge),
    registry.gauge(context, families.inFlight, labels, () => own.inFlight),
    ...(kind !== "provider" ? [] : [
      calls("ignored", spared),
      count(families.trips, series.field.breakerTrip),
      ...attempts.flatMap((attempt, number) =>
        [false, true].map((handled) =>
          registry.histogram(
            context,
            families.attempts,
            { ...labels, attempt, handled: String(handled) },
            series.boundsOf(series.coarse),
            () => own.attempts(number, handled)
          )
        )
      )
    ])
  ]
}

/** What is shown for a service as a whole, once it has operations of the kind. `all` are the series of its operations. */
export const ofService = (
  context: Context.Context<never>,
  service: string,
  kind: Kind,
  all: () => ReadonlyArray<series.Series>
): ReadonlyArray<registry.Shown> => {
  const sum = (value: (one: series.Series) => number) => () => all().reduce((total, one) => total + value(one), 0)
  const lifetime = (index: number) => sum((one) => one.counts.lifetime(index))
  const { field } = series
  switch (kind) {
    case "provider":
      return Object.entries({
        successful_without_retry: sum((it) => it.counts.lifetime(field.success) - it.retryCalls.successfulWith),
        successful_with_retry: sum(({ retryCalls }) => retryCalls.successfulWith),
        failed_without_retry: sum(({ retryCalls }) => retryCalls.failedWithout),
        failed_with_retry: sum(({ retryCalls }) => retryCalls.failedWith)
      }).map(([kind, value]) => registry.counter(context, families.retryCalls, { service, kind }, value))
    case "service":
      return Object.entries({
        hit: field.cacheHit,
        stale: field.cacheStale,
        miss: field.cacheMiss,
        coalesced: field.cacheCoalesced
      }).map(([result, index]) =>
        registry.counter(context, families.cache, { cache: service, result }, lifetime(index))
      )
    case "search":
      return Object.entries({
        complete: field.complete,
        partial: field.partial,
        stale: field.stale,
        lexical: field.lexical,
        failed: field.failed
      }).map(([completeness, index]) =>
        registry.counter(context, families.search, { service, completeness }, lifetime(index))
      )
  }
}

/** Calls of a service that went from one provider to another, or to an answer without one. */
export const ofFlow = (context: Context.Context<never>, labels: registry.Labels, value: () => number): registry.Shown =>
  registry.counter(context, families.fallback, labels, value)

interface Budget {
  readonly left: () => number
  readonly spent: () => number
  readonly exhausted: () => number
}

export const ofBudget = (
  context: Context.Context<never>,
  service: string,
  { exhausted, left, spent }: Budget
): ReadonlyArray<registry.Shown> => [
  registry.gauge(context, families.budgetLeft, { service }, left),
  registry.counter(context, families.budgetSpent, { service }, spent),
  registry.counter(context, families.budgetExhausted, { service }, exhausted)
]
