/** Faults in force, counted down: the common part of the rigs. */

/** When a rule hits. */
export interface Aim {
  /** How many it hits before it is gone. */
  readonly times?: number | undefined
  /** How many pass first. */
  readonly after?: number | undefined
  /** The share it hits, 0 to 1. */
  readonly probability?: number | undefined
}

export interface Rules<R extends Aim> {
  readonly add: (rule: R) => string
  /** Takes one rule away, or all. */
  readonly clear: (id?: string) => void
  readonly all: () => ReadonlyArray<{ readonly id: string; readonly rule: R; readonly left: number }>
  /** The rules that hit what `applies` says, in their order, up to the first that `ends` it; counts them down. */
  readonly take: (applies: (rule: R) => boolean, ends: (rule: R) => boolean) => ReadonlyArray<R>
}

/** No rules. The same seed draws the same chances. */
export const makeRules = <R extends Aim>(seed = 1): Rules<R> => {
  const entries = new Map<string, { readonly rule: R; left: number; passing: number }>()
  let nextId = 1
  let state = seed >>> 0
  // mulberry32: the chances must be the same in any process, whatever random service it runs under
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  /** Counts the rule down; false when it lets this one pass. */
  const strikes = (id: string, entry: { readonly rule: R; left: number; passing: number }): boolean => {
    if (entry.passing > 0) {
      entry.passing--
      return false
    }
    if (entry.rule.probability !== undefined && random() >= entry.rule.probability) return false
    if (--entry.left <= 0) entries.delete(id)
    return true
  }
  return {
    add: (rule) => {
      const id = `fault-${nextId++}`
      entries.set(id, { rule, left: rule.times ?? Infinity, passing: rule.after ?? 0 })
      return id
    },
    clear: (id) => id === undefined ? entries.clear() : void entries.delete(id),
    all: () => Array.from(entries, ([id, { left, rule }]) => ({ id, rule, left })),
    take: (applies, ends) => {
      const hits: Array<R> = []
      for (const [id, entry] of Array.from(entries)) {
        if (!applies(entry.rule) || !strikes(id, entry)) continue
        hits.push(entry.rule)
        if (ends(entry.rule)) break
      }
      return hits
    }
  }
}
