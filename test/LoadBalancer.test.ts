import { assert, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Random, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"
import * as Fallback from "../src/Fallback.ts"
import { type Algorithm, BalancerCore, type BalancerSettings, NONE } from "../src/internal/balancerCore.ts"
import { LatencyHistogram } from "../src/internal/latencyHistogram.ts"
import type { InvalidOptions } from "../src/InvalidOptions.ts"
import * as LoadBalancer from "../src/LoadBalancer.ts"
import { type BreakerVerdict, NetworkError, ProviderError } from "../src/ProviderError.ts"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { interruptedSomewhere, law, someSteps } from "./internal/interruptionLaw.ts"
import { seeded } from "./internal/seeded.ts"

const algorithms: ReadonlyArray<Algorithm> = ["round-robin", "least-loaded", "peak-ewma", "consistent"]

/** A core over targets `t0`, `t1` ..., which are out while their number is in `out`. */
const coreOf = (
  weights: ReadonlyArray<number>,
  settings: Partial<BalancerSettings> = {},
  out: ReadonlySet<number> = new Set<number>()
) =>
  new BalancerCore(
    {
      algorithm: "least-loaded",
      panicShare: 1,
      slowStartMillis: 10_000,
      decayMillis: 10_000,
      random: seeded(1).next,
      ...settings
    },
    weights.map((weight, index) => ({
      name: `t${index}`,
      weight,
      availability: () => out.has(index) ? 1_000 : 0
    }))
  )

/** How often each of the targets is chosen. */
const tally = (core: BalancerCore, calls: number, call: (n: number) => number): Array<number> => {
  const counts = core.targets.map(() => 0)
  for (let n = 0; n < calls; n++) counts[call(n)]!++
  return counts
}

/** A call ends and is learnt from. */
const settle = (
  core: BalancerCore,
  index: number,
  ...outcome: readonly [BreakerVerdict, number, number]
): void => {
  core.release(index)
  core.learn(index, ...outcome)
}

// -- fairness --------------------------------------------------------------------------------------------------------

const Weights = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
  .check(Schema.isMinLength(1), Schema.isMaxLength(6))
const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))

it.prop("weighted RR: every round gives each target exactly its weight, wherever it begins", {
  weights: Weights,
  seed: Seed
}, ({ seed, weights }) => {
  const core = coreOf(weights, { algorithm: "round-robin", random: seeded(seed).next })
  const round = weights.reduce((a, b) => a + b, 0)
  for (let begin = 0; begin < 3; begin++) {
    assert.deepStrictEqual(tally(core, round, () => core.admit(0)), Array.from(weights))
  }
})

it.prop("weighted RR: no target is ever a whole call per rival ahead or behind", { weights: Weights, seed: Seed }, ({
  seed,
  weights
}) => {
  const core = coreOf(weights, { algorithm: "round-robin", random: seeded(seed).next })
  const round = weights.reduce((a, b) => a + b, 0)
  const counts = weights.map(() => 0)
  for (let calls = 1; calls <= round; calls++) {
    counts[core.admit(0)]!++
    weights.forEach((weight, index) =>
      assert.isAtMost(Math.abs(counts[index]! - calls * weight / round), Math.max(1, weights.length - 1))
    )
  }
})

it("weighted RR is smooth, and processes that start together begin with different targets", () => {
  const sequence = (seed: number): string => {
    const core = coreOf([5, 1, 1], { algorithm: "round-robin", random: seeded(seed).next })
    return Array.from({ length: 7 }, () => core.admit(0)).join("")
  }
  // nginx's example: a a b a c a a, seen from some place of the round
  const rounds = new Set(Array.from({ length: 50 }, (_, seed) => sequence(seed)))
  for (const round of rounds) assert.include("0010200001020", round)
  assert.isAbove(rounds.size, 3)
})

it("weighted P2C: calls that end at once are shared by weight", () => {
  const core = coreOf([1, 2, 5])
  const counts = tally(core, 20_000, () => {
    const index = core.admit(0)
    settle(core, index, "Success", 1, 0)
    return index
  })
  // Without load the first of the two drawn wins, and it is drawn by weight.
  const shares = counts.map((count) => count / 20_000)
  for (const [index, expected] of [1 / 8, 2 / 8, 5 / 8].entries()) assert.approximately(shares[index]!, expected, 0.02)
})

