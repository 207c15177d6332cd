/**
 * Rate limits without Effect: how long until so many calls may start, and that they did. Nothing is taken before it may
 * be used, so whoever stops waiting has nothing to give back. `now` is in epoch milliseconds; when the clock is set back,
 * what was left to wait is left to wait.
 */

/** The rule of one algorithm. */
export interface Limiter {
  /** The largest cost that can ever be granted. */
  readonly burst: number
  /**
   * Milliseconds after `from`, which is now or later, until `cost` calls may start at once; 0 for then. Nobody starts
   * before `from`, and `ahead` calls, 0 by default, start first, each as soon as it may. Where these go together in
   * parcels, a sliding window may come to more.
   */
  readonly wait: (cost: number, from: number, ahead?: number) => number
  /** Counts `cost` calls that start now. Only after `wait` said 0. */
  readonly take: (cost: number, now: number) => void
  /** Takes back what was taken last: the calls did not start after all. */
  readonly untake: (cost: number) => void
  /** How many calls may start at once. */
  readonly available: (now: number) => number
  /** The provider says that only so many are left. */
  readonly cap: (remaining: number, now: number) => void
  /** Moves what is remembered by so many milliseconds, as a clock that was set back needs it. */
  readonly shift: (millis: number) => void
  /** The provider refused a call because there were too many, or answered one. Only where the limit learns from it. */
  readonly feedback?: ((throttled: boolean, now: number) => void) | undefined
}

/** A token bucket whose rate can be changed. */
interface Bucket extends Limiter {
  readonly setRate: (perMilli: number, capacity: number, now: number) => void
}

/** `burst` calls at once, refilled at `perMilli` calls a millisecond. */
export const tokenBucket = (perMilli: number, burst: number): Bucket => {
  let rate = perMilli
  let capacity = burst
  let tokens = burst
  let at = -Infinity
  const level = (now: number): number => now > at ? Math.min(capacity, tokens + (now - at) * rate) : tokens
  const refill = (now: number): void => {
    if (now <= at) return
    tokens = level(now)
    at = now
  }
  return {
    burst,
    wait: (cost, from, ahead = 0) => {
      // While the bucket is smaller than the call, a full one will do, and the rest is owed.
      const missing = ahead + Math.min(cost, capacity) - level(from)
      // Rounded up, and a rounding error of the refill is no reason to wait.
      return missing <= 1e-9 ? 0 : Math.max(1, Math.ceil(missing / rate - 1e-6))
    },
    take: (cost, now) => {
      refill(now)
      tokens -= cost
    },
    untake: (cost) => {
      tokens = Math.min(capacity, tokens + cost)
    },
    available: (now) => {
      refill(now)
      return Math.max(0, Math.floor(tokens + 1e-9))
    },
    cap: (remaining, now) => {
      refill(now)
      tokens = Math.min(tokens, remaining)
    },
    shift: (millis) => {
      at += millis
    },
    setRate: (perMilli, size, now) => {
      refill(now)
      rate = perMilli
      capacity = size
      tokens = Math.min(tokens, size)
    }
  }
}

/** What a throttle leaves of the rate. */
const beta = 0.7
/** How fast the cubic grows, in calls per second³. */
const growth = 0.4
/** The weight of the newest half second in the measured rate. */
const smooth = 0.8
/** The rate never falls below, in calls per second. */
const leastRate = 0.5
/** Seconds over which the send rate is measured. */
const span = 0.5

/**
 * A token bucket that finds out by itself what rate the provider bears: never above `perMilli`, which is its rate until
 * the first throttle.
 *
 * **Details**
 *
 * CUBIC, as the AWS SDKs' adaptive retry mode has it (smithy-typescript, `util-retry/src/DefaultRateLimiter.ts`; the
 * curve is RFC 9438's), in calls and seconds:
 *
 *     on a throttle  w = min(measured, rate)   rate = 0.7 w
 *     on an answer   K = ∛(w (1 - 0.7) / 0.4)  rate = 0.4 (t - K)³ + w   where t is the time since the throttle
 *
 * and `rate` never above twice the measured send rate: steep back to where it was refused, flat around it, then steep in
 * search of more. Two things differ. Throttles within half a second count once, since they tell of the same rate: calls
 * in flight would cut it to nothing. And the rate is measured where calls start, by their cost.
 */
