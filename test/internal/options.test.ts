import { assert, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Layer } from "effect"
import * as Chaos from "../../src/Chaos.ts"
import * as CircuitBreaker from "../../src/CircuitBreaker.ts"
import * as Deadline from "../../src/Deadline.ts"
import * as FailurePredictor from "../../src/FailurePredictor.ts"
import * as Fallback from "../../src/Fallback.ts"
import * as FaultTolerance from "../../src/FaultTolerance.ts"
import * as Health from "../../src/Health.ts"
import { checks, millisOf } from "../../src/internal/options.ts"
import { InvalidOptions } from "../../src/InvalidOptions.ts"
import * as Pipeline from "../../src/Pipeline.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import * as Timeout from "../../src/Timeout.ts"

class Store extends Context.Service<Store, { readonly get: Effect.Effect<string> }>()("test/Store") {}

const none: ReadonlyArray<unknown> = [NaN, { seconds: NaN }, [NaN, 0], "soon", "NaN seconds", true]

it.effect("what is no duration is a defect that names its field, wherever it comes with a call", () =>
  Effect.gen(function*() {
    const work = Effect.succeed("done")
    const chaos = yield* Chaos.make
    const breaker = yield* CircuitBreaker.make()
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: true })
    const store = yield* FaultTolerance.make(Store, { service: "s", providers: [{ service: { get: work } }] })
    const predictor = yield* FailurePredictor.make({ name: "p" })
    const names = { service: "s", operation: "get" }
    const source = { name: "a", call: work }
    const uses: { readonly [field: string]: (wrong: Duration.Input) => Effect.Effect<unknown, unknown> } = {
      "Chaos.expiresIn": (wrong) => chaos.start({ seed: 1, rules: [] }, wrong),
      "CircuitBreaker.duration": (wrong) => breaker.hold(wrong),
      "Deadline.duration": (wrong) => work.pipe(Deadline.within(wrong)),
      "FailurePredictor.latency": (wrong) => predictor.record(false, wrong),
      "Deadline.epochMillis": (wrong) => work.pipe(Deadline.until(wrong as number)),
      "Fallback.fallbackTimeout": (wrong) => Fallback.inOrder([source], { ...names, fallbackTimeout: wrong }),
      "Fallback.softDeadline": (wrong) => Fallback.gather([source], { ...names, softDeadline: wrong }),
      "FaultTolerance.timeout": (wrong) => store.execute({ operation: "get", timeout: wrong }, ({ get }) => get),
      "Pipeline.deadline": (wrong) => work.pipe(pipeline.protect({ operation: "get", deadline: wrong })),
      "Telemetry.range": (wrong) =>
        Effect.flatMap(Telemetry.Measurements, (all) => all.read({ range: wrong })).pipe(
          Effect.provide(Telemetry.layer())
        ),
      "Timeout.limit": (wrong) => work.pipe(Timeout.attempt(wrong)),
      "Timeout.limit, by a function": (wrong) => work.pipe(Timeout.attempt(() => wrong)),
      ...Object.fromEntries(
        ["recent", "probeTimeToLive", "probeTimeout", "recheckEvery"].map((field) => [
          `Health.${field}`,
          (wrong: Duration.Input) =>
            Layer.build(Health.Health.layer({ providers: [], [field]: wrong })).pipe(
              Effect.scoped,
              Effect.provide(Telemetry.layer())
            )
        ])
      )
    }
    for (const [field, use] of Object.entries(uses)) {
      for (const wrong of none) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- from JavaScript anything may come
        const exit = yield* Effect.exit(Effect.suspend(() => use(wrong as Duration.Input)))
        const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, InvalidOptions, `${field}: ${String(wrong)}`)
        assert.strictEqual(`${defect.module}.${defect.field}`, field.split(",")[0])
        assert.match(defect.why, /^must be a duration, not /)
      }
    }
  }))

it("every duration is taken as `Duration` takes it, infinite and negative ones too", () => {
  const inputs: ReadonlyArray<Duration.Input> = [
    0,
    1.5,
    -3,
    Infinity,
    -Infinity,
    "2 seconds",
    "-1 minute",
    "Infinity",
    [1, 500_000_000],
    { seconds: 1, minutes: 1 },
    Duration.hours(1),
    Duration.infinity,
    2_000_000n
  ]
  for (const input of inputs) {
    assert.strictEqual(millisOf("Test", "field", input), Duration.toMillis(Duration.fromInputUnsafe(input)))
  }
})

it("what is refused is shown as it was given", () => {
  const check = checks("Test", "in.")
  const message = (run: () => unknown): string => {
    try {
      run()
    } catch (error) {
      if (error instanceof InvalidOptions) return error.message
    }
    return ""
  }
  const seconds = { seconds: NaN }
  assert.strictEqual(
    message(() => check.millis("wait", seconds, 0)),
    "Test: in.wait must be a duration, not {\"seconds\":NaN}"
  )
  assert.strictEqual(
    message(() => check.number("limit", 0, 1, { min: Number.MIN_VALUE })),
    "Test: in.limit must be a finite number, above 0, not 0"
  )
  assert.strictEqual(message(() => check.text("name", "")), "Test: in.name must be a text that is not empty, not \"\"")
  assert.strictEqual(
    message(() => check.options("stage", false, "or true")),
    "Test: in.stage must be options or true, not false; leave it out for none"
  )
  assert.strictEqual(message(() => check.options("stage", true, "or true")), "")
})
