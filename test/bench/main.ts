/**
 * `npm run bench -- [suite...] [--json] [--check] [--rounds N]`: runs all suites, or those named, and prints what was
 * measured against the goals. With `--check` it exits with 1 where a goal is missed by more than 15 %.
 */
import { execFile } from "node:child_process"
import { readdir } from "node:fs/promises"
import { parseArgs, promisify } from "node:util"
import { render, type Result, runSuite, type Suite } from "./harness.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, check: { type: "boolean" }, rounds: { type: "string", default: "31" } }
})

const available = (await readdir(import.meta.dirname))
  .filter((name) => name.endsWith(".bench.ts"))
  .map((name) => name.slice(0, -".bench.ts".length))
  .sort()
const unknown = positionals.filter((name) => !available.includes(name))
const rounds = Number(values.rounds)
if (unknown.length > 0 || !(rounds >= 1)) {
  console.error(
    unknown.length > 0
      ? `no suite ${unknown.join(", ")}; there are: ${available.join(", ")}`
      : "--rounds wants a number"
  )
  process.exit(64)
}

const measured = async (name: string): Promise<Result> => {
  const { suite } = await import(new URL(`${name}.bench.ts`, import.meta.url).href) as { readonly suite: Suite }
  return runSuite(suite, { rounds })
}

/** In a process of its own, since what one suite has run makes the next one's base up to 30 % dearer. */
const measuredApart = async (name: string): Promise<Result> => {
  const args = [...process.execArgv, import.meta.filename, name, "--json", "--rounds", String(rounds)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const [result] = (JSON.parse(stdout) as { readonly results: ReadonlyArray<Result> }).results
  return result!
}

const names = positionals.length > 0 ? positionals : available
const results: Array<Result> = []
for (const name of names) {
  const result = names.length === 1 ? await measured(name) : await measuredApart(name)
  results.push(result)
  if (!values.json) console.log(render(result))
}
const missed = results.flatMap(({ goals, suite }) =>
  goals.filter((goal) => goal.missed).map((goal) => `${suite}: ${goal.name}`)
)
if (values.json) console.log(JSON.stringify({ node: process.version, results, missed }, undefined, 2))
else if (missed.length > 0) console.log(`\nmissed by more than 15 %:\n  ${missed.join("\n  ")}`)
process.exit(values.check && missed.length > 0 ? 1 : 0)
