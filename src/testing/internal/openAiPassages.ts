/** How an attached file becomes passages, and how passages are found: by words, in place of meanings. */
import { parse } from "../../internal/lexicalQuery.ts"
import { type ApiFilter, matches } from "./openAiBodies.ts"
import { type Attached, type Chunk, statusOf, type Store } from "./openAiObjects.ts"

// English has about four characters to a token.
const charactersPerToken = 4

export const estimateTokens = (text: string): number => Math.ceil(text.length / charactersPerToken)

const chunksOf = ({ chunking, file: { id, text } }: Attached): ReadonlyArray<readonly [key: string, text: string]> => {
  const { chunk_overlap_tokens, max_chunk_size_tokens } = chunking.static
  const size = max_chunk_size_tokens * charactersPerToken
  const overlap = chunk_overlap_tokens * charactersPerToken
  const step = size - overlap
  const starts = Array.from({ length: Math.max(1, Math.ceil((text.length - overlap) / step)) }, (_, i) => i * step)
  return starts.map((start) => [`${id}#${start}`, text.slice(start, start + size)])
}

/** Takes the file out of the store. */
export const detach = (store: Store, attached: Attached): void => {
  store.files.delete(attached.file.id)
  for (const [key] of chunksOf(attached)) {
    store.index.delete(key)
    store.chunks.delete(key)
  }
}

/** Puts the file into the store, in place of itself where it is there; one that fails to be processed has no passages. */
export const attach = (store: Store, attached: Attached): void => {
  const before = store.files.get(attached.file.id)
  if (before !== undefined) detach(store, before)
  store.files.set(attached.file.id, attached)
  if (attached.failure !== undefined) return
  for (const [key, text] of chunksOf(attached)) {
    store.index.set(key, undefined, text)
    store.chunks.set(key, { attached, text })
  }
}

export const rank = (store: Store, query: string, now: number, filter: ApiFilter | undefined, limit: number) => {
  const keep = (key: string): boolean => {
    const chunk = store.chunks.get(key)
    return chunk !== undefined && statusOf(chunk.attached, now) === "completed" &&
      (filter === undefined || matches(filter, chunk.attached.attributes))
  }
  // Quotes and minus signs mean nothing to a search by meaning.
  const found = store.index.search({ ...parse(query), required: [], excluded: [] }, limit, keep)
  const keys = new Set(found.map(({ id }) => id))
  // A search by meaning finds something near, however far: the list is as long as it can be.
  for (const key of store.chunks.keys()) {
    if (keys.size >= limit) break
    if (keep(key)) keys.add(key)
  }
  const scores = new Map(found.map(({ id, score }) => [id, score]))
  return Array.from(keys).flatMap((key): ReadonlyArray<{ readonly chunk: Chunk; readonly score: number }> => {
    const chunk = store.chunks.get(key)
    const score = scores.get(key) ?? 0
    // The API's scores are 0 to 1.
    return chunk === undefined ? [] : [{ chunk, score: score / (score + 8) }]
  })
}
