/** The whole pipeline against the same five policies of others: fallback, retry, breaker, timeout and bulkhead. */
import { Effect, Schedule, Semaphore } from "effect"
import { CircuitBreaker as EffectBreaker } from "effect/persistence"
import * as Pipeline from "../../src/Pipeline.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import {
  allocatedPerCall,
  asyncInFlight,
  asyncLoop,
  type Case,
  framedSafely,
  loop,
  loopBuilt,
  loopInFlight,
  type Suite,
  type Work,
  works
} from "./harness.ts"
import { cockatiel, Opossum } from "./peers.ts"

const kinds: ReadonlyArray<Work> = ["sync", "resolved", "immediate"]
const call = { operation: "call", idempotent: true } as const

const options = {
  provider: "bench",
  retry: { maxRetries: 3 },
  breaker: { failureThreshold: 5 },
  timeout: "1 second",
  bulkhead: { limit: 20_000, queue: 100 }
} as const
const { timeout: _, ...withoutTimeout } = options

const ours = (options: Pipeline.Options) => {
  const pipeline = Effect.runSync(Pipeline.make(options))
  return {
    protect: <A, E>(effect: Effect.Effect<A, E>) =>
      effect.pipe(pipeline.protect(call), Effect.catch(() => Effect.succeed(0))),
    promise: <A>(start: () => PromiseLike<A>) =>
      pipeline.promise(call, start).pipe(Effect.catch(() => Effect.succeed(0)))
  }
}

const counted = () =>
  Effect.runSync(
    Pipeline.make(options).pipe(Effect.provide(Telemetry.layer()))
  )

const fiveOfCockatiel = (timeout: boolean) => {
  const handled = cockatiel.handleAll
  const policies = [
    cockatiel.fallback(handled, 0),
    cockatiel.retry(handled, { maxAttempts: 3, backoff: new cockatiel.ExponentialBackoff() }),
    cockatiel.circuitBreaker(handled, {
      halfOpenAfter: 10_000,
      breaker: new cockatiel.SamplingBreaker({ threshold: 0.5, duration: 30_000 })
    }),
    ...(timeout ? [cockatiel.timeout(1_000, cockatiel.TimeoutStrategy.Cooperative)] : []),
    cockatiel.bulkhead(20_000, 100)
  ]
  return cockatiel.wrap(...policies)
}

const fiveOfEffect = () => {
  const semaphore = Effect.runSync(Semaphore.make(20_000))
  const breaker = Effect.runSync(
    Effect.scoped(EffectBreaker.make({ tripPolicy: EffectBreaker.rate({ size: 100 }), openDuration: "10 seconds" }))
      .pipe(
        Effect.provide(EffectBreaker.layerStoreMemory())
      )
  )
  const schedule = Schedule.exponential("100 millis")
  return <A, E>(effect: Effect.Effect<A, E>) =>
    effect.pipe(
      (self) => semaphore.withPermit(self),
      Effect.timeout("1 second"),
      breaker.execute({ key: "call" }),
      Effect.retry({ schedule, times: 3 }),
      Effect.catch(() => Effect.succeed(0))
    )
}

const opossum = (work: Work) => {
  const breaker = new Opossum(async () => works[work].call(), { timeout: 1_000, capacity: 20_000 })
  breaker.fallback(() => 0)
  return { run: asyncLoop(() => breaker.fire()), close: () => breaker.shutdown() }
}

const inFlight = 1_000
const many = 10_000

