/** What Kubernetes asks: whether to restart (`/livez`), to send traffic (`/readyz`), and to begin asking (`/startupz`). */
import { Context, Deferred, Effect, Layer, Ref } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { canAnswer, Health } from "../Health.ts"

/** The server is on its way out: streams end, and it is ready no more. */
export class Draining extends Context.Service<Draining, Deferred.Deferred<void>>()("holdfast/http/Draining") {
  static readonly layer: Layer.Layer<Draining> = Layer.effect(Draining, Deferred.make<void>())
}

/** Whether the server has what it needs to begin: migrations, and the first documents. */
export class Startup extends Context.Service<Startup, Ref.Ref<"Starting" | "Started">>()("holdfast/http/Startup") {
  static readonly layer: Layer.Layer<Startup> = Layer.effect(Startup, Ref.make<"Starting" | "Started">("Starting"))
}

const say = (status: 200 | 503, body: { readonly [key: string]: unknown }) =>
  HttpServerResponse.jsonUnsafe({ status: status === 200 ? "pass" : "fail", ...body }, {
    status,
    contentType: "application/health+json"
  })

/** The three routes. None asks a provider. */
export const layer = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const health = yield* Health
  const draining = yield* Draining
  const startup = yield* Startup

  // Alive means: this very code runs. A dead dependency is no reason to be restarted.
  yield* router.add("GET", "/livez", Effect.sync(() => say(200, {})))
  yield* router.add(
    "GET",
    "/startupz",
    Effect.map(Ref.get(startup), (state) => say(state === "Started" ? 200 : 503, { output: state }))
  )
  yield* router.add(
    "GET",
    "/readyz",
    Effect.gen(function*() {
      if (yield* Deferred.isDone(draining)) return say(503, { output: "the server is shutting down" })
      const verdicts = yield* health.check()
      return canAnswer(verdicts)
        ? say(200, {})
        : say(503, {
          output: verdicts.flatMap(({ name, reasons }) => reasons.map((why) => `${name}: ${why}`)).join("; ")
        })
    })
  )
}))
