import { assert, it } from "@effect/vitest"
import {
  checked,
  effective,
  initial,
  type Level,
  levelOf,
  levelOfProviders,
  levels,
  type LevelState,
  maxReasons,
  moved,
  rankOf
} from "../../src/internal/levelState.ts"
import { eachSeed } from "./eachSeed.ts"

const settings = { badChecks: 2, spacingMillis: 5000, dwellMillis: 30_000 }

const run = (checks: ReadonlyArray<readonly [at: number, target: typeof levels[number]]>): LevelState =>
  checks.reduce((state, [at, target]) => checked(state, target, "why", at, settings), initial(0))

it("ranks go from 0 for Full to 4 for Emergency, and no further", () => {
  assert.deepStrictEqual(levels.map(rankOf), [0, 1, 2, 3, 4])
  assert.deepStrictEqual([-3, 0, 2.9, 4, 99, Number.NaN].map(levelOf), [
    "Full",
    "Full",
    "Basic",
    "Emergency",
    "Emergency",
    "Full"
  ])
})

it("one bad check moves nothing, two that are 5 seconds apart move it by one", () => {
  assert.strictEqual(run([[0, "Emergency"]]).level, "Full")
  assert.strictEqual(run([[0, "Emergency"], [4999, "Emergency"]]).level, "Full")
  assert.strictEqual(run([[0, "Emergency"], [4999, "Emergency"], [5000, "Emergency"]]).level, "Reduced")
})

it("a good check between two bad ones makes them count anew", () => {
  assert.strictEqual(run([[0, "Emergency"], [5000, "Full"], [10_000, "Emergency"]]).level, "Full")
})

it("it goes down quickly: a level every 5 seconds while checks call for worse", () => {
  const checks = [0, 5, 10, 15, 20, 25, 30].map((at) => [at * 1000, "Emergency"] as const)
  assert.deepStrictEqual(
    checks.map((_, index) => run(checks.slice(0, index + 1)).level),
    ["Full", "Reduced", "Basic", "Minimal", "Emergency", "Emergency", "Emergency"]
  )
})

it("even where one bad check is enough, the next that counts comes 5 seconds later", () => {
  const hasty = { ...settings, badChecks: 1 }
  const first = checked(initial(0), "Emergency", "", 0, hasty)
  assert.strictEqual(checked(first, "Emergency", "", 4999, hasty).level, "Reduced")
  assert.strictEqual(checked(first, "Emergency", "", 5000, hasty).level, "Basic")
})

it("it stops where the checks want it, and a single worse one then moves nothing", () => {
  const checks = [[0, "Reduced"], [5000, "Reduced"], [10_000, "Reduced"], [15_000, "Basic"]] as const
  assert.strictEqual(run(checks).level, "Reduced")
})

it("it goes up by one after 30 good seconds, and by the next after 30 more", () => {
  const down = [[0, "Emergency"], [5000, "Emergency"], [10_000, "Emergency"]] as const
  const good = (at: number) => [at, "Full"] as const
  assert.strictEqual(run([...down, good(15_000), good(44_999)]).level, "Basic")
  assert.strictEqual(run([...down, good(15_000), good(45_000)]).level, "Reduced")
  assert.strictEqual(run([...down, good(15_000), good(45_000), good(74_999)]).level, "Reduced")
  assert.strictEqual(run([...down, good(15_000), good(45_000), good(75_000)]).level, "Full")
})

it("a clock that is set back neither holds the level nor moves it sooner", () => {
  const hour = 3_600_000
  const back = (state: LevelState, ...checks: Parameters<typeof run>[0]): Level =>
    checks.reduce((state, [at, target]) => checked(state, target, "why", at, settings), state).level
  const bad = run([[hour, "Emergency"]])
  assert.strictEqual(back(bad, [0, "Emergency"], [4999, "Emergency"]), "Full")
  assert.strictEqual(back(bad, [0, "Emergency"], [5000, "Emergency"]), "Reduced")
  const low = moved(initial(hour), "Reduced", hour)
  assert.strictEqual(back(low, [0, "Full"], [29_999, "Full"]), "Reduced")
  assert.strictEqual(back(low, [0, "Full"], [30_000, "Full"]), "Full")
  // Good for 20 seconds when the clock is set back: 10 are left.
  const good = checked(checked(low, "Full", "", hour, settings), "Full", "", hour + 20_000, settings)
  assert.strictEqual(back(good, [0, "Full"], [9999, "Full"]), "Reduced")
  assert.strictEqual(back(good, [0, "Full"], [10_000, "Full"]), "Full")
  // A caller's move of no level takes note of the clock as well.
  assert.strictEqual(back(moved(bad, "Full", 0), [4999, "Emergency"]), "Full")
  assert.strictEqual(back(moved(bad, "Full", 0), [5000, "Emergency"]), "Reduced")
})

