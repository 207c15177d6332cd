/**
 * When an alert fires and resolves, pure. A violation must last before it fires, and after it resolved the rule rests,
 * so that a value at the edge does not ring all night.
 */
export type State =
  & {
    /** The latest time this state has seen; a clock behind it was set back. */
    readonly at: number
  }
  & (
    | { readonly _tag: "Quiet"; /** No firing before this time. */ readonly restUntil: number }
    | { readonly _tag: "Pending"; readonly since: number; readonly restUntil: number }
    | { readonly _tag: "Firing"; readonly since: number }
  )

/** What changed: it began to fire, or stopped. */
export type Change = "Fired" | "Resolved" | undefined

export interface Rules {
  /** How long the condition must hold before it fires. */
  readonly forMillis: number
  /** How long after resolving it cannot fire. */
  readonly cooldownMillis: number
}

export const initial: State = { _tag: "Quiet", restUntil: -Infinity, at: -Infinity }

/** `violated` is `undefined` where nobody can say: a firing alert goes on, a pending one starts again. */
export const transition = (
  before: State,
  violated: boolean | undefined,
  now: number,
  rules: Rules
): readonly [Change, State] => {
  const state = now < before.at ? shifted(before, now - before.at) : before
  switch (state._tag) {
    case "Firing":
      return violated === false
        ? ["Resolved", { _tag: "Quiet", restUntil: now + rules.cooldownMillis, at: now }]
        : [undefined, { ...state, at: now }]
    case "Quiet":
    case "Pending": {
      const { restUntil } = state
      if (violated !== true) return [undefined, { _tag: "Quiet", restUntil, at: now }]
      const since = state._tag === "Pending" ? state.since : now
      return now - since >= rules.forMillis && now >= restUntil
        ? ["Fired", { _tag: "Firing", since: now, at: now }]
        : [undefined, { _tag: "Pending", since, restUntil, at: now }]
    }
  }
}

/** The same state on a clock that was set back: what was left to wait is left to wait. */
const shifted = (state: State, by: number): State => {
  const at = state.at + by
  switch (state._tag) {
    case "Quiet":
      return { ...state, at, restUntil: state.restUntil + by }
    case "Pending":
      return { ...state, at, since: state.since + by, restUntil: state.restUntil + by }
    case "Firing":
      return { ...state, at, since: state.since + by }
  }
}
