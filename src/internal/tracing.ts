/**
 * Spans and what they tell: names and attributes of few values, no words of a provider. None of it runs where no tracer
 * takes the spans; the tracer that Effect has by default keeps them for nobody.
 */
import { Cause, Clock, Effect, Exit, type Fiber, Tracer } from "effect"
import { isProviderError } from "../ProviderError.ts"
import { tagOf } from "./foreign.ts"
import { stackless } from "./stackless.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>
type Attributes = Readonly<Record<string, string | number | boolean>>

/** Whether somebody takes the spans of this fiber. */
export const isTraced = (fiber: AnyFiber): boolean => {
  const { tracer, tracerEnabled } = fiber.cache
  return tracer !== undefined && tracer !== Tracer.nativeTracer && tracerEnabled
}

/** Notes something on the fiber's running span. */
export const note = (fiber: AnyFiber, name: string, attributes: Attributes): void => {
  const { span } = fiber.cache
  if (span?._tag === "Span" && isTraced(fiber)) span.event(name, nanosOf(fiber), { ...attributes })
}

/** Begins a span below the fiber's; whoever begins it finishes it. */
export const begin = (fiber: AnyFiber, name: string, kind: Tracer.SpanKind, attributes: Attributes): Tracer.Span =>
  Effect.runSyncWith(fiber.context)(Effect.makeSpan(name, { kind, attributes }))

/** Finishes a span. A failure is told by its category alone. */
export const finish = (span: Tracer.Span, fiber: AnyFiber, exit: Exit.Exit<unknown, unknown>): void => {
  const type = exit._tag === "Success" || Cause.hasInterrupts(exit.cause) ? undefined : errorType(exit.cause)
  if (type !== undefined) span.attribute("error.type", type)
  span.end(nanosOf(fiber), type === undefined ? exit : Exit.fail(plain(type)))
}

/** Runs the effect in a span of its own. `tell` gives attributes of its answer. */
export const spanned = <A, E, R>(
  fiber: AnyFiber,
  name: string,
  attributes: Attributes,
  self: Effect.Effect<A, E, R>,
  tell?: (answer: A) => Attributes
): Effect.Effect<A, E, R> => {
  let span: Tracer.Span | undefined
  return Effect.onExitPrimitive(
    Effect.suspend(() => {
      span = begin(fiber, name, "internal", attributes)
      return Effect.provideService(self, Tracer.ParentSpan, span)
    }),
    (exit) => {
      if (span === undefined) return undefined
      if (exit._tag === "Success" && tell !== undefined) {
        for (const [key, value] of Object.entries(tell(exit.value))) span.attribute(key, value)
      }
      finish(span, fiber, exit)
      return undefined
    }
  )
}

/** The category of a provider's failure, the name of a refusal; `_OTHER` for what nobody foresaw. */
export const errorType = (cause: Cause.Cause<unknown>): string => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  return isProviderError(error) ? categoryType(error.category) : tagOf(error) ?? categoryType("UNKNOWN")
}

/** A category as OpenTelemetry's `error.type`. */
export const categoryType = (category: string): string => category === "UNKNOWN" ? "_OTHER" : category

const nanosOf = (fiber: AnyFiber): bigint => fiber.getRef(Clock.Clock).currentTimeNanosUnsafe()

const plain = (type: string): Error =>
  stackless(() => {
    const error = new Error(type)
    error.name = type
    return error
  })
