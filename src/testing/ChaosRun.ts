/**
 * A whole service under generated faults, in virtual time: two providers behind `FaultTolerance` with cache, levels and
 * pipelines, a workload of reads and writes, some of them interrupted, and a fault plan. What the providers really did is
 * written down, and at the end the run is held to what must never happen.
 *
 * **Details**
 *
 * `inspect` tells what was broken, in words; nothing when all held. `ChaosRun` is a Schema, so that a property generates
 * runs, shrinks one that fails, and prints it.
 */
import { Cause, Clock, Context, Effect, Exit, Fiber, Schema } from "effect"
import type { BulkheadFull } from "../Bulkhead.ts"
import * as Chaos from "../Chaos.ts"
import type { CircuitOpen } from "../CircuitBreaker.ts"
import * as Fallback from "../Fallback.ts"
import * as FaultTolerance from "../FaultTolerance.ts"
import { ProviderError } from "../ProviderError.ts"
import * as ResponseCache from "../ResponseCache.ts"
import * as RetryBudget from "../RetryBudget.ts"
import * as Served from "../Served.ts"
import * as Telemetry from "../Telemetry.ts"
import * as VirtualTime from "./VirtualTime.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** One request of the workload. */
export const Request = Schema.Struct({
  /** When it comes, in milliseconds. */
  at: between(0, 20_000),
  kind: Schema.Literals(["read", "write"]),
  key: between(0, 3),
  tenant: Schema.Literals(["a", "b"]),
  /** When its caller gives up, in milliseconds after it came; absent for never. */
  interruptAfter: Schema.optionalKey(between(0, 3_000))
})
export type Request = typeof Request.Type

/** A fault as a run generates it: mostly failures of every category, and everything else there is. */
const Rule = Schema.Struct({
  fault: Schema.Union([
    Schema.TaggedStruct("Fail", {
      reason: Chaos.Fault.members[0].fields.reason,
      retryAfterMillis: Schema.optionalKey(between(0, 5_000))
    }),
    Schema.TaggedStruct("Delay", {
      latency: Schema.TaggedStruct("Constant", { millis: between(0, 5_000) })
    }),
    Schema.TaggedStruct("Hang", {}),
    Schema.TaggedStruct("Reset", {}),
    Schema.TaggedStruct("Corrupt", {})
  ]),
  provider: Schema.optionalKey(Schema.Literals(["first", "second"])),
  rate: Schema.Literals([0.1, 0.3, 0.6, 1])
})

/** A workload, a fault plan, and how the service is set up. */
export const ChaosRun = Schema.Struct({
  seed: between(0, 1_000_000),
  requests: Schema.Array(Request).check(Schema.isMaxLength(60)),
  rules: Schema.Array(Rule).check(Schema.isMaxLength(4)),
  /** When the faults end, in milliseconds. */
  faultsUntil: between(1, 15_000),
  cached: Schema.Boolean,
  hedged: Schema.Boolean,
  /** Running at once, per provider. */
  limit: between(1, 8),
  queue: between(0, 8)
})
export type ChaosRun = typeof ChaosRun.Type

/** What a provider really did. */
interface Done {
  readonly provider: string
  readonly request: number
  readonly at: number
  /** Whether the circuit let calls through when it was called. */
  readonly circuit: string
  /** `undefined` when it was interrupted before it was done. */
  value: string | undefined
}

class Store extends Context.Service<Store, {
  readonly ask: (request: number) => Effect.Effect<string>
}>()("holdfast/testing/ChaosStore") {}

type Guarded = FaultTolerance.FaultTolerance<Store["Service"], true, BulkheadFull | CircuitOpen>

const attemptMillis = 1_000
const deadlineMillis = 6_000
const maxRetries = 2
/** What the added attempts may cost: tokens at first, for each request of a provider, and a second. */
const paid = { bucket: 2, ratio: 0.1, floorPerSecond: 0.5 }
/** After the last fault a circuit may stay open so long; then three probes and a ramp. */
const recoveryMillis = 60_000

/** What a run came to. */
export interface Findings {
  /** What must never happen and did, in words. */
  readonly broken: ReadonlyArray<string>
  /** How often each kind of answer and failure was seen: a run in which nothing happens shows nothing. */
  readonly seen: { readonly [kind: string]: number }
}

/** Runs it and tells what was broken. */
export const inspect = (run: ChaosRun): Findings => {
  const exit = VirtualTime.run((clock) => Effect.scoped(play(run, clock)), { seed: run.seed })
  return Exit.isSuccess(exit)
    ? exit.value
    : { broken: [`the run itself broke: ${Cause.pretty(exit.cause)}`], seen: {} }
}

