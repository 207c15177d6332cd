import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Random, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import * as Event from "../src/Event.ts"
import { type Evidence, ProviderError, reasons, type ReasonTag } from "../src/ProviderError.ts"
import * as Retry from "../src/Retry.ts"
import * as RetryBudget from "../src/RetryBudget.ts"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import * as Timeout from "../src/Timeout.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

type Given = Partial<Pick<Evidence, "delivered" | "retryAfter" | "overrides">>
const failure = (tag: ReasonTag, evidence: Given = {}): ProviderError =>
  new ProviderError({
    provider: "p",
    operation: "o",
    reason: new reasons[tag]({ message: tag, rule: "test", delivered: "unknown", ...evidence })
  })
const network = failure("NetworkError")

/** Fails with each error in turn, then succeeds; `starts` are the times of the attempts. */
const script = <E>(errors: ReadonlyArray<E>, more?: E) => {
  const starts: Array<number> = []
  const numbers: Array<number> = []
  const work = Effect.gen(function*() {
    starts.push(yield* Clock.currentTimeMillis)
    numbers.push(yield* Retry.attempt)
    const error = errors[starts.length - 1] ?? more
    return error === undefined ? "done" : yield* Effect.fail(error)
  })
  return { work, starts, numbers }
}

/** Lets virtual time run until the effect has ended. */
const run = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    yield* TestClock.adjust("10 minutes")
    return yield* Fiber.await(fiber)
  })

const errorOf = <A, E>(exit: Exit.Exit<A, E>): E => {
  assert.isTrue(Exit.isFailure(exit))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- asserted
  return Cause.squash((exit as Exit.Failure<A, E>).cause) as E
}
const gaps = (starts: ReadonlyArray<number>) => starts.slice(1).map((at, i) => at - starts[i]!)
const idempotent = { idempotent: true }
const steady = { jitter: "none" } as const

it.effect("scenario 11: success at first is one call, and no timer is left", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const { numbers, work } = script([])
    const before = process.getActiveResourcesInfo().length
    assert.strictEqual(yield* work.pipe(retry.execute(idempotent)), "done")
    assert.deepStrictEqual(numbers, [1])
    assert.strictEqual(process.getActiveResourcesInfo().length, before)
  }))

it.effect("scenario 12: network, then timeout, then success, is three calls and the result", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const { numbers, work } = script([network, failure("TimeoutError")])
    assert.deepStrictEqual(yield* run(work.pipe(retry.execute(idempotent))), Exit.succeed("done"))
    assert.deepStrictEqual(numbers, [1, 2, 3])
  }))

it.effect("scenario 13: always network is four calls, and fails with the last original error", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const errors = [1, 2, 3, 4].map(() => failure("NetworkError"))
    const { starts, work } = script(errors)
    const exit = yield* run(work.pipe(retry.execute(idempotent)))
    assert.strictEqual(errorOf(exit), errors[3])
    assert.strictEqual(starts.length, 4)
    assert.deepStrictEqual(Retry.attempts(errors[3]), errors)
    assert.strictEqual(Retry.whyGivenUp(errors[3]), "AttemptsSpent")
  }))

it.effect("scenario 14: an authentication error is one call and no sleep", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const { starts, work } = script([failure("AuthenticationError")])
    const error = yield* Effect.flip(work.pipe(retry.execute(idempotent)))
    assert.strictEqual(error.reason._tag, "AuthenticationError")
    assert.strictEqual(starts.length, 1)
    assert.strictEqual(Retry.whyGivenUp(error), "NotRetryable")
  }))

it.effect("scenario 15: an attempt of 10 s is interrupted at 1 s, fails as a timeout, and is retried", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ maxRetries: 1, ...steady })
    const interrupted: Array<number> = []
    const slow = Effect.sleep("10 seconds").pipe(
      Effect.onInterrupt(() => Effect.map(Clock.currentTimeMillis, (now) => void interrupted.push(now)))
    )
    const exit = yield* run(slow.pipe(Timeout.attempt("1 second"), retry.execute(idempotent)))
    const error = errorOf(exit)
    expectTypeOf(error).toEqualTypeOf<Timeout.TimedOut>()
    assert.strictEqual(error._tag, "TimedOut")
    assert.deepStrictEqual(interrupted, [1000, 2100])
  }))

