/**
 * Counts of a fixed set of fields over 24 hours, in bounded memory. The current minute is plain numbers, and all that a
 * write touches; the last hour is kept by minutes, what is behind it by thirds of an hour, both packed: most counts of
 * most minutes are 0.
 */

const minuteMillis = 60_000
/** Minutes that are kept apart at least: an hour, and the minute in which it began. */
const fineMinutes = 61
const thirdMinutes = 20
/** A day, and the third in which it began. */
const coarseRows = 73

/** One number for each field: whole, none negative. */
export type Row = Float64Array

/** The first moment of a window that ends now: whole minutes up to an hour, whole thirds of an hour beyond, a day at most. */
export const windowStart = (now: number, rangeMillis: number): number => {
  const step = rangeMillis <= 60 * minuteMillis ? minuteMillis : thirdMinutes * minuteMillis
  const oldest = now - Math.min(rangeMillis, 24 * 60 * minuteMillis)
  return Math.floor(oldest / step) * step
}

export const addRow = (to: Row, from: Row): void => {
  for (let i = 0; i < from.length; i++) {
    const count = from[i]!
    if (count !== 0) to[i]! += count
  }
}

export class WindowedCounts {
  readonly #current: Row
  #minute = -1
  #nextMinuteAt = Number.NEGATIVE_INFINITY
  #minutes: PackedRows | undefined
  #thirds: PackedRows | undefined
  /** Without the current minute, whatever was reset. */
  readonly #past: Row

  /** At most 255 fields. */
  constructor(fields: number) {
    this.#current = new Float64Array(fields)
    this.#past = new Float64Array(fields)
  }

  /**
   * The current minute, to add to at once and not to be kept. `now` is epoch milliseconds; a clock that went back counts
   * to the newest minute there was.
   */
  current(now: number): Row {
    if (now >= this.#nextMinuteAt) this.#turn(now)
    return this.#current
  }

  add(field: number, amount: number, now: number): void {
    this.current(now)[field]! += amount
  }

  /** Adds everything since `from`, as `windowStart` gives it, to `row`. */
  addSince(from: number, row: Row): void {
    const minute = Math.floor(from / minuteMillis)
    if (this.#minute >= minute) addRow(row, this.#current)
    this.#minutes?.addTo(row, minute, Infinity)
    this.#thirds?.addTo(row, Math.ceil(minute / thirdMinutes), Infinity)
  }

  /** Adds one minute of the last hour, by its start. */
  addMinute(start: number, row: Row): void {
    const minute = Math.floor(start / minuteMillis)
    if (this.#minute === minute) addRow(row, this.#current)
    this.#minutes?.addTo(row, minute, minute)
  }

  /** Adds everything there ever was, resets or not. */
  addLifetime(row: Row): void {
    addRow(row, this.#past)
    addRow(row, this.#current)
  }

  /** All that a field ever counted, resets or not. */
  lifetime(field: number): number {
    return this.#past[field]! + this.#current[field]!
  }

  /** Forgets every window; the lifetime stays. */
  reset(): void {
    this.#toPast()
    this.#minutes = undefined
    this.#thirds = undefined
  }

  #toPast(): void {
    addRow(this.#past, this.#current)
    this.#current.fill(0)
  }

  #turn(now: number): void {
    const minute = Math.floor(now / minuteMillis)
    if (this.#minute >= 0) (this.#minutes ??= new PackedRows()).append(this.#minute, this.#current)
    this.#toPast()
    this.#minute = minute
    this.#nextMinuteAt = (minute + 1) * minuteMillis
    this.#rollUp(minute)
  }

  /** Makes one row of each third of an hour whose last minute is more than an hour ago. */
  #rollUp(minute: number): void {
    const minutes = this.#minutes
    if (minutes === undefined) return
    const upTo = Math.floor((minute - fineMinutes) / thirdMinutes)
    while (minutes.first < upTo * thirdMinutes) {
      const third = Math.floor(minutes.first / thirdMinutes)
      const row = new Float64Array(this.#current.length)
      minutes.take(row, (third + 1) * thirdMinutes)
      this.#thirds ??= new PackedRows()
      this.#thirds.append(third, row)
    }
    this.#thirds?.take(undefined, Math.floor(minute / thirdMinutes) - coarseRows + 1)
  }
}

/**
 * Rows in bytes, in the order of their stamps. Each is its length (two bytes), its stamp, and for every count that is not
 * 0 the field (one byte) and the count; numbers are seven bits to the byte, the lowest first.
 */
class PackedRows {
  #bytes = new Uint8Array(256)
  #from = 0
  #to = 0
  #at = 0

  /** The oldest stamp; infinite where there is no row. */
  get first(): number {
    if (this.#from === this.#to) return Infinity
    this.#at = this.#from + 2
    return this.#number()
  }

  /** The stamp is above all there are. A row of nothing is left out. */
  append(stamp: number, row: Row): void {
    let end = writeNumber(2, stamp)
    const empty = end
    for (let field = 0; field < row.length; field++) {
      const count = row[field]!
      if (count === 0) continue
      scratch[end++] = field
      end = writeNumber(end, count)
    }
    if (end === empty) return
    scratch[0] = end & 255
    scratch[1] = end >>> 8
    this.#makeRoom(end)
    // For so few bytes a loop is quicker than `set`, which wants a view.
    for (let at = 0; at < end; at++) this.#bytes[this.#to + at] = scratch[at]!
    this.#to += end
  }

  /** Adds the rows of these stamps, both included, to `into`. */
  addTo(into: Row, from: number, to: number): void {
    for (let start = this.#from; start < this.#to; start += this.#lengthAt(start)) {
      this.#at = start + 2
      const stamp = this.#number()
      if (stamp > to) return
      if (stamp >= from) this.#addRest(into, start + this.#lengthAt(start))
    }
  }

  /** Takes the rows out that are before a stamp, and adds them to `into`. */
  take(into: Row | undefined, before: number): void {
    while (this.first < before) {
      const next = this.#from + this.#lengthAt(this.#from)
      if (into !== undefined) this.#addRest(into, next)
      this.#from = next
    }
  }

  #lengthAt(start: number): number {
    return this.#bytes[start]! | (this.#bytes[start + 1]! << 8)
  }

  #addRest(into: Row, end: number): void {
    while (this.#at < end) {
      const field = this.#bytes[this.#at++]!
      into[field]! += this.#number()
    }
  }

  #number(): number {
    let value = 0
    for (let scale = 1;; scale *= 128) {
      const byte = this.#bytes[this.#at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }

  #makeRoom(needed: number): void {
    if (this.#to + needed <= this.#bytes.length) return
    const held = this.#bytes.subarray(this.#from, this.#to)
    const room = held.length + needed
    if (room > this.#bytes.length * 0.75) {
      const larger = new Uint8Array(Math.ceil((room * 1.25) / 64) * 64)
      larger.set(held)
      this.#bytes = larger
    } else {
      this.#bytes.copyWithin(0, this.#from, this.#to)
    }
    this.#to -= this.#from
    this.#from = 0
  }
}

/** Where a row is packed: 255 fields of nine bytes at most, and what is before them. */
const scratch = new Uint8Array(2_400)

const writeNumber = (at: number, value: number): number => {
  let end = at
  let rest = value
  while (rest >= 128) {
    scratch[end++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  scratch[end++] = rest
  return end
}
