/**
 * What codes mean: one row for each meaning, the codes beside it. Families (a class of SQLSTATE, the words a code is made
 * of) stand below the single codes and catch what no row names.
 */
import type { Delivered, ReasonTag, Severity, VerdictOverrides } from "../ProviderError.ts"

/** What a rule says of a failure. */
export interface Decision {
  readonly tag: ReasonTag
  /** The rule's name and the fact it went by, such as `sqlstate:57P01`. Defaults to the rule's name. */
  readonly rule?: string | undefined
  readonly detail?: string | undefined
  /** Defaults to `"yes"` when there was an answer, else to `"unknown"`. */
  readonly delivered?: Delivered | undefined
  readonly overrides?: VerdictOverrides | undefined
  /** Defaults to the category's own. */
  readonly severity?: Severity | undefined
}

export type Meaning = Omit<Decision, "rule">

/** How long a circuit stays open when credit is used up: nothing but a payment ends it. */
const quotaOpenMillis = 300_000

const network = (delivered: Delivered): Meaning => ({ tag: "NetworkError", delivered })
const timeout = (delivered?: Delivered): Meaning => ({ tag: "TimeoutError", delivered })
const configuration = (detail?: string): Meaning => ({ tag: "ConfigurationError", detail })
const validation = (detail?: string): Meaning => ({ tag: "ValidationError", detail })
const invalid = (detail?: string): Meaning => ({ tag: "InvalidRequestError", detail })
const unavailable = (delivered?: Delivered): Meaning => ({ tag: "ServiceUnavailableError", delivered })
const temporary: Meaning = { tag: "TemporaryFailureError" }
const rateLimit: Meaning = { tag: "RateLimitError" }
const authentication: Meaning = { tag: "AuthenticationError" }
const authorization: Meaning = { tag: "AuthorizationError" }
const notFound: Meaning = { tag: "NotFoundError" }
const critical = (detail?: string): Meaning => ({ tag: "CriticalError", detail })

/** Nothing was done, so that even work that is no read may be repeated. */
const rolledBack: Meaning = { ...temporary, detail: "RolledBack", overrides: { retry: "Always" } }
/** It may have been done or not; to repeat it blindly would be wrong. */
const outcomeUnknown: Meaning = {
  ...temporary,
  detail: "OutcomeUnknown",
  delivered: "unknown",
  overrides: { retry: "Never" }
}
const transient = (reason: string): Meaning => ({ ...temporary, detail: reason })
const quota: Meaning = {
  ...configuration("QuotaExhausted"),
  severity: "Critical",
  overrides: { breaker: "Failure", openForMillis: quotaOpenMillis }
}
/** The answer is no answer: HTML or nothing where JSON was expected. Often a proxy's doing, so that a read may be repeated. */
const invalidResponse: Meaning = {
  tag: "UnknownError",
  detail: "InvalidResponse",
  overrides: { retry: "IfIdempotent" }
}
const cancelled: Meaning = {
  tag: "UnknownError",
  detail: "Cancelled",
  overrides: { fallback: "Stop", breaker: "Ignored" }
}
/** A fault of the program: it says nothing about the provider. */
const defect: Meaning = { tag: "UnknownError", detail: "Defect", overrides: { breaker: "Ignored" } }
/** A client used after it was closed: a new one would work, this one never. */
const closedClient: Meaning = configuration("ClientClosed")
const missing: Meaning = configuration("MigrationMissing")
const tls: Meaning = configuration("Tls")
const tooLarge: Meaning = validation("InputTooLarge")
const unknown: Meaning = { tag: "UnknownError" }

export const meanings = {
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
}

// The same codes come again and again; a bounded memo saves their analysis.
export const memo = (analyse: (code: string) => Decision | undefined): (code: string) => Decision | undefined => {
  const known = new Map<string, Decision | null>()
  return (code) => {
    const hit = known.get(code)
    if (hit !== undefined) return hit ?? undefined
    const result = analyse(code)
    if (code.length <= 64) {
      if (known.size >= 1_000) known.clear()
      known.set(code, result ?? null)
    }
    return result
  }
}