it("weighted P2C: calls that stay are spread by weight, without a herd", () => {
  const core = coreOf([1, 1, 1, 1, 1, 1, 1, 1, 2, 2])
  tally(core, 1_200, () => core.admit(0))
  for (const { inFlight, target } of core.targets) assert.approximately(inFlight / target.weight, 100, 5)
})

it("P2C: an idle target among busy ones draws a share of the calls, not the herd", () => {
  for (const algorithm of ["least-loaded", "peak-ewma"] as const) {
    const core = coreOf(Array<number>(10).fill(1), { algorithm })
    for (let index = 0; index < 10; index++) {
      core.begin(index)
      settle(core, index, "Success", 50, 0)
      if (index > 0) { for (let n = 0; n < 50; n++) core.begin(index) }
    }
    const counts = tally(core, 40, () => core.admit(0))
    // It is one of two drawn in a fifth of the calls; "the least loaded of all" would send it 40 of 40.
    assert.isBelow(counts[0]!, 20, algorithm)
    assert.isAbove(counts[0]!, 0, algorithm)
  }
})

it("EWMA: a slow target gets little, and is asked again when what was seen has faded", () => {
  const core = coreOf([1, 1, 1], { algorithm: "peak-ewma" })
  const call = (now: number): number => {
    const index = core.admit(now)
    settle(core, index, "Success", index === 0 ? 500 : 20, now)
    return index
  }
  for (let now = 0; now < 100; now++) call(now)
  assert.isBelow(tally(core, 300, (n) => call(100 + n))[0]!, 3)
  // Its 500 ms have faded below 20 after about three times the decay; the others' are kept fresh all the while.
  assert.isAbove(tally(core, 600, (n) => call(400 + n * 100))[0]!, 0)
})

it("EWMA: of a target that was never timed, or not for long, one call at a time finds out", () => {
  const core = coreOf([1, 1], { algorithm: "peak-ewma" })
  const known = (now: number): void => {
    core.begin(0)
    settle(core, 0, "Success", 50, now)
  }
  known(0)
  assert.strictEqual(tally(core, 15, () => core.admit(0))[1], 1)
  settle(core, 1, "Success", 5, 5)
  // Faster, it may have more now; much later nobody knows any more.
  assert.isAbove(tally(core, 15, () => core.admit(5))[1]!, 5)
  while (core.targets[1]!.inFlight > 0) core.release(1)
  known(60_000)
  assert.strictEqual(tally(core, 5, () => core.admit(60_000))[1], 1)
})

it("EWMA: one slow answer counts at once, quick ones make up for it slowly", () => {
  const core = coreOf([1, 1], { algorithm: "peak-ewma" })
  core.begin(0)
  settle(core, 0, "Success", 20, 0)
  core.begin(0)
  settle(core, 0, "Success", 800, 10)
  assert.strictEqual(core.targets[0]!.latency, 800)
  core.begin(0)
  settle(core, 0, "Success", 20, 20)
  assert.isAbove(core.targets[0]!.latency, 700)
})

it("P2C and EWMA: a target that fails fast attracts nobody", () => {
  for (const algorithm of ["least-loaded", "peak-ewma"] as const) {
    const core = coreOf([1, 1, 1], { algorithm })
    /** Calls to t0 fail in 1 ms, the others answer in 50; ten run at a time. */
    const running: Array<{ readonly index: number; readonly end: number }> = []
    const counts = tally(core, 1_000, (n) => {
      const now = n * 5
      for (const call of running.splice(0)) {
        if (call.end > now) running.push(call)
        else settle(core, call.index, call.index === 0 ? "Failure" : "Success", call.index === 0 ? 1 : 50, call.end)
      }
      const index = core.admit(now)
      running.push({ index, end: now + (index === 0 ? 1 : 50) })
      return index
    })
    // Counting running calls alone, it would look idle and get more than half.
    assert.isBelow(counts[0]!, 150, algorithm)
  }
})

