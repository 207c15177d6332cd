/**
 * `node --conditions=holdfast-source test/load/streams.ts [--clients 200] [--seconds 4] [--rounds 3]`: what listeners to the
 * event stream, one of them stalled, take from the throughput of calls in the same process. Prints the calls a second with
 * and without them, alternating, and fails where more than 10 % is lost.
 */
import { parseArgs } from "node:util"
import { measure } from "./streamCost.ts"

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "200" },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" }
  }
})

const { listening, lost, quiet, received } = await measure({
  clients: Number(values.clients),
  millis: Number(values.seconds) * 1_000,
  rounds: Number(values.rounds)
})
const rate = (perSecond: number) => `${Math.round(perSecond).toLocaleString("en")} calls/s`
console.log(`without listeners  ${quiet.map(rate).join("  ")}`)
console.log(`with ${values.clients} listeners  ${listening.map(rate).join("  ")}   (${received} events received)`)
console.log(`lost  ${(lost * 100).toFixed(1)} %`)
process.exit(lost <= 0.1 ? 0 : 1)
