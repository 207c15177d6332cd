/** How often something may be asked for over HTTP. Whoever is refused is told when to come again. */
import { Duration, Effect } from "effect"
import { HttpEffect, type HttpServerRequest, HttpServerResponse } from "effect/http"
import * as RateLimit from "../RateLimit.ts"
import { TooManyRequests } from "./Problems.ts"

/** So many a minute, ten of them at once. `what` names it in the answer, as in "Operator actions". */
export const make = (
  what: string,
  perMinute: number
): Effect.Effect<Effect.Effect<void, TooManyRequests, HttpServerRequest.HttpServerRequest>> =>
  RateLimit.make({ name: what, limit: perMinute, window: "1 minute", burst: 10, onLimit: "refuse" }).pipe(
    Effect.orDie,
    Effect.map((limit) =>
      Effect.catch(limit.take(), ({ retryAfter }) => {
        const seconds = Math.max(1, Math.ceil(Duration.toSeconds(retryAfter)))
        return Effect.andThen(
          retryIn(seconds),
          Effect.fail(
            new TooManyRequests({ detail: `${what} are limited to ${perMinute} a minute.`, retryAfter: seconds })
          )
        )
      })
    )
  )

/** Says in the header too how long to wait. */
export const retryIn = (seconds: number): Effect.Effect<void, never, HttpServerRequest.HttpServerRequest> =>
  HttpEffect.appendPreResponseHandler((_, response) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(seconds)))
  )
