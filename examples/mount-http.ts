/** Health and metrics in a server of your own: add the group to your API, and give it the handlers. */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { Health, Telemetry } from "holdfast"
import { FaultToleranceApi, FaultToleranceHandlers, OperatorToken } from "holdfast/http"
import { createServer } from "node:http"

class Orders
  extends HttpApiGroup.make("orders").add(HttpApiEndpoint.get("count", "/orders", { success: Schema.Int }))
{}
const Api = HttpApi.make("shop").add(Orders).add(FaultToleranceApi.FaultToleranceApi)

const Routes = HttpApiBuilder.layer(Api).pipe(
  Layer.provide([
    HttpApiBuilder.group(Api, "orders", (group) => group.handleAll({ count: () => Effect.succeed(7) })),
    HttpApiBuilder.group(
      Api,
      "faultTolerance",
      (group) => Effect.map(FaultToleranceHandlers.handlers, (handlers) => group.handleAll(handlers))
    )
  ]),
  Layer.provide(Health.Health.layer({ providers: [{ name: "payments" }] })),
  Layer.provide(Telemetry.layer()),
  Layer.provide(OperatorToken.layer(Redacted.make("a secret of yours"))),
  Layer.provide(HttpApiMiddleware.layerProblemDetails())
)
const Server = HttpRouter.serve(Routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
)

const program = Effect.gen(function*() {
  const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
  const get = (path: string) => Effect.promise(() => fetch(`${url}${path}`).then((response) => response.json()))
  yield* Console.log("orders:", yield* get("/orders"))
  const { data } = Schema.decodeUnknownSync(FaultToleranceApi.HealthEnvelope)(yield* get("/api/fault-tolerance/health"))
  yield* Console.log("healthy:", data.services.filter(({ healthy }) => healthy).map(({ name }) => name).join(", "))
})

await Effect.runPromise(program.pipe(Effect.provide(Server)))
