/**
 * Brings documents to a mirror in the state that the primary has now, each for itself: what the mirror refuses, and what
 * takes it too long, keeps no other away.
 */
import { Effect, Option, Result } from "effect"
import { ProviderError } from "../../ProviderError.ts"
import type { Document, DocumentId, Service } from "../VectorStore.ts"
import { byHalves, isRefused } from "./batch.ts"
import { everyDocument } from "./requests.ts"

/** A store with the policies that its calls go through. */
export interface Party {
  readonly name: string
  readonly service: Service
  readonly protect: <A>(
    operation: string,
    self: Effect.Effect<A, ProviderError>
  ) => Effect.Effect<A, { readonly _tag: string }>
  /** Milliseconds until it makes sense to call; 0 for now. */
  readonly availability: (now: number) => number
}

export interface Options {
  readonly primary: Party
  readonly mirror: Party
  /** How many documents go in one call at most. */
  readonly atOnce: number
  /** Told of each document that the mirror refuses for what it is. */
  readonly onRefused: (error: ProviderError) => void
}

interface Held {
  readonly id: DocumentId
  readonly document: Option.Option<Document>
}

/** A document that was to be brought to the mirror, as the primary had it, and why it is not there. */
export interface Brought extends Held {
  readonly failure: { readonly _tag: string } | undefined
}

export interface MirrorSync {
  /** Documents that the mirror refused for what they are. */
  readonly refused: ReadonlySet<DocumentId>
  /** Tells what became of each; fails when the primary does. */
  readonly bring: (ids: ReadonlyArray<DocumentId>) => Effect.Effect<ReadonlyArray<Brought>, { readonly _tag: string }>
  /** What the primary has now in place of what was brought, where that differs. */
  readonly changedSince: (
    brought: ReadonlyArray<Brought>
  ) => Effect.Effect<ReadonlyArray<Held>, { readonly _tag: string }>
}

const readers = 8

export const make = ({ atOnce: most, mirror, onRefused, primary }: Options): MirrorSync => {
  const { protect, service } = mirror
  const refused = new Set<DocumentId>()
  /** Fewer where more took longer than a call may. */
  let atOnce = most

  const read = (ids: ReadonlyArray<DocumentId>) =>
    Effect.forEach(
      ids,
      (id) => Effect.map(primary.protect("get", primary.service.get(id)), (document): Held => ({ id, document })),
      { concurrency: readers }
    )

  const add = (part: ReadonlyArray<{ readonly document: Document }>) =>
    byHalves(
      part,
      (half) =>
        Effect.map(protect("addMany", service.addMany(half.map(({ document }) => document))), ({ items }) => items)
    )

  const bring = Effect.fnUntraced(function*(ids: ReadonlyArray<DocumentId>) {
    const failures = new Map<DocumentId, Brought["failure"]>()
    const became = (id: DocumentId, failure: Brought["failure"]): void => {
      refused.delete(id)
      if (!isRefused(failure)) return void failures.set(id, failure)
      // It would be refused again.
      refused.add(id)
      onRefused(failure)
    }
    const found = yield* read(ids)
    for (const { document, id } of found) {
      if (Option.isSome(document)) continue
      const result = yield* Effect.result(protect("delete", service.delete(id)))
      became(id, Result.isFailure(result) ? result.failure : undefined)
    }
    let rest = found.flatMap(({ document }) => Option.isSome(document) ? [{ document: document.value }] : [])
    while (rest.length > 0) {
      const part = rest.slice(0, atOnce)
      const result = yield* Effect.result(add(part))
      if (Result.isSuccess(result)) {
        for (const item of result.success) became(item.id, "error" in item ? item.error : undefined)
        atOnce = Math.min(most, atOnce + 1)
        rest = rest.slice(part.length)
      } else {
        for (const { document } of rest) became(document.id, result.failure)
        if (isTimeout(result.failure)) atOnce = Math.max(1, Math.floor(part.length / 2))
        rest = []
      }
    }
    return found.map(({ document, id }): Brought => ({ id, document, failure: failures.get(id) }))
  })

  const changedSince = (brought: ReadonlyArray<Brought>) => {
    const there = new Map(brought.flatMap(({ document, failure, id }) => failure === undefined ? [[id, document]] : []))
    return Effect.map(
      read(Array.from(there.keys())),
      (now) => now.filter(({ document, id }) => !same(document, there.get(id) ?? Option.none()))
    )
  }

  return { refused, bring, changedSince }
}

const isTimeout = (failure: { readonly _tag: string }): boolean =>
  failure instanceof ProviderError && failure.reason._tag === "TimeoutError"

/** Fails with the first failure among them. */
export const allThere = (brought: ReadonlyArray<Brought>): Effect.Effect<void, { readonly _tag: string }> => {
  const failure = brought.find((it) => it.failure !== undefined)?.failure
  return failure === undefined ? Effect.void : Effect.fail(failure)
}

/** Page by page: the limits of a call are for one, and not for a store. */
export const documentsOf = ({ protect, service }: Party) =>
  everyDocument((request) => protect("list", service.list(request)))

export const same = (a: Option.Option<Document>, b: Option.Option<Document>): boolean =>
  Option.isSome(a) && Option.isSome(b) ? text(a.value) === text(b.value) : Option.isNone(a) && Option.isNone(b)

const text = ({ attributes = {}, content, title }: Document): string =>
  JSON.stringify([title, content, Object.entries(attributes).sort(([x], [y]) => x < y ? -1 : 1)])
