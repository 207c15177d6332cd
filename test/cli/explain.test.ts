import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Console, Effect, FileSystem } from "effect"
import { Command } from "effect/cli"
import { explain } from "../../src/cli/explain.ts"

/** Runs the command and gives back what it printed. */
const run = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const log = (...args: ReadonlyArray<unknown>): void => void lines.push(args.join(" "))
    const printing: Console.Console = Object.assign(Object.create(yield* Console.Console), { log })
    yield* Command.runWith(explain, { version: "0.0.0" })(args).pipe(
      Effect.provideService(Console.Console, printing)
    )
    return lines.join("\n")
  }).pipe(Effect.provide(NodeServices.layer))

const withFile = (name: string, text: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    yield* fs.writeFileString(`${directory}/${name}`, text)
    return `${directory}/${name}`
  }).pipe(Effect.provide(NodeServices.layer))

it.effect("explains the defaults and the presets when no file is named", () =>
  Effect.gen(function*() {
    const text = yield* run()
    for (const name of ["defaults", "OpenAI preset", "Neon preset", "Unified preset"]) assert.include(text, `${name}\n`)
    assert.include(text, "attempts: 4 at most")
  }))

it.effect("reads the specification's names from TOML", () =>
  Effect.gen(function*() {
    const path = yield* withFile(
      "settings.toml",
      `attemptsInside = 4
deadlineMs = 10000
[retryConfig]
maxRetries = 3
baseDelayMs = 1000
timeoutMs = 20000
[circuitBreakerConfig]
failureThreshold = 5
recoveryTimeoutMs = 60000
`
    )
    const text = yield* run(path)
    assert.include(text, "attempts: 16 at most")
    assert.include(text, "warning: attempt timeout exceeds the deadline: 20s of 10s")
    assert.include(text, "warning: nested retries: 16 attempts")
    assert.include(text, "opens after 5 failures in a row, for 1m at first")
  }))

it.effect("explains what a program may say, beyond the ranges that settings have", () =>
  Effect.gen(function*() {
    const path = yield* withFile(
      "rates.json",
      JSON.stringify({
        timeout: "500 millis",
        retry: { maxRetries: 3, baseDelay: "20 millis", maxDelay: "200 millis" },
        breaker: {
          failureThreshold: 200,
          minimumThroughput: 2_000,
          monitorWindow: "1 second",
          recoveryTimeout: "1 second"
        }
      })
    )
    const text = yield* run(path)
    assert.include(text, "each attempt is answered within 500ms")
    assert.include(text, "after 20ms ×2 up to 200ms")
    assert.include(text, "opens after 200 failures in a row, for 1s at first")
  }))

it.effect("reads several pipelines from JSON", () =>
  Effect.gen(function*() {
    const path = yield* withFile(
      "settings.json",
      JSON.stringify({
        pipelines: {
          openai: { timeout: "60 seconds", retry: true, breaker: true },
          neon: { timeout: 30_000, bulkhead: { limit: 5, maxWait: "1 second" } }
        }
      })
    )
    const text = yield* run(path)
    assert.include(text, "openai\n")
    assert.include(text, "neon\n")
    assert.include(text, "5 at once, 64 waiting up to 1s")
  }))

it.effect("leaves out what a service or one of its providers has turned off", () =>
  Effect.gen(function*() {
    const stages = (service: unknown) =>
      Effect.flatMap(withFile("settings.json", JSON.stringify({ services: { s: service } })), (path) =>
        Effect.map(run(path), (text) => [/more attempts/.test(text), /breaker/.test(text), text.split("\n")[0]]))
    assert.deepStrictEqual(yield* stages({}), [true, true, "s"])
    assert.deepStrictEqual(yield* stages({ retry: false, breaker: false }), [false, false, "s"])
    assert.deepStrictEqual(yield* stages({ enableRetry: false, enableCircuitBreaker: false }), [false, false, "s"])
    assert.deepStrictEqual(yield* stages({ retry: { maxRetries: 2 }, providers: { p: { retry: false } } }), [
      false,
      true,
      "s/p"
    ])
    assert.deepStrictEqual(yield* stages({ retry: false, providers: { p: { retry: true } } }), [true, true, "s/p"])
  }))

it.effect("says what is wrong with a file, by its field", () =>
  Effect.gen(function*() {
    const error = (name: string, text: string) =>
      Effect.flatMap(withFile(name, text), (path) => Effect.map(Effect.flip(run(path)), (error) => error.message))
    assert.match(yield* error("a.json", "{\"retry\":{\"maxRetries\":11}}"), /retry\.maxRetries must be a whole number/)
    assert.match(yield* error("b.json", "{\"retry\":{\"maxretries\":1}}"), /maxretries/)
    assert.match(yield* error("c.json", "{"), /c\.json: /)
    assert.match(yield* error("d.toml", "retry = ["), /d\.toml: /)
    assert.match(yield* error("e.json", "{\"timeout\":\"soon\"}"), /timeout/)
  }))

it.effect("says all that is wrong, with every pipeline, in the names of the file", () =>
  Effect.gen(function*() {
    const said = (file: unknown) =>
      Effect.flatMap(withFile("settings.json", JSON.stringify(file)), (path) =>
        Effect.map(Effect.flip(run(path)), ({ message }) =>
          message.split("; ").map((problem) =>
            /^(\S+) (.*)$/.exec(problem)?.slice(1) ?? problem
          )))
    const fields = (file: unknown) => Effect.map(said(file), (problems) => problems.map(([field]) => field))
    const low = { failureThreshold: 0 }
    assert.deepStrictEqual(
      yield* fields({
        pipelines: { a: { breaker: low }, b: { retryConfig: { maxRetries: 99 }, circuitBreaker: low } }
      }),
      [
        "pipelines.a.breaker.failureThreshold",
        "pipelines.b.retryConfig.maxRetries",
        "pipelines.b.circuitBreaker.failureThreshold"
      ]
    )
    const brief = { timeoutMs: 5_000, breaker: { probeLeaseMs: 1_000 } }
    assert.deepStrictEqual(
      yield* fields({ pipelines: { a: brief, b: { retry: true }, c: { hedge: {} } } }),
      ["pipelines.a.breaker.probeLeaseMs", "pipelines.c.hedge.delay"]
    )
    assert.deepStrictEqual(yield* fields(brief), ["breaker.probeLeaseMs"])
    assert.deepStrictEqual(
      yield* fields({ services: { s: { ...brief, providers: { p: { hedge: {} }, q: { timeout: "3 seconds" } } } } }),
      ["services.s.providers.p.hedge.delay", "services.s.breaker.probeLeaseMs"]
    )
    assert.deepStrictEqual(yield* fields({ services: { s: { circuitBreakerConfig: low } } }), [
      "services.s.circuitBreakerConfig.failureThreshold"
    ])
    // What would be passed over in silence.
    assert.deepStrictEqual(yield* said({ pipelines: { a: {} }, retry: true }), [["retry", "is no setting"]])
    assert.deepStrictEqual(yield* said({ pipelines: {} }), [["pipelines", "must name at least one"]])
    assert.deepStrictEqual(yield* said({ services: {} }), [["services", "must name at least one"]])
  }))
