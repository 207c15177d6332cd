/**
 * A vector store in PostgreSQL, by Neon or any other: words ranked by BM25 in SQL, vectors by pgvector's HNSW index, both
 * by fused ranks. Without pgvector it finds words only, and says so. The tables are made at the first call.
 */
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Layer, Option, type Redacted, Result, Schedule, Semaphore } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import * as Classifier from "../Classifier.ts"
import * as Event from "../Event.ts"
import { analyse, b, idf, k1, pairDepth, pairWeight, type Terms } from "../internal/bm25.ts"
import type { LexicalQuery, Phrase } from "../internal/lexicalQuery.ts"
import { ProviderError } from "../ProviderError.ts"
import { Embedder, type Service as EmbedderService, type Vector, verified } from "./Embedder.ts"
import { compile } from "./internal/filterSql.ts"
import { indexVectors, migrate, prepareVectors, tables, takeLock, type Vectors } from "./internal/postgresSchema.ts"
import {
  checkBatchSize,
  checkDocument,
  checkList,
  checkPatch,
  embeddingText,
  everyDocument
} from "./internal/requests.ts"
import { embedDocuments, makeSearch, modesOf } from "./internal/searching.ts"
import { transaction } from "./internal/transaction.ts"
import {
  type BatchOptions,
  type BatchReport,
  type Document,
  DocumentId,
  type DocumentPatch,
  type Filter,
  type Hit,
  type ItemReport,
  type ListRequest,
  type Page,
  type Service,
  VectorStore
} from "./VectorStore.ts"

export interface Options {
  /** Names the store in errors and answers. Defaults to `"neon"`. */
  readonly name?: string | undefined
  /** The database schema the tables are in; stores of different schemas know nothing of each other. Defaults to `"holdfast"`. */
  readonly schema?: string | undefined
  /** How long one statement may run in the server. Defaults to `"30 seconds"`. */
  readonly statementTimeout?: Duration.Input | undefined
  /** How long it is known which documents a batch's `operationId` stored. Defaults to `"30 days"`. */
  readonly keepOperations?: Duration.Input | undefined
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
   * one goes on answering; then let the new one answer. Fails when the embedder does; what was embedded stays.
   *
   * It also makes the index of vectors where it is missing, as after a process that was killed before it came to that.
   */
  readonly embedMissing: (options?: {
    readonly onProgress?: ((done: number, total: number) => Effect.Effect<void>) | undefined
  }) => Effect.Effect<number, ProviderError>
}

/** A store in the context's database, with the context's embedder. */
export const make = (options?: Options): Effect.Effect<NeonStore, never, SqlClient | Embedder> =>
  Effect.flatMap(Embedder, (embedder) => build(verified(embedder), options))

/** A store that finds words only and needs no embedder. */
export const makeLexical = (options?: Options): Effect.Effect<Service, never, SqlClient> => build(undefined, options)

export const layer = (options?: Options): Layer.Layer<VectorStore, never, SqlClient | Embedder> =>
  Layer.effect(VectorStore, make(options))

/**
 * `layer`, and in the background the vectors and the index that are missing are made: `after` a while, by default
 * 5 seconds, and then every 5 minutes.
 */
export const layerTended = (
  options?: Options & { readonly after?: Duration.Input | undefined }
): Layer.Layer<VectorStore, never, SqlClient | Embedder> =>
  Layer.effect(
    VectorStore,
    Effect.tap(make(options), (store) =>
      // Where the embedder or the database is down, the next time.
      Effect.ignore(store.embedMissing()).pipe(
        Effect.repeat(Schedule.spaced("5 minutes")),
        Effect.delay(options?.after ?? "5 seconds"),
        Effect.forkScoped
      ))
  )