it.effect("scenario 16: base 100, doubled, at most 300, no jitter: waits of 100, 200, 300", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ maxDelay: "300 millis", ...steady })
    const { starts, work } = script([], network)
    yield* run(work.pipe(retry.execute(idempotent)))
    assert.deepStrictEqual(gaps(starts), [100, 200, 300])
  }))

it.effect("decorrelated waits grow from the one before", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ jitter: "decorrelated", maxDelay: "700 millis" })
    const { starts, work } = script([], network)
    const half = { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 0.5 }
    yield* run(work.pipe(retry.execute(idempotent), Effect.provideService(Random.Random, half)))
    // Half way from the base to three times the wait before.
    assert.deepStrictEqual(gaps(starts), [200, 350, 575])
  }))

it.effect("scenario 17: with a jitter of 0.1 each wait stays in its band and under the cap", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({
      maxRetries: 5,
      baseDelay: "1 second",
      maxDelay: "4 seconds",
      jitterFactor: 0.1,
      budget: "unlimited"
    })
    const seen = new Set<number>()
    for (const seed of ["a", "b", "c", "d", "e", "f", "g", "h"]) {
      const { starts, work } = script([], network)
      yield* run(work.pipe(retry.execute(idempotent), Random.withSeed(seed)))
      for (const [i, wait] of gaps(starts).entries()) {
        const plain = Math.min(4000, 1000 * 2 ** i)
        assert.isAtLeast(wait, Math.floor(plain * 0.9))
        assert.isAtMost(wait, Math.min(4000, plain * 1.1))
        seen.add(wait)
      }
    }
    assert.isAbove(seen.size, 15)
  }))

it.effect("scenario 18: with Retry-After 7 s the next attempt is not before 7 s, and within the deadline", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const limited = failure("RateLimitError", { retryAfter: Duration.seconds(7) })
    const { starts, work } = script([limited])
    yield* run(work.pipe(retry.execute(), Deadline.within("30 seconds")))
    assert.isAtLeast(starts[1]!, 7000)
    assert.isAtMost(starts[1]!, 8400)

    const late = script([limited])
    const started = yield* Clock.currentTimeMillis
    const error = yield* Effect.flip(late.work.pipe(retry.execute(), Deadline.within("6 seconds")))
    // Given up at once, not at the deadline.
    assert.strictEqual(yield* Clock.currentTimeMillis, started)
    assert.strictEqual(error, limited)
    assert.strictEqual(Retry.whyGivenUp(error), "DeadlineTooClose")
  }))

it.effect("clients that are told the same time do not come back in one wave", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ budget: "unlimited" })
    const limited = failure("RateLimitError", { retryAfter: Duration.seconds(7) })
    const clients = Array.from({ length: 100 }, () => script([limited]))
    yield* run(Effect.forEach(clients, ({ work }) => work.pipe(retry.execute()), { concurrency: "unbounded" }))
    const back = clients.map(({ starts }) => starts[1]!)
    for (const at of back) assert.isTrue(at >= 7000 && at <= 8400)
    const tenths = Array.from({ length: 14 }, (_, i) => back.filter((at) => Math.floor((at - 7000) / 100) === i).length)
    assert.isBelow(Math.max(...tenths), 25)
  }))

it.effect("scenario 19: what makes no sense is a typed error that names the field", () =>
  Effect.gen(function*() {
    const refused = (options: Retry.Options) => Effect.map(Effect.flip(Retry.make(options)), ({ field }) => field)
    assert.strictEqual(yield* refused({ maxRetries: 11 }), "maxRetries")
    assert.strictEqual(yield* refused({ maxRetries: 1.5 }), "maxRetries")
    assert.strictEqual(yield* refused({ baseDelay: -1 }), "baseDelay")
    for (const none of [NaN, { seconds: NaN }, [NaN, 0]] as const) {
      assert.strictEqual(yield* refused({ baseDelay: none }), "baseDelay")
    }
    assert.strictEqual(yield* refused({ maxRetryAfter: NaN }), "maxRetryAfter")
    assert.strictEqual(yield* refused({ baseDelay: "2 seconds", maxDelay: "1 second" }), "maxDelay")
    assert.strictEqual(yield* refused({ backoffMultiplier: 0.5 }), "backoffMultiplier")
    assert.strictEqual(yield* refused({ jitterFactor: 1.5 }), "jitterFactor")
    assert.strictEqual(yield* refused({ maxRetryAfter: Infinity }), "maxRetryAfter")
    assert.strictEqual(
      yield* refused({ categories: { NetworkError: { maxRetries: -1 } } }),
      "categories.NetworkError.maxRetries"
    )
    // @ts-expect-error no such jitter
    assert.strictEqual(yield* refused({ jitter: "ful" }), "jitter")
    // @ts-expect-error no such category
    assert.strictEqual(yield* refused({ categories: { NetworkErr: {} } }), "categories.NetworkErr")
    // @ts-expect-error an authentication error cannot be retried, so there is nothing to set
    assert.isDefined(yield* Retry.make({ categories: { AuthenticationError: { maxRetries: 1 } } }))
  }))

