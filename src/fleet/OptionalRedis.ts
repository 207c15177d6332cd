/**
 * Redis that need not be there: connected to in the background, and until then whatever is asked of it fails at once. So a
 * process starts and works without it, and has it when it comes.
 */
import { Effect, Exit, Layer, Queue, Schedule, Scope } from "effect"
import { Redis } from "effect/persistence"

/**
 * Makes of a layer that fails where Redis is not there one that never does. It is tried again every second.
 *
 * **Example**
 *
 * ```ts no-run
 * import { NodeRedis } from "@effect/platform-node"
 * import { OptionalRedis } from "holdfast/fleet"
 *
 * export const RedisLive = OptionalRedis.layer(NodeRedis.layer({
 *   url: "redis://127.0.0.1:6379",
 *   disableOfflineQueue: true
 * }))
 * ```
 */
export const layer = <I, E, R>(redis: Layer.Layer<I | Redis.Redis, E, R>): Layer.Layer<Redis.Redis, never, R> =>
  Layer.effect(
    Redis.Redis,
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      let connected: Redis.Redis["Service"] | undefined

      const connect = Effect.gen(function*() {
        const own = yield* Scope.fork(scope)
        const context = yield* Layer.buildWithScope(Layer.fresh(redis), own).pipe(
          Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
        )
        connected = context.mapUnsafe.get(Redis.Redis.key)
      })
      yield* Effect.forkScoped(Effect.retry(connect, Schedule.spaced("1 second")), { startImmediately: true })

      const use = <A, E2, R2>(
        f: (redis: Redis.Redis["Service"]) => Effect.Effect<A, E2, R2>
      ): Effect.Effect<A, E2 | Redis.RedisError, R2> =>
        Effect.suspend((): Effect.Effect<A, E2 | Redis.RedisError, R2> =>
          connected === undefined ? Effect.fail(absent()) : f(connected)
        )
      return Redis.Redis.of({
        send: (command, ...args) => use((redis) => redis.send(command, ...args)),
        eval: (script) => (...params) => use((redis) => redis.eval(script)(...params)),
        subscribe: (channel) =>
          Effect.suspend(() => connected === undefined ? failed(absent()) : connected.subscribe(channel)),
        reserve: use((redis) => redis.reserve)
      })
    })
  )

const absent = (): Redis.RedisError => new Redis.RedisError({ cause: new Error("Redis is not connected yet") })

/** A subscription that has ended. */
const failed = (error: Redis.RedisError) =>
  Effect.tap(Queue.unbounded<Redis.RedisMessage, Redis.RedisError>(), (queue) => Queue.fail(queue, error))
