"""The types of all fields that the mesh reads of policy objects, checked before anything is rendered.

Rendering reads plain dicts and may then take each field for what it should be. An object of another shape
is left out as a whole, reported with the path of the first wrong field, and stops nobody else. (An API
server with Istio's and Gateway API's CRDs refuses such objects anyhow.)
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rollout.api.codec import view
from rollout.api.meta import Object
from rollout.errors import InvalidSpec

Text = dict[str, str]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class Shape(msgspec.Struct, frozen=True, rename="camel"):
    """Fields that may be missing, but if they are there, are of their type."""


class _Port(Shape, frozen=True):
    number: PortNumber = 0


class _Destination(Shape, frozen=True):
    host: Name
    subset: str = ""
    port: _Port | None = None


class _HeaderChanges(Shape, frozen=True):
    set: Text = {}
    add: Text = {}
    remove: tuple[Name, ...] = ()


class _Headers(Shape, frozen=True):
    request: _HeaderChanges | None = None
    response: _HeaderChanges | None = None


class _Percent(Shape, frozen=True):
    value: float = 0


class _Match(Shape, frozen=True):
    name: str = ""
    uri: Text = {}
    scheme: Text = {}
    method: Text = {}
    authority: Text = {}
    headers: dict[Name, Text] = {}
    without_headers: dict[Name, Text] = {}
    query_params: dict[Name, Text] = {}
    port: PortNumber = 0
    ignore_uri_case: bool = False
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class _Target(Shape, frozen=True):
    destination: _Destination
    weight: Count = 0
    headers: _Headers | None = None


class _Redirect(Shape, frozen=True):
    uri: str = ""
    authority: str = ""
    port: PortNumber = 0
    derive_port: str = ""
    scheme: str = ""
    redirect_code: int = 301


class _Body(Shape, frozen=True):
    string: str = ""
    bytes: str = ""


class _DirectResponse(Shape, frozen=True):
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: _Body | None = None


class _RegexRewrite(Shape, frozen=True):
    match: str
    rewrite: str


class _Rewrite(Shape, frozen=True):
    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: _RegexRewrite | None = None


class _Retries(Shape, frozen=True):
    attempts: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 2
    per_try_timeout: str = ""
    retry_on: str = ""
    backoff: str = ""


class _Delay(Shape, frozen=True):
    fixed_delay: str
    percentage: _Percent | None = None
    percent: float = 0


class _Abort(Shape, frozen=True):
    http_status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 503
    percentage: _Percent | None = None
    percent: float = 0


class _Fault(Shape, frozen=True):
    delay: _Delay | None = None
    abort: _Abort | None = None


class _Mirror(Shape, frozen=True):
    destination: _Destination
    percentage: _Percent | None = None


class _Cors(Shape, frozen=True):
    allow_origins: tuple[Text, ...] = ()
    allow_origin: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: str = ""
    allow_credentials: bool | None = None


class _HttpRoute(Shape, frozen=True):
    name: str = ""
    match: tuple[_Match, ...] = ()
    route: tuple[_Target, ...] = ()
    redirect: _Redirect | None = None
    direct_response: _DirectResponse | None = None
    rewrite: _Rewrite | None = None
    timeout: str = ""
    retries: _Retries | None = None
    fault: _Fault | None = None
    mirror: _Destination | None = None
    mirror_percentage: _Percent | None = None
    mirror_percent: float = 100
    mirrors: tuple[_Mirror, ...] = ()
    cors_policy: _Cors | None = None
    headers: _Headers | None = None


class VirtualService(Shape, frozen=True):
    hosts: tuple[Name, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[_HttpRoute, ...] = ()


class _Cookie(Shape, frozen=True):
    name: Name
    ttl: str | None = None
    path: str = ""


class _RingHash(Shape, frozen=True):
    minimum_ring_size: Count = 1024


class _Maglev(Shape, frozen=True):
    table_size: Count = 65537


class _ConsistentHash(Shape, frozen=True):
    http_header_name: str = ""
    http_cookie: _Cookie | None = None
    use_source_ip: bool = False
    http_query_parameter_name: str = ""
    ring_hash: _RingHash | None = None
    maglev: _Maglev | None = None
    minimum_ring_size: Count = 1024


class _LoadBalancer(Shape, frozen=True):
    simple: str = ""
    consistent_hash: _ConsistentHash | None = None


class _Keepalive(Shape, frozen=True):
    probes: Count = 0
    time: str = ""
    interval: str = ""


class _Tcp(Shape, frozen=True):
    max_connections: Count = 0
    connect_timeout: str = ""
    idle_timeout: str = ""
    max_connection_duration: str = ""
    tcp_keepalive: _Keepalive | None = None


class _Http(msgspec.Struct, frozen=True, rename="camel"):
    max_requests_per_connection: Count = 0
    max_retries: Count = 0
    idle_timeout: str = ""
    http1_max_pending_requests: Count = msgspec.field(default=0, name="http1MaxPendingRequests")
    http2_max_requests: Count = msgspec.field(default=0, name="http2MaxRequests")


class _ConnectionPool(Shape, frozen=True):
    tcp: _Tcp | None = None
    http: _Http | None = None


class _OutlierDetection(Shape, frozen=True):
    consecutive_errors: Count = 0
    consecutive_gateway_errors: Count = 0
    consecutive_local_origin_failures: Count = 0
    split_external_local_origin_errors: bool = False
    interval: str = ""
    base_ejection_time: str = ""
    max_ejection_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    min_health_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    consecutive_5xx: Count = msgspec.field(default=0, name="consecutive5xxErrors")


class _PortPolicy(Shape, frozen=True):
    port: _Port | None = None
    load_balancer: _LoadBalancer | None = None
    connection_pool: _ConnectionPool | None = None
    outlier_detection: _OutlierDetection | None = None


class _Policy(Shape, frozen=True):
    load_balancer: _LoadBalancer | None = None
    connection_pool: _ConnectionPool | None = None
    outlier_detection: _OutlierDetection | None = None
    port_level_settings: tuple[_PortPolicy, ...] = ()


class _Subset(Shape, frozen=True):
    name: Name
    labels: Text = {}
    traffic_policy: _Policy | None = None


class DestinationRule(Shape, frozen=True):
    host: Name
    subsets: tuple[_Subset, ...] = ()
    traffic_policy: _Policy | None = None


class _Parent(Shape, frozen=True):
    name: Name
    kind: str = "Gateway"
    namespace: str = ""
    port: PortNumber | None = None


class _Pair(Shape, frozen=True):
    name: Name
    value: str
    type: str = "Exact"


class _Path(Shape, frozen=True):
    type: str = "PathPrefix"
    value: str = "/"


class _RuleMatch(Shape, frozen=True):
    path: _Path | None = None
    headers: tuple[_Pair, ...] = ()
    query_params: tuple[_Pair, ...] = ()
    method: str = ""


class _PairChanges(Shape, frozen=True):
    set: tuple[_Pair, ...] = ()
    add: tuple[_Pair, ...] = ()
    remove: tuple[Name, ...] = ()


class _BackendRef(Shape, frozen=True):
    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str = ""
    port: PortNumber = 0


class _Fraction(Shape, frozen=True):
    numerator: Count
    denominator: Annotated[int, msgspec.Meta(ge=1)] = 100


class _RequestMirror(Shape, frozen=True):
    backend_ref: _BackendRef
    percent: float = 100
    fraction: _Fraction | None = None


class _PathChange(Shape, frozen=True):
    type: str
    replace_full_path: str = ""
    replace_prefix_match: str = ""


class _RequestRedirect(Shape, frozen=True):
    scheme: str = ""
    hostname: str = ""
    path: _PathChange | None = None
    port: PortNumber = 0
    status_code: int = 302


class _UrlRewrite(Shape, frozen=True):
    hostname: str = ""
    path: _PathChange | None = None


class _Filter(Shape, frozen=True):
    type: str
    request_header_modifier: _PairChanges | None = None
    response_header_modifier: _PairChanges | None = None
    request_mirror: _RequestMirror | None = None
    request_redirect: _RequestRedirect | None = None
    url_rewrite: _UrlRewrite | None = None


class _Backend(_BackendRef, frozen=True):
    weight: Count = 1
    filters: tuple[_Filter, ...] = ()


class _Timeouts(Shape, frozen=True):
    request: str = ""
    backend_request: str = ""


class _Rule(Shape, frozen=True):
    name: str = ""
    matches: tuple[_RuleMatch, ...] = ()
    filters: tuple[_Filter, ...] = ()
    backend_refs: tuple[_Backend, ...] = ()
    timeouts: _Timeouts | None = None


class HttpRoute(Shape, frozen=True):
    parent_refs: tuple[_Parent, ...] = ()
    hostnames: tuple[Name, ...] = ()
    rules: tuple[_Rule, ...] = ()


def misfit(obj: Object, shape: type[Shape]) -> tuple[str, str] | None:
    """(path, what is wrong) of the first field of `obj` that is not of its type; None if all are."""
    try:
        view(obj.get("spec") or {}, shape, path="spec")
    except InvalidSpec as error:
        path, _, message = str(error).partition(": ")
        return path, message
    return None
