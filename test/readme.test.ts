import { assert, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const readme = readFileSync(join(root, "README.md"), "utf8")

/** The rows of the feature table: what, whether, and the test that shows it. */
const rows = Array.from(
  readme.matchAll(/^\| ([^|]+?) +\| (yes|partly|no) +\| (?:\[(.+)\]\((test\/[^)]+)\))? *\|$/gm),
  ([, feature = "", has = "", test, file]) => ({ feature, has, test, file })
)

it("the feature table has the hundred rows, at least ninety of them with yes", () => {
  assert.lengthOf(rows, 100)
  assert.isAtLeast(rows.filter(({ has }) => has === "yes").length, 90)
})

it("every yes names a test that is there", () => {
  for (const { feature, file, has, test } of rows) {
    if (has !== "yes") continue
    assert.isDefined(file, feature)
    assert.isTrue(existsSync(join(root, file ?? "")), `${feature}: ${file}`)
    assert.include(readFileSync(join(root, file ?? ""), "utf8"), test ?? "?", feature)
  }
})

it("every command and script it names is there", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly scripts: Readonly<Record<string, string>>
  }
  const main = readFileSync(join(root, "src", "cli", "program.ts"), "utf8")
  for (const [, script = ""] of readme.matchAll(/npm run (?:-s )?([\w:]+)/g)) assert.property(scripts, script)
  for (const [, command = ""] of readme.matchAll(/npm run -s holdfast -- (\w+)/g)) {
    assert.include(main, `  ${command}: () =>`)
  }
})

it("what is internal cannot be imported by users", () => {
  const { resolve } = createRequire(import.meta.url)
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && /(^|\/)internal\/|^cli\//.test(file))
  assert.isAbove(files.length, 50)
  for (const file of files) {
    assert.throws(() => resolve(`holdfast/${file.replace(/\.ts$/, "")}`), /not defined by "exports"/, file)
  }
})
