/**
 * The interruption law: whatever is interrupted wherever, permits, tokens, probes, budget and gauges are back where a
 * model has them. A failure prints the seed that replays it.
 */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Random, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import * as Event from "../src/Event.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { ProviderError, TemporaryFailureError } from "../src/ProviderError.ts"
import { type Recorder, Telemetry } from "../src/Telemetry.ts"
import { law } from "./internal/interruptionLaw.ts"
import { seeded } from "./internal/seeded.ts"

const failure = new ProviderError({
  provider: "p",
  operation: "get",
  reason: new TemporaryFailureError({ message: "x", rule: "test", delivered: "unknown" })
})

/** What the model counts: the recorder's gauge, work that runs, and attempts that were started. */
interface Model {
  begun: number
  ended: number
  running: number
  most: number
  started: number
  retries: number
  hedges: number
  /** Retries and hedges that were decided on. */
  announced: number
}

const nothing = (): Model => ({
  begun: 0,
  ended: 0,
  running: 0,
  most: 0,
  started: 0,
  retries: 0,
  hedges: 0,
  announced: 0
})

const modelled = (model: Model) => {
  const recorder: Recorder = {
    begin: () => model.begun++,
    end: (_, latencyMillis) => {
      assert.isAtLeast(latencyMillis, 0)
      model.ended++
    },
    error: () => {},
    retry: () => model.retries++,
    hedge: () => model.hedges++,
    breakerTrip: () => {},
    fallback: () => {},
    cache: () => {},
    gaveUp: () => {},
    answered: () => {}
  }
  return Layer.merge(
    Layer.succeed(Telemetry, { recorder: () => recorder }),
    Layer.succeed(Event.Sink, ({ _tag }) => void (_tag === "Retrying" || _tag === "Hedged" ? model.announced++ : 0))
  )
}

/** One life of one pipeline: many callers, each interrupted at a random moment or not at all. */
const life = (seed: number) => {
  const random = seeded(seed)
  const below = random.int
  const oneOf = random.pick
  const { next } = random
  const model = nothing()
  const limit = 1 + below(4)
  const options = {
    provider: "p",
    ...(next() < 0.5 && { deadline: Duration.millis(100 + below(400)) }),
    ...(next() < 0.7 && { retry: { maxRetries: 2, baseDelay: Duration.millis(below(40)) } }),
    ...(next() < 0.3 && { hedge: { delay: Duration.millis(1 + below(30)) } }),
    ...(next() < 0.7 && {
      breaker: {
        failureThreshold: 3,
        recoveryTimeout: Duration.millis(50),
        rampUp: 0,
        jitter: false,
        probeLease: "1 second" as const
      }
    }),
    ...(next() < 0.5 && {
      rateLimit: { limit: 200, window: "1 second" as const, burst: 5, maxWait: "200 millis" as const }
    }),
    ...(next() < 0.8 && { bulkhead: { limit, queue: below(6), maxWait: Duration.millis(1 + below(100)) } }),
    ...(next() < 0.6 && { timeout: Duration.millis(40 + below(60)) })
  } satisfies Pipeline.Options

  /** Ends at once or later, well or badly, or never; cleans up slowly, or takes no notice. */
  const work = Effect.suspend(() => {
    const millis = below(80)
    const end = oneOf<Effect.Effect<void, unknown>>([
      Effect.void,
      Effect.void,
      Effect.fail(failure),
      Effect.fail("foreign"),
      Effect.die("bug")
    ])
    const body = oneOf<Effect.Effect<void, unknown>>([
      end,
      Effect.andThen(Effect.sleep(millis), end),
      Effect.andThen(Effect.yieldNow, end),
      Effect.andThen(Effect.sleep(millis), Effect.never),
      Effect.uninterruptible(Effect.andThen(Effect.sleep(millis), end)),
      Effect.onInterrupt(Effect.andThen(Effect.sleep(millis), end), () => Effect.sleep(below(20)))
    ])
    let begun = false
    const counted = Effect.suspend(() => {
      begun = true
      model.started++
      model.most = Math.max(model.most, ++model.running)
      return body
    })
    return Effect.onExit(counted, () => Effect.sync(() => void (begun && model.running--)))
  })

  return Effect.gen(function*() {
    const pipeline = yield* Pipeline.make(options)
    const once = work.pipe(pipeline.protect({ operation: "get", idempotent: true }))
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let i = 0; i < 25; i++) {
      // A small budget of operations makes fibers yield, and so be interrupted, between any two primitives.
      const caller = once.pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, oneOf([3, 4, 5, 6, 2048])))
      fibers.push(yield* Effect.forkChild(caller, { startImmediately: next() < 0.5 }))
      for (let steps = below(4); steps > 0; steps--) yield* Effect.yieldNow
      if (next() < 0.5) fibers[below(fibers.length)]!.interruptUnsafe()
      if (next() < 0.5) yield* Effect.sleep(below(30))
    }
    for (const fiber of fibers) if (next() < 0.7) fiber.interruptUnsafe()
    yield* Effect.sleep("10 seconds")
    for (const fiber of fibers) fiber.interruptUnsafe()
    yield* Effect.sleep("10 seconds")
    const exits = yield* Effect.forEach(fibers, Fiber.await)

    // Nobody waits and nothing runs.
    assert.strictEqual(exits.length, fibers.length)
    assert.strictEqual(model.running, 0, "work still runs")
    assert.strictEqual(model.ended, model.begun, "an attempt was begun and not ended, or ended twice")
    const { breaker, budget, bulkhead, rateLimit } = pipeline
    if (bulkhead !== undefined) {
      assert.deepStrictEqual(yield* bulkhead.stats, { limit, running: 0, queued: 0 })
      assert.isAtMost(model.most, limit, "more work at once than permits")
    }
    if (rateLimit !== undefined) {
      assert.strictEqual(rateLimit.core.queued, 0, "somebody still waits for the limit")
      assert.strictEqual(yield* rateLimit.available, 5)
    }
    if (budget !== undefined) {
      // What is gone was spent on an attempt that took place; what was announced may have been given back.
      const { withdrawn } = yield* budget.stats
      assert.isAtLeast(withdrawn, model.retries + model.hedges)
      assert.isAtMost(withdrawn, model.announced, "the budget paid for what never began")
    }
    if (breaker !== undefined) {
      // No probe is left that would keep the circuit from answering: at rest the next call passes.
      const status = yield* breaker.status("p/get")
      assert.strictEqual(status.retryAfter.pipe(Duration.toMillis), 0, `${status.state} at rest`)
      assert.include(["Closed", "ReadyToProbe", "HalfOpen"], status.state)
    }
    // And the pipeline works.
    const exit = yield* Effect.void.pipe(pipeline.protect({ operation: "get" }), Effect.exit)
    assert.isTrue(Exit.isSuccess(exit), "the pipeline does not work after it")
  }).pipe(Effect.provide(modelled(model)))
}

