import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)
const root = join(import.meta.dirname, "..")

/** What an example prints, where that is always the same. */
const outputs = {
  payments: ["brook-1250 after AUTHENTICATION", "not repeated: SERVICE_UNAVAILABLE"],
  weather: [
    "sunny in Lisbon (from station)",
    "sunny in Lisbon (cached, 0 s old)",
    "sunny in Lisbon (stale, 1 s old)",
    "no forecast (NETWORK)"
  ]
}

it.concurrent.each(Object.entries(outputs))("the example %s prints its results and ends", async (name, lines) => {
  const { stdout } = await run(process.execPath, ["--conditions=holdfast-source", join(root, "examples", `${name}.ts`)])
  assert.deepStrictEqual(stdout.trimEnd().split("\n"), lines)
}, 60_000)
