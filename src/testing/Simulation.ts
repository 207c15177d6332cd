/**
 * Load in virtual time: an open-loop stream of requests from many clients, a network, servers with queues and finite
 * capacity that go on working after a client gave up, and a timeline of faults. Tells what a way of calling (a pipeline,
 * plain retries, nothing) makes of it: goodput, latency, load amplification, time to recover.
 */
import { Clock, Duration, Effect, Exit, Fiber, Schema, type Scope } from "effect"
import { Latency, sample } from "../Chaos.ts"
import { draw } from "../internal/draw.ts"
import { LatencyHistogram } from "../internal/latencyHistogram.ts"
import { checks } from "../internal/options.ts"
import { ProviderError, reasons, type ReasonTag } from "../ProviderError.ts"
import * as VirtualTime from "./VirtualTime.ts"

const Seconds = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 86_400 }))
const Positive = Schema.Finite.check(Schema.isBetween({ minimum: 0.000_001, maximum: 1_000_000 }))
const AtLeastZero = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const upToABillion = (minimum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum: 1_000_000_000 }))

/** A provider: so many workers, a queue before them. */
export const Server = Schema.Struct({
  name: Schema.String,
  /** Jobs worked on at once. Capacity is workers divided by the mean service time. */
  workers: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 })),
  service: Latency,
  /** What exceeds the queue is answered with 503. Defaults to no bound, as in many real servers. */
  queue: Schema.optionalKey(upToABillion(0)),
  /** Calls this server for each of its own jobs before it answers. Not itself, nor one that depends on it. */
  dependsOn: Schema.optionalKey(Schema.String)
})
export type Server = typeof Server.Type

/** From `at` on (seconds) a server is as described; what is left out is as it was at the start. */
export const Change = Schema.Struct({
  at: Seconds,
  server: Schema.String,
  /** How much of its capacity is left: service times are divided by it. 0 hangs. */
  capacity: Schema.optionalKey(AtLeastZero),
  /** Connections are refused. */
  down: Schema.optionalKey(Schema.Boolean),
  /** The share of calls answered with 500 at once. */
  errors: Schema.optionalKey(Share),
  /** Above so many a second, calls are answered with 429 and a `Retry-After` of one second. */
  rateLimit: Schema.optionalKey(AtLeastZero)
})
export type Change = typeof Change.Type

/** Requests that nobody waits with: they come at their own times, however slow the answers are. */
export const Workload = Schema.Struct({
  /** Requests a second, over all clients. */
  rate: Positive,
  clients: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })),
  /** The rate's multiple from `at` (seconds) on, and who brings it. */
  surges: Schema.optionalKey(
    Schema.Array(Schema.Struct({ at: Seconds, factor: Positive, noisyShare: Schema.optionalKey(Share) }))
  ),
  /** The share of requests that come from one tenant. */
  noisyShare: Schema.optionalKey(Share),
  /** Distinct requests, by popularity (Zipf, exponent 1). Defaults to all are distinct. */
  keys: Schema.optionalKey(upToABillion(1))
})
export type Workload = typeof Workload.Type

/** An experiment as data. Times are in seconds. */
export const Scenario = Schema.Struct({
  name: Schema.String,
  title: Schema.String,
  seconds: Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: 86_400 })),
  /** After so long without an answer a client has gone; what is answered later is of no use to anybody. */
  patience: Schema.Finite.check(Schema.isBetween({ minimum: 0.001, maximum: 86_400 })),
  workload: Workload,
  /** Each of another name. Those that no other depends on are asked by the clients. */
  servers: Schema.NonEmptyArray(Server),
  timeline: Schema.Array(Change),
  /** When the last fault is over; from here recovery is measured. No change comes after it. At most `seconds`. */
  faultEnds: Seconds
})
export type Scenario = typeof Scenario.Type

/** One request. */
export interface Request {
  readonly n: number
  readonly client: number
  readonly key: string
  readonly tenant: string
}

