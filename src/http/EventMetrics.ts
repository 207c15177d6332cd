/** Events as an Effect metric: how many of each kind, of which severity, about whom. */
import { Effect, Layer, Record, Stream } from "effect"
import { type Event, EventLog } from "../Event.ts"
import { levels } from "../internal/levelState.ts"
import { counter, type Family, type Labels, type Shown } from "../internal/metricRegistry.ts"
import { Operations } from "./Operations.ts"

const family: Family = ["ft_events_total", "Notable things that happened"]

type Severity = "info" | "warning" | "error"

/** The severities that each kind of event may have. */
const severities: { readonly [T in Event["_tag"]]: ReadonlyArray<Severity> } = {
  BreakerChanged: ["info", "error"],
  Retrying: ["info"],
  Hedged: ["info"],
  FellBack: ["warning"],
  LevelChanged: ["info", "warning"],
  HealthChanged: ["info", "warning"],
  Noted: ["info"],
  OperatorAction: ["info"],
  AlertChanged: ["info", "warning", "error"],
  SettingsChanged: ["info"],
  ChaosInjected: ["warning"]
}

const severityOf = (event: Event): Severity => {
  switch (event._tag) {
    case "BreakerChanged":
      return event.to === "Open" || event.to === "ForcedOpen" ? "error" : "info"
    case "LevelChanged": {
      const names: ReadonlyArray<string> = levels
      return names.indexOf(event.to) > names.indexOf(event.from) ? "warning" : "info"
    }
    case "HealthChanged":
      return event.healthy ? "info" : "warning"
    case "AlertChanged":
      return !event.firing ? "info" : event.severity === "page" ? "error" : "warning"
    case "FellBack":
    case "ChaosInjected":
      return "warning"
    case "Retrying":
    case "Hedged":
    case "Noted":
    case "OperatorAction":
    case "SettingsChanged":
      return "info"
  }
}

/** The service or provider that an event is about. */
const serviceOf = (event: Event): string | undefined => {
  switch (event._tag) {
    case "BreakerChanged":
      // A pipeline's circuits are named after their provider.
      return event.key.split("/", 1)[0]
    case "Retrying":
    case "Hedged":
    case "ChaosInjected":
      return event.provider
    case "FellBack":
    case "LevelChanged":
    case "HealthChanged":
      return event.service
    case "Noted":
      return event.subject
    case "OperatorAction":
    case "AlertChanged":
    case "SettingsChanged":
      return undefined
  }
}

const aboutNobody: ReadonlySet<Event["_tag"]> = new Set(["OperatorAction", "AlertChanged", "SettingsChanged"])

/** Names come from whoever tells events; later ones share the name `other`. */
const maxNames = 100

/** What there can be of the services known is there from the start, at 0. */
export const layer: Layer.Layer<never, never, Operations | EventLog> = Layer.effectDiscard(Effect.gen(function*() {
  const operations = yield* Operations
  const log = yield* EventLog
  const context = yield* Effect.context()
  const counts = new Map<string, { readonly of: { events: number }; readonly series: Shown }>()
  yield* Effect.addFinalizer(() => Effect.sync(() => counts.forEach(({ series }) => series.remove())))
  const { health, services } = yield* operations.snapshot
  const names = new Set([
    ...operations.guards.map(({ provider }) => provider),
    ...operations.levels.map(({ service }) => service),
    ...health.map(({ name }) => name),
    ...services.map(({ service }) => service)
  ])

  const countOf = (event: Event["_tag"], severity: Severity, name: string | undefined) => {
    if (name !== undefined && names.size < maxNames) names.add(name)
    const service = name === undefined || names.has(name) ? name : "other"
    const id = [event, severity, service].join("\u0000")
    const known = counts.get(id)
    if (known !== undefined) return known.of
    const labels: Labels = { event, severity, ...(service === undefined ? {} : { service }) }
    const of = { events: 0 }
    counts.set(id, { of, series: counter(context, family, labels, () => of.events) })
    return of
  }

  const known = Array.from(names)
  for (const [event, possible] of Record.toEntries(severities)) {
    for (const name of aboutNobody.has(event) ? [undefined] : known) {
      for (const severity of possible) countOf(event, severity, name)
    }
  }
  yield* Effect.forkScoped(
    Stream.runForEach(
      log.since(),
      ({ event }) => Effect.sync(() => countOf(event._tag, severityOf(event), serviceOf(event)).events++)
    )
  )
}))