export type Table = ReadonlyMap<string, Decision>

type Rows = ReadonlyArray<readonly [Meaning, string]>

/** Rows of a meaning and its codes, separated by spaces. */
const table = (name: string, rows: Rows): Table =>
  new Map(
    rows.flatMap(([meaning, codes]) =>
      codes.split(/\s+/).map((code): [string, Decision] => [code, { ...meaning, rule: `${name}:${code}` }])
    )
  )

/** Letters and digits in lower case, without the ending that tells only that it is an error. */
export const normalize = (code: string): string =>
  code.toLowerCase().replace(/[^a-z0-9]/g, "").replace(/(?:exception|error)$/, "")

/** Node, DNS, TLS, undici, Bun, Deno; and the clients that have codes of their own. */
export const clientCodes = table("code", [
  [
    network("no"),
    `ECONNREFUSED EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME ENOTFOUND ESERVFAIL EREFUSED ENODATA ENETUNREACH
    ENETDOWN EHOSTUNREACH EHOSTDOWN EADDRNOTAVAIL ConnectionRefused FailedToOpenSocket P1001 P6008 CONNECTION_REFUSED
    ERR_SOCKS_PROXY_TUNNEL`
  ],
  [
    network("unknown"),
    `ECONNRESET ECONNABORTED EPIPE ENOTCONN ESHUTDOWN ENETRESET ECONNCLOSED ESOCKET UND_ERR_SOCKET
    UND_ERR_RES_CONTENT_LENGTH_MISMATCH ERR_STREAM_PREMATURE_CLOSE ERR_STREAM_WRITE_AFTER_END ERR_STREAM_DESTROYED
    ERR_SOCKET_CLOSED ERR_SOCKET_CLOSED_BEFORE_CONNECTION ERR_HTTP2_STREAM_ERROR ERR_HTTP2_SESSION_ERROR
    ERR_HTTP2_GOAWAY_SESSION ERR_HTTP2_INVALID_SESSION ERR_HTTP2_INVALID_STREAM ERR_HTTP2_STREAM_CANCEL
    ERR_HTTP2_SOCKET_UNBOUND CONNECTION_CLOSED CONNECTION_DESTROYED PROTOCOL_CONNECTION_LOST ConnectionClosed
    ConnectionReset BrokenPipe P1017 NR_CLOSED ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ERR_SSL_BAD_RECORD_TYPE
    ERR_NETWORK_CHANGED`
  ],
  [
    timeout("no"),
    `UND_ERR_CONNECT_TIMEOUT CONNECT_TIMEOUT ERR_SOCKET_CONNECTION_TIMEOUT ERR_TLS_HANDSHAKE_TIMEOUT
    P1002 P2024`
  ],
  [
    timeout("unknown"),
    `ETIMEDOUT ESOCKETTIMEDOUT ETIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT
    ERR_HTTP_REQUEST_TIMEOUT PROTOCOL_SEQUENCE_TIMEOUT P1008 P5004 P5009 P6004 P6009 ER_QUERY_TIMEOUT ER_EXECUTE_TIMEOUT
    ERR_SCRIPT_EXECUTION_TIMEOUT TimedOut`
  ],
  [{ ...temporary, delivered: "no" }, "EAGAIN EWOULDBLOCK EBUSY EINTR ETXTBSY"],
  [
    transient("Locked"),
    `SQLITE_BUSY SQLITE_BUSY_RECOVERY SQLITE_BUSY_SNAPSHOT SQLITE_BUSY_TIMEOUT SQLITE_LOCKED
    SQLITE_LOCKED_SHAREDCACHE ER_LOCK_WAIT_TIMEOUT LockTimeout`
  ],
  [rolledBack, "ER_LOCK_DEADLOCK P2034 WriteConflict SQLITE_ABORT_ROLLBACK"],
  [temporary, "P2028 P5000 P5006 P6000 P6005 P6006"],
  [
    unavailable("no"),
    "ER_CON_COUNT_ERROR ER_TOO_MANY_USER_CONNECTIONS ER_SERVER_SHUTDOWN POOL_ENQUEUELIMIT P2037 ENOBUFS"
  ],
  [
    unavailable(),
    "P5001 P5003 P5010 NotWritablePrimary PrimarySteppedDown ShutdownInProgress InterruptedDueToReplStateChange"
  ],
  [rateLimit, "P5011 P6011"],
  [quota, "P5008 P6003"],
  [
    invalidResponse,
    `HPE_CB_BODY HPE_INVALID_CONSTANT HPE_INVALID_VERSION HPE_INVALID_STATUS HPE_INVALID_HEADER_TOKEN
    HPE_INVALID_CONTENT_LENGTH HPE_INVALID_CHUNK_SIZE HPE_INVALID_EOF_STATE HPE_UNEXPECTED_CONTENT_LENGTH
    HPE_INVALID_TRANSFER_ENCODING HPE_CR_EXPECTED HPE_LF_EXPECTED HPE_STRICT HPE_INVALID_INTERNAL_STATE
    ERR_INVALID_RESPONSE ERR_CONTENT_DECODING_FAILED Z_DATA_ERROR Z_BUF_ERROR ERR_BODY_PARSE_FAILURE
    ERR_ENCODING_INVALID_ENCODED_DATA`
  ],
  [invalid("InvalidResponse"), "UND_ERR_RES_EXCEEDED_MAX_SIZE UND_ERR_HEADERS_OVERFLOW HPE_HEADER_OVERFLOW"],
  [
    tls,
    `EPROTO CERT_HAS_EXPIRED CERT_NOT_YET_VALID CERT_REVOKED CERT_REJECTED CERT_UNTRUSTED CERT_SIGNATURE_FAILURE
    CERT_CHAIN_TOO_LONG CRL_HAS_EXPIRED DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN HOSTNAME_MISMATCH INVALID_CA
    INVALID_PURPOSE PATH_LENGTH_EXCEEDED ERR_TLS_CERT_ALTNAME_INVALID UND_ERR_PRX_TLS UND_ERR_SECURE_PROXY_CONNECTION
    P1011`
  ],
  [
    configuration(),
    `EADDRINUSE EAFNOSUPPORT EPROTONOSUPPORT ENOSYS EROFS ERR_INVALID_URL ERR_INVALID_PROTOCOL
    MODULE_NOT_FOUND ERR_MODULE_NOT_FOUND ERR_PACKAGE_PATH_NOT_EXPORTED ERR_REQUIRE_ESM ERR_DLOPEN_FAILED
    ERR_UNSUPPORTED_PROTOCOL ERR_TOO_MANY_REDIRECTS ERR_FR_TOO_MANY_REDIRECTS EINSTLOOKUP ERR_SSL_NO_CIPHER_MATCH
    AUTH_TYPE_NOT_IMPLEMENTED P1003 P1012 P1013 P1014 P1015 P1016 P2021 P2022 P5002 P5005 P6001 P6010 ER_BAD_DB_ERROR
    ER_NO_SUCH_TABLE ER_BAD_FIELD_ERROR ER_OPTION_PREVENTS_STATEMENT ER_HOST_IS_BLOCKED ER_HOST_NOT_PRIVILEGED
    ER_NOT_SUPPORTED_AUTH_MODE SQLITE_CANTOPEN SQLITE_READONLY SQLITE_READONLY_DBMOVED SQLITE_NOTADB NamespaceNotFound
    ERR_INVALID_PACKAGE_CONFIG ERR_PROXY_INVALID_CONFIG EENDPOINT ENCRYPT EINSTANCE`
  ],
  [
    closedClient,
    `UND_ERR_DESTROYED UND_ERR_CLOSED CONNECTION_ENDED POOL_CLOSED PROTOCOL_ENQUEUE_AFTER_QUIT
    PROTOCOL_ENQUEUE_AFTER_DESTROY PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR ECLOSE ENOTOPEN`
  ],
  [
    authentication,
    `P1000 P5007 P6002 ELOGIN ER_ACCESS_DENIED_ERROR ER_ACCESS_DENIED_NO_PASSWORD_ERROR ER_MUST_CHANGE_PASSWORD
    ER_ACCOUNT_HAS_BEEN_LOCKED SASL_SIGNATURE_MISMATCH AuthenticationFailed AtlasError SQLITE_AUTH EAUTH`
  ],
  [
    authorization,
    `EACCES EPERM P1010 ER_DBACCESS_DENIED_ERROR ER_TABLEACCESS_DENIED_ERROR ER_COLUMNACCESS_DENIED_ERROR
    ER_SPECIFIC_ACCESS_DENIED_ERROR SQLITE_PERM ERR_ACCESS_DENIED`
  ],
  [notFound, "ENOENT ENOTDIR ESRCH ENODEV ENXIO P2001 P2015 P2018 P2025 SQLITE_NOTFOUND"],
  [
    invalid(),
    `EINVAL EISDIR EEXIST ENOTEMPTY ELOOP ENAMETOOLONG EBADF EDOM ENOTSUP EOPNOTSUPP EMSGSIZE EFBIG E2BIG EXDEV
    UND_ERR_INVALID_ARG UND_ERR_INVALID_RETURN_VALUE UND_ERR_REQ_CONTENT_LENGTH_MISMATCH UND_ERR_NOT_SUPPORTED
    ERR_INVALID_ARG_TYPE ERR_INVALID_ARG_VALUE ERR_INVALID_CHAR ERR_HTTP_INVALID_HEADER_VALUE ERR_HTTP_HEADERS_SENT
    ERR_UNESCAPED_CHARACTERS ERR_INVALID_HTTP_TOKEN ERR_OUT_OF_RANGE ERR_MISSING_ARGS ERR_METHOD_NOT_IMPLEMENTED
    ERR_BAD_OPTION ERR_BAD_OPTION_VALUE ERR_NOT_SUPPORT ERR_INVALID_OPT_VALUE NOT_TAGGED_CALL UNSAFE_TRANSACTION
    MAX_PARAMETERS_EXCEEDED MESSAGE_NOT_SUPPORTED P2008 P2009 P2016 P2026 ER_PARSE_ERROR ER_EMPTY_QUERY
    ER_SYNTAX_ERROR ER_WRONG_VALUE_COUNT_ON_ROW SQLITE_ERROR SQLITE_MISUSE SQLITE_RANGE EARGS EPARAM EREQINPROG
    ENOTBEGUN FST_ERR_CTP_INVALID_MEDIA_TYPE BadValue FailedToParse`
  ],
  [
    validation(),
    `UNDEFINED_VALUE P2000 P2002 P2003 P2004 P2005 P2006 P2007 P2011 P2012 P2013 P2014 P2017 P2019 P2020
    P2023 P2033 ER_DUP_ENTRY ER_DUP_KEY ER_DATA_TOO_LONG ER_NO_REFERENCED_ROW ER_NO_REFERENCED_ROW_2 ER_ROW_IS_REFERENCED
    ER_ROW_IS_REFERENCED_2 ER_BAD_NULL_ERROR ER_NO_DEFAULT_FOR_FIELD ER_TRUNCATED_WRONG_VALUE
    ER_TRUNCATED_WRONG_VALUE_FOR_FIELD ER_WARN_DATA_OUT_OF_RANGE ER_CHECK_CONSTRAINT_VIOLATED SQLITE_CONSTRAINT
    SQLITE_MISMATCH SQLITE_TOOBIG DuplicateKey DocumentValidationFailure EENVELOPE EMESSAGE`
  ],
  [tooLarge, "ER_NET_PACKET_TOO_LARGE FST_ERR_CTP_BODY_TOO_LARGE LIMIT_FILE_SIZE"],
  [
    critical(),
    `ENOSPC EDQUOT ENOMEM EMFILE ENFILE EIO EAI_MEMORY ERR_MEMORY_ALLOCATION_FAILED ERR_WORKER_OUT_OF_MEMORY
    ERR_INTERNAL_ASSERTION SQLITE_FULL SQLITE_CORRUPT SQLITE_IOERR SQLITE_NOMEM ER_DISK_FULL ER_OUT_OF_RESOURCES
    ER_OUTOFMEMORY ER_CRASHED_ON_USAGE ER_NOT_KEYFILE`
  ],
  [
    cancelled,
    `ECANCELED ECANCELLED ECANCEL UND_ERR_ABORTED UND_ERR_ABORT ABORT_ERR ERR_CANCELED ERR_ABORTED
    SQLITE_INTERRUPT`
  ],
  [defect, "ERR_ASSERTION ERR_UNHANDLED_ERROR ERR_INVALID_STATE ERR_INVALID_THIS ERR_ILLEGAL_CONSTRUCTOR"]
])

