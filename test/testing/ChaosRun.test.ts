import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Arbitrary from "effect/Arbitrary"
import { ChaosRun, inspect } from "../../src/testing/ChaosRun.ts"
import { tried } from "../proofs.ts"

// A failing run is printed, shrunk, with what replays it.
const runs = tried(300, 10_000)

it.prop(
  "whatever fails, and whoever gives up: answers are true, work is done once, nothing leaks, service returns",
  { run: ChaosRun },
  ({ run }) => {
    assert.deepStrictEqual(inspect(run).broken, [])
  },
  { timeout: 3_600_000, arbitrary: { runs, size: 60 } }
)

it.effect("the generated runs reach every kind of answer and failure", () =>
  Effect.gen(function*() {
    const sample = yield* Arbitrary.sampleEffect(Arbitrary.schema(ChaosRun), { count: 60, size: 60, seed: 1 })
    const seen = new Set(sample.flatMap((run) => Object.keys(inspect(run).seen)))
    for (const kind of ["Live", "Cached", "Stale", "Repeated", "Interrupted", "AllProvidersFailed"]) {
      assert.isTrue(seen.has(kind), `${kind} among ${[...seen].join(", ")}`)
    }
  }), 60_000)

it("the same run is the same to the last step", () => {
  const run: ChaosRun = {
    seed: 7,
    requests: Array.from(
      { length: 40 },
      (_, i) => ({ at: i * 200, kind: i % 3 === 0 ? "write" : "read", key: i % 4, tenant: "a" })
    ),
    rules: [{ fault: { _tag: "Fail", reason: "NetworkError" }, rate: 0.6, provider: "first" }],
    faultsUntil: 5_000,
    cached: true,
    hedged: true,
    limit: 2,
    queue: 4
  }
  assert.deepStrictEqual(inspect(run), inspect(run))
  assert.isAbove(inspect(run).seen["Live"] ?? 0, 10)
})
