import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Console, Effect, FileSystem } from "effect"
import { Command } from "effect/cli"
import { fileURLToPath } from "node:url"
import { replay } from "../../src/cli/replay.ts"
import * as Replay from "../../src/testing/TraceReplay.ts"
import * as Traces from "../../src/testing/Traces.ts"

const directory = fileURLToPath(new URL("../data/incidents", import.meta.url))

const traces = Traces.read(directory).pipe(Effect.provide(NodeServices.layer))

/** Runs the command and gives back what it printed. */
const run = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const log = (...args: ReadonlyArray<unknown>): void => void lines.push(args.join(" "))
    const printing: Console.Console = Object.assign(Object.create(yield* Console.Console), { log })
    yield* Command.runWith(replay, { version: "0.0.0" })(args).pipe(Effect.provideService(Console.Console, printing))
    return lines.join("\n")
  }).pipe(Effect.provide(NodeServices.layer))

const firstEpisode = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.readFileString(`${directory}/petshop/episodes.jsonl`)
).pipe(Effect.map((text) => text.split("\n")[0]!), Effect.provide(NodeServices.layer))

const withDirectory = (files: { readonly [name: string]: string }) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* fs.makeTempDirectoryScoped()
    yield* fs.makeDirectory(`${path}/petshop`)
    yield* fs.makeDirectory(`${path}/failure-rate`)
    for (const [name, text] of Object.entries(files)) yield* fs.writeFileString(`${path}/${name}`, text)
    return path
  }).pipe(Effect.provide(NodeServices.layer))

it("makes the calls of a bucket as the data's own description says", () => {
  const calls = [...Traces.callsOf({ at: 1_000, requests: 4, availability: 50, quantiles: [1, 2, 3, 4] })]
  assert.deepStrictEqual(calls.map(({ at }) => at), [1_037_500, 1_112_500, 1_187_500, 1_262_500])
  assert.deepStrictEqual(calls.map(({ failed }) => failed), [false, true, false, true])
  // u = 0.618…, which is 0.118… of the way from 0.5 to 0.9.
  assert.approximately(calls[0]!.latencyMillis, 1_000 * (1 + 0.1180339887 / 0.4), 1e-3)
  assert.deepStrictEqual([...Traces.callsOf({ at: 0, requests: 0, availability: 100, quantiles: [0, 0, 0, 0] })], [])
})

it.live("the reference replayed by our own circuit gives the figures published with the data", () =>
  Effect.gen(function*() {
    const report = Replay.replayEpisodes(
      yield* traces,
      (baseline) => Replay.breaker(Replay.reactive, Replay.slowMillisOf(baseline))
    )
    assert.deepStrictEqual([report.availability.detected, report.availability.total], [11, 16])
    assert.deepStrictEqual([report.latency.detected, report.latency.total], [14, 18])
    assert.strictEqual(Math.round(report.availability.medianDelay!), 91)
    assert.strictEqual(Math.round(report.latency.medianDelay!), 63)
    assert.strictEqual(report.falsePerDay, 0)
    assert.strictEqual(report.baseline["site"], 2)
  }))

it.live("the predictor detects more of the injected faults, earlier, without alarms before them", () =>
  Effect.gen(function*() {
    const { availability, baseline, falsePerDay, latency, rocArea } = Replay.replayEpisodes(
      yield* traces,
      () => Replay.predictor
    )
    assert.isAtLeast(availability.detected, 15)
    assert.isAtMost(availability.medianDelay!, 85)
    assert.strictEqual(latency.detected, 18)
    assert.isAtMost(latency.medianDelay!, 46)
    assert.strictEqual(falsePerDay, 0)
    assert.isAtLeast(rocArea!, 0.94)
    // Two days of six nodes, in which more than one node's latency really rises.
    assert.isAtMost(baseline["site"]!, 3)
    assert.isAtMost(Object.values(baseline).reduce((sum, alarms) => sum + alarms, 0), 18)
  }))

it.live("a detector that sees nothing is told so: the measures can fail", () =>
  Effect.gen(function*() {
    const data = yield* traces
    const blind = Replay.replayEpisodes(data, () => () => ({ record: () => false, score: () => 0 }))
    assert.deepStrictEqual([blind.availability.detected, blind.latency.detected, blind.rocArea], [0, 0, 0.5])
    assert.isUndefined(blind.latency.medianDelay)
    const nervous = Replay.replayEpisodes(data, () => () => {
      let on = false
      return { record: () => (on = !on), score: () => 1 }
    })
    assert.isAbove(nervous.falsePerDay, 1_000)
  }))

const of = (data: Traces.Traces, kind: string) => data.series.filter(({ file }) => file.startsWith(kind))

it.live("on labelled series it detects as much as the reference for no more false alarms, and load it does not see", () =>
  Effect.gen(function*() {
    const data = yield* traces
    const latency = Replay.replaySeries(of(data, "dependency-latency"), Replay.gauge)
    assert.deepStrictEqual([latency.detected, latency.total], [8, 8])
    assert.isAtMost(latency.falsePerDay, 0.11)
    const failures = Replay.replaySeries(of(data, "failure-rate"), Replay.gauge)
    assert.isAtLeast(failures.detected, 18)
    assert.strictEqual(failures.falseAlarms, 0)
    const load = Replay.replaySeries(of(data, "load"), Replay.gauge)
    assert.isAtLeast(load.detected, 5)
    assert.strictEqual(load.falseAlarms, 0)
    assert.strictEqual(Replay.replaySeries(of(data, "load"), Replay.threshold).detected, 0)
  }))