/** SQLSTATE, whose first two letters are its class. */
export const sqlStates = table("sqlstate", [
  [network("no"), "08000 08001 08003 08004 HV00N"],
  [network("unknown"), "08006 08S01"],
  [outcomeUnknown, "08007 40003"],
  [rolledBack, "40001 40002 40P01 55P03"],
  [transient("Locked"), "55006"],
  [transient("StatementGone"), "26000"],
  [timeout(), "25P03 25P04 57014 HYT00 HYT01"],
  [unknown, "25P02"],
  [configuration("ReadOnly"), "25006"],
  [notFound, "02000 P0002"],
  [validation("Duplicate"), "23505"],
  [missing, "42P01 42883 42704 42S02"],
  [authorization, "42501 0L000 0LP01 0P000"],
  [configuration("StatementExists"), "42P05"],
  [{ ...unavailable("no"), detail: "TooManyConnections" }, "53300"],
  [unavailable("no"), "57P03"],
  [unavailable(), "53000 53200 57000 57P01 57P02 57P05 58000 58030"],
  [critical("DiskFull"), "53100"],
  [critical("Corruption"), "XX001 XX002"],
  [configuration(), "53400 57P04 58P01 58P02 55P02"],
  [transient("SnapshotTooOld"), "72000"]
])

