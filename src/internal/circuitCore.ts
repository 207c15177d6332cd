/**
 * One circuit, free of effects: the rules of `circuitState` around a window of counts. A call is admitted, then settled
 * with its outcome or released when it was interrupted; time is passed in, as epoch milliseconds.
 *
 * Fields are mutable and one flat object holds them, because this is what every call touches: while a circuit is closed
 * an admission is one comparison and a success a handful of additions. What only troubled circuits need is in `Trouble`.
 */
import { Duration, Exit, MutableRef, Ref } from "effect"
import type { BreakerVerdict } from "../ProviderError.ts"
import { type CircuitOpen, sharedRefusal } from "./circuitOpen.ts"
import {
  admittedShare,
  type CircuitRules,
  type Event,
  initial,
  LATE,
  REFUSED,
  type State,
  transition,
  type TransitionReason,
  type TripReason,
  tripReason,
  UNCOUNTED,
  wait
} from "./circuitState.ts"
import { roughness } from "./liveClock.ts"
import { SlidingWindow } from "./slidingWindow.ts"

export { LATE, REFUSED, UNCOUNTED } from "./circuitState.ts"

/** What the circuits of a breaker with the same settings share. */
export interface CircuitSettings {
  readonly rules: CircuitRules
  /** The window's buckets. */
  readonly windowSize: number
  /** How long one is; in a window of calls, whose bucket is one call, what time is told in. */
  readonly bucketMillis: number
  readonly ofCalls: boolean
  /** What all circuits start from. */
  readonly initial: State
  /** From 0 to 1; shortens open times. */
  readonly random: () => number
  /** A new state was entered; called once for each, after it stands. */
  readonly onTransition?: ((transition: CoreTransition) => void) | undefined
  /** The same for every step, those that keep the state's name too: a slot was freed, a hold came or went. */
  readonly onStep?: ((core: CircuitCore) => void) | undefined
  /** Whether one more circuit may open. */
  readonly mayOpen?: ((core: CircuitCore) => boolean) | undefined
}

export interface CoreTransition {
  readonly core: CircuitCore
  readonly from: State
  readonly to: State
  readonly reason: TransitionReason
  readonly at: number
}

/** A call always passes a shedding circuit when the last one is this long past, so that quiet clients notice nothing. */
const quietMillis = 100

/** What only a circuit in trouble needs. */
interface Trouble {
  readonly error: CircuitOpen
  readonly exit: Exit.Exit<never, CircuitOpen>
  /** When a call was last refused; `retryAfter` counts from here. */
  refusedAt: number
  refused: number
  late: number
  trips: number
  /** The share of a call that shedding has saved up, and when it last let one in. */
  credit: number
  sharedAt: number
  /** The registry forgot the circuit: whoever still has it must ask for the new one. */
  retired: boolean
}

export class CircuitCore {
  readonly key: string
  settings: CircuitSettings
  /** The token of the closed period; -1 while an admission needs a closer look. */
  era: number
  /** Failures since the last success. */
  consecutive = 0
  /** The bucket of time in which a call was last settled. */
  private used: number
  private window: SlidingWindow
  /** Made by the first transition, or to remember when a warm-up began: most circuits never see one. */
  private state: Ref.Ref<State> | undefined
  private trouble: Trouble | undefined = undefined

  constructor(settings: CircuitSettings, key: string, now: number) {
    this.key = key
    this.settings = settings
    this.era = 0
    this.used = bucketOf(settings, now)
    this.window = newWindow(settings, this.used)
    this.state = settings.rules.warmUpMillis > 0 ? Ref.makeUnsafe<State>(initial(now)) : undefined
  }

  /** The state, written on transitions. */
  get current(): State {
    return this.state === undefined ? this.settings.initial : Ref.getUnsafe(this.state)
  }

  /** When a call was last settled, to within a bucket. */
  get usedAt(): number {
    return this.settings.initial.since + this.used * this.settings.bucketMillis
  }

  /** Calls refused, outcomes that came late, and how often the circuit opened. */
  get counters(): { readonly refused: number; readonly late: number; readonly trips: number } {
    const { late = 0, refused = 0, trips = 0 } = this.trouble ?? {}
    return { refused, late, trips }
  }

  /** What the window holds. */
  counts(now: number): { readonly total: number; readonly failures: number; readonly slow: number } {
    if (!this.settings.ofCalls) this.window.advance(bucketOf(this.settings, now))
    const { failures, slow, total } = this.window
    return { total, failures, slow }
  }

  /** Millis until a call would be admitted, 0 when it would be now. Decides nothing and takes nothing. */
  peek(now: number): number {
    const millis = this.wait(now)
    return millis > 0 && this.passesDry ? 0 : millis
  }

  /** The same for a circuit that is no dry run. */
  wait(now: number): number {
    if (this.era >= 0) return 0
    if (now < this.current.at) this.step({ _tag: "Tick" }, now)
    return wait(this.current, now, this.settings.rules)
  }

