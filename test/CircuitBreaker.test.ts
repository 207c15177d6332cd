import { assert, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  type Layer,
  Random,
  Schema,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import * as Event from "../src/Event.ts"
import type { InvalidOptions } from "../src/InvalidOptions.ts"
import { NetworkError, ProviderError, type Reason, reasons, type ReasonTag } from "../src/ProviderError.ts"

/** Quick to read: no chance, no ramp. */
const plain = { jitter: false, rampUp: 0 } satisfies CircuitBreaker.Options

const failWith = <E>(error: E, breaker: CircuitBreaker.Service, key?: string) =>
  Effect.exit(Effect.fail(error).pipe(breaker.execute({ key })))
const fail = (breaker: CircuitBreaker.Service, key?: string) => failWith("down", breaker, key)
const succeed = (breaker: CircuitBreaker.Service, key?: string) =>
  Effect.exit(Effect.succeed("up").pipe(breaker.execute({ key })))
/** A call that succeeds or fails. */
const ends = (well: boolean, breaker: CircuitBreaker.Service): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  well ? succeed(breaker) : fail(breaker)
const times = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) => Effect.repeat(effect, { times: count - 1 })

const refusalOf = (exit: Exit.Exit<unknown, unknown>): CircuitBreaker.CircuitOpen | undefined =>
  Exit.isFailure(exit)
    ? exit.cause.reasons
      .map((reason) => reason._tag === "Fail" ? reason.error : undefined)
      .find((error) => error instanceof CircuitBreaker.CircuitOpen)
    : undefined

const assertRefused = (exit: Exit.Exit<unknown, unknown>) => assert.isDefined(refusalOf(exit), "should be refused")
const assertRan = (exit: Exit.Exit<unknown, unknown>) => assert.isUndefined(refusalOf(exit), "should run")

const providerError = (tag: ReasonTag, overrides?: Reason["overrides"]) =>
  new ProviderError({
    provider: "rates",
    operation: "latest",
    reason: new reasons[tag]({
      message: "no",
      rule: "test",
      delivered: "unknown",
      ...(overrides !== undefined && { overrides })
    })
  })

/** How many of `count` calls at this instant run. */
const admitted = (count: number, breaker: CircuitBreaker.Service) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => succeed(breaker)),
    (exits) => exits.filter(Exit.isSuccess).length
  )

/** Opens the circuit and lets it recover. */
const recover = (breaker: CircuitBreaker.Service) =>
  Effect.gen(function*() {
    yield* breaker.forceOpen()
    yield* breaker.enable()
    yield* times(3, succeed(breaker))
  })

// -- scenarios of reference/origin.md ---------------------------------------------------------------------------------

it.effect("scenario 20: a fresh circuit is closed", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make()
    assert.strictEqual(yield* breaker.state(), "Closed")
    assert.strictEqual(Duration.toMillis(yield* breaker.peek()), 0)
  }))

it.effect("scenario 21: three failures open, and the fourth call is refused with name and wait", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      name: "rates",
      failureThreshold: 3,
      minimumThroughput: 2,
      recoveryTimeout: "5 seconds"
    })
    yield* times(2, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
    let ran = false
    yield* TestClock.adjust("2 seconds")
    const exit = yield* Effect.exit(Effect.sync(() => ran = true).pipe(breaker.execute()))
    assert.isFalse(ran)
    const refusal = refusalOf(exit)
    assert.strictEqual(refusal?._tag, "CircuitOpen")
    assert.strictEqual(refusal?.key, "rates")
    assert.strictEqual(Duration.toMillis(refusal!.retryAfter), 3_000)
    assert.strictEqual(refusal?.message, "circuit rates is open")
  }))

it.effect("scenario 22: minimum throughput holds back until the tenth call", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: 5, minimumThroughput: 10 })
    yield* times(9, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("a window of few calls is full enough for shares when it is full", () =>
  Effect.gen(function*() {
    for (const minimumThroughput of [undefined, 2]) {
      const options = { ...plain, failureThreshold: 20, minimumThroughput, monitorCalls: 4 }
      const breaker = yield* CircuitBreaker.make(options)
      yield* times(3, fail(breaker))
      assert.strictEqual(yield* breaker.state(), "Closed")
      yield* fail(breaker)
      assert.strictEqual(yield* breaker.state(), "Open")
    }
  }))

it.effect("scenario 23: after the recovery time two successes close", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, recoveryTimeout: "5 seconds", successThreshold: 2 })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5100 millis")
    assert.isTrue(Exit.isSuccess(yield* succeed(breaker)))
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    assert.isTrue(Exit.isSuccess(yield* succeed(breaker)))
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("scenario 24: one failed probe opens for a full new recovery time", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      probeFailureThreshold: 1,
      recoveryMultiplier: 1,
      recoveryTimeout: "5 seconds"
    })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    assertRan(yield* fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
    yield* TestClock.adjust("4999 millis")
    assertRefused(yield* succeed(breaker))
    yield* TestClock.adjust("1 millis")
    assertRan(yield* succeed(breaker))
  }))

it.effect.each([[1], [4]])(
  "scenario 25: of 100 concurrent calls after recovery only %d probe",
  ([maxProbes]) =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ ...plain, maxProbes })
      yield* times(5, fail(breaker))
      yield* TestClock.adjust("5 seconds")
      let ran = 0
      const call = Effect.suspend(() => {
        ran++
        return Effect.sleep("1 second")
      }).pipe(breaker.execute())
      const fiber = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 100 }), () => Effect.exit(call), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      const exits = yield* Fiber.join(fiber)
      assert.strictEqual(ran, maxProbes)
      assert.strictEqual(exits.filter((exit) => refusalOf(exit) !== undefined).length, 100 - maxProbes!)
    })
)

it.effect("scenario 26: 80 % failures between successes trip on the rolling window", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    let calls = 0
    while ((yield* breaker.state()) === "Closed" && calls < 200) {
      yield* ends(calls++ % 5 === 4, breaker)
      yield* TestClock.adjust("1 second")
    }
    assert.strictEqual(calls, 11) // the tenth call succeeds, and a success does not trip
  }))