/** Classes of SQLSTATE, for the states without a row. */
export const sqlClasses = table("sqlstate-class", [
  [network("unknown"), "08"],
  [invalid(), "03 09 0A 0B 0F 0Z 20 21 24 25 26 27 2B 2D 2F 34 38 39 3B 42 54 55 HV P0"],
  [authorization, "0L 0P"],
  [validation(), "22 23 44"],
  [authentication, "28"],
  [configuration(), "3D 3F F0"],
  [temporary, "40 72"],
  [unavailable(), "53 57 58"],
  [unknown, "XX"]
])

/** gRPC, by number. */
export const grpcNames = [
  "ok",
  "cancelled",
  "unknown",
  "invalidargument",
  "deadlineexceeded",
  "notfound",
  "alreadyexists",
  "permissiondenied",
  "resourceexhausted",
  "failedprecondition",
  "aborted",
  "outofrange",
  "unimplemented",
  "internal",
  "unavailable",
  "dataloss",
  "unauthenticated"
]

/** Codes and names of APIs that say more than the HTTP status beside them, normalized. */
export const apiCodes = table("api-code", [
  [
    quota,
    `insufficientquota creditbalanceexhausted organizationspendlimitexceeded projectspendlimitexceeded
    organizationusagelimitexceeded billinghardlimitreached billingnotactive billingdisabled billing quotaexceeded
    quotaexhausted dailylimitexceeded servicequotaexceeded insufficientcredits insufficientcredit
    insufficientbalance paymentrequired usagelimitreached usagelimitexceeded monthlylimitexceeded spendlimitexceeded
    planlimitreached planlimitexceeded planlimitsexceeded outofcredits accountoverdue arrearage bandwidthlimitreached`
  ],
  [
    rateLimit,
    `ratelimitexceeded ratelimited ratelimitreached userratelimitexceeded toomanyrequests throttling throttled
    requestthrottled requestthrottledexception slowdown bandwidthlimitexceeded ec2throttled limitexceeded
    provisionedthroughputexceeded requestlimitexceeded priorrequestnotcomplete functionthrottled
    toomanyconcurrentrequests concurrencylimitexceeded modelratelimit engineratelimit`
  ],
  [
    authentication,
    `invalidapikey incorrectapikey apikeyinvalid apikeyexpired keyinvalid keyexpired noapikey missingapikey
    expiredtoken invalidtoken tokenexpired revokedtoken unrecognizedclient invalidclienttokenid invalidsignature
    signaturedoesnotmatch signatureexpired missingauthenticationtoken invalidaccesskeyid authfailure authenticationfailed
    accountdeactivated invalidcredentials badcredentials invalidgrant invalidclient unauthorizedclient tokenrefreshrequired
    requestexpired incompletesignature invalidauthenticationtoken expiredauthenticationtoken modelauthentication
    invalidjwt jwtexpired requesttimetooskewed invalidauthentication loginrequired invalidauth tokenrevoked notbefore`
  ],
  [
    authorization,
    `accessdenied unauthorizedoperation insufficientpermissions insufficientpermission insufficientscope
    insufficientprivileges optinrequired unsupportedcountryregionterritory ipnotauthorized requestforbidden
    authorizationfailed linkedauthorizationfailed organizationmustbeverified usernotauthorized apikeyserviceblocked
    apikeyhttpreferrerblocked apikeyipaddressblocked consumersuspended accountsuspended notallowed notentitled
    countrynotsupported regionnotsupported rowlevelsecurity missingscope`
  ],
  [configuration("ModelMissing"), "modelnotfound deploymentnotfound nosuchmodel modelnotsupported unsupportedmodel"],
  [
    configuration(),
    `invalidorganization mismatchedorganization mismatchedproject invalidproject accessnotconfigured
    servicedisabled credentialsprovider ailoadapikey ailoadsetting ainosuchmodel ainosuchprovider apiversionnotsupported
    permanentredirect authorizationheadermalformed unsupportedapiversion`
  ],
  [
    notFound,
    `resourcenotfound nosuchkey nosuchbucket nosuchupload nosuchentity filenotfound vectorstorenotfound
    entitynotfound objectnotfound collectionnotfound indexnotfound`
  ],
  [
    tooLarge,
    `contextlengthexceeded contextwindowexceeded stringabovemaxlength arrayabovemaxlength maxtokensperrequest
    requesttoolarge payloadtoolarge requestentitytoolarge entitytoolarge functionpayloadtoolarge requestbodytoolarge
    contenttoolarge maxmessagesizeexceeded`
  ],
  [
    validation("ContentRefused"),
    "contentfilter contentpolicyviolation responsibleaipolicyviolation contentblocked promptblocked"
  ],
  // A payer's card or account, which says nothing of the provider's.
  [validation("PaymentRefused"), "stripecard card cardexpired expiredcard carddeclined incorrectcvc insufficientfunds"],
  [
    validation("Duplicate"),
    "duplicatekey duplicaterecord alreadyexists resourcealreadyexists entityalreadyexists conditionalcheckfailed"
  ],
  [
    validation(),
    `invalidfile unsupportedfile unprocessableentity itemcollectionsizelimitexceeded aitypevalidation
    aitoomanyembeddingvaluesforcall cast validator`
  ],
  [
    invalid(),
    `invalidprompt invalidpromptinput missingrequiredparameter unknownparameter unsupportedparameter
    unsupportedvalue invalidvalue invalidtype invalidparametervalue invalidparametercombination missingparameter
    malformedquerystring malformedrequest unknownoperation invalidaction graphqlparsefailed graphqlvalidationfailed
    baduserinput aiinvalidprompt aiinvalidargument aiunsupportedfunctionality messagecoercionfailure invalidtoolresults
    unsupportedmediatype`
  ],
  [
    invalidResponse,
    `aijsonparse aiinvalidresponsedata aiemptyresponsebody ainocontentgenerated ainoobjectgenerated
    ainooutputgenerated outputparsingfailure invalidoutput`
  ],
  [timeout(), "requesttimeout modeltimeout"],
  [temporary, "transactioninprogress transactionconflict modelerror modelstreamerror"],
  [
    unavailable(),
    `modelnotready serverisbusy engineoverloaded modeloverloaded overloaded cfbadgateway notleaderforpartition
    leadernotavailable notcontroller coordinatornotavailable groupcoordinatornotavailable notenoughreplicas`
  ]
])

