/** The incidents that `holdfast simulate` plays, as data, and the ways of calling that it compares. */
import { Context, Effect } from "effect"
import * as FaultTolerance from "../FaultTolerance.ts"
import * as Pipeline from "../Pipeline.ts"
import type { Call, Change, Request, Scenario, Server, Strategy } from "./Simulation.ts"

/** 100 requests a second, one at a time: what waits in its queue is answered late, whoever still wants it. */
const api: Server = { name: "api", workers: 1, service: { _tag: "Constant", millis: 10 } }

const base = {
  seconds: 120,
  patience: 1,
  workload: { rate: 70, clients: 1_000 },
  servers: [api]
} satisfies Partial<Scenario>

const every = (seconds: number, times: number, change: Omit<Change, "at" | "server">): ReadonlyArray<Change> =>
  Array.from({ length: times }, (_, i): ReadonlyArray<Change> => [
    { at: 20 + 2 * i * seconds, server: "api", ...change },
    { at: 20 + (2 * i + 1) * seconds, server: "api" }
  ]).flat()

export const scenarios: ReadonlyArray<Scenario> = [
  {
    ...base,
    name: "outage",
    title: "The provider refuses connections for 30 seconds",
    timeline: [{ at: 20, server: "api", down: true }, { at: 50, server: "api" }],
    faultEnds: 50
  },
  {
    ...base,
    name: "brown-out",
    title: "Capacity falls to a tenth for 15 seconds; what was queued stays queued",
    timeline: [{ at: 20, server: "api", capacity: 0.1 }, { at: 35, server: "api" }],
    faultEnds: 35
  },
  {
    ...base,
    name: "brown-out-85",
    title: "The same at 85 % load, where little is left to recover with",
    workload: { rate: 85, clients: 1_000 },
    timeline: [{ at: 20, server: "api", capacity: 0.1 }, { at: 35, server: "api" }],
    faultEnds: 35
  },
  {
    ...base,
    name: "slow-provider",
    title: "The provider takes twice as long for 40 seconds and cannot keep up",
    timeline: [{ at: 20, server: "api", capacity: 0.5 }, { at: 60, server: "api" }],
    faultEnds: 60
  },
  {
    ...base,
    name: "flapping",
    title: "Five seconds down, five seconds up, six times",
    timeline: every(5, 6, { down: true }),
    faultEnds: 75
  },
  {
    ...base,
    name: "rate-limit-wave",
    title: "The provider allows 30 a second and answers the rest with 429 for 40 seconds",
    timeline: [{ at: 20, server: "api", rateLimit: 30 }, { at: 60, server: "api" }],
    faultEnds: 60
  },
  {
    ...base,
    name: "retry-storm",
    title: "Half of all calls fail at once for 20 seconds",
    timeline: [{ at: 20, server: "api", errors: 0.5 }, { at: 40, server: "api" }],
    faultEnds: 40
  },
  {
    ...base,
    name: "thundering-herd",
    title: "After an outage of 30 seconds everybody comes back twice as often for 10 seconds",
    workload: { rate: 70, clients: 1_000, surges: [{ at: 50, factor: 2 }, { at: 60, factor: 1 }] },
    timeline: [{ at: 20, server: "api", down: true }, { at: 50, server: "api" }],
    faultEnds: 60
  },
  {
    ...base,
    name: "cold-cache",
    title:
      "Twice the capacity is asked for, most of it the same 2,000 requests: a cache must carry it, and starts empty",
    workload: { rate: 200, clients: 1_000, keys: 2_000 },
    timeline: [{ at: 60, server: "api", down: true }, { at: 80, server: "api" }],
    faultEnds: 80
  },
  {
    ...base,
    name: "cascading",
    title: "A service stands on the provider; when that browns out, its own workers are all waiting",
    servers: [
      { name: "front", workers: 40, service: { _tag: "Constant", millis: 5 }, dependsOn: "api" },
      api
    ],
    timeline: [{ at: 20, server: "api", capacity: 0.1 }, { at: 35, server: "api" }],
    faultEnds: 35
  },
  {
    ...base,
    name: "noisy-neighbour",
    title: "One tenant asks for more than there is; the others should not notice",
    workload: {
      rate: 50,
      clients: 1_000,
      noisyShare: 0.1,
      surges: [{ at: 20, factor: 4, noisyShare: 0.775 }, { at: 60, factor: 1 }]
    },
    timeline: [],
    faultEnds: 60
  },
  {
    ...base,
    name: "regional-failover",
    title: "The near region is gone for 40 seconds; another, farther and smaller, stands by",
    servers: [
      api,
      { name: "far", workers: 8, service: { _tag: "LogNormal", median: 90, sigma: 0.3 } }
    ],
    timeline: [{ at: 20, server: "api", down: true }, { at: 60, server: "api" }],
    faultEnds: 60
  }
]

