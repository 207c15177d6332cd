import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Database, type Session, sessions } from "../../src/vectorstore/internal/pgliteSession.ts"

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const packet = (type: string, body: Buffer): Buffer => Buffer.concat([Buffer.from(type), number(body.length + 4), body])
const startup = packet("", number(196_608))
const cancel = packet("", Buffer.concat([number(80_877_102), number(1), number(1)]))
const query = (text: string): Buffer => packet("Q", Buffer.from(`${text}\0`))
const terminate = packet("X", Buffer.alloc(0))

/** Keeps what it was asked, and is not done with what is called slow before it is told. */
const recorder = () => {
  const said: Array<string> = []
  let finish: () => void = () => {}
  const database: Database = {
    runExclusive: (run) => run(),
    exec: (text) => Promise.resolve(said.push(text)),
    execProtocolRawStream: (message) => {
      const text = message[0] === 0x51 ? Buffer.from(message.subarray(5, -1)).toString() : "startup"
      said.push(text)
      return text === "slow" ? new Promise((resolve) => finish = resolve) : Promise.resolve()
    },
    close: () => Promise.resolve()
  }
  return { database, said, finish: () => finish() }
}

/** Every promise that can be settled by now is. */
const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** What comes in one piece is handed over in one piece. */
const say = (session: Session, ...messages: ReadonlyArray<Buffer>) => {
  for (const message of messages) session.receive(message)
}

const begun = ["ROLLBACK", "DISCARD ALL", "startup"]

it.effect("a client waits until the one before it has hung up: two are never in one transaction", () =>
  Effect.gen(function*() {
    const { database, finish, said } = recorder()
    const open = sessions(database)
    const ended: Array<string> = []
    const first = open(() => {}, () => ended.push("first"))
    say(first, startup, query("BEGIN"), query("slow"))
    yield* settled
    say(open(() => {}, () => ended.push("second")), startup, query("second"))
    // A request to cancel is a connection too, and does not wait.
    say(open(() => {}, () => ended.push("cancel")), cancel)
    finish()
    yield* settled
    assert.deepStrictEqual(said, [...begun, "BEGIN", "slow"])
    assert.deepStrictEqual(ended, ["cancel"])
    say(first, query("COMMIT"), terminate)
    yield* settled
    assert.deepStrictEqual(said, [...begun, "BEGIN", "slow", "COMMIT", ...begun, "second"])
    assert.deepStrictEqual(ended, ["cancel", "first"])
  }))

it.effect("a client that is gone is followed once what it began is done, and was in nobody's way before its turn", () =>
  Effect.gen(function*() {
    const { database, finish, said } = recorder()
    const open = sessions(database)
    const first = open(() => {}, () => {})
    say(first, startup, query("slow"), query("never"))
    yield* settled
    const second = open(() => {}, () => {})
    say(second, startup, query("never"))
    yield* settled
    say(open(() => {}, () => {}), startup, query("third"))
    second.close()
    first.close()
    yield* settled
    assert.deepStrictEqual(said, [...begun, "slow"])
    finish()
    yield* settled
    assert.deepStrictEqual(said, [...begun, "slow", ...begun, "third"])
  }))
