/** How long something was in each of its states, and how often it entered them, over windows of the last 24 hours. */
import { type Row, WindowedCounts } from "./windowedCounts.ts"

const minuteMillis = 60_000
/** What is longer ago is in no window. */
const horizonMillis = 25 * 3_600_000

export class StateClock<State extends string> {
  readonly #states: ReadonlyArray<State>
  readonly #counts: WindowedCounts
  #state: State
  /** Up to when the time is counted. */
  #at: number

  /** In `state` since `at`, in epoch milliseconds. */
  constructor(states: ReadonlyArray<State>, state: State, at: number) {
    this.#states = states
    this.#counts = new WindowedCounts(2 * states.length)
    this.#state = state
    this.#at = at
  }

  /** Entered a state. What is older than what is known already changes nothing, so that news may come twice and late. */
  moved(to: State, at: number): void {
    if (to === this.#state || at < this.#at) return
    this.#count(at)
    this.#state = to
    this.#counts.add(this.#states.length + this.#states.indexOf(to), 1, at)
  }

  /** Is seen in a state, since when it says. The news of it may still be on its way. */
  seen(state: State, since: number): void {
    this.moved(state, Math.max(since, this.#at))
  }

  /** Since `from`, as `windowStart` gives it: the milliseconds in each state, and the entries into it. */
  read(from: number, now: number): { readonly millis: Record<State, number>; readonly entered: Record<State, number> } {
    this.#count(now)
    const row: Row = new Float64Array(2 * this.#states.length)
    this.#counts.addSince(from, row)
    const by = (offset: number) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one entry for each state
      Object.fromEntries(this.#states.map((state, index) => [state, row[offset + index]!])) as Record<State, number>
    return { millis: by(0), entered: by(this.#states.length) }
  }

  /** Forgets what was until now. */
  reset(now: number): void {
    this.#count(now)
    this.#counts.reset()
  }

  /** Gives the time until `now` to the minutes that it passed in. */
  #count(now: number): void {
    const field = this.#states.indexOf(this.#state)
    let at = Math.max(this.#at, now - horizonMillis)
    while (at < now) {
      const end = Math.min(now, (Math.floor(at / minuteMillis) + 1) * minuteMillis)
      this.#counts.add(field, end - at, at)
      at = end
    }
    this.#at = Math.max(this.#at, now)
  }
}
