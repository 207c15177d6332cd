/** What the endpoints of `VectorStoreApi` do, as a layer for any API that has the group. */
import { Duration, Effect, Option } from "effect"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup } from "effect/http-api"
import { Health } from "../Health.ts"
import { ProviderError, type ReasonTag } from "../ProviderError.ts"
import * as Served from "../Served.ts"
import type {
  Document,
  DocumentId,
  DocumentPatch,
  ItemReport,
  ListRequest,
  Loss,
  SearchAnswer,
  SearchRequest
} from "../vectorstore/VectorStore.ts"
import { type Failure, Library } from "./Library.ts"
import { type Around, around, type Having } from "./Mounted.ts"
import {
  BadRequest,
  Broken,
  DocumentNotFound,
  NobodyAnswered,
  TimeIsUp,
  TooManyRequests,
  Unprocessable
} from "./Problems.ts"
import { retryIn } from "./Throttle.ts"
import type { SearchResponse, VectorStoreApi } from "./VectorStoreApi.ts"

/** Give it to the API's own layer, with what the API has around the group. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: Having<typeof VectorStoreApi, Id, Groups>
) =>
  around<Around<typeof VectorStoreApi, Groups>>()(
    HttpApiBuilder.group(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parameter says that it has the group
      api as unknown as HttpApi.HttpApi<Id, typeof VectorStoreApi>,
      "vectorStore",
      (group) => Effect.map(handlers, (all) => group.handleAll(all))
    )
  )

/** As a record, for `handleAll`. */
export const handlers = Effect.gen(function*() {
  const library = yield* Library
  const health = yield* Health
  const { documents } = library

  const search = (request: SearchRequest) => Effect.zipWith(library.search(request), library.lacks, respond).pipe(told)
  const byId = <A>(id: DocumentId, found: Effect.Effect<Option.Option<A>, Failure>) =>
    Effect.flatMap(told(found), Option.match({ onSome: Effect.succeed, onNone: () => absent(id) }))

  return {
    search: ({ query }: { readonly query: SearchRequest }) => search(query),
    searchBy: ({ payload }: { readonly payload: SearchRequest }) => search(payload),
    list: ({ query }: { readonly query: ListRequest }) =>
      told(documents.list(query)).pipe(
        Effect.map(({ documents, next }) => ({ documents, ...(next === undefined ? {} : { next }) }))
      ),
    add: ({ payload }: { readonly payload: Document }) =>
      told(Effect.as(documents.add(payload), { id: payload.id, provider: documents.name })),
    addMany: ({ payload }: { readonly payload: Batch }) =>
      documents.addMany(payload.documents, { operationId: payload.operationId }).pipe(
        Effect.map(({ items }) => ({
          items: items.map(report),
          stored: items.filter(({ _tag }) => _tag === "Stored" || _tag === "AlreadyStored").length,
          failed: items.filter(({ _tag }) => _tag === "Failed" || _tag === "Unknown").length
        })),
        told
      ),
    get: ({ params: { id } }: { readonly params: { readonly id: DocumentId } }) => byId(id, documents.get(id)),
    update: (
      { params: { id }, payload }: { readonly params: { readonly id: DocumentId }; readonly payload: DocumentPatch }
    ) => byId(id, documents.update(id, payload)),
    delete: ({ params: { id } }: { readonly params: { readonly id: DocumentId } }) =>
      Effect.flatMap(told(documents.delete(id)), (was) => was ? Effect.void : absent(id)),
    sources: () =>
      Effect.map(health.check(), (verdicts) => ({
        sources: verdicts.map(({ name, reasons, state }) => ({ name, state, reasons }))
      })),
    stats: () => told(documents.stats)
  }
})

interface Batch {
  readonly documents: ReadonlyArray<Document>
  readonly operationId?: string
}

const absent = (id: DocumentId) => Effect.fail(new DocumentNotFound({ detail: `No document has the id ${id}.` }))

const report = (item: ItemReport) => ({
  id: item.id,
  outcome: item._tag,
  ...(item._tag === "Failed" || item._tag === "Unknown" ? { category: item.error.category } : {})
})

