/** What others failed with, read without trust: getters may throw, and a revoked proxy throws whatever it is asked. */
import { Predicate } from "effect"

/** A member, where there is one that can be read. */
export const memberOf = (error: unknown, name: string): unknown => {
  try {
    return Predicate.hasProperty(error, name) ? error[name] : undefined
  } catch {
    return undefined
  }
}

/** The tag, where it is a text. */
export const tagOf = (error: unknown): string | undefined => {
  const tag = memberOf(error, "_tag")
  return typeof tag === "string" ? tag : undefined
}

export const isTagged = (error: unknown): error is { readonly _tag: string } => tagOf(error) !== undefined
