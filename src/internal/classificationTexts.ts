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
  /** What it says; of a pattern, what finds out. */
  readonly says: Decision | Reader
}

const slots = 8_192

/**
 * Entries by a hash: of the word, for those of one word and for patterns; of the first two words, for the others. Few words
 * of a text meet any, so that a text costs little more than going over its letters.
 */
interface Index {
  /** What a word with this end of its hash may be: 1 is an entry, 2 is the beginning of several words. */
  readonly roles: Uint8Array
  readonly single: Map<number, Array<Entry>>
  readonly pairs: Map<number, Array<Entry>>
}

const put = (entries: Map<number, Array<Entry>>, hash: number, entry: Entry): void => {
  const list = entries.get(hash)
  if (list === undefined) entries.set(hash, [entry])
  else list.push(entry)
}

/**
 * What makes words: 1 for letters and digits, in ASCII (in lower case) and beyond it, 2 for the underscore. A row for every
 * code unit, so that nothing but a load stands in the loop over the letters.
 */
const inWord = ((): Uint8Array => {
  const kinds = new Uint8Array(65_536).fill(1, 128)
  for (const letter of "abcdefghijklmnopqrstuvwxyz0123456789") kinds[letter.charCodeAt(0)] = 1
  kinds["_".charCodeAt(0)] = 2
  return kinds
})()

const step = (hash: number, code: number): number => (Math.imul(hash, 31) + code) | 0

const pair = (first: number, second: number): number => (Math.imul(first, 17) + second) | 0

const hashOf = (word: string): number => {
  let hash = 0
  for (let i = 0; i < word.length; i++) hash = step(hash, word.charCodeAt(i))
  return hash
}

const wordPattern = /[^ -/:-@[-^`{-\x7f]+/g

type Word = readonly [word: string, says: Decision | Reader]

const index = (name: string, rows: ReadonlyArray<Row>, more: ReadonlyArray<Word> = []): Index => {
  const roles = new Uint8Array(slots)
  const single = new Map<number, Array<Entry>>()
  const pairs = new Map<number, Array<Entry>>()
  let rank = 0
  const add = (phrase: string, says: Decision | Reader): void => {
    const [first = "", second] = phrase.match(wordPattern) ?? []
    const entry = { rank: rank++, phrase, says }
    const hash = hashOf(first)
    roles[hash & (slots - 1)]! |= second === undefined ? 1 : 2
    if (second === undefined) put(single, hash, entry)
    else put(pairs, pair(hash, hashOf(second)), entry)
  }
  for (const [meaning, phrases, ...patterns] of rows) {
    for (const phrase of phrases.split("|").map((part) => part.trim())) {
      if (phrase !== "") add(phrase, { ...meaning, rule: `${name}:${phrase}` })
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
  for (const [word, says] of more) add(word, says)
  return { roles, single, pairs }
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
  .map(([code, decision]): Word => [code.toLowerCase(), decision])

const driverIndex = index("text", driverRows, [["sqlstate", stated], ["code", stated], ...written])
const wordIndex = index("words", wordRows)

/** A word with an underscore in it may be an API's code. */
const codeInText = memo((word) => {
  const code = normalize(word)
  return apiCodes.get(code) ?? genericCodes.get(code)
})

/** Runs longer than this are ids, keys or base64. */
const longestCode = 64

const saidOf = ({ says }: Entry, text: string, start: number): Decision | undefined =>
  typeof says === "function" ? says(text, start) : says

/** The best entry of a list at a place in the text, if one is better than what was found before. */
const best = (
  list: ReadonlyArray<Entry> | undefined,
  text: string,
  start: number,
  before: Entry | undefined
): Entry | undefined => {
  if (list === undefined) return undefined
  for (let i = 0; i < list.length; i++) {
    const entry = list[i]!
    if (before !== undefined && entry.rank >= before.rank) return undefined
    const end = start + entry.phrase.length
    if (
      (end >= text.length || inWord[text.charCodeAt(end)] === 0) && text.startsWith(entry.phrase, start) &&
      saidOf(entry, text, start) !== undefined
    ) return entry
  }
  return undefined
}

const search = ({ pairs, roles, single }: Index, text: string, codes: boolean): Decision | undefined => {
  const { length } = text
  let found: Entry | undefined
  let foundAt = 0
  let coded: Decision | undefined
  // The word before, where it may begin a phrase: one character must stand between.
  let beforeStart = 0
  let beforeEnd = -1
  let beforeHash = 0
  let i = 0
  while (i < length) {
    let letter = text.charCodeAt(i)
    let kinds = inWord[letter]!
    if (kinds === 0) {
      i++
      continue
    }
    const start = i
    let hash = letter
    while (++i < length) {
      letter = text.charCodeAt(i)
      const kind = inWord[letter]!
      if (kind === 0) break
      kinds |= kind
      hash = step(hash, letter)
    }
    const role = roles[hash & (slots - 1)]!
    if ((role & 1) !== 0) {
      const entry = best(single.get(hash), text, start, found)
      if (entry !== undefined) {
        found = entry
        foundAt = start
      }
    }
    if (beforeEnd === start - 1) {
      const entry = best(pairs.get(pair(beforeHash, hash)), text, beforeStart, found)
      if (entry !== undefined) {
        found = entry
        foundAt = beforeStart
      }
    }
    if (kinds > 1 && codes && coded === undefined && i - start <= longestCode) coded = codeInText(text.slice(start, i))
    if ((role & 2) !== 0) {
      beforeStart = start
      beforeEnd = i
      beforeHash = hash
    }
  }
  const said = found === undefined ? undefined : saidOf(found, text, foundAt)
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
