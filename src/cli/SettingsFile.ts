/** The file of `serve --config`: read at the start, and again whenever it says something else. */
import { Clock, Console, Effect, FileSystem } from "effect"
import * as Event from "../Event.ts"
import { scrub } from "../internal/scrub.ts"
import { InvalidSettings, parse, Settings } from "../Settings.ts"

/** What the file says. */
export const read = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* parse(path, yield* fs.readFileString(path))
})

/**
 * Looks at the file each second: a file that is replaced, on whatever disk, is seen where watching it would miss it. What
 * cannot be taken is told once, and the settings stay.
 */
export const follow = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const settings = yield* Settings
  const sink = yield* Event.Sink
  const text = Effect.orElseSucceed(fs.readFileString(path), () => undefined)
  let seen = yield* text
  const look = Effect.gen(function*() {
    const now = yield* text
    if (now === seen) return
    seen = now
    const { version } = yield* settings.effective
    const taken = now === undefined
      ? Effect.fail(new InvalidSettings({ problems: [{ field: "", message: `${path} cannot be read` }] }))
      : Effect.flatMap(parse(path, now), settings.load)
    yield* Effect.matchEffect(taken, {
      onFailure: (error) => {
        const message = scrub(`${path} is not taken, the settings stay: ${error.message}`)
        return Effect.flatMap(Clock.currentTimeMillis, (at) => {
          sink?.(Event.Noted.make({ at, subject: "settings", message }))
          return Effect.logWarning(message)
        })
      },
      onSuccess: (effective) =>
        effective.version === version
          ? Effect.void
          : Console.log(`settings: ${path} is taken, version ${effective.version}`)
    })
  })
  return yield* Effect.forever(Effect.delay(look, "1 second"))
})
