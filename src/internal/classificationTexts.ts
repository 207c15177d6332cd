/**
 * What messages say, for failures that carry no code: phrases of drivers, proxies and providers. A phrase counts as whole
 * words only, and no phrase has a digit in it.
 */
import {
  apiCodes,
  clientCodes,
  type Decision,
  genericCodes,
  type Meaning,
  meanings,
  normalize,
  sqlClasses,
  sqlStates
} from "./classificationTables.ts"

const {
  authentication,
  authorization,
  cancelled,
  configuration,
  critical,
  defect,
  invalid,
  invalidResponse,
  missing,
  network,
  notFound,
  quota,
  rateLimit,
  temporary,
  timeout,
  tls,
  tooLarge,
  unavailable,
  unknown,
  validation
} = meanings

/** Reads on from the word that called it. */
type Reader = (text: string) => Decision | undefined

/** A pattern is tried only where its first word occurs. */
type Pattern = readonly [word: string, pattern: RegExp]

/** A meaning, and what says so: phrases on lines of their own, then patterns. */
type Row = readonly [meaning: Meaning, phrases: string, ...patterns: ReadonlyArray<Pattern>]

const dimension = validation("DimensionMismatch")
const modelMissing = configuration("ModelMissing")
const closed = configuration("ClientClosed")
const duplicate = validation("Duplicate")
const locked: Meaning = { ...temporary, detail: "Locked" }