it("reasons are bounded, oldest first, and gone at Full", () => {
  let state = initial(0)
  for (let i = 0; i < 50; i++) state = moved(state, "Emergency", i, { at: i, reason: String(i), by: "Caller" })
  assert.strictEqual(state.reasons.length, maxReasons)
  assert.strictEqual(state.reasons.at(-1)?.reason, "49")
  assert.strictEqual(state.since, 0)
  assert.deepStrictEqual(moved(state, "Full", 60).reasons, [])
})

it("an override holds until its end, excluded", () => {
  const override = { level: "Basic", since: 0, until: 100, reason: "" } as const
  assert.strictEqual(effective(initial(0), override, 99), "Basic")
  assert.strictEqual(effective(initial(0), override, 100), "Full")
})

it("the table of providers", () => {
  const rows = [[true], [false], [true, true], [true, false], [false, true], [false, false], [false, true, false], [
    true,
    false,
    false
  ]]
  assert.deepStrictEqual(rows.map(levelOfProviders), [
    "Full",
    "Emergency",
    "Full",
    "Reduced",
    "Basic",
    "Emergency",
    "Minimal",
    "Reduced"
  ])
})

/** The rules told over the whole history instead of a state: slow, and plain to read. */
const byHistory = (
  history: ReadonlyArray<readonly [at: number, target: number]>
): ReadonlyArray<number> => {
  const ranks: Array<number> = []
  let rank = 0
  let since = 0
  // The checks that speak about the level as it is now.
  let recent: Array<readonly [at: number, target: number]> = []
  for (const check of history) {
    recent.push(check)
    const [now, target] = check
    const trailing = (says: (target: number) => boolean) =>
      recent.slice(recent.findLastIndex(([, target]) => !says(target)) + 1)
    const spaced: Array<number> = []
    for (const [at] of trailing((target) => target > rank)) {
      if (spaced.length === 0 || at - spaced.at(-1)! >= settings.spacingMillis) spaced.push(at)
    }
    const goods = trailing((target) => target < rank)
    if (target > rank && spaced.length >= settings.badChecks) {
      rank++
      since = now
      recent = target > rank ? [[spaced.at(-1)!, target]] : []
    } else if (target < rank && now - Math.max(since, goods[0]![0]) >= settings.dwellMillis) {
      rank--
      since = now
      recent = target < rank ? [check] : []
    }
    ranks.push(rank)
  }
  return ranks
}

it("does what its rules say over the whole history, and never flaps", () => {
  let moves = 0
  eachSeed(3000, (chance) => {
    const history: Array<readonly [at: number, target: number]> = []
    let now = 0
    let target = 0
    for (let i = 0; i < 60; i++) {
      now += chance.pick([1, 1000, 4999, 5000, 5000, 5000, 29_999, 30_000])
      if (chance.int(3) === 0) target = chance.int(5)
      history.push([now, target])
    }
    const expected = byHistory(history)
    let state = initial(0)
    let lastMove = -Infinity
    for (const [index, [at, target]] of history.entries()) {
      const before = state
      state = checked(state, levelOf(target), "", at, settings)
      // An assertion at each of so many steps would take most of the time.
      if (rankOf(state.level) !== expected[index]) assert.strictEqual(rankOf(state.level), expected[index])
      const step = rankOf(state.level) - rankOf(before.level)
      if (Math.abs(step) > 1) assert.fail(`moved by ${step}`)
      if (step !== 0) {
        moves++
        // Down no sooner than the spacing after any move, up no sooner than the dwell.
        assert.isAtLeast(at - lastMove, step > 0 ? settings.spacingMillis : settings.dwellMillis)
        lastMove = at
      }
    }
  })
  assert.isAbove(moves, 1000)
})
