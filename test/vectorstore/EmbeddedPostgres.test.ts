import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import { lock } from "../../src/vectorstore/internal/directoryLock.ts"
import { readable } from "../../src/vectorstore/internal/pglite.ts"
import * as Embedded from "../embedded.ts"
import { killedAt, whole } from "./ingestion.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-embedded-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

it.live(
  "a process killed in the middle of a batch of 1,000: started again, 1,000 are stored, none twice",
  () =>
    Effect.gen(function*() {
      const directory = join(yield* Embedded.home, "postgres")
      const killed = yield* killedAt(/done 300/, directory)
      assert.notInclude(killed, "end ")
      assert.isTrue(existsSync(`${directory}.lock`), "the killed process left its lock")
      const end = yield* whole(directory)
      assert.isAtLeast(end.before, 300)
      assert.deepStrictEqual({ ...end, before: 0 }, { before: 0, stored: 1_000, embedded: 1_000, best: "d999" })
    }).pipe(Effect.scoped),
  120_000
)

it.live(
  "what is stored is there at the next start, and a directory is for one at a time",
  () =>
    Effect.gen(function*() {
      const directory = join(yield* temporary, "deep", "postgres")
      const Database = Layer.fresh(EmbeddedPostgres.layer({ directory }))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`CREATE TABLE kept (n int)`
        yield* sql`INSERT INTO kept VALUES (42)`
        const second = yield* Effect.flip(Layer.build(Layer.fresh(EmbeddedPostgres.layer({ directory }))))
        assert.strictEqual(second.reason._tag, "ConfigurationError")
        assert.strictEqual(second.reason.detail, "DirectoryLocked")
        assert.include(second.reason.message, String(process.pid))
        // A statement that fails, and a rolled back transaction, leave the only session usable.
        yield* Effect.flip(sql`SELECT nonsense`)
        yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO kept VALUES (1)`, Effect.fail("no"))))
      }).pipe(Effect.provide(Database))
      assert.isFalse(existsSync(`${directory}.lock`))
      const rows = yield* Effect.provide(Effect.flatMap(SqlClient, (sql) => sql`SELECT n FROM kept`), Database)
      assert.deepStrictEqual(rows, [{ n: 42 }])
    }).pipe(Effect.scoped),
  120_000
)

it.live("a dead process's lock is taken over, a living one's is not", () =>
  Effect.gen(function*() {
    const file = join(yield* temporary, "x.lock")
    // No process has this number: it is above the largest that Linux gives.
    writeFileSync(file, "4194999")
    yield* Effect.scoped(lock(file))
    assert.isFalse(existsSync(file))
    writeFileSync(file, String(process.ppid))
    const refused = yield* Effect.flip(Effect.scoped(lock(file)))
    assert.strictEqual(refused.pid, process.ppid)
    assert.isTrue(existsSync(file))
    // A file with our own number that we did not write: an earlier process had it.
    writeFileSync(file, String(process.pid))
    yield* Effect.scoped(Effect.andThen(lock(file), Effect.flip(Effect.scoped(lock(file)))))
  }).pipe(Effect.scoped))

it("a full disk is told in words, though PGlite fails with a number alone", () => {
  assert.strictEqual(readable({ name: "ErrnoError", errno: 51 }).message, "the disk is full (ENOSPC)")
  assert.strictEqual(readable({ name: "ErrnoError", errno: 28 }).message, "its files fail with error 28")
  assert.strictEqual(readable("gone").message, "gone")
  const error = new Error("as it is")
  assert.strictEqual(readable(error), error)
})
