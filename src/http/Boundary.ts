/**
 * What every response has, whoever made it: a request id, `no-store`, and a problem body where it would have none. Also
 * the answers that the router lacks: 405, 403 for a page of another origin that writes, 421 for a name that is not ours, and
 * the bound of bodies.
 */
import { ByteSize, Cause, Clock, Effect } from "effect"
import {
  FindMyWay,
  HttpBody,
  HttpEffect,
  HttpIncomingMessage,
  type HttpMethod,
  HttpRouter,
  HttpServerError,
  HttpServerRequest,
  HttpServerResponse,
  ProblemDetails
} from "effect/http"
import { HttpApi, type HttpApiGroup } from "effect/http-api"
import { isIP } from "node:net"
import * as Correlation from "../Correlation.ts"
import * as Deadline from "../Deadline.ts"
import { scrub } from "../internal/scrub.ts"

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const

export interface Options {
  /** The largest body taken, in bytes. Defaults to 1 MiB. */
  readonly maxBody?: number | undefined
  /** Paths that are served beside the API. */
  readonly routes?: ReadonlyArray<readonly [method: (typeof methods)[number], path: `/${string}`]> | undefined
  /**
   * The names by which it may be asked, besides `localhost` and bare addresses; any other is answered 421. For a server
   * that only this machine reaches: the page of a site whose name was turned to this machine's address (DNS rebinding) is
   * of the same origin for the browser, and could read and write here. Defaults to any name.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
}

/** What the problem body says where the framework says nothing. */
const details: { readonly [status: number]: string } = {
  400: "The request could not be read.",
  403: "A page of another origin may not write here.",
  404: "There is nothing at this path. The paths are listed at /docs.",
  405: "This path does not take that method; see the Allow header.",
  415: "Send the body as application/json.",
  421: "This server is not known by that name. Ask for localhost or an address, or allow the name.",
  500: "Something went wrong here. The request id finds it in the log.",
  503: "The server is shutting down.",
  504: "The time that the request gave us has passed; see its x-deadline-ms or grpc-timeout header."
}

/** A global middleware: provide it to the served routes. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  options?: Options
) => {
  const allowed = allowTable(api, options?.routes ?? [])
  const maxBody = options?.maxBody ?? 1_048_576
  const known = knownHosts(options?.hosts)
  return HttpRouter.middleware((httpEffect) =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const started = yield* Clock.currentTimeMillis
      const id = yield* requestId(request.headers["x-request-id"])
      yield* HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(dress(response, id, maxBody)))
      yield* Effect.annotateCurrentSpan("request.id", id)
      const handled = !known(request.headers["host"])
        ? Effect.succeed(HttpServerResponse.empty({ status: 421 }))
        : crossOrigin(request)
        ? Effect.succeed(HttpServerResponse.empty({ status: 403 }))
        : Effect.catch(Deadline.incoming(request.headers)(httpEffect), (error) => {
          if (error instanceof Deadline.DeadlineExceeded) {
            return Effect.succeed(HttpServerResponse.empty({ status: 504 }))
          }
          const methods = HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound"
            ? allowed(request.url)
            : []
          // A path that is too long for the router takes no method at all.
          return methods.length > 0 && !methods.some((method) => method === request.method)
            ? Effect.succeed(HttpServerResponse.empty({ status: 405, headers: { allow: methods.join(", ") } }))
            : Effect.fail(error)
        })
      return yield* handled.pipe(
        Effect.tap((response) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            Effect.logDebug("answered").pipe(
              Effect.annotateLogs({
                "http.method": request.method,
                "http.path": path(request.url),
                "http.status": response.status,
                "http.millis": now - started
              })
            ))
        ),
        // What nobody foresaw: the caller is told an id, the log the whole of it but for secrets.
        Effect.tapCause((cause) =>
          Cause.hasDies(cause) && !HttpServerError.isHttpServerError(Cause.squash(cause))
            ? Effect.logError(scrub(Cause.pretty(cause)))
            : Effect.void
        ),
        Correlation.within(id),
        Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBody))
      )
    }), { global: true })
}

/** A caller's own id is kept where it looks like one. */
const requestId = (given: string | undefined): Effect.Effect<string> =>
  given !== undefined && /^[\w.-]{8,64}$/.test(given) ? Effect.succeed(given) : Effect.sync(() => crypto.randomUUID())

const path = (url: string): string => url.split("?", 1)[0]!

/** No name can be turned to where a bare address leads; whoever sends no name is no browser. */
const knownHosts = (names: ReadonlyArray<string> | undefined): (host: string | undefined) => boolean => {
  if (names === undefined) return () => true
  const all = new Set(["localhost", ...names.map((name) => name.toLowerCase())])
  return (host) => {
    if (host === undefined) return true
    const name = host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "")
    return all.has(name) || name.endsWith(".localhost") || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0
  }
}

/** A browser says so when a page of another origin made the request; another port is another origin of the same site. */
const crossOrigin = (request: HttpServerRequest.HttpServerRequest): boolean =>
  !["GET", "HEAD", "OPTIONS"].includes(request.method) &&
  ["cross-site", "same-site"].includes(request.headers["sec-fetch-site"] ?? "")

const dress = (
  response: HttpServerResponse.HttpServerResponse,
  id: string,
  maxBody: number
): HttpServerResponse.HttpServerResponse => {
  const { "content-type": type, "content-length": _length, ...kept } = response.headers
  const bare = response.status >= 400 && type !== ProblemDetails.contentType && type !== "application/health+json" &&
    !(type?.startsWith("application/json") ?? false)
  const body = bare
    ? ProblemDetails.toResponse({
      type: ProblemDetails.blankType,
      status: response.status,
      title: titles[response.status] ?? "Error",
      ...(details[response.status] === undefined ? {} : { detail: details[response.status] }),
      ...(response.status === 413
        ? { detail: `The body may have ${maxBody.toLocaleString("en")} bytes at most.`, maxBytes: maxBody }
        : {}),
      requestId: id
    })
    : type === ProblemDetails.contentType
    ? withId(response, id)
    : response
  return HttpServerResponse.setHeaders(body, {
    ...(bare ? kept : {}),
    "x-request-id": id,
    "x-content-type-options": "nosniff",
    "cache-control": kept["cache-control"] ?? "no-store"
  })
}

/** A problem that an endpoint tells has the id too. */
const withId = (response: HttpServerResponse.HttpServerResponse, id: string): HttpServerResponse.HttpServerResponse =>
  response.body._tag === "Uint8Array"
    ? HttpServerResponse.setBody(
      response,
      HttpBody.text(
        new TextDecoder().decode(response.body.body).replace(/}$/, `,"requestId":${JSON.stringify(id)}}`),
        ProblemDetails.contentType
      )
    )
    : response

const titles: { readonly [status: number]: string } = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  499: "Client Closed Request",
  500: "Internal Server Error",
  503: "Service Unavailable",
  504: "Gateway Timeout"
}

const allowTable = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  routes: NonNullable<Options["routes"]>
) => {
  const table = FindMyWay.make<true>({ maxParamLength: Infinity })
  for (const [method, path] of routes) table.on(method, path, true)
  HttpApi.reflect(api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      if (isMethod(endpoint.method) && isPath(endpoint.path)) table.on(endpoint.method, endpoint.path, true)
    }
  })
  return (url: string): ReadonlyArray<string> => methods.filter((method) => table.find(method, path(url)) !== undefined)
}

const isMethod = (method: HttpMethod.HttpMethod): method is (typeof methods)[number] =>
  (methods as ReadonlyArray<string>).includes(method)

const isPath = (path: string): path is `/${string}` => path.startsWith("/")
