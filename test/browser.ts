import { Effect } from "effect"
import { existsSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"

/** The first browser there is; `undefined` skips what needs one. */
export const executablePath = [process.env["CHROMIUM_PATH"], "/usr/bin/chromium", "/usr/bin/google-chrome"]
  .find((path) => path !== undefined && existsSync(path))

export const absent = "no chromium: set CHROMIUM_PATH or install Debian's chromium"

/** A headless browser that ends with the scope. */
export const browser = Effect.acquireRelease(
  Effect.promise((): Promise<Browser> =>
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
  ),
  (browser) => Effect.promise(() => browser.close())
)