const cases: ReadonlyArray<Case> = [
  ...kinds.flatMap((kind): ReadonlyArray<Case> => [
    { name: `bare, ${kind}`, make: () => loop(works[kind].effect) },
    { name: `pipeline, ${kind}`, make: () => loop(ours(options).protect(works[kind].effect)) },
    { name: `plain Effect, ${kind}`, make: () => loop(fiveOfEffect()(works[kind].effect)) },
    {
      name: `cockatiel, ${kind}`,
      make: () => {
        const policy = fiveOfCockatiel(true)
        return asyncLoop(() => policy.execute(works[kind].call))
      }
    },
    { name: `opossum, ${kind}`, make: () => opossum(kind) }
  ]),
  ...(["sync", "resolved"] as const).flatMap((kind): ReadonlyArray<Case> => [
    { name: `pipeline without timeout, ${kind}`, make: () => loop(ours(withoutTimeout).protect(works[kind].effect)) },
    {
      name: `floor without timeout, ${kind}`,
      make: () => loop(framedSafely(works[kind].effect).pipe(Effect.catch(() => Effect.succeed(0))))
    },
    {
      name: `cockatiel without timeout, ${kind}`,
      make: () => {
        const policy = fiveOfCockatiel(false)
        return asyncLoop(() => policy.execute(works[kind].call))
      }
    }
  ]),
  ...(["resolved", "immediate"] as const).map((kind): Case => ({
    name: `pipeline leaf, ${kind}`,
    make: () => loop(ours(options).promise(() => works[kind].call() as Promise<number>))
  })),
  {
    name: "pipeline built per call, sync",
    make: () => {
      const { protect } = ours(options)
      return loopBuilt(() => protect(works.sync.effect))
    }
  },
  {
    name: "pipeline with telemetry, sync",
    make: () => {
      const pipeline = counted()
      return loop(works.sync.effect.pipe(pipeline.protect(call), Effect.catch(() => Effect.succeed(0))))
    }
  },
  {
    name: "pipeline, resolved, 1000 in flight",
    unit: inFlight,
    make: () => loopInFlight(ours(options).protect(works.resolved.effect), inFlight)
  },
  {
    name: "cockatiel, resolved, 1000 in flight",
    unit: inFlight,
    make: () => {
      const policy = fiveOfCockatiel(true)
      return asyncInFlight(() => policy.execute(works.resolved.call), inFlight)
    }
  },
  {
    name: "pipeline, resolved, 10000 in flight",
    unit: many,
    make: () => loopInFlight(ours(options).protect(works.resolved.effect), many)
  },
  {
    name: "cockatiel, resolved, 10000 in flight",
    unit: many,
    make: () => {
      const policy = fiveOfCockatiel(true)
      return asyncInFlight(() => policy.execute(works.resolved.call), many)
    }
  },
  {
    name: "pipeline, immediate, 10000 in flight",
    unit: many,
    make: () => loopInFlight(ours(options).protect(works.immediate.effect), many)
  },
  {
    name: "plain Effect, immediate, 10000 in flight",
    unit: many,
    make: () => loopInFlight(fiveOfEffect()(works.immediate.effect), many)
  }
]

export const suite: Suite = {
  name: "pipeline",
  cases,
  measures: [
    {
      name: "allocated per call, sync",
      unit: "B",
      measure: () => allocatedPerCall(loop(ours(options).protect(works.sync.effect)))
    },
    {
      name: "allocated per call, leaf",
      unit: "B",
      measure: () => allocatedPerCall(loop(ours(options).promise(() => works.resolved.call() as Promise<number>)))
    }
  ],
  goals: [
    { name: "pipeline / cockatiel, sync", of: "pipeline, sync", per: "cockatiel, sync", atMost: 1 / 10 },
    { name: "pipeline / cockatiel, resolved", of: "pipeline, resolved", per: "cockatiel, resolved", atMost: 1 / 4 },
    {
      name: "pipeline / cockatiel, immediate",
      of: "pipeline, immediate",
      per: "cockatiel, immediate",
      atMost: 1 / 2.5
    },
    { name: "pipeline / plain Effect, sync", of: "pipeline, sync", per: "plain Effect, sync", atMost: 1 / 12 },
    {
      name: "pipeline / plain Effect, resolved",
      of: "pipeline, resolved",
      per: "plain Effect, resolved",
      atMost: 1 / 7
    },
    { name: "pipeline / bare, sync", of: "pipeline, sync", per: "bare, sync", atMost: 7.5 },
    { name: "pipeline / bare, resolved", of: "pipeline, resolved", per: "bare, resolved", atMost: 5 },
    { name: "pipeline / bare, immediate", of: "pipeline, immediate", per: "bare, immediate", atMost: 2.4 },
    { name: "leaf / bare, resolved", of: "pipeline leaf, resolved", per: "bare, resolved", atMost: 2.8 },
    {
      name: "without timeout / cockatiel without, sync",
      of: "pipeline without timeout, sync",
      per: "cockatiel without timeout, sync",
      atMost: 0.5,
      floor: "floor without timeout, sync"
    },
    {
      name: "without timeout / cockatiel without, resolved",
      of: "pipeline without timeout, resolved",
      per: "cockatiel without timeout, resolved",
      atMost: 0.6,
      floor: "floor without timeout, resolved"
    },
    { name: "telemetry on / off, sync", of: "pipeline with telemetry, sync", per: "pipeline, sync", atMost: 1.35 },
    {
      name: "pipeline / cockatiel, 1000 in flight",
      of: "pipeline, resolved, 1000 in flight",
      per: "cockatiel, resolved, 1000 in flight",
      atMost: 1 / 4
    },
    {
      name: "pipeline / cockatiel, 10000 in flight",
      of: "pipeline, resolved, 10000 in flight",
      per: "cockatiel, resolved, 10000 in flight",
      atMost: 1 / 10
    },
    {
      name: "pipeline / plain Effect, immediate, 10000 in flight",
      of: "pipeline, immediate, 10000 in flight",
      per: "plain Effect, immediate, 10000 in flight",
      atMost: 1 / 3
    }
  ]
}
