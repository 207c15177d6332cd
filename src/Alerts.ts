/**
 * Alerts: rules as data, looked at every few seconds. A rule fires once when its condition has held long enough on enough
 * events, and resolves once when it no longer holds. Each change is an event and goes to the notifiers.
 */
import {
  Cause,
  Clock,
  Context,
  Data,
  type Duration,
  Effect,
  Layer,
  Redacted,
  Schedule,
  Schema,
  type Scope
} from "effect"
import { Mac, SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"
import { HttpClient, type HttpClientError, HttpClientRequest } from "effect/http"
import * as Event from "./Event.ts"
import * as alertState from "./internal/alertState.ts"
import { checked, checks } from "./internal/options.ts"
import type { InvalidOptions } from "./InvalidOptions.ts"
import { Level, rank } from "./ServiceLevel.ts"
import { type CircuitReading, Measurements, type Totals } from "./Telemetry.ts"
import * as Timeout from "./Timeout.ts"

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 }))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** What a rule looks at. Ranges are in milliseconds, up to a day. */
export const Condition = Schema.Union([
  /**
   * The error budget of a service level objective burns `factor` times too fast over both windows. The usual pairs, for
   * 30 days: 14.4 over 1 h and 5 min (page), 6 over 6 h and 30 min (page). Source: The Site Reliability Workbook, chapter 5.
   */
  Schema.TaggedStruct("BurnRate", {
    service: Schema.String,
    /** The share of calls that must be answered, such as 0.99. */
    objective: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999_999 })),
    factor: Schema.Finite.check(Schema.isGreaterThan(0)),
    longMillis: Millis,
    /** No longer than `longMillis`. */
    shortMillis: Millis
  }),
  /** The share of failed calls is above `above`. */
  Schema.TaggedStruct("ErrorRate", { service: Schema.String, above: Share, rangeMillis: Millis }),
  /** A latency quantile is above so many milliseconds. */
  Schema.TaggedStruct("Latency", {
    service: Schema.String,
    quantile: Schema.Literals(["p50", "p90", "p95", "p99"]),
    aboveMillis: Schema.Finite,
    rangeMillis: Millis
  }),
  /** A circuit is not closed, of one provider or of any that is watched. What closes it by hand or disables it ends it. */
  Schema.TaggedStruct("CircuitOpen", { service: Schema.optionalKey(Schema.String) }),
  /** The level of a service that is watched is worse than `worst`. */
  Schema.TaggedStruct("LevelBelow", { service: Schema.String, worst: Level }),
  /** A gauge of the options, such as how far a mirror lags behind, is above `above`. */
  Schema.TaggedStruct("Gauge", { gauge: Schema.String, above: Schema.Finite })
])
export type Condition = typeof Condition.Type

export const Severity = Schema.Literals(["page", "ticket"])
export type Severity = typeof Severity.Type

export const Rule = Schema.Struct({
  /** Names the rule; unique. */
  name: Schema.NonEmptyString,
  severity: Severity,
  condition: Condition,
  /** Fewer calls in the (longest) range say nothing. Defaults to 20; circuits, levels and gauges need none. */
  minEvents: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  /** How long the condition must hold. Defaults to 0. */
  forMillis: Schema.optionalKey(Millis),
  /** How long after resolving the rule cannot fire again. Defaults to 5 minutes. */
  cooldownMillis: Schema.optionalKey(Millis)
})
export type Rule = typeof Rule.Type

/** One rule as it stands. */
export const Alert = Schema.Struct({
  rule: Schema.String,
  severity: Severity,
  state: Schema.Literals(["Quiet", "Pending", "Firing"]),
  /** Since when it is pending or firing, in epoch milliseconds. */
  since: Schema.optionalKey(Schema.Finite),
  /** What was last seen; absent where too little happened to say, or it could not be found out. */
  value: Schema.optionalKey(Schema.Finite),
  /** The value above which it fires. */
  threshold: Schema.Finite,
  message: Schema.String
})
export type Alert = typeof Alert.Type

/** A change of an alert. */
export interface Notice {
  readonly at: number
  readonly change: "Fired" | "Resolved"
  readonly alert: Alert
}

/** Who is told. A notifier that fails is logged and holds nobody up. */
export interface Notifier {
  readonly name: string
  readonly notify: (notice: Notice) => Effect.Effect<void, unknown>
}

