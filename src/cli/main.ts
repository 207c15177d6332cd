#!/usr/bin/env node
/**
 * The `holdfast` command. Beside the library stand only the packages that its user installed: one that the command lacks is
 * named, without a stack.
 */
import { enableCompileCache } from "node:module"

// Half of the time of a start is compiling the same modules again.
enableCompileCache()

// Nothing can be imported before it is known what there is, so that there is no Effect yet to do this.
import("./program.ts").then(({ run }) => run()).catch((error: unknown) => {
  const missing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
    ? /^Cannot find package '([^']+)'/.exec(error.message)?.[1]
    : undefined
  if (missing === undefined) throw error
  process.stderr.write(
    `\nERROR\n  The holdfast command needs a package that is not installed: npm install ${missing}\n`
  )
  process.exitCode = 1
})
