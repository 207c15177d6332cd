// The page: one stream of snapshots and events, drawn. Nothing is kept but the last ten minutes, and no word comes from
// anywhere but this server. Text goes in by textContent only.
import uPlot from "/assets/uplot/uPlot.esm.js"

const keep = 300 // snapshots: ten minutes
const $ = (id) => document.getElementById(id)
const glyphs = { Closed: "●", Open: "■", ReadyToProbe: "◇", HalfOpen: "◆", ForcedOpen: "▲", Disabled: "–" }
const words = {
  Closed: "closed",
  Open: "open",
  ReadyToProbe: "ready to probe",
  HalfOpen: "half open",
  ForcedOpen: "held open",
  Disabled: "disabled"
}
const snapshots = []
const events = []
let skew = 0 // server clock minus ours, milliseconds

const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value)
  }
  node.append(...children)
  return node
}
const fill = (parent, ...children) => parent.replaceChildren(...children)
const clock = (millis) => new Date(millis).toLocaleTimeString([], { hour12: false })
const number = (value) => value === null || value === undefined ? "–" : value.toLocaleString()
const none = (columns, text) => el("tr", {}, el("td", { colspan: String(columns), class: "soft" }, text))

// -- charts ----------------------------------------------------------------------------------------------------------

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
const kinds = {
  calls: [["answered", "--good"], ["failed", "--bad", [6, 3]], ["refused", "--warn", [2, 3]], ["cancelled", "--quiet", [
    8,
    4,
    2,
    4
  ]]],
  latency: [["p50", "--good"], ["p95", "--warn", [6, 3]], ["p99", "--bad", [2, 3]]],
  capacity: [["in flight", "--calm"], ["limit", "--bad", [6, 3]], ["calls/s", "--good", [2, 3]]],
  cache: [["hit", "--good"], ["stale", "--warn", [6, 3]], ["miss", "--bad", [2, 3]], ["coalesced", "--calm", [
    8,
    4,
    2,
    4
  ]]]
}
let charts = {}
const makeCharts = () => {
  for (const chart of Object.values(charts)) chart.destroy()
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line") }
  }
  charts = Object.fromEntries(
    Object.entries(kinds).map(([id, series]) => {
      const box = $(id)
      const chart = new uPlot(
        {
          width: box.clientWidth,
          height: 160,
          axes: [{ ...axis, space: 80, values: (_, splits) => splits.map((seconds) => clock(seconds * 1000)) }, {
            ...axis,
            size: 56
          }],
          scales: { y: { range: (_, __, max) => [0, Math.max(1, (max ?? 0) * 1.1)] } },
          series: [
            {},
            ...series.map(([label, variable, dash]) => ({
              label,
              stroke: color(variable),
              width: 2,
              points: { show: false },
              ...(dash ? { dash } : {}),
              value: (_, value) => value === null ? "–" : value.toFixed(1)
            }))
          ]
        },
        [[], ...series.map(() => [])],
        box
      )
      return [id, chart]
    })
  )
  drawCharts()
}
const chosen = () => $("service").value
const serviceIn = (snapshot) => snapshot.services.find((service) => service.service === chosen())
const rate = (before, after, seconds, of) => {
  const [a, b] = [serviceIn(before), serviceIn(after)]
  if (!a || !b) return null
  const difference = of(b) - of(a)
  return difference < 0 ? null : difference / seconds // a reset in between
}
const drawCharts = () => {
  if (!charts.calls) return
  const times = [], calls = [[], [], [], []], latency = [[], [], []], capacity = [[], [], []], cache = [[], [], [], []]
  for (let i = 1; i < snapshots.length; i++) {
    const [before, after] = [snapshots[i - 1], snapshots[i]]
    const seconds = (after.at - before.at) / 1000
    if (seconds <= 0) continue
    const per = (of) => rate(before, after, seconds, of)
    const service = serviceIn(after)
    times.push(after.at / 1000)
    const rates = [
      per((s) => s.successful),
      per((s) => s.failed - s.refused),
      per((s) => s.refused),
      per((s) => s.cancelled)
    ]
    rates.forEach((value, index) => calls[index].push(value))
    ;[service?.latency.p50, service?.latency.p95, service?.latency.p99].forEach((value, index) =>
      latency[index].push(value ?? null)
    )
    capacity[0].push(service?.inFlight ?? null)
    capacity[1].push(after.capacity.length ? after.capacity.reduce((sum, one) => sum + one.limit, 0) : null)
    capacity[2].push(per((s) => s.total))
    ;["hit", "stale", "miss", "coalesced"].forEach((kind, index) => cache[index].push(per((s) => s.cache[kind])))
  }
  charts.calls.setData([times, ...calls])
  charts.latency.setData([times, ...latency])
  charts.capacity.setData([times, ...capacity])
  charts.cache.setData([times, ...cache])
  const last = (list) => list.at(-1)
  $("calls").setAttribute("role", "img")
  $("calls").setAttribute(
    "aria-label",
    `Per second now: ${number(round(last(calls[0])))} answered, ${number(round(last(calls[1])))} failed, ${
      number(round(last(calls[2])))
    } refused`
  )
  $("latency").setAttribute("role", "img")
  $("latency").setAttribute(
    "aria-label",
    `Milliseconds: p50 ${number(last(latency[0]))}, p95 ${number(last(latency[1]))}, p99 ${number(last(latency[2]))}`
  )
  $("cache").setAttribute("role", "img")
  $("cache").setAttribute(
    "aria-label",
    `Per second now: ${
      ["hit", "stale", "miss", "coalesced"].map((kind, i) => `${number(round(last(cache[i])))} ${kind}`).join(", ")
    }`
  )
  $("capacity").setAttribute("role", "img")
  const trend = trendOf(times, capacity[2])
  const text = `${number(last(capacity[0]))} calls in flight` + (last(capacity[1]) ? ` of ${last(capacity[1])}` : "") +
    `; ${number(round(last(capacity[2])))} calls a second, ${trend}`
  $("capacity").setAttribute("aria-label", text)
  $("capacity-now").textContent = text
}
const round = (value) => value === null || value === undefined ? value : Math.round(value * 10) / 10
/** Least squares over what is shown, per minute. */
const trendOf = (times, values) => {
  const points = times.map((time, i) => [time, values[i]]).filter(([, value]) => value !== null)
  if (points.length < 10) return "no trend yet"
  const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [t, v] = [mean(([time]) => time), mean(([, value]) => value)]
  const slope = mean(([time, value]) => (time - t) * (value - v)) / Math.max(1e-9, mean(([time]) => (time - t) ** 2)) *
    60
  return Math.abs(slope) < 0.05 * Math.max(1, v)
    ? "steady"
    : `${slope > 0 ? "rising" : "falling"} by ${round(Math.abs(slope))} a minute`
}

