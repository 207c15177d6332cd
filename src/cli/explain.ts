/** `holdfast explain [FILE]`: what a pipeline's settings come to, before an outage shows it. */
import { Console, Effect, FileSystem, Option, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import * as Pipeline from "../Pipeline.ts"
import * as presets from "../presets.ts"
import * as Settings from "../Settings.ts"

/** The settings make no sense; `message` says where. */
class BadSettings extends Schema.TaggedError<BadSettings>()("BadSettings", { message: Schema.String }) {}

export const explain = Command.make(
  "explain",
  {
    file: Argument.Path("file", { pathType: "file", mustExist: true }).pipe(
      Argument.withDescription(
        "Settings as JSON or TOML: one pipeline, several under \"pipelines\" by name, or those of \"services\""
      ),
      Argument.optional
    )
  },
  Effect.fnUntraced(function*({ file }) {
    const subjects = Option.isNone(file) ? builtIn : yield* read(file.value)
    const explanations = yield* Effect.validate(subjects, ({ attemptsInside, nameOf, options }) =>
      Effect.mapError(
        Pipeline.explain(options, { attemptsInside }),
        ({ field, why }) => `${nameOf?.(field) ?? field} ${why}`
      )).pipe(Effect.mapError((wrong) => new BadSettings({ message: wrong.join("; ") })))
    yield* Effect.forEach(explanations, (explanation) => Console.log(Pipeline.render(explanation)), { discard: true })
  })
).pipe(
  Command.withDescription(
    "Work out a pipeline's attempts, worst-case time and load in an outage, and what looks wrong"
  ),
  Command.withExamples([
    { command: "holdfast explain", description: "The defaults and the presets" },
    { command: "holdfast explain pipeline.toml", description: "Your own settings" }
  ])
)

type Subject = Pick<Settings.PipelineSettings, "options"> & Partial<Settings.PipelineSettings>

const builtIn: ReadonlyArray<Subject> = [
  {
    options: {
      provider: "defaults",
      deadline: "30 seconds",
      retry: true,
      breaker: true,
      bulkhead: true,
      timeout: true
    }
  },
  ...([["OpenAI preset", presets.openAi], ["Neon preset", presets.neon], ["Unified preset", presets.unified]] as const)
    .map(([provider, preset]) => ({ options: { provider, ...preset.pipeline } }))
]

const read = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* Settings.parse(path, yield* fs.readFileString(path))
  return yield* Settings.pipelines(file, path)
})
