import { afterAll, assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import { absent, close, executablePath, openPage } from "../browser.ts"
import * as Holdfast from "../cli/holdfast.ts"
import * as Embedded from "../embedded.ts"

const token = "an-operator's-token"

afterAll(close)

it.live("shows an outage of the running server's primary as it happens, and opens a circuit by hand", (ctx) => {
  if (executablePath === undefined) return ctx.skip(absent)
  return Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator
    const running = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
      HOLDFAST_DIRECTORY: yield* Embedded.home,
      HOLDFAST_ADMIN_TOKEN: token,
      OPENAI_API_KEY: Redacted.value(emulator.apiKey),
      OPENAI_BASE_URL: emulator.url,
      OPENAI_VECTORSTORE: emulator.vectorStore
    })
    const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
    let asked = 0
    const search = Effect.promise(async () => {
      const response = await fetch(`${url}/api/vectorstore/search?query=bones+${++asked}`)
      const { answer } = await response.json() as { readonly answer: { readonly provider: string } }
      return answer.provider
    })
    const { errors, page } = yield* openPage({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" })
    yield* Effect.promise(async () => {
      await page.goto(url)
      await page.locator("#stream.live").waitFor()
    })
    assert.strictEqual(yield* search, "openai")
    const lane = page.locator(".lane", { hasText: "openai/search" })
    yield* Effect.promise(() => lane.locator(".state", { hasText: "closed" }).waitFor({ timeout: 5_000 }))

    yield* emulator.stop
    assert.strictEqual(yield* search, "neon")
    assert.strictEqual(yield* search, "neon")
    assert.strictEqual(yield* search, "neon")
    // The event is there within two seconds; the lane, the flow to the second provider and the banner follow.
    yield* Effect.promise(() =>
      page.locator("#events li", { hasText: "openai/search: Closed → Open" }).waitFor({ timeout: 2_000 })
    )
    yield* Effect.promise(() => lane.locator(".state", { hasText: "open" }).waitFor({ timeout: 5_000 }))
    yield* Effect.promise(() => page.locator("#flow", { hasText: "→ neon" }).waitFor({ timeout: 5_000 }))

    yield* Effect.promise(async () => {
      await page.getByRole("button", { name: "Open circuit neon/search" }).click()
      await page.locator("#token").fill(token)
      await page.getByRole("button", { name: "Continue" }).click()
      await page.locator("#events li", { hasText: "breaker open: neon/search" }).waitFor({ timeout: 2_000 })
    })
    yield* Effect.promise(() =>
      page.locator(".lane", { hasText: "neon/search" }).locator(".state", { hasText: "held open" })
        .waitFor({ timeout: 5_000 })
    )
    const { alerts } = yield* Effect.promise(async () =>
      await (await fetch(`${url}/api/fault-tolerance/alerts`)).json() as {
        readonly alerts: ReadonlyArray<{ readonly rule: string }>
      }
    )
    assert.includeMembers(alerts.map(({ rule }) => rule), [
      "unified: error budget burns fast",
      "unified: error budget burns",
      "unified: slow",
      "a circuit stays open",
      "the service level is low",
      "a mirror lags behind"
    ])
    assert.deepStrictEqual(errors, [])

    // The API reference of the same server asks for nothing that is not there.
    yield* Effect.promise(async () => {
      await page.goto(`${url}/docs`, { waitUntil: "networkidle" })
      await page.getByRole("heading", { name: "holdfast" }).first().waitFor({ timeout: 20_000 })
    })
    assert.deepStrictEqual(errors, [])
    assert.strictEqual((yield* Holdfast.stop(running)).code, 0)
  }).pipe(Effect.scoped, Effect.provide(OpenAiEmulator.layer()))
}, 60_000)
