/**
 * Who can answer. Passive by default: derived from circuits, the outcomes of the last minutes and the service level,
 * without a call to anybody. A probe asks the providers: single flight, kept for a while, and it is also how a provider
 * that nobody calls any more is found to be back.
 */
import { Cause, Clock, Context, Duration, Effect, Layer, Predicate, Record, Schema, Semaphore } from "effect"
import type { Status } from "./CircuitBreaker.ts"
import { Sink } from "./Event.ts"
import { checked, checks, millisOf } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import { ProviderError, table } from "./ProviderError.ts"
import { refusals } from "./Served.ts"
import { Measurements, type ServiceReading } from "./Telemetry.ts"
import * as Timeout from "./Timeout.ts"

/** `NotConfigured` is nobody's fault: the provider has no credentials and takes no part. */
export const State = Schema.Literals(["Healthy", "Degraded", "Failed", "NotConfigured"])
export type State = typeof State.Type

export interface Verdict {
  readonly name: string
  readonly state: State
  /** Why it is not `Healthy`, in words fit for everybody. */
  readonly reasons: ReadonlyArray<string>
  /** When the evidence was taken, in epoch milliseconds. */
  readonly checkedAt: number
}

/** What a circuit says of its provider. */
export type Circuit = Pick<Status, "state" | "retryAfter">

export interface Provider {
  /** As in telemetry. */
  readonly name: string
  /** Defaults to true. */
  readonly configured?: boolean | undefined
  /** As `breaker.status()` tells it. */
  readonly circuit?: Effect.Effect<Circuit> | undefined
  /** The cheapest call there is, best through the provider's own pipeline, so that its success closes the circuit. */
  readonly probe?: Effect.Effect<void, unknown> | undefined
}

export interface Service {
  readonly name: string
  /** The providers that it stands on, by name, best first; a name that none of them has is refused. */
  readonly providers: ReadonlyArray<string>
  /** The level on offer: 0 is Full. */
  readonly level?: Effect.Effect<{ readonly rank: number; readonly name: string }> | undefined
}

export interface Options {
  /** Providers and services have different names. */
  readonly providers: ReadonlyArray<Provider>
  readonly services?: ReadonlyArray<Service> | undefined
  /** How far back outcomes count. Defaults to `"2 minutes"`. */
  readonly recent?: Duration.Input | undefined
  /** The share of failed attempts that makes a provider degraded. Defaults to 0.1. */
  readonly degradedAt?: number | undefined
  /** How long a probe's answer holds. Defaults to `"10 seconds"`. */
  readonly probeTimeToLive?: Duration.Input | undefined
  /** How long a probe may take; one that takes longer or dies counts as failed. Defaults to `"5 seconds"`. */
  readonly probeTimeout?: Duration.Input | undefined
  /** How often providers that are not healthy are probed without being asked. Defaults to `"30 seconds"`. */
  readonly recheckEvery?: Duration.Input | undefined
}

