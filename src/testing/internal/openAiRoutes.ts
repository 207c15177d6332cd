/** The routes of the emulated API: which request means what, and what is answered. */
import { Effect, Result } from "effect"
import type * as OpenAiData from "../OpenAiData.ts"
import { answerOf, failure, parseJson, type Reply, standardError } from "./openAiReplies.ts"

interface Route {
  readonly name: string
  readonly method: string
  readonly path: RegExp
  readonly run: (data: OpenAiData.OpenAiData, call: OpenAiData.Call) => OpenAiData.Answer
}

const route = (name: string, method: string, path: string, run: Route["run"]): Route => ({
  name,
  method,
  // As the API does, a trailing slash is no part of the path: an empty id makes `/vector_stores/` the list.
  path: new RegExp(`^/v1${path.replace(/:id/g, "([^/]+)")}/?$`),
  run
})

const routes: ReadonlyArray<Route> = [
  route("files.list", "GET", "/files", (data, call) => data.listFiles(call)),
  route("files.retrieve", "GET", "/files/:id", (data, call) => data.getFile(call)),
  route("files.delete", "DELETE", "/files/:id", (data, call) => data.deleteFile(call)),
  route("files.content", "GET", "/files/:id/content", (data, call) => data.fileContent(call)),
  route("vectorStores.create", "POST", "/vector_stores", (data, call) => data.createStore(call)),
  route("vectorStores.list", "GET", "/vector_stores", (data, call) => data.listStores(call)),
  route("vectorStores.retrieve", "GET", "/vector_stores/:id", (data, call) => data.getStore(call)),
  route("vectorStores.update", "POST", "/vector_stores/:id", (data, call) => data.updateStore(call)),
  route("vectorStores.delete", "DELETE", "/vector_stores/:id", (data, call) => data.deleteStore(call)),
  route("vectorStores.search", "POST", "/vector_stores/:id/search", (data, call) => data.search(call)),
  route("vectorStores.files.create", "POST", "/vector_stores/:id/files", (data, call) => data.attach(call)),
  route("vectorStores.files.list", "GET", "/vector_stores/:id/files", (data, call) => data.listAttached(call)),
  route("vectorStores.files.retrieve", "GET", "/vector_stores/:id/files/:id", (data, call) => data.getAttached(call)),
  route("vectorStores.files.update", "POST", "/vector_stores/:id/files/:id", (data, call) => data.updateAttached(call)),
  route("vectorStores.files.delete", "DELETE", "/vector_stores/:id/files/:id", (data, call) => data.detach(call)),
  route(
    "vectorStores.files.content",
    "GET",
    "/vector_stores/:id/files/:id/content",
    (data, call) => data.attachedContent(call)
  ),
  route(
    "vectorStores.fileBatches.create",
    "POST",
    "/vector_stores/:id/file_batches",
    (data, call) => data.createBatch(call)
  ),
  route(
    "vectorStores.fileBatches.retrieve",
    "GET",
    "/vector_stores/:id/file_batches/:id",
    (data, call) => data.getBatch(call)
  ),
  route(
    "vectorStores.fileBatches.cancel",
    "POST",
    "/vector_stores/:id/file_batches/:id/cancel",
    (data, call) => data.cancelBatch(call)
  ),
  route(
    "vectorStores.fileBatches.listFiles",
    "GET",
    "/vector_stores/:id/file_batches/:id/files",
    (data, call) => data.listBatchFiles(call)
  ),
  route("embeddings.create", "POST", "/embeddings", (data, call) => data.embeddings(call))
]

const uploadRoute = "files.create"

/** What no route takes. */
const unknownRoute = "unknown"

/** Every route's name: what a fault's `route` can be. */
export const routeNames: ReadonlyArray<string> = [uploadRoute, ...routes.map(({ name }) => name), unknownRoute]

/** The name of the route that a request takes. */
export const routeOf = (method: string, path: string): string =>
  method === "POST" && /^\/v1\/files\/?$/.test(path)
    ? uploadRoute
    : routes.find((it) => it.method === method && it.path.test(path))?.name ?? unknownRoute

/** A request, whole. */
interface Incoming {
  readonly method: string
  readonly url: URL
  readonly contentType: string
  readonly body: Buffer
}

const upload = (
  data: OpenAiData.OpenAiData,
  { body, contentType }: Incoming,
  now: () => number
): Effect.Effect<Reply> =>
  Effect.tryPromise(() => new Response(new Uint8Array(body), { headers: { "content-type": contentType } }).formData())
    .pipe(
      Effect.flatMap((form) => {
        const file = form.get("file")
        const purpose = form.get("purpose")
        if (file === null || typeof file === "string") return Effect.succeed(standardError(400))
        return Effect.map(Effect.promise(() => file.text()), (text) =>
          answerOf(data.createFile({
            filename: file.name,
            text,
            purpose: typeof purpose === "string" ? purpose : "",
            bytes: file.size
          }, now())))
      }),
      Effect.catch(() => Effect.succeed(standardError(400)))
    )

/** Does what the request asks for, by its route. */
export const perform = (
  data: OpenAiData.OpenAiData,
  route: string,
  incoming: Incoming,
  now: () => number
): Effect.Effect<Reply> => {
  if (route === uploadRoute) return upload(data, incoming, now)
  const { body, method, url } = incoming
  const found = routes.find((it) => it.name === route)
  const ids = Result.try(() => (found?.path.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent))
  if (found === undefined || Result.isFailure(ids)) {
    return Effect.succeed(failure({
      status: 404,
      message: `Invalid URL (${method} ${url.pathname})`,
      type: "invalid_request_error",
      param: null,
      code: null
    }))
  }
  const parsed = body.length === 0 ? Result.succeed({}) : parseJson(body.toString("utf8"))
  if (Result.isFailure(parsed)) return Effect.succeed(standardError(400))
  return Effect.sync(() =>
    answerOf(found.run(data, { ids: ids.success, query: url.searchParams, body: parsed.success, now: now() }))
  )
}
