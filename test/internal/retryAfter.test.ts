import { assert, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { fromFields, fromHeaders, fromText, header, httpDate, retryAfterMillis } from "../../src/internal/retryAfter.ts"

const noon = Date.UTC(2026, 10, 23, 12, 0, 0)

it("reads seconds, fractions and all three forms of an HTTP date", () => {
  const after = (text: string) => retryAfterMillis(text, undefined, noon)
  assert.strictEqual(after("120"), 120_000)
  assert.strictEqual(after(" 0.5 "), 500)
  assert.strictEqual(after("0"), 0)
  assert.strictEqual(after("Mon, 23 Nov 2026 12:00:30 GMT"), 30_000)
  assert.strictEqual(after("Monday, 23-Nov-26 12:00:30 GMT"), 30_000)
  assert.strictEqual(after("Mon Nov 23 12:00:30 2026"), 30_000)
  assert.strictEqual(after("2026-11-23T12:00:30Z"), 30_000)
  assert.strictEqual(httpDate("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_777_000)
  assert.strictEqual(httpDate("Sunday, 06-Nov-94 08:49:37 GMT"), 784_111_777_000)
  assert.strictEqual(httpDate("Sun Nov  6 08:49:37 1994"), 784_111_777_000)
})

it("refuses negatives, the past, points in time, and nonsense", () => {
  const nonsense = [
    "-1",
    "",
    " ",
    "soon",
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "5, 5",
    "5 s",
    "1700000000",
    "9".repeat(100)
  ]
  for (
    const text of [
      ...nonsense,
      "Mon, 23 Nov 2026 11:59:59 GMT",
      "Mon, 99 Nov 2026 12:00:30 GMT",
      "Mon, 23 Foo 2026 12:00:30 GMT"
    ]
  ) {
    assert.strictEqual(retryAfterMillis(text, undefined, noon), undefined, text)
  }
})

it("a date counts from the answer's own date, whatever our clock says; without both it tells nothing", () => {
  const date = "Mon, 23 Nov 2026 12:00:30 GMT"
  assert.strictEqual(retryAfterMillis(date, "Mon, 23 Nov 2026 12:00:00 GMT", noon + 86_400_000), 30_000)
  assert.strictEqual(retryAfterMillis(date, undefined, undefined), undefined)
})

it("finds a header in every form that clients keep them, in any case", () => {
  const forms: ReadonlyArray<unknown> = [
    { "Retry-After": "7" },
    { "retry-after": 7 },
    { "RETRY-AFTER": ["7", "8"] },
    new Headers({ "retry-after": "7" }),
    new Map([["Retry-After", "7"]]),
    new Map([["retry-after", "7"]]),
    [["Retry-After", "7"]],
    ["Content-Type", "x", "Retry-After", "7"]
  ]
  for (const form of forms) assert.strictEqual(header(form, "retry-after"), "7")
  const hostile = new Proxy({}, {
    get: () => {
      throw new Error("hostile")
    }
  })
  for (const none of [undefined, null, "7", 7, {}, hostile]) assert.strictEqual(header(none, "retry-after"), undefined)
})

it("milliseconds come before seconds, and a limit's reset counts when nothing remains", () => {
  assert.strictEqual(fromHeaders({ "retry-after-ms": "250", "retry-after": "9" }, noon, true), 250)
  assert.strictEqual(fromHeaders({ "retry-after-ms": "-1", "retry-after": "9" }, noon, true), 9_000)
  assert.strictEqual(fromHeaders({ "retry-after-ms": "1e400" }, noon, true), undefined)
  const limits = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "1h2m3s"
  }
  assert.strictEqual(fromHeaders(limits, noon, true), 3_723_000)
  assert.strictEqual(fromHeaders(limits, noon, false), undefined)
  assert.strictEqual(fromHeaders({ "x-ratelimit-remaining": "3", "x-ratelimit-reset": "60" }, noon, true), undefined)
  assert.strictEqual(
    fromHeaders({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(noon / 1_000 + 60) }, noon, true),
    60_000
  )
  assert.strictEqual(
    fromHeaders({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(noon + 60_000) }, noon, true),
    60_000
  )
  assert.strictEqual(fromHeaders({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "-1" }, noon, true), undefined)
})

it("reads fields by their units", () => {
  assert.strictEqual(fromFields({ retryAfter: Duration.seconds(2) }), 2_000)
  assert.strictEqual(fromFields({ retry_after: 0.65 }), 650)
  assert.strictEqual(fromFields({ retryAfterMs: 12 }), 12)
  assert.strictEqual(fromFields({ retryDelay: "32s" }), 32_000)
  for (const wait of [-1, Number.NaN, Infinity, "soon", {}, null]) {
    assert.strictEqual(fromFields({ retryAfter: wait }), undefined)
  }
})

it("reads words, not every number beside them", () => {
  assert.strictEqual(fromText("please try again in 644ms."), 644)
  assert.strictEqual(fromText("please try again in 6m0s. visit https://x"), 360_000)
  assert.strictEqual(fromText("please retry after 54 seconds."), 54_000)
  assert.strictEqual(fromText("please retry in 32.5s"), 32_500)
  assert.strictEqual(fromText("try again in 1 minute 30 seconds"), 90_000)
  for (const text of ["retry 3 times", "limit 30000, used 29937", "retry after lunch", "retried 5s ago"]) {
    assert.strictEqual(fromText(text), undefined, text)
  }
})

it.prop(
  "never throws, and never tells a wait that is negative or endless",
  { value: Schema.Json, text: Schema.String },
  ({ text, value }) => {
    for (
      const wait of [
        retryAfterMillis(text, text, noon),
        fromHeaders(value, noon, true),
        fromHeaders({ "retry-after": value, "retry-after-ms": text }, noon, true),
        fromFields(value),
        fromText(text)
      ]
    ) assert.isTrue(wait === undefined || (wait >= 0 && wait <= 31 * 86_400_000))
  }
)
