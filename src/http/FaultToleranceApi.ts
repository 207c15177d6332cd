/**
 * The specification's endpoints for health and metrics, with its envelopes, as a group that any `HttpApi` can add:
 *
 *     HttpApi.make("shop").add(Orders).add(FaultToleranceApi)
 *
 * Where not everybody may read, put authentication of your own before it, as before any group:
 * `FaultToleranceApi.middleware(Auth)`.
 */
import { Schema } from "effect"
import {
  HttpApi,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpApiSecurity,
  OpenApi
} from "effect/http-api"
import { State } from "../Health.ts"
import { Level } from "../ServiceLevel.ts"
import { CommaList, TimeRange } from "./Codec.ts"
import { TooManyRequests, Unauthorized, UnknownService } from "./Problems.ts"
import { CircuitView } from "./Snapshot.ts"

/** Lets those pass who know the operator's token. */
export class Operator extends HttpApiMiddleware.Service<Operator>()("holdfast/http/Operator", {
  security: { bearer: HttpApiSecurity.bearer },
  error: Unauthorized,
  requiredForClient: true
}) {}

const Rate = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Millis = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** The nine counters of the specification; rates and latency are `null` where there were no calls. */
const counters = {
  totalRequests: Count,
  successfulRequests: Count,
  failedRequests: Count,
  retriedRequests: Count,
  circuitBreakerTrips: Count,
  fallbackActivations: Count,
  /** Milliseconds. */
  averageLatency: Schema.NullOr(Millis),
  successRate: Schema.NullOr(Rate),
  errorRate: Schema.NullOr(Rate)
}

export const Percentiles = Schema.Struct({
  p50: Schema.NullOr(Millis),
  p90: Schema.NullOr(Millis),
  p95: Schema.NullOr(Millis),
  p99: Schema.NullOr(Millis)
})

const details = {
  /** With `cancelledRequests` and the two above it makes the total; `refusedRequests` are part of the failed ones. */
  cancelledRequests: Schema.optionalKey(Count),
  refusedRequests: Schema.optionalKey(Count),
  latency: Schema.optionalKey(Percentiles),
  errorsByCategory: Schema.optionalKey(Schema.Record(Schema.String, Count)),
  cache: Schema.optionalKey(Schema.Struct({ hit: Count, stale: Count, miss: Count, coalesced: Count })),
  hedgedRequests: Schema.optionalKey(Count),
  /** How complete the answers to searches were. */
  completeness: Schema.optionalKey(
    Schema.Struct({ complete: Count, partial: Count, stale: Count, lexical: Count, failed: Count })
  )
}

export const ServiceHealth = Schema.Struct({
  name: Schema.String,
  healthy: Schema.Boolean,
  status: Schema.Struct({
    isHealthy: Schema.Boolean,
    state: Schema.optionalKey(State),
    reasons: Schema.optionalKey(Schema.Array(Schema.String))
  }),
  metrics: Schema.optionalKey(
    Schema.Struct({ ...counters, ...details }).mapFields((fields) => ({
      totalRequests: fields.totalRequests,
      successfulRequests: Schema.optionalKey(fields.successfulRequests),
      failedRequests: Schema.optionalKey(fields.failedRequests),
      retriedRequests: Schema.optionalKey(fields.retriedRequests),
      circuitBreakerTrips: Schema.optionalKey(fields.circuitBreakerTrips),
      fallbackActivations: Schema.optionalKey(fields.fallbackActivations),
      averageLatency: Schema.optionalKey(fields.averageLatency),
      successRate: Schema.optionalKey(fields.successRate),
      errorRate: Schema.optionalKey(fields.errorRate),
      latency: fields.latency
    }))
  ),
  /** Epoch milliseconds. */
  lastCheck: Schema.Finite
})

/** The specification's answer to "how are you". */
export const HealthEnvelope = Schema.Struct({
  success: Schema.Literal(true),
  data: Schema.Struct({
    healthy: Schema.Boolean,
    services: Schema.Array(ServiceHealth),
    summary: Schema.Struct({
      totalServices: Count,
      healthyServices: Count,
      degradedServices: Count,
      failedServices: Count
    }),
    /** Epoch milliseconds. */
    timestamp: Schema.Finite
  })
})
export type HealthEnvelope = typeof HealthEnvelope.Type