/** Codes and names that say no more than a status would: asked when there is no status. */
export const genericCodes = table("generic-code", [
  [cancelled, "cancelled canceled requestaborted useraborted apiuserabort"],
  [
    invalid(),
    `invalidargument failedprecondition outofrange unimplemented invalidrequest badrequest invalidparams
    invalidinput methodnotallowed notimplemented notacceptable preconditionfailed parse conflict queryvalidation`
  ],
  [
    timeout(),
    `deadlineexceeded timeout timedout gatewaytimeout operationtimeout functioninvocationtimeout querytimeout
    apiconnectiontimeout`
  ],
  [notFound, "notfound nosuchelement gone"],
  [validation("Duplicate"), "alreadyexists duplicate"],
  [validation(), "validation invaliddata unprocessable validationfailed zod vali"],
  [authorization, "permissiondenied permission forbidden notauthorized authorization"],
  [authentication, "unauthenticated unauthorized authentication notauthenticated"],
  [rateLimit, "resourceexhausted ratelimit ratelimiter"],
  [temporary, "aborted internalserver internalservererror internalfailure functioninvocationfailed"],
  [
    unavailable(),
    `unavailable serviceunavailable temporarilyunavailable badgateway maintenance routerexternaltarget
    dependencyfailed`
  ],
  [critical("DataLoss"), "dataloss"],
  [configuration(), "configuration config missingconfiguration misconfigured"]
])