// -- panels ----------------------------------------------------------------------------------------------------------

const healthMarks = {
  Healthy: ["good", "✓ healthy"],
  Degraded: ["warn", "! degraded"],
  Failed: ["bad", "✗ down"],
  NotConfigured: ["quiet", "– not configured"]
}
const draw = (snapshot) => {
  skew = snapshot.at - Date.now()
  const names = snapshot.services.map(({ service }) => service)
  const select = $("service")
  if (names.join() !== Array.from(select.options, (option) => option.value).join()) {
    const before = select.value
    fill(select, ...names.map((name) => el("option", { value: name }, name)))
    const levelled = snapshot.levels.find(({ service }) => names.includes(service))?.service
    select.value = names.includes(before)
      ? before
      : levelled ?? (names.includes("unified") ? "unified" : names[0] ?? "")
  }
  const service = serviceIn(snapshot)

  fill(
    $("banner"),
    ...snapshot.levels.length === 0
      ? [el("span", { class: "soft" }, "No service level")]
      : snapshot.levels.map((level) =>
        el(
          "span",
          { class: `level ${["good", "warn", "warn", "bad", "bad"][level.rank] ?? "bad"}` },
          `${["●", "◐", "◑", "◔", "○"][level.rank] ?? "○"} ${level.service}: ${level.name} (level ${level.rank}) `,
          el(
            "span",
            { class: "why" },
            level.reasons.length
              ? `since ${clock(level.since)}: ${level.reasons.at(-1)}`
              : `since ${clock(level.since)}`
          )
        )
      )
  )
  fill(
    $("health"),
    ...snapshot.health.map(({ name, reasons, state }) => {
      const [kind, text] = healthMarks[state]
      return el(
        "li",
        reasons.length ? { title: reasons.join("; ") } : {},
        `${name} `,
        el("span", { class: kind }, text)
      )
    })
  )
  fill(
    $("alerts"),
    ...snapshot.alerts.filter(({ state }) => state === "Firing")
      .map((alert) => el("li", {}, `⚠ ${alert.rule} (${alert.severity}): ${alert.message}`))
  )
  $("chaos").hidden = snapshot.chaos === null
  if (snapshot.chaos) {
    $("chaos").textContent =
      `⚡ Faults on purpose: ${snapshot.chaos.rules} rules, ${snapshot.chaos.faults} faults in ${snapshot.chaos.calls} calls` +
      (snapshot.chaos.until ? `, until ${clock(snapshot.chaos.until)}` : "")
  }

  drawLanes(snapshot)
  drawBreakers(snapshot)
  const top = Math.max(1, ...Object.values(service?.errors ?? {}))
  const errors = Object.entries(service?.errors ?? {}).sort(([, a], [, b]) => b - a)
  fill(
    $("errors"),
    ...errors.length === 0 ? [none(2, "No error yet")] : errors.map(([category, count]) => {
      const bar = el("i", { class: "Open" })
      bar.style.width = `${100 * count / top}%`
      return el(
        "tr",
        {},
        el("td", {}, category),
        el("td", {}, number(count), el("div", { class: "bar", "aria-hidden": "true" }, bar))
      )
    })
  )
  fill(
    $("flow"),
    ...snapshot.flows.length === 0 ?
      [none(3, "Nobody had to step in yet")]
      : snapshot.flows.map(({ count, from, to }) =>
        el("tr", {}, el("td", {}, from), el("td", {}, `→ ${to}`), el("td", {}, number(count)))
      )
  )
  const answers = service ?
    [
      ["answered", service.successful],
      ["failed", service.failed - service.refused],
      ["refused before asking", service.refused],
      ["cancelled by the caller", service.cancelled],
      ["attempts repeated", service.retried],
      ["attempts hedged", service.hedged],
      ["fell back to another provider", service.fallbacks],
      ["served stale", service.cache.stale],
      ["from the cache", service.cache.hit]
    ] :
    []
  fill($("answers"), ...answers.map(([what, count]) => el("tr", {}, el("td", {}, what), el("td", {}, number(count)))))
  fill(
    $("burn"),
    ...snapshot.services.length === 0 ? [none(4, "No call yet")] : snapshot.services.map(({ burn, service }) => {
      const burning = (burn.long ?? 0) > 14.4 && (burn.short ?? 0) > 14.4
      const some = (burn.short ?? 0) > 1
      return el(
        "tr",
        {},
        el("td", {}, service),
        el("td", {}, number(round(burn.long))),
        el("td", {}, number(round(burn.short))),
        el(
          "td",
          { class: burning ? "bad" : some ? "warn" : "good" },
          burning ? "✗ burns fast" : some ? "! above budget" : "✓ within budget"
        )
      )
    })
  )
  drawCharts()
}

