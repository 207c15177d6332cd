/**
 * Chooses among targets, free of effects: a call is admitted to a target and released when it ends; its outcome is learnt
 * from unless it was interrupted. Time is passed in, as epoch milliseconds.
 */
import { Hash } from "effect"
import type { BreakerVerdict } from "../ProviderError.ts"
import { draw } from "./draw.ts"

/** How a target is chosen among those that may be used. */
export type Algorithm = "round-robin" | "least-loaded" | "peak-ewma" | "consistent"

export interface BalancerTarget {
  readonly name: string
  readonly weight: number
  /** Milliseconds until the target would take a call; 0 for now. */
  readonly availability: ((now: number) => number) | undefined
}

export interface BalancerSettings {
  readonly algorithm: Algorithm
  /** With a greater share of the targets out, all are used; `Infinity` for never. */
  readonly panicShare: number
  readonly slowStartMillis: number
  /** In this time what was seen of a target fades to 37 %. */
  readonly decayMillis: number
  /** From 0 to below 1. */
  readonly random: () => number
}

/** No target may be used. */
export const NONE = -1

/** What is known of a target. */
export interface TargetState {
  readonly target: BalancerTarget
  inFlight: number
  /** Calls admitted so far. */
  admitted: number
  /** Whether it was out when last looked at, and since when it is back. */
  out: boolean
  backAt: number
  /** Milliseconds until it takes a call, as of the last look. */
  wait: number
  /** Its share of the calls now: the weight, less while it starts slowly. */
  weight: number
  /** What smooth round robin owes it, in weights. */
  owed: number
  /** Peak-sensitive average of the latency, and the share of failures, as of `seenAt`. */
  latency: number
  failing: number
  seenAt: number
  readonly hash: number
}

/** A target that came back begins with this share of its weight. */
const leastShare = 0.1
/** How far one outcome moves the share of failures. */
const failureStep = 0.3
/** A target that fails every call looks as if so many more calls were running there, or as if it were so much slower. */
const failingCalls = 10
const failingMillis = 1_000

export class BalancerCore {
  readonly settings: BalancerSettings
  readonly targets: ReadonlyArray<TargetState>
  /** Whether more than the allowed share was out when last looked at. */
  panicking = false
  /** Those that may be chosen, by the last look; made once, since every call fills it. */
  readonly #usable: Array<number> = []

  constructor(settings: BalancerSettings, targets: ReadonlyArray<BalancerTarget>) {
    this.settings = settings
    this.targets = targets.map((target) => ({
      target,
      inFlight: 0,
      admitted: 0,
      out: false,
      backAt: -Infinity,
      wait: 0,
      weight: target.weight,
      owed: 0,
      latency: 0,
      failing: 0,
      seenAt: -Infinity,
      hash: Hash.string(target.name)
    }))
    if (settings.algorithm === "round-robin") {
      // Processes that start together would all begin with the first target.
      this.#usable = this.targets.map((_, index) => index)
      for (let skip = Math.floor(settings.random() * 8 * targets.length); skip > 0; skip--) this.#roundRobin()
    }
  }

  /** The target of the next call, as its index, or `NONE`. To be released when it ends. */
  admit(now: number, key?: string): number {
    this.look(now)
    const index = this.#choose(now, key)
    if (index !== NONE) this.begin(index)
    return index
  }

  /** A call to this target begins, chosen by whomever. */
  begin(index: number): void {
    const state = this.targets[index]!
    state.inFlight++
    state.admitted++
  }

  /** A call to this target ended. */
  release(index: number): void {
    this.targets[index]!.inFlight--
  }

  /** Takes a call's outcome. One that is ignored says nothing of the target, its latency neither. */
  learn(index: number, outcome: BreakerVerdict, latencyMillis: number, now: number): void {
    if (outcome === "Ignored") return
    const state = this.targets[index]!
    const kept = this.#kept(state, now)
    // A rise counts at once, a fall slowly.
    const latency = state.latency * kept
    state.latency = latencyMillis >= latency ? latencyMillis : latency + (latencyMillis - latency) * (1 - kept)
    const failing = state.failing * kept
    state.failing = failing + ((outcome === "Failure" ? 1 : 0) - failing) * failureStep
    state.seenAt = Math.max(state.seenAt, now)
  }

  /**
   * Every target's index: the one that `admit` would give, then those that are in, least loaded first, then those that are
   * out, in panic too, soonest back first. Admits nothing.
   */
  order(now: number, key?: string): Array<number> {
    this.look(now)
    const first = this.#choose(now, key)
    const rank = (index: number): number => index === first ? 0 : this.targets[index]!.out ? 2 : 1
    const cost = (index: number): number => rank(index) === 2 ? this.targets[index]!.wait : this.#cost(index, now)
    return this.targets
      .map((_, index) => index)
      .sort((a, b) => rank(a) - rank(b) || cost(a) - cost(b))
  }

