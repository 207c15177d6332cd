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
import { Cause, Clock, Context, type Duration, Effect, Exit, Layer, Option, Predicate, type Scope } from "effect"
import type { DeadlineExceeded } from "../Deadline.ts"
import * as Fallback from "../Fallback.ts"
import * as FaultTolerance from "../FaultTolerance.ts"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import { mayRetry, ProviderError, ServiceUnavailableError } from "../ProviderError.ts"
import { refusals, type Served } from "../Served.ts"
import type { LevelInput, LevelTooLow } from "../ServiceLevel.ts"
import { checkSearch, everyDocument, mostHits, refusal } from "./internal/requests.ts"
import * as Outbox from "./Outbox.ts"
import * as RankFusion from "./RankFusion.ts"
import {
  type BatchReport,
  type DocumentId,
  type Hit,
  type Loss,
  type SearchAnswer,
  type SearchMode,
  type SearchRequest,
  type Service,
  VectorStore
} from "./VectorStore.ts"

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
  /** Names the service in errors, events and metrics. Defaults to `"unified"`. */
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

/** A hit with its place in each source that has it, counted from 1. */
export interface UnifiedHit extends Hit {
  readonly ranks?: Readonly<Record<string, number>>
}

/** A source's part in an answer. */
export interface SourceAnswer {
  readonly source: string
  readonly mode: SearchMode
  readonly hits: number
  readonly tookMillis: number
  /** How often it was asked. */
  readonly attempts: number
}

export interface UnifiedAnswer extends SearchAnswer {
  readonly hits: ReadonlyArray<UnifiedHit>
  readonly answered: ReadonlyArray<SourceAnswer>
  /** Sources that were not asked because they cannot search so. */
  readonly unfit: ReadonlyArray<Unfit>
}

/** A source that has not the mode asked for, or whose vectors are of another space than the one given. */
export interface Unfit {
  readonly source: string
  readonly reason: "ModeUnsupported" | "SpaceUnsupported"
}

/** What became of a source in a search. */
export type SourceOutcome =
  | SourceAnswer & { readonly _tag: "Answered" }
  | { readonly _tag: "FromCache"; readonly source: string; readonly ageMillis: number }
  | {
    readonly _tag: "Failed"
    readonly source: string
    readonly category: string
    readonly retryAfter?: Duration.Duration
  }
  /** It did not answer in its time; a search of all did not wait longer. */
  | { readonly _tag: "TimedOut"; readonly source: string }
  /** It was not asked: its circuit is open, it is full, or it cannot search so. */
  | {
    readonly _tag: "Skipped"
    readonly source: string
    readonly reason: string
    readonly retryAfter?: Duration.Duration
  }

/** What an answer lacks against the best there is. */
export type Lost =
  | { readonly _tag: "SourceMissing"; readonly source: string }
  | { readonly _tag: "Stale"; readonly ageMillis: number }
  | { readonly _tag: Loss }

