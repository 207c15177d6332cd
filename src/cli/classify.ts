/** `holdfast classify [FILE.jsonl]`: says of each error in a log what it is and what to do about it. */
import { Clock, Console, Data, Effect, FileSystem, Option, Stdio, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import * as Classifier from "../Classifier.ts"
import { rebuild, shapeIn } from "../internal/errorShape.ts"

/** Some lines held no error that could be read; the others were classified. */
class LinesUnread extends Data.TaggedError("LinesUnread")<{ readonly message: string }> {}

export const classify = Command.make(
  "classify",
  {
    file: Argument.Path("file", { pathType: "file", mustExist: true }).pipe(
      Argument.withDescription("One JSON object per line, the error under \"error\". Standard input without it"),
      Argument.optional
    )
  },
  Effect.fnUntraced(function*({ file }) {
    const stdio = yield* Stdio.Stdio
    const fs = yield* FileSystem.FileSystem
    const now = yield* Clock.currentTimeMillis
    const unread: Array<number> = []
    let number = 0
    yield* Option.match(file, { onNone: () => stdio.stdin, onSome: (path) => fs.stream(path) }).pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.mapArrayEffect(Effect.fnUntraced(function*(lines) {
        const found: Array<string> = []
        for (const line of lines) {
          number++
          // A byte order mark, and lines that hold nothing.
          const text = line.trim()
          if (text === "") continue
          const read = describe(text, number, now)
          if (typeof read === "string") found.push(`${read}\n`)
          else {
            unread.push(number)
            yield* Console.error(`line ${number}: ${read.why}`)
          }
        }
        return [found.join("")] as const
      })),
      Stream.run(stdio.stdout({ endOnDone: false }))
    )
    if (unread.length > 0) {
      return yield* new LinesUnread({
        message: `${unread.length} of ${number} lines could not be read; the first is line ${unread[0]}.`
      })
    }
  })
).pipe(
  Command.withDescription("Say of each error in a log what it is, and whether to retry, fall back, or count it"),
  Command.withExamples([
    { command: "holdfast classify errors.jsonl", description: "One line of JSON for each error" },
    { command: "tail -f app.log | holdfast classify", description: "From standard input, as it comes" }
  ])
)

const parse = Option.liftThrowable((text: string): unknown => JSON.parse(text))

const describe = (text: string, number: number, now: number): string | { readonly why: string } => {
  const line = parse(text)
  if (Option.isNone(line)) return { why: "is no JSON" }
  const shape = shapeIn(line.value)
  if (shape === undefined) return { why: "holds no error" }
  const { category, code, delivered, detail, message, retryable, retryAfterMillis, rule, severity, status, verdicts } =
    Classifier.classify(rebuild(shape), { now })
  return JSON.stringify({
    id: idOf(line.value) ?? number,
    category,
    retryable,
    verdicts,
    rule,
    retryAfterMs: retryAfterMillis,
    severity,
    delivered,
    detail,
    status,
    code,
    message
  })
}

const idOf = (line: unknown): string | number | undefined => {
  const id = typeof line === "object" && line !== null && "id" in line ? line.id : undefined
  return typeof id === "string" || typeof id === "number" ? id : undefined
}