export class Health extends Context.Service<Health, {
  /** Everybody known: providers first, then services. */
  readonly names: ReadonlyArray<string>
  /** Judges by what is known already. Unknown names are left out. */
  readonly check: (names?: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Verdict>>
  /** Asks the providers first, unless somebody just did. */
  readonly probe: (names?: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Verdict>>
}>()("holdfast/Health") {
  static readonly layer = (options: Options): Layer.Layer<Health, InvalidOptions, Measurements> =>
    Layer.effect(Health, make(options))
}

/** Whether anybody can still answer: what makes a process ready. */
export const canAnswer = (verdicts: ReadonlyArray<Verdict>): boolean =>
  verdicts.some(({ state }) => state === "Healthy" || state === "Degraded")

/** What was found when the provider was last asked. */
interface Probe {
  readonly at: number
  readonly failure: string | undefined
  /** How many of its calls had succeeded by then. */
  readonly succeeded: number
}

type Finding = Pick<Verdict, "state" | "reasons">

const healthy: Finding = { state: "Healthy", reasons: [] }

const settingsOf = (options: Options) => {
  const { ensure, number } = checks("Health")
  const millis = (field: "recent" | "probeTimeToLive" | "probeTimeout" | "recheckEvery", usual: Duration.Input) => {
    const millis = millisOf("Health", field, options[field] ?? usual)
    ensure(millis >= 0, field, "must not be below 0")
    return millis
  }
  const recheckEvery = millis("recheckEvery", "30 seconds")
  ensure(recheckEvery > 0, "recheckEvery", "must be above 0")
  checkNames(options)
  return {
    recheckEvery,
    recentMillis: millis("recent", "2 minutes"),
    degradedAt: number("degradedAt", options.degradedAt, 0.1),
    timeToLive: millis("probeTimeToLive", "10 seconds"),
    probeTimeout: millis("probeTimeout", "5 seconds")
  }
}

export const make = Effect.fnUntraced(function*(options: Options) {
  const measurements = yield* Measurements
  const sink = yield* Sink
  const { degradedAt, probeTimeout, recentMillis, recheckEvery, timeToLive } = yield* checked(() => settingsOf(options))
  const providers = new Map(options.providers.map((provider) => [provider.name, provider]))
  const services = new Map(options.services?.map((service) => [service.name, service]))
  const names = [...providers.keys(), ...services.keys()]
  const probes = new Map<string, Probe>()
  const last = new Map<string, State>()
  const probing = yield* Semaphore.make(1)

  const judgeProvider = Effect.fnUntraced(function*(provider: Provider, now: number) {
    if (provider.configured === false) {
      return { state: "NotConfigured", reasons: ["no credentials are set"] } satisfies Finding
    }
    const circuit = provider.circuit === undefined ? undefined : yield* provider.circuit
    const reading = yield* measurements.read({ services: [provider.name], range: recentMillis })
    const probe = probes.get(provider.name)
    return worst([
      circuit === undefined ? healthy : byCircuit(circuit),
      byOutcomes(reading.services[0], degradedAt, probe !== undefined && probe.failure === undefined),
      probe?.failure === undefined || now - probe.at > recentMillis || (yield* succeeded(provider)) > probe.succeeded
        ? healthy
        : { state: "Failed", reasons: [`did not answer when asked: ${probe.failure}`] }
    ])
  })

  /** Its calls that succeeded since the start: one more than when it was probed, and it has answered since. */
  const succeeded = ({ name }: Provider): Effect.Effect<number> =>
    Effect.map(measurements.lifetime, (all) => all.find(({ service }) => service === name)?.successful ?? 0)

  const judgeService = Effect.fnUntraced(function*(service: Service, now: number) {
    const level = service.level === undefined ? undefined : yield* service.level
    const under = yield* Effect.forEach(
      service.providers.flatMap((name) => providers.get(name) ?? []),
      (provider) => Effect.map(judgeProvider(provider, now), (finding) => ({ name: provider.name, ...finding }))
    )
    const used = under.filter(({ state }) => state !== "NotConfigured")
    return worst([
      level === undefined || level.rank === 0
        ? healthy
        : { state: "Degraded", reasons: [`service level is ${level.name}`] },
      {
        state: used.every(({ state }) => state === "Failed")
          ? "Failed"
          : used.some(({ state }) => state !== "Healthy")
          ? "Degraded"
          : "Healthy",
        reasons: used.length === 0
          ? ["none of its providers takes part"]
          : used.flatMap(({ name, reasons, state }) =>
            state === "Healthy" ? [] : `${name} is ${state === "Failed" ? "down" : "degraded"}: ${reasons.join(", ")}`
          )
      }
    ])
  })

  const check = Effect.fnUntraced(function*(wanted: ReadonlyArray<string> = names) {
    const now = yield* Clock.currentTimeMillis
    const verdicts: Array<Verdict> = []
    for (const name of wanted) {
      const service = services.get(name)
      const provider = providers.get(name)
      if (service === undefined && provider === undefined) continue
      const finding = service !== undefined
        ? yield* judgeService(service, now)
        : yield* judgeProvider(provider!, now)
      verdicts.push({ name, state: finding.state, reasons: finding.reasons, checkedAt: now })
      tell(name, finding, now)
    }
    return verdicts
  })

  const tell = (name: string, { reasons, state }: Finding, now: number): void => {
    const before = last.get(name)
    last.set(name, state)
    if (
      sink === undefined || before === state || (before === undefined && state !== "Degraded" && state !== "Failed")
    ) {
      return
    }
    sink({
      _tag: "HealthChanged",
      at: now,
      service: name,
      healthy: state === "Healthy" || state === "NotConfigured",
      reason: reasons.join("; ") || state
    })
  }

  const ask = Effect.fnUntraced(function*(provider: Provider) {
    if (provider.probe === undefined || provider.configured === false) return
    const asked = probes.get(provider.name)
    // A clock that was set back keeps no answer for longer than its time.
    if (asked !== undefined && Math.abs((yield* Clock.currentTimeMillis) - asked.at) < timeToLive) return
    const failure = yield* provider.probe.pipe(
      Timeout.attempt(probeTimeout),
      Effect.matchCause({ onSuccess: () => undefined, onFailure: (cause) => kindOf(Cause.squash(cause)) })
    )
    // Where our own policies refused, nobody was asked; they have their say beside this.
    if (failure !== undefined && refusals.has(failure)) return
    probes.set(provider.name, { at: yield* Clock.currentTimeMillis, failure, succeeded: yield* succeeded(provider) })
  })

  /** One at a time: who waits finds the answer of the one before. */
  const askAll = (asked: ReadonlyArray<Provider>) =>
    probing.withPermit(Effect.forEach(asked, ask, { concurrency: "unbounded", discard: true }))

  const probe = Effect.fn("Health.probe")(function*(wanted: ReadonlyArray<string> = names) {
    const under = new Set(wanted.flatMap((name) => services.get(name)?.providers ?? [name]))
    yield* askAll([...under].flatMap((name) => providers.get(name) ?? []))
    return yield* check(wanted)
  })

  const recheck = Effect.gen(function*() {
    const bad = (yield* check()).filter(({ state }) => state === "Failed" || state === "Degraded")
    yield* askAll(bad.flatMap(({ name }) => providers.get(name) ?? []))
    yield* check()
  })
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(
      Effect.sleep(recheckEvery),
      Effect.ignoreCause(recheck, { log: "Warn", message: "Health could not be checked" })
    ))
  )

  return Health.of({ names, check, probe })
})

