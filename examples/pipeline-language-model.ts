/**
 * A pipeline under an `effect/ai` language model: one layer below the model, none of the code above it changes. The
 * provider is played by a plain function, so that the program runs offline.
 *
 *     node --conditions=holdfast-source examples/pipeline-language-model.ts
 */
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { Pipeline } from "holdfast"

let asked = 0
const provider = HttpClient.make((request) =>
  Effect.sync(() => {
    asked++
    const response = asked === 1
      ? new Response("overloaded", { status: 503 })
      : Response.json({ text: "Hold fast." })
    return HttpClientResponse.fromWeb(request, response)
  })
)

/** As a provider's package makes one: it asks by the `HttpClient` service and tells its errors as `AiError`. */
const model = Layer.effect(
  LanguageModel.LanguageModel,
  Effect.flatMap(HttpClient.HttpClient, (client) =>
    LanguageModel.make({
      generateText: () =>
        HttpClientRequest.post("https://model.example/v1/answers").pipe(
          HttpClientRequest.setHeader("idempotency-key", "question-1"),
          client.execute,
          Effect.flatMap(HttpClientResponse.filterStatusOk),
          Effect.flatMap(HttpClientResponse.schemaBodyJson(Schema.Struct({ text: Schema.String }))),
          Effect.map(({ text }) => [
            { type: "text" as const, text },
            {
              type: "finish" as const,
              reason: "stop" as const,
              usage: {
                inputTokens: { uncached: undefined, total: undefined, cacheRead: undefined, cacheWrite: undefined },
                outputTokens: { total: undefined, text: undefined, reasoning: undefined }
              },
              response: undefined
            }
          ]),
          Effect.mapError((error) =>
            AiError.make({
              module: "Example",
              method: "generateText",
              reason: new AiError.InternalProviderError({ description: String(error) })
            })
          )
        ),
      streamText: () => Stream.empty
    }))
)

const program = Effect.gen(function*() {
  const models = yield* Pipeline.make({
    provider: "model",
    retry: { maxRetries: 2, baseDelay: "10 millis" },
    breaker: true,
    timeout: "30 seconds"
  })
  const protectedModel = model.pipe(
    Layer.provide(Pipeline.layerHttpClient(models)),
    Layer.provide(Layer.succeed(HttpClient.HttpClient, provider))
  )

  const { text } = yield* LanguageModel.generateText({ prompt: "A word of advice?" }).pipe(
    Effect.provide(protectedModel)
  )
  yield* Console.log(text, `after ${asked} requests`) // => Hold fast. after 2 requests
})

await Effect.runPromise(program)
