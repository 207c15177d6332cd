/** What simulations found, for people: a table, plots for a terminal, a page with charts. */
import { capacityOf, highestOf, type Result, type Scenario, type Second } from "./Simulation.ts"

/** The same way of calling over several seeds: medians, and the worst where it is the worst that counts. */
export interface Summary {
  readonly strategy: string
  readonly seeds: number
  readonly goodput: number
  readonly quietGoodput: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly amplification: number
  readonly worstPeakLoad: number
  readonly worstRecoveryLoad: number
  /** `null`: not within the run. */
  readonly secondsToRecover: number | null
  readonly worstSecondsToRecover: number | null
}

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Never is later than any time. */
const time = (result: Result): number => result.secondsToRecover ?? Infinity

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

/** Sums up the results of one way of calling. */
export const summarize = (results: ReadonlyArray<Result>): Summary => {
  const of = (read: (result: Result) => number) => median(results.map(read))
  return {
    strategy: results[0]?.strategy ?? "",
    seeds: results.length,
    goodput: of((result) => result.goodput),
    quietGoodput: of((result) => result.quietGoodput),
    p50: of((result) => result.latency.p50),
    p95: of((result) => result.latency.p95),
    p99: of((result) => result.latency.p99),
    amplification: of((result) => result.amplification),
    worstPeakLoad: Math.max(...results.map((result) => result.peakLoad)),
    worstRecoveryLoad: Math.max(...results.map((result) => result.recoveryLoad)),
    secondsToRecover: finite(of(time)),
    worstSecondsToRecover: finite(Math.max(...results.map(time)))
  }
}

const recovery = (seconds: number | null): string => (seconds === null ? "never" : `${seconds} s`)
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const columns: ReadonlyArray<readonly [title: string, cell: (summary: Summary) => string]> = [
  ["way of calling", ({ strategy }) => strategy],
  ["answered in time", ({ goodput }) => percent(goodput)],
  ["others in time", ({ quietGoodput }) => percent(quietGoodput)],
  ["p50 ms", ({ p50 }) => p50.toFixed(0)],
  ["p99 ms", ({ p99 }) => p99.toFixed(0)],
  ["attempts each", ({ amplification }) => amplification.toFixed(2)],
  ["peak load", ({ worstPeakLoad }) => `${worstPeakLoad.toFixed(2)}×`],
  ["load at recovery", ({ worstRecoveryLoad }) => `${worstRecoveryLoad.toFixed(2)} of capacity`],
  ["recovers after", (summary) =>
    summary.seeds === 1
      ? recovery(summary.secondsToRecover)
      : `${recovery(summary.secondsToRecover)} (worst ${recovery(summary.worstSecondsToRecover)})`]
]

/** The table as text, one line a way of calling. */
export const table = (summaries: ReadonlyArray<Summary>): string => {
  const rows = [
    columns.map(([title]) => title),
    ...summaries.map((summary) => columns.map(([, cell]) => cell(summary)))
  ]
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()).join("\n")
}

const bars = " ▁▂▃▄▅▆▇█"

/** A line of blocks as high as the values, at most so wide. */
export const sparkline = (values: ReadonlyArray<number>, highest: number, width = 60): string => {
  const per = Math.max(1, values.length / width)
  const cells = Array.from({ length: Math.min(width, values.length) }, (_, cell) => {
    const part = values.slice(
      Math.floor(cell * per),
      Math.max(Math.floor(cell * per) + 1, Math.floor((cell + 1) * per))
    )
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length
    return bars[Math.min(bars.length - 1, Math.round((mean / highest) * (bars.length - 1)))]
  })
  return cells.join("")
}

/** Requests, useful answers and attempts over time, as text. */
export const plot = (scenario: Scenario, result: Result): string => {
  const series = (read: (second: Second) => number): ReadonlyArray<number> => result.timeline.map(read)
  const highest = highestOf([1, ...series((second) => second.offered), ...series((second) => second.arrivals)])
  const line = (name: string, read: (second: Second) => number): string => {
    const values = series(read)
    return `  ${name.padEnd(9)}│${sparkline(values, highest)}│ up to ${highestOf(values)} a second`
  }
  const faults = scenario.timeline.map(({ at }) => at)
  const marks = Array.from({ length: 60 }, (_, cell) => {
    const at = (cell / 60) * scenario.seconds
    return faults.length > 0 && at >= Math.min(...faults) && at < scenario.faultEnds ? "▔" : " "
  })
  return [
    result.strategy,
    line("asked", (second) => second.offered),
    line("answered", (second) => second.good),
    line("attempts", (second) => second.arrivals),
    `  ${"fault".padEnd(9)} ${marks.join("")}`
  ].join("\n")
}

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

const width = 720
const height = 180

/** One chart as SVG: requests, useful answers, attempts. */
const chart = (scenario: Scenario, result: Result): string => {
  const { timeline } = result
  const capacity = capacityOf(scenario)
  const highest = highestOf([
    1,
    // Without bound where an answer takes no time.
    capacity < Infinity ? capacity : 0,
    ...timeline.map((second) => Math.max(second.offered, second.arrivals))
  ])
  const x = (second: number): number => (second / Math.max(1, timeline.length - 1)) * width
  const y = (value: number): number => height - (value / highest) * height
  const line = (read: (second: Second) => number, style: string): string =>
    `<polyline fill="none" ${style} points="${
      timeline.map((second, at) => `${x(at).toFixed(1)},${y(read(second)).toFixed(1)}`).join(" ")
    }"/>`
  const begins = Math.min(scenario.faultEnds, ...scenario.timeline.map(({ at }) => at))
  return `<svg viewBox="-44 -8 ${width + 60} ${height + 30}" role="img" aria-label="${
    escape(result.strategy)
  } over time">
<rect x="${x(begins)}" y="0" width="${
    x(scenario.faultEnds) - x(begins)
  }" height="${height}" fill="#b3261e" opacity=".1"/>
<path d="M0 0V${height}H${width}" fill="none" stroke="#888"/>
<text x="-6" y="6" text-anchor="end">${Math.round(highest)}</text><text x="-6" y="${height}" text-anchor="end">0</text>
<text x="${width}" y="${height + 18}" text-anchor="end">${scenario.seconds} s</text>
${line((second) => second.arrivals, `stroke="#8a5300" stroke-dasharray="5 3"`)}
${line((second) => second.offered, `stroke="#888"`)}
${line((second) => second.good, `stroke="#0b6e4f" stroke-width="2"`)}
</svg>`
}

/** A page of its own: tables and charts, nothing loaded from anywhere. `results` are one for each way of calling. */
export const html = (
  scenario: Scenario,
  summaries: ReadonlyArray<Summary>,
  results: ReadonlyArray<Result>
): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(scenario.name)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8885}
svg{width:100%;height:auto}text{font-size:11px;fill:currentColor}</style>
<h1>${escape(scenario.name)}</h1><p>${escape(scenario.title)}.</p>
<table><tr>${columns.map(([title]) => `<th scope="col">${title}</th>`).join("")}</tr>
${
    summaries.map((summary) => `<tr>${columns.map(([, cell]) => `<td>${escape(cell(summary))}</td>`).join("")}</tr>`)
      .join("\n")
  }
</table>
<p>Per second: requests (grey), answered in time (green, thick), attempts that reached a server (brown, dashed); the fault is shaded.</p>
${results.map((result) => `<h2>${escape(result.strategy)}</h2>${chart(scenario, result)}`).join("\n")}
</html>
`
