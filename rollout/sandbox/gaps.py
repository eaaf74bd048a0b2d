"""Where the sandbox differs from a cluster, said honestly: `rollout sandbox gaps`.

Every part that is added or learns something changes this list in the same commit.
"""

from __future__ import annotations

import msgspec

from rollout.sandbox.node.gaps import GAPS as NODE_GAPS
from rollout.sandbox.workloads.gaps import GAPS as WORKLOAD_GAPS


class Gap(msgspec.Struct, frozen=True):
    """`area`: the part it is about. `difference`: what is not as in a cluster. `instead`: what happens here,
    unless `difference` says it.

    `cases`: the cases of the conformance suite (tests/conformance) that are answered differently because of it. A
    case that differs and is not named here fails, and so does one that is named and no longer differs.
    """

    area: str
    difference: str
    instead: str = ""
    cases: tuple[str, ...] = ()


_GAPS = (
    Gap(
        "security",
        "No RBAC, no admission webhooks, no service-account tokens in pods.",
        "One admin token, in a directory that only you can read; the API server admits by schema and CEL rules.",
    ),
    Gap(
        "security",
        "Other users of this machine can reach pods, mesh, gateway and Prometheus over loopback.",
        "Only the API server asks for a token; Envoy's admin interface is a socket that only you can open.",
    ),
    Gap(
        "security",
        "No isolation: pods are processes of your user, with your rights and your files.",
        "Run only what you would run in your own shell. Nothing listens beyond 127.0.0.0/8.",
    ),
    Gap(
        "network",
        "There is no cluster DNS and no ClusterIP that accepts connections.",
        "Names work for HTTP clients that honour HTTP_PROXY: http://web/, http://web.shop/, "
        "http://web.shop.svc.cluster.local:80/. Clients that ignore it must be told the address.",
    ),
    Gap(
        "network",
        "Only HTTP/1.1, HTTP/2 without TLS and WebSocket go through the mesh; no TCP or UDP Services, no TLS, no mTLS.",
        "VirtualService tcp and tls routes, and tls in a DestinationRule, are reported in status and not served.",
    ),
    Gap(
        "network",
        "The names of other hosts are not passed on: the mesh is not a way to the internet.",
        "An unknown host answers 502 inside the mesh and 404 at the gateway.",
    ),
    Gap(
        "network",
        "NetworkPolicies (objects with schema and rules only), Ingresses, LoadBalancer and NodePort Services, and ExternalName have no effect.",
        "The gateway's address reaches every Service and host by its Host header.",
    ),
    Gap(
        "network",
        "A Service without port 80 also answers to its bare name (http://db/), on its first port.",
        "In a cluster that connection would be refused.",
    ),
    Gap(
        "mesh",
        "One Envoy stands for all sidecars and all gateways.",
        "Connection limits, outlier detection and load balancing count for all callers together; any gateway name "
        "in a VirtualService and any Gateway in an HTTPRoute means the sandbox's one gateway. Gateway objects are not read.",
    ),
    Gap(
        "mesh",
        "Callers are known by their proxy URL only (HTTP_PROXY: namespace, and for pods their name).",
        "source_workload and its like are always `unknown`; a match by sourceLabels is left out and reported; a client "
        "in a pod that ignores HTTP_PROXY, or names another one, is not the pod to the mesh.",
    ),
    Gap(
        "mesh",
        "Of EnvoyFilter only HTTP faults are served: an HTTPFault with delay or abort, INSERT_BEFORE the router, "
        "SIDECAR_INBOUND or SIDECAR_OUTBOUND, in the object's own namespace.",
        "Everything else is said in status (Reconciled False), and nothing of such an object is served. Of two outbound "
        "faults for the same calls the older is served; so it is refused beside a VirtualService's fault on such a route.",
    ),
    Gap(
        "mesh",
        "Faults have no injected sidecars to configure: a request of a selected pod goes through one more listener of the "
        "one Envoy, and only while a fault is there.",
        "A pod that cannot be connected to behind a fault is tried elsewhere as without it; in Istio the caller gets a 503. "
        "An expired object (annotation surefoot.dev/expires-at) counts as absent; Istio needs somebody to delete it.",
    ),
    Gap(
        "mesh",
        "Not served of VirtualService: delegate, sourceLabels, tcp, tls, fault.abort.grpcStatus, exportTo.",
        "Reported in status (condition SurefootSupported); a route that cannot be served as written answers 500.",
    ),
    Gap(
        "mesh",
        "Not served of DestinationRule: tls, h2UpgradePolicy, localityLbSetting, warmup, tunnel, proxyProtocol, exportTo, "
        "load balancer PASSTHROUGH.",
        "Reported in status; traffic goes on without them.",
    ),
    Gap(
        "mesh",
        "Not served of HTTPRoute: ExtensionRef, CORS filters, sessionPersistence, retry, ReferenceGrants.",
        "An unknown filter answers 500, as the specification asks; references across namespaces are allowed.",
    ),
    Gap(
        "mesh",
        "Idle connections to pods are closed after 4 s (Istio: 1 hour).",
        "Many servers close theirs after 5 s, and closing first avoids a lost request. "
        "connectionPool.http.idleTimeout sets it.",
    ),
    Gap(
        "mesh",
        "When a Service's endpoints change, Envoy replaces its clusters.",
        "Requests under way finish; kept-alive connections to pods are opened anew, and outlier detection and "
        "connection limits begin to count from zero.",
    ),
    Gap(
        "mesh",
        "As in a cluster, a pod that ends the moment it gets SIGTERM can lose a request: endpoints leave at the same time.",
        "Here that moment lasts milliseconds; the demo app goes on serving for DRAIN_SECONDS, others need a preStop sleep.",
    ),
    Gap(
        "mesh",
        "EnvoyFilter, AuthorizationPolicy, PeerAuthentication, Sidecar, ServiceEntry and Telemetry are unknown.",
        "Their CRDs are not there, so that `kubectl apply` says so.",
    ),
    Gap(
        "metrics",
        "Prometheus finds new pods within about five seconds.",
        "Its discovery gathers changes for five seconds. Envoy's own istio_* metrics know a new pod at once.",
    ),
    Gap(
        "metrics",
        "Every Service is scraped, on its port `metrics` or `http-metrics`, else the first.",
        'A pod behind several Services is scraped under each as `job`. prometheus.io/scrape: "false" leaves a pod out.',
    ),
    Gap("metrics", "There is no metrics API.", "`kubectl top` does not work."),
    Gap(
        "api",
        "Built-in kinds have one version: no autoscaling/v1, which `kubectl autoscale` of 1.32 and older sends; Events "
        "are v1 only. No RBAC kinds, CronJobs, StatefulSets, DaemonSets, PersistentVolumes, quotas or tokens.",
        "The server says that it could not find the requested resource; write an autoscaling/v2 manifest.",
        cases=("an_autoscaler_of_the_first_version",),
    ),
    Gap(
        "api",
        "Pods get nothing from admission: no service account and its token, no priority, no tolerations.",
        "They have what their manifest says.",
        cases=("a_pod_gets_from_admission_what_it_does_not_say",),
    ),
    Gap(
        "api",
        "Fields that nobody set are left out, where a cluster shows some as null or empty: of Events, HorizontalPodAutoscalers and conditions of pods.",
        "For clients null and absent are the same.",
        cases=(
            "an_event_is_created_and_replaced",
            "a_put_creates_an_event_that_is_not_there",
            "a_lease_a_budget_and_an_autoscaler_are_created",
            "status_of_a_pod_is_patched_by_condition_type",
        ),
    ),
    Gap(
        "api",
        "status.podIPs of a pod is not made of its podIP.",
        "The node agent writes both.",
        cases=("status_of_a_pod_is_patched_by_condition_type",),
    ),
    Gap(
        "api",
        "A pod that is told to end sooner keeps its generation and version where the deadline was not moved.",
        cases=("a_pod_on_a_node_gets_its_grace",),
    ),
    Gap(
        "api",
        "DeleteOptions that cannot be decoded are refused with 400 (in a cluster 500), and their kind is not looked at.",
        cases=("options_of_a_delete_that_make_no_sense_are_refused",),
    ),
    Gap(
        "api",
        "Refusals that quote an object print it with its fields in another order, or as JSON where a cluster prints Go's fields, "
        "and without the excerpt of what changed.",
        "Field, reason and sentence are the same.",
        cases=(
            "owner_references_are_checked",
            "an_ephemeral_container_is_added_and_never_changed",
            "immutable_things_stay_as_they_are",
            "the_template_of_a_job_stays_as_it_is",
        ),
    ),
    Gap(
        "api",
        "A namespace that is being deleted has no conditions that say what is left in it.",
    ),
    Gap(
        "api",
        "A CustomResourceDefinition has no cleanup finalizer, and its status belongs to no manager in managedFields.",
        "Deleting one takes its objects along all the same.",
        cases=("a_definition_is_deleted_with_its_objects",),
    ),
    Gap(
        "api",
        "In a ConfigMap a JSON patch cannot set null, which a cluster reads as an empty text.",
        "The field is left out.",
        cases=("a_json_patch_of_what_is_not_there_is_refused",),
    ),
    Gap(
        "api",
        "A patch whose result is of another kind, or has unknown fields under strict validation, is refused with 400 and the "
        "reason; a cluster answers 422 and quotes the whole object.",
        cases=(
            "a_patch_of_name_or_kind_is_refused",
            "unknown_and_doubled_fields_are_warned_about_or_refused",
        ),
    ),
    Gap(
        "api",
        "managedFields after a write of status or scale: labels that a patch of status named are not owned by its manager, "
        "and a scale to zero is owned.",
        cases=(
            "status_is_written_through_its_subresource_only",
            "scale_shows_and_sets_replicas",
            "scale_of_a_custom_resource",
        ),
    ),
    Gap(
        "api",
        "An item of a list in a strategic patch may say `$patch: merge`, and a JSON patch's test may have no value.",
        "A cluster answers 500 to the one, and drops the connection of the other.",
    ),
    Gap(
        "api",
        "Empty maps and lists of built-in kinds (nodeSelector: {}) stay as they were written.",
        "A cluster leaves them out.",
    ),
    Gap(
        "api",
        "The columns of Tables are described in other words, and discovery tells no storageVersionHash.",
        "`kubectl get` does not show descriptions; the hash is for storage migration.",
    ),
    Gap(
        "api",
        "The published schema of a custom resource does not describe apiVersion, kind and metadata, nor name its selectable "
        "fields.",
        "`kubectl explain` shows these three without text.",
        cases=("the_schema_of_a_custom_resource_is_published",),
    ),
    Gap(
        "api",
        "Only one's own rights can be asked for: TokenReview and SubjectAccessReview are not served.",
        cases=("tokens_and_the_rights_of_others_can_be_asked_for",),
    ),
    Gap(
        "api",
        "managedFields of a manager that lost a field to a forced apply, or began again after they were cleared, carry a time.",
        "In a cluster that entry has none.",
        cases=("apply_of_anothers_field_is_a_conflict_unless_forced", "managed_fields_can_be_cleared"),
    ),
    Gap(
        "api",
        "Some refusals of objects that make no sense are in other words, in another order, or more or fewer at once.",
        "What a cluster refuses is refused here, too, with the same code.",
        cases=(
            "a_custom_resource_that_breaks_its_schema_is_refused",
            "a_custom_resource_without_what_it_needs_is_refused",
            "a_definition_that_breaks_the_rules_is_refused",
            "a_deployment_that_makes_no_sense_is_refused",
            "a_pod_that_makes_no_sense_is_refused",
            "apply_that_makes_no_sense_is_refused",
            "bodies_that_cannot_be_read_are_bad_requests",
            "other_kinds_that_make_no_sense_are_refused",
        ),
    ),
    Gap(
        "api",
        "The hour of an Event begins anew when the API server restarts with --data.",
    ),
    Gap(
        "api",
        "All objects are in memory, and gone with `down`, unless --data names a directory.",
        "With --data a restart finds everything as it was acknowledged.",
    ),
)


def gaps() -> list[Gap]:
    """All known differences, grouped by area."""
    found = [*_GAPS, *(Gap("node", text) for text in NODE_GAPS)]
    found += [Gap("workloads", text) for text in WORKLOAD_GAPS]
    areas = list(dict.fromkeys(gap.area for gap in found))
    return sorted(found, key=lambda gap: areas.index(gap.area))
