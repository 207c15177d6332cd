import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { execFile } from "node:child_process"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import * as Http from "../../src/http/index.ts"
import * as Telemetry from "../../src/Telemetry.ts"

it("the example of a server of one's own prints its results and ends", async () => {
  const example = fileURLToPath(new URL("../../examples/mount-http.ts", import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=holdfast-source", example], {
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
  })
  assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
    "orders: 7",
    "healthy: payments",
    "circuits: payments/charge is Closed",
    "page, metrics, reference: [ 200, 200, 200 ]"
  ])
}, 60_000)

class Denied extends Schema.TaggedError<Denied>()("Denied", {}, { httpApiStatus: 401 }) {}
class Auth extends HttpApiMiddleware.Service<Auth>()("test/Auth", {
  error: Denied,
  security: { key: HttpApiSecurity.apiKey({ key: "x-shop-key", in: "header" }) }
}) {}

it.live("the groups stand in an API of one's own, also behind its prefix and its own authentication", () => {
  const Api = HttpApi.make("shop")
    .add(Http.FaultToleranceApi.FaultToleranceApi, Http.OperationsApi.OperationsApi)
    .prefix("/internal")
    .middleware(Auth)
  const health = Http.FaultToleranceHandlers.layer(Api)
  expectTypeOf<Layer.Services<typeof health>>().extract<Auth>().toEqualTypeOf<Auth>()
  const without = HttpApi.make("none").add(Http.SettingsApi.SettingsApi)
  // @ts-expect-error -- it has no such group
  const none = (): unknown => Http.FaultToleranceHandlers.layer(without)
  assert.isFunction(none)

  const served = HttpRouter.serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide([health, Http.OperationsHandlers.layer(Api)]),
      Layer.provide(Http.Operations.Operations.layer({})),
      Layer.provide(Health.Health.layer({ providers: [{ name: "payments" }] })),
      Layer.provide([
        Layer.succeed(Auth, {
          key: (effect, { credential }) => Redacted.value(credential) === "ours" ? effect : Effect.fail(new Denied())
        }),
        Http.OperatorToken.layer(Redacted.make("token")),
        HttpApiMiddleware.layerProblemDetails({ includeDetails: true }),
        Telemetry.layer(),
        Event.EventLog.layer()
      ])
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
  return Effect.gen(function*() {
    const url = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
    const status = (path: string, headers: Record<string, string>) =>
      Effect.promise(() => fetch(`${url}${path}`, { headers }).then(({ status }) => status))
    for (const path of ["/internal/api/fault-tolerance/health", "/internal/api/fault-tolerance/snapshot"]) {
      assert.strictEqual(yield* status(path, {}), 401)
      assert.strictEqual(yield* status(path, { "x-shop-key": "ours" }), 200)
    }
  }).pipe(Effect.provide(served))
}, 20_000)
