import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { CircuitOpen } from "../src/CircuitBreaker.ts"
import * as FaultTolerance from "../src/FaultTolerance.ts"
import * as Pipeline from "../src/Pipeline.ts"
import { NetworkError, ProviderError, UnknownError } from "../src/ProviderError.ts"

class Spans extends Context.Service<Spans, ReadonlyArray<Tracer.NativeSpan>>()("holdfast/test/Spans") {}

/** A tracer that keeps its spans, in the order of their beginnings. */
const traced = Layer.effectContext(Effect.sync(() => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return Context.make(Spans, spans).pipe(Context.add(Tracer.Tracer, tracer))
}))

const parentOf = (span: Tracer.AnySpan): Tracer.AnySpan | undefined =>
  span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined

/** Each span as the way down to it. */
const ways = Effect.map(Spans, (spans) =>
  spans.map((span) => {
    const way = [span.name]
    for (let up = parentOf(span); up !== undefined; up = parentOf(up)) way.unshift(up._tag === "Span" ? up.name : "?")
    return way.join(" > ")
  }))

const named = (name: string) => Effect.map(Spans, (spans) => spans.filter((span) => span.name === name))
const events = (span: Tracer.NativeSpan | undefined) => span?.events.map(([name]) => name) ?? []
const failed = (span: Tracer.NativeSpan | undefined) => span?.attributes.get("error.type")

const secret = "the provider's own words"
const error = (Reason: typeof NetworkError | typeof UnknownError) =>
  new ProviderError({
    provider: "p",
    operation: "get",
    reason: new Reason({ message: secret, rule: "test", delivered: "no" })
  })
const network = Effect.fail(error(NetworkError))
const inside = Effect.succeed("value").pipe(Effect.withSpan("work"))
const call = { operation: "get", idempotent: true } as const

const forms = {
  "in place": {},
  "apart, with a timeout": { timeout: "1 second" },
  "within a deadline": { deadline: "10 seconds" }
} as const

it.effect.each(Object.entries(forms))(
  "has a span for the call, one for each attempt and the work's own below: %s",
  ([, form]) =>
    Effect.gen(function*() {
      const pipeline = yield* Pipeline.make({ provider: "p", retry: { maxRetries: 2 }, ...form })
      let runs = 0
      const work = Effect.suspend(() => ++runs < 3 ? network : inside)
      const fiber = yield* Effect.forkChild(work.pipe(pipeline.protect(call), Effect.withSpan("caller")))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), "value")
      assert.deepStrictEqual(yield* ways, [
        "caller",
        "caller > p.get",
        "caller > p.get > p.get attempt",
        "caller > p.get > p.get attempt",
        "caller > p.get > p.get attempt",
        "caller > p.get > p.get attempt > work"
      ])
      const attempts = yield* named("p.get attempt")
      assert.deepStrictEqual(attempts.map((span) => span.attributes.get("ft.attempt")), [1, 2, 3])
      assert.deepStrictEqual(attempts.map(failed), ["NETWORK", "NETWORK", undefined])
      const [whole] = yield* named("p.get")
      assert.deepStrictEqual(events(whole), ["retry", "retry"])
      assert.isUndefined(failed(whole))
      for (const span of yield* Spans) assert.strictEqual(span.status._tag, "Ended", span.name)
    }).pipe(Effect.provide(traced))
)

it.effect("traces a promise function, and what is interrupted as no error", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: "1 second" })
    yield* pipeline.promise(call, () => Promise.resolve(1))
    const fiber = yield* Effect.forkChild(pipeline.promise(call, () => new Promise(() => {})), {
      startImmediately: true
    })
    yield* Fiber.interrupt(fiber)
    const late = yield* Effect.forkChild(Effect.exit(pipeline.promise(call, () => new Promise(() => {}))))
    yield* TestClock.adjust("2 seconds")
    yield* Fiber.join(late)
    const attempts = yield* named("p.get attempt")
    assert.deepStrictEqual(attempts.map(failed), [undefined, undefined, "TIMEOUT"])
    assert.deepStrictEqual(attempts.map(({ status }) => status._tag === "Ended" && Exit.hasInterrupts(status.exit)), [
      false,
      true,
      false
    ])
  }).pipe(Effect.provide(traced)))

