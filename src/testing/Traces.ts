/**
 * Recorded incidents to replay: buckets of calls of one dependency around faults that were switched on (petshop), and
 * series of one value per step with labelled windows. `test/data/incidents/README.md` has the formats and the sources.
 */
import { Effect, FileSystem, Option, Path, Schema } from "effect"

/** So many calls in one bucket of time, and how they went. */
export interface Bucket {
  /** Epoch seconds. */
  readonly at: number
  readonly requests: number
  readonly availability: number
  /** Seconds: the 50th, 90th, 95th and 99th percentile. */
  readonly quantiles: readonly [number, number, number, number]
}

export const bucketSeconds = 300

/** One call, in epoch milliseconds. */
export interface Call {
  readonly at: number
  readonly failed: boolean
  readonly latencyMillis: number
}

const shares = [0, 0.5, 0.9, 0.95, 0.99, 1]

/** The calls of a bucket, the same for everybody: evenly spread, their latencies by the golden ratio. */
export function* callsOf({ at, availability, quantiles: [p50, p90, p95, p99], requests }: Bucket): Generator<Call> {
  const n = Math.round(requests)
  const failures = Math.round(n * (1 - availability / 100))
  const latencies = [p50 / 2, p50, p90, p95, p99, 1.25 * p99]
  for (let k = 0; k < n; k++) {
    const u = ((k + 1) * 0.6180339887498949) % 1
    let i = 0
    while (i < 4 && u > shares[i + 1]!) i++
    const within = (u - shares[i]!) / (shares[i + 1]! - shares[i]!)
    yield {
      at: (at + bucketSeconds * (k + 0.5) / n) * 1_000,
      failed: Math.floor((k + 1) * failures / n) > Math.floor(k * failures / n),
      latencyMillis: (latencies[i]! + (latencies[i + 1]! - latencies[i]!) * within) * 1_000
    }
  }
}

const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))
/** Seconds that a call took. */
const Took = between(0, 1_000_000)
/** Epoch seconds, requests, availability in percent, the mean, and the 50th, 90th, 95th and 99th percentile. */
const Row = Schema.Tuple([Schema.Finite, between(0, 1_000_000), between(0, 100), Took, Took, Took, Took, Took])

/** A fault that was switched on. Rows are as `columns` names them. */
export const Episode = Schema.Struct({
  id: Schema.String,
  /** Epoch seconds. */
  issueAt: Schema.Finite,
  affects: Schema.Literals(["availability", "latency"]),
  rootCause: Schema.String,
  nodes: Schema.Record(Schema.String, Schema.Array(Row))
})
export type Episode = typeof Episode.Type

/** The buckets of the node that the fault was injected into. */
export const bucketsOf = ({ nodes, rootCause }: Episode): ReadonlyArray<Bucket> =>
  (nodes[rootCause] ?? []).map(bucketOf)

const bucketOf = ([at, requests, availability, , ...quantiles]: typeof Row.Type): Bucket => ({
  at,
  requests,
  availability,
  quantiles
})

/** When something was wrong, as experts labelled it. */
export interface Window {
  readonly start: number
  readonly end: number
  readonly at: number | undefined
  readonly kind: string
}

/** One value per step; `undefined` where there is none. Times are epoch seconds, may repeat and go back. */
export interface Series {
  readonly file: string
  readonly stepSeconds: number
  readonly samples: ReadonlyArray<{ readonly at: number; readonly value: number | undefined }>
  readonly windows: ReadonlyArray<Window>
}

const seconds = (iso: string): number => Date.parse(iso) / 1_000

const Instant = Schema.String.check(
  Schema.makeFilter((text) => !Number.isNaN(seconds(text)) || "Expected a time, as in 2026-01-31T12:00:00Z")
)
const Step = Schema.Finite.check(Schema.isGreaterThan(0))

const WindowsFile = Schema.Array(Schema.Struct({
  file: Schema.String,
  stepSeconds: Step,
  windows: Schema.Array(Schema.Struct({
    start: Instant,
    end: Instant,
    at: Schema.optionalKey(Instant),
    kind: Schema.String
  }))
}))

/** A series of which nearly every value is the same. */
const SparseSeries = Schema.Struct({
  start: Instant,
  stepSeconds: Step,
  samples: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })),
  everythingElse: Schema.Finite,
  nonZero: Schema.Array(Schema.Struct({ t: Instant, value: Schema.Finite }))
}).check(Schema.makeFilter(({ nonZero, samples, start, stepSeconds }) => {
  const step = ({ t }: typeof nonZero[number]) => (seconds(t) - seconds(start)) / stepSeconds
  const apart = nonZero.find((one) => !Number.isInteger(step(one)) || step(one) < 0 || step(one) >= samples)
  return apart === undefined || `Expected each time to be one of the steps, not ${apart.t}`
}))

/** What a directory of traces holds. */
export interface Traces {
  /** Buckets without a fault, by node. */
  readonly baseline: ReadonlyMap<string, ReadonlyArray<Bucket>>
  readonly episodes: ReadonlyArray<Episode>
  readonly series: ReadonlyArray<Series>
}

