/** The clock whose time native timers keep, and a rough look at it. */
import { Clock, Context } from "effect"

export const liveClock = Context.get(Context.empty(), Clock.Clock)

const tickMillis = 20

let millis = 0
let looked = false
let ticker: ReturnType<typeof setInterval> | undefined
/** Another one, such as a test's fake timers, needs another ticker. */
let setBy: typeof setInterval | undefined

/**
 * The live clock's time as it was up to 20 ms ago, or as long ago as the event loop was held up: enough to say into which
 * bucket of a window of seconds a call falls. A look at the clock costs 50 ns, a third of what a closed circuit costs;
 * this costs 2, and a timer that ticks only while somebody looks.
 */
export const roughMillis = (): number => {
  looked = true
  if (ticker === undefined || setBy !== setInterval) start()
  return millis
}

/** By how much two rough looks, or a rough and a true one, may be out of order without the clock having been set back. */
export const roughness = 1_000

const start = (): void => {
  clearInterval(ticker)
  millis = liveClock.currentTimeMillisUnsafe()
  setBy = setInterval
  ticker = setInterval(onTick, tickMillis)
  ticker.unref()
}

const onTick = (): void => {
  if (looked) {
    looked = false
    millis = liveClock.currentTimeMillisUnsafe()
  } else {
    clearInterval(ticker)
    ticker = undefined
  }
}