/** A million requests from ten thousand clients, with a brown-out of 100 seconds: for measuring the simulator itself. */
export const million: Scenario = {
  name: "million",
  title: "A million requests from 10,000 clients, capacity at a tenth for 100 seconds",
  seconds: 1_000,
  patience: 1,
  workload: { rate: 1_000, clients: 10_000 },
  servers: [{ ...api, workers: 14 }],
  timeline: [{ at: 300, server: "api", capacity: 0.1 }, { at: 400, server: "api" }],
  faultEnds: 400
}

// -- ways of calling -------------------------------------------------------------------------------------------------

/** Those servers that clients ask; the others stand behind them. */
const asked = (scenario: Scenario): ReadonlyArray<Server> => {
  const behind = new Set(scenario.servers.map(({ dependsOn }) => dependsOn))
  return scenario.servers.filter(({ name }) => !behind.has(name))
}

/** As long as a client waits, and no policy besides. */
export const plain: Strategy = {
  name: "timeout only",
  make: (call, scenario) => {
    const [server] = asked(scenario)
    return Effect.succeed((request) => call(server!.name, request).pipe(Effect.timeout(scenario.patience * 1_000)))
  }
}

/** Three retries, whatever the state of the provider: what most clients do. */
export const retries: Strategy = {
  name: "3 retries",
  make: (call, scenario) =>
    Effect.gen(function*() {
      const [server] = asked(scenario)
      const pipeline = yield* Effect.orDie(Pipeline.make({
        provider: server!.name,
        retry: { maxRetries: 3, budget: "unlimited" },
        timeout: scenario.patience * 1_000
      }))
      return (request) => call(server!.name, request).pipe(pipeline.protect({ operation: "call", idempotent: true }))
    })
}

/** What a provider of the simulated service does. */
class Remote extends Context.Service<Remote, {
  readonly ask: (request: Request) => ReturnType<Call>
}>()("holdfast/testing/Remote") {}

/** The pipeline that `holdfast` is measured with unless another is given. */
export const defaultPipeline: FaultTolerance.PipelineOptions = { retry: true, breaker: true, bulkhead: true }

/** Our own composition: every server that clients can ask is a provider, in order; a cache where requests repeat. */
export const holdfast = (pipeline: FaultTolerance.PipelineOptions = defaultPipeline): Strategy => ({
  name: "holdfast",
  make: (call, scenario) =>
    Effect.gen(function*() {
      const cached = scenario.workload.keys !== undefined
      // Tenants take turns in our queue; for that it must form there and not at the provider.
      const fair = scenario.workload.noisyShare === undefined
        ? {}
        : { bulkhead: { limit: asked(scenario)[0]!.workers + 1, queue: 40, maxWait: scenario.patience * 800 } }
      const service = yield* Effect.orDie(FaultTolerance.make(Remote, {
        service: "simulated",
        providers: asked(scenario).map(({ name }) => ({
          name,
          service: Remote.of({ ask: (request) => call(name, request) })
        })),
        pipeline: { timeout: scenario.patience * 1_000, ...pipeline, ...fair },
        cache: { fresh: "30 seconds", stale: "1 hour", capacity: 10_000 }
      }))
      return (request) =>
        service.execute(
          {
            operation: "call",
            idempotent: true,
            ...(scenario.workload.noisyShare === undefined ? {} : { tenant: request.tenant }),
            ...(cached ? { cacheKey: request.key } : {})
          },
          ({ ask }) => ask(request)
        )
    })
})
