/** Settings and the options of a program: each as the other. */
import { Duration, type Effect, Option } from "effect"
import type * as FaultTolerance from "../FaultTolerance.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import type * as Pipeline from "../Pipeline.ts"
import {
  at,
  fields,
  isObject,
  type Json,
  type PipelineForm,
  type ProviderForm,
  type ServiceForm
} from "./settingsForm.ts"

/** A service whose settings change: what `FaultTolerance.make` gives is one. */
export interface Target {
  readonly service: string
  readonly options: Omit<FaultTolerance.Options<never, never>, "providers">
  readonly providers: ReadonlyArray<{
    readonly name: string
    readonly options?: FaultTolerance.PipelineOptions | undefined
  }>
  readonly reconfigure: (changes: FaultTolerance.Changes) => Effect.Effect<void, InvalidOptions>
}

// -- options as settings ---------------------------------------------------------------------------------------------

const stageNames = ["timeout", "retry", "circuitBreaker", "hedge", "predictor", "rateLimit", "bulkhead"] as const

/** What holds where nobody says anything, of the stages that are there. */
export const defaultsOf = (given: Json): Json => {
  const has = (path: ReadonlyArray<string>): boolean => at(given, path) !== undefined
  const stages: { readonly [stage: string]: Json } = {
    retry: {
      maxRetries: 3,
      baseDelay: 100,
      maxDelay: 20_000,
      backoffMultiplier: 2,
      jitter: has(["retry", "jitterFactor"]) ? "proportional" : "full",
      maxRetryAfter: 60_000
    },
    circuitBreaker: {
      failureThreshold: 5,
      failureRate: 0.5,
      monitorWindow: 30_000,
      recoveryTimeout: 5_000,
      recoveryMultiplier: 2,
      jitter: true,
      successThreshold: 3,
      probeFailureThreshold: 2,
      rampUp: 10_000
    },
    hedge: { maxHedges: 1 },
    predictor: { mode: "shadow", leastShare: 0.1, horizon: 300_000, usual: 1_800_000, memory: 300_000 },
    rateLimit: { window: 1_000, algorithm: "token-bucket", onLimit: "wait", maxWait: 30_000 },
    bulkhead: { limit: 64, queue: 64, maxWait: 1_000 },
    cache: {
      fresh: 60_000,
      revalidate: 60_000,
      ...(has(["cache", "cacheRetention"]) ? {} : { stale: 3_600_000 }),
      capacity: 1_000
    }
  }
  const always = new Set(["retry", "circuitBreaker"])
  return {
    deadline: 30_000,
    timeout: 10_000,
    fallback: { fallbackConcurrency: 10, partialResultsThreshold: 0.3 },
    level: { checkEvery: 5_000, badChecks: 2, spacing: 5_000, dwell: 30_000 },
    ...Object.fromEntries(
      Object.entries(stages).filter(([stage]) => {
        const own = given[stage]
        return own === undefined ? always.has(stage) : isObject(own)
      })
    )
  }
}

const times = new Set([
  "baseDelay",
  "maxDelay",
  "maxRetryAfter",
  "maxElapsed",
  "monitorWindow",
  "recoveryTimeout",
  "maxRecoveryTimeout",
  "probeLease",
  "rampUp",
  "slowCallDuration",
  "delay",
  "horizon",
  "usual",
  "memory",
  "window",
  "maxWait",
  "fresh",
  "revalidate",
  "stale",
  "cacheRetention",
  "checkEvery",
  "spacing",
  "dwell"
])

const millisOf = (value: unknown): number | undefined => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- anything else is no duration
  const duration = Duration.fromInput(value as Duration.Input)
  const millis = Option.isSome(duration) ? Duration.toMillis(duration.value) : Infinity
  return Number.isFinite(millis) ? millis : undefined
}

/** The fields of a section that are data; a stage made elsewhere tells nothing. */
const sectionOf = (section: keyof typeof fields, options: unknown): unknown => {
  if (options === true) return {}
  if (!isObject(options)) return undefined
  return Object.fromEntries(
    fields[section].flatMap((field) => {
      const value = times.has(field) && options[field] !== undefined ? millisOf(options[field]) : options[field]
      return ["string", "number", "boolean"].includes(typeof value) ? [[field, value]] : []
    })
  )
}

