/**
 * The settings in force, and patches of them, as a group that any `HttpApi` can add. Reading is open to whoever reaches
 * the server: settings hold no secrets. A patch wants the operator's token and is told to the events.
 */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema, OpenApi } from "effect/http-api"
import { Change, Effective } from "../Settings.ts"
import { Operator } from "./FaultToleranceApi.ts"
import { InvalidConfiguration, TooManyRequests } from "./Problems.ts"

/** A JSON merge patch (RFC 7396): `null` takes back what was patched before. */
const Patch = Schema.Record(Schema.String, Schema.Unknown)

export const ConfigView = Schema.Struct({ ...Effective.fields, history: Schema.Array(Change) })

export class SettingsApi extends HttpApiGroup.make("settings")
  .add(
    HttpApiEndpoint.get("effective", "/config", { success: ConfigView }).annotate(
      OpenApi.Summary,
      "The settings in force, and where each came from"
    ),
    HttpApiEndpoint.patch("patch", "/config", {
      payload: [Patch, Patch.pipe(HttpApiSchema.asJson({ contentType: "application/merge-patch+json" }))],
      success: Effective,
      error: [InvalidConfiguration, TooManyRequests]
    }).annotate(OpenApi.Summary, "Change settings, all of them or none").middleware(Operator)
  )
  .prefix("/api/fault-tolerance")
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
{}
