// Nodes and words. Text goes in as text, never as markup.

export const $ = (id) => document.getElementById(id)

export const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value)
  }
  node.append(...children)
  return node
}

export const setText = (node, value) => {
  if (node.textContent !== value) node.textContent = value
}

/**
 * Keeps the children of `parent` in line with a list of `[key, item]`. `make(key)` gives a node and how to bring it up to
 * date with an item: nodes stay, so that focus, selection and scroll positions do.
 */
export const keyed = (parent, make, empty) => {
  const known = new Map()
  return (entries) => {
    const keys = new Set(entries.map(([key]) => key))
    for (const [key, { node }] of known) {
      if (keys.has(key)) continue
      node.remove()
      known.delete(key)
    }
    if (empty !== undefined) {
      if (entries.length === 0) parent.append(empty)
      else empty.remove()
    }
    let place = parent.firstChild
    for (const [key, item] of entries) {
      const one = known.get(key) ?? make(key)
      known.set(key, one)
      one.update(item)
      if (one.node === place) place = place.nextSibling
      else parent.insertBefore(one.node, place)
    }
  }
}

/** A row that says that there is nothing. */
export const nothing = (columns, text) => el("tr", {}, el("td", { colspan: String(columns), class: "soft" }, text))

/** A table row of cells; `update` gives each a text, or does with it what it likes. */
export const row = (count, update, attributes = {}) => {
  const cells = Array.from({ length: count }, () => el("td"))
  const node = el("tr", attributes, ...cells)
  return { node, cells, update: (item) => update(cells, item) }
}

/** A bar that is filled to a share, and marked at another. */
export const gauge = () => {
  const fill = el("i")
  const mark = el("b")
  const node = el("div", { class: "gauge", "aria-hidden": "true" }, fill)
  return {
    node,
    update: (share, kind, marked) => {
      node.className = `gauge ${kind}`
      fill.style.width = `${Math.min(100, Math.max(0, share * 100))}%`
      if (marked === undefined) mark.remove()
      else {
        mark.style.left = `${Math.min(99, marked * 100)}%`
        node.append(mark)
      }
    }
  }
}

export const clock = (millis, seconds = true) =>
  new Date(millis).toLocaleTimeString([], {
    hour12: false,
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {})
  })
export const round = (value, digits = 1) => Math.round(value * 10 ** digits) / 10 ** digits
export const number = (value, digits = 1) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : round(value, digits).toLocaleString()
export const percent = (share, digits = 0) =>
  share === null || share === undefined ? "–" : `${number(share * 100, digits)} %`
export const millis = (value) =>
  value === null || value === undefined
    ? "–"
    : value < 10
    ? `${number(value, 1)} ms`
    : value < 1000
    ? `${number(value, 0)} ms`
    : `${number(value / 1000, 2)} s`
export const span = (millis) =>
  millis < 60_000
    ? `${Math.round(millis / 1000)} s`
    : millis < 3_600_000
    ? `${number(millis / 60_000, millis < 600_000 ? 1 : 0)} min`
    : `${number(millis / 3_600_000, 1)} h`
