// The table of circuit breakers: state, how near each is to opening, when it is tried next, and what an operator can do.
import { $, el, gauge, keyed, nothing, number, percent, row, setText, span } from "./dom.js"
import { act } from "./operator.js"
import { glyphs, words } from "./signs.js"

let skew = 0 // the server's clock minus ours, in milliseconds
const countdowns = new Map()
export const tick = () => {
  for (const [cell, until] of countdowns) {
    const seconds = Math.ceil((until - Date.now() - skew) / 1000)
    setText(cell, seconds > 0 ? `in ${seconds} s` : "now")
  }
}

const actions = [["open", "Open"], ["close", "Close"], ["disable", "Disable"], ["enable", "Auto"]]
let onMoved = () => {}
/** Who is told that a circuit was moved, before the next snapshot tells. */
export const whenMoved = (tell) => {
  onMoved = tell
}

const showBreakers = keyed($("breakers"), (key) => {
  const state = el("span", { class: "state" })
  const since = el("span", { class: "sub" })
  const { node: bar, update: fill } = gauge()
  const ratio = el("span", { class: "sub" })
  const buttons = actions.map(([action, text]) =>
    el("button", {
      type: "button",
      "aria-label": `${text} circuit ${key}`,
      onclick: async () => {
        const changed = await act(
          `breakers/${encodeURIComponent(key)}`,
          { action },
          `Circuit ${key}, ${text.toLowerCase()}`
        )
        if (changed !== undefined) onMoved(changed)
      }
    }, text)
  )
  const { cells, node } = row(8, () => {}, { "data-key": key })
  cells[0].append(key)
  cells[1].append(state, " ", since)
  cells[2].append(bar, ratio)
  cells[4].className = cells[5].className = "number"
  cells[7].append(el("span", { class: "by-hand" }, ...buttons))
  return {
    node,
    update: ({ circuit, at }) => {
      const { calls, consecutiveFailures, failures, opensAt, refused, retryAfterMillis, slow, trips } = circuit
      state.className = `state ${circuit.state}`
      setText(state, `${glyphs[circuit.state]} ${words[circuit.state]}`)
      setText(since, `for ${span(Math.max(0, at - circuit.since))}`)
      const failing = calls === 0 ? 0 : failures / calls
      const near = opensAt.failureRate !== null && calls >= opensAt.minimumCalls
      fill(
        failing,
        failing === 0
          ? "good"
          : near && failing >= opensAt.failureRate
          ? "bad"
          : failing > (opensAt.failureRate ?? 1) / 2
          ? "warn"
          : "good",
        opensAt.failureRate ?? undefined
      )
      setText(
        ratio,
        calls === 0
          ? "no call lately"
          : `${number(failures, 0)} of ${number(calls, 0)}, ${percent(failing)}` +
            (opensAt.failureRate === null ? "" : ` of ${percent(opensAt.failureRate)}`) +
            (near ? "" : `, judged from ${opensAt.minimumCalls} calls on`) +
            (opensAt.slowCallRate === null ? "" : `; slow ${percent(slow / calls)} of ${percent(opensAt.slowCallRate)}`)
      )
      setText(
        cells[3],
        opensAt.consecutiveFailures === null
          ? number(consecutiveFailures, 0)
          : `${number(consecutiveFailures, 0)} of ${opensAt.consecutiveFailures}`
      )
      setText(cells[4], number(refused, 0))
      setText(cells[5], number(trips, 0))
      countdowns.delete(cells[6])
      if (retryAfterMillis === null) setText(cells[6], "by hand")
      else if (retryAfterMillis > 0) countdowns.set(cells[6], at + retryAfterMillis)
      else setText(cells[6], "now")
      const held = { ForcedOpen: "open", Disabled: "disable" }[circuit.state]
      for (const [index, [action]] of actions.entries()) {
        if (action === "open" || action === "disable") {
          buttons[index].setAttribute("aria-pressed", String(action === held))
        }
      }
    }
  }
}, nothing(8, "No circuit yet"))

export const drawBreakers = (snapshot) => {
  skew = snapshot.at - Date.now()
  showBreakers(snapshot.circuits.map((circuit) => [circuit.key, { circuit, at: snapshot.at }]))
  tick()
}
