/**
 * Measures by ratios. All cases of a suite run in one process, in short rounds interleaved in random order, a minor
 * garbage collection before each; a ratio is taken within a round, then median and p10..p90 over the rounds. Absolute
 * nanoseconds of a shared machine mean little, ratios within a round do.
 */
import { Effect, Exit } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Does at least `calls` calls and tells how many it did, when that is another number. */
export type Run = (calls: number) => void | number | Promise<void | number>

export interface Prepared {
  readonly run: Run
  /** Ends timers and the like. */
  readonly close?: () => void
}

/** One thing that is timed. Names are unique within the suite. */
export interface Case {
  readonly name: string
  readonly make: () => Run | Prepared
  /** Calls come in multiples of this, such as the number in flight. Defaults to 1. */
  readonly unit?: number
}

/** One thing that is not timed but weighed or counted: bytes per object, bytes per call, timers. */
export interface Measure {
  readonly name: string
  readonly unit: "B" | "count"
  readonly measure: () => number | Promise<number>
}

/** `of` over `per` (two cases), or `of` alone (a measure), is at most so much. */
export interface Goal {
  readonly name: string
  readonly of: string
  readonly per?: string
  readonly atMost: number
  /** The case that does the least which any policy must, with nothing of ours in it. */
  readonly floor?: string
}

export interface Suite {
  readonly name: string
  /** Its cases wait for something, so that the time that passes is what counts. Defaults to what they keep busy. */
  readonly waits?: boolean
  readonly cases: ReadonlyArray<Case>
  readonly measures?: ReadonlyArray<Measure>
  readonly goals: ReadonlyArray<Goal>
}

export interface Spread {
  readonly median: number
  readonly p10: number
  readonly p90: number
}

export interface GoalResult extends Omit<Goal, "floor"> {
  readonly value: Spread
  /** The floor over `per`, median. */
  readonly floor?: number
  /** Missed by more than 15 %. */
  readonly missed: boolean
}

export interface Result {
  readonly suite: string
  /** Nanoseconds per call. */
  readonly cases: ReadonlyArray<{ readonly name: string; readonly nanos: Spread }>
  readonly measures: ReadonlyArray<{ readonly name: string; readonly unit: string; readonly value: number }>
  readonly goals: ReadonlyArray<GoalResult>
}

export interface RunOptions {
  /** Rounds per suite. Defaults to 31. */
  readonly rounds?: number
  /** How long one case runs within a round. Defaults to 12. */
  readonly roundMillis?: number
}

const warmUps = 20

/** How much a goal may be missed before `--check` fails: runs on a shared machine differ by so much. */
export const tolerance = 1.15

const gc: (options?: { readonly type: "minor" | "major" }) => void = (() => {
  setFlagsFromString("--expose-gc")
  return runInNewContext("gc")
})()

const wallNanos = (): number => Number(process.hrtime.bigint())

/** The time of all the process's threads, the collector's too: on a shared machine the others' time says nothing. */
const processorNanos = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) * 1_000
}

