import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { BudgetCore } from "../../src/internal/budgetCore.ts"
import { BulkheadCore, type BulkheadWaiter } from "../../src/internal/bulkheadCore.ts"
import { RateLimitCore, type RateLimitWaiter, slidingWindow } from "../../src/internal/rateLimitCore.ts"
import { SingleFlight } from "../../src/internal/singleFlight.ts"
import { exhaust } from "../../src/testing/ModelCheck.ts"
import * as VirtualTime from "../../src/testing/VirtualTime.ts"

it("finds the shortest sequence that breaks", () => {
  const found = exhaust({
    steps: ["a", "b"],
    length: 6,
    make: () => {
      let seen = ""
      return (step) => (seen += step).endsWith("bab") ? `saw ${seen}` : undefined
    }
  })
  assert.deepStrictEqual(found, { sequence: ["b", "a", "b"], message: "saw bab" })
})

it("looks for nothing longer than what it found", () => {
  let runs = 0
  const found = exhaust({
    steps: ["a", "b", "c"],
    length: 12,
    make: () => {
      runs++
      let last = ""
      return (step) => {
        const repeated = step === "c" && last === "c"
        last = step
        return repeated ? "twice" : undefined
      }
    }
  })
  assert.deepStrictEqual(found, { sequence: ["c", "c"], message: "twice" })
  // Of half a million.
  assert.isBelow(runs, 100)
})

it("refuses what would try nothing, or never end", () => {
  const tried = (steps: ReadonlyArray<string>, length: number) => () =>
    exhaust({ steps, length, make: () => () => "wrong" })
  for (const length of [0, -1, 1.5, NaN, Infinity]) assert.throws(tried(["a"], length), /ModelCheck: length must be/)
  assert.throws(tried([], 3), /ModelCheck: steps must not be empty/)
})

it("bulkhead: every order of arrivals, ends, interruptions, resizes and drains up to seven steps", () => {
  type Step = "arrive" | "arrive other" | "end" | "give up" | "grow" | "shrink" | "drain"
  const queueLimit = 2
  const found = exhaust<Step>({
    steps: ["arrive", "arrive other", "end", "give up", "grow", "shrink", "drain"],
    length: 7,
    make: () => {
      const core = new BulkheadCore(1, queueLimit)
      const log: Array<string> = []
      let id = 0
      const waiters: Array<BulkheadWaiter & { readonly name: string }> = []
      // The model: a plain list, told in words. Tenants take turns; the fuller one makes room.
      let limit = 1
      let running = 0
      let queue: Array<{ readonly name: string; readonly tenant: string }> = []
      let turns: Array<string> = []
      const expected: Array<string> = []
      const takeTurn = (): void => {
        while (running < limit && queue.length > 0) {
          const tenant = turns[0]!
          const next = queue.find((one) => one.tenant === tenant)!
          queue = queue.filter((one) => one !== next)
          turns = turns.filter((one) => one !== tenant)
          if (queue.some((one) => one.tenant === tenant)) turns.push(tenant)
          expected.push(`${next.name} ok`)
          running++
        }
      }
      const leave = (name: string): void => {
        const gone = queue.find((one) => one.name === name)!
        queue = queue.filter((one) => one !== gone)
        if (!queue.some((one) => one.tenant === gone.tenant)) turns = turns.filter((one) => one !== gone.tenant)
      }
      const arrive = (tenant: string): void => {
        const name = `${tenant}${++id}`
        if (core.tryAcquire()) log.push(`${name} ok`)
        else {
          const waiter = {
            name,
            tenant,
            priority: 0,
            done: (refusal: string | undefined) => {
              waiters.splice(waiters.indexOf(waiter), 1)
              log.push(`${name} ${refusal ?? "ok"}`)
            }
          }
          waiters.push(waiter)
          if (!core.enqueue(waiter)) {
            waiters.splice(waiters.indexOf(waiter), 1)
            log.push(`${name} full`)
          }
        }
        if (running < limit && queue.length === 0) {
          running++
          expected.push(`${name} ok`)
          return
        }
        if (queue.length >= queueLimit) {
          const of = (one: string) => queue.filter((waiting) => waiting.tenant === one)
          const fullest = turns.toSorted((a, b) => of(b).length - of(a).length)[0]!
          if (of(tenant).length + 1 >= of(fullest).length) {
            expected.push(`${name} full`)
            return
          }
          const displaced = of(fullest).at(-1)!
          leave(displaced.name)
          expected.push(`${displaced.name} Displaced`)
        }
        queue.push({ name, tenant })
        if (!turns.includes(tenant)) turns.push(tenant)
      }
      return (step) => {
        switch (step) {
          case "arrive":
            arrive("a")
            break
          case "arrive other":
            arrive("b")
            break
          case "end":
            if (running === 0) break
            core.release()
            running--
            takeTurn()
            break
          case "give up": {
            const last = waiters.at(-1)
            if (last === undefined) break
            core.cancel(last)
            waiters.pop()
            leave(last.name)
            break
          }
          case "grow":
          case "shrink":
            limit = step === "grow" ? 2 : 1
            core.resize(limit)
            takeTurn()
            break
          case "drain":
            core.drain()
            // In the order in which they would have been served.
            while (queue.length > 0) {
              const next = queue.find((one) => one.tenant === turns[0])!
              const [tenant] = turns
              leave(next.name)
              if (queue.some((one) => one.tenant === tenant)) {
                turns = [...turns.filter((one) => one !== tenant), tenant!]
              }
              expected.push(`${next.name} Drained`)
            }
            break
        }
        const told = log.join(", ")
        const should = expected.join(", ")
        if (told !== should) return `told ${told}; should be ${should}`
        if (core.running !== running || core.queued !== queue.length) {
          return `${core.running} run and ${core.queued} wait; should be ${running} and ${queue.length}`
        }
        return undefined
      }
    }
  })
  assert.isUndefined(found)
}, 120_000)

