/** How another process drives the emulator: JSON under `/_control`. */
import { Effect, Result, Schema } from "effect"
import { checked } from "../../internal/options.ts"
import { Document } from "../../vectorstore/VectorStore.ts"
import * as Fault from "../Fault.ts"
import { json, parseJson, type Reply } from "./openAiReplies.ts"

const Documents = Schema.Struct({
  vectorStore: Schema.optionalKey(Schema.NonEmptyString),
  documents: Schema.Array(Document)
})
const Outage = Schema.Struct({
  millis: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 3_600_000 }))
})

export interface Controlled {
  readonly board: Fault.Board
  readonly load: (documents: Iterable<Document>, vectorStore?: string) => void
  /** Requests by route. */
  readonly counts: ReadonlyMap<string, number>
  readonly forget: () => void
  /** Begins an outage that ends by itself. */
  readonly outage: (millis: number) => Effect.Effect<void>
}

export const control = (
  { board, counts, forget, load, outage }: Controlled,
  method: string,
  path: string,
  body: Buffer
): Effect.Effect<Reply> => {
  const input = body.length === 0 ? {} : Result.getOrElse(parseJson(body.toString("utf8")), () => undefined)
  const given = <A>(schema: Schema.Codec<A, unknown>, then: (value: A) => Effect.Effect<Reply>): Effect.Effect<Reply> =>
    Result.match(Schema.decodeUnknownResult(schema)(input), {
      onFailure: ({ message }) => Effect.succeed(json(400, { message })),
      onSuccess: then
    })
  const done = (act: () => unknown) => Effect.sync(() => json(200, act() ?? {}))
  switch (`${method} ${path}`) {
    case "POST /_control/faults":
      return given(Fault.Rule, (rule) =>
        Effect.match(checked(() => board.add(rule)), {
          onFailure: ({ message }) => json(400, { message }),
          onSuccess: (id) => json(200, { id })
        }))
    case "GET /_control/faults":
      return done(board.rules)
    case "DELETE /_control/faults":
      return done(() => board.clear())
    case "GET /_control/requests":
      return done(() => Object.fromEntries(counts))
    case "DELETE /_control/requests":
      return done(forget)
    case "POST /_control/documents":
      return given(Documents, ({ documents, vectorStore }) =>
        done(() => {
          load(documents, vectorStore)
          return { loaded: documents.length }
        }))
    case "POST /_control/outage":
      return given(Outage, ({ millis }) => Effect.as(outage(millis), json(200, {})))
  }
  const [, id] = /^\/_control\/faults\/([\w-]+)$/.exec(path) ?? []
  return method === "DELETE" && id !== undefined
    ? done(() => board.clear(id))
    : Effect.succeed(json(404, { message: "No such control" }))
}
