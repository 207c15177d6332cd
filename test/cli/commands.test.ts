import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Option, Redacted, Ref } from "effect"
import { createServer } from "node:http"
import { stripVTControlCharacters } from "node:util"
import * as Samples from "../../src/cli/Samples.ts"
import { show } from "../../src/cli/search.ts"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import { scenarios } from "../../src/testing/scenarios.ts"
import type { Result } from "../../src/testing/Simulation.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { DocumentId } from "../../src/vectorstore/VectorStore.ts"
import * as Embedded from "../embedded.ts"
import * as Holdfast from "./holdfast.ts"

// Most of the time is waiting.
const alongside = { timeout: 60_000, concurrent: true }

const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "holdfast-" }))

const fails = Effect.fnUntraced(function*(
  args: ReadonlyArray<string>,
  words: string,
  env?: Readonly<Record<string, string>>,
  run: Holdfast.Run = Holdfast.here
) {
  const { code, stderr, stdout } = yield* run(args, env)
  assert.strictEqual(code, 1, `${args.join(" ")}: ${stdout}`)
  const said = stdout + stderr
  assert.include(said, words)
  assert.notMatch(said, /^\s+at .*\(file:/m, "no stack")
  return said
})

it.live("plays an incident by the ways of calling that were asked for", () =>
  Effect.gen(function*() {
    const { code, stdout } = yield* Holdfast.here(
      ["simulate", "outage", "--strategy", "holdfast", "--strategy", "plain", "--seeds", "2", "--json"]
    )
    assert.strictEqual(code, 0, stdout)
    const results: ReadonlyArray<Result> = JSON.parse(stdout)
    assert.deepStrictEqual(results.map(({ seed, strategy }) => [strategy, seed]), [
      ["timeout only", 1],
      ["timeout only", 2],
      ["holdfast", 1],
      ["holdfast", 2]
    ])
    for (const { goodput, secondsToRecover, strategy } of results) {
      assert.isBelow(secondsToRecover ?? Infinity, 20, strategy)
      assert.isAbove(goodput, 0.6, strategy)
    }
    const table = yield* Holdfast.here(["simulate", "outage", "--strategy", "plain"])
    assert.match(table.stdout, /^timeout only +\d/m)
    assert.notMatch(table.stdout, /^holdfast/m)
    yield* fails(["simulate", "nothing"], "There is no scenario nothing")
    yield* fails(["simulate", "outage", "--strategy", "hope"], "hope")
    const page = "nowhere/outage.html"
    // Before anything is played: the run would take minutes.
    const said = yield* fails(["simulate", "million", "--html", page], `${page} cannot be written`)
    assert.notInclude(said, "timeout only")
    yield* fails(["simulate", "outage", "--config", "nowhere.json"], "nowhere.json cannot be read")
  }).pipe(Effect.provide(NodeServices.layer)))

it.live("Ctrl-C ends a simulation in the middle of a run", () =>
  Effect.gen(function*() {
    const page = `${yield* temporary}/million.html`
    const running = yield* Holdfast.start(["simulate", "million", "--html", page])
    const fs = yield* FileSystem.FileSystem
    // Made before the run, which takes minutes.
    yield* fs.exists(page).pipe(Effect.delay("50 millis"), Effect.repeat({ until: (there) => there }))
    const { code, millis } = yield* Holdfast.stop(running)
    assert.strictEqual(code, "SIGINT")
    assert.isBelow(millis, 2_000)
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), alongside)

it.live("a scenario of one's own is told in one line what is wrong with it", () =>
  Effect.gen(function*() {
    const file = `${yield* temporary}/own.json`
    const fs = yield* FileSystem.FileSystem
    const refused = (scenario: unknown, words: string) =>
      Effect.andThen(
        fs.writeFileString(file, JSON.stringify(scenario)),
        fails(["simulate", file], `${file} is not what is expected: ${words}`)
      )
    const [own] = scenarios
    yield* refused({ ...own, timeline: [{ at: 1, server: "nobody" }] }, "timeline.0.server must be one of api, not")
    yield* refused({ ...own, workload: { rate: -1, clients: 1 } }, "workload.rate Expected a value between")
    yield* refused({ ...own, secnds: 1 }, "secnds is no setting")
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)))

it("what documents hold does nothing to the terminal", () => {
  const sly = "a\u001b[2J\u0007 title"
  const hits = [{ id: DocumentId.make("\u009b31m"), title: sly, content: sly, score: 1 }]
  const text = show(
    {
      completeness: "Complete",
      reasons: [],
      answer: {
        _tag: "Live",
        provider: "neon",
        value: { mode: "lexical", hits, losses: [] },
        failures: [],
        attempts: 1,
        hedged: false,
        degraded: false
      }
    },
    "title"
  )
  assert.include(text, "a [2J title")
  assert.notMatch(stripVTControlCharacters(text), /(?!\n)\p{Cc}/u)
  assert.notInclude(text, "\u001b[2J")
})

it.live("wrong usage is told with what is right", () =>
  Effect.gen(function*() {
    const home = yield* temporary
    const env = { HOLDFAST_DIRECTORY: home }
    // As processes: the exit code, and that no stack is printed.
    yield* fails(["serve", "--prot", "1"], "--port", env, Holdfast.run)
    yield* fails(["search", "words"], "A file stands where a folder should", {
      HOLDFAST_DIRECTORY: import.meta.filename
    }, Holdfast.run)
    // Node's own way of making folders never comes back from there.
    yield* fails(["serve", "--port", "0"], "/proc/nope cannot be written. No folder can be made there", {
      HOLDFAST_DIRECTORY: "/proc/nope"
    }, Holdfast.run)
    yield* fails(["serch", "words"], "search")
    yield* fails(["search", "  "], "Give words", env)
    yield* fails(["search", "words", "--limit", "0"], "between 1 and 100")
    yield* fails(["eval", "--store", "memory", "--down", "neon"], "--down is for the unified store")
    yield* fails(["search", "words", "--limit", "10000"], "between 1 and 100")
    yield* fails(["serve"], "variable HOLDFAST_PORT is wrong: Expected", { ...env, HOLDFAST_PORT: "no port" })
    for (
      const [name, value] of [
        ["HOLDFAST_ADMIN_TOKEN", " secret"],
        ["HOLDFAST_ALERT_WEBHOOK", "ftp://example.com"],
        ["HOLDFAST_TIMEOUT", "0s"],
        ["HOLDFAST_RECOVERY_TIMEOUT", "0s"]
      ] as const
    ) {
      yield* fails(["serve", "--port", "0"], `variable ${name} is wrong: it must be`, { ...env, [name]: value })
    }
    yield* fails(["serve", "--port", "70000"], "between 0 and 65535", env)
    yield* fails(["ingest", import.meta.dirname], "start `holdfast serve` first", {
      ...env,
      OPENAI_API_KEY: "sk-none",
      OPENAI_VECTORSTORE: "vs_none"
    })
    yield* fails(["search", "words"], "variable LOG_LEVEL is wrong", { ...env, LOG_LEVEL: "loud" })
    for (const url of ["db", "user:very-secret@host", "mysql://host/db"]) {
      const said = yield* fails(["serve", "--port", "0"], "DATABASE_URL is no address", { ...env, DATABASE_URL: url })
      assert.notInclude(said, "very-secret")
    }
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), alongside)

it.live("an older Node is told which one is wanted, without a stack", () =>
  Effect.gen(function*() {
    for (const [version, refused] of [["20.20.2", true], ["22.2.0", true], ["22.19.0", false]] as const) {
      const posing = `Object.defineProperty(process,"versions",{value:{...process.versions,node:"${version}"}})`
      const { code, stderr } = yield* Holdfast.run(["--version"], {
        NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(posing)}`
      })
      assert.deepStrictEqual([code, stderr.trim()], [
        refused ? 1 : 0,
        refused ? `ERROR\n  The holdfast command needs Node 22.19 or newer; this is ${version}.` : ""
      ])
    }
  }).pipe(Effect.provide(NodeServices.layer)), alongside)

it.live("a port in use is told before anything is started", () =>
  Effect.gen(function*() {
    const home = yield* temporary
    const server = yield* Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, "127.0.0.1", () => resolve(server))
        })
      ),
      (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
    )
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    yield* fails(["serve", "--port", String(port)], `choose another: --port ${port + 1}`, { HOLDFAST_DIRECTORY: home })
    assert.deepStrictEqual(yield* (yield* FileSystem.FileSystem).readDirectory(home), [])
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), alongside)

it.live("an unreachable database is told without its password", () =>
  Effect.gen(function*() {
    const text = yield* fails(["serve", "--port", "0"], "DATABASE_URL does not answer", {
      DATABASE_URL: "postgres://user:very-secret@127.0.0.1:1/none",
      HOLDFAST_DIRECTORY: yield* temporary
    })
    assert.notInclude(text, "very-secret")
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), alongside)

it.live(
  "serves with a key that OpenAI refuses, says so, keeps others out of its directory, and ends on SIGTERM",
  () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator
      const home = yield* Embedded.home
      const env = {
        OPENAI_API_KEY: "sk-wrong-key-0123456789",
        OPENAI_BASE_URL: emulator.url,
        OPENAI_VECTORSTORE: emulator.vectorStore,
        HOLDFAST_DIRECTORY: home
      }
      assert.notStrictEqual(Redacted.value(emulator.apiKey), env.OPENAI_API_KEY)
      const server = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], env)
      const url = yield* Holdfast.says(server, /serving at (http:\/\/\S+)/)
      yield* Holdfast.says(server, /Ctrl-C/)
      assert.include(server.stdout(), "Check OPENAI_API_KEY")
      assert.notInclude(server.stdout() + server.stderr(), env.OPENAI_API_KEY)

      yield* fails(["serve", "--port", "0"], "stop it, use another directory", env)
      // The other command asks the server, for the store is the server's.
      const found = yield* Holdfast.run(["search", "anything", "--json"], { HOLDFAST_DIRECTORY: home })
      assert.strictEqual(found.code, 0, found.stderr)
      const answer = JSON.parse(found.stdout)
      assert.deepInclude(answer, { completeness: "Degraded", reasons: ["openai did not answer: AUTHENTICATION"] })
      assert.strictEqual(answer.answer.provider, "neon")

      const health = yield* Effect.promise(async () =>
        (await fetch(`${url}/api/fault-tolerance/health?detailed=true`)).json()
      )
      assert.include(JSON.stringify(health), "AUTHENTICATION")
      assert.notInclude(JSON.stringify(health), "sk-")

      const { code, millis } = yield* Holdfast.stop(server, "SIGTERM")
      assert.strictEqual(code, 0, server.stderr())
      assert.isBelow(millis, 5_000)
      assert.deepStrictEqual(
        (yield* (yield* FileSystem.FileSystem).readDirectory(home)).filter((name) => name !== "postgres"),
        []
      )
    }).pipe(Effect.scoped, Effect.provide([NodeServices.layer, OpenAiEmulator.layer()])),
  alongside
)

it.live("indexes the samples once, and goes on where it was interrupted", () =>
  Effect.gen(function*() {
    const home = yield* MemoryStore.makeLexical({ name: "neon" })
    const directory = yield* temporary
    const indexing = yield* Ref.make(Option.none<{ readonly done: number; readonly total: number }>())
    const begun = yield* Deferred.make<void>()
    const slow = {
      ...home,
      addMany: (documents, options) =>
        home.addMany(documents.slice(0, 500), options).pipe(
          Effect.tap(() => Deferred.succeed(begun, undefined)),
          Effect.andThen(Effect.never)
        )
    } satisfies typeof home
    const first = yield* Effect.forkChild(Samples.ensure({ home: slow, indexing }, directory))
    yield* Deferred.await(begun)
    assert.isTrue(Option.isSome(yield* Ref.get(indexing)))
    yield* Fiber.interrupt(first)
    assert.strictEqual((yield* home.stats).documents, 500)

    yield* Samples.ensure({ home, indexing }, directory)
    assert.strictEqual((yield* home.stats).documents, 5_183)
    assert.isTrue(Option.isNone(yield* Ref.get(indexing)))
    const untouched = { ...home, addMany: () => Effect.die("indexed again") } satisfies typeof home
    yield* Samples.ensure({ home: untouched, indexing }, directory)
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), alongside)

it.live("the demo tells an outage, and nobody goes without an answer", () =>
  Effect.gen(function*() {
    const { code, stderr, stdout } = yield* Holdfast.run(["demo"])
    assert.strictEqual(code, 0, stderr)
    assert.strictEqual(stderr, "")
    const order = [
      "All is well",
      "answered by openai",
      "goes down",
      "circuit open",
      "is back",
      "circuit closed",
      "0 failed"
    ]
    assert.deepStrictEqual(
      order.map((words) => stdout.indexOf(words)).toSorted((a, b) => a - b),
      order.map((words) => stdout.indexOf(words))
    )
    assert.notInclude(order.map((words) => stdout.indexOf(words)), -1)
    assert.include(stdout, "answered by neon")
  }), alongside)