  /** A token to settle or release, or `REFUSED`. */
  admit(now: number): number {
    return this.era >= 0 ? this.era : this.admitSlowly(now)
  }

  /** Takes the call's outcome. `openForMillis` opens the circuit for at least so long, whatever the counts say. */
  settle(
    token: number,
    outcome: BreakerVerdict,
    latencyMillis: number,
    now: number,
    openForMillis = 0,
    weight = 1
  ): void {
    const { rules } = this.settings
    if (token === this.era && outcome === "Success" && latencyMillis < rules.slowCallMillis && openForMillis === 0) {
      this.consecutive = 0
      this.count(bucketOf(this.settings, now), 0, 0)
    } else {
      this.settleSlowly(token, outcome, latencyMillis, now, openForMillis, weight)
    }
  }

  /** Settles a success whose token is the era and whose latency nobody asks for. A rough time will do. */
  succeeded(roughly: number): void {
    this.consecutive = 0
    this.count(this.roughBucket(roughly), 0, 0)
  }

  /**
   * The same for a failure, where nothing is shed or warms up. Counting wants no true time but opening does: gives the
   * reason to `trip` for, where there is one.
   */
  failed(roughly: number): TripReason | undefined {
    this.consecutive++
    this.count(this.roughBucket(roughly), 1, 0)
    return tripReason(this.window, this.consecutive, this.settings.rules)
  }

  /** Opens for a failure that is counted already. */
  trip(token: number, reason: TripReason, now: number): void {
    if (this.settings.mayOpen?.(this) === false) return
    this.step({ _tag: "Settle", token, outcome: "Failure", trip: reason, openForMillis: 0 }, now)
  }

  /** The call was interrupted: its slot is free again and nothing is counted. */
  release(token: number, now: number): void {
    if (token >= 0 && token !== this.era) this.step({ _tag: "Release", token }, now)
  }

  /** Counts a refusal that `admit` or `peek` told of at `now`, and gives the error to fail with: one for all. */
  refusal(now: number): CircuitOpen {
    return this.refuse(now).error
  }

  /** The same as an exit. */
  refused(now: number): Exit.Exit<never, CircuitOpen> {
    return this.refuse(now).exit
  }

  /** Refuses calls until then, whatever the state; it never shortens a wait. */
  holdUntil(untilMillis: number, now: number): void {
    if (untilMillis > now) this.step({ _tag: "Hold", until: untilMillis }, now)
  }

  /** What an operator orders. */
  command(tag: "ForceOpen" | "ForceClose" | "Disable" | "Enable", now: number): void {
    this.step({ _tag: tag }, now)
  }

  /** Puts a remembered state in place. */
  restore(state: State, consecutive: number, window: SlidingWindow, now: number): void {
    this.consecutive = consecutive
    this.window = window
    this.enter(state, "Restored", now)
  }

  /** Goes on under other settings. The window starts anew when its shape changes. */
  configure(settings: CircuitSettings, now: number): void {
    const { bucketMillis, ofCalls, windowSize } = this.settings
    this.settings = settings
    this.used = bucketOf(settings, now)
    if (settings.bucketMillis !== bucketMillis || settings.windowSize !== windowSize || settings.ofCalls !== ofCalls) {
      this.clear(now)
    }
    this.era = this.nextEra(now)
  }

  /** Takes the circuit out of service. Calls under way may still settle; nobody hears of it. */
  retire(): void {
    this.troubled().retired = true
    this.era = -1
  }

  /** True when `retire` was called. */
  get retired(): boolean {
    return this.trouble?.retired === true
  }

  /** The window's buckets, oldest first. */
  buckets(now: number): ReturnType<SlidingWindow["buckets"]> {
    this.counts(now)
    return this.window.buckets()
  }

  /** The number of the bucket of time that `now` is in. */
  bucketOf(now: number): number {
    return bucketOf(this.settings, now)
  }

  private roughBucket(roughly: number): number {
    const { settings, used } = this
    const bucket = bucketOf(settings, roughly)
    // A true look at the clock may have begun the current bucket since.
    return bucket < used && (used - bucket) * settings.bucketMillis <= roughness ? used : bucket
  }

  private count(bucket: number, failure: number, slow: number): void {
    this.used = bucket
    this.window.record(this.settings.ofCalls ? this.window.next : bucket, failure, slow)
  }

  /** A dry run refuses nobody; an operator still does. */
  private get passesDry(): boolean {
    return this.settings.rules.dryRun && this.current._tag !== "ForcedOpen"
  }

  private admitSlowly(now: number): number {
    const { rules } = this.settings
    // Most calls that come here meet an open circuit: asked first, a refusal builds nothing.
    let token = REFUSED
    if (now < this.current.at || wait(this.current, now, rules) === 0) {
      token = this.step({ _tag: "Admit" }, now)
      const state = this.current
      if (token >= 0 && state._tag === "Closed") {
        if (rules.shedBelow > 0) this.counts(now)
        this.era = this.nextEra(now)
        if (this.era < 0 && !this.shares(admittedShare(state, this.window, now, rules), now)) token = REFUSED
      }
    }
    if (token !== REFUSED || !this.passesDry) return token
    this.refuse(now)
    return UNCOUNTED
  }