it("gives everything back after any interruption, in thousands of them", () => {
  law(400, Effect.flatMap(Random.nextInt, life))
}, 60_000)

it.effect("an interruption at every single step of a call loses nothing", () =>
  Effect.gen(function*() {
    for (let run = 0; run < 4 * 3 * 60; run++) {
      const timeout = run % 2 === 0 ? undefined : "1 minute" as const
      const taken = run % 4 < 2
      const ops = 3 + run % 3
      const steps = Math.floor(run / 12)
      const model = nothing()
      const pipeline = yield* Pipeline.make({
        provider: "p",
        retry: { maxRetries: 1, baseDelay: 0, jitter: "none" },
        breaker: { failureThreshold: 100 },
        rateLimit: { limit: 10, window: "1 hour", burst: 10 },
        bulkhead: { limit: 1, queue: 1, maxWait: "1 hour" },
        timeout
      }).pipe(Effect.provide(modelled(model)))
      const work = Effect.andThen(Effect.yieldNow, Effect.fail(failure))
      const holder = taken
        ? yield* Effect.yieldNow.pipe(
          Effect.repeat({ times: 20 }),
          pipeline.protect({ operation: "get" }),
          Effect.forkChild({ startImmediately: true })
        )
        : undefined
      const fiber = yield* work.pipe(
        pipeline.protect({ operation: "get", idempotent: true }),
        Effect.provideService(Scheduler.MaxOpsBeforeYield, ops),
        Effect.forkChild
      )
      for (let i = 0; i < steps; i++) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      if (holder !== undefined) yield* Fiber.join(holder)
      const at = `timeout ${timeout}, taken ${taken}, ${ops} operations, after ${steps} yields`
      assert.deepStrictEqual(yield* pipeline.bulkhead!.stats, { limit: 1, running: 0, queued: 0 }, at)
      assert.strictEqual(model.ended, model.begun, at)
      assert.strictEqual(yield* pipeline.rateLimit!.available, 10 - model.begun, at)
      const { withdrawn } = yield* pipeline.budget!.stats
      assert.isTrue(withdrawn >= model.retries && withdrawn <= model.announced, at)
    }
  }), 60_000)

it.effect("whether work can be interrupted is as its caller has it, in each of many runs of one effect", () =>
  Effect.gen(function*() {
    const bulkhead = { limit: 1, queue: 5 }
    for (const options of [{}, { timeout: "1 minute" }, { bulkhead }, { bulkhead, timeout: "1 minute" }] as const) {
      const pipeline = yield* Pipeline.make({ provider: "p", retry: true, ...options })
      let ended = 0
      const work = Effect.sleep("1 second").pipe(
        Effect.map(() => ended++),
        pipeline.protect({ operation: "get", idempotent: true })
      )
      for (const [caller, expected] of [[work, 0], [Effect.uninterruptible(work), 2], [work, 0]] as const) {
        ended = 0
        // Where there is a queue, the second waits in it.
        const fibers = [yield* Effect.forkChild(caller), yield* Effect.forkChild(caller)]
        yield* TestClock.adjust("500 millis")
        for (const fiber of fibers) fiber.interruptUnsafe()
        yield* TestClock.adjust("2 seconds")
        for (const fiber of fibers) assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.strictEqual(ended, expected)
      }
    }
  }))
