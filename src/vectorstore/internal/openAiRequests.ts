/**
 * Requests to OpenAI by the `openai` package: one attempt each, a time limit over headers and body, every answer decoded;
 * lists page by page, and the wait for what is in progress.
 */
import { type Duration, Effect, Option, Redacted, Result, Schema, Stream } from "effect"
import * as Classifier from "../../Classifier.ts"
import * as Correlation from "../../Correlation.ts"
import { checked, checks } from "../../internal/options.ts"
import type { InvalidOptions } from "../../InvalidOptions.ts"
import { ConfigurationError, mayRetry, ProviderError, TimeoutError, UnknownError } from "../../ProviderError.ts"

interface RequestOptions {
  readonly signal: AbortSignal
  readonly maxRetries: 0
  readonly headers: Readonly<Record<string, string>>
}

interface Pending {
  readonly asResponse: () => Promise<Response>
}

// The part of the openai package that is used, as both its versions have it.
/* eslint-disable typescript/method-signature-style -- parameters of the package's methods are narrower than ours */
interface Client {
  readonly files: {
    create(body: { readonly file: File; readonly purpose: "assistants" }, options: RequestOptions): Pending
    list(query: object, options: RequestOptions): Pending
    retrieve(id: string, options: RequestOptions): Pending
    delete(id: string, options: RequestOptions): Pending
  }
  readonly vectorStores: {
    create(body: object, options: RequestOptions): Pending
    list(query: object, options: RequestOptions): Pending
    retrieve(id: string, options: RequestOptions): Pending
    update(id: string, body: object, options: RequestOptions): Pending
    delete(id: string, options: RequestOptions): Pending
    search(id: string, body: object, options: RequestOptions): Pending
    readonly files: {
      create(id: string, body: object, options: RequestOptions): Pending
      list(id: string, query: object, options: RequestOptions): Pending
      retrieve(fileId: string, parameters: object, options: RequestOptions): Pending
      update(fileId: string, parameters: object, options: RequestOptions): Pending
      delete(fileId: string, parameters: object, options: RequestOptions): Pending
      content(fileId: string, parameters: object, options: RequestOptions): Pending
    }
    readonly fileBatches: {
      create(id: string, body: object, options: RequestOptions): Pending
      retrieve(batchId: string, parameters: object, options: RequestOptions): Pending
      cancel(batchId: string, parameters: object, options: RequestOptions): Pending
      listFiles(batchId: string, parameters: object, options: RequestOptions): Pending
    }
  }
  readonly embeddings: {
    create(body: object, options: RequestOptions): Pending
  }
}
/* eslint-enable */

/** The class that the `openai` package exports, of version 6 or 7. */
export type ClientClass = new(options: {
  readonly apiKey: string
  readonly baseURL: string
  readonly maxRetries: 0
  readonly logLevel: "off"
}) => unknown

export interface Options {
  readonly apiKey: Redacted.Redacted
  /** Defaults to `https://api.openai.com/v1`. */
  readonly baseURL?: string | undefined
  /** Defaults to the installed `openai` package's. */
  readonly client?: ClientClass | undefined
  /** The time for one request, headers and body. Defaults to `"60 seconds"`. */
  readonly requestTimeout?: Duration.Input | undefined
  /** The wait between two looks at a file in progress, unless the API asks for another. Defaults to `"1 second"`. */
  readonly pollInterval?: Duration.Input | undefined
  /** The time for attached files to be processed. Defaults to `"2 minutes"`. */
  readonly processingDeadline?: Duration.Input | undefined
  /** Names the provider in errors. Defaults to `"openai"`. */
  readonly name?: string | undefined
}

