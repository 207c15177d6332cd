/** `holdfast ingest PATH...`: puts Markdown, text and JSONL into the store, or into the server that runs on it. */
import { Console, Data, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FetchHttpClient, HttpClient, type HttpClientError, HttpClientRequest } from "effect/http"
import { ProviderError, UnknownError } from "../ProviderError.ts"
import * as Documents from "../vectorstore/Documents.ts"
import {
  Document,
  DocumentId,
  type ItemReport,
  type ListRequest,
  type Service,
  VectorStore
} from "../vectorstore/VectorStore.ts"
import * as Configuration from "./Configuration.ts"
import * as Progress from "./Progress.ts"
import * as ServerFile from "./ServerFile.ts"

/** Some of what was named was not taken; the rest was. */
class NotAllTaken extends Data.TaggedError("NotAllTaken")<{ readonly message: string }> {}

/** With OpenAI, which is asked first, documents go through the server, which tells Postgres of them. */
class ServerWanted extends Data.TaggedError("ServerWanted")<{ readonly message: string }> {}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** Problems told one by one; the others are counted. */
const told = 20

export const ingest = Command.make(
  "ingest",
  {
    paths: Argument.Path("path").pipe(
      Argument.withDescription("Files or folders: Markdown (.md), text (.txt), or a document on each line (.jsonl)"),
      Argument.variadic({ min: 1 })
    ),
    again: Flag.Boolean("again").pipe(
      Flag.withDescription("Store files that were stored before once more. Defaults to false"),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ again, paths }) {
    const configuration = yield* Configuration.read
    const { files, problems: unfound } = yield* Documents.find(paths)
    const sources = yield* Effect.forEach(files, Documents.read)
    const problems = [...unfound, ...sources.flatMap(({ problems }) => problems)]
    for (const { file, line, message } of problems.slice(0, told)) {
      yield* Console.error(`${file}${line === undefined ? "" : `:${line}`}: ${message}`)
    }
    const progress = yield* Progress.make("Storing")
    const run = (store: Pick<Service, "addMany" | "get" | "list" | "delete">) =>
      Documents.ingest(store, sources, { again, onProgress: progress.update }).pipe(Effect.ensuring(progress.finish))
    const server = yield* ServerFile.find(configuration)
    if (configuration.openai !== undefined && Option.isNone(server)) {
      return yield* new ServerWanted({
        message:
          "With OpenAI set up, documents are stored through the server: start `holdfast serve` first. Or unset " +
          "OPENAI_VECTORSTORE, to store them in Postgres alone."
      })
    }
    const report = yield* sources.every(({ documents, partsOf }) => documents.length === 0 && partsOf === undefined)
      ? Effect.succeed<Documents.Report>({ stored: 0, alreadyStored: 0, failed: [] })
      : Option.match(server, {
        onSome: (url) =>
          run({
            addMany: (documents, options) => sendAll(url, documents, options),
            get: (id) => getOne(url, id),
            list: (request) => listSome(url, request),
            delete: (id) => deleteOne(url, id)
          }),
        onNone: () =>
          Effect.flatMap(
            Effect.promise(() => import("./Home.ts")),
            (Home) => Effect.provide(Effect.flatMap(VectorStore, run), Home.layer(configuration))
          )
      })
    for (const { error, file, id } of report.failed.slice(0, told)) {
      yield* Console.error(`${file}: document ${id}: ${error.message}`)
    }
    yield* Console.log(
      `${counted(report.stored, "document")} of ${counted(sources.length, "file")} stored` +
        (report.alreadyStored === 0
          ? ""
          : `; ${report.alreadyStored} were stored before (--again stores them once more)`)
    )
    const lost = problems.length + report.failed.length
    if (lost > 0) {
      const [first] = problems
      const where = first === undefined
        ? ""
        : `; the first is ${first.file}${first.line === undefined ? "" : ` line ${first.line}`}`
      return yield* new NotAllTaken({ message: `${lost} could not be taken${where}. The rest is stored.` })
    }
  })
).pipe(
  Command.withDescription("Store documents: files, or all files in folders"),
  Command.withExamples([
    { command: "holdfast ingest notes/", description: "Every .md, .txt and .jsonl in a folder" },
    { command: "holdfast ingest papers.jsonl", description: `Lines such as {"id":"7","title":"...","text":"..."}` }
  ])
)