it.effect("a Retry-After above maxRetryAfter is given up on at once", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const error = yield* Effect.flip(
      Effect.fail(failure("RateLimitError", { retryAfter: Duration.seconds(61) })).pipe(retry.execute())
    )
    assert.strictEqual(Retry.whyGivenUp(error), "RetryAfterTooLong")
  }))

it.effect("work that may not be repeated is repeated only where it was surely not delivered", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const unsure = script([network])
    const error = yield* Effect.flip(unsure.work.pipe(retry.execute()))
    assert.strictEqual(Retry.whyGivenUp(error), "NotIdempotent")
    const sure = script([failure("NetworkError", { delivered: "no" })])
    assert.deepStrictEqual(yield* run(sure.work.pipe(retry.execute())), Exit.succeed("done"))
  }))

it.effect("scenario 9: the unknown category is never retried, or once where the evidence allows it; a defect never", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const plain = script([], failure("UnknownError"))
    yield* run(plain.work.pipe(retry.execute(idempotent)))
    assert.strictEqual(plain.starts.length, 1)

    const allowed = script([], failure("UnknownError", { overrides: { retry: "Always" } }))
    const exit = yield* run(allowed.work.pipe(retry.execute(idempotent)))
    assert.strictEqual(allowed.starts.length, 2)
    assert.strictEqual(Retry.whyGivenUp(errorOf(exit)), "CategorySpent")

    let calls = 0
    const broken = Effect.sync(() => calls++).pipe(Effect.andThen(Effect.die("bug")))
    assert.isTrue(Exit.hasDies(yield* Effect.exit(broken.pipe(retry.execute({ while: () => true })))))
    assert.strictEqual(calls, 1)

    for (const other of [Cause.die("bug"), Cause.interrupt()]) {
      const cause = Cause.combine(Cause.fail(network), other)
      const mixed = Effect.sync(() => calls++).pipe(Effect.andThen(Effect.failCause(cause)))
      yield* run(mixed.pipe(retry.execute(idempotent)))
    }
    assert.strictEqual(calls, 3)

    const interrupted = Effect.sync(() => calls++).pipe(Effect.andThen(Effect.interrupt))
    assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(interrupted.pipe(retry.execute({ while: () => true })))))
    assert.strictEqual(calls, 4)
  }))

it.effect("an error that says of itself that it is final is not retried, whatever its category", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const final = script([failure("NetworkError", { overrides: { retry: "Never" } })])
    const error = yield* Effect.flip(final.work.pipe(retry.execute(idempotent)))
    assert.deepStrictEqual([final.starts.length, Retry.whyGivenUp(error)], [1, "NotRetryable"])
  }))

it.effect("a multiplier of 1 is a constant backoff", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, backoffMultiplier: 1, baseDelay: "250 millis" })
    const { starts, work } = script([], network)
    yield* run(work.pipe(retry.execute(idempotent)))
    assert.deepStrictEqual(gaps(starts), [250, 250, 250])
  }))