interface Answered<A> {
  readonly value: A
  readonly headers: Headers
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

const locked = Classifier.make({
  rules: [Classifier.when("openai/locked", { status: 409 }, { tag: "TemporaryFailureError", detail: "Locked" })]
})

/** Looks at a file in progress that fail one after the other before the wait is given up. */
const looksThatMayFail = 3

/** Names the provider in errors. */
export const defaultName = "openai"

const defaultURL = "https://api.openai.com/v1"

const load = (name: string): Effect.Effect<ClientClass, ProviderError> =>
  Effect.tryPromise({
    try: () => import("openai").then((module) => module.OpenAI),
    catch: (cause) =>
      new ProviderError({
        provider: name,
        operation: "load",
        reason: new ConfigurationError({
          message: "The package openai is not installed: npm install openai",
          rule: "openai/package",
          delivered: "no"
        })
      }).causedBy(cause)
  })

type Send = (client: Client, options: RequestOptions) => Pending

/** Sends the requests of one client. */
export interface Requests {
  /** The answer, read by the schema, with its headers. */
  readonly answered: <S extends Schema.ConstraintDecoder<unknown>>(
    schema: S
  ) => (operation: string, idempotent: boolean, send: Send) => Effect.Effect<Answered<S["Type"]>, ProviderError>
  /** The answer, read by the schema. */
  readonly decoded: <S extends Schema.ConstraintDecoder<unknown>>(
    schema: S
  ) => (operation: string, idempotent: boolean, send: Send) => Effect.Effect<S["Type"], ProviderError>
  /** Looks again and again until the value is finished or the processing deadline is over. */
  readonly poll: <A>(
    operation: string,
    first: A,
    isFinished: (value: A) => boolean,
    look: Effect.Effect<Answered<A>, ProviderError>
  ) => Effect.Effect<A, ProviderError>
}

/** Fails when the client refuses its options, or is not installed. */
export const make: (options: Options) => Effect.Effect<Requests, ProviderError | InvalidOptions> = Effect.fnUntraced(
  function*(options: Options) {
    const check = checks("OpenAiClient")
    const settings = yield* checked(() => ({
      requestTimeout: check.millis("requestTimeout", options.requestTimeout, "60 seconds", { min: 1 }),
      pollInterval: check.millis("pollInterval", options.pollInterval, "1 second", { min: 1 }),
      processingDeadline: check.millis("processingDeadline", options.processingDeadline, "2 minutes", { min: 1 })
    }))
    const name = options.name ?? defaultName
    const classifier = yield* Classifier.Classifier
    const ClientClass = options.client ?? (yield* load(name))
    const client = yield* Effect.try({
      try: () =>
        // The class is known by its shape alone: two versions of the package have types that exclude each other.
        // eslint-disable-next-line typescript/no-unsafe-type-assertion
        new ClientClass({
          apiKey: Redacted.value(options.apiKey),
          baseURL: options.baseURL ?? defaultURL,
          maxRetries: 0,
          logLevel: "off"
        }) as Client,
      catch: (cause) => classifier.toError(cause, { provider: name, operation: "connect", phase: "connect" })
    })

    const timedOut = (operation: string, millis: number, detail: string): ProviderError =>
      new ProviderError({
        provider: name,
        operation,
        reason: new TimeoutError({
          message: `No answer within ${millis} ms`,
          rule: "openai/timeout",
          delivered: "unknown",
          detail
        })
      })

    const invalidResponse = (operation: string, { status, text }: Answer, why: string): ProviderError =>
      new ProviderError({
        provider: name,
        operation,
        reason: new UnknownError({
          message: text === ""
            ? "The answer is empty"
            : `The answer is not what the API promises: ${why.slice(0, 300)}`,
          rule: "openai/response",
          delivered: "yes",
          status,
          detail: "InvalidResponse",
          // Often a proxy's page in place of the answer: worth another attempt.
          overrides: { retry: "IfIdempotent" }
        })
      })

    const request = (operation: string, idempotent: boolean, send: Send): Effect.Effect<Answer, ProviderError> =>
      Effect.flatMap(Correlation.outgoing("x-client-request-id"), (headers) =>
        Effect.tryPromise({
          try: (signal) =>
            send(client, { signal, maxRetries: 0, headers }).asResponse().then((response) =>
              response.text().then((text) => ({ status: response.status, headers: response.headers, text }))
            ),
          catch: (cause) => {
            const error = classifier.toError(cause, { provider: name, operation, idempotent })
            // Elsewhere a conflict is the caller's fault; here somebody else holds the lock for a moment.
            return error.reason.rule === "http-status:409"
              ? locked.toError(cause, { provider: name, operation, idempotent })
              : error
          }
        })).pipe(
          Effect.timeoutOrElse({
            duration: settings.requestTimeout,
            orElse: () => Effect.fail(timedOut(operation, settings.requestTimeout, "RequestTimeout"))
          })
        )

    const answered = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
      const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
      return (operation: string, idempotent: boolean, send: Send): Effect.Effect<Answered<S["Type"]>, ProviderError> =>
        Effect.flatMap(request(operation, idempotent, send), (answer) =>
          decode(answer.text).pipe(
            Effect.map((value) => ({ value, headers: answer.headers })),
            Effect.mapError((error) => invalidResponse(operation, answer, error.message))
          ))
    }
    const decoded = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
      const send = answered(schema)
      return (...call: Parameters<typeof send>): Effect.Effect<S["Type"], ProviderError> =>
        Effect.map(send(...call), ({ value }) => value)
    }

