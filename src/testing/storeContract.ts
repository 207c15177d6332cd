/**
 * What every vector store keeps, as cases that run on any: each gets a store of its own, empty, and dies with an
 * assertion where the store breaks the contract. `StoreKit` of `holdfast/vectorstore` helps to keep it.
 *
 * ```ts no-run
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { StoreContract } from "holdfast/testing"
 * import { Embedder, MemoryStore, VectorStore } from "holdfast/vectorstore"
 *
 * for (const { name, run } of StoreContract.cases()) {
 *   it.effect(name, () =>
 *     Effect.flatMap(VectorStore.VectorStore, run).pipe(
 *       Effect.provide(MemoryStore.layer()),
 *       Effect.provide(Embedder.local)
 *     ))
 * }
 * ```
 */
import { Effect, Option, Stream } from "effect"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import type { ProviderError } from "../ProviderError.ts"
import { Document, DocumentId, type Filter, type Scalar, type Service } from "../vectorstore/VectorStore.ts"
import { badFilters, coloured, filterings, goodFilters } from "./internal/contractFilters.ts"

export interface Options {
  /** Waits until what was written is found, for stores that take their time. Defaults to not waiting. */
  readonly settled?: Effect.Effect<void> | undefined
}

export interface Case {
  readonly name: string
  readonly run: (store: Service) => Effect.Effect<void, ProviderError>
}

const id = (text: string): DocumentId => DocumentId.make(text)

const unchecked = (text: string): DocumentId => DocumentId.make(text, { disableChecks: true })

const document = (name: string, content: string, attributes?: Readonly<Record<string, Scalar>>): Document =>
  Document.make({ id: id(name), content, ...(attributes === undefined ? {} : { attributes }) })

/** Passes only where the effect fails as the caller's own fault, before or by the provider's answer. */
const refused = (what: string, effect: Effect.Effect<unknown, ProviderError>): Effect.Effect<void> =>
  Effect.matchEffect(effect, {
    onSuccess: () => Effect.sync(() => ok(false, `${what} is not refused`)),
    onFailure: ({ reason }) =>
      Effect.sync(() =>
        ok(reason._tag === "ValidationError" || reason._tag === "InvalidRequestError", `${what}: ${reason._tag}`)
      )
  })

