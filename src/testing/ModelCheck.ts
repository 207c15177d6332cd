/**
 * Every sequence of steps up to a length, against a reference model: what random tests find only by luck. For small
 * bounds this is a proof, and it fits whatever keeps state behind steps that happen one at a time: a core, a store in
 * Redis, a table.
 *
 * **Example** (A counter that forgets its third step)
 *
 * ```ts
 * import { ModelCheck } from "holdfast/testing"
 *
 * const broken = ModelCheck.exhaust({
 *   steps: ["up", "down"],
 *   length: 4,
 *   make: () => {
 *     let count = 0
 *     let model = 0
 *     let ups = 0
 *     return (step) => {
 *       if (step === "up" && ++ups !== 3) count++
 *       if (step === "down") count--
 *       model += step === "up" ? 1 : -1
 *       return count === model ? undefined : `counts ${count}, should be ${model}`
 *     }
 *   }
 * })
 * broken?.sequence.join(" ") // => up up up
 * ```
 */
import { checks } from "../internal/options.ts"

/** A sequence that breaks, the shortest first, and what is wrong after its last step. */
export interface Counterexample<Step> {
  readonly sequence: ReadonlyArray<Step>
  readonly message: string
}

export interface Options<Step> {
  readonly steps: ReadonlyArray<Step>
  /** The longest sequence. There are `steps.length` to the power of it. */
  readonly length: number
  /**
   * A fresh subject and its model. Each step is done to both; the answer is what is wrong after it, `undefined` for
   * nothing.
   */
  readonly make: () => (step: Step) => string | undefined
}

/**
 * Tries all sequences, shorter ones first, and returns the first that breaks. Throws `InvalidOptions` for steps or a length
 * that make no sequence: nothing would be tried.
 */
export const exhaust = <Step>(options: Options<Step>): Counterexample<Step> | undefined => {
  const { make, steps } = options
  const { ensure, int } = checks("ModelCheck")
  ensure(steps.length > 0, "steps", "must not be empty")
  // Only the sequences of full length are run: each has all its beginnings in it. After one that broke, only shorter ones.
  let most = int("length", options.length, 0, { min: 1 })
  let shortest: Counterexample<Step> | undefined
  const indices = Array.from({ length: most }, () => 0)
  for (;;) {
    const apply = make()
    for (let at = 0; at < most; at++) {
      const message = apply(steps[indices[at]!]!)
      if (message !== undefined) {
        shortest = { sequence: indices.slice(0, at + 1).map((index) => steps[index]!), message }
        most = at
      }
    }
    let at = most - 1
    while (at >= 0 && ++indices[at]! === steps.length) indices[at--] = 0
    if (at < 0) return shortest
  }
}
