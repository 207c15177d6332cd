import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Duration, Effect, type Layer, Result, Schema } from "effect"
import * as Classifier from "../src/Classifier.ts"
import { statusInText } from "../src/internal/classificationTexts.ts"
import { rebuild } from "../src/internal/errorShape.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import { mayRetry, ProviderError, RateLimitError, reasons, type ReasonTag, table } from "../src/ProviderError.ts"
import { families } from "./errorFamilies.ts"
import { shapes } from "./errorShapes.ts"

const { classify } = Classifier
const context = { provider: "openai", operation: "search" }

const withMessage = (message: string, fields?: object) => Object.assign(new Error(message), fields)

// -- the table of real shapes ----------------------------------------------------------------------------------------

it("accepts the categories of at least 97 % of the recorded shapes", () => {
  const wrong = shapes.filter(({ accept, error }) => !accept.includes(classify(rebuild(error)).category))
  assert.isAtLeast(shapes.length, 133)
  assert.isAtMost(wrong.length / shapes.length, 0.03, wrong.map(({ id }) => id).join())
})

it("retries no recorded shape that is hopeless, and all that are worth it", () => {
  const retried = (retryable: boolean) =>
    shapes.filter((shape) => shape.retryable === retryable && classify(rebuild(shape.error)).retryable !== retryable)
  assert.deepStrictEqual(retried(false).map(({ id }) => id), [])
  assert.deepStrictEqual(retried(true).map(({ id }) => id), [])
})

for (const [family, rows] of Object.entries(families)) {
  it(`knows the errors of ${family}`, () => {
    const wrong = rows.flatMap(([error, accept, retryable]) => {
      const found = classify(rebuild(error))
      return accept.split(" ").includes(found.category) && (retryable === null || retryable === found.retryable)
        ? []
        : [`${found.category} by ${found.rule}: ${JSON.stringify(error)}`]
    })
    assert.deepStrictEqual(wrong, [])
  })
}

// -- the specification's scenarios -----------------------------------------------------------------------------------

it("scenario 1: status 429 with any text is RATE_LIMIT and retried", () => {
  const found = classify({ status: 429, message: "validation failed for 401 and 503 items" })
  assert.strictEqual(found.category, "RATE_LIMIT")
  assert.strictEqual(found.verdicts.retry, "Always")
})

it("scenario 2: \"Unauthorized - 401\" is AUTHENTICATION and not retried", () => {
  const found = classify(new Error("Unauthorized - 401"))
  assert.strictEqual(found.category, "AUTHENTICATION")
  assert.strictEqual(found.verdicts.retry, "Never")
})

it("scenario 3: status 403 is AUTHORIZATION", () => {
  assert.strictEqual(classify({ status: 403 }).category, "AUTHORIZATION")
})

it("scenario 4: 404 is NOT_FOUND; 400, 409, 413 and 422 are the caller's; none is retried", () => {
  assert.strictEqual(classify({ status: 404 }).category, "NOT_FOUND")
  for (const status of [400, 409, 413, 422]) {
    assert.include(["INVALID_REQUEST", "VALIDATION"], classify({ status }).category)
  }
  for (const status of [400, 404, 409, 413, 422]) {
    const { breaker, fallback, retry } = classify({ status }).verdicts
    assert.deepStrictEqual([retry, fallback, breaker], ["Never", "Stop", "Success"])
  }
})

it("scenario 5: digits within words and amounts are no status", () => {
  for (const text of ["Processed 1500 documents", "file_4003", "took 503 ms", "500 documents were read", "v4.0.4"]) {
    assert.strictEqual(classify(new Error(text)).category, "UNKNOWN", text)
  }
})

it("scenario 6: ECONNREFUSED, ECONNRESET and EAI_AGAIN are NETWORK, however deep", () => {
  for (const code of ["ECONNREFUSED", "ECONNRESET", "EAI_AGAIN"]) {
    const failure = withMessage("x", { code })
    assert.strictEqual(classify(failure).category, "NETWORK")
    assert.strictEqual(
      classify(new Error("a", { cause: new TypeError("fetch failed", { cause: failure }) })).category,
      "NETWORK"
    )
  }
})

