/** The one error of construction: an option makes no sense, and `field` names it. */
import { Schema } from "effect"

/** An option that was given makes no sense. `module` and `field` say which one, `why` the reason, `message` all of it. */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>()("InvalidOptions", {
  /** Whose option it is, such as `"CircuitBreaker"`. */
  module: Schema.String,
  /** The option, with a dot for what is nested: `"retry.maxRetries"`. */
  field: Schema.String,
  why: Schema.String
}) {
  override get message(): string {
    return `${this.module}: ${this.field} ${this.why}`
  }
}
