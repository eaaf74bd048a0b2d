"""Views of ChaosRun, ChaosTemplate, ChaosSchedule and ChaosSwitch (surefoot.dev/v1alpha1).

A ChaosRun is one execution: whom it may harm (targets), what it does to them (steps of faults), how that is judged
(probes) and how far it may go (limits). Its status is written before every act: the frozen targets, and one receipt
for each fault on each target with what is needed to undo it. Durations are Go durations ("30s"), ratios 0..1.

All four kinds have a status subresource. Facts behind the fields: study/chaos.md.
"""

from __future__ import annotations

from typing import Any, Literal

from rollout.api.analysis import Argument, Comparator, Metric
from rollout.api.meta import LabelSelector, ObjectMeta, View
from rollout.api.rollout import Condition

FINALIZER = "surefoot.dev/chaos"
"""On a ChaosRun from before its first fault until everything is undone or given up for good."""
OPT_IN = "surefoot.dev/chaos"
"""Label of a namespace: "enabled" lets ChaosRuns of that same namespace harm its pods."""
OPT_IN_FROM = "surefoot.dev/chaos-from"
"""Annotation of an opted-in namespace: which other namespaces' ChaosRuns may harm its pods, with commas."""
RUN_LABEL = "surefoot.dev/chaos-run"
"""On everything a ChaosRun makes: the ChaosRun's name."""
RUN_UID = "surefoot.dev/chaos-run-uid"
RECEIPT = "surefoot.dev/receipt"
"""Annotation of what a fault makes: the id of its receipt."""
EXPIRES_AT = "surefoot.dev/expires-at"
"""Annotation of what a fault makes: the moment (RFC 3339) from which it has no effect any more. Renewed as a lease, never
beyond the receipt's deadline."""
SILENCED_AT = "surefoot.dev/silenced-at"
"""Annotation of a fault's EnvoyFilter or BackendTrafficPolicy: since when (RFC 3339) it strikes 0 % of the requests."""
FORBIDDEN_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "surefoot-system", "istio-system")

Role = Literal["all", "canary", "stable", "preview"]
Rounding = Literal["Down", "Up", "Nearest"]
Mode = Literal["Start", "End", "Edge", "Continuous", "During"]
DryRun = Literal["", "Targets", "Probes"]
Verdict = Literal["", "Successful", "Failed", "Inconclusive", "Error"]
RunPhase = Literal["", "Pending", "Checking", "Injecting", "Reverting", "Recovering", "Completed"]
ReceiptState = Literal["Planned", "Injected", "Proved", "Reverted", "Unverified", "Refused"]


# --- whom ---------------------------------------------------------------------------------------------


class WorkloadRef(View, frozen=True):
    """A workload whose pods are meant; `role` chooses among the versions of a Rollout."""

    kind: str
    name: str
    api_version: str = ""
    role: Role = "all"


class Target(View, frozen=True):
    """Which pods: by workload, labels or names (at least one of them; together they all must hold), and how many.

    `count` and `percent` exclude each other; neither means one pod. `percent` counts ready pods, rounded as
    `rounding` says and never below one. `namespace` is the run's own unless given.
    """

    namespace: str = ""
    workload_ref: WorkloadRef | None = None
    selector: LabelSelector | None = None
    pod_names: tuple[str, ...] = ()
    count: int | None = None
    percent: int | None = None
    rounding: Rounding = "Down"
    retarget: Literal["Frozen", "Replaced"] = "Frozen"
    """Whether later rounds of one fault (pod-delete with an interval) may take pods that came afterwards."""


# --- what ---------------------------------------------------------------------------------------------


class PodDelete(View, frozen=True):
    """Pods go away. `evict` asks the disruption budget; `delete` does not; `force` gives no grace either.

    With `interval` the round is repeated while the fault lasts; `sequence` says whether the pods of a round go at
    once, or one after the other, each after its replacement is ready.
    """

    method: Literal["evict", "delete", "force"] = "evict"
    interval: str = ""
    sequence: Literal["parallel", "serial"] = "parallel"
    grace_period_seconds: int | None = None


class ContainerKill(View, frozen=True):
    """A signal to the first process of one container ("" = the first one), which its kubelet starts again."""

    container: str = ""
    signal: Literal["TERM", "KILL", "INT", "HUP", "QUIT", "ABRT"] = "TERM"
    interval: str = ""


class RouteRef(View, frozen=True):
    """An HTTPRoute of the targets' namespace, or one of its rules by its name ("" = all of them)."""

    name: str
    rule: str = ""