it.effect("scenario 27: validation and authentication errors never trip", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    for (const tag of ["ValidationError", "AuthenticationError", "InvalidRequestError", "NotFoundError"] as const) {
      yield* times(50, failWith(providerError(tag), breaker))
    }
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("scenario 28: a call begun before the trip changes nothing when it ends, and is counted as late", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, successThreshold: 1, probeFailureThreshold: 1 })
    const [good, bad] = [yield* Deferred.make<string>(), yield* Deferred.make<string, string>()]
    const early = yield* Effect.forkChild(Deferred.await(good).pipe(breaker.execute()), { startImmediately: true })
    const flawed = yield* Effect.forkChild(Effect.exit(Deferred.await(bad).pipe(breaker.execute())), {
      startImmediately: true
    })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    const probe = yield* Deferred.make<string>()
    const probing = yield* Effect.forkChild(Deferred.await(probe).pipe(breaker.execute()), { startImmediately: true })
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    yield* Deferred.succeed(good, "late")
    assert.strictEqual(yield* Fiber.join(early), "late")
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    yield* Deferred.fail(bad, "late")
    yield* Fiber.join(flawed)
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    assert.strictEqual((yield* breaker.status()).late, 2)
    yield* Deferred.succeed(probe, "up")
    yield* Fiber.join(probing)
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("scenario 29: without traffic the state says that it is ready to probe", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
    yield* TestClock.adjust("5 seconds")
    const [status] = yield* breaker.states
    assert.strictEqual(status?.state, "ReadyToProbe")
    assert.strictEqual(Duration.toMillis(status!.retryAfter), 0)
  }))

it.effect("scenario 30: every transition is one event, and trips count the openings", () => {
  const events: Array<Event.Event> = []
  return Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      name: "rates",
      successThreshold: 1,
      probeFailureThreshold: 1
    })
    yield* times(6, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    yield* fail(breaker)
    yield* TestClock.adjust("10 seconds")
    yield* succeed(breaker)
    yield* times(3, succeed(breaker))
    const changed = (at: number, from: string, to: string, reason: string, until?: number) => ({
      _tag: "BreakerChanged",
      key: "rates",
      at,
      from,
      to,
      reason,
      ...(until !== undefined && { until })
    })
    assert.deepStrictEqual<ReadonlyArray<unknown>>(events, [
      changed(0, "Closed", "Open", "ConsecutiveFailures", 5_000),
      changed(5_000, "Open", "HalfOpen", "RecoveryTimeElapsed"),
      changed(5_000, "HalfOpen", "Open", "ProbesFailed", 15_000),
      changed(15_000, "Open", "HalfOpen", "RecoveryTimeElapsed"),
      changed(15_000, "HalfOpen", "Closed", "ProbesSucceeded")
    ])
    assert.strictEqual((yield* breaker.status()).trips, 2)
  }).pipe(Effect.provideService(Event.Sink, (event) => void events.push(event)))
})

// -- what trips -------------------------------------------------------------------------------------------------------

it.effect("consecutive failures trip, and a success between starts the count again", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: 3, failureRate: false })
    for (let round = 0; round < 20; round++) {
      yield* times(2, fail(breaker))
      yield* succeed(breaker)
    }
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* times(3, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("consecutive failures trip at low traffic, where the window never fills", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    for (let call = 0; call < 5; call++) {
      yield* fail(breaker)
      yield* TestClock.adjust("1 minute")
    }
    assert.strictEqual((yield* breaker.status()).trips, 1)
  }))

it.effect("count window: the rate of the last calls trips, however long ago they were", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false, monitorCalls: 10 })
    // 20 good calls leave the window of 10 by being followed, not by time.
    yield* times(20, succeed(breaker))
    for (let call = 0; call < 4; call++) {
      yield* fail(breaker)
      yield* TestClock.adjust("1 hour")
    }
    assert.strictEqual((yield* breaker.status()).calls, 10)
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("time window: failures of before an idle spell do not trip with one after it", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false, minimumThroughput: 5 })
    yield* times(4, fail(breaker))
    yield* TestClock.adjust("1 hour")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    assert.strictEqual((yield* breaker.status()).calls, 1)
    yield* times(4, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("time window: failures on both sides of a bucket's edge count together", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false })
    yield* TestClock.adjust("29 seconds")
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("2 seconds")
    yield* times(5, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("the threshold itself trips: half of the calls at a rate of 0.5", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false, failureRate: 0.5 })
    for (let call = 0; call < 4; call++) {
      yield* succeed(breaker)
      yield* fail(breaker)
    }
    yield* succeed(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("a success never trips, even when old successes leave the window", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false })
    yield* times(10, succeed(breaker))
    yield* TestClock.adjust("27 seconds")
    for (let pair = 0; pair < 9; pair++) {
      yield* fail(breaker)
      yield* succeed(breaker)
      if (pair === 3) yield* TestClock.adjust("3 seconds")
      if ((yield* breaker.state()) === "Open") break
      // What opened it was a failure: after every success it is still closed.
      assert.strictEqual(yield* breaker.state(), "Closed")
    }
    assert.strictEqual((yield* breaker.status()).trips, 1)
  }))

it.effect("a count of failures in the window trips", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      failureThreshold: false,
      failureRate: false,
      failureCount: 3
    })
    yield* times(100, succeed(breaker))
    yield* fail(breaker)
    yield* succeed(breaker)
    yield* fail(breaker)
    yield* succeed(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

const takes = (duration: Duration.Input, breaker: CircuitBreaker.Service) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(Effect.sleep(duration).pipe(breaker.execute())), {
      startImmediately: true
    })
    yield* TestClock.adjust(duration)
    return yield* Fiber.join(fiber)
  })

