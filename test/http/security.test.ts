import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { get } from "node:http"
import { connect } from "node:net"
import { OpenAiEmulator } from "../../src/testing/OpenAiEmulator.ts"
import * as Holdfast from "../cli/holdfast.ts"
import * as Embedded from "../embedded.ts"

/** What must never be seen outside: in keys, in addresses, in what providers say. */
const canary = "CANARYa1b2c3d4e5f6g7h8"
const apiKey = `sk-proj-${canary}Key0123456789`
const secretMessage = `Incorrect API key provided: ${apiKey}. postgres://user:${canary}Password@db.internal/prod`

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

const ask = (url: string, path: string, init?: RequestInit) =>
  Effect.promise(async (signal): Promise<Answer> => {
    const response = await fetch(url + path, { ...init, signal })
    return { status: response.status, text: await response.text(), headers: response.headers }
  })

const post = (body: unknown, headers: Readonly<Record<string, string>> = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" ? body : JSON.stringify(body)
})

/** Bytes as they are, over a socket of our own; what came back until it was closed or the time was over. */
const raw = (url: string, chunks: ReadonlyArray<string>, millis: number) =>
  Effect.promise(() =>
    new Promise<{ readonly text: string; readonly closed: boolean }>((resolve) => {
      const { hostname, port } = new URL(url)
      const socket = connect(Number(port), hostname)
      let text = ""
      const timer = setTimeout(() => {
        socket.destroy()
        resolve({ text, closed: false })
      }, millis)
      socket.on("data", (chunk) => text += chunk.toString())
      socket.on("error", () => {})
      socket.on("close", () => {
        clearTimeout(timer)
        resolve({ text, closed: true })
      })
      for (const chunk of chunks) socket.write(chunk)
    })
  )

interface Server {
  readonly emulator: OpenAiEmulator["Service"]
  readonly running: Holdfast.Running
  readonly url: string
}

class ServerUnderTest extends Context.Service<ServerUnderTest, Server>()("holdfast/test/ServerUnderTest") {}

const start = Effect.gen(function*() {
  const emulator = yield* OpenAiEmulator
  const running = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
    OPENAI_API_KEY: apiKey,
    OPENAI_BASE_URL: emulator.url,
    OPENAI_VECTORSTORE: emulator.vectorStore,
    HOLDFAST_DIRECTORY: yield* Embedded.home,
    HOLDFAST_ADMIN_TOKEN: `operator-${canary}`,
    HOLDFAST_ALLOWED_HOSTS: "other.internal, Store.internal",
    LOG_FORMAT: "json",
    LOG_LEVEL: "Trace"
  })
  const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
  const document = { id: "d1", title: "a title", content: "aspirin and the heart", attributes: { year: 2_020 } }
  const stored = yield* ask(url, "/api/vectorstore/documents", post(document))
  assert.isBelow(stored.status, 300, stored.text)
  return { emulator, running, url }
})

const server = Layer.effect(ServerUnderTest, start).pipe(Layer.provide(OpenAiEmulator.layer({ apiKey })))

