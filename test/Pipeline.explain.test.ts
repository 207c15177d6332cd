import { assert, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as Pipeline from "../src/Pipeline.ts"

const seconds = (duration: Duration.Duration): number => Duration.toSeconds(duration)

it.effect("works out attempts, worst-case time and load", () =>
  Effect.gen(function*() {
    const it = yield* Pipeline.explain({
      provider: "openai",
      retry: { maxRetries: 3, baseDelay: "1 second", jitter: "none", maxRetryAfter: "60 seconds" },
      breaker: { failureThreshold: 5 },
      bulkhead: { limit: 10, queue: 10, maxWait: "2 seconds" },
      timeout: "10 seconds"
    })
    assert.strictEqual(it.attempts, 4)
    // Four times two seconds of queue and ten of attempt, and backoffs of 1, 2 and 4.
    assert.strictEqual(seconds(it.worstCase), 4 * 12 + 7)
    // Three times a minute and a fifth instead.
    assert.strictEqual(seconds(it.worstCaseWithRetryAfter), 4 * 12 + 3 * 72)
    assert.deepStrictEqual(it.amplification, { perCall: 4, sustained: 1.1 })
    assert.deepStrictEqual(it.stages.map(({ stage }) => stage), [
      "retry",
      "budget",
      "breaker peek",
      "bulkhead",
      "breaker admit",
      "attempt timeout",
      "call"
    ])
    assert.deepStrictEqual(it.warnings, ["no jitter: clients that failed together come back together"])
  }))

it.effect("says that a deadline bounds the whole, and that an attempt timeout exceeds it", () =>
  Effect.gen(function*() {
    const it = yield* Pipeline.explain({ provider: "p", deadline: "5 seconds", timeout: "20 seconds", breaker: true })
    assert.strictEqual(seconds(it.worstCase), 5)
    assert.strictEqual(it.warnings.length, 1)
    assert.match(it.warnings[0]!, /^attempt timeout exceeds the deadline: 20s of 5s/)
  }))

it.effect("multiplies nested retries", () =>
  Effect.gen(function*() {
    const it = yield* Pipeline.explain(
      { provider: "p", retry: { maxRetries: 3 }, timeout: "1 second", breaker: true },
      { attemptsInside: 4 }
    )
    assert.strictEqual(it.attempts, 16)
    assert.deepStrictEqual(it.warnings, ["nested retries: 16 attempts for one call, 4 here times 4 inside"])
  }))

it.effect("counts hedges", () =>
  Effect.gen(function*() {
    const it = yield* Pipeline.explain({
      provider: "p",
      retry: { maxRetries: 1, jitter: "none", baseDelay: 0 },
      hedge: { delay: "500 millis", maxHedges: 2, budget: "unlimited" },
      breaker: { failureThreshold: 10 },
      timeout: "2 seconds"
    })
    assert.strictEqual(it.attempts, 6)
    assert.strictEqual(seconds(it.worstCase), 2 * (2 + 2 * 0.5))
    assert.isTrue(it.warnings.some((warning) => warning.startsWith("no budget for hedges")))
  }))

it.effect("warns of what is not bounded, not budgeted and not broken", () =>
  Effect.gen(function*() {
    const it = yield* Pipeline.explain({ provider: "p", retry: { budget: "unlimited" } })
    assert.isFalse(Duration.isFinite(it.worstCase))
    assert.deepStrictEqual(it.amplification, { perCall: 4, sustained: 4 })
    assert.deepStrictEqual(it.warnings.map((warning) => warning.split(":")[0]), [
      "nothing bounds a call in time",
      "no budget",
      "no breaker"
    ])
    const eager = yield* Pipeline.explain({
      provider: "p",
      retry: { maxRetries: 2 },
      breaker: { failureThreshold: 3 },
      timeout: "1 second"
    })
    assert.deepStrictEqual(eager.warnings, [
      "one call of 3 attempts opens the circuit by itself: failureThreshold is 3"
    ])
  }))

it.effect("refuses what make refuses", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Pipeline.explain({ provider: "p", retry: { maxRetries: 11 } }))
    assert.strictEqual(error.field, "retry.maxRetries")
  }))

it.effect("is text for people too", () =>
  Effect.gen(function*() {
    const plain = yield* Pipeline.explain({ provider: "p", timeout: "3 seconds", breaker: true })
    assert.strictEqual(Pipeline.render(plain).split("\n").at(-2), "  worst case: 3s")
    assert.strictEqual(
      Pipeline.render(plain).split("\n").at(-1),
      "  load in an outage: ×1 for one call, ×1 for all together"
    )
  }))

it.effect("attempts inside are a whole number from 1 up", () =>
  Effect.gen(function*() {
    for (const attemptsInside of [0, -1, 1.5, NaN, Infinity]) {
      const error = yield* Effect.flip(Pipeline.explain({ provider: "p" }, { attemptsInside }))
      assert.strictEqual(error.field, "attemptsInside")
    }
  }))
