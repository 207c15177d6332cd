/** What the heaps of another Node process still hold once all garbage is collected, asked through its inspector. */
import { Effect, type Scope } from "effect"
import type { Running } from "../cli/holdfast.ts"

/** The environment of a process that can be asked: its inspector listens on a free port of this machine alone. */
export const inspectable = { NODE_OPTIONS: "--inspect=127.0.0.1:0" }

/** Of all threads together. */
export interface Heap {
  /** What the program holds: objects, strings, array buffers. */
  readonly dataMiB: number
  /** What the engine holds for the program's functions; it grows for as long as new ones become hot. */
  readonly codeMiB: number
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly sessionId: string; readonly message?: string }
  readonly result?: { readonly result?: { readonly value?: unknown } }
}

type Ask = (method: string, params?: unknown) => Promise<Message>

const spaces = `JSON.stringify([
  ...process.getBuiltinModule("node:v8").getHeapSpaceStatistics().map((it) => [it.space_name, it.space_used_size]),
  ["array buffers", process.memoryUsage().arrayBuffers]
])`

const usedBy = async (ask: Ask): Promise<ReadonlyArray<readonly [space: string, bytes: number]>> => {
  await ask("HeapProfiler.collectGarbage")
  const { result } = await ask("Runtime.evaluate", { expression: spaces, returnByValue: true })
  return JSON.parse(String(result?.result?.value))
}

/** Gives the effect that collects all garbage of the process and reads what is left. */
export const attach = ({ stderr }: Running): Effect.Effect<Effect.Effect<Heap>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<WebSocket>((resolve, reject) => {
        const socket = new WebSocket(/ws:\/\/\S+/.exec(stderr())?.[0] ?? "ws://127.0.0.1:9")
        socket.addEventListener("open", () => resolve(socket))
        socket.addEventListener("error", () => reject(new Error(`no inspector: ${stderr()}`)))
      })
    ),
    (socket) => Effect.sync(() => socket.close())
  ).pipe(Effect.flatMap((socket) => {
    let last = 0
    const waiting = new Map<number, (message: Message) => void>()
    const workers = new Map<string, Ask>()
    const asker = (send: (text: string) => void): Ask => (method, params) =>
      new Promise((resolve) => {
        waiting.set(++last, resolve)
        send(JSON.stringify({ id: last, method, params }))
      })
    const main = asker((text) => socket.send(text))
    const receive = ({ id = 0, method, params, ...message }: Message): void => {
      if (method === undefined) {
        waiting.get(id)?.(message)
        waiting.delete(id)
      } else if (params !== undefined && method === "NodeWorker.attachedToWorker") {
        const { sessionId } = params
        workers.set(
          sessionId,
          asker((message) => void main("NodeWorker.sendMessageToWorker", { sessionId, message }))
        )
      } else if (params?.message !== undefined && method === "NodeWorker.receivedMessageFromWorker") {
        receive(JSON.parse(params.message))
      } else if (params !== undefined && method === "NodeWorker.detachedFromWorker") workers.delete(params.sessionId)
    }
    socket.addEventListener("message", ({ data }) => receive(JSON.parse(String(data))))
    const heap = Effect.promise(async () => {
      const threads = await Promise.all([main, ...workers.values()].map(usedBy))
      const sum = (code: boolean) =>
        threads.flat().reduce((sum, [name, bytes]) => /^(code|trusted)/.test(name) === code ? sum + bytes : sum, 0)
      return { dataMiB: sum(false) / 2 ** 20, codeMiB: sum(true) / 2 ** 20 }
    })
    return Effect.as(Effect.promise(() => main("NodeWorker.enable", { waitForDebuggerOnStart: false })), heap)
  }))