it.effect("errors that are no ProviderError are classified, or asked of `while`", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" })
    const classified = script([reset])
    assert.deepStrictEqual(yield* run(classified.work.pipe(retry.execute(idempotent))), Exit.succeed("done"))
    const foreign = script(["odd"])
    assert.strictEqual(yield* Effect.flip(foreign.work.pipe(retry.execute(idempotent))), "odd")

    const wanted = script(["again", "again", "no"])
    const asked = wanted.work.pipe(retry.execute({ while: (error: string) => error === "again" }))
    assert.strictEqual(errorOf(yield* run(asked)), "no")
    assert.strictEqual(wanted.starts.length, 3)
    // @ts-expect-error the predicate is for numbers, the effect fails with text
    wanted.work.pipe(retry.execute({ while: (error: number) => error === 1 }))
  }))

it.effect("`while` decides on whatever is no ProviderError: foreign errors that tell a wait, timeouts, refusals", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, budget: "unlimited" })
    const wait = { _tag: "Mine", retryAfter: Duration.seconds(1) }
    const open = { _tag: "CircuitOpen", retryAfter: Duration.seconds(1) }
    const asked: Array<unknown> = []
    /** The times of the attempts, where `while` always answers so. */
    const starts = Effect.fnUntraced(function*(error: unknown, answer: boolean) {
      const { starts, work } = script<unknown>([error, error])
      const once = (error: unknown): boolean => {
        asked.push(error)
        return answer
      }
      yield* run(work.pipe(retry.execute({ while: once }), Deadline.within("1 minute")))
      return gaps(starts)
    })
    const timedOut = new Timeout.TimedOut({ after: Duration.seconds(1) })
    for (const error of [wait, open, timedOut, "odd"]) assert.deepStrictEqual(yield* starts(error, false), [])
    assert.deepStrictEqual(asked, [wait, open, timedOut, "odd"], "each was asked of once")
    assert.deepStrictEqual(yield* starts(timedOut, true), [100, 200])
    for (const error of [wait, open]) {
      const [one, two] = yield* starts(error, true)
      assert.isAtLeast(Math.min(one!, two!), 1_000)
    }
    // Without a deadline a foreign error is retried as well, a refusal of our own is not.
    const unbounded = script<unknown>([wait])
    yield* run(unbounded.work.pipe(retry.execute({ while: () => true })))
    assert.strictEqual(unbounded.starts.length, 2)
    const refused = script<unknown>([open])
    yield* run(refused.work.pipe(retry.execute({ while: () => true }), Effect.exit))
    assert.strictEqual(refused.starts.length, 1)
    // What a ProviderError says is not asked of it.
    asked.length = 0
    assert.deepStrictEqual(yield* starts(failure("AuthenticationError"), true), [])
    assert.deepStrictEqual(asked, [])
  }))

it.effect("a foreign error that tells a wait is no proof that the work was not done", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, budget: "unlimited" })
    const busy = { code: "ECONNRESET", retryAfter: Duration.seconds(1) }
    const once = script<unknown>([busy])
    assert.strictEqual(errorOf(yield* run(once.work.pipe(retry.execute(), Deadline.within("1 minute")))), busy)
    assert.strictEqual(once.starts.length, 1)
    assert.strictEqual(Retry.whyGivenUp(busy), "NotIdempotent")
  }))

it.effect("an error that throws when it is read is retried as far as `while` says, and stays the call's error", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, maxRetries: 1 })
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const getters = {
      get retryAfter(): Duration.Duration {
        throw new Error("hostile")
      }
    }
    for (const hostile of [proxy, getters]) {
      const classified = script<unknown>([], hostile)
      assert.strictEqual(errorOf(yield* run(classified.work.pipe(retry.execute(idempotent)))), hostile)
      const asked = script<unknown>([], hostile)
      assert.strictEqual(errorOf(yield* run(asked.work.pipe(retry.execute({ while: () => true })))), hostile)
      assert.deepStrictEqual([classified.starts.length, asked.starts.length], [1, 2])
    }
  }))

it.effect("a point in time that a foreign error's headers name is waited for, without a `Date` in them too", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, maxRetries: 1 })
    const now = Date.UTC(2026, 10, 23, 12)
    const headers = [
      { "retry-after": "Mon, 23 Nov 2026 12:00:30 GMT" },
      { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(now / 1000 + 30) }
    ]
    for (const header of headers) {
      yield* TestClock.setTime(now)
      const told = script<unknown>([{ status: 429, headers: header }])
      yield* run(told.work.pipe(retry.execute()))
      assert.isAtLeast(gaps(told.starts)[0]!, 30_000)
    }
  }))

