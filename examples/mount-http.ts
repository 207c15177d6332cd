/** Health, metrics, circuits and the live page in a server of your own: add the groups to your API, and their layers to its. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Console, Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { Event, Health, Pipeline, Telemetry } from "holdfast"
import * as Http from "holdfast/http"
import { createServer } from "node:http"

class Orders
  extends HttpApiGroup.make("orders").add(HttpApiEndpoint.get("count", "/orders", { success: Schema.Int }))
{}
const Api = HttpApi.make("shop").add(Orders)
  .add(Http.FaultToleranceApi.FaultToleranceApi)
  .add(Http.OperationsApi.OperationsApi)

const Routes = Layer.unwrap(Effect.gen(function*() {
  const payments = yield* Pipeline.make({ provider: "payments", retry: true, breaker: true, timeout: "2 seconds" })
  const count = Effect.orDie(Effect.succeed(7).pipe(payments.protect({ operation: "charge" })))
  const circuit = payments.breaker?.status("payments/charge")
  // The groups, the page at /, and the stream that it lives on.
  return Layer.mergeAll(HttpApiBuilder.layer(Api), Http.Dashboard.layer, Http.EventStream.layer()).pipe(
    Layer.provide([
      HttpApiBuilder.group(Api, "orders", (group) => group.handleAll({ count: () => count })),
      Http.FaultToleranceHandlers.layer(Api),
      Http.OperationsHandlers.layer(Api)
    ]),
    Layer.provide(Http.Operations.Operations.layer({ pipelines: [payments] })),
    Layer.provide(Health.Health.layer({ providers: [{ name: "payments", circuit }] })),
    Layer.provide(Http.OperatorToken.layer(Redacted.make("a secret of yours"))),
    Layer.provide(HttpApiMiddleware.layerProblemDetails())
  )
})).pipe(Layer.provide([Telemetry.layer(), Event.EventLog.layer()]))
const Server = HttpRouter.serve(Routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
)

const program = Effect.gen(function*() {
  const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
  const get = (path: string) => Effect.promise(() => fetch(`${url}${path}`).then((response) => response.json()))
  yield* Console.log("orders:", yield* get("/orders"))
  const { data } = Schema.decodeUnknownSync(Http.FaultToleranceApi.HealthEnvelope)(
    yield* get("/api/fault-tolerance/health")
  )
  yield* Console.log("healthy:", data.services.filter(({ healthy }) => healthy).map(({ name }) => name).join(", "))
  const { circuits } = Schema.decodeUnknownSync(Http.Snapshot.Snapshot)(yield* get("/api/fault-tolerance/snapshot"))
  yield* Console.log("circuits:", circuits.map(({ key, state }) => `${key} is ${state}`).join(", "))
})

await Effect.runPromise(program.pipe(Effect.provide(Server)))
