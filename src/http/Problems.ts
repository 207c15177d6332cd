/** The errors of the API as `application/problem+json`. None carries a provider's words. */
import { Schema } from "effect"
import { HttpApiError } from "effect/http-api"

/** A service was asked for that this server does not have. */
export class UnknownService extends HttpApiError.Problem<UnknownService>()("UnknownService", {
  type: "urn:holdfast:unknown-service",
  status: 400,
  title: "Unknown service"
}, { allowed: Schema.Array(Schema.String) }) {
  /** With what may be asked for in place of it. */
  static readonly among = (allowed: ReadonlyArray<string>): UnknownService =>
    new UnknownService({
      detail: `This server has no service of that name. Ask for any of: ${allowed.join(", ")}.`,
      allowed
    })
}

/** The token is missing or wrong. */
export class Unauthorized extends HttpApiError.Problem<Unauthorized>()("Unauthorized", {
  type: "urn:holdfast:unauthorized",
  status: 401,
  title: "This needs the operator's token"
}) {}

/** Somebody asks more often than this server answers. */
export class TooManyRequests extends HttpApiError.Problem<TooManyRequests>()("TooManyRequests", {
  type: "urn:holdfast:too-many-requests",
  status: 429,
  title: "Too many requests"
}, { /** Seconds. */ retryAfter: Schema.Int }) {}

/** The request is well formed, but cannot be served as it is. */
export class BadRequest extends HttpApiError.Problem<BadRequest>()("BadRequest", {
  type: "urn:holdfast:bad-request",
  status: 400,
  title: "The request cannot be served as it is"
}) {}

/** The addressed thing is not known here. */
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFound", {
  type: "urn:holdfast:not-found",
  status: 404,
  title: "There is nothing of this name"
}) {}

export class DocumentNotFound extends HttpApiError.Problem<DocumentNotFound>()("DocumentNotFound", {
  type: "urn:holdfast:document-not-found",
  status: 404,
  title: "There is no document of this id"
}) {}

/** The data breaks a rule of the store. */
export class Unprocessable extends HttpApiError.Problem<Unprocessable>()("Unprocessable", {
  type: "urn:holdfast:unprocessable",
  status: 422,
  title: "A store refuses this data"
}, { provider: Schema.optionalKey(Schema.String) }) {}

/** Settings that cannot be taken; each is told by its field. */
export class InvalidConfiguration extends HttpApiError.Problem<InvalidConfiguration>()("InvalidConfiguration", {
  type: "urn:holdfast:invalid-configuration",
  status: 422,
  title: "These settings cannot be taken"
}, { problems: Schema.Array(Schema.Struct({ field: Schema.String, message: Schema.String })) }) {}

const failures = Schema.Array(Schema.Struct({ provider: Schema.String, category: Schema.String }))

/** Every provider was given up on, or none may be asked now. */
export class NobodyAnswered extends HttpApiError.Problem<NobodyAnswered>()("NobodyAnswered", {
  type: "urn:holdfast:nobody-answered",
  status: 503,
  title: "No provider could answer"
}, { failures, /** Seconds. */ retryAfter: Schema.optionalKey(Schema.Int) }) {}

/** The time allowed for the request passed. */
export class TimeIsUp extends HttpApiError.Problem<TimeIsUp>()("TimeIsUp", {
  type: "urn:holdfast:time-is-up",
  status: 504,
  title: "No provider answered in time"
}) {}

/** Something failed that asking again does not mend: our own set-up, or the unforeseen. */
export class Broken extends HttpApiError.Problem<Broken>()("Broken", {
  type: "urn:holdfast:broken",
  status: 500,
  title: "A provider or its set-up is at fault"
}, { failures }) {}
