import { relative } from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Those that start servers, databases and browsers, the longest first. */
const long = [
  "cli/commands",
  "vectorstore/NeonStore",
  "cli/load",
  "vectorstore/EmbeddedPostgres",
  "testing/Simulation",
  "cli/outage",
  "http/Dashboard",
  "vectorstore/UnifiedStore",
  "vectorstore/Evaluation",
  "http/SettingsApi",
  "http/DashboardOutage",
  "http/security",
  "vectorstore/PostgresServer",
  "Classifier.real",
  "cli/otlp",
  "documented",
  "fleet/SharedRateLimit"
]

/** So that both workers end together. Vitest knows how long a file takes only after it ran here once. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = long.indexOf(relative(import.meta.dirname, moduleId).replace(/\.test\.ts$/, ""))
      return at === -1 ? long.length : at
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
