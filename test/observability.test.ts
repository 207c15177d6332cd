import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { seriesOf, shown, Store } from "./http/shown.ts"

const folder = join(import.meta.dirname, "..", "examples", "observability")
const read = (name: string) => readFileSync(join(folder, name), "utf8")

/** Every expression that the files put to Prometheus. */
const expressions = (): ReadonlyArray<string> => {
  const found: Array<string> = []
  JSON.stringify(JSON.parse(read("grafana-dashboard.json")), (key, value: unknown) => {
    if ((key === "expr" || key === "query") && typeof value === "string") found.push(value)
    return value
  })
  const rules = read("prometheus-rules.yml").replaceAll(/^ *#.*$/gm, "")
  for (const [, folded, plain] of rules.matchAll(/expr:(?: >-\n((?: {10,}.*\n)+)| (.*)\n)/g)) {
    found.push(folded ?? plain!)
  }
  return found
}

/** Each use of a metric: its name, and the labels it is narrowed by. */
const usesOf = (expression: string) =>
  Array.from(
    expression.matchAll(/(?<![\w:])(ft_\w+)(?:\{([^}]*(?:\}(?=[^"]*")[^}]*)?)\})?/g),
    ([, name, labels = ""]) => ({
      name: name!,
      labels: Array.from(
        labels.matchAll(/(\w+)\s*(=~|=)\s*"([^"]*)"/g),
        ([, label, how, value]) => ({ label: label!, values: how === "=" ? [value!] : value!.split("|") })
      )
    })
  )

const groupedBy = (expression: string): ReadonlyArray<string> =>
  Array.from(expression.matchAll(/\bby \(([^)]*)\)/g)).flatMap(([, labels]) =>
    labels!.split(",").map((it) => it.trim())
  )

it.effect("uses no metric, label or value that the server does not show, and leaves none of them out", () =>
  Effect.gen(function*() {
    yield* (yield* Store).search({ query: "aspirin" })
    yield* TestClock.adjust("2 seconds")
    const series = seriesOf(yield* PrometheusMetrics.format())
    const all = expressions()
    assert.isAbove(all.length, 30)
    const used = new Set<string>()
    for (const expression of all) {
      const uses = usesOf(expression)
      for (const { labels, name } of uses) {
        used.add(name)
        const known = series.get(name)
        assert.isDefined(known, `${name} is not shown: ${expression}`)
        for (const { label, values } of labels) {
          assert.isTrue(known.has(label), `${name} has no label ${label}: ${expression}`)
          for (const value of values) {
            if (!value.startsWith("$")) {
              assert.include([...known.get(label)!], value, `${name}{${label}}: ${expression}`)
            }
          }
        }
      }
      for (const label of groupedBy(expression)) {
        assert.isTrue(
          uses.every(({ name }) => series.get(name)!.has(label)),
          `grouped by ${label}, which is not there: ${expression}`
        )
      }
    }
    const families = new Set([...series.keys()].filter((name) => name.startsWith("ft_")))
    for (const family of families) {
      // The sum and the count of a histogram say nothing that its buckets do not.
      if (!/_(?:sum|count)$/.test(family)) assert.isTrue(used.has(family), `${family} is shown, but looked at nowhere`)
    }
  }).pipe(Effect.provide(shown)))

it("uses recorded series that are recorded", () => {
  const rules = read("prometheus-rules.yml")
  const recorded = new Set(Array.from(rules.matchAll(/record: (\S+)/g), ([, name]) => name))
  const used = new Set(Array.from(rules.matchAll(/(?<!record: )\b(service:ft_\w+:\w+)/g), ([, name]) => name))
  assert.isAbove(used.size, 5)
  assert.deepStrictEqual([...used].filter((name) => !recorded.has(name)), [])
})

it("has rules that promtool takes, and that fire and are quiet when they should", (ctx) => {
  ctx.skip(spawnSync("promtool", ["--version"]).error !== undefined, "promtool is not installed")
  for (const args of [["check", "rules", "prometheus-rules.yml"], ["test", "rules", "prometheus-rules.test.yml"]]) {
    const { status, stderr, stdout } = spawnSync("promtool", args, { cwd: folder, encoding: "utf8" })
    assert.strictEqual(status, 0, stdout + stderr)
  }
})
