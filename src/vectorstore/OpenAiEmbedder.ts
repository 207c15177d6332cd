/**
 * Embeddings by OpenAI. Calls made at once share requests; requests keep to the API's limits of 2,048 texts and 300,000
 * tokens; every vector is checked before it counts as one.
 *
 * **Gotchas**
 *
 * A text longer than 8,192 tokens, by estimate, is embedded by its beginning.
 */
import { Effect, Exit, Layer, Request, RequestResolver, Result } from "effect"
import { checked, checks } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import { ProviderError, UnknownError } from "../ProviderError.ts"
import { Embedder, type EmbeddingSpace, type Service } from "./Embedder.ts"
import { refusal } from "./internal/requests.ts"
import { type EmbeddingPage, OpenAiClient } from "./OpenAiClient.ts"

/** The widest vectors of each model. */
const models = {
  "text-embedding-3-small": { dimensions: 1_536, shortens: true },
  "text-embedding-3-large": { dimensions: 3_072, shortens: true },
  "text-embedding-ada-002": { dimensions: 1_536, shortens: false }
} as const

export type Model = keyof typeof models

export interface Options<
  M extends Model = Model,
  Dimensions extends number = number,
  Revision extends string = string
> {
  /** Defaults to `"text-embedding-3-small"`. */
  readonly model?: M | undefined
  /** Shorter vectors than the model's own: 64 and up. Defaults to the model's. */
  readonly dimensions?: Dimensions | undefined
  /** To be changed when vectors from now on must not meet those from before. Defaults to `"1"`. */
  readonly revision?: Revision | undefined
  /** How many requests may run at once for one batch of calls. Defaults to 4. */
  readonly concurrency?: number | undefined
}

/** As the API has them, with room for what the estimate misses. */
const textsAtMost = 2_048
const tokensAtMost = 250_000
const textTokensAtMost = 8_000

// English has four bytes to a token; text in other scripts has fewer.
const tokensOf = (text: string): number => Math.ceil(Buffer.byteLength(text) / 3)

/** A vector of the model's, brought to length 1. */
type Values = ReadonlyArray<number>

interface Embed extends Request.Request<ReadonlyArray<Values>, ProviderError> {
  readonly _tag: "Embed"
  readonly texts: ReadonlyArray<string>
}
const Embed = Request.tagged<Embed>("Embed")

/** The space of a model, a width and a revision. */
export type Space<M extends Model, Dimensions extends number, Revision extends string> =
  `openai/${M}/${Dimensions}@${Revision}`

/** An embedder by the context's client. */
export const make: <
  M extends Model = "text-embedding-3-small",
  const Dimensions extends number = typeof models[M]["dimensions"],
  const Revision extends string = "1"
