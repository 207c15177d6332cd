import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as Evaluation from "../../src/vectorstore/Evaluation.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { tried } from "../proofs.ts"
import * as scifact from "./scifact.ts"

it("nDCG discounts by rank and compares with the best order", () => {
  const judged = new Map([["a", 1], ["b", 1]])
  assert.strictEqual(Evaluation.ndcg10(["a", "b"], judged), 1)
  assert.closeTo(Evaluation.ndcg10(["x", "a"], judged), (1 / Math.log2(3)) / (1 + 1 / Math.log2(3)), 1e-12)
  assert.strictEqual(Evaluation.ndcg10(["x"], judged), 0)
  assert.strictEqual(Evaluation.ndcg10(["x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "a"], judged), 0)
  assert.isBelow(Evaluation.ndcg10(["b", "a"], new Map([["a", 3], ["b", 1]])), 1)
})

it("recall counts the relevant among the first ten", () => {
  const judged = new Map([["a", 1], ["b", 1]])
  assert.strictEqual(Evaluation.recall10(["b"], judged), 0.5)
  assert.strictEqual(Evaluation.recall10(["x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "a"], judged), 0)
})

it.effect("a query that fails counts as 0 and is told", () =>
  Effect.gen(function*() {
    const queries = [{ id: "1", text: "a", judged: new Map([["d", 1]]) }, {
      id: "2",
      text: "b",
      judged: new Map([["d", 1]])
    }]
    const measured = yield* Evaluation.measure("half", queries, ({ query }) =>
      query === "a"
        ? Effect.fail("down")
        : Effect.succeed({ mode: "lexical", hits: [{ id: "d", content: "", score: 1 }], losses: [] } as never))
    assert.deepStrictEqual(measured, { path: "half", ndcg10: 0.5, recall10: 0.5, queries: 2, failed: 1 })
  }))

// On every sixth query of the whole collection; `holdfast eval` measures them all.
it.live("finds on real queries what people judged right", () =>
  Effect.gen(function*() {
    const store = yield* MemoryStore.make()
    yield* store.addMany(yield* scifact.documents)
    const every = tried(6, 1)
    const queries = (yield* scifact.queries).filter((_, i) => i % every === 0)
    const of = (mode: "lexical" | "vector" | "hybrid") =>
      Effect.map(
        Evaluation.measure(mode, queries, (request) => store.search({ ...request, mode })),
        ({ ndcg10 }) => ndcg10
      )
    const [lexical, vector, hybrid] = yield* Effect.all([of("lexical"), of("vector"), of("hybrid")])
    assert.isAtLeast(lexical, 0.65)
    assert.isAtLeast(vector, 0.52)
    assert.isAtLeast(hybrid, Math.max(lexical, vector) - 0.001)
  }).pipe(Effect.provide(Embedder.local)), 120_000)
