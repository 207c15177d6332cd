/** How well a search finds what people judged to be right: nDCG@10 and recall@10 over judged queries. */
import { Cause, Effect, FileSystem, Path, Schema } from "effect"
import * as Documents from "./Documents.ts"
import type { Document, SearchAnswer, SearchRequest } from "./VectorStore.ts"

/** A query with the worth of each document that was judged for it. */
export interface Query {
  readonly id: string
  readonly text: string
  readonly judged: ReadonlyMap<string, number>
}

/** Means over the queries; a query that fails counts as 0. */
export interface Measured {
  /** What was searched, and how. */
  readonly path: string
  readonly ndcg10: number
  readonly recall10: number
  readonly queries: number
  readonly failed: number
}

/** A file is not there, or is not what it should be. */
export class Unusable extends Schema.TaggedError<Unusable>()("Unusable", { message: Schema.String }) {}

const QueryRow = Schema.fromJsonString(Schema.Struct({ id: Schema.String, text: Schema.String }))
const JudgementRow = Schema.fromJsonString(
  Schema.Struct({ query: Schema.String, doc: Schema.String, score: Schema.Finite })
)

const lines = Effect.fnUntraced(function*<A>(file: string, row: Schema.Codec<A, string>) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(file).pipe(
    Effect.mapError(() => new Unusable({ message: `${file} cannot be read` }))
  )
  return yield* Effect.forEach(
    text.split("\n").flatMap((line, i) => line.trim() === "" ? [] : [[line, i + 1] as const]),
    ([line, number]) =>
      Schema.decodeEffect(row)(line).pipe(
        Effect.mapError(() => new Unusable({ message: `${file} line ${number} is not in the expected form` }))
      )
  )
})

/** Reads `queries.jsonl` and `qrels.jsonl` of a folder; queries that nothing was judged for are left out. */
export const readQueries = Effect.fnUntraced(function*(folder: string) {
  const path = yield* Path.Path
  const queries = yield* lines(path.join(folder, "queries.jsonl"), QueryRow)
  const judgements = yield* lines(path.join(folder, "qrels.jsonl"), JudgementRow)
  const judged = new Map<string, Map<string, number>>()
  for (const { doc, query, score } of judgements) {
    if (score > 0) judged.set(query, (judged.get(query) ?? new Map<string, number>()).set(doc, score))
  }
  return queries.flatMap(({ id, text }): ReadonlyArray<Query> => {
    const relevant = judged.get(id)
    return relevant === undefined ? [] : [{ id, text, judged: relevant }]
  })
})

/** Reads the `docs-*.jsonl` of a folder, in the order of their names. None is an empty list. */
export const readDocuments = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const names = yield* fs.readDirectory(folder).pipe(
    Effect.mapError(() => new Unusable({ message: `${folder} cannot be read` }))
  )
  const files = names.filter((name) => /^docs.*\.jsonl$/.test(name)).sort()
  const sources = yield* Effect.forEach(files, (name) => Documents.read(path.join(folder, name)))
  const [problem] = sources.flatMap(({ problems }) => problems)
  if (problem !== undefined) {
    return yield* new Unusable({ message: `${problem.file} line ${problem.line ?? 1}: ${problem.message}` })
  }
  return sources.flatMap(({ documents }): ReadonlyArray<Document> => documents)
})

const discount = (rank: number): number => 1 / Math.log2(rank + 1)

/** Gain is the judged worth, discounted by 1/log2(rank + 1), against the best order of the query's own judgements. */
export const ndcg10 = (found: ReadonlyArray<string>, judged: ReadonlyMap<string, number>): number => {
  const sum = (gains: ReadonlyArray<number>): number =>
    gains.slice(0, 10).reduce((total, gain, i) => total + gain * discount(i + 1), 0)
  const ideal = sum([...judged.values()].sort((a, b) => b - a))
  return ideal === 0 ? 0 : sum(found.map((id) => judged.get(id) ?? 0)) / ideal
}

/** The share of the relevant documents that are among the first ten. */
export const recall10 = (found: ReadonlyArray<string>, judged: ReadonlyMap<string, number>): number =>
  judged.size === 0 ? 0 : found.slice(0, 10).filter((id) => judged.has(id)).length / judged.size

/** Queries on their way at once: a store in another thread or process works while the next query is prepared. */
const atOnce = 4

/** Asks every query for ten hits. Never fails: a query that does is counted. */
export const measure = Effect.fnUntraced(function*<E, R>(
  path: string,
  queries: ReadonlyArray<Query>,
  search: (request: SearchRequest) => Effect.Effect<SearchAnswer, E, R>,
  onProgress?: (done: number, total: number) => Effect.Effect<void>
) {
  let done = 0
  const values = yield* Effect.forEach(queries, ({ judged, text }) =>
    search({ query: text, limit: 10 }).pipe(
      Effect.map(({ hits }) => {
        const found = hits.map(({ id }) => id)
        return { ndcg: ndcg10(found, judged), recall: recall10(found, judged), failed: 0 }
      }),
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause) ? Effect.interrupt : Effect.succeed({ ndcg: 0, recall: 0, failed: 1 })
      ),
      Effect.tap(() => onProgress?.(++done, queries.length) ?? Effect.void)
    ), { concurrency: atOnce })
  const sum = (of: (value: typeof values[number]) => number): number =>
    values.reduce((total, value) => total + of(value), 0)
  const mean = (sum: number): number => queries.length === 0 ? 0 : sum / queries.length
  const measured: Measured = {
    path,
    ndcg10: mean(sum(({ ndcg }) => ndcg)),
    recall10: mean(sum(({ recall }) => recall)),
    queries: queries.length,
    failed: sum(({ failed }) => failed)
  }
  return measured
})
