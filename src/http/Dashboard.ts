/** The page at `/`, its script, its styles and `uplot`, all from this package: no build step, no CDN. */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse, HttpStaticServer } from "effect/http"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"

/** Only what this server sends may run or be asked. `style-src 'self'` allows what scripts set on single elements. */
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Pages are no modules: the compiler leaves them where they are, so both src/http and dist/http lead to src.
const folder = fileURLToPath(new URL("../../src/http/dashboard/", import.meta.url))
const uplot = dirname(fileURLToPath(import.meta.resolve("uplot/dist/uPlot.esm.js")))

/** The paths it serves, for the table of what is allowed. */
export const routes = [["GET", "/"], ["GET", "/assets/*"], ["GET", "/favicon.ico"]] as const

const page = HttpRouter.add(
  "GET",
  "/",
  Effect.map(
    HttpServerResponse.file(`${folder}index.html`),
    HttpServerResponse.setHeaders({
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer"
    })
  )
)

/** Pages that are not ours, such as the API reference, leave the browser to ask for it here. */
const icon = HttpRouter.add(
  "GET",
  "/favicon.ico",
  HttpServerResponse.file(`${folder}icon.svg`, { contentType: "image/svg+xml" })
)

const files = (root: string, prefix: "/assets/dashboard" | "/assets/uplot") =>
  HttpStaticServer.layer({ root, prefix, index: undefined, cacheControl: "no-cache" })

/** `GET /` and what it needs. The page asks the API at `/api/fault-tolerance`, without a prefix. */
export const layer = Layer.mergeAll(page, icon, files(folder, "/assets/dashboard"), files(uplot, "/assets/uplot"))
