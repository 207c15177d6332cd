/**
 * What a foreign failure shows: one `Evidence` for the value itself and for every error below it, read once, within
 * bounds, and without trusting it (getters may throw, proxies may lie, causes may form a cycle).
 */

/** How many errors are read at most, how many members of one list, and how deep lists within lists go. */
export const limits = { errors: 4_096, members: 32, lists: 8, message: 2_048 } as const

/** An object of whose members nothing is known. */
export type Loose = { readonly [key: string]: unknown }

export const isObject = (value: unknown): value is Loose => typeof value === "object" && value !== null

const text = (value: unknown): string => typeof value === "string" ? value : ""

/** The beginning and the end of a long message: wrappers put the reason at either. */
const bounded = (message: string): string =>
  message.length <= limits.message
    ? message
    : `${message.slice(0, limits.message * 3 / 4)}\n${message.slice(-limits.message / 4)}`

const statusOf = (value: unknown): number => {
  const status = typeof value === "string" && value.length === 3 ? Number(value) : value
  return typeof status === "number" && status >= 100 && status <= 999 && Number.isInteger(status) ? status : 0
}

/** One error's facts. Absent ones are `""`, `0` or `undefined`, so that every evidence has the same shape. */
export class Evidence {
  /** The value itself. Reading it further may throw. */
  readonly value: unknown
  readonly name: string
  /** The constructor's name. */
  readonly className: string
  readonly tag: string
  /** Bounded: the beginning and the end of a long one. */
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
  /** What a response's body says of waiting. */
  readonly hint: unknown
  private lower: string | undefined

  constructor(value: unknown, facts: Loose) {
    const { code, response } = facts
    const answer = isObject(response) ? response : undefined
    this.value = value
    this.name = text(facts.name)
    this.className = typeof facts.constructor === "function" ? text(facts.constructor.name) : ""
    this.tag = text(facts._tag)
    this.code = text(code)
    this.number = typeof code === "number" ? code : undefined
    this.status = statusOf(facts.status) || statusOf(facts.statusCode) ||
      (answer === undefined ? 0 : statusOf(answer.status) || statusOf(answer.statusCode)) ||
      otherStatus(facts)
    this.details = text(facts.details)
    this.operation = text(facts.operation) || text(facts.syscall)
    this.headers = facts.headers ?? answer?.headers ?? facts.responseHeaders
    const found: Found = { codes: undefined, body: "", hint: undefined }
    collect(facts, found)
    if (answer !== undefined) {
      collectBody(answer.data, found, 0)
      collectBody(answer.body, found, 0)
    }
    this.codes = found.codes ?? none
    this.body = found.body
    this.hint = found.hint
    this.message = bounded(text(facts.message))
    this.lower = undefined
  }

  /** The message and the body's messages in lower case. */
  get text(): string {
    return this.lower ??= (this.body === "" ? this.message : `${this.message}\n${this.body}`).toLowerCase()
  }
}

const none: ReadonlyArray<string> = []

interface Found {
  codes: Array<string> | undefined
  body: string
  hint: unknown
}

const otherStatus = (facts: Loose): number => {
  const { $metadata, $response, meta, output, httpStatus, httpStatusCode, status_code, http_status } = facts
  return (isObject($metadata) ? statusOf($metadata.httpStatusCode) : 0) ||
    (isObject($response) ? statusOf($response.statusCode) : 0) ||
    (isObject(output) ? statusOf(output.statusCode) : 0) ||
    (isObject(meta) ? statusOf(meta.statusCode) : 0) ||
    statusOf(httpStatus) || statusOf(httpStatusCode) || statusOf(status_code) || statusOf(http_status)
}

const add = (found: Found, code: unknown): void => {
  if (typeof code === "string" && code !== "" && code.length <= 128) {
    if (found.codes === undefined) found.codes = [code]
    else found.codes.push(code)
  }
}

const collect = (facts: Loose, found: Found): void => {
  add(found, facts.type)
  add(found, facts.status)
  add(found, facts.reason)
  add(found, facts.sqlState)
  add(found, facts.errorCode)
  add(found, facts.error_code)
  add(found, facts.codeName)
  add(found, facts.lc_error_code)
  add(found, facts.Code)
  add(found, facts.__type)
  const { error, meta, extensions, data, body, responseBody } = facts
  if (isObject(meta)) add(found, meta.code)
  if (isObject(extensions)) add(found, extensions.code)
  if (error !== undefined && !isError(error)) collectBody(error, found, 0)
  if (data !== undefined) collectBody(data, found, 0)
  if (body !== undefined) collectBody(body, found, 0)
  if (responseBody !== undefined) collectBody(responseBody, found, 0)
}

