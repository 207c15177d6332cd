// The page: one stream of snapshots and events, drawn. Nothing is kept but the last hour, and no word comes from anywhere
// but this server.
import { drawBreakers, tick, whenMoved } from "./breakers.js"
import { drawCharts, fitCharts, makeCharts, trendOf } from "./charts.js"
import { $, clock, el, setText } from "./dom.js"
import { drawEvents, rare, takeEvent, tell } from "./events.js"
import { move, recall, since, take } from "./history.js"
import { drawLanes } from "./lanes.js"
import { drawNow } from "./now.js"
import { say } from "./operator.js"
import { drawTables } from "./tables.js"

let snapshot

const chooseServices = () => {
  const names = snapshot.services.map(({ service }) => service)
  const select = $("service")
  if (names.join() === Array.from(select.options, ({ value }) => value).join()) return
  const before = select.value
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)))
  const levelled = snapshot.levels.find(({ service }) => names.includes(service))?.service
  select.value = names.includes(before) ? before : levelled ?? names[0] ?? ""
}

const draw = () => {
  if (snapshot === undefined) return
  chooseServices()
  const service = $("service").value
  // A server that has just been started has no more than its minute.
  const from = Math.max(
    snapshot.at - Number($("range").value) * 60_000,
    Math.min(snapshot.startedAt, snapshot.at - 60_000)
  )
  const points = since(service, from)
  drawCharts(points, from, snapshot.at)
  setText($("trend"), trendOf(points))
  const chosen = snapshot.services.find((one) => one.service === service)
  drawNow(snapshot, chosen, points)
  drawLanes(snapshot, from)
  drawBreakers(snapshot)
  drawTables(snapshot, chosen)
  void recall(service, draw)
}

const showStream = (state, text) => {
  const box = $("stream")
  box.className = state
  setText(box.querySelector(".mark"), state === "live" ? "●" : "✗")
  setText(box.querySelector(".text"), text)
}

const heard = (id, event) => {
  takeEvent(id, event)
  if (event._tag === "BreakerChanged" || event._tag === "LevelChanged") move(event)
}

const connect = () => {
  const source = new EventSource("/api/fault-tolerance/stream")
  source.addEventListener("snapshot", (message) => {
    snapshot = JSON.parse(message.data)
    take(snapshot)
    showStream("live", `live, ${clock(snapshot.at)}`)
    draw()
  })
  source.addEventListener("event", (message) => {
    const event = JSON.parse(message.data)
    heard(message.lastEventId, event)
    drawEvents()
    if (event._tag === "BreakerChanged" || event._tag === "LevelChanged") say(tell(event))
  })
  source.addEventListener("error", () => {
    showStream("lost", snapshot ? `stream lost, data as of ${clock(snapshot.at)}` : "no stream yet")
    // A refused stream is closed for good by the browser: begin again.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000)
  })
}

/** What happened before the page was opened: the latest of what calls cause, and all that is kept of the rest. */
const past = async () => {
  const found = new Map()
  for (const query of ["limit=150", `limit=1000&type=${rare.join(",")}`]) {
    const response = await fetch(`/api/fault-tolerance/events?${query}`).catch(() => undefined)
    const { events } = response?.ok ? await response.json() : { events: [] }
    for (const { event, id } of events) found.set(id, event)
  }
  const place = (id) => Number(id.split("-")[1])
  for (const [id, event] of [...found].sort(([a], [b]) => place(a) - place(b))) heard(id, event)
  drawEvents()
  draw()
}

whenMoved((circuit) => {
  snapshot = {
    ...snapshot,
    circuits: snapshot.circuits.map((one) => one.key === circuit.key ? circuit : one)
  }
  draw()
})
for (const id of ["service", "range"]) $(id).addEventListener("change", draw)
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  makeCharts()
  draw()
})
new ResizeObserver(fitCharts).observe(document.querySelector("main"))
setInterval(tick, 500)
makeCharts()
drawEvents()
void past()
connect()
