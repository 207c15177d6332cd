import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { divide } from "../../../src/fleet/internal/divide.ts"
import { seeded } from "../../internal/seeded.ts"
import { client, make as makeServer, missing } from "../redisServer.ts"

const redisOf = Effect.gen(function*() {
  const server = yield* makeServer
  yield* server.start
  return Context.get(yield* Layer.build(client(server)), Redis.Redis)
})

/** Nobody is new, nobody vanishes. */
const tell =
  (redis: Redis.Redis["Service"], limit: number, key = "k") =>
  (node: string, claim: number, used: number, demand: number) =>
    redis.eval(divide)(key, node, claim, used, demand, limit, limit, 600_000, 0)

it.live("shared store: whatever is told in whatever order, and whatever answers are lost, no two shares overlap", (ctx) => {
  ctx.skip(missing !== undefined, missing)
  return Effect.gen(function*() {
    const redis = yield* redisOf
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const chance = seeded(seed)
      const limit = 5 + chance.int(100)
      const nodes = Array.from({ length: 2 + chance.int(6) }, (_, n) => ({ name: `n${n}`, share: 0, used: 0 }))
      const say = tell(redis, limit, `seed ${seed}`)
      for (let step = 0; step < 250; step++) {
        const node = chance.pick(nodes)
        // Some of what was used leaves the window, and more is used, within the share.
        node.used = Math.max(node.used - chance.int(node.used + 1), Math.min(node.share, chance.int(node.share + 1)))
        const [share] = yield* say(node.name, node.share, node.used, chance.int(2 * limit))
        // While the answer is on its way the process goes on by its old share.
        node.used = Math.max(node.used, Math.min(node.share, chance.int(node.share + 1)))
        if (chance.next() < 0.9) node.share = share
        const held = nodes.reduce((sum, it) => sum + Math.max(it.share, it.used), 0)
        assert.isAtMost(held, limit, `seed ${seed}, step ${step}`)
      }
    }
  })
})

it.live("shared store: shares are max-min fair, and what is left over is split evenly", (ctx) => {
  ctx.skip(missing !== undefined, missing)
  return Effect.gen(function*() {
    const say = tell(yield* redisOf, 100)
    const shares = new Map<string, number>()
    /** Everybody says what he wants until nothing changes. */
    const want = (demands: { readonly [node: string]: number }) =>
      Effect.gen(function*() {
        for (let round = 0; round < 4; round++) {
          for (const [node, demand] of Object.entries(demands)) {
            const [share] = yield* say(node, shares.get(node) ?? 0, 0, demand)
            shares.set(node, share)
          }
        }
        return Object.keys(demands).map((node) => shares.get(node))
      })
    assert.deepStrictEqual(yield* want({ a: 1 }), [100])
    assert.deepStrictEqual(yield* want({ a: 1, b: 1 }), [50, 50])
    assert.deepStrictEqual(yield* want({ a: 100, b: 100 }), [50, 50])
    assert.deepStrictEqual(yield* want({ a: 100, b: 20 }), [80, 20])
    assert.deepStrictEqual(yield* want({ a: 100, b: 20, c: 70 }), [40, 20, 40])
    assert.deepStrictEqual(yield* want({ a: 10, b: 20, c: 10 }), [30, 40, 30])
    // Who wants nothing any more has left.
    assert.deepStrictEqual(yield* want({ c: 0 }), [0])
    assert.deepStrictEqual(yield* want({ a: 100, b: 100 }), [50, 50])
  })
})

it.live("shared store: where nobody is known a newcomer gets a lease, and who had a share gets it back", (ctx) => {
  ctx.skip(missing !== undefined, missing)
  return Effect.gen(function*() {
    const redis = yield* redisOf
    const say = (node: string, claim: number, used: number, demand: number) =>
      redis.eval(divide)("k", node, claim, used, demand, 100, 10, 60_000, 60_000)
    assert.deepStrictEqual(yield* say("new", 0, 0, 100), [10, 1])
    assert.deepStrictEqual(yield* say("old", 60, 60, 100), [50, 2])
    assert.deepStrictEqual(yield* say("new", 10, 10, 100), [10, 2])
    // What it has used already is still held, so a second one that was there before must do with what is left.
    assert.deepStrictEqual(yield* say("older", 60, 20, 100), [30, 3])
  })
})
