/** The answers of several sources as one. */
import type { Answered } from "../../Fallback.ts"
import * as RankFusion from "../RankFusion.ts"
import type { Unfit, UnifiedAnswer } from "../UnifiedAnswer.ts"
import type { DocumentId, Loss } from "../VectorStore.ts"

export interface Options {
  readonly weights: Readonly<Record<string, number>>
  readonly k: number
  readonly limit: number
  /** For the joined scores. */
  readonly threshold: number | undefined
  /** Whether what a source says of a document is older than what another, who is asked first, says. */
  readonly isOutdated: (source: string, id: DocumentId) => boolean
  /** The source that knows best. */
  readonly primary: string
  readonly unfit: ReadonlyArray<Unfit>
}

export const join = (answers: ReadonlyArray<Answered<UnifiedAnswer>>, options: Options): UnifiedAnswer => {
  const { isOutdated, k, limit, primary, threshold, unfit, weights } = options
  // Where the primary has answered, an older state in a mirror has no say.
  const hasPrimary = answers.some(({ source }) => source === primary)
  const fused = RankFusion.fuse(
    answers.map(({ source, value }) => ({
      source,
      weight: weights[source] ?? 1,
      items: hasPrimary ? value.hits.filter(({ id }) => !isOutdated(source, id)) : value.hits
    })),
    { key: ({ id }) => id, k }
  )
  const answered = answers.flatMap(({ value }) => value.answered)
  const [first] = answered
  return {
    mode: first !== undefined && answered.every(({ mode }) => mode === first.mode) ? first.mode : "hybrid",
    hits: fused
      .filter(({ score }) => threshold === undefined || score >= threshold)
      .slice(0, limit)
      .map(({ item, ranks, score }) => Object.assign({}, item, { score, ranks: Object.fromEntries(ranks) })),
    losses: lossesOf(answers.map(({ value }) => value.losses)),
    answered,
    unfit
  }
}

/** Losses of one source count, but that a query says nothing counts only when it says nothing to all. */
const lossesOf = (each: ReadonlyArray<ReadonlyArray<Loss>>): ReadonlyArray<Loss> =>
  Array.from(new Set(each.flat())).filter((loss) =>
    loss !== "OnlyStopWords" || each.every((losses) => losses.includes("OnlyStopWords"))
  )