it.effect("slow calls trip by their share, successes that they are", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 hour")
    const breaker = yield* CircuitBreaker.make({ ...plain, slowCallDuration: "1 second", slowCallRate: 0.4 })
    for (let call = 0; call < 3; call++) {
      yield* takes("999 millis", breaker)
      yield* takes("999 millis", breaker)
      yield* takes("1 second", breaker)
    }
    assert.strictEqual(yield* breaker.state(), "Closed")
    assert.strictEqual((yield* breaker.status()).slow, 3)
    yield* takes("1 second", breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
    // A slow probe is no recovery.
    yield* TestClock.adjust("5 seconds")
    yield* takes("2 seconds", breaker)
    yield* takes("2 seconds", breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("a failure is slow when it took long, and not when it came at once", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 hour")
    const breaker = yield* CircuitBreaker.make({ ...plain, slowCallDuration: "1 second" })
    yield* fail(breaker)
    assert.strictEqual((yield* breaker.status()).slow, 0)
    const late = Effect.andThen(Effect.sleep("1 second"), Effect.fail("down")).pipe(breaker.execute())
    const fiber = yield* Effect.forkChild(Effect.exit(late), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    const { calls, failures, slow } = yield* breaker.status()
    assert.deepStrictEqual({ calls, failures, slow }, { calls: 2, failures: 2, slow: 1 })
  }))

it.effect("minimum throughput counts calls that ran: refusals and interruptions do not fill it", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, failureThreshold: false, minimumThroughput: 4 })
    yield* times(3, fail(breaker))
    yield* breaker.hold("1 second")
    yield* times(10, Effect.map(fail(breaker), assertRefused))
    yield* TestClock.adjust("1 second")
    yield* times(5, Effect.timeout(Effect.never.pipe(breaker.execute()), 0).pipe(Effect.ignore, TestClock.withLive))
    assert.strictEqual((yield* breaker.status()).calls, 3)
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("combined triggers: in a row, by rate and by slow calls, whichever comes first", () =>
  Effect.gen(function*() {
    const options = { ...plain, slowCallDuration: "1 second" } as const
    const row = yield* CircuitBreaker.make(options)
    yield* times(30, succeed(row))
    yield* times(5, fail(row))
    const rate = yield* CircuitBreaker.make(options)
    for (let call = 0; call < 5; call++) yield* Effect.andThen(succeed(rate), fail(rate))
    const slow = yield* CircuitBreaker.make(options)
    yield* times(5, succeed(slow))
    for (let call = 0; call < 5; call++) yield* takes("1 second", slow)
    for (const breaker of [row, rate, slow]) assert.strictEqual((yield* breaker.status()).trips, 1)
  }))

it.effect("warm-up grace: a new circuit counts, but does not open before its time", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, warmUp: "10 seconds" })
    yield* times(50, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* TestClock.adjust("10 seconds")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
    // A circuit made later has its own warm-up.
    yield* times(50, fail(breaker, "late"))
    assert.strictEqual(yield* breaker.state("late"), "Closed")
  }))

it.live("on the real clock, which calls look at only roughly, all of this is the same", () =>
  Effect.gen(function*() {
    const before = Date.now()
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(4, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    const { calls, consecutiveFailures, failures } = yield* breaker.status()
    assert.deepStrictEqual({ calls, consecutiveFailures, failures }, { calls: 4, consecutiveFailures: 4, failures: 4 })
    yield* fail(breaker)
    const opened = yield* breaker.status()
    assert.strictEqual(opened.state, "Open")
    assert.isAtLeast(opened.since, before)

    const young = yield* CircuitBreaker.make({ ...plain, warmUp: "10 minutes" })
    yield* times(50, fail(young))
    assert.strictEqual(yield* young.state(), "Closed")

    const few = yield* CircuitBreaker.make({ ...plain, maxOpenShare: 0.5 })
    for (const key of ["a", "b"]) yield* succeed(few, key)
    for (const key of ["a", "b"]) yield* times(20, fail(few, key))
    assert.deepStrictEqual(
      (yield* few.states).map(({ key, state }) => [key, state]),
      [["a", "Open"], ["b", "Closed"]]
    )

    const shedding = yield* CircuitBreaker.make({
      ...plain,
      failureThreshold: false,
      failureRate: false,
      shedBelow: 0.8
    })
    yield* times(100, fail(shedding))
    assert.isAbove((yield* shedding.status()).refused, 0)
  }))

it.effect("outcome weight: a failure may count as several", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      classify: (exit) => Exit.isSuccess(exit) ? "Success" : { verdict: "Failure", weight: 2.5 }
    })
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

// -- how a call's end is judged ----------------------------------------------------------------------------------------

it("three-way classification: what each end says by default", () => {
  const judge = CircuitBreaker.classify
  assert.strictEqual(judge(Exit.succeed(1)), "Success")
  assert.strictEqual(judge(Exit.fail("no")), "Failure")
  assert.strictEqual(judge(Exit.fail(providerError("NetworkError"))), "Failure")
  assert.strictEqual(judge(Exit.fail(providerError("NotFoundError"))), "Success")
  assert.strictEqual(judge(Exit.fail(providerError("RateLimitError"))), "Ignored")
  assert.deepStrictEqual(
    judge(Exit.fail(providerError("ConfigurationError", { openForMillis: 60_000 }))),
    { verdict: "Ignored", openFor: 60_000 }
  )
})

it.effect.each(["CircuitOpen", "BulkheadFull", "RateLimited", "BudgetExhausted", "DeadlineExceeded", "LevelTooLow"])(
  "a refusal of our own is no failure of the provider: %s",
  (_tag) =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(plain)
      yield* times(50, failWith({ _tag }, breaker))
      assert.strictEqual(yield* breaker.state(), "Closed")
      assert.strictEqual((yield* breaker.status()).calls, 0)
    })
)

it.effect("a defect goes through and is not counted, unless the judge says so", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const bug = Effect.exit(Effect.die("bug").pipe(breaker.execute()))
    yield* times(10, bug)
    assert.isTrue(Exit.hasDies(yield* bug))
    const strict = yield* CircuitBreaker.make({
      ...plain,
      classify: (exit) => Exit.isSuccess(exit) ? "Success" : "Failure"
    })
    yield* times(5, Effect.exit(Effect.die("bug").pipe(strict.execute())))
    assert.strictEqual(yield* strict.state(), "Open")
  }))

