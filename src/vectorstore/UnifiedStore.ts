/**
 * Several vector stores as one that keeps answering: searched in order or all at once, read from the first that answers,
 * written to the first and mirrored to the others.
 *
 * **Details**
 *
 * The sources are Layers of `VectorStore`, built once, each behind its own pipeline. A search in order goes to the next
 * source only when one fails; a search of all at once joins their rankings by reciprocal rank fusion, and a source that
 * fails or is late is missing from the answer, by name. When nobody answers the search fails with every cause: an empty
 * list always means that somebody looked and found nothing. Writes do not fall back: they go to the first source, and by
 * an outbox to the others.
 */
import { Clock, Context, type Duration, Effect, Exit, Layer, Option, type Scope } from "effect"
import type { DeadlineExceeded } from "../Deadline.ts"
import * as Fallback from "../Fallback.ts"
import type * as FaultTolerance from "../FaultTolerance.ts"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import { ProviderError } from "../ProviderError.ts"
import type { Served } from "../Served.ts"
import type { LevelInput, LevelTooLow } from "../ServiceLevel.ts"
import { type Recorder, Telemetry } from "../Telemetry.ts"
import { join } from "./internal/joinedAnswer.ts"
import { makeDocuments } from "./internal/mirroredStore.ts"
import { checkSearch, mostHits, refusal } from "./internal/requests.ts"
import { byFilter, modesOf, Pace, whyUnfit } from "./internal/sourceChoice.ts"
import * as SourcePolicies from "./internal/sourcePolicies.ts"
import { type Built, type Failing, type Policies, providerError, tagged } from "./internal/sourcePolicies.ts"
import * as Outbox from "./Outbox.ts"
import { completenessOf, lossesIn, type Unfit, type UnifiedAnswer, type UnifiedHit } from "./UnifiedAnswer.ts"
import {
  type DocumentId,
  type Hit,
  type SearchMode,
  type SearchRequest,
  type Service,
  VectorStore
} from "./VectorStore.ts"

export type { Policies } from "./internal/sourcePolicies.ts"
export {
  describe,
  type Lost,
  outcomes,
  type SearchResult,
  type SourceAnswer,
  type SourceOutcome,
  type Unfit,
  type UnifiedAnswer,
  type UnifiedHit
} from "./UnifiedAnswer.ts"

/**
 * `InOrder`: the next source when one fails. `Fastest`: the same, and the one that has been quickest of late is first.
 * `AllAtOnce`: every source, their rankings joined. In the first two, sources that apply the filter while they search go
 * before those that look through what they found.
 */
export type Strategy = "InOrder" | "Fastest" | "AllAtOnce"

/** A source: a Layer of `VectorStore`, or one with a name and policies of its own. */
export type Source = Layer.Layer<VectorStore, unknown, unknown> | FaultTolerance.Provider<VectorStore, Service>

export interface Options<Sources extends ReadonlyArray<Source> = ReadonlyArray<Source>>
  extends Omit<FaultTolerance.Options<VectorStore, Service>, "service" | "providers">
{
  /**
   * Names the service in errors, events and metrics, and the queues to its mirrors: of the services that share a database each
   * needs its own. Defaults to `"unified"`.
   */
  readonly name?: string | undefined
  /**
   * For every source. Defaults to retries that wait for no source longer than 200 ms when it says so or its circuit is
   * open, a circuit breaker, and a time limit for each attempt.
   */
  readonly pipeline?: FaultTolerance.Options<VectorStore, Service>["pipeline"]
  /** The first takes the writes; first choice first. */
  readonly sources: Sources
  /** Defaults to `"InOrder"`. */
  readonly strategy?: Strategy | undefined
  /** How much a source's places count in fusion, by name. Defaults to 1 each. */
  readonly weights?: Readonly<Record<string, number>> | undefined
  /** How fast a place loses worth in fusion. Defaults to 60. */
  readonly k?: number | undefined
  /** How many hits each source is asked for in fusion. Defaults to twice the limit, at least 20, at most 100. */
  readonly depth?: number | undefined
  /** After this time a search of all takes the answers at hand, if enough. Defaults to waiting for all. */
  readonly softDeadline?: Duration.Input | undefined
  /** How many sources must answer a search of all. Defaults to 1. */
  readonly minSources?: number | undefined
  /** Names of the sources that get the first one's writes. Defaults to all the others. */
  readonly mirrors?: ReadonlyArray<string> | undefined
}

