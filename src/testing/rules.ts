/** Faults in force, counted down: the common part of the rigs. */
import { Schema } from "effect"
import { checks } from "../internal/options.ts"

const between = (minimum: number, maximum: number) => Schema.isBetween({ minimum, maximum })

/** How long a fault waits, in milliseconds: up to a day. */
export const Millis = Schema.Finite.check(between(0, 86_400_000))

/** When a rule hits. */
export const Aim = Schema.Struct({
  /** How many it hits before it is gone. Defaults to all until it is cleared. */
  times: Schema.optional(Schema.Int.check(between(1, 1_000_000_000))),
  /** How many pass first. Defaults to 0. */
  after: Schema.optional(Schema.Int.check(between(0, 1_000_000_000))),
  /** The share it hits, 0 to 1, drawn from a seeded generator. Defaults to 1. */
  probability: Schema.optional(Schema.Finite.check(between(0, 1)))
})
export type Aim = typeof Aim.Type

export interface Rules<R extends Aim> {
  /** Throws `InvalidOptions` for what is no rule: it would hit always, or never. */
  readonly add: (rule: R) => string
  /** Takes one rule away, or all. */
  readonly clear: (id?: string) => void
  readonly all: () => ReadonlyArray<{ readonly id: string; readonly rule: R; readonly left: number }>
  /** The rules that hit what `applies` says, in their order, up to the first that `ends` it; counts them down. */
  readonly take: (applies: (rule: R) => boolean, ends: (rule: R) => boolean) => ReadonlyArray<R>
}

/** No rules. `module` is whose they are; the same seed draws the same chances. */
export const makeRules = <R extends Aim>(module: string, schema: Schema.Codec<R, unknown>, seed = 1): Rules<R> => {
  const decode = Schema.decodeUnknownResult(Schema.toType(schema))
  const entries = new Map<string, { readonly rule: R; left: number; passing: number }>()
  let nextId = 1
  let state = seed >>> 0
  // mulberry32: the chances must be the same in any process, whatever random service it runs under
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  /** Counts the rule down; false when it lets this one pass. */
  const strikes = (id: string, entry: { readonly rule: R; left: number; passing: number }): boolean => {
    if (entry.passing > 0) {
      entry.passing--
      return false
    }
    if (entry.rule.probability !== undefined && random() >= entry.rule.probability) return false
    if (--entry.left <= 0) entries.delete(id)
    return true
  }
  return {
    add: (rule) => {
      checks(module).decoded(decode(rule))
      const id = `fault-${nextId++}`
      entries.set(id, { rule, left: rule.times ?? Infinity, passing: rule.after ?? 0 })
      return id
    },
    clear: (id) => id === undefined ? entries.clear() : void entries.delete(id),
    all: () => Array.from(entries, ([id, { left, rule }]) => ({ id, rule, left })),
    take: (applies, ends) => {
      const hits: Array<R> = []
      for (const [id, entry] of Array.from(entries)) {
        if (!applies(entry.rule) || !strikes(id, entry)) continue
        hits.push(entry.rule)
        if (ends(entry.rule)) break
      }
      return hits
    }
  }
}
