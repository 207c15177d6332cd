import { join } from "node:path"
import { defineConfig } from "vitest/config"
import { LongestFirst } from "./test/longestFirst.ts"
import { Summary } from "./test/summary.ts"

const conditions = ["holdfast-source", "node", "import", "module", "default"]

export default defineConfig({
  // Without the condition "holdfast" in a test would be dist/, and every class would exist twice.
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // Loading Effect costs 0.3 s for each isolated file.
    isolate: false,
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What the tests start loads the same modules each time.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules", ".cache", "holdfast", "compiled") },
    setupFiles: ["test/setup.ts"],
    reporters: ["default", new Summary()]
  }
})
