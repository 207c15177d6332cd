/**
 * What messages say, for failures that carry no code: phrases of drivers, proxies and providers. A phrase counts as whole
 * words only, in any case, and no phrase has a digit in it.
 */
import { type Meaning, meanings } from "./classificationTables.ts"

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

/** A pattern is tried only where its first word stands, and from there. */
type Pattern = readonly [word: string, pattern: RegExp]

/** A meaning, and what says so: phrases between bars, then patterns. */
export type Row = readonly [meaning: Meaning, phrases: string, ...patterns: ReadonlyArray<Pattern>]

const dimension = validation("DimensionMismatch")
const modelMissing = configuration("ModelMissing")
const closed = configuration("ClientClosed")
const duplicate = validation("Duplicate")
const locked: Meaning = { ...temporary, detail: "Locked" }

/** In order: where two say something, the upper one wins. What no retry cures stands above what one may. */
export const driverRows: ReadonlyArray<Row> = [
  [
    defect,
    `
    cannot read properties of | cannot read property | cannot set properties of | cannot set property |
    cannot destructure property | cannot convert undefined or null | before initialization | is not a function |
    is not a constructor | is not iterable | undefined is not | null is not | converting circular structure |
    assignment to constant variable | reduce of empty array | illegal invocation | object is not extensible`
  ],
  [
    critical(),
    `
    heap out of memory | maximum call stack size exceeded | array buffer allocation failed |
    cannot allocate memory | too many open files | invalid page in block | could not read block |
    database disk image is malformed`
  ],
  [
    critical("DiskFull"),
    "no space left on device | disk quota exceeded | database or disk is full | disk full"
  ],
  // Rates that call themselves quotas, and quotas that are no rates.
  [quota, "", ["quota", /quota[^]{0,300}?(?:per[ _]?day|limit: 0\b)/]],
  [
    rateLimit,
    "",
    ["quota", /quota[^]{0,300}?(?:per[ _]?(?:minute|second|100 seconds)|retry in \d)/],
    ["exceeded", /exceeded your[^]{0,300}?(?:per[ _]?(?:minute|second)|retry in \d)/]
  ],
  [
    quota,
    `
    exceeded your current quota | check your plan and billing | credit balance is too low | billing hard limit |
    billing has been disabled | data transfer quota | compute time quota | check your quotas |
    exceeded the quota | exceeded its quota | exceeded your quota | quota exceeded | quota has been exceeded |
    quota exhausted | out of quota | monthly quota | monthly limit | daily quota | daily limit | spend limit |
    spending limit | usage limit | usage limits | plan limit | insufficient credits | insufficient credit |
    insufficient balance | out of credits | more credits | payment required |
    payment method | upgrade your plan | upgrade to a paid | subscription has expired | trial has expired |
    trial has ended | free tier limit | account is past due | account is not active |
    max daily request limit exceeded | exceeded the limit of concurrently active endpoints`,
    ["exceeded", /exceeded (?:the|your|its) (?:monthly |daily |free |included )?[\w -]{0,40}(?:quota|allowance)\b/],
    ["exceeded", /exceeded the (?:limit of )?[\w -]{0,30}(?:compute time|data transfer|storage|active time|endpoints)/]
  ],
  [
    tooLarge,
    `
    maximum context length | context length exceeded | context length limit | exceeds the context |
    exceed context limit | context window | too many tokens | prompt is too long | input is too long |
    input too long | reduce the length | reduce your prompt | maximum input length | request too large |
    request entity too large | request body too large | payload too large | content too large |
    received message larger than max | sent message larger than max | string too long | array too long |
    max tokens per request | maxcontentlength size | maxbodylength larger than | maximum allowed size`,
    ["requested", /requested \d+ tokens, max \d+/],
    ["exceeds", /exceeds the (?:maximum|max|limit)\b/],
    ["size", /size (?:of [\w.]+ )?exceed(?:s|ed)\b/],
    ["exceed", /exceed the (?:maximum|max|limit)\b/],
    ["tokens", /tokens .{0,40}exceeds?\b/]
  ],
  [
    dimension,
    `
    different vector dimensions | dimension mismatch | vector dimension error | wrong vector dimension |
    vector lengths don't match | embedding dimension`,
    ["expected", /expected \d+ dimensions?, not \d+/],
    ["dimension", /dimension .{0,80}(?:does not|doesn't) match/],
    ["dimensions", /dimensions .{0,80}(?:do not|don't) match/],
    ["expected", /expected dim\w*:? \d+/]
  ],
  [
    validation(),
    `
    not allowed in vector | violates not-null constraint | violates check constraint |
    violates foreign key constraint | violates exclusion constraint | foreign key constraint failed |
    foreign key constraint fails | not null constraint failed | check constraint failed | invalid input syntax |
    invalid byte sequence | value too long for type | out of range for type | invalid input value for enum |
    data too long for column | cannot be null | null value in column`,
    // What begins so quotes the refused data afterwards, which may say anything.
    ["validation", /^validation (?:failed|error)\b/],
    ["must", /^must (?:have|match|contain|equal|be|not)\b/],
    ["cast", /cast to \w+ failed for value/]
  ],
  [
    duplicate,
    `
    duplicate key value violates | violates unique constraint | duplicate key error | duplicate entry |
    unique constraint failed | already exists`
  ],
  [
    authentication,
    `
    password authentication failed | incorrect api key | invalid api key | api key not valid | api key not found |
    api key is invalid | api key expired | api key has expired | invalid x-api-key | invalid authentication |
    authentication failed | authentication required | no api key provided | invalid credentials |
    invalid credential | incorrect username or password | invalid username or password | wrong password |
    bad credentials | login incorrect | token has expired | token is expired | token expired | jwt expired | jwt malformed |
    invalid jwt | invalid token | invalid signature | invalid access token | invalid bearer token |
    security token included in the request | access denied for user | login failed for user | wrongpass invalid |
    err invalid password | noauth | not authenticated | not logged in | client password must be a string |
    you didn't provide an api key | didn't provide an api key | role does not exist |
    server requested password authentication | without proving its identity | unsupported sasl mechanisms |
    no pg_hba.conf entry | signature verification failed | signature verification failure |
    matching the expected signature`,
    ["role", /role "[^"]*" (?:does not exist|is not permitted to log in)/],
    ["token", /token .{0,40}\b(?:expired|revoked|invalid)\b/],
    ["api", /api[ -]key .{0,40}\b(?:invalid|expired|revoked|rejected|disabled)\b/],
    ["api_key", /api_key .{0,40}\b(?:invalid|expired|revoked)\b/],
    ["apikey", /apikey .{0,40}\b(?:invalid|expired|revoked)\b/]
  ],
  // Neon says "or you don't have access to it" in the same breath.
  [configuration(), "endpoint could not be found | endpoint cannot be found"],
  [
    authorization,
    `
    permission denied | permissions denied | insufficient permissions | insufficient permission |
    insufficient privileges | insufficient scope | insufficient authentication scopes | missing scopes |
    missing scope | lacks the required | lacks permission | not authorized to perform | is not authorized | not authorized on |
    not have permission | not have permissions | don't have access | do not have access | not have access |
    not allowed to access | access is denied | access denied | must be verified | blocked network | vpc endpoint |
    row-level security | must be owner of | territory not supported | not available in your country |
    not available in your region | location is not supported | unsupported_country | noperm | not entitled |
    you have been blocked | attention required | just a moment | account has been suspended |
    account has been disabled`,
    ["ip", /ip address .{0,60}not allowed/],
    ["ip", /ip .{0,40}not (?:authorized|whitelisted|in the allow)/]
  ],
  [
    modelMissing,
    `
    model does not exist | model not found | deployment for this resource does not exist | unknown model`,
    [
      "model",
      /model [`'"]?[\w.:/-]+[`'"]? (?:does not exist|not found|was not found|is not found|has been deprecated)/
    ]
  ],
  [
    missing,
    "operator does not exist | no such table",
    ["relation", /relation "[^"]*" does not exist/],
    ["type", /type "[^"]*" does not exist/],
    ["function", /function .{1,200} does not exist/],
    ["extension", /extension "[^"]*" (?:is not available|does not exist|must be)/],
    ["table", /table .{1,100} (?:does not|doesn't) exist/],
    ["access", /access method "[^"]*" does not exist/]
  ],
  [
    tls,
    `
    self-signed certificate | self signed certificate | certificate has expired | certificate is not yet valid |
    certificate verify failed | certificate signed by unknown authority | unable to verify the first certificate |
    unable to get local issuer certificate | unable to get issuer certificate |
    hostname/ip does not match certificate | certificate's altnames | certificate altnames |
    invalid ssl certificate | wrong version number | ssl routines | tlsv1 alert | alert handshake failure |
    sslv3 alert | unsupported protocol | server does not support ssl | server does not support tls |
    server refused tls | requires ssl | require ssl | connection is insecure | insecure connection`
  ],
  [
    configuration(),
    `
    missing credentials | missing api key | api key is missing | api key must be | api key is required |
    must provide an api key | no api key | environment variable | environment variables |
    could not load credentials | unable to locate credentials | default credentials | is not configured |
    not configured | endpoint id is not specified |
    endpoint is disabled | project is paused | has been paused | service is disabled |
    has not been used in project | unsupported startup parameter | unrecognized sslmode | invalid connection url |
    invalid connection string | unsupported connection url protocol | no username configured |
    reserved startup parameter | failed to parse url | invalid url | invalid uri | only absolute urls |
    unknown scheme | bad port | scheme must be | unexpected redirect | region is missing |
    only http | redirect count exceeded | maximum redirect reached | too many redirects |
    maximum number of redirects exceeded | cannot find module | cannot find package | read-only transaction |
    read only replica | readonly you can't write | attempt to write a readonly database | unknown database |
    is deprecated | has been deprecated | no longer supported | no longer in service`,
    ["database", /database "[^"]*" does not exist/],
    ["schema", /schema "[^"]*" does not exist/],
    ["environment", /environment variables? .{0,60}(?:missing|not set|required)/],
    ["than", /than \d+ dimensions for \w+ index/]
  ],
  [
    closed,
    `
    after calling end on the pool | pool is closed | pool has been closed | pool was destroyed |
    the client is closed | client is closed | client was closed | client is destroyed | database is closed |
    database connection is closing | topology is closed | connection manager is closed |
    connection manager has been closed | after the client was closed`
  ],
  [
    invalid(),
    `
    syntax error | no viable alternative at input | undefined binding | cannot insert multiple commands | bind message supplies | invalid header value |
    invalid character in header | invalid http method | invalid request method | unsupported parameter |
    unrecognized request argument | unknown parameter | missing required parameter | missing required field |
    ambiguous column | failed to encode query | wrong number of arguments | unknown command |
    operation against a key holding the wrong kind | cross-slot | crossslot | busygroup |
    commit rolled back an aborted transaction | there is no parameter | no such column | unknown column`,
    ["column", /column .{1,100} (?:does not|doesn't) exist/],
    // What begins so quotes what was given.
    ["invalid", /^invalid (?:enum value|input|value|type|option|parameter|argument)\b/],
    ["field", /^field ['"`]/],
    ["property", /^property ['"`]/],
    ["parameter", /^parameter ['"`]/],
    ["argument", /^argument ['"`]/],
    ["option", /^option ['"`]/]
  ],
  [
    invalidResponse,
    `
    is not valid json | unexpected end of json input | json parse error | json.parse | invalid json response |
    invalid json | unterminated string in json | error parsing json | failed to parse json |
    unexpected response body | invalid utf-8 in | failed to decode | empty response body |
    parse error: expected http`,
    ["unexpected", /unexpected (?:token|character|non-whitespace|eof).{0,80}\bjson\b/]
  ],
  [
    timeout("no"),
    `
    timeout exceeded when trying to connect | connect timeout | connection timeout | connection timed out |
    connection attempt timed out | timed out while trying to connect | timed out fetching a new connection |
    timeout acquiring a connection | authentication timed out | query_wait_timeout | sockettimeout connecting |
    connection acquisition timed out`
  ],
  [
    timeout(),
    `
    statement timeout | statement timed out | query timeout | query timed out | query read timeout |
    request timed out | request timeout | operation timed out | operation timeout |
    operation was aborted due to timeout | aborted due to timeout | gateway timeout | gateway time-out |
    deadline exceeded | deadline has elapsed | headers timeout | body timeout | socket timeout | read timeout |
    read timed out | write timeout | lock timeout exceeded | idle-in-transaction timeout |
    idle in transaction timeout | transaction timeout | canceling statement due to user request |
    function_invocation_timeout | task timed out | inactivity timeout`,
    ["timeout", /timeout of \d+ ?ms exceeded/],
    ["timed", /timed out after \d+/],
    ["exceeded", /exceeded (?:timeout|time limit)/]
  ],
  [
    locked,
    `
    deadlock detected | deadlock found | could not serialize access | could not obtain lock |
    lock wait timeout exceeded | canceling statement due to lock timeout | due to lock timeout |
    database is locked | database table is locked | write conflict | restart transaction |
    tuple concurrently updated | conflict with recovery | watched keys has been changed |
    deadlocked on lock resources | deadlock victim`
  ],
  [
    temporary,
    `
    cached plan must not change result type | internal server error | internal error |
    an error occurred while processing your request | you can retry your request | the server had an error |
    something went wrong | control plane request timed out | unexpected server error`,
    ["prepared", /prepared statement "[^"]*" does not exist/]
  ],
  [
    { ...unavailable("no"), detail: "TooManyConnections" },
    `
    too many database connection attempts | too many connections | too many connections attempts |
    too many clients already | too many clients | max client connections reached | max clients reached |
    maximum number of clients reached | max number of clients reached | no more connections allowed |
    remaining connection slots are reserved | connection limit exceeded | connection pool exhausted |
    couldn't connect to compute node | couldn't connect to compute`
  ],
  [
    unavailable("no"),
    `
    the database system is starting up | the database system is shutting down |
    the database system is in recovery mode | the database system is not yet accepting connections |
    loading redis is loading | redis is loading the dataset | no healthy upstream | no connection established |
    service is starting | model is loading | currently loading`
  ],
  [
    unavailable(),
    `
    control plane request failed | terminating connection due to administrator command |
    terminating connection because of crash | server is shutting down | server shutdown | service unavailable |
    service temporarily unavailable | temporarily unavailable | currently unavailable | currently overloaded |
    is overloaded | overloaded | upstream connect error | bad gateway | web server is down |
    web server is returning an unknown error | origin is unreachable | a timeout occurred | under maintenance |
    scheduled maintenance | server is busy | high demand | at capacity | capacity exceeded | server selection |
    clusterdown | masterdown | tryagain | busy redis is busy | not primary | primary stepped down |
    name resolution failed for target | oom command not allowed | misconf redis`
  ],
  [
    rateLimit,
    `
    rate limit | rate limits | rate limited | rate-limit | rate-limited | ratelimit | rate exceeded |
    request limit exceeded | too many requests | too many concurrent requests | tokens per min |
    tokens per minute | requests per min | requests per minute | throttled | throttling | slow down |
    request was throttled | abuse detection`
  ],
  [
    network("no"),
    `
    connection refused | connect refused | could not connect to server | could not translate host name |
    can't reach database server | unable to connect | cannot connect to api | cannot connect to |
    could not connect | failed to connect | name or service not known | temporary failure in name resolution |
    no route to host | network is unreachable | host is unreachable | getaddrinfo`
  ],
  [
    network("unknown"),
    `
    connection terminated unexpectedly | connection terminated | connection ended unexpectedly |
    server closed the connection | server conn crashed | connection closed | connection is closed |
    connection was closed | connection lost | connection dropped | connection aborted | connection error |
    connection reset | connection interrupted | lost connection | socket hang up | socket closed |
    socket has been ended | socket disconnected | other side closed | premature close | premature end |
    broken pipe | server has gone away | has gone away | stream closed | stream isn't writeable |
    failed to fetch | load failed | network error | network request failed | networkerror when attempting |
    peer disconnected | remote end closed connection | ssl connection has been closed unexpectedly |
    unexpected eof`,
    ["terminated", /^terminated$/]
  ],
  [
    unknown,
    "current transaction is aborted"
  ],
  [
    cancelled,
    `
    request was aborted | operation was aborted | user aborted a request | request was cancelled |
    request was canceled | operation was cancelled | operation was canceled | request aborted |
    request cancelled | request canceled | interrupted by user`
  ]
]

/** Single words and general phrases: asked last. The hopeless first. */
export const wordRows: ReadonlyArray<Row> = [
  [
    authentication,
    "unauthorized | unauthenticated | authentication | credentials | api key"
  ],
  [
    authorization,
    "forbidden | unauthorised | not permitted | not allowed | not authorized"
  ],
  [
    notFound,
    `
    not found | does not exist | doesn't exist | no such | could not be found | cannot be found | unknown host`
  ],
  [
    tooLarge,
    "too large | too long | too big"
  ],
  [
    validation(),
    "validation failed | validation error | validation | failed validation | constraint"
  ],
  [
    invalid(),
    `
    bad request | invalid request | invalid argument | invalid input | invalid parameter | invalid value |
    invalid type | malformed | invalid | must be | is required | unsupported | not supported | not implemented | unimplemented |
    must have | must match | must contain | must not |
    unexpected field | unprocessable`
  ],
  [
    configuration(),
    "misconfigured | configuration | certificate"
  ],
  [
    timeout(),
    "timeout | timed out | time out | time-out | timedout"
  ],
  [
    rateLimit,
    "limit exceeded | try again later"
  ],
  [
    unavailable(),
    "unavailable | maintenance | unreachable | shutting down | starting up"
  ],
  [
    network("unknown"),
    `
    disconnected | disconnect | econn | dns | network failure | network failed | network problem | network issue |
    network connection | network changed | network down | network is down | socket`
  ],
  [
    cancelled,
    "aborted | cancelled | canceled"
  ]
]