const play = Effect.fnUntraced(function*(run: ChaosRun, clock: VirtualTime.VirtualClock) {
  const broken: Array<string> = []
  const seen: Record<string, number> = {}
  const saw = (kind: string): void => void (seen[kind] = (seen[kind] ?? 0) + 1)
  const done: Array<Done> = []
  const chaos = yield* Chaos.make
  yield* chaos.start({
    seed: run.seed,
    rules: run.rules.map((rule) => ({ ...rule, untilMillis: run.faultsUntil }))
  })
  const measurements = yield* Telemetry.Measurements
  const now = (): number => clock.currentTimeMillisUnsafe()

  // One budget for both providers, small enough to run out.
  const budget = yield* Effect.orDie(RetryBudget.make(paid))

  /** Ten milliseconds of real work, whose effect stands only when it was finished. */
  const provider = (name: string) =>
    Store.of({
      ask: (request) =>
        Effect.suspend(() => {
          const built = service.providers.find((one) => one.name === name)
          const state = built?.pipeline.breaker === undefined
            ? Effect.succeed("none")
            : built.pipeline.breaker.state(`${name}/${run.requests[request]?.kind ?? "read"}`)
          return Effect.flatMap(state, (circuit) => {
            const entry: Done = { provider: name, request, at: now(), circuit, value: undefined }
            done.push(entry)
            return Effect.map(Effect.sleep(10), () => {
              entry.value = `${name}:${run.requests[request]?.key ?? "probe"}:${
                run.requests[request]?.tenant ?? "-"
              }:${request}`
              return entry.value
            })
          })
        })
    })

  const service: Guarded = yield* Effect.provideService(
    Effect.orDie(FaultTolerance.make(Store, {
      service: "chaos",
      providers: [
        { name: "first", service: provider("first") },
        { name: "second", service: provider("second") }
      ],
      pipeline: {
        retry: { maxRetries, baseDelay: 100, budget },
        ...(run.hedged ? { hedge: { delay: 200 } } : {}),
        breaker: { failureThreshold: 3, recoveryTimeout: 1_000, maxRecoveryTimeout: 5_000 },
        bulkhead: { limit: run.limit, queue: run.queue, maxWait: 500 },
        timeout: attemptMillis
      },
      deadline: deadlineMillis,
      cache: { fresh: 500, stale: 30_000 }
    })),
    Chaos.Chaos,
    chaos
  )

  const ask = (index: number, request: Request) =>
    service.execute(
      {
        operation: request.kind,
        tenant: request.tenant,
        idempotent: request.kind === "read",
        mode: Fallback.graceful(),
        ...(run.cached && request.kind === "read" ? { cacheKey: request.key } : {})
      },
      ({ ask }) => ask(index)
    )

  const outcomes = yield* Effect.forEach(
    run.requests,
    Effect.fnUntraced(function*(request, index) {
      yield* Effect.sleep(request.at)
      const began = now()
      const fiber = yield* Effect.forkChild(ask(index, request), { startImmediately: true })
      if (request.interruptAfter !== undefined) {
        yield* Effect.sleep(request.interruptAfter)
        yield* Fiber.interrupt(fiber)
      }
      const exit = yield* Fiber.await(fiber)
      return { index, request, began, ended: now(), exit }
    }),
    { concurrency: "unbounded" }
  )

  // -- what must never happen ----------------------------------------------------------------------------------------

  // A delayed call was admitted earlier than it is made, which is no fault of the circuit.
  const delayed = run.rules.some(({ fault }) => fault._tag === "Delay")
  for (const { at, circuit, provider } of done) {
    if (!delayed && (circuit === "Open" || circuit === "ForcedOpen")) {
      broken.push(`${provider} was called at ${at} while its circuit was ${circuit}`)
    }
  }
  for (const outcome of outcomes) {
    const calls = done.filter((entry) => entry.request === outcome.index)
    const name = `request ${outcome.index} (${outcome.request.kind} ${outcome.request.key})`
    for (const one of ["first", "second"]) {
      const attempts = calls.filter(({ provider }) => provider === one).length
      const most = (maxRetries + 1) * (run.hedged ? 2 : 1)
      if (attempts > most) broken.push(`${name}: ${attempts} attempts at ${one}`)
    }
    if (outcome.ended - outcome.began > deadlineMillis + 1) {
      broken.push(`${name}: answered after ${outcome.ended - outcome.began} ms, deadline ${deadlineMillis}`)
    }
    if (outcome.request.kind === "write") {
      const times = calls.filter(({ value }) => value !== undefined).length
      if (times > 1) broken.push(`${name}: was done ${times} times`)
      if (Exit.isSuccess(outcome.exit) && times !== 1) broken.push(`${name}: was acknowledged, but done ${times} times`)
    }
    if (calls.length > 1) saw("Repeated")
    if (Exit.isSuccess(outcome.exit)) {
      saw(outcome.exit.value._tag)
      broken.push(...untrue(name, outcome.exit.value, outcome, done))
    } else if (Cause.hasDies(outcome.exit.cause)) broken.push(`${name}: a defect: ${Cause.pretty(outcome.exit.cause)}`)
    else if (Cause.hasInterrupts(outcome.exit.cause)) saw("Interrupted")
    else {
      const error = Exit.findErrorOption(outcome.exit)
      if (error._tag === "None" || !known(error.value)) broken.push(`${name}: an untyped failure`)
      else saw(error.value._tag)
    }
  }

  // What is added to the first attempts is paid for.
  const seconds = Math.max(0, ...outcomes.map(({ ended }) => ended)) / 1_000
  const added = done.length - new Set(done.map(({ provider, request }) => `${provider} ${request}`)).size
  const most = paid.bucket + paid.ratio * 2 * run.requests.length + paid.floorPerSecond * seconds
  if (added > most + 1e-6) broken.push(`${added} attempts were added, the budget allows ${most.toFixed(1)}`)

  // -- and afterwards ------------------------------------------------------------------------------------------------

  yield* Effect.sleep(Math.max(0, run.faultsUntil - now()))
  // Work that hung is let go by its timeout at the latest.
  yield* Effect.sleep(attemptMillis + deadlineMillis)
  for (const { name, pipeline } of service.providers) {
    const stats = pipeline.bulkhead === undefined ? undefined : yield* pipeline.bulkhead.stats
    if (stats !== undefined && (stats.running !== 0 || stats.queued !== 0)) {
      broken.push(`${name}: ${stats.running} permits and ${stats.queued} places in the queue were not given back`)
    }
  }
  const { services } = yield* measurements.read()
  for (const one of services) {
    if (one.inFlight !== 0) broken.push(`${one.service}: ${one.inFlight} calls are still counted as under way`)
    if (one.total !== one.successful + one.failed + one.cancelled) {
      broken.push(`${one.service}: the counters do not add up`)
    }
  }

  const recovered = yield* recovers(service, now() + recoveryMillis)
  if (!recovered) broken.push(`no live answer from the first provider within ${recoveryMillis} ms after the faults`)
  return { broken, seen } satisfies Findings
}, (self) => Effect.provide(self, Telemetry.layer()))

