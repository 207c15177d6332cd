/** The sample collection, for tests. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import * as Evaluation from "../../src/vectorstore/Evaluation.ts"

export const folder = fileURLToPath(new URL("../../examples/data/scifact", import.meta.url))

export const documents = Evaluation.readDocuments(folder).pipe(Effect.provide(NodeServices.layer))
export const queries = Evaluation.readQueries(folder).pipe(Effect.provide(NodeServices.layer))
