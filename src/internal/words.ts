/**
 * Text to search terms: one analysis for every store here, so that they find the same words. Lower-cased and unaccented
 * runs of letters and digits, without stop words, stemmed by Porter's algorithm (1980).
 */

/** A term and where it stands, counted in words from 0; stop words take up a place. */
export interface Token {
  readonly term: string
  readonly position: number
  /** Several words written as one. */
  readonly joined: boolean
}

const stopWords = new Set(
  ("a about above after again against all am an and any are as at be because been before being below between both but " +
    "by can did do does doing don down during each few for from further had has have having he her here hers herself " +
    "him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only " +
    "or other our ours ourselves out over own same she should so some such t than that the their theirs them " +
    "themselves then there these they this those through to too under until up very was we were what when where which " +
    "while who whom why will with you your yours yourself yourselves s").split(" ")
)

// Scripts without spaces between words: each character is a word.
const spaceless = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}"
const word = `(?:(?![${spaceless}])[\\p{L}\\p{N}])+`
// Words joined by a hyphen or a slash come as one match: `tnf-alpha`.
const anyPattern = new RegExp(`[${spaceless}]|${word}(?:[-/]${word})*`, "gu")
const asciiPattern = /[a-z0-9]+(?:[-/][a-z0-9]+)*/g
// eslint-disable-next-line no-control-regex
const ascii = /^[\x00-\x7f]*$/

/** Words longer than this are cut: no language has them, and an index key must stay small. */
const longestWord = 64

// Science writes both TNF-α and TNF-alpha. The letters from alpha to omega, in the order of their code points.
const greek =
  ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau " +
    "upsilon phi chi psi omega").split(" ")

const fold = (text: string): string =>
  text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(
    /[\u03b1-\u03c9]/g,
    (letter) => greek[letter.charCodeAt(0) - 0x3b1] ?? letter
  )

/**
 * The terms of a text in its order, stop words left out. Joined words count by their parts and as one: `IL-6` is `il`,
 * `6` and, for those who write it so, `il6`; the latter with `joined`.
 */
export const tokens = (text: string): ReadonlyArray<Token> => {
  const plain = ascii.test(text)
  const found: Array<Token> = []
  let position = 0
  for (const match of (plain ? text.toLowerCase() : fold(text)).match(plain ? asciiPattern : anyPattern) ?? []) {
    // Most words stand alone, and to split one costs more than to stem it.
    const parts = match.includes("-") || match.includes("/") ? match.split(/[-/]/) : undefined
    if (parts !== undefined) found.push({ term: stem(parts.join("")), position, joined: true })
    for (const part of parts ?? [match]) {
      const term = termOf(part)
      if (term !== "") found.push({ term, position, joined: false })
      position++
    }
  }
  return found
}

/** Whether there is a word at all, be it a stop word. */
export const hasWords = (text: string): boolean => /[\p{L}\p{N}]/u.test(text)

// The same words come again and again; with a bounded memo, stop words among it, one look finds the most of them.
const terms = new Map<string, string>()

/** The stem of a folded word, and nothing for a stop word. */
const termOf = (word: string): string => {
  const known = terms.get(word)
  if (known !== undefined) return known
  const result = stopWords.has(word) ? "" : stem(word)
  if (terms.size >= 50_000) terms.clear()
  terms.set(word, result)
  return result
}

/** The stem of a folded word. Words with other letters than a to z, or of one or two, are their own stems. */
export const stem = (word: string): string =>
  /^[a-z]{3,}$/.test(word) ? porter(word.slice(0, longestWord)) : word.slice(0, longestWord)

const consonant = "[^aeiou]"
const vowel = "[aeiouy]"
const consonants = `${consonant}[^aeiouy]*`
const vowels = `${vowel}[aeiou]*`
// Porter's measure m: the number of vowel-consonant sequences.
const measureAbove0 = new RegExp(`^(?:${consonants})?${vowels}${consonants}`)
const measureIs1 = new RegExp(`^(?:${consonants})?${vowels}${consonants}(?:${vowels})?$`)
const measureAbove1 = new RegExp(`^(?:${consonants})?${vowels}${consonants}${vowels}${consonants}`)
const hasVowel = new RegExp(`^(?:${consonants})?${vowel}`)
const shortEnd = new RegExp(`^${consonants}${vowel}[^aeiouwxy]$`)

const step2: Readonly<Record<string, string>> = {
  ational: "ate",
  tional: "tion",
  enci: "ence",
  anci: "ance",
  izer: "ize",
  bli: "ble",
  alli: "al",
  entli: "ent",
  eli: "e",
  ousli: "ous",
  ization: "ize",
  ation: "ate",
  ator: "ate",
  alism: "al",
  iveness: "ive",
  fulness: "ful",
  ousness: "ous",
  aliti: "al",
  iviti: "ive",
  biliti: "ble",
  logi: "log"
}
const step3: Readonly<Record<string, string>> = {
  icate: "ic",
  ative: "",
  alize: "al",
  iciti: "ic",
  ical: "ic",
  ful: "",
  ness: ""
}
const step2Pattern =
  /^(.+?)(ational|tional|enci|anci|izer|bli|alli|entli|eli|ousli|ization|ation|ator|alism|iveness|fulness|ousness|aliti|iviti|biliti|logi)$/
const step3Pattern = /^(.+?)(icate|ative|alize|iciti|ical|ful|ness)$/
const step4Pattern = /^(.+?)(al|ance|ence|er|ic|able|ible|ant|ement|ment|ent|ou|ism|ate|iti|ous|ive|ize|(?<=[st])ion)$/

const porter = (word: string): string => {
  // A leading y is a consonant.
  let w = word.startsWith("y") ? `Y${word.slice(1)}` : word
  // 1a: plurals
  if (/(?:ss|i)es$/.test(w)) w = w.slice(0, -2)
  else if (/[^s]s$/.test(w)) w = w.slice(0, -1)
  // 1b: -eed, -ed, -ing
  const past = /^(.+?)(eed|ed|ing)$/.exec(w)
  if (past !== null) {
    const [, base = "", suffix] = past
    if (suffix === "eed") {
      if (measureAbove0.test(base)) w = w.slice(0, -1)
    } else if (hasVowel.test(base)) {
      if (/(?:at|bl|iz)$/.test(base)) w = `${base}e`
      else if (/([^aeiouylsz])\1$/.test(base)) w = base.slice(0, -1)
      else w = shortEnd.test(base) ? `${base}e` : base
    }
  }
  // 1c: -y
  if (w.endsWith("y") && hasVowel.test(w.slice(0, -1))) w = `${w.slice(0, -1)}i`
  for (const [pattern, replacements] of [[step2Pattern, step2], [step3Pattern, step3]] as const) {
    const [, base = "", suffix = ""] = pattern.exec(w) ?? []
    if (suffix !== "" && measureAbove0.test(base)) w = base + (replacements[suffix] ?? "")
  }
  const [, base = ""] = step4Pattern.exec(w) ?? []
  if (base !== "" && measureAbove1.test(base)) w = base
  // 5: a last e, a double l
  if (w.endsWith("e")) {
    const base = w.slice(0, -1)
    if (measureAbove1.test(base) || (measureIs1.test(base) && !shortEnd.test(base))) w = base
  }
  if (w.endsWith("ll") && measureAbove1.test(w)) w = w.slice(0, -1)
  return w.toLowerCase()
}
