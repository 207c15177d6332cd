import { Cache, Effect } from "effect"
import { LRUCache } from "lru-cache"
import * as ResponseCache from "../../src/ResponseCache.ts"
import * as Served from "../../src/Served.ts"
import { loopBuilt, type Run, type Suite } from "./harness.ts"

const few = Array.from({ length: 1024 }, (_, index) => `key:${index}`)
const many = Array.from({ length: 100_000 }, (_, index) => `document/${index}/summary`)

/** A full-period walk over the keys in an order that no cache of the processor can foresee. */
const shuffledKeys = (keys: ReadonlyArray<string>): () => string => {
  const order = Uint32Array.from(keys, (_, index) => index)
  let seed = 1
  for (let i = order.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    const j = seed % (i + 1)
    const held = order[i]!
    order[i] = order[j]!
    order[j] = held
  }
  let next = 0
  return () => {
    if (next === order.length) next = 0
    return keys[order[next++]!]!
  }
}

const inTurn = (keys: ReadonlyArray<string>): () => string => {
  let next = 0
  return () => keys[next++ & (keys.length - 1)]!
}

/** Filled before it is timed, so that every call is a hit. */
const hits = (
  keys: ReadonlyArray<string>,
  nextKey: () => string,
  get: (key: string) => Effect.Effect<unknown>
): Run => {
  for (const key of keys) Effect.runSync(get(key))
  return loopBuilt(() => get(nextKey()))
}

const ours = (options: ResponseCache.Options<number>): ResponseCache.ResponseCache<number> =>
  // The scope's end is the process's.
  Effect.runSync(Effect.scoped(ResponseCache.make<number>(options)).pipe(Effect.orDie))

const one = Effect.succeed(1)
const live = Effect.succeed(Served.live(1, "provider"))

const effectCache = (timeToLive?: "1 hour") => {
  const cache = Effect.runSync(Cache.make<string, number>({ capacity: 100_000, lookup: () => one, timeToLive }))
  return (key: string): Effect.Effect<number> => Cache.get(cache, key)
}
const ourGet = (fresh: "1 hour" | "Infinity") => {
  const cache = ours({ capacity: 100_000, fresh })
  return (key: string): Effect.Effect<number> => cache.get(key, one)
}
const ourServe = () => {
  const cache = ours({ capacity: 100_000, fresh: "1 hour" })
  return (key: string): Effect.Effect<unknown> => cache.serve(key, live)
}
const lru = (ttl?: number) => {
  const cache = new LRUCache<string, number>({ max: 100_000, ...(ttl !== undefined && { ttl }) })
  return (key: string): Effect.Effect<number> =>
    Effect.sync(() => {
      const held = cache.get(key)
      if (held !== undefined) return held
      cache.set(key, 1)
      return 1
    })
}

export const suite: Suite = {
  name: "cache",
  cases: [
    { name: "bare: Effect.succeed", make: () => loopBuilt(() => Effect.succeed(1)) },
    { name: "hit, effect Cache", make: () => hits(few, inTurn(few), effectCache()) },
    { name: "hit, get", make: () => hits(few, inTurn(few), ourGet("Infinity")) },
    { name: "hit, effect Cache, ttl", make: () => hits(few, inTurn(few), effectCache("1 hour")) },
    { name: "hit, get, ttl", make: () => hits(few, inTurn(few), ourGet("1 hour")) },
    { name: "hit, serve, ttl", make: () => hits(few, inTurn(few), ourServe()) },
    { name: "hit, lru-cache", make: () => hits(few, inTurn(few), lru()) },
    { name: "100k random, effect Cache", make: () => hits(many, shuffledKeys(many), effectCache()) },
    { name: "100k random, get", make: () => hits(many, shuffledKeys(many), ourGet("Infinity")) },
    { name: "100k random, lru-cache", make: () => hits(many, shuffledKeys(many), lru()) }
  ],
  goals: [
    { name: "hit / effect Cache", of: "hit, get", per: "hit, effect Cache", atMost: 0.8 },
    { name: "hit / effect Cache, ttl", of: "hit, get, ttl", per: "hit, effect Cache, ttl", atMost: 0.85 },
    { name: "100k random / lru-cache", of: "100k random, get", per: "100k random, lru-cache", atMost: 1.2 }
  ]
}
