/** The circuits of one breaker by key: made when first asked for, bounded, and forgotten when idle. No timers. */
import type { CircuitCore } from "./circuitCore.ts"

/** How many circuits a newcomer makes us look at: idle ones go, and one of them goes when there is no room. */
const looks = 8

export interface RegistryOptions {
  /** How many circuits are kept, and how long without a call. */
  readonly bounds: () => { readonly maxKeys: number; readonly idleMillis: number }
  readonly make: (key: string, now: number) => CircuitCore
  readonly onRemove: (core: CircuitCore, now: number) => void
}

export class CircuitRegistry {
  private readonly circuits = new Map<string, CircuitCore>()
  private readonly options: RegistryOptions
  private hand: Iterator<CircuitCore> | undefined = undefined

  constructor(options: RegistryOptions) {
    this.options = options
  }

  get size(): number {
    return this.circuits.size
  }

  find(key: string): CircuitCore | undefined {
    return this.circuits.get(key)
  }

  get(key: string, now: () => number): CircuitCore {
    return this.circuits.get(key) ?? this.add(key, now())
  }

  /** The circuits kept, after the idle ones are gone. */
  all(now: number): ReadonlyArray<CircuitCore> {
    for (const core of this.circuits.values()) if (this.idle(core, now)) this.remove(core, now)
    return Array.from(this.circuits.values())
  }

  /** Every circuit, without a look at the clock. */
  values(): Iterable<CircuitCore> {
    return this.circuits.values()
  }

  remove(core: CircuitCore, now: number): void {
    if (this.circuits.get(core.key) !== core) return
    this.circuits.delete(core.key)
    core.retire()
    this.options.onRemove(core, now)
  }

  private add(key: string, now: number): CircuitCore {
    this.makeRoom(now)
    const core = this.options.make(key, now)
    this.circuits.set(key, core)
    return core
  }

  /** A hand goes round the circuits, a few steps for each newcomer, as the clock algorithm of page caches does. */
  private makeRoom(now: number): void {
    let oldest: CircuitCore | undefined
    for (let look = 0; look < looks && this.circuits.size > 0; look++) {
      const core = this.next()
      if (core === undefined) break
      if (this.idle(core, now)) this.remove(core, now)
      else if (oldest === undefined || worth(core) < worth(oldest)) oldest = core
    }
    if (this.circuits.size >= this.options.bounds().maxKeys && oldest !== undefined) this.remove(oldest, now)
  }

  private next(): CircuitCore | undefined {
    const step = this.hand?.next()
    if (step !== undefined && step.done !== true) return step.value
    this.hand = this.circuits.values()
    return this.hand.next().value
  }

  private idle(core: CircuitCore, now: number): boolean {
    return now - core.usedAt >= this.options.bounds().idleMillis && core.peek(now) === 0 &&
      core.current._tag !== "Disabled"
  }
}

/** What is lost with a circuit: least with a closed one that was not used for long. */
const worth = (core: CircuitCore): number => {
  switch (core.current._tag) {
    case "Closed":
      return core.usedAt
    case "Open":
    case "HalfOpen":
      return Number.MAX_SAFE_INTEGER + core.usedAt
    case "ForcedOpen":
    case "Disabled":
      return Infinity
  }
}
