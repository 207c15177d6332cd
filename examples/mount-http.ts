/** Health, metrics, circuits and the live page in a server of your own: add the groups to your API, and their layers to its. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Console, Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiScalar
} from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
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
  return Layer.mergeAll(
    HttpApiBuilder.layer(Api),
    // The page at /, the stream that it lives on, and what it links to: /metrics and /docs.
    Http.Dashboard.layer,
    Http.EventStream.layer(),
    Http.OperationsMetrics.layer,
    PrometheusMetrics.layerHttp(),
    HttpApiScalar.layer(Api)
  ).pipe(
    Layer.provide([
      HttpApiBuilder.group(Api, "orders", (group) => group.handleAll({ count: () => count })),
      Http.FaultToleranceHandlers.layer(Api),
      Http.OperationsHandlers.layer(Api)
    ]),
    Layer.provide(Http.Operations.Operations.layer({ pipelines: [payments] })),
    Layer.provide(Health.Health.layer({ providers: [{ name: "payments", circuit }] })),
    Layer.provide(Http.OperatorToken.layer(Redacted.make("a secret of yours"))),
    Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true }))
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
  const Breakers = Schema.Struct({ breakers: Schema.Array(Http.Snapshot.CircuitView) })
  const { breakers } = Schema.decodeUnknownSync(Breakers)(yield* get("/api/fault-tolerance/breakers"))
  yield* Console.log("circuits:", breakers.map(({ key, state }) => `${key} is ${state}`).join(", "))
  const status = (path: string) => Effect.promise(() => fetch(`${url}${path}`).then((response) => response.status))
  yield* Console.log("page, metrics, reference:", yield* Effect.forEach(["/", "/metrics", "/docs"], status))
})

await Effect.runPromise(program.pipe(Effect.provide(Server)))
