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
  })
}
