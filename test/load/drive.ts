/** Open-loop load over real HTTP, and what becomes of the process under it. */
import { readdirSync, readFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { LatencyHistogram } from "../../src/internal/latencyHistogram.ts"

export interface Driven {
  readonly requests: number
  readonly seconds: number
  /** Milliseconds from when a request was due, not from when it could be sent: a stall counts for all who came in it. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number }
  /** By HTTP status; `0` is no answer at all. */
  readonly statuses: { readonly [status: string]: number }
  /** Answers of 200 by who gave them and how complete they were. */
  readonly answers: { readonly [kind: string]: number }
  /** Bodies of failures that are no `application/problem+json`. */
  readonly untyped: number
  /** Requests that were due while too many were open to send more. */
  readonly unsent: number
  /** Those without an answer, by `performance.now()` when they were sent, and why. */
  readonly lost: ReadonlyArray<{ readonly sentAt: number; readonly why: string }>
}

const maxOpen = 2_000

/** Queries go on where the last drive ended: the same ones again would only ask the cache. */
let next = 0

/** Sends `rate` requests a second for so long, whatever the answers take. */
export const drive = async (options: {
  readonly url: string
  readonly queries: ReadonlyArray<string>
  readonly rate: number
  readonly seconds: number
}): Promise<Driven> => {
  const agent = new Agent({ keepAlive: true, maxSockets: maxOpen })
  const latencies = new LatencyHistogram()
  const statuses: Record<string, number> = {}
  const answers: Record<string, number> = {}
  const lost: Array<{ readonly sentAt: number; readonly why: string }> = []
  let untyped = 0
  let unsent = 0
  let open = 0
  const count = (counts: Record<string, number>, key: string): void => void (counts[key] = (counts[key] ?? 0) + 1)

  const send = (query: string, due: number): Promise<void> =>
    new Promise((resolve) => {
      open++
      const sentAt = performance.now()
      const done = (status: number, type: string, body: string): void => {
        open--
        latencies.record(performance.now() - due)
        count(statuses, String(status))
        if (status === 200) {
          const { answer, completeness } = JSON.parse(body) as {
            answer: { provider?: string; _tag: string }
            completeness: string
          }
          count(answers, `${answer._tag} ${answer.provider ?? ""} ${completeness}`)
        } else if (status !== 0 && type !== "application/problem+json") untyped++
        resolve()
      }
      const lose = (error: NodeJS.ErrnoException): void => {
        lost.push({ sentAt, why: error.code ?? error.message })
        done(0, "", "")
      }
      const sent = request(
        `${options.url}/api/vectorstore/search?query=${encodeURIComponent(query)}`,
        { agent },
        (response) => {
          let body = ""
          response.setEncoding("utf8")
          response.on("data", (chunk: string) => body += chunk)
          response.on("end", () => done(response.statusCode ?? 0, response.headers["content-type"] ?? "", body))
          response.on("error", lose)
        }
      )
      sent.on("error", (error: NodeJS.ErrnoException) => {
        // The server let an idle connection go in the moment in which it was used again: it never saw the request.
        if (!sent.reusedSocket || error.code !== "ECONNRESET") return lose(error)
        open--
        void send(query, due).then(resolve)
      })
      sent.end()
    })

  const pending: Array<Promise<void>> = []
  const began = performance.now()
  const total = Math.floor(options.rate * options.seconds)
  for (let n = 0; n < total;) {
    const now = performance.now()
    for (; n < total && began + (n * 1_000) / options.rate <= now; n++) {
      if (open >= maxOpen) unsent++
      else pending.push(send(options.queries[next++ % options.queries.length]!, began + (n * 1_000) / options.rate))
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await Promise.all(pending)
  agent.destroy()
  return {
    requests: total,
    seconds: (performance.now() - began) / 1_000,
    latency: {
      p50: Math.round(latencies.quantile(0.5) ?? 0),
      p95: Math.round(latencies.quantile(0.95) ?? 0),
      p99: Math.round(latencies.quantile(0.99) ?? 0),
      max: Math.round(latencies.max)
    },
    statuses,
    answers,
    untyped,
    unsent,
    lost
  }
}

/** What a process holds now; `undefined` where the system does not tell. */
export const held = (pid: number): { readonly residentMiB: number; readonly handles: number } | undefined => {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
    return { residentMiB: Number(kib) / 1_024, handles: readdirSync(`/proc/${pid}/fd`).length }
  } catch {
    return undefined
  }
}

/** The slope of a line through the points by least squares, per minute, and the standard error of it. */
export const slope = (points: ReadonlyArray<readonly [seconds: number, value: number]>) => {
  const n = points.length
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / n
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)]
  const spread = points.reduce((sum, [a]) => sum + (a - x) ** 2, 0)
  const slope = points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) / spread
  const residual = points.reduce((sum, [a, b]) => sum + (b - y - slope * (a - x)) ** 2, 0)
  return { perMinute: slope * 60, error: Math.sqrt(residual / Math.max(1, n - 2) / spread) * 60 }
}
