import { assert, it } from "@effect/vitest"
import { CacheCore, type CacheSettings, estimateBytes, type Use } from "../../src/internal/cacheCore.ts"
import { eachSeed } from "./eachSeed.ts"

const settings: CacheSettings = {
  capacity: 4,
  maxBytes: Infinity,
  revalidateMillis: 10,
  staleMillis: 100,
  retentionMillis: Infinity
}

const write = (core: CacheCore<number>, key: string, now: number, more?: {
  readonly value?: number
  readonly quality?: number
  readonly missing?: ReadonlyArray<string>
  readonly tags?: ReadonlyArray<string>
  readonly bytes?: number
}): boolean =>
  core.write(key, {
    payload: more?.value ?? 0,
    origin: {
      provider: "p",
      missing: more?.missing,
      quality: more?.quality ?? 0,
      tags: more?.tags ?? [],
      versions: undefined
    },
    madeAt: now,
    freshMillis: 10,
    bytes: more?.bytes ?? 0
  }, now)

it("an answer is fresh, then old and to be fetched anew, then for errors alone, then dead; each end excluded", () => {
  const core = new CacheCore<number>(settings)
  write(core, "a", 0)
  const uses: Array<Use> = [0, 9, 10, 19, 20, 109, 110].map((now) => core.use(core.entries.get("a")!, now))
  assert.deepStrictEqual(uses, ["Fresh", "Fresh", "Revalidate", "Revalidate", "IfError", "IfError", "Dead"])
  assert.isDefined(core.held("a", 109))
  assert.isUndefined(core.held("a", 110))
  assert.strictEqual(core.entries.size, 0)
})

it("what is kept in all ends every use of what is not fresh", () => {
  for (const [retentionMillis, until] of [[Infinity, 20], [20, 20], [15, 15], [10, 10]] as const) {
    const core = new CacheCore<number>({ ...settings, retentionMillis })
    write(core, "a", 0)
    const entry = core.entries.get("a")!
    assert.strictEqual(core.revalidateFor(entry, 0), until)
    assert.strictEqual(core.use(entry, until - 1), until === 10 ? "Fresh" : "Revalidate")
    assert.strictEqual(core.use(entry, until), retentionMillis === Infinity ? "IfError" : "Dead")
  }
})

it("on a clock that was set back an answer is as old as it is ahead", () => {
  const core = new CacheCore<number>(settings)
  write(core, "a", 1000)
  const entry = core.entries.get("a")!
  const uses: Array<Use> = [991, 990, 981, 980, 891, 890].map((now) => core.use(entry, now))
  assert.deepStrictEqual(uses, ["Fresh", "Revalidate", "Revalidate", "IfError", "IfError", "Dead"])
  assert.strictEqual(core.revalidateFor(entry, 985), 5)
})

it("scenario 42: one write over capacity evicts exactly one, an overwrite at capacity none", () => {
  const core = new CacheCore<number>(settings)
  for (const key of ["a", "b", "c", "d", "e"]) write(core, key, 0)
  assert.strictEqual(core.evictions, 1)
  assert.deepStrictEqual([...core.entries.keys()], ["b", "c", "d", "e"])
  write(core, "c", 0)
  assert.strictEqual(core.evictions, 1)
  assert.strictEqual(core.entries.size, 4)
})

it("100 keys over capacity evict exactly the 100 oldest", () => {
  const core = new CacheCore<number>({ ...settings, capacity: 1000 })
  for (let i = 0; i < 1100; i++) write(core, `k${i}`, 0)
  assert.strictEqual(core.evictions, 100)
  assert.strictEqual(core.entries.size, 1000)
  for (let i = 0; i < 1100; i++) assert.strictEqual(core.entries.has(`k${i}`), i >= 100)
})

it("the least recently used goes first", () => {
  const core = new CacheCore<number>(settings)
  for (const key of ["a", "b", "c", "d"]) write(core, key, 0)
  core.touch(core.entries.get("a")!)
  write(core, "e", 0)
  assert.deepStrictEqual([...core.entries.keys()].sort(), ["a", "c", "d", "e"])
})

it("bytes are bounded too, and what is larger than the bound is not kept", () => {
  const core = new CacheCore<number>({ ...settings, maxBytes: 10 })
  write(core, "a", 0, { bytes: 4 })
  write(core, "b", 0, { bytes: 4 })
  assert.isFalse(write(core, "c", 0, { bytes: 11 }))
  write(core, "d", 0, { bytes: 6 })
  assert.deepStrictEqual([...core.entries.keys()], ["b", "d"])
  assert.strictEqual(core.bytes, 10)
  write(core, "d", 0, { bytes: 1 })
  assert.strictEqual(core.bytes, 5)
})

