/** Everything that a server shows at `/metrics`, registered as it does it. */
import { Context, Effect, Layer, Metric } from "effect"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import { levelOf, Operations } from "../../src/http/Operations.ts"
import * as OperationsMetrics from "../../src/http/OperationsMetrics.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import * as UnifiedStore from "../../src/vectorstore/UnifiedStore.ts"

/** The breaker of the first provider, whose circuit `openai/search` has seen a call. */
export class Breaker extends Context.Service<Breaker, CircuitBreaker.Service>()("holdfast/test/Breaker") {}

/** The unified store in question. */
export class Store extends Context.Service<Store, UnifiedStore.Unified>()("holdfast/test/Store") {}

const base = Layer.merge(Telemetry.layer(), Event.EventLog.layer()).pipe(
  Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
)

export const shown = Layer.unwrap(Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.make({ name: "openai" })
  const unified = yield* UnifiedStore.make({
    sources: [
      { name: "openai", layer: MemoryStore.layerLexical(), pipeline: { breaker, rateLimit: { limit: 10 } } },
      { name: "neon", layer: MemoryStore.layerLexical() }
    ],
    pipeline: { bulkhead: true },
    cache: { fresh: "1 minute" }
  })
  return OperationsMetrics.layer.pipe(
    Layer.provide(Operations.layer({
      pipelines: unified.policies.providers.map(({ pipeline }) => pipeline),
      levels: [levelOf(unified.policies.level)],
      outboxes: [unified.outbox]
    })),
    Layer.provide(Health.Health.layer({ providers: [{ name: "openai" }, { name: "neon" }] })),
    Layer.merge(Layer.mergeAll(Layer.succeed(Breaker, breaker), Layer.succeed(Store, unified)))
  )
})).pipe(Layer.provideMerge(base))

/** The series in a text for Prometheus: by name, each label with the values seen. */
export const seriesOf = (text: string): ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>> => {
  const all = new Map<string, Map<string, Set<string>>>()
  for (const [, name, labels = ""] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = all.get(name!) ?? new Map<string, Set<string>>()
    all.set(name!, known)
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      known.set(label!, (known.get(label!) ?? new Set()).add(value!))
    }
  }
  return all
}

/** The value of one series. */
export const valueOf = (text: string, series: string): number | undefined => {
  const line = text.split("\n").find((line) => line.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}
