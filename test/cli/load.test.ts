import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

const main = join(import.meta.dirname, "..", "load", "main.ts")

// The long form is `npm run load -- soak --seconds 1800`.
it("under load with faults every request is answered, and SIGTERM ends the server in order", async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=holdfast-source", main, "soak", "--seconds", "4", "--rate", "15", "--documents", "50", "--json"],
    { maxBuffer: 10_000_000 }
  ).catch((error: { readonly stdout: string }) => error)
  const verdicts = JSON.parse(stdout) as ReadonlyArray<
    { readonly profile: string; readonly missed: ReadonlyArray<string> }
  >
  assert.deepStrictEqual(verdicts.map(({ missed, profile }) => [profile, missed]), [["soak", []], ["shutdown", []]])
}, 120_000)