const collectBody = (body: unknown, found: Found, depth: number): void => {
  if (typeof body === "string") {
    found.body += `${bounded(body)}\n`
    return
  }
  if (!isObject(body) || depth > 3) return
  add(found, body.code)
  add(found, body.type)
  add(found, body.status)
  add(found, body.reason)
  add(found, body.__type)
  if (body.retryDelay !== undefined || body.retry_after !== undefined || body.retryAfter !== undefined) {
    found.hint ??= body
  }
  if (typeof body.message === "string") found.body += `${bounded(body.message)}\n`
  if (isObject(body.error) || typeof body.error === "string") collectBody(body.error, found, depth + 1)
  if (isObject(body.innererror)) collectBody(body.innererror, found, depth + 1)
  const { details } = body
  if (Array.isArray(details)) {
    for (let i = 0; i < details.length && i < limits.members; i++) collectBody(details[i], found, depth + 1)
  }
}

const isError = (value: unknown): boolean =>
  isObject(value) && (value instanceof Error || typeof value.stack === "string")

/** The value's errors from the outermost to the deepest; where one has several below it, those are branches. */
export interface Chain {
  readonly links: Array<Evidence>
  readonly branches: Array<Chain>
}

interface Walk {
  /** How many more errors may be read. */
  left: number
  seen: Set<unknown> | undefined
}

export const gather = (failure: unknown): Chain => chain(failure, { left: limits.errors, seen: undefined }, 0)

const chain = (failure: unknown, walk: Walk, lists: number): Chain => {
  const links: Array<Evidence> = []
  const branches: Array<Chain> = []
  let next: unknown = failure
  for (; walk.left > 0; walk.left--) {
    if (!isObject(next)) {
      if (links.length === 0) links.push(primitive(next))
      break
    }
    if (walk.seen !== undefined) {
      if (walk.seen.has(next)) break
      walk.seen.add(next)
    }
    const below: Array<unknown> = []
    links.push(read(next, below))
    if (below.length === 0) break
    walk.seen ??= new Set([next])
    if (below.length === 1) {
      next = below[0]
      continue
    }
    if (lists < limits.lists) { for (const member of below) branches.push(chain(member, walk, lists + 1)) }
    break
  }
  return { links, branches }
}

const primitive = (value: unknown): Evidence =>
  new Evidence(value, {
    message: typeof value === "string"
      ? value
      : typeof value === "number" || typeof value === "bigint" || typeof value === "boolean" ||
          typeof value === "symbol"
      ? String(value)
      : ""
  })

const read = (value: Loose, below: Array<unknown>): Evidence => {
  // A hostile getter may throw; Effect's way to say so would cost more than all the rest of the work.
  try {
    const evidence = new Evidence(value, value)
    children(value, below)
    return evidence
  } catch {
    const facts = snapshot(value, 0)
    below.length = 0
    children(facts, below)
    return new Evidence(value, facts)
  }
}

const nested = [
  "cause",
  "sourceError",
  "lastError",
  "originalError",
  "original",
  "parent",
  "driverError",
  "previous",
  "inner",
  "innerError"
] as const

const children = (facts: Loose, below: Array<unknown>): void => {
  for (const key of nested) push(below, facts[key])
  if (typeof facts.reason === "object") push(below, facts.reason)
  if (facts.error !== undefined && isError(facts.error)) push(below, facts.error)
  const { errors, reasons } = facts
  // Effect's Cause.
  if (Array.isArray(reasons)) {
    for (let i = 0; i < reasons.length && i < limits.members; i++) {
      const reason: unknown = reasons[i]
      if (isObject(reason)) push(below, reason.error ?? reason.defect)
    }
  }
  // A validator's issues are no errors below it.
  if (Array.isArray(errors) && facts.lastError === undefined && facts.issues === undefined) {
    for (let i = 0; i < errors.length && i < limits.members; i++) push(below, errors[i])
  }
}

const push = (below: Array<unknown>, child: unknown): void => {
  if (isObject(child) && !below.includes(child)) below.push(child)
}

const keys = [
  ...nested,
  "name",
  "constructor",
  "_tag",
  "message",
  "code",
  "status",
  "statusCode",
  "response",
  "operation",
  "syscall",
  "headers",
  "responseHeaders",
  "type",
  "reason",
  "sqlState",
  "errorCode",
  "error_code",
  "codeName",
  "lc_error_code",
  "Code",
  "__type",
  "error",
  "meta",
  "extensions",
  "data",
  "body",
  "responseBody",
  "$metadata",
  "$response",
  "output",
  "httpStatus",
  "httpStatusCode",
  "status_code",
  "http_status",
  "errors",
  "reasons",
  "details"
]

/** What can be read of an object some of whose getters throw. Objects that hold facts of their own are copied too. */
const snapshot = (value: Loose, depth: number): Loose => {
  const copy: { [key: string]: unknown } = {}
  for (const key of keys) {
    try {
      const member = value[key]
      copy[key] =
        depth < 2 && isObject(member) && (key === "response" || key === "error" || key === "body" || key === "data")
          ? snapshot(member, depth + 1)
          : member
    } catch {
      // What cannot be read shows nothing.
    }
  }
  return copy
}