export const adaptive = (perMilli: number, burst: number): Limiter & { readonly ratePerSecond: () => number } => {
  const bucket = tokenBucket(perMilli, burst)
  const most = perMilli * 1_000
  let rate = most
  let measured = 0
  let sent = 0
  let measuredAt: number | undefined
  let throttledAt: number | undefined
  /** The rate at which calls were last refused. */
  let refusedRate = 0
  const measure = (now: number): void => {
    measuredAt ??= now
    const seconds = (now - measuredAt) / 1_000
    // A clock that was set back starts the span anew.
    if (seconds < 0) measuredAt = now
    if (seconds < span) return
    const current = sent / seconds
    measured = measured === 0 ? current : current * smooth + measured * (1 - smooth)
    sent = 0
    measuredAt = now
  }
  return {
    ...bucket,
    ratePerSecond: () => rate,
    take: (cost, now) => {
      measure(now)
      sent += cost
      bucket.take(cost, now)
    },
    untake: (cost) => {
      sent = Math.max(0, sent - cost)
      bucket.untake(cost)
    },
    feedback: (throttled, now) => {
      if (throttledAt !== undefined && now < throttledAt) throttledAt = now
      if (!throttled && throttledAt === undefined) return
      measure(now)
      // Within the first half second there is no measure but the count.
      const sending = measured === 0 ? sent / span : measured
      let next: number
      if (throttled) {
        if (throttledAt !== undefined && now - throttledAt < span * 1_000) return
        throttledAt = now
        refusedRate = Math.min(sending, rate)
        next = beta * refusedRate
      } else {
        const knee = Math.cbrt((refusedRate * (1 - beta)) / growth)
        next = growth * ((now - (throttledAt ?? now)) / 1_000 - knee) ** 3 + refusedRate
      }
      rate = Math.min(most, Math.max(leastRate, Math.min(next, 2 * sending)))
      bucket.setRate(rate / 1_000, Math.max(1, Math.min(burst, rate)), now)
    }
  }
}

/**
 * At most `limit` calls in any span of `windowMillis`, exactly: when calls started is remembered until they age out. A
 * fraction of a call counts as a whole one.
 */
export const slidingWindow = (limit: number, windowMillis: number): Limiter => {
  /** When calls started, and how many had started by then, from the first on: what starts at one time is one entry. */
  const starts: Array<number> = []
  const totals: Array<number> = []
  /** What is before it has aged out. */
  let head = 0
  let aged = 0
  let total = 0
  const age = (now: number): void => {
    while (head < starts.length && starts[head]! <= now - windowMillis) aged = totals[head++]!
    // Cut in large pieces: amortised constant, and at most twice what is needed is held.
    if (head > 32 && head * 2 > starts.length) {
      starts.splice(0, head)
      totals.splice(0, head)
      head = 0
    }
  }
  const used = (): number => total - aged
  /** When the n-th of the calls that have not aged out started, 0 for the first. */
  const startOf = (n: number): number => {
    let low = head
    // Mostly the first is asked for.
    let high = totals[head]! - aged > n ? head : totals.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (totals[middle]! - aged > n) high = middle
      else low = middle + 1
    }
    return starts[low]!
  }
  const take = (cost: number, now: number): void => {
    age(now)
    if (cost <= 0) return
    total += Math.ceil(cost)
    const last = starts.length - 1
    if (last >= head && starts[last] === now) {
      totals[last] = total
      return
    }
    starts.push(now)
    totals.push(total)
  }
  return {
    burst: limit,
    wait: (cost, from, ahead = 0) => {
      const total = Math.ceil(ahead + cost)
      if (total <= 0) return 0
      // The call that frees the last place needed, if one does; each further limit of calls takes another window.
      const freeing = used() + (total - 1) % limit - limit
      const free = freeing < 0 ? 0 : Math.max(0, startOf(freeing) + windowMillis - from)
      return Math.ceil(free + Math.floor((total - 1) / limit) * windowMillis)
    },
    take,
    untake: (cost) => {
      total = Math.max(aged, total - Math.ceil(cost))
      while (head < starts.length && (starts.length - 1 === head ? aged : totals[starts.length - 2]!) >= total) {
        starts.pop()
        totals.pop()
      }
      if (head < starts.length) totals[starts.length - 1] = total
    },
    available: (now) => {
      age(now)
      return limit - used()
    },
    cap: (remaining, now) => {
      age(now)
      take(Math.max(0, limit - used() - remaining), now)
    },
    shift: (millis) => {
      for (let i = head; i < starts.length; i++) starts[i]! += millis
    }
  }
}

/** One call every `intervalMillis`, evenly: no burst at all. A cost of n takes the place of n calls. */
export const pacing = (intervalMillis: number): Limiter => {
  let next = -Infinity
  const wait = (_cost: number, from: number, ahead = 0): number =>
    Math.max(0, Math.ceil(Math.max(0, next - from) + ahead * intervalMillis - 1e-6))
  return {
    burst: Number.MAX_VALUE,
    wait,
    take: (cost, now) => {
      // The clock's own grain does not slow the pace down; an idle time is not made up for.
      const late = now - next
      next = (late >= 0 && late < 1 ? next : Math.max(now, next)) + cost * intervalMillis
    },
    untake: (cost) => {
      next -= cost * intervalMillis
    },
    available: (now) => (wait(1, now) === 0 ? 1 : 0),
    cap: (remaining, now) => {
      if (remaining <= 0) next = Math.max(next, now + intervalMillis)
    },
    shift: (millis) => {
      next += millis
    }
  }
}

