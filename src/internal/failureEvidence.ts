/**
 * What a foreign failure shows: one `Evidence` for the value itself and for every error below it, read once, within
 * bounds, and without trusting it (getters may throw, proxies may lie, causes may form a cycle).
 */

/** How many errors are read at most, how many members of one list, how deep lists within lists go, how much text. */
export const limits = { errors: 4_096, members: 32, lists: 8, head: 700, tail: 250 } as const

/** An object of whose members nothing is known. */
export type Loose = { readonly [key: string]: unknown }

export const isObject = (value: unknown): value is Loose => typeof value === "object" && value !== null

const text = (value: unknown): string => typeof value === "string" ? value : ""

/** The beginning and the end of a long message: wrappers put the reason at either. */
const bounded = (message: string): string =>
  message.length <= limits.head + limits.tail
    ? message
    : `${message.slice(0, limits.head)}\n${message.slice(-limits.tail)}`

const statusOf = (value: unknown): number => {
  const status = typeof value === "string" && value.length === 3 ? Number(value) : value
  return typeof status === "number" && status >= 100 && status <= 999 && Number.isInteger(status) ? status : 0
}

const none: ReadonlyArray<string> = []

/** One error's facts. Absent ones are `""`, `0` or `undefined`, so that every evidence has the same shape. */
export class Evidence {
  /** The value itself. Reading it further may throw. */
  readonly value: unknown
  readonly name: string
  readonly tag: string
  readonly message: string
  readonly code: string
  /** `code` where it is a number. */
  readonly number: number | undefined
  /** The HTTP status, or 0. */
  readonly status: number
  /** Other codes than `code`, of the error and of its response's body: `type`, `reason`, `sqlState` and the like. */
  readonly codes: ReadonlyArray<string>
  /** gRPC's own words. */
  readonly details: string
  /** What a client was doing: a system call such as `connect`, or `connect`, `query`, `commit` of a database client. */
  readonly operation: string
  /** The response's headers as the client keeps them: a plain object, `Headers`, a `Map`, or pairs. */
  readonly headers: unknown
  /** Messages of the response's body. */
  readonly body: string
  /** The part of the response's body that tells of waiting. */
  readonly hint: unknown
  private lower: string | undefined
  private made: string | undefined

  constructor(value: unknown, facts: Loose, below: Below) {
    const { _tag, cause, errors, message, name } = facts
    this.value = value
    this.name = text(name)
    this.tag = text(_tag)
    this.message = typeof message === "string" ? bounded(message) : ""
    this.lower = undefined
    this.made = undefined
    if (isObject(cause)) below.add(cause)

    const found: Found = { codes: undefined, body: "", hint: undefined }
    let code = ""
    let codeNumber: number | undefined
    let number = 0
    let response: unknown
    let headers: unknown
    let operation = ""
    let details = ""
    let latest = false
    // Errors hold few of the many members that may tell something: to go by those it has is faster than to ask for all.
    if (typeof message === "string" || hasMembers(facts)) {
      for (const key in facts) {
        switch (key) {
          case "code":
            if (typeof facts.code === "number") codeNumber = facts.code
            else code = text(facts.code)
            break
          case "status":
            number = statusOf(facts.status) || number
            add(found, facts.status)
            break
          case "response":
            response = facts.response
            break
          case "type":
          case "errno":
          case "sqlState":
          case "sqlstate":
          case "errorCode":
          case "error_code":
          case "codeName":
          case "lc_error_code":
          case "Code":
          case "__type":
            add(found, facts[key])
            break
          case "reason": {
            const { reason } = facts
            if (isObject(reason)) below.add(reason)
            else add(found, reason)
            break
          }
          case "sourceError":
          case "originalError":
          case "original":
          case "parent":
          case "driverError":
          case "previous":
          case "inner":
          case "innerError":
            if (isObject(facts[key])) below.add(facts[key])
            break
          case "lastError":
          case "lastNodeError":
            if (isObject(facts[key])) {
              below.add(facts[key])
              latest = true
            }
            break
          case "error":
            if (isError(facts.error)) below.add(facts.error)
            else readBody(facts.error, found, 0)
            break
          case "data":
          case "body":
          case "responseBody":
            readBody(facts[key], found, 0)
            break
          // Apollo.
          case "graphQLErrors":
            readBodies(facts.graphQLErrors, found, 0)
            break
          // A validator's issues are no errors below it.
          case "issues":
            latest = true
            break
          // Effect's Cause.
          case "reasons":
            readCause(facts.reasons, below)
            break
          case "extensions":
            if (isObject(facts.extensions)) add(found, facts.extensions.code)
            break
          case "statusCode":
          case "httpStatus":
          case "httpStatusCode":
          case "status_code":
          case "http_status":
            number ||= statusOf(facts[key])
            break
          case "$metadata":
            if (isObject(facts.$metadata)) number ||= statusOf(facts.$metadata.httpStatusCode)
            break
          case "$response":
          case "output":
          case "meta": {
            const member = facts[key]
            if (isObject(member)) {
              number ||= statusOf(member.statusCode)
              headers ??= member.headers
              add(found, member.code)
              if (member.body !== undefined) readBody(member.body, found, 0)
            }
            break
          }
          case "headers":
          case "responseHeaders":
            headers ??= facts[key]
            break
          case "operation":
          case "syscall":
            operation ||= text(facts[key])
            break
          case "details":
            details = text(facts.details)
            break
        }
      }
    }
    // got hides it.
    if (code === "ERR_NON_2XX_3XX_RESPONSE") response ??= facts.response
    if (isObject(response)) {
      const answer = readResponse(response, found)
      number ||= answer.status
      headers ??= answer.headers
    }
    // A response that was thrown has its headers on its prototype.
    if (number !== 0 && headers === undefined) headers = facts.headers
    if (errors !== undefined && !latest) readList(errors, below)
    this.code = code
    this.number = codeNumber
    this.status = number
    this.headers = headers
    this.operation = operation
    this.details = details
    this.codes = found.codes ?? none
    this.body = found.body
    this.hint = found.hint
  }

