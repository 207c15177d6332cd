/**
 * A cache of answers that outlives an outage: fresh answers at once, old ones while a new one is fetched, older ones
 * still after a failure that warrants it. Identical misses ask once. Failures are never kept.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer, Option, type Schema, type Scope } from "effect"
import type { Persistence } from "effect/persistence"
import { CacheCore, type Entry, estimateBytes, isFresh, type Use } from "./internal/cacheCore.ts"
import { cacheKey, scopedKey } from "./internal/cacheKey.ts"
import {
  make as makeShared,
  sameVersions,
  type SharedAnswer,
  type SharedCache,
  type SharedStore
} from "./internal/cacheShared.ts"
import { isTagged, memberOf } from "./internal/foreign.ts"
import { checked, checks } from "./internal/options.ts"
import { SingleFlight, type Work } from "./internal/singleFlight.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import type { Category } from "./ProviderError.ts"
import * as Served from "./Served.ts"

export interface Options<in A = unknown> {
  /** Names the cache in a shared store and as the provider of what `get` and `set` keep. Defaults to `"cache"`. */
  readonly name?: string | undefined
  /**
   * How long an answer is fresh, `"Infinity"` for ever; a function decides by the answer, and zero keeps it not at all.
   * Defaults to `"1 minute"`.
   */
  readonly fresh?: Duration.Input | ((value: A) => Duration.Input) | undefined
  /**
   * How long past its freshness an answer is served at once while a new one is fetched (stale-while-revalidate). A
   * fetch that hangs beyond that is given up, though not before it has run for 30 seconds. Defaults to `"1 minute"`.
   */
  readonly revalidate?: Duration.Input | undefined
  /** How long past its freshness an answer is served after a failure (stale-if-error). Defaults to `"1 hour"`. */
  readonly stale?: Duration.Input | undefined
  /**
   * How long an answer is kept altogether, counted from when it was made and whatever `revalidate` says: the
   * specification's way to say `stale`, which decides alone where both are given. At least `fresh`; where that is a
   * function, what it answers is cut to this.
   */
  readonly cacheRetention?: Duration.Input | undefined
  /** How many answers are kept; the least recently used one goes first. Defaults to 1,000. */
  readonly capacity?: number | undefined
  /** How many bytes, by estimate, the answers may take; an answer larger than this is not kept. Defaults to no limit. */
  readonly maxBytes?: number | undefined
  /**
   * Estimates an answer's bytes. Defaults to a walk through the value. Only called where `maxBytes` is given; an answer
   * for which it gives no number, or one below 0, is not kept.
   */
  readonly sizeOf?: ((value: A) => number) | undefined
  /**
   * How good an answer is: one that may still be served is only overwritten by an equal or better one. Defaults to all
   * being equal. A partial answer is always worse than a complete one.
   */
  readonly quality?: ((value: A) => number) | undefined
  /** Whether an old answer may be served after this failure. Defaults to `qualifies`. */
  readonly qualifies?: ((error: unknown) => boolean) | undefined
}

/** What a key belongs to. */
export interface KeyOptions {
  /** Part of the key: no tenant is ever given another's answer. */
  readonly tenant?: string | undefined
  /** Part of the key: what is asked for. */
  readonly operation?: string | undefined
}

/** Options of one look-up. */
export interface CallOptions<A = unknown> extends KeyOptions {
  /** The answer goes when one of these is invalidated. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Lets the answer be shared through a `Shared` store. Without it, it stays in this process. */
  readonly schema?: Schema.Codec<A, unknown> | undefined
}

/** How a look-up was answered. */
export type Result = "hit" | "stale" | "miss" | "coalesced"

export interface Stats {
  readonly entries: number
  /** Estimated; 0 where `maxBytes` is not given. */
  readonly bytes: number
  readonly inFlight: number
  /** Fresh answers served. */
  readonly hits: number
  /** Old answers served, after a failure or ahead of a new one. */
  readonly stale: number
  /** Look-ups that asked. */
  readonly misses: number
  /** Look-ups that joined one that was asking already. */
  readonly coalesced: number
  readonly refreshes: number
  readonly evictions: number
}