layer(server, { timeout: "60 seconds", excludeTestServices: true })("the running server", (it) => {
  it.effect(
    "no key, password or word of a provider is seen in any answer, page, metric or log",
    () =>
      Effect.gen(function*() {
        const { emulator, running, url } = yield* ServerUnderTest
        const seen: Array<Answer> = []
        const look = Effect.fnUntraced(function*(path: string, init?: RequestInit) {
          seen.push(yield* ask(url, path, init))
        })
        yield* emulator.fault({
          _tag: "Status",
          status: 401,
          body: { error: { message: secretMessage, code: "invalid_api_key" } }
        })
        for (let i = 0; i < 8; i++) yield* look(`/api/vectorstore/search?query=aspirin+${i}`)
        yield* emulator.clear()
        yield* emulator.fault({ _tag: "Status", status: 500, body: { error: { message: secretMessage } } })
        for (let i = 0; i < 8; i++) yield* look(`/api/vectorstore/search?query=heart+${i}`)
        yield* look(
          "/api/fault-tolerance/breakers/x",
          post({ action: "open" }, { authorization: `Bearer ${canary}Wrong` })
        )
        for (
          const path of [
            "/",
            "/assets/dashboard/app.js",
            "/openapi.json",
            "/metrics",
            "/livez",
            "/readyz",
            "/api/fault-tolerance/health?detailed=true",
            "/api/fault-tolerance/metrics",
            "/api/fault-tolerance/events",
            "/api/fault-tolerance/alerts",
            "/api/fault-tolerance/snapshot",
            "/api/vectorstore/stats",
            "/api/vectorstore/sources"
          ]
        ) yield* look(path)
        yield* look("/api/fault-tolerance/health", post({}))
        for (const { headers, text } of seen) {
          assert.notInclude(text, canary)
          assert.notInclude(JSON.stringify([...headers]), canary)
          assert.notInclude(text, "db.internal")
        }
        yield* emulator.clear()
        assert.notInclude(running.stdout(), canary)
        assert.notInclude(running.stderr(), canary)
      })
  )

  it.effect("operator routes want the token, reads do not, and guessing is slow", () =>
    Effect.gen(function*() {
      const { url } = yield* ServerUnderTest
      const routes: ReadonlyArray<readonly [string, unknown]> = [
        ["/api/fault-tolerance/breakers/x", { action: "open" }],
        ["/api/fault-tolerance/level", { service: "unified", rank: 4 }],
        ["/api/fault-tolerance/chaos", { plan: null }],
        ["/api/fault-tolerance/metrics/reset", {}]
      ]
      for (const [path, body] of routes) {
        for (
          const authorization of [undefined, "Bearer ", "Bearer wrong", `Basic ${canary}`, `Bearer operator-${canary}x`]
        ) {
          const { headers, status } = yield* ask(
            url,
            path,
            post(body, authorization === undefined ? {} : { authorization })
          )
          assert.strictEqual(status, 401, `${path} with ${authorization}`)
          assert.strictEqual(headers.get("content-type"), "application/problem+json")
        }
      }
      const authorization = `Bearer operator-${canary}`
      let limited = 0
      for (let i = 0; i < 40; i++) {
        const { status } = yield* ask(
          url,
          "/api/fault-tolerance/breakers/none",
          post({ action: "open" }, { authorization })
        )
        assert.oneOf(status, [404, 429])
        if (status === 429) limited++
      }
      assert.isAbove(limited, 0)
      // A page of another origin may not write, whatever it sends.
      for (const site of ["cross-site", "same-site"]) {
        const cross = yield* ask(url, "/api/vectorstore/documents", post({}, { "sec-fetch-site": site }))
        assert.strictEqual(cross.status, 403, site)
      }
    }))

  it.effect("a page whose name was turned to this machine neither reads nor writes", () =>
    Effect.gen(function*() {
      const { url } = yield* ServerUnderTest
      const status = (host: string) =>
        Effect.callback<number | undefined>((resume) => {
          get(`${url}/api/vectorstore/documents`, { headers: { host } }, (response) => {
            response.resume()
            resume(Effect.succeed(response.statusCode))
          })
        })
      for (const host of ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example"]) {
        assert.strictEqual(yield* status(host), 421, host)
      }
      for (const host of ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]:3000", "a.localhost", "10.0.0.7"]) {
        assert.strictEqual(yield* status(host), 200, host)
      }
      for (const host of ["store.internal:8080", "STORE.internal."]) assert.strictEqual(yield* status(host), 200, host)
    }))

  it.effect("an expired token changes nothing, and is told only to who has it", () =>
    Effect.gen(function*() {
      const running = yield* Holdfast.start(["serve", "--port", "0", "--no-samples"], {
        HOLDFAST_DIRECTORY: yield* Embedded.home,
        HOLDFAST_ADMIN_TOKEN: canary,
        HOLDFAST_ADMIN_TOKEN_UNTIL: "2026-01-01T00:00:00Z"
      })
      const url = yield* Holdfast.says(running, /serving at (http:\/\/\S+)/)
      const open = (token: string) =>
        ask(url, "/api/fault-tolerance/breakers/neon", post({ action: "open" }, { authorization: `Bearer ${token}` }))
      const expired = yield* open(canary)
      assert.strictEqual(expired.status, 401)
      assert.include(expired.text, "valid until 2026-01-01T00:00:00.000Z")
      const wrong = yield* open(`${canary}x`)
      assert.strictEqual(wrong.status, 401)
      assert.notInclude(wrong.text, "valid until")
      assert.notInclude(running.stderr() + running.stdout(), canary)
    }))

  it.effect("what is malformed, huge, slow or sly harms nobody", () =>
    Effect.gen(function*() {
      const { url } = yield* ServerUnderTest
      const stored = Effect.map(ask(url, "/api/vectorstore/documents?limit=100"), ({ text }) =>
        (JSON.parse(text) as { readonly documents: ReadonlyArray<unknown> }).documents.length)
      const before = yield* stored
      const sly = [
        `'; DROP TABLE documents; --`,
        `" OR 1=1 --`,
        `%' UNION SELECT * FROM pg_shadow --`,
        "$1::text; select pg_sleep(10)",
        "\u0000",
        "a".repeat(9_000)
      ]
      for (const text of sly) {
        const { status } = yield* ask(url, `/api/vectorstore/search?query=${encodeURIComponent(text)}`)
        assert.isBelow(status, 500, text.slice(0, 40))
        const filtered = yield* ask(
          url,
          "/api/vectorstore/search",
          post({ query: "aspirin", filter: { type: "eq", key: text.slice(0, 60), value: text.slice(0, 500) } })
        )
        assert.isBelow(filtered.status, 500, `filter ${text.slice(0, 40)}`)
        const added = yield* ask(
          url,
          "/api/vectorstore/documents",
          post({ id: text.slice(0, 500), content: text, attributes: { [text.slice(0, 60)]: text.slice(0, 500) } })
        )
        assert.isBelow(added.status, 500, `document ${text.slice(0, 40)}`)
      }
      // Prototype pollution: a key of that name is data or refused, never more.
      const polluted = yield* ask(
        url,
        "/api/vectorstore/documents",
        post(`{"id":"p","content":"x","attributes":{"__proto__":{"admin":true}},"__proto__":{"admin":true}}`)
      )
      assert.isBelow(polluted.status, 500)
      const after = yield* ask(url, "/api/fault-tolerance/snapshot")
      assert.notInclude(after.text, "admin")

      const huge = yield* ask(url, "/api/vectorstore/documents", post({ id: "huge", content: "x".repeat(20_000_000) }))
      assert.strictEqual(huge.status, 413)
      for (const body of ["{", "[]", "null", "\"text\"", "{\"id\":"]) {
        const { headers, status } = yield* ask(url, "/api/vectorstore/documents", post(body))
        assert.strictEqual(status, 400, body)
        assert.strictEqual(headers.get("content-type"), "application/problem+json")
      }
      assert.strictEqual((yield* ask(url, "/api/vectorstore/documents", { method: "POST", body: "x" })).status, 415)
      const unknown = yield* ask(url, "/api/fault-tolerance/events?type=Noted,BreakerChange")
      assert.strictEqual(unknown.status, 400)
      assert.include(unknown.text, "There is no event BreakerChange. There are: BreakerChanged, ")
      assert.strictEqual((yield* ask(url, "/../../etc/passwd")).status, 404)
      assert.strictEqual((yield* ask(url, "/assets/dashboard/..%2f..%2f..%2fpackage.json")).status, 404)

      // A client that sends its headers a byte at a time, and one that lies about its length: others are served meanwhile.
      const slow = yield* Effect.forkChild(raw(url, ["GET / HTTP/1.1\r\nHost: x\r\n", "X-A: "], 3_000))
      const short = yield* Effect.forkChild(
        raw(url, ["POST /api/vectorstore/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"], 3_000)
      )
      const smuggled = yield* raw(
        url,
        ["POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        2_000
      )
      assert.notMatch(smuggled.text, /^HTTP\/1\.1 200/)
      assert.strictEqual((yield* ask(url, "/livez")).status, 200)
      void [slow, short]
      assert.isAtLeast(yield* stored, before + 1)
      assert.strictEqual((yield* ask(url, "/api/vectorstore/search?query=aspirin")).status, 200)
    }))

  it.effect("a flood of event streams is capped and let go", () =>
    Effect.gen(function*() {
      const { url } = yield* ServerUnderTest
      const streams = yield* Effect.forEach(
        Array.from({ length: 230 }),
        () =>
          Effect.promise(async () => {
            const abort = new AbortController()
            const response = await fetch(`${url}/api/fault-tolerance/stream`, { signal: abort.signal })
            // Kept: a response that nobody holds is let go, and with it the connection.
            return { abort, response, status: response.status }
          }),
        { concurrency: 50 }
      )
      const statuses = new Set(streams.map(({ status }) => status))
      assert.deepStrictEqual(statuses, new Set([200, 503]))
      assert.strictEqual((yield* ask(url, "/livez")).status, 200)
      for (const { abort } of streams) abort.abort()
      yield* Effect.sleep("500 millis")
      const again = yield* Effect.promise(async () => {
        const abort = new AbortController()
        const { status } = await fetch(`${url}/api/fault-tolerance/stream`, { signal: abort.signal })
        abort.abort()
        return status
      })
      assert.strictEqual(again, 200)
    }))
})