  /** The message and the body's messages in lower case. */
  get text(): string {
    return this.lower ??= (this.body === "" ? this.message : `${this.message}\n${this.body}`).toLowerCase()
  }

  /** The constructor's name. */
  get className(): string {
    return this.made ??= classOf(this.value)
  }
}

/** Thrown arrays, buffers and boxed strings have as many members as they have items, and none that tells anything. */
const hasMembers = (facts: Loose): boolean =>
  !Array.isArray(facts) && !ArrayBuffer.isView(facts) && typeof facts.charCodeAt !== "function"

const classOf = (value: unknown): string => {
  if (!isObject(value)) return ""
  // The value may be hostile.
  try {
    return typeof value.constructor === "function" ? text(value.constructor.name) : ""
  } catch {
    return ""
  }
}

const isError = (value: unknown): boolean =>
  isObject(value) && (value instanceof Error || typeof value.stack === "string")

interface Found {
  codes: Array<string> | undefined
  body: string
  hint: unknown
}

const add = (found: Found, code: unknown): void => {
  if (typeof code !== "string" || code === "" || code.length > 128) return
  if (found.codes === undefined) found.codes = [code]
  else found.codes.push(code)
}

/** What OAuth and Slack answer as `error`: `invalid_grant`, `ratelimited`. */
const codeAlone = /^[a-z]{2,20}(?:_[a-z]{2,20}){0,6}$/

const readBody = (body: unknown, found: Found, depth: number): void => {
  if (typeof body === "string") {
    if (codeAlone.test(body)) add(found, body)
    if (found.body.length < limits.head) found.body += `${bounded(body)}\n`
    return
  }
  if (!isObject(body) || depth > 3) return
  // A hostile body must not hide the error that holds it.
  try {
    readMembers(body, found, depth)
  } catch {
    // What was read so far counts.
  }
}

const readMembers = (body: Loose, found: Found, depth: number): void => {
  const {
    code,
    details,
    error,
    errors,
    extensions,
    innererror,
    message,
    reason,
    retryAfter,
    retryDelay,
    retry_after,
    status,
    type
  } = body
  add(found, code)
  add(found, type)
  add(found, status)
  add(found, reason)
  add(found, body.__type)
  if (retryDelay !== undefined || retry_after !== undefined || retryAfter !== undefined) found.hint ??= body
  if (typeof message === "string" && found.body.length < limits.head) found.body += `${bounded(message)}\n`
  if (error !== undefined) readBody(error, found, depth + 1)
  if (innererror !== undefined) readBody(innererror, found, depth + 1)
  if (isObject(extensions)) add(found, extensions.code)
  readBodies(details, found, depth + 1)
  readBodies(errors, found, depth + 1)
}

const readBodies = (bodies: unknown, found: Found, depth: number): void => {
  if (!Array.isArray(bodies)) return
  for (let i = 0; i < bodies.length && i < limits.members; i++) readBody(bodies[i], found, depth)
}

const readList = (errors: unknown, below: Below): void => {
  if (!Array.isArray(errors)) return
  below.several = true
  for (let i = 0; i < errors.length && i < limits.members; i++) below.add(errors[i])
}

interface Answer {
  readonly status: number
  readonly headers: unknown
}

const noAnswer: Answer = { status: 0, headers: undefined }