export interface ResponseCache<A = unknown> {
  /** The fresh answer held, or the look-up's, which is kept. The same key must always mean the same kind of look-up. */
  readonly get: <E, R>(
    key: unknown,
    lookup: Effect.Effect<A, E, R>,
    options?: CallOptions<A>
  ) => Effect.Effect<A, E, R>
  /**
   * As `get`, and tells where the answer comes from. An old one is served ahead of a new one, and after a failure that
   * qualifies. A default is not kept, and a partial answer does not take the place of a complete one.
   */
  readonly serve: <S extends Served.Served<A>, E, R>(
    key: unknown,
    lookup: Effect.Effect<S, E, R>,
    options?: CallOptions<A>
  ) => Effect.Effect<Served.Served<S["value"], S["_tag"] | "Cached" | "Stale">, E, R>
  /** What is held and may still be served in some way. Counts as no look-up. */
  readonly peek: (
    key: unknown,
    options?: KeyOptions
  ) => Effect.Effect<Option.Option<Served.Served<A, "Cached" | "Stale" | "Partial">>>
  /** Keeps an answer, as if it had just been made. */
  readonly set: (key: unknown, value: A, options?: CallOptions<A>) => Effect.Effect<void>
  /** Drops an answer; what is being fetched for it will not be kept. */
  readonly invalidate: (key: unknown, options?: KeyOptions) => Effect.Effect<void>
  /** Drops every answer with the tag; what is being fetched under it will not be kept. */
  readonly invalidateTag: (tag: string) => Effect.Effect<void>
  readonly clear: Effect.Effect<void>
  /** Goes on under other options, all but the name; answers held stay, as fresh as they were. */
  readonly configure: (options: Options<A>) => Effect.Effect<void, InvalidOptions>
  readonly stats: Effect.Effect<Stats>
  /**
   * For `FaultTolerance`, which puts its deadline between the parts.
   * @internal
   */
  readonly parts: Parts<A>
}

/** @internal */
export interface Parts<A> {
  /** What is fresh, or old and being refreshed from now on. */
  readonly fresh: (call: Call<A>, fiber: Fiber.Fiber<unknown, unknown>) => Served.Served<A> | undefined
  /** Asks, or joins whoever asks. */
  readonly ask: <E, R>(call: Call<A, E, R>) => Effect.Effect<Served.Served<A>, E, R>
  /** What may be served although nobody answers. */
  readonly lastResort: (
    call: Call<A>,
    now: number,
    failures: ReadonlyArray<Served.Failure>
  ) => Served.Served<A> | undefined
  readonly qualifies: (error: unknown) => boolean
}

/** @internal */
export interface Call<A, E = unknown, R = unknown> {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  readonly schema: Schema.Codec<A, unknown> | undefined
  readonly lookup: Effect.Effect<Served.Served<A>, E, R>
  readonly onResult?: ((result: Result) => void) | undefined
  /** What a caller who joined is told when his deadline passes first. */
  readonly late?: (() => E) | undefined
}

/**
 * Whether an old answer may be served after this failure: not after one that says something about the request.
 *
 * **Details**
 *
 * A refused credential, a forbidden, invalid or unknown request and data that break a rule do not qualify, so that
 * nobody reads what he may not read any more. Of a failure with several causes (`failures`), every one must qualify.
 */
export const qualifies = (error: unknown): boolean => {
  const category = memberOf(error, "category")
  if (typeof category === "string") return !unqualified.has(category)
  const failures = memberOf(error, "failures")
  return !Array.isArray(failures) || failures.every(qualifies)
}

const unqualified: ReadonlySet<string> = new Set<Category>([
  "AUTHENTICATION",
  "AUTHORIZATION",
  "INVALID_REQUEST",
  "NOT_FOUND",
  "VALIDATION"
])