// --- the server's side: documents go over in requests that keep below its limit of 1 MiB

const bytesPerRequest = 400_000

const Answer = Schema.Struct({
  items: Schema.Array(Schema.Struct({
    id: DocumentId,
    outcome: Schema.Literals(["Stored", "AlreadyStored", "Failed", "Unknown"]),
    category: Schema.optionalKey(Schema.String)
  }))
})
const decode = Schema.decodeUnknownEffect(Answer)
const decodeDocument = Schema.decodeUnknownEffect(Document)
const decodePage = Schema.decodeUnknownEffect(
  Schema.Struct({ documents: Schema.Array(Document), next: Schema.optionalKey(DocumentId) })
)

const failure = (message: string, operation = "addMany"): ProviderError =>
  new ProviderError({
    provider: "server",
    operation,
    reason: new UnknownError({ message, rule: "cli/ingest", delivered: "unknown" })
  })

const sendAll = Effect.fnUntraced(
  function*(url: string, ...[documents, options]: Parameters<Service["addMany"]>) {
    const client = yield* HttpClient.HttpClient
    const items: Array<ItemReport> = []
    for (let start = 0; start < documents.length;) {
      let bytes = 0
      let end = start
      while (end < documents.length && end - start < 500) {
        bytes += Buffer.byteLength(JSON.stringify(documents[end]))
        if (bytes > bytesPerRequest && end > start) break
        end++
      }
      const part = documents.slice(start, end)
      const response = yield* client.execute(
        HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${url}/api/vectorstore/documents/batch`), {
          documents: part,
          ...(options?.operationId === undefined ? {} : { operationId: options.operationId })
        })
      )
      if (response.status >= 400) {
        return yield* failure(
          `The server at ${url} answered ${response.status}: ${(yield* response.text).slice(0, 300)}`
        )
      }
      for (const { category, id, outcome } of (yield* decode(yield* response.json)).items) {
        items.push(
          outcome === "Failed" || outcome === "Unknown"
            ? { _tag: outcome, id, error: failure(category ?? "the server does not say why") }
            : { _tag: outcome, id }
        )
      }
      start = end
      yield* options?.onProgress?.(end, documents.length) ?? Effect.void
    }
    return { items }
  },
  (self, url) => reaching(url, "addMany", self)
)

/** The answer about one document; none where the server has no such document. */
const askFor = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, url: string) {
  const response = yield* (yield* HttpClient.HttpClient).execute(request)
  if (response.status === 404) return Option.none()
  if (response.status < 400) return Option.some(response)
  return yield* failure(
    `The server at ${url} answered ${response.status}: ${(yield* response.text).slice(0, 300)}`,
    request.method === "GET" ? "get" : "delete"
  )
})

const addressOf = (url: string, id: DocumentId): string => `${url}/api/vectorstore/documents/${encodeURIComponent(id)}`

const getOne = Effect.fnUntraced(
  function*(url: string, id: DocumentId) {
    const found = yield* askFor(HttpClientRequest.get(addressOf(url, id)), url)
    return Option.isNone(found)
      ? Option.none()
      : Option.some(yield* decodeDocument(yield* found.value.json))
  },
  (self, url) => reaching(url, "get", self)
)

const listSome = Effect.fnUntraced(
  function*(url: string, request: ListRequest | undefined) {
    const page = HttpClientRequest.setUrlParams(HttpClientRequest.get(`${url}/api/vectorstore/documents`), {
      ...request
    })
    const found = yield* askFor(page, url)
    return Option.isNone(found) ? { documents: [] } : yield* decodePage(yield* found.value.json)
  },
  (self, url) => reaching(url, "list", self)
)

const deleteOne = (url: string, id: DocumentId) =>
  reaching(url, "delete", Effect.map(askFor(HttpClientRequest.delete(addressOf(url, id)), url), Option.isSome))

/** Asks the server, and says so where it cannot be asked. */
const reaching = <A>(
  url: string,
  operation: string,
  self: Effect.Effect<A, ProviderError | HttpClientError.HttpClientError | Schema.SchemaError, HttpClient.HttpClient>
): Effect.Effect<A, ProviderError> =>
  Effect.mapError(
    Effect.provide(self, FetchHttpClient.layer),
    (error) =>
      error._tag === "ProviderError"
        ? error
        : failure(`The server at ${url} cannot be asked. Is it still running? Try again in a moment.`, operation)
  )
