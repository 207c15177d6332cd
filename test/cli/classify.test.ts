import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Sink, Stdio, Stream } from "effect"
import { Command } from "effect/cli"
import { TestConsole } from "effect/testing"
import { fileURLToPath } from "node:url"
import { classify } from "../../src/cli/classify.ts"
import { shapes } from "../errorShapes.ts"
import * as Holdfast from "./holdfast.ts"

const table = fileURLToPath(new URL("../data/errors/errors.jsonl", import.meta.url))

interface Line {
  readonly id: string | number
  readonly category: string
  readonly retryable: boolean
  readonly verdicts: { readonly retry: string; readonly fallback: string; readonly breaker: string }
  readonly rule: string
  readonly retryAfterMs?: number
}

/** Runs the command within this process, with these bytes on standard input. */
const run = Effect.fnUntraced(function*(input: ReadonlyArray<Uint8Array>, args: ReadonlyArray<string> = []) {
  const written: Array<string | Uint8Array> = []
  const stdio = Layer.succeed(
    Stdio.Stdio,
    Stdio.make({
      args: Effect.succeed(args),
      stdin: Stream.fromIterable(input),
      stdout: () => Sink.forEach((text) => Effect.sync(() => void written.push(text))),
      stderr: () => Sink.drain
    })
  )
  const exit = yield* Command.runWith(classify, { version: "0", renderErrors: false })(args).pipe(
    Effect.exit,
    Effect.provide(Layer.mergeAll(stdio, TestConsole.layer).pipe(Layer.provideMerge(NodeServices.layer))),
    Effect.tap(() => Effect.void)
  )
  const lines = written.join("").split("\n").filter((line) => line !== "").map((line): Line => JSON.parse(line))
  return { exit, lines }
})

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

it.live("ends in silence when nobody reads any more", () =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const file = `${yield* fs.makeTempDirectoryScoped({ prefix: "holdfast-" })}/errors.jsonl`
    yield* fs.writeFileString(file, `{"error":{"status":429}}\n`.repeat(20_000))
    const running = yield* Holdfast.start(["classify", file])
    yield* Holdfast.says(running, /RATE_LIMIT/)
    running.child.stdout?.destroy()
    assert.strictEqual(yield* Effect.promise(() => running.ended), 0, running.stderr())
    assert.strictEqual(running.stderr(), "")
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)), 30_000)

it.live("classifies every line of the recorded errors, from a file", () =>
  Effect.gen(function*() {
    const { code, stderr, stdout } = yield* Holdfast.run(["classify", table])
    assert.strictEqual(code, 0, stderr)
    const lines = stdout.trim().split("\n").map((line): Line => JSON.parse(line))
    assert.deepStrictEqual(lines.map(({ id }) => id), shapes.map(({ id }) => id))
    const wrong = lines.filter(({ category }, i) => !shapes[i]!.accept.includes(category))
    assert.isAtMost(wrong.length / lines.length, 0.03)
    for (const [i, { retryable, rule, verdicts }] of lines.entries()) {
      assert.isFalse(shapes[i]!.retryable === false && retryable, shapes[i]!.id)
      assert.strictEqual(retryable, verdicts.retry !== "Never")
      assert.isAbove(rule.length, 0)
    }
  }), 30_000)

it.live(
  "lines that cannot be read are told by number, the others are classified, and the exit code says so",
  () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* Holdfast.run(["classify", fileURLToPath(import.meta.url)])
      assert.strictEqual(code, 1)
      assert.include(stderr, "line 1: is no JSON")
      assert.include(stderr, "could not be read")
      assert.strictEqual(stdout, "")
    }),
  30_000
)

it.live("reads standard input in pieces as they come, and the forms that logs have", () =>
  Effect.gen(function*() {
    const text = [
      `{"id":"a","error":{"status":429,"headers":{"retry-after":"7"}}}`,
      "",
      `{"level":50,"err":{"type":"DatabaseError","message":"x","code":"57P01"}}`,
      `{"message":"connect ECONNREFUSED ::1:443","code":"ECONNREFUSED"}`,
      `{"error":{"thrown":"null"}}`,
      `{"error":"Request timed out"}`,
      "oops",
      "[1]",
      "{}",
      `{"id":7,"error":{"message":"ünï","status":503}}`
    ].join("\r\n")
    const whole = bytes(text)
    // Cut within a letter of two bytes.
    const pieces = Array.from({ length: Math.ceil(whole.length / 7) }, (_, i) => whole.slice(i * 7, i * 7 + 7))
    const { exit, lines } = yield* run(pieces)
    assert.deepStrictEqual(lines.map(({ category, id }) => [id, category]), [
      ["a", "RATE_LIMIT"],
      [3, "SERVICE_UNAVAILABLE"],
      [4, "NETWORK"],
      [5, "UNKNOWN"],
      [6, "TIMEOUT"],
      [7, "SERVICE_UNAVAILABLE"]
    ])
    assert.strictEqual(lines[0]?.retryAfterMs, 7_000)
    assert.strictEqual(exit._tag, "Failure")
  }))

it.live("an empty input is no failure, and a deep one no danger", () =>
  Effect.gen(function*() {
    const empty = yield* run([])
    assert.deepStrictEqual([empty.lines, empty.exit._tag], [[], "Success"])
    const depth = 3_000
    const deep = `{"id":"deep","error":${`{"message":"m","cause":`.repeat(depth)}{"code":"EPIPE"}${"}".repeat(depth)}}`
    const { exit, lines } = yield* run([bytes(deep)])
    assert.deepStrictEqual([lines[0]?.category, exit._tag], ["NETWORK", "Success"])
  }))
