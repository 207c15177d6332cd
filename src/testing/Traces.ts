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

const F = Schema.Finite
const Row = Schema.Tuple([F, F, F, F, F, F, F, F])

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
  (nodes[rootCause] ?? []).map(([at, requests, availability, , p50, p90, p95, p99]) =>
    bucket(at, requests, availability, p50, p90, p95, p99)
  )

const bucket = (
  ...[at = 0, requests = 0, availability = 100, p50 = 0, p90 = 0, p95 = 0, p99 = 0]: ReadonlyArray<number | undefined>
): Bucket => ({
  at,
  requests,
  availability,
  quantiles: [p50, p90, p95, p99]
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

const WindowsFile = Schema.Array(Schema.Struct({
  file: Schema.String,
  stepSeconds: Schema.Finite,
  windows: Schema.Array(Schema.Struct({
    start: Schema.String,
    end: Schema.String,
    at: Schema.optionalKey(Schema.String),
    kind: Schema.String
  }))
}))

/** A series of which nearly every value is the same. */
const SparseSeries = Schema.Struct({
  start: Schema.String,
  stepSeconds: Schema.Finite,
  samples: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })),
  everythingElse: Schema.Finite,
  nonZero: Schema.Array(Schema.Struct({ t: Schema.String, value: Schema.Finite }))
})

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
  for (const [at, node = "", requests, availability, , ...quantiles] of cellsOf((yield* text(baselineFile)) ?? "")) {
    const row = bucket(...[at, requests, availability, ...quantiles].map(Number))
    if (![row.at, row.requests, row.availability, ...row.quantiles].every(Number.isFinite)) {
      return yield* unreadable(baselineFile)(`a row of ${node} holds what is no number`)
    }
    baseline.set(node, [...(baseline.get(node) ?? []), row])
  }
  const episodes = yield* Effect.forEach(
    linesOf((yield* text("petshop/episodes.jsonl")) ?? ""),
    (line) => decode(Episode, "petshop/episodes.jsonl", line)
  )
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
    if (samples.some(({ at, value }) => Number.isNaN(at) || Number.isNaN(value))) {
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
  const names = (yield* fs.exists(sparse)) ? yield* fs.readDirectory(sparse) : []
  for (const name of names.filter((name) => name.endsWith(".json"))) {
    const file = `failure-rate/${name}`
    series.push(dense(file, yield* decode(SparseSeries, file, (yield* text(file)) ?? "")))
  }
  if (episodes.length + series.length + baseline.size === 0) {
    return yield* new UnreadableTraces({ path: directory, detail: "there are no traces; is the path right?" })
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

const seconds = (iso: string): number => Date.parse(iso) / 1_000

const linesOf = (text: string): ReadonlyArray<string> => text.split(/\r?\n/).filter((line) => line !== "")

/** The cells of each line after the header; no cell of the format holds a comma. */
const cellsOf = (csv: string): ReadonlyArray<ReadonlyArray<string>> =>
  linesOf(csv).slice(1).map((line) => line.split(","))