class HttpLatency(View, frozen=True):
    """Requests that arrive at the targets' version wait; `percent` of them. `port` 0 = every port.

    With `httpRoute` it is those that Envoy Gateway takes for that route, which must lead to the targets and to no other
    pods. Without it the mesh does it.
    """

    delay: str
    percent: int = 100
    port: int = 0
    http_route: RouteRef | None = None


class HttpAbort(View, frozen=True):
    """Requests that arrive at the targets' version are answered with `status` before they reach the application.

    `httpRoute` as for a latency.
    """

    status: int = 503
    percent: int = 100
    port: int = 0
    http_route: RouteRef | None = None


class DependencyLatency(View, frozen=True):
    """Requests of the targets to one host (a Service's name or any host the mesh knows) wait."""

    host: str
    delay: str
    port: int = 0
    percent: int = 100


class DependencyOutage(View, frozen=True):
    """One host is away for the targets: answered with `status` by the mesh, or cut off by a NetworkPolicy."""

    host: str
    port: int = 0
    status: int = 503
    method: Literal["mesh", "networkPolicy"] = "mesh"


class ScaleDown(View, frozen=True):
    """The targets' workload (it must be named by workloadRef) runs with fewer replicas meanwhile."""

    replicas: int | None = None
    percent: int | None = None
    """To this many, or by this share of what there is."""


class NetworkLatency(View, frozen=True):
    """`tc netem delay` on what the targets' pods send. `rate` (packets/s) sizes the queue; probes stay exempt."""

    delay: str
    jitter: str = "0s"
    correlation: int = 0
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    interface: str = "eth0"
    rate: int = 1000


class NetworkLoss(View, frozen=True):
    """`tc netem loss` on what the targets' pods send, in percent of the packets."""

    percent: int
    correlation: int = 0
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    interface: str = "eth0"
    rate: int = 1000


class Fault(View, frozen=True):
    """One fault: a name, exactly one kind, and when it acts within its step.

    It begins `delay` after its step and lasts `duration` ("" = the run's). `target` "" = the run's.
    """

    name: str
    duration: str = ""
    start_after: str = ""
    target: Target | None = None
    pod_delete: PodDelete | None = None
    container_kill: ContainerKill | None = None
    http_latency: HttpLatency | None = None
    http_abort: HttpAbort | None = None
    dependency_latency: DependencyLatency | None = None
    dependency_outage: DependencyOutage | None = None
    scale_down: ScaleDown | None = None
    network_latency: NetworkLatency | None = None
    network_loss: NetworkLoss | None = None


FAULT_KINDS = (
    "podDelete",
    "containerKill",
    "httpLatency",
    "httpAbort",
    "dependencyLatency",
    "dependencyOutage",
    "scaleDown",
    "networkLatency",
    "networkLoss",
)


class ChaosStep(View, frozen=True):
    """Faults that act side by side; the next step begins when all of them are undone, and `pause` later."""

    name: str = ""
    faults: tuple[Fault, ...] = ()
    pause: str = ""


# --- how it is judged ---------------------------------------------------------------------------------


class Tolerance(View, frozen=True):
    """What a probe that samples may show: at least `ratio` good, never more than `streak` bad ones in a row."""

    ratio: float = 1.0
    streak: int | None = None


class ProbeTemplateRef(View, frozen=True):
    name: str
    cluster_scope: bool = False


class Probe(View, frozen=True):
    """An analysis metric plus a mode. Exactly one of `provider` and `templateRef`.

    Start: before any fault; a failure means no injection. End: after recovery. Edge: both. Continuous: from before
    the first fault to after recovery. During: while faults are active. Start, End and Edge measure until one
    sample is good, at most `attempts` times; Continuous and During sample every `interval` and are held to `tolerance`.
    """

    name: str
    mode: Mode
    provider: dict[str, Any] = {}
    template_ref: ProbeTemplateRef | None = None
    args: tuple[Argument, ...] = ()
    success_condition: str = ""
    failure_condition: str = ""
    comparator: Comparator | None = None
    interval: str = "2s"
    initial_delay: str = ""
    attempts: int = 1
    tolerance: Tolerance = Tolerance()
    failure_policy: Literal["Abort", "Record"] = "Record"
    """Whether a failing Continuous or During probe ends the run at once. (A failing Start always does.)"""


class Limits(View, frozen=True):
    """The blast radius. Percentages are of the ready pods of the namespace's targets' workloads."""

    max_pods: int | None = None
    max_percent: int = 50
    min_ready: int = 1
    """Ready pods that each harmed workload must keep at any time."""
    allow_total: bool = False
    """Whether the last ready pod may be taken."""
    max_duration: str = "1h"


