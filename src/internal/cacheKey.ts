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

const encode = (value: unknown, path: ReadonlyArray<object>): string => {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value)
    case "number":
      // -0 equals 0.
      return value === 0 ? "0" : String(value)
    case "bigint":
      return `${value}n`
    case "boolean":
    case "undefined":
      return String(value)
    case "symbol":
      return Symbol.keyFor(value) === undefined ? `#${identity(value)}` : `@${JSON.stringify(Symbol.keyFor(value))}`
    case "function":
      return `#${identity(value)}`
    case "object":
      return value === null ? "null" : encodeObject(value, path)
  }
}

const encodeObject = (value: object, path: ReadonlyArray<object>): string => {
  const above = path.indexOf(value)
  if (above >= 0) return `^${path.length - above}`
  const inner = [...path, value]
  const list = (items: Iterable<unknown>): string => Array.from(items, (item) => encode(item, inner)).join(",")
  if (Array.isArray(value)) return `[${list(value)}]`
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto === Object.prototype || proto === null) return fields(value, inner)
  if (value instanceof Map) return `Map(${Array.from(value, (pair) => `[${list(pair)}]`).sort().join(",")})`
  if (value instanceof Set) return `Set(${Array.from(value, (item) => encode(item, inner)).sort().join(",")})`
  if (value instanceof Date) return `Date(${value.getTime()})`
  if (value instanceof RegExp) return `RegExp(${JSON.stringify(String(value))})`
  if (value instanceof URL) return `URL(${JSON.stringify(value.href)})`
  if (value instanceof ArrayBuffer) return `Bytes(${new Uint8Array(value).join(",")})`
  if (ArrayBuffer.isView(value)) return bytes(value)
  if (Redacted.isRedacted(value)) return `Redacted(${encode(Redacted.value(value), inner)})`
  if (Option.isOption(value)) return Option.isSome(value) ? `Some(${encode(value.value, inner)})` : "None"
  if (Result.isResult(value)) {
    return Result.isSuccess(value)
      ? `Success(${encode(value.success, inner)})`
      : `Failure(${encode(value.failure, inner)})`
  }
  if (Duration.isDuration(value)) return `Duration(${Duration.toMillis(value)})`
  if (DateTime.isDateTime(value)) {
    return DateTime.isZoned(value)
      ? `Zoned(${DateTime.formatIsoZoned(value)})`
      : `Utc(${DateTime.toEpochMillis(value)})`
  }
  if ("_tag" in value || Schema.isSchema(value.constructor)) {
    return `${value.constructor.name}:${"_tag" in value ? encode(value._tag, inner) : ""}${fields(value, inner)}`
  }
  return `#${identity(value)}`
}

const fields = (value: object, path: ReadonlyArray<object>): string =>
  `{${
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, field]) => `${JSON.stringify(name)}:${encode(field, path)}`)
      .join(",")
  }}`

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
