/**
 * Several rankings into one, by ranks alone: weighted reciprocal rank fusion. Scores of different searches do not
 * compare; places do.
 */

/** One source's items, best first. */
export interface Ranking<A> {
  readonly source: string
  /** How much its places count. Defaults to 1. */
  readonly weight?: number | undefined
  readonly items: ReadonlyArray<A>
}

export interface Options<A> {
  /** Items of the same key are the same item. */
  readonly key: (item: A) => string
  /** How fast a place loses worth; the larger, the less the first places count. Defaults to 60. */
  readonly k?: number | undefined
}

export interface Fused<A> {
  readonly key: string
  /** As the first source has it. */
  readonly item: A
  /** The sum of `weight / (k + rank)` over the sources that have it. */
  readonly score: number
  /** Its place in each source that has it, counted from 1. */
  readonly ranks: ReadonlyMap<string, number>
}

/**
 * Every item once, best first. Equal scores keep the better place in any source, then the earlier source, which no two
 * items share, so that the result does not depend on chance. A source without an item adds nothing to it.
 */
export const fuse = <A>(rankings: ReadonlyArray<Ranking<A>>, { k = 60, key }: Options<A>): ReadonlyArray<Fused<A>> => {
  const found = new Map<string, Found<A>>()
  rankings.forEach(({ items, source, weight = 1 }, order) => {
    const seen = new Set<string>()
    for (const item of items) {
      const name = key(item)
      // The same item twice in one source has its first place only, and leaves no gap.
      if (seen.has(name)) continue
      seen.add(name)
      const rank = seen.size
      const worth = weight / (k + rank)
      const known = found.get(name)
      if (known === undefined) {
        found.set(name, { item, worths: [worth], bestRank: rank, bestSource: order, ranks: new Map([[source, rank]]) })
      } else {
        known.worths.push(worth)
        known.ranks.set(source, rank)
        if (rank < known.bestRank) {
          known.bestRank = rank
          known.bestSource = order
        }
      }
    }
  })
  return Array.from(found, ([key, it]) => ({ key, it, score: sum(it.worths) }))
    .sort((a, b) => b.score - a.score || a.it.bestRank - b.it.bestRank || a.it.bestSource - b.it.bestSource)
    .map(({ it: { item, ranks }, key, score }) => ({ key, item, score, ranks }))
}

interface Found<A> {
  readonly item: A
  readonly worths: Array<number>
  readonly ranks: Map<string, number>
  bestRank: number
  bestSource: number
}

/** From the smallest on: the same places make the same score to the last bit, whichever sources they are in. */
const sum = (worths: Array<number>): number => worths.sort((a, b) => a - b).reduce((sum, worth) => sum + worth, 0)
