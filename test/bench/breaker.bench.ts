/** What a circuit breaker costs, beside Effect's own, cockatiel's and opossum's. */
import { Effect } from "effect"
import { CircuitBreaker as EffectBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import {
  activeTimers,
  allocatedPerCall,
  asyncInFlight,
  asyncLoop,
  type Case,
  framed,
  heapPerObject,
  loop,
  loopBuilt,
  loopInFlight,
  type Suite,
  type Work,
  works
} from "./harness.ts"
import { cockatiel, Opossum } from "./peers.ts"

const kinds: ReadonlyArray<Work> = ["sync", "resolved", "immediate"]

const make = (options?: CircuitBreaker.Options) => Effect.runSync(CircuitBreaker.make(options))
const ours = (options?: CircuitBreaker.Options) => make(options).execute()

const effects = (options: { readonly failures: number }) =>
  Effect.runSync(
    EffectBreaker.make({ tripPolicy: EffectBreaker.consecutive(options.failures), openDuration: "1 hour" }).pipe(
      Effect.scoped,
      Effect.provide(EffectBreaker.layerStoreMemory())
    )
  )
const sampling = () =>
  cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 3_600_000,
    breaker: new cockatiel.SamplingBreaker({ threshold: 0.5, duration: 30_000, minimumRps: 1 })
  })
const consecutive = (failures: number) =>
  cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 3_600_000,
    breaker: new cockatiel.ConsecutiveBreaker(failures)
  })

const refusal = "refused"
/** One failure for all calls, so that the base is as cheap as failing and catching it can be: nothing is made in it. */
const failure = Effect.fail(refusal)
const quietly = (call: () => PromiseLike<unknown>) => () => call().then(undefined, () => undefined)
const rejected = () => Promise.reject(new Error(refusal))

/** Every other call fails. */
const flaky = (): Effect.Effect<number, string> => {
  let calls = 0
  const ok = Effect.succeed(1)
  return Effect.suspend(() => calls++ % 2 === 0 ? ok : failure)
}

const keys = Array.from({ length: 100_000 }, (_, index) => `key-${index}`)
let picked = 0
/** A key that no prefetcher foresees, the same ones in every run. */
const pick = (): string => keys[picked = (Math.imul(picked, 1_664_525) + 1_013_904_223 >>> 0) % keys.length]!