it("budget: every order of requests, retries, refunds and time up to eight steps", () => {
  const settings = { ratio: 0.5, bucket: 2, floorPerSecond: 1 }
  const found = exhaust({
    steps: ["request", "retry", "dear retry", "refund", "half a second", "clock back"],
    length: 8,
    make: () => {
      const core = new BudgetCore(settings)
      core.balance(0)
      // The model counts in half tokens, so that nothing is rounded.
      let halves = 4
      let now = 0
      let latest = 0
      const paid: Array<number> = []
      return (step) => {
        let answer: boolean | undefined
        let expected: boolean | undefined
        switch (step) {
          case "request":
            core.deposit(now)
            halves = Math.min(4, halves + 1)
            break
          case "retry":
          case "dear retry": {
            const cost = step === "retry" ? 1 : 2
            answer = core.withdraw(cost, now)
            expected = halves >= cost * 2
            if (expected) {
              halves -= cost * 2
              paid.push(cost)
            }
            break
          }
          case "refund": {
            const cost = paid.pop()
            if (cost === undefined) break
            core.refund(cost)
            halves = Math.min(4, halves + cost * 2)
            break
          }
          case "half a second":
            now += 500
            halves = Math.min(4, halves + (now > latest ? 1 : 0))
            latest = Math.max(latest, now)
            core.balance(now)
            break
          case "clock back":
            now -= 500
            latest = now
            core.balance(now)
            break
        }
        if (answer !== expected) return `${step} answered ${answer}, should be ${expected}`
        const balance = core.balance(now) * 2
        return Math.abs(balance - halves) < 1e-9 ? undefined : `holds ${balance} halves, should be ${halves}`
      }
    }
  })
  assert.isUndefined(found)
}, 120_000)

it("rate limit: never more than its limit in a window, first come first served, up to eight steps", () => {
  const found = exhaust({
    steps: ["ask", "wait for a turn", "give up", "tick", "hold"],
    length: 8,
    make: () => {
      const core = new RateLimitCore(slidingWindow(2, 1_000))
      const starts: Array<number> = []
      const queue: Array<RateLimitWaiter> = []
      let now = 0
      let heldUntil = 0
      const free = (): boolean => now >= heldUntil && starts.filter((start) => start > now - 1_000).length < 2
      return (step) => {
        switch (step) {
          case "ask": {
            const expected = queue.length === 0 && free()
            if (core.tryTake(1, now) !== expected) return `asked at ${now}: should be ${expected}`
            if (expected) starts.push(now)
            break
          }
          case "wait for a turn": {
            const waiter = { cost: 1, latest: Infinity, turn: () => {} }
            core.enqueue(waiter)
            queue.push(waiter)
            break
          }
          case "give up": {
            const first = queue.shift()
            if (first !== undefined) core.leave(first)
            break
          }
          case "tick":
            now += 500
            // The first in the queue asks again, as its fiber would.
            while (queue.length > 0) {
              const expected = free()
              if ((core.takeFirst(1, now) === 0) !== expected) return `the first at ${now}: should be ${expected}`
              if (!expected) break
              starts.push(now)
              core.leave(queue.shift()!)
            }
            break
          case "hold":
            heldUntil = Math.max(heldUntil, now + 700)
            core.holdUntil(now + 700, now)
            break
        }
        return core.queued === queue.length ? undefined : `${core.queued} wait, should be ${queue.length}`
      }
    }
  })
  assert.isUndefined(found)
}, 120_000)

