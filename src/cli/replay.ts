/** `holdfast replay`: what a breaker and the predictor would have made of recorded incidents. */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { fileURLToPath } from "node:url"
import * as Replay from "../testing/TraceReplay.ts"
import * as Traces from "../testing/Traces.ts"

const ownTraces = fileURLToPath(new URL("../../test/data/incidents", import.meta.url))

/** One line of the report: `data` by `detector`. */
interface Line {
  readonly data: string
  readonly detector: string
  readonly detected?: number
  readonly total?: number
  /** Seconds after the fault. */
  readonly medianDelay?: number | undefined
  /** Steps before the labelled start. */
  readonly medianLead?: number | undefined
  readonly falsePerDay?: number
  readonly falseAlarms?: number
  readonly rocArea?: number | undefined
  /** Alarms on the baseline alone, by node. */
  readonly baseline?: { readonly [node: string]: number }
}

export const replay = Command.make(
  "replay",
  {
    paths: Argument.String("path").pipe(
      Argument.withDescription(
        "A directory of traces: petshop/, and the series that its windows.json names. Needed where Holdfast is installed; in its repository, those of the tests by default"
      ),
      Argument.variadic()
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print the measures as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, paths }) {
    for (const path of paths.length > 0 ? paths : [ownTraces]) {
      const traces = yield* Traces.read(path).pipe(
        Effect.mapError((error) => paths.length > 0 ? error : elsewhere(error))
      )
      const lines = [...episodes(traces), ...series(traces)]
      yield* Console.log(json ? JSON.stringify({ path, lines }) : `\n${path}\n\n${table(lines)}\n`)
    }
  })
).pipe(
  Command.withDescription("Replay recorded incidents and compare when they are noticed"),
  Command.withExamples([
    { command: "holdfast replay test/data/incidents", description: "Breaker, reference and predictor side by side" }
  ])
)

/** Holdfast's own traces come with its repository, not with the package. */
const elsewhere = ({ detail, path }: Traces.UnreadableTraces) =>
  new Traces.UnreadableTraces({ path, detail: `${detail}. Name a directory of yours: holdfast replay DIRECTORY` })

const callDetectors = {
  "breaker, defaults": () => Replay.breaker({}),
  reactive: (baseline: ReadonlyArray<Traces.Bucket>) => Replay.breaker(Replay.reactive, Replay.slowMillisOf(baseline)),
  predictor: () => Replay.predictor
}

const episodes = (traces: Traces.Traces): ReadonlyArray<Line> => {
  if (traces.baseline.size === 0) return []
  return Object.entries(callDetectors).flatMap(([detector, make]): ReadonlyArray<Line> => {
    const { availability, baseline, falsePerDay, latency, rocArea } = Replay.replayEpisodes(traces, make)
    return [
      { data: "petshop, availability", detector, ...availability },
      { data: "petshop, latency", detector, ...latency },
      { data: "petshop, before the faults", detector, falsePerDay, rocArea },
      { data: "petshop, baseline", detector, baseline }
    ]
  })
}

const valueDetectors = { reactive: Replay.threshold, predictor: Replay.gauge }

const series = (traces: Traces.Traces): ReadonlyArray<Line> => {
  const kinds = Map.groupBy(traces.series, ({ file }) => file.split("/")[0] ?? file)
  return Array.from(kinds, ([data, all]) =>
    Object.entries(valueDetectors).map(([detector, make]): Line => {
      const { detected, falseAlarms, falsePerDay, medianLead, total } = Replay.replaySeries(all, make)
      return { data, detector, detected, total, medianLead, falseAlarms, falsePerDay }
    })).flat()
}

const table = (lines: ReadonlyArray<Line>): string => {
  const number = (value: number | undefined, unit = ""): string =>
    value === undefined ? "-" : `${Number(value.toFixed(3))}${unit}`
  const rows = lines.toSorted((a, b) => order(lines, a.data) - order(lines, b.data)).map((line) => [
    line.data,
    line.detector,
    line.total === undefined ? "" : `${line.detected}/${line.total}`,
    "medianDelay" in line ? number(line.medianDelay, " s late") : "",
    "medianLead" in line ? number(line.medianLead, " steps ahead") : "",
    line.falsePerDay === undefined ? "" : `${number(line.falsePerDay)} false a day`,
    line.rocArea === undefined ? "" : `ROC area ${number(line.rocArea)}`,
    line.baseline === undefined
      ? ""
      : `alarms: ${Object.entries(line.baseline).map(([node, alarms]) => `${node} ${alarms}`).join(", ")}`
  ])
  const head = rows.map(([data = "", detector = "", detected = "", ...rest]) => [
    data,
    detector,
    detected,
    rest.filter((cell) => cell !== "").join(", ")
  ])
  const widths = [0, 1, 2].map((column) => Math.max(...head.map((row) => row[column]?.length ?? 0)))
  return head.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()).join("\n")
}

const order = (lines: ReadonlyArray<Line>, data: string): number => lines.findIndex((line) => line.data === data)
