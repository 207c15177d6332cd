import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Random, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import type { BulkheadFull } from "../src/Bulkhead.ts"
import * as Chaos from "../src/Chaos.ts"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import type { CircuitOpen } from "../src/CircuitBreaker.ts"
import * as Classifier from "../src/Classifier.ts"
import * as Deadline from "../src/Deadline.ts"
import * as Event from "../src/Event.ts"
import type { CallShed } from "../src/FailurePredictor.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { NetworkError, ProviderError, RateLimitError, ServiceUnavailableError } from "../src/ProviderError.ts"
import type { RateLimited } from "../src/RateLimit.ts"
import * as Retry from "../src/Retry.ts"
import * as RetryBudget from "../src/RetryBudget.ts"
import { type Recorder, Telemetry } from "../src/Telemetry.ts"

const call = { operation: "get", idempotent: true } as const

const unavailable = new ProviderError({
  provider: "p",
  operation: "get",
  reason: new ServiceUnavailableError({ message: "down", rule: "test", delivered: "yes" })
})
const down = Effect.fail(unavailable)
const throttled = (retryAfter: Duration.Input) =>
  new ProviderError({
    provider: "p",
    operation: "get",
    reason: new RateLimitError({
      message: "slow down",
      rule: "test",
      delivered: "no",
      retryAfter: Duration.fromInputUnsafe(retryAfter)
    })
  })

/** An effect that counts its runs. */
const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const runs = { count: 0 }
  return { runs, effect: Effect.suspend(() => (runs.count++, effect)) }
}

// -- types -----------------------------------------------------------------------------------------------------------

it("refuses a misspelled stage, which would otherwise not be there", () => {
  // @ts-expect-error -- `braker` is no stage
  void Pipeline.make({ provider: "p", braker: true })
  // @ts-expect-error -- `timout` is no option
  void Pipeline.make({ provider: "p", breaker: true, timout: "1 second" })
  // @ts-expect-error -- `interval` is no option of a rate limit
  void Pipeline.make({ provider: "p", rateLimit: { limit: 10, interval: "1 hour" } })
  // @ts-expect-error -- `maxRetrys` is no option of a retry
  void Pipeline.make({ provider: "p", retry: { baseDelay: "1 second", maxRetrys: 1 } })
})

it("refuses a misspelled option of a call, which would otherwise not hold", () => {
  const call = (pipeline: Pipeline.Pipeline, options: Pipeline.CallOptions) => [
    pipeline.protect(options),
    // @ts-expect-error -- `idempotant` is no option
    pipeline.protect({ operation: "get", idempotant: true }),
    // @ts-expect-error -- `timeout` is no option of a call
    pipeline.promise({ operation: "get", timeout: "1 second" }, () => Promise.resolve(1))
  ]
  expectTypeOf(call).toBeFunction()
})

it("lists the errors of the configured stages and no others", () => {
  const bare = Pipeline.make({ provider: "p" })
  expectTypeOf<Effect.Success<typeof bare>>().toEqualTypeOf<Pipeline.Pipeline>()

  const some = Pipeline.make({ provider: "p", retry: { maxRetries: 3 }, breaker: true, timeout: "2 seconds" })
  expectTypeOf<Effect.Success<typeof some>>().toEqualTypeOf<Pipeline.Pipeline<CircuitOpen>>()
  expectTypeOf<Effect.Error<typeof some>>().toEqualTypeOf<InvalidOptions>()

  const all = Pipeline.make({ provider: "p", deadline: 1, breaker: {}, bulkhead: {}, rateLimit: { limit: 1 } })
  expectTypeOf<Effect.Success<typeof all>>().toEqualTypeOf<
    Pipeline.Pipeline<Deadline.DeadlineExceeded | CircuitOpen | BulkheadFull | RateLimited>
  >()

  const off = Pipeline.make({ provider: "p", breaker: undefined, bulkhead: true })
  expectTypeOf<Effect.Success<typeof off>>().toEqualTypeOf<Pipeline.Pipeline<BulkheadFull>>()

  const options: Pipeline.Options = { provider: "p" }
  const wide = Pipeline.make(options)
  expectTypeOf<Effect.Success<typeof wide>>().toEqualTypeOf<
    Pipeline.Pipeline<Deadline.DeadlineExceeded | CircuitOpen | BulkheadFull | RateLimited | CallShed>
  >()

  const watching = Pipeline.make({ provider: "p", predictor: true })
  expectTypeOf<Effect.Success<typeof watching>>().toEqualTypeOf<Pipeline.Pipeline>()
  const patient = Pipeline.make({ provider: "p", predictor: { memory: "1 minute" } })
  expectTypeOf<Effect.Success<typeof patient>>().toEqualTypeOf<Pipeline.Pipeline>()
  const shedding = Pipeline.make({ provider: "p", predictor: { mode: "shed" } })
  expectTypeOf<Effect.Success<typeof shedding>>().toEqualTypeOf<Pipeline.Pipeline<CallShed>>()
})

it.effect("types what a call can fail with, and a handled refusal leaves the type", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", breaker: true })
    const protectedCall = Effect.fail("foreign").pipe(Effect.as(1), pipeline.protect({ operation: "get" }))
    expectTypeOf(protectedCall).toEqualTypeOf<Effect.Effect<number, ProviderError | CircuitOpen>>()
    const handled = Effect.catchTag(protectedCall, "CircuitOpen", () => Effect.succeed("refused" as const))
    expectTypeOf(handled).toEqualTypeOf<Effect.Effect<number | "refused", ProviderError>>()

    const within = Effect.succeed(1).pipe(pipeline.protect({ operation: "get", deadline: "1 second" }))
    expectTypeOf(within).toEqualTypeOf<Effect.Effect<number, ProviderError | CircuitOpen | Deadline.DeadlineExceeded>>()
    const promised = pipeline.promise({ operation: "get" }, () => Promise.resolve("x"))
    expectTypeOf(promised).toEqualTypeOf<Effect.Effect<string, ProviderError | CircuitOpen>>()

    class Name extends Context.Service<Name, string>()("test/Name") {}
    const needing = Name.pipe(pipeline.protect({ operation: "get" }))
    expectTypeOf(needing).toEqualTypeOf<Effect.Effect<string, ProviderError | CircuitOpen, Name>>()
    assert.strictEqual(yield* Effect.provideService(needing, Name, "n"), "n")
  }))

