/** What to do about a failure, in words for who started the command. */
import { Config } from "effect"
import { InvalidOptions } from "../InvalidOptions.ts"
import { ProviderError } from "../ProviderError.ts"

/** A failure and what to do about it, without a stack. */
export const tell = (error: unknown): string => {
  if (error instanceof Config.ConfigError) return ofConfiguration(error)
  if (error instanceof InvalidOptions) return ofOptions(error)
  if (isOfFiles(error)) return `${error.path} cannot be written. ${ofFiles[error.code]} (${error.code})`
  if (!(error instanceof ProviderError)) return error instanceof Error ? error.message : String(error)
  const advice = error.provider === "neon"
    ? ofDatabase[error.category]
    : error.provider === "openai"
    ? ofOpenAi[error.category]
    : undefined
  return advice === undefined ? error.reason.message : `${advice} (${error.reason.message})`
}

const ofFiles: { readonly [code: string]: string } = {
  EACCES: "Change its rights, or choose another place: HOLDFAST_DIRECTORY=/a/folder",
  EPERM: "Change its rights, or choose another place: HOLDFAST_DIRECTORY=/a/folder",
  EROFS: "Its file system is read-only; choose another place: HOLDFAST_DIRECTORY=/a/folder",
  ENOENT: "No folder can be made there; choose another place: HOLDFAST_DIRECTORY=/a/folder",
  ENOTDIR: "A file stands where a folder should; choose another place: HOLDFAST_DIRECTORY=/a/folder",
  EEXIST: "A file stands where a folder should; choose another place: HOLDFAST_DIRECTORY=/a/folder",
  ENOSPC: "The disk is full."
}

/** What Node throws of a file that cannot be had, and that is no fault of the program. */
export const isOfFiles = (error: unknown): error is Error & { readonly code: string; readonly path: string } =>
  error instanceof Error && "code" in error && "path" in error && typeof error.path === "string" &&
  typeof error.code === "string" && Object.hasOwn(ofFiles, error.code)

/** Effect writes the variable's name beneath what is wrong with it. */
const ofConfiguration = ({ cause: { message } }: Config.ConfigError): string => {
  const [, wrong, name] = /^([^]*)\n\s+at \["(\w+)"\]$/.exec(message) ?? []
  return name === undefined || wrong === undefined ? message : wrongVariable(name, wrong)
}

/** Options that come from the environment alone. */
const variables = new Map([
  ["OperatorToken: token", "HOLDFAST_ADMIN_TOKEN"],
  ["Alerts: url", "HOLDFAST_ALERT_WEBHOOK"]
])

const ofOptions = ({ field, message, module, why }: InvalidOptions): string => {
  const name = variables.get(`${module}: ${field}`)
  return name === undefined ? message : wrongVariable(name, `it ${why}`)
}

const wrongVariable = (name: string, wrong: string): string =>
  `The environment variable ${name} is wrong: ${wrong}. Change it, or unset it.`

const unreachable = "The database of DATABASE_URL does not answer. Is it running, and is its address right? " +
  "Without DATABASE_URL an embedded Postgres is used."

const ofDatabase: { readonly [category: string]: string | undefined } = {
  NETWORK: unreachable,
  TIMEOUT: unreachable,
  SERVICE_UNAVAILABLE: unreachable,
  AUTHENTICATION: "The database of DATABASE_URL refuses the user or the password. Check both in the address.",
  AUTHORIZATION: "The database user may not do that. It needs the right to create a schema and tables in the database."
}

const ofOpenAi: { readonly [category: string]: string | undefined } = {
  NETWORK: "OpenAI cannot be reached. Check the network, and OPENAI_BASE_URL if it is set.",
  AUTHENTICATION: "OpenAI refuses the key. Check OPENAI_API_KEY.",
  AUTHORIZATION: "OpenAI's key may not do that. Check the rights of OPENAI_API_KEY.",
  CONFIGURATION: "OpenAI's set-up is wrong. Check OPENAI_VECTORSTORE and the account.",
  NOT_FOUND: "OpenAI has no such vector store. Check OPENAI_VECTORSTORE."
}
