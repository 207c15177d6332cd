/** Filters for OpenAI: as much of a filter as its API can be trusted with, so that nothing that matches is left out. */
import type { ApiFilter } from "../OpenAiTypes.ts"
import type { Filter } from "../VectorStore.ts"

/**
 * A filter that lets through at least what the given one does: everything, nothing, or what a filter of the API says.
 * What is let through besides is for the caller to take out.
 *
 * **Details**
 *
 * Not sent: `ne` and `nin`, since the API does not say what it does with a missing key; orders of text and of truth
 * values, which it defines for numbers alone.
 */
export const widen = (filter: Filter): ApiFilter | "everything" | "nothing" => {
  switch (filter.type) {
    case "ne":
    case "nin":
      return "everything"
    case "eq":
      return { type: "eq", key: filter.key, value: filter.value }
    case "gt":
    case "gte":
    case "lt":
    case "lte":
      return typeof filter.value === "number"
        ? { type: filter.type, key: filter.key, value: filter.value }
        : "everything"
    case "in": {
      // A list of the API's holds text or numbers.
      const listed = filter.value.filter((value) => typeof value !== "boolean")
      const single = filter.value.filter((value) => typeof value === "boolean")
      return either([
        ...(listed.length === 0 ? [] : [{ type: "in" as const, key: filter.key, value: listed }]),
        ...single.map((value) => ({ type: "eq" as const, key: filter.key, value }))
      ])
    }
    case "and":
      return both(filter.filters.map(widen))
    case "or":
      return either(filter.filters.map(widen))
  }
}

/** Whether `widen` lets through nothing besides. */
export const isExact = (filter: Filter): boolean => {
  switch (filter.type) {
    case "ne":
    case "nin":
      return false
    case "eq":
    case "in":
      return true
    case "gt":
    case "gte":
    case "lt":
    case "lte":
      return typeof filter.value === "number"
    case "and":
    case "or":
      return filter.filters.every(isExact)
  }
}

type Widened = ReturnType<typeof widen>

/** Everything that all of them let through. */
export const both = (parts: ReadonlyArray<Widened>): Widened => {
  if (parts.includes("nothing")) return "nothing"
  const filters = parts.filter((part) => typeof part === "object")
  return filters.length === 0 ? "everything" : filters.length === 1 ? filters[0]! : { type: "and", filters }
}

const either = (parts: ReadonlyArray<Widened>): Widened => {
  if (parts.includes("everything")) return "everything"
  const filters = parts.filter((part) => typeof part === "object")
  return filters.length === 0 ? "nothing" : filters.length === 1 ? filters[0]! : { type: "or", filters }
}
