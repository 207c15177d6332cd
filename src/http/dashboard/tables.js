// The small tables: error budgets, fallback flow, errors, retry budgets, limits, answers.
import { $, el, gauge, keyed, nothing, number, row, setText, span } from "./dom.js"

const judged = (long, short, factor) => {
  const burns = (long.rate ?? 0) > factor && (short.rate ?? 0) > factor && long.calls >= 20
  return { burns, above: (short.rate ?? 0) > 1 && short.calls > 0 }
}
const showBurn = keyed($("burn"), (service) => {
  const bars = [gauge(), gauge()]
  const texts = [el("span", { class: "sub" }), el("span", { class: "sub" })]
  const { cells, node } = row(4, () => {})
  cells[0].append(service)
  for (const index of [0, 1]) cells[index + 1].append(bars[index].node, texts[index])
  return {
    node,
    update: ({ burn }) => {
      const pairs = [[burn["1h"], burn["5m"], 14.4], [burn["6h"], burn["30m"], 6]]
      const found = pairs.map(([long, short, factor], index) => {
        const one = judged(long, short, factor)
        // Both must burn, so that the lesser of the two counts.
        const rate = Math.min(long.rate ?? 0, short.rate ?? 0)
        bars[index].update(rate / (2 * factor), one.burns ? "bad" : one.above ? "warn" : "good", 0.5)
        setText(texts[index], `${number(long.rate)} ×, ${number(short.rate)} ×`)
        return one
      })
      const burns = found.some((one) => one.burns)
      const above = found.some((one) => one.above)
      cells[3].className = burns ? "bad" : above ? "warn" : "good"
      setText(cells[3], burns ? "✗ burns fast" : above ? "! above budget" : "✓ within budget")
    }
  }
}, nothing(4, "No call yet"))

const counted = (kind) => (key) => {
  const { node: bar, update: fill } = gauge()
  const count = el("span")
  const { cells, node } = row(2, () => {})
  cells[0].append(key)
  cells[1].append(bar, count)
  return {
    node,
    update: ([value, share]) => {
      fill(share, kind)
      setText(count, number(value, 0))
    }
  }
}
const showErrors = keyed($("errors"), counted("bad"), nothing(2, "No error yet"))

const showFlow = keyed($("flow"), () => {
  const { node: bar, update: fill } = gauge()
  const count = el("span")
  const { cells, node } = row(3, () => {})
  cells[2].append(bar, count)
  return {
    node,
    update: ({ flow, top }) => {
      setText(cells[0], flow.from)
      setText(cells[1], `→ ${flow.to}${flow.mode === "graceful" ? "" : ` (${flow.mode})`}`)
      fill(flow.count / top, "warn")
      setText(count, number(flow.count, 0))
    }
  }
}, nothing(3, "Nobody had to step in yet"))

const showBudgets = keyed($("budgets"), (service) => {
  const { node: bar, update: fill } = gauge()
  const left = el("span", { class: "sub" })
  const { cells, node } = row(4, () => {})
  cells[0].append(service)
  cells[1].append(bar, left)
  cells[2].className = cells[3].className = "number"
  return {
    node,
    update: ({ hedged, retried, retryBudget }) => {
      const part = retryBudget.size === 0 ? 0 : retryBudget.left / retryBudget.size
      fill(part, part < 0.2 ? "bad" : part < 0.5 ? "warn" : "good")
      setText(left, `${number(retryBudget.left)} of ${number(retryBudget.size)}`)
      setText(cells[2], number(retried + hedged, 0))
      setText(cells[3], number(retryBudget.exhausted, 0))
    }
  }
}, nothing(4, "No provider has a budget"))

const showLimits = keyed($("limits"), (key) => {
  const { node: bar, update: fill } = gauge()
  const used = el("span", { class: "sub" })
  const { cells, node } = row(3, () => {})
  cells[0].append(key)
  cells[1].append(bar, used)
  return {
    node,
    update: ([part, kind, text, waits]) => {
      fill(part, kind)
      setText(used, text)
      setText(cells[2], waits)
    }
  }
}, nothing(3, "Nothing is limited"))

const limitsOf = ({ capacity, mirrors, rateLimits }) => [
  ...capacity.map(({ limit, name, queued, running }) => {
    const part = running / limit
    const kind = part >= 1 ? "bad" : part > 0.7 ? "warn" : "good"
    return [`${name}: at once`, [
      part,
      kind,
      `${number(running, 0)} of ${number(limit, 0)}`,
      `${number(queued, 0)} calls`
    ]]
  }),
  ...rateLimits.map(({ name, remaining }) => [
    `${name}: rate`,
    [remaining > 0 ? 0 : 1, remaining > 0 ? "good" : "bad", `${number(remaining, 0)} may start now`, ""]
  ]),
  ...mirrors.map(({ mirror, oldestMillis, pending, refused }) => [
    `${mirror}: mirror`,
    [
      Math.min(1, oldestMillis / 300_000),
      oldestMillis > 300_000 ? "bad" : pending > 0 ? "warn" : "good",
      pending === 0 ? "has everything" : `${number(pending, 0)} documents behind`,
      (pending === 0 ? "" : span(oldestMillis)) + (refused > 0 ? ` ${number(refused, 0)} refused` : "")
    ]
  ])
]

const showAnswers = keyed($("answers"), (what) => {
  const count = el("dd")
  return { node: el("div", {}, el("dt", {}, what), count), update: (value) => setText(count, number(value, 0)) }
}, el("p", { class: "soft" }, "No call yet"))

const answersOf = (service) => [
  ["answered", service.successful],
  ["failed", service.failed - service.refused],
  ["refused, nobody asked", service.refused],
  ["cancelled", service.cancelled],
  ["retries", service.retried],
  ["hedges", service.hedged],
  ["fell back", service.fallbacks],
  ["from the cache", service.cache.hit],
  ["stale", service.cache.stale],
  ["by words alone", service.completeness.lexical],
  ["without a source", service.completeness.partial]
]

export const drawTables = (snapshot, service) => {
  showBurn(snapshot.services.map((one) => [one.service, one]))
  // What providers failed with: what a service failed with is in its calls.
  const levelled = new Set(snapshot.levels.map(({ service }) => service))
  const errors = snapshot.services.filter(({ service }) => !levelled.has(service))
    .flatMap(({ errors, service }) =>
      Object.entries(errors).map(([category, count]) => [`${service} ${category}`, count])
    )
    .sort(([, a], [, b]) => b - a)
    .slice(0, 12)
  const most = Math.max(1, ...errors.map(([, count]) => count))
  showErrors(errors.map(([key, count]) => [key, [count, count / most]]))
  const flows = [...snapshot.flows].sort((a, b) => b.count - a.count).slice(0, 12)
  const top = Math.max(1, ...flows.map(({ count }) => count))
  showFlow(flows.map((flow) => [[flow.service, flow.from, flow.to, flow.mode].join(" "), { flow, top }]))
  showBudgets(snapshot.services.filter(({ retryBudget }) => retryBudget !== null).map((one) => [one.service, one]))
  showLimits(limitsOf(snapshot))
  showAnswers(service === undefined ? [] : answersOf(service))
}
