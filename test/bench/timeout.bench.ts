/** What an attempt timeout costs, beside Effect's own and cockatiel's; and a deadline and a hedge, which work as it does. */
import { timeout, TimeoutStrategy } from "cockatiel"
import { Effect } from "effect"
import * as Deadline from "../../src/Deadline.ts"
import * as Hedge from "../../src/Hedge.ts"
import * as Timeout from "../../src/Timeout.ts"
import { asyncLoop, type Case, loop, type Suite, type Work, works } from "./harness.ts"

const kinds: ReadonlyArray<Work> = ["sync", "resolved", "immediate"]
const ours = Timeout.attempt("10 seconds")
const theirs = timeout(10_000, TimeoutStrategy.Cooperative)
const hedge = Effect.runSync(Hedge.make({ delay: "10 seconds" }))
const settled = Promise.resolve(1)
const never = new Promise<number>(() => {})

const cases: ReadonlyArray<Case> = kinds.flatMap((kind): Array<Case> => [
  { name: `bare, ${kind}`, make: () => loop(works[kind].effect) },
  { name: `timeout, ${kind}`, make: () => loop(ours(works[kind].effect)) },
  { name: `Effect.timeout, ${kind}`, make: () => loop(Effect.timeout(works[kind].effect, "10 seconds")) },
  { name: `cockatiel, ${kind}`, make: () => asyncLoop(() => theirs.execute(works[kind].call)) }
])

export const suite: Suite = {
  name: "timeout",
  cases: [
    ...cases,
    { name: "deadline, resolved", make: () => loop(Deadline.within("10 seconds")(works.resolved.effect)) },
    { name: "hedge, resolved", make: () => loop(hedge.execute({ idempotent: true })(works.resolved.effect)) },
    { name: "promise leaf, resolved", make: () => loop(Timeout.promise("10 seconds", () => settled)) },
    {
      name: "promise leaf with its signal, resolved",
      make: () => loop(Timeout.promise("10 seconds", (signal) => signal.aborted ? never : settled))
    }
  ],
  goals: [
    { name: "timeout / Effect.timeout, sync", of: "timeout, sync", per: "Effect.timeout, sync", atMost: 0.5 },
    {
      name: "timeout / Effect.timeout, resolved",
      of: "timeout, resolved",
      per: "Effect.timeout, resolved",
      atMost: 0.45
    },
    { name: "timeout / cockatiel, resolved", of: "timeout, resolved", per: "cockatiel, resolved", atMost: 0.35 },
    { name: "promise leaf / bare, resolved", of: "promise leaf, resolved", per: "bare, resolved", atMost: 2.5 }
  ]
}