it.effect("is a service of the reader's own key", () => {
  class Rates extends Context.Service<Rates, Pipeline.Pipeline<CircuitOpen>>()("test/Rates") {
    static readonly layer = Pipeline.layer(Rates, { provider: "rates", breaker: true })
  }
  return Effect.gen(function*() {
    const rates = yield* Rates
    assert.strictEqual(rates.provider, "rates")
    assert.strictEqual(yield* Effect.succeed(1).pipe(rates.protect(call)), 1)
  }).pipe(Effect.provide(Rates.layer))
})

// -- what passes through ---------------------------------------------------------------------------------------------

for (const timeout of [undefined, "1 second"] as const) {
  const kind = timeout === undefined ? "in place" : "apart"

  it.effect(`classifies what the work fails with and keeps the cause (${kind})`, () =>
    Effect.gen(function*() {
      const pipeline = yield* Pipeline.make({ provider: "p", timeout })
      const foreign = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
      const error = yield* Effect.fail(foreign).pipe(pipeline.protect(call), Effect.flip)
      assert.instanceOf(error, ProviderError)
      assert.instanceOf(error.reason, NetworkError)
      assert.strictEqual(error.provider, "p")
      assert.strictEqual(error.operation, "get")
      assert.strictEqual(error.cause, foreign)
      assert.strictEqual(yield* down.pipe(pipeline.protect(call), Effect.flip), unavailable)
    }))

  it.effect(`uses the classifier in force (${kind})`, () =>
    Effect.gen(function*() {
      const own = Classifier.make({
        rules: [{
          name: "odd",
          reads: ["name"],
          decide: ({ name }) => name === "Odd" ? { tag: "NotFoundError", rule: "odd" } : undefined
        }]
      })
      const pipeline = yield* Pipeline.make({ provider: "p", timeout }).pipe(
        Effect.provideService(Classifier.Classifier, own)
      )
      const odd = Object.assign(new Error("x"), { name: "Odd" })
      const error = yield* Effect.fail(odd).pipe(pipeline.protect(call), Effect.flip)
      assert.strictEqual(error.reason._tag, "NotFoundError")
    }))

  it.effect(`lets defects die, as a failure of the circuit (${kind})`, () =>
    Effect.gen(function*() {
      const pipeline = yield* Pipeline.make({ provider: "p", timeout, breaker: { failureThreshold: 2 }, retry: true })
      for (let i = 0; i < 2; i++) {
        const exit = yield* Effect.die("bug").pipe(pipeline.protect(call), Effect.exit)
        assert.isTrue(Exit.hasDies(exit))
      }
      const error = yield* Effect.succeed(1).pipe(pipeline.protect(call), Effect.flip)
      assert.strictEqual(error._tag, "CircuitOpen")
    }))

  it.effect(`passes services, and a self-interruption as one (${kind})`, () =>
    Effect.gen(function*() {
      const pipeline = yield* Pipeline.make({
        provider: "p",
        timeout,
        breaker: { failureThreshold: 1 },
        bulkhead: true
      })
      const exit = yield* Effect.interrupt.pipe(pipeline.protect(call), Effect.exit)
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.strictEqual(pipeline.availability(0, "get"), 0)
      assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 0)
    }))
}

// -- order and composition -------------------------------------------------------------------------------------------

it.effect("an open circuit ends the attempts and burns no token of the limit and no permit", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: { maxRetries: 5, jitter: "none", baseDelay: "1 second" },
      breaker: { failureThreshold: 2, recoveryTimeout: "1 minute", jitter: false },
      rateLimit: { limit: 10, window: "1 hour", burst: 10 },
      bulkhead: { limit: 2, queue: 0 }
    })
    const { effect, runs } = counted(down)
    const fiber = yield* effect.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("10 seconds")
    const error = yield* Fiber.join(fiber)
    assert.strictEqual(error._tag, "CircuitOpen")
    assert.strictEqual(runs.count, 2)
    assert.strictEqual(yield* pipeline.rateLimit!.available, 8)
    assert.deepStrictEqual((yield* pipeline.bulkhead!.stats).running, 0)
    // Opened at 1 s, asked at 3 s.
    assert.isTrue(error._tag === "CircuitOpen" && Duration.toSeconds(error.retryAfter) > 50)
    assert.isAbove(pipeline.availability(3_000, "get"), 50_000)
    assert.isAbove(pipeline.availability(3_000), 50_000)
    assert.strictEqual(pipeline.availability(3_000, "other"), 0)
  }))

it.effect("callers in the queue are refused at once when the circuit opens", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      breaker: { failureThreshold: 1, recoveryTimeout: "1 hour", jitter: false },
      bulkhead: { limit: 1, queue: 10, maxWait: "1 hour" }
    })
    const gate = yield* Deferred.make<never, ProviderError>()
    const waiting = counted(Effect.succeed(1))
    const first = yield* Deferred.await(gate).pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* Effect.yieldNow
    const queued = yield* Effect.forEach(
      [1, 2, 3],
      () => waiting.effect.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    )
    yield* Effect.yieldNow
    assert.deepStrictEqual(yield* pipeline.bulkhead!.stats, { limit: 1, running: 1, queued: 3 })
    yield* Deferred.fail(gate, unavailable)
    assert.strictEqual((yield* Fiber.join(first))._tag, "ProviderError")
    for (const fiber of queued) assert.strictEqual((yield* Fiber.join(fiber))._tag, "CircuitOpen")
    assert.strictEqual(waiting.runs.count, 0)
    assert.deepStrictEqual(yield* pipeline.bulkhead!.stats, { limit: 1, running: 0, queued: 0 })
  }))