it.live("isolated events in eleven quiet days raise no alarm; the reference raises one for each", () =>
  Effect.gen(function*() {
    const quiet = of(yield* traces, "failure-rate/unavail-01")
    assert.strictEqual(quiet[0]?.samples.length, 15_840)
    assert.strictEqual(Replay.replaySeries(quiet, Replay.gauge).falseAlarms, 0)
    assert.isAbove(Replay.replaySeries(quiet, Replay.threshold).falseAlarms, 0)
  }))

it.live("on a metric with a spike a day that nobody labels it is no worse than the reference", () =>
  Effect.gen(function*() {
    const spikes = of(yield* traces, "cloud-metrics")
    assert.isAtMost(
      Replay.replaySeries(spikes, Replay.gauge).falseAlarms,
      Replay.replaySeries(spikes, Replay.threshold).falseAlarms
    )
  }))

it.live("reads what breaks careless code: empty values, times that repeat and go back", () =>
  Effect.gen(function*() {
    const data = yield* traces
    const empty = of(data, "failure-rate/app1-04")[0]!.samples
    assert.isTrue(empty.some(({ value }) => value === undefined))
    assert.isTrue(empty.some(({ at }, i) => i > 0 && at <= empty[i - 1]!.at))
    assert.isTrue(of(data, "dependency-latency/outbound-23")[0]!.samples.some(({ value }) => value === 0))
  }))

it.live("prints a table, and JSON on demand", () =>
  Effect.gen(function*() {
    const text = yield* run(directory)
    assert.match(text, /petshop, availability +predictor +15\/16 +[\d.]+ s late/)
    assert.match(text, /load +predictor +5\/9/)
    const { lines } = JSON.parse(yield* run("--json"))
    const line = lines.find((line: { data: string; detector: string }) =>
      line.data === "petshop, latency" && line.detector === "predictor"
    )
    assert.deepStrictEqual([line.detected, line.total], [18, 18])
  }))

it.live("reads a part of the format, and says what is wrong with the rest", () =>
  Effect.gen(function*() {
    const series =
      "[{\"file\":\"failure-rate/a.csv\",\"stepSeconds\":60,\"windows\":[]},{\"file\":\"not/there.csv\",\"stepSeconds\":60,\"windows\":[]}]"
    const path = yield* withDirectory({
      "windows.json": series,
      "failure-rate/a.csv": "t,value\r\n2026-01-01T00:00:00Z,1\r\n"
    })
    assert.match(yield* run(path), /failure-rate +predictor +0\/0/)
    const fails = (files: { readonly [name: string]: string }) =>
      Effect.flatMap(withDirectory(files), (path) => Effect.map(Effect.flip(run(path)), (error) => error.message))
    assert.match(yield* fails({}), /no traces/)
    const file = fileURLToPath(import.meta.url)
    const of = yield* Effect.flip(Effect.provide(Traces.read(file), NodeServices.layer))
    assert.strictEqual(of.message, `${file}: is no directory; traces are one`)
    assert.match(yield* fails({ "windows.json": "{" }), /windows\.json: /)
    assert.match(yield* fails({ "petshop/episodes.jsonl": "{\"id\":1}" }), /episodes\.jsonl: /)
    assert.match(
      yield* fails({ "petshop/episodes.jsonl": yield* firstEpisode }),
      /episodes\.jsonl: .* needs a baseline of \w+, and there is none/
    )
    for (const row of ["x,100,1,1,1,1,1", "1e12,100,1,1,1,1,1", "5,101,1,1,1,1,1", "-5,100,1,1,1,1,1", ",,,,,,"]) {
      const baseline = `t,node\n1,site,${row}\n`
      assert.match(
        yield* fails({ "petshop/baseline-high.csv": baseline }),
        /baseline-high\.csv: this row is no bucket: 1,/
      )
    }
    const indexed = (more: object) =>
      JSON.stringify([{ file: "failure-rate/a.csv", stepSeconds: 60, windows: [], ...more }])
    const window = { start: "2026-01-01T00:00:00Z", end: "soon", kind: "rise" }
    assert.match(yield* fails({ "windows.json": indexed({ windows: [window] }) }), /windows\.json: .*Expected a time/)
    assert.match(yield* fails({ "windows.json": indexed({ stepSeconds: 0 }) }), /windows\.json: /)
    const sparse = { start: window.start, stepSeconds: 60, samples: 10, everythingElse: 0 }
    for (const t of ["2026-01-01T00:00:01Z", "2026-01-01T00:10:00Z", "2025-12-31T23:59:00Z"]) {
      const text = JSON.stringify({ ...sparse, nonZero: [{ t, value: 1 }] })
      assert.match(yield* fails({ "failure-rate/a.json": text }), /a\.json: .*one of the steps/)
    }
    assert.match(yield* fails({ "windows.json": series, "failure-rate/a.csv": "t,value\nsoon,1" }), /a\.csv: /)
  }).pipe(Effect.scoped))