it("ignored outcomes say nothing: a local refusal of 0 ms attracts nobody", () => {
  const core = coreOf([1, 1], { algorithm: "peak-ewma" })
  core.begin(0)
  settle(core, 0, "Success", 100, 0)
  core.begin(0)
  settle(core, 0, "Ignored", 0, 10)
  assert.deepInclude(core.targets[0]!, { latency: 100, seenAt: 0, inFlight: 0 })
})

it("consistent: keys stay with their target, are spread by weight, and only those of a lost one move", () => {
  const out = new Set<number>()
  const core = coreOf([1, 1, 2], { algorithm: "consistent", slowStartMillis: 0 }, out)
  const owners = () => Array.from({ length: 4_000 }, (_, n) => core.admit(0, `key ${n}`))
  const before = owners()
  assert.deepStrictEqual(owners(), before)
  for (const [index, expected] of [0.25, 0.25, 0.5].entries()) {
    assert.approximately(before.filter((owner) => owner === index).length / 4_000, expected, 0.03)
  }
  out.add(1)
  const without = owners()
  before.forEach((owner, n) =>
    owner === 1 ? assert.notStrictEqual(without[n], 1) : assert.strictEqual(without[n], owner)
  )
  out.clear()
  assert.deepStrictEqual(owners(), before)
})

// -- a slow target, in virtual time ----------------------------------------------------------------------------------

/** Four servers, one of them ten times as slow; what 20 seconds of calls are like when they are shared in this way. */
const slowOne = (algorithm: Algorithm | "random", seed: number): LatencyHistogram => {
  const latencies = new LatencyHistogram()
  const exit = VirtualTime.run((clock) =>
    Effect.gen(function*() {
      const targets = [200, 20, 20, 20].map((millis, index) => ({ name: `t${index}`, target: { millis, freeAt: 0 } }))
      const chance = seeded(seed)
      const balancer = yield* LoadBalancer.make({
        targets,
        algorithm: algorithm === "random" ? "least-loaded" : algorithm
      })
      /** One call after the other, as a server with one worker does them. */
      const ask = (server: { readonly millis: number; freeAt: number }) =>
        Effect.suspend(() => {
          const now = clock.currentTimeMillisUnsafe()
          server.freeAt = Math.max(now, server.freeAt) + server.millis
          return Effect.sleep(server.freeAt - now)
        })
      const call = Effect.gen(function*() {
        const began = clock.currentTimeMillisUnsafe()
        if (algorithm === "random") yield* ask(chance.pick(targets).target)
        else yield* balancer.execute(ask)
        latencies.record(clock.currentTimeMillisUnsafe() - began)
      })
      for (let n = 0; n < 1_000; n++) {
        yield* Effect.forkChild(call)
        yield* Effect.sleep(20)
      }
      yield* Effect.sleep("1 minute")
    }), { seed })
  assert.strictEqual(exit._tag, "Success")
  return latencies
}

it("P2C and EWMA beat chance when one target is slow", () => {
  for (const seed of [1, 2, 3]) {
    const random = slowOne("random", seed)
    const leastLoaded = slowOne("least-loaded", seed)
    const ewma = slowOne("peak-ewma", seed)
    // A quarter of the calls queue up at the slow one by chance: each takes seconds.
    assert.isAbove(random.quantile(0.95)!, 2_000)
    assert.isBelow(leastLoaded.quantile(0.95)!, random.quantile(0.95)! / 5)
    assert.isBelow(ewma.quantile(0.95)!, random.quantile(0.95)! / 20)
    assert.isBelow(ewma.mean!, leastLoaded.mean!)
  }
})

// -- targets that are out --------------------------------------------------------------------------------------------

it("balancer skips open circuits: no call goes to a target that is out, whatever the algorithm", () => {
  for (const algorithm of algorithms) {
    const core = coreOf([1, 1, 1], { algorithm }, new Set([1]))
    const counts = tally(core, 200, (n) => core.admit(n, `key ${n}`))
    assert.strictEqual(counts[1], 0, algorithm)
    assert.isAbove(Math.min(counts[0]!, counts[2]!), 50, algorithm)
  }
})