it("scenario 7: a timeout is TIMEOUT, 504 is SERVICE_UNAVAILABLE", () => {
  assert.strictEqual(classify(new Error("Request timeout")).category, "TIMEOUT")
  assert.strictEqual(classify(new DOMException("The operation timed out", "TimeoutError")).category, "TIMEOUT")
  assert.strictEqual(classify(new Cause.TimeoutError()).category, "TIMEOUT")
  assert.strictEqual(classify({ status: 504 }).category, "SERVICE_UNAVAILABLE")
})

it("scenario 8: a 429 for want of credit is not retried and opens the circuit for long", () => {
  const codes = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached"
  ]
  for (const code of codes) {
    const found = classify({ status: 429, code, headers: { "retry-after": "1" } })
    assert.deepStrictEqual([found.category, found.detail, found.severity], [
      "CONFIGURATION",
      "QuotaExhausted",
      "Critical"
    ])
    assert.deepStrictEqual(found.verdicts, {
      retry: "Never",
      fallback: "Next",
      breaker: "Failure",
      openForMillis: 300_000
    })
  }
})

it("scenario 9: what says nothing is UNKNOWN and not retried; neither is a bug nor a cancellation", () => {
  assert.strictEqual(classify(new Error("Something weird happened")).category, "UNKNOWN")
  const bug = classify(new TypeError("Cannot read properties of undefined (reading 'timeout')"))
  const abort = classify(new DOMException("This operation was aborted", "AbortError"))
  for (const [found, detail] of [[bug, "Defect"], [abort, "Cancelled"]] as const) {
    assert.deepStrictEqual([found.category, found.detail], ["UNKNOWN", detail])
    assert.strictEqual(found.verdicts.retry, "Never")
    assert.strictEqual(found.verdicts.breaker, "Ignored")
  }
})

it("scenario 10: whether the work may be repeated decides on the same error", () => {
  const reset = withMessage("read ECONNRESET", { code: "ECONNRESET" })
  assert.isTrue(classify(reset, { idempotent: true }).retryable)
  assert.isFalse(classify(reset, { idempotent: false }).retryable)
  // Nothing was delivered: even a write may be repeated.
  const refused = withMessage("connect ECONNREFUSED", { code: "ECONNREFUSED" })
  assert.isTrue(classify(refused, { idempotent: false }).retryable)
  assert.isTrue(mayRetry(Classifier.toError(refused, context), false))
  assert.isFalse(mayRetry(Classifier.toError(reset, context), false))
})

// -- evidence --------------------------------------------------------------------------------------------------------

it("the phase decides what was delivered", () => {
  const lost = withMessage("Connection closed")
  assert.deepStrictEqual(classify(lost, { phase: "connect" }).delivered, "no")
  assert.deepStrictEqual(classify(lost, { phase: "connect" }).verdicts.retry, "Always")
  assert.deepStrictEqual(classify(lost, { phase: "query" }).verdicts.retry, "IfIdempotent")
  const deadlock = withMessage("deadlock detected", { code: "40P01" })
  assert.deepStrictEqual(classify(deadlock, { phase: "commit" }).verdicts.retry, "Always")
  assert.deepStrictEqual(
    classify(withMessage("x", { status: 503 }), { phase: "commit" }).verdicts.retry,
    "IfIdempotent"
  )
  assert.deepStrictEqual(classify(withMessage("x", { code: "40003" })).verdicts.retry, "Never")
})

it("a 404 stays one whatever its text says of limits and networks", () => {
  for (const message of ["connection refused by upstream", "rate limit exceeded", "gateway timeout"]) {
    assert.strictEqual(classify({ status: 404, message }).category, "NOT_FOUND", message)
  }
})

it("digits are a status where a text states them as one", () => {
  assert.deepStrictEqual(
    ["404 not found", "error: 503: gone fishing", "502 bad gateway", "502 apples", "port 5432", "500 method not mine"]
      .map(statusInText),
    [404, 503, 502, 0, 0, 500]
  )
})

it("x-should-retry counts on whichever error of the chain it stands", () => {
  const cause = { headers: new Headers({ "x-should-retry": "false" }) }
  assert.strictEqual(classify(withMessage("hung up", { code: "ECONNRESET", cause })).verdicts.retry, "Never")
})