export const layerLexical = (options?: Options): Layer.Layer<VectorStore, never, SqlClient> =>
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
export const layerPool = (options: PoolOptions): Layer.Layer<PgClient.PgClient | SqlClient, ProviderError> =>
  PgClient.layer({
    url: options.url,
    maxConnections: options.maxConnections ?? 10,
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

/** How many documents go in one transaction. */
const defaultBatchSize = 500

/** How many are embedded before they are stored, by `embedMissing`. */
const embeddedAtOnce = 250

/** Rows a filter may leave before they are worth an index scan; fewer are compared one by one, which loses none. */
const fewRows = 2_000

/** How many neighbours the index looks at; more find more and take longer. */
const breadth = (limit: number): number => Math.min(1_000, Math.max(200, 2 * limit))

/**
 * How many postings a search without a filter reads in full. The rarest terms come first; documents that hold none of
 * them but only the common ones behind can hardly be among the best, and are not looked at.
 */
const postingsRead = 10_000

/** After this many writes the tables are tended, then after twice as many, and so on. */
const manyDocuments = 500

interface Ready {
  readonly vectors: Vectors
}

interface Row {
  readonly id: string
  readonly title: string | null
  readonly content: string
  readonly attributes: Record<string, string | number | boolean> | null
}

interface Prepared {
  readonly document: Document
  readonly vector: Vector | undefined
}

const build = Effect.fnUntraced(function*(
  embedder: EmbedderService | undefined,
  options: Options = {}
): Effect.fn.Return<NeonStore, never, SqlClient> {
  const sql = yield* SqlClient
  const classifier = yield* Classifier.Classifier
  const sink = yield* Event.Sink
  const name = options.name ?? "neon"
  const t = tables(sql, options.schema ?? "holdfast")
  const timeout = String(
    Math.round(Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout ?? "30 seconds")))
  )
  const keepOperations = Duration.toSeconds(Duration.fromInputUnsafe(options.keepOperations ?? "30 days"))
  const preparing = yield* Semaphore.make(1)
  let state: Ready | undefined

  // Lists go as one text each: an array parameter must not mix whole numbers and fractions.
  const textArray = (texts: ReadonlyArray<string>): Fragment =>
    sql`ARRAY(SELECT json_array_elements_text(${JSON.stringify(texts)}::text::json))`
  const intArray = (numbers: ReadonlyArray<number>): Fragment => sql`${`{${numbers.join(",")}}`}::text::int[]`
  const floatArray = (numbers: ReadonlyArray<number>): Fragment => sql`${`{${numbers.join(",")}}`}::text::float8[]`

  const typed = (operation: string) => <A, R>(self: Effect.Effect<A, SqlError | ProviderError, R>) =>
    Effect.mapError(self, (error): ProviderError => {
      if (error instanceof ProviderError) return error
      const { operation: step } = error.reason
      const phase = step === "connect" || step === "commit" ? step : "query"
      const provided = classifier.toError(error, { provider: name, operation, phase })
      // Somebody took the tables away: the next call makes them again.
      if (provided.reason.detail === "MigrationMissing") state = undefined
      return provided
    })

  const prepare = Effect.gen(function*() {
    yield* migrate(sql, t)
    const vectors = yield* prepareVectors(sql, t, embedder?.space)
    if (vectors._tag === "None" && embedder !== undefined) {
      yield* Effect.logWarning(`${name} finds words only: ${vectors.why}`)
      const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      sink?.(Event.Noted.make({ at, subject: name, message: `Words only: ${vectors.why}` }))
    }
    return (state = { vectors })
  })
  const ready: Effect.Effect<Ready, SqlError> = Effect.suspend(() =>
    state !== undefined
      ? Effect.succeed(state)
      : Semaphore.withPermit(preparing, Effect.suspend(() => state === undefined ? prepare : Effect.succeed(state)))
  )

  /** Limits hold for one transaction only: a pooler hands the connection to somebody else after it. */
  const limits = (vectors: Vectors, limit: number): Fragment =>
    vectors._tag === "None"
      ? sql`set_config('statement_timeout', ${timeout}, true)`
      : sql`set_config('statement_timeout', ${timeout}, true), set_config('hnsw.ef_search', ${
        String(breadth(limit))
      }, true)${
        sql.literal(
          vectors.iterative
            ? ", set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.max_scan_tuples', '2147483647', true)"
            : ""
        )
      }`

  const reading = <A>(operation: string, limit: number, read: (ready: Ready) => Effect.Effect<A, SqlError>) =>
    ready.pipe(
      Effect.flatMap((ready) =>
        transaction(sql, Effect.andThen(sql`SELECT ${limits(ready.vectors, limit)}`, read(ready)))
      ),
      typed(operation)
    )

  /** One writer at a time for each schema: two that raise the same terms in different orders would lock each other out. */
  const writing = <A>(operation: string, write: (ready: Ready) => Effect.Effect<A, SqlError>) =>
    ready.pipe(
      Effect.flatMap((ready) =>
        transaction(
          sql,
          // Two statements: a limit does not hold for the one that sets it, and the wait for the lock is to be limited.
          Effect.andThen(
            sql`SELECT ${limits(ready.vectors, 1)}`,
            Effect.andThen(sql`SELECT ${takeLock(sql, t.schema)}`, write(ready))
          )
        )
      ),
      typed(operation)
    )

  // --- writes

  /** Takes the documents out of the index of words. */
  const unindex = (ids: ReadonlyArray<string>) =>
    sql`WITH gone AS (SELECT no, length, lexemes FROM ${t.documents} WHERE id = ANY (${textArray(ids)})),
      held AS MATERIALIZED (
        SELECT gone.no AS document, terms.no AS term
        FROM gone, unnest(gone.lexemes) AS x JOIN ${t.terms} AS terms ON terms.term = x.lexeme
      ),
      removed AS (
        DELETE FROM ${t.postings} AS p USING held WHERE p.term = held.term AND p.document = held.document
      ),
      lowered AS (
        UPDATE ${t.terms} AS terms SET frequency = frequency - held.documents
        FROM (SELECT term, count(*)::int AS documents FROM held GROUP BY term) AS held WHERE terms.no = held.term
      )
      UPDATE ${t.collection} AS c SET documents = c.documents - gone.documents, length = c.length - gone.length
      FROM (SELECT count(*) AS documents, coalesce(sum(length), 0) AS length FROM gone) AS gone`

  /** Puts the documents into the index of words: one statement for the terms, one for the postings, however many. */
  const index = Effect.fnUntraced(function*(entries: ReadonlyArray<readonly [no: number, terms: Terms]>) {
    const postings = new Map<string, Array<readonly [document: number, count: number, length: number]>>()
    let length = 0
    for (const [document, terms] of entries) {
      length += terms.length
      for (const [term, { length: count }] of terms.positions) {
        const posting = [document, count, terms.length] as const
        const known = postings.get(term)
        if (known === undefined) postings.set(term, [posting])
        else known.push(posting)
      }
    }
    // Not by ON CONFLICT: it would take a number of the 2 billion for each term that is there already.
    const terms = yield* sql<{ readonly no: number; readonly term: string }>`
      WITH given AS MATERIALIZED (
        SELECT term, documents FROM unnest(${textArray([...postings.keys()])}, ${
      intArray(Array.from(postings.values(), (documents) => documents.length))
    }) AS x (term, documents)
      ),
      raised AS (
        UPDATE ${t.terms} AS terms SET frequency = frequency + given.documents
        FROM given WHERE terms.term = given.term RETURNING terms.no, terms.term
      ),
      added AS (
        INSERT INTO ${t.terms} (term, frequency) SELECT term, documents FROM given
        WHERE NOT EXISTS (SELECT FROM ${t.terms} AS known WHERE known.term = given.term) RETURNING no, term
      )
      SELECT no, term FROM raised UNION ALL SELECT no, term FROM added ORDER BY no`
    const rows = terms.flatMap(({ no, term }) =>
      (postings.get(term) ?? []).map(([document, count, length]) => [no, document, count, length] as const)
    )
    const column = (i: 0 | 1 | 2 | 3): Fragment => intArray(rows.map((row) => row[i]))
    yield* sql`WITH counted AS (
        UPDATE ${t.collection} SET documents = documents + ${entries.length}::int, length = length + ${length}::int
      )
      INSERT INTO ${t.postings} (term, document, count, length)
      SELECT * FROM unnest(${column(0)}, ${column(1)}, ${column(2)}, ${column(3)})`
  })

  const put = Effect.fnUntraced(function*(batch: ReadonlyArray<Prepared>, { vectors }: Ready) {
    if (batch.length === 0) return
    const analysed = new Map(
      batch.map(({ document: { content, id, title } }) => [id as string, analyse(title, content)])
    )
    const given = JSON.stringify(batch.map(({ document: { attributes, content, id, title } }) => {
      const terms = analysed.get(id)
      return { id, title, content, attributes, lexemes: terms && lexemes(terms), length: terms?.length }
    }))
    const ids = batch.map(({ document }) => document.id)
    const known = yield* sql<{ readonly id: string }>`SELECT id FROM ${t.documents} WHERE id = ANY (${textArray(ids)})`
    if (known.length > 0) yield* unindex(known.map(({ id }) => id))
    const rows = yield* sql<{ readonly no: number; readonly id: string }>`
      WITH given AS MATERIALIZED (
        SELECT id, title, content, attributes, lexemes::tsvector AS lexemes, length FROM json_to_recordset(${given}::text::json)
          AS x (id text, title text, content text, attributes jsonb, lexemes text, length int)
      ),
      changed AS (
        UPDATE ${t.documents} AS d SET title = given.title, content = given.content, attributes = given.attributes,
          lexemes = given.lexemes, length = given.length, updated_at = now()
        FROM given WHERE d.id = given.id RETURNING d.no, d.id
      ),
      added AS (
        INSERT INTO ${t.documents} (id, title, content, attributes, lexemes, length)
        SELECT id, title, content, attributes, lexemes, length FROM given
        WHERE NOT EXISTS (SELECT FROM ${t.documents} AS d WHERE d.id = given.id) RETURNING no, id
      )
      SELECT no, id FROM changed UNION ALL SELECT no, id FROM added`
    const numbers = new Map(rows.map(({ id, no }) => [id, no]))
    yield* index(rows.flatMap(({ id, no }) => {
      const terms = analysed.get(id)
      return terms === undefined ? [] : [[no, terms] as const]
    }))
    if (vectors._tag === "None") return
    if (known.length > 0) {
      const replaced = known.flatMap(({ id }) => numbers.get(id) ?? [])
      yield* sql`DELETE FROM ${t.embeddings} WHERE document = ANY (${intArray(replaced)})`
    }
    const embeddings = batch.flatMap(({ document, vector }) =>
      vector === undefined ? [] : [{ document: numbers.get(document.id), embedding: vectorText(vector.values) }]
    )
    if (embeddings.length === 0) return
    yield* sql`INSERT INTO ${t.embeddings} (document, space, embedding)
      SELECT document, ${vectors.space}::int, embedding::vector
      FROM json_to_recordset(${JSON.stringify(embeddings)}::text::json) AS x (document int, embedding text)`
  })

  const embed = (documents: ReadonlyArray<Document>): Effect.Effect<ReadonlyArray<Vector | undefined>> =>
    embedder === undefined ? Effect.succeed([]) : embedDocuments(embedder, documents)

  const withVectors = (documents: ReadonlyArray<Document>) =>
    Effect.map(
      embed(documents),
      (vectors) => documents.map((document, i): Prepared => ({ document, vector: vectors[i] }))
    )

  const add = Effect.fnUntraced(function*(document: Document) {
    const refused = checkDocument(name, "add", document)
    if (refused !== undefined) return yield* refused
    const prepared = yield* withVectors([document])
    yield* writing("add", (ready) => put(prepared, ready))
    yield* maintain(1)
  })

  /** The ids that an operation stored before. */
  const storedBefore = (operation: string, documents: ReadonlyArray<Document>) =>
    sql<{ readonly id: string }>`
      SELECT document AS id FROM ${t.operations}
      WHERE operation = ${operation} AND document = ANY (${textArray(documents.map(({ id }) => id))})`

  /** Stores all in one transaction; where the data is refused, by halves, until the bad ones stand alone. */
  const store = (
    prepared: ReadonlyArray<Prepared>,
    operation: string | undefined
  ): Effect.Effect<ReadonlyArray<ItemReport>, ProviderError> =>
    writing("addMany", (ready) =>
      Effect.gen(function*() {
        yield* put(prepared, ready)
        const ids = prepared.map(({ document }) => document.id)
        if (operation !== undefined) {
          yield* sql`INSERT INTO ${t.operations} (operation, document)
            SELECT ${operation}::text, unnest(${textArray(ids)}) ON CONFLICT DO NOTHING`
        }
        return ids.map((id): ItemReport => ({ _tag: "Stored", id }))
      })).pipe(
        Effect.catch((error) => {
          const { _tag } = error.reason
          if (_tag !== "ValidationError" && _tag !== "InvalidRequestError") return Effect.fail(error)
          if (prepared.length === 1) {
            return Effect.succeed(prepared.map(({ document: { id } }): ItemReport => ({ _tag: "Failed", id, error })))
          }
          const half = Math.ceil(prepared.length / 2)
          return Effect.zipWith(
            store(prepared.slice(0, half), operation),
            store(prepared.slice(half), operation),
            (first, second) => [...first, ...second]
          )
        })
      )

  const storePart = Effect.fnUntraced(function*(part: ReadonlyArray<Document>, operation: string | undefined) {
    // What is stored already is not embedded again.
    const before = operation === undefined
      ? []
      : yield* typed("addMany")(Effect.andThen(ready, storedBefore(operation, part)))
    const reports = new Map(
      before.map(({ id }): [string, ItemReport] => [id, { _tag: "AlreadyStored", id: DocumentId.make(id) }])
    )
    // Of two with one id the last stays.
    const fresh = [...new Map(part.map((document) => [document.id, document])).values()]
      .filter(({ id }) => !reports.has(id))
    if (fresh.length > 0) {
      const prepared = yield* withVectors(fresh)
      for (const report of yield* store(prepared, operation)) reports.set(report.id, report)
    }
    return reports
  })

  const addMany = Effect.fnUntraced(function*(
    documents: ReadonlyArray<Document>,
    { batchSize = defaultBatchSize, onProgress, operationId }: BatchOptions = {}
  ): Effect.fn.Return<BatchReport, ProviderError> {
    const size = yield* checkBatchSize(name, batchSize)
    const items: Array<ItemReport> = []
    // One part may fail alone; when a second does right after, the rest is not even tried.
    let failures = 0
    let last: ProviderError | undefined
    for (let start = 0; start < documents.length; start += size) {
      const part = documents.slice(start, start + size)
      const refused = part.map((document) => checkDocument(name, "addMany", document))
      const sound = part.filter((_, i) => refused[i] === undefined)
      const result = failures < 2 || last === undefined
        ? yield* Effect.result(storePart(sound, operationId))
        : Result.fail(last)
      if (Result.isFailure(result)) {
        // Nothing is known of any yet: the whole is to be repeated.
        if (start === 0) return yield* result.failure
        last = result.failure
      }
      const tried = failures < 2
      failures = Result.isSuccess(result) ? 0 : failures + 1
      part.forEach(({ id }, i) => {
        const error = refused[i]
        if (error !== undefined) items.push({ _tag: "Failed", id, error })
        else if (Result.isFailure(result)) {
          const unknown = tried && result.failure.reason.delivered !== "no"
          items.push({ _tag: unknown ? "Unknown" : "Failed", id, error: result.failure })
        } else items.push(result.success.get(id) ?? { _tag: "Stored", id })
      })
      yield* onProgress?.(items.length, documents.length) ?? Effect.void
    }
    yield* maintain(documents.length)
    return { items }
  })

  /**
   * Tells the planner what the tables became, which an embedded database has nobody else to do, forgets old operations and
   * makes the index of vectors. What is stored stays stored when this fails.
   */
  const tend = Effect.suspend(() => {
    unattended = 0
    const tables = [t.documents, t.terms, t.postings]
    return Effect.forEach(tables, (table) => sql`ANALYZE ${table}`, { discard: true }).pipe(
      Effect.andThen(
        sql`DELETE FROM ${t.operations} WHERE stored_at < now() - ${keepOperations}::float8 * interval '1 second'`
      ),
      Effect.andThen(ready),
      Effect.flatMap(({ vectors }) => vectors._tag === "None" ? Effect.void : indexVectors(sql, t, vectors)),
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
    const missing = sql`FROM ${t.documents} AS d WHERE NOT EXISTS (
      SELECT FROM ${t.embeddings} AS e WHERE e.document = d.no AND e.space = ${vectors.space}::int)`
    const [counted] = yield* typed("embedMissing")(
      sql<{ readonly total: number }>`SELECT count(*)::int AS total ${missing}`
    )
    const total = counted?.total ?? 0
    let seen = 0
    let embedded = 0
    let after = 0
    while (true) {
      const rows = yield* typed("embedMissing")(sql<Row & { readonly no: number; readonly version: string }>`
        SELECT d.no, d.updated_at::text AS version, ${columns} ${missing} AND d.no > ${after}
        ORDER BY d.no LIMIT ${embeddedAtOnce}`)
      if (rows.length === 0) break
      const documents = rows.map(toDocument)
      // A text that the embedder refuses stays without; when the embedder is down there is no point in going on.
      const made = yield* embedder.embed(documents.map(embeddingText), "document").pipe(
        Effect.catch((error) => error.verdicts.fallback === "Stop" ? embed(documents) : Effect.fail(error))
      )
      const given = rows.flatMap(({ no, version }, i) => {
        const vector = made[i]
        return vector === undefined ? [] : [{ document: no, version, embedding: vectorText(vector.values) }]
      })
      // A document that was changed meanwhile has another text than the one embedded.
      const stored = yield* writing("embedMissing", () =>
        sql`INSERT INTO ${t.embeddings} (document, space, embedding)
          SELECT x.document, ${vectors.space}::int, x.embedding::vector
          FROM json_to_recordset(${JSON.stringify(given)}::text::json) AS x (document int, version text, embedding text)
          JOIN ${t.documents} AS d ON d.no = x.document AND d.updated_at = x.version::timestamptz
          ON CONFLICT DO NOTHING RETURNING document`)
      embedded += stored.length
      seen += rows.length
      after = rows.at(-1)?.no ?? after
      yield* options.onProgress?.(Math.min(seen, total), total) ?? Effect.void
    }
    yield* tend
    return embedded
  })

  const columns = sql.literal("d.id, d.title, d.content, d.attributes")

  const read = (id: DocumentId): Effect.Effect<Document | undefined, SqlError> =>
    Effect.map(
      sql<Row>`SELECT ${columns} FROM ${t.documents} AS d WHERE d.id = ${id}`,
      ([row]) => row === undefined ? undefined : toDocument(row)
    )

  const update = Effect.fnUntraced(function*(id: DocumentId, patch: DocumentPatch) {
    yield* checkPatch(name, patch)
    const before = yield* typed("update")(Effect.andThen(ready, read(id)))
    if (before === undefined) return Option.none<Document>()
    const changed: Document = { ...before, ...patch, id }
    // Embedding takes its time, so it is done before the lock is taken.
    const prepared = yield* withVectors([changed])
    return yield* writing("update", (ready) =>
      Effect.gen(function*() {
        const now = yield* read(id)
        if (now === undefined) return Option.none<Document>()
        const merged: Document = { ...now, ...patch, id }
        const same = merged.title === changed.title && merged.content === changed.content
        // Somebody else changed the text meanwhile: what is stored now is embedded, in the lock.
        yield* put(same ? [{ document: merged, vector: prepared[0]?.vector }] : yield* withVectors([merged]), ready)
        return Option.some(merged)
      }))
  })

  const remove = (id: DocumentId) =>
    writing("delete", () =>
      Effect.gen(function*() {
        yield* unindex([id])
        const rows = yield* sql`DELETE FROM ${t.documents} WHERE id = ${id} RETURNING no`
        return rows.length > 0
      }))

  // --- reads

  const list = Effect.fnUntraced(function*(request: ListRequest = {}): Effect.fn.Return<Page, ProviderError> {
    const limit = yield* checkList(name, request)
    const rows = yield* reading("list", 1, () =>
      sql<Row>`SELECT ${columns} FROM ${t.documents} AS d
        ${request.after === undefined ? sql`` : sql`WHERE d.id > ${request.after}`} ORDER BY d.id LIMIT ${limit + 1}`)
    const documents = rows.slice(0, limit).map(toDocument)
    const last = documents.at(-1)
    return { documents, ...(rows.length > limit && last !== undefined ? { next: last.id } : {}) }
  })

  /** What a document must keep to; `d` is its row. */
  const conditions = (query: LexicalQuery, filter: Filter | undefined): Fragment | undefined => {
    const all = [
      ...(filter === undefined ? [] : [compile(sql, sql.literal("d.attributes"), filter)]),
      ...query.required.map((phrase) => sql`d.lexemes @@ ${phraseText(phrase)}::text::tsquery`),
      ...query.excluded.map((phrase) => sql`NOT d.lexemes @@ ${phraseText(phrase)}::text::tsquery`)
    ]
    return all.length === 0 ? undefined : sql.and(all)
  }

  const known = Effect.fnUntraced(function*(terms: ReadonlyArray<string>) {
    const rows = yield* sql<{
      readonly no: number | null
      readonly term: string | null
      readonly frequency: number | null
      readonly documents: number
      readonly length: number
    }>`SELECT terms.no, terms.term, terms.frequency, c.documents::int, c.length::float8
      FROM ${t.collection} AS c LEFT JOIN ${t.terms} AS terms ON terms.term = ANY (${
      textArray(terms)
    }) AND terms.frequency > 0`
    const [first] = rows
    const documents = first?.documents ?? 0
    return {
      documents,
      meanLength: Math.max(1, (first?.length ?? 0) / Math.max(1, documents)),
      terms: rows.flatMap(({ frequency, no, term }) =>
        no === null || term === null || frequency === null ? [] : [{ no, term, frequency }]
      )
    }
  })

  const statistics = (terms: ReadonlyArray<string>) =>
    Effect.map(typed("search")(Effect.andThen(ready, known(terms))), ({ documents, terms }) => {
      const frequencies = new Map(terms.map(({ frequency, term }) => [term, frequency]))
      return { documents, frequency: (term: string) => frequencies.get(term) ?? 0 }
    })

  const lexical = (query: LexicalQuery, filter: Filter | undefined, limit: number) =>
    query.terms.length === 0 ? Effect.succeed([]) : reading("search", limit, () => ranked(query, filter, limit))

  const ranked = Effect.fnUntraced(function*(query: LexicalQuery, filter: Filter | undefined, limit: number) {
    const { documents, meanLength, terms } = yield* known(query.terms)
    if (terms.length === 0) return []
    const worth = new Map(terms.map(({ frequency, term }) => [term, idf(documents, frequency)]))
    const rarestFirst = [...terms].sort((a, b) => a.frequency - b.frequency || a.no - b.no)
    const condition = conditions(query, filter)
    let sum = 0
    const read = condition === undefined
      ? rarestFirst.filter(({ frequency }, i) => (sum += frequency) <= postingsRead || i === 0)
      : rarestFirst
    const skipped = rarestFirst.slice(read.length)
    const wanted = (terms: ReadonlyArray<{ readonly no: number; readonly term: string }>) =>
      sql`unnest(${intArray(terms.map(({ no }) => no))}, ${
        floatArray(terms.map(({ term }) => (worth.get(term) ?? 0) * (k1 + 1)))
      }) AS wanted (term, worth)`
    const share = sql`wanted.worth * p.count / (p.count + ${k1 * (1 - b)}::float8 + ${
      (k1 * b) / meanLength
    }::float8 * p.length)`
    // OFFSET 0 keeps the planner from reading all postings to join them with a few terms.
    const scored = sql`SELECT p.document, sum(${share}) AS score
      FROM ${wanted(read)} CROSS JOIN LATERAL (
        SELECT p.document, p.count, p.length FROM ${t.postings} AS p WHERE p.term = wanted.term OFFSET 0
      ) AS p ${condition === undefined ? sql`` : sql`JOIN ${t.documents} AS d ON d.no = p.document WHERE ${condition}`}
      GROUP BY p.document ORDER BY score DESC LIMIT ${4 * pairDepth(limit)}`
    const looked = skipped.length === 0 ? sql`s.score` : sql`s.score + coalesce((
        SELECT sum(${share}) FROM ${
      wanted(skipped)
    } JOIN ${t.postings} AS p ON p.term = wanted.term AND p.document = s.document
      ), 0)`
    const score = query.pairs.reduce((sum, pair) => {
      const value = pair.reduce((sum, { term }) => sum + (worth.get(term) ?? 0), 0) * pairWeight
      return sql`${sum} + CASE WHEN d.lexemes @@ ${phraseText(pair)}::text::tsquery THEN ${value}::float8 ELSE 0 END`
    }, sql`nearest.score`)
    const rows = yield* sql<Scored>`
      WITH scored AS MATERIALIZED (${scored}),
      nearest AS MATERIALIZED (SELECT s.document, ${looked} AS score FROM scored AS s ORDER BY 2 DESC LIMIT ${
      pairDepth(limit)
    }),
      best AS MATERIALIZED (
        SELECT d.no, d.id, (${score})::real AS score FROM nearest JOIN ${t.documents} AS d ON d.no = nearest.document
        ORDER BY 3 DESC, length(d.id), d.id LIMIT ${limit}
      )
      SELECT ${columns}, best.score FROM best JOIN ${t.documents} AS d ON d.no = best.no
      ORDER BY best.score DESC, length(d.id), d.id`
    return rows.map(toHit)
  })

  const nearest = Effect.fnUntraced(function*(
    ready: Ready,
    values: ReadonlyArray<number>,
    query: LexicalQuery,
    filter: Filter | undefined,
    limit: number
  ): Effect.fn.Return<ReadonlyArray<Hit>, SqlError> {
    const { vectors } = ready
    if (vectors._tag === "None") return []
    const condition = conditions(query, filter)
    const vector = vectorText(values)
    const space = sql.literal(String(vectors.space))
    const few = condition !== undefined && (yield* sql<{ readonly count: number }>`
      SELECT count(*)::int AS count FROM (
        SELECT FROM ${t.documents} AS d WHERE ${condition} LIMIT ${fewRows + 1}
      ) AS kept`)[0]?.count !== fewRows + 1
    const type = sql.literal(vectors.type)
    const found = few
      ? sql`WITH kept AS MATERIALIZED (SELECT d.no FROM ${t.documents} AS d WHERE ${condition ?? sql`true`})
        SELECT e.document, e.embedding <=> ${vector}::text::vector AS distance
        FROM kept JOIN ${t.embeddings} AS e ON e.document = kept.no AND e.space = ${space}
        ORDER BY 2 LIMIT ${limit}`
      : sql`SELECT e.document, e.embedding::${type} <=> ${vector}::text::${type} AS distance
        FROM ${t.embeddings} AS e ${
        condition === undefined
          ? sql`WHERE e.space = ${space}`
          : sql`JOIN ${t.documents} AS d ON d.no = e.document WHERE e.space = ${space} AND ${condition}`
      } ORDER BY e.embedding::${type} <=> ${vector}::text::${type} LIMIT ${limit}`
    const rows = yield* sql<Scored>`SELECT ${columns}, (1 - found.distance)::real AS score
      FROM (${found}) AS found JOIN ${t.documents} AS d ON d.no = found.document
      ORDER BY score DESC, length(d.id), d.id`
    return rows.map(toHit)
  })

  const search = (vectors: Vectors) =>
    makeSearch({
      name,
      embedder: vectors._tag === "None" ? undefined : embedder,
      statistics,
      lexical,
      vector: (values, query, filter, limit) =>
        reading("search", limit, (ready) => nearest(ready, values, query, filter, limit))
    })

  return {
    name,
    get modes() {
      return modesOf(state?.vectors._tag === "None" ? undefined : embedder)
    },
    get space() {
      return state?.vectors._tag === "None" ? undefined : embedder?.space.id
    },
    search: (request) => Effect.flatMap(typed("search")(ready), ({ vectors }) => search(vectors)(request)),
    add,
    addMany,
    get: (id) => Effect.map(typed("get")(Effect.andThen(ready, read(id))), Option.fromUndefinedOr),
    update,
    delete: remove,
    list,
    documents: everyDocument(list),
    embedMissing,
    stats: reading("stats", 1, ({ vectors }) =>
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
    health: typed("health")(Effect.andThen(ready, sql`SELECT 1`)).pipe(Effect.asVoid)
  }
})

interface Scored extends Row {
  readonly score: number
}

const toDocument = ({ attributes, content, id, title }: Row): Document => ({
  id: DocumentId.make(id),
  ...(title === null ? {} : { title }),
  content,
  ...(attributes === null ? {} : { attributes })
})

const toHit = (row: Scored): Hit => ({ ...toDocument(row), score: row.score })

/** A `tsvector` of the store's own terms; they are letters and digits, so nothing is quoted. Positions count from 1 to 16,383. */
const lexemes = ({ positions }: Terms): string =>
  Array.from(positions, ([term, places]) => {
    const kept = places.flatMap((place) => place < 16_383 ? [place + 1] : []).slice(0, 255)
    return `'${term}':${kept.length === 0 ? 16_383 : kept.join(",")}`
  }).join(" ")

/** A `tsquery` for terms that stand so. */
const phraseText = (phrase: Phrase): string =>
  phrase.map(({ offset, term }, i) => i === 0 ? `'${term}'` : `<${offset - (phrase[i - 1]?.offset ?? 0)}> '${term}'`)
    .join(" ")

/** Six places are what single precision keeps of values below 1. Most of a local vector is 0. */
const vectorText = (values: ReadonlyArray<number>): string =>
  `[${values.map((value) => value === 0 ? "0" : Number(value.toPrecision(7))).join(",")}]`