/** A service that stands on nobody known could never be well, and who shares a name could not be asked for. */
const checkNames = ({ providers, services = [] }: Options): void => {
  const { ensure } = checks("Health")
  const known = providers.map(({ name }) => name)
  const taken = new Set<string>()
  for (const [list, all] of [["providers", providers], ["services", services]] as const) {
    all.forEach(({ name }, index) => {
      ensure(!taken.has(name), `${list}.${index}.name`, `must be unique; ${name} is another's, too`)
      taken.add(name)
    })
  }
  services.forEach((service, index) => {
    const strangers = service.providers.filter((name) => !known.includes(name))
    ensure(
      strangers.length === 0,
      `services.${index}.providers`,
      `must be among the providers (${known.join(", ")}); unknown: ${strangers.join(", ")}`
    )
  })
}

const order = { Healthy: 0, NotConfigured: 0, Degraded: 1, Failed: 2 } as const satisfies { [S in State]: number }

const worst = (findings: ReadonlyArray<Finding>): Finding => ({
  state: findings.reduce<State>(
    (state, finding) => order[finding.state] > order[state] ? finding.state : state,
    "Healthy"
  ),
  reasons: findings.flatMap(({ reasons }) => reasons)
})

const byCircuit = ({ retryAfter, state }: Circuit): Finding => {
  const wait = Math.ceil(Duration.toSeconds(retryAfter))
  switch (state) {
    case "Closed":
      return wait === 0 ? healthy : { state: "Degraded", reasons: [`it asked not to be called for another ${wait} s`] }
    case "Disabled":
      return healthy
    case "HalfOpen":
      return { state: "Degraded", reasons: ["its circuit is trying it again"] }
    case "ReadyToProbe":
      return { state: "Degraded", reasons: ["its circuit is open and lets the next call try it"] }
    case "ForcedOpen":
      return { state: "Failed", reasons: ["an operator holds its circuit open"] }
    case "Open":
      return { state: "Failed", reasons: [`its circuit is open for another ${wait} s`] }
  }
}

/** Faults of the caller (a breaker's `Success`) say nothing against the provider. */
const byOutcomes = (reading: ServiceReading | undefined, degradedAt: number, answers: boolean): Finding => {
  if (reading === undefined) return healthy
  let faults = 0
  const categories: Array<string> = []
  for (const [tag, count] of Record.toEntries(reading.errors)) {
    if (count === 0 || table[tag].breaker === "Success") continue
    faults += count
    categories.push(table[tag].category)
  }
  if (faults === 0 || faults / (faults + reading.successful) < degradedAt) return healthy
  const what = `${faults} recent ${faults === 1 ? "attempt" : "attempts"} failed (${categories.join(", ")})`
  return reading.successful === 0 && !answers
    ? { state: "Failed", reasons: [`${what} and none succeeded`] }
    : { state: "Degraded", reasons: [what] }
}

/** A failure's kind, in words fit for everybody: its own words could be a provider's. */
export const kindOf = (failure: unknown): string =>
  failure instanceof ProviderError
    ? failure.category
    : Cause.isTimeoutError(failure) || failure instanceof Timeout.TimedOut
    ? "TIMEOUT"
    : Predicate.hasProperty(failure, "_tag")
    ? String(failure._tag)
    : "UNKNOWN"