/** Asks a server. Interrupting it is a client that gives up: the server does not notice. */
export type Call = (server: string, request: Request) => Effect.Effect<void, ProviderError>

/** A way of calling: made once for a run, then given each request. */
export interface Strategy {
  readonly name: string
  readonly make: (
    call: Call,
    scenario: Scenario
  ) => Effect.Effect<(request: Request) => Effect.Effect<unknown, unknown>, never, Scope.Scope>
}

/** One second of a run. */
export interface Second {
  /** Requests that came. */
  offered: number
  /** Of these, those of others than the noisy tenant, and how many of them were answered in time. */
  quiet: number
  quietGood: number
  /** Of those that came in this second, how many were answered in time. */
  good: number
  /** Attempts that reached a server. */
  arrivals: number
  /** Answers, useful or not. */
  served: number
}

export interface Result {
  readonly scenario: string
  readonly strategy: string
  readonly seed: number
  readonly requests: number
  readonly answered: number
  /** The share of all requests answered in time; 1 where nobody asked. */
  readonly goodput: number
  /** The same for all but the noisy tenant; 1 where nobody asked. */
  readonly quietGoodput: number
  /** Of the answered, in milliseconds. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number }
  /** Attempts per request over the whole run. */
  readonly amplification: number
  /** The most attempts within 5 seconds, or the run where it is shorter, as a multiple of what came on average. */
  readonly peakLoad: number
  /** The most attempts in one of the ten seconds after the fault, as a share of the servers' capacity. */
  readonly recoveryLoad: number
  /**
   * Seconds from the end of the fault until 95 % of what comes within 5 seconds, or in the rest of a run that ends
   * earlier, is answered in time; `null` for never within the run.
   */
  readonly secondsToRecover: number | null
  /** How failures looked to the clients, by tag or category. */
  readonly failures: { readonly [kind: string]: number }
  readonly timeline: ReadonlyArray<Second>
}

const decode = Schema.decodeUnknownResult(Schema.toType(Scenario))

/** Throws `InvalidOptions` for what cannot be played: numbers out of bounds, and names that no server has. */
const check = (scenario: Scenario, seed: number): void => {
  const { decoded, ensure, int } = checks("Simulation")
  int("seed", seed, 1, { min: Number.MIN_SAFE_INTEGER })
  decoded(decode(scenario))
  const { faultEnds, seconds, servers, timeline } = scenario
  const named = new Map(servers.map((server) => [server.name, server]))
  const known = `must be one of ${[...named.keys()].join(", ")}`
  servers.forEach((server, index) => {
    ensure(named.get(server.name) === server, `servers.${index}.name`, `must not be that of another: ${server.name}`)
  })
  servers.forEach(({ dependsOn, name }, index) => {
    const field = `servers.${index}.dependsOn`
    ensure(dependsOn === undefined || named.has(dependsOn), field, `${known}, not ${dependsOn}`)
    let behind = dependsOn
    for (let steps = 0; behind !== undefined && steps < servers.length; steps++) {
      ensure(behind !== name, field, `must not lead back to ${name}`)
      behind = named.get(behind)?.dependsOn
    }
  })
  timeline.forEach(({ at, server }, index) => {
    ensure(named.has(server), `timeline.${index}.server`, `${known}, not ${server}`)
    ensure(at <= faultEnds, `timeline.${index}.at`, `must be at most faultEnds, ${faultEnds}, not ${at}`)
  })
  ensure(faultEnds <= seconds, "faultEnds", `must be at most the ${seconds} seconds of the run, not ${faultEnds}`)
  const requests = Math.round(expectedRequests(scenario))
  ensure(requests <= mostRequests, "workload.rate", `must come to at most ${mostRequests} requests, not ${requests}`)
}

/** A run of so many takes minutes, and nothing can end it meanwhile. */
const mostRequests = 10_000_000