/** Asks once a second, as somebody would, until the first provider answers again. */
const recovers = Effect.fnUntraced(function*(
  service: Guarded,
  until: number
) {
  for (;;) {
    let well = true
    for (const operation of ["read", "write"]) {
      const exit = yield* Effect.exit(service.execute({ operation, idempotent: true }, ({ ask }) => ask(-1)))
      well &&= Exit.isSuccess(exit) && exit.value._tag === "Live" && exit.value.provider === "first"
    }
    if (well) return true
    if ((yield* Clock.currentTimeMillis) >= until) return false
    yield* Effect.sleep("1 second")
  }
})

const tags = new Set([...Served.refusals, "AllProvidersFailed", "DeadlineExceeded"])

const known = (error: { readonly _tag: string }): boolean => error instanceof ProviderError || tags.has(error._tag)

/** What an answer says of itself, against what the providers really did. */
const untrue = (
  name: string,
  served: Served.Served<string>,
  outcome: { readonly index: number; readonly request: Request; readonly began: number; readonly ended: number },
  done: ReadonlyArray<Done>
): ReadonlyArray<string> => {
  const made = done.find(({ value }) => value === served.value)
  if (made === undefined) return [`${name}: answered ${served.value}, which no provider ever returned`]
  const { request } = outcome
  const asked = `${request.key}:${request.tenant}`
  switch (served._tag) {
    case "Live": {
      const own = made.request === outcome.index || served.value.includes(`:${asked}:`)
      const first = made.provider === "first"
      return [
        ...own ? [] : [`${name}: a live answer to another request: ${served.value}`],
        ...made.provider === served.provider ? [] : [`${name}: says ${served.provider}, came from ${made.provider}`],
        ...served.degraded === !first ? [] : [`${name}: degraded is ${served.degraded} for ${made.provider}`],
        ...served.degraded && served.failures.length === 0 ? [`${name}: degraded without a failure`] : []
      ]
    }
    case "Cached":
    case "Stale":
      return [
        ...served.value.includes(`:${asked}:`)
          ? []
          : [`${name}: answered from the cache of another key or tenant: ${served.value}`],
        ...made.provider === served.provider ? [] : [`${name}: says ${served.provider}, came from ${made.provider}`],
        ...served._tag === "Cached" && served.age > 500 ? [`${name}: fresh at an age of ${served.age} ms`] : [],
        ...served.failures.every(ResponseCache.qualifies)
          ? []
          : [`${name}: an old answer after ${served.failures.map(({ category }) => category).join(", ")}`],
        ...served.age > 30_500 ? [`${name}: stale beyond its bound, ${served.age} ms`] : []
      ]
    case "Partial":
    case "Default":
      return [`${name}: ${served._tag} without being declared`]
  }
}
