/** A bar on a terminal, a line every tenth elsewhere: drawn on stderr, so that stdout stays for results. */
import { Clock, Effect, Ref, Stdio, Stream } from "effect"
import { styleText } from "node:util"

export interface Progress {
  readonly update: (done: number, total: number) => Effect.Effect<void>
  /** Leaves the last state on the screen and ends the line. */
  readonly finish: Effect.Effect<void>
}

const width = 28

/** A bar called `label`. Draws at most every 50 ms. */
export const make = Effect.fnUntraced(function*(label: string) {
  const stdio = yield* Stdio.Stdio
  const animated = yield* stdio.stderrIsTerminal
  const drawn = yield* Ref.make({ at: Number.NEGATIVE_INFINITY, tenth: -1, open: false })
  const write = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))

  const update = Effect.fnUntraced(function*(done: number, total: number) {
    const now = yield* Clock.currentTimeMillis
    const share = total === 0 ? 1 : done / total
    const last = yield* Ref.get(drawn)
    if (animated) {
      if (now - last.at < 50 && done < total) return
      yield* Ref.set(drawn, { at: now, tenth: 0, open: true })
      yield* write(`\r\u001b[K${bar(label, share, done, total)}`)
    } else {
      const tenth = Math.floor(share * 10)
      if (tenth === last.tenth) return
      yield* Ref.set(drawn, { at: now, tenth, open: false })
      yield* write(`${label}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}\n`)
    }
  })

  return {
    update,
    finish: Effect.flatMap(Ref.get(drawn), ({ open }) => open ? write("\n") : Effect.void)
  } satisfies Progress
})

const bar = (label: string, share: number, done: number, total: number): string => {
  const full = Math.round(share * width)
  return `${label} ${styleText("green", "█".repeat(full))}${styleText("gray", "░".repeat(width - full))} ${
    String(Math.floor(share * 100)).padStart(3)
  } %  ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`
}
