/**
 * A vector store in PostgreSQL, by Neon or any other: words ranked by BM25 in SQL, vectors by pgvector, one by one or, where
 * there are many, by an HNSW index; both by fused ranks. Without pgvector it finds words only, and says so. The tables are
 * made at the first call.
 */
import { PgClient } from "@effect/sql-pg"
import { type Duration, Effect, Layer, Option, type Redacted, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Classifier from "../Classifier.ts"
import { checked, checks, millisOf } from "../internal/options.ts"
import type { InvalidOptions } from "../InvalidOptions.ts"
import type { ProviderError } from "../ProviderError.ts"
import { Embedder, type Service as EmbedderService, type Vector, verified } from "./Embedder.ts"
import { byHalves, inParts } from "./internal/batch.ts"
import * as Calls from "./internal/postgresCalls.ts"
import * as Documents from "./internal/postgresDocuments.ts"
import { textArray, toDocument } from "./internal/postgresRows.ts"
import { tables } from "./internal/postgresSchema.ts"
import * as Vectors from "./internal/postgresVectors.ts"
import * as Words from "./internal/postgresWords.ts"
import { checkDocument, checkList, checkPatch, embeddingText, everyDocument, sameText } from "./internal/requests.ts"
import { embedDocuments, makeSearch, modesOf } from "./internal/searching.ts"
import {
  type BatchOptions,
  type Document,
  DocumentId,
  type DocumentPatch,
  type ItemReport,
  type ListRequest,
  type Page,
  type Service,
  VectorStore
} from "./VectorStore.ts"

export interface Options {
  /** Names the store in errors and answers. Defaults to `"neon"`. */
  readonly name?: string | undefined
  /**
   * The database schema the tables are in; stores of different schemas know nothing of each other. At most 63 bytes.
   * Defaults to `"holdfast"`.
   */
  readonly schema?: string | undefined
  /**
   * How long one statement may run. Defaults to `"30 seconds"`; 0 is no limit. Searches and writes are ended by the server;
   * what reads otherwise is cancelled from here, and the wait for a connection counts.
   */
  readonly statementTimeout?: Duration.Input | undefined
  /** How long it is known which documents a batch's `operationId` stored. Defaults to `"30 days"`. */
  readonly keepOperations?: Duration.Input | undefined
  /**
   * How many vectors a space must have to get an HNSW index; fewer are compared one by one. `Infinity` is for none, ever.
   * Defaults to 10,000.
   *
   * **Details**
   *
   * To compare all of 5,000 vectors of 1,536 dimensions takes the embedded Postgres 27 ms and loses none of the nearest; to
   * make an index of them takes 24 s, in which nobody writes and, where there is one connection, nobody reads.
   */
  readonly indexFrom?: number | undefined
}

/** A store in Postgres: the contract, and the care of its vectors. */
export interface NeonStore extends Service {
  /**
   * Embeds the documents that have no vector in the embedder's space, and says how many it was: those stored while the
   * embedder was down, or all of them after a change of the embedder.
   *
   * **Details**
   *
   * Spaces live side by side. To change the embedder, run this on a store with the new one while the store with the old
   * one goes on answering; then let the new one answer. Fails when the embedder does; what was embedded stays. A part of 250
   * that fails alone does not keep the later ones from being embedded, and a text that is refused stays without a vector.
   *
   * It also makes the index of vectors where it is due (`indexFrom`) and missing, as after a process that was killed before it came to that.
   */
  readonly embedMissing: (options?: {
    readonly onProgress?: ((done: number, total: number) => Effect.Effect<void>) | undefined
  }) => Effect.Effect<number, ProviderError>
}

/** A store in the context's database, with the context's embedder. */
export const make = (options?: Options): Effect.Effect<NeonStore, InvalidOptions, SqlClient | Embedder> =>
  Effect.flatMap(Embedder, (embedder) => build(verified(embedder), options))

/** A store that finds words only and needs no embedder. */
export const makeLexical = (options?: Options): Effect.Effect<Service, InvalidOptions, SqlClient> =>
  build(undefined, options)

export const layer = (options?: Options): Layer.Layer<VectorStore, InvalidOptions, SqlClient | Embedder> =>
  Layer.effect(VectorStore, make(options))

/**
 * `layer`, and in the background the vectors and the index that are missing are made: `after` a while, by default
 * 5 seconds, and then every 5 minutes.
 */
export const layerTended = (
  options?: Options & { readonly after?: Duration.Input | undefined }
): Layer.Layer<VectorStore, InvalidOptions, SqlClient | Embedder> =>
  Layer.effect(
    VectorStore,
    Effect.gen(function*() {
      const after = yield* checked(() => checks("NeonStore").millis("after", options?.after, "5 seconds"))
      const store = yield* make(options)
      // Where the embedder or the database is down, the next time.
      yield* Effect.ignoreCause(store.embedMissing()).pipe(
        Effect.repeat(Schedule.spaced("5 minutes")),
        Effect.delay(after),
        Effect.forkScoped
      )
      return store
    })
  )

export const layerLexical = (options?: Options): Layer.Layer<VectorStore, InvalidOptions, SqlClient> =>
  Layer.effect(VectorStore, makeLexical(options))

export interface PoolOptions {
  /** `postgres://user:password@host/database`. */
  readonly url: Redacted.Redacted
  /** Defaults to 10. */
  readonly maxConnections?: number | undefined
}

/**
 * Connections to a server, made when they are needed.
 *
 * **Details**
 *
 * A suspended Neon database wakes within `connectTimeout`, 15 seconds; and it closes what was idle for five minutes, so
 * connections are given up after two.
 */
export const layerPool = (
  options: PoolOptions
): Layer.Layer<PgClient.PgClient | SqlClient, ProviderError | InvalidOptions> =>
  Layer.unwrap(Effect.map(
    checked(() => checks("NeonStore").int("maxConnections", options.maxConnections, 10, { min: 1 })),
    (maxConnections) =>
      PgClient.layer({
        url: options.url,
        maxConnections,
        minConnections: 0,
        connectTimeout: "15 seconds",
        idleTimeout: "2 minutes",
        applicationName: "holdfast"
      }).pipe(
        Layer.catch((error) =>
          Layer.effectContext(
            Effect.fail(Classifier.toError(error, { provider: "neon", operation: "connect", phase: "connect" }))
          )
        )
      )
  ))

/** How many are embedded before they are stored, by `embedMissing`. */
const embeddedAtOnce = 250

/** After this many writes the tables are tended, then after twice as many, and so on. */
const manyDocuments = 500

const build = Effect.fnUntraced(function*(
  embedder: EmbedderService | undefined,
  options: Options = {}
): Effect.fn.Return<NeonStore, InvalidOptions, SqlClient> {
  const sql = yield* SqlClient
  const { name = "neon", schema = "holdfast" } = options
  const { indexFrom, keepMillis, statementTimeoutMillis } = yield* checked(() => {
    const check = checks("NeonStore")
    check.text("schema", schema)
    // Postgres would cut a longer one off: two of one beginning would be one.
    check.ensure(Buffer.byteLength(schema) <= 63, "schema", "must be at most 63 bytes")
    const limit = (field: "statementTimeout" | "keepOperations", usual: Duration.Input): number => {
      const millis = millisOf("NeonStore", field, options[field] ?? usual)
      check.ensure(millis >= 0, field, "must not be negative")
      return millis
    }
    return {
      statementTimeoutMillis: limit("statementTimeout", "30 seconds"),
      keepMillis: limit("keepOperations", "30 days"),
      indexFrom: options.indexFrom === Infinity ? Infinity : check.int("indexFrom", options.indexFrom, 10_000)
    }
  })
  // A thousand years are for ever: Postgres has no time that is long before.
  const keepOperations = Math.min(keepMillis / 1_000, 1_000 * 365 * 86_400)
  const t = tables(sql, schema)
  const { known, plain, reading, ready, typed, writing } = yield* Calls.make(sql, t, {
    name,
    space: embedder?.space,
    statementTimeoutMillis
  })

  // --- writes

  const embed = (documents: ReadonlyArray<Document>): Effect.Effect<ReadonlyArray<Vector | undefined>> =>
    embedder === undefined ? Effect.succeed([]) : embedDocuments(embedder, documents)

  const withVectors = (documents: ReadonlyArray<Document>) =>
    Effect.map(
      embed(documents),
      (vectors) => documents.map((document, i): Documents.Prepared => ({ document, vector: vectors[i] }))
    )

  const add = Effect.fnUntraced(function*(document: Document) {
    const refused = checkDocument(name, "add", document)
    if (refused !== undefined) return yield* refused
    const prepared = yield* withVectors([document])
    yield* writing("add", ({ vectors }) => Documents.put(sql, t, vectors, prepared))
    yield* maintain(1)
  })

  /** The ids that an operation stored before. */
  const storedBefore = (operation: string, documents: ReadonlyArray<Document>) =>
    sql<{ readonly id: string }>`
      SELECT document AS id FROM ${t.operations}
      WHERE operation = ${operation} AND document = ANY (${textArray(sql, documents.map(({ id }) => id))})`

  const store = (prepared: ReadonlyArray<Documents.Prepared>, operation: string | undefined) =>
    writing("addMany", ({ vectors }) =>
      Effect.gen(function*() {
        yield* Documents.put(sql, t, vectors, prepared)
        if (operation !== undefined) {
          yield* sql`INSERT INTO ${t.operations} (operation, document)
            SELECT ${operation}::text, unnest(${textArray(sql, prepared.map(({ document }) => document.id))})
            ON CONFLICT DO NOTHING`
        }
        return prepared.map(({ document: { id } }): ItemReport => ({ _tag: "Stored", id }))
      }))

  const storePart = Effect.fnUntraced(function*(part: ReadonlyArray<Document>, operation: string | undefined) {
    // What is stored already is not embedded again.
    const before = operation === undefined
      ? []
      : yield* plain("addMany", () => storedBefore(operation, part))
    const reports = new Map(
      before.map(({ id }): [string, ItemReport] => [id, { _tag: "AlreadyStored", id: DocumentId.make(id) }])
    )
    const fresh = part.filter(({ id }) => !reports.has(id))
    if (fresh.length > 0) {
      const prepared = yield* withVectors(fresh)
      const stored = yield* byHalves(prepared, (prepared) => store(prepared, operation))
      for (const report of stored) reports.set(report.id, report)
    }
    return reports
  })

  const addMany = (documents: ReadonlyArray<Document>, options: BatchOptions = {}) =>
    inParts(name, documents, options, (part) => storePart(part, options.operationId)).pipe(
      Effect.tap(() => maintain(documents.length))
    )

  /**
   * Forgets old operations, gathers the postings of small writes, tells the planner what the tables became, which an
   * embedded database has nobody else to do, and makes the index of vectors. What is stored stays stored when this fails.
   */
  const tend = Effect.suspend(() => {
    unattended = 0
    const tables = [t.documents, t.postings]
    return Effect.gen(function*() {
      const { vectors } = yield* ready
      yield* plain(
        "maintain",
        () => sql`DELETE FROM ${t.operations} WHERE stored_at < now() - ${keepOperations}::float8 * interval '1 second'`
      )
      for (const terms of yield* plain("maintain", () => Words.scattered(sql, t))) {
        yield* writing("maintain", () => Words.gather(sql, t, terms))
      }
      for (const table of tables) yield* plain("maintain", () => sql`ANALYZE ${table}`)
      if (vectors._tag === "Indexed") yield* Vectors.makeIndex(sql, t, vectors, indexFrom)
    }).pipe(
      typed("maintain"),
      Effect.catch((error) => Effect.logWarning(`${name} could not tend its tables: ${error.message}`))
    )
  })

  /** Tends the tables after many writes. */
  const maintain = (documents: number) =>
    Effect.suspend(() => {
      unattended += documents
      if (unattended < tendedAfter) return Effect.void
      tendedAfter = Math.min(2 * tendedAfter, 100 * manyDocuments)
      return tend
    })
  let unattended = 0
  let tendedAfter = manyDocuments

  const embedMissing: NeonStore["embedMissing"] = Effect.fnUntraced(function*(options = {}) {
    const { vectors } = yield* typed("embedMissing")(ready)
    if (vectors._tag === "None" || embedder === undefined) return 0
    const total = yield* plain("embedMissing", () => Vectors.countMissing(sql, t, vectors))
    let seen = 0
    let embedded = 0
    let after = 0
    let failure: ProviderError | undefined
    let failedInRow = 0
    while (true) {
      const rows = yield* plain("embedMissing", () => Vectors.missing(sql, t, vectors, after, embeddedAtOnce))
      if (rows.length === 0) break
      const documents = rows.map(toDocument)
      // A text that the embedder refuses stays without.
      const made = yield* embedder.embed(documents.map(embeddingText), "document").pipe(
        Effect.catch((error) => error.verdicts.fallback === "Stop" ? embed(documents) : Effect.fail(error)),
        Effect.result
      )
      if (Result.isSuccess(made)) {
        const given = rows.flatMap(({ no }, i) => {
          const vector = made.success[i]
          return vector === undefined ? [] : [{ no, values: vector.values }]
        })
        embedded += yield* writing("embedMissing", () => Vectors.addMissing(sql, t, vectors, given))
        failedInRow = 0
      } else {
        failure = made.failure
        // One part may fail alone; when the next does too, there is no point in going on.
        if (++failedInRow === 2) break
      }
      seen += rows.length
      after = rows.at(-1)?.no ?? after
      yield* options.onProgress?.(Math.min(seen, total), total) ?? Effect.void
    }
    yield* tend
    if (failure !== undefined) return yield* failure
    return embedded
  })

  const update = Effect.fnUntraced(function*(id: DocumentId, patch: DocumentPatch) {
    yield* checkPatch(name, patch)
    const before = yield* plain("update", () => Documents.read(sql, t, id))
    if (before === undefined) return Option.none<Document>()
    const changed: Document = { ...before, ...patch, id }
    // Embedding takes its time, so it is done before the lock is taken.
    const prepared = sameText(before, changed) ? undefined : yield* withVectors([changed])
    return yield* writing("update", ({ vectors }) =>
      Effect.gen(function*() {
        const now = yield* Documents.read(sql, t, id)
        if (now === undefined) return Option.none<Document>()
        const merged: Document = { ...now, ...patch, id }
        if (sameText(now, merged)) {
          yield* Documents.setAttributes(sql, t, merged)
          return Option.some(merged)
        }
        const [ready] = prepared ?? []
        // Somebody else changed the text meanwhile: what is stored now is embedded, in the lock.
        const current = ready !== undefined && sameText(merged, changed)
          ? [{ document: merged, vector: ready.vector }]
          : yield* withVectors([merged])
        yield* Documents.put(sql, t, vectors, current)
        return Option.some(merged)
      }))
  })

  const remove = (id: DocumentId) =>
    writing("delete", () => Effect.map(Documents.remove(sql, t, [id]), (gone) => gone.length > 0))

  // --- reads

  const list = Effect.fnUntraced(function*(request: ListRequest = {}): Effect.fn.Return<Page, ProviderError> {
    const limit = yield* checkList(name, request)
    const found = yield* plain("list", () => Documents.page(sql, t, request.after, limit + 1))
    const documents = found.slice(0, limit)
    const last = documents.at(-1)
    return { documents, ...(found.length > limit && last !== undefined ? { next: last.id } : {}) }
  })

  const statistics = (terms: ReadonlyArray<string>) =>
    Effect.map(
      plain("search", () => Words.statistics(sql, t, terms)),
      ({ documents, terms }) => {
        const frequencies = new Map(terms.map(({ frequency, term }) => [term, frequency]))
        return { documents, frequency: (term: string) => frequencies.get(term) ?? 0 }
      }
    )

  const search = (vectors: Calls.Ready["vectors"]) =>
    makeSearch({
      name,
      embedder: vectors._tag === "None" ? undefined : embedder,
      statistics,
      lexical: (query, filter, limit) =>
        query.terms.length === 0
          ? Effect.succeed([])
          : reading("search", limit, () => Words.ranked(sql, t, query, filter, limit)),
      vector: (values, query, filter, limit) =>
        reading("search", limit, ({ vectors }) =>
          vectors._tag === "None"
            ? Effect.succeed([])
            : Vectors.nearest(sql, t, vectors, values, Words.conditions(sql, query, filter), limit))
    })

  return {
    name,
    get modes() {
      return modesOf(known()?.vectors._tag === "None" ? undefined : embedder)
    },
    get space() {
      return known()?.vectors._tag === "None" ? undefined : embedder?.space.id
    },
    search: (request) => Effect.flatMap(typed("search")(ready), ({ vectors }) => search(vectors)(request)),
    add,
    addMany,
    get: (id) => Effect.map(plain("get", () => Documents.read(sql, t, id)), Option.fromUndefinedOr),
    update,
    delete: remove,
    list,
    documents: everyDocument(list),
    embedMissing,
    stats: plain("stats", ({ vectors }) =>
      Effect.gen(function*() {
        const [row] = yield* sql<{ readonly documents: number; readonly embedded: number }>`
          SELECT documents::int, ${
          vectors._tag === "None"
            ? sql`0`
            : sql`(SELECT count(*)::int FROM ${t.embeddings} WHERE space = ${vectors.space})`
        } AS embedded FROM ${t.collection}`
        return {
          documents: row?.documents ?? 0,
          embedded: row?.embedded ?? 0,
          ...(vectors._tag === "None" || embedder === undefined ? {} : { space: embedder.space.id }),
          modes: [...modesOf(vectors._tag === "None" ? undefined : embedder)]
        }
      })),
    health: Effect.asVoid(plain("health", () => sql`SELECT 1`))
  }
})
