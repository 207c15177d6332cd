import { assert, it } from "@effect/vitest"
import { Duration, Effect, Random, Schedule, Schema } from "effect"
import * as Backoff from "../src/Backoff.ts"

const settings: Backoff.Settings = { baseMillis: 100, maxMillis: 300, multiplier: 2, jitter: "none", jitterFactor: 0.1 }
const kinds = ["full", "equal", "decorrelated", "proportional", "none"] as const

it("scenario 16: base 100, doubled, at most 300, without jitter: waits of 100, 200, 300, 300", () => {
  assert.deepStrictEqual([1, 2, 3, 4].map((n) => Backoff.delay(settings, n, 0, 0.99)), [100, 200, 300, 300])
})

it("no base is no wait, after however many failures", () => {
  for (const jitter of kinds) {
    assert.strictEqual(Backoff.delay({ ...settings, baseMillis: 0, jitter }, 5_000, 0, 0.5), 0, jitter)
  }
})

it("each jitter spreads over its band", () => {
  const at = (jitter: Backoff.Jitter, random: number, previous = 0) =>
    Backoff.delay({ ...settings, maxMillis: 1000, jitter, jitterFactor: 0.25 }, 2, previous, random)
  assert.deepStrictEqual([at("full", 0), at("full", 0.5)], [0, 100])
  assert.deepStrictEqual([at("equal", 0), at("equal", 0.5)], [100, 150])
  assert.deepStrictEqual([at("proportional", 0), at("proportional", 0.5)], [150, 200])
  assert.deepStrictEqual([at("decorrelated", 0, 100), at("decorrelated", 0.5, 100)], [100, 200])
  assert.strictEqual(at("decorrelated", 0.99, 900), 1000)
})

it("the longest wait is one that there may be", () => {
  const to = (jitter: Backoff.Jitter) =>
    [1, 2, 3, 4].map((n) => Backoff.longest({ ...settings, jitter, maxMillis: 1000, jitterFactor: 0.25 }, n))
  for (const jitter of ["none", "full", "equal"] as const) assert.deepStrictEqual(to(jitter), [100, 200, 400, 800])
  assert.deepStrictEqual(to("decorrelated"), [300, 900, 1000, 1000])
  assert.deepStrictEqual(to("proportional"), [125, 250, 500, 1000])
})

const Random01 = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999_999 }))
const Case = Schema.Struct({
  jitter: Schema.Literals(kinds),
  baseMillis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 })),
  extra: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60_000 })),
  multiplier: Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: 10 })),
  jitterFactor: Random01,
  randoms: Schema.Array(Random01)
})

it.prop("a wait is never negative, never above maxDelay and never above the longest told", [Case], ([given]) => {
  const self = { ...given, maxMillis: given.baseMillis + given.extra }
  let previous = 0
  for (const [i, random] of given.randoms.entries()) {
    previous = Backoff.delay(self, i + 1, previous, random)
    assert.isAtLeast(previous, 0)
    assert.isAtMost(previous, self.maxMillis)
    assert.isAtMost(previous, Backoff.longest(self, i + 1) + 1e-6)
    if (self.jitter === "equal") assert.isAtLeast(previous, Backoff.exponential(self, i + 1) / 2)
    if (self.jitter === "decorrelated") assert.isAtLeast(previous, self.baseMillis)
  }
})

it.prop(
  "after a hint the wait is never shorter than the hint, and at most a fifth longer than both",
  { hint: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })), backoff: Random01, random: Random01 },
  ({ backoff, hint, random }) => {
    const wait = Backoff.afterHint(hint, backoff * 20_000, random)
    assert.isAtLeast(wait, Math.max(hint, backoff * 20_000))
    assert.isAtMost(wait, Math.max(hint * 1.2, backoff * 20_000))
  }
)

for (const jitter of kinds) {
  it.effect(`the schedule of ${jitter} jitter gives the same waits as the function`, () =>
    Effect.gen(function*() {
      const self = { ...settings, maxMillis: 5000, jitter }
      const step = yield* Schedule.toStep(Backoff.schedule(self))
      const waits = yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => Effect.map(step(0, undefined), ([, wait]) => wait))
        .pipe(
          Random.withSeed("waits")
        )
      const randoms = yield* Effect.forEach(waits, () => Random.next).pipe(Random.withSeed("waits"))
      let previous = 0
      const expected = randoms.map((random, i) => previous = Backoff.delay(self, i + 1, previous, random))
      // A duration counts whole nanoseconds.
      waits.forEach((wait, i) => assert.approximately(Duration.toMillis(wait), expected[i]!, 1e-6))
    }))
}