export interface Options {
  /** One that is malformed, has another's name or names a gauge that is not there is refused. */
  readonly rules: ReadonlyArray<Rule>
  /** Defaults to the log. */
  readonly notifiers?: ReadonlyArray<Notifier> | undefined
  /** Values that `Gauge` conditions name. One that ends without a finite number says nothing; the log has why. */
  readonly gauges?: { readonly [name: string]: Effect.Effect<number> } | undefined
  /** How often each rule is looked at, and how long that may take; at least 100 ms. Defaults to `"15 seconds"`. */
  readonly interval?: Duration.Input | undefined
}

export class Alerts extends Context.Service<Alerts, {
  /** Every rule as it stands, in the order of the rules. */
  readonly current: Effect.Effect<ReadonlyArray<Alert>>
  /** The last 200 changes, oldest first. */
  readonly history: Effect.Effect<ReadonlyArray<Notice>>
  /** Looks at the rules now. It also happens by itself every `interval`. */
  readonly evaluate: Effect.Effect<void>
}>()("holdfast/Alerts") {
  static readonly layer = (options: Options): Layer.Layer<Alerts, InvalidOptions, Measurements> =>
    Layer.effect(Alerts, make(options))
}

/** The rules of the specification's services, as a start: two burn rates, slow answers. */
export const defaultRules = (service: string, objective = 0.99): ReadonlyArray<Rule> => [
  {
    name: `${service}: error budget burns fast`,
    severity: "page",
    condition: { _tag: "BurnRate", service, objective, factor: 14.4, longMillis: 3_600_000, shortMillis: 300_000 }
  },
  {
    name: `${service}: error budget burns`,
    severity: "page",
    condition: { _tag: "BurnRate", service, objective, factor: 6, longMillis: 21_600_000, shortMillis: 1_800_000 }
  },
  {
    name: `${service}: slow`,
    severity: "ticket",
    condition: { _tag: "Latency", service, quantile: "p95", aboveMillis: 5_000, rangeMillis: 300_000 },
    forMillis: 60_000
  }
]

const historySize = 200

/** What a condition comes to now. `violated` is `undefined` where nobody can say. */
interface Finding {
  readonly violated: boolean | undefined
  readonly value: number | undefined
  readonly threshold: number
}

const decodeRules = Schema.decodeUnknownResult(Schema.Array(Rule))
const decodeFinite = Schema.decodeUnknownEffect(Schema.Finite)

const settingsOf = ({ gauges = {}, interval, rules }: Options) => {
  const { decoded, ensure, millis } = checks("Alerts")
  decoded(decodeRules(rules), ["rules"])
  rules.forEach(({ condition, name }, index) => {
    const first = rules.findIndex((other) => other.name === name)
    ensure(first === index, `rules.${index}.name`, `must be unique; rules.${first} has it, too`)
    ensure(
      condition._tag !== "BurnRate" || condition.shortMillis <= condition.longMillis,
      `rules.${index}.condition.shortMillis`,
      "must not be longer than longMillis"
    )
    ensure(
      condition._tag !== "Gauge" || Object.hasOwn(gauges, condition.gauge),
      `rules.${index}.condition.gauge`,
      `must be one of the gauges: ${Object.keys(gauges).join(", ")}`
    )
  })
  return { gauges, rules, intervalMillis: millis("interval", interval, "15 seconds", { min: 100 }) }
}