class ChaosRunSpec(View, frozen=True):
    """One experiment. `duration` is how long a fault lasts that does not say; `ramp` waits before and after.

    `stopConditions` are metrics measured every second, apart from the injector: the first that is not Successful ends
    the run. `startAt` (RFC 3339): no fault before it. `recoveryTimeout`: how long the targets may take to be ready again.
    After `revertTimeout` without a proof that a fault is gone, its pods are evicted and RevertUnverified is said.
    """

    target: Target = Target()
    steps: tuple[ChaosStep, ...] = ()
    probes: tuple[Probe, ...] = ()
    stop_conditions: tuple[Metric, ...] = ()
    args: tuple[Argument, ...] = ()
    limits: Limits = Limits()
    duration: str = "30s"
    ramp: str = ""
    recovery_timeout: str = "3m"
    revert_timeout: str = "60s"
    start_deadline: str = "5m"
    start_at: str | None = None
    dry_run: DryRun = ""
    abort: bool = False
    seed: int | None = None
    ttl_seconds_after_finished: int | None = None
    template_ref: ProbeTemplateRef | None = None
    """What the spec was made from, for people: the controller reads the spec alone."""


# --- what has happened --------------------------------------------------------------------------------


class Victim(View, frozen=True):
    """One pod (or, for scale-down and mesh faults, workload) of the frozen target list."""

    kind: str = "Pod"
    namespace: str = ""
    name: str = ""
    uid: str = ""
    node: str = ""
    labels: dict[str, str] | None = None
    faults: tuple[str, ...] = ()
    """The names of the faults that it was chosen for."""
    workload: str = ""
    """What controls it, as "ReplicaSet/web-1"; "Pod/name" where nothing does."""


class Receipt(View, frozen=True):
    """One fault on one victim: saved before the act, with all that is needed to undo it.

    `undo` is the fault's own data. `proof` says how it is known that the fault happened, `gone` that it is no more.
    """

    id: str
    fault: str
    kind: str
    step: int = 0
    round: int = 0
    victim: Victim = Victim()
    state: ReceiptState = "Planned"
    begin_at: str | None = None
    deadline: str = ""
    injected_at: str | None = None
    reverted_at: str | None = None
    undo: dict[str, Any] = {}
    proof: str = ""
    gone: str = ""
    message: str = ""


class ProbeResult(View, frozen=True):
    """What a probe has shown. `runs` are the AnalysisRuns that sampled it."""

    name: str = ""
    mode: str = ""
    phase: Verdict = ""
    message: str = ""
    good: int = 0
    bad: int = 0
    errors: int = 0
    ratio: float | None = None
    streak: int = 0
    """How many samples in a row have not been good, up to now."""
    worst_streak: int = 0
    runs: tuple[str, ...] = ()


class Entry(View, frozen=True):
    """One line of the journal: append-only, bounded; what was decided is told before it is done."""

    at: str = ""
    what: str = ""
    message: str = ""


class Recovery(View, frozen=True):
    """When the harmed workloads were whole again, and how long after the last fault was undone (seconds)."""

    recovered_at: str | None = None
    seconds: float | None = None
    waiting_for: str = ""