/** In order: where two say something, the upper one wins. What no retry cures stands above what one may. */
const driverRows: ReadonlyArray<Row> = [
  [
    defect,
    `
    cannot read properties of
    cannot read property
    cannot set properties of
    cannot set property
    cannot destructure property
    cannot convert undefined or null
    cannot access
    is not a function
    is not a constructor
    is not iterable
    undefined is not
    null is not
    converting circular structure
    assignment to constant variable
    reduce of empty array
    illegal invocation
    object is not extensible`,
    ["is", /\b[\w$.]+ is not (?:a function|a constructor|iterable|defined\b)/],
    ["not", /^[\w$]+ is not defined$/m]
  ],
  [
    critical(),
    `
    heap out of memory
    maximum call stack size exceeded
    array buffer allocation failed
    cannot allocate memory
    too many open files
    invalid page in block
    could not read block
    database disk image is malformed`
  ],
  [
    critical("DiskFull"),
    `
    no space left on device
    disk quota exceeded
    database or disk is full
    disk full`
  ],
  // Rates that call themselves quotas.
  [rateLimit, "", ["quota", /quota[^\n]{0,200}\bper[ _]?(?:minute|second|100 seconds)/], [
    "per",
    /perminute|persecond/
  ]],
  [
    quota,
    `
    exceeded your current quota
    check your plan and billing
    credit balance is too low
    billing hard limit
    billing has been disabled
    data transfer quota
    compute time quota
    check your quotas
    exceeded the quota
    exceeded its quota
    exceeded your quota
    quota exceeded
    quota has been exceeded
    quota exhausted
    out of quota
    monthly quota
    monthly limit
    daily quota
    daily limit
    spend limit
    spending limit
    usage limit
    usage limits
    plan limit
    insufficient credits
    insufficient credit
    insufficient balance
    insufficient funds
    out of credits
    more credits
    payment required
    payment method
    upgrade your plan
    upgrade to a paid
    subscription has expired
    trial has expired
    trial has ended
    free tier limit
    account is past due
    account is not active
    max daily request limit exceeded
    exceeded the limit of concurrently active endpoints`,
    ["exceeded", /exceeded (?:the|your|its) (?:monthly |daily |free |included )?[\w -]{0,40}(?:quota|allowance)\b/],
    ["exceeded", /exceeded the (?:limit of )?[\w -]{0,30}(?:compute time|data transfer|storage|active time|endpoints)/]
  ],
  [
    tooLarge,
    `
    maximum context length
    context length exceeded
    context length limit
    exceeds the context
    exceed context limit
    context window
    too many tokens
    prompt is too long
    input is too long
    input too long
    reduce the length
    reduce your prompt
    maximum input length
    request too large
    request entity too large
    request body too large
    payload too large
    content too large
    received message larger than max
    sent message larger than max
    string too long
    array too long
    max tokens per request
    maximum allowed size`,
    ["requested", /requested \d+ tokens, max \d+/],
    ["exceeds", /exceeds? the (?:maximum|max|limit)\b/],
    ["tokens", /tokens? .{0,40}exceeds?\b/]
  ],
  [
    dimension,
    `
    different vector dimensions
    dimension mismatch
    vector dimension error
    wrong vector dimension
    vector lengths don't match
    embedding dimension`,
    ["expected", /expected \d+ dimensions?, not \d+/],
    ["dimension", /dimensions? .{0,80}(?:does not|do not|doesn't|don't) match/],
    ["dimension", /expected dim\w*:? \d+/]
  ],
  [
    validation(),
    `
    not allowed in vector
    violates not-null constraint
    violates check constraint
    violates foreign key constraint
    violates exclusion constraint
    foreign key constraint failed
    foreign key constraint fails
    not null constraint failed
    check constraint failed
    invalid input syntax
    invalid byte sequence
    value too long for type
    out of range for type
    invalid input value for enum
    data too long for column
    cannot be null
    null value in column`
  ],
  [
    duplicate,
    `
    duplicate key value violates
    violates unique constraint
    duplicate key error
    duplicate entry
    unique constraint failed
    already exists`
  ],
  [
    authentication,
    `
    password authentication failed
    incorrect api key
    invalid api key
    api key not valid
    api key not found
    api key is invalid
    api key expired
    api key has expired
    invalid x-api-key
    invalid authentication
    authentication failed
    authentication required
    no api key provided
    invalid credentials
    invalid credential
    incorrect username or password
    invalid username or password
    wrong password
    bad credentials
    token has expired
    token is expired
    token expired
    jwt expired
    jwt malformed
    invalid jwt
    invalid token
    invalid signature
    invalid access token
    invalid bearer token
    security token included in the request
    access denied for user
    login failed for user
    wrongpass invalid
    err invalid password
    noauth
    not authenticated
    not logged in
    client password must be a string
    you didn't provide an api key
    didn't provide an api key
    role does not exist
    server requested password authentication
    without proving its identity
    unsupported sasl mechanisms`,
    ["role", /role "[^"]*" (?:does not exist|is not permitted to log in)/],
    ["no", /no pg_hba\.conf entry/],
    ["token", /token .{0,40}\b(?:expired|revoked|invalid)\b/],
    ["key", /api[ _-]?key .{0,40}\b(?:invalid|expired|revoked|rejected|disabled)\b/],
    ["api", /api[ _-]?key .{0,40}\b(?:invalid|expired|revoked|rejected|disabled)\b/],
    ["api_key", /api_key .{0,40}\binvalid\b/]
  ],
  [
    authorization,
    `
    permission denied
    permissions denied
    insufficient permissions
    insufficient permission
    insufficient privileges
    insufficient scope
    insufficient authentication scopes
    missing scopes
    missing scope
    lacks the required
    lacks permission
    not authorized to perform
    is not authorized
    not have permission
    not have permissions
    don't have access
    do not have access
    not have access
    not allowed to access
    access is denied
    access denied
    must be verified
    blocked network
    vpc endpoint
    row-level security
    must be owner of
    territory not supported
    not available in your country
    not available in your region
    location is not supported
    unsupported_country
    noperm
    not entitled
    you have been blocked
    attention required
    just a moment
    account has been suspended
    account has been disabled`,
    ["ip", /ip address .{0,60}not allowed/],
    ["ip", /ip .{0,40}not (?:authorized|whitelisted|in the allow)/]
  ],
  [
    modelMissing,
    `
    model does not exist
    model not found
    deployment for this resource does not exist
    unknown model`,
    [
      "model",
      /(?:the )?model [`'"]?[\w.:/-]+[`'"]? (?:does not exist|not found|was not found|is not found|has been deprecated)/
    ]
  ],
  [
    missing,
    "",
    ["relation", /relation "[^"]*" does not exist/],
    ["type", /type "[^"]*" does not exist/],
    ["function", /function .{1,200} does not exist/],
    ["operator", /operator does not exist/],
    ["extension", /extension "[^"]*" (?:is not available|does not exist|must be)/],
    ["no", /no such table/],
    ["table", /table .{1,100} (?:does not|doesn't) exist/],
    ["access", /access method "[^"]*" does not exist/]
  ],
  [
    tls,
    `
    self-signed certificate
    self signed certificate
    certificate has expired
    certificate is not yet valid
    certificate verify failed
    certificate signed by unknown authority
    unable to verify the first certificate
    unable to get local issuer certificate
    unable to get issuer certificate
    hostname/ip does not match certificate
    certificate's altnames
    certificate altnames
    invalid ssl certificate
    wrong version number
    ssl routines
    tlsv1 alert
    alert handshake failure
    sslv3 alert
    unsupported protocol
    server does not support ssl
    server does not support tls
    server refused tls
    requires ssl
    require ssl
    insecure connection`,
    ["connection", /connection is insecure/]
  ],
  [
    configuration(),
    `
    missing credentials
    missing api key
    api key is missing
    api key must be
    api key is required
    must provide an api key
    no api key
    environment variable
    environment variables
    could not load credentials
    unable to locate credentials
    default credentials
    is not configured
    not configured
    endpoint cannot be found
    endpoint could not be found
    endpoint id is not specified
    endpoint is disabled
    project is paused
    has been paused
    service is disabled
    has not been used in project
    unsupported startup parameter
    unrecognized sslmode
    invalid connection url
    invalid connection string
    unsupported connection url protocol
    no username configured
    reserved startup parameter
    failed to parse url
    invalid url
    invalid uri
    only absolute urls
    only http
    redirect count exceeded
    maximum redirect reached
    too many redirects
    maximum number of redirects exceeded
    cannot find module
    cannot find package
    hook timed out
    read-only transaction
    read only replica
    readonly you can't write
    attempt to write a readonly database
    unknown database
    is deprecated
    has been deprecated
    no longer supported
    no longer available`,
    ["database", /database "[^"]*" does not exist/],
    ["schema", /schema "[^"]*" does not exist/],
    ["environment", /environment variables? .{0,60}(?:missing|not set|required)/],
    ["index", /than \d+ dimensions for \w+ index/],
    ["dimensions", /than \d+ dimensions for \w+ index/]
  ],
  [
    closed,
    `
    after calling end on the pool
    pool is closed
    pool has been closed
    pool was destroyed
    the client is closed
    client is closed
    client was closed
    client is destroyed
    database is closed
    database connection is closing
    topology is closed
    connection manager is closed
    connection manager has been closed
    after the client was closed`
  ],
  [
    invalid(),
    `
    syntax error
    cannot insert multiple commands
    bind message supplies
    invalid header value
    invalid character in header
    invalid http method
    invalid request method
    unsupported parameter
    unrecognized request argument
    unknown parameter
    missing required parameter
    missing required field
    ambiguous column
    failed to encode query
    wrong number of arguments
    unknown command
    operation against a key holding the wrong kind
    cross-slot
    crossslot
    busygroup
    commit rolled back an aborted transaction
    no filter`,
    ["column", /column .{1,100} (?:does not|doesn't) exist/],
    ["there", /there is no parameter \$/],
    ["no", /no such column/],
    ["unknown", /unknown column/],
    ["not", /is not valid json schema/]
  ],
  [
    invalidResponse,
    `
    is not valid json
    unexpected end of json input
    json parse error
    json.parse
    invalid json response
    invalid json
    unterminated string in json
    error parsing json
    failed to parse json
    unexpected response body
    invalid utf-8 in
    failed to decode
    empty response body
    parse error: expected http`,
    ["unexpected", /unexpected (?:token|character|non-whitespace|eof).{0,80}\bjson\b/],
    ["invalid", /invalid json\b/]
  ],
  [
    timeout("no"),
    `
    timeout exceeded when trying to connect
    connect timeout
    connection timeout
    connection timed out
    connection attempt timed out
    timed out while trying to connect
    timed out fetching a new connection
    timeout acquiring a connection
    authentication timed out
    query_wait_timeout
    sockettimeout connecting
    connection acquisition timed out`
  ],
  [
    timeout(),
    `
    statement timeout
    statement timed out
    query timeout
    query timed out
    query read timeout
    request timed out
    request timeout
    operation timed out
    operation timeout
    operation was aborted due to timeout
    aborted due to timeout
    gateway timeout
    gateway time-out
    deadline exceeded
    deadline has elapsed
    headers timeout
    body timeout
    socket timeout
    read timeout
    read timed out
    write timeout
    lock timeout exceeded
    idle-in-transaction timeout
    idle in transaction timeout
    transaction timeout
    canceling statement due to user request
    function_invocation_timeout
    task timed out
    inactivity timeout`,
    ["timeout", /timeout of \d+ ?ms exceeded/],
    ["timed", /timed out after \d+/],
    ["exceeded", /exceeded (?:timeout|time limit)/]
  ],
  [
    locked,
    `
    deadlock detected
    deadlock found
    could not serialize access
    could not obtain lock
    lock wait timeout exceeded
    canceling statement due to lock timeout
    due to lock timeout
    database is locked
    database table is locked
    write conflict
    restart transaction
    tuple concurrently updated
    conflict with recovery
    watched keys has been changed`
  ],
  [
    temporary,
    `
    cached plan must not change result type
    internal server error
    internal error
    an error occurred while processing your request
    you can retry your request
    the server had an error
    something went wrong
    control plane request timed out
    unexpected server error`,
    ["prepared", /prepared statement "[^"]*" does not exist/]
  ],
  [
    { ...unavailable("no"), detail: "TooManyConnections" },
    `
    too many database connection attempts
    too many connections
    too many connections attempts
    too many clients already
    too many clients
    max client connections reached
    max clients reached
    maximum number of clients reached
    no more connections allowed
    remaining connection slots are reserved
    connection limit exceeded
    connection pool exhausted
    couldn't connect to compute node
    couldn't connect to compute`
  ],
  [
    unavailable("no"),
    `
    the database system is starting up
    the database system is shutting down
    the database system is in recovery mode
    the database system is not yet accepting connections
    loading redis is loading
    redis is loading the dataset
    no healthy upstream
    no connection established
    service is starting
    model is loading
    currently loading`
  ],
  [
    unavailable(),
    `
    control plane request failed
    terminating connection due to administrator command
    terminating connection because of crash
    server is shutting down
    server shutdown
    service unavailable
    service temporarily unavailable
    temporarily unavailable
    currently unavailable
    currently overloaded
    is overloaded
    overloaded
    upstream connect error
    bad gateway
    web server is down
    web server is returning an unknown error
    origin is unreachable
    a timeout occurred
    under maintenance
    scheduled maintenance
    server is busy
    high demand
    at capacity
    capacity exceeded
    server selection
    clusterdown
    masterdown
    tryagain
    busy redis is busy
    not primary
    primary stepped down
    name resolution failed for target
    unavailable`,
    ["oom", /oom command not allowed/],
    ["misconf", /misconf redis/]
  ],
  [
    rateLimit,
    `
    rate limit
    rate limits
    rate limited
    rate-limit
    rate-limited
    ratelimit
    rate exceeded
    request limit exceeded
    too many requests
    too many concurrent requests
    tokens per min
    tokens per minute
    requests per min
    requests per minute
    throttled
    throttling
    slow down
    request was throttled`
  ],
  [
    network("no"),
    `
    connection refused
    connect refused
    could not connect to server
    could not translate host name
    can't reach database server
    unable to connect
    failed to connect
    name or service not known
    temporary failure in name resolution
    no route to host
    network is unreachable
    host is unreachable
    getaddrinfo`
  ],
  [
    network("unknown"),
    `
    connection terminated unexpectedly
    connection terminated
    connection ended unexpectedly
    server closed the connection
    server conn crashed
    connection closed
    connection is closed
    connection was closed
    connection lost
    connection dropped
    connection aborted
    connection error
    connection reset
    connection interrupted
    lost connection
    socket hang up
    socket closed
    socket has been ended
    socket disconnected
    other side closed
    premature close
    premature end
    broken pipe
    server has gone away
    has gone away
    stream closed
    stream isn't writeable
    failed to fetch
    load failed
    network error
    network request failed
    networkerror when attempting
    terminated
    peer disconnected
    remote end closed connection
    ssl connection has been closed unexpectedly
    unexpected eof`
  ],
  [
    unknown,
    `
    current transaction is aborted`
  ],
  [
    cancelled,
    `
    request was aborted
    operation was aborted
    user aborted a request
    request was cancelled
    request was canceled
    operation was cancelled
    operation was canceled
    request aborted
    request cancelled
    request canceled
    interrupted by user`
  ]
]

/** Single words and general phrases: asked last. The hopeless first. */
const wordRows: ReadonlyArray<Row> = [
  [
    authentication,
    `
    unauthorized
    unauthenticated
    authentication
    credentials
    api key`
  ],
  [
    authorization,
    `
    forbidden
    unauthorised
    not permitted
    not allowed
    not authorized`
  ],
  [
    notFound,
    `
    not found
    does not exist
    doesn't exist
    no such
    could not be found
    cannot be found
    unknown host`
  ],
  [
    tooLarge,
    `
    too large
    too long
    too big`
  ],
  [
    validation(),
    `
    validation failed
    validation error
    validation
    failed validation
    constraint`
  ],
  [
    invalid(),
    `
    bad request
    invalid request
    invalid argument
    invalid input
    invalid parameter
    invalid value
    invalid type
    malformed
    invalid
    must be
    is required
    unsupported
    not supported
    not implemented
    unexpected field
    unprocessable`
  ],
  [
    configuration(),
    `
    misconfigured
    configuration
    certificate`
  ],
  [
    timeout(),
    `
    timeout
    timed out
    time out
    time-out
    timedout`
  ],
  [
    rateLimit,
    `
    limit exceeded
    try again later`
  ],
  [
    unavailable(),
    `
    maintenance
    unreachable
    shutting down
    starting up`
  ],
  [
    network("unknown"),
    `
    disconnected
    disconnect
    econn
    dns
    network
    socket`
  ],
  [
    cancelled,
    `
    aborted
    cancelled
    canceled`
  ]
]

interface Entry {
  readonly rank: number
  readonly phrase: string
  readonly read: Reader
}

type Index = ReadonlyMap<string, ReadonlyArray<Entry>>

const isWord = (code: number): boolean =>
  (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 95 || code > 127

const firstWord = (phrase: string): string => {
  let end = 0
  while (end < phrase.length && isWord(phrase.charCodeAt(end))) end++
  return phrase.slice(0, end)
}

const index = (name: string, rows: ReadonlyArray<Row>, more: ReadonlyArray<readonly [string, Reader]> = []): Index => {
  const entries = new Map<string, Array<Entry>>()
  let rank = 0
  const add = (word: string, phrase: string, read: Reader): void => {
    const list = entries.get(word) ?? []
    list.push({ rank: rank++, phrase, read })
    entries.set(word, list)
  }
  for (const [meaning, phrases, ...patterns] of rows) {
    for (const phrase of phrases.split("\n").map((line) => line.trim())) {
      if (phrase === "") continue
      const decision: Decision = { ...meaning, rule: `${name}:${phrase}` }
      add(firstWord(phrase), phrase, () => decision)
    }
    for (const [word, pattern] of patterns) {
      const decision: Decision = { ...meaning, rule: `${name}:${pattern.source}` }
      add(word, "", (text) => pattern.test(text) ? decision : undefined)
    }
  }
  for (const [word, read] of more) add(word, "", read)
  return entries
}

/** The decision of the SQLSTATE, by its row or its class. */
export const sqlState = (state: string): Decision | undefined => {
  if (state.length !== 5) return undefined
  return sqlStates.get(state) ?? sqlClasses.get(state.slice(0, 2))
}

// `SQLSTATE[40001]`, `(SQLSTATE 57P01)`, and Prisma's "Code: `42P01`".
const stated: Reader = (text) => {
  const match = /\bsqlstate\b[^0-9a-z]{0,4}([0-9a-z]{5})\b/.exec(text) ?? /\bcode: [`"]([0-9a-z]{5})[`"]/.exec(text)
  return match?.[1] === undefined ? undefined : sqlState(match[1].toUpperCase())
}

// Codes that are words of the text. Short ones could be anything.
const written = [...clientCodes]
  .filter(([code]) => /^(?:E[A-Z_]{5,}|(?:UND_ERR|ERR|SQLITE|ER)_\w+|EPIPE|EPROTO)$/.test(code))
  .map(([code, decision]): readonly [string, Reader] => [code.toLowerCase(), () => decision])

const driverIndex = index("text", driverRows, [["sqlstate", stated], ["code", stated], ...written])
const wordIndex = index("words", wordRows)

/** A word with an underscore in it may be an API's code. */
const codeInText = (word: string): Decision | undefined => {
  const code = normalize(word)
  return apiCodes.get(code) ?? genericCodes.get(code)
}

const search = (entries: Index, text: string, codes: boolean): Decision | undefined => {
  let rank = Number.MAX_SAFE_INTEGER
  let found: Decision | undefined
  let coded: Decision | undefined
  const { length } = text
  for (let start = 0; start < length; start++) {
    if (!isWord(text.charCodeAt(start))) continue
    let end = start + 1
    let underscore = false
    while (end < length && isWord(text.charCodeAt(end))) {
      if (text.charCodeAt(end) === 95) underscore = true
      end++
    }
    // Longer runs are ids, keys or base64.
    if (end - start > 64) {
      start = end
      continue
    }
    const word = text.slice(start, end)
    const list = entries.get(word)
    if (list !== undefined) {
      for (const entry of list) {
        if (entry.rank >= rank) break
        const { phrase } = entry
        if (phrase !== "" && (!text.startsWith(phrase, start) || isWord(text.charCodeAt(start + phrase.length)))) {
          continue
        }
        const decision = entry.read(text)
        if (decision !== undefined) {
          rank = entry.rank
          found = decision
          break
        }
      }
    } else if (codes && underscore && coded === undefined) coded = codeInText(word)
    start = end
  }
  return found === undefined ? coded : coded !== undefined && isFinal(coded) && !isFinal(found) ? coded : found
}

const finals = new Set<string>([
  "AuthenticationError",
  "AuthorizationError",
  "InvalidRequestError",
  "NotFoundError",
  "ConfigurationError",
  "ValidationError",
  "CriticalError"
])

/** Whether no repetition can cure it. */
export const isFinal = (decision: Decision): boolean => finals.has(decision.tag)

/** What the phrases of drivers and providers, and the codes within the text, say. `text` is in lower case. */
export const driverText = (text: string): Decision | undefined => search(driverIndex, text, true)

/** What general words say. */
export const wordText = (text: string): Decision | undefined => search(wordIndex, text, false)

// `HTTP status 500`, `status code: 503`, `Error code: 429`, `HTTP/1.1 503`, `| 520:`, `Unexpected Response: 404`
const statusPattern =
  /\b(?:http(?:\/[\d.]+)?|http error|http_code|status(?:[ _-]?code)?|error code|response(?: code|:))[\s:=("'[]{0,4}(?:status(?:[ _-]?code)?|code|http|error)?[\s:=("'[]{0,4}([45]\d\d)\b(?![.,]?\d|%| ?ms\b)|\| ([45]\d\d): /

const reasonPhrases =
  /^(?:bad |unauthori|payment |forbidden|not found|method not|request |conflict|gone|unprocess|too many|internal |not impl|gateway |service |status code|unavailable|no body)/

/** The HTTP status that a text states as one: digits that are amounts, ports or parts of words are none. */
export const statusInText = (text: string): number => {
  const stated = statusPattern.exec(text)
  if (stated !== null) return Number(stated[1] ?? stated[2])
  // `404 Not Found`, `503: ...`, `429 {"error": ...}`, `<title>502 Bad Gateway`
  const leading = /(?:^|^error:? |<title>|<h1>)\s*\(?([45]\d\d)\)?(\s*[:{<,.-]|\s+)/.exec(text)
  if (leading === null) return 0
  const rest = text.slice(leading.index + leading[0].length)
  return leading[2]?.trim() !== "" || reasonPhrases.test(rest) ? Number(leading[1]) : 0
}
