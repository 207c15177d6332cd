/**
 * Text to vectors. A vector knows the space it was made in; rows and queries of different spaces never meet, even where
 * their width is the same.
 */
import { Context, Effect, Layer, Result } from "effect"
import { checked, checks } from "../internal/options.ts"
import { tokens } from "../internal/words.ts"
import { InvalidOptions } from "../InvalidOptions.ts"
import { ConfigurationError, ProviderError } from "../ProviderError.ts"

/** Where vectors compare: provider, model, width and revision. */
export interface EmbeddingSpace<Id extends string = string> {
  /** `provider/model/dimensions@revision`: stored with every row. */
  readonly id: Id
  readonly provider: string
  readonly model: string
  readonly dimensions: number
  readonly revision: string
}

/** An embedding and the space it belongs to. Values are finite and of length 1 together. */
export interface Vector<Space extends string = string> {
  readonly space: Space
  readonly values: ReadonlyArray<number>
}

/** Which side of a search the text is on: some spaces embed questions and documents differently. */
export type Role = "document" | "query"

/** What a store knows of the words in its documents: how many documents there are, and how many hold a term. */
export interface TermStatistics {
  readonly documents: number
  readonly frequency: (term: string) => number
}

/** What an embedder does, in the one space it embeds into. */
export interface Service<Space extends string = string> {
  readonly space: EmbeddingSpace<Space>
  /** True where queries are embedded better with the store's `statistics`. */
  readonly usesStatistics?: boolean | undefined
  /** What a place among its vectors counts in a hybrid search, beside 1 for a place among the words. Defaults to 1. */
  readonly fusionWeight?: number | undefined
  /** One vector for each text, in order. */
  readonly embed: (
    texts: ReadonlyArray<string>,
    role: Role,
    statistics?: TermStatistics
  ) => Effect.Effect<ReadonlyArray<Vector<Space>>, ProviderError>
}

/** Turns texts into vectors of one space. */
export class Embedder extends Context.Service<Embedder, Service>()("holdfast/vectorstore/Embedder") {}

export interface LocalOptions<Dimensions extends number = number> {
  /** 64 to 16,000. Defaults to 1,536. */
  readonly dimensions?: Dimensions | undefined
}

/** The local embedder's space. */
export type LocalSpace<Dimensions extends number = 1_536> = `local/hashed-words/${Dimensions}@1`

/**
 * An embedder without a network: each term is hashed to a few signed coordinates, weighted, and the whole is brought to
 * length 1. Deterministic. It knows words, not meanings: texts are near when they share telling words.
 */
export const makeLocal = <const Dimensions extends number = 1_536>(
  options?: LocalOptions<Dimensions>
): Service<LocalSpace<Dimensions>> => {
  const dimensions = options?.dimensions ?? 1_536
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without options the width is the default of both
  const id = `local/hashed-words/${dimensions}@1` as LocalSpace<Dimensions>
  const space: EmbeddingSpace<LocalSpace<Dimensions>> = {
    id,
    provider: "local",
    model: "hashed-words",
    dimensions,
    revision: "1"
  }
  const vector = (
    text: string,
    role: Role,
    statistics: TermStatistics | undefined
  ): Vector<LocalSpace<Dimensions>> => {
    const values = new Float64Array(dimensions)
    for (const [term, count] of counts(text)) {
      // Documents are weighed without looking at others, so that they need no new vector when others come; how telling
      // a term is, the query's side says.
      const weight = role === "document"
        ? 1 + Math.log(count)
        : statistics === undefined
        ? 1
        : telling(statistics, term)
      for (let i = 0; i < coordinates; i++) {
        const hash = hashed(term, i)
        const at = (hash >>> 1) % dimensions
        values[at] = (values[at] ?? 0) + ((hash & 1) === 0 ? weight : -weight)
      }
    }
    const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
    // Two terms can cancel each other out in few dimensions; a vector must point somewhere.
    if (length === 0) values[0] = 1
    return { space: space.id, values: Array.from(values, (value) => length === 0 ? value : value / length) }
  }
  return {
    space,
    usesStatistics: true,
    // It sees the same words as the lexical ranking, less clearly: so it only adds what that does not find. Below 0.008
    // no place of its own moves one of the lexical ranking's first 50.
    fusionWeight: 0.005,
    embed: (texts, role, statistics) => Effect.sync(() => texts.map((text) => vector(text, role, statistics)))
  }
}

/** The local embedder of 1,536 dimensions. */
export const local: Layer.Layer<Embedder> = Layer.sync(Embedder, () => makeLocal())

/** The local embedder of another width. */
export const layerLocal = (options?: LocalOptions): Layer.Layer<Embedder, InvalidOptions> =>
  Layer.effect(
    Embedder,
    Effect.map(
      checked(() => checks("Embedder").int("dimensions", options?.dimensions, 1_536, { min: 64, max: 16_000 })),
      (dimensions) => makeLocal({ dimensions })
    )
  )

