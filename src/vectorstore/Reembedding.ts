/**
 * Moves a store to another embedding space while it goes on answering: everything is embedded in the new space beside the
 * old one, then searches and writes change over.
 *
 * **When to use**
 *
 * For another model, width or revision. Vectors of two spaces never meet: until the change-over all searches are in the
 * old space, after it all are in the new one.
 *
 * **Gotchas**
 *
 * A write that is under way at the change-over may be embedded in the old space alone: words find it, and the next run,
 * or a store that tends itself, gives it its vector.
 */
import { Effect, Semaphore, Stream } from "effect"
import { ConfigurationError, ProviderError } from "../ProviderError.ts"
import type { Service } from "./VectorStore.ts"

/** A store that can embed what has no vector in its space yet, as a `NeonStore` can. */
export interface Embedding extends Service {
  /** Tells how many documents it embedded. What was embedded stays when it fails. */
  readonly embedMissing: (options?: EmbeddingOptions) => Effect.Effect<number, ProviderError>
}

export interface EmbeddingOptions {
  /** Told after each part. */
  readonly onProgress?: ((done: number, total: number) => Effect.Effect<void>) | undefined
}

export interface Options {
  /** The documents by the embedder used so far. */
  readonly from: Service
  /** The same documents by the new embedder. */
  readonly to: Embedding
}

export interface Reembedding {
  /** The old store until `run` has changed over, then the new one. */
  readonly store: Service
  /** Whether the new space answers. */
  readonly changedOver: Effect.Effect<boolean>
  /**
   * Embeds what is missing, changes over, and embeds what was written meanwhile; tells how many documents it embedded.
   *
   * **Details**
   *
   * One at a time; a second caller waits and finds it done. When it fails or is interrupted before the change-over, the
   * old space goes on answering, and the next run goes on where it was. A text that the new embedder refuses is found by
   * its words alone; where it refuses them all, the run fails.
   */
  readonly run: (options?: EmbeddingOptions) => Effect.Effect<number, ProviderError>
}

/** A pass that embeds fewer is the last before the change-over. */
const fewLeft = 100

/** The most passes before the change-over, whatever is written meanwhile. */
const passes = 5

/** Starts with the old store. Other processes change over by a run of their own, which finds the work done. */
export const make = ({ from, to }: Options): Effect.Effect<Reembedding> =>
  Effect.map(Semaphore.make(1), (lock) => {
    let active: Service = from

    const run: Reembedding["run"] = Effect.fnUntraced(function*(options) {
      if (active === to) return yield* to.embedMissing(options)
      let embedded = 0
      for (let pass = 0; pass < passes; pass++) {
        const made = yield* to.embedMissing(options)
        embedded += made
        if (made < fewLeft) break
      }
      const { documents, embedded: there, space } = yield* to.stats
      // What an embedder refuses is no failure of `embedMissing`; nothing but refusals is one of the embedder.
      if (space !== undefined && documents > 0 && there === 0) return yield* nothingEmbedded(to.name, documents, space)
      active = to
      return embedded + (yield* to.embedMissing())
    }, Semaphore.withPermit(lock))

    const using = <A>(call: (store: Service) => Effect.Effect<A, ProviderError>) => Effect.suspend(() => call(active))
    return {
      changedOver: Effect.sync(() => active === to),
      run,
      store: {
        name: from.name,
        get modes() {
          return active.modes
        },
        get space() {
          return active.space
        },
        filters: (filter) => active.filters?.(filter) ?? true,
        search: (request) => using((store) => store.search(request)),
        add: (document) => using((store) => store.add(document)),
        addMany: (documents, options) => using((store) => store.addMany(documents, options)),
        get: (id) => using((store) => store.get(id)),
        update: (id, patch) => using((store) => store.update(id, patch)),
        delete: (id) => using((store) => store.delete(id)),
        list: (request) => using((store) => store.list(request)),
        documents: Stream.suspend(() => active.documents),
        stats: using((store) => store.stats),
        health: using((store) => store.health)
      }
    }
  })

const nothingEmbedded = (provider: string, documents: number, space: string): ProviderError =>
  new ProviderError({
    provider,
    operation: "embedMissing",
    reason: new ConfigurationError({
      message: `The embedder of the space ${space} refused every one of ${documents} documents`,
      rule: "reembedding/change-over",
      delivered: "yes",
      detail: "NothingEmbedded"
    })
  })