it.effect("tells in the call's span how a circuit opens, refuses, tries and closes", () =>
  Effect.gen(function*() {
    const pipeline: Pipeline.Pipeline<CircuitOpen> = yield* Pipeline.make({
      provider: "p",
      breaker: { failureThreshold: 2, recoveryTimeout: "1 second", jitter: false, successThreshold: 1 }
    })
    yield* Effect.exit(network.pipe(pipeline.protect(call)))
    yield* Effect.exit(network.pipe(pipeline.protect(call)))
    yield* Effect.exit(network.pipe(pipeline.protect(call)))
    yield* TestClock.adjust("2 seconds")
    yield* inside.pipe(pipeline.protect(call))
    const calls = yield* named("p.get")
    assert.deepStrictEqual(calls.map(events), [
      [],
      ["breaker.opened"],
      ["breaker.refused"],
      ["breaker.half_open", "breaker.closed"]
    ])
    assert.deepStrictEqual(calls.flatMap(({ events }) => events.map(([, , attributes]) => attributes)), [
      { "ft.circuit": "p/get", "error.type": "NETWORK" },
      { "ft.circuit": "p/get", "error.type": "CircuitOpen" },
      { "ft.circuit": "p/get" },
      { "ft.circuit": "p/get" }
    ])
    assert.deepStrictEqual(calls.map(failed), ["NETWORK", "NETWORK", "CircuitOpen", undefined])
    assert.lengthOf(yield* named("p.get attempt"), 3, "who is refused makes no attempt")
  }).pipe(Effect.provide(traced)))

it.effect("tells hedges from the first attempts", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", hedge: { delay: "100 millis" } })
    let runs = 0
    const fiber = yield* Effect.forkChild(
      Effect.suspend(() => ++runs === 1 ? Effect.never : inside).pipe(pipeline.protect(call))
    )
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    const attempts = yield* named("p.get attempt")
    assert.deepStrictEqual(attempts.map((span) => span.attributes.get("ft.hedge")), [false, true])
    assert.deepStrictEqual(yield* ways, [
      "p.get",
      "p.get > p.get attempt",
      "p.get > p.get attempt",
      "p.get > p.get attempt > work"
    ])
  }).pipe(Effect.provide(traced)))

class Store
  extends Context.Service<Store, { readonly get: Effect.Effect<string, ProviderError> }>()("holdfast/test/Store")
{}

it.effect("shows a service's call with its providers below, and what was served", () =>
  Effect.gen(function*() {
    const store = yield* FaultTolerance.make(Store, {
      service: "store",
      pipeline: { retry: { maxRetries: 0 } },
      providers: [
        { name: "first", layer: Layer.succeed(Store, { get: network }) },
        { name: "second", layer: Layer.succeed(Store, { get: inside }) }
      ]
    })
    yield* store.execute({ operation: "get", correlationId: "c-1" }, ({ get }) => get)
    assert.deepStrictEqual(yield* ways, [
      "store.get",
      "store.get > first.get",
      "store.get > first.get > first.get attempt",
      "store.get > second.get",
      "store.get > second.get > second.get attempt",
      "store.get > second.get > second.get attempt > work"
    ])
    const [whole] = yield* named("store.get")
    assert.deepStrictEqual(whole?.events.map(([name, , attributes]) => [name, attributes]), [
      ["fallback", { "ft.from": "first", "ft.to": "second", "error.type": "NETWORK" }]
    ])
    assert.deepInclude(Object.fromEntries(whole!.attributes), {
      "ft.answer": "Live",
      "ft.provider": "second",
      "ft.degraded": true,
      "ft.correlation_id": "c-1"
    })
  }).pipe(Effect.scoped, Effect.provide(traced)))

it.effect("says _OTHER of the unknown, and none of a provider's words", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p" })
    yield* Effect.exit(Effect.fail(error(UnknownError)).pipe(pipeline.protect(call)))
    yield* Effect.exit(Effect.die(new Error(secret)).pipe(pipeline.protect(call)))
    const spans = yield* Spans
    assert.deepStrictEqual(spans.map(failed), ["_OTHER", "_OTHER", "_OTHER", "_OTHER"])
    for (const { attributes, events, status } of spans) {
      assert.notInclude(
        JSON.stringify([[...attributes], events, status._tag === "Ended" ? status.exit : ""], (_, value: unknown) =>
          typeof value === "bigint" ? String(value) : value instanceof Error ? value.stack : value),
        secret
      )
    }
  }).pipe(Effect.provide(traced)))

it.effect("makes no span where no tracer takes them", () =>
  Effect.gen(function*() {
    const pipeline = yield* Pipeline.make({ provider: "p", timeout: "1 second" })
    const seen = yield* Effect.currentParentSpan.pipe(Effect.option, pipeline.protect(call))
    assert.isTrue(Option.isNone(seen))
    yield* inside.pipe(pipeline.protect(call), Effect.withTracerEnabled(false), Effect.provide(traced))
    yield* Effect.gen(function*() {
      yield* Effect.withTracerEnabled(inside.pipe(pipeline.protect(call)), false)
      assert.lengthOf(yield* Spans, 0)
      yield* inside.pipe(pipeline.protect(call))
      assert.lengthOf(yield* Spans, 3)
      // An attempt that is used again keeps nothing of the last run.
      yield* Effect.withTracerEnabled(inside.pipe(pipeline.protect(call)), false)
      assert.lengthOf(yield* Spans, 3)
    }).pipe(Effect.provide(traced))
  }))