/** An answer as a caller must take it: complete, or with every loss named. */
export type SearchResult =
  | {
    readonly _tag: "Complete"
    readonly hits: ReadonlyArray<UnifiedHit>
    readonly sources: ReadonlyArray<SourceOutcome>
  }
  | {
    readonly _tag: "Degraded"
    readonly hits: ReadonlyArray<UnifiedHit>
    readonly sources: ReadonlyArray<SourceOutcome>
    readonly lost: readonly [Lost, ...ReadonlyArray<Lost>]
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
  /** Milliseconds until it would be asked again; 0 for now. */
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

/** The providers with their policies, the service level and the cache. */
export type Policies = Pick<
  FaultTolerance.FaultTolerance<Service>,
  "service" | "providers" | "level" | "cache" | "options" | "reconfigure"
>

/** What any call may fail with. */
type Failing = ProviderError | {
  readonly _tag: string
  readonly message: string
  readonly retryAfter?: Duration.Duration | undefined
}

/** `FaultTolerance` without its inference of kinds and errors, which this module states by itself. */
type Built = Policies["providers"][number]

interface Executing extends Policies {
  readonly execute: <A>(
    options: FaultTolerance.CallOptions<A>,
    use: (store: Service) => Effect.Effect<A, ProviderError>
  ) => Effect.Effect<Served<A>, Failing>
  readonly among: (sources: ReadonlyArray<string>) => Pick<Executing, "execute">
}
const policiesOf = (
  options: FaultTolerance.Options<VectorStore, Service>
): Effect.Effect<Executing, InvalidOptions, Scope.Scope> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see `make` for what Layers add
  FaultTolerance.make(VectorStore, options) as Effect.Effect<never>

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
    strategy: options.strategy ?? "InOrder",
    weights: options.weights
  }))
  const { cache } = options
  const all = yield* policiesOf({
    ...options,
    pipeline: { retry: patience, ...options.pipeline },
    // An answer that lost something does not take the place of one that did not.
    cache: cache === undefined || "parts" in cache ? cache : { quality: (value) => -lossesIn(value), ...cache },
    service: name,
    providers: options.sources
  })
  const built = all.providers
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

  const arrangements = new Map<string, Pick<Executing, "execute">>()
  /** Some of the sources, or in another order. */
  const arrange = (order: ReadonlyArray<Built>): Pick<Executing, "execute"> => {
    const key = orderOf(order)
    const known = arrangements.get(key) ?? all.among(order.map(({ name }) => name))
    arrangements.set(key, known)
    return known
  }
  const pace = new Pace()
  const modes = modesOf(built.map(({ service }) => service))

  const partyOf = ({ name, pipeline, service }: typeof built[number]): Outbox.Party => ({
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
    const from = yield* Clock.currentTimeMillis
    const answer = yield* service.search(
      mode !== undefined && !service.modes.includes(mode) ? { ...request, mode: undefined } : request
    )
    const tookMillis = (yield* Clock.currentTimeMillis) - from
    pace.took(source, tookMillis)
    const hits = answer.hits.filter(({ id }) => !isGone(service, id))
    return {
      ...answer,
      hits,
      answered: [{ source, mode: answer.mode, hits: hits.length, tookMillis, attempts: attempt }],
      unfit
    }
  })

  const search = Effect.fnUntraced(function*(
    request: SearchRequest,
    how: SearchOptions = {}
  ): Effect.fn.Return<Found, SearchError> {
    const limit = yield* checkSearch(name, { ...request, vector: undefined }, undefined)
    const { filter, mode, threshold, vector } = request
    const reasons = built.map(({ service }) => whyUnfit(service, request))
    const unfit = built.flatMap(({ name }, i): ReadonlyArray<Unfit> => {
      const reason = reasons[i]
      return reason === undefined ? [] : [{ source: name, reason }]
    })
    const able = built.filter((_, i) => reasons[i] === undefined)
    if (able.length === 0) {
      return yield* unfit.some(({ reason }) => reason === "SpaceUnsupported")
        ? refusal(name, "search", `No source takes vectors of the space ${vector?.space}`, "ForeignSpace")
        : refusal(name, "search", `No source can search by ${mode ?? "vector"}`, "Mode")
    }
    const applies = ({ service }: Built): boolean => filter === undefined || service.filters?.(filter) !== false
    const fit = [...able.filter(applies), ...able.filter((it) => !applies(it))]
    const chosen = how.strategy ?? strategy
    const now = yield* Clock.currentTimeMillis
    const available = chosen === "Fastest" ? fit.filter((it) => it.pipeline.availability(now, "search") === 0) : []
    const first = pace.choose(available.some(applies) ? available.filter(applies) : available)
    const policies = arrange(
      chosen === "AllAtOnce" ? able : first === undefined ? fit : [first, ...fit.filter((it) => it !== first)]
    )
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

    if (chosen !== "AllAtOnce") {
      return yield* found(policies.execute(
        { ...call, cacheKey: [chosen, request], mode: Fallback.graceful() },
        (service) => ask(service, request, attempts, unfit)
      ))
    }
    // Scores of different sources do not compare, so that a threshold is for the joined ones.
    const wide: SearchRequest = {
      ...request,
      threshold: undefined,
      limit: Math.max(limit, depth ?? Math.min(mostHits, Math.max(20, 2 * limit)))
    }
    const combine = (answers: ReadonlyArray<Fallback.Answered<UnifiedAnswer>>): UnifiedAnswer => {
      const hasPrimary = answers.some(({ source }) => source === primary.name)
      const fused = RankFusion.fuse(
        answers.map(({ source, value }) => ({
          source,
          weight: weights[source] ?? 1,
          // Where the primary has answered, an older state in a mirror has no say.
          items: hasPrimary ? value.hits.filter(({ id }) => outbox.pending(source, id) === undefined) : value.hits
        })),
        { key: ({ id }) => id, k }
      )
      const each = answers.flatMap(({ value }) => value.answered)
      return {
        mode: each.every((it) => it.mode === each[0]?.mode) ? each[0]?.mode ?? "hybrid" : "hybrid",
        hits: fused
          .filter(({ score }) => threshold === undefined || score >= threshold)
          .slice(0, limit)
          .map(({ item, ranks, score }) => Object.assign({}, item, { score, ranks: Object.fromEntries(ranks) })),
        losses: lossesOf(answers.map(({ value }) => value.losses)),
        answered: each,
        unfit
      }
    }
    return yield* found(policies.execute(
      {
        ...call,
        cacheKey: ["AllAtOnce", request],
        mode: Fallback.partial({ combine, minSources, ...(softDeadline === undefined ? {} : { softDeadline }) })
      },
      (service) => ask(service, wide, attempts, unfit)
    ))
  })

  const read = <A>(operation: string, use: (store: Service) => Effect.Effect<A, ProviderError>) =>
    asStore(operation, Effect.map(all.execute({ operation, idempotent: true }, use), ({ value }) => value))

  /** Writes to the primary; then, or when the outcome is open, tells the mirrors' outbox. */
  const write = <A>(
    operation: string,
    use: (store: Service) => Effect.Effect<A, ProviderError>,
    recorded: (value: A) => Effect.Effect<void>,
    open: Effect.Effect<void>
  ): Effect.Effect<A, ProviderError> =>
    Effect.uninterruptibleMask((restore) =>
      restore(asStore(
        operation,
        Effect.map(
          all.execute({ operation, idempotent: true, mode: Fallback.failFast(), invalidates: ["documents"] }, use),
          ({ value }) => value
        )
      )).pipe(
        Effect.onExit((exit) =>
          Exit.isSuccess(exit) ? recorded(exit.value) : surelyNotDone(exit.cause) ? Effect.void : open
        )
      )
    )
  const asStore = <A>(operation: string, self: Effect.Effect<A, Failing>): Effect.Effect<A, ProviderError> =>
    Effect.mapError(self, (error) => providerError(name, operation, error))

  const list: Service["list"] = (request) =>
    read("list", (store) =>
      Effect.map(store.list(request), (page) => ({
        ...page,
        documents: page.documents.filter(({ id }) => !isGone(store, id))
      })))
  const store: Service = {
    name,
    modes,
    get space() {
      return built.find(({ service }) => service.space !== undefined)?.service.space
    },
    filters: (filter) => built.some(({ service }) => service.filters?.(filter) !== false),
    search: (request) =>
      asStore("search", search(request)).pipe(
        Effect.map(({ value: { hits, losses, mode } }) => ({
          mode,
          hits: hits.map(plainHit),
          losses
        }))
      ),
    add: (document) => {
      const record = outbox.record("put", [document.id])
      return write("add", (store) => store.add(document), () => record, record)
    },
    addMany: (documents, batch) => {
      const record = (ids: ReadonlyArray<DocumentId>) => outbox.record("put", Array.from(new Set(ids)))
      return write(
        "addMany",
        (store) => store.addMany(documents, batch),
        ({ items }: BatchReport) => record(items.filter(({ _tag }) => _tag !== "Failed").map(({ id }) => id)),
        record(documents.map(({ id }) => id))
      )
    },
    update: (id, patch) => {
      const record = outbox.record("put", [id])
      return write(
        "update",
        (store) => store.update(id, patch),
        (it) => Option.isSome(it) ? record : Effect.void,
        record
      )
    },
    delete: (id) => {
      const record = outbox.record("delete", [id])
      return write("delete", (store) => store.delete(id), () => record, record)
    },
    get: (id) => read("get", (store) => Effect.map(store.get(id), Option.filter(() => !isGone(store, id)))),
    list,
    documents: everyDocument(list),
    stats: Effect.map(read("stats", (store) => store.stats), (stats) => ({ ...stats, modes })),
    health: read("health", (store) => store.health)
  }

  const unified: Unified = {
    name,
    search,
    store,
    outbox,
    policies: all,
    sources: Effect.map(Clock.currentTimeMillis, (now) =>
      built.map(({ name, pipeline, service: { modes } }) => ({
        name,
        modes,
        availableInMillis: pipeline.availability(now)
      })))
  }
  return unified
})

