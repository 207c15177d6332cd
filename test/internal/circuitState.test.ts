import { assert, it } from "@effect/vitest"
import {
  admittedShare,
  type Event,
  initial,
  LATE,
  REFUSED,
  type State,
  transition,
  tripReason,
  UNCOUNTED,
  wait
} from "../../src/internal/circuitState.ts"
import { rules } from "./circuitModel.ts"
import { seeded } from "./seeded.ts"

const settle = (token: number, outcome: "Success" | "Failure" | "Ignored", own?: Partial<Event & { _tag: "Settle" }>) =>
  ({ _tag: "Settle", token, outcome, trip: undefined, openForMillis: 0, ...own }) satisfies Event
const admit: Event = { _tag: "Admit" }

/** Plays events, each at its time, and gives the last answer and state. */
const play = (...steps: ReadonlyArray<readonly [now: number, event: Event]>): readonly [number, State] => {
  let answer = 0
  let state: State = initial(0)
  for (const [now, event] of steps) [answer, state] = transition(state, event, now, rules, 0)
  return [answer, state]
}
const trip = settle(0, "Failure", { trip: "FailureRate" })

it("closed, a call gets the period's number; tripped, calls are refused until the time is over", () => {
  assert.strictEqual(play([0, admit])[0], 0)
  const [, open] = play([10, trip])
  assert.deepInclude(open, { _tag: "Open", since: 10, until: 110, openings: 1 })
  assert.strictEqual(transition(open, admit, 109, rules, 0)[0], REFUSED)
  assert.isAbove(transition(open, admit, 110, rules, 0)[0], 0)
})

it("a probe's number is its own: neither the old period's nor another probe's counts for it", () => {
  const [token, half] = play([10, trip], [110, admit])
  assert.strictEqual(half._tag, "HalfOpen")
  for (const late of [0, token - 1, token + 1]) {
    assert.deepStrictEqual(transition(half, settle(late, "Success"), 111, rules, 0), [LATE, half])
  }
  assert.deepInclude(transition(half, settle(token, "Success"), 111, rules, 0)[1], { successes: 1, probes: [] })
})

it("an open time is shortened by chance to no less than half, and a hint only lengthens it, within bounds", () => {
  const until = (random: number, openForMillis: number) =>
    transition(initial(0), settle(0, "Failure", { openForMillis }), 0, { ...rules, jitter: true }, random)[1]
  assert.deepInclude(until(0, 1), { until: 100 })
  assert.deepInclude(until(0.999_999, 1), { until: 51 })
  assert.deepInclude(until(0.5, 300), { until: 300 })
  assert.deepInclude(until(0.5, Infinity), { until: rules.maxHintMillis })
})

it("disabled, everybody passes uncounted; forced open, nobody, for ever", () => {
  const [, disabled] = play([0, { _tag: "Disable" }])
  assert.strictEqual(transition(disabled, admit, 1, rules, 0)[0], UNCOUNTED)
  const [, forced] = play([0, { _tag: "ForceOpen" }])
  assert.strictEqual(transition(forced, admit, 1e12, rules, 0)[0], REFUSED)
  assert.strictEqual(wait(forced, 1e12, rules), Infinity)
})

it("each trigger names itself, at its threshold and not below", () => {
  const counts = (total: number, failures: number, slow = 0) => ({ total, failures, slow })
  assert.strictEqual(tripReason(counts(3, 3), 3, rules), "ConsecutiveFailures")
  assert.strictEqual(tripReason(counts(3, 2), 2, rules), undefined)
  assert.strictEqual(tripReason(counts(4, 2), 1, rules), "FailureRate")
  assert.strictEqual(tripReason(counts(5, 2), 1, rules), undefined)
  assert.strictEqual(tripReason(counts(4, 1, 3), 1, rules), "SlowCallRate")
  assert.strictEqual(tripReason(counts(4, 1, 2), 1, rules), undefined)
  assert.strictEqual(tripReason(counts(100, 7), 1, { ...rules, failureCount: 7 }), "FailureCount")
  assert.strictEqual(tripReason(counts(30, 3), 1, { ...rules, failureRate: 0.1 }), "FailureRate")
})

it("the ramp climbs in a straight line from a tenth to all", () => {
  const closed = { ...initial(0), rampUntil: 1_000 }
  const share = (now: number) => admittedShare(closed, { total: 0, failures: 0 }, now, { ...rules, rampMillis: 1_000 })
  assert.deepStrictEqual([0, 500, 1_000, 2_000].map(share), [0.1, 0.55, 1, 1])
})

const frozen = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) { for (const part of Object.values(value)) frozen(part) }
  return Object.freeze(value)
}

it("is pure and total: it changes no state it is given, repeats itself, and numbers never go back", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed)
    const own = { ...rules, jitter: random.int(2) === 0, maxProbes: 1 + random.int(3), rampMillis: random.int(100) }
    let state: State = frozen(initial(0))
    let now = 0
    for (let step = 0; step < 100; step++) {
      now += random.int(10) === 0 ? -random.int(100) : random.int(60)
      const token = Math.max(0, state.generation - random.int(3))
      const event = frozen(random.pick<Event>([
        admit,
        admit,
        settle(token, random.pick(["Success", "Failure", "Ignored"])),
        settle(token, "Failure", { trip: "ConsecutiveFailures" }),
        settle(token, "Ignored", { openForMillis: random.int(200) }),
        { _tag: "Release", token },
        { _tag: "Hold", until: now + random.int(100) },
        { _tag: random.pick(["Tick", "Tick", "ForceOpen", "ForceClose", "Disable", "Enable", "Enable"]) }
      ]))
      const chance = random.next()
      const result = transition(state, event, now, own, chance)
      assert.deepStrictEqual(transition(state, event, now, own, chance), result, `seed ${seed}`)
      const [, next, reason] = result
      assert.isAtLeast(next.generation, state.generation, `seed ${seed}`)
      assert.isAtLeast(wait(next, now, own), 0, `seed ${seed}`)
      if (next._tag !== state._tag) assert.isDefined(reason, `seed ${seed}`)
      if (next._tag === "HalfOpen") assert.isAtMost(next.probes.length, own.maxProbes, `seed ${seed}`)
      state = frozen(next)
    }
  }
})