it.effect("callers that wait for the rate limit are refused at once when the circuit opens", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      breaker: { failureThreshold: 1, recoveryTimeout: "1 hour", jitter: false },
      rateLimit: { limit: 1, window: "1 hour", burst: 1, maxWait: "2 hours" }
    })
    const gate = yield* Deferred.make<never, ProviderError>()
    const first = yield* Deferred.await(gate).pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* Effect.yieldNow
    const waiting = yield* Effect.succeed(1).pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("1 minute")
    assert.isUndefined(waiting.pollUnsafe())
    yield* Deferred.fail(gate, unavailable)
    yield* Fiber.join(first)
    assert.strictEqual((yield* Fiber.join(waiting))._tag, "CircuitOpen")
    assert.strictEqual(pipeline.rateLimit!.core.queued, 0)
  }))

it.effect("queued callers of another circuit stay in the queue", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      breaker: { failureThreshold: 1 },
      bulkhead: { limit: 1, queue: 10, maxWait: "1 hour" }
    })
    const gate = yield* Deferred.make<never, ProviderError>()
    const first = yield* Deferred.await(gate).pipe(
      pipeline.protect({ ...call, key: "a" }),
      Effect.flip,
      Effect.forkChild
    )
    yield* Effect.yieldNow
    const other = yield* Effect.succeed("b").pipe(pipeline.protect({ ...call, key: "b" }), Effect.forkChild)
    yield* Effect.yieldNow
    yield* Deferred.fail(gate, unavailable)
    yield* Fiber.join(first)
    assert.strictEqual(yield* Fiber.join(other), "b")
  }))

it.effect("a wait is never longer than the remaining deadline", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      deadline: "3 seconds",
      bulkhead: { limit: 1, queue: 10, maxWait: "1 hour" }
    })
    const limited = yield* Pipeline.make({
      provider: "p",
      deadline: "3 seconds",
      rateLimit: { limit: 1, window: "1 minute", burst: 1 }
    })
    const holder = yield* Effect.never.pipe(pipeline.protect({ operation: "hold" }), Effect.exit, Effect.forkChild)
    yield* TestClock.adjust("1 second")
    const waiter = yield* Effect.succeed(1).pipe(
      pipeline.protect(call),
      Deadline.within("500 millis"),
      Effect.flip,
      Effect.forkChild
    )
    yield* TestClock.adjust("500 millis")
    assert.include(["BulkheadFull", "DeadlineExceeded"], (yield* Fiber.join(waiter))._tag)
    yield* Fiber.interrupt(holder)

    yield* Effect.succeed(1).pipe(limited.protect(call))
    const error = yield* Effect.succeed(1).pipe(limited.protect(call), Effect.flip)
    assert.strictEqual(error._tag, "RateLimited")
    assert.isTrue(error._tag === "RateLimited" && Duration.toSeconds(error.retryAfter) > 58)
  }))

it.effect("a provider that answers slowly is timed out, retried and counted", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: { maxRetries: 1, jitter: "none", baseDelay: "1 second" },
      breaker: { failureThreshold: 3 },
      timeout: "2 seconds"
    })
    const { effect, runs } = counted(Effect.never)
    const fiber = yield* effect.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("4999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const error = yield* Fiber.join(fiber)
    assert.strictEqual(error._tag, "ProviderError")
    assert.strictEqual(error._tag === "ProviderError" && error.reason._tag, "TimeoutError")
    assert.strictEqual(error.message, "p.get: TIMEOUT: no answer within 2000 ms")
    assert.strictEqual(runs.count, 2)
    assert.strictEqual(Retry.attempts(error).length, 2)
    assert.strictEqual((yield* pipeline.breaker!.status("p/get")).consecutiveFailures, 2)
  }))

it.effect("answers on time where the work ignores its interruption, and holds the permit until it ends", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", bulkhead: { limit: 1, queue: 0 }, timeout: "1 second" })
    const stubborn = Effect.uninterruptible(Effect.sleep("10 seconds"))
    const fiber = yield* stubborn.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* Fiber.join(fiber))._tag, "ProviderError")
    assert.strictEqual((yield* Effect.succeed(1).pipe(pipeline.protect(call), Effect.flip))._tag, "BulkheadFull")
    yield* TestClock.adjust("9 seconds")
    assert.strictEqual(yield* Effect.succeed(1).pipe(pipeline.protect(call)), 1)
  }))

it.effect("the deadline bounds the whole call, retries included, and reaches the work", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      deadline: "5 seconds",
      retry: { maxRetries: 10, jitter: "none", baseDelay: "1 second", backoffMultiplier: 1 },
      timeout: { timeout: "2 seconds", ofRemaining: 1 }
    })
    const deadlines: Array<number> = []
    const slow = Effect.andThen(Effect.map(Deadline.current, (at) => deadlines.push(at)), Effect.never)
    const fiber = yield* slow.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    // Timed out at 2 s, tried again at 3 s, cut at 5 s.
    yield* TestClock.adjust("4999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const error = yield* Fiber.join(fiber)
    assert.strictEqual(error._tag, "DeadlineExceeded")
    assert.deepStrictEqual(deadlines, [5_000, 5_000])
  }))

it.effect("an attempt may take half of what remains, so that there is room for another", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      deadline: "8 seconds",
      retry: { maxRetries: 1, jitter: "none", baseDelay: 0 },
      timeout: true
    })
    const starts: Array<number> = []
    const hanging = Effect.andThen(Effect.map(Clock.currentTimeMillis, (now) => starts.push(now)), Effect.never)
    const fiber = yield* hanging.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("8 seconds")
    assert.strictEqual((yield* Fiber.join(fiber))._tag, "ProviderError")
    assert.deepStrictEqual(starts, [0, 4_000])
  }))

