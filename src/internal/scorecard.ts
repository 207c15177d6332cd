/** Holds alarms against what really happened: which outages were foreseen, by how long, and which alarms were for nothing. */
import { SortedSample } from "./sortedSample.ts"

export class Scorecard {
  /** Outages, and how many of them an alarm had come before. */
  trips = 0
  foreseen = 0
  /** Alarms whose time passed without an outage. */
  falseAlarms = 0
  /** When the alarm came that waits for its outage. */
  #pending: number | undefined
  #down = false
  readonly #leads = new SortedSample(256)
  readonly #horizonMillis: number

  /** An alarm is right when an outage follows within the horizon. */
  constructor(horizonMillis: number) {
    this.#horizonMillis = horizonMillis
  }

  /** An alarm. During an outage, or while another waits for its outage, it says nothing new. */
  alarm(now: number): void {
    this.#expire(now)
    if (!this.#down) this.#pending ??= now
  }

  /** An outage begins. */
  trip(now: number): void {
    this.#expire(now)
    if (this.#down) return
    this.#down = true
    this.trips++
    if (this.#pending === undefined) return
    this.foreseen++
    this.#leads.add(Math.max(0, now - this.#pending))
    this.#pending = undefined
  }

  /** It is over. */
  recovered(): void {
    this.#down = false
  }

  /** Whether an alarm still waits for its outage. */
  pending(now: number): boolean {
    this.#expire(now)
    return this.#pending !== undefined
  }

  /** How long before the outage the alarm came, for half of the last 256 that were foreseen; `undefined` without any. */
  get medianLeadMillis(): number | undefined {
    return this.#leads.size === 0 ? undefined : this.#leads.quantile(0.5)
  }

  #expire(now: number): void {
    if (this.#pending === undefined || now - this.#pending <= this.#horizonMillis) return
    this.#pending = undefined
    this.falseAlarms++
  }
}
