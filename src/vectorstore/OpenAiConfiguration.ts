/** What the environment says of OpenAI. */
import { Config, Effect, Option, Redacted, Schema } from "effect"
import { InvalidOptions } from "../InvalidOptions.ts"
import { VectorStoreId } from "./OpenAiTypes.ts"

/** OpenAI is not configured: no fault, a choice. `missing` names the variables that are not set. */
export class NotConfigured extends Schema.TaggedError<NotConfigured>()("NotConfigured", {
  missing: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `OpenAI is not configured: set ${this.missing.join(" and ")}`
  }
}

const setting = (variable: string) =>
  Effect.map(Config.option(Config.String(variable)), Option.filter((value) => value.trim() !== ""))

/** `OPENAI_API_KEY`, `OPENAI_VECTORSTORE` and `OPENAI_BASE_URL`; the first two must be set. */
export const configuration: Effect.Effect<
  {
    readonly apiKey: Redacted.Redacted
    readonly vectorStore: VectorStoreId
    readonly baseURL: string | undefined
  },
  NotConfigured | InvalidOptions | Config.ConfigError
> = Effect.gen(function*() {
  const apiKey = yield* setting("OPENAI_API_KEY")
  const vectorStore = yield* setting("OPENAI_VECTORSTORE")
  const baseURL = Option.getOrUndefined(yield* setting("OPENAI_BASE_URL"))
  if (Option.isNone(apiKey) || Option.isNone(vectorStore)) {
    const missing = [
      ...(Option.isNone(apiKey) ? ["OPENAI_API_KEY"] : []),
      ...(Option.isNone(vectorStore) ? ["OPENAI_VECTORSTORE"] : [])
    ]
    return yield* new NotConfigured({ missing })
  }
  const id = Schema.decodeUnknownOption(VectorStoreId)(vectorStore.value)
  if (Option.isNone(id)) {
    return yield* new InvalidOptions({
      module: "OpenAiStore",
      field: "OPENAI_VECTORSTORE",
      why: "must be the id of a vector store, such as vs_abc123"
    })
  }
  return { apiKey: Redacted.make(apiKey.value), vectorStore: id.value, baseURL }
})