/** A store that several processes share, beside the memory of each. None by default. */
export const Shared = Context.Reference<SharedCache | undefined>("holdfast/ResponseCache/Shared", {
  defaultValue: () => undefined
})

/**
 * Shares answers through Effect's `Persistence`, such as `Persistence.layerRedis` or `Persistence.layerSql`.
 *
 * **Details**
 *
 * The memory of the process is asked first. The store is asked on a miss, for at most `maxWait` (defaults to
 * `"250 millis"`), written in the background, and done without where it fails; of an invalidation that it did not take
 * the log tells. Answers are in the store of the cache's `name`, what is known of tags beside it in `<name>_tags`.
 *
 * An invalidation reaches the store at once. Another process goes on with what it has in memory until it next asks
 * itself: then it drops what was invalidated by a tag, while what was invalidated by its key, or cleared, may still be
 * served there after failures. What another process is fetching just then is kept, unless a tag of it is what was
 * invalidated.
 */
export const layerShared = (options?: {
  readonly maxWait?: Duration.Input | undefined
}): Layer.Layer<never, InvalidOptions, Persistence.Persistence> =>
  Layer.effect(
    Shared,
    Effect.flatMap(
      checked(() => checks("ResponseCache").millis("maxWait", options?.maxWait, "250 millis", { min: 1 })),
      makeShared
    )
  )

const settingsOf = <A>(options: Options<A>) => {
  const { ensure, int, millis } = checks("ResponseCache")
  const freshMillis = typeof options.fresh === "function"
    ? 0
    : options.fresh === "Infinity"
    ? Infinity
    : millis("fresh", options.fresh, "1 minute")
  const retention = options.cacheRetention === undefined
    ? undefined
    : millis("cacheRetention", options.cacheRetention, 0)
  ensure(retention === undefined || retention >= freshMillis, "cacheRetention", "must be at least as long as fresh")
  const retentionDecides = retention !== undefined && options.stale === undefined
  return {
    freshMillis,
    capacity: int("capacity", options.capacity, 1000),
    maxBytes: options.maxBytes === undefined ? Infinity : int("maxBytes", options.maxBytes, 0),
    revalidateMillis: millis("revalidate", options.revalidate, "1 minute"),
    staleMillis: retentionDecides ? Infinity : millis("stale", options.stale, "1 hour"),
    retentionMillis: retentionDecides ? retention : Infinity
  }
}

/** A shared store keeps nothing longer. */
const longestMillis = 30 * 24 * 3_600_000

/** A refresh has this long, however late it begins. */
const leastRefreshMillis = 30_000

const startAtOnce = { startImmediately: true } as const

const noTags: ReadonlyArray<string> = []

/** The key of a call within a cache. */
export const keyOf = (key: unknown, options?: KeyOptions): string =>
  options === undefined ? cacheKey(key) : scopedKey(cacheKey(key), options.operation, options.tenant)

/**
 * Lives as long as the scope: what runs when that closes is interrupted.
 *
 * **Example** (An answer that outlives its provider)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ResponseCache, Served } from "holdfast"
 *
 * let online = true
 * const ask = Effect.suspend(() => online ? Effect.succeed(Served.live(42, "oracle")) : Effect.fail("offline"))
 *
 * const program = Effect.gen(function*() {
 *   const cache = yield* ResponseCache.make<number>({ fresh: "1 milli", revalidate: 0, stale: "1 hour" })
 *   const first = yield* cache.serve({ question: "life" }, ask)
 *   online = false
 *   yield* Effect.sleep("5 millis")
 *   const second = yield* cache.serve({ question: "life" }, ask)
 *   return `${first._tag} ${first.value}, ${second._tag} ${second.value}`
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => Live 42, Stale 42
 * ```
 */
