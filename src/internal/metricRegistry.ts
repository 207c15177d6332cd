/** Figures that are read when somebody looks, as Effect metrics, for Prometheus and OTLP. */
import { type Context, Metric } from "effect"
import type { Histogram } from "./telemetrySeries.ts"

/** Name and description of a metric family. */
export type Family = readonly [name: string, description: string]

export type Labels = { readonly [label: string]: string }

/** A series that is shown until it is removed. */
export type Shown = Metric.Registration

const noop = (): void => {}

const show = <Input, State>(
  metric: Metric.Metric<Input, State>,
  context: Context.Context<never>,
  get: () => State
): Shown => Metric.registerUnsafe(metric, context, { get, update: noop, modify: noop })

export const counter = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  value: () => number
): Shown =>
  show(
    Metric.counter(name, { description, attributes, incremental: true }),
    context,
    () => ({ count: value(), incremental: true })
  )

export const gauge = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  value: () => number
): Shown => show(Metric.gauge(name, { description, attributes }), context, () => ({ value: value() }))

/** Bounds and sums are shown in seconds. */
export const histogram = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  boundsMillis: ReadonlyArray<number>,
  value: () => Histogram
): Shown =>
  show(
    Metric.histogram(name, { description, attributes, boundaries: boundsMillis.map((bound) => bound / 1_000) }),
    context,
    () => {
      const { count, cumulative, sumMillis } = value()
      const buckets = cumulative.map(([bound, calls]): [number, number] => [bound / 1_000, calls])
      return { buckets, count, ...extremes(buckets), sum: sumMillis / 1_000 }
    }
  )

/** The least and the most there can have been, as near as buckets tell: OTLP wants them. */
const extremes = (
  buckets: ReadonlyArray<readonly [number, number]>
): { readonly min: number; readonly max: number } => {
  const filled = buckets.flatMap(([, calls], index) => calls > (buckets[index - 1]?.[1] ?? 0) ? [index] : [])
  const [first = 0] = filled
  const most = filled.at(-1) ?? -1
  const bound = (index: number): number => buckets[index]?.[0] ?? 0
  return { min: bound(first - 1), max: bound(most) === Infinity ? bound(most - 1) : bound(most) }
}
