import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpServerRequest } from "effect/http"
import * as Event from "../../src/Event.ts"
import * as Health from "../../src/Health.ts"
import { levelOf, Operations } from "../../src/http/Operations.ts"
import { handlers } from "../../src/http/OperationsHandlers.ts"
import * as Pipeline from "../../src/Pipeline.ts"
import * as ServiceLevel from "../../src/ServiceLevel.ts"
import * as Telemetry from "../../src/Telemetry.ts"

const made = Layer.unwrap(Effect.gen(function*() {
  const rates = yield* Pipeline.make({ provider: "rates", timeout: "1 second", bulkhead: { limit: 4 } })
  const level = yield* ServiceLevel.make({ service: "shop" })
  return Operations.layer({ pipelines: [rates], levels: [levelOf(level)] })
})).pipe(
  Layer.provideMerge(Health.Health.layer({ providers: [{ name: "rates" }] })),
  Layer.provideMerge([Telemetry.layer(), Event.EventLog.layer()]),
  Layer.provideMerge(
    Layer.succeed(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(new Request("http://localhost")))
  )
)

it.effect("the minutes of a service that is not there are refused with those there are, and no zeros are told", () =>
  Effect.gen(function*() {
    const { minutes } = yield* handlers
    for (const service of ["nosuch", "__proto__", "all"]) {
      const error = yield* Effect.flip(minutes({ query: { service } }))
      assert.deepStrictEqual([error._tag, error.status, error.allowed], ["UnknownService", 400, ["rates", "shop"]])
    }
    // Nobody has called it yet.
    assert.lengthOf((yield* minutes({ query: { service: "rates" } })).minutes, 60)
    assert.lengthOf((yield* minutes({ query: { service: "shop", count: 1 } })).minutes, 1)
  }).pipe(Effect.provide(made)))

it.effect("a level held by hand is told once, with the reason, and its release too", () =>
  Effect.gen(function*() {
    const { moveLevel } = yield* handlers
    const held = yield* moveLevel({ payload: { service: "shop", rank: 2, reason: "maintenance" } })
    assert.deepStrictEqual([held.rank, held.reasons], [2, ["maintenance"]])
    yield* moveLevel({ payload: { service: "shop", rank: null } })
    const told = (yield* (yield* Event.EventLog).history()).flatMap(({ event }) =>
      event._tag === "OperatorAction" ? [[event.action, event.target, event.actor, event.detail]] : [event._tag]
    )
    assert.deepStrictEqual(told, [
      "LevelChanged",
      ["level held at Basic", "shop", "operator", "maintenance"],
      "LevelChanged",
      ["level released", "shop", "operator", undefined]
    ])
  }).pipe(Effect.provide(made)))

it.effect("the snapshot tells which errors there were and how fast they burn the budget, what there is room for, and a hold's end", () =>
  Effect.gen(function*() {
    const { levels: [shop], snapshot } = yield* Operations
    yield* shop!.hold(1, "maintenance", "1 minute")
    const recorder = (yield* Telemetry.Telemetry)!.recorder("rates", "get")
    for (const outcome of ["success", "failure"] as const) {
      recorder.begin(0)
      if (outcome === "failure") recorder.error("NetworkError", 0)
      recorder.end(outcome, 10, 0)
    }
    const { capacity, levels, services } = yield* snapshot
    assert.deepStrictEqual(capacity.map(({ limit, queued, running }) => [limit, queued, running]), [[4, 0, 0]])
    assert.strictEqual(levels[0]?.heldUntil, 60_000)
    const rates = services.find(({ service }) => service === "rates")
    assert.deepStrictEqual(rates?.errors, { NETWORK: 1 })
    assert.strictEqual(rates?.burn["5m"].calls, 2)
    // Half of all calls, of the hundredth that may fail.
    assert.closeTo(rates?.burn["5m"].rate ?? 0, 50, 1e-9)
  }).pipe(Effect.provide(made)))