it("single flight: every order of joining, leaving, answering, failing and discarding up to six steps", () => {
  type Step = "join" | "first leaves" | "last leaves" | "answer" | "fail" | "discard"
  const length = 6

  /** Does the steps to the flight and to the model, and tells what is wrong. */
  const inspect = (steps: ReadonlyArray<Step>) =>
    Effect.gen(function*() {
      const flights = new SingleFlight()
      const begun: Array<{ readonly done: Deferred.Deferred<number, string>; ended: string }> = []
      /** Who waits, and for which piece of work. */
      let waiting: Array<{ readonly fiber: Fiber.Fiber<number, string>; readonly work: number }> = []
      /** The work that may be joined. */
      let current: number | undefined
      const broken: Array<string> = []

      const effect = Effect.suspend(() => {
        const done = Deferred.makeUnsafe<number, string>()
        const entry = { done, ended: "runs" }
        begun.push(entry)
        return Effect.onExit(Deferred.await(done), (exit) =>
          Effect.sync(() => {
            entry.ended = Exit.isSuccess(exit) ? "answered" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
          }))
      })
      const leave = Effect.fnUntraced(function*(at: number) {
        const [gone] = waiting.splice(at, 1)
        if (gone === undefined) return
        yield* Fiber.interrupt(gone.fiber)
        const left = waiting.some(({ work }) => work === gone.work)
        const state = begun[gone.work]?.ended
        if (state !== (left ? "runs" : "interrupted")) broken.push(`work ${gone.work} ${state} after its waiter left`)
        if (!left && current === gone.work) current = undefined
      })
      const end = Effect.fnUntraced(function*(well: boolean) {
        const work = waiting[0]?.work
        if (work === undefined) return
        const { done } = begun[work]!
        yield* well ? Deferred.succeed(done, work) : Deferred.fail(done, `no ${work}`)
        for (const waiter of waiting.filter((one) => one.work === work)) {
          const exit = yield* Fiber.await(waiter.fiber)
          const told = Exit.isSuccess(exit) ? exit.value : Exit.findErrorOption(exit)
          const should = well ? work : `no ${work}`
          if (JSON.stringify(told) !== JSON.stringify(well ? should : { _id: "Option", _tag: "Some", value: should })) {
            broken.push(`a waiter of work ${work} was told ${JSON.stringify(told)}`)
          }
        }
        waiting = waiting.filter((one) => one.work !== work)
        if (current === work) current = undefined
      })

      for (const step of steps) {
        switch (step) {
          case "join": {
            const before = begun.length
            const fiber = yield* Effect.forkDetach(
              flights.join({ key: "k", tags: [], effect: () => effect, onEnd: () => {} }),
              { startImmediately: true }
            )
            if ((begun.length > before) !== (current === undefined)) {
              broken.push(`began ${begun.length - before} at a join`)
            }
            current ??= begun.length - 1
            waiting.push({ fiber, work: current })
            break
          }
          case "first leaves":
            yield* leave(0)
            break
          case "last leaves":
            yield* leave(waiting.length - 1)
            break
          case "answer":
          case "fail":
            yield* end(step === "answer")
            break
          case "discard":
            flights.discard(() => true)
            current = undefined
            break
        }
        const running = begun.filter(({ ended }) => ended === "runs").length
        const wanted = new Set(waiting.map(({ work }) => work)).size
        if (running !== wanted || flights.running.size !== wanted) {
          broken.push(`after ${step}: ${running} run, ${flights.running.size} are kept, ${wanted} are waited for`)
        }
      }
      yield* Fiber.interruptAll(waiting.map(({ fiber }) => fiber))
      if (flights.running.size > 0) broken.push("work runs on for nobody")
      return broken
    })

  const found = exhaust<Step>({
    steps: ["join", "first leaves", "last leaves", "answer", "fail", "discard"],
    length,
    make: () => {
      const steps: Array<Step> = []
      return (step) => {
        if (steps.push(step) < length) return undefined
        const exit = VirtualTime.run(() => inspect(steps))
        return Exit.isSuccess(exit) ? exit.value[0] : "it stood still"
      }
    }
  })
  assert.isUndefined(found)
}, 120_000)
