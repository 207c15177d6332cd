/** Errors rebuilt from `test/data/errors`, as its README says. */
import { readFileSync } from "node:fs"

export interface Shape {
  readonly id: string
  readonly kind: string
  readonly error: { readonly [key: string]: unknown }
  readonly expectedCategory: string
  readonly accept: ReadonlyArray<string>
  readonly retryable: boolean | null
  readonly tags?: ReadonlyArray<string>
}

export const shapes: ReadonlyArray<Shape> = readFileSync(new URL("./data/errors/errors.jsonl", import.meta.url), "utf8")
  .trim().split("\n").map((line): Shape => JSON.parse(line))