/** Codes too short to be trusted in a name, where `APIError` is any error of an API. */
export const shortCodes = table("generic-code", [
  [temporary, "api server internal unexpected"],
  [unavailable(), "service upstream backend"]
])

/** What the words of an unknown code or name say, the hopeless first. */
export const codeFamilies: ReadonlyArray<readonly [RegExp, Decision]> = ([
  [/quota|billing|credit|spendlimit|usagelimit/, quota],
  [/^(?:abort|cancell?ed)|useraborted|requestcancell?ed/, cancelled],
  [/throttl|toomanyrequests|ratelimit|rateexceeded/, rateLimit],
  [
    /unauthenticated|unauthorized|authentication|credential|apikey|login|invalidtoken|tokenexpired|jwt|jws|nomatchingkey|signatureverification/,
    authentication
  ],
  [/accessdenied|permission|forbidden|authorization|notauthorized|notallowed|privilege/, authorization],
  [/certificate|tls|ssl/, tls],
  [/toolarge|toolong|lengthexceeded|sizeexceeded|toobig|contextlength|contextwindow/, tooLarge],
  [/timeout|timedout|deadlineexceeded/, timeout()],
  [/notfound|nosuch|doesnotexist/, notFound],
  [/schema|validation|constraint|duplicate|alreadyexists|unprocessable|zod|valibot|typebox/, validation()],
  [/config|environment|notsupported|unsupported/, configuration()],
  [/invalid|malformed|badrequest|missing|syntax|illegal|argument|badinput/, invalid()],
  [/unavailable|overload|badgateway|busy|maintenance/, unavailable()],
  [/network|connection|connectfail|socket|hostunreach|unreachable/, network("unknown")],
  [/internalserver|internalfailure|serverfault|deadlock|serialization|conflict/, temporary]
] as const).map(([pattern, meaning]): readonly [RegExp, Decision] => [
  pattern,
  { ...meaning, rule: `code-family:${pattern.source.split(/[|^$()?:]+/).find((word) => word !== "") ?? ""}` }
])