export interface CacheOptions {
  /** How many queries are remembered; the one not asked for the longest goes first. Defaults to 10,000. */
  readonly capacity?: number | undefined
}

/**
 * Remembers the vectors of queries, so that known ones are found by meaning while the embedder is down.
 *
 * **Details**
 *
 * In one space the same text always has the same vector, so there is no age. An embedder that uses statistics is given
 * back as it is: its vectors change with the collection.
 */
export const cached = <Space extends string>(embedder: Service<Space>, options?: CacheOptions): Service<Space> => {
  if (embedder.usesStatistics === true) return embedder
  const capacity = options?.capacity ?? 10_000
  const known = new Map<string, Vector<Space>>()
  const remember = (text: string, vector: Vector<Space>): void => {
    known.delete(text)
    known.set(text, vector)
    const [oldest] = known.keys()
    if (known.size > capacity && oldest !== undefined) known.delete(oldest)
  }
  const embed: Service<Space>["embed"] = Effect.fnUntraced(function*(texts, role) {
    if (role === "document") return yield* embedder.embed(texts, role)
    const vectors = texts.map((text) => known.get(text))
    const missing = texts.filter((_, i) => vectors[i] === undefined)
    const made = missing.length === 0 ? [] : yield* embedder.embed(missing, role)
    let next = 0
    return texts.flatMap((text, i) => {
      const vector = vectors[i] ?? made[next++]
      if (vector === undefined) return []
      remember(text, vector)
      return [vector]
    })
  })
  return { ...embedder, embed }
}

/**
 * Asks the next route when one fails: another key, region or deployment of the same model. Routes to another space are
 * refused, by the compiler where it knows the space: their vectors would be noise among these.
 */
export const fallback = <Space extends string>(
  first: Service<Space>,
  ...others: ReadonlyArray<Service<NoInfer<Space>>>
): Effect.Effect<Service<Space>, InvalidOptions> => {
  const foreign = others.find(({ space }) => space.id !== first.space.id)
  if (foreign !== undefined) {
    return Effect.fail(
      new InvalidOptions({
        module: "Embedder",
        field: "others",
        why: `must lead to the space ${first.space.id}, not ${foreign.space.id}`
      })
    )
  }
  const embed: Service<Space>["embed"] = (texts, role, statistics) =>
    others.reduce(
      (attempt, { embed }) =>
        Effect.catch(attempt, (error) =>
          error.verdicts.fallback === "Stop" ? Effect.fail(error) : embed(texts, role, statistics)),
      first.embed(texts, role, statistics)
    )
  return Effect.succeed({ ...first, embed })
}

/**
 * The embedder with its vectors looked at: one for each text, of its own space and width, finite, not all zeros; brought
 * to length 1 where they are not. What is none fails with a `ConfigurationError`, and so does an embedder that throws. Stores
 * do this by themselves.
 */
export const verified = <Space extends string>(embedder: Service<Space>): Service<Space> => {
  const { dimensions, id, provider } = embedder.space
  const broken = (message: string, detail = "DimensionMismatch"): ProviderError =>
    new ProviderError({
      provider,
      operation: "embed",
      reason: new ConfigurationError({
        message: `The embedder of the space ${id} ${message}`,
        rule: "embedder/vector",
        delivered: "yes",
        detail
      })
    })
  const unit = (vector: Vector<Space>): Result.Result<Vector<Space>, ProviderError> => {
    const { space, values } = vector
    if (space !== id) return Result.fail(broken(`gave a vector of the space ${space}`))
    if (values.length !== dimensions) return Result.fail(broken(`gave ${values.length} dimensions`))
    const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
    return !Number.isFinite(length) || length === 0
      ? Result.fail(broken("gave a vector that points nowhere"))
      : Result.succeed(
        Math.abs(length - 1) < 1e-6 ? vector : { space, values: values.map((value) => value / length) }
      )
  }
  return {
    ...embedder,
    embed: (texts, role, statistics) =>
      Effect.suspend(() => embedder.embed(texts, role, statistics)).pipe(
        Effect.catchDefect((defect) => Effect.fail(broken("threw", "Defect").causedBy(defect))),
        Effect.flatMap((vectors) =>
          vectors.length === texts.length
            ? Effect.fromResult(Result.all(vectors.map(unit)))
            : Effect.fail(broken(`gave ${vectors.length} vectors for ${texts.length} texts`))
        )
      )
  }
}

/** More coordinates for each term make it rarer that two terms are taken for one; four was the best of 1 to 8. */
const coordinates = 4

const telling = ({ documents, frequency }: TermStatistics, term: string): number =>
  Math.log((documents + 1) / (frequency(term) + 1)) + 1

const counts = (text: string): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  for (const { term } of tokens(text)) found.set(term, (found.get(term) ?? 0) + 1)
  return found.size > 0 ? found : new Map([[text, 1]])
}

/** FNV-1a with a finisher, 32 bits. */
const hashed = (text: string, seed: number): number => {
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1)
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