  /** Milliseconds until some target takes a call, as of the last look. */
  get soonest(): number {
    return Math.min(...this.targets.map(({ wait }) => wait))
  }

  /** Asks every target whether it takes calls. */
  look(now: number): void {
    const { panicShare, slowStartMillis } = this.settings
    const usable = this.#usable
    usable.length = 0
    for (let index = 0; index < this.targets.length; index++) {
      const state = this.targets[index]!
      const { availability, weight } = state.target
      state.wait = availability === undefined ? 0 : availability(now)
      const out = state.wait > 0
      if (state.out && !out) {
        state.backAt = now
        state.owed = 0
      }
      state.out = out
      const age = now - state.backAt
      // On a clock that was set back nobody knows how long the target is back.
      state.weight = age >= 0 && age < slowStartMillis ? weight * Math.max(leastShare, age / slowStartMillis) : weight
      if (!out) usable.push(index)
    }
    const outs = this.targets.length - usable.length
    this.panicking = outs > 0 && panicShare !== Infinity &&
      (outs === this.targets.length || outs / this.targets.length > panicShare)
    if (!this.panicking) return
    usable.length = 0
    for (let index = 0; index < this.targets.length; index++) usable.push(index)
  }

  #choose(now: number, key: string | undefined): number {
    if (this.#usable.length <= 1) return this.#usable[0] ?? NONE
    switch (this.settings.algorithm) {
      case "round-robin":
        return this.#roundRobin()
      case "least-loaded":
      case "peak-ewma":
        return this.#twoChoices(now)
      case "consistent":
        return key === undefined ? this.#twoChoices(now) : this.#consistent(key)
    }
  }

  /** Smooth weighted round robin: who is owed most is next and pays the round, so that nobody comes twice in a row needlessly. */
  #roundRobin(): number {
    let round = 0
    let chosen = NONE
    for (const index of this.#usable) {
      const state = this.targets[index]!
      state.owed += state.weight
      round += state.weight
      // A rounding error does not decide between equals.
      if (chosen === NONE || state.owed > this.targets[chosen]!.owed + 1e-9) chosen = index
    }
    if (chosen !== NONE) this.targets[chosen]!.owed -= round
    return chosen
  }

  /** The better of two drawn by weight: nearly as good as the best of all, and no herd runs to the same one. */
  #twoChoices(now: number): number {
    const one = this.#drawn(NONE)
    const two = this.#drawn(one)
    return this.#cost(two, now) < this.#cost(one, now) ? two : one
  }

  #drawn(not: number): number {
    let total = 0
    for (const index of this.#usable) if (index !== not) total += this.targets[index]!.weight
    let left = this.settings.random() * total
    let chosen = NONE
    for (const index of this.#usable) {
      if (index === not) continue
      chosen = index
      left -= this.targets[index]!.weight
      if (left < 0) break
    }
    return chosen
  }

  #cost(index: number, now: number): number {
    const state = this.targets[index]!
    const kept = this.#kept(state, now)
    const failing = state.failing * kept
    return this.settings.algorithm === "peak-ewma"
      // Of a target that was not timed lately nobody knows: the call is a question, and one at a time is enough.
      ? (kept < 0.01 && state.inFlight > 0
        ? (failingMillis + state.inFlight) / state.weight
        : (state.latency * kept + failing * failingMillis) * (state.inFlight + 1) / state.weight)
      : (state.inFlight + failing * failingCalls) / state.weight
  }

  /**
   * Weighted rendezvous hashing: every target draws for the key, the best draw has it; when a target goes or comes, only
   * its own keys move. Effect's `HashRing` would do, but with ten equal targets one got 1 % and another 466 % of its fair
   * share of 100,000 keys, where this gave 99 to 101 %; and a ring would be built anew whenever a target goes out.
   */
  #consistent(key: string): number {
    const hash = Hash.string(key)
    let chosen = NONE
    let best = -Infinity
    for (const index of this.#usable) {
      const state = this.targets[index]!
      const score = Math.log(draw(state.hash, hash, 0)) / state.weight
      if (score > best || chosen === NONE) {
        best = score
        chosen = index
      }
    }
    return chosen
  }

  /** How much of what was seen at `seenAt` still counts. */
  #kept(state: TargetState, now: number): number {
    return state.seenAt === -Infinity ? 0 : Math.exp(-Math.max(0, now - state.seenAt) / this.settings.decayMillis)
  }
}
