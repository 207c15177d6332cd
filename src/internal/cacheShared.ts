/**
 * Answers in a store that several processes share. Whatever goes wrong with the store is no failure of the call: it is
 * as if nothing were held.
 */
import { Effect, Exit, PrimaryKey, Schema, type Scope } from "effect"
import { Persistable, Persistence } from "effect/persistence"
import { hash } from "node:crypto"
import { KeyedLocks } from "./keyedLocks.ts"

/** An answer as it is shared. */
export interface SharedAnswer<A = unknown> {
  readonly value: A
  readonly provider: string
  /** The parts that the answer lacks, where it is partial. */
  readonly missing: ReadonlyArray<string> | undefined
  readonly quality: number
  /** Epoch milliseconds. */
  readonly madeAt: number
}

/**
 * What was read, and the versions of the tags at that time: an answer is valid while they stand. Without versions the
 * store did not answer, and nothing can be written that would be valid.
 */
export interface SharedRead<A> {
  readonly answer: SharedAnswer<A> | undefined
  readonly versions: ReadonlyArray<string> | undefined
}

export interface SharedStore {
  readonly read: <A>(
    key: string,
    tags: ReadonlyArray<string>,
    schema: Schema.Codec<A, unknown>
  ) => Effect.Effect<SharedRead<A>>
  readonly write: <A>(
    key: string,
    answer: SharedAnswer<A>,
    keepMillis: number,
    versions: ReadonlyArray<string>,
    schema: Schema.Codec<A, unknown>
  ) => Effect.Effect<void>
  readonly drop: (key: string) => Effect.Effect<void>
  /** Makes invalid what was read or written under the tag so far. */
  readonly dropTag: (tag: string, keepMillis: number) => Effect.Effect<void>
  readonly clear: Effect.Effect<void>
}

export interface SharedCache {
  /** The store of one cache; nothing in it is waited for longer than the layer allows. */
  readonly open: (name: string) => Effect.Effect<SharedStore, never, Scope.Scope>
}

class Key<S extends Schema.Constraint> implements Persistable.Persistable<S, Schema.Never> {
  readonly id: string
  readonly [Persistable.symbol]: { readonly success: S; readonly error: Schema.Never }
  constructor(id: string, success: S) {
    this.id = id
    this[Persistable.symbol] = { success, error: Schema.Never }
  }
  [PrimaryKey.symbol](): string {
    return this.id
  }
}

const stored = <A>(value: Schema.Codec<A, unknown>) =>
  Schema.Struct({
    value,
    provider: Schema.String,
    missing: Schema.UndefinedOr(Schema.Array(Schema.String)),
    quality: Schema.Finite,
    madeAt: Schema.Finite,
    keepMillis: Schema.Finite,
    versions: Schema.Array(Schema.String)
  })

const Version = Schema.Struct({ version: Schema.String, keepMillis: Schema.Finite })

/** Keys may be long and hold what must not be read by others, so the store sees their digest. */
const digest = (kind: "key" | "tag", text: string): string => `${kind}-${hash("sha256", text)}`

const versionKey = (tag: string) => new Key(digest("tag", tag), Version)
const answerKey = <A>(text: string, schema: Schema.Codec<A, unknown>) => new Key(digest("key", text), stored(schema))

const keepMillisOf = (value: unknown): number =>
  typeof value === "object" && value !== null && "keepMillis" in value ? Number(value.keepMillis) : 0

export const make = Effect.fnUntraced(function*(maxWaitMillis: number) {
  const persistence = yield* Persistence.Persistence
  const bounded = <A, E, B>(self: Effect.Effect<A, E>, instead: B): Effect.Effect<A | B> =>
    Effect.orElseSucceed(Effect.timeout(self, maxWaitMillis), () => instead)

  const open = Effect.fnUntraced(function*(name: string) {
    const timeToLive = (exit: Exit.Exit<unknown, unknown>) => Exit.isSuccess(exit) ? keepMillisOf(exit.value) : 0
    const store = yield* persistence.make({ storeId: name, timeToLive })
    // Apart, so that they outlive a `clear`: without them what others still fetch would be valid again.
    const tagStore = yield* persistence.make({ storeId: `${name}_tags`, timeToLive })
    /** One that the store did not take is told: what it was to end may be served again. */
    const invalidation = <E>(self: Effect.Effect<void, E>): Effect.Effect<void> =>
      Effect.catch(
        Effect.timeout(self, maxWaitMillis),
        (error) => Effect.logWarning(`The shared store of the cache ${name} did not take an invalidation`, error)
      )
    /** One change of a key after the other: what is still being written must not arrive after its removal. */
    const turns = new KeyedLocks<string>()
    const versionsOf = (tags: ReadonlyArray<string>) =>
      Effect.map(
        tagStore.getMany(tags.map(versionKey)),
        (exits) => exits.map((exit) => exit !== undefined && Exit.isSuccess(exit) ? exit.value.version : "")
      )
    /** What cannot be read, such as an answer under an earlier schema, is none, and so is overwritten. */
    const answerOf = <A>(text: string, schema: Schema.Codec<A, unknown>) =>
      Effect.orElseSucceed(store.get(answerKey(text, schema)), () => undefined)
    const result: SharedStore = {
      read: (text, tags, schema) =>
        bounded(
          Effect.map(
            Effect.all([answerOf(text, schema), versionsOf(tags)], { concurrency: 2 }),
            ([exit, versions]) => ({
              answer: exit !== undefined && Exit.isSuccess(exit) && sameVersions(exit.value.versions, versions)
                ? exit.value
                : undefined,
              versions
            })
          ),
          { answer: undefined, versions: undefined }
        ),
      write: (text, answer, keepMillis, versions, schema) =>
        turns.withLock(
          text,
          bounded(store.set(answerKey(text, schema), Exit.succeed({ ...answer, keepMillis, versions })), undefined)
        ),
      drop: (text) => turns.withLock(text, invalidation(store.remove(answerKey(text, Schema.Unknown)))),
      dropTag: (tag, keepMillis) =>
        invalidation(tagStore.set(versionKey(tag), Exit.succeed({ version: crypto.randomUUID(), keepMillis }))),
      clear: Effect.andThen(turns.allDone, invalidation(store.clear))
    }
    return result
  })
  const cache: SharedCache = { open }
  return cache
})

export const sameVersions = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((version, index) => version === b[index])
