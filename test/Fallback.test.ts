import { assert, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Option, Random, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../src/Deadline.ts"
import * as Fallback from "../src/Fallback.ts"
import { InvalidOptions } from "../src/InvalidOptions.ts"
import {
  InvalidRequestError,
  NetworkError,
  ProviderError,
  RateLimitError,
  type Reason,
  ServiceUnavailableError
} from "../src/ProviderError.ts"
import type * as Served from "../src/Served.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"

const evidence = { message: "", rule: "test", delivered: "unknown" } as const
const failing = (provider: string, reason: Reason = new NetworkError(evidence)) =>
  Effect.fail(new ProviderError({ provider, operation: "get", reason }))

type Source = Fallback.Source<string, ProviderError>

/** A source that notes that it was asked, and how it ended. */
const source = (name: string, call: Effect.Effect<string, ProviderError>, log: Array<string> = []): Source => ({
  name,
  call: Effect.suspend(() => {
    log.push(`${name} asked`)
    return Effect.onExit(call, (exit) => {
      const how = Exit.isSuccess(exit) ? "answered" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
      return Effect.sync(() => void log.push(`${name} ${how}`))
    })
  })
})

const names = { service: "s", operation: "get" }
const inOrder = (sources: ReadonlyArray<Source>, options?: Partial<Fallback.InOrderOptions>) =>
  Fallback.inOrder(sources, { ...names, ...options })

// -- one after the other ---------------------------------------------------------------------------------------------

it.effect("scenario 31: where the primary answers, the secondary is never asked", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const served = yield* inOrder([source("a", Effect.succeed("A"), log), source("b", Effect.succeed("B"), log)])
    expectTypeOf(served).toEqualTypeOf<Served.Live<string>>()
    assert.deepStrictEqual([served.value, served.provider, served.degraded], ["A", "a", false])
    assert.deepStrictEqual(log, ["a asked", "a answered"])
  }))

it.effect("scenario 32: the next answers where one fails, and every cause can be had", () =>
  Effect.gen(function*() {
    const second = yield* inOrder([source("a", failing("a")), source("b", Effect.succeed("B"))])
    assert.deepStrictEqual([second.provider, second.degraded], ["b", true])
    assert.deepStrictEqual(second.failures.map(({ provider }) => provider), ["a"])
    const third = yield* inOrder([
      source("a", failing("a")),
      source("b", failing("b", new ServiceUnavailableError(evidence))),
      source("c", Effect.succeed("C"))
    ])
    assert.deepStrictEqual(third.failures.map(({ category }) => category), ["NETWORK", "SERVICE_UNAVAILABLE"])
  }))

it.effect("all failed: every cause in order, and the soonest that one may be asked again", () =>
  Effect.gen(function*() {
    const limited = (provider: string, seconds: number) =>
      source(provider, failing(provider, new RateLimitError({ ...evidence, retryAfter: Duration.seconds(seconds) })))
    const error = yield* Effect.flip(inOrder([limited("a", 30), limited("b", 7), source("c", failing("c"))]))
    assert.instanceOf(error, Fallback.AllProvidersFailed)
    assert.strictEqual(error.message, "s.get: no provider answered: a: RATE_LIMIT, b: RATE_LIMIT, c: NETWORK")
    assert.deepStrictEqual(error.retryAfter, Duration.seconds(7))
    assert.isTrue(error.failures.every((failure) => failure.error instanceof ProviderError))
    const encoded = yield* Schema.encodeEffect(Schema.toCodecJson(Fallback.AllProvidersFailed))(error)
    assert.deepStrictEqual(encoded, {
      _tag: "AllProvidersFailed",
      service: "s",
      operation: "get",
      failures: [
        { provider: "a", category: "RATE_LIMIT", retryAfter: 30_000 },
        { provider: "b", category: "RATE_LIMIT", retryAfter: 7000 },
        { provider: "c", category: "NETWORK" }
      ],
      earliestRetry: 7000
    })
  }))

it.effect("scenario 33: a provider that is not available is not asked; one that cannot say so is not either", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const fiber = yield* Effect.forkChild(inOrder([
      { ...source("a", Effect.succeed("A"), log), available: Effect.succeed(false) },
      { ...source("b", Effect.succeed("B"), log), available: Effect.fail("?") },
      { ...source("c", Effect.succeed("C"), log), available: Effect.never },
      { ...source("d", Effect.succeed("D"), log), available: Effect.succeed(true) }
    ]))
    yield* TestClock.adjust("5 seconds")
    const served = yield* Fiber.join(fiber)
    assert.deepStrictEqual(log, ["d asked", "d answered"])
    assert.deepStrictEqual(served.failures.map(({ category }) => category), [
      "Unavailable",
      "Unavailable",
      "Unavailable"
    ])
  }))