it.effect("failure by result value: the judge sees successes too", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const call = Effect.succeed({ status: 503 }).pipe(breaker.execute({
      classify: (exit: Exit.Exit<{ readonly status: number }>) =>
        Exit.isSuccess(exit) && exit.value.status < 500 ? "Success" : "Failure"
    }))
    yield* times(5, call)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("local and remote faults: only what the provider did counts against it", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      // A request that never left is our network's fault; the provider's circuit stays closed.
      classify: (exit) => {
        const failure = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : undefined
        return failure?._tag === "Some" && failure.value instanceof ProviderError &&
            failure.value.reason.delivered === "no"
          ? "Ignored"
          : CircuitBreaker.classify(exit)
      }
    })
    const unsent = new ProviderError({
      provider: "rates",
      operation: "latest",
      reason: new NetworkError({ message: "no route", rule: "test", delivered: "no" })
    })
    yield* times(50, failWith(unsent, breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* times(5, failWith(providerError("NetworkError"), breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("interrupted calls are neutral: closed, they do not count; probing, they free the slot", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const hanging = Effect.forkChild(Effect.never.pipe(breaker.execute()), { startImmediately: true })
    for (let call = 0; call < 20; call++) yield* Effect.flatMap(hanging, Fiber.interrupt)
    assert.deepStrictEqual(
      (({ calls, failures, state }) => ({ calls, failures, state }))(yield* breaker.status()),
      { calls: 0, failures: 0, state: "Closed" }
    )
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    for (let call = 0; call < 20; call++) {
      const probe = yield* hanging
      assertRefused(yield* succeed(breaker))
      yield* Fiber.interrupt(probe)
    }
    yield* times(3, Effect.map(succeed(breaker), assertRan))
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("calls under way run on when the circuit opens, or are interrupted where they say so", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    let interrupted = 0
    const read = (interruptOnTrip: boolean) =>
      Effect.forkChild(
        Effect.exit(
          Effect.sleep("10 seconds").pipe(
            Effect.onInterrupt(() => Effect.sync(() => interrupted++)),
            breaker.execute({ interruptOnTrip })
          )
        ),
        { startImmediately: true }
      )
    const [stays, goes] = [yield* read(false), yield* read(true)]
    yield* times(5, fail(breaker))
    assertRefused(yield* Fiber.join(goes))
    assert.strictEqual(interrupted, 1)
    yield* TestClock.adjust("10 seconds")
    assert.isTrue(Exit.isSuccess(yield* Fiber.join(stays)))
    // A call that trips the circuit itself fails with its own error.
    yield* breaker.forceClose()
    yield* times(4, fail(breaker))
    const last = yield* Effect.flip(Effect.fail("mine").pipe(breaker.execute({ interruptOnTrip: true })))
    assert.strictEqual(last, "mine")
  }))

// -- probes -----------------------------------------------------------------------------------------------------------

it.effect("success ratio: three good probes close, one flake between is forgiven, two open again", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    yield* times(2, succeed(breaker))
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    yield* succeed(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("10 seconds")
    yield* fail(breaker)
    yield* times(2, succeed(breaker))
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
  }))

it.effect("probe lease: a probe that never ends frees its slot, and two of them open the circuit again", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, probeLease: "11 seconds" })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    const hang = Effect.forkChild(Effect.never.pipe(breaker.execute()), { startImmediately: true })
    yield* hang
    const refusal = refusalOf(yield* succeed(breaker))
    assert.strictEqual(Duration.toMillis(refusal!.retryAfter), 11_000)
    yield* TestClock.adjust("11 seconds")
    yield* hang // overdue once: the second lease is twice as long
    yield* TestClock.adjust("21 seconds")
    assertRefused(yield* succeed(breaker))
    yield* TestClock.adjust("1 second")
    assertRefused(yield* succeed(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
    // However often probes hang, the circuit is never stuck.
    yield* TestClock.adjust("10 days")
    yield* times(3, Effect.map(succeed(breaker), assertRan))
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("a provider slower than the lease still recovers: every overdue probe doubles the next lease", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, probeLease: "1 second", recoveryTimeout: "1 second" })
    yield* times(5, fail(breaker))
    let minutes = 0
    while ((yield* breaker.state()) !== "Closed" && minutes < 60) {
      // Somebody calls every second; a call takes ten.
      for (let second = 0; second < 60; second++) {
        yield* Effect.forkChild(Effect.ignore(Effect.sleep("10 seconds").pipe(breaker.execute())), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
      }
      minutes++
    }
    assert.isBelow(minutes, 10)
  }))

it.effect("what an overdue probe says later is late", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, successThreshold: 1, probeLease: "1 second" })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    const slow = yield* Deferred.make<string>()
    const overdue = yield* Effect.forkChild(Deferred.await(slow).pipe(breaker.execute()), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Effect.forkChild(Effect.never.pipe(breaker.execute()), { startImmediately: true })
    yield* Deferred.succeed(slow, "at last")
    assert.strictEqual(yield* Fiber.join(overdue), "at last")
    assert.strictEqual(yield* breaker.state(), "HalfOpen")
    assert.strictEqual((yield* breaker.status()).late, 1)
  }))

// -- open time --------------------------------------------------------------------------------------------------------

/** Opens from Closed by five failures, or from HalfOpen by two, and tells how long for. */
const openTime = (breaker: CircuitBreaker.Service) =>
  Effect.gen(function*() {
    while ((yield* breaker.state()) !== "Open") yield* fail(breaker)
    return Duration.toMillis(yield* breaker.peek())
  })

it.effect("growing open time: twice as long every time, up to the longest", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, maxRecoveryTimeout: "30 seconds" })
    const openTimes: Array<number> = []
    for (let opening = 0; opening < 5; opening++) {
      openTimes.push(yield* openTime(breaker))
      yield* TestClock.adjust(openTimes.at(-1)!)
    }
    assert.deepStrictEqual(openTimes, [5_000, 10_000, 20_000, 30_000, 30_000])
  }))