/** Tags of Effect's own errors and of our policies' refusals. */
export const tags = table("tag", [
  [
    { ...unavailable("no"), detail: "CircuitOpen", overrides: { retry: "Always", breaker: "Ignored" } },
    "CircuitOpen CircuitHalfOpen"
  ],
  [
    { ...unavailable("no"), detail: "BulkheadFull", overrides: { retry: "Always", breaker: "Ignored" } },
    "BulkheadFull"
  ],
  [
    {
      ...unavailable("no"),
      detail: "LevelTooLow",
      overrides: { retry: "Never", fallback: "Stop", breaker: "Ignored" }
    },
    "LevelTooLow"
  ],
  [
    { ...unavailable(), detail: "AllProvidersFailed", overrides: { retry: "Never", breaker: "Ignored" } },
    "AllProvidersFailed AllSourcesFailed"
  ],
  [{ ...rateLimit, delivered: "no", detail: "RateLimited" }, "RateLimited RateLimitExceeded"],
  [{ ...timeout(), detail: "DeadlineExceeded", overrides: { retry: "Never", breaker: "Ignored" } }, "DeadlineExceeded"],
  [timeout("unknown"), "TimeoutError TimedOut StatementTimeoutError RequestTimeout"],
  [rateLimit, "RateLimitError"],
  [quota, "QuotaExhaustedError"],
  [authentication, "AuthenticationError Unauthorized PgAuthError"],
  [authorization, "AuthorizationError PermissionDenied Forbidden"],
  [rolledBack, "DeadlockError SerializationError LockTimeoutError"],
  [temporary, "InternalProviderError InternalServerError Busy WouldBlock TemporaryFailureError"],
  [unavailable(), "ServiceUnavailable ServiceUnavailableError MailboxFull RunnerUnavailable"],
  [network("unknown"), "UnexpectedEof WriteZero RpcClientDefect"],
  [validation("ContentRefused"), "ContentPolicyError"],
  [validation("Duplicate"), "UniqueViolation"],
  [
    validation(),
    `ConstraintError SchemaError ParseError ValidationError InvalidUserInputError InvalidData UnprocessableEntity
    ToolParameterValidationError PgTypesCodecError`
  ],
  [
    invalid(),
    `SqlSyntaxError BadArgument InvalidRequestError BadRequest MethodNotAllowed NotAcceptable NotImplemented
    Conflict AlreadyExists EncodeError IllegalArgumentError UnsupportedSchemaError`
  ],
  [notFound, "NotFound NotFoundError Gone NoSuchElementError ToolNotFoundError"],
  [
    configuration(),
    `ConfigError ConfigurationError InvalidUrlError InvalidOptions ToolConfigurationError ToolkitRequiredError
    MigrationError`
  ],
  [
    invalidResponse,
    `DecodeError EmptyBodyError InvalidOutputError InvalidResponseError StructuredOutputError
    ResultLengthMismatch PgProtocolParseError MalformedMessage`
  ],
  [critical(), "CriticalError"],
  [defect, "AsyncFiberError BadResource"]
])

