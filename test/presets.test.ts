import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect } from "effect"
import * as FaultTolerance from "../src/FaultTolerance.ts"
import * as presets from "../src/presets.ts"

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

/** In the order of the specification: retry, breaker, fallback, health; times in milliseconds. */
const figures = (
  { cache, fallbackTimeout, level, partialResultsThreshold, pipeline }: typeof presets[keyof typeof presets]
) => ({
  retry: [
    pipeline.retry.maxRetries,
    millis(pipeline.retry.baseDelay),
    millis(pipeline.retry.maxDelay),
    pipeline.retry.backoffMultiplier,
    pipeline.retry.jitterFactor,
    millis(pipeline.timeout)
  ],
  breaker: [
    pipeline.breaker.failureThreshold,
    millis(pipeline.breaker.recoveryTimeout),
    millis(pipeline.breaker.monitorWindow),
    pipeline.breaker.minimumThroughput,
    pipeline.breaker.successThreshold
  ],
  fallback: [millis(cache.cacheRetention), cache.capacity, millis(fallbackTimeout), partialResultsThreshold],
  health: millis(level.checkEvery)
})

it("presets hold the specification's exact values", () => {
  assert.deepStrictEqual(figures(presets.openAi), {
    retry: [3, 1000, 30_000, 2, 0.1, 60_000],
    breaker: [5, 60_000, 300_000, 10, 3],
    fallback: [3_600_000, 1000, 10_000, 0.5],
    health: 60_000
  })
  assert.deepStrictEqual(figures(presets.neon), {
    retry: [3, 500, 15_000, 2, 0.1, 30_000],
    breaker: [5, 30_000, 180_000, 5, 2],
    fallback: [1_800_000, 2000, 5000, 0.3],
    health: 30_000
  })
  assert.deepStrictEqual(figures(presets.unified), {
    retry: [2, 1000, 10_000, 2, 0.2, 45_000],
    breaker: [3, 45_000, 240_000, 5, 2],
    fallback: [1_800_000, 500, 15_000, 0.3],
    health: 45_000
  })
})

class Answer extends Context.Service<Answer, Effect.Effect<number>>()("test/presets/Answer") {}

it.effect.each(Object.entries(presets))(
  "a service can be made with the preset %s",
  ([service, preset]) =>
    Effect.gen(function*() {
      const { execute } = yield* FaultTolerance.make(Answer, {
        service,
        providers: [{ service: Effect.succeed(42) }],
        ...preset
      })
      const served = yield* execute({ operation: "answer", cacheKey: "life" }, (answer) => answer)
      assert.strictEqual(served.value, 42)
    })
)