const failing = new ProviderError({
  provider: "p",
  operation: "o",
  reason: new NetworkError({ message: "refused", rule: "test", delivered: "no" })
})

it.effect("balancer skips open circuits: a breaker that opens takes its target out until it may be probed", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ failureThreshold: 2, recoveryTimeout: "5 seconds", jitter: false })
    const asked: Array<string> = []
    const balancer = yield* LoadBalancer.make({
      algorithm: "round-robin",
      targets: ["eu", "us"].map((name) => ({
        name,
        target: name,
        availability: LoadBalancer.ofBreaker(breaker, name)
      }))
    })
    let down = true
    const call = Effect.ignore(balancer.execute((name) =>
      Effect.suspend(() => {
        asked.push(name)
        return name === "eu" && down ? Effect.fail(failing) : Effect.void
      }).pipe(breaker.execute({ key: name }))
    ))
    yield* Effect.repeat(call, { times: 7 })
    assert.strictEqual(asked.filter((name) => name === "eu").length, 2)
    const [eu] = yield* balancer.status
    assert.strictEqual(Duration.toSeconds(eu!.retryAfter), 5)
    down = false
    yield* TestClock.adjust("5 seconds")
    asked.length = 0
    yield* Effect.repeat(call, { times: 29 })
    assert.include(asked, "eu")
  }))

it("slow start: a target that came back gets a tenth of its share, then more, then all of it", () => {
  for (const algorithm of ["round-robin", "consistent"] as const) {
    const out = new Set([0])
    const core = coreOf([1, 1], { algorithm }, out)
    const share = (now: number): number => tally(core, 1_000, (n) => core.admit(now, `key ${n}`))[0]! / 1_000
    assert.strictEqual(share(0), 0)
    out.clear()
    assert.approximately(share(1_000), 0.1 / 1.1, 0.03, algorithm)
    assert.approximately(share(6_000), 0.5 / 1.5, 0.03, algorithm)
    assert.approximately(share(11_000), 0.5, 0.03, algorithm)
  }
})

it("slow start: under load P2C gives it a share of the running calls that grows", () => {
  const out = new Set([0])
  const core = coreOf([1, 1], {}, out)
  tally(core, 100, () => core.admit(0))
  out.clear()
  core.look(0)
  tally(core, 20, () => core.admit(5_000))
  // Half its weight while the other holds 100: at most half as much would be its due.
  assert.approximately(core.targets[0]!.inFlight, 15, 5)
  tally(core, 280, () => core.admit(10_000))
  assert.approximately(core.targets[0]!.inFlight, 200, 10)
})

it("a clock that is set back ends no target's service", () => {
  const out = new Set([0])
  const core = coreOf([1, 1], { algorithm: "round-robin" }, out)
  core.look(100_000)
  out.clear()
  core.look(100_000)
  assert.strictEqual(core.targets[0]!.weight, 0.1)
  core.look(0)
  assert.strictEqual(core.targets[0]!.weight, 1)
  assert.deepStrictEqual(tally(core, 100, () => core.admit(0)), [50, 50])
})

it("max ejected share, panic mode: above the share all targets are used, at it the others alone", () => {
  const out = new Set([0, 1])
  const core = coreOf([1, 1, 1, 1], { algorithm: "round-robin", panicShare: 0.5 }, out)
  assert.deepStrictEqual(tally(core, 100, () => core.admit(0)), [0, 0, 50, 50])
  assert.isFalse(core.panicking)
  out.add(2)
  assert.deepStrictEqual(tally(core, 100, () => core.admit(0)), [25, 25, 25, 25])
  assert.isTrue(core.panicking)
  out.delete(2)
  assert.strictEqual(tally(core, 100, () => core.admit(20_000))[0], 0)
})

it("max ejected share, panic mode: by default only when all are out, and never where it is switched off", () => {
  const out = new Set([0, 1])
  assert.deepStrictEqual(
    tally(coreOf([1, 1, 1], {}, out), 30, function(this: void) {
      return coreOf([1, 1, 1], {}, out).admit(0)
    }),
    [0, 0, 30]
  )
  out.add(2)
  assert.notStrictEqual(coreOf([1, 1, 1], {}, out).admit(0), NONE)
  assert.strictEqual(coreOf([1, 1, 1], { panicShare: Infinity }, out).admit(0), NONE)
})

