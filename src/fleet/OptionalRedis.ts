/**
 * Redis that need not be there: where it is not, what is asked of it fails at once, and it is tried again in the
 * background. So a process starts and works without it, and has it when it comes.
 */
import { Context, type Duration, Effect, Exit, Fiber, Layer, Queue, Schedule, Scope } from "effect"
import { Redis } from "effect/persistence"

/**
 * Makes of a layer that fails where Redis is not there one that never does. The first try is waited for, at most `maxWait`
 * (one second by default), so that a process has it from its first moment where it is there. Then it is tried every second.
 *
 * **Example**
 *
 * ```ts no-run
 * import * as NodeRedis from "@effect/platform-node/NodeRedis"
 * import * as OptionalRedis from "holdfast/fleet/OptionalRedis"
 *
 * export const RedisLive = OptionalRedis.layer(NodeRedis.layer({
 *   url: "redis://127.0.0.1:6379",
 *   disableOfflineQueue: true
 * }))
 * ```
 */
export const layer = <I, E, R>(
  redis: Layer.Layer<I | Redis.Redis, E, R>,
  options?: { readonly maxWait?: Duration.Input | undefined }
): Layer.Layer<Redis.Redis, never, R> =>
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
        connected = Context.get(context, Redis.Redis)
      })
      const first = yield* Effect.forkScoped(connect, { startImmediately: true })
      const rest = Effect.retry(connect, Schedule.spaced("1 second")).pipe(Effect.delay("1 second"))
      yield* Effect.forkScoped(Effect.catch(Fiber.join(first), () => rest))
      yield* Effect.timeoutOption(Fiber.await(first), options?.maxWait ?? "1 second")

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