    const poll = <A>(
      operation: string,
      first: A,
      isFinished: (value: A) => boolean,
      look: Effect.Effect<Answered<A>, ProviderError>
    ): Effect.Effect<A, ProviderError> =>
      Effect.gen(function*() {
        let current = first
        let wait = settings.pollInterval
        let failures = 0
        while (!isFinished(current)) {
          yield* Effect.sleep(wait)
          const looked = yield* Effect.result(look)
          if (Result.isFailure(looked)) {
            // The work goes on at the provider's side: one look that fails does not undo it.
            if (++failures === looksThatMayFail || !mayRetry(looked.failure, true)) return yield* looked.failure
            continue
          }
          failures = 0
          current = looked.success.value
          const asked = Number(looked.success.headers.get("openai-poll-after-ms") ?? Number.NaN)
          wait = asked > 0 && asked <= 60_000 ? asked : settings.pollInterval
        }
        return current
      }).pipe(
        Effect.timeoutOrElse({
          duration: settings.processingDeadline,
          orElse: () => Effect.fail(timedOut(operation, settings.processingDeadline, "ProcessingTimeout"))
        })
      )
    return { answered, decoded, poll }
  }
)

/** Every page of a list; each is one request with a time limit of its own. */
export const pages = <A extends { readonly id: string }>(
  limit: number,
  fetchPage: (
    cursor: { readonly limit: number; readonly after?: string }
  ) => Effect.Effect<{ readonly data: ReadonlyArray<A>; readonly has_more?: boolean }, ProviderError>
): Stream.Stream<A, ProviderError> =>
  Stream.paginate<string | undefined, A, ProviderError>(
    undefined,
    (after) =>
      Effect.map(fetchPage({ limit, ...(after === undefined ? {} : { after }) }), ({ data, has_more }) => {
        const last = data.at(-1)
        // A cursor that does not move would list for ever.
        const more = has_more === true && last !== undefined && last.id !== after
        return [data, more ? Option.some(last.id) : Option.none()]
      })
  )

/** What a 404 means where an id was asked for: it is not there. */
export const missing = <A, B>(self: Effect.Effect<A, ProviderError>, absent: B): Effect.Effect<A | B, ProviderError> =>
  Effect.catch(
    self,
    (error): Effect.Effect<B, ProviderError> =>
      error.reason._tag === "NotFoundError" ? Effect.succeed(absent) : Effect.fail(error)
  )

export const orNone = <A>(self: Effect.Effect<A, ProviderError>): Effect.Effect<Option.Option<A>, ProviderError> =>
  missing(Effect.asSome(self), Option.none<A>())

export const orFalse = (
  self: Effect.Effect<{ readonly deleted: boolean }, ProviderError>
): Effect.Effect<boolean, ProviderError> => missing(Effect.map(self, ({ deleted }) => deleted), false)
