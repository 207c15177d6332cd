/** The policies around several stores: `FaultTolerance` without its inference of kinds and errors, which callers state. */
import { type Duration, Effect, type Scope } from "effect"
import * as FaultTolerance from "../../FaultTolerance.ts"
import { isTagged } from "../../internal/foreign.ts"
import type { InvalidOptions } from "../../InvalidOptions.ts"
import { ProviderError, ServiceUnavailableError } from "../../ProviderError.ts"
import type { Served } from "../../Served.ts"
import { type Service, VectorStore } from "../VectorStore.ts"

/** The providers with their policies, the service level and the cache. */
export type Policies = Pick<
  FaultTolerance.FaultTolerance<Service>,
  "service" | "providers" | "level" | "cache" | "options" | "reconfigure"
>

/** A source with its pipeline. */
export type Built = Policies["providers"][number]

/** What any call may fail with. */
export type Failing = ProviderError | {
  readonly _tag: string
  readonly message: string
  readonly retryAfter?: Duration.Duration | undefined
}

type Execute = <A>(
  options: FaultTolerance.CallOptions<A>,
  use: (store: Service) => Effect.Effect<A, ProviderError>
) => Effect.Effect<Served<A>, Failing>

interface Executing extends Policies {
  readonly execute: Execute
  readonly among: (sources: ReadonlyArray<string>) => { readonly execute: Execute }
}

export interface SourcePolicies {
  readonly policies: Policies
  /** Asks the sources in their own order. */
  readonly execute: Execute
  /** Asks some of the sources, or in another order. */
  readonly executeIn: (order: ReadonlyArray<Built>) => Execute
}

/** Builds the sources and their policies; what their Layers fail with and need is for the caller to state. */
export const make = Effect.fnUntraced(function*(
  options: FaultTolerance.Options<VectorStore, Service>
): Effect.fn.Return<SourcePolicies, InvalidOptions, Scope.Scope> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Executing` is what it is without the inference
  const made = FaultTolerance.make(VectorStore, options) as Effect.Effect<never, InvalidOptions, Scope.Scope>
  const all: Executing = yield* made
  const arrangements = new Map<string, Execute>()
  return {
    policies: all,
    execute: all.execute,
    executeIn: (order) => {
      const names = order.map(({ name }) => name)
      const key = JSON.stringify(names)
      const known = arrangements.get(key) ?? all.among(names).execute
      arrangements.set(key, known)
      return known
    }
  }
})

/** A refusal or an outage in the words of a store. */
export const providerError = (provider: string, operation: string, error: Failing): ProviderError =>
  error instanceof ProviderError ? error : new ProviderError({
    provider,
    operation,
    reason: new ServiceUnavailableError({
      message: error.message,
      rule: "unified",
      delivered: "unknown",
      detail: error._tag,
      ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
    })
  }).causedBy(error)

export const tagged = (error: unknown): { readonly _tag: string } => isTagged(error) ? error : { _tag: "UnknownError" }