const readResponse = (response: Loose, found: Found): Answer => {
  // As with a body.
  try {
    const { body, data, errors, headers, status, statusCode } = response
    readBody(data ?? body, found, 0)
    readBodies(errors, found, 0)
    return { status: statusOf(status) || statusOf(statusCode), headers }
  } catch {
    return noAnswer
  }
}

const readCause = (reasons: unknown, below: Below): void => {
  if (!Array.isArray(reasons)) return
  below.several = true
  for (let i = 0; i < reasons.length && i < limits.members; i++) {
    const reason: unknown = reasons[i]
    if (isObject(reason)) below.add(reason.error ?? reason.defect)
  }
}

/** The errors right below one. Most have at most one. */
class Below {
  first: Loose | undefined = undefined
  others: Array<Loose> | undefined = undefined
  /** Whether there is a list among them: failures beside each other, where others are views of one. */
  several = false

  add(error: unknown): void {
    if (!isObject(error) || error === this.first) return
    if (this.first === undefined) this.first = error
    else if (this.others === undefined) this.others = [error]
    else if (!this.others.includes(error)) this.others.push(error)
  }
}

/** The value's errors from the outermost to the deepest; where one has several below it, those are branches. */
export interface Chain {
  readonly links: Array<Evidence>
  readonly branches: ReadonlyArray<Chain>
  /** Whether the branches are failures beside each other, and not views of one. */
  readonly several?: boolean
}

const unbranched: ReadonlyArray<Chain> = []

interface Walk {
  /** How many more errors may be read. */
  left: number
  readonly seen: Array<unknown>
  /** Instead of `seen`, once there are many. */
  many: Set<unknown> | undefined
}

/** Whether the error was met before; if not, it is noted. */
const met = (walk: Walk, error: unknown): boolean => {
  if (walk.many === undefined) {
    if (walk.seen.includes(error)) return true
    walk.seen.push(error)
    if (walk.seen.length > 16) walk.many = new Set(walk.seen)
    return false
  }
  if (walk.many.has(error)) return true
  walk.many.add(error)
  return false
}

export const gather = (failure: unknown): Chain => {
  if (!isObject(failure)) return { links: [primitive(failure)], branches: unbranched }
  const below = new Below()
  const evidence = read(failure, below)
  if (below.first === undefined) return { links: [evidence], branches: unbranched }
  const walk: Walk = { left: limits.errors, seen: [failure], many: undefined }
  return descend([evidence], below, walk, 0)
}

const descend = (links: Array<Evidence>, from: Below, walk: Walk, lists: number): Chain => {
  let below = from
  while (below.first !== undefined) {
    if (below.others !== undefined) {
      if (lists >= limits.lists) break
      const branches = [below.first, ...below.others].map((error) => branch(error, walk, lists + 1))
      return { links, branches, several: below.several }
    }
    if (walk.left <= 0 || met(walk, below.first)) break
    walk.left--
    const error = below.first
    below = new Below()
    links.push(read(error, below))
  }
  return { links, branches: unbranched }
}

const branch = (error: Loose, walk: Walk, lists: number): Chain => {
  const below = new Below()
  below.add(error)
  return descend([], below, walk, lists)
}

const primitive = (value: unknown): Evidence =>
  new Evidence(value, {
    message: typeof value === "string"
      ? value
      : typeof value === "number" || typeof value === "bigint" || typeof value === "boolean" ||
          typeof value === "symbol"
      ? String(value)
      : ""
  }, new Below())

const read = (value: Loose, below: Below): Evidence =>
  attempt(value, value, below) ?? attempt(value, snapshot(value, isObject), below) ??
    attempt(value, snapshot(value, () => false), below) ?? new Evidence(value, {}, below)

/** A hostile getter may throw; Effect's way to say so would cost more than all the rest of the work. */
const attempt = (value: Loose, facts: Loose, below: Below): Evidence | undefined => {
  try {
    return new Evidence(value, facts, below)
  } catch {
    below.first = undefined
    below.others = undefined
    below.several = false
    return undefined
  }
}

const keys = `_tag cause code errors message name response status type errno sqlState reason sourceError originalError
  original parent driverError lastError error data body responseBody statusCode headers operation syscall details
  $metadata stack`.split(/\s+/)

/** What can be read of an object some of whose getters throw: plain values, and such objects as are wanted. */
const snapshot = (value: Loose, wanted: (member: unknown) => boolean): Loose => {
  const copy: { [key: string]: unknown } = {}
  for (const key of keys) {
    try {
      const member = value[key]
      if (!isObject(member) || wanted(member)) copy[key] = member
    } catch {
      // What cannot be read shows nothing.
    }
  }
  return copy
}
