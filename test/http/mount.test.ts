import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

it("the example of a server of one's own prints its results and ends", async () => {
  const example = fileURLToPath(new URL("../../examples/mount-http.ts", import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=holdfast-source", example], {
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" }
  })
  assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
    "orders: 7",
    "healthy: payments",
    "circuits: payments/charge is Closed",
    "page, metrics, reference: [ 200, 200, 200 ]"
  ])
}, 60_000)
