/** For tests: providers that misbehave on demand. */
export * as Fault from "./Fault.ts"
export * as OpenAiEmulator from "./OpenAiEmulator.ts"
