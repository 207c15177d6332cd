/**
 * What ties together the work of many services for one request: its id and its trace. Both come in with the request,
 * travel with the fiber, and go out with every call that is made for it.
 */
import { Context, Effect } from "effect"
import { HttpTraceContext } from "effect/http"
import { isTraced } from "./internal/tracing.ts"

/** The id of the request that the fiber works for; `undefined` where there is none. Errors of providers carry it. */
export const current = Context.Reference<string | undefined>("holdfast/Correlation", { defaultValue: () => undefined })

/** Runs the effect on behalf of a request: its errors, spans and logs carry the id, the latter as `request.id`. */
export const within = (id: string) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  self.pipe(
    Effect.provideService(current, id),
    Effect.annotateLogs("request.id", id),
    Effect.annotateSpans("request.id", id)
  )

/** The headers of a request made for this one: `traceparent` where it is traced, and the id by a name of your choice. */
export const outgoing = (idHeader = "x-request-id"): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.withFiber((fiber) => {
    const id = fiber.getRef(current)
    const { span } = fiber.cache
    const traceparent = span?._tag === "Span" && isTraced(fiber)
      ? HttpTraceContext.toHeaders(span)["traceparent"]
      : undefined
    return Effect.succeed({
      ...(id !== undefined && { [idHeader]: id }),
      ...(traceparent !== undefined && { traceparent })
    })
  })
