/**
 * Every request of an `HttpClient` through a pipeline, by one combinator. The provider here is played by a plain
 * function, so that the program runs offline: it is down for two answers, then throttles one.
 *
 *     node --conditions=holdfast-source examples/pipeline-http-client.ts
 */
import { Console, Effect } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { Pipeline } from "holdfast"

let asked = 0
const provider = HttpClient.make((request) =>
  Effect.sync(() => {
    asked++
    const response = asked <= 2
      ? new Response("down", { status: 503 })
      : asked === 3
      ? new Response("slow down", { status: 429, headers: { "retry-after": "0" } })
      : Response.json({ EUR: 1.08 })
    return HttpClientResponse.fromWeb(request, response)
  })
)

const program = Effect.gen(function*() {
  const rates = yield* Pipeline.make({
    provider: "rates",
    retry: { maxRetries: 3, baseDelay: "10 millis", categories: { RateLimitError: { baseDelay: "10 millis" } } },
    breaker: { failureThreshold: 5 },
    bulkhead: { limit: 10 },
    timeout: "2 seconds"
  })
  const client = provider.pipe(Pipeline.httpClient(rates))

  const latest = client.get("https://rates.example/latest").pipe(
    Effect.flatMap((response) => response.json),
    // The refusals are in the type, and one that is handled leaves it.
    Effect.catchTag("CircuitOpen", () => Effect.succeed("try again later"))
  )
  yield* Console.log(yield* latest, `after ${asked} requests`) // => { EUR: 1.08 } after 4 requests
})

await Effect.runPromise(program)
