// The event log: newest first, repetitions counted, in words.
import { $, clock, el, keyed, setText } from "./dom.js"

const perCall = new Set(["Retrying", "Hedged", "FellBack", "ChaosInjected"])
const titles = {
  BreakerChanged: "Circuit",
  Retrying: "Retry",
  Hedged: "Hedge",
  FellBack: "Fallback",
  LevelChanged: "Level",
  HealthChanged: "Health",
  Noted: "Note",
  OperatorAction: "Operator",
  AlertChanged: "Alert",
  SettingsChanged: "Settings",
  ChaosInjected: "Fault on purpose"
}

/** What single calls do not cause. */
export const rare = Object.keys(titles).filter((tag) => !perCall.has(tag))

export const tell = (event) => {
  switch (event._tag) {
    case "BreakerChanged":
      return `${event.key}: ${event.from} → ${event.to} (${event.reason})`
    case "Retrying":
      return `${event.provider}.${event.operation}: attempt ${event.attempt} failed with ${event.category}, another follows`
    case "Hedged":
      return `${event.provider}.${event.operation}: attempt ${event.attempt} started beside a slow one`
    case "FellBack":
      return `${event.service}.${event.operation}: ${event.from} → ${event.to} after ${event.category}`
    case "LevelChanged":
      return `${event.service}: ${event.from} → ${event.to} (${event.reason})`
    case "HealthChanged":
      return event.healthy ? `${event.service} is healthy again` : `${event.service} is not healthy: ${event.reason}`
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

/** How bad it is: a sign and a class. */
const signOf = (event) => {
  const bad = event.to === "Open" || event.to === "ForcedOpen" || (event._tag === "AlertChanged" && event.firing)
  if (bad) return ["■", "bad"]
  if (event.to === "Closed" || event.to === "Full" || event.healthy || event.firing === false) return ["●", "good"]
  const worse = event._tag === "HealthChanged" || event._tag === "LevelChanged" || perCall.has(event._tag)
  if (worse) return ["▲", "warn"]
  return ["·", "soft"]
}

const seen = new Set()
let rows = []
let made = 0

/** Takes an event with its id. The same again within a minute is counted, not listed. */
export const takeEvent = (id, event) => {
  if (seen.has(id)) return
  seen.add(id)
  if (seen.size > 4_000) seen.delete(seen.values().next().value)
  const text = tell(event)
  const same = rows.slice(0, 8).find((row) =>
    row.text === text && row.event._tag === event._tag && event.at - row.event.at < 60_000
  )
  if (same !== undefined) {
    same.times++
    same.event = event
    rows = [same, ...rows.filter((row) => row !== same)]
  } else rows = [{ key: ++made, event, text, times: 1 }, ...rows].slice(0, 300)
}

const show = keyed($("events"), () => {
  const time = el("time")
  const sign = el("span", { "aria-hidden": "true" })
  const title = el("strong")
  const what = el("span", { class: "what" })
  const times = el("span", { class: "times" })
  return {
    node: el("li", {}, time, sign, title, what, times),
    update: ({ event, text, times: count }) => {
      const [glyph, kind] = signOf(event)
      setText(time, clock(event.at))
      setText(sign, glyph)
      sign.className = kind
      setText(title, titles[event._tag] ?? event._tag)
      setText(what, text)
      setText(times, count > 1 ? `× ${count}` : "")
    }
  }
}, el("li", {}, el("span", { class: "soft what" }, "Nothing yet")))

export const drawEvents = () => {
  const all = $("per-call").checked ? rows : rows.filter(({ event }) => !perCall.has(event._tag))
  show(all.slice(0, 100).map((row) => [row.key, row]))
}
$("per-call").addEventListener("change", drawEvents)