it.effect("a call cut by the deadline is a failure only where an attempt had all the time there is", () =>
  Effect.gen(function*() {
    const failures = Effect.fnUntraced(function*(timeout: "10 seconds" | undefined) {
      const pipeline = yield* Pipeline.make({ provider: "p", deadline: "1 second", breaker: true, timeout })
      const fiber = yield* Effect.never.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "DeadlineExceeded")
      return (yield* pipeline.breaker!.status("p/get")).consecutiveFailures
    })
    assert.strictEqual(yield* failures(undefined), 1)
    assert.strictEqual(yield* failures("10 seconds"), 0)
  }))

it.effect("a 429 with Retry-After holds the provider: the next call is refused with the wait", () =>
  Effect.gen(function*() {
    const byCircuit = yield* Pipeline.make({ provider: "p", breaker: true })
    const byLimit = yield* Pipeline.make({
      provider: "p",
      breaker: true,
      rateLimit: { limit: 100, onLimit: "refuse" }
    })
    for (const pipeline of [byCircuit, byLimit]) {
      yield* Effect.fail(throttled("30 seconds")).pipe(pipeline.protect(call), Effect.flip)
      const { effect, runs } = counted(Effect.succeed(1))
      const now = yield* Clock.currentTimeMillis
      const error = yield* effect.pipe(pipeline.protect(call), Effect.flip)
      assert.strictEqual(error._tag, pipeline === byCircuit ? "CircuitOpen" : "RateLimited")
      assert.isTrue(error._tag !== "ProviderError" && Duration.toSeconds(error.retryAfter) === 30)
      assert.strictEqual(pipeline.availability(now, "get"), 30_000)
      assert.strictEqual(runs.count, 0)
      // It is no failure of the provider's.
      assert.strictEqual((yield* pipeline.breaker!.status("p/get")).failures, 0)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* effect.pipe(pipeline.protect(call)), 1)
    }
  }))

it.effect("a retry waits at least as long as a 429 asks for, and is then let through", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", breaker: true, retry: { maxRetries: 1, jitter: "none" } })
    let runs = 0
    const once = Effect.suspend(() => runs++ === 0 ? Effect.fail(throttled("5 seconds")) : Effect.succeed("ok"))
    const fiber = yield* once.pipe(pipeline.protect(call), Effect.forkChild)
    yield* TestClock.adjust("4999 millis")
    assert.strictEqual(runs, 1)
    // Up to a fifth of upward jitter.
    yield* TestClock.adjust("1001 millis")
    assert.strictEqual(yield* Fiber.join(fiber), "ok")
  }))

it.effect("an exhausted quota opens the circuit at once", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", breaker: true })
    const quota = new ProviderError({
      provider: "p",
      operation: "get",
      reason: new RateLimitError({
        message: "quota",
        rule: "test",
        delivered: "no",
        detail: "QuotaExhausted",
        overrides: { openForMillis: 600_000 }
      })
    })
    yield* Effect.fail(quota).pipe(pipeline.protect(call), Effect.flip)
    assert.isAtLeast(pipeline.availability(0, "get"), 600_000)
  }))

it.effect("only what may be repeated is repeated", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", retry: { baseDelay: 0 } })
    const { effect, runs } = counted(down)
    yield* effect.pipe(pipeline.protect({ operation: "put" }), Effect.flip)
    assert.strictEqual(runs.count, 1)
    yield* effect.pipe(pipeline.protect({ operation: "put", idempotent: true }), Effect.flip)
    assert.strictEqual(runs.count, 5)
  }))

it.effect("the attempt's number is visible inside, and all errors are kept", () =>
  Effect.gen(function*() {
    for (const timeout of [undefined, "1 second"] as const) {
      const pipeline = yield* Pipeline.make({ provider: "p", timeout, retry: { maxRetries: 2, baseDelay: 0 } })
      const numbers: Array<number> = []
      const failing = Effect.andThen(Effect.map(Retry.attempt, (number) => numbers.push(number)), down)
      const error = yield* failing.pipe(pipeline.protect(call), Effect.flip)
      assert.deepStrictEqual(numbers, [1, 2, 3])
      assert.deepStrictEqual(Retry.attempts(error), [unavailable, unavailable, unavailable])
    }
  }))

it.effect("a budget ends the retries of all calls together", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", retry: { maxRetries: 3, baseDelay: 0 } })
    const { effect, runs } = counted(down)
    for (let i = 0; i < 20; i++) yield* effect.pipe(pipeline.protect(call), Effect.flip)
    // 20 calls, the bucket of 10, and a tenth of a token for each call.
    assert.strictEqual(runs.count, 20 + 11)
    assert.strictEqual((yield* pipeline.budget!.stats).withdrawn, 11)
  }))

it.effect("every call fills the budget, the first one of an effect as well as those after it", () =>
  Effect.gen(function*() {
    for (const stage of [{}, { timeout: "1 second" }, { hedge: { delay: "1 second" } }] as const) {
      const budget = yield* RetryBudget.make({ floorPerSecond: 0 })
      yield* budget.withdraw(10)
      const pipeline = yield* Pipeline.make({ provider: "p", retry: { budget }, ...stage })
      const protect = pipeline.protect(call)(Effect.succeed(1))
      for (let i = 0; i < 20; i++) yield* protect
      assert.closeTo((yield* budget.stats).balance, 2, 1e-9, JSON.stringify(stage))
    }
  }))

it.effect("no attempt starts later than maxElapsed after the call", () =>
  Effect.gen(function*() {
    for (const stage of [{}, { timeout: "1 second" }, { hedge: { delay: "1 minute" } }] as const) {
      const retry = { maxRetries: 10, baseDelay: "100 millis", jitter: "none", maxElapsed: "1 second" } as const
      const pipeline = yield* Pipeline.make({ provider: "p", retry, ...stage })
      const starts: Array<number> = []
      const began = yield* Clock.currentTimeMillis
      const late = Effect.andThen(Effect.map(Clock.currentTimeMillis, (now) => starts.push(now - began)), down)
      const fiber = yield* late.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(Retry.whyGivenUp(yield* Fiber.join(fiber)), "ElapsedTooLong", JSON.stringify(stage))
      assert.deepStrictEqual(starts, [0, 100, 300, 700])
    }
  }))