/** A refusal or an outage in the words of a store. */
const providerError = (provider: string, operation: string, error: Failing): ProviderError =>
  error instanceof ProviderError ? error : new ProviderError({
    provider,
    operation,
    reason: new ServiceUnavailableError({
      message: error.message,
      rule: "unified",
      delivered: "unknown",
      detail: error._tag,
      ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
    })
  }).causedBy(error)

/** Whether a write that failed so never reached the provider. */
const surelyNotDone = (cause: Cause.Cause<ProviderError>): boolean =>
  Option.exists(
    Cause.findErrorOption(cause),
    (error) => mayRetry(error, false) || error.verdicts.breaker !== "Failure" || refusals.has(error.reason.detail ?? "")
  )

const lossesIn = (value: unknown): number =>
  Predicate.hasProperty(value, "losses") && Array.isArray(value.losses) ? value.losses.length : 0

/** A hybrid search is made of any mode; a vector is of one space. */
const whyUnfit = (
  { modes, space }: Service,
  { mode = "hybrid", vector }: SearchRequest
): Unfit["reason"] | undefined => {
  const wanted = vector === undefined ? mode : "vector"
  if (wanted !== "hybrid" && !modes.includes(wanted)) return "ModeUnsupported"
  return vector === undefined || vector.space === space ? undefined : "SpaceUnsupported"
}

