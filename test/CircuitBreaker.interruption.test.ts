/** Interruption law: whatever is interrupted at whatever step, slots and counts are where a reference model has them. */
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import { type CircuitCore, REFUSED } from "../src/internal/circuitCore.ts"
import { CircuitModel } from "./internal/circuitModel.ts"
import { seeded } from "./internal/seeded.ts"

const yields = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })

const opened = (breaker: CircuitBreaker.Service) =>
  Effect.andThen(breaker.forceOpen(), Effect.andThen(breaker.enable(), Effect.void))

it.effect(
  "after an interruption at any step no slot is taken and only judged calls are counted",
  () =>
    Effect.gen(function*() {
      const reached = new Map<string, number>()
      for (let seed = 1; seed <= 5_000; seed++) {
        const random = seeded(seed)
        let judged = 0
        const breaker = yield* CircuitBreaker.make({
          jitter: false,
          maxProbes: 1 + random.int(2),
          rampUp: random.pick([0, "10 seconds"]),
          slowCallDuration: random.pick([undefined, "1 second"]),
          successThreshold: 100,
          probeFailureThreshold: 100,
          failureThreshold: false,
          failureRate: false,
          classify: (exit) => {
            judged++
            return Exit.isSuccess(exit) ? "Success" : "Failure"
          }
        })
        const probing = random.int(2) === 0
        if (probing) yield* opened(breaker)
        const work = random.pick<Effect.Effect<unknown, string>>([
          Effect.succeed(1),
          Effect.fail("no"),
          yields(random.int(5)),
          Effect.andThen(yields(random.int(5)), Effect.fail("no")),
          Effect.never,
          Effect.uninterruptible(yields(random.int(5))),
          Effect.onInterrupt(Effect.never, () => yields(random.int(3)))
        ])
        const fiber = yield* Effect.forkChild(
          Effect.exit(work.pipe(breaker.execute())).pipe(
            // A few steps, then everybody else's turn: an interruption can fall between any two.
            Effect.provideService(Scheduler.MaxOpsBeforeYield, 3 + random.int(3))
          ),
          { startImmediately: random.int(2) === 0 }
        )
        yield* yields(random.int(40))
        yield* Fiber.interrupt(fiber)

        const state = breaker.core().current
        const status = yield* breaker.status()
        const message = `seed ${seed}, ${state._tag}, ${judged} judged`
        reached.set(`${state._tag} ${judged}`, (reached.get(`${state._tag} ${judged}`) ?? 0) + 1)
        if (state._tag === "HalfOpen") {
          assert.strictEqual(state.probes.length, 0, message)
          assert.strictEqual(state.successes + state.failures, judged, message)
        } else {
          assert.strictEqual(status.calls, judged, message)
        }
        assert.strictEqual(status.late, 0, message)
        assert.strictEqual(breaker.core().peek(0), 0, message)
      }
      // The points fell before, in and after the work, in a closed circuit and in a probe.
      for (const outcome of ["Closed 0", "Closed 1", "Open 0", "HalfOpen 0", "HalfOpen 1"]) {
        assert.isAbove(reached.get(outcome) ?? 0, 20, outcome)
      }
    }),
  60_000
)

/** Does to the model what is done to the circuit, and compares the two every time. */
const watch = (core: CircuitCore, model: CircuitModel): { readonly seen: () => number } => {
  type Period = NonNullable<ReturnType<CircuitModel["admit"]>>
  const periods = new Map<number, Period>()
  let seen = 0
  /** Calls through a closed circuit come without asking: their token is the circuit's era. */
  const note = (now: number) => {
    if (core.era >= 0) periods.set(core.era, model.admit(now)!)
  }
  const compare = (now: number) => {
    seen++
    note(now)
    assert.deepStrictEqual(
      { state: core.current._tag, wait: core.peek(now), late: core.counters.late, trips: core.counters.trips },
      { state: model.state, wait: model.wait(now), late: model.late, trips: model.trips }
    )
  }
  const [admit, release, settle] = [core.admit.bind(core), core.release.bind(core), core.settle.bind(core)]
  core.admit = (now) => {
    note(now)
    const token = admit(now)
    const period = model.admit(now)
    assert.strictEqual(token !== REFUSED, period !== undefined)
    if (period !== undefined) periods.set(token, period)
    compare(now)
    return token
  }
  core.settle = (token, outcome, latency, now, openForMillis, weight) => {
    note(now)
    settle(token, outcome, latency, now, openForMillis, weight)
    model.settle(periods.get(token)!, outcome, latency, now, openForMillis)
    compare(now)
  }
  core.release = (token, now) => {
    release(token, now)
    if (token !== REFUSED && periods.has(token)) model.interrupt(periods.get(token)!, now)
    compare(now)
  }
  note(0)
  return { seen: () => seen }
}

it.effect(
  "agrees with the model under many fibers that call, fail, hang and are interrupted at random",
  () =>
    Effect.gen(function*() {
      let seen = 0
      for (let seed = 1; seed <= 60; seed++) {
        const random = seeded(seed)
        yield* TestClock.setTime(0)
        const options = {
          jitter: false,
          rampUp: 0,
          failureThreshold: 3 + random.int(3),
          recoveryTimeout: 200,
          maxRecoveryTimeout: 1_000,
          monitorWindow: 1_000,
          maxProbes: 1 + random.int(3),
          successThreshold: 1 + random.int(3),
          probeFailureThreshold: 1 + random.int(2),
          probeLease: 100,
          ...(random.int(2) === 0 && { slowCallDuration: 150 })
        } satisfies CircuitBreaker.Options
        const breaker = yield* CircuitBreaker.make(options)
        const core = breaker.core()
        const { bucketMillis, rules, windowSize } = core.settings
        const model = new CircuitModel(rules, windowSize, bucketMillis, 0)
        const watched = watch(core, model)

        let health = 0.8
        const work = Effect.suspend(() => {
          const millis = random.int(10) === 0 ? 1_000 : random.int(120)
          const outcome = random.next() < health ? Effect.void : Effect.fail("no")
          return millis < 20 ? outcome : Effect.andThen(Effect.sleep(millis), outcome)
        })
        const caller = Effect.suspend(() => {
          const call = Effect.exit(work.pipe(breaker.execute()))
          const patience = random.int(4) === 0 ? random.int(80) : Infinity
          return Effect.andThen(Effect.timeoutOption(call, patience), Effect.sleep(1 + random.int(60)))
        })
        const fibers = yield* Effect.forEach(
          Array.from({ length: 25 }),
          () => Effect.forkChild(Effect.repeat(caller, { times: 30 }), { startImmediately: true })
        )
        for (let step = 0; step < 100; step++) {
          if (random.int(10) === 0) health = random.next()
          if (random.int(20) === 0) yield* Fiber.interrupt(random.pick(fibers))
          yield* TestClock.adjust(random.int(60))
        }
        yield* Fiber.interruptAll(fibers)
        const state = core.current
        if (state._tag === "HalfOpen") assert.deepStrictEqual(state.probes, [], `seed ${seed}`)
        seen += watched.seen()
      }
    }),
  60_000
)