it.effect("max ejected share: a breaker that bounds its open circuits keeps targets in use", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ failureThreshold: 1, maxOpenShare: 0.5 })
    const names = ["a", "b", "c", "d"]
    for (const name of names) yield* breaker.status(name)
    const balancer = yield* LoadBalancer.make({
      targets: names.map((name) => ({ name, target: name, availability: LoadBalancer.ofBreaker(breaker, name) })),
      panicShare: false
    })
    const call = balancer.execute((name) => Effect.fail(failing).pipe(breaker.execute({ key: name })))
    const errors = yield* Effect.forEach(Array.from({ length: 40 }), () => Effect.flip(call))
    // Everything fails, and still two of four are asked.
    assert.isTrue(errors.every(({ _tag }) => _tag === "ProviderError"))
    assert.strictEqual((yield* balancer.status).filter(({ retryAfter }) => Duration.toMillis(retryAfter) > 0).length, 2)
  }))

// -- the operator ----------------------------------------------------------------------------------------------------

it.effect("fails with NoTarget and the soonest return only where panic is switched off, and the type says so", () =>
  Effect.gen(function*() {
    const targets = [3_000, 2_000].map((millis) => ({ name: `t${millis}`, target: millis, availability: () => millis }))
    const strict = yield* LoadBalancer.make({ name: "replicas", targets, panicShare: false })
    const call = strict.execute(() => Effect.succeed("asked"))
    expectTypeOf(call).toEqualTypeOf<Effect.Effect<string, LoadBalancer.NoTarget>>()
    const error = yield* Effect.flip(call)
    assert.strictEqual(error.message, "No target of replicas is available, retry after 2s")
    const plain = yield* LoadBalancer.make({ targets })
    const answer = plain.execute(() => Effect.succeed("asked"))
    expectTypeOf(answer).toEqualTypeOf<Effect.Effect<string>>()
    assert.strictEqual(yield* answer, "asked")
    assert.isTrue(yield* plain.panicking)
  }))

it.effect("counts a call as running until it ends, however it ends", () =>
  Effect.gen(function*() {
    const balancer = yield* LoadBalancer.make({ targets: [{ name: "a", target: "a" }] })
    const running = Effect.map(balancer.status, ([a]) => a!.inFlight)
    const gate = yield* Deferred.make<void>()
    const fiber = yield* Effect.forkChild(balancer.execute(() => Deferred.await(gate)), { startImmediately: true })
    assert.strictEqual(yield* running, 1)
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(fiber)
    for (const work of [Effect.fail("no"), Effect.die("bug"), Effect.interrupt]) {
      yield* Effect.exit(balancer.execute(() => work))
      assert.strictEqual(yield* running, 0)
    }
    const broken = balancer.execute((): Effect.Effect<void> => {
      throw new Error("bug")
    })
    assert.strictEqual((yield* Effect.exit(broken))._tag, "Failure")
    assert.strictEqual(yield* running, 0)
    assert.strictEqual((yield* balancer.status)[0]!.calls, 5)
  }))

it.effect("a classify that throws is a defect of the call, which has ended all the same", () =>
  Effect.gen(function*() {
    const balancer = yield* LoadBalancer.make({
      targets: [{ name: "a", target: 1 }],
      classify: () => {
        throw new Error("bug")
      }
    })
    assert.isTrue(Exit.hasDies(yield* Effect.exit(balancer.execute(Effect.succeed))))
    assert.isTrue(Exit.hasDies(yield* Effect.exit(balancer.on("a")(Effect.void))))
    const [status] = yield* balancer.status
    assert.deepInclude(status, { calls: 2, inFlight: 0 })
  }))

