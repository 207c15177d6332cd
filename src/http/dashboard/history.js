// What the page knows of the past: points for the charts of each service, and the states that circuits and levels were in.

const hour = 3_600_000

/** One point of every chart, from counters and the seconds in which they grew. `null` where nothing is known. */
const pointOf = (at, seconds, grown, latency, more) => ({
  t: at / 1000,
  calls: [grown.successful, grown.failed - grown.refused, grown.refused, grown.cancelled].map((n) => n / seconds),
  latency: [latency.p50, latency.p95, latency.p99],
  completeness: ["complete", "partial", "lexical", "stale", "failed"].map((kind) => grown.completeness[kind] / seconds),
  retries: [grown.retried, grown.hedged, grown.fallbacks].map((n) => n / seconds),
  cache: ["hit", "coalesced", "stale", "miss"].map((kind) => grown.cache[kind] / seconds),
  capacity: [more.inFlight, more.limit, (grown.successful + grown.failed + grown.cancelled) / seconds]
})

/** A place without a line: nobody was looking, or the counters began anew. */
const gapAt = (at) => ({
  t: at / 1000,
  calls: [null, null, null, null],
  latency: [null, null, null],
  completeness: [null, null, null, null, null],
  retries: [null, null, null],
  cache: [null, null, null, null],
  capacity: [null, null, null]
})

const counters = ["successful", "failed", "refused", "cancelled", "retried", "hedged", "fallbacks"]

/** What the counters grew by; `undefined` where they were reset in between. */
const difference = (before, after) => {
  const grown = {}
  for (const name of counters) grown[name] = after[name] - before[name]
  for (const group of ["cache", "completeness"]) {
    grown[group] = Object.fromEntries(
      Object.entries(after[group]).map(([kind, count]) => [kind, count - before[group][kind]])
    )
  }
  return grown.successful < 0 || grown.failed < 0 ? undefined : grown
}

const points = new Map()
const asked = new Set()
let last

const pointsIn = (service) => {
  const known = points.get(service)
  if (known !== undefined) return known
  const made = []
  points.set(service, made)
  return made
}

/** Takes a snapshot as the next point of each service. */
export const take = (snapshot) => {
  const before = last
  last = snapshot
  if (before === undefined || snapshot.startedAt !== before.startedAt) return
  const seconds = (snapshot.at - before.at) / 1000
  if (seconds <= 0) return
  const limit = snapshot.capacity.length === 0 ? null : snapshot.capacity.reduce((sum, one) => sum + one.limit, 0)
  for (const service of snapshot.services) {
    const old = before.services.find((one) => one.service === service.service)
    const grown = old && difference(old, service)
    const all = pointsIn(service.service)
    if (seconds > 15 || grown === undefined) all.push(gapAt(snapshot.at))
    else all.push(pointOf(snapshot.at, seconds, grown, service.latency, { inFlight: service.inFlight, limit }))
    while (all.length > 0 && all[0].t * 1000 < snapshot.at - hour) all.shift()
  }
}

/** The points of a service since `from`, in milliseconds. */
export const since = (service, from) => pointsIn(service).filter(({ t }) => t * 1000 >= from)

/** Fetches what was before the page was opened, minute by minute, once for each service. */
export const recall = async (service, done) => {
  if (service === "" || asked.has(service)) return
  asked.add(service)
  const response = await fetch(`/api/fault-tolerance/minutes?service=${encodeURIComponent(service)}`).catch(() =>
    undefined
  )
  if (!response?.ok) {
    asked.delete(service)
    return
  }
  const { minutes } = await response.json()
  const all = pointsIn(service)
  const first = all[0]?.t ?? Infinity
  const started = last?.startedAt ?? 0
  const past = minutes.slice(0, -1)
    .filter(({ at }) => at + 60_000 > started)
    .map((minute) => pointOf(minute.at + 30_000, 60, minute, minute.latency, { inFlight: null, limit: null }))
    .filter(({ t }) => t < first)
  all.unshift(...past)
  done()
}

// -- states ----------------------------------------------------------------------------------------------------------

const moves = new Map()

/** Takes a transition of a circuit or a level; those that are known already change nothing. */
export const move = (event) => {
  const key = event._tag === "BreakerChanged" ? `circuit ${event.key}` : `level ${event.service}`
  const known = moves.get(key) ?? []
  moves.set(key, known)
  if (known.some(({ at, to }) => at === event.at && to === event.to)) return
  known.push(event)
  known.sort((a, b) => a.at - b.at)
  if (known.length > 1_000) known.shift()
}

/** The states since `from`, as `{ state, from, to }`, up to the one that it is in now. Before the start there was none. */
export const statesOf = (key, state, stateSince, from, now) => {
  const known = (moves.get(key) ?? []).filter(({ at }) => at <= now)
  const spans = []
  let begin = Math.max(from, last?.startedAt ?? from)
  let was = known[0]?.from ?? state
  const enter = (state, at) => {
    if (at > begin) spans.push({ state: was, from: begin, to: at })
    begin = Math.max(begin, at)
    was = state
  }
  for (const { at, to } of known) enter(to, at)
  // What happened while nobody was listening.
  if (was !== state) enter(state, stateSince)
  enter(state, now)
  return spans
}
