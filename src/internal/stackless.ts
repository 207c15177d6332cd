/**
 * Makes an error without a stack trace. A refusal is an answer, not an accident: its stack says nothing, and taking it
 * costs six times the rest of the refusal when refusals come in storms.
 */
export const stackless = <E>(make: () => E): E => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const error = make()
  Error.stackTraceLimit = limit
  return error
}
