/** Milliseconds in each unit of a Go-like duration. */
const units: { readonly [unit: string]: number } = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** From here on a plain number is a point in time in epoch seconds, as some providers send it. */
const epochSeconds = 1_000_000_000
/** From here on it is in epoch milliseconds. */
const epochMillis = 1_000_000_000_000

/**
 * When a limit is reset, as milliseconds from `now`: seconds, epoch seconds or milliseconds, or a Go-like duration
 * such as `12ms`, `6m0s`, `1h2m3s`. `undefined` for what is none of these.
 */
export const resetMillis = (header: string | undefined, now: number): number | undefined => {
  if (header === undefined || header.length > 32) return undefined
  const text = header.trim()
  if (/^\d+(\.\d+)?$/.test(text)) {
    const value = Number(text)
    if (value < epochSeconds) return value * 1_000
    return Math.max(0, (value < epochMillis ? value * 1_000 : value) - now)
  }
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined
  let millis = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    millis += Number(amount) * (units[unit ?? ""] ?? 0)
  }
  return millis
}
