/** `holdfast simulate SCENARIO`: what an incident does to calls without policies, with plain retries, and with ours. */
import { Console, Data, Effect, FileSystem, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { checked, problemsOf } from "../internal/options.ts"
import * as Settings from "../Settings.ts"
import { million, scenarios } from "../testing/scenarios.ts"
import * as Strategies from "../testing/scenarios.ts"
import * as Simulation from "../testing/Simulation.ts"
import * as Report from "../testing/SimulationReport.ts"

/** What was asked for cannot be simulated; the message says why. */
class CannotSimulate extends Data.TaggedError("CannotSimulate")<{ readonly message: string }> {}

const known = [...scenarios, million]
const names = known.map(({ name }) => name)

export const simulate = Command.make(
  "simulate",
  {
    scenario: Argument.String("scenario").pipe(
      Argument.withDescription(`One of: ${names.join(", ")}; or all; or a JSON file with a scenario of your own`)
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("The first seed. Defaults to 1"), Flag.withDefault(1)),
    seeds: Flag.Int("seeds").pipe(
      Flag.withDescription("How many runs, each with the next seed. Defaults to 1"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))),
      Flag.withDefault(1)
    ),
    config: Flag.String("config").pipe(
      Flag.withDescription("Settings of a pipeline, as JSON or TOML, to use instead of the defaults"),
      Flag.optional
    ),
    strategy: Flag.Literals("strategy", ["plain", "retries", "holdfast"]).pipe(
      Flag.withDescription("Play this way of calling alone; may be given again. Defaults to all"),
      Flag.atMost(3)
    ),
    html: Flag.String("html").pipe(Flag.withDescription("Write a page with charts to this file"), Flag.optional),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print every result as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ config, html, json, scenario: wanted, seed, seeds, strategy: only }) {
    const chosen = wanted === "all"
      ? scenarios
      : [known.find(({ name }) => name === wanted) ?? (yield* read(wanted))]
    const pipeline = Option.isNone(config) ? undefined : yield* readPipeline(config.value)
    const { plain, retries } = Strategies
    const ways = { plain, retries, holdfast: Strategies.holdfast(pipeline) }
    const strategies = Object.entries(ways).flatMap(([name, way]) =>
      only.length === 0 || only.some((wanted) => wanted === name) ? [way] : []
    )
    const fs = yield* FileSystem.FileSystem
    const pageOf = ({ name }: Simulation.Scenario, file: string): string =>
      chosen.length === 1 ? file : file.replace(/(\.html)?$/, `-${name}.html`)
    const write = (file: string, text: string, options?: { readonly flag: "a" }) =>
      fs.writeFileString(file, text, options).pipe(
        Effect.mapError(() => new CannotSimulate({ message: `${file} cannot be written. Is there such a directory?` }))
      )
    // Found out before the runs, which take their time; what is in the file stays.
    if (Option.isSome(html)) yield* write(pageOf(chosen[0]!, html.value), "", { flag: "a" })
    const all: Array<Simulation.Result> = []
    for (const scenario of chosen) {
      const results = yield* Effect.forEach(strategies, (strategy) =>
        Effect.forEach(
          Array.from({ length: seeds }, (_, offset) => seed + offset),
          (seed) => Effect.delay(checked(() => Simulation.run(scenario, strategy, seed)), 0)
        )).pipe(Effect.mapError((error) => unexpected(wanted, [{ field: error.field, message: error.why }])))
      const summaries = results.map(Report.summarize)
      const firsts = results.flatMap((runs) => runs.slice(0, 1))
      all.push(...results.flat())
      if (!json) {
        yield* Console.log(`\n${scenario.name}: ${scenario.title}\n\n${Report.table(summaries)}\n`)
        for (const result of firsts) yield* Console.log(Report.plot(scenario, result))
      }
      if (Option.isSome(html)) {
        yield* write(pageOf(scenario, html.value), Report.html(scenario, summaries, firsts))
      }
    }
    if (json) yield* Console.log(JSON.stringify(all))
  })
).pipe(
  Command.withDescription("Play an incident in virtual time and compare ways of calling"),
  Command.withExamples([
    { command: "holdfast simulate brown-out --seeds 20", description: "Why plain retries never recover" },
    { command: "holdfast simulate outage --html outage.html", description: "With charts" }
  ])
)

/** The pipeline of a file; what it leaves out is as by default. */
const readPipeline = (file: string) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((fs) => fs.readFileString(file)),
    Effect.flatMap((text) => Settings.parse(file, text)),
    Effect.flatMap((value) => Settings.pipelines(value, file)),
    Effect.map(([first]) => first?.options),
    Effect.mapError((error) =>
      new CannotSimulate({
        message: error._tag === "InvalidSettings"
          ? `${file} is not what is expected: ${error.message}`
          : `${file} cannot be read. Is the path right?`
      })
    )
  )

const read = (file: string): Effect.Effect<Simulation.Scenario, CannotSimulate, FileSystem.FileSystem> =>
  file.endsWith(".json")
    ? FileSystem.FileSystem.pipe(
      Effect.flatMap((fs) => fs.readFileString(file)),
      Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Simulation.Scenario), strict)),
      Effect.mapError((error) =>
        error._tag === "SchemaError"
          ? unexpected(file, problemsOf(error.issue))
          : new CannotSimulate({ message: `${file} cannot be read. Is the path right?` })
      )
    )
    : Effect.fail(
      new CannotSimulate({
        message: `There is no scenario ${file}. There are: ${names.join(", ")}; or give a JSON file.`
      })
    )

const strict = { errors: "all", onExcessProperty: "error" } as const

const unexpected = (file: string, problems: ReadonlyArray<Settings.Problem>): CannotSimulate =>
  new CannotSimulate({
    message: `${file} is not what is expected: ${new Settings.InvalidSettings({ problems }).message}`
  })