/** A provider's policies as a program gave them. */
const presetOfProvider = (options: FaultTolerance.PipelineOptions | undefined): Json => {
  const { breaker, bulkhead, hedge, predictor, rateLimit, retry, timeout } = options ?? {}
  const own = {
    timeout: timeout === undefined || timeout === true
      ? undefined
      : millisOf(isObject(timeout) && "timeout" in timeout ? timeout["timeout"] : timeout),
    retry: sectionOf("retry", retry),
    circuitBreaker: sectionOf("circuitBreaker", breaker),
    hedge: sectionOf("hedge", hedge),
    predictor: sectionOf("predictor", predictor),
    rateLimit: sectionOf("rateLimit", rateLimit),
    bulkhead: sectionOf("bulkhead", bulkhead)
  }
  return present({
    ...own,
    // Named, but as nothing: left out.
    ...(options !== undefined && "retry" in options && retry === undefined ? { retry: false } : {}),
    ...(options !== undefined && "breaker" in options && breaker === undefined ? { circuitBreaker: false } : {})
  })
}

const present = (value: Json): Json =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined))

/** A service's options as a program gave them. */
export const presetOf = ({ options, providers }: Target): Json => {
  const { deadline, enableCircuitBreaker, enableFallback, enableGracefulDegradation, enableRetry } = options
  const { fallbackConcurrency, fallbackTimeout, partialResultsThreshold } = options
  return present({
    ...presetOfProvider(options.pipeline),
    deadline: deadline === undefined ? undefined : millisOf(deadline),
    fallback: present({
      fallbackTimeout: fallbackTimeout === undefined ? undefined : millisOf(fallbackTimeout),
      fallbackConcurrency,
      partialResultsThreshold
    }),
    cache: options.cache === undefined ? undefined : sectionOf("cache", options.cache),
    level: sectionOf("level", options.level),
    enableRetry,
    enableCircuitBreaker,
    enableFallback,
    enableGracefulDegradation,
    providers: Object.fromEntries(providers.map(({ name, options }) => [name, presetOfProvider(options)]))
  })
}

/** A provider's part of a service's settings. */
export const sectionsOf = (value: Json): Json =>
  Object.fromEntries(stageNames.flatMap((stage) => value[stage] === undefined ? [] : [[stage, value[stage]]]))

// -- settings as options ---------------------------------------------------------------------------------------------

const pipelineChanges = (
  { bulkhead, circuitBreaker: breaker, hedge, predictor, rateLimit, retry, timeout }: ProviderForm
): FaultTolerance.PipelineChanges => present({ timeout, retry, breaker, hedge, predictor, rateLimit, bulkhead })

/** Settings as a service takes them. */
export const changesOf = (overlay: ServiceForm): FaultTolerance.Changes => {
  const { cache, deadline, enableCircuitBreaker, enableFallback, enableGracefulDegradation, enableRetry } = overlay
  const { enableCaching, ...held } = cache ?? {}
  const pipeline = pipelineChanges(overlay)
  return present({
    deadline,
    ...overlay.fallback,
    enableRetry,
    enableCircuitBreaker,
    enableFallback,
    enableGracefulDegradation,
    cache: cache === undefined ? undefined : { ...held, ...(enableCaching === false ? { capacity: 0 } : {}) },
    level: overlay.level,
    pipeline: Object.keys(pipeline).length === 0 ? undefined : pipeline,
    providers: overlay.providers === undefined
      ? undefined
      : Object.fromEntries(Object.entries(overlay.providers).map(([name, own]) => [name, pipelineChanges(own)]))
  })
}

/** One pipeline's settings as its options. */
export const pipelineOf = (
  provider: string,
  {
    bulkhead,
    circuitBreaker: breaker,
    deadline,
    hedge,
    predictor,
    rateLimit,
    retry,
    timeout
  }: Omit<PipelineForm, "attemptsInside">
): { readonly options: Pipeline.Options } => ({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a rate limit or hedge without what it needs is refused
  options: Object.fromEntries(
    Object.entries({ provider, deadline, timeout, retry, breaker, hedge, predictor, rateLimit, bulkhead })
      .filter(([, value]) => value !== undefined && value !== false)
  ) as unknown as Pipeline.Options
})
