/**
 * A proxy on loopback between a client and a PostgreSQL server that knows enough of the wire protocol to misbehave as
 * servers, poolers and networks do: refuse, delay, stall, reset, close, answer with any SQLSTATE, limit connections.
 *
 * **When to use**
 *
 * To test what a program does when its database fails, with the program's own driver and a real database behind. It
 * works in real time: use it in `it.live`, not under the test clock. It speaks no TLS.
 *
 * **Details**
 *
 * What a client sends up to a Sync, or a simple query, is one query here: it is passed on whole, or what a fault says
 * happens in its place.
 */
import { Context, Effect, FiberSet, Latch, Layer, Queue, Schema, type Scope } from "effect"
import { connect, createServer, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { checks } from "../internal/options.ts"
import * as Loopback from "./internal/loopback.ts"
import type { ListenFailed } from "./internal/loopback.ts"
import { type Batch, errorResponse, framesOf, message, readerOf, readyForQuery } from "./internal/postgresWire.ts"
import { Aim, makeRules, Millis } from "./rules.ts"

export { ListenFailed } from "./internal/loopback.ts"

/** An error as a server tells it. */
const Told = { code: Schema.String, message: Schema.String }

export const Fault = Schema.Union([
  /** At connect: an error in place of the greeting, as `53300` or Neon's `XX000`. */
  Schema.TaggedStruct("RefuseConnection", Told),
  /** At connect: the connection is broken without a word. */
  Schema.TaggedStruct("ResetConnection", {}),
  /** At connect: nothing for this long, then as usual; a database that is woken up. */
  Schema.TaggedStruct("DelayConnection", { millis: Millis }),
  /** At connect: never an answer. */
  Schema.TaggedStruct("StallConnection", {}),
  /** A query is answered with this error in place of being passed on. The connection stays. */
  Schema.TaggedStruct("FailQuery", Told),
  /** A query is passed on after this long. */
  Schema.TaggedStruct("DelayQuery", { millis: Millis }),
  /** A query is never passed on and never answered. */
  Schema.TaggedStruct("StallQuery", {}),
  /** The connection breaks: before the query is passed on, or when the server has done it and answers. */
  Schema.TaggedStruct("ResetQuery", { at: Schema.Literals(["query", "answer"]) }),
  /** The server ends the session in place of the query, as with `57P01`. */
  Schema.TaggedStruct("Terminate", Told)
])
export type Fault = typeof Fault.Type

export const FaultOptions = Schema.Struct({
  /** For faults of queries: only those whose text contains this. */
  containing: Schema.optional(Schema.String),
  ...Aim.fields
})
export type FaultOptions = typeof FaultOptions.Type

/** What Neon's proxy and pooler say at connect, always as `XX000`. */
export const neon = {
  computeUnreachable: "Couldn't connect to compute node",
  tooManyAttempts: "Too many database connection attempts are currently ongoing",
  tooManyConnections: "Too many connections to this endpoint",
  controlPlane: "Control plane request failed",
  slotsReserved: "remaining connection slots are reserved for roles with the SUPERUSER attribute",
  tooManyClients: "sorry, too many clients already",
  terminated: "terminating connection due to administrator command",
  authenticationTimeout: "Authentication timed out",
  queryWaitTimeout: "query_wait_timeout",
  endpointMissing:
    "The requested endpoint could not be found, or you don't have access to it: endpoint cannot be found",
  endpointIdMissing:
    "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support",
  endpointDisabled: "The endpoint is disabled. Enable it using Neon API and retry",
  databaseMissing: "database \"neondb\" does not exist",
  startupParameter: "unsupported startup parameter: statement_timeout",
  quota: "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
  checkQuotas: "The endpoint is temporarily unavailable. Check your quotas and/or contact our support.",
  activeEndpoints:
    "You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and retry.",
  password: "password authentication failed for user 'neondb_owner'",
  notAllowed: "This IP address is not allowed to connect to this endpoint",
  blockedNetwork: "Connection from a blocked network",
  vpcEndpoint: "This connection is trying to access this endpoint from a VPC endpoint that is not allowed"
} as const

/** A refusal at connect in Neon's words. */
export const refusedByNeon = (text: keyof typeof neon): Fault => ({
  _tag: "RefuseConnection",
  code: "XX000",
  message: neon[text]
})

export interface Options {
  /** The real server: its address, or a way to open a stream to it. */
  readonly upstream: { readonly host: string; readonly port: number } | (() => Duplex)
  /** Defaults to a free one. */
  readonly port?: number | undefined
  /** More connections at once are refused with `53300`. Defaults to no limit. */
  readonly maxConnections?: number | undefined
  /** Seeds the chances of faults by probability. Defaults to 1. */
  readonly seed?: number | undefined
}

export interface Proxy {
  readonly host: string
  readonly port: number
  /** Switches a fault on, and tells its id. A fault or an option that is none is a defect. */
  readonly fault: (fault: Fault, options?: FaultOptions) => Effect.Effect<string>
  /** Switches one fault off, or all of them. */
  readonly clear: (id?: string) => Effect.Effect<void>
  /** A fault for as long as the effect runs. */
  readonly during: (fault: Fault, options?: FaultOptions) => <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  /** Closes the sessions that wait for their client, with `57P05` or without a word; tells how many. */
  readonly closeIdle: (how?: "told" | "silent") => Effect.Effect<number>
  /** From now on at most so many at once. `Infinity` is no limit. */
  readonly limit: (connections: number) => Effect.Effect<void>
  /** Open connections of clients. */
  readonly connections: Effect.Effect<number>
  /** Queries and connections that clients asked for, faulty ones included. */
  readonly counts: Effect.Effect<{ readonly connections: number; readonly queries: number }>
  /** Closes the port and breaks every connection: connecting is refused. */
  readonly stop: Effect.Effect<void>
  /** Listens again on the same port. */
  readonly start: Effect.Effect<void, ListenFailed>
}

const Rule = Schema.Struct({ fault: Fault, ...FaultOptions.fields })
type Rule = typeof Rule.Type

const ofConnections: ReadonlySet<Fault["_tag"]> = new Set<Fault["_tag"]>([
  "RefuseConnection",
  "ResetConnection",
  "DelayConnection",
  "StallConnection"
])

interface Session {
  readonly client: Socket
  upstream: Duplex | undefined
  /** `I` idle, `T` in a transaction, `E` in a failed one; `undefined` before the first. */
  status: string | undefined
  /** Queries that came and are not passed on yet. */
  waiting: number
  /** Queries passed on and not answered yet. */
  open: number
  /** Open while no query is. */
  readonly answered: Latch.Latch
  resetOnAnswer: boolean
  /** Whether what the server says, up to its being ready, is not for the client. */
  swallows: boolean
}

const endsTransaction = /^\s*(commit|end)\b/i

const mostOf = (field: string, connections: number): number => {
  checks("PostgresProxy").ensure(connections >= 0, field, `must be at least 0, not ${connections}`)
  return connections
}

/** Starts a proxy; it ends, with all its connections, when the scope does. */
export const make: (options: Options) => Effect.Effect<Proxy, ListenFailed, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options) {
    const rules = makeRules("PostgresProxy", Rule, options.seed)
    const fibers = yield* FiberSet.make<void>()
    const run = yield* FiberSet.runtime(fibers)()
    const sessions = new Set<Session>()
    let most = mostOf("maxConnections", options.maxConnections ?? Infinity)
    const counts = { connections: 0, queries: 0 }

    const openUpstream = (): Duplex =>
      typeof options.upstream === "function"
        ? options.upstream()
        : connect(options.upstream.port, options.upstream.host)

    const hits = (applies: (rule: Rule) => boolean, delay: Fault["_tag"]) =>
      rules.take(applies, ({ fault }) => fault._tag !== delay).map(({ fault }) => fault)

    const close = (session: Session, how: "end" | "reset"): void => {
      sessions.delete(session)
      session.upstream?.destroy()
      if (how === "reset") session.client.resetAndDestroy()
      else session.client.end(() => session.client.destroySoon())
    }
    const say = (session: Session, severity: "ERROR" | "FATAL", code: string, message: string): void => {
      if (session.client.writable) session.client.write(errorResponse(severity, code, message))
    }
    const end = (session: Session, code: string, message: string): void => {
      say(session, "FATAL", code, message)
      close(session, "end")
    }

    /** Connects the session to the server, or does what a fault says. */
    const greet = Effect.fnUntraced(function*(session: Session, startup: Buffer) {
      counts.connections++
      const faults = hits(({ fault }) => ofConnections.has(fault._tag), "DelayConnection")
      for (const fault of faults) {
        switch (fault._tag) {
          case "DelayConnection":
            yield* Effect.sleep(fault.millis)
            break
          case "RefuseConnection":
            return end(session, fault.code, fault.message)
          case "ResetConnection":
            return close(session, "reset")
          case "StallConnection":
            return yield* Effect.never
          case "FailQuery":
          case "DelayQuery":
          case "StallQuery":
          case "ResetQuery":
          case "Terminate":
            break
        }
      }
      if (sessions.size > most) return end(session, "53300", "sorry, too many clients already")
      const upstream = openUpstream()
      session.upstream = upstream
      const frames = framesOf((type, body) => {
        if (type !== "Z") return
        session.status = body.toString("latin1", 0, 1)
        session.open = Math.max(0, session.open - 1)
        session.swallows = false
      })
      upstream.on("data", (bytes: Buffer) => {
        if (session.resetOnAnswer) return close(session, "reset")
        const swallows = session.swallows
        frames(bytes)
        if (!swallows) session.client.write(bytes)
        else if (!session.swallows) session.client.write(readyForQuery(session.status ?? "I"))
        if (session.open === 0) session.answered.openUnsafe()
      })
      upstream.on("error", () => close(session, "reset"))
      upstream.on("close", () => close(session, "end"))
      upstream.write(startup)
    })

    const passOn = (session: Session, { answered, bytes }: Omit<Batch, "sql">): void => {
      if (answered) {
        session.open++
        session.answered.closeUnsafe()
      }
      session.upstream?.write(bytes)
    }

    const answer = Effect.fnUntraced(function*(session: Session, batch: Batch) {
      const { sql } = batch
      if (sql !== "") {
        counts.queries++
        const faults = hits(
          ({ containing, fault }) =>
            !ofConnections.has(fault._tag) && (containing === undefined || sql.includes(containing)),
          "DelayQuery"
        )
        for (const fault of faults) {
          // A client that does not wait for answers gets them in order.
          if (fault._tag !== "DelayQuery") yield* session.answered.await
          switch (fault._tag) {
            case "DelayQuery":
              yield* Effect.sleep(fault.millis)
              break
            case "FailQuery":
              say(session, "ERROR", fault.code, fault.message)
              if (session.status !== "T") {
                session.client.write(readyForQuery(session.status ?? "I"))
                return
              }
              // A transaction that saw an error is a failed one, for the server too; at its end it is none any more.
              session.swallows = true
              passOn(session, {
                bytes: message("Q", Buffer.from(endsTransaction.test(sql) ? "ROLLBACK\0" : "an injected fault\0")),
                answered: true
              })
              return yield* session.answered.await
            case "StallQuery":
              return yield* Effect.never
            case "ResetQuery":
              if (fault.at === "query") return close(session, "reset")
              session.resetOnAnswer = true
              break
            case "Terminate":
              return end(session, fault.code, fault.message)
            case "RefuseConnection":
            case "ResetConnection":
            case "DelayConnection":
            case "StallConnection":
              break
          }
        }
      }
      passOn(session, batch)
    })

    /** Does what the client asks for, one thing after the other, until it goes. */
    const serve = Effect.fnUntraced(function*(client: Socket) {
      const session: Session = {
        client,
        upstream: undefined,
        status: undefined,
        waiting: 0,
        open: 0,
        answered: Latch.makeUnsafe(true),
        resetOnAnswer: false,
        swallows: false
      }
      sessions.add(session)
      const work = yield* Queue.unbounded<Effect.Effect<void>>()
      client.on(
        "data",
        readerOf({
          foreign: () => close(session, "reset"),
          plain: () => client.write("N"),
          cancel: (bytes) => {
            const upstream = openUpstream()
            upstream.on("error", () => {})
            upstream.end(bytes)
            close(session, "end")
          },
          startup: (bytes) => Queue.offerUnsafe(work, greet(session, bytes)),
          batch: (batch) => {
            session.waiting++
            Queue.offerUnsafe(work, Effect.andThen(answer(session, batch), Effect.sync(() => session.waiting--)))
          }
        })
      )
      yield* Effect.ensuring(
        Effect.forever(Effect.flatten(Queue.take(work))),
        Effect.sync(() => {
          sessions.delete(session)
          session.upstream?.destroy()
          client.destroy()
        })
      )
    })

    const loopback = yield* Loopback.open({
      port: options.port,
      make: () =>
        createServer((client) => {
          client.on("error", () => {})
          const fiber = run(serve(client))
          client.on("close", () => fiber.interruptUnsafe())
        }),
      stopped: FiberSet.clear(fibers)
    })

    const add = (fault: Fault, aim?: FaultOptions): string => rules.add({ fault, ...aim })
    const proxy: Proxy = {
      host: "127.0.0.1",
      port: loopback.port,
      fault: (fault, aim) => Effect.sync(() => add(fault, aim)),
      clear: (id) => Effect.sync(() => rules.clear(id)),
      during: (fault, aim) => (self) =>
        Effect.acquireUseRelease(
          Effect.sync(() => add(fault, aim)),
          () => self,
          (id) => Effect.sync(() => rules.clear(id))
        ),
      closeIdle: (how = "silent") =>
        Effect.sync(() => {
          const idle = Array.from(sessions).filter(({ open, status, waiting }) =>
            status === "I" && open + waiting === 0
          )
          for (const session of idle) {
            if (how === "told") end(session, "57P05", "terminating connection due to idle-session timeout")
            else close(session, "reset")
          }
          return idle.length
        }),
      limit: (connections) => Effect.sync(() => void (most = mostOf("connections", connections))),
      connections: Effect.sync(() => sessions.size),
      counts: Effect.sync(() => ({ ...counts })),
      stop: loopback.stop,
      start: loopback.start
    }
    return proxy
  }
)

export class PostgresProxy extends Context.Service<PostgresProxy, Proxy>()("holdfast/testing/PostgresProxy") {
  static readonly layer = (options: Options): Layer.Layer<PostgresProxy, ListenFailed> =>
    Layer.effect(PostgresProxy, make(options))
}
