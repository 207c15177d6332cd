/** `holdfast search "words"`: asks the server that runs on this directory, or opens the store itself. */
import { Console, Data, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FetchHttpClient, HttpClient, HttpClientRequest, ProblemDetails } from "effect/http"
import { styleText } from "node:util"
import { SearchResponse } from "../http/VectorStoreApi.ts"
import { SearchMode, type SearchRequest } from "../vectorstore/VectorStore.ts"
import * as Configuration from "./Configuration.ts"
import * as ServerFile from "./ServerFile.ts"

/** The search could not be answered; the message says why and what to do. */
class SearchFailed extends Data.TaggedError("SearchFailed")<{ readonly message: string }> {}

export const search = Command.make(
  "search",
  {
    words: Argument.String("words").pipe(
      Argument.withDescription("What to look for"),
      Argument.variadic({ min: 1 })
    ),
    limit: Flag.Int("limit").pipe(
      Flag.withDescription("How many hits, 1 to 100. Defaults to 5"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))),
      Flag.withDefault(5)
    ),
    mode: Flag.Literals("mode", SearchMode.literals).pipe(
      Flag.withDescription("By meaning, by words, or both. Defaults to the best there is"),
      Flag.optional
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print the whole answer as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, limit, mode, words }) {
    const query = words.join(" ").trim()
    if (query === "") {
      return yield* new SearchFailed({
        message: `There is nothing to look for. Give words: holdfast search "vitamin D"`
      })
    }
    const request: SearchRequest = { query, limit, mode: Option.getOrUndefined(mode) }
    const configuration = yield* Configuration.read
    const server = yield* ServerFile.find(configuration)
    const response = yield* Option.match(server, {
      onSome: (url) => askServer(url, request),
      onNone: () =>
        Effect.flatMap(
          Effect.promise(() => import("./Stack.ts")),
          ({ searchOnce }) => searchOnce(configuration, request)
        )
    })
    yield* Console.log(json ? JSON.stringify(encode(response), undefined, 2) : show(response, query))
  })
).pipe(
  Command.withDescription("Search the documents"),
  Command.withExamples([
    { command: `holdfast search "vitamin D and bones"`, description: "The five best hits, and who found them" },
    { command: `holdfast search aspirin --limit 20 --json`, description: "For a program to read" }
  ])
)

const encode = Schema.encodeSync(SearchResponse)
const decode = Schema.decodeUnknownEffect(SearchResponse)

const askServer = Effect.fnUntraced(
  function*(url: string, request: SearchRequest) {
    const client = yield* HttpClient.HttpClient
    const response = yield* client.execute(
      HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${url}/api/vectorstore/search`), request)
    )
    const body = yield* response.json
    if (response.status === 200) return yield* decode(body)
    const problem = yield* Schema.decodeUnknownEffect(ProblemDetails.Schema)(body)
    return yield* new SearchFailed({
      message: `The server at ${url} answered ${response.status}: ${problem.title ?? ""}. ${problem.detail ?? ""}`
        .trim()
    })
  },
  Effect.provide(FetchHttpClient.layer),
  (self, url) =>
    Effect.catchTag(self, ["HttpClientError", "SchemaError"], () =>
      new SearchFailed({
        message: `The server at ${url} cannot be asked. Is it still running? Try again in a moment.`
      }))
)

/** The answer for a person at a terminal. */
export const show = ({ answer, completeness, reasons }: SearchResponse, query: string): string => {
  const { hits } = answer.value
  const by = "provider" in answer ? ` from ${answer.provider}` : ""
  const how = completeness === "Complete"
    ? styleText("green", "complete")
    : styleText("yellow", `degraded: ${reasons.join("; ")}`)
  const head = `${hits.length} ${hits.length === 1 ? "hit" : "hits"}${by} (${answer.value.mode}), ${how}`
  if (hits.length === 0) {
    return `${head}\nNothing matches "${query}". Try other words, or index documents: holdfast ingest PATH`
  }
  return [
    head,
    ...hits.flatMap(({ content, id, score, title }, index) => [
      "",
      `${String(index + 1).padStart(3)}  ${styleText("bold", flat(title ?? id))}  ${
        styleText("gray", `${flat(id)} · ${score.toFixed(3)}`)
      }`,
      `     ${excerpt(content)}`
    ])
  ].join("\n")
}

/** On one line, and without what would move the cursor or colour the terminal. */
const flat = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, " ").trim()

const excerpt = (text: string): string => {
  const line = flat(text)
  return line.length > 160 ? `${line.slice(0, 157)}...` : line
}
