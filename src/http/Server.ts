/** The server of `holdfast serve`: the API, probes, Prometheus, the API reference, on Node. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Data, type DateTime, Deferred, Effect, Layer, type Redacted } from "effect"
import { HttpRouter, type HttpServerError, HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiMiddleware, HttpApiScalar } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"
import { Api } from "./Api.ts"
import * as Boundary from "./Boundary.ts"
import * as Dashboard from "./Dashboard.ts"
import * as EventStream from "./EventStream.ts"
import * as FaultTolerance from "./FaultToleranceHandlers.ts"
import * as Operations from "./OperationsHandlers.ts"
import * as OperationsMetrics from "./OperationsMetrics.ts"
import * as OperatorToken from "./OperatorToken.ts"
import * as Probes from "./Probes.ts"
import * as Settings from "./SettingsHandlers.ts"
import { routerConfig } from "./VectorStoreApi.ts"
import * as VectorStore from "./VectorStoreHandlers.ts"

export interface Options {
  /** Defaults to 127.0.0.1: nobody but this machine. */
  readonly host?: string | undefined
  /** Defaults to 3000. 0 takes a free one. */
  readonly port?: number | undefined
  /** Names besides `localhost` by which it may be asked where only this machine reaches it, such as a local proxy's. */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /** What an operator must know. */
  readonly token: Redacted.Redacted
  /** From then on the token lets nobody pass. Never by default. */
  readonly tokenUntil?: DateTime.Utc | undefined
  /** The largest body taken, in bytes. Defaults to 1 MiB. */
  readonly maxBody?: number | undefined
}

/** The address cannot be listened at; the message says what to do. */
export class CannotListen extends Data.TaggedError("CannotListen")<{ readonly message: string }> {}

/** All routes; needs the stores, health, telemetry and events. */
export const routes = (options: Omit<Options, "port">) =>
  Layer.mergeAll(
    HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
      Layer.provide([
        FaultTolerance.layer(Api),
        Operations.layer(Api),
        Settings.layer(Api),
        VectorStore.layer(Api)
      ]),
      Layer.provide(OperatorToken.layer(options.token, { until: options.tokenUntil })),
      Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true }))
    ),
    Probes.layer,
    Layer.unwrap(
      Effect.map(Probes.Draining, (draining) => EventStream.layer({ until: Deferred.await(draining) }))
    ),
    Dashboard.layer,
    OperationsMetrics.layer,
    PrometheusMetrics.layerHttp(),
    docs
  ).pipe(
    Layer.provide(Boundary.layer(Api, {
      routes: plainRoutes,
      maxBody: options.maxBody,
      hosts: isOfThisMachine(options.host) ? options.allowedHosts ?? [] : undefined
    }))
  )

/** Scalar is one page with its script inside; it may ask nobody but this server. */
const docs = HttpApiScalar.layer(Api, { scalar: { withDefaultFonts: false, hideTestRequestButton: true } }).pipe(
  Layer.provide(
    HttpRouter.middleware(
      Effect.map(HttpServerResponse.setHeaders({
        "content-type": "text/html; charset=utf-8",
        "content-security-policy":
          "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; " +
          "font-src 'self' data:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
      }))
    ).layer
  )
)

const plainRoutes = [
  ...Dashboard.routes,
  ["GET", "/api/fault-tolerance/stream"],
  ["GET", "/livez"],
  ["GET", "/readyz"],
  ["GET", "/startupz"],
  ["GET", "/metrics"],
  ["GET", "/docs"],
  ["GET", "/openapi.json"]
] as const

const isOfThisMachine = (host = "127.0.0.1"): boolean => /^(localhost|127\.[\d.]+|::1)$/i.test(host)

const listen = ({ host = "127.0.0.1", port = 3_000 }: Pick<Options, "host" | "port">) =>
  NodeHttpServer.layer(createServer, { host, port, gracefulShutdownTimeout: "3 seconds" }).pipe(
    Layer.catchTag("ServeError", (error) => Layer.effectContext(Effect.fail(cannotListen(error, host, port))))
  )

/** Fails where `layer` could not listen, so that nothing else is started in vain. */
export const canListen = (options: Pick<Options, "host" | "port">): Effect.Effect<void, CannotListen> =>
  Effect.scoped(Effect.asVoid(Layer.build(listen(options))))

/** Listens and serves. Gives the address as `HttpServer`. */
export const layer = (options: Options) =>
  HttpRouter.serve(routes(options), { disableLogger: true, disableListenLog: true, routerConfig }).pipe(
    Layer.provideMerge(listen(options))
  )

/**
 * Tells streams and probes that the end has come, before the server waits for what is in flight. Closing cuts connections
 * whose request has arrived and was not read yet: several turns of the event loop are left to read them.
 */
export const drainFirst = Layer.effectDiscard(
  Effect.flatMap(
    Probes.Draining,
    (draining) =>
      Effect.addFinalizer(() =>
        Effect.andThen(Deferred.succeed(draining, undefined), Effect.repeat(Effect.sleep("20 millis"), { times: 9 }))
      )
  )
)

const cannotListen = (error: HttpServerError.ServeError, host: string, port: number): CannotListen => {
  const code = typeof error.cause === "object" && error.cause !== null && "code" in error.cause ? error.cause.code : ""
  const words: { readonly [code: string]: string } = {
    EADDRINUSE: `Port ${port} is in use on ${host}. Stop what runs there, or choose another: --port ${
      port + 1
    } or HOLDFAST_PORT=${port + 1}.`,
    EACCES: `Port ${port} needs more rights than this user has. Choose one above 1023: --port 3000.`,
    EADDRNOTAVAIL: `This machine has no address ${host}. Leave --host away for 127.0.0.1, or use 0.0.0.0 for all.`,
    ENOTFOUND: `The host ${host} is not known. Leave --host away for 127.0.0.1.`
  }
  return new CannotListen({ message: words[String(code)] ?? `Cannot listen on ${host}:${port} (${String(code)}).` })
}
