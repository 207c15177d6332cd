/**
 * The memory of a response cache: entries with their times, least recently used first out, bounded by number and by
 * bytes, indexed by tag. No Effect inside; time is passed in, as epoch milliseconds.
 */

export interface CacheSettings {
  readonly capacity: number
  readonly maxBytes: number
  /** How long past its freshness an answer is served while a new one is fetched. */
  readonly revalidateMillis: number
  /** How long past its freshness an answer is served after a failure. */
  readonly staleMillis: number
  /** How long after it was made an answer that is not fresh may be served; `Infinity` where the two above decide. */
  readonly retentionMillis: number
}

/** What is written. */
export interface Write<P> {
  readonly payload: P
  readonly origin: Origin
  readonly madeAt: number
  readonly freshMillis: number
  /** Estimated; only counted where `maxBytes` is finite. */
  readonly bytes: number
}

/** What a hit rarely looks at. */
export interface Origin {
  readonly provider: string
  /** The parts that the answer lacks, where it is partial. */
  readonly missing: ReadonlyArray<string> | undefined
  /** A worse answer does not take the place of this one while it may still be served. */
  readonly quality: number
  readonly tags: ReadonlyArray<string>
  /** The versions that the tags had in a shared store when the answer was asked for, where that is known. */
  readonly versions: ReadonlyArray<string> | undefined
}

/** One answer held. */
export interface Entry<P> {
  readonly key: string
  payload: P
  madeAt: number
  /** Fresh for so long; `Infinity` where it never ages. */
  freshMillis: number
  origin: Origin
  bytes: number
  older: Entry<P> | undefined
  newer: Entry<P> | undefined
}

/** What lacks more is worse, then what is of lower quality. */
const isWorse = (a: Origin, b: Origin): boolean => {
  const lacks = (a.missing?.length ?? 0) - (b.missing?.length ?? 0)
  return lacks === 0 ? a.quality < b.quality : lacks > 0
}

/** On a clock that was set back an answer is as old as it is ahead, so that it does not stay fresh till the clock is back. */
const ageOf = ({ madeAt }: Entry<unknown>, now: number): number => Math.abs(now - madeAt)

export const isFresh = (entry: Entry<unknown>, now: number): boolean => ageOf(entry, now) < entry.freshMillis

/** How an entry may be used now. */
export type Use = "Fresh" | "Revalidate" | "IfError" | "Dead"

export class CacheCore<P> {
  settings: CacheSettings
  readonly entries = new Map<string, Entry<P>>()
  bytes = 0
  evictions = 0
  private readonly byTag = new Map<string, Set<Entry<P>>>()
  private oldest: Entry<P> | undefined
  private newest: Entry<P> | undefined

  constructor(settings: CacheSettings) {
    this.settings = settings
  }

  /** Goes on under other settings and sizes; what is too much under them goes at once. */
  configure(settings: CacheSettings, bytesOf: (payload: P) => number): void {
    this.settings = settings
    for (const entry of this.entries.values()) {
      const bytes = bytesOf(entry.payload)
      if (this.fits(bytes)) {
        this.bytes += bytes - entry.bytes
        entry.bytes = bytes
      } else {
        this.remove(entry)
        this.evictions++
      }
    }
    this.trim()
  }

  /** Marks the entry as the one used last. */
  touch(entry: Entry<P>): void {
    if (entry === this.newest) return
    this.unlink(entry)
    this.append(entry)
  }

  use(entry: Entry<P>, now: number): Use {
    if (isFresh(entry, now)) return "Fresh"
    const age = ageOf(entry, now)
    if (age >= this.settings.retentionMillis) return "Dead"
    const past = age - entry.freshMillis
    if (past < this.settings.revalidateMillis) return "Revalidate"
    return past < this.settings.staleMillis ? "IfError" : "Dead"
  }

  /** How much longer the entry may be served while a new one is fetched, in milliseconds. */
  revalidateFor(entry: Entry<P>, now: number): number {
    const { retentionMillis, revalidateMillis } = this.settings
    return Math.min(entry.freshMillis + revalidateMillis, retentionMillis) - ageOf(entry, now)
  }

