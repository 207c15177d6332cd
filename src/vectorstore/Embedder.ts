/**
 * Text to vectors. A vector knows the space it was made in; rows and queries of different spaces never meet, even where
 * their width is the same.
 */
import { Context, type Effect } from "effect"
import type { ProviderError } from "../ProviderError.ts"

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

/** Turns texts into vectors of one space. */
export class Embedder extends Context.Service<Embedder, {
  readonly space: EmbeddingSpace
  /** One vector for each text, in order. */
  readonly embed: (texts: ReadonlyArray<string>, role: Role) => Effect.Effect<ReadonlyArray<Vector>, ProviderError>
}>()("holdfast/vectorstore/Embedder") {}
