"""Views of a Rollout (argoproj.io/v1alpha1): the fields we read and the status we write.

Semantics: study/argo-rollouts.md 1.1-1.6 (spec) and 2.1-2.4 (status, conditions, annotations).
Fields of that API which we do not act on yet are listed in `rollout.core.validate` and refused there, so
that nothing is ever ignored silently.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rollout.api.analysis import Argument, DryRun, MeasurementRetention, TemplateRef
from rollout.api.meta import IntOrPercent, LabelSelector, ObjectMeta, View

# Labels and annotations: a contract with kubectl plugins, Argo CD and dashboards (study 2.4).
HASH_LABEL = "rollouts-pod-template-hash"
REVISION = "rollout.argoproj.io/revision"
REVISION_HISTORY = "rollout.argoproj.io/revision-history"
DESIRED_REPLICAS = "rollout.argoproj.io/desired-replicas"
SCALE_DOWN_DEADLINE = "scale-down-deadline"
MANAGED_BY = "argo-rollouts.argoproj.io/managed-by-rollouts"
WORKLOAD_GENERATION = "rollout.argoproj.io/workload-generation"
INSTANCE_ID = "argo-rollouts.argoproj.io/controller-instance-id"
TURN = "surefoot.dev/turn"
PROVED = "surefoot.dev/was-stable"
"""On a ReplicaSet, "true": its version has been the stable one, so that it has passed its gates once."""

DEFAULT_PROGRESS_DEADLINE_SECONDS = 600
DEFAULT_REVISION_HISTORY_LIMIT = 10
DEFAULT_SCALE_DOWN_DELAY_SECONDS = 30
DEFAULT_ABORT_SCALE_DOWN_DELAY_SECONDS = 30
DEFAULT_SURGE: IntOrPercent = "25%"
DEFAULT_UNAVAILABLE: IntOrPercent = "25%"


class RolloutAnalysis(View, frozen=True):
    """Templates and arguments of an analysis. All templates of one analysis make one AnalysisRun."""

    templates: tuple[TemplateRef, ...] = ()
    args: tuple[Argument, ...] = ()
    dry_run: tuple[DryRun, ...] = ()
    measurement_retention: tuple[MeasurementRetention, ...] = ()


class BackgroundAnalysis(RolloutAnalysis, frozen=True):
    """An analysis that runs from `startingStep` to the end of the update."""

    starting_step: int | None = None


class PauseStep(View, frozen=True):
    """Waits `duration` (seconds as int or digits, or a Go duration); without one until promoted."""

    duration: int | str | None = None


class SetCanaryScale(View, frozen=True):
    """Pods of the canary apart from its weight: exactly one field is set."""

    weight: int | None = None
    replicas: int | None = None
    match_traffic_weight: bool = False


class Step(View, frozen=True):
    """One canary step: exactly one field is set."""

    set_weight: int | None = None
    pause: PauseStep | None = None
    set_canary_scale: SetCanaryScale | None = None
    analysis: RolloutAnalysis | None = None

    @property
    def kind(self) -> str:
        """The wire name of the field that is set."""
        for field, name in _STEP_FIELDS:
            if getattr(self, field) is not None:
                return name
        return ""


_STEP_FIELDS = (
    ("set_weight", "setWeight"),
    ("pause", "pause"),
    ("set_canary_scale", "setCanaryScale"),
    ("analysis", "analysis"),
)


class IstioVirtualService(View, frozen=True):
    """A VirtualService (`name` or `namespace/name`) and the http routes in it whose weights are ours."""

    name: str
    routes: tuple[str, ...] = ()


class IstioDestinationRule(View, frozen=True):
    """A DestinationRule whose two subsets select the canary's and the stable pods."""

    name: str
    canary_subset_name: str
    stable_subset_name: str


class IstioRouting(View, frozen=True):
    virtual_service: IstioVirtualService | None = None
    virtual_services: tuple[IstioVirtualService, ...] = ()
    destination_rule: IstioDestinationRule | None = None

    @property
    def all_virtual_services(self) -> tuple[IstioVirtualService, ...]:
        one = (self.virtual_service,) if self.virtual_service else ()
        return one + self.virtual_services


class GatewayHTTPRoute(View, frozen=True):
    """An HTTPRoute (in the Rollout's namespace unless another is named) and the names of the rules in it whose
    weights are ours; no names: every rule that has both Services."""

    name: str
    namespace: str = ""
    rules: tuple[str, ...] = ()


class GatewayRouting(View, frozen=True):
    """The HTTPRoutes of the Gateway API that split requests between stableService and canaryService: one by
    `httpRoute`, or several by `httpRoutes`. `namespace` is that of the HTTPRoutes that name none themselves."""

    http_route: str = ""
    namespace: str = ""
    http_routes: tuple[GatewayHTTPRoute, ...] = ()


GATEWAY_PLUGIN = "argoproj-labs/gatewayAPI"


class RouterPlugins(View, frozen=True):
    """Routers that are plugins of Argo Rollouts: of these, the Gateway API's is built in."""

    gateway: GatewayRouting | None = msgspec.field(name=GATEWAY_PLUGIN, default=None)


