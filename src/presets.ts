/**
 * The specification's settings of its three services, in the option names used here. Spread one into
 * `FaultTolerance.make`; the plain defaults may serve better.
 *
 * **Details**
 *
 * As the specification has it, circuits stay open for a fixed time and one failed probe opens them again. `cacheRetention`
 * bounds how old an answer may be that is served in an outage; the specification's health interval is how often the
 * service level is checked.
 */
import type { Options } from "./FaultTolerance.ts"

type Preset = Omit<Options<never, never>, "service" | "providers">

/** The OpenAI service's settings. */
export const openAi = {
  pipeline: {
    retry: {
      maxRetries: 3,
      baseDelay: "1 second",
      maxDelay: "30 seconds",
      backoffMultiplier: 2,
      jitter: "proportional",
      jitterFactor: 0.1
    },
    breaker: {
      failureThreshold: 5,
      recoveryTimeout: "60 seconds",
      recoveryMultiplier: 1,
      jitter: false,
      monitorWindow: "5 minutes",
      minimumThroughput: 10,
      successThreshold: 3,
      probeFailureThreshold: 1
    },
    timeout: "60 seconds"
  },
  cache: { cacheRetention: "1 hour", capacity: 1000 },
  fallbackTimeout: "10 seconds",
  partialResultsThreshold: 0.5,
  level: { checkEvery: "60 seconds" }
} as const satisfies Preset

/** The Neon service's settings. */
export const neon = {
  pipeline: {
    retry: {
      maxRetries: 3,
      baseDelay: "500 millis",
      maxDelay: "15 seconds",
      backoffMultiplier: 2,
      jitter: "proportional",
      jitterFactor: 0.1
    },
    breaker: {
      failureThreshold: 5,
      recoveryTimeout: "30 seconds",
      recoveryMultiplier: 1,
      jitter: false,
      monitorWindow: "3 minutes",
      minimumThroughput: 5,
      successThreshold: 2,
      probeFailureThreshold: 1
    },
    timeout: "30 seconds"
  },
  cache: { cacheRetention: "30 minutes", capacity: 2000 },
  fallbackTimeout: "5 seconds",
  partialResultsThreshold: 0.3,
  level: { checkEvery: "30 seconds" }
} as const satisfies Preset

/** The Unified service's settings. */
export const unified = {
  pipeline: {
    retry: {
      maxRetries: 2,
      baseDelay: "1 second",
      maxDelay: "10 seconds",
      backoffMultiplier: 2,
      jitter: "proportional",
      jitterFactor: 0.2
    },
    breaker: {
      failureThreshold: 3,
      recoveryTimeout: "45 seconds",
      recoveryMultiplier: 1,
      jitter: false,
      monitorWindow: "4 minutes",
      minimumThroughput: 5,
      successThreshold: 2,
      probeFailureThreshold: 1
    },
    timeout: "45 seconds"
  },
  cache: { cacheRetention: "30 minutes", capacity: 500 },
  fallbackTimeout: "15 seconds",
  partialResultsThreshold: 0.3,
  level: { checkEvery: "45 seconds" }
} as const satisfies Preset