/** Tags and names of wrappers: true when nothing below them says more. */
export const wrappers = table("wrapper", [
  [
    network("unknown"),
    `ConnectionError TransportError NetworkError APIConnectionError FetchError NetworkingError
    MaxRetriesPerRequestError ERR_NETWORK PrismaClientInitializationError RedisConnectionError MongoNetworkError
    MongoServerSelectionError SocketError NoLivingConnectionsError NoHostAvailableError ClusterAllFailedError`
  ],
  [invalid(), "ReplyError ErrorReply"]
])

/** HTTP statuses that mean something else than their hundred. */
export const statuses: ReadonlyMap<number, Decision> = new Map(
  ([
    [authentication, "401 407 419 440 498 511 561"],
    [quota, "402 509"],
    [authorization, "403 451"],
    [notFound, "404 410"],
    [timeout(), "408 598 599"],
    [tooLarge, "413"],
    [validation(), "422"],
    [configuration(), "301 302 303 305 307 308 421 426 508 526 540"],
    [temporary, "423 424 425 449 500"],
    [rateLimit, "420 429 430"],
    [network("unknown"), "444"],
    [cancelled, "499"],
    [invalid(), "501 505 506 510"],
    [unavailable(), "502 504"],
    [{ ...unavailable(), overrides: { retry: "Always" } }, "503"],
    [critical("StorageFull"), "507"]
  ] as const).flatMap(([meaning, codes]) =>
    codes.split(" ").map((
      status
    ): [number, Decision] => [Number(status), { ...meaning, rule: `http-status:${status}` }])
  )
)
