/**
 * An error written down as JSON, made an error again: `message` and `name`, the constructor's name as `class`, all else as
 * own properties; `cause`, `sourceError`, `reason` and the members of `errors` are such errors too. A thrown value that was
 * no error is `{ "thrown": "string", "value": "boom" }`.
 */
import { isObject, type Loose } from "./failureEvidence.ts"

const nested = new Set(["cause", "sourceError", "reason", "lastError", "originalError"])

// One prototype for each class, as a program has them.
const prototypes = new Map<string, object>()

const prototypeOf = (className: unknown): object => {
  if (typeof className !== "string") return Error.prototype
  const known = prototypes.get(className)
  if (known !== undefined) return known
  const made = Object.create(Error.prototype, { constructor: { value: { [className]: () => {} }[className] } })
  if (prototypes.size < 1_000) prototypes.set(className, made)
  return made
}

/** Made by hand: an `Error`'s stack would be this file's. */
const make = (shape: Loose): object => {
  const error: object = Object.create(prototypeOf(shape.class))
  for (const key of Object.keys(shape)) {
    if (key !== "class" && key !== "constructor") define(error, key, shape[key])
  }
  if (typeof shape.name !== "string" && typeof shape.class === "string") define(error, "name", shape.class)
  return error
}

const define = (error: object, key: string, value: unknown): void => {
  Object.defineProperty(error, key, { value, writable: true, enumerable: key !== "message", configurable: true })
}

const thrown = (shape: Loose): unknown =>
  shape.thrown === "undefined" ? undefined : shape.thrown === "null" ? null : shape.value

/** The error that a shape tells of. Shapes nested however deep are no danger. */
export const rebuild = (shape: Loose): unknown => {
  if (typeof shape.thrown === "string") return thrown(shape)
  const root = make(shape)
  const open: Array<object> = [root]
  const adopt = (value: unknown): unknown => {
    if (!isObject(value)) return value
    if (typeof value.thrown === "string") return thrown(value)
    const error = make(value)
    open.push(error)
    return error
  }
  for (let error = open.pop(); error !== undefined; error = open.pop()) {
    for (const [key, value] of Object.entries(error)) {
      if (nested.has(key) && isObject(value)) define(error, key, adopt(value))
      else if (key === "errors" && Array.isArray(value)) define(error, key, value.map(adopt))
    }
  }
  return root
}

const evidence = [
  "thrown",
  "name",
  "message",
  "code",
  "status",
  "statusCode",
  "_tag",
  "class",
  "type",
  "errors",
  "cause",
  "sourceError",
  "reason"
]

/** The shape in a line of a log: under `error` or `err`, or the line itself where it looks like one. */
export const shapeIn = (line: unknown): Loose | undefined => {
  if (!isObject(line) || Array.isArray(line)) return undefined
  for (const shape of [line.error, line.err]) if (isObject(shape) && !Array.isArray(shape)) return shape
  if (typeof line.error === "string" && line.message === undefined) return { ...line, message: line.error }
  return evidence.some((key) => line[key] !== undefined) ? line : undefined
}
