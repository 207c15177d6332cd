import type { Reporter, TestModule } from "vitest/node"

/** Names every skipped test with its reason and ends with the plain line `N passed, N failed, N skipped`. */
export class Summary implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    let passed = 0
    let skipped = 0
    // A module that threw while loading has no tests in it, and an unhandled error belongs to none.
    let failed = unhandled.length
    for (const module of modules) {
      if (module.state() === "failed" && module.errors().length > 0) failed++
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === "passed") passed++
        else if (result.state === "failed") failed++
        else {
          skipped++
          console.log(
            `skipped: ${test.fullName}${result.state === "skipped" && result.note ? ` (${result.note})` : ""}`
          )
        }
      }
    }
    console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
  }
}
