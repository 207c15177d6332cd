import { assert, it } from "@effect/vitest"
import { WindowedCounts, windowStart } from "../../src/internal/windowedCounts.ts"
import { seeded } from "./seeded.ts"

const minute = 60_000
const fields = 5

/** Everything that was counted, with its minute. A clock that goes back counts to the newest minute. */
const bruteForce = () => {
  let newest = -1
  let kept: Array<{ readonly minute: number; readonly field: number; readonly amount: number }> = []
  const ever = new Float64Array(fields)
  return {
    add: (field: number, amount: number, now: number) => {
      newest = Math.max(newest, Math.floor(now / minute))
      kept.push({ minute: newest, field, amount })
      ever[field]! += amount
    },
    reset: () => {
      kept = []
    },
    ever,
    between: (from: number, to: number) => {
      const row = new Float64Array(fields)
      for (const it of kept) if (it.minute >= from && it.minute <= to) row[it.field]! += it.amount
      return row
    }
  }
}

const rowOf = (read: (row: Float64Array) => void): ReadonlyArray<number> => {
  const row = new Float64Array(fields)
  read(row)
  return [...row]
}

it("holds what a list of everything holds, in every window, whatever the clock does", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed)
    const counts = new WindowedCounts(fields)
    const model = bruteForce()
    let now = random.int(3) === 0 ? 0 : 1_764_000_000_000 + random.int(86_400_000)
    let newest = now
    for (let step = 0; step < 120; step++) {
      switch (random.int(12)) {
        case 0:
          now += random.int(30 * 60) * minute
          break
        case 1:
          now = Math.max(0, now - random.int(10) * minute)
          break
        case 2:
          if (random.int(4) === 0) {
            counts.reset()
            model.reset()
          }
          break
        case 3:
        case 4:
        case 5:
          now += random.int(4 * minute)
          break
        default: {
          // From one to more than 32 bits hold.
          const amount = 1 + random.int(2 ** (1 + random.int(30))) * (1 + random.int(2_000))
          const field = random.int(fields)
          counts.add(field, amount, now)
          model.add(field, amount, now)
        }
      }
      // What is a day older than the newest is gone, whatever the clock says afterwards.
      newest = Math.max(newest, now)
      for (const range of [1, 1 + random.int(60), 60, 61, 60 + random.int(1_380), 1_440, 10_000]) {
        const from = windowStart(newest, range * minute)
        assert.deepStrictEqual(
          rowOf((row) => counts.addSince(from, row)),
          [...model.between(Math.floor(from / minute), Infinity)],
          `seed ${seed}, step ${step}, ${range} minutes`
        )
      }
      const one = Math.floor(newest / minute) - random.int(60)
      assert.deepStrictEqual(
        rowOf((row) => counts.addMinute(one * minute, row)),
        [...model.between(one, one)],
        `seed ${seed}, step ${step}, minute ${one}`
      )
      assert.deepStrictEqual(rowOf((row) => counts.addLifetime(row)), [...model.ever])
    }
  }
})

it("takes a day and the third of an hour in which it began, and no more", () => {
  const counts = new WindowedCounts(1)
  for (let at = 0; at < 40 * 60; at++) counts.add(0, 1, at * minute)
  const row = new Float64Array(1)
  counts.addSince(windowStart((40 * 60 - 1) * minute, 86_400_000), row)
  assert.strictEqual(row[0], 24 * 60 + 20)
  const all = new Float64Array(1)
  counts.addSince(0, all)
  assert.isAtMost(all[0]!, 24 * 60 + 20 + 20)
})
