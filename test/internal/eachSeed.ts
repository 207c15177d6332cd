import { seeded } from "./seeded.ts"

/** Tries many seeds. One that fails says which: `PROPERTY_SEED` begins with it. */
export const eachSeed = (count: number, trial: (chance: ReturnType<typeof seeded>) => void): void => {
  const first = Number(process.env["PROPERTY_SEED"] ?? 0)
  for (let seed = first; seed < first + count; seed++) {
    try {
      trial(seeded(seed))
    } catch (cause) {
      throw new Error(`PROPERTY_SEED=${seed} replays it: ${String(cause)}`, { cause })
    }
  }
}