it.effect("a hedge answers when the first attempt is silent, pays from the budget, and the loser is neutral", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: true,
      hedge: { delay: "100 millis" },
      breaker: { failureThreshold: 1 },
      bulkhead: { limit: 2, queue: 0 },
      timeout: "10 seconds"
    })
    let runs = 0
    const work = Effect.suspend(() => runs++ === 0 ? Effect.never : Effect.succeed("second"))
    const fiber = yield* work.pipe(pipeline.protect(call), Effect.forkChild)
    yield* TestClock.adjust("100 millis")
    assert.strictEqual(yield* Fiber.join(fiber), "second")
    assert.strictEqual((yield* pipeline.budget!.stats).withdrawn, 1)
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 0)
    assert.strictEqual((yield* pipeline.breaker!.status("p/get")).failures, 0)
    assert.strictEqual((yield* pipeline.breaker!.status("p/get")).calls, 1)
  }))

it.effect("an inherited deadline is used for looking ahead: no retry that could not finish", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: { maxRetries: 3, jitter: "none", baseDelay: "2 seconds" }
    })
    const { effect, runs } = counted(down)
    const error = yield* effect.pipe(pipeline.protect(call), Deadline.within("1 second"), Effect.flip)
    assert.strictEqual(error, unavailable)
    assert.strictEqual(runs.count, 1)
    assert.strictEqual(Retry.whyGivenUp(error), "DeadlineTooClose")
  }))

it.effect("priority and tenant reach the bulkhead, cost the limit", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      bulkhead: { limit: 1, queue: 10, maxWait: "1 hour" },
      rateLimit: { limit: 10, window: "1 hour", burst: 10 }
    })
    const gate = yield* Deferred.make<void>()
    const order: Array<string> = []
    const work = (name: string) => Effect.sync(() => order.push(name))
    const holder = yield* Deferred.await(gate).pipe(pipeline.protect(call), Effect.forkChild)
    yield* Effect.yieldNow
    const low = yield* work("low").pipe(pipeline.protect({ ...call, priority: 0 }), Effect.forkChild)
    yield* Effect.yieldNow
    const high = yield* work("high").pipe(pipeline.protect({ ...call, priority: 5, cost: 4 }), Effect.forkChild)
    yield* Effect.yieldNow
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.joinAll([holder, low, high])
    assert.deepStrictEqual(order, ["high", "low"])
    assert.strictEqual(yield* pipeline.rateLimit!.available, 4)
  }))

// -- promises --------------------------------------------------------------------------------------------------------

it.effect("a promise function gets a signal that is aborted at the timeout and on interruption", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: "1 second", bulkhead: { limit: 1, queue: 0 } })
    const signals: Array<AbortSignal> = []
    const hanging = pipeline.promise(call, (signal) => {
      signals.push(signal)
      return new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    })
    const timed = yield* Effect.forkChild(Effect.flip(hanging))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* Fiber.join(timed)).message, "p.get: TIMEOUT: no answer within 1000 ms")
    yield* Effect.promise(() => Promise.resolve())
    const stopped = yield* Effect.forkChild(hanging)
    yield* Effect.yieldNow
    yield* Fiber.interrupt(stopped)
    assert.deepStrictEqual(signals.map(({ aborted }) => aborted), [true, true])
    yield* Effect.promise(() => Promise.resolve())
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 0)
  }))

it.effect("what a promise function throws or rejects with is classified", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", breaker: true })
    const rejected = yield* pipeline.promise(call, () => Promise.reject(Object.assign(new Error("x"), { status: 503 })))
      .pipe(
        Effect.flip
      )
    assert.strictEqual(rejected._tag === "ProviderError" && rejected.reason._tag, "ServiceUnavailableError")
    const thrown = yield* pipeline.promise(call, () => {
      throw new TypeError("no")
    }).pipe(Effect.flip)
    assert.strictEqual(thrown._tag, "ProviderError")
    assert.strictEqual(yield* pipeline.promise(call, () => Promise.resolve(7)), 7)
  }))

it.effect("a call ends and gives its permit back whatever it fails with, and whatever its classifier throws", () =>
  Effect.gen(function*() {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const thrown = new Error("thrown by the classifier")
    const throwing: Classifier.Classifier = {
      classify: Classifier.classify,
      toError: () => {
        throw thrown
      }
    }
    for (const timeout of [undefined, "1 second"] as const) {
      const options = { provider: "p", timeout, bulkhead: { limit: 1, queue: 0 } } as const
      const hostile = yield* Pipeline.make(options)
      const broken = yield* Effect.provideService(Pipeline.make(options), Classifier.Classifier, throwing)
      const failures = [
        <E>(pipeline: Pipeline.Pipeline<E>) => pipeline.protect(call)(Effect.fail(proxy)),
        <E>(pipeline: Pipeline.Pipeline<E>) =>
          pipeline.protect(call)(Effect.andThen(Effect.yieldNow, Effect.fail(proxy))),
        <E>(pipeline: Pipeline.Pipeline<E>) => pipeline.promise(call, () => Promise.reject(proxy))
      ]
      for (const fail of failures) {
        const error = yield* Effect.flip(fail(hostile))
        assert.strictEqual(error._tag === "ProviderError" && error.reason._tag, "UnknownError")
        assert.deepStrictEqual(yield* Effect.exit(fail(broken)), Exit.die(thrown))
      }
      assert.strictEqual((yield* hostile.bulkhead!.stats).running, 0)
      assert.strictEqual((yield* broken.bulkhead!.stats).running, 0)
    }
  }))

it.effect("a promise that ignores its signal keeps the permit until it ends", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", bulkhead: { limit: 1, queue: 0 } })
    let end: (value: number) => void = () => {}
    const fiber = yield* Effect.forkChild(pipeline.promise(call, () => new Promise<number>((resolve) => end = resolve)))
    yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 1)
    end(1)
    yield* Effect.promise(() => Promise.resolve())
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 0)
  }))

