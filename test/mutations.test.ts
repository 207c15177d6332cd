import { assert, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { mutations, placed } from "./mutations.ts"

const root = join(import.meta.dirname, "..")

// Whether they are found is tried by `npm run mutations`.
it.each(mutations)("there is one place for the bug that $bug, and the tests that find it", (mutation) => {
  const text = readFileSync(join(root, mutation.file), "utf8")
  assert.isDefined(placed(text, mutation))
  assert.notStrictEqual(placed(text, mutation), text)
  for (const test of mutation.tests) assert.isTrue(existsSync(join(root, test)), test)
})