/** What a search fails with. */
export type SearchError = ProviderError | Fallback.AllProvidersFailed | DeadlineExceeded | LevelTooLow

export interface SearchOptions {
  /** Defaults to the service's. */
  readonly strategy?: Strategy | undefined
  /** For the whole search, in place of the service's `deadline`. */
  readonly timeout?: Duration.Input | undefined
  /** On whose behalf: nobody is answered from another's cache. */
  readonly tenant?: string | undefined
  /** The worst service level that it tolerates. Defaults to any. */
  readonly requiredServiceLevel?: LevelInput | undefined
  readonly correlationId?: string | undefined
}

/** A source as it stands; told without asking it. */
export interface SourceStatus {
  readonly name: string
  readonly modes: ReadonlyArray<SearchMode>
  /** Milliseconds until a search would be asked of it; 0 for now. */
  readonly availableInMillis: number
}

/** An answer to a search, and where it came from. */
export type Found = Served<UnifiedAnswer, "Live" | "Cached" | "Stale" | "Partial">

export interface Unified {
  readonly name: string
  readonly search: (request: SearchRequest, options?: SearchOptions) => Effect.Effect<Found, SearchError>
  /** The unified store as a store like any other: values alone, any failure as a `ProviderError`. */
  readonly store: Service
  /** What is on its way to the mirrors, and bringing them in line. */
  readonly outbox: Outbox.Outbox
  readonly sources: Effect.Effect<ReadonlyArray<SourceStatus>>
  /** The providers with all their policies, the level and the cache. */
  readonly policies: Policies
}

export class UnifiedStore extends Context.Service<UnifiedStore, Unified>()("holdfast/vectorstore/UnifiedStore") {
  static readonly layer = <const Sources extends ReadonlyArray<Source>>(options: Options<Sources>) =>
    Layer.effect(UnifiedStore, make(options))
  /** The unified store in place of a store. */
  static readonly layerStore: Layer.Layer<VectorStore, never, UnifiedStore> = Layer.effect(
    VectorStore,
    Effect.map(UnifiedStore, ({ store }) => store)
  )
}

type LayerOf<S> = S extends Layer.Layer<infer _I, infer E, infer R> ? Layer.Layer<never, E, R>
  : S extends { readonly layer: Layer.Layer<infer _I, infer E, infer R> } ? Layer.Layer<never, E, R>
  : Layer.Layer<never>

/** Builds the sources, once and in order, with the policies around them; all of it lives as long as the scope. */
export const make = <const Sources extends ReadonlyArray<Source>>(
  options: Options<Sources>
): Effect.Effect<
  Unified,
  InvalidOptions | Layer.Error<LayerOf<Sources[number]>>,
  Scope.Scope | Layer.Services<LayerOf<Sources[number]>>
> => build(options)

/** Rather the other sources' answer at once than a long wait for this one's limit or circuit. */
const patience = { maxRetryAfter: "200 millis" } as const