/** One who waits for its turn. `turn` is called when it has become the first, and when it was put out of the queue. */
export interface RateLimitWaiter {
  readonly cost: number
  /** Who would start later, in epoch milliseconds, is not to wait. */
  latest: number
  readonly turn: () => void
}

/** A limit with its hold and its queue: first come, first served, whatever the cost. */
export class RateLimitCore {
  readonly limiter: Limiter
  /** Until when nobody starts, because the provider said so. */
  heldUntil = -Infinity
  /** The first of the queue is the one who waits for the limit; the others wait for it. */
  readonly #queue = new Set<RateLimitWaiter>()
  #queuedCost = 0
  /** The latest time this limit has seen; a clock behind it was set back. */
  #seen = -Infinity

  constructor(limiter: Limiter) {
    this.limiter = limiter
  }

  get queued(): number {
    return this.#queue.size
  }

  /** Starts `cost` calls if they may start now and nobody waits before them. */
  tryTake(cost: number, now: number): boolean {
    return this.#queue.size === 0 && this.takeFirst(cost, now) === 0
  }

  /** For the first of the queue: starts its calls and returns 0, or tells how long to wait (`Infinity`: in vain). */
  takeFirst(cost: number, now: number): number {
    const wait = this.#wait(cost, now, 0)
    if (wait === 0) this.limiter.take(cost, now)
    return wait
  }

  /** For a waiter whose turn it is, as `takeFirst`; `Infinity` also where it would start too late. */
  takeTurn(waiter: RateLimitWaiter, now: number): number {
    if (!this.#queue.has(waiter)) return Infinity
    const wait = this.takeFirst(waiter.cost, now)
    return wait > 0 && now + wait > waiter.latest ? Infinity : wait
  }

  /** How long a newcomer would wait, everybody before it served; `Infinity` for a cost that can never be granted. */
  expectedWait(cost: number, now: number): number {
    return this.#wait(cost, now, this.#queuedCost)
  }

  /** How many calls may start at once. */
  available(now: number): number {
    return this.heldFor(now) > 0 || this.#queue.size > 0 ? 0 : this.limiter.available(now)
  }

  /** How long nobody starts, because the provider said so. */
  heldFor(now: number): number {
    this.#look(now)
    return Math.max(0, this.heldUntil - now)
  }

  /** The provider says that only so many are left. */
  cap(remaining: number, now: number): void {
    this.#look(now)
    this.limiter.cap(remaining, now)
  }

  /** Nobody starts before this time. Only lengthens. Who would start too late now is put out of the queue. */
  holdUntil(until: number, now: number): void {
    this.#look(now)
    if (!(until > this.heldUntil)) return
    this.heldUntil = until
    const first = this.#first()
    this.#queuedCost = 0
    for (const waiter of this.#queue) {
      if (now + this.expectedWait(waiter.cost, now) <= waiter.latest) this.#queuedCost += waiter.cost
      else {
        this.#queue.delete(waiter)
        waiter.turn()
      }
    }
    const next = this.#first()
    if (next !== first) next?.turn()
  }

  /** Joins the queue. `true` when it is the first. */
  enqueue(waiter: RateLimitWaiter): boolean {
    this.#queue.add(waiter)
    this.#queuedCost += waiter.cost
    return this.#queue.size === 1
  }

  /** Leaves the queue, served or not; the next in turn is told when it was the first. */
  leave(waiter: RateLimitWaiter): void {
    const first = this.#first() === waiter
    if (!this.#queue.delete(waiter)) return
    // From 0 with each new queue, so that the rounding errors of fractions do not add up.
    this.#queuedCost = this.#queue.size === 0 ? 0 : this.#queuedCost - waiter.cost
    if (first) this.#first()?.turn()
  }

  /** For `cost` calls after others that wait. A cost that is no number, or below 0, is never granted. */
  #wait(cost: number, now: number, ahead: number): number {
    this.#look(now)
    if (!(cost >= 0 && cost <= this.limiter.burst)) return Infinity
    const from = Math.max(now, this.heldUntil)
    return from - now + this.limiter.wait(cost, from, ahead)
  }

  /** Moves what is remembered along with a clock that was set back: what was left to wait is left to wait. */
  #look(now: number): void {
    if (now < this.#seen) {
      const by = now - this.#seen
      this.heldUntil += by
      for (const waiter of this.#queue) waiter.latest += by
      this.limiter.shift(by)
    }
    this.#seen = now
  }

  #first(): RateLimitWaiter | undefined {
    for (const waiter of this.#queue) return waiter
    return undefined
  }
}
