import { assert, it } from "@effect/vitest"
import { SlidingWindow } from "../../src/internal/slidingWindow.ts"
import { seeded } from "./seeded.ts"

/** Every call with its bucket; a clock set back takes all of them along. */
const bruteForce = (size: number, start: number) => {
  let current = start
  let calls: Array<{ bucket: number; failure: number; slow: number }> = []
  const moveTo = (bucket: number) => {
    const back = current - bucket
    if (back > 0) calls = calls.map((call) => ({ ...call, bucket: call.bucket - back }))
    current = bucket
  }
  return {
    moveTo,
    record: (bucket: number, failure: number, slow: number) => {
      moveTo(bucket)
      calls.push({ bucket, failure, slow })
    },
    counts: () => {
      const held = calls.filter((call) => call.bucket > current - size)
      return {
        total: held.length,
        failures: held.reduce((sum, call) => sum + call.failure, 0),
        slow: held.reduce((sum, call) => sum + call.slow, 0)
      }
    }
  }
}

const countsOf = ({ failures, slow, total }: SlidingWindow) => ({ total, failures, slow })

it("holds what brute force holds, whatever the clock does", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed)
    const size = 1 + random.int(12)
    const start = random.int(100)
    const window = new SlidingWindow(size, start)
    const model = bruteForce(size, start)
    let bucket = start
    for (let step = 0; step < 200; step++) {
      const kind = random.int(20)
      if (kind === 0) bucket -= random.int(2 * size)
      else if (kind < 8) bucket += random.int(3)
      else if (kind === 8) bucket += random.int(3 * size)
      if (random.int(5) === 0) {
        window.advance(bucket)
        model.moveTo(bucket)
      } else {
        const [failure, slow] = [random.int(3) === 0 ? 1 : 0, random.int(4) === 0 ? 1 : 0]
        window.record(bucket, failure, slow)
        model.record(bucket, failure, slow)
      }
      assert.deepStrictEqual(countsOf(window), model.counts(), `seed ${seed}, step ${step}`)
    }
  }
})

it("forgets everything after an idle spell as long as the window", () => {
  const window = new SlidingWindow(10, 0)
  window.record(0, 1, 1)
  window.advance(9)
  assert.deepStrictEqual(countsOf(window), { total: 1, failures: 1, slow: 1 })
  window.advance(10)
  assert.deepStrictEqual(countsOf(window), { total: 0, failures: 0, slow: 0 })
  window.record(1_000_000, 1, 0)
  assert.deepStrictEqual(countsOf(window), { total: 1, failures: 1, slow: 0 })
})

it("a window of one bucket holds that bucket alone", () => {
  const window = new SlidingWindow(1, 0)
  window.record(0, 1, 0)
  window.record(0, 0, 0)
  window.record(1, 0, 0)
  assert.deepStrictEqual(countsOf(window), { total: 1, failures: 0, slow: 0 })
})

it("is the same window after its buckets were taken out and put back", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seeded(seed)
    const size = 1 + random.int(10)
    const window = new SlidingWindow(size, 0)
    let bucket = 0
    for (let step = 0; step < 30; step++) window.record(bucket += random.int(3), random.int(2), random.int(2))
    const copy = SlidingWindow.from(size, bucket, window.buckets())
    for (let step = 0; step < 30; step++) {
      assert.deepStrictEqual(countsOf(copy), countsOf(window), `seed ${seed}, step ${step}`)
      bucket += random.int(3)
      copy.record(bucket, 1, 0)
      window.record(bucket, 1, 0)
    }
  }
})