it.effect("an attempt used for another run is not cancelled by who had it before", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", bulkhead: { limit: 2, queue: 0 } })
    const ends: Array<(value: number) => void> = []
    const waiting = pipeline.promise(call, () => new Promise<number>((resolve) => ends.push(resolve)))
    // Yields between being answered and taking the answer.
    let yields = false
    class Yielding extends Scheduler.MixedScheduler {
      override shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
        const told = yields
        yields = false
        return told || super.shouldYield(fiber)
      }
    }
    const first = yield* waiting.pipe(Effect.provideService(Scheduler.Scheduler, new Yielding()), Effect.forkChild)
    while (ends.length === 0) yield* Effect.yieldNow
    yields = true
    ends[0]!(1)
    yield* Effect.promise(() => Promise.resolve())
    assert.isFalse(yields)
    assert.isUndefined(first.pollUnsafe())
    const second = yield* Effect.forkChild(waiting, { startImmediately: true })
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 1)
    yield* Fiber.interrupt(first)
    ends[1]!(2)
    assert.strictEqual(yield* Fiber.join(second), 2)
    assert.strictEqual((yield* pipeline.bulkhead!.stats).running, 0)
  }))

it.effect("a foreign promise that answers twice answers one call", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", breaker: true })
    const answers: Array<(value: number) => void> = []
    const foreign = {
      // oxlint-disable-next-line unicorn/no-thenable -- this is what it is about
      then: (onValue: (value: number) => void) => {
        answers.push(onValue)
        return Promise.resolve(0)
      }
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- poorer than a promise
    const asked = pipeline.promise(call, () => foreign as unknown as PromiseLike<number>)
    const ask = Effect.gen(function*() {
      const count = answers.length
      const fiber = yield* Effect.forkChild(asked, { startImmediately: true })
      while (answers.length === count) yield* Effect.yieldNow
      return fiber
    })
    const first = yield* ask
    answers[0]!(1)
    assert.strictEqual(yield* Fiber.join(first), 1)
    const second = yield* ask
    answers[0]!(99)
    yield* Effect.yieldNow
    answers[1]!(2)
    assert.strictEqual(yield* Fiber.join(second), 2)
    assert.strictEqual((yield* pipeline.breaker!.status("p/get")).calls, 2)
  }))

// -- who is told -----------------------------------------------------------------------------------------------------

const recording = () => {
  const log: Array<string> = []
  const note = (name: string) => (...args: ReadonlyArray<unknown>): void => {
    log.push([name, ...args].join(" "))
  }
  const recorder: Recorder = {
    begin: note("begin"),
    end: note("end"),
    error: note("error"),
    retry: note("retry"),
    hedge: note("hedge"),
    breakerTrip: note("trip"),
    fallback: note("fallback"),
    cache: note("cache"),
    gaveUp: note("gave up"),
    answered: note("answered")
  }
  const telemetry = Layer.succeed(Telemetry, {
    recorder: (service, operation) => (log.push(`recorder ${service} ${operation}`), recorder)
  })
  return { log, telemetry }
}

it.effect("telemetry hears of every attempt exactly once, refusals and interruptions included", () => {
  const { log, telemetry } = recording()
  return Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: { maxRetries: 1, jitter: "none", baseDelay: "1 second" },
      breaker: { failureThreshold: 3, recoveryTimeout: "1 hour" }
    })
    yield* TestClock.adjust("10 millis")
    const ok = Effect.andThen(Effect.sleep("5 millis"), Effect.void)
    const first = yield* ok.pipe(pipeline.protect(call), Effect.forkChild)
    yield* TestClock.adjust("5 millis")
    yield* Fiber.join(first)
    const failing = yield* down.pipe(pipeline.protect(call), Effect.flip, Effect.forkChild)
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(failing)
    const hanging = yield* Effect.never.pipe(pipeline.protect(call), Effect.forkChild)
    yield* Effect.yieldNow
    yield* Fiber.interrupt(hanging)
    yield* down.pipe(pipeline.protect({ operation: "get" }), Effect.flip)
    yield* down.pipe(pipeline.protect({ operation: "get" }), Effect.flip)
    assert.deepStrictEqual(log, [
      "recorder p get",
      "begin 10",
      "end success 5 15 0",
      "begin 15",
      "error ServiceUnavailableError 15",
      "end failure 0 15 0 true",
      "retry 1015",
      "begin 1015",
      "error ServiceUnavailableError 1015",
      "end failure 0 1015 1 true",
      "gave up true",
      "begin 1015",
      "end cancelled 0 1015",
      "begin 1015",
      "trip 1015",
      "error ServiceUnavailableError 1015",
      "end failure 0 1015 0 false",
      "gave up false",
      "begin 1015",
      "end refused 0 1015",
      "gave up false"
    ])
  }).pipe(Effect.provide(telemetry))
})

it.effect("tells of retries and trips as events", () => {
  const events: Array<Event.Event> = []
  return Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({
      provider: "p",
      retry: { maxRetries: 1, baseDelay: 0 },
      breaker: { failureThreshold: 2 }
    })
    yield* down.pipe(pipeline.protect(call), Effect.flip)
    assert.deepStrictEqual(events.map(({ _tag }) => _tag), ["Retrying", "BreakerChanged"])
    const [retrying, changed] = events
    assert.deepInclude(retrying, { provider: "p", operation: "get", attempt: 1, category: "SERVICE_UNAVAILABLE" })
    assert.deepInclude(changed, { key: "p/get", from: "Closed", to: "Open" })
  }).pipe(Effect.provideService(Event.Sink, (event) => void events.push(event)))
})

it.effect("chaos is innermost: every policy meets it", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", retry: { maxRetries: 3, baseDelay: 0 }, breaker: true })
    const { effect, runs } = counted(Effect.succeed("ok"))
    assert.strictEqual(yield* effect.pipe(pipeline.protect(call)), "ok")
    assert.strictEqual(runs.count, 1)
    assert.strictEqual((yield* pipeline.breaker!.status("p/get")).failures, 2)
    assert.strictEqual(yield* pipeline.promise(call, () => Promise.resolve("p")), "p")
  }).pipe(Effect.provide(Chaos.layer(
    { seed: 1, rules: [{ fault: { _tag: "Fail", reason: "NetworkError" }, times: 2 }] },
    { enabled: true }
  ))))

