// What stands now: levels, the figures that matter first, health, alerts that fire, faults on purpose.
import { $, clock, el, keyed, millis, number, setText } from "./dom.js"
import { act } from "./operator.js"
import { levelKind, levels, levelWords } from "./signs.js"

const showLevels = keyed($("banner"), (service) => {
  const meter = el("div", { class: "meter", "aria-hidden": "true" }, ...levels.map(() => el("i")))
  const what = el("div", { class: "what" })
  const why = el("div", { class: "why" })
  const held = el(
    "select",
    { "aria-label": `Hold the level of ${service} at` },
    el("option", { value: "" }, "by its rules")
  )
  held.append(...levels.map((name, rank) => el("option", { value: String(rank) }, `at ${name}, 1 h`)))
  let stands = ""
  held.addEventListener("change", async () => {
    const rank = held.value === "" ? null : Number(held.value)
    const body = {
      service,
      rank,
      ...(rank === null ? {} : { reason: "held from the dashboard", expiresInMillis: 3_600_000 })
    }
    if (await act("level", body, `Level of ${service}`) === undefined) held.value = stands
  })
  const node = el("div", {}, meter, what, why, el("label", { class: "hold" }, "Hold it ", held))
  return {
    node,
    update: ({ heldUntil, name, rank, reasons, since }) => {
      // Only what changed: somebody may be about to choose.
      const now = heldUntil === undefined ? "" : String(rank)
      if (now !== stands) held.value = now
      stands = now
      node.className = "level"
      meter.className = `meter ${levelKind[rank] ?? "bad"}`
      for (const [index, segment] of [...meter.children].entries()) {
        segment.className = index < levels.length - rank
          ? "on"
          : ""
      }
      what.className = `what ${levelKind[rank] ?? "bad"}`
      setText(what, `${service}: ${levelWords[rank] ?? name}`)
      const until = heldUntil === undefined ? "" : `, held until ${heldUntil === null ? "released" : clock(heldUntil)}`
      setText(why, `level ${rank} of 4 since ${clock(since)}${until}${reasons.length > 0 ? `: ${reasons.at(-1)}` : ""}`)
    }
  }
}, el("p", { class: "soft" }, "No service level"))

const showTiles = keyed($("tiles"), (title) => {
  const value = el("dd")
  const node = el("div", {}, el("dt", {}, title), value)
  return {
    node,
    update: ([text, unit, kind]) => {
      value.className = kind ?? ""
      const [first = document.createTextNode(""), small = el("small")] = value.childNodes
      setText(first, text)
      setText(small, unit === "" ? "" : ` ${unit}`)
      if (value.childNodes.length < 2) value.replaceChildren(first, small)
    }
  }
})

const healthMarks = {
  Healthy: ["good", "✓ healthy"],
  Degraded: ["warn", "! degraded"],
  Failed: ["bad", "✗ down"],
  NotConfigured: ["quiet", "– not configured"]
}
const showHealth = keyed($("health"), (name) => {
  const state = el("span")
  const why = el("span", { class: "soft" })
  return {
    node: el("li", {}, `${name} `, state, why),
    update: ({ reasons, state: is }) => {
      const [kind, text] = healthMarks[is]
      state.className = kind
      setText(state, text)
      setText(why, reasons.length === 0 || is === "NotConfigured" ? "" : ` – ${reasons.join("; ")}`)
    }
  }
})

const showAlerts = keyed($("alerts"), () => {
  const node = el("li")
  return {
    node,
    update: ({ message, rule, severity, since }) =>
      setText(node, `⚠ ${rule} (${severity}) since ${clock(since)}: ${message}`)
  }
})

$("chaos").querySelector("button").addEventListener("click", () => act("chaos", { plan: null }, "Faults on purpose"))

const tilesOf = (snapshot, service, points) => {
  const recent = points.slice(-5).filter(({ calls }) => calls[0] !== null)
  const mean = (of) => recent.length === 0 ? null : recent.reduce((sum, point) => sum + of(point), 0) / recent.length
  const { burn, inFlight, latency } = service
  const failing = burn["5m"].rate === null ? null : burn["5m"].rate / 100
  const known = points.filter(({ completeness }) => completeness[0] !== null)
  const sum = (of) => known.reduce((total, { completeness }) => total + of(completeness), 0)
  const searches = sum((all) => all.reduce((a, b) => a + b, 0))
  const complete = searches === 0 ? null : sum(([first]) => first) / searches
  return [
    ["Answered, 5 min", [
      failing === null ? "–" : number(100 * (1 - failing), failing > 0 && failing < 0.01 ? 2 : 1),
      failing === null ? "" : "%",
      failing === null ? "soft" : failing < 0.01 ? "good" : failing < 0.1 ? "warn" : "bad"
    ]],
    ["Calls", [number(mean(({ capacity }) => capacity[2])), "/s"]],
    ["p95", [millis(latency.p95).replace(/ \S+$/, ""), latency.p95 === null ? "" : millis(latency.p95).split(" ")[1]]],
    ["Burn, 1 h", [
      number(burn["1h"].rate),
      burn["1h"].rate === null ? "" : "×",
      burn["1h"].rate === null ? "soft" : burn["1h"].rate > 14.4 ? "bad" : burn["1h"].rate > 1 ? "warn" : "good"
    ]],
    ["Fallbacks", [
      number(mean(({ retries }) => retries[2] * 60), 0),
      "/min",
      mean(({ retries }) => retries[2]) > 0 ? "warn" : ""
    ]],
    ["Complete", [
      complete === null ? "–" : number(100 * complete, complete > 0.99 ? 1 : 0),
      complete === null ? "" : "%",
      complete === null ? "soft" : complete < 0.99 ? "warn" : "good"
    ]],
    ["In flight", [number(inFlight, 0), ""]]
  ]
}

export const drawNow = (snapshot, service, points) => {
  showLevels(snapshot.levels.map((level) => [level.service, level]))
  showTiles(service === undefined ? [] : tilesOf(snapshot, service, points))
  showHealth(snapshot.health.map((one) => [one.name, one]))
  showAlerts(snapshot.alerts.filter(({ state }) => state === "Firing").map((alert) => [alert.rule, alert]))
  const { chaos } = snapshot
  $("chaos").hidden = chaos === null
  if (chaos !== null) {
    setText(
      $("chaos").querySelector("span"),
      `⚡ Faults on purpose: ${chaos.rules} rules, ${chaos.faults} faults in ${chaos.calls} calls` +
        (chaos.until === null ? "" : `, until ${clock(chaos.until)}`)
    )
  }
}
