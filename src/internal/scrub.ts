/** Makes a provider's message safe to show: what looks like a key, a token, a password or a connection string is masked. */

/** The longest message shown. */
const shown = 500
/** How much is read: what is masked may make room. */
const read = 2_048

const mask = "***"

const secrets: ReadonlyArray<readonly [RegExp, string]> = [
  [/-----BEGIN [A-Z ]*(?:PRIVATE KEY|CERTIFICATE)-----[\s\S]*?(?:-----END [A-Z ]*-----|$)/g, mask],
  // Connection strings, whole: host and database are nobody's business either.
  [
    /\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|kafka|ldaps?|jdbc:[a-z]+|prisma(?:\+postgres)?):\/\/[^\s"'`<>)]+/gi,
    mask
  ],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"'`<>]+@/gi, `$1${mask}@`],
  [/\b(bearer|basic|digest|negotiate)\s+(?!auth|realm|token\b)[\w.~+/=-]{6,}/gi, `$1 ${mask}`],
  [/\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?/g, mask],
  // name=value, "name": "value", name: value
  [
    /((?:api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|secret(?:[_-]?(?:access[_-]?)?key)?|client[_-]?secret|password|passwd|passphrase|pwd|authorization|(?:access|auth|refresh|id|session|security|bearer)[_-]?token|x-api-key|private[_-]?key|signature|sig|credential|cookie)\\?["'`]?\s*[=:]\s*\\?["'`]?)(?!\*\*\*|bearer |basic )[^\s"'`,;&}\\]+/gi,
    `$1${mask}`
  ],
  [/([?&](?:key|token|sig|code|auth)=)[^\s&"'`]+/gi, `$1${mask}`],
  // OpenAI, Anthropic, Stripe, GitHub, Slack, AWS, Google, Hugging Face, Neon, Pinecone, Groq, xAI, npm, SendGrid ...
  [
    /\b(?:sk|pk|rk|ak|key|tok|whsec|pcsk|gsk|hf|npg|npm|xai|r8|glpat|dop_v1|shp(?:at|ss)|sq0[a-z]{3}|SG|lin_api|nvapi|pplx|tvly|fc|neon)[-_.](?=[\w*-]{8})[\w.*-]+/g,
    mask
  ],
  [/\b(?:gh[pousr]_|github_pat_|xox[abeoprs]-|ya29\.|AIza)[\w-]{8,}/g, mask],
  [/\b(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{12,}\b/g, mask],
  // Long runs of letters and digits, whatever they are.
  [/(?<![\w+/-])(?=[\w+/-]*\d)(?=[\w+/-]*[A-Za-z])[\w+/-]{40,}={0,2}/g, mask]
]

/** The message without secrets, at most 500 characters long. */
export const scrub = (message: string): string => {
  if (message === "") return message
  let text = message
  if (message.length > read) {
    // A secret cut in two would not be known for one: the last run goes whole.
    const head = message.slice(0, read)
    const space = head.search(/\s\S*$/)
    text = space < 0 ? "" : head.slice(0, space)
  }
  for (const [pattern, replacement] of secrets) text = text.replace(pattern, replacement)
  return text.length > shown ? `${text.slice(0, shown - 1)}…` : text.length === 0 ? mask : text
}