// -- construction ----------------------------------------------------------------------------------------------------

it.effect("a deadline of a call that is below zero is over, and told as zero", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p" })
    const error = yield* Effect.flip(Effect.never.pipe(pipeline.protect({ operation: "get", deadline: -5 })))
    assert.strictEqual(error.message, "The deadline passed, 0 after the call began")
  }))

it.effect("refuses what is no stage: from JavaScript anything may come, and `false` is no default", () =>
  Effect.gen(function*() {
    for (const stage of ["retry", "hedge", "predictor", "breaker", "rateLimit", "bulkhead", "timeout"]) {
      for (const value of [false, null, "yes"]) {
        const options = { provider: "p", [stage]: value } as Pipeline.Options
        const { field, why } = yield* Effect.flip(Pipeline.make(options))
        assert.deepStrictEqual([field, why.includes(JSON.stringify(value))], [stage, true])
      }
    }
    const nothing = {} as Pipeline.Options
    assert.strictEqual((yield* Effect.flip(Pipeline.make(nothing))).field, "provider")
    const noLimit = { provider: "p", rateLimit: {} } as Pipeline.Options
    assert.strictEqual((yield* Effect.flip(Pipeline.make(noLimit))).field, "rateLimit.limit")
    const free = { provider: "p", retry: { budget: "unlimted" as "unlimited" } }
    assert.strictEqual((yield* Effect.flip(Pipeline.make(free))).field, "retry.budget")
  }))

it.effect("names the option that makes no sense, and the combinations that cannot work", () =>
  Effect.gen(function*() {
    const field = (options: Pipeline.Options) =>
      Effect.map(Effect.flip(Pipeline.make(options)), (error) => {
        assert.instanceOf(error, InvalidOptions)
        assert.strictEqual(error.module, "Pipeline")
        // What a log shows.
        assert.strictEqual(error.message, `Pipeline: ${error.field} ${error.why}`)
        return error.field
      })
    const provider = "p"
    assert.strictEqual(yield* field({ provider: "" }), "provider")
    assert.strictEqual(yield* field({ provider, deadline: 0 }), "deadline")
    assert.strictEqual(yield* field({ provider, retry: { maxRetries: 11 } }), "retry.maxRetries")
    assert.strictEqual(yield* field({ provider, breaker: { failureRate: 2 } }), "breaker.failureRate")
    assert.strictEqual(yield* field({ provider, bulkhead: { limit: 0 } }), "bulkhead.limit")
    assert.strictEqual(yield* field({ provider, rateLimit: { limit: 0 } }), "rateLimit.limit")
    assert.strictEqual(yield* field({ provider, timeout: 0 }), "timeout")
    assert.strictEqual(yield* field({ provider, timeout: { seconds: -1 } }), "timeout")
    assert.strictEqual(yield* field({ provider, timeout: { timeout: 0 } }), "timeout.timeout")
    const eu = { failureThreshold: 0 }
    assert.strictEqual(yield* field({ provider, breaker: { keys: { eu } } }), "breaker.keys.eu.failureThreshold")
    // What makes no sense for itself is told before what makes none together.
    const soon = "soon" as "1 second"
    assert.strictEqual(yield* field({ provider, timeout: 1, breaker: { probeLease: soon } }), "breaker.probeLease")
    assert.strictEqual(yield* field({ provider, timeout: 1, hedge: { delay: soon } }), "hedge.delay")
    assert.strictEqual(yield* field({ provider, hedge: {} }), "hedge.delay")
    assert.strictEqual(
      yield* field({ provider, timeout: "5 seconds", breaker: { probeLease: "5 seconds" } }),
      "breaker.probeLease"
    )
    assert.strictEqual(
      yield* field({ provider, timeout: "5 seconds", breaker: { slowCallDuration: "5 seconds" } }),
      "breaker.slowCallDuration"
    )
    assert.strictEqual(yield* field({ provider, timeout: "5 seconds", hedge: { delay: "5 seconds" } }), "hedge.delay")
  }))

it.effect("shares policies that were made elsewhere, and settings of single keys", () =>
  Effect.gen(function*() {
    const one = yield* Pipeline.make({
      provider: "p",
      breaker: { failureThreshold: 1, keys: { eager: { failureThreshold: 5 } } },
      bulkhead: { limit: 1, queue: 0 }
    })
    const two = yield* Pipeline.make({ provider: "p", breaker: one.breaker, bulkhead: one.bulkhead })
    assert.strictEqual(two.bulkhead, one.bulkhead)
    yield* down.pipe(one.protect(call), Effect.flip)
    assert.strictEqual((yield* Effect.succeed(1).pipe(two.protect(call), Effect.flip))._tag, "CircuitOpen")
    yield* down.pipe(one.protect({ ...call, key: "eager" }), Effect.flip)
    assert.strictEqual(one.availability(0, "eager"), 0)
  }))

// -- reentrancy ------------------------------------------------------------------------------------------------------

it.effect("pipelines nest, and a call within a call counts for both", () =>
  Effect.gen(function*() {
    for (const timeout of [undefined, "1 second"] as const) {
      const inner = yield* Pipeline.make({ provider: "inner", timeout, breaker: { failureThreshold: 1 } })
      const outer = yield* Pipeline.make({
        provider: "outer",
        timeout,
        breaker: true,
        bulkhead: { limit: 50, queue: 0 }
      })
      const nested = down.pipe(inner.protect(call), outer.protect(call))
      assert.strictEqual(yield* Effect.flip(nested), unavailable)
      // The inner refusal is what the outer work failed with: a provider error there.
      const error = yield* Effect.flip(nested)
      assert.strictEqual(error._tag, "ProviderError")
      assert.strictEqual(error._tag === "ProviderError" && error.provider, "outer")
      const deep = (depth: number): Effect.Effect<number, unknown> =>
        depth === 0 ? Effect.succeed(0) : Effect.suspend(() => deep(depth - 1)).pipe(
          outer.protect({ operation: "deep" }),
          Effect.map((below) => below + 1)
        )
      assert.strictEqual(yield* deep(50), 50)
      assert.strictEqual((yield* outer.bulkhead!.stats).running, 0)
    }
  }))