it.effect("a quiet spell as long as the last open time halves the count of openings, a long one forgets them", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, maxRecoveryTimeout: "5 minutes" })
    const reopen = Effect.gen(function*() {
      const millis = yield* openTime(breaker)
      yield* TestClock.adjust(millis)
      return millis
    })
    for (let opening = 0; opening < 4; opening++) yield* reopen // 5, 10, 20 and 40 seconds: four openings
    yield* times(3, succeed(breaker))
    yield* TestClock.adjust("39 seconds")
    assert.strictEqual(yield* reopen, 80_000)
    yield* times(3, succeed(breaker))
    yield* TestClock.adjust("80 seconds")
    assert.strictEqual(yield* reopen, 20_000) // of five openings two are left
    yield* times(3, succeed(breaker))
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(yield* reopen, 5_000)
  }))

it.effect("jittered open time: from half of it to all of it, spread, and the same for the same seed", () =>
  Effect.gen(function*() {
    const openTimes = Effect.forEach(
      Array.from({ length: 50 }, (_, index) => `${index}`),
      (key) =>
        Effect.gen(function*() {
          const breaker = yield* CircuitBreaker.CircuitBreaker
          yield* times(5, fail(breaker, key))
          return Duration.toMillis(yield* breaker.peek(key))
        })
    ).pipe(Effect.provide(CircuitBreaker.CircuitBreaker.layer()), Random.withSeed("breaker"))
    const first = yield* openTimes
    assert.isAtLeast(Math.min(...first), 2_500)
    assert.isAtMost(Math.max(...first), 5_000)
    assert.isAbove(new Set(first).size, 40)
    assert.isAbove(Math.max(...first) - Math.min(...first), 2_000)
    assert.deepStrictEqual(yield* openTimes, first)
  }))

it.effect("open hint: Retry-After opens at once, and only lengthens", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* failWith(providerError("ConfigurationError", { openForMillis: 60_000 }), breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
    assert.strictEqual(Duration.toMillis(yield* breaker.peek()), 60_000)
    const short = yield* CircuitBreaker.make(plain)
    yield* failWith(providerError("ServiceUnavailableError", { openForMillis: 1 }), short)
    assert.strictEqual(Duration.toMillis(yield* short.peek()), 5_000)
  }))

it.effect("hold: calls are refused as long as the provider asked, without a trip or a failure", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* breaker.hold("7 seconds")
    yield* breaker.hold("2 seconds") // a shorter one does not shorten
    const refusal = refusalOf(yield* succeed(breaker))
    assert.strictEqual(Duration.toMillis(refusal!.retryAfter), 7_000)
    yield* TestClock.adjust("7 seconds")
    assertRan(yield* succeed(breaker))
    assert.strictEqual((yield* breaker.status()).trips, 0)
    // An open circuit is held open longer, and what is left of a hold outlasts a trip.
    yield* times(5, fail(breaker))
    yield* breaker.hold("1 minute")
    assert.strictEqual(Duration.toMillis(yield* breaker.peek()), 60_000)
  }))

it.effect("what a provider asked for outlasts what an operator does, but for closing the circuit", () =>
  Effect.gen(function*() {
    const left = (breaker: CircuitBreaker.Service) => Effect.map(breaker.peek(), Duration.toSeconds)
    for (const command of ["forceOpen", "disable"] as const) {
      const held = yield* CircuitBreaker.make(plain)
      yield* held.hold("1 minute")
      const hinted = yield* CircuitBreaker.make(plain)
      yield* failWith(providerError("RateLimitError", { openForMillis: 60_000 }), hinted)
      const open = yield* CircuitBreaker.make(plain)
      yield* times(5, fail(open))
      const lengthened = yield* CircuitBreaker.make(plain)
      yield* times(5, fail(lengthened))
      yield* lengthened.hold("1 minute")
      for (const breaker of [held, hinted, open, lengthened]) yield* breaker[command]()
      yield* TestClock.adjust("1 second")
      for (const breaker of [held, hinted, open, lengthened]) yield* breaker.enable()
      assert.deepStrictEqual(yield* Effect.forEach([held, hinted, open, lengthened], left), [59, 59, 0, 59], command)
      yield* held.forceClose()
      assert.strictEqual(yield* left(held), 0)
    }
  }))

it.effect("a rejection carries the wait, computed when it is read, and one error serves the open period", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    const first = refusalOf(yield* succeed(breaker))!
    assert.strictEqual(Duration.toMillis(first.retryAfter), 5_000)
    yield* TestClock.adjust("1 second")
    const second = refusalOf(yield* succeed(breaker))!
    assert.strictEqual(second, first)
    assert.strictEqual(Duration.toMillis(second.retryAfter), 4_000)
    assert.notInclude(String(second.stack), "    at ")
    const encoded = yield* Schema.encodeEffect(CircuitBreaker.CircuitOpen)(second)
    assert.deepStrictEqual<unknown>(encoded, { _tag: "CircuitOpen", key: "default", retryAfter: 4_000 })
  }))

// -- after recovery, and shedding ---------------------------------------------------------------------------------------

it.effect("ramp-up: a tenth of the calls at first, all of them after ten seconds", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ jitter: false })
    yield* recover(breaker)
    assert.strictEqual(yield* breaker.state(), "Closed")
    assert.isAtMost(Math.abs((yield* admitted(1_000, breaker)) - 100), 2)
    yield* TestClock.adjust("5 seconds")
    assert.isAtMost(Math.abs((yield* admitted(1_000, breaker)) - 550), 2)
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(yield* admitted(1_000, breaker), 1_000)
  }))

it.effect("ramp-up: a quiet client notices nothing", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ jitter: false })
    yield* recover(breaker)
    for (let call = 0; call < 100; call++) {
      assertRan(yield* succeed(breaker))
      yield* TestClock.adjust("100 millis")
    }
    yield* recover(breaker)
    yield* succeed(breaker)
    const refusal = refusalOf(yield* succeed(breaker))
    assert.strictEqual(Duration.toMillis(refusal!.retryAfter), 100)
  }))

it.effect("ramp-up: it falls back at a trip and starts from the beginning after the next recovery", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ jitter: false, failureThreshold: 2 })
    yield* recover(breaker)
    yield* TestClock.adjust("8 seconds")
    yield* times(4, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
    yield* TestClock.adjust("1 minute")
    yield* times(3, succeed(breaker))
    assert.isBelow(yield* admitted(1_000, breaker), 110)
  }))

