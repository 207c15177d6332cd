/** Finds phrases and codes in messages, in one pass over the text. */
import { driverRows, type Row, wordRows } from "./classificationPhrases.ts"
import {
  apiCodes,
  clientCodes,
  type Decision,
  genericCodes,
  memo,
  normalize,
  sqlClasses,
  sqlStates
} from "./classificationTables.ts"

/** Reads on from the word at `start`. */
type Reader = (text: string, start: number) => Decision | undefined

interface Entry {
  /** The lower one wins. */
  readonly rank: number
  /** The whole phrase. */
  readonly phrase: string
  readonly read: Reader
}

const slots = 8_192

/**
 * Entries by a hash: of the word, for those of one word and for patterns; of the first two words, for the others. Few words
 * of a text meet any, so that a text costs little more than going over its letters.
 */
interface Index {
  readonly single: Slots
  readonly pairs: Slots
}

interface Slots {
  /** For each hash the place in `lists`, or 0. */
  readonly places: Uint16Array
  readonly lists: Array<Array<Entry>>
}

const makeSlots = (): Slots => ({ places: new Uint16Array(slots), lists: [[]] })

const put = ({ lists, places }: Slots, hash: number, entry: Entry): void => {
  const slot = hash & (slots - 1)
  const list = lists[places[slot] ?? 0]
  if (list === undefined || places[slot] === 0) places[slot] = lists.push([entry]) - 1
  else list.push(entry)
}

/** Letters, digits and the underscore make words, in ASCII and beyond it. */
const inWord = Uint8Array.from({ length: 128 }, (_, code) => /[a-z0-9_]/.test(String.fromCharCode(code)) ? 1 : 0)

const isWord = (code: number): boolean => code > 127 || inWord[code] === 1

const step = (hash: number, code: number): number => (Math.imul(hash, 31) + code) | 0

const pair = (first: number, second: number): number => Math.imul(first, 17) + second

const hashOf = (word: string): number => {
  let hash = 0
  for (let i = 0; i < word.length; i++) hash = step(hash, word.charCodeAt(i))
  return hash
}