it.effect("scenario 34: a primary that hangs is interrupted at the fallback timeout, and the secondary answers then", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const fiber = yield* Effect.forkChild(inOrder(
      [source("a", Effect.never, log), source("b", Effect.succeed("B"), log)],
      { fallbackTimeout: "1 second" }
    ))
    yield* TestClock.adjust("999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const served = yield* Fiber.join(fiber)
    assert.strictEqual(served.provider, "b")
    assert.deepStrictEqual(served.failures.map(({ category }) => category), ["TIMEOUT"])
    assert.deepStrictEqual(log, ["a asked", "a interrupted", "b asked", "b answered"])
  }))

it.effect("each gets the time left divided by the sources left", () =>
  Effect.gen(function*() {
    const asked: Array<readonly [string, number, number]> = []
    const slow = (name: string): Source => ({
      name,
      call: Effect.withFiber((fiber) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          asked.push([name, now, fiber.getRef(Deadline.current)])
          return Effect.never
        })
      )
    })
    const fiber = yield* Effect.forkChild(Effect.flip(
      Effect.provideService(inOrder([slow("a"), slow("b"), slow("c")]), Deadline.current, 30_000)
    ))
    yield* TestClock.adjust("30 seconds")
    const error = yield* Fiber.join(fiber)
    assert.deepStrictEqual(asked, [["a", 0, 10_000], ["b", 10_000, 20_000], ["c", 20_000, 30_000]])
    assert.strictEqual(error._tag, "AllProvidersFailed")
  }))

it.effect("a request that is wrong in itself ends the call as it is", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const error = yield* Effect.flip(inOrder([
      source("a", failing("a", new InvalidRequestError(evidence)), log),
      source("b", Effect.succeed("B"), log)
    ]))
    assert.instanceOf(error, ProviderError)
    assert.deepStrictEqual(log, ["a asked", "a failed"])
  }))

it.effect("which categories fall over can be decided otherwise", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(inOrder([source("a", failing("a")), source("b", Effect.succeed("B"))], {
      fallbackOn: (error) => error.category !== "NETWORK"
    }))
    assert.strictEqual(error._tag, "ProviderError")
  }))

it.effect("a defect and an interruption are no reason to ask another", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const next = source("b", Effect.succeed("B"), log)
    assert.isTrue(Exit.hasDies(yield* Effect.exit(inOrder([source("a", Effect.die("bug")), next]))))
    assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(inOrder([source("a", Effect.interrupt), next]))))
    assert.deepStrictEqual(log, [])
  }))

it.effect("only so many calls may be with a source that is not their first", () =>
  Effect.gen(function*() {
    const limit: Fallback.Limit = { limit: 2, running: 0 }
    const call = inOrder([source("a", failing("a")), source("b", Effect.delay(Effect.succeed("B"), "1 second"))], {
      limit
    })
    const fiber = yield* Effect.forkChild(
      Effect.all(Array.from({ length: 5 }, () => Effect.result(call)), { concurrency: "unbounded" })
    )
    yield* TestClock.adjust("1 second")
    const results = yield* Fiber.join(fiber)
    assert.strictEqual(results.filter(Result.isSuccess).length, 2)
    const [refused] = results.flatMap((result) => Result.isFailure(result) ? [result.failure] : [])
    assert.strictEqual(refused?.message, "s.get: no provider answered: a: NETWORK, b: FallbackFull")
    assert.strictEqual(limit.running, 0)
  }))

// -- all at once -----------------------------------------------------------------------------------------------------

const gather = (sources: ReadonlyArray<Source>, options?: Fallback.GatherOptions) =>
  Fallback.gather(sources, { ...names, ...options })

it.effect("scenario 39: two of four at a threshold of 0.5 are combined with the failures listed; one of four is a failure", () =>
  Effect.gen(function*() {
    const some = yield* gather([
      source("a", Effect.succeed("A")),
      source("b", failing("b")),
      source("c", Effect.succeed("C")),
      source("d", failing("d"))
    ], { threshold: 0.5 })
    assert.deepStrictEqual(some.answered, [{ source: "a", value: "A" }, { source: "c", value: "C" }])
    assert.deepStrictEqual(some.missing, ["b", "d"])
    assert.deepStrictEqual(some.failures.map(({ category, provider }) => [provider, category]), [
      ["b", "NETWORK"],
      ["d", "NETWORK"]
    ])
    const error = yield* Effect.flip(gather([
      source("a", Effect.succeed("A")),
      source("b", failing("b")),
      source("c", failing("c")),
      source("d", failing("d"))
    ], { threshold: 0.5 }))
    assert.deepStrictEqual([error.answered, error.required], [["a"], 2])
    assert.strictEqual(error.message, "s.get: 1 of 2 answered: b: NETWORK, c: NETWORK, d: NETWORK")
  }))

it.effect("a threshold or a number of sources that makes no sense is a defect that names it", () =>
  Effect.gen(function*() {
    for (const wrong of [{ threshold: NaN }, { threshold: 70 }, { minSources: 1.5 }]) {
      const exit = yield* Effect.exit(gather([source("a", Effect.succeed("A"))], wrong))
      const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(defect, InvalidOptions)
      assert.strictEqual(defect.field, Object.keys(wrong)[0])
    }
  }))

