/**
 * When an alert fires and resolves, pure. A violation must last before it fires, and after it resolved the rule rests,
 * so that a value at the edge does not ring all night.
 */
export type State =
  | { readonly _tag: "Quiet"; /** No firing before this time. */ readonly restUntil: number }
  | { readonly _tag: "Pending"; readonly since: number; readonly restUntil: number }
  | { readonly _tag: "Firing"; readonly since: number }

/** What changed: it began to fire, or stopped. */
export type Change = "Fired" | "Resolved" | undefined

export interface Rules {
  /** How long the condition must hold before it fires. */
  readonly forMillis: number
  /** How long after resolving it cannot fire. */
  readonly cooldownMillis: number
}

export const initial: State = { _tag: "Quiet", restUntil: -Infinity }

/** `violated` is `undefined` where too little happened to say: a firing alert goes on, a pending one starts again. */
export const transition = (
  state: State,
  violated: boolean | undefined,
  now: number,
  rules: Rules
): readonly [Change, State] => {
  switch (state._tag) {
    case "Firing":
      return violated === false
        ? ["Resolved", { _tag: "Quiet", restUntil: now + rules.cooldownMillis }]
        : [undefined, state]
    case "Quiet":
    case "Pending": {
      if (violated !== true) return [undefined, { _tag: "Quiet", restUntil: state.restUntil }]
      const since = state._tag === "Pending" ? state.since : now
      return now - since >= rules.forMillis && now >= state.restUntil
        ? ["Fired", { _tag: "Firing", since: now }]
        : [undefined, { _tag: "Pending", since, restUntil: state.restUntil }]
    }
  }
}
