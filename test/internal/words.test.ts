import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { parse } from "../../src/internal/lexicalQuery.ts"
import { hasWords, stem, tokens } from "../../src/internal/words.ts"

const terms = (text: string) => tokens(text).map(({ term }) => term)

it("stems as Porter's paper does", () => {
  const pairs: Readonly<Record<string, string>> = {
    caresses: "caress",
    ponies: "poni",
    caress: "caress",
    cats: "cat",
    feed: "feed",
    agreed: "agre",
    plastered: "plaster",
    bled: "bled",
    motoring: "motor",
    sing: "sing",
    conflated: "conflat",
    troubled: "troubl",
    sized: "size",
    hopping: "hop",
    falling: "fall",
    hissing: "hiss",
    fizzed: "fizz",
    failing: "fail",
    filing: "file",
    happy: "happi",
    sky: "sky",
    relational: "relat",
    conditional: "condit",
    vietnamization: "vietnam",
    predication: "predic",
    operator: "oper",
    hopefulness: "hope",
    sensitiviti: "sensit",
    triplicate: "triplic",
    electrical: "electr",
    goodness: "good",
    revival: "reviv",
    adoption: "adopt",
    communism: "commun",
    probate: "probat",
    rate: "rate",
    cease: "ceas",
    controll: "control",
    roll: "roll",
    generalizations: "gener",
    oscillators: "oscil",
    yes: "ye",
    by: "by"
  }
  for (const [word, expected] of Object.entries(pairs)) assert.strictEqual(stem(word), expected, word)
})

it("finds words whatever their case, accents and script", () => {
  assert.deepStrictEqual(terms("Naïve CAFÉS"), terms("naive cafes"))
  assert.deepStrictEqual(terms("TNF-α"), terms("tnf-alpha"))
  assert.deepStrictEqual(terms("ﬁbrosis"), terms("fibrosis"))
  assert.deepStrictEqual(terms("日本語"), ["日", "本", "語"])
  assert.deepStrictEqual(terms("кошки и 5 мышей"), ["кошки", "и", "5", "мышеи"])
  assert.deepStrictEqual(terms("the of and"), [])
  assert.strictEqual(terms("x".repeat(500))[0]?.length, 64)
})

it("takes joined words apart and together", () => {
  assert.deepStrictEqual(tokens("the IL-6 level"), [
    { term: "il6", position: 1, joined: true },
    { term: "il", position: 1, joined: false },
    { term: "6", position: 2, joined: false },
    { term: "level", position: 3, joined: false }
  ])
})

it.prop("terms are letters and digits, so that a store need not quote them", { text: Schema.String }, ({ text }) => {
  for (const { term } of tokens(text)) assert.match(term, /^[\p{L}\p{N}]+$/u)
  assert.strictEqual(hasWords(text), /[\p{L}\p{N}]/u.test(text))
})

it("reads phrases and exclusions, and takes the rest as words", () => {
  const query = parse("cells \"bone marrow\" -mice -\"of the rats\" IL-6 - x-ray \"lone")
  assert.strictEqual(query.text, "cells bone marrow IL-6 - x-ray \" lone")
  assert.deepStrictEqual(query.required, [[{ term: "bone", offset: 0 }, { term: "marrow", offset: 1 }]])
  assert.deepStrictEqual(query.excluded, [[{ term: "mice", offset: 0 }], [{ term: "rat", offset: 0 }]])
  assert.deepStrictEqual(query.terms, ["cell", "bone", "marrow", "il6", "il", "6", "xrai", "x", "rai", "lone"])
  assert.isFalse(query.onlyStopWords)
})

it("keeps the place of a stop word in a phrase", () => {
  assert.deepStrictEqual(parse("\"marrow of mice\"").required, [[
    { term: "marrow", offset: 0 },
    { term: "mice", offset: 2 }
  ]])
})

it("tells only stop words from no words at all", () => {
  assert.isTrue(parse("to be or not to be").onlyStopWords)
  assert.isFalse(parse("?!").onlyStopWords)
  assert.isTrue(parse("the -mice").onlyStopWords)
})

it.prop("reads anything, with bounded work", { text: Schema.String }, ({ text }) => {
  const { pairs, terms } = parse(text)
  assert.isAtMost(terms.length, 64)
  assert.isAtMost(pairs.length, 64 * 64)
})