it("x-should-retry overrides the verdict, but not for what is hopeless", () => {
  const at = (status: number, should: string, code?: string) =>
    classify({ status, code, headers: new Headers({ "x-should-retry": should }) }).verdicts.retry
  assert.strictEqual(at(500, "false"), "Never")
  assert.strictEqual(at(409, "true"), "IfIdempotent")
  assert.strictEqual(at(401, "true"), "Never")
  assert.strictEqual(at(429, "true", "insufficient_quota"), "Never")
})

it("among the members of a list the hopeless one decides", () => {
  const refused = withMessage("x", { code: "ECONNREFUSED" })
  const expired = withMessage("x", { code: "CERT_HAS_EXPIRED" })
  for (const errors of [[refused, expired], [expired, refused]]) {
    assert.strictEqual(classify(new AggregateError(errors)).category, "CONFIGURATION")
  }
})

it("refusals of our own never count against a provider", () => {
  const refusals = {
    CircuitOpen: "SERVICE_UNAVAILABLE",
    BulkheadFull: "SERVICE_UNAVAILABLE",
    RateLimited: "RATE_LIMIT",
    DeadlineExceeded: "TIMEOUT",
    LevelTooLow: "SERVICE_UNAVAILABLE"
  }
  for (const [_tag, category] of Object.entries(refusals)) {
    const found = classify({ _tag, retryAfter: Duration.seconds(2) })
    assert.strictEqual(found.category, category)
    assert.strictEqual(found.verdicts.breaker, "Ignored")
    assert.strictEqual(found.retryAfterMillis, 2_000)
  }
})

