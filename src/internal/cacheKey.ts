/**
 * The text of a cache key: a canonical and injective form of any structural value, so that two keys are one entry
 * exactly when they are equal. Nothing is cut off, and a later change of the value does not change its key.
 */
import { DateTime, Duration, Option, Redacted, Result, Schema } from "effect"

/** Texts of other values begin with this, so that a plain text can stand for itself. */
const mark = "\u0001"

/**
 * The key of a value.
 *
 * **Details**
 *
 * Structural: primitives, arrays, plain objects (in any order of fields; a field that is `undefined` is as good as
 * absent), maps, sets, dates, regular expressions, URLs, bytes, `Option`, `Result`, `Duration`, `DateTime`, the secret
 * of a `Redacted`, and what carries a `_tag` or is a `Schema.Class`. Anything else, such as a function or an instance
 * of a class with private state, is its own identity: it is never mistaken for another.
 */
export const cacheKey = (value: unknown): string =>
  typeof value === "string" && value.charCodeAt(0) !== 1 ? value : mark + encode(value, [])

/** The key within an operation and for a tenant, apart from every other's. */
export const scopedKey = (key: string, operation: string | undefined, tenant: string | undefined): string =>
  operation === undefined && tenant === undefined
    ? key
    : `${mark}@${sized(operation)}${sized(tenant)}${key}`

const sized = (text: string | undefined): string => text === undefined ? "-" : `${text.length}:${text}`

/** `path` holds the objects around the value, outermost first. */
const encode = (value: unknown, path: Array<object>): string => {
  switch (typeof value) {
    case "string":
      return quoted(value)
    case "number":
      // -0 equals 0.
      return value === 0 ? "0" : String(value)
    case "bigint":
      return `${value}n`
    case "boolean":
    case "undefined":
      return String(value)
    case "symbol":
      return Symbol.keyFor(value) === undefined ? `#${identity(value)}` : `@${quoted(Symbol.keyFor(value)!)}`
    case "function":
      return `#${identity(value)}`
    case "object": {
      if (value === null) return "null"
      const above = path.indexOf(value)
      if (above >= 0) return `^${path.length - above}`
      path.push(value)
      const text = encodeObject(value, path)
      path.pop()
      return text
    }
  }
}

/** The length makes clear where a text ends, whatever is in it; `JSON.stringify` costs five times as much. */
const quoted = (text: string): string => `"${text.length}:${text}`

const encodeObject = (value: object, path: Array<object>): string => {
  if (Array.isArray(value)) return `[${list(value, path)}]`
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto === Object.prototype || proto === null) return fields(value, path)
  if (value instanceof Map) return `Map(${sorted(value, path)})`
  if (value instanceof Set) return `Set(${sorted(value, path)})`
  if (value instanceof Date) return `Date(${value.getTime()})`
  if (value instanceof RegExp) return `RegExp(${quoted(String(value))})`
  if (value instanceof URL) return `URL(${quoted(value.href)})`
  if (value instanceof ArrayBuffer) return `Bytes(${new Uint8Array(value).join(",")})`
  if (ArrayBuffer.isView(value)) return bytes(value)
  if (Redacted.isRedacted(value)) return `Redacted(${encode(Redacted.value(value), path)})`
  if (Option.isOption(value)) return Option.isSome(value) ? `Some(${encode(value.value, path)})` : "None"
  if (Result.isResult(value)) {
    return Result.isSuccess(value)
      ? `Success(${encode(value.success, path)})`
      : `Failure(${encode(value.failure, path)})`
  }
  if (Duration.isDuration(value)) return `Duration(${Duration.toMillis(value)})`
  if (DateTime.isDateTime(value)) {
    return DateTime.isZoned(value)
      ? `Zoned(${DateTime.formatIsoZoned(value)})`
      : `Utc(${DateTime.toEpochMillis(value)})`
  }
  if ("_tag" in value || Schema.isSchema(value.constructor)) {
    return `${value.constructor.name}:${"_tag" in value ? encode(value._tag, path) : ""}${fields(value, path)}`
  }
  return `#${identity(value)}`
}

const list = (items: ReadonlyArray<unknown>, path: Array<object>): string => {
  let text = ""
  for (const item of items) text += `${encode(item, path)},`
  return text
}

const sorted = (items: Iterable<unknown>, path: Array<object>): string =>
  Array.from(items, (item) => encode(item, path)).sort().join(",")

const fields = (value: object, path: Array<object>): string => {
  let text = "{"
  for (const name of Object.keys(value).sort()) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a key of it
    const field: unknown = value[name as keyof typeof value]
    if (field !== undefined) text += `${quoted(name)}:${encode(field, path)},`
  }
  return `${text}}`
}

const bytes = (view: ArrayBufferView): string =>
  `${view.constructor.name}(${new Uint8Array(view.buffer, view.byteOffset, view.byteLength).join(",")})`

// -- identities ------------------------------------------------------------------------------------------------------

const identities = new WeakMap<WeakKey, string>()
// Keys may be shared between processes, where the same number is another thing.
const process = crypto.randomUUID()
let last = 0

const identity = (value: WeakKey): string => {
  const known = identities.get(value)
  if (known !== undefined) return known
  const own = `${process}.${++last}`
  identities.set(value, own)
  return own
}
