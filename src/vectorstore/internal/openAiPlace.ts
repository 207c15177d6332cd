/** One vector store at OpenAI: where a document's files are, and what its absence means. */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { ConfigurationError, ProviderError } from "../../ProviderError.ts"
import type { Api } from "../OpenAiClient.ts"
import type { FileAttributes, VectorStoreId } from "../OpenAiTypes.ts"
import type { Attributes } from "../VectorStore.ts"

export interface Place {
  readonly client: Api
  readonly id: VectorStoreId
  /** In every file's name, so that a clean-up never touches the files of another vector store. */
  readonly tag: string
  /** What a vector store that is not there is told by: a wrong setting. */
  readonly missing: ProviderError
  /** Where the store itself was asked for, a 404 says that it is missing. */
  readonly orMissing: (error: ProviderError) => ProviderError
  /** As `orMissing`, for a whole call. */
  readonly within: <A>(self: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
}

export const makePlace = (client: Api, id: VectorStoreId): Place => {
  const missing = new ProviderError({
    provider: client.name,
    operation: "vectorStores.retrieve",
    reason: new ConfigurationError({
      message: `There is no vector store ${id}`,
      rule: "openai/vector-store",
      delivered: "yes",
      status: 404,
      detail: "VectorStoreMissing"
    })
  })
  const orMissing = (error: ProviderError): ProviderError => error.reason._tag === "NotFoundError" ? missing : error
  return { client, id, tag: digest(id), missing, orMissing, within: Effect.mapError(orMissing) }
}

/** A short name for a text that may be long, secret, or no part of a file's name. */
export const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16)

export const attributesOf = (file: { readonly attributes?: FileAttributes | null }): Attributes => file.attributes ?? {}