it.effect("probabilistic shedding: the share let in follows the share of successes", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      failureThreshold: false,
      failureRate: false,
      shedBelow: 0.8
    })
    for (let call = 0; call < 50; call++) yield* ends(call % 5 !== 0, breaker)
    assert.strictEqual((yield* breaker.status()).refused, 0) // exactly 80 %
    const fiftyFifty = Effect.forEach(
      Array.from({ length: 1_000 }, (_, index) => index),
      (index) => ends(index % 2 === 1, breaker)
    )
    yield* fiftyFifty
    const before = (yield* breaker.status()).refused
    yield* fiftyFifty
    const shed = ((yield* breaker.status()).refused - before) / 1_000
    assert.isAbove(shed, 0.3)
    assert.isBelow(shed, 0.5)
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* admitted(100, breaker), 100)
  }))

it.effect("dry run: it counts and changes state, and refuses nobody but by hand", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, dryRun: true })
    yield* times(25, Effect.map(fail(breaker), assertRan))
    const status = yield* breaker.status()
    assert.strictEqual(status.state, "Open")
    assert.strictEqual(status.refused, 20)
    assert.strictEqual(status.trips, 1)
    yield* TestClock.adjust("5 seconds")
    yield* times(3, Effect.map(succeed(breaker), assertRan))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* breaker.forceOpen()
    assertRefused(yield* succeed(breaker))
  }))

// -- by hand ------------------------------------------------------------------------------------------------------------

it.effect("force open: refuses until enabled, then the next call is a probe", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* breaker.forceOpen()
    const refusal = refusalOf(yield* succeed(breaker))
    assert.isFalse(Duration.isFinite(refusal!.retryAfter))
    yield* TestClock.adjust("10 days")
    assertRefused(yield* succeed(breaker))
    assert.strictEqual(yield* breaker.state(), "ForcedOpen")
    yield* breaker.enable()
    assert.strictEqual(yield* breaker.state(), "ReadyToProbe")
    yield* times(3, succeed(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("force close and disable: closed with its rules, or everything passes unjudged", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    yield* breaker.forceClose()
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* times(4, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Closed")
    yield* fail(breaker)
    assert.strictEqual(yield* breaker.state(), "Open")
    yield* breaker.disable()
    yield* times(100, Effect.map(fail(breaker), assertRan))
    assert.strictEqual(yield* breaker.state(), "Disabled")
    yield* breaker.enable()
    assert.strictEqual(yield* breaker.state(), "Closed")
    assert.strictEqual((yield* breaker.status()).consecutiveFailures, 0)
  }))

it.effect("reset: an open circuit is forgotten, counters and all", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const call = fail(breaker)
    yield* times(7, call)
    yield* breaker.reset()
    const status = yield* breaker.status()
    assert.deepStrictEqual(
      [status.state, status.trips, status.refused, status.consecutiveFailures],
      ["Closed", 0, 0, 0]
    )
    // An effect built before the reset finds the new circuit.
    yield* times(5, call)
    assert.strictEqual((yield* breaker.status()).trips, 1)
  }))

it.effect("transitions stream: every change of every circuit, with its reason", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, successThreshold: 1 })
    const changes = yield* Effect.forkChild(Stream.runCollect(Stream.take(breaker.transitions, 4)), {
      startImmediately: true
    })
    yield* Effect.yieldNow
    yield* times(5, fail(breaker, "a"))
    yield* breaker.forceOpen("b")
    yield* TestClock.adjust("5 seconds")
    yield* succeed(breaker, "a")
    assert.deepStrictEqual(yield* Fiber.join(changes), [
      { key: "a", from: "Closed", to: "Open", reason: "ConsecutiveFailures", at: 0 },
      { key: "b", from: "Closed", to: "ForcedOpen", reason: "Operator", at: 0 },
      { key: "a", from: "Open", to: "HalfOpen", reason: "RecoveryTimeElapsed", at: 5_000 },
      { key: "a", from: "HalfOpen", to: "Closed", reason: "ProbesSucceeded", at: 5_000 }
    ])
  }))

it.effect("awaitReady waits until a call would pass", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* breaker.awaitReady()
    yield* times(5, fail(breaker))
    const waiting = yield* Effect.forkChild(breaker.awaitReady(), { startImmediately: true })
    yield* TestClock.adjust("4999 millis")
    assert.isUndefined(waiting.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    assert.isDefined(waiting.pollUnsafe())
    // An operator's word ends the wait too.
    yield* breaker.forceOpen()
    const held = yield* Effect.forkChild(breaker.awaitReady(), { startImmediately: true })
    yield* TestClock.adjust("10 days")
    assert.isUndefined(held.pollUnsafe())
    yield* breaker.forceClose()
    yield* Fiber.join(held)
  }))

it.effect("awaitReady sees a slot that a probe frees, and a hold that an operator ends", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    yield* Effect.forkChild(Effect.sleep("100 millis").pipe(breaker.execute()), { startImmediately: true })
    const waiting = yield* Effect.forkChild(breaker.awaitReady(), { startImmediately: true })
    yield* TestClock.adjust("99 millis")
    assert.isUndefined(waiting.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    assert.isDefined(waiting.pollUnsafe())

    yield* breaker.hold("1 hour", "held")
    const held = yield* Effect.forkChild(breaker.awaitReady("held"), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(held.pollUnsafe())
    yield* breaker.forceClose("held")
    yield* Fiber.join(held)
  }))

it.effect("a ramp that becomes shorter while it runs ends sooner", () =>
  Effect.gen(function*() {
    const options = { ...plain, successThreshold: 1 }
    const breaker = yield* CircuitBreaker.make({ ...options, rampUp: "1 hour" })
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("5 seconds")
    yield* succeed(breaker)
    yield* breaker.configure(options)
    for (let call = 0; call < 20; call++) assert.isTrue(Exit.isSuccess(yield* succeed(breaker)))
  }))

// -- keys ---------------------------------------------------------------------------------------------------------------