const drawLanes = (snapshot) => {
  const shown = snapshots.slice(-keep)
  fill(
    $("lanes"),
    ...snapshot.circuits.length === 0 ?
      [el("p", { class: "soft" }, "No circuit yet")] :
      snapshot.circuits.map(({ key, state }) => {
        const runs = []
        for (const one of shown) {
          const seen = one.circuits.find((circuit) => circuit.key === key)?.state ?? "none"
          if (runs.at(-1)?.state === seen) runs.at(-1).count++
          else runs.push({ state: seen, count: 1 })
        }
        const bar = el("div", {
          class: "bar",
          role: "img",
          "aria-label": `${key}: ` +
            runs.map(({ count, state }) =>
              `${words[state] ?? "not there"} for ${Math.round(100 * count / shown.length)} %`
            ).join(", then ")
        })
        for (const run of runs) {
          const part = el("i", { class: run.state })
          part.style.width = `${100 * run.count / shown.length}%`
          bar.append(part)
        }
        return el(
          "div",
          { class: "lane", "data-circuit": key },
          el("span", { class: "name", title: key }, key),
          bar,
          el("span", { class: `state ${state}` }, `${glyphs[state]} ${words[state]}`)
        )
      })
  )
}

let countdowns = []
const drawBreakers = (snapshot) => {
  countdowns = []
  // A focused button must survive the redraw.
  const focused = document.activeElement?.getAttribute?.("data-action")
  fill(
    $("breakers"),
    ...snapshot.circuits.length === 0 ? [none(7, "No circuit yet")] : snapshot.circuits.map((circuit) => {
      const wait = el("td", {})
      if (circuit.retryAfterMillis === null) wait.textContent = "by hand"
      else if (circuit.retryAfterMillis > 0) countdowns.push([wait, snapshot.at + circuit.retryAfterMillis])
      else wait.textContent = "now"
      const button = (action, text) =>
        el("button", {
          type: "button",
          "data-action": `${circuit.key} ${action}`,
          "aria-label": `${text} circuit ${circuit.key}`,
          onclick: () => move(circuit.key, action)
        }, text)
      return el(
        "tr",
        { "data-key": circuit.key },
        el("td", {}, circuit.key),
        el("td", { class: `state ${circuit.state}` }, `${glyphs[circuit.state]} ${words[circuit.state]}`),
        el(
          "td",
          {},
          circuit.calls === 0
            ? "–"
            : `${circuit.failures} of ${circuit.calls} (${Math.round(100 * circuit.failures / circuit.calls)} %)`
        ),
        el("td", {}, number(circuit.refused)),
        el("td", {}, number(circuit.trips)),
        wait,
        el(
          "td",
          {},
          button("open", "Open"),
          button("close", "Close"),
          button("disable", "Disable"),
          button("enable", "Auto")
        )
      )
    })
  )
  if (focused) document.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus()
  tick()
}
const tick = () => {
  for (const [cell, until] of countdowns) {
    cell.textContent = `in ${Math.max(0, Math.ceil((until - Date.now() - skew) / 1000))} s`
  }
}
setInterval(tick, 500)

