/** Opens so many event streams, one of which it never reads. On every message it tells how many events it has read. */
import { get } from "node:http"

const [url = "", count = "0"] = process.argv.slice(2)
let events = 0
let open = 0
for (let index = 0; index < Number(count); index++) {
  get(`${url}/api/fault-tolerance/stream`, { agent: false }, (response) => {
    if (++open === Number(count)) process.send?.("ready")
    if (index === 0) response.pause()
    else response.on("data", (chunk: Buffer) => events += chunk.toString().split("event: ").length - 1)
  })
}
process.on("message", () => process.send?.(events))
process.on("disconnect", () => process.exit(0))
