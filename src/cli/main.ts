#!/usr/bin/env node
/**
 * The `holdfast` command. Beside the library stand only the packages that its user installed: one that the command lacks is
 * named, without a stack, and so is the Node that it wants.
 */
import { readFileSync } from "node:fs"
// As a whole: an older Node does not have what is used of it.
import * as nodeModule from "node:module"

// Nothing else can be imported before it is known what there is, so that there is no Effect yet to do this.
const refuse = (message: string): void => {
  process.stderr.write(`\nERROR\n  ${message}\n`)
  process.exitCode = 1
}

const start = (): Promise<void> => {
  // Half of the time of a start is compiling the same modules again.
  nodeModule.enableCompileCache()
  return import("./program.ts").then(({ run }) => run()).catch((error: unknown) => {
    const missing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
      ? /^Cannot find package '([^']+)'/.exec(error.message)?.[1]
      : undefined
    if (missing === undefined) throw error
    refuse(`The holdfast command needs a package that is not installed: npm install ${missing}`)
  })
}

const { engines }: { readonly engines: { readonly node: string } } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8")
)
const least = engines.node.replace(">=", "")
const own = process.versions.node
if (own.localeCompare(least, undefined, { numeric: true }) < 0) {
  refuse(`The holdfast command needs Node ${least} or newer; this is ${own}.`)
} else void start()
