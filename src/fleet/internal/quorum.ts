/**
 * When the word of others opens a circuit of our own: pure rules. One node's word counts once, fades with age, is worth
 * nothing after its own end, and nothing against what this process has itself seen succeed since.
 */

/** Another process found a provider failing. */
export interface Opinion {
  readonly node: string
  readonly key: string
  readonly reason: string
  /** How long ago its circuit opened. */
  readonly ageMillis: number
  /** For how much longer it is open. */
  readonly leftMillis: number
}

export interface QuorumRules {
  readonly quorum: number | "majority"
  /** An opinion fades evenly and is worth nothing after this time. */
  readonly decayMillis: number
  /** The word of others opens a circuit for no longer. */
  readonly maxOpenMillis: number
}

/** What an opinion is worth at this age: 1 at first, 0 in the end. */
export const worth = (ageMillis: number, decayMillis: number): number =>
  Math.min(1, Math.max(0, 1 - ageMillis / decayMillis))

/** How many processes must agree, of so many seen lately, this one among them. One alone is never a majority. */
export const needed = (quorum: number | "majority", nodes: number): number =>
  quorum === "majority" ? Math.max(2, Math.floor(nodes / 2) + 1) : quorum

/**
 * For how long a circuit is to be opened on what others say of its key; 0 for not at all. `provenMillis` is how long ago
 * this process last saw the provider answer: older opinions are refuted.
 *
 * **Details**
 *
 * A quorum of n stands while what its opinions are worth is more than n - 1. So n fresh ones do, n - 1 never can, and two
 * of equal age hold for half the decay. It lasts until fewer than n of them say that they are open.
 */
export const openFor = (
  opinions: ReadonlyArray<Opinion>,
  rules: QuorumRules,
  nodes: number,
  provenMillis: number
): number => {
  const standing = new Map<string, Opinion>()
  for (const opinion of opinions) {
    const counts = opinion.leftMillis > 0 && opinion.ageMillis < provenMillis
    const known = standing.get(opinion.node)
    if (counts && (known === undefined || opinion.ageMillis < known.ageMillis)) standing.set(opinion.node, opinion)
  }
  const quorum = needed(rules.quorum, nodes)
  let sum = 0
  for (const { ageMillis } of standing.values()) sum += worth(ageMillis, rules.decayMillis)
  if (sum <= quorum - 1) return 0
  const left = Array.from(standing.values(), ({ leftMillis }) => leftMillis).sort((a, b) => b - a)
  return Math.min(rules.maxOpenMillis, left[quorum - 1] ?? 0)
}