export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Alerts["Service"], InvalidOptions, Measurements | Scope.Scope> {
  const { gauges, intervalMillis, rules } = yield* checked(() => settingsOf(options))
  const measurements = yield* Measurements
  const sink = yield* Event.Sink
  const scope = yield* Effect.scope
  const notifiers = options.notifiers ?? [log]
  const states = new Map<string, alertState.State>()
  const findings = new Map<string, Finding>()
  /** The rules whose last look failed. */
  const troubled = new Set<string>()
  const history: Array<Notice> = []

  const totals = (service: string, rangeMillis: number): Effect.Effect<Totals> =>
    Effect.map(measurements.read({ services: [service], range: rangeMillis }), ({ summary }) => summary)

  /** Nothing at all is well; a little says nothing. */
  const judge = (counted: Totals, minEvents: number, value: number | null, threshold: number): Finding => ({
    violated: counted.total === 0 || value === null ? false : counted.total < minEvents ? undefined : value > threshold,
    value: value ?? undefined,
    threshold
  })

  const look = Effect.fnUntraced(function*({ condition, minEvents = 20 }: Rule): Effect.fn.Return<
    Finding,
    Schema.SchemaError
  > {
    switch (condition._tag) {
      case "BurnRate": {
        const long = yield* totals(condition.service, condition.longMillis)
        const short = yield* totals(condition.service, condition.shortMillis)
        const burn = ({ errorRate }: Totals) => (errorRate ?? 0) / (1 - condition.objective)
        // Both windows: the long one says that it matters, the short one that it still goes on.
        return judge(long, minEvents, Math.min(burn(long), burn(short)), condition.factor)
      }
      case "ErrorRate": {
        const counted = yield* totals(condition.service, condition.rangeMillis)
        return judge(counted, minEvents, counted.errorRate, condition.above)
      }
      case "Latency": {
        const counted = yield* totals(condition.service, condition.rangeMillis)
        return judge(counted, minEvents, counted.latency[condition.quantile], condition.aboveMillis)
      }
      case "CircuitOpen": {
        const services = condition.service === undefined ? undefined : [condition.service]
        const reading = yield* measurements.read({ services, range: "1 minute" })
        return above(reading.services.flatMap(({ circuits }) => circuits.filter(isOpen)).length, 0)
      }
      case "LevelBelow": {
        const { service, worst } = condition
        const { services: [read] } = yield* measurements.read({ services: [service], range: "1 minute" })
        return above(read?.level && rank(read.level.level), rank(worst))
      }
      case "Gauge": {
        return above(yield* decodeFinite(yield* gauges[condition.gauge]!), condition.above)
      }
    }
  })

  const describe = (rule: Rule): Alert => {
    const state = states.get(rule.name) ?? alertState.initial
    const { threshold, value } = findings.get(rule.name) ?? { threshold: thresholdOf(rule.condition), value: undefined }
    const shown = value === undefined ? "no figure" : `${round(value)}, limit ${round(threshold)}`
    return {
      rule: rule.name,
      severity: rule.severity,
      state: state._tag,
      ...(state._tag === "Quiet" ? {} : { since: state.since }),
      ...(value === undefined ? {} : { value }),
      threshold,
      message: `${subject(rule.condition)}: ${shown}`
    }
  }

  const tell = (notice: Notice): Effect.Effect<void> =>
    Effect.forEach(
      notifiers,
      (notifier) =>
        Effect.catchCause(
          Effect.suspend(() => notifier.notify(notice)),
          (cause) => Effect.logWarning(`The notifier ${notifier.name} failed`, cause)
        ),
      { concurrency: "unbounded", discard: true }
    )

  /** A look that fails or does not end finds nothing out, and is told once until a look succeeds. */
  const found = (rule: Rule): Effect.Effect<Finding> =>
    look(rule).pipe(
      Timeout.attempt(intervalMillis),
      Effect.tap(() => Effect.sync(() => troubled.delete(rule.name))),
      Effect.catchCause((cause) => {
        const known = troubled.has(rule.name)
        troubled.add(rule.name)
        return Effect.as(
          known ? Effect.void : Effect.logWarning(`The alert ${rule.name} cannot be judged`, cause),
          above(undefined, thresholdOf(rule.condition))
        )
      })
    )

  const evaluate = Effect.fnUntraced(function*(rule: Rule) {
    const finding = yield* found(rule)
    findings.set(rule.name, finding)
    const now = yield* Clock.currentTimeMillis
    const { cooldownMillis = 300_000, forMillis = 0 } = rule
    const [change, next] = alertState.transition(
      states.get(rule.name) ?? alertState.initial,
      finding.violated,
      now,
      { forMillis, cooldownMillis }
    )
    states.set(rule.name, next)
    if (change === undefined) return
    const alert = describe(rule)
    const notice: Notice = { at: now, change, alert }
    history.push(notice)
    if (history.length > historySize) history.shift()
    sink?.({
      _tag: "AlertChanged",
      at: now,
      rule: rule.name,
      firing: change === "Fired",
      severity: rule.severity,
      message: alert.message
    })
    // Nobody waits for a notifier: a slow webhook must not delay the next look.
    yield* Effect.forkIn(tell(notice), scope)
  })

  // Each rule by itself: one whose look takes long must not keep the others waiting.
  yield* Effect.forEach(
    rules,
    (rule) => Effect.forkScoped(Effect.repeat(evaluate(rule), Schedule.spaced(intervalMillis))),
    { discard: true }
  )
  return Alerts.of({
    current: Effect.sync(() => rules.map(describe)),
    history: Effect.sync(() => [...history]),
    evaluate: Effect.forEach(rules, evaluate, { concurrency: "unbounded", discard: true })
  })
})

const above = (value: number | undefined, threshold: number): Finding => ({
  violated: value === undefined ? undefined : value > threshold,
  value,
  threshold
})

const isOpen = ({ state }: CircuitReading): boolean => state !== "Closed" && state !== "Disabled"

