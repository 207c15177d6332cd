import { assert, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { DeadlineExceeded } from "../../src/Deadline.ts"
import { type Decision, evidenceOf, type Input, next, type RetrySettings } from "../../src/internal/retryDecision.ts"
import { ProviderError, reasons, type ReasonTag, table } from "../../src/ProviderError.ts"
import { TimedOut } from "../../src/Timeout.ts"

const category = {
  maxRetries: 3,
  baseMillis: 100,
  maxMillis: 20_000,
  multiplier: 2,
  jitter: "none",
  jitterFactor: 0.1
} as const
const settings: RetrySettings = {
  maxRetries: 3,
  maxRetryAfterMillis: 60_000,
  maxElapsedMillis: Infinity,
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys are those of the table
  categories: Object.fromEntries(Object.keys(table).map((tag) => [tag, category])) as RetrySettings["categories"]
}
const input: Input = {
  evidence: { tag: "NetworkError", verdict: "IfIdempotent" },
  idempotent: true,
  attempt: 1,
  failures: 1,
  previousDelay: 0,
  elapsed: 0,
  remaining: Infinity,
  expected: 0,
  random: () => 0,
  settings
}
const decide = (change: Partial<Input>): Decision => next({ ...input, ...change })
const why = (change: Partial<Input>) => {
  const decision = decide(change)
  return decision._tag === "GiveUp" ? decision.why : decision.delayMillis
}

it("waits the backoff where nothing speaks against it", () => {
  assert.deepStrictEqual(decide({ attempt: 3, failures: 2 }), { _tag: "Retry", delayMillis: 200, backoffMillis: 200 })
})

it("gives up with the reason that holds, just past each limit and not on it", () => {
  assert.strictEqual(why({ evidence: { tag: "AuthenticationError", verdict: "Never" } }), "NotRetryable")
  assert.strictEqual(why({ idempotent: false }), "NotIdempotent")
  assert.strictEqual(why({ idempotent: false, evidence: { tag: "NetworkError", verdict: "Always" } }), 100)
  assert.strictEqual(why({ attempt: 3 }), 100)
  assert.strictEqual(why({ attempt: 4 }), "AttemptsSpent")
  assert.strictEqual(why({ failures: 4 }), "CategorySpent")
  assert.strictEqual(why({ scheduled: "Done" }), "CategorySpent")
  assert.strictEqual(why({ scheduled: 42 }), 42)
  assert.strictEqual(why({ remaining: 100 }), 100)
  assert.strictEqual(why({ remaining: 99 }), "DeadlineTooClose")
  assert.strictEqual(why({ remaining: 150, expected: 50 }), 100)
  assert.strictEqual(why({ remaining: 150, expected: 51 }), "DeadlineTooClose")
  assert.strictEqual(why({ elapsed: 900, settings: { ...settings, maxElapsedMillis: 1000 } }), 100)
  assert.strictEqual(why({ elapsed: 901, settings: { ...settings, maxElapsedMillis: 1000 } }), "ElapsedTooLong")
})

const hinted = (retryAfterMillis: number, change: Partial<Input> = {}) =>
  why({ ...change, evidence: { tag: "RateLimitError", verdict: "Always", retryAfterMillis } })

it("Retry-After is a floor with jitter upwards, which gives way to the deadline and to maxElapsed", () => {
  assert.strictEqual(hinted(7000), 7000)
  assert.strictEqual(hinted(8000, { random: () => 0.5 }), 8800)
  assert.strictEqual(hinted(50), 100)
  assert.strictEqual(hinted(7000, { random: () => 0.5, remaining: 7300, expected: 100 }), 7200)
  const short = { ...settings, maxElapsedMillis: 10_000 }
  assert.strictEqual(hinted(7000, { random: () => 0.99, settings: short, elapsed: 2500 }), 7500)
  assert.strictEqual(hinted(7000, { remaining: 6999 }), "DeadlineTooClose")
  assert.strictEqual(hinted(60_000), 60_000)
  assert.strictEqual(hinted(60_001), "RetryAfterTooLong")
})

it("a refusal of our own is waited for only where it tells a time and a deadline bounds it", () => {
  const refusal = { tag: "ServiceUnavailableError", verdict: "Always", refusal: true } as const
  assert.strictEqual(why({ evidence: refusal, remaining: 10_000 }), "NotRetryable")
  assert.strictEqual(why({ evidence: { ...refusal, retryAfterMillis: 5000 } }), "NotRetryable")
  assert.strictEqual(why({ evidence: { ...refusal, retryAfterMillis: 5000 }, remaining: 10_000 }), 5000)
  assert.strictEqual(why({ evidence: { ...refusal, retryAfterMillis: 5000 }, remaining: 4999 }), "DeadlineTooClose")
})

it("evidence: provider errors, timeouts, deadlines, our own refusals that tell a wait, and nothing else", () => {
  const reason = (tag: ReasonTag, retryAfter?: Duration.Duration) =>
    new ProviderError({
      provider: "p",
      operation: "o",
      reason: new reasons[tag]({ message: "m", rule: "r", delivered: "unknown", ...(retryAfter && { retryAfter }) })
    })
  assert.deepStrictEqual(evidenceOf(reason("RateLimitError", Duration.seconds(7))), {
    tag: "RateLimitError",
    verdict: "Always",
    retryAfterMillis: 7000
  })
  for (const tag of ["AuthenticationError", "UnknownError", "CriticalError"] as const) {
    assert.strictEqual(evidenceOf(reason(tag))?.verdict, "Never")
  }
  assert.strictEqual(evidenceOf(new TimedOut({ after: Duration.seconds(1) }))?.tag, "TimeoutError")
  assert.strictEqual(evidenceOf(new DeadlineExceeded({ after: Duration.seconds(1) }))?.verdict, "Never")
  assert.isTrue(evidenceOf({ _tag: "CircuitOpen", retryAfter: Duration.seconds(5) })?.refusal)
  const foreign = { _tag: "Throttled", retryAfter: Duration.seconds(5) }
  for (const other of ["text", undefined, null, { retryAfter: 5 }, foreign, { _tag: "CircuitOpen" }, new Error("x")]) {
    assert.isUndefined(evidenceOf(other))
  }
})

const Natural = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20_000 }))
const Any = Schema.Struct({
  attempt: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 })),
  remaining: Natural,
  expected: Natural,
  elapsed: Natural,
  hint: Schema.UndefinedOr(Natural),
  random: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 })),
  idempotent: Schema.Boolean,
  verdict: Schema.Literals(["Never", "IfIdempotent", "Always"]),
  refusal: Schema.Boolean
})

it.prop(
  "whatever comes: no retry that cannot finish, none that is forbidden, none earlier than told",
  [Any],
  ([given]) => {
    const decision = decide({
      ...given,
      failures: given.attempt,
      random: () => given.random,
      evidence: { tag: "NetworkError", verdict: given.verdict, retryAfterMillis: given.hint, refusal: given.refusal },
      settings: { ...settings, maxElapsedMillis: 15_000 }
    })
    if (decision._tag === "GiveUp") return
    assert.isAtMost(decision.delayMillis + given.expected, given.remaining)
    assert.isAtLeast(decision.delayMillis, given.hint ?? 0)
    assert.isAtMost(given.attempt, 3)
    assert.isTrue(given.verdict === "Always" || (given.verdict === "IfIdempotent" && given.idempotent))
  }
)
