/**
 * What an operator reads and moves, as a group that any `HttpApi` can add beside `FaultToleranceApi`. Reading is open to
 * whoever reaches the server; every action wants the operator's token and is told to the events.
 */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, OpenApi } from "effect/http-api"
import { Alert } from "../Alerts.ts"
import { FaultPlan } from "../Chaos.ts"
import { Event } from "../Event.ts"
import { CommaList } from "./Codec.ts"
import { Operator } from "./FaultToleranceApi.ts"
import { BadRequest, NotFound, TooManyRequests, UnknownService } from "./Problems.ts"
import { CircuitView, LevelView, MinuteView, Snapshot } from "./Snapshot.ts"

/** An event with its place: the epoch tells the entries of another process apart. */
export const EventEntry = Schema.Struct({ id: Schema.String, event: Event })

export const EventPage = Schema.Struct({ events: Schema.Array(EventEntry) })

const Positive = Schema.Int.check(Schema.isGreaterThan(0))
/** Milliseconds, at most a day: nothing an operator does by hand should outlive the shift unseen. */
const Expiry = Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 86_400_000 }))

export const BreakerAction = Schema.Struct({
  /** `enable` gives the circuit back to its rules. */
  action: Schema.Literals(["open", "close", "disable", "enable", "reset"])
})

export const LevelAction = Schema.Struct({
  service: Schema.String,
  /** 0 is Full, 4 is Emergency; `null` gives the level back to its rules. */
  rank: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))),
  reason: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
  expiresInMillis: Schema.optionalKey(Expiry)
})

export const ChaosAction = Schema.Struct({
  /** `null` stops the plan that runs. */
  plan: Schema.NullOr(FaultPlan),
  /** Required with a plan: no fault stays by being forgotten. */
  expiresInMillis: Schema.optionalKey(Expiry)
})

export class OperationsApi extends HttpApiGroup.make("operations")
  .add(
    HttpApiEndpoint.get("snapshot", "/snapshot", { success: Snapshot }).annotate(
      OpenApi.Summary,
      "Everything at one instant"
    ),
    HttpApiEndpoint.get("minutes", "/minutes", {
      query: {
        service: Schema.NonEmptyString,
        /** How many of the last minutes; 60 by default. */
        count: Schema.optionalKey(Positive.check(Schema.isLessThanOrEqualTo(60)))
      },
      success: Schema.Struct({ service: Schema.String, minutes: Schema.Array(MinuteView) }),
      error: UnknownService
    }).annotate(OpenApi.Summary, "A service's last minutes, for charts"),
    HttpApiEndpoint.get("events", "/events", {
      query: {
        /** The tags of the events wanted, such as `BreakerChanged,LevelChanged`. */
        type: Schema.optionalKey(CommaList),
        /** Only those after this id. */
        since: Schema.optionalKey(Schema.NonEmptyString),
        limit: Schema.optionalKey(Positive.check(Schema.isLessThanOrEqualTo(1_000)))
      },
      success: EventPage,
      error: BadRequest
    }).annotate(OpenApi.Summary, "What happened, oldest first"),
    HttpApiEndpoint.get("alerts", "/alerts", {
      success: Schema.Struct({
        alerts: Schema.Array(Alert),
        history: Schema.Array(
          Schema.Struct({ at: Schema.Finite, change: Schema.Literals(["Fired", "Resolved"]), alert: Alert })
        )
      })
    }).annotate(OpenApi.Summary, "Alerts as they stand, and their changes"),
    HttpApiEndpoint.get("breakers", "/breakers", { success: Schema.Struct({ breakers: Schema.Array(CircuitView) }) })
      .annotate(OpenApi.Summary, "Every circuit"),
    HttpApiEndpoint.post("moveBreaker", "/breakers/:key", {
      params: { key: Schema.NonEmptyString },
      payload: BreakerAction,
      success: CircuitView,
      error: [NotFound, TooManyRequests]
    }).annotate(OpenApi.Summary, "Open, close, disable or release a circuit").middleware(Operator),
    HttpApiEndpoint.post("moveLevel", "/level", {
      payload: LevelAction,
      success: LevelView,
      error: [NotFound, TooManyRequests]
    }).annotate(OpenApi.Summary, "Hold a service's level, or give it back to its rules").middleware(Operator),
    HttpApiEndpoint.post("moveChaos", "/chaos", {
      payload: ChaosAction,
      success: Schema.Struct({ running: Schema.Boolean }),
      error: [BadRequest, TooManyRequests]
    }).annotate(OpenApi.Summary, "Start or stop faults on purpose").middleware(Operator)
  )
  .prefix("/api/fault-tolerance")
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
{}
