/**
 * Documents in a primary store and its mirrors: read from the first that answers, written to the primary and, by the
 * outbox, to the others.
 */
import { Cause, Effect, Exit, Option } from "effect"
import { mayRetry, type ProviderError } from "../../ProviderError.ts"
import { refusals } from "../../Served.ts"
import type { Change, Outbox } from "../Outbox.ts"
import type { BatchReport, DocumentId, Service } from "../VectorStore.ts"
import { everyDocument, halfDoneDetail } from "./requests.ts"

type Asking = <A>(
  operation: string,
  use: (store: Service) => Effect.Effect<A, ProviderError>
) => Effect.Effect<A, ProviderError>

export interface Parts {
  /** Asks the sources one after the other until one answers. */
  readonly anyone: Asking
  /** Asks the primary alone, to change something. */
  readonly primary: Asking
  readonly outbox: Pick<Outbox, "announce" | "record">
  /** Whether a document was deleted, and this store does not know yet. */
  readonly isGone: (store: Service, id: DocumentId) => boolean
}

/** What a store does with documents, but for searching them. */
export type Documents = Omit<Service, "name" | "modes" | "space" | "filters" | "search">

export const makeDocuments = ({ anyone, isGone, outbox, primary }: Parts): Documents => {
  /** Writes to the primary; then, or when the outcome is open, tells the mirrors' outbox what changed. */
  const write = <A>(
    operation: string,
    ids: ReadonlyArray<DocumentId>,
    use: (store: Service) => Effect.Effect<A, ProviderError>,
    { change = "put", changed = () => ids }: {
      readonly change?: Change
      readonly changed?: (value: A) => ReadonlyArray<DocumentId>
    } = {}
  ): Effect.Effect<A, ProviderError> => {
    if (ids.length === 0) return primary(operation, use)
    const unique = (ids: ReadonlyArray<DocumentId>) => Array.from(new Set(ids))
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const withdraw = yield* outbox.announce(unique(ids))
        // Of any attempt: the last may be refused after an earlier one was done and not heard of.
        let perhaps = false
        const attempted = (store: Service) =>
          Effect.onExit(use(store), (exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit) || !surelyNotDone(exit.cause)) perhaps = true
            }))
        return yield* Effect.onExit(restore(primary(operation, attempted)), (exit) => {
          const touched = Exit.isSuccess(exit) ? changed(exit.value) : perhaps ? ids : []
          if (touched.length === 0) return withdraw
          return Effect.flatMap(outbox.record(change, unique(touched)), (recorded) => recorded ? withdraw : Effect.void)
        })
      })
    )
  }

  const list: Service["list"] = (request) =>
    anyone("list", (store) =>
      Effect.map(store.list(request), (page) => ({
        ...page,
        documents: page.documents.filter(({ id }) => !isGone(store, id))
      })))

  return {
    add: (document) => write("add", [document.id], (store) => store.add(document)),
    addMany: (documents, batch) =>
      write("addMany", documents.map(({ id }) => id), (store) => store.addMany(documents, batch), {
        changed: ({ items }: BatchReport) => items.filter(({ _tag }) => _tag !== "Failed").map(({ id }) => id)
      }),
    update: (id, patch) =>
      write("update", [id], (store) => store.update(id, patch), { changed: (it) => Option.isSome(it) ? [id] : [] }),
    delete: (id) => write("delete", [id], (store) => store.delete(id), { change: "delete" }),
    get: (id) => anyone("get", (store) => Effect.map(store.get(id), Option.filter(() => !isGone(store, id)))),
    list,
    documents: everyDocument(list),
    stats: anyone("stats", (store) => store.stats),
    health: anyone("health", (store) => store.health)
  }
}

/** Whether a write that failed so changed nothing. */
const surelyNotDone = (cause: Cause.Cause<ProviderError>): boolean =>
  Option.exists(Cause.findErrorOption(cause), (error) => {
    const { detail = "" } = error.reason
    return detail !== halfDoneDetail &&
      (mayRetry(error, false) || error.verdicts.breaker !== "Failure" || refusals.has(detail))
  })
