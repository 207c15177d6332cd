/** Finding the category of an error, over the table of recorded shapes. The errors are made beforehand and timed apart. */
import { classify } from "../../src/Classifier.ts"
import { rebuild } from "../../src/internal/errorShape.ts"
import { shapes } from "../errorShapes.ts"
import type { Run, Suite } from "./harness.ts"

const errors = shapes.map(({ error }) => error)

/** Goes through the table again and again: every call is another kind of error. */
const over = <A>(items: ReadonlyArray<A>, call: (item: A) => number): Run => (calls) => {
  let sum = 0
  for (let i = 0; i < calls; i++) sum += call(items[i % items.length]!)
  if (sum < 0) throw new Error("unreachable: keeps the calls alive")
}

const ofLength = (length: number): Error => new Error("all work and no play ".repeat(length / 21 + 1).slice(0, length))

export const suite: Suite = {
  name: "classify",
  cases: [
    { name: "JSON.stringify of the shape", make: () => over(errors, (shape) => JSON.stringify(shape).length) },
    { name: "category", make: () => over(errors.map(rebuild), (error) => classify(error).category.length) },
    {
      name: "category, verdicts, wait and message",
      make: () =>
        over(errors.map(rebuild), (error) => {
          const { message, retryAfterMillis, verdicts } = classify(error)
          return message.length + verdicts.retry.length + (retryAfterMillis ?? 0)
        })
    },
    { name: "making the error", make: () => over(errors, (shape) => rebuild(shape) === null ? 1 : 0) },
    { name: "message of 1 kB", make: () => over([ofLength(1_000)], (error) => classify(error).category.length) },
    { name: "message of 10 MB", make: () => over([ofLength(10_000_000)], (error) => classify(error).category.length) }
  ],
  goals: [
    { name: "category / JSON.stringify", of: "category", per: "JSON.stringify of the shape", atMost: 2 },
    { name: "10 MB / 1 kB", of: "message of 10 MB", per: "message of 1 kB", atMost: 1 }
  ]
}
