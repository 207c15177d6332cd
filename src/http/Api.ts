/** The whole API of `holdfast serve`. */
import { HttpApi, OpenApi } from "effect/http-api"
import { FaultToleranceApi } from "./FaultToleranceApi.ts"
import { OperationsApi } from "./OperationsApi.ts"
import { SettingsApi } from "./SettingsApi.ts"
import { VectorStoreApi } from "./VectorStoreApi.ts"

export class Api extends HttpApi.make("holdfast")
  .add(FaultToleranceApi)
  .add(OperationsApi)
  .add(SettingsApi)
  .add(VectorStoreApi)
  .annotateMerge(
    OpenApi.annotations({
      title: "holdfast",
      version: "0.1.0",
      description: "A fault-tolerant vector store: search, documents, health, metrics and what an operator needs."
    })
  )
{}
