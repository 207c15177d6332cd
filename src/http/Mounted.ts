/** What a group's layer asks of the API that it is for: that it has the group, also behind middleware and a prefix of its own. */
import type { Layer } from "effect"
import type { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"

type EndpointsOf<Groups, Identifier extends string> = HttpApiGroup.Endpoints<
  HttpApiGroup.WithIdentifier<Groups, Identifier>
>

/** An API that has the endpoints of the group under its name. */
export type Having<
  Group extends HttpApiGroup.Constraint,
  Id extends string,
  Groups extends HttpApiGroup.Constraint
> =
  & HttpApi.HttpApi<Id, Groups>
  & ([HttpApiEndpoint.Identifier<HttpApiGroup.Endpoints<Group>>] extends
    [HttpApiEndpoint.Identifier<EndpointsOf<Groups, Group["identifier"]>>] ? unknown : never)

/** The middleware that the API has around the group, and what that needs. */
export type Around<Group extends HttpApiGroup.Constraint, Groups> =
  | HttpApiEndpoint.Middleware<EndpointsOf<Groups, Group["identifier"]>>
  | HttpApiEndpoint.MiddlewareServices<EndpointsOf<Groups, Group["identifier"]>>

/** The layer of a group, which needs that too. */
export const around = <R>() => <A, E, R1>(layer: Layer.Layer<A, E, R1>): Layer.Layer<A, E, R | R1> => layer
