/** How long a provider asks us to wait, in all the forms that they say it. Nonsense, negatives and the past are refused. */
import { Duration } from "effect"
import { isObject, type Loose } from "./failureEvidence.ts"
import { resetMillis } from "./resetHeader.ts"

/** Longer waits are no request to wait but a mistake, such as a point in time where seconds belong. */
const longestMillis = 31 * 86_400_000

const sane = (millis: number): number | undefined => millis >= 0 && millis <= longestMillis ? millis : undefined

const asText = (value: unknown): string | undefined =>
  typeof value === "string"
    ? value
    : typeof value === "number"
    ? String(value)
    : Array.isArray(value) && typeof value[0] === "string"
    ? value[0]
    : undefined

/** A header by its name in lower case, from a plain object, `Headers`, a `Map`, or pairs. Never throws. */
export const header = (headers: unknown, name: string): string | undefined => {
  if (!isObject(headers)) return undefined
  // Foreign objects: a getter or `get` may throw.
  try {
    const { get } = headers
    if (typeof get === "function") {
      const value = asText(get.call(headers, name))
      if (value !== undefined || !(headers instanceof Map)) return value
    }
    const direct = asText(headers[name])
    if (direct !== undefined) return direct
    let left = 128
    const pairs = Array.isArray(headers) || headers instanceof Map ? headers : undefined
    if (pairs !== undefined) {
      let key: unknown
      for (const entry of pairs) {
        if (left-- === 0) return undefined
        if (Array.isArray(entry)) {
          if (typeof entry[0] === "string" && entry[0].toLowerCase() === name) return asText(entry[1])
        } else if (key === undefined) key = entry
        else {
          if (typeof key === "string" && key.toLowerCase() === name) return asText(entry)
          key = undefined
        }
      }
      return undefined
    }
    for (const key in headers) {
      if (left-- === 0) return undefined
      if (key.length === name.length && key.toLowerCase() === name) {
        return asText(headers[key])
      }
    }
    return undefined
  } catch {
    return undefined
  }
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`
const fixDate = /^[a-z]{3,9}, (\d{1,2})[ -]([a-z]{3})[ -](\d{2}|\d{4}) (\d\d):(\d\d):(\d\d) (?:gmt|utc)$/
const ascDate = /^[a-z]{3} ([a-z]{3}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})$/

/** The three forms of an HTTP date, as epoch milliseconds. */
export const httpDate = (text: string): number | undefined => {
  if (text.length > 40) return undefined
  const lower = text.trim().toLowerCase()
  const fix = fixDate.exec(lower)
  const asc = fix === null ? ascDate.exec(lower) : null
  const [day, month, year, hour, minute, second] = fix !== null
    ? [fix[1], fix[2], fix[3], fix[4], fix[5], fix[6]]
    : asc !== null
    ? [asc[2], asc[1], asc[6], asc[3], asc[4], asc[5]]
    : []
  if (month === undefined || year === undefined) return undefined
  const index = months.indexOf(month)
  // Two digits mean the nearest century; nothing here is older than HTTP.
  const full = year.length === 2 ? (Number(year) < 70 ? 2000 : 1900) + Number(year) : Number(year)
  if (index < 0 || Number(day) < 1 || Number(day) > 31 || Number(hour) > 23 || Number(minute) > 59) return undefined
  return Date.UTC(full, index, Number(day), Number(hour), Number(minute), Math.min(59, Number(second)))
}

const plainNumber = /^\d+(?:\.\d+)?$/

/**
 * A `Retry-After` in milliseconds. A date counts from the answer's own `Date` where there is one, so that the two clocks
 * need not agree, else from `now`.
 */
export const retryAfterMillis = (
  value: string,
  date: string | undefined,
  now: number | undefined
): number | undefined => {
  if (value.length > 40) return undefined
  const text = value.trim()
  if (plainNumber.test(text)) return sane(Number(text) * 1_000)
  const until = httpDate(text) ?? (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) ? Date.parse(text) : undefined)
  const from = (date === undefined ? undefined : httpDate(date)) ?? now
  return until === undefined || from === undefined ? undefined : sane(until - from)
}

const millisHeader = (text: string | undefined): number | undefined =>
  text !== undefined && plainNumber.test(text.trim()) ? sane(Number(text)) : undefined

/** From a response's headers. Those of a limit count only when it is `limited` and nothing remains. */
export const fromHeaders = (headers: unknown, now: number | undefined, limited: boolean): number | undefined => {
  if (!isObject(headers)) return undefined
  const millis = millisHeader(header(headers, "retry-after-ms")) ?? millisHeader(header(headers, "x-ms-retry-after-ms"))
  if (millis !== undefined) return millis
  const after = header(headers, "retry-after")
  if (after !== undefined) {
    const found = retryAfterMillis(after, header(headers, "date"), now)
    if (found !== undefined) return found
  }
  if (!limited) return undefined
  let longest: number | undefined
  for (const [remaining, reset] of limits) {
    if (header(headers, remaining)?.trim() !== "0") continue
    const wait = resetMillis(header(headers, reset), now ?? Number.NaN)
    const found = wait === undefined ? undefined : sane(wait)
    if (found !== undefined && found > (longest ?? -1)) longest = found
  }
  return longest
}

const limits = [
  ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
  ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
  ["ratelimit-remaining", "ratelimit-reset"],
  ["x-ratelimit-remaining", "x-ratelimit-reset"],
  ["x-rate-limit-remaining", "x-rate-limit-reset"]
] as const

const inSeconds = ["retryAfter", "retry_after", "retryAfterSeconds", "retryDelay", "earliestRetry"] as const
const inMillis = ["retryAfterMillis", "retryAfterMs", "retry_after_ms"] as const

/**
 * From a field of an error or a body: a `Duration`, seconds, `"32s"`, or milliseconds where the name says so. Never throws.
 */
export const fromFields = (value: unknown): number | undefined => {
  if (!isObject(value)) return undefined
  // A foreign object: its getters may throw.
  try {
    return fields(value)
  } catch {
    return undefined
  }
}

const fields = (facts: Loose): number | undefined => {
  for (const name of inMillis) {
    const millis = facts[name]
    if (typeof millis === "number") return sane(millis)
  }
  // A reason of ours, out of a log, has milliseconds.
  const unit = typeof facts["_tag"] === "string" && typeof facts["rule"] === "string" ? 1 : 1_000
  for (const name of inSeconds) {
    const wait = facts[name]
    if (typeof wait === "number") return sane(wait * unit)
    if (typeof wait === "string") {
      const millis = resetMillis(wait, Number.NaN)
      return millis === undefined ? undefined : sane(millis)
    }
    if (Duration.isDuration(wait)) return sane(Duration.toMillis(wait))
  }
  return undefined
}

const spoken =
  /\b(?:try again|retry|retry your request|wait)(?: again)? (?:in|after|for|at least) (?:about |approximately |at least )?((?:\d+(?:\.\d+)?\s?(?:milliseconds?|millis|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)\s?)+)(?!\w|\.\d)/

const spokenUnits: { readonly [unit: string]: number } = { m: 60_000, s: 1_000, h: 3_600_000 }

/** From words such as `Please try again in 6m0s.` `text` is in lower case. */
export const fromText = (text: string): number | undefined => {
  const match = spoken.exec(text)
  if (match?.[1] === undefined) return undefined
  let millis = 0
  for (const [, amount, unit = ""] of match[1].matchAll(/(\d+(?:\.\d+)?)\s?([a-z]+)/g)) {
    millis += Number(amount) *
      (unit.startsWith("ms") || unit.startsWith("milli") ? 1 : spokenUnits[unit.charAt(0)] ?? 0)
  }
  return sane(millis)
}
