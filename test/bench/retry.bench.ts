/** What a retry costs while nothing fails, beside Effect's own and cockatiel's. */
import { ExponentialBackoff, handleAll, retry } from "cockatiel"
import { Effect, Schedule } from "effect"
import * as Retry from "../../src/Retry.ts"
import { asyncLoop, type Case, loop, loopBuilt, type Suite, type Work, works } from "./harness.ts"

const kinds: ReadonlyArray<Work> = ["sync", "resolved", "immediate"]
const budgeted = Effect.runSync(Retry.make())
const unlimited = Effect.runSync(Retry.make({ budget: "unlimited" }))
const schedule = Schedule.exponential("100 millis").pipe(Schedule.upTo({ times: 3 }))
const cockatiel = retry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() })

export const suite: Suite = {
  name: "retry",
  cases: [
    ...kinds.flatMap((kind): Array<Case> => [
      { name: `bare, ${kind}`, make: () => loop(works[kind].effect) },
      { name: `retry, ${kind}`, make: () => loop(unlimited.execute()(works[kind].effect)) },
      { name: `Effect.retry, ${kind}`, make: () => loop(Effect.retry(works[kind].effect, schedule)) },
      { name: `cockatiel, ${kind}`, make: () => asyncLoop(() => cockatiel.execute(works[kind].call)) }
    ]),
    { name: "retry with a budget, sync", make: () => loop(budgeted.execute()(works.sync.effect)) },
    { name: "retry built per call, sync", make: () => loopBuilt(() => budgeted.execute()(works.sync.effect)) }
  ],
  goals: [
    { name: "retry / bare, sync", of: "retry, sync", per: "bare, sync", atMost: 2.2 },
    { name: "retry with a budget / bare, sync", of: "retry with a budget, sync", per: "bare, sync", atMost: 2.5 },
    { name: "retry / bare, resolved", of: "retry, resolved", per: "bare, resolved", atMost: 1.35 },
    { name: "retry / Effect.retry, sync", of: "retry, sync", per: "Effect.retry, sync", atMost: 1 / 8 }
  ]
}
