/** As much of PostgreSQL's wire protocol as the proxy must know: messages, greetings, what is one query. */

const sslRequest = 80_877_103
const gssRequest = 80_877_104
const cancelRequest = 80_877_102

/** As in PostgreSQL itself. */
const longestGreeting = 10_000

/** What a client sends as one. */
export interface Batch {
  readonly bytes: Buffer
  /** The text of its queries, those prepared before included. */
  readonly sql: string
  /** Whether the server answers it with ReadyForQuery. */
  readonly answered: boolean
}

/** The letter and the length of a message. */
const head = 5

/** Calls back for each whole message of a stream; `type` is its letter. */
export const framesOf = (onFrame: (type: string, body: Buffer, frame: Buffer) => void) => {
  let parts: Array<Buffer> = []
  let held = 0
  let wanted = head
  return (bytes: Buffer): void => {
    parts.push(bytes)
    held += bytes.length
    // A long message comes in many parts, and is put together once.
    if (held < wanted) return
    let rest: Buffer = parts.length === 1 ? bytes : Buffer.concat(parts)
    wanted = head
    while (rest.length >= head) {
      const size = 1 + rest.readUInt32BE(1)
      if (rest.length < size) {
        wanted = size
        break
      }
      const frame = rest.subarray(0, size)
      rest = rest.subarray(size)
      onFrame(String.fromCharCode(frame[0] ?? 0), frame.subarray(head), frame)
    }
    parts = [rest]
    held = rest.length
  }
}

interface Reading {
  /** What it says is no greeting: it is no client of PostgreSQL. */
  readonly foreign: () => void
  /** It asked for encryption, which there is none of. */
  readonly plain: () => void
  readonly cancel: (bytes: Buffer) => void
  readonly startup: (bytes: Buffer) => void
  readonly batch: (batch: Batch) => void
}

/** Reads what a client sends: its greeting, then batches. */
export const readerOf = (reading: Reading) => {
  let greeting: Buffer | undefined = Buffer.alloc(0)
  const prepared = new Map<string, string>()
  let parts: Array<Buffer> = []
  let texts: Array<string> = []
  const flush = (answered: boolean): void => {
    reading.batch({ bytes: Buffer.concat(parts), sql: texts.join(";\n"), answered })
    parts = []
    texts = []
  }
  const frames = framesOf((type, body, frame) => {
    parts.push(frame)
    switch (type) {
      case "P": {
        const [name = "", sql = ""] = body.toString("utf8").split("\0")
        prepared.set(name, sql)
        return
      }
      case "B": {
        const [, name = ""] = body.toString("utf8", 0, Math.min(body.length, 1_024)).split("\0")
        texts.push(prepared.get(name) ?? "")
        return
      }
      case "Q":
        texts.push(body.toString("utf8").split("\0")[0] ?? "")
        return flush(true)
      case "S":
        return flush(true)
      case "D":
      case "E":
      case "C":
        return
      // Passwords, copied data, flushes, the end: passed on as they come.
      default:
        return flush(false)
    }
  })
  return (bytes: Buffer): void => {
    if (greeting === undefined) return frames(bytes)
    greeting = Buffer.concat([greeting, bytes])
    while (greeting !== undefined && greeting.length >= 8) {
      const size = greeting.readUInt32BE(0)
      if (size < 8 || size > longestGreeting) return reading.foreign()
      if (greeting.length < size) return
      const first: Buffer = greeting.subarray(0, size)
      const rest: Buffer = greeting.subarray(size)
      const code = first.readUInt32BE(4)
      if (code === sslRequest || code === gssRequest) {
        reading.plain()
        greeting = rest
      } else if (code === cancelRequest) {
        reading.cancel(first)
        greeting = rest
      } else {
        reading.startup(first)
        greeting = undefined
        if (rest.length > 0) frames(rest)
      }
    }
  }
}

export const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const errorResponse = (severity: string, code: string, text: string): Buffer =>
  message("E", Buffer.from(`S${severity}\0V${severity}\0C${code}\0M${text}\0\0`, "utf8"))

export const readyForQuery = (status: string): Buffer => message("Z", Buffer.from(status, "latin1"))