it.effect("at least one must answer: no sources, and a threshold of zero, make no success", () =>
  Effect.gen(function*() {
    assert.strictEqual((yield* Effect.flip(gather([]))).required, 1)
    assert.strictEqual((yield* Effect.flip(gather([source("a", failing("a"))], { threshold: 0 }))).required, 1)
    const seven = yield* Effect.flip(
      gather(Array.from({ length: 10 }, (_, index) => source(`${index}`, failing("x"))), { threshold: 0.7 })
    )
    assert.strictEqual(seven.required, 7)
  }))

it.effect("at the soft deadline enough answers are taken and the others are interrupted for real", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const fiber = yield* Effect.forkChild(gather([
      source("a", Effect.delay(Effect.succeed("A"), "100 millis"), log),
      source("b", Effect.delay(Effect.succeed("B"), "5 seconds"), log)
    ], { minSources: 1, softDeadline: "1 second" }))
    yield* TestClock.adjust("999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    const { answered, failures, missing } = yield* Fiber.join(fiber)
    assert.deepStrictEqual([answered.length, missing], [1, ["b"]])
    assert.deepStrictEqual(failures.map(({ category }) => category), ["NotWaitedFor"])
    assert.deepStrictEqual(log, ["a asked", "b asked", "a answered", "b interrupted"])
  }))

it.effect("with too few at the soft deadline it waits for enough, and no longer", () =>
  Effect.gen(function*() {
    const slow = (name: string, seconds: number) =>
      source(name, Effect.delay(Effect.succeed(name), Duration.seconds(seconds)))
    const fiber = yield* Effect.forkChild(gather([slow("a", 1), slow("b", 3), slow("c", 9)], {
      minSources: 2,
      softDeadline: "2 seconds"
    }))
    yield* TestClock.adjust("2999 millis")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    assert.deepStrictEqual((yield* Fiber.join(fiber)).missing, ["c"])
  }))

it.effect("at the deadline of the call it takes what there is, even from a source that ignores its interruption", () =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.provideService(
      gather([
        source("a", Effect.succeed("A")),
        source("b", Effect.uninterruptible(Effect.delay(Effect.succeed("B"), "1 minute")))
      ]),
      Deadline.current,
      1000
    ))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual((yield* Fiber.join(fiber)).missing, ["b"])
    yield* TestClock.adjust("1 minute")
  }))

it.effect("it fails as soon as enough answers cannot be had any more", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    yield* Effect.flip(gather([source("a", failing("a"), log), source("b", Effect.never, log)], { threshold: 1 }))
    assert.deepStrictEqual(log, ["a asked", "a failed"])
  }))

it.effect("a defect of one source is a defect of all", () =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const exit = yield* Effect.exit(gather([source("a", Effect.never, log), source("b", Effect.die("bug"), log)]))
    assert.isTrue(Exit.hasDies(exit))
    assert.deepStrictEqual(log.at(-1), "a interrupted")
  }))

// -- modes -----------------------------------------------------------------------------------------------------------

it("a mode's type tells what it adds", () => {
  expectTypeOf(Fallback.graceful()).toEqualTypeOf<Fallback.Graceful<never, never>>()
  expectTypeOf(Fallback.graceful({ orElse: 1 })).toEqualTypeOf<Fallback.Graceful<number, "Default">>()
  const salvage = () => Option.some({ value: "a", missing: [] })
  expectTypeOf(Fallback.graceful({ salvage })).toEqualTypeOf<Fallback.Graceful<string, "Partial">>()
  expectTypeOf(Fallback.silent("")).toEqualTypeOf<Fallback.Silent<string>>()
  assert.deepStrictEqual(Fallback.concat([{ source: "a", value: [1] }, { source: "b", value: [2, 3] }]), [1, 2, 3])
})

// -- interruption ----------------------------------------------------------------------------------------------------

it("interruption law: wherever a call is interrupted, no source runs on and no place is held", () => {
  law(
    3000,
    Effect.gen(function*() {
      const limit: Fallback.Limit = { limit: 3, running: 0 }
      let running = 0
      const own = (name: string): Source => ({
        name,
        call: Effect.suspend(() => {
          running++
          return Effect.gen(function*() {
            yield* someSteps(20)
            if (yield* Random.nextBoolean) return yield* failing(name)
            return name
          }).pipe(Effect.onExit(() => Effect.sync(() => void running--)))
        })
      })
      const sources = ["a", "b", "c"].map(own)
      const call = Effect.gen(function*() {
        const sequence = yield* Random.nextBoolean
        const softDeadline = yield* Random.nextIntBetween(1, 30)
        return yield* sequence
          ? inOrder(sources, { limit, fallbackTimeout: 15 })
          : gather(sources, { softDeadline })
      }).pipe((self) => Effect.provideService(self, Deadline.current, 50))
      yield* Effect.forEach(
        Array.from({ length: 6 }),
        () =>
          Effect.gen(function*() {
            const { exit } = yield* interruptedSomewhere(call, 50)
            if (Exit.isFailure(exit)) assert.isFalse(Cause.hasDies(exit.cause))
          }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([running, limit.running], [0, 0])
    })
  )
})
