import { assert, it } from "@effect/vitest"
import { BudgetCore } from "../../src/internal/budgetCore.ts"
import { BulkheadCore, type BulkheadWaiter } from "../../src/internal/bulkheadCore.ts"
import { RateLimitCore, slidingWindow } from "../../src/internal/rateLimitCore.ts"
import { exhaust } from "../../src/testing/ModelCheck.ts"

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
      const queue: Array<{ readonly cost: number; readonly turn: () => void }> = []
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
            const waiter = { cost: 1, turn: () => {} }
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
            core.holdUntil(now + 700)
            break
        }
        return core.queued === queue.length ? undefined : `${core.queued} wait, should be ${queue.length}`
      }
    }
  })
  assert.isUndefined(found)
}, 120_000)
