import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Holdfast from "../cli/holdfast.ts"
import * as Embedded from "../embedded.ts"
import { eventually } from "../testing/eventually.ts"

const token = "the-operators-token"

const ask = (url: string, path: string, init?: RequestInit) =>
  Effect.promise(async (signal) => {
    const response = await fetch(url + path, { ...init, signal })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text === "" ? {} : JSON.parse(text)
    }
  })

const config = "/api/fault-tolerance/config"

const patch = (url: string, body: unknown, bearer: string | undefined = token, type = "application/json") =>
  ask(url, config, {
    method: "PATCH",
    headers: { "content-type": type, ...(bearer === "" ? {} : { authorization: `Bearer ${bearer}` }) },
    body: JSON.stringify(body)
  })

const unified = (settings: unknown) => ({ services: { unified: settings } })

it.live(
  "a running server takes patches and files, keeps its circuits, and refuses what makes no sense",
  () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const emulator = yield* OpenAiEmulator
      const home = yield* Embedded.home
      const file = `${home}/settings.toml`
      yield* fs.writeFileString(file, "[services.unified.retryConfig]\nmaxRetries = 2\n")
      const server = yield* Holdfast.start(["serve", "--port", "0", "--no-samples", "--config", file], {
        OPENAI_API_KEY: "sk-wrong-key-0123456789",
        OPENAI_BASE_URL: emulator.url,
        OPENAI_VECTORSTORE: emulator.vectorStore,
        HOLDFAST_DIRECTORY: home,
        HOLDFAST_ADMIN_TOKEN: token,
        HOLDFAST_RECOVERY_TIMEOUT: "20s"
      })
      const url = yield* Holdfast.says(server, /serving at (http:\/\/\S+)/)

      // What is in force, from everywhere, without a secret.
      const first = yield* ask(url, config)
      assert.strictEqual(first.status, 200)
      assert.notInclude(first.text, "sk-wrong")
      assert.notInclude(first.text, token)
      const { from, settings } = first.body.services.unified
      assert.deepInclude(settings.retry, { maxRetries: 2, maxRetryAfter: 200 })
      assert.containsSubset(from, {
        "retry.maxRetries": "file",
        "retry.maxRetryAfter": "preset",
        "retry.backoffMultiplier": "default",
        "circuitBreaker.recoveryTimeout": "environment",
        "providers.neon.retry.maxRetries": "file"
      })

      // A circuit that an operator opened stays so over patches.
      yield* ask(url, "/api/vectorstore/search?query=anything")
      const key = encodeURIComponent("neon/search")
      const opened = yield* ask(url, `/api/fault-tolerance/breakers/${key}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ action: "open" })
      })
      assert.strictEqual(opened.status, 200, opened.text)
      const state = Effect.map(
        ask(url, "/api/fault-tolerance/breakers"),
        ({ body }) => body.breakers.find((circuit: { readonly key: string }) => circuit.key === "neon/search")
      )
      const before = yield* eventually(state, (circuit) => circuit?.state === "ForcedOpen")
      assert.strictEqual(before.state, "ForcedOpen")

      const asked = { circuitBreaker: { failureThreshold: 9 }, bulkhead: { limit: 7 }, timeout: "5 seconds" }
      assert.strictEqual((yield* patch(url, unified(asked), "")).status, 401)
      assert.strictEqual((yield* patch(url, unified(asked), "guessed")).status, 401)
      const taken = yield* patch(url, unified(asked), token, "application/merge-patch+json")
      assert.strictEqual(taken.status, 200, taken.text)
      assert.deepInclude(taken.body.services.unified.settings, { timeout: 5_000 })
      const limit = Effect.map(
        ask(url, "/api/fault-tolerance/snapshot"),
        ({ body }) => body.capacity.find(({ name }: { readonly name: string }) => name === "neon").limit
      )
      assert.strictEqual(yield* eventually(limit, (limit) => limit === 7), 7)
      // The circuit goes on as it was, under the new rules.
      const under = { ...before, opensAt: { ...before.opensAt, consecutiveFailures: 9 } }
      assert.deepStrictEqual(yield* state, under)

      // Wrong: told by field, nothing of it taken.
      const refused = yield* patch(url, unified({ bulkhead: { limit: 3 }, retry: { maxRetries: 11, baseDelay: 50 } }))
      assert.strictEqual(refused.status, 422)
      assert.include(refused.headers.get("content-type") ?? "", "application/problem+json")
      assert.deepStrictEqual(
        refused.body.problems.map(({ field }: { readonly field: string }) => field),
        ["services.unified.retry.maxRetries", "services.unified.retry.baseDelay"]
      )
      const after = (yield* ask(url, config)).body
      assert.deepStrictEqual(after.services, taken.body.services)

      // A file that changes is taken; a broken one is not.
      yield* fs.writeFileString(file, "[services.unified.retry]\nmaxRetries = 5\n")
      const read = Effect.map(ask(url, config), ({ body }) => body)
      yield* eventually(read, ({ services }) => services.unified.settings.retry.maxRetries === 5)
      yield* fs.writeFileString(file, "[services.unified.retry\nmaxRetries = 6\n")
      const noted = ask(url, "/api/fault-tolerance/events?type=Noted")
      const { text } = yield* eventually(noted, ({ text }) => text.includes("settings"))
      assert.include(text, "is not taken, the settings stay")
      const last = (yield* ask(url, config)).body
      assert.strictEqual(last.services.unified.settings.retry.maxRetries, 5)
      assert.deepStrictEqual(
        last.history.map(({ source }: { readonly source: string }) => source),
        ["file", "patch", "file"]
      )
      assert.deepStrictEqual(yield* state, under)

      // What an operator did is told, in few words.
      assert.strictEqual((yield* patch(url, { ["x".repeat(5_000)]: 1 })).status, 422)
      const actions: ReadonlyArray<{ readonly action: string; readonly detail?: string }> =
        (yield* ask(url, "/api/fault-tolerance/events?type=OperatorAction")).body.events.map(
          ({ event }: { readonly event: unknown }) => event
        )
      assert.deepStrictEqual(
        actions.slice(-3).map(({ action }) => action),
        ["settings patched", "settings refused", "settings refused"]
      )
      for (const { detail = "" } of actions) assert.isAtMost(detail.length, 500)
    }).pipe(Effect.scoped, Effect.provide([NodeServices.layer, OpenAiEmulator.layer()])),
  90_000
)

it.live("a server does not start with a file that makes no sense", () =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const home = yield* Embedded.home
    const file = `${home}/settings.json`
    const refusals: ReadonlyArray<readonly [file: unknown, said: string]> = [
      [
        unified({ retryConfig: { baseDelayMs: 50 } }),
        "services.unified.retryConfig.baseDelayMs must be a duration, from 100 to 30000 ms, not 50 ms"
      ],
      [unified({ deadlineMs: 30_000 }), "services.unified.deadlineMs must not be below timeout"],
      [{ services: { store: {} } }, "services.store is no service here; there are: unified"]
    ]
    for (const [settings, said] of refusals) {
      yield* fs.writeFileString(file, JSON.stringify(settings))
      const { code, stdout } = yield* Holdfast.here(["serve", "--port", "0", "--no-samples", "--config", file], {
        HOLDFAST_DIRECTORY: `${home}/data`
      })
      assert.strictEqual(code, 1)
      assert.include(stdout, said)
    }
    // It said so before it made a database.
    assert.isFalse(yield* fs.exists(`${home}/data`))
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), 60_000)