it.effect("per-key circuits have their own state and, where given, their own settings", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      ...plain,
      recoveryTimeout: "7 seconds",
      keys: { fragile: { failureThreshold: 1, recoveryTimeout: undefined } }
    })
    yield* fail(breaker, "fragile")
    yield* times(4, fail(breaker, "sturdy"))
    assert.strictEqual(yield* breaker.state("fragile"), "Open")
    assert.strictEqual(yield* breaker.state("sturdy"), "Closed")
    assert.strictEqual(Duration.toMillis(yield* breaker.peek("fragile")), 7_000)
    assert.strictEqual(refusalOf(yield* succeed(breaker, "fragile"))?.key, "fragile")
    assertRan(yield* succeed(breaker, "sturdy"))
  }))

it.effect("idle keys are forgotten, unless they are open or held by hand", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, idleTimeToLive: "1 minute" })
    yield* succeed(breaker, "idle")
    yield* breaker.disable("by hand")
    yield* breaker.forceOpen("closed for repair")
    yield* times(5, fail(breaker, "held"))
    yield* breaker.hold("1 hour", "held")
    yield* TestClock.adjust("30 seconds")
    yield* succeed(breaker, "busy")
    yield* TestClock.adjust("40 seconds")
    const keys = (yield* breaker.states).map((status) => status.key)
    assert.deepStrictEqual(keys, ["by hand", "closed for repair", "held", "busy"])
  }))

it.effect("keys are bounded: the least useful circuit makes room", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, maxKeys: 100 })
    yield* times(5, fail(breaker, "open"))
    yield* breaker.hold("1 hour", "open")
    for (let key = 0; key < 10_000; key++) yield* succeed(breaker, `key-${key}`)
    const states = yield* breaker.states
    assert.strictEqual(states.length, 100)
    assert.isTrue(states.some((status) => status.key === "open"))
    assert.isTrue(states.some((status) => status.key === "key-9999"))
  }))

it.effect("counts a failure that cannot be looked at as what any other is", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const exit = yield* Effect.exit(breaker.execute()(Effect.fail(proxy)))
    assert.isTrue(Exit.hasFails(exit))
    assert.strictEqual((yield* breaker.status()).failures, 1)
  }))

it.effect("an open circuit that is forgotten is closed for all who listen", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, idleTimeToLive: "1 hour" })
    const heard = yield* Effect.forkChild(Stream.runCollect(Stream.take(breaker.transitions, 2)), {
      startImmediately: true
    })
    yield* times(5, fail(breaker, "gone"))
    yield* TestClock.adjust("2 hours")
    assert.deepStrictEqual(yield* breaker.states, [])
    const [opened, forgotten] = yield* Fiber.join(heard)
    assert.strictEqual(opened?.to, "Open")
    assert.deepStrictEqual([forgotten?.from, forgotten?.to, forgotten?.reason], ["Open", "Closed", "Forgotten"])
    assert.strictEqual(yield* breaker.state("gone"), "Closed")
  }))

it.effect("idle circuits are forgotten as new ones come, without a look at all of them", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, idleTimeToLive: "1 minute" })
    for (let key = 0; key < 1_000; key++) yield* succeed(breaker, `old-${key}`)
    yield* TestClock.adjust("1 minute")
    for (let key = 0; key < 1_000; key++) yield* succeed(breaker, `new-${key}`)
    const snapshot = yield* breaker.snapshot
    assert.strictEqual(snapshot.circuits.length, 1_000)
  }))

it.effect("open share: no more than the given share of circuits open by themselves", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ ...plain, maxOpenShare: 0.3 })
    const hosts = Array.from({ length: 10 }, (_, index) => `host-${index}`)
    for (const host of hosts) yield* succeed(breaker, host)
    for (const host of hosts) yield* times(20, fail(breaker, host))
    const open = (yield* breaker.states).filter((status) => status.state === "Open")
    assert.deepStrictEqual(open.map((status) => status.key), ["host-0", "host-1", "host-2"])
    // One recovers, so that another may open.
    yield* breaker.forceClose("host-0")
    yield* fail(breaker, "host-9")
    assert.strictEqual(yield* breaker.state("host-9"), "Open")
  }))

// -- a life beyond the process ----------------------------------------------------------------------------------------

it.effect("snapshot and restore: short-lived processes add up", () =>
  Effect.gen(function*() {
    const wire = Schema.fromJsonString(CircuitBreaker.Snapshot)
    let stored: string | undefined
    /** A process that makes one call. */
    const run = (call: (breaker: CircuitBreaker.Service) => Effect.Effect<Exit.Exit<unknown, unknown>>) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 second")
        const breaker = yield* CircuitBreaker.make({ ...plain, successThreshold: 2 })
        if (stored !== undefined) yield* breaker.restore(yield* Schema.decodeEffect(wire)(stored))
        const exit = yield* call(breaker)
        stored = yield* Schema.encodeEffect(wire)(yield* breaker.snapshot)
        return exit
      })
    for (let call = 0; call < 5; call++) assertRan(yield* run(fail))
    assertRefused(yield* run(succeed))
    yield* TestClock.adjust("5 seconds")
    assertRan(yield* run(succeed))
    assertRan(yield* run(succeed))
    const breaker = yield* CircuitBreaker.make()
    yield* breaker.restore(yield* Schema.decodeEffect(wire)(stored!))
    assert.strictEqual(yield* breaker.state(), "Closed")
  }))

it.effect("snapshot and restore: the window goes on ageing, and a clock that is behind does no harm", () =>
  Effect.gen(function*() {
    const options = { ...plain, failureThreshold: false, minimumThroughput: 5 } as const
    const first = yield* CircuitBreaker.make(options)
    yield* TestClock.adjust("1 hour")
    yield* times(4, fail(first))
    yield* times(5, fail(first, "open"))
    const snapshot = yield* first.snapshot
    yield* TestClock.setTime(60_000)
    const behind = yield* CircuitBreaker.make(options)
    yield* behind.restore(snapshot)
    assert.strictEqual((yield* behind.status()).calls, 4)
    assert.strictEqual(Duration.toMillis(yield* behind.peek("open")), 5_000)
    yield* TestClock.setTime(Duration.toMillis("2 hours"))
    const later = yield* CircuitBreaker.make(options)
    yield* later.restore(snapshot)
    assert.strictEqual((yield* later.status()).calls, 0)
    assert.strictEqual(yield* later.state("open"), "ReadyToProbe")
  }))

