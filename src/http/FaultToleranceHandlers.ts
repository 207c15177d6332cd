/** What the endpoints of `FaultToleranceApi` do, as a layer for any API that has the group. */
import { Clock, Context, type Duration, Effect, Record, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup } from "effect/http-api"
import * as Event from "../Event.ts"
import { canAnswer, Health, type Verdict } from "../Health.ts"
import { table } from "../ProviderError.ts"
import { type Latency, Measurements, type ServiceReading, type Totals } from "../Telemetry.ts"
import { type FaultToleranceApi, HealthEnvelope, HealthJson, type MetricsEnvelope } from "./FaultToleranceApi.ts"
import { type Around, around, type Having } from "./Mounted.ts"
import { UnknownService } from "./Problems.ts"
import * as Throttle from "./Throttle.ts"

const encodeEnvelope = Schema.encodeSync(HealthEnvelope)
const encodeHealthJson = Schema.encodeSync(HealthJson)

/** Give it to the API's own layer, with what the API has around the group. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: Having<typeof FaultToleranceApi, Id, Groups>
) =>
  around<Around<typeof FaultToleranceApi, Groups>>()(
    HttpApiBuilder.group(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parameter says that it has the group
      api as unknown as HttpApi.HttpApi<Id, typeof FaultToleranceApi>,
      "faultTolerance",
      (group) => Effect.map(handlers, (all) => group.handleAll(all))
    )
  )

/** As a record, for `handleAll`. */
export const handlers = Effect.gen(function*() {
  const health = yield* Health
  const measurements = yield* Measurements
  const sink = Context.get(yield* Effect.context(), Event.Sink)
  // Providers are asked every ten seconds at most; this bounds the rest.
  const limitedProbes = yield* Throttle.make("Probes", 60)
  const limitedResets = yield* Throttle.make("Resets", 30)

  /** Those asked for, or all; `all` is all. */
  const known = (
    asked: ReadonlyArray<string> | undefined,
    everybody: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<string>, UnknownService> => {
    if (asked === undefined || asked.length === 0 || asked.includes("all")) return Effect.succeed(everybody)
    const strangers = asked.filter((name) => !everybody.includes(name))
    return strangers.length === 0
      ? Effect.succeed([...new Set(asked)])
      : Effect.fail(UnknownService.among([...everybody, "all"]))
  }

  const measured = Effect.map(measurements.read(), ({ services }) => [
    ...new Set([...health.names, ...services.map(({ service }) => service)])
  ])

  const answer = Effect.fnUntraced(function*(verdicts: ReadonlyArray<Verdict>, detailed: boolean) {
    const request = yield* HttpServerRequest.HttpServerRequest
    // A server whose providers all lack credentials is empty, not broken.
    const status = canAnswer(verdicts) || verdicts.every(({ state }) => state === "NotConfigured") ? 200 : 503
    if (request.headers["accept"]?.includes("application/health+json") === true) {
      return HttpServerResponse.jsonUnsafe(encodeHealthJson(healthJson(verdicts)), {
        status,
        contentType: "application/health+json"
      })
    }
    const { services } = yield* measurements.read({ services: verdicts.map(({ name }) => name) })
    const timestamp = yield* Clock.currentTimeMillis
    const of = (state: Verdict["state"]) => verdicts.filter((verdict) => verdict.state === state).length
    const envelope: HealthEnvelope = {
      success: true,
      data: {
        healthy: verdicts.every(isHealthy),
        services: verdicts.map((verdict, index) => ({
          name: verdict.name,
          healthy: isHealthy(verdict),
          status: {
            isHealthy: isHealthy(verdict),
            ...(detailed ? { state: verdict.state, reasons: verdict.reasons } : {})
          },
          ...(detailed ? { metrics: counters(services[index]!) } : {}),
          lastCheck: verdict.checkedAt
        })),
        summary: {
          totalServices: verdicts.length,
          healthyServices: verdicts.filter(isHealthy).length,
          degradedServices: of("Degraded"),
          failedServices: of("Failed")
        },
        timestamp
      }
    }
    return HttpServerResponse.jsonUnsafe(encodeEnvelope(envelope), { status })
  })

  return {
    health: ({ query }: { readonly query: Asked }) =>
      known(query.services, health.names).pipe(
        Effect.flatMap((names) => health.check(names)),
        Effect.flatMap((verdicts) => answer(verdicts, query.detailed ?? false))
      ),
    probe: ({ payload }: { readonly payload: Asked | null }) =>
      limitedProbes.pipe(
        Effect.andThen(known(payload?.services, health.names)),
        Effect.flatMap((names) => health.probe(names)),
        Effect.flatMap((verdicts) => answer(verdicts, payload?.detailed ?? false))
      ),
    metrics: Effect.fnUntraced(function*({ query }: { readonly query: MetricsQuery }) {
      const services = yield* known(query.services, yield* measured)
      const reading = yield* measurements.read({ services, range: query.timeRange })
      if (query.format === "csv") return csv(reading.services)
      return {
        success: true,
        data: {
          services: reading.services.map((service) =>
            Object.assign({ name: service.service }, counters(service), more(service), standing(service))
          ),
          summary: {
            totalRequests: reading.summary.total,
            overallSuccessRate: reading.summary.successRate,
            overallErrorRate: reading.summary.errorRate,
            totalRetries: reading.summary.retried,
            totalFallbacks: reading.summary.fallbacks,
            averageLatency: reading.summary.latency.mean,
            latency: percentiles(reading.summary.latency)
          },
          window: reading.window,
          timestamp: reading.window.to
        }
      } satisfies MetricsEnvelope
    }),
    resetMetrics: Effect.fnUntraced(function*({ payload }: { readonly payload: Pick<Asked, "services"> | null }) {
      yield* limitedResets
      const services = yield* known(payload?.services, yield* measured)
      yield* measurements.reset(services)
      const timestamp = yield* Clock.currentTimeMillis
      sink?.({
        _tag: "OperatorAction",
        at: timestamp,
        action: "reset metrics",
        target: services.join(","),
        actor: "operator"
      })
      return {
        success: true as const,
        data: { resetResults: services.map((service) => ({ service, reset: true as const })), timestamp }
      }
    })
  }
})

interface Asked {
  readonly services?: ReadonlyArray<string>
  readonly detailed?: boolean
}

interface MetricsQuery {
  readonly services?: ReadonlyArray<string>
  readonly timeRange?: Duration.Duration
  readonly format?: "json" | "csv"
}

const isHealthy = ({ state }: Verdict): boolean => state === "Healthy" || state === "NotConfigured"

/** The specification's nine. */
const counters = (totals: Totals) => ({
  totalRequests: totals.total,
  successfulRequests: totals.successful,
  failedRequests: totals.failed,
  retriedRequests: totals.retried,
  circuitBreakerTrips: totals.breakerTrips,
  fallbackActivations: totals.fallbacks,
  averageLatency: totals.latency.mean,
  successRate: totals.successRate,
  errorRate: totals.errorRate
})

const percentiles = ({ p50, p90, p95, p99 }: Latency) => ({ p50, p90, p95, p99 })

const more = (totals: Totals) => ({
  cancelledRequests: totals.cancelled,
  refusedRequests: totals.refused,
  latency: percentiles(totals.latency),
  errorsByCategory: Object.fromEntries(
    Record.toEntries(totals.errors).flatMap(([tag, count]) => count === 0 ? [] : [[table[tag].category, count]])
  ),
  cache: totals.cache,
  hedgedRequests: totals.hedged,
  completeness: totals.completeness
})

const standing = ({ circuits, hedged, level, retried, retryBudget }: ServiceReading) => ({
  ...(retryBudget === undefined ? {} : { retryBudget: { ...retryBudget, spent: retried + hedged } }),
  ...(circuits.length === 0 ? {} : {
    circuits: circuits.map(({ millis, ...circuit }) => Object.assign(circuit, { timeInState: millis }))
  }),
  ...(level === undefined ? {} : { serviceLevel: { level: level.level, timeAtLevel: level.millis } })
})

const columns = [
  "name",
  "totalRequests",
  "successfulRequests",
  "failedRequests",
  "cancelledRequests",
  "retriedRequests",
  "hedgedRequests",
  "circuitBreakerTrips",
  "fallbackActivations",
  "averageLatency",
  "p50",
  "p90",
  "p95",
  "p99",
  "successRate",
  "errorRate",
  "retryBudgetLeft",
  "retryBudgetExhausted"
] as const

const csv = (services: ReadonlyArray<ServiceReading>) => {
  const rows = services.map((service) => {
    const cells: { readonly [column: string]: string | number | null } = {
      name: `"${service.service.replaceAll(`"`, `""`)}"`,
      ...counters(service),
      cancelledRequests: service.cancelled,
      hedgedRequests: service.hedged,
      retryBudgetLeft: service.retryBudget?.left ?? null,
      retryBudgetExhausted: service.retryBudget?.exhausted ?? null,
      ...percentiles(service.latency)
    }
    return columns.map((column) => cells[column] ?? "").join(",")
  })
  return HttpServerResponse.text([columns.join(","), ...rows, ""].join("\r\n"), {
    contentType: "text/csv; charset=utf-8"
  })
}

const words = { Healthy: "pass", NotConfigured: "pass", Degraded: "warn", Failed: "fail" } as const

const healthJson = (verdicts: ReadonlyArray<Verdict>): typeof HealthJson.Type => ({
  status: verdicts.every(isHealthy) ? "pass" : canAnswer(verdicts) ? "warn" : "fail",
  description: "holdfast",
  checks: Object.fromEntries(verdicts.map((verdict) => [`${verdict.name}:availability`, [{
    componentId: verdict.name,
    componentType: "component" as const,
    status: words[verdict.state],
    time: new Date(verdict.checkedAt).toISOString(),
    ...(verdict.reasons.length === 0 ? {} : { output: verdict.reasons.join("; ") })
  }]]))
})
