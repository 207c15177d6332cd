/** One search for every store that ranks by itself: checks, what is lost when the embedder is down, fusion. */
import { Effect, Exit } from "effect"
import { type LexicalQuery, parse } from "../../internal/lexicalQuery.ts"
import type { ProviderError } from "../../ProviderError.ts"
import type { Service as Embedder, TermStatistics, Vector } from "../Embedder.ts"
import * as RankFusion from "../RankFusion.ts"
import type { Document, Filter, Hit, Loss, SearchAnswer, SearchMode, SearchRequest } from "../VectorStore.ts"
import { checkSearch, embeddingText } from "./requests.ts"

/** What a store can do by itself. `limit` hits or fewer, best first. */
export interface Rankings {
  readonly name: string
  /** Where absent, the store finds words only. */
  readonly embedder: Embedder | undefined
  readonly statistics: (terms: ReadonlyArray<string>) => Effect.Effect<TermStatistics, ProviderError>
  readonly lexical: (
    query: LexicalQuery,
    filter: Filter | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<Hit>, ProviderError>
  readonly vector: (
    values: ReadonlyArray<number>,
    query: LexicalQuery,
    filter: Filter | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<Hit>, ProviderError>
}

export const modesOf = (embedder: Embedder | undefined): ReadonlyArray<SearchMode> =>
  embedder === undefined ? ["lexical"] : ["hybrid", "lexical", "vector"]

export const makeSearch = (rankings: Rankings) => {
  const { embedder, name, statistics } = rankings

  const queryVector = Effect.fnUntraced(function*(query: LexicalQuery) {
    if (embedder === undefined) return undefined
    const known = embedder.usesStatistics === true ? yield* statistics(query.terms) : undefined
    // The embedder's failure costs the search its vectors, not its answer; whoever embeds also tells of it.
    const exit = yield* Effect.exit(embedder.embed([query.text], "query", known))
    return Exit.isSuccess(exit) ? exit.value[0] : undefined
  })

  return Effect.fnUntraced(function*(request: SearchRequest): Effect.fn.Return<SearchAnswer, ProviderError> {
    const limit = yield* checkSearch(name, request, embedder?.space)
    const query = parse(request.query)
    const { filter } = request
    const asked = request.mode ?? (request.vector === undefined ? modesOf(embedder)[0] ?? "lexical" : "vector")
    const vector: Vector | undefined = asked === "lexical" ? undefined : request.vector ?? (yield* queryVector(query))
    const losses: Array<Loss> = []
    let mode: SearchMode = asked
    if (asked !== "lexical" && vector === undefined) {
      losses.push("LexicalInsteadOfVector")
      mode = "lexical"
    }
    if (query.onlyStopWords && mode !== "vector") {
      losses.push("OnlyStopWords")
      if (mode === "hybrid") mode = "vector"
    }
    const hits = yield* ranked(mode, query, vector, filter, limit)
    const { threshold } = request
    return { mode, hits: threshold === undefined ? hits : hits.filter(({ score }) => score >= threshold), losses }
  })

  function ranked(
    mode: SearchMode,
    query: LexicalQuery,
    vector: Vector | undefined,
    filter: Filter | undefined,
    limit: number
  ): Effect.Effect<ReadonlyArray<Hit>, ProviderError> {
    if (mode === "lexical" || vector === undefined) return rankings.lexical(query, filter, limit)
    if (mode === "vector") return rankings.vector(vector.values, query, filter, limit)
    const depth = Math.max(50, 4 * limit)
    return Effect.map(
      Effect.all([
        rankings.lexical(query, filter, depth),
        rankings.vector(vector.values, query, filter, depth)
      ], { concurrency: 2 }),
      ([lexical, vector]) =>
        RankFusion.fuse([
          { source: "lexical", items: lexical },
          { source: "vector", weight: embedder?.fusionWeight, items: vector }
        ], { key: (hit) => hit.id }).slice(0, limit).map(({ item, score }): Hit => Object.assign({}, item, { score }))
    )
  }
}

/**
 * One vector for each document, or none for those that could not be embedded: they are stored all the same, found by
 * their words, and embedded later. A text that the embedder refuses does not lose the others theirs.
 */
export const embedDocuments = (
  embedder: Embedder,
  documents: ReadonlyArray<Pick<Document, "title" | "content">>
): Effect.Effect<ReadonlyArray<Vector | undefined>> =>
  documents.length === 0
    ? Effect.succeed([])
    : embedder.embed(documents.map(embeddingText), "document").pipe(
      Effect.catch((error): Effect.Effect<ReadonlyArray<Vector | undefined>> => {
        if (error.verdicts.fallback !== "Stop" || documents.length === 1) {
          return Effect.succeed(documents.map(() => undefined))
        }
        const half = Math.ceil(documents.length / 2)
        return Effect.zipWith(
          embedDocuments(embedder, documents.slice(0, half)),
          embedDocuments(embedder, documents.slice(half)),
          (first, second) => [...first, ...second]
        )
      })
    )
