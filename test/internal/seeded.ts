/** Chance for tests: the same numbers for the same seed, and plain integers from it. */
import { chance } from "../../src/internal/circuitOptions.ts"

export const seeded = (seed: number) => {
  const next = chance(seed)
  return {
    /** From 0 to below 1. */
    next,
    /** A whole number from 0 to below `below`. */
    int: (below: number): number => Math.floor(next() * below),
    /** One of them. */
    pick: <A>(items: ReadonlyArray<A>): A => items[Math.floor(next() * items.length)]!
  }
}
