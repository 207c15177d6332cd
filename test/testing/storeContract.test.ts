import { assert, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import type { Service } from "../../src/vectorstore/VectorStore.ts"

/** Stores that break the contract in one point each. */
const broken: Readonly<Record<string, (store: Service) => Partial<Service>>> = {
  "deletes what never was": (store) => ({ delete: (id) => Effect.as(store.delete(id), true) }),
  "loses the title": (store) => ({
    get: (id) =>
      Effect.map(
        store.get(id),
        Option.map(({ attributes, content, id }) => ({
          id,
          content,
          ...(attributes === undefined ? {} : { attributes })
        }))
      )
  }),
  "replaces all by an update": (store) => ({
    update: (id, patch) =>
      Effect.flatMap(store.get(id), (known) =>
        Option.isNone(known)
          ? Effect.succeedNone
          : Effect.as(store.add({ id, content: "?", ...patch }), Option.some({ id, content: "?", ...patch })))
  }),
  "ignores filters": (store) => ({ search: (request) => store.search({ ...request, filter: undefined }) }),
  "weakens ne": (store) => ({
    search: ({ filter, ...request }) =>
      store.search({
        ...request,
        filter: filter?.type === "ne"
          ? {
            type: "and",
            filters: [filter, {
              type: "or",
              filters: [
                { type: "gte", key: filter.key, value: "" },
                { type: "gte", key: filter.key, value: -1e9 },
                { type: "gte", key: filter.key, value: false }
              ]
            }]
          }
          : filter
      })
  }),
  "finds at most five": (store) => ({
    search: (request) => Effect.map(store.search(request), (answer) => ({ ...answer, hits: answer.hits.slice(0, 5) }))
  }),
  "ignores the limit": (store) => ({
    search: (request) => Effect.andThen(store.search(request), store.search({ ...request, limit: 100 }))
  }),
  "ignores the threshold": (store) => ({ search: (request) => store.search({ ...request, threshold: undefined }) }),
  "finds nothing for an empty query": (store) => ({
    search: (request) =>
      request.query.trim() === "" ? Effect.succeed({ mode: "lexical", hits: [], losses: [] }) : store.search(request)
  }),
  "takes a limit of 10,000": (store) => ({
    search: (request) => store.search({ ...request, limit: request.limit === 10_000 ? 100 : request.limit })
  }),
  "hides that a query was all stop words": (store) => ({
    search: (request) => Effect.map(store.search(request), (answer) => ({ ...answer, losses: [] }))
  }),
  "takes vectors of any space": (store) => ({ search: (request) => store.search({ ...request, vector: undefined }) }),
  "forgets operations": (store) => ({
    addMany: (documents, options) => store.addMany(documents, { ...options, operationId: undefined })
  }),
  "reports in another order": (store) => ({
    addMany: (documents, options) =>
      Effect.map(store.addMany(documents, options), ({ items }) => ({ items: [...items].reverse() }))
  }),
  "fails the whole batch for one document": (store) => ({
    addMany: (documents, options) =>
      Effect.tap(
        store.addMany(documents, options),
        ({ items }) =>
          Option.match(Option.fromUndefinedOr(items.find((item) => "error" in item)), {
            onNone: () => Effect.void,
            onSome: (item) => "error" in item ? Effect.fail(item.error) : Effect.void
          })
      )
  }),
  "gives every page whole": (store) => ({ list: ({ limit } = {}) => store.list({ limit }) }),
  "repeats the last of a page": (store) => ({
    list: (request) =>
      Effect.map(store.list(request), ({ documents, next }) => ({
        documents,
        ...(next === undefined ? {} : { next: documents.at(-2)?.id ?? next })
      }))
  }),
  "counts nothing": (store) => ({ stats: Effect.map(store.stats, (stats) => ({ ...stats, documents: 0 })) })
}

for (const [what, change] of Object.entries(broken)) {
  it.effect(`the contract catches a store that ${what}`, () =>
    Effect.gen(function*() {
      const exits = yield* Effect.forEach(StoreContract.cases(), ({ run }) =>
        Effect.flatMap(MemoryStore.make(), (store) => Effect.exit(run({ ...store, ...change(store) }))))
      assert.isAbove(exits.filter(Exit.isFailure).length, 0)
    }).pipe(Effect.provide(Embedder.local)))
}
