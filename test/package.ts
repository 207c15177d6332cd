/**
 * `npm run package`: packs the package, installs it in an empty folder with `effect` alone, checks a program against its
 * types without skipping any, and runs it. What a user of the published package would meet first.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const folder = mkdtempSync(join(tmpdir(), "holdfast-package-"))
const run = (command: string, args: ReadonlyArray<string>, cwd = folder): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const program = `
import { Effect } from "effect"
import { Pipeline } from "holdfast"
import * as CircuitBreaker from "holdfast/CircuitBreaker"

const program: Effect.Effect<number, unknown> = Effect.gen(function*() {
  const rates = yield* Pipeline.make({ provider: "rates", retry: true, breaker: true, timeout: "2 seconds" })
  const rate: Effect.Effect<number, import("holdfast/ProviderError").ProviderError | CircuitBreaker.CircuitOpen> =
    Effect.succeed(42).pipe(rates.protect({ operation: "latest", idempotent: true }))
  return yield* rate
})
console.log(await Effect.runPromise(program))
`

try {
  run("npm", ["pack", "--silent", "--pack-destination", folder], root)
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  if (tarball === undefined) throw new Error("npm pack made no tarball")
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  run("npm", [
    "install",
    "--silent",
    "--no-save",
    "--legacy-peer-deps",
    `./${tarball}`,
    "effect@4.1.0",
    "@types/node@24"
  ])
  writeFileSync(join(folder, "program.ts"), program)
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
  for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]] as const) {
    run(process.execPath, [
      tsc,
      "program.ts",
      "--noEmit",
      "--strict",
      "--skipLibCheck",
      "false",
      "--target",
      "es2024",
      "--module",
      module,
      "--moduleResolution",
      resolution,
      "--allowImportingTsExtensions"
    ])
  }
  const printed = run(process.execPath, ["program.ts"]).trim()
  if (printed !== "42") throw new Error(`the program printed ${printed}`)
  console.log("the packed package type-checks without skipping and runs")
} finally {
  rmSync(folder, { recursive: true, force: true })
}
