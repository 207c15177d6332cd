/** What a filter means, once: the in-memory form, which is the rule that every compiled form is tested against. */
import type { Attributes, Filter, Scalar } from "../VectorStore.ts"

// UTF-16 sorts the code points above U+FFFF before U+E000 to U+FFFF; this puts them after, as UTF-8 does.
const weight = (unit: number): number => unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800

/** The order of two texts by their UTF-8 bytes, in which ids are listed: negative, zero or positive. */
export const compareText = (a: string, b: string): number => {
  const shorter = Math.min(a.length, b.length)
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return weight(x) - weight(y)
  }
  return a.length - b.length
}

/** Undefined where the two do not compare: another type, or no value. */
const compare = (a: Scalar | undefined, b: Scalar): number | undefined => {
  if (typeof a === "string" && typeof b === "string") return compareText(a, b)
  return a !== undefined && typeof a === typeof b ? Number(a) - Number(b) : undefined
}

/** Whether a document with these attributes may be found. */
export const matches = (filter: Filter, attributes: Attributes): boolean => {
  switch (filter.type) {
    case "and":
      return filter.filters.every((inner) => matches(inner, attributes))
    case "or":
      return filter.filters.some((inner) => matches(inner, attributes))
    case "in":
      return filter.value.some((value) => own(attributes, filter.key) === value)
    case "nin":
      return filter.value.every((value) => own(attributes, filter.key) !== value)
    case "eq":
      return own(attributes, filter.key) === filter.value
    case "ne":
      return own(attributes, filter.key) !== filter.value
    case "gt":
      return (compare(own(attributes, filter.key), filter.value) ?? 0) > 0
    case "gte":
      return (compare(own(attributes, filter.key), filter.value) ?? -1) >= 0
    case "lt":
      return (compare(own(attributes, filter.key), filter.value) ?? 0) < 0
    case "lte":
      return (compare(own(attributes, filter.key), filter.value) ?? 1) <= 0
  }
}

// `constructor` and its like are keys as any other.
const own = (attributes: Attributes, key: string): Scalar | undefined =>
  Object.hasOwn(attributes, key) ? attributes[key] : undefined
