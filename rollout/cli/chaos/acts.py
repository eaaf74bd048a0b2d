"""What the chaos commands ask of the cluster."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from chaos.faults.kinds import KINDS
from chaos.faults.targets import pods_meant
from chaos.observed import World
from chaos.plan.template import label_value
from rollout.api.analysis import AnalysisRun
from rollout.api.chaos import RUN_LABEL, SWITCH_NAME, ChaosRun, ChaosSchedule
from rollout.api.codec import view
from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    CHAOS_TEMPLATES,
    DEPLOYMENTS,
    ENVOY_FILTERS,
    HPAS,
    NAMESPACES,
    NETWORK_POLICIES,
    PDBS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from rollout.cli.chaos import make
from rollout.cli.chaos.lanes import Timeline, timeline
from rollout.cli.chaos.shape import kind_of, run_of
from rollout.cli.chaos.traffic import load_beside
from rollout.cli.exits import USAGE, Failure
from rollout.cli.session import Session
from rollout.errors import AlreadyExists, Forbidden, InvalidSpec, NotFound, SurefootError

Object = dict[str, Any]
SELF = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
NAME_COLUMNS = 62
"""Of a line with a lane: its name, and its remark."""
QUIET_SECONDS = 0.5
_WORLD = (
    PODS,
    REPLICA_SETS,
    DEPLOYMENTS,
    ROLLOUTS,
    SERVICES,
    PDBS,
    HPAS,
    ENVOY_FILTERS,
    NETWORK_POLICIES,
    NAMESPACES,
)


def find(cluster: Session, name: str) -> Object:
    """The ChaosRun as it is now; NotFound with what to do about it."""
    try:
        return cluster.kube.get(CHAOS_RUNS, cluster.namespace, name)
    except NotFound as error:
        if "could not find the requested resource" in error.message:
            raise
        raise NotFound(
            f'ChaosRun "{name}" not found in namespace "{cluster.namespace}"\n'
            f"Those that are there: rollout chaos list -n {cluster.namespace}"
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
    file, template, args, name, dry_run = wish
    given = make.arguments(args)
    if bool(file) == bool(template):
        raise Failure(USAGE, "say what to run: --template NAME, or -f FILE")
    if template:
        raw = cluster.kube.get(CHAOS_TEMPLATES, cluster.namespace, template)
        meta, spec = {"generateName": f"{template}-"}, make.from_template(raw, given)
    else:
        meta, spec = make.from_file(_read(file), given)
        if meta.get("namespace") and meta["namespace"] != cluster.namespace:
            raise Failure(
                USAGE,
                f"the file says namespace {meta['namespace']}, the command {cluster.namespace}; add -n {meta['namespace']}",
            )
    if name:
        meta = {key: value for key, value in meta.items() if key != "generateName"} | {"name": name}
    return make.run_object(meta, spec, cluster.namespace, _who(cluster), dry_run)


def of_schedule(cluster: Session, name: str) -> Object:
    """The run that a schedule would make now."""
    schedule = view(cluster.kube.get(CHAOS_SCHEDULES, cluster.namespace, name), ChaosSchedule)
    template = None
    if schedule.spec.run.template_name:
        template = cluster.kube.get(CHAOS_TEMPLATES, cluster.namespace, schedule.spec.run.template_name)
    spec = make.from_schedule(schedule, template)
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


# --- preflight ----------------------------------------------------------------------------------------


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """One obstacle: the fault, why, and what to use instead."""

    fault: str
    reason: str
    instead: str


class Preflight(msgspec.Struct, frozen=True, rename="camel"):
    """What a run could do here. `pods` says for each fault how many pods its target means now."""

    schema_version: int
    pods: dict[str, int]
    kinds: dict[str, str]
    obstacles: tuple[Finding, ...]

    def lines(self) -> list[str]:
        """For people."""
        said = []
        for fault, count in self.pods.items():
            own = [one for one in self.obstacles if one.fault == fault]
            said.append(f"{'✖' if own else '✔'} {fault} ({self.kinds[fault]}): its target means {count} pods")
            for one in own:
                said.append(f"    {one.reason}")
                if one.instead:
                    said.append(f"    instead: {one.instead}")
        return said


def preflight(cluster: Session, obj: Object) -> Preflight:
    """Ask every fault of the run what would stand in its way."""
    run = view({**obj, "metadata": {"name": "preflight", **obj["metadata"]}}, ChaosRun)
    world = _world(cluster)
    pods: dict[str, int] = {}
    kinds: dict[str, str] = {}
    found: list[Finding] = []
    for step in run.spec.steps:
        for fault in step.faults:
            kinds[fault.name] = kind_of(fault)
            pods[fault.name] = len(pods_meant(fault, run, world))
            obstacles = KINDS[kinds[fault.name]].obstacles(fault, run, world)
            found += [Finding(fault.name, one.reason, one.instead) for one in obstacles]
    return Preflight(1, pods, kinds, tuple(found))


def _world(cluster: Session) -> World:
    """All that faults look at. What the server does not serve is absent; what we may not see is an error."""
    objects: dict[Resource, dict[Key, Object]] = {}
    for resource in _WORLD:
        try:
            objects[resource] = {key_of(one): one for one in cluster.all(resource, None)}
        except NotFound:
            continue
        except Forbidden:
            if resource is not NAMESPACES:
                objects[resource] = {key_of(one): one for one in cluster.all(resource, cluster.namespace)}
    return World(now=cluster.clock.now(), objects=objects)


# --- the switch ---------------------------------------------------------------------------------------


def put_switch(cluster: Session, obj: Object, *, dry_run: bool) -> None:
    """Set the switch, and make it if there is none."""
    try:
        cluster.kube.patch(CHAOS_SWITCHES, None, SWITCH_NAME, {"spec": obj["spec"]}, dry_run=dry_run)
    except NotFound as error:
        if "could not find the requested resource" in error.message:
            raise
        cluster.kube.create(CHAOS_SWITCHES, None, obj, dry_run=dry_run)


def wait_quiet(cluster: Session, timeout: float) -> list[str]:
    """Wait until no run is at work; those that still are when `timeout` seconds are up."""
    end = cluster.clock.monotonic() + timeout
    while True:
        runs = [run_of(raw) for raw in cluster.all(CHAOS_RUNS, None)]
        left = [
            str(run.metadata.key)
            for run in runs
            if not run.completed and run.status.phase not in {"", "Pending"}
        ]
        if not left or cluster.clock.monotonic() >= end:
            return left
        threading.Event().wait(QUIET_SECONDS)


def other_switches(cluster: Session) -> list[str]:
    """Switches that still hold, for people."""
    return [
        f'note: ChaosSwitch "{raw["metadata"]["name"]}" is still engaged'
        for raw in cluster.all(CHAOS_SWITCHES, None)
        if (raw.get("spec") or {}).get("engaged")
    ]


# --- small pieces -------------------------------------------------------------------------------------


def _read(file: str) -> list[Any]:
    from rollout.cli.commands.lint import texts
    from rollout.cli.manifests import Unreadable, read

    found = []
    for name, text in texts([file]):
        for one in read(name, text):
            if isinstance(one, Unreadable):
                raise Failure(USAGE, f"{one.file}:{one.line}: {one.message}")
            found.append(one.object)
    return found


def _who(cluster: Session) -> str:
    """Who asks, as the API server knows them; "" where it does not say."""
    try:
        review = cluster.kube.create(SELF, None, {"apiVersion": SELF.api_version, "kind": SELF.kind})
        return str(review["status"]["userInfo"]["username"])
    except (SurefootError, KeyError):
        return ""