export const make = Effect.fnUntraced(function*<A = unknown>(
  options: Options<A> = {}
): Effect.fn.Return<ResponseCache<A>, InvalidOptions, Scope.Scope> {
  let current = options
  let settings = yield* checked(() => settingsOf(options))
  const name = options.name ?? "cache"
  const mayServeOld = (error: unknown): boolean => (current.qualifies ?? qualifies)(error)
  const core = new CacheCore<Exit.Success<A>>(settings)
  const flights = new SingleFlight()
  const counts = { hits: 0, stale: 0, misses: 0, coalesced: 0, refreshes: 0 }
  const scope = yield* Effect.scope
  const shared = yield* Shared
  const store = shared === undefined ? undefined : yield* shared.open(name)
  yield* Effect.addFinalizer(() => flights.close)

  const freshMillisOf = (value: A): number =>
    typeof current.fresh === "function"
      ? Math.min(Duration.toMillis(Duration.fromInputUnsafe(current.fresh(value))), settings.retentionMillis)
      : settings.freshMillis

  const bytesOf = (value: A): number => settings.maxBytes === Infinity ? 0 : (current.sizeOf ?? estimateBytes)(value)

  const servedOf = (
    { madeAt, origin: { missing, provider }, payload: { value } }: Entry<Exit.Success<A>>,
    use: Use,
    now: number,
    failures: ReadonlyArray<Served.Failure> = []
  ): Served.Served<A, "Cached" | "Stale" | "Partial"> => {
    const age = Math.max(0, now - madeAt)
    if (missing !== undefined) return Served.partial(value, missing, failures, age)
    return use === "Fresh"
      ? Served.cached(value, provider, age, failures)
      : Served.stale(value, provider, age, failures)
  }

  const keep = (
    key: string,
    tags: ReadonlyArray<string>,
    answer: SharedAnswer<A>,
    now: number,
    versions?: ReadonlyArray<string>
  ): void => {
    const freshMillis = freshMillisOf(answer.value)
    if (!(freshMillis > 0)) return
    const { madeAt, missing, provider, value } = answer
    core.write(key, {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is one
      payload: Exit.succeed(value) as Exit.Success<A>,
      origin: { provider, missing, quality: answer.quality, tags, versions },
      madeAt,
      freshMillis,
      bytes: bytesOf(value)
    }, now)
  }

  /** What of an answer is kept; nothing of a default, or of what was old before. */
  const answerOf = (served: Served.Served<A>, now: number): SharedAnswer<A> | undefined => {
    switch (served._tag) {
      case "Stale":
      case "Default":
        return undefined
      case "Live":
      case "Cached":
      case "Partial":
        return {
          value: served.value,
          provider: served._tag === "Partial" ? name : served.provider,
          missing: served._tag === "Partial" ? served.missing : undefined,
          quality: current.quality?.(served.value) ?? 0,
          madeAt: now - Served.ageOf(served)
        }
    }
  }

  const remove = (key: string): void => {
    const entry = core.entries.get(key)
    if (entry !== undefined) core.remove(entry)
  }

  /** The store is waited for, but not given up with who waits: else the answer would come back. */
  const inStore = (change: Effect.Effect<void>): Effect.Effect<void> =>
    Effect.flatMap(Effect.forkIn(change, scope, startAtOnce), Fiber.await)

  /** From memory at once, and again when the store is done: till then it may have been read there. */
  const drop = (fromStore: (store: SharedStore) => Effect.Effect<void>, fromMemory: () => void): Effect.Effect<void> =>
    Effect.suspend(() => {
      fromMemory()
      return store === undefined ? Effect.void : inStore(Effect.andThen(fromStore(store), Effect.sync(fromMemory)))
    })

  const forget = ({ key, schema }: Pick<Call<A>, "key" | "schema">): Effect.Effect<void> => {
    remove(key)
    return store === undefined || schema === undefined ? Effect.void : inStore(store.drop(key))
  }

  const throughStore = <E, R>(
    { key, lookup, tags }: Call<A, E, R>,
    store: SharedStore,
    schema: Schema.Codec<A, unknown>,
    discarded: () => boolean,
    onRead: (versions: ReadonlyArray<string> | undefined) => void
  ): Effect.Effect<Served.Served<A>, E, R> =>
    Effect.flatMap(store.read(key, tags, schema), ({ answer, versions }) =>
      Effect.withFiber((fiber) => {
        const now = nowOf(fiber)
        onRead(versions)
        const before = core.held(key, now)
        // Another process may have invalidated a tag of what is held here.
        const isInvalid = before?.origin.versions !== undefined && versions !== undefined &&
          !sameVersions(before.origin.versions, versions)
        if (isInvalid) remove(key)
        const isNews = answer !== undefined && (before === undefined || isInvalid || answer.madeAt > before.madeAt)
        if (isNews && !discarded()) keep(key, tags, answer, now, versions)
        const entry = core.held(key, now)
        if (entry !== undefined && core.use(entry, now) === "Fresh") {
          return Effect.succeed(servedOf(entry, "Fresh", now))
        }
        return Effect.tap(lookup, (served) =>
          discarded()
            ? Effect.void
            // At once, so that whoever is answered and then makes it invalid comes after it.
            : Effect.forkIn(writeStore(store, key, served, versions, schema, nowOf(fiber)), scope, startAtOnce))
      }))

  const writeStore = (
    store: SharedStore,
    key: string,
    served: Served.Served<A>,
    versions: ReadonlyArray<string> | undefined,
    schema: Schema.Codec<A, unknown>,
    now: number
  ): Effect.Effect<void> => {
    const answer = answerOf(served, now)
    const freshMillis = freshMillisOf(served.value)
    if (answer === undefined || versions === undefined || !(freshMillis > 0)) return Effect.void
    const { retentionMillis, revalidateMillis, staleMillis } = settings
    const keepMillis = Math.min(longestMillis, retentionMillis, freshMillis + Math.max(staleMillis, revalidateMillis))
    return store.write(key, answer, keepMillis, versions, schema)
  }

  const workOf = <E, R>(call: Call<A, E, R>): Work<Served.Served<A>, E, R> => {
    let versions: ReadonlyArray<string> | undefined
    return {
      key: call.key,
      tags: call.tags,
      effect: (discarded) =>
        Effect.tapError(
          store === undefined || call.schema === undefined
            ? call.lookup
            : throughStore(call, store, call.schema, discarded, (read) => {
              versions = read
            }),
          // What may not be read, or is not there, is not served in a later outage either.
          (error) => qualifies(error) || mayServeOld(error) || discarded() ? Effect.void : forget(call)
        ),
      onEnd: (exit, discarded, now) => {
        const answer = exit._tag === "Failure" || discarded ? undefined : answerOf(exit.value, now)
        if (answer !== undefined) keep(call.key, call.tags, answer, now, versions)
      },
      late: call.late,
      onJoin: (began) => {
        if (began) counts.misses++
        else counts.coalesced++
        call.onResult?.(began ? "miss" : "coalesced")
      },
      ready: (fiber) => {
        const served = fresh(call, fiber)
        return served === undefined ? undefined : Exit.succeed(served)
      }
    }
  }

  const parts: Parts<A> = {
    qualifies: mayServeOld,
    fresh: (call, fiber) => {
      const entry = core.entries.get(call.key)
      if (entry === undefined) return undefined
      const now = nowOf(fiber)
      const use = core.use(entry, now)
      if (use === "IfError" || use === "Dead") return undefined
      core.touch(entry)
      const served = servedOf(entry, use, now)
      if (use === "Fresh") {
        counts.hits++
        call.onResult?.("hit")
      } else {
        counts.stale++
        call.onResult?.("stale")
        // May end at once and overwrite the entry.
        const maxMillis = Math.max(leastRefreshMillis, core.revalidateFor(entry, now))
        if (flights.refresh(workOf(call), fiber, maxMillis)) counts.refreshes++
      }
      return served
    },
    ask: (call) => flights.join(workOf(call)),
    lastResort: (call, now, failures) => {
      const entry = core.held(call.key, now)
      if (entry === undefined) return undefined
      const use = core.use(entry, now)
      if (use === "Fresh") counts.hits++
      else counts.stale++
      call.onResult?.(use === "Fresh" ? "hit" : "stale")
      core.touch(entry)
      return servedOf(entry, use, now, failures)
    }
  }
  const { ask, fresh, lastResort } = parts

  const cache: ResponseCache<A> = {
    parts,
    get: (key, lookup, options) =>
      Effect.withFiber((fiber) => {
        const text = keyOf(key, options)
        const entry = core.entries.get(text)
        // What never ages needs no look at the clock, which is most of what a hit costs.
        if (entry !== undefined && (entry.freshMillis === Infinity || isFresh(entry, nowOf(fiber)))) {
          counts.hits++
          core.touch(entry)
          return entry.payload
        }
        const live = Effect.map(lookup, (value) => Served.live(value, name))
        return Effect.map(ask(callOf(text, live, options)), (served) => served.value)
      }),
    serve: (key, lookup, options) =>
      Effect.withFiber((fiber) => {
        const call = callOf(keyOf(key, options), lookup, options)
        const served = fresh(call, fiber)
        const answer = served === undefined
          ? Effect.catchCause(ask(call), (cause) => {
            const error = Cause.findErrorOption(cause)
            const old = Option.isSome(error) && mayServeOld(error.value)
              ? lastResort(call, nowOf(fiber), failuresOf(name, error.value))
              : undefined
            return old === undefined ? Effect.failCause(cause) : Effect.succeed(old)
          })
          : Effect.succeed(served)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one key, one kind of answer
        return answer as Effect.Effect<never>
      }),
    peek: (key, options) =>
      Effect.withFiber((fiber) => {
        const now = nowOf(fiber)
        const entry = core.held(keyOf(key, options), now)
        return Effect.succeed(
          entry === undefined ? Option.none() : Option.some(servedOf(entry, core.use(entry, now), now))
        )
      }),
    set: Effect.fnUntraced(function*(key, value, options) {
      const now = yield* Clock.currentTimeMillis
      const text = keyOf(key, options)
      const tags = options?.tags ?? noTags
      const served = Served.live(value, name)
      flights.discard((flight) => flight.key === text)
      keep(text, tags, answerOf(served, now)!, now)
      if (store === undefined || options?.schema === undefined) return
      const { versions } = yield* store.read(text, tags, options.schema)
      yield* writeStore(store, text, served, versions, options.schema, now)
    }),
    invalidate: (key, options) =>
      Effect.suspend(() => {
        const text = keyOf(key, options)
        return drop((store) => store.drop(text), () => {
          flights.discard((flight) => flight.key === text)
          remove(text)
        })
      }),
    invalidateTag: (tag) =>
      drop((store) => store.dropTag(tag, longestMillis), () => {
        flights.discard((flight) => flight.tags.includes(tag))
        core.removeTag(tag)
      }),
    clear: drop((store) => store.clear, () => {
      flights.discard(() => true)
      core.clear()
    }),
    configure: (options) =>
      Effect.map(checked(() => settingsOf(options)), (next) => {
        current = options
        settings = next
        core.configure(next, ({ value }) => bytesOf(value))
      }),
    stats: Effect.sync(() => ({
      ...counts,
      entries: core.entries.size,
      bytes: core.bytes,
      inFlight: flights.running.size,
      evictions: core.evictions
    }))
  }
  return cache
})

const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

const callOf = <A, E, R>(
  key: string,
  lookup: Effect.Effect<Served.Served<A>, E, R>,
  options: CallOptions<A> | undefined
): Call<A, E, R> => ({ key, lookup, tags: options?.tags ?? noTags, schema: options?.schema })

const failuresOf = (name: string, error: unknown): ReadonlyArray<Served.Failure> => {
  const failures = memberOf(error, "failures")
  if (Array.isArray(failures)) return failures.filter((failure) => failure instanceof Served.Failure)
  return isTagged(error) ? [Served.failure(name, error)] : []
}