class ChaosRunStatus(View, frozen=True):
    phase: RunPhase = ""
    verdict: Verdict = ""
    message: str = ""
    observed_generation: int = 0
    started_at: str | None = None
    injected_at: str | None = None
    ended_at: str | None = None
    """When the last fault was undone."""
    completed_at: str | None = None
    stopping: str = ""
    """Why the run ends before its time, as "Cause: words" (Aborted, Switch, StopCondition, Probe, ...); "" while it
    does not. Saved before it is acted upon."""
    stopping_at: str | None = None
    spec_hash: str = ""
    """Of the spec that the run was started with: one that changes afterwards ends it."""
    step: int = 0
    step_started_at: str | None = None
    seed: int | None = None
    requested_by: str = ""
    victims: tuple[Victim, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    recovery: Recovery | None = None
    preflight: tuple[str, ...] = ()
    journal: tuple[Entry, ...] = ()
    conditions: tuple[Condition, ...] = ()


class ChaosRun(View, frozen=True):
    metadata: ObjectMeta
    spec: ChaosRunSpec = ChaosRunSpec()
    status: ChaosRunStatus = ChaosRunStatus()

    @property
    def completed(self) -> bool:
        return self.status.phase == "Completed"


# --- templates, schedules, the switch -----------------------------------------------------------------


class ChaosTemplate(View, frozen=True):
    """A ChaosRun's spec with `{{args.name}}` in it. Arguments without a value must be given by who uses it.

    The spec stays plain data: where a number is wanted there may be a placeholder (`percent: "{{args.percent}}"`),
    so it can be read as a ChaosRunSpec only once the arguments are in (`chaos.plan.template`).
    """

    metadata: ObjectMeta
    spec: dict[str, Any] = {}


class TemplateUse(View, frozen=True):
    """A run to be made: from a template with arguments, or from a whole spec; exactly one of the two."""

    template_name: str = ""
    spec: dict[str, Any] | None = None
    args: tuple[Argument, ...] = ()


class Window(View, frozen=True):
    """When a schedule may run: days (Mon..Sun; none = all) and hours of the day ("09:00".."17:00") in its zone."""

    days: tuple[str, ...] = ()
    from_: str = ""
    to: str = ""


class PreCheck(Probe, frozen=True):
    """A probe that must be good before any fault of a scheduled run."""

    mode: Mode = "Start"


class PostCheck(Probe, frozen=True):
    """A probe that must be good after the recovery of a scheduled run."""

    mode: Mode = "End"


class ChaosScheduleSpec(View, frozen=True):
    """When runs are made (five cron fields in `timeZone`), and what must hold before and after them.

    `everyWeeks` n > 1 keeps each n-th week, counted from the week of `anchorDate`. `jitter` moves a run later by up to
    that much, by a value computed from the schedule and the time. `exclude` are dates or date ranges
    ("2026-12-24", "2026-12-20/2027-01-03"). A time missed by more than `startingDeadlineSeconds` (300 unless given) is
    not made up for. `preChecks` are Start probes, `postChecks` End probes, added to those of the run.
    """

    schedule: str
    run: TemplateUse
    time_zone: str = "Etc/UTC"
    every_weeks: int = 1
    anchor_date: str = ""
    jitter: str = ""
    windows: tuple[Window, ...] = ()
    exclude: tuple[str, ...] = ()
    not_before: str = ""
    not_after: str = ""
    """The first and the last moment (RFC 3339) at which a run may begin; "" = no bound."""
    starting_deadline_seconds: int | None = None
    concurrency_policy: Literal["Forbid", "Replace"] = "Forbid"
    pre_checks: tuple[PreCheck, ...] = ()
    post_checks: tuple[PostCheck, ...] = ()
    not_during_rollouts: bool = False
    """Whether a time is skipped unless every Rollout of the namespace is Healthy."""
    successful_runs_history_limit: int = 3
    failed_runs_history_limit: int = 3
    suspend: bool = False


class ChaosScheduleStatus(View, frozen=True):
    observed_generation: int = 0
    active: str = ""
    last_schedule_time: str | None = None
    """The last time that was decided, whether a run was made of it or not: a time is never decided twice."""
    last_run: str = ""
    last_verdict: Verdict = ""
    last_successful_time: str | None = None
    next_times: tuple[str, ...] = ()
    message: str = ""
    skipped: tuple[Entry, ...] = ()
    """The last times of which no run was made, and why; bounded."""


class ChaosSchedule(View, frozen=True):
    metadata: ObjectMeta
    spec: ChaosScheduleSpec
    status: ChaosScheduleStatus = ChaosScheduleStatus()


class Caps(View, frozen=True):
    """How much may be harmed at one time by all runs together; None = no cap beyond each run's own limits."""

    runs_per_namespace: int | None = 1
    runs_per_cluster: int | None = 10
    pods_per_namespace: int | None = None
    percent_per_namespace: int = 50
    pods_per_cluster: int | None = 100
    max_duration: str = "12h"


class ChaosSwitchSpec(View, frozen=True):
    """`engaged`: every run is aborted and undone, and none starts. `holdReleases`: Rollouts begin no new release."""

    engaged: bool = False
    hold_releases: bool = False
    reason: str = ""
    caps: Caps = Caps()


class ChaosSwitchStatus(View, frozen=True):
    observed_generation: int = 0
    runs_active: int = 0
    message: str = ""


class ChaosSwitch(View, frozen=True):
    """The cluster's halt. The one named "default" counts, others halt too but give no caps."""

    metadata: ObjectMeta
    spec: ChaosSwitchSpec = ChaosSwitchSpec()
    status: ChaosSwitchStatus = ChaosSwitchStatus()


SWITCH_NAME = "default"
