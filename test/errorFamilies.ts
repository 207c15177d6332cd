/** Errors of many clients, by what must become of them: `[error, accepted categories, retryable (null where either will do)]`. */
type Row = readonly [error: { readonly [key: string]: unknown }, accept: string, retryable: boolean | null]

const network = "NETWORK TIMEOUT SERVICE_UNAVAILABLE"

export const families: { readonly [family: string]: ReadonlyArray<Row> } = {
  "HTTP clients": [
    [
      {
        name: "AxiosError",
        message: "Request failed with status code 404",
        code: "ERR_BAD_REQUEST",
        response: { status: 404, headers: {}, data: { error: "nope" } }
      },
      "NOT_FOUND",
      false
    ],
    [
      { name: "AxiosError", message: "Request failed with status code 401", code: "ERR_BAD_REQUEST" },
      "AUTHENTICATION",
      false
    ],
    [
      { name: "AxiosError", message: "Request failed with status code 503", code: "ERR_BAD_RESPONSE" },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "AxiosError", message: "timeout of 5000ms exceeded", code: "ECONNABORTED" }, "TIMEOUT", true],
    [{ name: "AxiosError", message: "timeout of 5000ms exceeded", code: "ETIMEDOUT" }, "TIMEOUT", true],
    [{ name: "AxiosError", message: "Network Error", code: "ERR_NETWORK" }, "NETWORK", true],
    [{ name: "CanceledError", message: "canceled", code: "ERR_CANCELED" }, "UNKNOWN", null],
    [
      { name: "AxiosError", message: "maxContentLength size of 2000 exceeded", code: "ERR_BAD_RESPONSE" },
      "VALIDATION INVALID_REQUEST UNKNOWN CONFIGURATION",
      null
    ],
    [
      {
        name: "HTTPError",
        message: "Response code 422 (Unprocessable Entity)",
        code: "ERR_NON_2XX_3XX_RESPONSE",
        response: { statusCode: 422 }
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "HTTPError", message: "Response code 502 (Bad Gateway)", code: "ERR_NON_2XX_3XX_RESPONSE" },
      "SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "HTTPError", message: "Request failed with status code 403 Forbidden: GET https://api.example.com/" },
      "AUTHORIZATION",
      false
    ],
    [{ name: "TimeoutError", message: "Request timed out: GET https://api.example.com/" }, "TIMEOUT", true],
    [
      {
        name: "FetchError",
        message: "request to http://127.0.0.1:1/ failed, reason: connect ECONNREFUSED 127.0.0.1:1",
        type: "system",
        errno: "ECONNREFUSED",
        code: "ECONNREFUSED"
      },
      "NETWORK",
      true
    ],
    [
      {
        name: "FetchError",
        message: "invalid json response body at http://x/ reason: Unexpected token < in JSON at position 0",
        type: "invalid-json"
      },
      "UNKNOWN SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      null
    ],
    [{ name: "FetchError", message: "network timeout at: http://x/", type: "request-timeout" }, "TIMEOUT", true],
    [
      { name: "FetchError", message: "maximum redirect reached at: http://x/", type: "max-redirect" },
      "CONFIGURATION INVALID_REQUEST",
      false
    ],
    [
      { name: "RequestError", message: "getaddrinfo ENOTFOUND nope.invalid", code: "ENOTFOUND" },
      "NETWORK CONFIGURATION",
      null
    ],
    [{ name: "TypeError", message: "Failed to fetch" }, "NETWORK", true],
    [{ name: "TypeError", message: "Load failed" }, "NETWORK", true],
    [{ name: "TypeError", message: "NetworkError when attempting to fetch resource." }, "NETWORK", true],
    [{ name: "TypeError", message: "Network request failed" }, "NETWORK", true],
    [
      {
        name: "TypeError",
        message: "fetch failed",
        cause: {
          name: "Error",
          message: "self-signed certificate in certificate chain",
          code: "SELF_SIGNED_CERT_IN_CHAIN"
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "TypeError",
        message: "fetch failed",
        cause: {
          name: "Error",
          message: "unable to get local issuer certificate",
          code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "Error",
        message: "Hostname/IP does not match certificate's altnames: Host: x. is not in the cert's altnames",
        code: "ERR_TLS_CERT_ALTNAME_INVALID"
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "Error",
        message: "write EPROTO ... alert handshake failure",
        code: "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE"
      },
      "CONFIGURATION",
      false
    ],
    [
      { name: "Error", message: "Parse Error: Expected HTTP/", code: "HPE_INVALID_CONSTANT" },
      "UNKNOWN CONFIGURATION NETWORK SERVICE_UNAVAILABLE",
      null
    ],
    [{ name: "Error", message: "aborted", code: "ECONNRESET" }, "NETWORK", true],
    [{ name: "Error", message: "socket hang up", code: "ECONNRESET" }, "NETWORK", true],
    [{ name: "Error", message: "socket hang up" }, "NETWORK", true],
    [{ name: "Error", message: "Premature close", code: "ERR_STREAM_PREMATURE_CLOSE" }, "NETWORK", true],
    [
      {
        name: "Error",
        message: "Stream closed with error code NGHTTP2_INTERNAL_ERROR",
        code: "ERR_HTTP2_STREAM_ERROR"
      },
      "NETWORK TEMPORARY_FAILURE",
      true
    ],
    [
      {
        name: "Error",
        message: "New streams cannot be created after receiving a GOAWAY",
        code: "ERR_HTTP2_GOAWAY_SESSION"
      },
      "NETWORK SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "RequestAbortedError", message: "Request aborted", code: "UND_ERR_ABORTED" }, "UNKNOWN", null],
    [
      {
        name: "ResponseStatusCodeError",
        message: "Response status code 500",
        code: "UND_ERR_RESPONSE_STATUS_CODE",
        statusCode: 500
      },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "Error", message: "Boom", isBoom: true, output: { statusCode: 409, payload: {} } },
      "TEMPORARY_FAILURE INVALID_REQUEST VALIDATION",
      null
    ],
    [
      {
        thrown: "object",
        value: { status: 404, statusText: "Not Found", headers: {}, type: "basic", url: "http://x/" }
      },
      "NOT_FOUND",
      false
    ],
    [{ thrown: "object", value: { statusCode: 503, body: "Service Unavailable" } }, "SERVICE_UNAVAILABLE", true],
    [{ thrown: "string", value: "Request timeout" }, "TIMEOUT", true],
    [{ thrown: "string", value: "Unauthorized - 401" }, "AUTHENTICATION", false],
    [{ thrown: "number", value: 503 }, "UNKNOWN SERVICE_UNAVAILABLE", null],
    [{ name: "Error", message: "HTTP 400: timeout parameter must be positive" }, "INVALID_REQUEST VALIDATION", false],
    [{ name: "Error", message: "HTTP/1.1 503 Service Unavailable" }, "SERVICE_UNAVAILABLE", true],
    [{ name: "Error", message: "Unexpected server response: 401" }, "AUTHENTICATION", false],
    [{ name: "Error", message: "404 page not found" }, "NOT_FOUND", false],
    [{ name: "Error", message: "failed: status=504" }, "SERVICE_UNAVAILABLE TIMEOUT", true],
    [
      { name: "Error", message: "<!DOCTYPE html><html><head><title>Just a moment...</title></head>", status: 403 },
      "AUTHORIZATION",
      false
    ],
    [
      { name: "Error", message: "<html><head><title>504 Gateway Time-out</title></head></html>" },
      "SERVICE_UNAVAILABLE TIMEOUT",
      true
    ],
    [
      { name: "Error", message: "<!DOCTYPE html>\n<title>example.com | 522: Connection timed out</title>" },
      "SERVICE_UNAVAILABLE TIMEOUT NETWORK",
      true
    ],
    [
      { name: "Error", message: "example.com | 525: SSL handshake failed" },
      "SERVICE_UNAVAILABLE CONFIGURATION NETWORK",
      null
    ],
    [{ name: "Error", message: "526 status code (no body)", status: 526 }, "CONFIGURATION SERVICE_UNAVAILABLE", false],
    [{ name: "Error", message: "Not Implemented", status: 501 }, "INVALID_REQUEST CONFIGURATION", false],
    [{ name: "Error", message: "Method Not Allowed", status: 405 }, "INVALID_REQUEST", false],
    [{ name: "Error", message: "Gone", status: 410 }, "NOT_FOUND", false],
    [{ name: "Error", message: "Payload Too Large", status: 413 }, "VALIDATION INVALID_REQUEST", false],
    [{ name: "Error", message: "Unavailable For Legal Reasons", status: 451 }, "AUTHORIZATION", false],
    [{ name: "Error", message: "Proxy Authentication Required", status: 407 }, "AUTHENTICATION CONFIGURATION", false],
    [{ name: "Error", message: "Insufficient Storage", status: 507 }, "CRITICAL SERVICE_UNAVAILABLE", null],
    [
      { name: "Error", message: "Loop Detected", status: 508 },
      "CONFIGURATION INVALID_REQUEST SERVICE_UNAVAILABLE",
      false
    ],
    [
      { name: "Error", message: "Bandwidth Limit Exceeded", status: 509 },
      "CONFIGURATION RATE_LIMIT AUTHORIZATION",
      false
    ],
    [{ name: "Error", message: "Network Authentication Required", status: 511 }, "AUTHENTICATION CONFIGURATION", false],
    [
      {
        name: "Error",
        message: "API rate limit exceeded for user ID 500.",
        status: 403,
        headers: { "x-ratelimit-remaining": "0" }
      },
      "RATE_LIMIT",
      true
    ],
    [
      {
        name: "Error",
        message: "You have exceeded a secondary rate limit",
        status: 403,
        headers: { "retry-after": "60" }
      },
      "RATE_LIMIT",
      true
    ],
    [
      { name: "Error", message: "503", status: 503, headers: { "x-should-retry": "false" } },
      "SERVICE_UNAVAILABLE",
      false
    ]
  ],
  "OpenAI and its kind": [
    [
      {
        message: "429 You have no credits left",
        status: 429,
        code: "credit_balance_exhausted",
        type: "insufficient_quota"
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      {
        message: "429 Project spend limit",
        status: 429,
        code: "project_spend_limit_exceeded",
        type: "insufficient_quota"
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      { message: "429 Billing hard limit has been reached", status: 429, code: "billing_hard_limit_reached" },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      { message: "400 Billing hard limit has been reached", status: 400, code: "billing_hard_limit_reached" },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      {
        message: "429 Your account is not active, please check your billing details on our website.",
        status: 429,
        code: "billing_not_active"
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      {
        message:
          "Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check your plan and billing details.', 'type': 'insufficient_quota', 'code': 'insufficient_quota'}}"
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT CRITICAL",
      false
    ],
    [
      {
        message: "429 The engine is currently overloaded, please try again later",
        status: 429,
        code: "engine_overloaded"
      },
      "RATE_LIMIT SERVICE_UNAVAILABLE",
      true
    ],
    [{ message: "429 slow", status: 429, code: "slow_down" }, "RATE_LIMIT SERVICE_UNAVAILABLE", true],
    [
      {
        message: "400 Invalid 'input': maximum request size is 300000 tokens per request.",
        status: 400,
        code: "max_tokens_per_request",
        type: "max_tokens_per_request"
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { message: "401 Your account has been deactivated.", status: 401, code: "account_deactivated" },
      "AUTHENTICATION AUTHORIZATION",
      false
    ],
    [
      { message: "401 IP address not authorized", status: 401, code: "ip_not_authorized" },
      "AUTHENTICATION AUTHORIZATION",
      false
    ],
    [
      {
        message: "404 The model `x` does not exist or you do not have access to it.",
        status: 404,
        code: "model_not_found"
      },
      "CONFIGURATION NOT_FOUND",
      false
    ],
    [
      { message: "404 The API deployment for this resource does not exist.", status: 404, code: "DeploymentNotFound" },
      "CONFIGURATION NOT_FOUND",
      false
    ],
    [
      { message: "404 No vector store found with id 'vs_500'.", status: 404, type: "invalid_request_error" },
      "NOT_FOUND",
      false
    ],
    [
      {
        message: "400 The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        status: 400,
        code: "content_filter"
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { message: "403 Access denied due to Virtual Network/Firewall rules.", status: 403, code: "403" },
      "AUTHORIZATION",
      false
    ],
    [
      { message: "401 Access denied due to invalid subscription key or wrong API endpoint.", status: 401, code: "401" },
      "AUTHENTICATION",
      false
    ],
    [{ message: "404 Resource not found", status: 404, code: "404" }, "NOT_FOUND CONFIGURATION", false],
    [{ message: "408 Operation was timeout.", status: 408, code: "Timeout" }, "TIMEOUT", true],
    [
      { message: "The server had an error while processing your request. Sorry about that!", type: "server_error" },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      { message: "The server is currently overloaded with other requests. Sorry about that!" },
      "SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      true
    ],
    [{ class: "APIUserAbortError", message: "Request was aborted." }, "UNKNOWN", false],
    [{ class: "APIConnectionError", message: "Connection error." }, "NETWORK", true],
    [
      {
        class: "APIConnectionError",
        message: "Connection error.",
        cause: {
          name: "FetchError",
          message: "request to https://x failed, reason: certificate has expired",
          code: "CERT_HAS_EXPIRED"
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      { class: "OpenAIError", message: "Missing credentials. Please pass an `apiKey`" },
      "CONFIGURATION AUTHENTICATION",
      false
    ],
    [
      {
        message: "529 {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
        status: 529,
        error: { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }
      },
      "SERVICE_UNAVAILABLE RATE_LIMIT TEMPORARY_FAILURE",
      true
    ],
    [
      { message: "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}" },
      "SERVICE_UNAVAILABLE RATE_LIMIT TEMPORARY_FAILURE",
      true
    ],
    [
      {
        message:
          "400 {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.\"}}",
        status: 400
      },
      "CONFIGURATION AUTHORIZATION INVALID_REQUEST CRITICAL",
      false
    ],
    [
      {
        message:
          "400 {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 203456 tokens > 200000 maximum\"}}",
        status: 400
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        message:
          "401 {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"invalid x-api-key\"}}",
        status: 401
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        message:
          "{\"error\":{\"code\":429,\"message\":\"Resource has been exhausted (e.g. check quota).\",\"status\":\"RESOURCE_EXHAUSTED\"}}",
        status: 429
      },
      "RATE_LIMIT",
      null
    ],
    [
      {
        message: "[429 Too Many Requests] You exceeded your current quota, please check your plan and billing details.",
        status: 429
      },
      "CONFIGURATION RATE_LIMIT AUTHORIZATION",
      false
    ],
    [
      {
        message: "[400 Bad Request] API key not valid. Please pass a valid API key.",
        status: 400,
        errorDetails: [{ reason: "API_KEY_INVALID" }]
      },
      "AUTHENTICATION INVALID_REQUEST CONFIGURATION",
      false
    ],
    [
      {
        message: "[403 Forbidden] Generative Language API has not been used in project 12345 before or it is disabled.",
        status: 403
      },
      "AUTHORIZATION CONFIGURATION",
      false
    ],
    [
      { message: "[400 Bad Request] User location is not supported for the API use.", status: 400 },
      "AUTHORIZATION INVALID_REQUEST",
      false
    ],
    [{ message: "402 Insufficient Balance", status: 402 }, "CONFIGURATION AUTHORIZATION INVALID_REQUEST", false],
    [
      { message: "402 This request requires more credits, or fewer max_tokens.", status: 402, code: 402 },
      "CONFIGURATION AUTHORIZATION INVALID_REQUEST",
      false
    ],
    [{ message: "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached" }, "RATE_LIMIT", true],
    [
      {
        message: "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided",
        status: 500
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        message: "500 litellm.ContextWindowExceededError: This model's maximum context length is 8192 tokens",
        status: 500
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [{ message: "Model text-embedding-3 is currently loading", status: 503 }, "SERVICE_UNAVAILABLE", true]
  ],
  "AI SDK and LangChain": [
    [
      {
        name: "AI_APICallError",
        message: "Too Many Requests",
        statusCode: 429,
        isRetryable: true,
        responseHeaders: { "retry-after": "3" },
        responseBody: "{}"
      },
      "RATE_LIMIT",
      true
    ],
    [
      {
        name: "AI_APICallError",
        message: "You exceeded your current quota",
        statusCode: 429,
        isRetryable: true,
        data: { error: { code: "insufficient_quota", type: "insufficient_quota" } }
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [
      {
        name: "AI_APICallError",
        message: "Cannot connect to API: connect ECONNREFUSED",
        isRetryable: true,
        cause: {
          name: "TypeError",
          message: "fetch failed",
          cause: { message: "connect ECONNREFUSED 127.0.0.1:1", code: "ECONNREFUSED" }
        }
      },
      "NETWORK",
      true
    ],
    [
      {
        name: "AI_APICallError",
        message: "Invalid JSON response",
        statusCode: 200,
        isRetryable: false,
        cause: {
          name: "AI_JSONParseError",
          message: "JSON parsing failed",
          cause: { name: "SyntaxError", message: "Unexpected token < in JSON" }
        }
      },
      "UNKNOWN SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      null
    ],
    [
      {
        name: "AI_RetryError",
        message: "Failed after 3 attempts. Last error: Unauthorized",
        reason: "maxRetriesExceeded",
        errors: [{ name: "AI_APICallError", message: "Service Unavailable", statusCode: 503 }, {
          name: "AI_APICallError",
          message: "Unauthorized",
          statusCode: 401
        }],
        lastError: { name: "AI_APICallError", message: "Unauthorized", statusCode: 401 }
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        name: "AI_RetryError",
        message: "Failed after 3 attempts with non-retryable error: 'bad'",
        reason: "errorNotRetryable",
        errors: [{ name: "AI_APICallError", message: "bad", statusCode: 400 }]
      },
      "INVALID_REQUEST",
      false
    ],
    [
      {
        name: "AI_LoadAPIKeyError",
        message:
          "OpenAI API key is missing. Pass it using the 'apiKey' parameter or the OPENAI_API_KEY environment variable."
      },
      "CONFIGURATION AUTHENTICATION",
      false
    ],
    [{ name: "AI_NoSuchModelError", message: "No such embeddingModel: x" }, "CONFIGURATION NOT_FOUND", false],
    [
      { name: "AI_TypeValidationError", message: "Type validation failed: Value: {}." },
      "VALIDATION UNKNOWN INVALID_REQUEST",
      null
    ],
    [
      {
        name: "AI_TooManyEmbeddingValuesForCallError",
        message:
          "Too many values for a single embedding call. The openai model can only embed up to 2048 values per call, but 3000 values were provided."
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "AI_NoObjectGeneratedError", message: "No object generated: could not parse the response." },
      "UNKNOWN TEMPORARY_FAILURE VALIDATION",
      null
    ],
    [
      { name: "AI_UnsupportedFunctionalityError", message: "'image' functionality not supported." },
      "INVALID_REQUEST CONFIGURATION VALIDATION",
      false
    ],
    [
      {
        message:
          "401 Incorrect API key\n\nTroubleshooting URL: https://js.langchain.com/docs/troubleshooting/errors/MODEL_AUTHENTICATION/",
        lc_error_code: "MODEL_AUTHENTICATION",
        status: 401
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        message: "Failed to parse. Text: \"...\"",
        lc_error_code: "OUTPUT_PARSING_FAILURE",
        name: "OutputParserException"
      },
      "UNKNOWN VALIDATION TEMPORARY_FAILURE",
      null
    ],
    [
      {
        name: "ZodError",
        message: "[{\"code\":\"invalid_type\",\"path\":[\"a\"],\"message\":\"Required\"}]",
        issues: [{ code: "invalid_type", path: ["a"], message: "Required" }]
      },
      "VALIDATION",
      false
    ],
    [
      {
        name: "ValidationError",
        message: "\"email\" must be a valid email",
        _original: {},
        details: [{ message: "x" }]
      },
      "VALIDATION INVALID_REQUEST",
      false
    ]
  ],
  "PostgreSQL": [
    ...([
      ["08001", "NETWORK", true],
      ["08004", "NETWORK SERVICE_UNAVAILABLE AUTHENTICATION CONFIGURATION", null],
      ["08006", "NETWORK", true],
      ["08007", "TEMPORARY_FAILURE NETWORK UNKNOWN", null],
      ["0A000", "INVALID_REQUEST CONFIGURATION TEMPORARY_FAILURE", null],
      ["21000", "INVALID_REQUEST VALIDATION", false],
      ["22001", "VALIDATION", false],
      ["22003", "VALIDATION", false],
      ["22012", "VALIDATION INVALID_REQUEST", false],
      ["22P05", "VALIDATION", false],
      ["23502", "VALIDATION", false],
      ["23503", "VALIDATION", false],
      ["23P01", "VALIDATION", false],
      ["24000", "INVALID_REQUEST", false],
      ["25001", "INVALID_REQUEST", false],
      ["25006", "CONFIGURATION", null],
      ["25P01", "INVALID_REQUEST", false],
      ["25P04", "TIMEOUT", true],
      ["28P01", "AUTHENTICATION", false],
      ["28000", "AUTHENTICATION", false],
      ["2BP01", "INVALID_REQUEST VALIDATION", false],
      ["34000", "INVALID_REQUEST", false],
      ["3D000", "CONFIGURATION NOT_FOUND", false],
      ["3F000", "CONFIGURATION NOT_FOUND", false],
      ["40001", "TEMPORARY_FAILURE", true],
      ["40003", "TEMPORARY_FAILURE", null],
      ["40P01", "TEMPORARY_FAILURE", true],
      ["42501", "AUTHORIZATION", false],
      ["42703", "INVALID_REQUEST CONFIGURATION", false],
      ["42883", "CONFIGURATION INVALID_REQUEST", false],
      ["42P07", "INVALID_REQUEST CONFIGURATION VALIDATION", false],
      ["44000", "VALIDATION", false],
      ["53000", "SERVICE_UNAVAILABLE", true],
      ["53100", "CRITICAL", null],
      ["53200", "SERVICE_UNAVAILABLE CRITICAL", true],
      ["53300", "SERVICE_UNAVAILABLE", true],
      ["53400", "CONFIGURATION", false],
      ["54001", "INVALID_REQUEST CONFIGURATION VALIDATION", false],
      ["54023", "INVALID_REQUEST CONFIGURATION VALIDATION", false],
      ["55000", "INVALID_REQUEST TEMPORARY_FAILURE", null],
      ["55006", "TEMPORARY_FAILURE", true],
      ["55P03", "TEMPORARY_FAILURE", true],
      ["57014", "TIMEOUT", true],
      ["57P01", "SERVICE_UNAVAILABLE", true],
      ["57P02", "SERVICE_UNAVAILABLE", true],
      ["57P03", "SERVICE_UNAVAILABLE", true],
      ["57P04", "CONFIGURATION", false],
      ["57P05", "SERVICE_UNAVAILABLE", true],
      ["58030", "SERVICE_UNAVAILABLE CRITICAL", null],
      ["58P01", "CONFIGURATION", false],
      ["F0000", "CONFIGURATION", false],
      ["HV000", "INVALID_REQUEST UNKNOWN SERVICE_UNAVAILABLE", null],
      ["P0001", "INVALID_REQUEST VALIDATION", false],
      ["P0002", "NOT_FOUND INVALID_REQUEST", false],
      ["XX001", "CRITICAL", null],
      ["XX002", "CRITICAL", null]
    ] as const).map((
      [code, accept, retryable]
    ): Row => [
      { name: "error", class: "DatabaseError", message: "something 500", code, severity: "ERROR" },
      accept,
      retryable
    ]),
    [
      { name: "error", message: "internal error: unexpected", code: "XX000", severity: "ERROR" },
      "UNKNOWN CRITICAL TEMPORARY_FAILURE",
      null
    ],
    [{ name: "error", message: "Couldn't connect to compute node", code: "XX000" }, "SERVICE_UNAVAILABLE", true],
    [{ name: "error", message: "password authentication failed for user 'x'", code: "XX000" }, "AUTHENTICATION", false],
    [
      {
        name: "error",
        message: "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
        code: "XX000"
      },
      "CONFIGURATION AUTHORIZATION",
      false
    ],
    [
      {
        name: "error",
        message:
          "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support",
        code: "XX000"
      },
      "CONFIGURATION",
      false
    ],
    [
      { name: "error", message: "This IP address 10.0.0.1 is not allowed to connect to this endpoint.", code: "XX000" },
      "AUTHORIZATION",
      false
    ],
    [
      { name: "error", message: "Too many connections attempts, please try again later", code: "XX000" },
      "SERVICE_UNAVAILABLE RATE_LIMIT",
      true
    ],
    [
      {
        name: "error",
        message:
          "Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.",
        code: "XX000"
      },
      "CONFIGURATION AUTHORIZATION SERVICE_UNAVAILABLE",
      false
    ],
    [{ name: "error", message: "Authentication timed out", code: "XX000" }, "TIMEOUT", true],
    [{ name: "error", message: "query_wait_timeout", code: "08P01" }, "TIMEOUT", true],
    [
      { name: "error", message: "no more connections allowed (max_client_conn)", code: "08P01" },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "error", message: "unsupported startup parameter: statement_timeout", code: "08P01" },
      "CONFIGURATION",
      false
    ],
    [{ name: "error", message: "cached plan must not change result type", code: "0A000" }, "TEMPORARY_FAILURE", true],
    [
      { name: "error", message: "different vector dimensions 3 and 2", code: "22000" },
      "VALIDATION CONFIGURATION",
      false
    ],
    [{ name: "error", message: "canceling statement due to user request", code: "57014" }, "TIMEOUT UNKNOWN", null],
    [
      {
        name: "error",
        message: "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        code: "53300"
      },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "Error", message: "Connection terminated due to connection timeout" }, "TIMEOUT NETWORK", true],
    [{ name: "Error", message: "Query read timeout" }, "TIMEOUT", true],
    [
      { name: "Error", message: "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string" },
      "CONFIGURATION AUTHENTICATION",
      false
    ],
    [
      { name: "Error", message: "Client has encountered a connection error and is not queryable" },
      "NETWORK SERVICE_UNAVAILABLE UNKNOWN CONFIGURATION",
      null
    ],
    [{ name: "Error", message: "Client was closed and is not queryable" }, "CONFIGURATION NETWORK UNKNOWN", null],
    [
      { name: "Error", message: "write CONNECT_TIMEOUT db.example.com:5432", code: "CONNECT_TIMEOUT" },
      "TIMEOUT NETWORK",
      true
    ],
    [{ name: "Error", message: "write CONNECTION_CLOSED db:5432", code: "CONNECTION_CLOSED" }, "NETWORK", true],
    [
      { name: "PostgresError", message: "password authentication failed for user \"x\"", code: "28P01" },
      "AUTHENTICATION",
      false
    ],
    [
      {
        name: "DrizzleQueryError",
        message: "Failed query: select \"timeout\" from \"rate_limit\"\nparams: ",
        cause: { name: "error", message: "column \"timeout\" does not exist", code: "42703" }
      },
      "INVALID_REQUEST CONFIGURATION",
      false
    ],
    [
      {
        name: "DrizzleQueryError",
        message: "Failed query: insert into \"too_many_requests\" values ('rate limit')\nparams: ",
        cause: { name: "Error", message: "Connection terminated unexpectedly" }
      },
      "NETWORK",
      true
    ],
    [
      {
        name: "QueryFailedError",
        message: "deadlock detected",
        driverError: { name: "error", message: "deadlock detected", code: "40P01" },
        code: "40P01"
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      {
        name: "SequelizeConnectionRefusedError",
        message: "connect ECONNREFUSED 127.0.0.1:5432",
        parent: { code: "ECONNREFUSED" }
      },
      "NETWORK",
      true
    ],
    [
      {
        name: "SequelizeUniqueConstraintError",
        message: "Validation error",
        errors: [{ message: "email must be unique", type: "unique violation" }],
        parent: { name: "error", code: "23505", message: "duplicate key" }
      },
      "VALIDATION",
      false
    ],
    [{ name: "SequelizeConnectionAcquireTimeoutError", message: "Operation timeout" }, "TIMEOUT", true],
    [
      { name: "KnexTimeoutError", message: "Knex: Timeout acquiring a connection. The pool is probably full." },
      "TIMEOUT SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "NeonDbError",
        message: "Error connecting to database: TypeError: fetch failed",
        sourceError: {
          name: "TypeError",
          message: "fetch failed",
          cause: { message: "getaddrinfo ENOTFOUND base", code: "ENOTFOUND" }
        }
      },
      "NETWORK CONFIGURATION",
      null
    ],
    [
      {
        name: "NeonDbError",
        message:
          "Server error (HTTP status 400): {\"message\":\"password authentication failed for user 'x'\",\"code\":\"28P01\"}"
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        name: "NeonDbError",
        message:
          "Server error (HTTP status 404): {\"message\":\"The requested endpoint could not be found, or you don't have access to it.\"}"
      },
      "NOT_FOUND CONFIGURATION AUTHORIZATION",
      false
    ],
    [{ name: "NeonDbError", message: "Server error (HTTP status 502): <html>" }, "SERVICE_UNAVAILABLE", true],
    [
      {
        name: "Error",
        message:
          "No database connection string was provided to `neon()`. Perhaps an environment variable has not been set?"
      },
      "CONFIGURATION",
      false
    ],
    [
      { name: "Error", message: "ERROR: could not serialize access due to concurrent update (SQLSTATE 40001)" },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "Error", message: "SQLSTATE[42S02]: Base table or view not found: 1146 Table 'x.y' doesn't exist" },
      "CONFIGURATION NOT_FOUND INVALID_REQUEST",
      false
    ],
    [{ name: "Error", message: "FATAL: sorry, too many clients already" }, "SERVICE_UNAVAILABLE RATE_LIMIT", true],
    [{ name: "Error", message: "FATAL: Max client connections reached" }, "SERVICE_UNAVAILABLE RATE_LIMIT", true],
    [{ name: "Error", message: "FATAL: Tenant or user not found" }, "CONFIGURATION AUTHENTICATION NOT_FOUND", false],
    [
      {
        name: "Error",
        message: "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size"
      },
      "SERVICE_UNAVAILABLE RATE_LIMIT",
      true
    ],
    [
      { name: "Error", message: "connection is insecure (try using `sslmode=require`)" },
      "CONFIGURATION AUTHENTICATION",
      false
    ]
  ],
  "Prisma": [
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "Unique constraint failed on the fields: (`email`)",
        code: "P2002"
      },
      "VALIDATION",
      false
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "An operation failed because it depends on one or more records that were required but not found.",
        code: "P2025"
      },
      "NOT_FOUND",
      false
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "The table `public.User` does not exist in the current database.",
        code: "P2021"
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "Timed out fetching a new connection from the connection pool.",
        code: "P2024"
      },
      "TIMEOUT SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "Transaction failed due to a write conflict or a deadlock. Please retry your transaction",
        code: "P2034"
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "Raw query failed. Code: `42P01`. Message: `relation \"x\" does not exist`",
        code: "P2010",
        meta: { code: "42P01", message: "relation" }
      },
      "CONFIGURATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "PrismaClientKnownRequestError",
        message: "Raw query failed. Code: `40001`. Message: `could not serialize`",
        code: "P2010",
        meta: { code: "40001" }
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      {
        name: "PrismaClientInitializationError",
        message: "Can't reach database server at `db:5432`",
        errorCode: "P1001"
      },
      "NETWORK",
      true
    ],
    [
      {
        name: "PrismaClientInitializationError",
        message: "Authentication failed against database server",
        errorCode: "P1000"
      },
      "AUTHENTICATION",
      false
    ],
    [
      { name: "PrismaClientInitializationError", message: "error: Environment variable not found: DATABASE_URL." },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "PrismaClientValidationError",
        message: "Invalid `prisma.user.create()` invocation: Argument `email` is missing."
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "PrismaClientRustPanicError", message: "called `Option::unwrap()` on a `None` value" },
      "UNKNOWN CRITICAL",
      null
    ],
    [
      { name: "PrismaClientKnownRequestError", message: "Server has closed the connection.", code: "P1017" },
      "NETWORK",
      true
    ],
    [
      {
        name: "PrismaClientUnknownRequestError",
        message:
          "Error occurred during query execution: ConnectorError(ConnectorError { user_facing_error: None, kind: QueryError(PostgresError { code: \"25006\", message: \"cannot execute INSERT in a read-only transaction\" }) })"
      },
      "CONFIGURATION",
      null
    ]
  ],
  "other databases": [
    [
      {
        message: "Deadlock found when trying to get lock; try restarting transaction",
        code: "ER_LOCK_DEADLOCK",
        errno: 1213,
        sqlState: "40001"
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      {
        message: "Access denied for user 'root'@'localhost' (using password: YES)",
        code: "ER_ACCESS_DENIED_ERROR",
        errno: 1045,
        sqlState: "28000"
      },
      "AUTHENTICATION",
      false
    ],
    [
      { message: "Duplicate entry '500' for key 'PRIMARY'", code: "ER_DUP_ENTRY", errno: 1062, sqlState: "23000" },
      "VALIDATION",
      false
    ],
    [
      { message: "Connection lost: The server closed the connection.", code: "PROTOCOL_CONNECTION_LOST", fatal: true },
      "NETWORK",
      true
    ],
    [
      { message: "Too many connections", code: "ER_CON_COUNT_ERROR", errno: 1040, sqlState: "08004" },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      { message: "Table 'x.y' doesn't exist", code: "ER_NO_SUCH_TABLE", sqlState: "42S02" },
      "CONFIGURATION NOT_FOUND",
      false
    ],
    [
      { message: "You have an error in your SQL syntax", code: "ER_PARSE_ERROR", sqlState: "42000" },
      "INVALID_REQUEST",
      false
    ],
    [{ message: "MySQL server has gone away" }, "NETWORK SERVICE_UNAVAILABLE", true],
    [{ message: "Pool is closed." }, "CONFIGURATION UNKNOWN NETWORK", null],
    [
      { name: "SqliteError", message: "database is locked", code: "SQLITE_BUSY" },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "SqliteError", message: "UNIQUE constraint failed: a.b", code: "SQLITE_CONSTRAINT_UNIQUE" },
      "VALIDATION",
      false
    ],
    [
      { name: "SqliteError", message: "no such table: docs", code: "SQLITE_ERROR" },
      "CONFIGURATION INVALID_REQUEST NOT_FOUND",
      false
    ],
    [
      { name: "SqliteError", message: "disk I/O error", code: "SQLITE_IOERR_WRITE" },
      "CRITICAL SERVICE_UNAVAILABLE",
      null
    ],
    [{ name: "SqliteError", message: "database disk image is malformed", code: "SQLITE_CORRUPT" }, "CRITICAL", null],
    [{ name: "ConnectionError", message: "Login failed for user 'sa'.", code: "ELOGIN" }, "AUTHENTICATION", false],
    [
      {
        name: "RequestError",
        message:
          "Transaction (Process ID 52) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction.",
        code: "EREQUEST",
        number: 1205
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "RequestError", message: "Timeout: Request failed to complete in 15000ms", code: "ETIMEOUT" },
      "TIMEOUT",
      true
    ],
    [
      {
        name: "MongoServerError",
        message: "E11000 duplicate key error collection: a.b index: _id_ dup key: { _id: 1 }",
        code: 11000
      },
      "VALIDATION",
      false
    ],
    [
      {
        name: "MongoServerSelectionError",
        message: "connect ECONNREFUSED 127.0.0.1:27017",
        reason: { type: "Unknown" }
      },
      "NETWORK SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "MongoServerError", message: "bad auth : authentication failed", code: 8000, codeName: "AtlasError" },
      "AUTHENTICATION",
      false
    ],
    [
      { name: "MongoNetworkTimeoutError", message: "connection 3 to 10.0.0.1:27017 timed out" },
      "TIMEOUT NETWORK",
      true
    ],
    [
      {
        name: "MongoServerError",
        message: "WriteConflict error: this operation conflicted with another operation",
        code: 112,
        codeName: "WriteConflict"
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "MongoNotConnectedError", message: "Client must be connected before running operations" },
      "CONFIGURATION NETWORK UNKNOWN INVALID_REQUEST",
      null
    ],
    [
      { name: "MongoParseError", message: "Invalid scheme, expected connection string to start with \"mongodb://\"" },
      "CONFIGURATION INVALID_REQUEST VALIDATION",
      false
    ]
  ],
  "Redis": [
    [
      { name: "ReplyError", message: "READONLY You can't write against a read only replica." },
      "CONFIGURATION TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      null
    ],
    [{ name: "ReplyError", message: "LOADING Redis is loading the dataset in memory" }, "SERVICE_UNAVAILABLE", true],
    [{ name: "ReplyError", message: "NOAUTH Authentication required." }, "AUTHENTICATION", false],
    [
      { name: "ReplyError", message: "WRONGPASS invalid username-password pair or user is disabled." },
      "AUTHENTICATION",
      false
    ],
    [
      { name: "ReplyError", message: "NOPERM this user has no permissions to run the 'set' command" },
      "AUTHORIZATION",
      false
    ],
    [{ name: "ReplyError", message: "CLUSTERDOWN Hash slot not served" }, "SERVICE_UNAVAILABLE", true],
    [
      { name: "ReplyError", message: "OOM command not allowed when used memory > 'maxmemory'." },
      "SERVICE_UNAVAILABLE CRITICAL",
      null
    ],
    [
      {
        name: "ReplyError",
        message: "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk."
      },
      "SERVICE_UNAVAILABLE CRITICAL CONFIGURATION",
      null
    ],
    [
      {
        name: "ReplyError",
        message: "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
      },
      "SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "ReplyError", message: "TRYAGAIN Multiple keys request during rehashing of slot" },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "ReplyError",
        message: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
      },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "ReplyError", message: "WRONGTYPE Operation against a key holding the wrong kind of value" },
      "INVALID_REQUEST VALIDATION",
      false
    ],
    [{ name: "ReplyError", message: "ERR unknown command 'FOO'" }, "INVALID_REQUEST CONFIGURATION", false],
    [{ name: "ReplyError", message: "ERR max number of clients reached" }, "SERVICE_UNAVAILABLE", true],
    [
      { name: "ReplyError", message: "ERR value is not an integer or out of range" },
      "INVALID_REQUEST VALIDATION",
      false
    ],
    [
      { name: "ErrorReply", message: "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000." },
      "CONFIGURATION RATE_LIMIT AUTHORIZATION",
      false
    ],
    [
      {
        name: "MaxRetriesPerRequestError",
        message:
          "Reached the max retries per request limit (which is 20). Refer to \"maxRetriesPerRequest\" option for details."
      },
      "NETWORK SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "Error", message: "Connection is closed." }, "NETWORK", true],
    [
      { name: "Error", message: "Stream isn't writeable and enableOfflineQueue options is false" },
      "NETWORK SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "Error", class: "SocketClosedUnexpectedlyError", message: "Socket closed unexpectedly" }, "NETWORK", true],
    [
      { name: "Error", class: "ClientClosedError", message: "The client is closed" },
      "CONFIGURATION NETWORK UNKNOWN",
      null
    ],
    [{ name: "Error", class: "ConnectionTimeoutError", message: "Connection timeout" }, "TIMEOUT NETWORK", true],
    [{ name: "Error", message: "Command timed out" }, "TIMEOUT", true],
    [{ name: "Error", message: "connect ECONNREFUSED 127.0.0.1:6379", code: "ECONNREFUSED" }, "NETWORK", true]
  ],
  "gRPC": [
    ...([
      [1, "CANCELLED", "UNKNOWN", null],
      [2, "UNKNOWN", "UNKNOWN", null],
      [3, "INVALID_ARGUMENT", "INVALID_REQUEST VALIDATION", false],
      [4, "DEADLINE_EXCEEDED", "TIMEOUT", true],
      [5, "NOT_FOUND", "NOT_FOUND", false],
      [6, "ALREADY_EXISTS", "VALIDATION INVALID_REQUEST", false],
      [7, "PERMISSION_DENIED", "AUTHORIZATION", false],
      [8, "RESOURCE_EXHAUSTED", "RATE_LIMIT", null],
      [9, "FAILED_PRECONDITION", "INVALID_REQUEST VALIDATION", false],
      [10, "ABORTED", "TEMPORARY_FAILURE", true],
      [11, "OUT_OF_RANGE", "INVALID_REQUEST VALIDATION", false],
      [12, "UNIMPLEMENTED", "INVALID_REQUEST CONFIGURATION", false],
      [13, "INTERNAL", "TEMPORARY_FAILURE", true],
      [14, "UNAVAILABLE", "SERVICE_UNAVAILABLE NETWORK", true],
      [15, "DATA_LOSS", "CRITICAL", null],
      [16, "UNAUTHENTICATED", "AUTHENTICATION", false]
    ] as const).flatMap(([code, name, accept, retryable]): ReadonlyArray<Row> => [
      [{ message: `${code} ${name}: went wrong`, code, details: "went wrong", metadata: {} }, accept, retryable],
      [{ message: "went wrong", code: name }, accept, retryable],
      [
        { name: "ConnectError", message: `[${name.toLowerCase()}] went wrong`, rawMessage: "went wrong", code },
        accept,
        retryable
      ]
    ]),
    [
      {
        message: "14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1",
        code: 14,
        details: "No connection established",
        metadata: {}
      },
      "SERVICE_UNAVAILABLE NETWORK",
      true
    ],
    [
      {
        message: "8 RESOURCE_EXHAUSTED: Received message larger than max (5000000 vs. 4194304)",
        code: 8,
        details: "Received message larger than max (5000000 vs. 4194304)",
        metadata: {}
      },
      "INVALID_REQUEST VALIDATION RATE_LIMIT",
      false
    ],
    [
      { message: "/weaviate.v1.Weaviate/Search UNAVAILABLE: read ECONNRESET", name: "WeaviateQueryError" },
      "SERVICE_UNAVAILABLE NETWORK",
      true
    ]
  ],
  "vector stores": [
    [
      {
        name: "PineconeAuthorizationError",
        message:
          "The API key you provided was rejected while calling https://api.pinecone.io. Please check your configuration values and try again."
      },
      "AUTHENTICATION AUTHORIZATION",
      false
    ],
    [
      {
        name: "PineconeNotFoundError",
        message: "A call to https://api.pinecone.io/indexes/x returned HTTP status 404."
      },
      "NOT_FOUND",
      false
    ],
    [
      {
        name: "PineconeBadRequestError",
        message:
          "{\"code\":3,\"message\":\"Vector dimension 3 does not match the dimension of the index 1536\",\"details\":[]}"
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "PineconeConflictError",
        message: "A call to https://api.pinecone.io/indexes returned HTTP status 409. Resource  already exists"
      },
      "INVALID_REQUEST VALIDATION TEMPORARY_FAILURE",
      false
    ],
    [
      {
        name: "PineconeInternalServerError",
        message: "An internal server error occured while calling the https://api.pinecone.io endpoint."
      },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "PineconeUnavailableError", message: "The service is currently unavailable." },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "PineconeConnectionError",
        message: "Request failed to reach Pinecone. This can occur for reasons such as network problems",
        cause: { name: "TypeError", message: "fetch failed", cause: { message: "x", code: "ECONNREFUSED" } }
      },
      "NETWORK",
      true
    ],
    [{ name: "PineconeConnectionError", message: "Request failed to reach Pinecone." }, "NETWORK", true],
    [
      { name: "PineconeMaxRetriesExceededError", message: "You have exceeded the max configured retries (3). " },
      "SERVICE_UNAVAILABLE UNKNOWN TEMPORARY_FAILURE NETWORK",
      null
    ],
    [
      { name: "PineconeArgumentError", message: "You must pass an array of values to `embed`" },
      "INVALID_REQUEST VALIDATION",
      false
    ],
    [
      {
        name: "ApiError",
        message: "Not Found",
        status: 404,
        data: { status: { error: "Not found: Collection `docs` doesn't exist!" } }
      },
      "NOT_FOUND",
      false
    ],
    [
      {
        name: "Error",
        class: "ApiError",
        message: "Bad Request",
        status: 400,
        data: { status: { error: "Wrong input: Vector dimension error: expected dim: 4, got 3" } }
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "Error", class: "QdrantClientResourceExhaustedError", message: "Too Many Requests", retry_after: 5 },
      "RATE_LIMIT",
      true
    ],
    [
      {
        name: "Error",
        class: "QdrantClientUnexpectedResponseError",
        message: "Unexpected Response: 404 (Not Found)\nRaw response content:\n{}"
      },
      "NOT_FOUND",
      false
    ],
    [{ name: "Error", class: "QdrantClientTimeoutError", message: "x" }, "TIMEOUT", true],
    [
      { name: "Error", class: "QdrantClientConfigError", message: "Only one of `url`, `host` params can be set" },
      "CONFIGURATION",
      false
    ],
    [
      {
        name: "Error",
        class: "WeaviateUnexpectedStatusCodeError",
        message: "The request to Weaviate failed with status code: 422 and message: {}",
        code: 422
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "Error",
        class: "WeaviateUnexpectedStatusCodeError",
        message: "The request to Weaviate failed with status code: 500 and message: {}",
        code: 500
      },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "Error", class: "WeaviateUnauthenticatedError", message: "unauthenticated: x" }, "AUTHENTICATION", false],
    [
      { name: "Error", class: "WeaviateInsufficientPermissionsError", message: "forbidden: x", code: 403 },
      "AUTHORIZATION",
      false
    ],
    [{ name: "Error", class: "WeaviateRequestTimeoutError", message: "Weaviate request timed out" }, "TIMEOUT", true],
    [
      { name: "Error", class: "WeaviateInvalidInputError", message: "Invalid input provided: x" },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "ResponseError",
        message: "resource_not_found_exception",
        meta: { statusCode: 404, body: { error: { type: "resource_not_found_exception" } } }
      },
      "NOT_FOUND",
      false
    ],
    [
      { name: "ResponseError", message: "es_rejected_execution_exception", meta: { statusCode: 429, body: {} } },
      "RATE_LIMIT",
      true
    ],
    [
      { name: "ResponseError", message: "index_not_found_exception: no such index [docs]", statusCode: 404 },
      "NOT_FOUND CONFIGURATION",
      false
    ],
    [
      { name: "NoLivingConnectionsError", message: "There are no living connections" },
      "NETWORK SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "ChromaConnectionError", message: "Failed to connect to chromadb. Make sure your server is running" },
      "NETWORK",
      true
    ]
  ],
  "AWS": [
    [
      {
        name: "ThrottlingException",
        message: "Too many tokens, please wait before trying again.",
        $fault: "client",
        $metadata: { httpStatusCode: 429 }
      },
      "RATE_LIMIT",
      true
    ],
    [
      { name: "ProvisionedThroughputExceededException", message: "x", $metadata: { httpStatusCode: 400 } },
      "RATE_LIMIT",
      true
    ],
    [{ name: "TooManyRequestsException", message: "x", $metadata: { httpStatusCode: 429 } }, "RATE_LIMIT", true],
    [
      { name: "SlowDown", message: "Please reduce your request rate.", $metadata: { httpStatusCode: 503 } },
      "RATE_LIMIT SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "ServiceUnavailableException", message: "x", $metadata: { httpStatusCode: 503 } },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "InternalServerException", message: "x", $metadata: { httpStatusCode: 500 } },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "ModelTimeoutException", message: "x", $metadata: { httpStatusCode: 408 } }, "TIMEOUT", true],
    [
      { name: "ModelNotReadyException", message: "x", $metadata: { httpStatusCode: 429 } },
      "SERVICE_UNAVAILABLE RATE_LIMIT",
      true
    ],
    [
      { name: "ServiceQuotaExceededException", message: "x", $metadata: { httpStatusCode: 400 } },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [
      {
        name: "AccessDeniedException",
        message: "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel",
        $metadata: { httpStatusCode: 400 }
      },
      "AUTHORIZATION",
      false
    ],
    [
      { name: "ValidationException", message: "Malformed input request", $metadata: { httpStatusCode: 400 } },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "ResourceNotFoundException", message: "x", $metadata: { httpStatusCode: 400 } },
      "NOT_FOUND CONFIGURATION",
      false
    ],
    [
      {
        name: "UnrecognizedClientException",
        message: "The security token included in the request is invalid.",
        $metadata: { httpStatusCode: 400 }
      },
      "AUTHENTICATION",
      false
    ],
    [
      { name: "SignatureDoesNotMatch", message: "x", $metadata: { httpStatusCode: 403 } },
      "AUTHENTICATION AUTHORIZATION",
      false
    ],
    [
      { name: "CredentialsProviderError", message: "Could not load credentials from any providers" },
      "CONFIGURATION AUTHENTICATION",
      false
    ],
    [
      { name: "NoSuchKey", message: "The specified key does not exist.", $metadata: { httpStatusCode: 404 } },
      "NOT_FOUND",
      false
    ],
    [
      {
        name: "RequestTimeout",
        message: "Your socket connection to the server was not read from or written to within the timeout period.",
        $metadata: { httpStatusCode: 400 }
      },
      "TIMEOUT",
      true
    ],
    [
      {
        name: "TimeoutError",
        message: "Socket timed out without establishing a connection within 1000 ms",
        $metadata: { attempts: 3 }
      },
      "TIMEOUT",
      true
    ],
    [
      {
        name: "ConditionalCheckFailedException",
        message: "The conditional request failed",
        $metadata: { httpStatusCode: 400 }
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { name: "TransactionConflictException", message: "x", $metadata: { httpStatusCode: 400 } },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      { name: "UnknownError", message: "UnknownError", $metadata: { httpStatusCode: 502 } },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "RequestTimeTooSkewed",
        message: "The difference between the request time and the current time is too large.",
        $metadata: { httpStatusCode: 403 }
      },
      "AUTHENTICATION AUTHORIZATION CONFIGURATION",
      false
    ]
  ],
  "Google and Azure": [
    [
      {
        name: "GaxiosError",
        message: "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service",
        code: 429,
        status: 429,
        errors: [{ reason: "rateLimitExceeded", domain: "usageLimits" }]
      },
      "RATE_LIMIT",
      true
    ],
    [
      { name: "GaxiosError", message: "Daily Limit Exceeded", code: 403, errors: [{ reason: "dailyLimitExceeded" }] },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [
      {
        name: "GaxiosError",
        message: "invalid_grant",
        code: "400",
        response: { status: 400, data: { error: "invalid_grant" } }
      },
      "AUTHENTICATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "GaxiosError",
        message: "User Rate Limit Exceeded",
        code: 403,
        errors: [{ reason: "userRateLimitExceeded" }]
      },
      "RATE_LIMIT",
      true
    ],
    [
      {
        message: "The caller does not have permission",
        status: 403,
        code: 403,
        error: { code: 403, status: "PERMISSION_DENIED", details: [{ reason: "SERVICE_DISABLED" }] }
      },
      "AUTHORIZATION CONFIGURATION",
      false
    ],
    [
      {
        message: "x",
        status: 429,
        error: {
          code: 429,
          status: "RESOURCE_EXHAUSTED",
          message:
            "You exceeded your current quota, please check your plan and billing details. Quota exceeded for metric: requests, limit: 15 PerMinute. Please retry in 32.5s.",
          details: [{ retryDelay: "32s" }]
        }
      },
      "RATE_LIMIT",
      true
    ],
    [
      { name: "RestError", message: "The request is blocked", code: "AuthorizationFailed", statusCode: 403 },
      "AUTHORIZATION",
      false
    ],
    [
      { name: "RestError", message: "Server is busy", code: "ServerBusy", statusCode: 503 },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "RestError", message: "getaddrinfo ENOTFOUND x", code: "ENOTFOUND" }, "NETWORK CONFIGURATION", null],
    [
      { name: "AuthenticationRequiredError", message: "Automatic authentication has been disabled." },
      "AUTHENTICATION CONFIGURATION",
      false
    ],
    [
      {
        name: "CredentialUnavailableError",
        message: "EnvironmentCredential is unavailable. No underlying credential could be used."
      },
      "CONFIGURATION AUTHENTICATION",
      false
    ],
    [
      { name: "FirebaseError", message: "Missing or insufficient permissions.", code: "permission-denied" },
      "AUTHORIZATION",
      false
    ],
    [{ name: "FirebaseError", message: "x", code: "unavailable" }, "SERVICE_UNAVAILABLE", true],
    [{ name: "FirebaseError", message: "x", code: "auth/invalid-api-key" }, "AUTHENTICATION CONFIGURATION", false]
  ],
  "Effect": [
    [
      {
        _tag: "SqlError",
        name: "SqlError",
        message: "PgConnection: Query failed",
        reason: {
          _tag: "UnknownError",
          message: "q",
          cause: { message: "terminating connection due to administrator command", code: "57P01" }
        }
      },
      "SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Failed to connect",
        reason: {
          _tag: "ConnectionError",
          message: "c",
          operation: "connect",
          cause: { message: "The server does not support TLS" }
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Invalid connection URL",
        reason: {
          _tag: "ConnectionError",
          message: "PgConnection: Invalid connection URL",
          operation: "connect",
          cause: { name: "TypeError", message: "Invalid URL", code: "ERR_INVALID_URL" }
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Unrecognized sslmode in URL: \"x\"",
        reason: {
          _tag: "ConnectionError",
          operation: "connect",
          message: "x",
          cause: { message: "Unrecognized sslmode in URL: \"x\"" }
        }
      },
      "CONFIGURATION",
      false
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Connection closed",
        reason: { _tag: "ConnectionError", operation: "query", message: "x", cause: { message: "Connection closed" } }
      },
      "NETWORK",
      true
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Failed to connect",
        reason: {
          _tag: "ConnectionError",
          operation: "connect",
          message: "x",
          cause: { message: "Connection timed out" }
        }
      },
      "TIMEOUT",
      true
    ],
    [
      { _tag: "SqlError", message: "x", reason: { _tag: "ConnectionError", operation: "connect", message: "x" } },
      "NETWORK",
      true
    ],
    [
      {
        _tag: "SqlError",
        message: "PgConnection: Failed to decode row",
        reason: {
          _tag: "UnknownError",
          message: "x",
          cause: { message: "Invalid UTF-8 in text value", _tag: "PgTypesCodecError" }
        }
      },
      "VALIDATION INVALID_REQUEST CONFIGURATION UNKNOWN",
      null
    ],
    [
      { _tag: "SqlError", message: "x", reason: { _tag: "UniqueViolation", message: "x", constraint: "a" } },
      "VALIDATION",
      false
    ],
    [
      { _tag: "SqlError", message: "x", reason: { _tag: "LockTimeoutError", message: "x" } },
      "TEMPORARY_FAILURE TIMEOUT",
      true
    ],
    [
      {
        _tag: "HttpClientError",
        message: "x",
        reason: { _tag: "StatusCodeError", response: { status: 429, headers: { "retry-after": "2" } } }
      },
      "RATE_LIMIT",
      true
    ],
    [{ _tag: "HttpClientError", message: "x", reason: { _tag: "TransportError" } }, "NETWORK", true],
    [
      { _tag: "HttpClientError", message: "x", reason: { _tag: "InvalidUrlError" } },
      "CONFIGURATION INVALID_REQUEST",
      false
    ],
    [{ _tag: "HttpClientError", message: "x", reason: { _tag: "EncodeError" } }, "INVALID_REQUEST VALIDATION", false],
    [
      { _tag: "HttpClientError", message: "x", reason: { _tag: "EmptyBodyError" } },
      "UNKNOWN TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      null
    ],
    [
      { _tag: "PlatformError", message: "x", reason: { _tag: "NotFound", module: "FileSystem" } },
      "NOT_FOUND CONFIGURATION",
      false
    ],
    [
      { _tag: "PlatformError", message: "x", reason: { _tag: "PermissionDenied", module: "FileSystem" } },
      "AUTHORIZATION",
      false
    ],
    [{ _tag: "PlatformError", message: "x", reason: { _tag: "TimedOut" } }, "TIMEOUT", true],
    [{ _tag: "PlatformError", message: "x", reason: { _tag: "BadArgument" } }, "INVALID_REQUEST VALIDATION", false],
    [{ _tag: "AiError", message: "x", reason: { _tag: "RateLimitError" } }, "RATE_LIMIT", true],
    [
      { _tag: "AiError", message: "x", reason: { _tag: "QuotaExhaustedError" } },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [{ _tag: "AiError", message: "x", reason: { _tag: "ContentPolicyError" } }, "VALIDATION INVALID_REQUEST", false],
    [
      { _tag: "AiError", message: "x", reason: { _tag: "InvalidOutputError" } },
      "UNKNOWN VALIDATION TEMPORARY_FAILURE",
      null
    ],
    [{ _tag: "ConfigError", message: "Missing data at OPENAI_API_KEY" }, "CONFIGURATION", false],
    [{ _tag: "NoSuchElementError", message: "x" }, "NOT_FOUND UNKNOWN", false],
    [{ _tag: "CircuitOpen", message: "x", key: "a" }, "SERVICE_UNAVAILABLE", null],
    [{ _tag: "BulkheadFull", message: "x" }, "SERVICE_UNAVAILABLE RATE_LIMIT", null],
    [{ _tag: "RateLimited", message: "x" }, "RATE_LIMIT", null],
    [{ _tag: "DeadlineExceeded", message: "x" }, "TIMEOUT", null],
    [{ _tag: "LevelTooLow", required: "Full", actual: "Basic" }, "SERVICE_UNAVAILABLE", false]
  ],
  "the process and the program": [
    [{ message: "ENOSPC: no space left on device, write", code: "ENOSPC" }, "CRITICAL", null],
    [
      { message: "EMFILE: too many open files, open 'x'", code: "EMFILE" },
      "CRITICAL SERVICE_UNAVAILABLE TEMPORARY_FAILURE",
      null
    ],
    [{ message: "spawn ENOMEM", code: "ENOMEM" }, "CRITICAL", null],
    [{ message: "JavaScript heap out of memory" }, "CRITICAL", false],
    [{ name: "RangeError", message: "Array buffer allocation failed" }, "CRITICAL UNKNOWN", false],
    [{ name: "RangeError", message: "Invalid array length" }, "UNKNOWN CRITICAL", false],
    [{ name: "TypeError", message: "foo is not a function" }, "UNKNOWN CRITICAL", false],
    [
      { name: "TypeError", message: "Cannot read properties of undefined (reading 'timeout')" },
      "UNKNOWN CRITICAL",
      false
    ],
    [{ name: "ReferenceError", message: "timeout is not defined" }, "UNKNOWN CRITICAL", false],
    [{ name: "SyntaxError", message: "Invalid or unexpected token" }, "UNKNOWN", null],
    [
      { name: "AssertionError", message: "Expected values to be strictly equal", code: "ERR_ASSERTION" },
      "UNKNOWN CRITICAL",
      false
    ],
    [
      {
        name: "TypeError",
        message: "The \"path\" argument must be of type string. Received undefined",
        code: "ERR_INVALID_ARG_TYPE"
      },
      "INVALID_REQUEST VALIDATION UNKNOWN",
      false
    ],
    [{ message: "Cannot find module 'x'", code: "MODULE_NOT_FOUND" }, "CONFIGURATION", false],
    [{ message: "listen EADDRINUSE: address already in use :::3000", code: "EADDRINUSE" }, "CONFIGURATION", false],
    [{ message: "EACCES: permission denied, open '/etc/x'", code: "EACCES" }, "AUTHORIZATION CONFIGURATION", false],
    [{ name: "AbortError", message: "The operation was aborted", code: "ABORT_ERR" }, "UNKNOWN TIMEOUT", null],
    [
      {
        name: "AbortError",
        message: "The operation was aborted",
        code: "ABORT_ERR",
        cause: { name: "TimeoutError", message: "The operation was aborted due to timeout", code: 23 }
      },
      "TIMEOUT",
      true
    ],
    [
      { name: "QuotaExceededError", class: "DOMException", message: "The quota has been exceeded.", code: 22 },
      "CONFIGURATION CRITICAL VALIDATION AUTHORIZATION",
      false
    ],
    [
      { name: "DataCloneError", class: "DOMException", message: "() => {} could not be cloned.", code: 25 },
      "INVALID_REQUEST VALIDATION UNKNOWN",
      false
    ],
    [{ name: "NetworkError", class: "DOMException", message: "A network error occurred.", code: 19 }, "NETWORK", true],
    [{ message: "Processed 1500 documents" }, "UNKNOWN", null],
    [{ message: "file_4003 has 500 rows and 503 columns" }, "UNKNOWN", null],
    [{ message: "500 documents could be imported" }, "UNKNOWN", null],
    [{ message: "Something weird happened" }, "UNKNOWN", false],
    [{ thrown: "null" }, "UNKNOWN", false],
    [
      {
        message: "All promises were rejected",
        name: "AggregateError",
        errors: [{ code: "ECONNREFUSED", message: "x" }, { status: 401, message: "Unauthorized" }]
      },
      "AUTHENTICATION NETWORK",
      false
    ]
  ],
  "payments, mail, brokers, and texts that quote": [
    [{ message: "Region is missing" }, "CONFIGURATION", false],
    [
      {
        name: "Error",
        class: "StripeCardError",
        type: "StripeCardError",
        rawType: "card_error",
        message: "Your card was declined.",
        code: "card_declined",
        decline_code: "generic_decline",
        statusCode: 402
      },
      "VALIDATION INVALID_REQUEST CONFIGURATION AUTHORIZATION",
      false
    ],
    [
      {
        class: "StripeCardError",
        type: "StripeCardError",
        message: "Your card has insufficient funds.",
        code: "card_declined"
      },
      "VALIDATION INVALID_REQUEST AUTHORIZATION",
      false
    ],
    [
      {
        type: "StripeSignatureVerificationError",
        message: "No signatures found matching the expected signature for payload."
      },
      "AUTHENTICATION VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "ErrorResponse",
        code: 449,
        message: "Conflicting request to resource has been attempted. Retry to avoid conflicts."
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      {
        name: "GaxiosError",
        message: "Daily Limit Exceeded. The quota will be reset at midnight Pacific Time (PT).",
        code: 403,
        status: 403,
        errors: [{ domain: "usageLimits", reason: "dailyLimitExceeded" }]
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [
      {
        name: "MongoServerError",
        message: "not authorized on admin to execute command { find: \"x\" }",
        code: 13,
        codeName: "Unauthorized"
      },
      "AUTHORIZATION",
      false
    ],
    [
      {
        name: "CastError",
        message: "Cast to ObjectId failed for value \"timeout\" (type string) at path \"_id\" for model \"User\"",
        kind: "ObjectId"
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        message: "10 ABORTED: Too much contention on these documents. Please try again.",
        code: 10,
        details: "Too much contention on these documents. Please try again.",
        metadata: {}
      },
      "TEMPORARY_FAILURE",
      true
    ],
    [
      { message: "12 UNIMPLEMENTED: The server does not implement the method /x.Y/Z" },
      "INVALID_REQUEST CONFIGURATION",
      false
    ],
    [
      { name: "TypeError", message: "fetch failed", cause: { message: "bad port" } },
      "CONFIGURATION INVALID_REQUEST",
      false
    ],
    [
      { name: "TypeError", message: "fetch failed", cause: { message: "unknown scheme" } },
      "CONFIGURATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "Error",
        message: "validation failed",
        errors: [{ keyword: "required", message: "must have required property 'timeout'" }],
        ajv: true,
        validation: true
      },
      "VALIDATION",
      false
    ],
    [{ name: "NotBeforeError", message: "jwt not active" }, "AUTHENTICATION", null],
    [
      {
        name: "JWSSignatureVerificationFailed",
        code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        message: "signature verification failed"
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        name: "JWKSNoMatchingKey",
        code: "ERR_JWKS_NO_MATCHING_KEY",
        message: "no applicable key found in the JSON Web Key Set"
      },
      "AUTHENTICATION CONFIGURATION NOT_FOUND",
      false
    ],
    [{ message: "Social network profile 500 is private" }, "UNKNOWN AUTHORIZATION", null],
    [
      { message: "Validation failed: subject must not contain 'service unavailable'" },
      "VALIDATION",
      false
    ],
    [
      {
        name: "KafkaJSNumberOfRetriesExceeded",
        message: "Broker: This server is not the leader for that topic-partition",
        retriable: false,
        cause: {
          name: "KafkaJSProtocolError",
          message: "This server is not the leader for that topic-partition",
          type: "NOT_LEADER_FOR_PARTITION",
          code: 6,
          retriable: true
        }
      },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      {
        name: "Error",
        message: "Can't send mail - all recipients were rejected: 550 5.1.1 mailbox unavailable",
        code: "EENVELOPE",
        responseCode: 550
      },
      "VALIDATION INVALID_REQUEST NOT_FOUND",
      false
    ],
    [
      {
        name: "Error",
        message: "552 5.3.4 Message size exceeds fixed limit",
        code: "EMESSAGE",
        responseCode: 552
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      {
        name: "HttpError",
        status: 403,
        message: "You have triggered an abuse detection mechanism. Please wait a few minutes before you try again.",
        response: { headers: { "retry-after": "60" } }
      },
      "RATE_LIMIT",
      true
    ],
    [
      {
        name: "Error",
        message: "GraphQL Error (Code: 200)",
        response: {
          status: 200,
          errors: [{ message: "Not authorised", extensions: { code: "UNAUTHENTICATED" } }]
        }
      },
      "AUTHENTICATION AUTHORIZATION",
      false
    ],
    [
      {
        name: "ApolloError",
        message: "You do not have permission",
        graphQLErrors: [{ message: "x", extensions: { code: "FORBIDDEN" } }]
      },
      "AUTHORIZATION",
      false
    ],
    [
      {
        name: "Error",
        code: "slack_webapi_platform_error",
        data: { ok: false, error: "channel_not_found" },
        message: "An API error occurred: channel_not_found"
      },
      "NOT_FOUND INVALID_REQUEST",
      false
    ],
    [
      {
        name: "Error",
        code: "slack_webapi_platform_error",
        data: { ok: false, error: "invalid_auth" },
        message: "An API error occurred: invalid_auth"
      },
      "AUTHENTICATION",
      false
    ],
    [
      {
        message: "Your card's security code is incorrect.",
        status: 402,
        error: { type: "card_error", code: "incorrect_cvc" }
      },
      "VALIDATION INVALID_REQUEST",
      false
    ],
    [
      { code: "INSUFFICIENT_FUNDS", message: "insufficient funds for intrinsic transaction cost" },
      "VALIDATION INVALID_REQUEST CONFIGURATION",
      false
    ],
    [
      {
        name: "NoHostAvailableError",
        "message":
          "All host(s) tried for query failed. First host tried, 10.0.0.1:9042: OperationTimedOutError. See innerErrors."
      },
      "NETWORK TIMEOUT SERVICE_UNAVAILABLE",
      true
    ],
    [
      { name: "ResponseError", code: 8192, message: "line 1:0 no viable alternative at input 'timeout'" },
      "INVALID_REQUEST UNKNOWN",
      false
    ],
    [
      {
        code: 403,
        errors: [{
          reason: "quotaExceeded",
          message: "Quota exceeded: Your project exceeded quota for free query bytes scanned."
        }],
        message: "Quota exceeded: Your project exceeded quota for free query bytes scanned."
      },
      "CONFIGURATION AUTHORIZATION RATE_LIMIT",
      false
    ],
    [{ name: "AbortError", type: "aborted", message: "The user aborted a request." }, "UNKNOWN", false],
    [{ name: "error", code: "0A000", message: "extension \"vector\" is not available" }, "CONFIGURATION", false],
    [
      {
        name: "Error",
        "message":
          "Undefined binding(s) detected when compiling SELECT. Undefined column(s): [timeout] query: select * from x"
      },
      "INVALID_REQUEST VALIDATION UNKNOWN",
      false
    ],
    [
      {
        name: "ClusterAllFailedError",
        message: "Failed to refresh slots cache.",
        lastNodeError: { code: "ETIMEDOUT", message: "connect ETIMEDOUT" }
      },
      "NETWORK TIMEOUT SERVICE_UNAVAILABLE",
      true
    ],
    [{ name: "FTPError", code: 530, message: "530 Login incorrect." }, "AUTHENTICATION", false],
    [
      {
        code: "EENVELOPE",
        responseCode: 450,
        "message":
          "Can't send mail - all recipients were rejected: 450 4.2.0 <a@b>: Recipient address rejected: Greylisted"
      },
      "TEMPORARY_FAILURE SERVICE_UNAVAILABLE",
      true
    ],
    [
      { message: "Invalid enum value. Expected 'slow down' | 'speed up', received 'x'" },
      "INVALID_REQUEST VALIDATION",
      false
    ],
    [
      { message: "Field 'connection refused reason' is required" },
      "INVALID_REQUEST VALIDATION",
      false
    ],
    [{ message: "Invalid path: /status/503/timeout" }, "INVALID_REQUEST VALIDATION", false],
    [
      { data: { ok: false, error: "ratelimited" }, message: "An API error occurred: ratelimited" },
      "RATE_LIMIT",
      true
    ],
    [
      { data: { ok: false, error: "missing_scope" }, message: "An API error occurred: missing_scope" },
      "AUTHORIZATION",
      false
    ]
  ]
}

export { network }
