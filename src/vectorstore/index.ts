/** Vector stores: one contract, several providers. */
export * as EmbeddedPostgres from "./EmbeddedPostgres.ts"
export * as Embedder from "./Embedder.ts"
export * as MemoryStore from "./MemoryStore.ts"
export * as NeonStore from "./NeonStore.ts"
export * as RankFusion from "./RankFusion.ts"
export * as VectorStore from "./VectorStore.ts"
