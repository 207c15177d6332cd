import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Schema } from "effect"
import { checked } from "../../src/internal/options.ts"
import { holdfast, plain, retries, scenarios } from "../../src/testing/scenarios.ts"
import * as Simulation from "../../src/testing/Simulation.ts"
import * as Report from "../../src/testing/SimulationReport.ts"
import { tried } from "../proofs.ts"

const scenario = (name: string): Simulation.Scenario => {
  const found = scenarios.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no scenario ${name}`)
  return found
}

/** The figures of the README are over 20 seeds. */
const count = tried(2, 20)

const seeds = (scenario: Simulation.Scenario, strategy: Simulation.Strategy) =>
  Array.from({ length: count }, (_, seed) => Simulation.run(scenario, strategy, seed + 1))

describe("the model", () => {
  const idle: Simulation.Scenario = {
    name: "idle",
    title: "",
    seconds: 60,
    patience: 1,
    workload: { rate: 50, clients: 10 },
    servers: [{ name: "api", workers: 1, service: { _tag: "Exponential", mean: 10 } }],
    timeline: [],
    faultEnds: 0
  }

  it("a queue of one server behaves as queueing theory says", () => {
    // M/M/1 at half load: the mean time in the system is 1 / (100 - 50) s = 20 ms, and exponential.
    const result = Simulation.run({ ...idle, seconds: 1_000 }, plain, 1)
    assert.closeTo(result.latency.p50, 20 * Math.LN2, 2)
    assert.closeTo(result.latency.p99, 20 * Math.log(100), 10)
    assert.closeTo(result.requests, 50_000, 1_000)
    assert.strictEqual(result.goodput, 1)
  })

  it("the same seed gives the same bytes, another seed others", () => {
    const short = { ...scenario("brown-out"), seconds: 40, faultEnds: 40 }
    const bytes = (seed: number) => JSON.stringify(Simulation.run(short, holdfast(), seed))
    assert.strictEqual(bytes(3), bytes(3))
    assert.notStrictEqual(bytes(3), bytes(4))
  })

  it("work goes on after a client gave up, and keeps the server busy", () => {
    const hurried = Simulation.run(
      { ...idle, patience: 0.005, servers: [{ name: "api", workers: 1, service: { _tag: "Constant", millis: 10 } }] },
      plain,
      1
    )
    assert.strictEqual(hurried.answered, 0)
    const served = hurried.timeline.reduce((sum, second) => sum + second.served, 0)
    assert.isAtLeast(served, hurried.requests - 5)
  })

  it("every request is accounted for: answered in time, or failed by a named kind", () => {
    const seconds = tried(25, 120)
    for (const one of scenarios) {
      for (const strategy of [retries, holdfast()]) {
        const { answered, failures, requests } = Simulation.run(
          {
            ...one,
            seconds,
            timeline: one.timeline.filter(({ at }) => at <= seconds),
            faultEnds: Math.min(one.faultEnds, seconds)
          },
          strategy,
          1
        )
        const failed = Object.values(failures).reduce((sum, count) => sum + count, 0)
        assert.strictEqual(answered + failed, requests, `${one.name}, ${strategy.name}`)
        assert.isUndefined(failures["Defect"], `${one.name}, ${strategy.name}`)
        assert.isUndefined(failures["Unknown"], `${one.name}, ${strategy.name}`)
      }
    }
  })

  it("a server without a queue works as many jobs at once as it has workers, and refuses the rest", () => {
    const [api] = idle.servers
    const { failures, goodput } = Simulation.run({ ...idle, servers: [{ ...api, queue: 0 }] }, plain, 1)
    // M/M/1/1 at half load: 1 / (1 + 0.5) of all are taken.
    assert.closeTo(goodput, 2 / 3, 0.03)
    assert.deepStrictEqual(Object.keys(failures), ["SERVICE_UNAVAILABLE"])
  })

  it("what is listed out of order happens in the order of time", () => {
    const timeline = [{ at: 10, server: "api", down: true }, { at: 20, server: "api" }]
    const surges = [{ at: 30, factor: 2 }, { at: 40, factor: 1 }]
    const play = (timeline: Simulation.Scenario["timeline"], surges: Simulation.Workload["surges"] & {}) =>
      Simulation.run({ ...idle, timeline, workload: { ...idle.workload, surges }, faultEnds: 20 }, plain, 1)
    assert.deepStrictEqual(play(timeline.toReversed(), surges.toReversed()), play(timeline, surges))
  })

  it("a scenario that makes no sense is refused, and the field is named", () => {
    const [api] = idle.servers
    const far = { ...api, name: "far" }
    const workload = (more: Partial<Simulation.Workload>) => ({ workload: { ...idle.workload, ...more } })
    const change = (more: Partial<Simulation.Change>) => ({ timeline: [{ at: 0, server: "api", ...more }] })
    const refused: ReadonlyArray<readonly [field: string, Partial<Simulation.Scenario>]> = [
      ["timeline.0.server", change({ server: "ap" })],
      ["timeline.0.at", change({ at: NaN })],
      // What is still to come is no end of the faults.
      ["timeline.0.at", change({ at: 1 })],
      ["timeline.0.capacity", change({ capacity: -1 })],
      ["timeline.0.errors", change({ errors: 1.5 })],
      ["timeline.0.rateLimit", change({ rateLimit: NaN })],
      ["servers.0.dependsOn", { servers: [{ ...api, dependsOn: "nobody" }] }],
      ["servers.0.dependsOn", { servers: [{ ...api, dependsOn: "api" }] }],
      ["servers.0.dependsOn", { servers: [{ ...api, dependsOn: "far" }, { ...far, dependsOn: "api" }] }],
      ["servers.0.name", { servers: [api, { ...api, workers: 2 }] }],
      ["servers.0.queue", { servers: [{ ...api, queue: -1 }] }],
      ["workload.rate", workload({ rate: -1 })],
      ["workload.keys", workload({ keys: 0 })],
      ["workload.noisyShare", workload({ noisyShare: 2 })],
      ["workload.surges.0.factor", workload({ surges: [{ at: 1, factor: 0 }] })],
      // More requests than can be played while somebody waits.
      ["workload.rate", workload({ rate: 1_000_000 })],
      ["workload.rate", workload({ rate: 1_000, surges: [{ at: 59, factor: 1_000_000 }] })],
      ["patience", { patience: 0 }],
      ["seconds", { seconds: Infinity }],
      ["faultEnds", { faultEnds: 61 }]
    ]
    assert.throws(() => Simulation.run(idle, plain, NaN), /Simulation: seed must be a whole number/)
    for (const [field, more] of refused) {
      const exit = Effect.runSyncExit(checked(() => Simulation.run({ ...idle, ...more }, plain, 1)))
      const { module, field: named } = Option.getOrThrowWith(
        Exit.findErrorOption(exit),
        () => new Error(`${field} is taken, or breaks it`)
      )
      assert.deepStrictEqual([module, named], ["Simulation", field])
    }
  })

  it("a run shorter than what a rate is looked at over has figures too", () => {
    const { peakLoad, secondsToRecover } = Simulation.run({ ...idle, seconds: 3, faultEnds: 1 }, plain, 1)
    assert.closeTo(peakLoad, 1, 0.3)
    assert.strictEqual(secondsToRecover, 0)
    // Nothing is left to recover in.
    assert.isNull(Simulation.run({ ...idle, seconds: 3, faultEnds: 3 }, plain, 1).secondsToRecover)
  })

  it("where nobody asks, nobody is disappointed", () => {
    const { goodput, quietGoodput } = Simulation.run(
      { ...idle, workload: { ...idle.workload, noisyShare: 1 } },
      plain,
      1
    )
    assert.deepStrictEqual([goodput, quietGoodput], [1, 1])
  })

  it.prop("every scenario survives the way through JSON", { scenario: Simulation.Scenario }, ({ scenario }) => {
    const json = JSON.stringify(Schema.encodeSync(Simulation.Scenario)(scenario))
    assert.strictEqual(
      JSON.stringify(Schema.decodeUnknownSync(Simulation.Scenario)(JSON.parse(json))),
      json
    )
  })
})

describe("metastability", () => {
  it("plain retries never recover from a brown-out at 70 % load, the default pipeline does", () => {
    const bad = seeds(scenario("brown-out"), retries)
    assert.deepStrictEqual(bad.map((result) => result.secondsToRecover), bad.map(() => null))
    const good = seeds(scenario("brown-out"), holdfast())
    for (const { peakLoad, recoveryLoad, secondsToRecover, seed } of good) {
      assert.isAtMost(secondsToRecover ?? Infinity, 12, `seed ${seed}`)
      assert.isAtMost(peakLoad, 1.5, `seed ${seed}`)
      assert.isAtMost(recoveryLoad, 1.2, `seed ${seed}`)
    }
  })

  it("nor at 85 % load, where the default pipeline takes at most 20 seconds", () => {
    for (const { peakLoad, recoveryLoad, secondsToRecover, seed } of seeds(scenario("brown-out-85"), holdfast())) {
      assert.isAtMost(secondsToRecover ?? Infinity, 20, `seed ${seed}`)
      assert.isAtMost(peakLoad, 1.5, `seed ${seed}`)
      assert.isAtMost(recoveryLoad, 1.2, `seed ${seed}`)
    }
  })

  it("a cache carries what the provider cannot, and another region takes over", () => {
    assert.isAbove(Simulation.run(scenario("cold-cache"), holdfast(), 1).goodput, 0.95)
    const far = Simulation.run(scenario("regional-failover"), holdfast(), 1)
    assert.isAbove(far.goodput, Simulation.run(scenario("regional-failover"), plain, 1).goodput + 0.2)
  })
})

describe("the report", () => {
  const results = [plain, holdfast()].map((strategy) => Simulation.run(scenario("outage"), strategy, 1))
  const summaries = results.map((result) => Report.summarize([result]))

  it("is a table and plots for a terminal", () => {
    const lines = Report.table(summaries).split("\n")
    assert.lengthOf(lines, 3)
    assert.match(lines[1] ?? "", /^timeout only +\d+\.\d %/)
    const plot = Report.plot(scenario("outage"), results[1]!)
    assert.match(plot, /answered │[ ▁▂▃▄▅▆▇█]{60}│/)
    assert.include(plot, "▔")
  })

  it("is a page without scripts or foreign addresses, and safe from what a scenario is called", () => {
    const page = Report.html({ ...scenario("outage"), title: "<script>alert(1)</script>" }, summaries, results)
    assert.notInclude(page, "<script")
    assert.notMatch(page, /(src|href)=/)
    assert.lengthOf(page.match(/<svg/g) ?? [], 2)
  })

  it("draws what answers in no time at all", () => {
    const instant: Simulation.Scenario = {
      ...scenario("outage"),
      servers: [{ name: "api", workers: 1, service: { _tag: "Constant", millis: 0 } }]
    }
    const page = Report.html(instant, summaries, [Simulation.run(instant, plain, 1)])
    assert.notMatch(page, /Infinity|NaN/)
  })

  it("a whole day has figures and a chart", () => {
    const day: Simulation.Scenario = {
      ...scenario("outage"),
      seconds: 86_400,
      workload: { rate: 0.01, clients: 1 }
    }
    const result = Simulation.run(day, plain, 1)
    assert.closeTo(result.requests, 864, 100)
    assert.match(Report.plot(day, result), /answered │[ ▁▂▃▄▅▆▇█]{60}│/)
    assert.include(Report.html(day, summaries, [result]), "86400 s")
  })

  it("a sparkline is as high as its values", () => {
    assert.strictEqual(Report.sparkline([0, 4, 8], 8), " ▄█")
    assert.strictEqual(Report.sparkline(Array.from({ length: 600 }, () => 8), 8), "█".repeat(60))
  })
})

it.effect("a run of ten thousand clients is quick", () =>
  Effect.sync(() => {
    const big = scenario("brown-out")
    const result = Simulation.run(
      {
        ...big,
        seconds: 40,
        workload: { rate: 700, clients: 10_000 },
        servers: [{ name: "api", workers: 10, service: { _tag: "Constant", millis: 10 } }]
      },
      holdfast(),
      1
    )
    assert.isAbove(result.requests, 25_000)
    assert.isAbove(result.goodput, 0.5)
  }), 60_000)
