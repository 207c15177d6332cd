import { assert, it } from "@effect/vitest"
import { CircuitCore, type CircuitSettings, REFUSED } from "../../src/internal/circuitCore.ts"
import { type CircuitRules, initial } from "../../src/internal/circuitState.ts"
import { CircuitModel, type Outcome, rules } from "./circuitModel.ts"
import { seeded } from "./seeded.ts"

const start = 1_000_000
const windowSize = 4
const bucketMillis = 25

const settingsOf = (own?: Partial<CircuitRules>): CircuitSettings => ({
  rules: { ...rules, ...own },
  windowSize,
  bucketMillis,
  ofCalls: false,
  initial: initial(start),
  random: () => 0
})

/** The circuit and the model side by side; whatever is done to one is done to the other. */
class Pair {
  now = start
  readonly core: CircuitCore
  readonly model: CircuitModel
  readonly settings: CircuitSettings
  private readonly calls: Array<{ token: number; period: Exclude<ReturnType<CircuitModel["admit"]>, undefined> }> = []
  /** Settles as a call does whose latency nobody asks for, where it may. */
  private readonly quick: boolean
  private latest = start

  constructor(own?: Partial<CircuitRules>, quick = false) {
    this.quick = quick
    this.settings = settingsOf(own)
    this.core = new CircuitCore(this.settings, "a", start)
    this.model = new CircuitModel(this.settings.rules, windowSize, bucketMillis, start)
  }

  get running(): number {
    return this.calls.length
  }

  admit(): void {
    const token = this.core.admit(this.now)
    const period = this.model.admit(this.now)
    if ((token !== REFUSED) !== (period !== undefined)) throw new Error(`admitted: ${token !== REFUSED}`)
    if (period !== undefined) this.calls.push({ token, period })
  }

  settle(index: number, outcome: Outcome, latency: number, hint = 0): void {
    const [{ period, token }] = this.calls.splice(index, 1) as [(typeof this.calls)[number]]
    const plain = latency === 0 && hint === 0 && outcome !== "Ignored" && token === this.core.era
    // A little behind the last true look, a rough one is not taken for a clock set back.
    this.latest = Math.max(this.latest, this.now)
    if (this.quick && plain && this.now === this.latest) this.settleQuickly(token, outcome)
    else this.core.settle(token, outcome, latency, this.now, hint)
    this.model.settle(period, outcome, latency, this.now, hint)
  }

  private settleQuickly(token: number, outcome: "Success" | "Failure"): void {
    if (outcome === "Success") return this.core.succeeded(this.now)
    const reason = this.core.failed(this.now)
    if (reason !== undefined) this.core.trip(token, reason, this.now)
  }

  interrupt(index: number): void {
    const [{ period, token }] = this.calls.splice(index, 1) as [(typeof this.calls)[number]]
    this.core.release(token, this.now)
    this.model.interrupt(period, this.now)
  }

  compare(): void {
    const { core, model, now } = this
    const { late, trips } = core.counters
    const wait = core.peek(now)
    const expected = model.wait(now)
    // Comparing objects a million times takes most of the time.
    if (core.current._tag === model.state && wait === expected && late === model.late && trips === model.trips) return
    assert.deepStrictEqual(
      { state: core.current._tag, wait, late, trips },
      { state: model.state, wait: expected, late: model.late, trips: model.trips }
    )
  }
}

type Operation = "admit" | "success" | "failure" | "slow" | "last success" | "interrupt" | "short" | "long"
const operations: ReadonlyArray<Operation> = [
  "admit",
  "success",
  "failure",
  "slow",
  "last success",
  "interrupt",
  "short",
  "long"
]

/** False where the operation has nothing to act on, or does what another one does. */
const possible = (operation: Operation, pair: Pair): boolean =>
  operation === "admit" || operation === "short" || operation === "long" ||
  pair.running > (operation === "last success" ? 1 : 0)

const perform = (operation: Operation, pair: Pair): void => {
  switch (operation) {
    case "admit":
      return pair.admit()
    case "success":
      return pair.settle(0, "Success", 0)
    case "failure":
      return pair.settle(0, "Failure", 0)
    case "slow":
      return pair.settle(0, "Success", 100)
    case "last success":
      return pair.settle(pair.running - 1, "Success", 0)
    case "interrupt":
      return pair.interrupt(0)
    case "short":
      pair.now += 50
      return
    case "long":
      pair.now += 100
      return
  }
}