const wordPattern = /[^ -/:-@[-^`{-\x7f]+/g

const index = (name: string, rows: ReadonlyArray<Row>, more: ReadonlyArray<readonly [string, Reader]> = []): Index => {
  const entries: Index = { single: makeSlots(), pairs: makeSlots() }
  let rank = 0
  const add = (phrase: string, read: Reader): void => {
    const [first = "", second] = phrase.match(wordPattern) ?? []
    const entry = { rank: rank++, phrase, read }
    if (second === undefined) put(entries.single, hashOf(first), entry)
    else put(entries.pairs, pair(hashOf(first), hashOf(second)), entry)
  }
  for (const [meaning, phrases, ...patterns] of rows) {
    for (const phrase of phrases.split("|").map((part) => part.trim())) {
      if (phrase === "") continue
      const decision: Decision = { ...meaning, rule: `${name}:${phrase}` }
      add(phrase, () => decision)
    }
    for (const [word, pattern] of patterns) {
      const decision: Decision = { ...meaning, rule: `${name}:${pattern.source}` }
      const here = new RegExp(pattern, "y")
      add(word, (text, start) => {
        here.lastIndex = start
        return here.test(text) ? decision : undefined
      })
    }
  }
  for (const [word, read] of more) add(word, read)
  return entries
}

/** The decision of the SQLSTATE, by its row or its class. */
export const sqlState = (state: string): Decision | undefined => {
  if (state.length !== 5) return undefined
  const ofClass = sqlClasses.get(state.slice(0, 2))
  return sqlStates.get(state) ?? (ofClass === undefined ? undefined : { ...ofClass, rule: `sqlstate:${state}` })
}

// `SQLSTATE[40001]`, `(SQLSTATE 57P01)`, and Prisma's "Code: `42P01`".
const statedPattern = /sqlstate[^0-9a-z]{0,4}([0-9a-z]{5})\b|code: [`"]([0-9a-z]{5})[`"]/y

const stated: Reader = (text, start) => {
  if (text.charCodeAt(start) === 99 && text.charCodeAt(start + 4) !== 58) return undefined
  statedPattern.lastIndex = start
  const match = statedPattern.exec(text)
  return match === null ? undefined : sqlState((match[1] ?? match[2] ?? "").toUpperCase())
}

// Codes that are words of the text. Short ones could be anything.
const written = [...clientCodes]
  .filter(([code]) => /^(?:E[A-Z_]{5,}|(?:UND_ERR|ERR|SQLITE|ER)_\w+|EPIPE|EPROTO)$/.test(code))
  .map(([code, decision]): readonly [string, Reader] => [code.toLowerCase(), () => decision])

const driverIndex = index("text", driverRows, [["sqlstate", stated], ["code", stated], ...written])
const wordIndex = index("words", wordRows)

/** A word with an underscore in it may be an API's code. */
const codeInText = memo((word) => {
  const code = normalize(word)
  return apiCodes.get(code) ?? genericCodes.get(code)
})

/** Runs longer than this are ids, keys or base64. */
const longestCode = 64

/** The place of the best entry of a list at a place in the text, if one is better than `rank`; else -1. */
const best = (list: ReadonlyArray<Entry>, text: string, start: number, rank: number): number => {
  for (let i = 0; i < list.length; i++) {
    const entry = list[i]
    if (entry === undefined || entry.rank >= rank) return -1
    const { phrase } = entry
    const end = start + phrase.length
    if (
      text.startsWith(phrase, start) && (end >= text.length || !isWord(text.charCodeAt(end))) &&
      entry.read(text, start) !== undefined
    ) return i
  }
  return -1
}

const search = (index: Index, text: string, codes: boolean): Decision | undefined => {
  const { lists: singleLists, places: singles } = index.single
  const { lists: pairLists, places: pairs } = index.pairs
  const { length } = text
  let found: Entry | undefined
  let foundAt = 0
  let rank = Number.MAX_SAFE_INTEGER
  let coded: Decision | undefined
  let start = -1
  let hash = 0
  let underscore = false
  // The word before, where one character stands between.
  let beforeStart = -1
  let beforeEnd = -2
  let beforeHash = 0
  for (let i = 0; i <= length; i++) {
    const letter = i < length ? text.charCodeAt(i) : 32
    if (letter > 127 || inWord[letter] === 1) {
      if (start < 0) {
        start = i
        hash = 0
      }
      hash = (Math.imul(hash, 31) + letter) | 0
      if (letter === 95) underscore = true
      continue
    }
    if (start < 0) continue
    const single = singles[hash & (slots - 1)] ?? 0
    if (single !== 0) {
      const list = singleLists[single] ?? []
      const at = best(list, text, start, rank)
      if (at >= 0) {
        found = list[at]
        foundAt = start
        rank = found?.rank ?? rank
      }
    }
    if (beforeEnd === start - 1) {
      const both = pairs[pair(beforeHash, hash) & (slots - 1)] ?? 0
      if (both !== 0) {
        const list = pairLists[both] ?? []
        const at = best(list, text, beforeStart, rank)
        if (at >= 0) {
          found = list[at]
          foundAt = beforeStart
          rank = found?.rank ?? rank
        }
      }
    }
    if (underscore) {
      if (codes && coded === undefined && i - start <= longestCode) coded = codeInText(text.slice(start, i))
      underscore = false
    }
    beforeStart = start
    beforeEnd = i
    beforeHash = hash
    start = -1
  }
  const said = found?.read(text, foundAt)
  if (said === undefined || coded === undefined) return said ?? coded
  return isFinal(coded) && !isFinal(said) ? coded : said
}

const finals = new Set<string>([
  "AuthenticationError",
  "AuthorizationError",
  "InvalidRequestError",
  "NotFoundError",
  "ConfigurationError",
  "ValidationError",
  "CriticalError"
])

/** Whether no repetition can cure it. */
export const isFinal = (decision: Decision): boolean => finals.has(decision.tag)

/** What the phrases of drivers and providers, and the codes within the text, say. `text` is in lower case. */
export const driverText = (text: string): Decision | undefined => search(driverIndex, text, true)

/** What general words say. */
export const wordText = (text: string): Decision | undefined => search(wordIndex, text, false)

// `HTTP status 500`, `status code: 503`, `Error code: 429`, `HTTP/1.1 503`, `| 520:`, `Unexpected Response: 404`
const statusPattern =
  /\b(?:http(?:\/[\d.]+)?|http error|http_code|status(?:[ _-]?code)?|error code|response(?: code|:))[\s:=("'[]{0,4}(?:status(?:[ _-]?code)?|code|http|error)?[\s:=("'[]{0,4}([45]\d\d)\b(?![.,]?\d|%| ?ms\b)|\| ([45]\d\d): /

const threeDigits = /[45]\d\d/

const reasonPhrases =
  /^(?:bad |unauthori|payment |forbidden|not found|method not|request |conflict|gone|unprocess|too many|internal |not impl|gateway |service |status code|unavailable|no body)/

/** The HTTP status that a text states as one: digits that are amounts, ports or parts of words are none. */
export const statusInText = (text: string): number => {
  if (!threeDigits.test(text)) return 0
  const stated = statusPattern.exec(text)
  if (stated !== null) return Number(stated[1] ?? stated[2])
  // `404 Not Found`, `503: ...`, `429 {"error": ...}`, `<title>502 Bad Gateway`
  const leading = /(?:^|^error:? |<title>|<h1>)\s*\(?([45]\d\d)\)?(\s*[:{<,.-]|\s+)/.exec(text)
  if (leading === null) return 0
  const rest = text.slice(leading.index + leading[0].length)
  return leading[2]?.trim() !== "" || reasonPhrases.test(rest) ? Number(leading[1]) : 0
}
