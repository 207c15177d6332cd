/** A directory for one process at a time: a file that names its holder, taken over when that process is gone. */
import { Data, Effect, type Scope } from "effect"
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"

/** Another process, or another part of this one, holds the directory. */
export class DirectoryLocked
  extends Data.TaggedError("DirectoryLocked")<{ readonly file: string; readonly pid: number }>
{
  override get message(): string {
    return `Process ${this.pid} holds ${this.file}: stop it, use another directory, or, when that process has nothing ` +
      "to do with this directory, remove the file"
  }
}

// A restarted container gives a new process the old one's number: a file with our own number is ours only if it is here.
const held = new Set<string>()

const isAlive = (pid: number, file: string): boolean => {
  if (pid === process.pid) return held.has(file)
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === "EPERM"
  }
}

const codeOf = (error: unknown): unknown => error instanceof Error && "code" in error ? error.code : undefined

/**
 * Makes a folder and those that it is in. Node's own way, `recursive`, asks for ever where a parent takes no folders and
 * says that it is not there, as `/proc` does.
 */
export const makeFolder = (folder: string): void => {
  if (existsSync(folder)) return
  makeFolder(dirname(folder))
  try {
    mkdirSync(folder)
  } catch (error) {
    // Somebody else made it meanwhile.
    if (codeOf(error) !== "EEXIST") throw error
  }
}

const claim = (file: string, retries: number): DirectoryLocked | undefined => {
  makeFolder(dirname(file))
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" })
    held.add(file)
    return undefined
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
  const pid = holder(file)
  if (pid !== undefined && isAlive(pid, file)) return new DirectoryLocked({ file, pid })
  takeAway(file, pid)
  return retries === 0 ? new DirectoryLocked({ file, pid: holder(file) ?? 0 }) : claim(file, retries - 1)
}

const holder = (file: string): number | undefined => {
  try {
    return Number(readFileSync(file, "utf8"))
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
}

/** Removes a dead holder's file, and no other: by now somebody else may have claimed the place. */
const takeAway = (file: string, dead: number | undefined): void => {
  const aside = `${file}.${process.pid}`
  try {
    renameSync(file, aside)
    if (holder(aside) !== dead) linkSync(aside, file)
    rmSync(aside, { force: true })
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "EEXIST") throw error
  }
}

/** Holds the file until the scope closes. Fails with `DirectoryLocked`, or dies where the folder cannot be written. */
export const lock = (file: string): Effect.Effect<void, DirectoryLocked, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const refused = claim(file, 3)
      return refused === undefined ? Effect.void : Effect.fail(refused)
    }),
    () =>
      Effect.sync(() => {
        held.delete(file)
        rmSync(file, { force: true })
      })
  )
