/**
 * For who writes a store: what the contract asks of every store, checked before the provider is asked and refused in the
 * same words by all, and what a filter means where the provider cannot filter. The cases of `StoreContract` in
 * `holdfast/testing` show whether the store keeps the contract.
 *
 * **Example** (The search of a store over a list)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { StoreKit, VectorStore } from "holdfast/vectorstore"
 *
 * const documents = ["zinc", "zinc and iron", "iron"].map((content, index) =>
 *   VectorStore.Document.make({ id: VectorStore.DocumentId.make(`d${index}`), content, attributes: { index } })
 * )
 * const search = Effect.fnUntraced(function*(request: VectorStore.SearchRequest) {
 *   const limit = yield* StoreKit.checkSearch("list", request, undefined)
 *   const { filter, query } = request
 *   const hits = documents
 *     .filter(({ attributes = {}, content }) =>
 *       content.includes(query) && (filter === undefined || StoreKit.matches(filter, attributes))
 *     )
 *     .slice(0, limit)
 *     .map((document) => ({ ...document, score: 1 }))
 *   return { mode: "lexical", hits, losses: [] } satisfies VectorStore.SearchAnswer
 * })
 *
 * const filter = { type: "gt", key: "index", value: 0 } as const
 * const found = await Effect.runPromise(search({ query: "zinc", filter }))
 * found.hits.map((hit) => hit.content) // => [ 'zinc and iron' ]
 * const refused = await Effect.runPromise(Effect.flip(search({ query: "zinc", limit: 1_000 })))
 * refused.reason.message // => The limit is 1000: it must be 1 to 100
 * ```
 */
export { compareText, matches } from "./internal/filters.ts"
export { checkBatch, checkDocument, checkList, checkPatch, checkSearch, everyDocument } from "./internal/requests.ts"
