/** What a permit costs, beside Effect's semaphore and cockatiel's bulkhead. */
import { bulkhead } from "cockatiel"
import { Effect, Semaphore } from "effect"
import * as Bulkhead from "../../src/Bulkhead.ts"
import { asyncLoop, type Case, loop, type Suite, type Work, works } from "./harness.ts"

const kinds: ReadonlyArray<Work> = ["sync", "resolved", "immediate"]
const withPermit = Effect.runSync(Bulkhead.make()).withPermit()
const semaphore = Semaphore.makeUnsafe(64)
const theirs = bulkhead(64, 64)

export const suite: Suite = {
  name: "bulkhead",
  cases: kinds.flatMap((kind): Array<Case> => [
    { name: `bare, ${kind}`, make: () => loop(works[kind].effect) },
    { name: `bulkhead, ${kind}`, make: () => loop(withPermit(works[kind].effect)) },
    { name: `Semaphore.withPermit, ${kind}`, make: () => loop(semaphore.withPermit(works[kind].effect)) },
    { name: `cockatiel, ${kind}`, make: () => asyncLoop(() => theirs.execute(works[kind].call)) }
  ]),
  goals: [
    {
      name: "bulkhead / Semaphore.withPermit, sync",
      of: "bulkhead, sync",
      per: "Semaphore.withPermit, sync",
      atMost: 0.8
    },
    {
      name: "bulkhead / Semaphore.withPermit, resolved",
      of: "bulkhead, resolved",
      per: "Semaphore.withPermit, resolved",
      atMost: 0.9
    }
  ]
}