it("interruption law: whatever is interrupted wherever, no call is left running", () => {
  law(
    150,
    Effect.gen(function*() {
      const algorithm = algorithms[yield* Random.nextIntBetween(0, algorithms.length)]!
      const targets = ["a", "b", "c"].map((name) => ({ name, target: name }))
      const balancer = yield* LoadBalancer.make({ algorithm, targets })
      yield* Effect.forEach(
        Array.from({ length: 8 }),
        (_, n) =>
          interruptedSomewhere(
            n % 2 === 0 ? balancer.execute(() => someSteps(20), { key: `${n}` }) : balancer.on("b")(someSteps(20)),
            20
          ),
        { concurrency: "unbounded" }
      )
      for (const { inFlight } of yield* balancer.status) assert.strictEqual(inFlight, 0)
    })
  )
})

it.effect("order: all targets, the next call's first and those that are out last, for who tries one after the other", () =>
  Effect.gen(function*() {
    const waits = [2_000, 0, 1_000, 0]
    const balancer = yield* LoadBalancer.make({
      targets: waits.map((wait, index) => ({ name: `t${index}`, target: wait, availability: () => wait }))
    })
    yield* Effect.forkChild(balancer.on("t1")(Effect.never), { startImmediately: true })
    const names = Effect.map(balancer.order(), (targets) => targets.map(({ name }) => name))
    assert.deepStrictEqual(yield* names, ["t3", "t1", "t2", "t0"])
    const served = yield* Effect.flatMap(balancer.order(), (targets) =>
      Fallback.inOrder(
        targets.map(({ name, target }) => ({
          name,
          call: balancer.on(name)(target > 0 ? Effect.succeed(name) : Effect.fail(failing))
        })),
        { service: "replicas", operation: "ask" }
      ))
    assert.strictEqual(served.value, "t2")
    assert.deepStrictEqual((yield* balancer.status).map(({ calls }) => calls), [0, 2, 1, 1])
  }))

it("order: in panic, too, those that are out come after those that are in, soonest back first", () => {
  const waits = [5_000, 0, 1_000]
  const targets = waits.map((wait, index) => ({ name: `t${index}`, weight: 1, availability: () => wait }))
  const settings = { panicShare: 0.5, slowStartMillis: 0, decayMillis: 1_000, random: seeded(1).next }
  const core = new BalancerCore({ algorithm: "least-loaded", ...settings }, targets)
  const orders = new Set(Array.from({ length: 100 }, () => core.order(0).join(" ")))
  assert.isTrue(core.panicking)
  assert.deepStrictEqual(Array.from(orders).sort(), ["0 1 2", "1 2 0", "2 1 0"])
})

it("slow start: the keys of a target that came back return to it by and by, and no others move", () => {
  const out = new Set([0])
  const core = coreOf([1, 1, 1], { algorithm: "consistent" }, out)
  const owners = (now: number) => Array.from({ length: 3_000 }, (_, n) => core.admit(now, `key ${n}`))
  const without = owners(0)
  out.clear()
  let before = without
  for (const now of [1_000, 3_000, 6_000, 11_000]) {
    const after = owners(now)
    after.forEach((owner, n) => owner === before[n] || assert.strictEqual(owner, 0))
    assert.isAbove(after.filter((owner) => owner === 0).length, before.filter((owner) => owner === 0).length)
    before = after
  }
})

it.effect("refuses options that make no sense, by field", () =>
  Effect.gen(function*() {
    const fieldOf = (options: LoadBalancer.Options<string>) =>
      Effect.map(Effect.flip(LoadBalancer.make(options)), (error: InvalidOptions) => `${error.module} ${error.field}`)
    const one = { name: "a", target: "a" }
    assert.strictEqual(yield* fieldOf({ targets: [] }), "LoadBalancer targets")
    assert.strictEqual(yield* fieldOf({ targets: [one, one] }), "LoadBalancer targets")
    assert.strictEqual(yield* fieldOf({ targets: [{ ...one, weight: 0 }] }), "LoadBalancer targets.a.weight")
    assert.strictEqual(yield* fieldOf({ targets: [one], panicShare: 0 }), "LoadBalancer panicShare")
    assert.strictEqual(yield* fieldOf({ targets: [one], decay: 0 }), "LoadBalancer decay")
    // @ts-expect-error no such algorithm
    assert.strictEqual(yield* fieldOf({ targets: [one], algorithm: "fast" }), "LoadBalancer algorithm")
  }))
