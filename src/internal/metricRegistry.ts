/** Figures that are read when somebody looks, as Effect metrics, for Prometheus and OTLP. */
import { type Context, Metric } from "effect"
import type { Histogram } from "./telemetrySeries.ts"

/** Name and description of a metric family. */
export type Family = readonly [name: string, description: string]

export type Labels = { readonly [label: string]: string }

const noop = (): void => {}

/** A series that is shown until it is removed. */
export type Shown = Metric.Registration

export const counter = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  value: () => number
): Shown =>
  Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
    get: () => ({ count: value(), incremental: true }),
    update: noop,
    modify: noop
  })

export const gauge = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  value: () => number
): Shown =>
  Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
    get: () => ({ value: value() }),
    update: noop,
    modify: noop
  })

/** Bounds and sums are shown in seconds. */
export const histogram = (
  context: Context.Context<never>,
  [name, description]: Family,
  attributes: Labels,
  boundsMillis: ReadonlyArray<number>,
  value: () => Histogram
): Shown =>
  Metric.registerUnsafe(
    Metric.histogram(name, { description, attributes, boundaries: boundsMillis.map((bound) => bound / 1_000) }),
    context,
    {
      get: () => {
        const { count, cumulative, sumMillis } = value()
        const buckets = cumulative.map(([bound, calls]): [number, number] => [bound / 1_000, calls])
        return { buckets, count, ...extremes(buckets), sum: sumMillis / 1_000 }
      },
      update: noop,
      modify: noop
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
