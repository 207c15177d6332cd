/**
 * The bulkhead's counter and queue, without Effect. A permit goes from the one who releases straight to the first in
 * the queue, so nobody overtakes. The queue serves higher priorities first and, within one, tenants in turn.
 */

/** Why a caller was not given a permit. */
export type BulkheadRefusal = "QueueFull" | "Displaced" | "Drained"

/** One who waits. Told once: `undefined` means that it holds a permit now. */
export interface BulkheadWaiter {
  readonly priority: number
  readonly tenant: string
  readonly done: (refusal: BulkheadRefusal | undefined) => void
  /** Where it waits, or waited last; for the queue alone. */
  level?: BulkheadLevel
}

/** The waiters of one priority by tenant. The first tenant of the map is the next to be served. */
interface BulkheadLevel {
  readonly priority: number
  readonly tenants: Map<string, Set<BulkheadWaiter>>
}

export class BulkheadCore {
  running = 0
  queued = 0
  /** Highest priority first; a level without waiters is removed. */
  readonly #levels: Array<BulkheadLevel> = []
  #limit: number
  #queueLimit: number

  constructor(limit: number, queueLimit: number) {
    this.#limit = limit
    this.#queueLimit = queueLimit
  }

  get limit(): number {
    return this.#limit
  }

  /** Takes a permit if one is free and nobody waits for it. */
  tryAcquire(): boolean {
    if (this.running >= this.#limit || this.queued > 0) return false
    this.running++
    return true
  }

  /** Gives a permit back: to the first in the queue, where there is one. */
  release(): void {
    this.running--
    if (this.queued > 0) this.#serve()
  }

  /**
   * Joins the queue. A full queue makes room for a higher priority, or for a tenant that holds less of it than another
   * does: the newest of those displaced goes. `false` when there is no room.
   */
  enqueue(waiter: BulkheadWaiter): boolean {
    if (this.queued >= this.#queueLimit) {
      const displaced = this.#displacedBy(waiter)
      if (displaced === undefined) return false
      this.cancel(displaced)
      displaced.done("Displaced")
    }
    const level = this.#level(waiter.priority)
    waiter.level = level
    const waiters = level.tenants.get(waiter.tenant)
    if (waiters === undefined) level.tenants.set(waiter.tenant, new Set([waiter]))
    else waiters.add(waiter)
    this.queued++
    return true
  }

  /** Leaves the queue. `false` when the waiter was told already, so that a permit it was given must be released. */
  cancel(waiter: BulkheadWaiter): boolean {
    const { level } = waiter
    const waiters = level?.tenants.get(waiter.tenant)
    if (level === undefined || waiters === undefined || !waiters.delete(waiter)) return false
    this.#tidy(level, waiter.tenant, waiters)
    this.queued--
    return true
  }

  /** Refuses everybody who waits, as when the circuit behind the bulkhead opens. */
  drain(): void {
    for (let waiter = this.#shift(); waiter !== undefined; waiter = this.#shift()) waiter.done("Drained")
  }

  /** Changes the number of permits. Those who run or wait go on; a higher limit serves the queue at once. */
  resize(limit: number, queueLimit = this.#queueLimit): void {
    this.#limit = limit
    this.#queueLimit = queueLimit
    this.#serve()
  }

  #serve(): void {
    while (this.running < this.#limit) {
      const waiter = this.#shift()
      if (waiter === undefined) return
      this.running++
      waiter.done(undefined)
    }
  }

  #shift(): BulkheadWaiter | undefined {
    const level = this.#levels[0]
    if (level === undefined) return undefined
    for (const [tenant, waiters] of level.tenants) {
      for (const waiter of waiters) {
        waiters.delete(waiter)
        // Served: to the end of the turn.
        level.tenants.delete(tenant)
        if (waiters.size > 0) level.tenants.set(tenant, waiters)
        this.#tidy(level, tenant, waiters)
        this.queued--
        return waiter
      }
    }
    return undefined
  }

  #level(priority: number): BulkheadLevel {
    const at = this.#levels.findIndex((level) => level.priority <= priority)
    const found = this.#levels[at]
    if (found?.priority === priority) return found
    const level: BulkheadLevel = { priority, tenants: new Map() }
    this.#levels.splice(at === -1 ? this.#levels.length : at, 0, level)
    return level
  }

  #tidy(level: BulkheadLevel, tenant: string, waiters: ReadonlySet<BulkheadWaiter>): void {
    if (waiters.size === 0) level.tenants.delete(tenant)
    if (level.tenants.size === 0) this.#levels.splice(this.#levels.indexOf(level), 1)
  }

  #displacedBy(waiter: BulkheadWaiter): BulkheadWaiter | undefined {
    const lowest = this.#levels.at(-1)
    if (lowest === undefined || lowest.priority > waiter.priority) return undefined
    let most: ReadonlySet<BulkheadWaiter> = new Set()
    for (const waiters of lowest.tenants.values()) if (waiters.size > most.size) most = waiters
    const own = lowest.tenants.get(waiter.tenant)?.size ?? 0
    // Among equals only a tenant that would still hold less than the other makes it leave, or two would take turns.
    if (lowest.priority === waiter.priority && own + 1 >= most.size) return undefined
    return Array.from(most).at(-1)
  }
}
