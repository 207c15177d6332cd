/** Runs the modules named on the command line, one after the other, and prints what each of them logged, as JSON. */
import { pathToFileURL } from "node:url"
import { format } from "node:util"

const logged: Record<string, string> = {}
for (const file of process.argv.slice(2)) {
  const lines: Array<string> = []
  console.log = (...values) => lines.push(format(...values))
  await import(pathToFileURL(file).href).catch((error: unknown) => lines.push(`it fails: ${String(error)}`))
  logged[file] = lines.join("\n")
}
process.stdout.write(JSON.stringify(logged))
