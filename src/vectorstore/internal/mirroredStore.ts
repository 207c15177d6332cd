/**
 * Documents in a primary store and its mirrors: read from the first that answers, written to the primary and, by the
 * outbox, to the others.
 */
import { Cause, Effect, Exit, Option } from "effect"
import { mayRetry, type ProviderError } from "../../ProviderError.ts"
import { refusals } from "../../Served.ts"
import type { Outbox } from "../Outbox.ts"
import type { BatchReport, DocumentId, Service } from "../VectorStore.ts"
import { everyDocument } from "./requests.ts"

type Asking = <A>(
  operation: string,
  use: (store: Service) => Effect.Effect<A, ProviderError>
) => Effect.Effect<A, ProviderError>

export interface Parts {
  /** Asks the sources one after the other until one answers. */
  readonly anyone: Asking
  /** Asks the primary alone, to change something. */
  readonly primary: Asking
  readonly outbox: Pick<Outbox, "record">
  /** Whether a document was deleted, and this store does not know yet. */
  readonly isGone: (store: Service, id: DocumentId) => boolean
}

/** What a store does with documents, but for searching them. */
export type Documents = Omit<Service, "name" | "modes" | "space" | "filters" | "search">

export const makeDocuments = ({ anyone, isGone, outbox, primary }: Parts): Documents => {
  /** Writes to the primary; then, or when the outcome is open, tells the mirrors' outbox. */
  const write = <A>(
    operation: string,
    use: (store: Service) => Effect.Effect<A, ProviderError>,
    recorded: (value: A) => Effect.Effect<void>,
    open: Effect.Effect<void>
  ): Effect.Effect<A, ProviderError> =>
    Effect.uninterruptibleMask((restore) =>
      restore(primary(operation, use)).pipe(
        Effect.onExit((exit) =>
          Exit.isSuccess(exit) ? recorded(exit.value) : surelyNotDone(exit.cause) ? Effect.void : open
        )
      )
    )

  const list: Service["list"] = (request) =>
    anyone("list", (store) =>
      Effect.map(store.list(request), (page) => ({
        ...page,
        documents: page.documents.filter(({ id }) => !isGone(store, id))
      })))

  return {
    add: (document) => {
      const record = outbox.record("put", [document.id])
      return write("add", (store) => store.add(document), () => record, record)
    },
    addMany: (documents, batch) => {
      const record = (ids: ReadonlyArray<DocumentId>) => outbox.record("put", Array.from(new Set(ids)))
      return write(
        "addMany",
        (store) => store.addMany(documents, batch),
        ({ items }: BatchReport) => record(items.filter(({ _tag }) => _tag !== "Failed").map(({ id }) => id)),
        record(documents.map(({ id }) => id))
      )
    },
    update: (id, patch) => {
      const record = outbox.record("put", [id])
      return write(
        "update",
        (store) => store.update(id, patch),
        (it) => Option.isSome(it) ? record : Effect.void,
        record
      )
    },
    delete: (id) => {
      const record = outbox.record("delete", [id])
      return write("delete", (store) => store.delete(id), () => record, record)
    },
    get: (id) => anyone("get", (store) => Effect.map(store.get(id), Option.filter(() => !isGone(store, id)))),
    list,
    documents: everyDocument(list),
    stats: anyone("stats", (store) => store.stats),
    health: anyone("health", (store) => store.health)
  }
}

/** Whether a write that failed so never reached the provider. */
const surelyNotDone = (cause: Cause.Cause<ProviderError>): boolean =>
  Option.exists(
    Cause.findErrorOption(cause),
    (error) => mayRetry(error, false) || error.verdicts.breaker !== "Failure" || refusals.has(error.reason.detail ?? "")
  )
