import { Effect } from "effect"
import { asyncLoop, loop, type Suite, works } from "./harness.ts"
export const suite: Suite = {
  name: "pipeline",
  cases: [
    { name: "bare, sync", make: () => loop(works.sync.effect) },
    { name: "timeout", make: () => loop(Effect.timeout(works.sync.effect, "1 second")) },
    { name: "async", make: () => asyncLoop(works.sync.call) },
    { name: "resolved", make: () => loop(works.resolved.effect) },
    { name: "immediate", make: () => loop(works.immediate.effect) }
  ],
  goals: [{ name: "x", of: "timeout", per: "bare, sync", atMost: 10 }]
}
