import { assert, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { arm, disarm, type Timer } from "../../src/internal/deadlineTimer.ts"

/** Real timers: what is asserted is their order and that none is early, never how late they are. */
const withTimers = (
  body: (set: (millis: number, fire?: () => void) => Timer, wait: (millis: number) => Promise<void>) => Promise<void>
) =>
  Effect.flatMap(Effect.fiber, (fiber) => {
    const set = (millis: number, fire = () => {}): Timer => {
      // A duration that comes for the second time has a queue.
      disarm(arm(fiber, millis, () => {}))
      return arm(fiber, millis, fire)!
    }
    return Effect.promise(() => body(set, (millis) => new Promise((resolve) => void set(millis, resolve))))
  })

const holding = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length

it.live("timers of one duration, set apart, fire apart, and none is early", () =>
  withTimers(async (set, wait) => {
    const started = performance.now()
    const fired: Array<readonly [string, number]> = []
    const note = (name: string, due: number) => () => void fired.push([name, performance.now() - started - due])
    set(40, note("a", 40))
    await wait(15)
    const due = performance.now() - started + 40
    set(40, note("b", due))
    const gone = set(40, note("gone", due))
    disarm(gone)
    disarm(gone)
    await wait(40)
    assert.deepStrictEqual(fired.map(([name]) => name), ["a", "b"])
    for (const [, late] of fired) assert.isAtLeast(late, -1)
  }))

it.live("a queue that ran empty works again, and holds the process only while something is set", () =>
  withTimers(async (set, wait) => {
    const before = holding()
    const first = set(33)
    assert.strictEqual(holding(), before + 1)
    disarm(first)
    assert.strictEqual(holding(), before)
    // The native timer is still there, and counts again for the second.
    let fired = 0
    const second = set(33, () => fired++)
    assert.strictEqual(holding(), before + 1)
    await wait(33)
    assert.strictEqual(fired, 1)
    disarm(second)
    set(33, () => fired++)
    await wait(33)
    assert.strictEqual(fired, 2)
  }))

it.live("what is removed from the middle, the head and the tail is gone, the rest stays in order", () =>
  withTimers(async (set, wait) => {
    const fired: Array<number> = []
    const timers = [0, 1, 2, 3, 4, 5].map((i) => set(21, () => void fired.push(i)))
    for (const i of [2, 0, 5]) disarm(timers[i])
    await wait(21)
    assert.deepStrictEqual(fired, [1, 3, 4])
    // A second removal must not bring back what stood behind.
    const [one, other] = [set(21, () => void fired.push(6)), set(21, () => void fired.push(7))]
    for (const timer of [one, other, one]) disarm(timer)
    await wait(21)
    assert.deepStrictEqual(fired, [1, 3, 4])
  }))

it.live("a timer may set another of its duration when it fires", () =>
  withTimers((set) =>
    new Promise((resolve) => {
      let fired = 0
      const again = (): void => {
        fired++
        if (fired < 3) set(5, again)
        else resolve()
      }
      set(5, again)
    })
  ))

it.live("fake timers of a test leave no queue behind that never fires", () =>
  withTimers(async (set, wait) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
    let fired = 0
    set(27, () => fired++)
    vi.advanceTimersByTime(27)
    set(27)
    vi.useRealTimers()
    await wait(27)
    assert.strictEqual(fired, 1)
  }))

it.live("durations that are no whole number, or too many to queue, are timed too", () =>
  withTimers(async (set, wait) => {
    let fired = 0
    set(1.5, () => fired++)
    const timers = Array.from({ length: 100 }, (_, i) => set(50_000 + i, () => fired++))
    await wait(3)
    for (const timer of timers) disarm(timer)
    assert.strictEqual(fired, 1)
  }))

it.effect("another clock than the live one is asked to sleep, and longer than a native timer can count", () =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fiber
    const fired: Array<string> = []
    const days = 60 * 24 * 3_600_000
    arm(fiber, days, () => void fired.push("days"))
    const gone = arm(fiber, 1000, () => void fired.push("gone"))
    disarm(gone)
    assert.isUndefined(arm(fiber, Infinity, () => void fired.push("never")))
    yield* TestClock.adjust(days - 1)
    assert.deepStrictEqual(fired, [])
    yield* TestClock.adjust(1)
    assert.deepStrictEqual(fired, ["days"])
  }))

it.live("on the live clock, too, a duration that a native timer cannot count does not fire at once", () =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fiber
    let fired = false
    const timer = arm(fiber, 2 ** 31, () => void (fired = true))
    yield* Effect.sleep("5 millis")
    disarm(timer)
    assert.isFalse(fired)
  }))
