/** A payment goes to the second provider when the first surely did not take it, and never to both. */
import { Console, Context, Effect, Layer } from "effect"
import { FaultTolerance } from "holdfast"

interface Receipt {
  readonly id: string
}

class Payments extends Context.Service<Payments, {
  readonly charge: (cents: number) => Effect.Effect<Receipt, { readonly status: number; readonly message: string }>
}>()("example/Payments") {}

/** What went to the provider that is in trouble, and how it answers. */
let status = 401
const Acme = Layer.succeed(Payments, {
  charge: () => Effect.fail({ status, message: `HTTP ${status}` })
})
const Brook = Layer.succeed(Payments, {
  charge: (cents) => Effect.succeed({ id: `brook-${cents}` })
})

const program = Effect.gen(function*() {
  const payments = yield* FaultTolerance.make(Payments, {
    service: "payments",
    providers: [{ name: "acme", layer: Acme }, { name: "brook", layer: Brook }]
  })
  const charge = (cents: number) =>
    payments.execute({ operation: "charge", idempotent: false }, (provider) => provider.charge(cents))

  // Our key was refused, so nothing was paid: the other provider may take it.
  const served = yield* charge(1250)
  yield* Console.log(`${served.value.id} after ${served.failures.map(({ category }) => category).join(", ")}`)

  // A gateway error leaves open whether it was paid. Asking anybody again could charge twice, so the caller is told.
  status = 502
  const unsure = yield* Effect.flip(charge(900))
  yield* Console.log(unsure._tag === "ProviderError" ? `not repeated: ${unsure.category}` : unsure.message)
})

await Effect.runPromise(Effect.scoped(program))
