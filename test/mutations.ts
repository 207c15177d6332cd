/**
 * `npm run mutations`: plants bugs that such a library might have, one after the other, in a copy of the tree, and shows
 * which test finds each. Exits with 1 where one is not found, or where a place is not there, or not alone.
 */
import { spawn } from "node:child_process"
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Mutation {
  readonly bug: string
  readonly file: string
  readonly find: string
  readonly replace: string
  readonly tests: ReadonlyArray<string>
}

const chaos = "test/testing/ChaosRun.test.ts"
const models = "test/testing/ModelCheck.test.ts"
const circuit = "test/internal/circuitCore.test.ts"

export const mutations: ReadonlyArray<Mutation> = [
  {
    bug: "a permit is lost at the end of an attempt",
    file: "src/internal/pipelineAttempt.ts",
    find: "      this.plan.stages.bulkhead!.core.release()\n",
    replace: "",
    tests: [chaos]
  },
  {
    bug: "the outcome of a call from before the trip counts",
    file: "src/internal/circuitState.ts",
    find: "if (token !== state.generation) return [LATE, state]",
    replace: "",
    tests: [circuit]
  },
  {
    bug: "a window's edge is one instant off",
    file: "src/internal/rateLimitCore.ts",
    find: "startOf(freeing) + windowMillis - from",
    replace: "startOf(freeing) + windowMillis - from + 1",
    tests: [models]
  },
  {
    bug: "an interrupted probe keeps its slot",
    file: "src/internal/circuitState.ts",
    find: "? [0, without(state, event.token, now)]",
    replace: "? [0, state]",
    tests: [circuit]
  },
  {
    bug: "an old answer is served after a refused authorization",
    file: "src/ResponseCache.ts",
    find: "return !unqualified.has(category)",
    replace: "return true",
    tests: [chaos, "test/ResponseCache.test.ts"]
  },
  {
    bug: "hedges are not paid for",
    file: "src/Hedge.ts",
    find: "if (budget !== undefined && !budget.withdraw(1, now)) return false",
    replace: "",
    tests: [chaos, "test/Hedge.test.ts"]
  },
  {
    bug: "retries are not paid for",
    file: "src/internal/retryRun.ts",
    find: "if (!budget.withdraw(cost, now)) return",
    replace: "if (budget.balance(now) < 0) return",
    tests: ["test/Retry.test.ts", chaos]
  },
  {
    bug: "whoever leaves the queue is still counted in it",
    file: "src/internal/bulkheadCore.ts",
    find: "    this.#tidy(level, waiter.tenant, waiters)\n    this.queued--",
    replace: "    this.#tidy(level, waiter.tenant, waiters)",
    tests: [models]
  },
  {
    bug: "a resize does not wake the queue",
    file: "src/internal/bulkheadCore.ts",
    find: "    this.#queueLimit = queueLimit\n    this.#serve()",
    replace: "    this.#queueLimit = queueLimit",
    tests: [models]
  },
  {
    bug: "a write whose fate is unknown is done again",
    file: "src/ProviderError.ts",
    find: "(retry === \"IfIdempotent\" && idempotent)",
    replace: "retry === \"IfIdempotent\"",
    tests: [chaos, "test/Retry.test.ts"]
  },
  {
    bug: "the tenant is not part of the cache's key",
    file: "src/internal/cacheKey.ts",
    find: "${sized(tenant)}",
    replace: "",
    tests: [chaos]
  },
  {
    bug: "an open circuit does not say when it may be tried again",
    file: "src/internal/circuitState.ts",
    find: "      return Math.max(0, state.until - time)",
    replace: "      return Infinity",
    tests: [chaos]
  },
  {
    bug: "an answer of the second provider passes for one of the first",
    file: "src/Fallback.ts",
    find: "degraded: index > 0",
    replace: "degraded: index > 1",
    tests: [chaos]
  },
  {
    bug: "the last caller leaves and the work goes on",
    file: "src/internal/singleFlight.ts",
    find: "return this.leave(flight) ? Fiber.interrupt(flight.fiber) : Effect.void",
    replace: "return this.leave(flight) ? Effect.void : Effect.void",
    tests: [models]
  }
]

/** The text with the bug in it; `undefined` where the place is not there, or there is another like it. */
export const placed = (text: string, { find, replace }: Mutation): string | undefined =>
  text.split(find).length === 2 ? text.replace(find, () => replace) : undefined

const run = (
  folder: string,
  tests: ReadonlyArray<string>
): Promise<{ readonly failed: boolean; readonly first: string }> =>
  new Promise((resolve) => {
    let text = ""
    const child = spawn(process.execPath, [
      join(folder, "node_modules/vitest/vitest.mjs"),
      "run",
      "--bail",
      "1",
      ...tests
    ], {
      cwd: folder,
      env: { ...process.env, CI: "true", NO_COLOR: "1" }
    })
    child.stdout.on("data", (chunk: Buffer) => text += chunk.toString())
    child.stderr.on("data", (chunk: Buffer) => text += chunk.toString())
    child.on("close", (code) => {
      const first = /^ FAIL +(.*)$/m.exec(text)?.[1] ?? "(the tests did not run)"
      resolve({ failed: code !== 0 && text.includes(" FAIL "), first })
    })
  })

const root = join(import.meta.dirname, "..")
const plantAll = async (): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-mutations-"))
  let missed = 0
  try {
    for (const name of ["src", "test", "package.json", "tsconfig.json", "vitest.config.ts"]) {
      await cp(join(root, name), join(folder, name), { recursive: true })
    }
    await symlink(join(root, "node_modules"), join(folder, "node_modules"))
    for (const mutation of mutations) {
      const { bug, file, find, tests } = mutation
      const path = join(folder, file)
      const original = await readFile(path, "utf8")
      const planted = placed(original, mutation)
      if (planted === undefined) {
        missed++
        console.log(`NO PLACE  ${bug}: ${file} has not one ${JSON.stringify(find)}`)
        continue
      }
      await writeFile(path, planted)
      const { failed, first } = await run(folder, tests)
      await writeFile(path, original)
      if (!failed) missed++
      console.log(`${failed ? "found    " : "MISSED   "} ${bug}${failed ? `: ${first}` : ""}`)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  console.log(`${mutations.length - missed} of ${mutations.length} planted bugs were found`)
  process.exitCode = missed === 0 ? 0 : 1
}

if (import.meta.main) await plantAll()
