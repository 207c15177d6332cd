/**
 * The tokens that pay for added attempts: every request adds a share of a token, every retry or hedge takes whole ones,
 * and a floor trickles in with time, so that a quiet client may retry too. Plain numbers; time is passed in, in
 * milliseconds.
 */

export interface BudgetSettings {
  /** Tokens that each request adds. */
  readonly ratio: number
  /** The most tokens kept, and how many there are at first. */
  readonly bucket: number
  /** Tokens that each second adds. */
  readonly floorPerSecond: number
}

/** Sums of tokens are compared with this slack: ten times 0.1 is a whole token. */
const slack = 1e-9

export class BudgetCore {
  readonly settings: BudgetSettings
  /** How many withdrawals were paid and not refunded, and how many were refused. */
  withdrawn = 0
  refused = 0
  #tokens: number
  #since: number | undefined

  constructor(settings: BudgetSettings) {
    this.settings = settings
    this.#tokens = settings.bucket
  }

  /** A request was made. Needs no time: the floor is settled when somebody withdraws, with the same result. */
  deposit(_now?: number): void {
    this.#tokens = Math.min(this.settings.bucket, this.#tokens + this.settings.ratio)
  }

  /** Pays for an added attempt; `false` and nothing taken where there is not enough, or the cost is no number from 0 up. */
  withdraw(cost: number, now: number): boolean {
    if (!(cost >= 0 && cost <= this.balance(now) + slack)) {
      this.refused++
      return false
    }
    this.#tokens = Math.max(0, this.#tokens - cost)
    this.withdrawn++
    return true
  }

  /** Gives back what was paid for an attempt that never started. */
  refund(cost: number): void {
    this.#tokens = Math.min(this.settings.bucket, this.#tokens + cost)
    this.withdrawn--
  }

  /** The tokens there are. A clock that went back adds nothing. */
  balance(now: number): number {
    if (this.#since !== undefined && now > this.#since) {
      const trickled = ((now - this.#since) / 1000) * this.settings.floorPerSecond
      this.#tokens = Math.min(this.settings.bucket, this.#tokens + trickled)
    }
    this.#since = now
    return this.#tokens
  }
}