  /** The entry under a key if it may still be served in some way; a dead one is dropped. */
  held(key: string, now: number): Entry<P> | undefined {
    const entry = this.entries.get(key)
    if (entry === undefined || this.use(entry, now) !== "Dead") return entry
    this.remove(entry)
    return undefined
  }

  /** Stores an answer unless a better one is held or it is too large. Tells whether it did. */
  write(key: string, write: Write<P>, now: number): boolean {
    if (!this.fits(write.bytes) || this.settings.capacity === 0) return false
    const entry = this.held(key, now)
    if (entry === undefined) {
      this.insert(key, write)
    } else {
      if (isWorse(write.origin, entry.origin)) return false
      this.untag(entry)
      this.bytes += write.bytes - entry.bytes
      entry.payload = write.payload
      entry.madeAt = write.madeAt
      entry.freshMillis = write.freshMillis
      entry.origin = write.origin
      entry.bytes = write.bytes
      this.tag(entry)
      this.touch(entry)
    }
    this.trim()
    return true
  }

  /** A size that is no number of bytes is no use: the sum would never be too large again. */
  private fits(bytes: number): boolean {
    return bytes >= 0 && bytes <= this.settings.maxBytes
  }

  private trim(): void {
    while (this.entries.size > this.settings.capacity || this.bytes > this.settings.maxBytes) {
      this.remove(this.oldest!)
      this.evictions++
    }
  }

  remove(entry: Entry<P>): void {
    this.entries.delete(entry.key)
    this.unlink(entry)
    this.untag(entry)
    this.bytes -= entry.bytes
  }

  /** Drops every entry with the tag. */
  removeTag(tag: string): void {
    for (const entry of this.byTag.get(tag) ?? []) this.remove(entry)
  }

  clear(): void {
    this.entries.clear()
    this.byTag.clear()
    this.oldest = undefined
    this.newest = undefined
    this.bytes = 0
  }

  private insert(key: string, { bytes, freshMillis, madeAt, origin, payload }: Write<P>): void {
    const entry: Entry<P> = {
      key,
      payload,
      madeAt,
      freshMillis,
      origin,
      bytes,
      older: undefined,
      newer: undefined
    }
    this.entries.set(key, entry)
    this.append(entry)
    this.tag(entry)
    this.bytes += bytes
  }

  private append(entry: Entry<P>): void {
    entry.older = this.newest
    entry.newer = undefined
    if (this.newest === undefined) this.oldest = entry
    else this.newest.newer = entry
    this.newest = entry
  }

  private unlink({ newer, older }: Entry<P>): void {
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.newest = older
    else newer.older = older
  }

  private tag(entry: Entry<P>): void {
    for (const tag of entry.origin.tags) {
      const tagged = this.byTag.get(tag)
      if (tagged === undefined) this.byTag.set(tag, new Set([entry]))
      else tagged.add(entry)
    }
  }

  private untag(entry: Entry<P>): void {
    for (const tag of entry.origin.tags) {
      const tagged = this.byTag.get(tag)
      tagged?.delete(entry)
      if (tagged?.size === 0) this.byTag.delete(tag)
    }
  }
}

/**
 * About how many bytes a value takes. Shared parts count once; functions and the like count as a pointer.
 */
export const estimateBytes = (value: unknown): number => {
  const seen = new Set<object>()
  const rest: Array<unknown> = [value]
  let bytes = 0
  while (rest.length > 0) {
    const item = rest.pop()
    if (typeof item === "string") bytes += 16 + item.length * 2
    else if (typeof item !== "object" || item === null) bytes += 8
    else if (!seen.has(item)) {
      seen.add(item)
      bytes += 24
      if (ArrayBuffer.isView(item) || item instanceof ArrayBuffer) bytes += item.byteLength
      else if (item instanceof Map) { for (const pair of item) rest.push(...pair) }
      else if (item instanceof Set) { for (const member of item) rest.push(member) }
      else for (const field of Object.values(item)) rest.push(field)
    }
  }
  return bytes
}
