import { layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as StoreContract from "../../src/testing/storeContract.ts"
import * as EmbeddedPostgres from "../../src/vectorstore/EmbeddedPostgres.ts"
import * as Embedder from "../../src/vectorstore/Embedder.ts"
import * as NeonStore from "../../src/vectorstore/NeonStore.ts"

const Database = Layer.merge(EmbeddedPostgres.layer({ inProcess: true }), Embedder.local)

layer(Database, { excludeTestServices: true, timeout: "60 seconds" })("NeonStore on the embedded Postgres", (it) => {
  StoreContract.cases().forEach(({ name, run }, i) => {
    it.effect(`with vectors: ${name}`, () => Effect.flatMap(NeonStore.make({ schema: `Vectors "${i}"` }), run))
    it.effect(`words only: ${name}`, () => Effect.flatMap(NeonStore.makeLexical({ schema: `words_${i}` }), run))
  })
})
