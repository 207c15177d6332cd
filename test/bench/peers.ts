/** The libraries that ours are measured against, set up as their documentation says. */
import * as cockatiel from "cockatiel"
import { createRequire } from "node:module"

/** What of opossum is used here; it comes without types. */
interface Opossum {
  new(action: () => unknown, options: Record<string, unknown>): {
    fire(): Promise<unknown>
    fallback(f: () => unknown): void
    shutdown(): void
    open(): void
  }
}
export const Opossum = createRequire(import.meta.url)("opossum") as Opossum

export { cockatiel }
