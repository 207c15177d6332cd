/** What several processes know together, by way of Redis. None of it is on the way of a call. */
export * as OptionalRedis from "./OptionalRedis.ts"
export * as SharedBreaker from "./SharedBreaker.ts"
export * as SharedRateLimit from "./SharedRateLimit.ts"
