/** What the endpoints of `OperationsApi` do, as a layer for any API that has the group. */
import { Clock, Effect } from "effect"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup } from "effect/http-api"
import { Event, EventLog } from "../Event.ts"
import { Measurements } from "../Telemetry.ts"
import { entryId, parseEntryId } from "./EventStream.ts"
import { type Around, around, type Having } from "./Mounted.ts"
import { circuitView, Operations } from "./Operations.ts"
import type { BreakerAction, ChaosAction, LevelAction, OperationsApi } from "./OperationsApi.ts"
import { BadRequest, NotFound, UnknownService } from "./Problems.ts"
import * as Throttle from "./Throttle.ts"

/** Give it to the API's own layer, with what the API has around the group. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: Having<typeof OperationsApi, Id, Groups>
) =>
  around<Around<typeof OperationsApi, Groups>>()(
    HttpApiBuilder.group(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parameter says that it has the group
      api as unknown as HttpApi.HttpApi<Id, typeof OperationsApi>,
      "operations",
      (group) => Effect.map(handlers, (all) => group.handleAll(all))
    )
  )

const tags: ReadonlyArray<string> = Event.members.map(({ fields }) => fields._tag.schema.literal)

/** As a record, for `handleAll`. */
export const handlers = Effect.gen(function*() {
  const operations = yield* Operations
  const log = yield* EventLog
  const measurements = yield* Measurements
  // Nobody moves things by hand faster; a script that guesses or floods does.
  const limited = yield* Throttle.make("Operator actions", 30)

  const circuits = Effect.map(operations.standing, ({ circuits }) => circuits)

  return {
    snapshot: () => operations.snapshot,

    minutes: Effect.fnUntraced(
      function*({ query: { count = 60, service } }: {
        readonly query: { readonly service: string; readonly count?: number }
      }) {
        const known = (yield* measurements.lifetime).map(({ service }) => service)
        if (!known.includes(service)) return yield* UnknownService.among(known)
        return { service, minutes: yield* measurements.minutes(service, count) }
      }
    ),

    events: Effect.fnUntraced(
      function*({ query }: {
        readonly query: { readonly type?: ReadonlyArray<string>; readonly since?: string; readonly limit?: number }
      }) {
        const since = query.since === undefined ? undefined : parseEntryId(query.since)
        if (query.since !== undefined && since === undefined) {
          return yield* new BadRequest({ detail: "since is the id of an event, such as 1764000000000-17." })
        }
        const unknown = query.type?.find((tag) => !tags.includes(tag))
        if (unknown !== undefined) {
          return yield* new BadRequest({ detail: `There is no event ${unknown}. There are: ${tags.join(", ")}.` })
        }
        // An id of another process says nothing of ours: everything kept is newer.
        const after = since?.epoch === log.epoch ? since.seq : 0
        const entries = (yield* log.history(after)).filter(({ event }) => query.type?.includes(event._tag) ?? true)
        return {
          events: entries.slice(-(query.limit ?? 200)).map(({ event, seq }) => ({ id: entryId(log.epoch, seq), event }))
        }
      }
    ),

    alerts: Effect.fnUntraced(function*() {
      const { alerts } = operations
      return alerts === undefined
        ? { alerts: [], history: [] }
        : { alerts: yield* alerts.current, history: yield* alerts.history }
    }),

    breakers: () => Effect.map(circuits, (breakers) => ({ breakers })),

    moveBreaker: Effect.fnUntraced(
      function*({ params: { key }, payload: { action } }: {
        readonly params: { readonly key: string }
        readonly payload: typeof BreakerAction.Type
      }) {
        yield* limited
        for (const guard of operations.guards) {
          const { breaker } = guard
          const kept = yield* breaker.states
          if (!kept.some((circuit) => circuit.key === key)) continue
          switch (action) {
            case "open":
              yield* breaker.forceOpen(key)
              break
            case "close":
              yield* breaker.forceClose(key)
              break
            case "disable":
              yield* breaker.disable(key)
              break
            case "enable":
              yield* breaker.enable(key)
              break
            case "reset":
              yield* breaker.reset(key)
              break
          }
          yield* operations.audit(`breaker ${action}`, key)
          return circuitView(guard, yield* breaker.status(key))
        }
        return yield* new NotFound({ detail: "No circuit has this key; GET breakers lists those there are." })
      }
    ),

    moveLevel: Effect.fnUntraced(function*({ payload }: { readonly payload: typeof LevelAction.Type }) {
      yield* limited
      const level = operations.levels.find(({ service }) => service === payload.service)
      if (level === undefined) {
        return yield* new NotFound({
          detail: `No service of this name has a level; there are: ${
            operations.levels.map(({ service }) => service).join(", ")
          }.`
        })
      }
      if (payload.rank === null) {
        yield* level.release
        yield* operations.audit("level released", payload.service, payload.reason)
      } else yield* level.hold(payload.rank, payload.reason ?? "held by an operator", payload.expiresInMillis)
      return { service: level.service, ...(yield* level.status) }
    }),

    moveChaos: Effect.fnUntraced(function*({ payload }: { readonly payload: typeof ChaosAction.Type }) {
      yield* limited
      const { chaos } = operations
      if (chaos === undefined) {
        return yield* new BadRequest({
          detail: "Faults on purpose want an opt-in at the start: HOLDFAST_CHAOS=true, or --chaos FILE."
        })
      }
      if (payload.plan === null) {
        yield* chaos.stop
        yield* operations.audit("chaos stopped", "chaos")
        return { running: false }
      }
      if (payload.expiresInMillis === undefined) {
        return yield* new BadRequest({
          detail: "expiresInMillis is required with a plan: no fault stays by being forgotten."
        })
      }
      yield* chaos.start(payload.plan, payload.expiresInMillis)
      const until = (yield* Clock.currentTimeMillis) + payload.expiresInMillis
      yield* operations.audit("chaos started", "chaos", `${payload.plan.rules.length} rules until ${until}`)
      return { running: true }
    })
  }
})
