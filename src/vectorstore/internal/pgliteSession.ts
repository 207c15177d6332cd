/**
 * Wire-protocol sessions on PGlite: bytes of a client in, bytes of the server out. PGlite has one session of its own,
 * whoever is connected. So a client waits until the one before it has hung up, or the two would be in one transaction; and
 * what that one left open is cleared away.
 */

/** The part of PGlite that is used. */
export interface Database {
  readonly runExclusive: <A>(run: () => Promise<A>) => Promise<A>
  readonly exec: (query: string) => Promise<unknown>
  readonly execProtocolRawStream: (
    message: Uint8Array,
    options: { readonly onRawData: (data: Uint8Array) => void }
  ) => Promise<void>
  readonly close: () => Promise<void>
}

export interface Session {
  readonly receive: (bytes: Uint8Array) => void
  readonly close: () => void
}

const cancelRequest = 80_877_102
const terminate = 0x58

/** `send` takes what the server says; `end` is called once, when it has hung up. */
export type Open = (send: (bytes: Uint8Array) => void, end: () => void) => Session

/** The sessions of a database, one at a time in the order in which they begin. */
export const sessions = (database: Database): Open => {
  let last = Promise.resolve()
  return (send, end) => {
    const turn = (over: Promise<void>): Promise<void> => {
      const before = last
      last = before.then(() => over)
      return before
    }
    return session(database, turn, send, end)
  }
}

const session = (
  database: Database,
  turn: (over: Promise<void>) => Promise<void>,
  send: (bytes: Uint8Array) => void,
  end: () => void
): Session => {
  let pending = Buffer.alloc(0)
  let started = false
  let closed = false
  let running = Promise.resolve()
  const over = Promise.withResolvers<void>()

  /** Everything complete so far. The startup packet has no type byte. */
  const take = (): Buffer | undefined => {
    let size = 0
    if (!started) size = pending.length >= 8 ? pending.readInt32BE(0) : Infinity
    else {while (pending.length >= size + 5) {
        const next = size + 1 + pending.readInt32BE(size + 1)
        if (pending.length < next) break
        size = next
      }}
    if (size === 0 || pending.length < size) return undefined
    const message = pending.subarray(0, size)
    pending = pending.subarray(size)
    return message
  }
  /** What runs is waited for: it cannot be interrupted. */
  const close = (): void => {
    closed = true
    over.resolve(running)
  }
  const hangUp = (): void => {
    if (closed) return
    close()
    end()
  }
  // PGlite speaks promises; a session's messages run one after another in this chain, which never rejects.
  const step = async (message: Buffer): Promise<void> => {
    if (closed) return
    if (!started) {
      // PGlite cannot be interrupted: a request to cancel is a connection that says nothing.
      if (message.readInt32BE(4) === cancelRequest) return hangUp()
      started = true
      await turn(over.promise)
      if (closed) return
      await database.exec("ROLLBACK")
      await database.exec("DISCARD ALL")
    }
    if (message[0] === terminate && message.length === 5) return hangUp()
    const bytes = new Uint8Array(message)
    await database.runExclusive(() =>
      database.execProtocolRawStream(bytes, { onRawData: (data) => closed ? undefined : send(new Uint8Array(data)) })
    )
  }
  const pump = async (chunk: Uint8Array): Promise<void> => {
    pending = Buffer.concat([pending, chunk])
    for (let message = take(); message !== undefined; message = take()) {
      // oxlint-disable-next-line no-await-in-loop -- messages are answered in their order
      await step(message)
    }
  }
  return {
    receive: (bytes) => {
      running = running.then(() => pump(bytes)).catch(hangUp)
    },
    close
  }
}