/** What is beside the counters of a service or provider, over the same range. */
const standing = {
  /** What pays for a provider's retries and hedges. */
  retryBudget: Schema.optionalKey(Schema.Struct({
    /** Added attempts that can be paid now, of the most there can be. */
    left: Millis,
    size: Millis,
    /** Retries and hedges that were paid. */
    spent: Count,
    /** Those that did not take place for want of budget. */
    exhausted: Count
  })),
  /** A provider's circuits. */
  circuits: Schema.optionalKey(Schema.Array(Schema.Struct({
    key: Schema.String,
    state: CircuitView.fields.state,
    /** When the state began, in epoch milliseconds. */
    since: Schema.Finite,
    /** How often it opened. */
    openings: Count,
    /** How long it was in each state, in milliseconds. */
    timeInState: Schema.Struct({
      Closed: Millis,
      Open: Millis,
      HalfOpen: Millis,
      ForcedOpen: Millis,
      Disabled: Millis
    })
  }))),
  /** A service's level. */
  serviceLevel: Schema.optionalKey(Schema.Struct({
    level: Level,
    /** How long it was at each, in milliseconds. */
    timeAtLevel: Schema.Struct({ Full: Millis, Reduced: Millis, Basic: Millis, Minimal: Millis, Emergency: Millis })
  }))
}

export const ServiceMetrics = Schema.Struct({ name: Schema.String, ...counters, ...details, ...standing })

/** The specification's metrics. */
export const MetricsEnvelope = Schema.Struct({
  success: Schema.Literal(true),
  data: Schema.Struct({
    services: Schema.Array(ServiceMetrics),
    summary: Schema.Struct({
      totalRequests: Count,
      overallSuccessRate: Schema.NullOr(Rate),
      overallErrorRate: Schema.NullOr(Rate),
      totalRetries: Count,
      totalFallbacks: Count,
      averageLatency: Schema.NullOr(Millis),
      latency: Schema.optionalKey(Percentiles)
    }),
    /** What the figures cover, in epoch milliseconds: never from before the start or the last reset. */
    window: Schema.optionalKey(Schema.Struct({ from: Schema.Finite, to: Schema.Finite })),
    timestamp: Schema.optionalKey(Schema.Finite)
  })
})
export type MetricsEnvelope = typeof MetricsEnvelope.Type

/** The draft form of `application/health+json`. */
export const HealthJson = Schema.Struct({
  status: Schema.Literals(["pass", "warn", "fail"]),
  description: Schema.optionalKey(Schema.String),
  checks: Schema.Record(
    Schema.String,
    Schema.Array(
      Schema.Struct({
        componentId: Schema.String,
        componentType: Schema.Literals(["component", "datastore", "system"]),
        status: Schema.Literals(["pass", "warn", "fail"]),
        time: Schema.String,
        output: Schema.optionalKey(Schema.String)
      })
    )
  )
})

const healthSuccess = [
  HealthEnvelope,
  HealthEnvelope.pipe(HttpApiSchema.status(503)),
  HealthJson.pipe(HttpApiSchema.asJson({ contentType: "application/health+json" })),
  HealthJson.pipe(HttpApiSchema.asJson({ contentType: "application/health+json" }), HttpApiSchema.status(503))
] as const

/** `"all"` is all of them. */
const services = Schema.optionalKey(CommaList)
// A payload of `Null` or more lets the body be left out.
const names = Schema.optionalKey(Schema.Array(Schema.NonEmptyString))

/** Health and metrics below `/api/fault-tolerance`. */
export class FaultToleranceApi extends HttpApiGroup.make("faultTolerance")
  .add(
    HttpApiEndpoint.get("health", "/health", {
      query: { services, detailed: Schema.optionalKey(Schema.Boolean) },
      success: healthSuccess,
      error: UnknownService
    }).annotate(OpenApi.Summary, "How the services are, by what is known already"),
    HttpApiEndpoint.post("probe", "/health", {
      payload: [Schema.Null, Schema.Struct({ services: names, detailed: Schema.optionalKey(Schema.Boolean) })],
      success: healthSuccess,
      error: [UnknownService, TooManyRequests]
    }).annotate(OpenApi.Summary, "How the services are, asking them first"),
    HttpApiEndpoint.get("metrics", "/metrics", {
      query: {
        services,
        timeRange: Schema.optionalKey(TimeRange),
        format: Schema.optionalKey(Schema.Literals(["json", "csv"]))
      },
      success: [MetricsEnvelope, Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/csv" }))],
      error: UnknownService
    }).annotate(OpenApi.Summary, "What was counted, over a time range"),
    HttpApiEndpoint.post("resetMetrics", "/metrics/reset", {
      payload: [Schema.Null, Schema.Struct({ services: names })],
      success: Schema.Struct({
        success: Schema.Literal(true),
        data: Schema.Struct({
          resetResults: Schema.Array(Schema.Struct({ service: Schema.String, reset: Schema.Literal(true) })),
          timestamp: Schema.Finite
        })
      }),
      error: [UnknownService, TooManyRequests]
    }).annotate(OpenApi.Summary, "Begin to count anew; Prometheus counters go on").middleware(Operator)
  )
  .prefix("/api/fault-tolerance")
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
{}