export const runSuite = async (suite: Suite, options?: RunOptions): Promise<Result> => {
  const rounds = options?.rounds ?? 31
  const roundMillis = options?.roundMillis ?? 12
  const clock = suite.waits === true ? wallNanos : processorNanos
  checkNames(suite)
  const cases = suite.cases.map((self) => {
    const made = self.make()
    const prepared: Prepared = typeof made === "function" ? { run: made } : made
    return { name: self.name, unit: self.unit ?? 1, ...prepared, calls: self.unit ?? 1, nanos: Array<number>() }
  })
  const time = async (self: (typeof cases)[number]): Promise<number> => {
    const start = clock()
    const pending = self.run(self.calls)
    const done = typeof pending === "object" ? await pending : pending
    return (clock() - start) / (done ?? self.calls)
  }

  // All cases are warmed before any is sized, so that all are timed in a process that has seen them all; long enough for
  // the compiler to be done: of code as large as the classifier's the first dozen rounds take up to five times the later.
  for (let warm = 0; warm < warmUps; warm++) {
    for (const self of cases) {
      const perCall = await time(self)
      self.calls = roundUp((roundMillis * 1e6) / perCall, self.unit)
    }
  }
  for (const self of cases) self.calls = roundUp((roundMillis * 1e6) / await time(self), self.unit)

  for (let round = 0; round < rounds; round++) {
    for (const self of shuffled(cases)) {
      gc({ type: "minor" })
      self.nanos[round] = await time(self)
    }
  }
  for (const self of cases) self.close?.()

  const measures = []
  for (const self of suite.measures ?? []) {
    measures.push({ name: self.name, unit: self.unit, value: await self.measure() })
  }

  const nanos = new Map(cases.map((self) => [self.name, self.nanos]))
  const weights = new Map(measures.map((self) => [self.name, self.value]))
  return {
    suite: suite.name,
    cases: cases.map((self) => ({ name: self.name, nanos: spread(self.nanos) })),
    measures,
    goals: suite.goals.map(({ floor, ...goal }) => {
      const base = goal.per === undefined ? undefined : nanos.get(goal.per)!
      const ratio = (of: string): Spread =>
        spread(base === undefined ? [weights.get(of)!] : nanos.get(of)!.map((nanos, round) => nanos / base[round]!))
      const value = ratio(goal.of)
      return {
        ...goal,
        value,
        ...(floor !== undefined && { floor: ratio(floor).median }),
        missed: value.median > goal.atMost * tolerance
      }
    })
  }
}

/** The table of one suite, as text. */
export const render = (result: Result): string => {
  const lines = [`\n## ${result.suite}`]
  for (const { name, nanos } of result.cases) {
    lines.push(`  ${name.padEnd(52)} ${short(nanos.median).padStart(8)} ns   ${short(nanos.p10)}..${short(nanos.p90)}`)
  }
  for (const { name, unit, value } of result.measures) {
    lines.push(`  ${name.padEnd(52)} ${short(value).padStart(8)} ${unit}`)
  }
  if (result.goals.length > 0) lines.push(`  ${"goal".padEnd(52)}   at most    ratio   p10..p90`)
  for (const { name, atMost, floor, missed, value } of result.goals) {
    const verdict = missed ? "MISSED" : value.median > atMost ? "near" : "met"
    lines.push(
      `  ${name.padEnd(52)}  ${short(atMost).padStart(8)} ${short(value.median).padStart(8)}   ` +
        `${short(value.p10)}..${short(value.p90)}  ${verdict}${floor === undefined ? "" : ` (floor ${short(floor)})`}`
    )
  }
  return lines.join("\n")
}

// -- what a case is made from ----------------------------------------------------------------------------------------

const settled = Promise.resolve(1)
const immediate = (): Promise<number> => new Promise((resolve) => setImmediate(resolve, 1))

/** The three kinds of work that every policy is timed around. */
export const works = {
  sync: { effect: Effect.sync(() => 1), call: (): number | Promise<number> => 1 },
  resolved: { effect: Effect.promise(() => settled), call: (): number | Promise<number> => settled },
  immediate: { effect: Effect.promise(immediate), call: (): number | Promise<number> => immediate() }
} as const
export type Work = keyof typeof works

/** Calls one effect value again and again in one fiber. */
export const loop = <A, E>(effect: Effect.Effect<A, E>): Run => loopBuilt(() => effect)

/** As `loop`, but builds the effect for every call. */
export const loopBuilt = <A, E>(build: () => Effect.Effect<A, E>): Run => (calls) => {
  const fiber = Effect.runFork(times(calls, build))
  const exit = fiber.pollUnsafe()
  if (exit === undefined) {
    return new Promise((resolve, reject) => fiber.addObserver((exit) => settle(exit, resolve, reject)))
  }
  return settle(exit, () => {}, (error) => {
    throw error
  })
}

