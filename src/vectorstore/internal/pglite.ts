/** PGlite with pgvector, loaded when it is needed: both are optional packages. */
import type { Database } from "./pgliteSession.ts"

/** Opens the database in a directory, or in memory. */
export const openDatabase = async (directory: string | undefined): Promise<Database> => {
  const [{ PGlite }, { vector }] = await Promise.all([
    import("@electric-sql/pglite"),
    import("@electric-sql/pglite-pgvector")
  ])
  // Acknowledged rows survive a killed process either way; this is about power loss.
  return PGlite.create({
    extensions: { vector },
    relaxedDurability: true,
    // Filling each new segment of the log with zeros takes a quarter of what writing it takes, and guards nothing here.
    startParams: [...PGlite.defaultStartParams, "-c", "wal_init_zero=off"],
    ...(directory === undefined ? {} : { dataDir: directory })
  }).catch((error: unknown) => {
    throw readable(error)
  })
}

/** What its files fail with, by the numbers of WASI, which is all that PGlite says of it. */
const numbers: { readonly [errno: number]: string } = {
  2: "its files may not be read or written (EACCES)",
  29: "its files cannot be read or written (EIO)",
  51: "the disk is full (ENOSPC)",
  63: "its files may not be read or written (EPERM)",
  69: "its file system is read-only (EROFS)"
}

/** A failure of PGlite in words. */
export const readable = (error: unknown): Error => {
  if (error instanceof Error) return error
  const errno = typeof error === "object" && error !== null && "errno" in error ? Number(error.errno) : undefined
  return new Error(
    errno === undefined ? String(error) : numbers[errno] ?? `its files fail with error ${errno}`,
    { cause: error }
  )
}
