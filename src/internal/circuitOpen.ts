/** The refusal of a circuit; its public name is `CircuitBreaker.CircuitOpen`. */
import { type Duration, Schema } from "effect"
import { stackless } from "./stackless.ts"

/** The circuit is open: the call was refused and never ran. */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>()("CircuitOpen", {
  /** The circuit's name. */
  key: Schema.String,
  /** How long until a call may pass; infinite when an operator holds the circuit open. */
  retryAfter: Schema.DurationFromMillis
}) {
  override get message(): string {
    return `circuit ${this.key} is open`
  }
}

/** A refusal without a stack whose `retryAfter` is asked for when it is read: one serves a whole open period. */
export const sharedRefusal = (key: string, retryAfter: () => Duration.Duration): CircuitOpen =>
  Object.defineProperty(stackless(() => new CircuitOpen({ key, retryAfter: retryAfter() })), "retryAfter", {
    get: retryAfter,
    enumerable: true,
    configurable: true
  })
