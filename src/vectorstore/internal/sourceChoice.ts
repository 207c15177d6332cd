/** Which sources a search goes to, and in which order. */
import type { Unfit } from "../UnifiedAnswer.ts"
import { type SearchMode, type SearchRequest, type Service } from "../VectorStore.ts"

/** A source of a search. */
interface Candidate {
  readonly name: string
  readonly service: Service
}

/** What several stores can do together, the best first. */
export const modesOf = (stores: ReadonlyArray<Service>): ReadonlyArray<SearchMode> => {
  const found = new Set(stores.flatMap(({ modes }) => modes))
  return found.size > 1 ? Array.from(new Set<SearchMode>(["hybrid", ...found])) : Array.from(found)
}

/** A hybrid search is made of any mode; a vector is of one space. */
export const whyUnfit = (
  { modes, space }: Service,
  { mode = "hybrid", vector }: SearchRequest
): Unfit["reason"] | undefined => {
  const wanted = vector === undefined ? mode : "vector"
  if (wanted !== "hybrid" && !modes.includes(wanted)) return "ModeUnsupported"
  return vector === undefined || vector.space === space ? undefined : "SpaceUnsupported"
}

/** Those that apply the filter while they search, then those that look through what they found. */
export const byFilter = <S extends Candidate>(
  sources: ReadonlyArray<S>,
  { filter }: SearchRequest
): readonly [applying: ReadonlyArray<S>, looking: ReadonlyArray<S>] => {
  const applies = ({ service }: S): boolean => filter === undefined || service.filters?.(filter) !== false
  return [sources.filter(applies), sources.filter((it) => !applies(it))]
}

/** How quick sources have been, smoothed; each failure in a row makes one count as twice as slow. */
export class Pace {
  private readonly millis = new Map<string, number>()
  private readonly failures = new Map<string, number>()
  private readonly asked = new Set<string>()
  private leader: string | undefined
  private searches = 0

  took(source: string, millis: number): void {
    const known = this.millis.get(source)
    this.millis.set(source, known === undefined ? millis : known + (millis - known) * 0.2)
    this.failures.delete(source)
  }

  failed(source: string): void {
    this.failures.set(source, (this.failures.get(source) ?? 0) + 1)
  }

  /**
   * The leader leads until another is a third quicker; each goes first once, and now and then another, so that it can be
   * known.
   */
  choose<S extends Candidate>(sources: ReadonlyArray<S>): S | undefined {
    if (sources.length === 0) return undefined
    this.searches++
    const unknown = sources.find(({ name }) => !this.millis.has(name) && !this.asked.has(name))
    if (unknown !== undefined) {
      this.asked.add(unknown.name)
      return unknown
    }
    if (this.searches % 50 === 0) return sources[(this.searches / 50) % sources.length]
    const of = ({ name }: S): number =>
      Math.max(0.1, this.millis.get(name) ?? Infinity) * 2 ** (this.failures.get(name) ?? 0)
    const leader = sources.find(({ name }) => name === this.leader)
    const best = sources.reduce<S | undefined>((a, b) => a === undefined || of(b) < of(a) ? b : a, undefined)
    const next = leader !== undefined && best !== undefined && of(best) > of(leader) * (2 / 3) ? leader : best
    this.leader = next?.name
    return next
  }
}