it.effect("each category waits by its own schedule and counts its own retries", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({
      ...steady,
      maxRetries: 6,
      categories: {
        RateLimitError: { baseDelay: "3 seconds" },
        TimeoutError: { maxRetries: 1 },
        NetworkError: { schedule: Schedule.spaced("77 millis").pipe(Schedule.upTo({ times: 2 })) }
      }
    })
    const of = (...tags: Array<ReasonTag>) => script(tags.map((tag) => failure(tag)))
    const mixed = of("NetworkError", "RateLimitError", "TemporaryFailureError", "TemporaryFailureError", "NetworkError")
    assert.deepStrictEqual(yield* run(mixed.work.pipe(retry.execute(idempotent))), Exit.succeed("done"))
    assert.deepStrictEqual(gaps(mixed.starts), [77, 3000, 100, 200, 77])

    const timeouts = of("TimeoutError", "TimeoutError")
    const exit = yield* run(timeouts.work.pipe(retry.execute(idempotent)))
    assert.strictEqual(Retry.whyGivenUp(errorOf(exit)), "CategorySpent")

    const ended = of("NetworkError", "NetworkError", "NetworkError")
    const end = yield* run(ended.work.pipe(retry.execute(idempotent)))
    assert.strictEqual(Retry.whyGivenUp(errorOf(end)), "CategorySpent")
    assert.deepStrictEqual(gaps(ended.starts), [77, 77])
  }))

it.effect("a category's schedule is a Schedule: Effect.retry with it waits as the policy does", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, maxRetries: 2 })
    const ours = script([], network)
    yield* run(ours.work.pipe(retry.execute(idempotent)))
    const plain = script([], network)
    yield* run(plain.work.pipe(Effect.retry(retry.schedule("NetworkError"))))
    assert.deepStrictEqual(gaps(plain.starts), gaps(ours.starts))

    const hinted = script([], failure("RateLimitError", { retryAfter: Duration.seconds(7) }))
    yield* run(hinted.work.pipe(Effect.retry(Retry.schedule("RateLimitError"))))
    assert.strictEqual(hinted.starts.length, 4)
    for (const wait of gaps(hinted.starts)) assert.isAtLeast(wait, 7000)
  }))

it.effect("a throttled call waits from one second on", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make(steady)
    const { starts, work } = script([], failure("RateLimitError"))
    yield* run(work.pipe(retry.execute()))
    assert.deepStrictEqual(gaps(starts), [1000, 2000, 4000])
  }))

it.effect("an attempt that cannot finish before the deadline is not begun", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, attemptTime: "400 millis" })
    const slow = Effect.andThen(Effect.sleep("300 millis"), Effect.fail(network))
    const started = yield* Clock.currentTimeMillis
    // The first attempt ends at 300, the second would begin at 400 and is expected to end at 800.
    for (const [deadline, ends] of [[799, 300], [800, 700]] as const) {
      let ended = 0
      const fiber = yield* Effect.forkChild(
        Effect.exit(slow.pipe(retry.execute(idempotent), Deadline.within(deadline))).pipe(
          Effect.tap(() => Effect.map(Clock.currentTimeMillis, (now) => void (ended = now - started)))
        )
      )
      const begun = yield* Clock.currentTimeMillis
      yield* TestClock.adjust("5 seconds")
      const error = errorOf(yield* Fiber.join(fiber))
      assert.strictEqual(error._tag, "ProviderError")
      assert.strictEqual(ended - (begun - started), ends)
      assert.strictEqual(Retry.whyGivenUp(error), "DeadlineTooClose")
    }
  }))

it.effect("the expected time can be measured: the median of successes", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, attemptTime: "measured" })
    for (let i = 0; i < 3; i++) yield* run(Effect.sleep("2 seconds").pipe(retry.execute(idempotent)))
    const tight = script([network])
    const error = yield* Effect.flip(tight.work.pipe(retry.execute(idempotent), Deadline.within("2 seconds")))
    assert.strictEqual(Retry.whyGivenUp(error), "DeadlineTooClose")
    const roomy = script([network])
    const exit = yield* run(roomy.work.pipe(retry.execute(idempotent), Deadline.within("2300 millis")))
    assert.deepStrictEqual(exit, Exit.succeed("done"))
  }))

