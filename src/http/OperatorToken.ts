/** The operator's bearer token, compared in constant time. */
import { Clock, DateTime, Effect, Layer, Redacted } from "effect"
import { HttpEffect, HttpServerResponse } from "effect/http"
import { createHash, timingSafeEqual } from "node:crypto"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import { Operator } from "./FaultToleranceApi.ts"
import { Unauthorized } from "./Problems.ts"

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

export interface Options {
  /** From then on the token lets nobody pass. Never by default. */
  readonly until?: DateTime.Utc | undefined
}

/**
 * Lets pass who sends `token` as bearer. One that no header can carry is refused: an empty one would let everybody pass,
 * and nobody could send one with a line's end.
 */
export const layer = (token: Redacted.Redacted, options?: Options): Layer.Layer<Operator, InvalidOptions> =>
  Layer.effect(
    Operator,
    checked(() => {
      checks("OperatorToken").ensure(
        /^[!-~](?:[ -~]*[!-~])?$/.test(Redacted.value(token)),
        "token",
        "must be printable ASCII, not empty, and without a space at either end"
      )
      return make(token, options)
    })
  )

const make = (token: Redacted.Redacted, { until }: Options = {}): Operator["Service"] => {
  const expected = digest(Redacted.value(token))
  const refuse = (why: string, detail: string) =>
    Effect.logWarning(`An operator's action was refused: its token ${why}`).pipe(
      Effect.andThen(
        HttpEffect.appendPreResponseHandler((_, response) =>
          Effect.succeed(HttpServerResponse.setHeader(response, "www-authenticate", `Bearer realm="holdfast"`))
        )
      ),
      Effect.andThen(new Unauthorized({ detail }))
    )
  const wrong = refuse(
    "is wrong",
    "Send it as `Authorization: Bearer TOKEN`. The server prints it at its start, or takes it from HOLDFAST_ADMIN_TOKEN."
  )
  return Operator.of({
    bearer: (httpEffect, { credential }) => {
      if (!timingSafeEqual(digest(Redacted.value(credential)), expected)) return wrong
      if (until === undefined) return httpEffect
      const valid = Effect.flatMap(Clock.currentTimeMillis, (now) =>
        now < until.epochMilliseconds
          ? Effect.void
          : refuse("has expired", `The token was valid until ${DateTime.formatIso(until)}: choose a new one.`))
      return Effect.andThen(valid, httpEffect)
    }
  })
}
