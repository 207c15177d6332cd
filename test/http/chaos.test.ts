import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import * as Holdfast from "../cli/holdfast.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"

const token = "an-operator's-token"

it.live(
  "a server started with a fault plan meets its faults, tells of each, and stops it by hand",
  () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const home = yield* Embedded.home
      const plan = {
        seed: 1,
        rules: [{ fault: { _tag: "Fail", reason: "AuthenticationError" }, provider: "neon", operation: "search" }]
      }
      yield* fs.writeFileString(`${home}/plan.json`, JSON.stringify(plan))
      const running = yield* Holdfast.start(
        ["serve", "--port", "0", "--no-samples", "--chaos", `${home}/plan.json`],
        { HOLDFAST_DIRECTORY: home, HOLDFAST_ADMIN_TOKEN: token }
      )
      const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
      const ask = (path: string, init?: RequestInit) =>
        Effect.promise(async () => {
          const response = await fetch(url + path, init)
          // oxlint-disable-next-line typescript/no-explicit-any -- read field by field below
          return { status: response.status, body: await response.json() as any }
        })
      const search = Effect.map(ask("/api/vectorstore/search?query=aspirin"), ({ status }) => status)
      const chaos = (body: unknown) =>
        ask("/api/fault-tolerance/chaos", {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          body: JSON.stringify(body)
        })

      assert.strictEqual(yield* search, 503)
      // A snapshot is a second old at most.
      const plans = Effect.map(ask("/api/fault-tolerance/snapshot"), ({ body }) => body.chaos)
      assert.deepInclude(yield* eventually(plans, ({ faults }) => faults > 0), { rules: 1, faults: 1, until: null })
      const { body: { events } } = yield* ask("/api/fault-tolerance/events?type=ChaosInjected,OperatorAction")
      const told = events.map(({ event }: { readonly event: Record<string, string> }) => event)
      assert.deepStrictEqual(
        told.map(({ fault, operation, provider }: Record<string, string>) => [provider, operation, fault]),
        [["neon", "search", "Fail"]]
      )

      // Nothing stays by being forgotten: a plan wants an end.
      assert.strictEqual((yield* chaos({ plan })).status, 400)
      assert.deepStrictEqual((yield* chaos({ plan: null })).body, { running: false })
      assert.strictEqual(yield* search, 200)
      assert.deepStrictEqual((yield* chaos({ plan, expiresInMillis: 60_000 })).body, { running: true })
      const audited = yield* ask("/api/fault-tolerance/events?type=OperatorAction")
      assert.deepStrictEqual(
        audited.body.events.map(({ event: { action } }: { readonly event: Record<string, string> }) => action),
        ["chaos stopped", "chaos started"]
      )
      assert.strictEqual((yield* Holdfast.stop(running)).code, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  60_000
)