it.effect("one effect value can run many times at once", () =>
  Effect.gen(function*() {
    for (const timeout of [undefined, "1 minute"] as const) {
      const pipeline = yield* Pipeline.make({
        provider: "p",
        timeout,
        breaker: true,
        bulkhead: { limit: 100, queue: 900 }
      })
      const protectedCall = Effect.flatMap(Random.nextIntBetween(1, 50), (millis) => Effect.sleep(millis)).pipe(
        pipeline.protect(call)
      )
      const fiber = yield* Effect.forEach(Array.from({ length: 500 }), () => protectedCall, {
        concurrency: "unbounded",
        discard: true
      }).pipe(Effect.forkChild)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* pipeline.bulkhead!.stats, { limit: 100, running: 0, queued: 0 })
      assert.strictEqual((yield* pipeline.breaker!.status("p/get")).calls, 500)
    }
  }))

it.live("a timeout on the live clock comes on time, and no timer is left", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: "40 millis" })
    const start = performance.now()
    const exits = yield* Effect.forEach(
      Array.from({ length: 20 }),
      () => Effect.never.pipe(pipeline.protect(call), Effect.exit),
      { concurrency: "unbounded" }
    )
    const took = performance.now() - start
    for (const exit of exits) assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause))
    assert.isAtLeast(took, 39)
    assert.isBelow(took, 1_000)
    assert.strictEqual(yield* Effect.succeed(1).pipe(pipeline.protect(call)), 1)
  }))

// -- the predictor ---------------------------------------------------------------------------------------------------

/** So many calls, one every 400 ms, each taking 20. */
const paced = (
  times: number,
  work: Effect.Effect<void, ProviderError>,
  protect: Pipeline.Pipeline<CircuitOpen | CallShed | BulkheadFull | RateLimited>["protect"]
) =>
  Effect.gen(function*() {
    const ends: Array<string> = []
    for (let i = 0; i < times; i++) {
      const run = Effect.andThen(Effect.sleep("20 millis"), work).pipe(protect(call), Effect.exit)
      const fiber = yield* Effect.forkChild(run, { startImmediately: true })
      yield* TestClock.adjust("400 millis")
      ends.push(Exit.match(yield* Fiber.join(fiber), {
        onSuccess: () => "ok",
        onFailure: (cause) => String(Cause.squash(cause)).includes("about to fail") ? "shed" : "failed"
      }))
    }
    return ends
  })

for (const timeout of [undefined, "1 minute"] as const) {
  it.effect(`a predictor in shadow refuses nobody, and its alarm is held against the circuit (${timeout})`, () =>
    Effect.gen(function*() {
      const { predictor, protect } = yield* Pipeline.make({
        provider: "p",
        predictor: true,
        breaker: { failureThreshold: 8, failureRate: false },
        timeout
      })
      yield* paced(400, Effect.void, protect)
      assert.isFalse((yield* predictor!.prediction).alarmed)
      const ends = yield* paced(9, down, protect)
      assert.deepStrictEqual(ends, Array.from({ length: 9 }, () => "failed"))
      assert.isTrue((yield* predictor!.prediction).alarmed)
      const { foreseen, medianLead, trips } = yield* predictor!.scorecard
      assert.deepStrictEqual([trips, foreseen], [1, 1])
      assert.isAbove(Duration.toMillis(medianLead!), 1_000)
    }))
}

it.effect("a predictor told to shed lets a share in, gives back what the shed had taken, and leaves probes alone", () =>
  Effect.gen(function*() {
    const { breaker, bulkhead, predictor, protect, rateLimit } = yield* Pipeline.make({
      provider: "p",
      predictor: { mode: "shed" },
      breaker: { failureThreshold: 30, failureRate: false, recoveryTimeout: "1 second" },
      bulkhead: { limit: 100, queue: 0 },
      rateLimit: { limit: 1_000, window: "1 hour", algorithm: "sliding-window" }
    })
    yield* paced(400, Effect.void, protect)
    yield* paced(10, down, protect)
    const runs = { count: 0 }
    const counting = Effect.suspend(() => (runs.count++, down))
    const ends = yield* Effect.forEach(
      Array.from({ length: 100 }),
      () => counting.pipe(protect(call), Effect.flip, Effect.map(({ _tag }) => _tag)),
      { concurrency: "unbounded" }
    )
    const shed = ends.filter((tag) => tag === "CallShed").length
    assert.isAtLeast(shed, 70)
    assert.strictEqual(runs.count, 100 - shed)
    assert.deepStrictEqual(yield* bulkhead!.stats, { limit: 100, running: 0, queued: 0 })
    assert.strictEqual(yield* rateLimit!.available, 1_000 - 410 - runs.count)
    // While the circuit is not closed the breaker alone decides, alarm or not.
    yield* breaker!.forceOpen("p/get")
    yield* breaker!.enable("p/get")
    assert.isTrue((yield* predictor!.prediction).alarmed)
    assert.strictEqual(yield* Effect.succeed("probed").pipe(protect(call)), "probed")
  }))

it.effect("a predictor's alarms are held against the circuits of its own pipeline, in a breaker that others share", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ failureThreshold: 2, failureRate: false })
    const shared = { breaker, predictor: true } as const
    const [a, b] = yield* Effect.all([
      Pipeline.make({ provider: "a", ...shared }),
      Pipeline.make({ provider: "b", ...shared })
    ])
    for (let i = 0; i < 2; i++) yield* Effect.exit(down.pipe(b.protect(call)))
    assert.strictEqual((yield* a.predictor!.scorecard).trips, 0)
    assert.strictEqual((yield* b.predictor!.scorecard).trips, 1)
  }))