export const suite: Suite = {
  name: "breaker",
  cases: [
    ...kinds.flatMap((kind): Array<Case> => [
      { name: `bare, ${kind}`, make: () => loop(works[kind].effect) },
      { name: `holdfast, ${kind}`, make: () => loop(ours()(works[kind].effect)) },
      {
        name: `cockatiel Sampling, ${kind}`,
        make: () => {
          const breaker = sampling()
          return asyncLoop(() => breaker.execute(works[kind].call))
        }
      },
      {
        name: `effect CircuitBreaker, ${kind}`,
        make: () => loop(effects({ failures: 5 }).execute({ key: "a" })(works[kind].effect))
      },
      {
        name: `opossum, ${kind}`,
        make: () => {
          const breaker = new Opossum(async () => works[kind].call(), { timeout: false })
          return { run: asyncLoop(() => breaker.fire()), close: () => breaker.shutdown() }
        }
      }
    ]),
    { name: "floor, resolved", make: () => loop(framed(works.resolved.effect)) },
    { name: "holdfast slow calls, sync", make: () => loop(ours({ slowCallDuration: "1 second" })(works.sync.effect)) },
    {
      name: "holdfast built per call, sync",
      make: () => {
        const execute = ours()
        return loopBuilt(() => execute(works.sync.effect))
      }
    },
    { name: "holdfast 3600 buckets, sync", make: () => loop(ours({ monitorBuckets: 3_600 })(works.sync.effect)) },

    { name: "bare failure", make: () => loop(Effect.exit(failure)) },
    {
      name: "holdfast, refused",
      make: () => {
        const breaker = make()
        Effect.runSync(breaker.forceOpen())
        return loop(Effect.exit(breaker.execute()(failure)))
      }
    },
    {
      name: "holdfast, refused while open",
      make: () => {
        const breaker = make({ recoveryTimeout: "1 hour", failureThreshold: 1 })
        const call = Effect.exit(breaker.execute()(failure))
        Effect.runSync(call)
        return loop(call)
      }
    },
    {
      name: "cockatiel, refused",
      make: () => {
        const breaker = consecutive(1)
        const call = quietly(() => breaker.execute(rejected))
        return asyncLoop(call)
      }
    },
    {
      name: "opossum, refused",
      make: () => {
        const breaker = new Opossum(rejected, { timeout: false })
        breaker.open()
        return { run: asyncLoop(quietly(() => breaker.fire())), close: () => breaker.shutdown() }
      }
    },
    {
      name: "effect CircuitBreaker, refused",
      make: () => loop(Effect.exit(effects({ failures: 1 }).execute({ key: "a" })(failure)))
    },

    { name: "bare, every other call fails", make: () => loop(Effect.exit(flaky())) },
    { name: "floor, every other call fails", make: () => loop(Effect.exit(framed(flaky()))) },
    {
      name: "holdfast, every other call fails",
      make: () => loop(Effect.exit(ours({ failureRate: false })(flaky())))
    },

    {
      name: "holdfast, 100,000 keys",
      make: () => {
        const { execute } = make({ maxKeys: keys.length, recoveryTimeout: "1 hour" })
        return loopBuilt(() => execute({ key: pick() })(works.sync.effect))
      }
    },
    {
      name: "cockatiel, 100,000 keys",
      make: () => {
        const breakers = new Map(keys.map((key) => [key, sampling()]))
        return asyncLoop(() => breakers.get(pick())!.execute(works.sync.call))
      }
    },

    { name: "bare, 1,000 in flight", unit: 1_000, make: () => loopInFlight(works.resolved.effect, 1_000) },
    { name: "holdfast, 1,000 in flight", unit: 1_000, make: () => loopInFlight(ours()(works.resolved.effect), 1_000) },
    {
      name: "cockatiel, 1,000 in flight",
      unit: 1_000,
      make: () => {
        const breaker = sampling()
        return asyncInFlight(() => breaker.execute(works.resolved.call), 1_000)
      }
    }
  ],
  measures: [
    {
      name: "heap per idle circuit, key included",
      unit: "B",
      measure: () => {
        const breaker = make({ maxKeys: 100_000 })
        return heapPerObject((index) => void breaker.core(`circuit-${index}`))
      }
    },
    {
      name: "heap per circuit, failures in 10 buckets",
      unit: "B",
      measure: () =>
        Effect.runPromise(
          Effect.gen(function*() {
            const breaker = yield* CircuitBreaker.make({
              maxKeys: 100_000,
              failureThreshold: false,
              failureRate: false
            })
            const clock = yield* TestClock.testClockWith((clock) => Effect.succeed(clock))
            const start = clock.currentTimeMillisUnsafe()
            return heapPerObject((index) => {
              const core = breaker.core(`circuit-${index}`)
              for (let bucket = 0; bucket < 10; bucket++) core.settle(0, "Failure", 0, start + bucket * 3_000)
            })
          }).pipe(Effect.provide(TestClock.layer()))
        )
    },
    {
      name: "allocated per call, built once",
      unit: "B",
      measure: () => allocatedPerCall(loop(ours()(works.sync.effect)))
    },
    {
      name: "allocated per call, built per call",
      unit: "B",
      measure: () => {
        const execute = ours()
        return allocatedPerCall(loopBuilt(() => execute(works.sync.effect)))
      }
    },
    {
      name: "timers of 1,000 idle circuits",
      unit: "count",
      measure: () => {
        const before = activeTimers()
        const breaker = make()
        for (let index = 0; index < 1_000; index++) breaker.core(`circuit-${index}`)
        return activeTimers() - before
      }
    }
  ],
  goals: [
    { name: "closed / bare, sync", of: "holdfast, sync", per: "bare, sync", atMost: 4.3 },
    { name: "closed / bare, resolved", of: "holdfast, resolved", per: "bare, resolved", atMost: 2 },
    { name: "closed / bare, immediate", of: "holdfast, immediate", per: "bare, immediate", atMost: 1.4 },
    { name: "closed / cockatiel, sync", of: "holdfast, sync", per: "cockatiel Sampling, sync", atMost: 0.95 },
    {
      name: "closed / cockatiel, resolved",
      of: "holdfast, resolved",
      per: "cockatiel Sampling, resolved",
      atMost: 1.6,
      floor: "floor, resolved"
    },
    {
      name: "closed / cockatiel, immediate",
      of: "holdfast, immediate",
      per: "cockatiel Sampling, immediate",
      atMost: 1.25
    },
    { name: "closed / effect, sync", of: "holdfast, sync", per: "effect CircuitBreaker, sync", atMost: 1 / 12 },
    {
      name: "closed / effect, resolved",
      of: "holdfast, resolved",
      per: "effect CircuitBreaker, resolved",
      atMost: 1 / 7
    },
    { name: "slow calls / bare, sync", of: "holdfast slow calls, sync", per: "bare, sync", atMost: 6.5 },
    { name: "built per call / bare, sync", of: "holdfast built per call, sync", per: "bare, sync", atMost: 5.5 },
    { name: "refused / bare failure", of: "holdfast, refused while open", per: "bare failure", atMost: 3.2 },
    { name: "refused / cockatiel", of: "holdfast, refused while open", per: "cockatiel, refused", atMost: 1 / 5 },
    {
      name: "refused / effect",
      of: "holdfast, refused while open",
      per: "effect CircuitBreaker, refused",
      atMost: 1 / 20
    },
    {
      name: "every other call fails / bare",
      of: "holdfast, every other call fails",
      per: "bare, every other call fails",
      atMost: 2.2,
      floor: "floor, every other call fails"
    },
    { name: "3600 / 10 buckets", of: "holdfast 3600 buckets, sync", per: "holdfast, sync", atMost: 1.15 },
    { name: "100,000 keys / cockatiel", of: "holdfast, 100,000 keys", per: "cockatiel, 100,000 keys", atMost: 1.1 },
    {
      name: "1,000 in flight / bare",
      of: "holdfast, 1,000 in flight",
      per: "bare, 1,000 in flight",
      atMost: 2
    },
    { name: "heap per idle circuit", of: "heap per idle circuit, key included", atMost: 350 },
    { name: "heap per circuit with failures", of: "heap per circuit, failures in 10 buckets", atMost: 750 },
    { name: "allocated, built once", of: "allocated per call, built once", atMost: 80 },
    { name: "allocated, built per call", of: "allocated per call, built per call", atMost: 600 },
    { name: "timers per idle circuit", of: "timers of 1,000 idle circuits", atMost: 0 }
  ]
}