it("only an equal or better answer overwrites, until the better one is dead", () => {
  const core = new CacheCore<number>(settings)
  write(core, "a", 0, { value: 1, quality: 2 })
  assert.isFalse(write(core, "a", 50, { value: 2, quality: 1 }))
  assert.strictEqual(core.entries.get("a")?.payload, 1)
  assert.isFalse(write(core, "a", 50, { value: 3, quality: 9, missing: ["x"] }))
  assert.isTrue(write(core, "a", 50, { value: 4, quality: 2 }))
  assert.isTrue(write(core, "b", 0, { value: 1, missing: ["x", "y"] }))
  assert.isTrue(write(core, "b", 0, { value: 2, missing: ["x"] }))
  assert.isFalse(write(core, "b", 0, { value: 3, missing: ["x", "y"] }))
  assert.isTrue(write(core, "a", 160, { value: 5, quality: 1 }))
})

it("the estimate counts shared parts once and ends on circles", () => {
  const shared = "x".repeat(100)
  const part = { shared }
  const circle: Record<string, unknown> = { part, again: part }
  circle["self"] = circle
  assert.strictEqual(estimateBytes(circle), 24 + 24 + 16 + 200)
  assert.isAbove(estimateBytes(new Float64Array(1000)), 8000)
  assert.isAbove(estimateBytes(new Map([["key", "v".repeat(50)]])), 100)
})

/** The same rules, written for reading: a list in the order of use, oldest first. */
interface Held {
  readonly key: string
  value: number
  madeAt: number
  quality: number
  tags: ReadonlyArray<string>
  bytes: number
}

it("does what a plain list does, under random gets, writes, invalidations and time", () => {
  eachSeed(400, (chance) => {
    const own: CacheSettings = {
      capacity: 1 + chance.int(5),
      maxBytes: chance.int(2) === 0 ? Infinity : 5 + chance.int(15),
      revalidateMillis: 10,
      staleMillis: 10 + chance.int(50),
      retentionMillis: chance.int(2) === 0 ? Infinity : 15 + chance.int(50)
    }
    const core = new CacheCore<number>(own)
    let list: Array<Held> = []
    let evictions = 0
    let now = 0
    const dead = ({ madeAt }: Held): boolean =>
      now - (madeAt + 10) >= own.staleMillis || now - madeAt >= own.retentionMillis
    const bytes = (): number => list.reduce((sum, { bytes }) => sum + bytes, 0)
    for (let step = 0; step < 60; step++) {
      const key = chance.pick(["a", "b", "c", "d", "e", "f", "g"])
      switch (chance.int(6)) {
        case 0: {
          now += chance.int(30)
          break
        }
        case 1: {
          const tag = chance.pick(["x", "y"])
          core.removeTag(tag)
          list = list.filter(({ tags }) => !tags.includes(tag))
          break
        }
        case 2: {
          const entry = core.held(key, now)
          list = list.filter((held) => held.key !== key || !dead(held))
          const index = list.findIndex((held) => held.key === key)
          assert.strictEqual(entry?.payload, list[index]?.value)
          if (entry !== undefined) {
            core.touch(entry)
            list.push(...list.splice(index, 1))
          }
          break
        }
        default: {
          const made: Held = {
            key,
            value: step,
            madeAt: now,
            quality: chance.int(2),
            tags: chance.int(3) === 0 ? [chance.pick(["x", "y"])] : [],
            bytes: chance.int(8)
          }
          const stored = write(core, key, now, made)
          list = list.filter((held) => held.key !== key || made.bytes > own.maxBytes || !dead(held))
          const before = list.find((held) => held.key === key)
          const expected = made.bytes <= own.maxBytes && (before === undefined || made.quality >= before.quality)
          assert.strictEqual(stored, expected)
          if (expected) {
            list = [...list.filter((held) => held.key !== key), made]
            while (list.length > own.capacity || bytes() > own.maxBytes) {
              list.shift()
              evictions++
            }
          }
        }
      }
      const entries = Array.from(core.entries.values(), ({ key, payload }) => `${key}=${payload}`).sort().join()
      assert.strictEqual(entries, list.map(({ key, value }) => `${key}=${value}`).sort().join())
      assert.strictEqual(core.bytes, bytes())
      assert.strictEqual(core.evictions, evictions)
    }
  })
})
