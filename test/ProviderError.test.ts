import { assert, expectTypeOf, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import * as Classifier from "../src/Classifier.ts"
import {
  type FinalReason,
  mayRetry,
  ProviderError,
  type RateLimitError,
  type Reason,
  reasons,
  type ReasonTag,
  type RetryableReason,
  type Row,
  table,
  verdicts
} from "../src/ProviderError.ts"

const tags = Object.keys(reasons) as ReadonlyArray<ReasonTag>
const make = (tag: ReasonTag, delivered: "no" | "unknown" | "yes" = "unknown"): ProviderError =>
  new ProviderError({
    provider: "neon",
    operation: "search",
    reason: new reasons[tag]({ message: "m", rule: "r", delivered })
  })

it("there are the specification's thirteen categories, five of them retryable", () => {
  assert.strictEqual(tags.length, 13)
  assert.deepStrictEqual(tags.map((tag) => table[tag].category), [
    "NETWORK",
    "TIMEOUT",
    "RATE_LIMIT",
    "SERVICE_UNAVAILABLE",
    "TEMPORARY_FAILURE",
    "AUTHENTICATION",
    "AUTHORIZATION",
    "INVALID_REQUEST",
    "NOT_FOUND",
    "CONFIGURATION",
    "VALIDATION",
    "UNKNOWN",
    "CRITICAL"
  ])
  assert.deepStrictEqual(tags.filter((tag) => make(tag).isRetryable), tags.slice(0, 5))
})

it("a category without a row does not compile", () => {
  const { CriticalError: _, ...without } = table
  // @ts-expect-error CriticalError has no row
  const partial: { readonly [Tag in ReasonTag]: Row } = without
  assert.notProperty(partial, "CriticalError")
})

it("retryable and final reasons are types of their own, and together all", () => {
  expectTypeOf<RetryableReason["_tag"]>().toEqualTypeOf<
    "NetworkError" | "TimeoutError" | "RateLimitError" | "ServiceUnavailableError" | "TemporaryFailureError"
  >()
  expectTypeOf<RetryableReason | FinalReason>().toEqualTypeOf<Reason>()
  expectTypeOf<Extract<RetryableReason, FinalReason>>().toBeNever()
})

it.effect("one reason is caught by its tag, and leaves the others", () =>
  Effect.gen(function*() {
    const failing: Effect.Effect<string, ProviderError> = Effect.fail(make("RateLimitError"))
    const caught = Effect.catchReason(failing, "ProviderError", "RateLimitError", (reason) => {
      expectTypeOf(reason).toEqualTypeOf<RateLimitError>()
      return Effect.succeed(reason.rule)
    })
    assert.strictEqual(yield* caught, "r")
    const other = Effect.catchReason(
      Effect.fail(make("NetworkError")),
      "ProviderError",
      "RateLimitError",
      () => Effect.succeed("caught")
    )
    assert.strictEqual((yield* Effect.flip(other)).reason._tag, "NetworkError")
  }))

it("what was surely not delivered may be repeated whatever it is; a final one never", () => {
  assert.isFalse(mayRetry(make("NetworkError"), false))
  assert.isTrue(mayRetry(make("NetworkError"), true))
  assert.isTrue(mayRetry(make("NetworkError", "no"), false))
  assert.isFalse(mayRetry(make("AuthenticationError", "no"), true))
})

it("evidence overrides single verdicts and the severity", () => {
  const changed = verdicts("RateLimitError", "yes", { retry: "Never", openForMillis: 5 })
  assert.deepStrictEqual(changed, { retry: "Never", fallback: "Next", breaker: "Ignored", openForMillis: 5 })
  const quota = Classifier.toError({ code: "insufficient_quota" }, { provider: "a", operation: "b" })
  assert.strictEqual(quota.severity, "Critical")
  assert.strictEqual(make("ConfigurationError").severity, "High")
})

it("every category has an HTTP status to be told by", () => {
  for (const tag of tags) {
    const { httpStatus } = make(tag)
    assert.isTrue(httpStatus >= 400 && httpStatus <= 504)
  }
  assert.strictEqual(make("RateLimitError").httpStatus, 429)
  assert.strictEqual(make("TimeoutError").httpStatus, 504)
})

it("crosses HTTP and logs without its cause, and comes back the same", () => {
  const secret = new Error("postgres://admin:hunter2@db/main")
  for (const tag of tags) {
    const error = new ProviderError({
      provider: "neon",
      operation: "search",
      correlationId: "c1",
      reason: new reasons[tag]({
        message: "m",
        rule: "r",
        delivered: "yes",
        status: 503,
        code: "57P01",
        retryAfter: Duration.seconds(2),
        detail: "d",
        severity: "Low",
        overrides: { retry: "Never" }
      })
    }).causedBy(secret)
    const text = JSON.stringify(Schema.encodeSync(ProviderError)(error))
    assert.notInclude(text, "hunter2")
    assert.notInclude(JSON.stringify(error), "hunter2")
    const back = Schema.decodeUnknownSync(ProviderError)(JSON.parse(text))
    assert.instanceOf(back, ProviderError)
    assert.strictEqual(back.message, error.message)
    assert.deepStrictEqual(back.verdicts, error.verdicts)
    assert.deepStrictEqual(back.reason.retryAfter, Duration.seconds(2))
    assert.isUndefined(back.cause)
    assert.strictEqual(error.cause, secret)
  }
})
