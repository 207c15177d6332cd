/** For tests: providers that misbehave on demand, and the contract that stores keep. */
export * as Fault from "./Fault.ts"
export * as OpenAiEmulator from "./OpenAiEmulator.ts"
export * as PostgresProxy from "./PostgresProxy.ts"
export * as StoreContract from "./storeContract.ts"