/** The rate over the whole run, surges included. */
const expectedRequests = ({ seconds, workload: { rate, surges = [] } }: Scenario): number => {
  const changes = [{ at: 0, factor: 1 }, ...surges.toSorted((a, b) => a.at - b.at)]
  return changes.reduce((sum, { at, factor }, index) => {
    const until = Math.min(seconds, changes[index + 1]?.at ?? seconds)
    return sum + rate * factor * Math.max(0, until - at)
  }, 0)
}

/**
 * Runs a scenario with a way of calling. Synchronous; the same arguments give the same result. Throws `InvalidOptions`,
 * with the field, for a scenario that makes no sense, and for a seed that is no whole number.
 */
export const run = (scenario: Scenario, strategy: Strategy, seed: number): Result => {
  check(scenario, seed)
  const seconds = Array.from(
    { length: Math.ceil(scenario.seconds) },
    (): Second => ({ offered: 0, quiet: 0, quietGood: 0, good: 0, arrivals: 0, served: 0 })
  )
  const latencies = new LatencyHistogram()
  const failures = new Map<string, number>()
  const patienceMillis = scenario.patience * 1_000
  let requests = 0

  const exit = VirtualTime.run((clock) =>
    Effect.gen(function*() {
      const network = makeNetwork(clock, scenario, seed, seconds)
      const handle = yield* strategy.make(network, scenario)
      const arrivals = arrivalsOf(scenario, seed)
      const open = new Set<Fiber.Fiber<void>>()

      const request = Effect.fnUntraced(function*(asked: Request, second: Second) {
        const began = clock.currentTimeMillisUnsafe()
        const exit = yield* Effect.exit(handle(asked))
        const took = clock.currentTimeMillisUnsafe() - began
        if (Exit.isSuccess(exit) && took <= patienceMillis) {
          latencies.record(took)
          second.good++
          if (asked.tenant !== noisy) second.quietGood++
          return
        }
        const kind = Exit.isSuccess(exit) ? "TooLate" : kindOf(exit)
        failures.set(kind, (failures.get(kind) ?? 0) + 1)
      })

      const end = scenario.seconds * 1_000
      for (const next of arrivals) {
        if (next.at >= end) break
        const wait = next.at - (yield* Clock.currentTimeMillis)
        if (wait > 0) yield* Effect.sleep(wait)
        // By when it was drawn: the clock may be rounded up into the next second, or past the end.
        const second = seconds[Math.floor(next.at / 1_000)]!
        second.offered++
        if (next.request.tenant !== noisy) second.quiet++
        requests++
        const fiber = yield* Effect.forkDetach(request(next.request, second), { startImmediately: true })
        open.add(fiber)
        fiber.addObserver(() => open.delete(fiber))
      }
      // The last requests are given their time; what hangs beyond it is nobody's any more.
      yield* Effect.sleep(Duration.seconds(scenario.patience * 2))
      if (open.size > 0) failures.set("Unfinished", open.size)
      yield* Fiber.interruptAll(open)
    }).pipe(Effect.scoped), { seed })
  if (Exit.isFailure(exit)) throw new Error(`the simulation of ${scenario.name} broke`, { cause: exit.cause })
  return summary(scenario, strategy.name, seed, requests, seconds, latencies, failures)
}

const kindOf = (exit: Exit.Failure<unknown, unknown>): string => {
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None") return "Defect"
  if (error.value instanceof ProviderError) return error.value.category
  const tag = typeof error.value === "object" && error.value !== null ? Reflect.get(error.value, "_tag") : undefined
  return typeof tag === "string" ? tag : "Unknown"
}

/** The tenant of the noisy share. */
const noisy = "noisy"

// -- the requests ----------------------------------------------------------------------------------------------------

