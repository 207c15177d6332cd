// The charts: lines, and areas upon each other. Colours come from the style, and no line is told by its colour alone.
import uPlot from "/assets/uplot/uPlot.esm.js"
import { $, clock, el, millis, number, setText } from "./dom.js"

const perSecond = (value) => number(value, value < 10 ? 2 : 0)

/** Label, colour, and how the line is drawn. */
const kinds = {
  calls: {
    stacked: true,
    show: perSecond,
    series: [["answered", "good"], ["failed", "bad", "dashed"], ["refused", "warn", "dotted"], ["cancelled", "quiet"]]
  },
  latency: { show: millis, series: [["p50", "good"], ["p95", "warn", "dashed"], ["p99", "bad", "dotted"]] },
  completeness: {
    stacked: true,
    show: perSecond,
    series: [
      ["complete", "good"],
      ["partial", "warn", "dotted"],
      ["by words", "calm"],
      ["stale", "rare", "dashed"],
      ["failed", "bad", "dashed"]
    ]
  },
  retries: {
    show: perSecond,
    series: [["retries", "warn", "dashed"], ["hedges", "calm", "dotted"], ["fallbacks", "rare"]]
  },
  cache: {
    stacked: true,
    show: perSecond,
    series: [["hit", "good"], ["shared with another", "calm"], ["stale", "rare", "dashed"], ["miss", "quiet", "dotted"]]
  },
  capacity: {
    show: (value) => number(value, value < 10 ? 1 : 0),
    series: [["in flight", "calm"], ["limit", "bad", "dashed"], ["calls/s", "good", "dotted"]]
  }
}

const dashes = { dashed: [6, 4], dotted: [2, 3] }
const height = 150
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

/** A fill that is told apart without its colour: plain, hatched or dotted. */
const fillOf = (name, style) => {
  if (style === undefined) return color(`${name}-fill`)
  const tile = document.createElement("canvas")
  tile.width = tile.height = 8
  const pen = tile.getContext("2d")
  pen.fillStyle = color(`${name}-fill`)
  pen.fillRect(0, 0, 8, 8)
  pen.strokeStyle = pen.fillStyle = color(name)
  pen.globalAlpha = 0.7
  if (style === "dotted") {
    for (const [x, y] of [[2, 2], [6, 6]]) pen.fillRect(x, y, 1.6, 1.6)
  } else {
    for (const offset of [-8, 0, 8]) {
      pen.beginPath()
      pen.moveTo(offset - 1, 9)
      pen.lineTo(offset + 9, -1)
      pen.stroke()
    }
  }
  return pen.createPattern(tile, "repeat")
}

let range = [0, 1]
const charts = new Map()

const make = (id, { series, show, stacked = false }) => {
  const box = $(id)
  box.replaceChildren()
  const axis = {
    stroke: color("soft"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: color("line"), width: 1 },
    ticks: { show: false },
    gap: 4
  }
  const values = series.map(() => el("b", {}, "–"))
  const legend = el(
    "ul",
    {},
    ...series.map(([label, name, style], index) =>
      el(
        "li",
        {},
        el("span", { class: `key of-${name} ${stacked ? "area" : ""} ${style ?? ""}`, "aria-hidden": "true" }),
        `${label} `,
        values[index]
      )
    )
  )
  let plain = series.map(() => [])
  const tell = (at) => {
    for (const [index, value] of values.entries()) {
      const all = plain[index]
      setText(value, all[at ?? all.length - 1] === undefined ? "–" : show(all[at ?? all.length - 1]))
    }
  }
  const uplot = new uPlot(
    {
      width: Math.max(100, box.clientWidth),
      height,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [({ cursor }) => tell(cursor.idx ?? undefined)] },
      axes: [
        {
          ...axis,
          size: 24,
          space: 80,
          // What stands at the very edge would be cut off.
          values: (_, splits) =>
            splits.map((seconds) =>
              seconds - range[0] < 0.05 * (range[1] - range[0]) ? "" : clock(seconds * 1000, range[1] - range[0] < 180)
            )
        },
        { ...axis, size: 48, space: 28, values: (_, splits) => splits.map((value) => show(value)) }
      ],
      scales: {
        x: { time: true, range: () => range },
        y: { range: (_, __, most) => [0, Math.max(id === "latency" ? 10 : 1, (most ?? 0) * 1.15)] }
      },
      series: [
        {},
        ...series.map(([label, name, style], index) => ({
          label,
          stroke: color(name),
          // The edge of an area of nothing would be drawn upon the one below.
          width: stacked && index > 0 ? 0 : 2,
          // A line needs two points.
          points: { show: () => plain[0].length < 3, size: 5 },
          ...(style === undefined ? {} : { dash: dashes[style] }),
          ...(stacked && index === 0 ? { fill: fillOf(name, style) } : {})
        }))
      ],
      bands: stacked
        ? series.slice(1).map(([, name, style], index) => ({
          series: [index + 2, index + 1],
          fill: fillOf(name, style)
        }))
        : []
    },
    [[], ...series.map(() => [])],
    box
  )
  box.append(legend)
  return {
    uplot,
    draw: (points) => {
      plain = series.map((_, index) => points.map((point) => point[id][index]))
      // Areas stand on each other; a gap in one is a gap in all.
      const drawn = stacked
        ? plain.map((_, index) =>
          points.map((point) =>
            point[id][0] === null ? null : point[id].slice(0, index + 1).reduce((sum, value) => sum + value, 0)
          )
        )
        : plain
      uplot.setData([points.map(({ t }) => t), ...drawn])
      tell(uplot.cursor.idx ?? undefined)
      box.setAttribute("role", "group")
      box.setAttribute(
        "aria-label",
        `Now: ${series.map(([label], index) => `${label} ${values[index].textContent}`).join(", ")}`
      )
    }
  }
}

/** Makes all charts anew, as for another colour scheme. */
export const makeCharts = () => {
  for (const { uplot } of charts.values()) uplot.destroy()
  charts.clear()
  for (const [id, kind] of Object.entries(kinds)) charts.set(id, make(id, kind))
}

/** Draws the points, from and to in milliseconds. */
export const drawCharts = (points, from, to) => {
  range = [from / 1000, to / 1000]
  for (const { draw } of charts.values()) draw(points)
}

export const fitCharts = () => {
  for (const [id, { uplot }] of charts) {
    const width = Math.max(100, $(id).clientWidth)
    if (width !== uplot.width) uplot.setSize({ width, height })
  }
}

/** Least squares over what is shown, in words. */
export const trendOf = (points) => {
  const known = points.flatMap(({ capacity: [, , calls], t }) => calls === null ? [] : [[t, calls]])
  if (known.length < 10) return "no trend yet"
  const mean = (of) => known.reduce((sum, point) => sum + of(point), 0) / known.length
  const [t, v] = [mean(([time]) => time), mean(([, value]) => value)]
  const slope = 60 * mean(([time, value]) => (time - t) * (value - v)) /
    Math.max(1e-9, mean(([time]) => (time - t) ** 2))
  return Math.abs(slope) < 0.05 * Math.max(1, v)
    ? "calls are steady"
    : `calls ${slope > 0 ? "rise" : "fall"} by ${number(Math.abs(slope))}/s a minute`
}