  private settleSlowly(
    token: number,
    outcome: BreakerVerdict,
    latencyMillis: number,
    now: number,
    openForMillis: number,
    weight: number
  ): void {
    if (token === UNCOUNTED) return
    const { rules } = this.settings
    const state = this.current
    const slow = outcome !== "Ignored" && latencyMillis >= rules.slowCallMillis
    let trip: TripReason | undefined
    let openFor = openForMillis
    if (state._tag === "Closed" && token === state.generation) {
      if (outcome !== "Ignored") {
        const failed = outcome === "Failure"
        this.consecutive = failed ? this.consecutive + weight : 0
        this.count(bucketOf(this.settings, now), failed ? weight : 0, slow ? 1 : 0)
        // Only a failure or a slow call may trip: no surprise when old successes leave the window.
        if ((failed || slow) && isWarm(state, now, rules)) {
          trip = tripReason(this.window, this.consecutive, rules)
        }
        if (rules.shedBelow > 0) this.era = this.nextEra(now)
      }
      if ((trip !== undefined || openFor > 0) && this.settings.mayOpen?.(this) === false) {
        trip = undefined
        openFor = 0
      }
      if (trip === undefined && openFor === 0) return
    }
    const said = slow && state._tag === "HalfOpen" ? "Failure" : outcome
    if (this.step({ _tag: "Settle", token, outcome: said, trip, openForMillis: openFor }, now) === LATE) {
      this.troubled().late++
    }
  }

  private step(event: Event, now: number): number {
    const before = this.current
    const [answer, next, reason] = transition(before, event, now, this.settings.rules, this.settings.random())
    if (next !== before) this.enter(next, reason ?? "Operator", now)
    return answer
  }

  private enter(next: State, reason: TransitionReason, now: number): void {
    const before = this.current
    // Written from within the circuit's own step: one synchronous change, no effect to run.
    if (this.state === undefined) this.state = Ref.makeUnsafe(next)
    else MutableRef.set(this.state.ref, next)
    if (next._tag === "Closed" && next.generation !== before.generation && reason !== "Restored") this.clear(now)
    this.era = this.nextEra(now)
    if (this.retired) return
    this.settings.onStep?.(this)
    if (next._tag === before._tag) return
    if (next._tag === "Open") this.troubled().trips++
    this.settings.onTransition?.({ core: this, from: before, to: next, reason, at: now })
  }

  private clear(now: number): void {
    this.consecutive = 0
    this.window = newWindow(this.settings, bucketOf(this.settings, now))
    if (this.trouble !== undefined) this.trouble.credit = 1
  }

  private nextEra(now: number): number {
    const state = this.current
    return state._tag === "Closed" && state.heldUntil <= now && !this.retired &&
        admittedShare(state, this.window, now, this.settings.rules) >= 1
      ? state.generation
      : -1
  }

  /** Lets in a share of the calls, evenly spread. */
  private shares(share: number, now: number): boolean {
    const trouble = this.troubled()
    trouble.credit += share
    const quiet = Math.abs(now - trouble.sharedAt) >= quietMillis
    if (trouble.credit < 1 && !quiet) return false
    trouble.credit = quiet ? 0 : trouble.credit - 1
    trouble.sharedAt = now
    return true
  }

  private refuse(now: number): Trouble {
    const trouble = this.troubled()
    trouble.refused++
    trouble.refusedAt = now
    return trouble
  }

  private troubled(): Trouble {
    if (this.trouble !== undefined) return this.trouble
    const error = sharedRefusal(this.key, () => this.retryAfter())
    const trouble: Trouble = {
      error,
      exit: Exit.fail(error),
      refusedAt: 0,
      refused: 0,
      late: 0,
      trips: 0,
      credit: 1,
      sharedAt: 0,
      retired: false
    }
    this.trouble = trouble
    return trouble
  }

  private retryAfter(): Duration.Duration {
    const trouble = this.trouble
    if (trouble === undefined) return Duration.zero
    const millis = wait(this.current, trouble.refusedAt, this.settings.rules)
    // Refused by shedding, there is nothing to wait for but the next quiet moment.
    return Duration.millis(millis > 0 ? millis : Math.max(0, trouble.sharedAt + quietMillis - trouble.refusedAt))
  }
}

/** Only a circuit that never opened warms up; on a clock that was set back nobody knows its age. */
const isWarm = ({ generation, since }: State, now: number, { warmUpMillis }: CircuitRules): boolean =>
  generation > 0 || now < since || now - since >= warmUpMillis

/** Counted from the breaker's start, a bucket's number stays a small integer, which costs no memory to keep. */
const bucketOf = (settings: CircuitSettings, now: number): number =>
  Math.floor((now - settings.initial.since) / settings.bucketMillis)

const newWindow = ({ ofCalls, windowSize }: CircuitSettings, bucket: number): SlidingWindow =>
  new SlidingWindow(windowSize, ofCalls ? 0 : bucket)
