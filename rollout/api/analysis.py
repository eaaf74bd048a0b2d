"""Views of AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun (argoproj.io/v1alpha1).

Field meanings: study/argo-rollouts.md 1.7. The three kinds have no status subresource: an AnalysisRun's
status is written on the object itself.
"""

from __future__ import annotations

from typing import Any, Literal

from rollout.api.meta import ObjectMeta, View

Phase = Literal["", "Pending", "Running", "Successful", "Failed", "Error", "Inconclusive"]
BAD: tuple[Phase, ...] = ("Failed", "Error", "Inconclusive")
"""What an analysis can end as that is no pass, the worst first."""
COMPLETED: frozenset[str] = frozenset({"Successful", *BAD})


class KeyRef(View, frozen=True):
    name: str = ""
    key: str = ""


class FieldRef(View, frozen=True):
    field_path: str = ""


class ArgValueFrom(View, frozen=True):
    """Where an argument comes from: a Secret (in a template), or in a Rollout a pod-template hash or a field."""

    secret_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None
    pod_template_hash_value: str | None = None


class Argument(View, frozen=True):
    name: str
    value: str | None = None
    value_from: ArgValueFrom | None = None


class DryRun(View, frozen=True):
    """Metrics whose name matches this regular expression never affect the run's phase."""

    metric_name: str


class MeasurementRetention(View, frozen=True):
    metric_name: str
    limit: int


class Comparator(View, frozen=True):
    """Compares an answer as `type`; an answer that cannot be read as that is an Error, never 0.

    Operators: int, float: == != < <= > >= oneOf between; string: equal notEqual contains matches notMatches oneOf.
    `value` is text; lists (oneOf, between) are separated by commas. See `rollout.core.compare`.
    """

    type: Literal["int", "float", "string"]
    operator: str
    value: str


class Metric(View, frozen=True):
    """One measurement, repeated. Conditions are expressions over `result`; see `rollout.core.expr`.

    `count` and the limits may be numbers or strings (templated); None means "not given". Ours, not in Argo Rollouts:
    `comparator` in the place of conditions, and `startGroup`: metrics of one run that have the same one are begun
    together, each time.
    """

    name: str = ""
    interval: str | None = None
    initial_delay: str | None = None
    count: int | str | None = None
    success_condition: str = ""
    failure_condition: str = ""
    failure_limit: int | str | None = None
    inconclusive_limit: int | str | None = None
    consecutive_error_limit: int | str | None = None
    consecutive_success_limit: int | str | None = None
    provider: dict[str, Any] = {}
    comparator: Comparator | None = None
    start_group: str = ""


class TemplateRef(View, frozen=True):
    template_name: str
    cluster_scope: bool = False


class TtlStrategy(View, frozen=True):
    seconds_after_completion: int | None = None
    seconds_after_failure: int | None = None
    seconds_after_success: int | None = None


class AnalysisTemplateSpec(View, frozen=True):
    metrics: tuple[Metric, ...] = ()
    args: tuple[Argument, ...] = ()
    dry_run: tuple[DryRun, ...] = ()
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    templates: tuple[TemplateRef, ...] = ()


class AnalysisTemplate(View, frozen=True):
    """An AnalysisTemplate or ClusterAnalysisTemplate."""

    metadata: ObjectMeta
    kind: str = "AnalysisTemplate"
    spec: AnalysisTemplateSpec = AnalysisTemplateSpec()


class AnalysisRunSpec(View, frozen=True):
    metrics: tuple[Metric, ...] = ()
    args: tuple[Argument, ...] = ()
    dry_run: tuple[DryRun, ...] = ()
    measurement_retention: tuple[MeasurementRetention, ...] = ()
    ttl_strategy: TtlStrategy | None = None
    terminate: bool = False


class Measurement(View, frozen=True):
    """One answer of a provider. `value` is its text; `metadata` holds the resolved query and the like."""

    phase: Phase = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    value: str = ""
    metadata: dict[str, str] | None = None
    resume_at: str | None = None


class MetricResult(View, frozen=True):
    """All measurements of one metric, oldest first, and its counters."""

    name: str = ""
    phase: Phase = ""
    message: str = ""
    measurements: tuple[Measurement, ...] = ()
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    consecutive_error: int = 0
    consecutive_success: int = 0
    dry_run: bool = False
    metadata: dict[str, str] | None = None

    @property
    def completed(self) -> bool:
        return self.phase in COMPLETED


class RunSummary(View, frozen=True):
    """How many metrics ended in which way."""

    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0


class AnalysisRunStatus(View, frozen=True):
    phase: Phase = ""
    message: str = ""
    started_at: str | None = None
    completed_at: str | None = None
    metric_results: tuple[MetricResult, ...] = ()
    run_summary: RunSummary | None = None
    dry_run_summary: RunSummary | None = None


class AnalysisRun(View, frozen=True):
    metadata: ObjectMeta
    spec: AnalysisRunSpec = AnalysisRunSpec()
    status: AnalysisRunStatus = AnalysisRunStatus()

    @property
    def completed(self) -> bool:
        return self.status.phase in COMPLETED