const tell = (event) => {
  switch (event._tag) {
    case "BreakerChanged":
      return `${event.key}: ${event.from} → ${event.to} (${event.reason})`
    case "Retrying":
      return `${event.provider}.${event.operation}: attempt ${event.attempt} failed with ${event.category}, next in ${
        Math.round(event.delayMillis)
      } ms`
    case "Hedged":
      return `${event.provider}.${event.operation}: attempt ${event.attempt} started beside a slow one`
    case "FellBack":
      return `${event.service}.${event.operation}: ${event.from} → ${event.to} after ${event.category}`
    case "LevelChanged":
      return `${event.service}: ${event.from} → ${event.to} (${event.reason})`
    case "HealthChanged":
      return `${event.service} is ${event.healthy ? "healthy again" : "not healthy"}: ${event.reason}`
    case "OperatorAction":
      return `${event.action}: ${event.target}${event.detail ? ` (${event.detail})` : ""}`
    case "AlertChanged":
      return `${event.rule} ${event.firing ? "fired" : "resolved"}: ${event.message}`
    case "SettingsChanged":
      return `${event.fields.join(", ")} from ${event.source}`
    case "ChaosInjected":
      return `${event.fault} into ${event.provider}.${event.operation}`
    case "Noted":
      return `${event.subject}: ${event.message}`
    default:
      return ""
  }
}
const drawEvents = () =>
  fill(
    $("events"),
    ...events.length === 0 ?
      [el("li", {}, el("span", { class: "soft" }, "Nothing yet"))]
      : events.map(({ event }) =>
        el(
          "li",
          {},
          el("time", {}, clock(event.at)),
          el("strong", {}, event._tag),
          el("span", { class: "what" }, tell(event))
        )
      )
  )