/** Poisson arrivals: the times between them are exponential, so that bursts and lulls come as they do in life. */
function* arrivalsOf(scenario: Scenario, seed: number): Generator<{ readonly at: number; readonly request: Request }> {
  const { clients, keys, noisyShare = 0, rate } = scenario.workload
  const surges = (scenario.workload.surges ?? []).toSorted((a, b) => a.at - b.at)
  const harmonic = keys === undefined ? 0 : Math.log(keys) + 0.577_215_664_9
  let at = 0
  for (let n = 0;; n++) {
    const surge = surges.findLast((surge) => surge.at * 1_000 <= at)
    at += (-Math.log(1 - draw(seed, 1, n)) / (rate * (surge?.factor ?? 1))) * 1_000
    // The inverse of the harmonic numbers, near enough to Zipf's law.
    const key = keys === undefined ? n : Math.min(keys - 1, Math.floor(Math.exp(draw(seed, 3, n) * harmonic)) - 1)
    const isNoisy = draw(seed, 4, n) < (surge?.noisyShare ?? noisyShare)
    const client = Math.floor(draw(seed, 2, n) * clients)
    yield { at, request: { n, client, key: `k${key}`, tenant: isNoisy ? noisy : `t${client % 16}` } }
  }
}

// -- the servers -----------------------------------------------------------------------------------------------------

/** A job in a server. `done` is told of the answer; nobody may be listening any more. */
interface Job {
  readonly done: (failure: ProviderError | undefined) => void
}

const makeNetwork = (
  clock: VirtualTime.VirtualClock,
  scenario: Scenario,
  seed: number,
  seconds: ReadonlyArray<Second>
): Call => {
  const fail = (server: string, tag: ReasonTag, message: string, delivered: "no" | "yes", retryAfterMillis?: number) =>
    new ProviderError({
      provider: server,
      operation: "call",
      reason: new reasons[tag]({
        message,
        rule: "simulated",
        delivered,
        ...(retryAfterMillis === undefined ? {} : { retryAfter: Duration.millis(retryAfterMillis) })
      })
    })

  const servers = new Map(scenario.servers.map((server, index) => {
    const queue = new Fifo<Job>()
    const changes = scenario.timeline.filter((change) => change.server === server.name)
      .toSorted((a, b) => a.at - b.at)
    const answers = {
      refused: fail(server.name, "NetworkError", "connection refused", "no"),
      full: fail(server.name, "ServiceUnavailableError", "503 queue full", "no"),
      broken: fail(server.name, "TemporaryFailureError", "500 internal error", "yes"),
      limited: fail(server.name, "RateLimitError", "429 too many requests", "yes", 1_000)
    }
    let working = 0
    let job = 0
    let limitSecond = -1
    let inLimitSecond = 0
    const now = (): number => clock.currentTimeMillisUnsafe()
    const state = (): Partial<Change> => changes.findLast((change) => change.at * 1_000 <= now()) ?? {}
    const second = (): Second | undefined => seconds[Math.floor(now() / 1_000)]

    const work = (): void => {
      while (working < server.workers && queue.size > 0) {
        const { capacity = 1 } = state()
        // Hangs until the next change looks again.
        if (capacity <= 0) return
        const { done } = queue.shift()
        working++
        const millis = sample(server.service, draw(seed, 100 + index, job++)) / capacity
        clock.schedule(millis, () => {
          const finish = (failure: ProviderError | undefined): void => {
            working--
            const at = second()
            if (at !== undefined) at.served++
            done(failure)
            work()
          }
          if (server.dependsOn === undefined) finish(undefined)
          else submit(server.dependsOn, finish)
        })
      }
    }
    for (const change of changes) clock.schedule(change.at * 1_000, work)

    const accept = (done: Job["done"]): void => {
      const at = second()
      if (at !== undefined) at.arrivals++
      const { down = false, errors = 0, rateLimit = Infinity } = state()
      const limited = Math.floor(now() / 1_000)
      if (limited !== limitSecond) {
        limitSecond = limited
        inLimitSecond = 0
      }
      if (down) return done(answers.refused)
      if (++inLimitSecond > rateLimit) return done(answers.limited)
      if (errors > 0 && draw(seed, 200 + index, job++) < errors) return done(answers.broken)
      // What waits while workers are free, as when nothing is left of the capacity, is theirs.
      if (queue.size >= (server.queue ?? Infinity) + server.workers - working) return done(answers.full)
      queue.push({ done })
      work()
    }
    return [server.name, accept]
  }))

  const submit = (server: string, done: Job["done"]): void => {
    const accept = servers.get(server)
    if (accept === undefined) throw new Error(`no server ${server} in the scenario`)
    accept(done)
  }

  return (server) =>
    Effect.callback<void, ProviderError>((resume) => {
      submit(server, (failure) => resume(failure === undefined ? Effect.void : Effect.fail(failure)))
    })
}