const build = Effect.fnUntraced(function*(options: Options) {
  const name = options.name ?? "unified"
  const check = checks("UnifiedStore")
  const { depth, k, minSources, softDeadline, strategy, weights = {} } = yield* checked(() => ({
    k: check.number("k", options.k, 60),
    depth: options.depth === undefined ? undefined : check.int("depth", options.depth, 20, { min: 1, max: mostHits }),
    minSources: check.int("minSources", options.minSources, 1, { min: 1, max: Math.max(1, options.sources.length) }),
    softDeadline: options.softDeadline === undefined
      ? undefined
      : check.millis("softDeadline", options.softDeadline, 0, { min: 1 }),
    strategy: check.oneOf("strategy", options.strategy ?? "InOrder", ["InOrder", "Fastest", "AllAtOnce"]),
    weights: options.weights
  }))
  const { cache } = options
  const recorder = (yield* Telemetry)?.recorder(name, "search", { kind: "search" })
  const { execute, executeIn, policies } = yield* SourcePolicies.make({
    ...options,
    pipeline: { retry: patience, ...options.pipeline },
    // An answer that lost something does not take the place of one that did not.
    cache: cache === undefined || "parts" in cache ? cache : { quality: (value) => -lossesIn(value), ...cache },
    service: name,
    providers: options.sources
  })
  const built = policies.providers
  const nameOf = new Map(built.map(({ name, service }) => [service, name]))
  yield* checked(() => {
    // Without policies only the first source is there.
    if (built.length < options.sources.length) return
    const names = new Set(built.map(({ name }) => name))
    for (const [source, weight] of Object.entries(weights)) {
      check.ensure(names.has(source), "weights", `names a source that is not there: ${source}`)
      check.number(`weights.${source}`, weight, 1)
    }
    for (const mirror of options.mirrors ?? []) {
      check.ensure(names.has(mirror) && mirror !== built[0]?.name, "mirrors", `cannot be a mirror: ${mirror}`)
    }
  })

  const pace = new Pace()

  const partyOf = ({ name, pipeline, service }: Built): Outbox.Party => ({
    name,
    service,
    protect: (operation, self) => Effect.mapError(pipeline.protect({ operation, idempotent: true })(self), tagged),
    availability: pipeline.availability
  })
  const primary = built[0]!
  const outbox = yield* Outbox.make({
    name,
    primary: partyOf(primary),
    mirrors: built.slice(1).filter(({ name }) => options.mirrors?.includes(name) ?? true).map(partyOf)
  })

  const found = (self: Effect.Effect<Served<UnifiedAnswer>, Failing>): Effect.Effect<Found, SearchError> =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- neither mode of search has other errors or kinds
    Effect.mapError(self, (error) => {
      if (!(error instanceof Fallback.TooFewAnswers)) return error
      const errors = error.failures.map((failure) => failure.error)
      const own = errors.find((it) => it instanceof ProviderError)
      const callers = errors.every((it) => it instanceof ProviderError && it.verdicts.fallback === "Stop")
      // What is wrong with the request itself is no outage.
      return callers && own !== undefined ? own : Fallback.allFailed(name, "search", error.failures)
    }) as Effect.Effect<Found, SearchError>

  /** Whether a document was deleted, and a mirror does not know yet. */
  const isGone = (service: Service, id: DocumentId): boolean =>
    outbox.pending(nameOf.get(service) ?? service.name, id) === "delete"

  /** One source's answer, as the source alone would give it. */
  const ask = Effect.fnUntraced(function*(
    service: Service,
    request: SearchRequest,
    attempts: Map<Service, number>,
    unfit: ReadonlyArray<Unfit>
  ): Effect.fn.Return<UnifiedAnswer, ProviderError> {
    const source = nameOf.get(service) ?? service.name
    const attempt = (attempts.get(service) ?? 0) + 1
    attempts.set(service, attempt)
    const { mode } = request
    const from = yield* Clock.monotonicTimeNanos
    const answer = yield* service.search(
      mode !== undefined && !service.modes.includes(mode) ? { ...request, mode: undefined } : request
    ).pipe(
      // What is wrong with the request itself says nothing of the source.
      Effect.tapError(({ verdicts }) =>
        Effect.sync(() => verdicts.fallback === "Stop" ? undefined : pace.failed(source))
      )
    )
    const tookMillis = Number((yield* Clock.monotonicTimeNanos) - from) / 1e6
    pace.took(source, tookMillis)
    const hits = answer.hits.filter(({ id }) => !isGone(service, id))
    return {
      ...answer,
      hits,
      answered: [{ source, mode: answer.mode, hits: hits.length, tookMillis, attempts: attempt }],
      unfit
    }
  })

  /** Who is asked first, and who next. */
  const orderFor = (chosen: Strategy, fit: ReadonlyArray<Built>, request: SearchRequest) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const [applying, looking] = byFilter(fit, request)
      const order = [...applying, ...looking]
      if (chosen !== "Fastest") return order
      const isAvailable = (it: Built): boolean => it.pipeline.availability(now, "search") === 0
      const best = applying.filter(isAvailable)
      const first = pace.choose(best.length > 0 ? best : looking.filter(isAvailable))
      return first === undefined ? order : [first, ...order.filter((it) => it !== first)]
    })

  const search = Effect.fnUntraced(function*(
    request: SearchRequest,
    how: SearchOptions = {}
  ): Effect.fn.Return<Found, SearchError> {
    const limit = yield* checkSearch(name, { ...request, vector: undefined }, undefined)
    const { mode, threshold, vector } = request
    const reasons = new Map(built.map((it) => [it, whyUnfit(it.service, request)]))
    const unfit = Array.from(reasons).flatMap(([{ name }, reason]): ReadonlyArray<Unfit> =>
      reason === undefined ? [] : [{ source: name, reason }]
    )
    const fit = built.filter((it) => reasons.get(it) === undefined)
    if (fit.length === 0) {
      return yield* unfit.some(({ reason }) => reason === "SpaceUnsupported")
        ? refusal(name, "search", `No source takes vectors of the space ${vector?.space}`, "ForeignSpace")
        : refusal(name, "search", `No source can search by ${mode ?? "vector"}`, "Mode")
    }
    const attempts = new Map<Service, number>()
    const call = {
      operation: "search",
      idempotent: true,
      tags: ["documents"],
      tenant: how.tenant,
      timeout: how.timeout,
      requiredServiceLevel: how.requiredServiceLevel,
      correlationId: how.correlationId
    } as const
    const chosen = how.strategy ?? strategy

    if (chosen !== "AllAtOnce") {
      const order = yield* orderFor(chosen, fit, request)
      return yield* found(
        executeIn(order)(
          { ...call, cacheKey: [chosen, request], mode: Fallback.graceful() },
          (service) => ask(service, request, attempts, unfit)
        )
      )
    }
    if (fit.length < Math.min(minSources, built.length)) {
      return yield* refusal(
        name,
        "search",
        `${minSources} sources must answer, and only ${fit.length} can search so: ${
          fit.map((it) => it.name).join(", ")
        }`,
        "Mode"
      )
    }
    // Scores of different sources do not compare, so that a threshold is for the joined ones.
    const wide: SearchRequest = {
      ...request,
      threshold: undefined,
      limit: Math.max(limit, depth ?? Math.min(mostHits, Math.max(20, 2 * limit)))
    }
    const combine = (answers: ReadonlyArray<Fallback.Answered<UnifiedAnswer>>): UnifiedAnswer =>
      join(answers, {
        k,
        limit,
        threshold,
        unfit,
        weights,
        primary: primary.name,
        isOutdated: (source, id) => outbox.pending(source, id) !== undefined
      })
    return yield* found(
      executeIn(fit)(
        {
          ...call,
          cacheKey: ["AllAtOnce", request],
          mode: Fallback.partial({ combine, minSources, ...(softDeadline === undefined ? {} : { softDeadline }) })
        },
        (service) => ask(service, wide, attempts, unfit)
      )
    )
  }, (self) => recorder === undefined ? self : counted(self, recorder))

  const asStore = <A>(operation: string, self: Effect.Effect<A, Failing>): Effect.Effect<A, ProviderError> =>
    Effect.mapError(self, (error) => providerError(name, operation, error))
  const documents = makeDocuments({
    outbox,
    isGone,
    anyone: (operation, use) =>
      asStore(operation, Effect.map(execute({ operation, idempotent: true }, use), ({ value }) => value)),
    primary: (operation, use) =>
      asStore(
        operation,
        Effect.map(
          execute({ operation, idempotent: true, mode: Fallback.failFast(), invalidates: ["documents"] }, use),
          ({ value }) => value
        )
      )
  })
  const modes = () => modesOf(built.map(({ service }) => service))
  const store: Service = {
    ...documents,
    name,
    get modes() {
      return modes()
    },
    get space() {
      return built.find(({ service }) => service.space !== undefined)?.service.space
    },
    filters: (filter) => built.some(({ service }) => service.filters?.(filter) !== false),
    search: (request) =>
      Effect.map(
        asStore("search", search(request)),
        ({ value: { hits, losses, mode } }) => ({ mode, hits: hits.map(plainHit), losses })
      ),
    stats: Effect.map(documents.stats, (stats) => ({ ...stats, modes: modes() }))
  }

  const unified: Unified = {
    name,
    search,
    store,
    outbox,
    policies,
    sources: Effect.map(Clock.currentTimeMillis, (now) =>
      built.map(({ name, pipeline, service: { modes } }) => ({
        name,
        modes,
        availableInMillis: pipeline.availability(now, "search")
      })))
  }
  return unified
})

const plainHit = ({ attributes, content, id, score, title }: UnifiedHit): Hit => ({
  id,
  content,
  score,
  ...(title === undefined ? {} : { title }),
  ...(attributes === undefined ? {} : { attributes })
})

/** Counts how complete answers are. What is wrong in the request itself, or taken back, is no answer. */
const counted = <A extends Served<UnifiedAnswer>, E extends { readonly _tag: string }>(
  self: Effect.Effect<A, E>,
  recorder: Recorder
): Effect.Effect<A, E> =>
  Effect.onExit(self, (exit) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      if (Exit.isSuccess(exit)) return recorder.answered(completenessOf(exit.value), now)
      const callers = Option.exists(
        Exit.findErrorOption(exit),
        (error) => error instanceof ProviderError && error.verdicts.fallback === "Stop"
      )
      if (!callers && !Exit.hasInterrupts(exit)) recorder.answered("failed", now)
    }))