it("tells how long to wait: headers, fields, words", () => {
  const now = Date.UTC(2026, 10, 23, 12, 0, 0)
  const waits: ReadonlyArray<readonly [unknown, number | undefined]> = [
    [{ status: 429, headers: { "Retry-After": "7" } }, 7_000],
    [{ status: 429, headers: new Headers({ "retry-after-ms": "1500.5", "retry-after": "9" }) }, 1_500.5],
    [{ status: 503, response: { headers: new Map([["retry-after", "3"]]) } }, 3_000],
    [{ statusCode: 503, responseHeaders: { "retry-after": "Mon, 23 Nov 2026 12:00:30 GMT" } }, 30_000],
    [{
      status: 503,
      headers: { "retry-after": "Mon, 23 Nov 2026 13:00:30 GMT", date: "Mon, 23 Nov 2026 13:00:00 GMT" }
    }, 30_000],
    [{ status: 429, headers: { "retry-after": "-5" } }, undefined],
    [{ status: 429, headers: { "retry-after": "soon" } }, undefined],
    [{ status: 429, headers: { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" } }, 360_000],
    [{ status: 429, message: "Rate limit reached. Please try again in 644ms." }, 644],
    [{ status: 429, message: "Please retry after 54 seconds." }, 54_000],
    [{ status: 429, error: { status: "RESOURCE_EXHAUSTED", details: [{ retryDelay: "32s" }] } }, 32_000],
    [{ status: 429, retry_after: 5 }, 5_000],
    [{ status: 500, message: "x" }, undefined]
  ]
  for (const [failure, wait] of waits) assert.strictEqual(classify(failure, { now }).retryAfterMillis, wait)
})

it("keeps the category's evidence in the error, and the foreign failure beside it", () => {
  const failure = withMessage("503 overloaded, key sk-proj-abcdefghijklmnop", {
    status: 503,
    headers: { "retry-after": "2" }
  })
  const error = Classifier.toError(failure, { ...context, correlationId: "c1" })
  assert.strictEqual(error.reason._tag, "ServiceUnavailableError")
  assert.strictEqual(error.reason.status, 503)
  assert.strictEqual(error.reason.rule, "http-status:503")
  assert.deepStrictEqual(error.retryAfter, Duration.seconds(2))
  assert.strictEqual(error.cause, failure)
  assert.strictEqual(error.correlationId, "c1")
  assert.notInclude(error.message, "abcdefghijklmnop")
  assert.strictEqual(Classifier.toError(error, { provider: "b", operation: "c" }), error)
})

it("of several errors all must say that nothing was done, or the work may have been", () => {
  const refused = withMessage("", { code: "ECONNREFUSED", syscall: "connect" })
  const timedOut = withMessage("", { code: "ETIMEDOUT", syscall: "connect" })
  const reset = withMessage("", { code: "ECONNRESET", syscall: "read" })
  const busy = withMessage("", { status: 503 })
  const lists: ReadonlyArray<readonly [ReadonlyArray<unknown>, "Always" | "IfIdempotent"]> = [
    [[refused, timedOut], "Always"],
    [[refused, busy], "Always"],
    [[refused, reset], "IfIdempotent"],
    [[reset, refused], "IfIdempotent"],
    [[busy, reset], "IfIdempotent"],
    [[refused, new Error("socket hang up")], "IfIdempotent"],
    [[refused, new Error("odd")], "IfIdempotent"],
    [[refused, new AggregateError([refused, reset])], "IfIdempotent"]
  ]
  for (const [errors, retry] of lists) {
    for (const failure of [new AggregateError(errors), new TypeError("fetch failed", { cause: { errors } })]) {
      assert.strictEqual(classify(failure).verdicts.retry, retry)
      if (retry !== "Always") assert.notStrictEqual(classify(failure).delivered, "no")
    }
    assert.strictEqual(classify(new AggregateError(errors), { phase: "connect" }).verdicts.retry, "Always")
  }
})

it("what was classified before stays so, wrapped, and out of a log", () => {
  const quota = Classifier.toError({ status: 429, code: "insufficient_quota" }, context)
  const limited = Classifier.toError({ status: 429, headers: { "retry-after": "3600" } }, context)
  for (const error of [quota, limited]) {
    const logged: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(ProviderError)(error)))
    for (const again of [error, new Error("plain", { cause: error }), logged]) {
      const found = classify(again)
      assert.strictEqual(found.tag, error.reason._tag)
      assert.deepStrictEqual(found.verdicts, error.verdicts)
      assert.strictEqual(found.severity, error.severity)
      assert.strictEqual(found.retryAfterMillis, error.retryAfter && Duration.toMillis(error.retryAfter))
    }
  }
})

// -- rules of one's own ----------------------------------------------------------------------------------------------

it("rules of one's own go first, in order; the built-in ones follow", () => {
  const busy = Classifier.when("busy", { code: ["BUSY"], text: "later" }, { tag: "TemporaryFailureError" })
  const teapot = Classifier.when("teapot", { status: 418 }, { tag: "CriticalError", rule: "teapot:418" })
  const never: Classifier.Rule = {
    name: "never",
    reads: ["text"],
    decide: () => {
      throw new Error("a rule's own bug")
    }
  }
  const ours = Classifier.make({ rules: [never, busy, teapot] })
  assert.deepStrictEqual(busy.reads, ["code", "text"])
  const found = ours.classify(withMessage("Try LATER", { code: "BUSY", status: 401 }))
  assert.deepStrictEqual([found.tag, found.rule], ["TemporaryFailureError", "busy"])
  assert.strictEqual(ours.classify({ code: "BUSY", status: 401 }).tag, "AuthenticationError")
  assert.strictEqual(ours.classify(new Error("x", { cause: { status: 418 } })).rule, "teapot:418")
  assert.strictEqual(classify({ status: 418 }).tag, "InvalidRequestError")
})

it("a rule as data refuses a decision that makes no sense, by field", () => {
  const field = (decision: Classifier.Decision) => {
    const made = Result.try(() => Classifier.when("odd", { status: 418 }, decision))
    const error = Result.isFailure(made) ? made.failure : undefined
    return error instanceof InvalidOptions ? `${error.module} ${error.field}` : undefined
  }
  // @ts-expect-error no such category
  assert.strictEqual(field({ tag: "TeapotError" }), "Classifier tag")
  const tag = "ConfigurationError"
  assert.strictEqual(field({ tag, overrides: { openForMillis: Infinity } }), "Classifier overrides.openForMillis")
  // @ts-expect-error no such verdict
  assert.strictEqual(field({ tag, overrides: { retry: "Sometimes" } }), "Classifier overrides.retry")
  assert.isUndefined(field({ tag, overrides: { openForMillis: 1_000 } }))
})

it("one provider's classifier can be swapped", () => {
  const ledger = Classifier.make({ rules: [Classifier.when("r", { name: "LedgerError" }, { tag: "NotFoundError" })] })
  const ours = Classifier.make({ providers: { ledger } })
  const failure = Object.assign(new Error("x"), { name: "LedgerError" })
  assert.strictEqual(ours.classify(failure, { provider: "ledger" }).tag, "NotFoundError")
  assert.strictEqual(ours.classify(failure, { provider: "other" }).tag, "UnknownError")
})

it.effect("a Layer puts rules in front", () =>
  Effect.gen(function*() {
    const classifier = yield* Classifier.Classifier
    assert.strictEqual(classifier.classify({ status: 418 }).rule, "mine")
  }).pipe(
    Effect.provide(Classifier.layer({ rules: [Classifier.when("mine", { status: 418 }, { tag: "NotFoundError" })] }))
  ))

it.effect("without a Layer the built-in rules are in force", () =>
  Effect.gen(function*() {
    const classifier = yield* Classifier.Classifier
    assert.strictEqual(classifier.classify({ status: 503 }).rule, "http-status:503")
  }))

it("every built-in rule has a name of its own and tells what it reads", () => {
  const names = Classifier.builtInRules.map(({ name }) => name)
  assert.strictEqual(new Set(names).size, names.length)
  for (const { reads } of Classifier.builtInRules) assert.isAbove(reads.length, 0)
})

it("types: the context of an error is asked for, the layer needs nothing", () => {
  expectTypeOf(Classifier.toError).parameter(1).toEqualTypeOf<Classifier.FailureContext>()
  expectTypeOf(Classifier.layer).returns.toEqualTypeOf<Layer.Layer<never>>()
  expectTypeOf<Classifier.Classification["tag"]>().toEqualTypeOf<ReasonTag>()
})

// -- properties ------------------------------------------------------------------------------------------------------

const Shape = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: shapes.length - 1 }))
const known = (category: string): boolean => Object.values(table).some((row) => row.category === category)