/** First in, first out, without moving what is in it. */
class Fifo<A> {
  #items: Array<A> = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }
  push(item: A): void {
    this.#items.push(item)
  }
  /** Only while `size` is above 0. */
  shift(): A {
    const item = this.#items[this.#head++]!
    if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}

// -- the figures -----------------------------------------------------------------------------------------------------

/** The mean service time of a server in milliseconds, sampled. */
const meanService = (server: Server): number => {
  let total = 0
  for (let i = 0; i < 1_000; i++) total += sample(server.service, (i + 0.5) / 1_000)
  return total / 1_000
}

/** Requests a second that all servers together can answer. */
export const capacityOf = (scenario: Scenario): number =>
  scenario.servers.reduce((sum, server) => sum + server.workers * 1_000 / meanService(server), 0)

/** The highest, at least 0. A day has more seconds than a call takes arguments. */
export const highestOf = (values: ReadonlyArray<number>): number =>
  values.reduce((highest, value) => Math.max(highest, value), 0)

/** Over how many seconds a rate is looked at: one second of Poisson arrivals says too little. */
const span = 5

const summary = (
  scenario: Scenario,
  strategy: string,
  seed: number,
  requests: number,
  seconds: ReadonlyArray<Second>,
  latencies: LatencyHistogram,
  failures: ReadonlyMap<string, number>
): Result => {
  const over = (from: number, length: number, of: (second: Second) => number): number =>
    seconds.slice(from, from + length).reduce((sum, second) => sum + of(second), 0)
  const good = over(0, seconds.length, (second) => second.good)
  const whole = Math.min(span, seconds.length)
  const peak = highestOf(
    seconds.map((_, at) => at + whole <= seconds.length ? over(at, whole, (it) => it.arrivals) : 0)
  )
  const after = Math.ceil(scenario.faultEnds)
  const rest = Math.min(span, seconds.length - after)
  const recovered = seconds.findIndex((_, at) =>
    at >= after && at + rest <= seconds.length &&
    over(at, rest, (it) => it.good) >= 0.95 * over(at, rest, (it) => it.offered)
  )
  const round = (value: number, digits: number): number => Number(value.toFixed(digits))
  const share = (good: number, all: number): number => round(all === 0 ? 1 : good / all, 4)
  return {
    scenario: scenario.name,
    strategy,
    seed,
    requests,
    answered: good,
    goodput: share(good, requests),
    quietGoodput: share(over(0, seconds.length, (it) => it.quietGood), over(0, seconds.length, (it) => it.quiet)),
    latency: {
      p50: round(latencies.quantile(0.5) ?? 0, 1),
      p95: round(latencies.quantile(0.95) ?? 0, 1),
      p99: round(latencies.quantile(0.99) ?? 0, 1)
    },
    amplification: round(requests === 0 ? 0 : over(0, seconds.length, (it) => it.arrivals) / requests, 3),
    peakLoad: round(peak / whole / scenario.workload.rate, 3),
    recoveryLoad: round(
      Math.max(0, ...seconds.slice(after, after + 10).map((it) => it.arrivals)) / capacityOf(scenario),
      3
    ),
    secondsToRecover: recovered === -1 ? null : recovered - after,
    failures: Object.fromEntries([...failures].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    timeline: seconds
  }
}
