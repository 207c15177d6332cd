/** What the endpoints of `SettingsApi` do, as a layer for any API that has the group. */
import { Clock, Effect } from "effect"
import { type HttpApi, HttpApiBuilder, type HttpApiGroup } from "effect/http-api"
import * as Event from "../Event.ts"
import { scrub } from "../internal/scrub.ts"
import { Settings } from "../Settings.ts"
import { type Around, around, type Having } from "./Mounted.ts"
import { InvalidConfiguration } from "./Problems.ts"
import type { SettingsApi } from "./SettingsApi.ts"
import * as Throttle from "./Throttle.ts"

/** Give it to the API's own layer, with what the API has around the group. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: Having<typeof SettingsApi, Id, Groups>
) =>
  around<Around<typeof SettingsApi, Groups>>()(
    HttpApiBuilder.group(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parameter says that it has the group
      api as unknown as HttpApi.HttpApi<Id, typeof SettingsApi>,
      "settings",
      (group) => Effect.map(handlers, (all) => group.handleAll(all))
    )
  )

/** As a record, for `handleAll`. */
export const handlers = Effect.gen(function*() {
  const settings = yield* Settings
  const sink = yield* Event.Sink
  const limited = yield* Throttle.make("Patches", 30)

  return {
    effective: Effect.fnUntraced(function*() {
      return { ...yield* settings.effective, history: (yield* settings.history).slice(-20) }
    }),

    patch: Effect.fnUntraced(function*({ payload }: { readonly payload: { readonly [key: string]: unknown } }) {
      yield* limited
      const exit = yield* Effect.result(settings.patch(payload))
      const at = yield* Clock.currentTimeMillis
      const refused = exit._tag === "Failure"
      sink?.(Event.OperatorAction.make({
        at,
        action: refused ? "settings refused" : "settings patched",
        target: "settings",
        actor: "operator",
        // What stands in a patch may be of any length, or a secret in the wrong place.
        detail: refused
          ? scrub(exit.failure.problems.map(({ field }) => field).join(", "))
          : `version ${exit.success.version}`
      }))
      if (!refused) return exit.success
      return yield* new InvalidConfiguration({
        detail: "Nothing was changed.",
        problems: exit.failure.problems
      })
    })
  }
})
