/** The operator's bearer token, compared in constant time. */
import { Effect, Layer, Redacted } from "effect"
import { HttpEffect, HttpServerResponse } from "effect/http"
import { createHash, timingSafeEqual } from "node:crypto"
import { Operator } from "./FaultToleranceApi.ts"
import { Unauthorized } from "./Problems.ts"

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Lets pass who sends `token` as bearer. */
export const layer = (token: Redacted.Redacted): Layer.Layer<Operator> => {
  const expected = digest(Redacted.value(token))
  return Layer.succeed(
    Operator,
    Operator.of({
      bearer: (httpEffect, { credential }) =>
        timingSafeEqual(digest(Redacted.value(credential)), expected)
          ? httpEffect
          : Effect.logWarning("An operator's action was refused: its token is wrong").pipe(
            Effect.andThen(HttpEffect.appendPreResponseHandler((_, response) =>
              Effect.succeed(HttpServerResponse.setHeader(response, "www-authenticate", `Bearer realm="holdfast"`))
            )),
            Effect.andThen(
              new Unauthorized({
                detail:
                  "Send it as `Authorization: Bearer TOKEN`. The server prints it at its start, or takes it from HOLDFAST_ADMIN_TOKEN."
              })
            )
          )
    })
  )
}
