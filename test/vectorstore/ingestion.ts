/** Runs `ingestChild.ts`, and kills it in the middle. */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"

export interface End {
  /** How many a run before had stored. */
  readonly before: number
  readonly stored: number
  readonly embedded: number
  /** What is found for the last document's words. */
  readonly best: string
}

const run = (args: ReadonlyArray<string>, until?: RegExp) =>
  Effect.callback<string>((resume) => {
    const child = spawn(
      process.execPath,
      ["--conditions=holdfast-source", join(import.meta.dirname, "ingestChild.ts"), ...args],
      { stdio: ["ignore", "pipe", "pipe"] }
    )
    let said = ""
    let complaint = ""
    child.stdout.on("data", (text) => {
      said += String(text)
      if (until?.test(said) === true) child.kill("SIGKILL")
    })
    child.stderr.on("data", (text) => complaint += String(text))
    child.on("exit", (code, signal) =>
      resume(code === 0 || signal === "SIGKILL" ? Effect.succeed(said) : Effect.die(new Error(complaint))))
    return Effect.sync(() =>
      child.kill("SIGKILL")
    )
  })

/** Ends when the process was killed as soon as it said so; tells what it said. */
export const killedAt = (until: RegExp, ...args: ReadonlyArray<string>) => run(args, until)

/** Ends when the process did; tells what it found. */
export const whole = (...args: ReadonlyArray<string>) =>
  Effect.map(run(args), (said) => JSON.parse(/end (.*)/.exec(said)?.[1] ?? "{}") as End)