it.effect("restore: counts are not put into a window of another shape", () =>
  Effect.gen(function*() {
    const options = { ...plain, failureThreshold: false } as const
    const first = yield* CircuitBreaker.make({ ...options, monitorWindow: "10 seconds" })
    yield* times(4, fail(first))
    const snapshot = yield* first.snapshot
    for (const other of [{ monitorWindow: "1 minute" }, { monitorWindow: "10 seconds", monitorBuckets: 5 }] as const) {
      const breaker = yield* CircuitBreaker.make({ ...options, ...other })
      yield* breaker.restore(snapshot)
      assert.strictEqual((yield* breaker.status()).calls, 0)
    }
    const same = yield* CircuitBreaker.make({ ...options, monitorWindow: "10 seconds" })
    yield* same.restore(snapshot)
    assert.strictEqual((yield* same.status()).calls, 4)
  }))

it.effect("a clock that is set back holds nobody longer than was planned", () =>
  Effect.gen(function*() {
    yield* TestClock.adjust("1 hour")
    const breaker = yield* CircuitBreaker.make(plain)
    yield* times(5, fail(breaker))
    yield* TestClock.adjust("2 seconds")
    yield* TestClock.setTime(0)
    assert.strictEqual(Duration.toMillis(yield* breaker.peek()), 5_000)
    yield* TestClock.adjust("5 seconds")
    assertRan(yield* succeed(breaker))
  }))

it.effect("configure: other settings take hold at once, and no state is lost", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make(plain)
    const call = fail(breaker)
    yield* times(3, call)
    yield* times(5, fail(breaker, "open"))
    yield* breaker.configure({ ...plain, failureThreshold: 4 })
    assert.strictEqual(yield* breaker.state("open"), "Open")
    yield* call
    assert.strictEqual(yield* breaker.state(), "Open")
    const refused = yield* Effect.flip(breaker.configure({ failureThreshold: 0 }))
    assert.strictEqual(refused.field, "failureThreshold")
    // Slow calls, switched on, are timed for effects built before.
    yield* breaker.forceClose()
    const slow = Effect.sleep("2 seconds").pipe(breaker.execute())
    yield* breaker.configure({ ...plain, slowCallDuration: "1 second" })
    const fiber = yield* Effect.forkChild(slow, { startImmediately: true })
    yield* TestClock.adjust("2 seconds")
    yield* Fiber.join(fiber)
    assert.strictEqual((yield* breaker.status()).slow, 1)
  }))

// -- construction -------------------------------------------------------------------------------------------------------

it.effect.each<[string, CircuitBreaker.Options]>([
  ["failureThreshold", { failureThreshold: 0 }],
  ["failureThreshold", { failureThreshold: 2.5 }],
  ["failureRate", { failureRate: 1.5 }],
  ["failureRate", { failureRate: 0 }],
  ["minimumThroughput", { minimumThroughput: 0 }],
  ["monitorWindow", { monitorWindow: 0 }],
  ["monitorWindow", { monitorWindow: "soon" as Duration.Input }],
  ["monitorCalls", { monitorCalls: 0 }],
  ["minimumThroughput", { minimumThroughput: 100, monitorCalls: 50 }],
  ["failureCount", { failureCount: 11, monitorCalls: 10 }],
  ["recoveryTimeout", { recoveryTimeout: Infinity }],
  ["maxRecoveryTimeout", { recoveryTimeout: "10 seconds", maxRecoveryTimeout: "5 seconds" }],
  ["recoveryMultiplier", { recoveryMultiplier: 0.5 }],
  ["successThreshold", { successThreshold: 0 }],
  ["probeFailureThreshold", { probeFailureThreshold: 0 }],
  ["probeLease", { probeLease: 0 }],
  ["rampUp", { rampUp: -1 }],
  ["slowCallRate", { slowCallRate: 0.5 }],
  ["shedBelow", { shedBelow: 2 }],
  ["maxKeys", { maxKeys: 0 }],
  ["maxOpenShare", { maxOpenShare: 0 }],
  ["keys.slow.recoveryTimeout", { keys: { slow: { recoveryTimeout: 0 } } }]
])("a senseless option is refused by its name: %s", ([field, options]) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(CircuitBreaker.make(options))
    assert.strictEqual(error._tag, "InvalidOptions")
    assert.strictEqual(error.module, "CircuitBreaker")
    assert.strictEqual(error.field, field)
  }))

it.effect("the layer provides it, and layerConfig reads it", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.CircuitBreaker
    yield* times(2, fail(breaker))
    assert.strictEqual(yield* breaker.state(), "Open")
    assert.strictEqual(Duration.toMillis(yield* breaker.peek()), 3_000)
  }).pipe(
    Effect.provide(CircuitBreaker.CircuitBreaker.layerConfig({
      failureThreshold: Config.Int("BREAKER_FAILURES"),
      recoveryTimeout: Config.Duration("BREAKER_RECOVERY"),
      jitter: Config.succeed(false)
    })),
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
      env: { BREAKER_FAILURES: "2", BREAKER_RECOVERY: "3 seconds" }
    })))
  ))

it("the error channel gains CircuitOpen and nothing else", () => {
  class Rates extends Context.Service<Rates, { readonly latest: number }>()("test/Rates") {}
  const breaker = Effect.runSync(CircuitBreaker.make())
  const call = Effect.flatMap(Rates, ({ latest }) => latest > 0 ? Effect.succeed(latest) : Effect.fail("none" as const))
  expectTypeOf(call.pipe(breaker.execute())).toEqualTypeOf<
    Effect.Effect<number, "none" | CircuitBreaker.CircuitOpen, Rates>
  >()
  expectTypeOf(CircuitBreaker.CircuitBreaker.layer()).toEqualTypeOf<
    Layer.Layer<CircuitBreaker.CircuitBreaker, InvalidOptions>
  >()
})
