/** Lexical ranking: what a term is worth in a document (Okapi BM25), and an index of it that lives in memory. */
import type { LexicalQuery, Phrase } from "./lexicalQuery.ts"
import { tokens } from "./words.ts"

/** How fast more of the same term stops counting, and how much long documents are held back. */
export const k1 = 1.2
export const b = 0.6
/** What two neighbouring terms of the query add where a document keeps them together, as a share of their own worth. */
export const pairWeight = 0.25

/** How telling a term is that `frequency` of `documents` hold. */
export const idf = (documents: number, frequency: number): number =>
  Math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))

/** A document as its terms and where they stand; how often is how many places. */
export interface Terms {
  /** In words, stop words left out. */
  readonly length: number
  readonly positions: ReadonlyMap<string, ReadonlyArray<number>>
}

/** Between title and text, so that no phrase reaches from one into the other. */
const gap = 8

/** A title counts twice: it stands for what follows. */
export const analyse = (title: string | undefined, content: string): Terms => {
  const positions = new Map<string, Array<number>>()
  let length = 0
  let start = 0
  for (const text of title === undefined ? [content] : [title, title, content]) {
    const found = tokens(text)
    for (const { position, term } of found) {
      const known = positions.get(term)
      if (known === undefined) positions.set(term, [start + position])
      else known.push(start + position)
    }
    length += found.length
    start += (found.at(-1)?.position ?? 0) + gap
  }
  return { length, positions }
}

/** Whether the terms stand in the document as the phrase has them. */
export const hasPhrase = (document: Terms, phrase: Phrase): boolean => {
  const [first, ...rest] = phrase
  return first !== undefined &&
    (document.positions.get(first.term) ?? []).some((start) =>
      rest.every(({ offset, term }) => document.positions.get(term)?.includes(start + offset) === true)
    )
}

/** Best first; equal ones by the shorter id, then the smaller, which puts numbers in their order. */
export const best = (a: Found, b: Found): number =>
  b.score - a.score || a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

export interface Found {
  readonly id: string
  readonly score: number
}

const keepsTo = (query: LexicalQuery, document: Terms): boolean =>
  query.required.every((phrase) => hasPhrase(document, phrase)) &&
  !query.excluded.some((phrase) => hasPhrase(document, phrase))

interface Entry {
  readonly id: string
  readonly number: number
  readonly terms: Terms
}

/** How many of the best are looked at for neighbouring terms. */
export const pairDepth = (limit: number): number => Math.max(100, 4 * limit)

/** Documents by term. Plain and synchronous: whoever holds it takes care that one writes at a time. */
export class LexicalIndex {
  private readonly entries = new Map<string, Entry>()
  private readonly slots: Array<Entry | undefined> = []
  private readonly free: Array<number> = []
  private readonly postings = new Map<string, Map<number, number>>()
  private totalLength = 0

  get size(): number {
    return this.entries.size
  }

  /** How many documents hold the term. */
  frequency(term: string): number {
    return this.postings.get(term)?.size ?? 0
  }

  /** Whether the document keeps to the query's phrases and exclusions. */
  matches(id: string, query: LexicalQuery): boolean {
    if (query.required.length === 0 && query.excluded.length === 0) return true
    const entry = this.entries.get(id)
    return entry !== undefined && keepsTo(query, entry.terms)
  }

  set(id: string, title: string | undefined, content: string): void {
    this.delete(id)
    const terms = analyse(title, content)
    const number = this.free.pop() ?? this.slots.length
    const entry = { id, number, terms }
    this.slots[number] = entry
    this.entries.set(id, entry)
    this.totalLength += terms.length
    for (const [term, places] of terms.positions) {
      const known = this.postings.get(term)
      if (known === undefined) this.postings.set(term, new Map([[number, places.length]]))
      else known.set(number, places.length)
    }
  }

  delete(id: string): void {
    const entry = this.entries.get(id)
    if (entry === undefined) return
    this.entries.delete(id)
    this.slots[entry.number] = undefined
    this.free.push(entry.number)
    this.totalLength -= entry.terms.length
    for (const term of entry.terms.positions.keys()) {
      const known = this.postings.get(term)
      known?.delete(entry.number)
      if (known?.size === 0) this.postings.delete(term)
    }
  }

  /** The best documents with one of the terms that keep to phrases, exclusions and `keep`. */
  search(query: LexicalQuery, limit: number, keep: (id: string) => boolean): Array<Found> {
    const scores = new Map<number, number>()
    const mean = this.totalLength / Math.max(1, this.entries.size)
    for (const term of query.terms) {
      const worth = idf(this.size, this.frequency(term)) * (k1 + 1)
      for (const [number, count] of this.postings.get(term) ?? []) {
        const length = this.slots[number]?.terms.length ?? mean
        const share = count / (count + k1 * (1 - b + (b * length) / mean))
        scores.set(number, (scores.get(number) ?? 0) + worth * share)
      }
    }
    const found: Array<{ readonly id: string; readonly terms: Terms; readonly score: number }> = []
    for (const [number, score] of scores) {
      const entry = this.slots[number]
      if (entry === undefined || !keep(entry.id)) continue
      if (!keepsTo(query, entry.terms)) continue
      found.push({ id: entry.id, terms: entry.terms, score })
    }
    return found.sort(best).slice(0, pairDepth(limit))
      .map(({ id, score, terms }) => ({ id, score: score + this.pairScore(query, terms) }))
      .sort(best).slice(0, limit)
  }

  private pairScore(query: LexicalQuery, document: Terms): number {
    let score = 0
    for (const pair of query.pairs) {
      if (hasPhrase(document, pair)) {
        score += pairWeight * pair.reduce((worth, { term }) => worth + idf(this.size, this.frequency(term)), 0)
      }
    }
    return score
  }
}