/** Every sequence of operations up to a length, each from a fresh pair. */
const everySequence = (length: number, own: Partial<CircuitRules>, quick: boolean): number => {
  let checked = 0
  const go = (path: ReadonlyArray<Operation>): void => {
    const pair = new Pair(own, quick)
    for (const operation of path) perform(operation, pair)
    try {
      pair.compare()
    } catch (error) {
      throw new Error(`after ${path.join(", ")}: ${String(error)}`, { cause: error })
    }
    checked++
    if (path.length === length) return
    for (const operation of operations) if (possible(operation, pair)) go([...path, operation])
  }
  go([])
  return checked
}

const bounds: ReadonlyArray<readonly [string, Partial<CircuitRules>, quick: boolean]> = [
  ["one failure opens, two successes close", { failureThreshold: 1 }, false],
  ["one failed probe opens again", { failureThreshold: 1, probeFailureThreshold: 1 }, true],
  ["two probes at once", { failureThreshold: 1, maxProbes: 2 }, true],
  ["two in a row, or half of two", { failureThreshold: 2, minimumThroughput: 2 }, true],
  ["the same by whole settlements", { failureThreshold: 2, minimumThroughput: 2 }, false],
  ["slow calls alone", { failureThreshold: Infinity, failureRate: Infinity, minimumThroughput: 1 }, false]
]
it.each(bounds)("agrees with the model on every sequence of up to 7 operations: %s", (_, own, quick) => {
  assert.isAbove(everySequence(7, own, quick), 50_000)
})

it("agrees with the model on long random sequences with many calls at once", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const pair = new Pair({
      failureThreshold: random.pick([2, 5, Infinity]),
      failureRate: random.pick([0.3, 0.5, 1, Infinity]),
      failureCount: random.pick([6, Infinity, Infinity]),
      minimumThroughput: 1 + random.int(8),
      consecutiveMinimum: random.pick([0, 4]),
      slowCallRate: random.pick([0.5, 1, Infinity]),
      maxProbes: 1 + random.int(3),
      successThreshold: 1 + random.int(3),
      probeFailureThreshold: 1 + random.int(3),
      recoveryMultiplier: random.pick([1, 2, 3])
    }, seed % 2 === 0)
    // Healthy and bad spells, so that every state is reached.
    let health = random.next()
    try {
      for (let step = 0; step < 400; step++) {
        if (random.int(60) === 0) health = random.next()
        const kind = random.int(100)
        if (kind < 40) pair.admit()
        else if (kind < 75) {
          if (pair.running > 0) {
            const outcome = random.next() < health ? "Success" : random.pick(["Failure", "Failure", "Ignored"] as const)
            const hint = random.int(80) === 0 ? random.int(1_000) : 0
            pair.settle(random.int(pair.running), outcome, random.int(5) === 0 ? 100 : 0, hint)
          }
        } else if (kind < 80) {
          if (pair.running > 0) pair.interrupt(random.int(pair.running))
        } else if (kind < 94) pair.now += random.int(40)
        else if (kind < 96) pair.now += random.int(1_000)
        else if (kind < 97) pair.now -= random.int(500)
        else if (kind < 98) {
          const until = pair.now + random.int(300)
          pair.core.holdUntil(until, pair.now)
          pair.model.hold(until, pair.now)
        } else if (random.int(4) === 0) {
          const command = random.pick(["ForceOpen", "ForceClose", "Disable", "Enable", "Enable"] as const)
          pair.core.command(command, pair.now)
          pair.model.command(command, pair.now)
        }
        pair.compare()
      }
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    }
  }
})

it("a circuit that closed again takes calls at once, one that was retired never does", () => {
  const core = new CircuitCore(settingsOf(), "a", start)
  const reopened = (): number => {
    core.command("ForceOpen", start)
    core.command("ForceClose", start)
    return core.era
  }
  assert.strictEqual(reopened(), core.admit(start))
  assert.isAtLeast(core.era, 0)
  core.retire()
  assert.strictEqual(reopened(), -1)
})
