import { Effect } from "effect"
import { existsSync } from "node:fs"
import { type Browser, type BrowserContextOptions, chromium } from "playwright-core"

/** The first browser there is; `undefined` skips what needs one. */
export const executablePath = [process.env["CHROMIUM_PATH"], "/usr/bin/chromium", "/usr/bin/google-chrome"]
  .find((path) => path !== undefined && existsSync(path))

export const absent = "no chromium: set CHROMIUM_PATH or install Debian's chromium"

const launch = () =>
  chromium.launch({
    executablePath: executablePath!,
    args: [
      "--no-sandbox", // only because root needs it
      "--disable-dev-shm-usage",
      "--disable-gpu",
      "--disable-quic",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--no-proxy-server"
    ]
  })

let running: Promise<Browser> | undefined

/** A page of a headless browser, with nothing that others left there, and what went wrong in it; gone with the scope. */
export const openPage = Effect.fnUntraced(function*(options: BrowserContextOptions) {
  const context = yield* Effect.acquireRelease(
    Effect.promise(async () => (await (running ??= launch())).newContext(options)),
    (context) => Effect.promise(() => context.close())
  )
  const page = yield* Effect.promise(() => context.newPage())
  const errors: Array<string> = []
  page.on("pageerror", (error) => errors.push(String(error)))
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text())
  })
  return { page, errors }
})

/** Ends the browser: starting one takes longer than most of what is tried in it, so that one serves a file's tests. */
export const close = async (): Promise<void> => {
  const browser = await running
  running = undefined
  await browser?.close()
}
