// Levels and circuits over time: one lane each, one piece for each state that it was in.
import { $, el, keyed, percent, setText, span } from "./dom.js"
import { statesOf } from "./history.js"
import { glyphs, levelGlyphs, levels, levelWords, words } from "./signs.js"

const showLanes = keyed($("lanes"), (key) => {
  const name = el("span", { class: "name" })
  const track = el("div", { class: "track", role: "img" })
  const state = el("span", { class: "state" })
  const node = el("div", { class: "lane" }, name, track, state)
  return {
    node,
    update: ({ circuit, from, label, now, spans, text, kind, told }) => {
      if (circuit !== undefined) node.setAttribute("data-circuit", circuit)
      node.className = circuit === undefined ? "lane level-lane" : "lane"
      setText(name, label)
      name.title = label
      setText(state, text)
      state.className = `state ${kind}`
      while (track.children.length > spans.length) track.lastChild.remove()
      while (track.children.length < spans.length) track.append(el("i"))
      for (const [index, { from: begin, kind, to }] of spans.entries()) {
        const part = track.children[index]
        part.className = kind
        part.style.left = `${100 * (begin - from) / (now - from)}%`
        part.style.width = `${100 * (to - begin) / (now - from)}%`
      }
      track.setAttribute("aria-label", told)
      void key
    }
  }
}, el("p", { class: "soft" }, "No circuit yet"))

const axis = el(
  "div",
  { class: "lane axis", "aria-hidden": "true" },
  el("span", { class: "name" }),
  el("div", { class: "track" }, el("span"), el("span"), el("span", {}, "now")),
  el("span", { class: "state" })
)

const share = (spans, state, whole) =>
  spans.filter((one) => one.state === state).reduce((sum, { from, to }) => sum + to - from, 0) / whole

export const drawLanes = (snapshot, from) => {
  const now = snapshot.at
  const tellSpans = (spans, wordOf) => {
    const whole = Math.max(1, spans.reduce((sum, { from, to }) => sum + to - from, 0))
    const states = [...new Set(spans.map(({ state }) => state))]
    return states.map((state) => `${wordOf(state)} for ${percent(share(spans, state, whole))}`).join(", ")
  }
  const ofLevel = ({ rank, service, since }) => {
    const spans = statesOf(`level ${service}`, levels[rank], since, from, now)
      .map((one) => ({ ...one, kind: `rank${levels.indexOf(one.state)}` }))
    return [`level ${service}`, {
      from,
      now,
      spans,
      label: `${service} level`,
      text: `${levelGlyphs[rank] ?? "○"} ${levelWords[rank]}`,
      kind: `rank${rank}`,
      told: `Level of ${service}: ${tellSpans(spans, (state) => state)}`
    }]
  }
  const ofCircuit = ({ key, since, state }) => {
    const spans = statesOf(`circuit ${key}`, state === "ReadyToProbe" ? "Open" : state, since, from, now)
      .map((one) => ({ ...one, kind: one.state }))
    return [`circuit ${key}`, {
      circuit: key,
      from,
      now,
      spans,
      label: key,
      text: `${glyphs[state]} ${words[state]}`,
      kind: state,
      told: `${key}: ${tellSpans(spans, (state) => words[state])}`
    }]
  }
  showLanes([...snapshot.levels.map(ofLevel), ...snapshot.circuits.map(ofCircuit)])
  const [first, middle] = axis.children[1].children
  setText(first, `${span(now - from)} ago`)
  setText(middle, `${span((now - from) / 2)} ago`)
  if (axis.parentNode !== $("lanes").parentNode) $("lanes").after(axis)
}