/** As `loop`, with so many fibers at once. */
export const loopInFlight = <A, E>(effect: Effect.Effect<A, E>, inFlight: number): Run => (calls) =>
  Effect.runPromise(
    Effect.forEach(
      Array.from({ length: inFlight }),
      () => times(Math.ceil(calls / inFlight), () => effect),
      { concurrency: "unbounded", discard: true }
    )
  )

/** Awaits one call after the other. */
export const asyncLoop = (call: () => unknown): Run => async (calls) => {
  for (let i = 0; i < calls; i++) await call()
}

/** As `asyncLoop`, with so many loops at once. */
export const asyncInFlight = (call: () => unknown, inFlight: number): Run => async (calls) => {
  const each = async (): Promise<void> => {
    for (let i = 0; i < calls / inFlight; i++) await call()
  }
  await Promise.all(Array.from({ length: inFlight }, each))
}

/** What a policy around an effect must have: something that looks at the fiber, and a frame that sees how the work ends. */
export const framed = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const frame = passing(self)
  return Effect.withFiber(() => frame)
}

/** As `framed`, where the frame gives something back: then nothing may interrupt between the taking and the frame. */
export const framedSafely = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const frame = passing(Effect.interruptible(self))
  return Effect.uninterruptibleMask(() => frame)
}

const passing = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.matchCauseEffect(self, { onSuccess: Exit.succeed, onFailure: Exit.failCause })

const times = <A, E>(calls: number, build: () => Effect.Effect<A, E>): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i < calls, body: build, step: () => i++ })
  })

// -- memory ----------------------------------------------------------------------------------------------------------

/** Bytes that stay on the heap per object, the array's slot not counted. */
export const heapPerObject = (make: (index: number) => unknown, count = 20_000): number => {
  const kept = Array.from<unknown>({ length: count })
  for (let i = 0; i < 100; i++) make(count + i)
  gc({ type: "major" })
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) kept[i] = make(i)
  gc({ type: "major" })
  const bytes = (process.memoryUsage().heapUsed - before) / count
  // Read after the weighing, so that the collector may not take the array earlier.
  return kept.length === count ? bytes : Number.NaN
}

/** Bytes allocated per call: the heap's growth over runs too short to be collected; the median of many. */
export const allocatedPerCall = async (run: Run, calls = 500): Promise<number> => {
  for (let i = 0; i < 40; i++) await run(calls)
  const samples: Array<number> = []
  for (let i = 0; i < 21; i++) {
    gc({ type: "minor" })
    const before = process.memoryUsage().heapUsed
    const pending = run(calls)
    if (typeof pending === "object") await pending
    samples.push((process.memoryUsage().heapUsed - before) / calls)
  }
  return spread(samples).median
}

/** How many timers keep the process going. */
export const activeTimers = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === "Timeout" || name === "Immediate").length

// -- helpers ---------------------------------------------------------------------------------------------------------

const settle = (
  exit: { readonly _tag: "Success" } | { readonly _tag: "Failure"; readonly cause: unknown },
  resolve: () => void,
  reject: (error: Error) => void
): void => exit._tag === "Success" ? resolve() : reject(new Error("a benchmark's effect failed", { cause: exit.cause }))

const checkNames = (suite: Suite): void => {
  const names = new Set([...suite.cases, ...suite.measures ?? []].map(({ name }) => name))
  if (names.size !== suite.cases.length + (suite.measures?.length ?? 0)) {
    throw new Error(`${suite.name}: two cases of one name`)
  }
  for (const goal of suite.goals) {
    for (const name of [goal.of, goal.per ?? goal.of, goal.floor ?? goal.of]) {
      if (!names.has(name)) throw new Error(`${suite.name}: the goal "${goal.name}" names no case "${name}"`)
    }
  }
}

const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!
  return { median: at(0.5), p10: at(0.1), p90: at(0.9) }
}

const shuffled = <A>(items: ReadonlyArray<A>): Array<A> => {
  const copy = [...items]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const held = copy[i]!
    copy[i] = copy[j]!
    copy[j] = held
  }
  return copy
}

const roundUp = (calls: number, unit: number): number => Math.max(unit, Math.ceil(calls / unit) * unit)

const short = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3)