/** The cases. Each needs an empty store. */
export const cases = (options?: Options): ReadonlyArray<Case> => {
  const settled = options?.settled ?? Effect.void
  const fill = (store: Service, documents: ReadonlyArray<Document>) =>
    Effect.andThen(Effect.forEach(documents, store.add, { discard: true }), settled)
  const found = (store: Service, query: string, more?: Partial<Parameters<Service["search"]>[0]>) =>
    Effect.map(store.search({ query, ...more }), ({ hits }) => hits.map((hit) => hit.id as string))

  const contract: Record<string, (store: Service) => Effect.Effect<void, ProviderError>> = {
    "gives back what was added": Effect.fnUntraced(function*(store) {
      const given = Document.make({
        id: id("a/b?c=d e%20#ü\u{1f600}"),
        title: "A 'title' with \"quotes\"",
        content: "Grüße, 100 % and \u{1f600} µm;\n\tsecond line -- $1 \\ {}",
        attributes: { text: "ü'\"%\\", number: 1.25, large: 1e21, yes: true, no: false, empty: "" }
      })
      yield* store.add(given)
      deepStrictEqual(yield* store.get(given.id), Option.some(given))
      const bare = document("bare", "no title, no attributes")
      yield* store.add(bare)
      deepStrictEqual(yield* store.get(bare.id), Option.some(bare))
    }),
    "knows no document that was never added": Effect.fnUntraced(function*(store) {
      deepStrictEqual(yield* store.get(id("nobody")), Option.none())
      deepStrictEqual(yield* store.update(id("nobody"), { content: "x" }), Option.none())
      strictEqual(yield* store.delete(id("nobody")), false)
      deepStrictEqual((yield* store.list()).documents, [])
      deepStrictEqual(yield* found(store, "anything"), [])
    }),
    "replaces a document of the same id": Effect.fnUntraced(function*(store) {
      yield* store.add(document("one", "zebras graze", { old: true }))
      yield* fill(store, [document("one", "giraffes browse")])
      deepStrictEqual(yield* store.get(id("one")), Option.some(document("one", "giraffes browse")))
      strictEqual((yield* store.stats).documents, 1)
      deepStrictEqual(yield* found(store, "giraffes"), ["one"])
      if (store.modes.includes("lexical")) deepStrictEqual(yield* found(store, "zebras", { mode: "lexical" }), [])
    }),
    "updates what the patch names and keeps the rest": Effect.fnUntraced(function*(store) {
      yield* store.add(Document.make({ id: id("one"), title: "Old", content: "zebras", attributes: { a: 1, b: 2 } }))
      const attributes = yield* store.update(id("one"), { attributes: { c: "3" } })
      const expected = Document.make({ id: id("one"), title: "Old", content: "zebras", attributes: { c: "3" } })
      deepStrictEqual(attributes, Option.some(expected))
      deepStrictEqual(yield* store.get(id("one")), Option.some(expected))
      yield* store.update(id("one"), { content: "giraffes", title: "New" })
      yield* settled
      deepStrictEqual(
        yield* store.get(id("one")),
        Option.some(Document.make({ ...expected, title: "New", content: "giraffes" }))
      )
      deepStrictEqual(yield* found(store, "giraffes"), ["one"])
      deepStrictEqual(yield* found(store, "giraffes", { filter: { type: "eq", key: "c", value: "3" } }), ["one"])
      deepStrictEqual(yield* found(store, "giraffes", { filter: { type: "eq", key: "a", value: 1 } }), [])
    }),
    "forgets what is deleted": Effect.fnUntraced(function*(store) {
      yield* fill(store, [document("one", "zebras"), document("two", "zebras again")])
      strictEqual(yield* store.delete(id("one")), true)
      strictEqual(yield* store.delete(id("one")), false)
      yield* settled
      deepStrictEqual(yield* store.get(id("one")), Option.none())
      deepStrictEqual(yield* found(store, "zebras"), ["two"])
      strictEqual((yield* store.stats).documents, 1)
    }),
    "stores a batch, and one bad document does not lose the others": Effect.fnUntraced(function*(store) {
      // What a caller who does not check can send: an empty content, a text no database stores, an id too long.
      const bad: ReadonlyArray<Document> = [
        { id: id("empty"), content: "" },
        { id: id("nul"), content: "a\0b" },
        { id: id("half"), content: "half a pair \ud800" },
        { ...document("long", "x"), id: unchecked("x".repeat(513)) }
      ]
      const good = Array.from({ length: 12 }, (_, i) => document(`good-${i}`, `zebra number ${i}`))
      const mixed = [...good.slice(0, 5), ...bad, ...good.slice(5)]
      const progress: Array<readonly [number, number]> = []
      const { items } = yield* store.addMany(mixed, {
        batchSize: 4,
        onProgress: (done, total) => Effect.sync(() => void progress.push([done, total]))
      })
      deepStrictEqual(items.map((item) => item.id), mixed.map((document) => document.id))
      deepStrictEqual(
        items.map((item) => item._tag),
        mixed.map((document) => bad.includes(document) ? "Failed" : "Stored")
      )
      for (const item of items) {
        if (item._tag === "Failed") strictEqual(item.error.reason._tag, "ValidationError")
      }
      deepStrictEqual(progress.at(-1), [mixed.length, mixed.length])
      strictEqual((yield* store.stats).documents, good.length)
    }),
    "keeps the last of two documents with one id in a batch": Effect.fnUntraced(function*(store) {
      const { items } = yield* store.addMany([
        document("one", "zebras"),
        document("two", "x"),
        document("one", "giraffes")
      ], { batchSize: 1, operationId: "a" })
      deepStrictEqual(items.map((item) => item._tag), ["Stored", "Stored", "Stored"])
      deepStrictEqual(yield* store.get(id("one")), Option.some(document("one", "giraffes")))
      strictEqual((yield* store.stats).documents, 2)
    }),
    "stores nothing twice under one operation id": Effect.fnUntraced(function*(store) {
      const batch = Array.from({ length: 7 }, (_, i) => document(`d${i}`, `zebra ${i}`))
      const options = { operationId: "op'1 %", batchSize: 3 }
      const first = yield* store.addMany(batch.slice(0, 4), options)
      deepStrictEqual(first.items.map((item) => item._tag), Array.from({ length: 4 }, () => "Stored"))
      yield* store.update(id("d0"), { content: "changed since" })
      const again = yield* store.addMany(batch, options)
      deepStrictEqual(again.items.map((item) => item._tag), [
        ...Array.from({ length: 4 }, () => "AlreadyStored"),
        ...Array.from({ length: 3 }, () => "Stored")
      ])
      strictEqual((yield* store.stats).documents, 7)
      deepStrictEqual(yield* store.get(id("d0")), Option.some(document("d0", "changed since")))
    }),
    "stores an empty batch": Effect.fnUntraced(function*(store) {
      deepStrictEqual(yield* store.addMany([]), { items: [] })
    }),
    "refuses a bad document, a bad change and a bad batch size": Effect.fnUntraced(function*(store) {
      yield* refused("an empty content", store.add({ id: id("x"), content: "" }))
      yield* refused("an empty id", store.add({ ...document("x", "x"), id: unchecked("") }))
      yield* refused("a NUL", store.add({ id: id("x"), content: "a\0" }))
      const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, i]))
      yield* refused("17 attributes", store.add({ id: id("x"), content: "x", attributes: many }))
      const attributed = (attributes: Readonly<Record<string, Scalar>>) =>
        store.add({ id: id("x"), content: "x", attributes })
      yield* refused("a long value", attributed({ a: "x".repeat(513) }))
      yield* refused("a long key", attributed({ ["k".repeat(65)]: 1 }))
      yield* refused("an empty key", attributed({ "": 1 }))
      yield* refused("no number", attributed({ a: Number.NaN }))
      yield* store.add(document("x", "x"))
      yield* refused("an empty change of content", store.update(id("x"), { content: "" }))
      yield* refused("batches of 0", store.addMany([document("y", "y")], { batchSize: 0 }))
      for (const operationId of ["", "x".repeat(129), "a\0"]) {
        yield* refused("an operation's id", store.addMany([document("y", "y")], { operationId }))
      }
      deepStrictEqual(yield* store.get(id("x")), Option.some(document("x", "x")))
      strictEqual((yield* store.stats).documents, 1)
    }),
    "lists every document exactly once, in the order of the ids' bytes": Effect.fnUntraced(function*(store) {
      // By UTF-16 units the last two would be the other way round.
      const ids = ["10", "9", "A", "B", "_", "a", "b", "ä", "\uff5e", "\u{1f600}"]
      yield* store.addMany([...ids].reverse().map((name) => document(name, `document ${name}`)))
      const seen: Array<string> = []
      let page = yield* store.list({ limit: 3 })
      for (let pages = 0; pages < 10; pages++) {
        seen.push(...page.documents.map((document) => document.id))
        if (page.next === undefined) break
        page = yield* store.list({ limit: 3, after: page.next })
      }
      deepStrictEqual(seen, ids)
      strictEqual((yield* store.list({ limit: ids.length })).next, undefined)
      deepStrictEqual((yield* store.list({ after: id("zzz"), limit: 2 })).documents.map(({ id }) => id as string), [
        "ä",
        "\uff5e"
      ])
      const streamed = yield* Stream.runCollect(store.documents)
      deepStrictEqual(streamed.map((document) => document.id as string), ids)
    }),
    "refuses pages that are too short or too long": Effect.fnUntraced(function*(store) {
      for (const limit of [0, -1, 1.5, 1_001, Number.NaN]) {
        yield* refused(`a page of ${limit}`, store.list({ limit }))
      }
    }),
    "finds the best document first and no more than asked for": Effect.fnUntraced(function*(store) {
      yield* fill(store, [
        document("zebra", "Zebras graze on the savanna, and zebras have stripes."),
        document("lion", "Lions hunt on the savanna."),
        document("whale", "Whales sing in the ocean.")
      ])
      for (const mode of store.modes) {
        const answer = yield* store.search({ query: "striped zebras of the savanna", mode })
        strictEqual(answer.mode, mode)
        deepStrictEqual(answer.losses, [])
        strictEqual(answer.hits[0]?.id, "zebra", mode)
        strictEqual(answer.hits[0]?.content, "Zebras graze on the savanna, and zebras have stripes.")
        const scores = answer.hits.map((hit) => hit.score)
        deepStrictEqual(scores, [...scores].sort((a, b) => b - a), mode)
        strictEqual((yield* found(store, "savanna", { mode, limit: 1 })).length, 1)
      }
    }),
    "leaves out hits below the threshold": Effect.fnUntraced(function*(store) {
      yield* fill(store, [document("zebra", "zebras zebras"), document("both", "a zebra that met a whale once")])
      for (const mode of store.modes) {
        const [first, second] = (yield* store.search({ query: "zebras", mode })).hits
        if (first === undefined || second === undefined || first.score === second.score) continue
        deepStrictEqual(yield* found(store, "zebras", { mode, threshold: first.score }), [first.id])
        deepStrictEqual(yield* found(store, "zebras", { mode, threshold: first.score + 1 }), [])
      }
    }),
    "refuses an empty query and limits out of range": Effect.fnUntraced(function*(store) {
      yield* store.add(document("one", "zebras"))
      for (const query of ["", "  \n\t", "x".repeat(10_001)]) {
        yield* refused(`a query of ${query.length} characters`, store.search({ query }))
      }
      for (const limit of [0, -1, 1.5, 101, 10_000, Number.NaN, Infinity]) {
        yield* refused(`a limit of ${limit}`, store.search({ query: "zebras", limit }))
      }
      for (const limit of [1, 100]) yield* store.search({ query: "zebras", limit })
      yield* refused("a threshold of NaN", store.search({ query: "zebras", threshold: Number.NaN }))
    }),
    "searches for anything people type": Effect.fnUntraced(function*(store) {
      yield* fill(store, [
        document("one", "100 % of \"zebras\" aren't (all) grey: µ-opioid & naïve | cafés"),
        document("two", "日本語の文書")
      ])
      const typed = [
        "100 %",
        "'",
        "\"",
        "\"unclosed",
        "aren't",
        "a & b | !c",
        "(",
        ":*",
        "\\",
        "zebra:* <-> x",
        "%_",
        "-",
        "--",
        "\0",
        "\ud800",
        "$1",
        "?",
        "{}"
      ]
      for (const query of typed) yield* store.search({ query })
      for (const query of ["naive", "CAFÉS", "cafe", "μ-opioid"]) {
        strictEqual((yield* found(store, query))[0], "one", query)
      }
      strictEqual((yield* found(store, "文書"))[0], "two")
    }),
    "keeps to filters, with the same meaning for missing keys and other types": Effect.fnUntraced(function*(store) {
      yield* fill(store, coloured.map(([name, attributes]) => document(name, `zebra called ${name}`, attributes)))
      for (const mode of store.modes) {
        for (const [filter, expected] of filterings) {
          const hits: ReadonlyArray<string> = yield* found(store, "zebra", { filter, mode, limit: 50 })
          deepStrictEqual([...hits].sort(), [...expected].sort(), `${mode} ${JSON.stringify(filter)}`)
        }
      }
      yield* refused(
        "a filter of an unknown kind",
        store.search({ query: "zebra", filter: JSON.parse("{\"type\":\"like\"}") })
      )
      yield* refused(
        "a filter by an object",
        store.search({ query: "zebra", filter: JSON.parse("{\"type\":\"eq\",\"key\":\"a\",\"value\":{}}") })
      )
    }),
    "refuses a filter beyond the limits, before it asks anybody": Effect.fnUntraced(function*(store) {
      yield* store.add(document("one", "zebras", { a: 1 }))
      const search = (filter: Filter) => store.search({ query: "zebras", filter })
      for (const [what, filter] of badFilters) yield* refused(what, search(filter))
      for (const filter of goodFilters) yield* search(filter)
    }),
    "loses nothing to a filter that few documents pass": Effect.fnUntraced(function*(store) {
      yield* store.addMany(
        Array.from({ length: 300 }, (_, i) => document(`d${i}`, `zebra number ${i} of many`, { rare: i % 60 === 7 }))
      )
      yield* settled
      const filter: Filter = { type: "eq", key: "rare", value: true }
      for (const mode of store.modes) {
        const hits: ReadonlyArray<string> = yield* found(store, "zebra of many", { filter, mode })
        deepStrictEqual([...hits].sort(), ["d127", "d187", "d247", "d67", "d7"], mode)
      }
    }),
    "says so when a query has only stop words": Effect.fnUntraced(function*(store) {
      if (!store.modes.includes("lexical")) return
      yield* fill(store, [document("one", "to be or not to be")])
      const answer = yield* store.search({ query: "to be or not to be", mode: "lexical" })
      deepStrictEqual(answer, { mode: "lexical", hits: [], losses: ["OnlyStopWords"] })
    }),
    "keeps to phrases and exclusions": Effect.fnUntraced(function*(store) {
      if (!store.modes.includes("lexical")) return
      yield* fill(store, [
        document("near", "The bone marrow of mice makes cells."),
        document("far", "Marrow fills the bone of a rat; the cell is small."),
        document("other", "Cells divide.")
      ])
      const lexical = (query: string) => Effect.map(found(store, query, { mode: "lexical" }), (ids) => ids.sort())
      deepStrictEqual(yield* lexical("bone marrow cells"), ["far", "near", "other"])
      deepStrictEqual(yield* lexical("\"bone marrow\" cells"), ["near"])
      deepStrictEqual(yield* lexical("\"marrow of mice\""), ["near"])
      deepStrictEqual(yield* lexical("\"marrow cells\""), [])
      deepStrictEqual(yield* lexical("bone -rats cells"), ["near", "other"])
      deepStrictEqual(yield* lexical("cells -\"bone marrow\""), ["far", "other"])
      deepStrictEqual(yield* lexical("bone-marrow"), ["far", "near"])
    }),
    "refuses a vector of another space": Effect.fnUntraced(function*(store) {
      if (!store.modes.includes("vector")) return
      yield* store.add(document("one", "zebras"))
      const { space } = yield* store.stats
      const vector = { space: "other/model/3@1", values: [1, 0, 0] }
      yield* refused("another space", store.search({ query: "zebras", vector }))
      if (space !== undefined) {
        yield* refused("another width", store.search({ query: "zebras", vector: { space, values: [1, 0, 0] } }))
      }
    }),
    "counts its documents and answers a health check": Effect.fnUntraced(function*(store) {
      yield* store.health
      strictEqual((yield* store.stats).documents, 0)
      yield* fill(store, [document("one", "zebras"), document("two", "whales")])
      const stats = yield* store.stats
      strictEqual(stats.documents, 2)
      deepStrictEqual(stats.modes, store.modes)
      if (store.modes.includes("vector")) {
        strictEqual(stats.embedded, 2)
        ok(stats.space !== undefined && stats.space !== "")
      }
      ok(store.name !== "")
    }),
    "takes writes from many at once": Effect.fnUntraced(function*(store) {
      yield* Effect.forEach(
        Array.from({ length: 24 }, (_, i) => i),
        (i) => store.add(document(`d${i % 8}`, `zebra ${i} among zebras`)),
        { concurrency: 8, discard: true }
      )
      yield* settled
      strictEqual((yield* store.stats).documents, 8)
      strictEqual((yield* found(store, "zebras", { limit: 50 })).length, 8)
    })
  }
  return Object.entries(contract).map(([name, run]) => ({ name, run }))
}
