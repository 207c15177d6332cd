/**
 * A bulkhead: at most so many calls at once, a bounded queue before them, and a bounded wait in it. It keeps one slow
 * provider from taking every fiber and connection of the process.
 */
import { Clock, Context, Duration, Effect, Layer, Schema } from "effect"
import * as Deadline from "./Deadline.ts"
import { BulkheadCore, type BulkheadRefusal, type BulkheadWaiter } from "./internal/bulkheadCore.ts"
import { checked, checks } from "./internal/options.ts"
import { stackless } from "./internal/stackless.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"

/**
 * There was no room: the queue was full, a caller of higher priority or of a tenant with less of the queue took the
 * place, the wait was too long, or the queue was emptied because the circuit behind it opened.
 */
export class BulkheadFull extends Schema.TaggedError<BulkheadFull>()("BulkheadFull", {
  bulkhead: Schema.String,
  why: Schema.Literals(["QueueFull", "Displaced", "WaitedTooLong", "Drained"]),
  limit: Schema.Int
}) {
  override get message(): string {
    return `Bulkhead ${this.bulkhead} is full (${this.why}, limit ${this.limit})`
  }
}

export interface Options {
  /** Names the bulkhead in errors. Defaults to `"default"`. */
  readonly name?: string | undefined
  /** How many may run at once. Defaults to 64. */
  readonly limit?: number | undefined
  /** How many may wait. 0 refuses at once. Defaults to 64. */
  readonly queue?: number | undefined
  /** The longest wait in the queue; the deadline of the call shortens it. Defaults to `"1 second"`. */
  readonly maxWait?: Duration.Input | undefined
}

export interface CallOptions {
  /** Higher goes first. Defaults to 0, as does what is no number. */
  readonly priority?: number | undefined
  /** Tenants of one priority are served in turn. Defaults to one tenant for all. */
  readonly tenant?: string | undefined
}

export interface Stats {
  readonly limit: number
  readonly running: number
  readonly queued: number
}

/** Whether a caller holds a permit; whoever installed the frame that releases it looks here. */
export interface Lease {
  held: boolean
}

export interface Service {
  readonly name: string
  /** Runs the effect while holding a permit. The permit is back whatever happens, interruption at any step included. */
  readonly withPermit: (
    options?: CallOptions
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull, R>
  readonly stats: Effect.Effect<Stats>
  /** Changes the limit. Those who run go on; a higher limit serves the queue at once. */
  readonly resize: (limit: number) => Effect.Effect<void, InvalidOptions>
  /** Goes on under other options, all but the name; those who wait keep their patience. */
  readonly configure: (options: Options) => Effect.Effect<void, InvalidOptions>
  /** Refuses everybody who waits. */
  readonly drain: Effect.Effect<void>
  /**
   * For the pipeline: the counters themselves.
   * @internal
   */
  readonly core: BulkheadCore
  /**
   * For the pipeline: waits in the queue. The frame of the caller releases the permit when `lease.held`.
   * @internal
   */
  readonly wait: (lease: Lease, options?: CallOptions) => Effect.Effect<void, BulkheadFull>
  /**
   * For the pipeline: told of each call that ended, all but those interrupted, while it still holds its permit. Only a
   * bulkhead that learns from its calls has it.
   * @internal
   */
  readonly learn?: ((latencyMillis: number, now: number, failure?: { readonly error: unknown }) => void) | undefined
}

export class Bulkhead extends Context.Service<Bulkhead, Service>()("holdfast/Bulkhead") {
  static readonly layer = (options?: Options): Layer.Layer<Bulkhead, InvalidOptions> =>
    Layer.effect(Bulkhead, make(options))
}

/** Makes a bulkhead. */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidOptions> =>
  checked(() => {
    const check = checks("Bulkhead")
    const settingsOf = ({ limit, maxWait, queue }: Options) => ({
      limit: check.int("limit", limit, 64, { min: 1 }),
      queue: check.int("queue", queue, 64),
      maxWaitMillis: check.millis("maxWait", maxWait, "1 second")
    })
    const name = options.name ?? "default"
    const settings = settingsOf(options)
    const core = new BulkheadCore(settings.limit, settings.queue)
    let { maxWaitMillis } = settings

    const full = (why: BulkheadFull["why"]) =>
      Effect.fail(stackless(() => new BulkheadFull({ bulkhead: name, why, limit: core.limit })))

    const wait = (lease: Lease, call: CallOptions = {}): Effect.Effect<void, BulkheadFull> =>
      Effect.withFiber((fiber) => {
        const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
        const patience = Math.min(maxWaitMillis, fiber.getRef(Deadline.current) - now)
        const queue = Effect.callback<void, BulkheadFull>((resume) => {
          const waiter: BulkheadWaiter = {
            // NaN too: it is neither above nor below the others.
            priority: call.priority || 0,
            tenant: call.tenant ?? "",
            done: (refusal: BulkheadRefusal | undefined) => {
              lease.held = refusal === undefined
              // Resumed by the scheduler: inline, a chain of short calls would grow the stack with the queue.
              fiber.currentDispatcher.scheduleTask(
                () => resume(refusal === undefined ? Effect.void : full(refusal)),
                0
              )
            }
          }
          if (!core.enqueue(waiter)) return resume(full("QueueFull"))
          return Effect.sync(() => core.cancel(waiter))
        })
        return Effect.timeoutOrElse(queue, {
          duration: Duration.millis(Math.max(0, patience)),
          orElse: () => full("WaitedTooLong")
        })
      })

    const withPermit = (call?: CallOptions) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        const lease: Lease = { held: false }
        // The frame stands before anything is acquired: between an acquisition and a frame installed after it, an
        // interruption would lose the permit.
        return Effect.onExitPrimitive(
          Effect.suspend((): Effect.Effect<A, E | BulkheadFull, R> => {
            if (core.tryAcquire()) {
              lease.held = true
              return self
            }
            return Effect.flatMap(wait(lease, call), () => self)
          }),
          () => {
            if (lease.held) core.release()
            return undefined
          }
        )
      })

    return {
      name,
      core,
      wait,
      withPermit,
      stats: Effect.sync(() => ({ limit: core.limit, running: core.running, queued: core.queued })),
      resize: (limit) => checked(() => core.resize(check.int("limit", limit, 64, { min: 1 }))),
      configure: (options) =>
        checked(() => {
          const next = settingsOf(options)
          maxWaitMillis = next.maxWaitMillis
          core.resize(next.limit, next.queue)
        }),
      drain: Effect.sync(() => core.drain())
    }
  })