class TrafficRouting(View, frozen=True):
    """Exactly one router; the Gateway API may also be named as Argo's plugin is."""

    istio: IstioRouting | None = None
    gateway_api: GatewayRouting | None = msgspec.field(name="gatewayAPI", default=None)
    plugins: RouterPlugins | None = None

    @property
    def gateway(self) -> tuple[str, GatewayRouting] | None:
        """The Gateway API's fields, and the path in the Rollout where they stand."""
        at = "spec.strategy.canary.trafficRouting"
        if self.gateway_api is not None:
            return f"{at}.gatewayAPI", self.gateway_api
        if self.plugins is not None and self.plugins.gateway is not None:
            return f"{at}.plugins.{GATEWAY_PLUGIN}", self.plugins.gateway
        return None


class CanaryStrategy(View, frozen=True):
    canary_service: str = ""
    stable_service: str = ""
    steps: tuple[Step, ...] = ()
    traffic_routing: TrafficRouting | None = None
    max_surge: IntOrPercent | None = None
    max_unavailable: IntOrPercent | None = None
    analysis: BackgroundAnalysis | None = None
    scale_down_delay_seconds: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_seconds: int | None = None
    min_pods_per_replica_set: int | None = None

    @property
    def routed(self) -> bool:
        """Whether a router moves the traffic (else the share of pods does)."""
        return self.traffic_routing is not None


class BlueGreenStrategy(View, frozen=True):
    active_service: str = ""
    preview_service: str = ""
    auto_promotion_enabled: bool | None = None
    auto_promotion_seconds: int | None = None
    preview_replica_count: int | None = None
    pre_promotion_analysis: RolloutAnalysis | None = None
    post_promotion_analysis: RolloutAnalysis | None = None
    scale_down_delay_seconds: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_seconds: int | None = None
    max_unavailable: IntOrPercent | None = None


class Strategy(View, frozen=True):
    canary: CanaryStrategy | None = None
    blue_green: BlueGreenStrategy | None = None


class RunHistory(View, frozen=True):
    """How many finished AnalysisRuns are kept."""

    successful_run_history_limit: int | None = None
    unsuccessful_run_history_limit: int | None = None


class RollbackWindow(View, frozen=True):
    revisions: int = 0


class WorkloadRef(View, frozen=True):
    """The workload, in the same namespace, that the pod template (and the selector) is read from.

    `scaleDown` says what becomes of a Deployment's own pods: `never` (the default) leaves them, `onsuccess` takes
    them away when the Rollout is Healthy, `progressively` one by one as the Rollout's become available.
    """

    kind: Literal["Deployment", "ReplicaSet", "PodTemplate"]
    name: str
    api_version: str = ""
    scale_down: Literal["never", "onsuccess", "progressively"] | None = None


class RolloutSpec(View, frozen=True):
    """`template` is empty where `workloadRef` is given, until `rollout.core.workload` has filled it in."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: dict[str, Any] = {}
    workload_ref: WorkloadRef | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None
    progress_deadline_abort: bool = False
    restart_at: str | None = None
    rollback_window: RollbackWindow | None = None
    analysis: RunHistory | None = None
    strategy: Strategy = Strategy()


class Condition(View, frozen=True):
    """A Rollout condition. `lastUpdateTime` of Progressing is the clock of the progress deadline."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_update_time: str = ""
    last_transition_time: str = ""


class PauseCondition(View, frozen=True):
    reason: str
    start_time: str


class RunStatus(View, frozen=True):
    """What the Rollout says of one of its AnalysisRuns."""

    name: str = ""
    status: str = ""
    message: str = ""


class WeightDestination(View, frozen=True):
    weight: int = 0
    service_name: str = ""
    pod_template_hash: str = ""


class Weights(View, frozen=True):
    canary: WeightDestination = WeightDestination()
    stable: WeightDestination = WeightDestination()
    verified: bool | None = None


class CanaryStatus(View, frozen=True):
    weights: Weights | None = None
    current_step_analysis_run_status: RunStatus | None = None
    current_background_analysis_run_status: RunStatus | None = None


class BlueGreenStatus(View, frozen=True):
    preview_selector: str = ""
    active_selector: str = ""
    scale_up_preview_check_point: bool = False
    pre_promotion_analysis_run_status: RunStatus | None = None
    post_promotion_analysis_run_status: RunStatus | None = None


class RolloutStatus(View, frozen=True):
    """`stableRS` is a pod-template hash; `observedGeneration` a decimal string; both as outsiders expect."""

    abort: bool = False
    aborted_at: str | None = None
    phase: str = ""
    message: str = ""
    observed_generation: str = ""
    workload_observed_generation: str = ""
    current_pod_hash: str = ""
    stable_rs: str = msgspec.field(name="stableRS", default="")
    current_step_index: int | None = None
    current_step_hash: str = ""
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    hpa_replicas: int = msgspec.field(name="HPAReplicas", default=0)
    selector: str = ""
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()
    pause_conditions: tuple[PauseCondition, ...] = ()
    controller_pause: bool = False
    promote_full: bool = False
    restarted_at: str | None = None
    canary: CanaryStatus = CanaryStatus()
    blue_green: BlueGreenStatus = BlueGreenStatus()


class Rollout(View, frozen=True):
    metadata: ObjectMeta
    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()

    @property
    def replicas(self) -> int:
        """Wanted pods; a spec without a number means 1."""
        return 1 if self.spec.replicas is None else self.spec.replicas
