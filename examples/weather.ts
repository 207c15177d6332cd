/** A forecast that outlives its provider: live, then from the cache, then old, then a declared value. */
import { Console, Context, Effect, Layer } from "effect"
import { Fallback, FaultTolerance, type Served } from "holdfast"

class Weather extends Context.Service<Weather, {
  readonly forecast: (city: string) => Effect.Effect<string, Error>
}>()("example/Weather") {}

let online = true
const Station = Layer.succeed(Weather, {
  forecast: (city) => online ? Effect.succeed(`sunny in ${city}`) : Effect.fail(new Error("connect ECONNREFUSED"))
})

/** Every kind of answer is handled, or this does not compile. */
const told = (answer: Served.Served<string, "Live" | "Cached" | "Stale" | "Default">): string => {
  switch (answer._tag) {
    case "Live":
      return `${answer.value} (from ${answer.provider})`
    case "Cached":
    case "Stale":
      return `${answer.value} (${answer._tag.toLowerCase()}, ${Math.round(answer.age / 1000)} s old)`
    case "Default":
      return `${answer.value} (${answer.failures.map(({ category }) => category).join(", ")})`
  }
}

const program = Effect.gen(function*() {
  const weather = yield* FaultTolerance.make(Weather, {
    service: "weather",
    providers: [{ name: "station", layer: Station }],
    pipeline: { retry: { maxRetries: 1, baseDelay: "10 millis" } },
    cache: { fresh: "900 millis", revalidate: 0, stale: "1 hour" }
  })
  const forecast = (city: string) =>
    weather.execute(
      { operation: "forecast", cacheKey: { city }, mode: Fallback.graceful({ orElse: "no forecast" }) },
      (provider) => provider.forecast(city)
    ).pipe(Effect.map(told), Effect.flatMap(Console.log))

  yield* forecast("Lisbon")
  yield* forecast("Lisbon")
  online = false
  yield* Effect.sleep("1 second")
  yield* forecast("Lisbon")
  yield* forecast("Oslo")
})

await Effect.runPromise(Effect.scoped(program))
