"""What the chaos commands ask of the cluster."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from chaos.plan.template import label_value
from rollout.api.analysis import AnalysisRun
from rollout.api.chaos import RUN_LABEL, SWITCH_NAME, ChaosRun, ChaosSchedule
from rollout.api.codec import view
from rollout.api.meta import metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    CHAOS_TEMPLATES,
    Resource,
)
from rollout.cli.chaos import make
from rollout.cli.chaos.lanes import Timeline, timeline
from rollout.cli.chaos.shape import run_of
from rollout.cli.chaos.traffic import load_beside
from rollout.cli.exits import USAGE, Failure
from rollout.cli.session import Session
from rollout.errors import AlreadyExists, InvalidSpec, NotFound, SurefootError

Object = dict[str, Any]
SELF = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
NAME_COLUMNS = 62
"""Of a line with a lane: its name, and its remark."""
QUIET_SECONDS = 0.5
NOT_SERVED = "could not find the requested resource"
"""What an API server says of a kind that it does not know."""


def find(cluster: Session, name: str) -> Object:
    """The ChaosRun as it is now; NotFound with what to do about it."""
    return _named(cluster, CHAOS_RUNS, name, f"rollout chaos list -n {cluster.namespace}")


def template(cluster: Session, name: str) -> Object:
    """The ChaosTemplate; NotFound with what to do about it."""
    return _named(cluster, CHAOS_TEMPLATES, name, f"kubectl get chaostemplates -n {cluster.namespace}")


def schedule(cluster: Session, name: str) -> Object:
    """The ChaosSchedule; NotFound with what to do about it."""
    return _named(cluster, CHAOS_SCHEDULES, name, f"rollout chaos schedule list -n {cluster.namespace}")


def _named(cluster: Session, resource: Resource, name: str, others: str) -> Object:
    try:
        return cluster.kube.get(resource, cluster.namespace, name)
    except NotFound as error:
        if NOT_SERVED in error.message:
            raise
        raise NotFound(
            f'{resource.kind} "{name}" not found in namespace "{cluster.namespace}"\nThose that are there: {others}'
        ) from error


class Wish(NamedTuple):
    """The run that a user describes by options; `args` are `name=value`."""

    file: str
    template: str
    args: Sequence[str]
    name: str = ""
    dry_run: str = ""


def wanted(cluster: Session, wish: Wish) -> Object:
    """The run that the options describe, checked, but not created yet."""
    given = make.arguments(wish.args)
    if bool(wish.file) == bool(wish.template):
        raise Failure(USAGE, "say what to run: either --template NAME or -f FILE")
    if wish.template:
        spec = make.from_template(template(cluster, wish.template), given)
        meta: Object = {"generateName": f"{wish.template}-"}
    else:
        meta, spec = make.from_file(_read(wish.file), given, wish.file)
        said = meta.get("namespace") or cluster.namespace
        if said != cluster.namespace:
            raise Failure(
                USAGE, f"{wish.file} says namespace {said}, the command {cluster.namespace}; add -n {said}"
            )
    if wish.name:
        meta = {key: value for key, value in meta.items() if key != "generateName"} | {"name": wish.name}
    return make.run_object(meta, spec, cluster.namespace, _who(cluster), wish.dry_run)


def of_schedule(cluster: Session, name: str) -> Object:
    """The run that a schedule would make now."""
    raw = schedule(cluster, name)
    use = view(raw, ChaosSchedule).spec.run
    used = template(cluster, use.template_name) if use.template_name else None
    spec = make.from_schedule(raw, use, used)
    return make.run_object({"generateName": f"{name}-manual-"}, spec, cluster.namespace, _who(cluster), "")


def create(cluster: Session, obj: Object) -> Object:
    """Create the run. One of its name must not be there already."""
    try:
        return cluster.kube.create(CHAOS_RUNS, cluster.namespace, obj)
    except AlreadyExists as error:
        name = metadata(obj).get("name")
        raise AlreadyExists(
            f'ChaosRun "{name}" exists already; a run happens once. Name another one: --name NAME'
        ) from error


def stop(cluster: Session, name: str) -> Object:
    """Ask a run to end."""
    raw = find(cluster, name)
    patch = make.stop(run_of(raw))
    return cluster.kube.patch(CHAOS_RUNS, cluster.namespace, name, patch) if patch else raw


# --- looking ------------------------------------------------------------------------------------------


def drawn(cluster: Session, run: ChaosRun, *, width: int) -> Timeline | None:
    """The timeline of a run as it is now."""
    selector = f"{RUN_LABEL}={label_of(run.metadata.name)}"
    probes = analyses(cluster.all(ANALYSIS_RUNS, run.metadata.namespace, labels=selector))
    return timeline(run, probes, load_beside(cluster, run), cluster.clock.now(), width)


def analyses(raws: Iterable[Object]) -> list[AnalysisRun]:
    """The views of AnalysisRuns; one that cannot be read has no samples to show."""
    found = []
    for raw in raws:
        try:
            found.append(view(raw, AnalysisRun))
        except InvalidSpec:
            continue
    return found


def label_of(name: str) -> str:
    """The value of the label that what a run has made carries."""
    return label_value(name)


def lane_width() -> int:
    """Columns for a lane in this terminal."""
    return min(max(shutil.get_terminal_size((110, 40)).columns - NAME_COLUMNS, 24), 120)


# --- the switch ---------------------------------------------------------------------------------------


def put_switch(cluster: Session, obj: Object, *, dry_run: bool) -> None:
    """Set the switch, and make it if there is none."""
    try:
        cluster.kube.patch(CHAOS_SWITCHES, None, SWITCH_NAME, {"spec": obj["spec"]}, dry_run=dry_run)
    except NotFound as error:
        if NOT_SERVED in error.message:
            raise
        cluster.kube.create(CHAOS_SWITCHES, None, obj, dry_run=dry_run)


def unfinished(cluster: Session) -> list[str]:
    """The runs of the cluster that have not completed, by namespace/name."""
    runs = [run_of(raw) for raw in cluster.all(CHAOS_RUNS, None)]
    return sorted(str(run.metadata.key) for run in runs if not run.completed)


def wait_quiet(cluster: Session, timeout: float) -> list[str]:
    """Wait until every run has completed; those that have not when `timeout` seconds are up."""
    end = cluster.clock.monotonic() + timeout
    while (left := unfinished(cluster)) and cluster.clock.monotonic() < end:
        threading.Event().wait(QUIET_SECONDS)
    return left


def other_switches(cluster: Session) -> list[str]:
    """Switches besides the default one that still hold, for people."""
    return [
        f'note: ChaosSwitch "{raw["metadata"]["name"]}" is still engaged'
        for raw in cluster.all(CHAOS_SWITCHES, None)
        if (raw.get("spec") or {}).get("engaged") and raw["metadata"]["name"] != SWITCH_NAME
    ]


# --- small pieces -------------------------------------------------------------------------------------


def _read(file: str) -> list[Any]:
    from rollout.cli.files import documents

    return [one.object for one in documents([file])]


def _who(cluster: Session) -> str:
    """Who asks, as the API server knows them; "" where it does not say."""
    try:
        review = cluster.kube.create(SELF, None, {"apiVersion": SELF.api_version, "kind": SELF.kind})
        return str(review["status"]["userInfo"]["username"])
    except (SurefootError, KeyError):
        return ""
