/** Search and documents below `/api/vectorstore`, as a group that any `HttpApi` can add. Its server wants `routerConfig`. */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema, OpenApi } from "effect/http-api"
import * as Served from "../Served.ts"
import {
  Document,
  DocumentId,
  DocumentPatch,
  Filter,
  OperationId,
  SearchAnswer,
  SearchMode,
  Stats
} from "../vectorstore/VectorStore.ts"
import {
  BadRequest,
  Broken,
  DocumentNotFound,
  NobodyAnswered,
  TimeIsUp,
  TooManyRequests,
  Unprocessable
} from "./Problems.ts"

const Query = Schema.Trim.check(
  Schema.makeFilter((text) =>
    text.length === 0
      ? "words to look for, such as ?query=vitamin+D"
      : text.length > 10_000
      ? "at most 10,000 characters"
      : true
  )
)

const between = (minimum: number, maximum: number) =>
  Schema.Int.check(
    Schema.makeFilter((value) => value >= minimum && value <= maximum ? true : `a limit from ${minimum} to ${maximum}`)
  )

const search = {
  query: Query,
  limit: Schema.optionalKey(between(1, 100)),
  mode: Schema.optionalKey(SearchMode),
  threshold: Schema.optionalKey(Schema.Finite)
}

/** An answer to a search: what was found, who found it, and what it lacks against the best there is. */
export const SearchResponse = Schema.Struct({
  completeness: Schema.Literals(["Complete", "Degraded"]),
  /** Why it is degraded. */
  reasons: Schema.Array(Schema.String),
  answer: Served.schema(SearchAnswer)
})
export type SearchResponse = typeof SearchResponse.Type

/** One provider that documents are in. */
export const Source = Schema.Struct({
  name: Schema.String,
  state: Schema.Literals(["Healthy", "Degraded", "Failed", "NotConfigured"]),
  reasons: Schema.Array(Schema.String)
})

const ItemReport = Schema.Struct({
  id: DocumentId,
  outcome: Schema.Literals(["Stored", "AlreadyStored", "Failed", "Unknown"]),
  category: Schema.optionalKey(Schema.String)
})

const readErrors = [BadRequest, Unprocessable, NobodyAnswered, TooManyRequests, TimeIsUp, Broken] as const
const params = { id: DocumentId }

/**
 * For `HttpRouter.serve`, as `routerConfig`: by itself the router finds no path with a part of more than 100 characters, and
 * ids of documents may have 512.
 */
export const routerConfig = { maxParamLength: 512 } as const

/** Every change says who took it. */
const Written = Schema.Struct({ id: DocumentId, provider: Schema.String })

export class VectorStoreApi extends HttpApiGroup.make("vectorStore")
  .add(
    HttpApiEndpoint.get("search", "/search", {
      query: { ...search, filter: Schema.optionalKey(Schema.fromJsonString(Filter)) },
      success: SearchResponse,
      error: readErrors
    }).annotate(OpenApi.Summary, "Search"),
    HttpApiEndpoint.post("searchBy", "/search", {
      payload: Schema.Struct({ ...search, filter: Schema.optionalKey(Filter) }),
      success: SearchResponse,
      error: readErrors
    }).annotate(OpenApi.Summary, "Search, with a filter as JSON"),
    HttpApiEndpoint.get("list", "/documents", {
      query: { after: Schema.optionalKey(DocumentId), limit: Schema.optionalKey(between(1, 1_000)) },
      success: Schema.Struct({ documents: Schema.Array(Document), next: Schema.optionalKey(DocumentId) }),
      error: readErrors
    }).annotate(OpenApi.Summary, "List documents"),
    HttpApiEndpoint.post("add", "/documents", {
      payload: Document,
      success: Written.pipe(HttpApiSchema.status(201)),
      error: readErrors
    }).annotate(OpenApi.Summary, "Store a document"),
    HttpApiEndpoint.post("addMany", "/documents/batch", {
      payload: Schema.Struct({
        documents: Schema.Array(Document).check(Schema.isMinLength(1), Schema.isMaxLength(1_000)),
        /** Repeating a batch with the same id stores nothing twice. */
        operationId: Schema.optionalKey(OperationId)
      }),
      success: Schema.Struct({ items: Schema.Array(ItemReport), stored: Schema.Int, failed: Schema.Int }),
      error: readErrors
    }).annotate(OpenApi.Summary, "Store many documents, with a report for each"),
    HttpApiEndpoint.get("get", "/documents/:id", {
      params,
      success: Document,
      error: [...readErrors, DocumentNotFound]
    }).annotate(OpenApi.Summary, "Read a document"),
    HttpApiEndpoint.patch("update", "/documents/:id", {
      params,
      payload: DocumentPatch,
      success: Document,
      error: [...readErrors, DocumentNotFound]
    }).annotate(OpenApi.Summary, "Change a document"),
    HttpApiEndpoint.delete("delete", "/documents/:id", {
      params,
      success: HttpApiSchema.NoContent,
      error: [...readErrors, DocumentNotFound]
    }).annotate(OpenApi.Summary, "Delete a document"),
    HttpApiEndpoint.get("sources", "/sources", { success: Schema.Struct({ sources: Schema.Array(Source) }) }).annotate(
      OpenApi.Summary,
      "The stores, and how they are"
    ),
    HttpApiEndpoint.get("stats", "/stats", { success: Stats, error: readErrors }).annotate(
      OpenApi.Summary,
      "How many documents there are"
    )
  )
  .prefix("/api/vectorstore")
  .middleware(HttpApiMiddleware.ProblemDetails)
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
{}