/** The path holds no traces, or some that cannot be read. */
export class UnreadableTraces extends Schema.TaggedError<UnreadableTraces>()("UnreadableTraces", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.detail}`
  }
}

/** Reads what is there of a directory: `petshop/`, and the series that `windows.json` names. */
export const read = Effect.fn("Traces.read")(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const kind = Option.map(yield* Effect.option(fs.stat(directory)), ({ type }) => type)
  if (Option.isSome(kind) && kind.value !== "Directory") {
    return yield* new UnreadableTraces({ path: directory, detail: "is no directory; traces are one" })
  }
  const unreadable = (file: string) => (error: unknown) =>
    new UnreadableTraces({
      path: path.join(directory, file),
      detail: error instanceof Error ? error.message : String(error)
    })
  /** `undefined` where there is no such file. */
  const text = Effect.fnUntraced(function*(file: string) {
    const full = path.join(directory, file)
    return (yield* fs.exists(full)) ? yield* fs.readFileString(full) : undefined
  }, (effect, file) => Effect.mapError(effect, unreadable(file)))
  const decode = <S extends Schema.Codec<unknown, unknown>>(schema: S, file: string, content: string) =>
    Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(content).pipe(Effect.mapError(unreadable(file)))

  const baseline = new Map<string, Array<Bucket>>()
  const baselineFile = "petshop/baseline-high.csv"
  for (const cells of cellsOf((yield* text(baselineFile)) ?? "")) {
    const [at, node = "", ...figures] = cells
    const row = [at, ...figures].map(numberOf)
    if (!isRow(row)) return yield* unreadable(baselineFile)(`this row is no bucket: ${cells.join()}`)
    const buckets = baseline.get(node)
    if (buckets === undefined) baseline.set(node, [bucketOf(row)])
    else buckets.push(bucketOf(row))
  }
  const episodesFile = "petshop/episodes.jsonl"
  const episodes = yield* Effect.forEach(
    linesOf((yield* text(episodesFile)) ?? ""),
    (line) => decode(Episode, episodesFile, line)
  )
  const strange = episodes.find(({ rootCause }) => !baseline.has(rootCause))
  if (strange !== undefined) {
    return yield* unreadable(episodesFile)(`${strange.id} needs a baseline of ${strange.rootCause}, and there is none`)
  }
  const index = yield* text("windows.json")
  const named = index === undefined ? [] : yield* decode(WindowsFile, "windows.json", index)
  const series: Array<Series> = []
  for (const { file, stepSeconds, windows } of named) {
    const content = yield* text(file)
    if (content === undefined) continue
    const samples = cellsOf(content).map(([at = "", value = ""]) => ({
      at: seconds(at),
      value: value === "" ? undefined : Number(value)
    }))
    if (samples.some(({ at, value = 0 }) => Number.isNaN(at) || !Number.isFinite(value))) {
      return yield* unreadable(file)("a row holds what is neither a time nor a number")
    }
    series.push({
      file,
      stepSeconds,
      samples,
      windows: windows.map(({ at, end, kind, start }) => ({
        start: seconds(start),
        end: seconds(end),
        at: at === undefined ? undefined : seconds(at),
        kind
      }))
    })
  }
  const sparse = path.join(directory, "failure-rate")
  const names = yield* Effect.flatMap(
    fs.exists(sparse),
    (there) => there ? fs.readDirectory(sparse) : Effect.succeed([])
  )
    .pipe(Effect.mapError(unreadable("failure-rate")))
  for (const name of names.filter((name) => name.endsWith(".json"))) {
    const file = `failure-rate/${name}`
    series.push(dense(file, yield* decode(SparseSeries, file, (yield* text(file)) ?? "")))
  }
  if (episodes.length + series.length + baseline.size === 0) {
    return yield* new UnreadableTraces({
      path: directory,
      detail: "there are no traces: no petshop/, no series that windows.json names, no failure-rate/"
    })
  }
  return { baseline, episodes, series } satisfies Traces
})

const dense = (
  file: string,
  { everythingElse, nonZero, samples, start, stepSeconds }: typeof SparseSeries.Type
): Series => {
  const values = new Map(nonZero.map(({ t, value }) => [seconds(t), value]))
  return {
    file,
    stepSeconds,
    windows: [],
    samples: Array.from({ length: samples }, (_, i) => {
      const at = seconds(start) + i * stepSeconds
      return { at, value: values.get(at) ?? everythingElse }
    })
  }
}

const linesOf = (text: string): ReadonlyArray<string> => text.split(/\r?\n/).filter((line) => line !== "")

const numberOf = (cell: string | undefined): number => cell === undefined || cell === "" ? NaN : Number(cell)

const isRow = Schema.is(Row)

/** The cells of each line after the header; no cell of the format holds a comma. */
const cellsOf = (csv: string): ReadonlyArray<ReadonlyArray<string>> =>
  linesOf(csv).slice(1).map((line) => line.split(","))
