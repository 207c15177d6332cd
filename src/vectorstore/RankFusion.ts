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
 * Every item once, best first. Equal scores keep the better place in any source, then the earlier source, then the
 * smaller key, so that the result does not depend on chance. A source without an item adds nothing to it.
 */
export const fuse = <A>(rankings: ReadonlyArray<Ranking<A>>, { k = 60, key }: Options<A>): ReadonlyArray<Fused<A>> => {
  const found = new Map<
    string,
    { item: A; score: number; bestRank: number; bestSource: number; ranks: Map<string, number> }
  >()
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
        found.set(name, { item, score: worth, bestRank: rank, bestSource: order, ranks: new Map([[source, rank]]) })
      } else {
        known.score += worth
        known.ranks.set(source, rank)
        if (rank < known.bestRank) {
          known.bestRank = rank
          known.bestSource = order
        }
      }
    }
  })
  return [...found.entries()]
    .sort(([keyA, a], [keyB, b]) =>
      b.score - a.score || a.bestRank - b.bestRank || a.bestSource - b.bestSource ||
      keyA.length - keyB.length || (keyA < keyB ? -1 : 1)
    )
    .map(([key, { item, ranks, score }]) => ({ key, item, score, ranks }))
}