it.effect("no attempt starts later than maxElapsed after the first", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make({ ...steady, maxRetries: 10, maxElapsed: "1 second" })
    const { starts, work } = script([], network)
    const exit = yield* run(work.pipe(retry.execute(idempotent)))
    assert.deepStrictEqual(starts, [0, 100, 300, 700])
    assert.strictEqual(Retry.whyGivenUp(errorOf(exit)), "ElapsedTooLong")
    // The jitter over a Retry-After gives way to it.
    const hinted = script([failure("RateLimitError", { retryAfter: Duration.seconds(1) })])
    const seeded = run(hinted.work.pipe(retry.execute(idempotent))).pipe(Random.withSeed("late"))
    assert.deepStrictEqual(yield* seeded, Exit.succeed("done"))
    assert.deepStrictEqual(gaps(hinted.starts), [1_000])
  }))

it.effect("the budget is shared, timeouts cost more, and its exhaustion is told", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ bucket: 3, ratio: 0, floorPerSecond: 0 })
    const [one, other] = [yield* Retry.make({ ...steady, budget }), yield* Retry.make({ ...steady, budget })]
    const first = script([failure("TimeoutError")])
    yield* run(first.work.pipe(one.execute(idempotent)))
    assert.strictEqual((yield* budget.stats).balance, 1)
    const second = script([], network)
    const exit = yield* run(second.work.pipe(other.execute(idempotent)))
    assert.strictEqual(second.starts.length, 2)
    assert.strictEqual(Retry.whyGivenUp(errorOf(exit)), "BudgetExhausted")
    assert.deepStrictEqual(yield* budget.stats, { balance: 0, withdrawn: 2, refused: 1 })
  }))

it.effect("every call counts as a request for the budget, timed or not", () =>
  Effect.gen(function*() {
    for (const timed of [{}, { maxElapsed: "1 minute" }, { attemptTime: "measured" }] as const) {
      const budget = yield* RetryBudget.make({ bucket: 2, ratio: 0.25, floorPerSecond: 0 })
      yield* budget.withdraw(2)
      const retry = yield* Retry.make({ ...timed, budget })
      yield* Effect.void.pipe(retry.execute())
      yield* Effect.void.pipe(retry.execute())
      assert.strictEqual((yield* budget.stats).balance, 0.5)
    }
  }))

it.effect("a provider that is down gets a tenth more calls, not three times as many", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    let calls = 0
    const down = Effect.sync(() => calls++).pipe(Effect.andThen(Effect.fail(network)), retry.execute(idempotent))
    yield* Effect.forEach(Array.from({ length: 1000 }), () => Effect.exit(down), { concurrency: "unbounded" }).pipe(run)
    assert.isAtLeast(calls, 1050)
    // The bucket of 10, a tenth of 1,000, and the floor of 1 per second while they wait.
    assert.isAtMost(calls, 1115)
  }))

it.effect("a refusal is retried only where its wait fits the deadline", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make()
    const open = { _tag: "CircuitOpen", retryAfter: Duration.seconds(5) }
    const unbounded = script([open])
    assert.strictEqual(yield* Effect.flip(unbounded.work.pipe(retry.execute(idempotent))), open)
    const tight = script([open])
    yield* Effect.flip(tight.work.pipe(retry.execute(idempotent), Deadline.within("4 seconds")))
    assert.strictEqual(tight.starts.length, 1)
    const roomy = script([open])
    yield* run(roomy.work.pipe(retry.execute(), Deadline.within("10 seconds")))
    assert.isAtLeast(gaps(roomy.starts)[0]!, 5000)
    assert.isAtMost(gaps(roomy.starts)[0]!, 6000)
  }))

it.effect("a shared refusal's history is read from the cause and not mixed with another call's", () =>
  Effect.gen(function*() {
    const retry = yield* Retry.make(steady)
    const full = { _tag: "BulkheadFull", retryAfter: Duration.seconds(1) }
    const exit = yield* run(script<unknown>([network], full).work.pipe(retry.execute(idempotent), Effect.sandbox))
    const cause = errorOf(exit)
    assert.deepStrictEqual(Retry.attempts(cause), [network, full])
    assert.strictEqual(Retry.whyGivenUp(cause), "NotRetryable")
    assert.deepStrictEqual(Retry.attempts(full), [full])
  }))