const thresholdOf = (condition: Condition): number => {
  switch (condition._tag) {
    case "BurnRate":
      return condition.factor
    case "Latency":
      return condition.aboveMillis
    case "CircuitOpen":
      return 0
    case "LevelBelow":
      return rank(condition.worst)
    case "ErrorRate":
    case "Gauge":
      return condition.above
  }
}

const subject = (condition: Condition): string => {
  switch (condition._tag) {
    case "BurnRate":
      return `burn rate of the error budget of ${condition.service}, ${round(condition.objective * 100, 6)} % objective`
    case "ErrorRate":
      return `share of failed calls of ${condition.service}`
    case "Latency":
      return `${condition.quantile} of ${condition.service} in milliseconds`
    case "CircuitOpen":
      return `circuits of ${condition.service ?? "all providers"} that are not closed`
    case "LevelBelow":
      return `rank of the service level of ${condition.service}, where 0 is Full`
    case "Gauge":
      return condition.gauge
  }
}

const round = (value: number, digits = 3): number => Number(value.toPrecision(digits))

// -- notifiers -------------------------------------------------------------------------------------------------------

/** Writes to the log: warnings for what fires, infos for what resolves. */
export const log: Notifier = {
  name: "log",
  notify: ({ alert, change }) =>
    change === "Fired"
      ? Effect.logWarning(`Alert ${alert.rule} fired: ${alert.message}`)
      : Effect.logInfo(`Alert ${alert.rule} resolved: ${alert.message}`)
}

export interface WebhookOptions {
  /** An http or https address without a user and password. It may hold a secret: no log has it. */
  readonly url: string
  /** Signs the body: `x-holdfast-signature: sha256=` and the HMAC-SHA256 of it in hexadecimal. Not empty. */
  readonly secret?: Redacted.Redacted | undefined
  /** Attempts after the first, one second apart and doubling. Defaults to 4. */
  readonly retries?: number | undefined
}

/** The receiver was not told. Its address is not said. */
class NotDelivered extends Data.TaggedError("NotDelivered")<{ readonly message: string }> {}

const notDelivered = (error: HttpClientError.HttpClientError | Cause.TimeoutError): NotDelivered =>
  new NotDelivered({
    message: Cause.isTimeoutError(error)
      ? "the receiver did not answer within 10 seconds"
      : error.reason._tag === "StatusCodeError"
      ? `the receiver answered ${error.reason.response.status}`
      : "the receiver could not be reached"
  })

const webhookSettings = ({ retries, secret, url }: WebhookOptions) => {
  const { ensure, int } = checks("Alerts")
  const address = URL.canParse(url) ? new URL(url) : undefined
  ensure(/^https?:$/.test(address?.protocol ?? ""), "url", "must be an http or https address")
  ensure(`${address?.username}${address?.password}` === "", "url", "must have no user and password")
  ensure(secret === undefined || Redacted.value(secret) !== "", "secret", "must not be empty")
  return { retries: int("retries", retries, 4) }
}

/**
 * Posts each change as JSON (`at`, `change`, `alert`) and tries again where that fails. The `x-holdfast-delivery` header
 * stays the same over the attempts, so that the receiver can tell a repetition.
 */
export const webhook = Effect.fnUntraced(function*(
  options: WebhookOptions
): Effect.fn.Return<Notifier, InvalidOptions, HttpClient.HttpClient> {
  const { retries } = yield* checked(() => webhookSettings(options))
  const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
  const schedule = Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(retries)])
  const notify = Effect.fnUntraced(function*(notice: Notice) {
    const body = JSON.stringify(notice)
    const signature = options.secret === undefined ? undefined : yield* sign(Redacted.value(options.secret), body)
    const request = HttpClientRequest.post(options.url).pipe(
      HttpClientRequest.bodyText(body, "application/json"),
      HttpClientRequest.setHeaders({
        "x-holdfast-delivery": `${notice.at}-${notice.change}-${encodeURIComponent(notice.alert.rule)}`,
        ...(signature === undefined ? {} : { "x-holdfast-signature": `sha256=${signature}` })
      })
    )
    yield* client.execute(request).pipe(
      Effect.timeout("10 seconds"),
      Effect.retry(schedule),
      Effect.mapError(notDelivered)
    )
  })
  return { name: "webhook", notify }
})

const sign = (secret: string, body: string): Effect.Effect<string, unknown> =>
  Effect.gen(function*() {
    const mac = yield* Mac.Mac
    const key = yield* Mac.key(Mac.hmacSha256, new TextEncoder().encode(secret))
    return Hex.encode(yield* mac.sign(key, new TextEncoder().encode(body)))
  }).pipe(Effect.provide(Layer.provide(Mac.layerWebCrypto, SecureRandom.layerWebCrypto)))