const orderOf = (sources: ReadonlyArray<Built>): string => JSON.stringify(sources.map(({ name }) => name))

/** How quick sources have been, smoothed. */
class Pace {
  private readonly millis = new Map<string, number>()
  private leader: string | undefined
  private searches = 0

  took(source: string, millis: number): void {
    const known = this.millis.get(source)
    this.millis.set(source, known === undefined ? millis : known + (millis - known) * 0.2)
  }

  /** The leader leads until another is a third quicker; now and then another goes first, so that it can be known. */
  choose(sources: ReadonlyArray<Built>): Built | undefined {
    if (sources.length === 0) return undefined
    this.searches++
    const unknown = sources.find(({ name }) => !this.millis.has(name))
    if (unknown !== undefined) return unknown
    if (this.searches % 50 === 0) return sources[(this.searches / 50) % sources.length]
    const of = ({ name }: Built): number => this.millis.get(name) ?? 0
    const leader = sources.find(({ name }) => name === this.leader)
    const best = sources.reduce<Built | undefined>((a, b) => a === undefined || of(b) < of(a) ? b : a, undefined)
    const next = leader !== undefined && best !== undefined && of(best) > of(leader) * (2 / 3) ? leader : best
    this.leader = next?.name
    return next
  }
}

const isTagged = (error: unknown): error is { readonly _tag: string } =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"

const tagged = (error: unknown): { readonly _tag: string } => isTagged(error) ? error : { _tag: "UnknownError" }

const plainHit = ({ attributes, content, id, score, title }: UnifiedHit): Hit => ({
  id,
  content,
  score,
  ...(title === undefined ? {} : { title }),
  ...(attributes === undefined ? {} : { attributes })
})

/** What several stores can do together, the best first. */
const modesOf = (stores: ReadonlyArray<Service>): ReadonlyArray<SearchMode> => {
  const found = new Set(stores.flatMap(({ modes }) => modes))
  return found.size > 1 ? Array.from(new Set<SearchMode>(["hybrid", ...found])) : Array.from(found)
}

/** Losses of one source count, but that a query says nothing counts only when it says nothing to all. */
const lossesOf = (each: ReadonlyArray<ReadonlyArray<Loss>>): ReadonlyArray<Loss> =>
  Array.from(new Set(each.flat())).filter((loss) =>
    loss !== "OnlyStopWords" || each.every((losses) => losses.includes("OnlyStopWords"))
  )

const lateness: ReadonlySet<string> = new Set(["NotWaitedFor", "TIMEOUT", "DeadlineExceeded"])

/** What became of each source. */
export const outcomes = (served: Served<UnifiedAnswer>): ReadonlyArray<SourceOutcome> => {
  const { answered, unfit } = served.value
  const fromCache = served._tag === "Cached" || served._tag === "Stale"
  return [
    ...answered.map((it): SourceOutcome =>
      fromCache
        ? { _tag: "FromCache", source: it.source, ageMillis: served.age }
        : Object.assign({ _tag: "Answered" as const }, it)
    ),
    ...served.failures.map(({ category, provider: source, retryAfter }): SourceOutcome => {
      const wait = retryAfter === undefined ? {} : { retryAfter }
      return refusals.has(category)
        ? { _tag: "Skipped", source, reason: category, ...wait }
        : lateness.has(category)
        ? { _tag: "TimedOut", source }
        : { _tag: "Failed", source, category, ...wait }
    }),
    ...unfit.map(({ reason, source }): SourceOutcome => ({ _tag: "Skipped", source, reason }))
  ]
}

/** An answer as complete or degraded, with every loss. */
export const describe = (served: Served<UnifiedAnswer>): SearchResult => {
  const { hits, losses } = served.value
  const sources = outcomes(served)
  const missing = new Set([
    ...served.failures.map(({ provider }) => provider),
    ...(served._tag === "Partial" ? served.missing : [])
  ])
  const [first, ...rest]: ReadonlyArray<Lost> = [
    ...Array.from(missing, (source) => ({ _tag: "SourceMissing" as const, source })),
    ...(served._tag === "Stale" ? [{ _tag: "Stale" as const, ageMillis: served.age }] : []),
    ...losses.map((_tag) => ({ _tag }))
  ]
  return first === undefined
    ? { _tag: "Complete", hits, sources }
    : { _tag: "Degraded", hits, sources, lost: [first, ...rest] }
}