it.effect("each attempt sees its number, and each retry is told as an event", () =>
  Effect.gen(function*() {
    const events: Array<Event.Event> = []
    const retry = yield* Retry.make({ ...steady, provider: "rates" }).pipe(
      Effect.provideService(Event.Sink, (event) => void events.push(event))
    )
    const { numbers, work } = script([network, failure("TimeoutError")])
    yield* run(work.pipe(retry.execute({ operation: "latest", idempotent: true })))
    assert.deepStrictEqual(numbers, [1, 2, 3])
    const fact = { _tag: "Retrying", provider: "rates", operation: "latest" } as const
    assert.deepStrictEqual(events, [
      { ...fact, at: 0, attempt: 1, delayMillis: 100, category: "NETWORK" },
      { ...fact, at: 100, attempt: 2, delayMillis: 100, category: "TIMEOUT" }
    ])
  }))

it.effect("keeps types: errors and requirements of the work, and nothing else", () =>
  Effect.gen(function*() {
    class Service extends Context.Service<Service, number>()("test/Service") {}
    const retry = yield* Retry.make()
    const work = Effect.flatMap(Service, (n) => n > 0 ? Effect.succeed(n) : Effect.fail("low" as const))
    expectTypeOf(work.pipe(retry.execute())).toEqualTypeOf<Effect.Effect<number, "low", Service>>()
    assert.strictEqual(yield* work.pipe(retry.execute(), Effect.provideService(Service, 1)), 1)
  }))

it.effect("an interrupted wait gives its token back", () =>
  Effect.gen(function*() {
    const budget = yield* RetryBudget.make({ ratio: 0, floorPerSecond: 0 })
    const retry = yield* Retry.make({ ...steady, budget })
    const { starts, work } = script([], failure("TimeoutError"))
    const fiber = yield* Effect.forkChild(work.pipe(retry.execute(idempotent)), { startImmediately: true })
    assert.strictEqual((yield* budget.stats).balance, 8)
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(yield* budget.stats, { balance: 10, withdrawn: 0, refused: 0 })
    assert.strictEqual(starts.length, 1)
  }))

it.effect("as a service: one policy for all that ask, refused at its layer where it makes no sense", () =>
  Effect.gen(function*() {
    const { starts, work } = script([], network)
    const call = Effect.flatMap(Retry.Retry, (retry) => work.pipe(retry.execute(idempotent)))
    yield* run(call.pipe(Effect.provide(Retry.Retry.layer({ maxRetries: 1, ...steady }))))
    assert.deepStrictEqual(starts, [0, 100])
    const refused = yield* Effect.flip(call.pipe(Effect.provide(Retry.Retry.layer({ maxRetries: 99 }))))
    assert.strictEqual(refused._tag, "InvalidOptions")
  }))

// -- against a model -------------------------------------------------------------------------------------------------

/** Whole tens, so that nothing happens at the instant of a deadline, which ends in 5. */
const Tens = (maximum: number) => Schema.Literals(Array.from({ length: maximum + 1 }, (_, i) => i * 10))
const verdictsOf = {
  NetworkError: "IfIdempotent",
  TimeoutError: "IfIdempotent",
  RateLimitError: "Always",
  AuthenticationError: "Never"
} as const
const Given = Schema.Struct({
  script: Schema.Array(Schema.Struct({
    tag: Schema.Literals(["NetworkError", "TimeoutError", "RateLimitError", "AuthenticationError"]),
    takes: Tens(20),
    hint: Schema.UndefinedOr(Tens(200))
  })),
  maxRetries: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 })),
  tokens: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })),
  idempotent: Schema.Boolean,
  deadline: Schema.UndefinedOr(Tens(300))
})