const take = (entry) => {
  if (events.some(({ id }) => id === entry.id)) return
  events.unshift(entry)
  events.length = Math.min(events.length, 100)
}

// -- operator --------------------------------------------------------------------------------------------------------

let token
const askToken = () =>
  new Promise((resolve) => {
    const dialog = $("ask")
    $("token").value = ""
    dialog.returnValue = "cancel"
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? $("token").value : undefined), {
      once: true
    })
    dialog.showModal()
  })
const say = (text) => {
  $("said").textContent = text
}
const move = async (key, action) => {
  token ??= await askToken()
  if (!token) return
  const response = await fetch(`/api/fault-tolerance/breakers/${encodeURIComponent(key)}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ action })
  }).catch(() => undefined)
  if (response?.ok) {
    say(`Circuit ${key}: ${action} done`)
    const changed = await response.json()
    const last = snapshots.at(-1)
    if (last) {
      last.circuits = last.circuits.map((circuit) => circuit.key === key ? changed : circuit)
      draw(last)
    }
  } else {
    if (response?.status === 401) token = undefined
    say(response?.status === 401 ? "The token is wrong: nothing was changed" : `Could not ${action} circuit ${key}`)
  }
}

// -- the stream ------------------------------------------------------------------------------------------------------

const showStream = (state, text) => {
  const box = $("stream")
  box.className = state
  box.querySelector(".mark").textContent = state === "live" ? "●" : "✗"
  box.querySelector(".text").textContent = text
}
let source
const connect = () => {
  source = new EventSource("/api/fault-tolerance/stream")
  source.addEventListener("snapshot", (message) => {
    const snapshot = JSON.parse(message.data)
    snapshots.push(snapshot)
    if (snapshots.length > keep) snapshots.shift()
    showStream("live", `live, ${clock(snapshot.at)}`)
    draw(snapshot)
  })
  source.addEventListener("event", (message) => {
    const event = JSON.parse(message.data)
    take({ id: message.lastEventId, event })
    drawEvents()
    if (event._tag === "BreakerChanged" || event._tag === "LevelChanged") say(tell(event))
  })
  source.addEventListener("error", () => {
    const last = snapshots.at(-1)
    showStream("lost", last ? `stream lost, data as of ${clock(last.at)}` : "no stream yet")
    // A refused stream is closed for good by the browser: begin again.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000)
  })
}

$("service").addEventListener("change", () => snapshots.length && draw(snapshots.at(-1)))
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", makeCharts)
new ResizeObserver(() => {
  for (const [id, chart] of Object.entries(charts)) chart.setSize({ width: $(id).clientWidth, height: 160 })
}).observe(document.querySelector("main"))
makeCharts()
drawEvents()
fetch("/api/fault-tolerance/events?limit=100").then((response) => response.ok ? response.json() : { events: [] }).then(
  ({ events: past }) => {
    past.forEach(take)
    drawEvents()
  }
).catch(() => {})
connect()
