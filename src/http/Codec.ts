/** How query strings say lists and times. */
import { Duration, Schema, SchemaGetter } from "effect"

/** `a,b` with spaces allowed around each. */
export const CommaList = Schema.String.pipe(
  Schema.decodeTo(Schema.Array(Schema.NonEmptyString), {
    decode: SchemaGetter.transform((text: string) => text.split(",").map((item) => item.trim())),
    encode: SchemaGetter.transform((items: ReadonlyArray<string>) => items.join(","))
  })
)

const units: { readonly [unit: string]: number } = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** From `1m` to `24h` (or `1d`): minutes, hours, days. */
export const TimeRange = Schema.String.check(
  Schema.makeFilter((text: string) => {
    const millis = timeRangeMillis(text)
    return millis >= 60_000 && millis <= 86_400_000 ? true : "a time range from 1m to 24h, such as 90m or 6h"
  })
).pipe(
  Schema.decodeTo(Schema.Duration, {
    decode: SchemaGetter.transform((text: string) => Duration.millis(timeRangeMillis(text))),
    encode: SchemaGetter.transform((duration: Duration.Duration) => `${Duration.toMinutes(duration)}m`)
  })
)

const timeRangeMillis = (text: string): number => {
  const match = /^(\d{1,5})([mhd])$/.exec(text)
  return match === null ? Number.NaN : Number(match[1]) * units[match[2]!]!
}