it.prop("total and deterministic on any JSON value", { value: Schema.Json }, ({ value }) => {
  const found = classify(value)
  assert.isTrue(known(found.category))
  assert.strictEqual(JSON.stringify(classify(value)), JSON.stringify(found))
})

const Field = Schema.Literals([
  "name",
  "message",
  "code",
  "status",
  "statusCode",
  "headers",
  "response",
  "error",
  "errors",
  "cause",
  "reason",
  "body",
  "data",
  "_tag",
  "details",
  "type",
  "constructor"
])
const Hostility = Schema.Literals(["throws", "json", "itself", "proxy", "function", "symbol", "huge", "list"])

it.prop(
  "total on hostile objects: what can be read counts",
  { fields: Schema.Array(Schema.Tuple([Field, Hostility, Schema.Json])), proxied: Schema.Boolean },
  ({ fields, proxied }) => {
    const hostile: object = {}
    const boom = () => {
      throw new Error("hostile")
    }
    const proxy = new Proxy({}, {
      get: boom,
      has: boom,
      ownKeys: boom,
      getPrototypeOf: boom,
      getOwnPropertyDescriptor: boom
    })
    for (const [key, how, json] of fields) {
      Object.defineProperty(hostile, key, {
        configurable: true,
        enumerable: true,
        get: () => {
          switch (how) {
            case "throws":
              return boom()
            case "json":
              return json
            case "itself":
              return hostile
            case "proxy":
              return proxy
            case "function":
              return boom
            case "symbol":
              return Symbol("hostile")
            case "huge":
              return "x".repeat(100_000)
            case "list":
              return [hostile, proxy, json]
          }
        }
      })
    }
    for (const value of proxied ? [new Proxy(hostile, {}), proxy] : [hostile]) {
      const found = classify(value)
      assert.isTrue(known(found.category))
      assert.isAtMost(found.message.length, 500)
      assert.isString(JSON.stringify(found))
      assert.instanceOf(Classifier.toError(value, context), ProviderError)
    }
  }
)

it("one throwing getter hides nothing but itself", () => {
  const failure = Object.defineProperty({ status: 401, message: "no" }, "headers", {
    enumerable: true,
    get: () => {
      throw new Error("hostile")
    }
  })
  assert.strictEqual(classify(failure).category, "AUTHENTICATION")
})

