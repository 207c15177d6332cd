import { assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)
const root = join(import.meta.dirname, "..")
const out = join(root, "test", "documented")

interface Example {
  readonly name: string
  readonly code: string
  readonly runs: boolean
  readonly expected: ReadonlyArray<string>
}

/** A text in quotation marks is printed without them. */
const unquoted = (value: string): string => /^"[^"\\]*"$/.test(value) ? value.slice(1, -1) : value

/** The `ts` blocks of Markdown and of doc comments. A block marked `ts no-run` is only compiled. */
const examplesIn = (file: string): ReadonlyArray<Example> => {
  const text = readFileSync(join(root, file), "utf8")
  const plain = file.endsWith(".md") ? text : text.replaceAll(/^\s*\* ?/gm, "")
  return Array.from(plain.matchAll(/^```ts( no-run)?\n([\s\S]*?)^```$/gm), ([, noRun, code = ""], index) => ({
    name: `${file.replaceAll(/\W+/g, "-")}-${index + 1}`,
    runs: noRun === undefined,
    expected: Array.from(code.matchAll(/\/\/ => (.*)$/gm), ([, value = ""]) => unquoted(value.trim())),
    // `expression // => value` prints its value; a line that prints by itself stays.
    code: code.replaceAll(
      /^(\s*)(?!.*\b[Cc]onsole\.log\()(?!const |let |return )(.+?);?\s*\/\/ => .*$/gm,
      "$1console.log($2)"
    )
  }))
}

const files = ["README.md", ...globSync("docs/**/*.md", { cwd: root }), ...globSync("src/**/*.ts", { cwd: root })]
  .sort()
const examples = files.flatMap(examplesIn)

describe("documented examples", () => {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  for (const { code, name } of examples) writeFileSync(join(out, `${name}.ts`), code)
  writeFileSync(
    join(out, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.json",
      include: ["*.ts"],
      exclude: [],
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false }
    })
  )

  it("are there", () => {
    assert.isAbove(examples.length, 0)
  })

  it("compile", async () => {
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
    const output = await run(process.execPath, [tsc, "-p", out]).then(() => "", (error) => String(error.stdout))
    assert.strictEqual(output, "")
  }, 60_000)

  // In one process: to load Effect takes longer than all examples together.
  const running = examples.filter(({ runs }) => runs)
  const fileOf = (name: string): string => join(out, `${name}.ts`)
  let logged: { readonly [file: string]: string } = {}
  beforeAll(async () => {
    const args = ["--conditions=holdfast-source", join(root, "test", "documentedRun.ts")]
    logged = JSON.parse((await run(process.execPath, [...args, ...running.map(({ name }) => fileOf(name))])).stdout)
  }, 60_000)

  it.each(running)("$name prints what it says", ({ expected, name }) => {
    const lines = (logged[fileOf(name)] ?? "").split("\n")
    assert.deepStrictEqual(lines.map((line) => line.trim()).filter((line) => line !== ""), expected)
  })
})
