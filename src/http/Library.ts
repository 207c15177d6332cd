/** What the endpoints of `VectorStoreApi` stand on: searches whose answer says who gave it, and the documents. */
import { Context, Effect, Layer } from "effect"
import * as Served from "../Served.ts"
import { type SearchAnswer, type SearchRequest, type Service, VectorStore } from "../vectorstore/VectorStore.ts"

/** Any typed failure of a store, a policy or a service; HTTP tells it by its tag. */
export interface Failure {
  readonly _tag: string
}

export class Library extends Context.Service<Library, {
  readonly search: (request: SearchRequest) => Effect.Effect<Served.Served<SearchAnswer>, Failure>
  /** Where documents are read and written. */
  readonly documents: Service
  /** What every answer lacks for now, such as documents that are still being indexed. */
  readonly lacks: Effect.Effect<ReadonlyArray<string>>
}>()("holdfast/http/Library") {
  /** One store, without a second. */
  static readonly layerStore: Layer.Layer<Library, never, VectorStore> = Layer.effect(
    Library,
    Effect.map(VectorStore, (store) =>
      Library.of({
        search: (request) => Effect.map(store.search(request), (answer) => Served.live(answer, store.name)),
        documents: store,
        lacks: Effect.succeed([])
      }))
  )
}