it("total on what is no error", () => {
  const values = [
    undefined,
    null,
    0,
    Number.NaN,
    1n,
    true,
    "",
    Symbol("s"),
    () => 1,
    [],
    new Date(),
    new Map(),
    /x/,
    Object.create(null)
  ]
  for (const value of values) assert.strictEqual(classify(value).category, "UNKNOWN")
  assert.strictEqual(
    classify(new Response("", { status: 503, headers: { "retry-after": "4" } })).retryAfterMillis,
    4_000
  )
})

it("an error 1,000 causes deep, a cycle, 10 MB of message and of members are bounded work", () => {
  let deep: unknown = withMessage("x", { code: "ECONNREFUSED" })
  for (let i = 0; i < 1_000; i++) deep = new Error("wrapped", { cause: deep })
  assert.strictEqual(classify(deep).category, "NETWORK")
  const cycle = withMessage("round")
  cycle.cause = withMessage("and round", { cause: cycle })
  assert.strictEqual(classify(cycle).category, "UNKNOWN")
  const wide: Error = new AggregateError(Array.from({ length: 100_000 }, () => new Error("x")))
  const nested = Array.from({ length: 40 }).reduce<Error>(
    (inner) => new AggregateError([inner, inner, new Error("y")]),
    wide
  )
  assert.strictEqual(classify(nested).category, "UNKNOWN")
  const long = classify(new Error(`${"x".repeat(10_000_000)} password authentication failed`))
  assert.strictEqual(long.category, "AUTHENTICATION")
  assert.isAtMost(long.message.length, 500)
  assert.strictEqual(classify(new Uint8Array(10_000_000)).category, "UNKNOWN")
})

it.prop(
  "wrapping an error in any number of plain causes changes nothing",
  {
    shape: Shape,
    wraps: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60 })),
    word: Schema.Literals(["", "wrapped", "Query failed"])
  },
  ({ shape, word, wraps }) => {
    const error = rebuild(shapes[shape]!.error)
    // What was no object cannot be told from an empty cause.
    if (typeof error !== "object" || error === null) return
    let wrapped: unknown = error
    for (let i = 0; i < wraps; i++) wrapped = new Error(word, { cause: wrapped })
    const before = classify(error)
    const after = classify(wrapped)
    assert.deepStrictEqual(
      [after.category, after.rule, after.verdicts, after.detail, after.retryAfterMillis, after.status],
      [before.category, before.rule, before.verdicts, before.detail, before.retryAfterMillis, before.status]
    )
  }
)

const Word = Schema.Literals([
  "documents",
  "rows",
  "file_",
  "ms",
  "tokens",
  "GB",
  "items",
  "port ",
  "took ",
  "id-",
  "#",
  "x"
])
const Digits = Schema.Literals([400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 520, 1500, 4003])

it.prop(
  "digits inside words or amounts never decide",
  { parts: Schema.Array(Schema.Tuple([Word, Digits, Word, Schema.Literals(["", " ", "_"])])) },
  ({ parts }) => {
    const text = parts.map(([before, digits, after, gap]) => `${before}${gap}${digits}${gap}${after}`).join(" and ")
    assert.strictEqual(classify(new Error(`Read ${text}`)).category, "UNKNOWN")
    assert.strictEqual(classify(withMessage(`Read ${text}`, { status: 401 })).category, "AUTHENTICATION")
  }
)

it.effect("an interruption is never classified: it passes by", () =>
  Effect.gen(function*() {
    const seen: Array<unknown> = []
    const exit = yield* Effect.interrupt.pipe(
      Effect.mapError((failure) => {
        seen.push(failure)
        return Classifier.toError(failure, context)
      }),
      Effect.exit
    )
    assert.deepStrictEqual(seen, [])
    assert.isTrue(exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause))
  }))

it("a rule can be planted that breaks the table: the tests above can fail", () => {
  const blind = Classifier.make({
    rules: [{ name: "blind", reads: ["value"], decide: () => ({ tag: "NetworkError" }) }]
  })
  const wrong = shapes.filter(({ accept, error }) => !accept.includes(blind.classify(rebuild(error)).category))
  assert.isAbove(wrong.length, 60)
  assert.strictEqual(
    new reasons.RateLimitError({ message: "", rule: "", delivered: "no" })._tag,
    RateLimitError.identifier
  )
})