/** The rules once more, told as plainly as they can be: when attempts start, and how the call ends. */
const model = (given: typeof Given.Type): readonly [starts: ReadonlyArray<number>, end: string] => {
  const starts: Array<number> = []
  const counts: Record<string, number> = {}
  const deadline = given.deadline === undefined ? Infinity : given.deadline + 5
  let { tokens } = given
  for (let now = 0;;) {
    starts.push(now)
    const step = given.script[starts.length - 1]
    now += step?.takes ?? 0
    if (now > deadline) return [starts, "exceeded"]
    if (step === undefined) return [starts, "done"]
    const verdict = verdictsOf[step.tag]
    if (verdict === "Never") return [starts, "NotRetryable"]
    if (verdict === "IfIdempotent" && !given.idempotent) return [starts, "NotIdempotent"]
    if (starts.length > given.maxRetries) return [starts, "AttemptsSpent"]
    if ((step.hint ?? 0) > 1500) return [starts, "RetryAfterTooLong"]
    const count = counts[step.tag] = (counts[step.tag] ?? 0) + 1
    const base = step.tag === "RateLimitError" ? 400 : 100
    const wait = Math.max(Math.min(400, base * 2 ** (count - 1)), step.hint ?? 0)
    if (now + wait > deadline) return [starts, "DeadlineTooClose"]
    const cost = step.tag === "TimeoutError" ? 2 : 1
    if (tokens < cost) return [starts, "BudgetExhausted"]
    tokens -= cost
    now += wait
  }
}

it.prop("any script of failures starts its attempts when the model does, and ends as it does", [Given], ([given]) => {
  const exit = VirtualTime.run(() =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ bucket: given.tokens, ratio: 0, floorPerSecond: 0, timeoutCost: 2 })
        .pipe(
          // A bucket that holds no timeout's cost is refused; a larger one from which the rest is taken is the same.
          Effect.catch(() => RetryBudget.make({ bucket: 2, ratio: 0, floorPerSecond: 0 }))
        )
      while ((yield* budget.stats).balance > given.tokens) yield* budget.withdraw(1)
      const retry = yield* Retry.make({
        ...steady,
        budget,
        maxRetries: given.maxRetries,
        maxDelay: "400 millis",
        maxRetryAfter: "1500 millis"
      })
      const starts: Array<number> = []
      const work = Effect.gen(function*() {
        starts.push(yield* Clock.currentTimeMillis)
        const step = given.script[starts.length - 1]
        if (step === undefined) return "done"
        yield* Effect.sleep(step.takes)
        return yield* Effect.fail(
          failure(step.tag, step.hint === undefined ? {} : { retryAfter: Duration.millis(step.hint) })
        )
      })
      const call = work.pipe(retry.execute({ idempotent: given.idempotent }))
      const end = yield* (given.deadline === undefined ? call : Deadline.within(given.deadline + 5)(call)).pipe(
        Effect.match({
          onSuccess: () => "done",
          onFailure: (error) => error._tag === "DeadlineExceeded" ? "exceeded" : Retry.whyGivenUp(error)
        }),
        Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 0 })
      )
      return [starts, end] as const
    })
  )
  assert.deepStrictEqual<unknown>(exit, Exit.succeed(model(given)))
})

it("interruption law: whenever it comes, the budget has paid exactly for the retries that began", () => {
  const costs = { NetworkError: 1, TimeoutError: 2, RateLimitError: 1 } as const
  const tags = ["NetworkError", "TimeoutError", "RateLimitError"] as const
  let interrupted = 0
  let retried = 0
  law(
    5000,
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 0, bucket: 1000, floorPerSecond: 0 })
      const retry = yield* Retry.make({ budget, categories: { RateLimitError: { baseDelay: 100 } } })
      let paid = 0
      let running = 0
      let last: typeof tags[number] = "NetworkError"
      const work = Effect.suspend(() => {
        running++
        return Effect.gen(function*() {
          if ((yield* Retry.attempt) > 1) paid += costs[last]
          yield* someSteps(40)
          last = tags[yield* Random.nextIntBetween(0, 2)] ?? "NetworkError"
          return yield* Effect.fail(failure(last))
        })
      }).pipe(Effect.ensuring(Effect.sync(() => running--)), Effect.uninterruptible)
      const { exit } = yield* interruptedSomewhere(work.pipe(retry.execute(idempotent)), 200)
      if (Exit.hasInterrupts(exit)) interrupted++
      retried += paid
      const { balance } = yield* budget.stats
      assert.deepStrictEqual({ running, balance }, { running: 0, balance: 1000 - paid })
    })
  )
  // The trials meet what they are for.
  assert.isAbove(interrupted, 1000)
  assert.isAbove(retried, 1000)
})
