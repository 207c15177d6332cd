/** What a person types into a search box: words, "phrases" and -exclusions, read in one way for every store here. */
import { hasWords, tokens } from "./words.ts"

/** Terms that must stand in this order; `offset` counts words from the first, so that left out stop words keep a place. */
export type Phrase = ReadonlyArray<{ readonly term: string; readonly offset: number }>

export interface LexicalQuery {
  /** What is looked for, without what is excluded. */
  readonly text: string
  /** Any of these is looked for; each once. */
  readonly terms: ReadonlyArray<string>
  /** Neighbouring terms, as they were asked for: documents that keep them together rank higher. */
  readonly pairs: ReadonlyArray<Phrase>
  /** All of these must occur. */
  readonly required: ReadonlyArray<Phrase>
  /** None of these may occur. */
  readonly excluded: ReadonlyArray<Phrase>
  /** There were words, and all of them are too common to be looked for. */
  readonly onlyStopWords: boolean
}

/** Terms after the 64th are not looked for: nobody types them, and each costs a look into the index. */
const mostTerms = 64

// A quoted phrase or a word, each with its `-`. A hyphen excludes only at the start of a word; a lone quote is no quote.
const part = /(?<![\p{L}\p{N}\p{M}])(-?)"([^"]*)"|(?<!\S)-(?=[\p{L}\p{N}])(\S+)|([^\s"]+|")/gu

const phrase = (text: string): Phrase => {
  const found = tokens(text).filter((token) => !token.joined)
  const first = found[0]?.position ?? 0
  return found.map(({ position, term }) => ({ term, offset: position - first }))
}

export const parse = (query: string): LexicalQuery => {
  const required: Array<Phrase> = []
  const excluded: Array<Phrase> = []
  const wanted: Array<string> = []
  for (const [, minus, quoted, excludedWord, word] of query.matchAll(part)) {
    if (excludedWord !== undefined) excluded.push(phrase(excludedWord))
    else if (quoted === undefined) wanted.push(word ?? "")
    else if (minus === "-") excluded.push(phrase(quoted))
    else {
      required.push(phrase(quoted))
      wanted.push(quoted)
    }
  }
  const text = wanted.join(" ")
  const found = tokens(text)
  const terms = [...new Set(found.map(({ term }) => term))].slice(0, mostTerms)
  return {
    text,
    terms,
    pairs: neighbours(found.filter(({ joined, term }) => !joined && terms.includes(term))),
    required: required.filter((phrase) => phrase.length > 0),
    excluded: excluded.filter((phrase) => phrase.length > 0),
    onlyStopWords: terms.length === 0 && hasWords(text)
  }
}

const neighbours = (found: ReadonlyArray<{ readonly term: string; readonly position: number }>): Array<Phrase> => {
  const pairs = new Map<string, Phrase>()
  found.slice(1).forEach(({ position, term }, index) => {
    const before = found[index]
    if (before === undefined || before.term === term || position - before.position > 2) return
    pairs.set(`${before.term} ${term}`, [{ term: before.term, offset: 0 }, {
      term,
      offset: position - before.position
    }])
  })
  return [...pairs.values()]
}
