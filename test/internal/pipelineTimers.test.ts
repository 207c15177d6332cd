import { afterEach, assert, beforeEach, it, vi } from "@effect/vitest"
import { AttemptTimers, type Timed } from "../../src/internal/pipelineTimers.ts"

let now = 0
const tickMillis = 1

beforeEach(() => {
  now = 0
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
  vi.spyOn(performance, "now").mockImplementation(() => now)
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const pass = (millis: number): void => {
  for (const end = now + millis; now < end;) {
    now += tickMillis
    vi.advanceTimersByTime(tickMillis)
  }
}

/** Time passes and nobody notices. */
const holdUp = (millis: number): void => {
  now += millis
}

/** When each expired, by name. */
const expired: Record<string, number> = {}
const timed = (name: string): Timed => {
  delete expired[name]
  return { dueTick: 0, next: undefined, previous: undefined, expire: () => void (expired[name] = now) }
}

it("an attempt has its time and at most two ticks more, and one that has ended expires never", () => {
  const timers = new AttemptTimers(20)
  const [first, ended, last] = [timed("first"), timed("ended"), timed("last")]
  timers.add(first)
  pass(5)
  timers.add(ended)
  timers.add(last)
  timers.remove(ended)
  timers.remove(ended)
  pass(40)
  assert.isTrue(20 <= expired["first"]! && expired["first"]! <= 22, `${expired["first"]}`)
  assert.isTrue(25 <= expired["last"]! && expired["last"]! <= 27, `${expired["last"]}`)
  assert.notProperty(expired, "ended")
  assert.deepStrictEqual([first.dueTick, ended.dueTick, last.dueTick], [0, 0, 0])
})

it("what came while the event loop was held up has its whole time from then, what came before has not", () => {
  const timers = new AttemptTimers(20)
  timers.add(timed("before"))
  pass(2)
  holdUp(500)
  timers.add(timed("meanwhile"))
  pass(30)
  assert.strictEqual(expired["before"], 503)
  assert.isTrue(522 <= expired["meanwhile"]! && expired["meanwhile"]! <= 525, `${expired["meanwhile"]}`)
})

it("it ticks while there is work, and begins again", () => {
  const timers = new AttemptTimers(20)
  for (const name of ["once", "again"]) {
    const attempt = timed(name)
    timers.add(attempt)
    assert.strictEqual(vi.getTimerCount(), 1)
    pass(3)
    timers.remove(attempt)
    pass(3)
    assert.strictEqual(vi.getTimerCount(), 0)
  }
})
