/**
 * Every way in which a provider of the vector stores fails that no error message prepares for, and the test that shows what
 * the stores make of it: one table to see at a glance whether one is missing. Names are looked for as they stand in the
 * files, so that a test that is renamed or taken away is missed here.
 */
import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"

type Rows = { readonly [row: string]: string | ReadonlyArray<string> }

/** For each file of tests the failures it shows, and by which test; the same words where nothing else is said. */
const table: { readonly [file: string]: Rows } = {
  "OpenAiFaults.test.ts": {
    "bad JSON": "bad JSON",
    "truncated body": "truncated body",
    "stalled body": ["stalled body", "a request that hangs at its ${at} is closed when its caller goes"],
    "no headers": "no headers",
    "reset": ["reset", "reset after it was done", "reset in the body"],
    "HTML 502": "HTML 502",
    "empty 200": "empty 200",
    "text 200": "text 200",
    "quota 429": "quota 429 ${code}",
    "rate 429 with both headers": "rate 429 with both headers",
    "413": "413",
    "unknown poll status": "unknown poll status: it is waited for with a pause between the looks, and not for ever",
    "shuffled embeddings": "shuffled embeddings: every document and every query keeps its own vector",
    "x-should-retry both ways":
      "x-should-retry: false ends what would be repeated; true repeats what would not, where that is safe",
    "Retry-After 90": "Retry-After 90: the wait is told in full, nobody asks before it is over, and another answers"
  },
  "OpenAiStore.test.ts": {
    "an upload that breaks between its steps": "leaves no orphan, wherever an upload breaks",
    "an attachment whose answer is lost": "finds out that a file was attached when the answer was lost",
    "a batch that fails in part": "scenario 58: a batch reports on each document, and what failed is not there",
    "a batch whose answer is lost": "a batch whose answer is lost is cleaned up, and stored once when repeated",
    "a process killed in a batch":
      "a process killed in the middle of a batch of 1,000: started again, 1,000 are stored, none twice"
  },
  "PostgresFaults.test.ts": {
    "57P01 idle": "57P01 idle: the pool makes a new connection, and nobody notices",
    "57P01 mid-query": "57P01 mid-query: a broken connection of unknown outcome, and the next query is well",
    "57P01 in a transaction": "57P01 in a transaction: nothing of it is stored, and the next one is well",
    "53300": "53300: more connections than the role may have are refused before anything was asked",
    "55P03": "55P03: a lock that is not to be had in time rolls back and may be tried again",
    "57014": "57014: a statement that takes too long is a timeout",
    "40001":
      "40001: of two transactions that want the same row the second rolls back, and may be tried again as a whole",
    "25P02": "25P02: a transaction that goes on after an error is refused, and nothing of it is stored",
    "25P03": "25P03: a transaction that was idle too long is gone, and the next one is well",
    "dimension mismatch": ["dimension mismatch: of a row", "dimension mismatch: of a query"],
    "raw vector select": "raw vector select: it fails, and the next query is well"
  },
  "NeonFaults.test.ts": {
    "57P03": "57P03",
    "cold-start delay of 6 s": "a database that takes 6 seconds to wake is waited for, and no failure"
  },
  "../testing/PostgresProxy.test.ts": {
    "XX000 texts": "XX000 texts: refuses connections in each of Neon's words, and the classifier tells why"
  },
  "EmbeddedPostgres.test.ts": {
    "a process killed in a batch":
      "a process killed in the middle of a batch of 1,000: started again, 1,000 are stored, none twice"
  },
  "Embedder.test.ts": {
    "an embedder that lies":
      "an embedder that keeps no promise costs a store its vectors, never its documents or its answers",
    "an embedder of another space": "scenario 61: only another route to the same space takes over"
  },
  "UnifiedFaults.test.ts": {
    "each subset of {embedder, OpenAI, Postgres, cache} down":
      "every subset of embedder, OpenAI, Postgres and cache down is told for what it is",
    "all down": "scenario 41 and 59: ${strategy}, all down is a failure with every cause, never an empty list",
    "cancellation": [
      "cancellation is not a partial result: ${strategy}, the sources are told, and nothing is kept",
      "cancellation is not a partial result: ${strategy}, a source that is interrupted by itself ends the search"
    ],
    "a stale hit and a fresh one":
      "a stale hit never overwrites fresh: what was found last is what an outage is answered with",
    "sources that answer in another order": "the order of the hits does not hang on who answers first"
  },
  "RankFusion.test.ts": {
    "permutation of the rankings":
      "permutation invariance: in whatever order the sources are, scores are the same to the last bit, and only ties may turn",
    "ties": "tie stability: the same input gives the same order, and what comes behind all moves nothing"
  },
  "../http/EventStream.test.ts": {
    "a listener that was cut off": "resumes after the last id: no gap and no duplicate",
    "a listener that is slow": "a client that does not read loses events, and nobody else does",
    "many listeners": "writes an event and a snapshot once, whoever listens"
  },
  "../Telemetry.test.ts": {
    "metrics that are reset": "scenario 66: resets the named service alone, and leaves the Prometheus counters"
  }
}

for (const [file, rows] of Object.entries(table)) {
  const text = readFileSync(join(import.meta.dirname, file), "utf8")
  for (const [row, tests] of Object.entries(rows)) {
    it(`${file}: ${row}`, () => {
      for (const test of [tests].flat()) {
        assert.isTrue([`"${test}"`, `\`${test}\``, `: ${test}\``].some((name) => text.includes(name)), test)
      }
    })
  }
}
