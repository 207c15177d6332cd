import { assert, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { parseSync } from "oxc-parser"

const root = join(import.meta.dirname, "..", "src")

/** The floors of the house, from the ground up. The first pattern that fits a file decides; a file imports from its own floor or from below. */
const floors: ReadonlyArray<readonly [RegExp, number]> = [
  [/^internal\/(options|stackless|retryAfter|resetHeader|scrub|failureEvidence|classification\w*)\.ts$/, 1],
  [/^(ProviderError|Classifier|Served|Event|InvalidOptions)\.ts$/, 1],
  [/^internal\/(pipeline|settings)\w*\.ts$/, 3],
  [/^internal\/\w+\.ts$/, 2],
  [/^(Backoff|Retry|RetryBudget|Deadline|Correlation|Timeout|CircuitBreaker|FailurePredictor)\.ts$/, 2],
  [/^(Bulkhead|AdaptiveLimit|RateLimit|Hedge|LoadBalancer|ResponseCache|Fallback|ServiceLevel|Chaos)\.ts$/, 2],
  [/^(Pipeline|FaultTolerance|Telemetry|Health|Alerts|Settings|presets)\.ts$/, 3],
  [/^index\.ts$/, 3],
  [/^(vectorstore|fleet)\//, 4],
  [/^testing\//, 5],
  [/^http\//, 5],
  [/^cli\//, 6]
]

const floorOf = (file: string): number | undefined => floors.find(([pattern]) => pattern.test(file))?.[1]

/** Every relative module a file names, types included. */
const importsOf = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(join(root, file), "utf8")
  const { module } = parseSync(file, text)
  const named = [
    ...module.staticImports.map((it) => it.moduleRequest.value),
    ...module.staticExports.flatMap((it) => it.entries.flatMap((entry) => entry.moduleRequest?.value ?? [])),
    ...Array.from(text.matchAll(/\bimport\(\s*"([^"]+)"/g), (match) => match[1] ?? "")
  ]
  return named.filter((name) => name.startsWith(".")).map((name) => relative(root, join(root, dirname(file), name)))
}

const files = globSync("**/*.ts", { cwd: root }).sort()

it("every file in src has a floor", () => {
  assert.isAbove(files.length, 10)
  assert.deepStrictEqual(files.filter((file) => floorOf(file) === undefined), [])
})

it("the index has every module at the root", () => {
  const modules = files.filter((file) => !file.includes("/") && file !== "index.ts")
  assert.deepStrictEqual([...importsOf("index.ts")].sort(), modules)
})

it("imports lead to the same floor or down, type imports too", () => {
  const upward = files.flatMap((file) =>
    importsOf(file)
      .filter((to) => (floorOf(to) ?? Infinity) > (floorOf(file) ?? -Infinity))
      .map((to) => `${file} -> ${to}`)
  )
  assert.deepStrictEqual(upward, [])
})

it("no file imports itself by way of others", () => {
  const graph = new Map(files.map((file) => [file, importsOf(file)]))
  const done = new Set<string>()
  const cycles: Array<string> = []
  const visit = (file: string, path: ReadonlyArray<string>): void => {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "))
      return
    }
    if (done.has(file)) return
    for (const to of graph.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  assert.deepStrictEqual(cycles, [])
})