>(
  options?: Options<M, Dimensions, Revision>
) => Effect.Effect<Service<Space<M, Dimensions, Revision>>, InvalidOptions, OpenAiClient> = Effect.fnUntraced(
  function*<M extends Model, Dimensions extends number, Revision extends string>(
    options: Options<M, Dimensions, Revision> = {}
  ) {
    const client = yield* OpenAiClient
    const { name } = client
    const model: Model = options.model ?? "text-embedding-3-small"
    const revision: string = options.revision ?? "1"
    const known = models[model]
    const check = checks("OpenAiEmbedder")
    const { concurrency, dimensions } = yield* checked(() => {
      const dimensions = check.int("dimensions", options.dimensions, known.dimensions, {
        min: 64,
        max: known.dimensions
      })
      check.ensure(
        known.shortens || dimensions === known.dimensions,
        "dimensions",
        `${model} has ${known.dimensions} only`
      )
      return { dimensions, concurrency: check.int("concurrency", options.concurrency, 4, { min: 1 }) }
    })
    const space: EmbeddingSpace<Space<M, Dimensions, Revision>> = {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is not given is the default of both
      id: `openai/${model}/${dimensions}@${revision}` as Space<M, Dimensions, Revision>,
      provider: "openai",
      model,
      dimensions,
      revision
    }

    const broken = (message: string): ProviderError =>
      new ProviderError({
        provider: name,
        operation: "embeddings.create",
        reason: new UnknownError({
          message,
          rule: "openai/embedding",
          delivered: "yes",
          detail: "InvalidResponse",
          overrides: { retry: "IfIdempotent" }
        })
      })

    /** The vectors in the order of the texts; the API tells their places, not their order. */
    const vectorsOf = (page: EmbeddingPage, count: number): Result.Result<ReadonlyArray<Values>, ProviderError> => {
      const vectors = new Map<number, Values>()
      for (const { embedding, index } of page.data) {
        const values = typeof embedding === "string" ? decodeBase64(embedding) : embedding
        if (values.length !== dimensions || !values.every(Number.isFinite)) {
          return Result.fail(broken(`A vector is not of ${dimensions} finite numbers`))
        }
        const length = Math.hypot(...values)
        if (length === 0) return Result.fail(broken("A vector is all zeros"))
        vectors.set(index, values.map((value) => value / length))
      }
      const ordered = Array.from({ length: count }, (_, i) => vectors.get(i))
      const whole = ordered.filter((vector) => vector !== undefined)
      return whole.length === count && page.data.length === count
        ? Result.succeed(whole)
        : Result.fail(broken(`${page.data.length} vectors came for ${count} texts`))
    }

    /** One request; a batch that is refused is halved, so that no text is refused for another's sake. */
    const embedBatch = (
      texts: ReadonlyArray<string>
    ): Effect.Effect<ReadonlyArray<Result.Result<Values, ProviderError>>> =>
      client.embeddings({ model, input: texts, ...(known.shortens ? { dimensions } : {}) }).pipe(
        Effect.flatMap((page) => Effect.fromResult(vectorsOf(page, texts.length))),
        Effect.matchEffect({
          onSuccess: (vectors) => Effect.succeed(vectors.map(Result.succeed)),
          onFailure: (error) => {
            if (texts.length > 1 && error.verdicts.fallback === "Stop") {
              const half = texts.length >> 1
              return Effect.zipWith(
                embedBatch(texts.slice(0, half)),
                embedBatch(texts.slice(half)),
                (a, b) => [...a, ...b]
              )
            }
            const [text = ""] = texts
            // Our estimate was too low for this text: half of it says most of what it says.
            return texts.length === 1 && error.reason.detail === "InputTooLarge" && text.length > 1_000
              ? embedBatch([cut(text, text.length >> 1)])
              : Effect.succeed(texts.map(() => Result.fail(error)))
          }
        })
      )

    const resolver = RequestResolver.make<Embed>((entries) =>
      Effect.map(
        Effect.forEach(batches(entries.flatMap(({ request }) => request.texts)), embedBatch, { concurrency }),
        (results) => {
          const all = results.flat()
          let start = 0
          for (const entry of entries) {
            const { length } = entry.request.texts
            entry.completeUnsafe(Result.match(Result.all(all.slice(start, start + length)), {
              onFailure: Exit.fail,
              onSuccess: Exit.succeed
            }))
            start += length
          }
        }
      )
    )

    return {
      space,
      embed: (texts) =>
        texts.length === 0
          ? Effect.succeed([])
          : texts.some((text) => text.trim() === "")
          ? Effect.fail(refusal(name, "embed", "An empty text has no embedding", "Text"))
          : Effect.map(
            Effect.request(Embed({ texts: texts.map((text) => cutToTokens(text)) }), resolver),
            (vectors) => vectors.map((values) => ({ space: space.id, values }))
          )
    } satisfies Service
  }
)

export const layer = (options?: Options): Layer.Layer<Embedder, InvalidOptions, OpenAiClient> =>
  Layer.effect(Embedder, make(options))

const decodeBase64 = (text: string): ReadonlyArray<number> => {
  const bytes = Buffer.from(text, "base64")
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => bytes.readFloatLE(i * 4))
}

/** Not within a surrogate pair. */
const cut = (text: string, length: number): string => text.slice(0, length).toWellFormed()

const cutToTokens = (text: string): string => {
  const tokens = tokensOf(text)
  return tokens <= textTokensAtMost ? text : cut(text, Math.floor((text.length * textTokensAtMost) / tokens))
}

const batches = (texts: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const all: Array<Array<string>> = []
  let tokens = Infinity
  for (const text of texts) {
    const own = tokensOf(text)
    const last = all.at(-1)
    if (last === undefined || last.length >= textsAtMost || tokens + own > tokensAtMost) {
      all.push([text])
      tokens = own
    } else {
      last.push(text)
      tokens += own
    }
  }
  return all
}
