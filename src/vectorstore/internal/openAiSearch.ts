/**
 * Search at OpenAI, from passages to documents. The API gives 50 passages at a time and no next page: it is asked again
 * without the documents seen, until there are as many as asked for. What its filters let through besides is taken out.
 */
import { Effect } from "effect"
import type { ProviderError } from "../../ProviderError.ts"
import { documentId, idKey, ownAttributes, passage as titleAndContent } from "../OpenAiDocument.ts"
import type { FileId, SearchBody } from "../OpenAiTypes.ts"
import type { DocumentId, Hit, Loss, SearchAnswer, SearchRequest } from "../VectorStore.ts"
import { matches } from "./filters.ts"
import { both, isExact, widen } from "./openAiFilters.ts"
import { passagesAtMost } from "./openAiLookup.ts"
import { attributesOf, type Place } from "./openAiPlace.ts"
import { checkSearch } from "./requests.ts"

export interface Options {
  readonly ranker: NonNullable<NonNullable<SearchBody["ranking_options"]>["ranker"]>
  readonly isReplaced: (file: FileId) => boolean
}

/** How often it is asked for one search. */
const searchRounds = 4

export const makeSearch = ({ client, id: store, within }: Place, { isReplaced, ranker }: Options) =>
  Effect.fnUntraced(function*(request: SearchRequest): Effect.fn.Return<SearchAnswer, ProviderError> {
    const limit = yield* checkSearch(client.name, request, undefined)
    const { filter, mode, query, threshold = 0 } = request
    const hits = new Map<DocumentId, Hit>()
    const answer = (...losses: ReadonlyArray<Loss>): SearchAnswer => ({
      mode: "vector",
      hits: Array.from(hits.values()).slice(0, limit),
      losses: mode === "lexical" || mode === "hybrid" ? ["VectorInsteadOfLexical", ...losses] : losses
    })
    const wide = filter === undefined ? "everything" : widen(filter)
    const seen = new Set<DocumentId>()
    let foreign = false
    for (let round = 0; round < searchRounds && hits.size < limit; round++) {
      // Several passages can be of one document, and a widened filter lets others through.
      const size = filter === undefined && round === 0 ? Math.min(passagesAtMost, 2 * limit) : passagesAtMost
      const unseen = seen.size === 0
        ? "everything"
        : { type: "nin" as const, key: idKey, value: Array.from(seen) }
      const filters = both([wide, unseen])
      if (filters === "nothing") return answer()
      const passages = yield* within(client.stores.search(store, {
        query,
        max_num_results: size,
        rewrite_query: false,
        ranking_options: {
          ranker,
          ...(threshold > 0 ? { score_threshold: Math.min(1, threshold) } : {})
        },
        ...(filters === "everything" ? {} : { filters })
      }))
      for (const passage of passages) {
        const attributes = attributesOf(passage)
        const id = documentId(passage.file_id, attributes, passage.filename)
        seen.add(id)
        foreign ||= attributes[idKey] === undefined
        const own = ownAttributes(attributes)
        if (isReplaced(passage.file_id) || hits.has(id) || passage.score < threshold) continue
        if (filter !== undefined && !matches(filter, own.attributes ?? {})) continue
        const text = passage.content.map((part) => part.text ?? "").join("\n")
        hits.set(id, {
          id,
          ...titleAndContent(passage.filename, text, attributes),
          ...own,
          score: passage.score
        })
      }
      // To leave out the documents seen may leave out the files of others with them: those have no such attribute.
      const whole = round === 0 || !foreign || hits.size >= limit
      if (passages.length < size) return whole ? answer() : answer("FewerThanAsked")
    }
    return hits.size >= limit
      ? answer()
      : answer(filter === undefined || isExact(filter) ? "FewerThanAsked" : "FilterWeakened")
  })