/** Complete means: the best there is, now. Everything less is named. */
export const respond = (
  answer: Served.Served<SearchAnswer>,
  lacks: ReadonlyArray<string> = []
): SearchResponse => {
  const reasons = [
    ...answer.failures.map(({ category, provider }) =>
      `${provider} ${refusals[category] ?? `did not answer: ${category}`}`
    ),
    ...(answer._tag === "Stale" ? [`the answer is ${Math.round(answer.age / 1_000)} s old`] : []),
    ...(answer._tag === "Partial" ? [`without ${answer.missing.join(", ")}`] : []),
    ...(answer._tag === "Default" ? ["nobody answered: this is the declared default"] : []),
    ...answer.value.losses.map((loss) => losses[loss]),
    ...lacks
  ]
  const less = Served.isDegraded(answer) || answer.value.losses.length > 0 || lacks.length > 0
  return {
    completeness: less ? "Degraded" : "Complete",
    reasons,
    answer
  }
}

const refusals: { readonly [tag: string]: string } = {
  CircuitOpen: "was not asked: its circuit is open",
  BulkheadFull: "was not asked: too many calls wait for it",
  RateLimited: "was not asked: its rate limit is reached",
  DeadlineExceeded: "had no time left"
}

const losses: { readonly [L in Loss]: string } = {
  LexicalInsteadOfVector: "searched by words instead of meaning",
  VectorInsteadOfLexical: "searched by meaning instead of words",
  FilterWeakened: "the filter could not be applied in full",
  FewerThanAsked: "there may be more than were found",
  OnlyStopWords: "the query has only words that say nothing"
}

/** Tells a failure as a problem: category and wait, never a provider's words. */
const told = <A, R>(self: Effect.Effect<A, Failure, R>) =>
  Effect.catch(self, (failure) => {
    const problem = problemOf(failure)
    const wait = "retryAfter" in problem ? problem.retryAfter : undefined
    return Effect.andThen(wait === undefined ? Effect.void : retryIn(wait), Effect.fail(problem))
  })

type Problem = BadRequest | Broken | NobodyAnswered | TimeIsUp | TooManyRequests | Unprocessable

/** A failure as HTTP tells it. */
export const problemOf = (failure: Failure): Problem => {
  if (failure instanceof ProviderError) return problems[failure.reason._tag](failure)
  const wait = waitOf(failure)
  const failures = "failures" in failure && Array.isArray(failure.failures)
    ? failure.failures.filter((it): it is Served.Failure => it instanceof Served.Failure)
      .map(({ category, provider }) => ({ provider, category }))
    : []
  switch (failure._tag) {
    case "DeadlineExceeded":
    case "TimedOut":
      return new TimeIsUp({})
    case "RateLimited":
      return new TooManyRequests({ retryAfter: wait ?? 1 })
    default:
      // Refusals of policies, and providers that all failed.
      return new NobodyAnswered({ failures, ...(wait === undefined ? {} : { retryAfter: wait }) })
  }
}

/** Whole seconds, at least one. */
const waitOf = (failure: object): number | undefined => {
  const wait = "retryAfter" in failure
    ? failure.retryAfter
    : "earliestRetry" in failure
    ? failure.earliestRetry
    : undefined
  return Duration.isDuration(wait) && Duration.isFinite(wait)
    ? Math.max(1, Math.ceil(Duration.toSeconds(wait)))
    : undefined
}

const failed = ({ category, provider }: ProviderError) => [{ provider, category }]

const unavailable = (error: ProviderError) => {
  const wait = waitOf(error)
  return new NobodyAnswered({ failures: failed(error), ...(wait === undefined ? {} : { retryAfter: wait }) })
}
const broken = (error: ProviderError) => new Broken({ failures: failed(error) })
const invalid = (error: ProviderError) => new BadRequest({ detail: own(error) })
// What was refused before anything was sent, our own checks did: their words may be shown.
const own = ({ reason }: ProviderError): string => reason.delivered === "no" ? reason.message : "A provider refuses it."

const problems: { readonly [Tag in ReasonTag]: (error: ProviderError) => Problem } = {
  NetworkError: unavailable,
  TimeoutError: () => new TimeIsUp({}),
  RateLimitError: (error) => new TooManyRequests({ retryAfter: waitOf(error) ?? 1 }),
  ServiceUnavailableError: unavailable,
  TemporaryFailureError: unavailable,
  AuthenticationError: broken,
  AuthorizationError: broken,
  InvalidRequestError: invalid,
  NotFoundError: invalid,
  ConfigurationError: broken,
  ValidationError: (error) => new Unprocessable({ detail: own(error), provider: error.provider }),
  UnknownError: broken,
  CriticalError: broken
}
