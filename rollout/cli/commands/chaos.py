"""`rollout chaos ...`: run, watch, stop and report chaos; the switch; schedules."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.exits import FAILED, OK, TIMEOUT
from rollout.cli.options import (
    AllNamespaces,
    DryRun,
    Output,
    OutputOption,
    Selector,
    Target,
    Timeout,
    Wait,
    connected,
    help_with,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout.cli.chaos.shape import RunView

ABOUT = "Faults with receipts, judged by probes: run, watch, stop, report."
SCHEDULE_ABOUT = "Chaos on a schedule: what has run, what comes next."
_CODES = (
    "Exit codes with --wait or --watch: 0 Successful (a dry run: nothing was found against it), "
    "3 Failed, Error or Inconclusive, 4 not completed in time."
)
RUN_EXAMPLES = (
    help_with(
        "rollout chaos run --template kill-quarter --arg percent=25 --wait",
        "rollout chaos run -f chaos.yaml -w",
        "rollout chaos run -f chaos.yaml --dry-run targets --wait",
    )
    + f"\n\n{_CODES}"
)
LIST_EXAMPLES = help_with("rollout chaos list -A", "rollout chaos list -o json")
GET_EXAMPLES = help_with(
    "rollout chaos get kill-quarter-x7f2p -w", "rollout chaos get kill-quarter-x7f2p -o json"
)
STOP_EXAMPLES = (
    help_with("rollout chaos stop kill-quarter-x7f2p --wait")
    + "\n\nExit codes with --wait: 0 every fault is undone, 3 one was not shown to be, 4 not completed in time."
)
REPORT_EXAMPLES = help_with(
    "rollout chaos report kill-quarter-x7f2p > report.md",
    "rollout chaos report kill-quarter-x7f2p --format junit > chaos.xml",
)
PREFLIGHT_EXAMPLES = (
    help_with("rollout chaos preflight -f chaos.yaml", "rollout chaos preflight --template kill-quarter")
    + "\n\nExit codes: 0 it could begin, 3 something stands in its way."
)
HALT_EXAMPLES = (
    help_with(
        'rollout chaos halt --reason "incident 4711"',
        "rollout chaos halt --hold-releases --wait",
        "rollout chaos resume",
    )
    + "\n\nExit codes: 0 engaged, with --wait also: no run is at work any more; 4 one still is."
)
RESUME_EXAMPLES = help_with("rollout chaos resume")
REAP_EXAMPLES = help_with("rollout chaos reap", "rollout chaos reap -o json")
SCHEDULE_EXAMPLES = help_with("rollout chaos schedule list -A")
SCHEDULE_RUN_EXAMPLES = help_with("rollout chaos schedule run weekly --wait") + f"\n\n{_CODES}"
SUSPEND_EXAMPLES = help_with("rollout chaos schedule suspend weekly", "rollout chaos schedule resume weekly")

RunName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the ChaosRun.", show_default=False)]
ScheduleName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the ChaosSchedule.", show_default=False)
]
FileOption = Annotated[
    str, typer.Option("--filename", "-f", metavar="FILE", help="A ChaosRun or ChaosTemplate; - for stdin.")
]
TemplateOption = Annotated[
    str, typer.Option("--template", metavar="NAME", help="A ChaosTemplate of the namespace.")
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="NAME=VALUE", help="An argument of the template (repeat)."),
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the run; else a new one.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Show it live until it has completed.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")]


class ReportFormat(StrEnum):
    markdown = "markdown"
    json = "json"
    junit = "junit"


@connected
def run(
    target: Target,
    *,
    file: FileOption = "",
    template: TemplateOption = "",
    args: ArgOption = None,
    name: NameOption = "",
    dry_run: Annotated[
        str,
        typer.Option(
            "--dry-run", metavar="targets|probes", help="Only choose targets, or only run the probes."
        ),
    ] = "",
    wait: Wait = False,
    watch: WatchOption = False,
    timeout: Timeout = "30m",
    output: OutputOption = None,
    no_color: NoColor = False,
) -> None:
    """Start a ChaosRun from a file or a template."""
    from rollout.cli.chaos import acts
    from rollout.cli.session import seconds, session

    _picture_or_data(output, watch=watch)
    limit = seconds(timeout, "--timeout")
    with session(target, manager="rollout-chaos") as cluster:
        made = acts.create(
            cluster, acts.wanted(cluster, acts.Wish(file, template, args or [], name, dry_run))
        )
        _follow(cluster, made, output, limit, wait=wait, watch=watch, no_color=no_color)


@connected
def list_runs(
    target: Target,
    *,
    output: OutputOption = None,
    all_namespaces: AllNamespaces = False,
    selector: Selector = "",
) -> None:
    """List ChaosRuns, newest first."""
    from rollout.api.resources import CHAOS_RUNS
    from rollout.cli import output as out
    from rollout.cli.chaos.shape import SCHEMA_VERSION, run_of, shape
    from rollout.cli.chaos.text import list_lines
    from rollout.cli.session import session

    with session(target) as cluster:
        namespace = None if all_namespaces else cluster.namespace
        found = [shape(run_of(raw)) for raw in cluster.all(CHAOS_RUNS, namespace, labels=selector)]
        now = cluster.clock.now()
    found.sort(key=lambda one: (one.created_at, one.name), reverse=True)
    if output is Output.name:
        out.lines(f"chaosrun.surefoot.dev/{one.name}" for one in found)
    elif output in (Output.json, Output.yaml):
        out.document({"schemaVersion": SCHEMA_VERSION, "items": found}, output)
    elif not found:
        out.say(f"No ChaosRuns in {'any namespace' if namespace is None else f'namespace {namespace!r}'}.")
    else:
        out.lines(list_lines(found, now, namespaces=all_namespaces, wide=output is Output.wide))


@connected
def get(
    name: RunName,
    target: Target,
    *,
    output: OutputOption = None,
    watch: WatchOption = False,
    no_color: NoColor = False,
) -> None:
    """Show a ChaosRun: timeline, faults with their proof, probes, journal."""
    from rollout.cli.chaos import acts
    from rollout.cli.session import session

    _picture_or_data(output, watch=watch)
    with session(target) as cluster:
        found = acts.find(cluster, name)
        if watch:
            _watch(cluster, name, no_color=no_color)
            return
        _show(cluster, found, output, no_color=no_color)


@connected
def stop(
    name: RunName,
    target: Target,
    *,
    wait: Wait = False,
    timeout: Timeout = "10m",
    output: OutputOption = None,
) -> None:
    """End a ChaosRun before its time; all its faults are undone."""
    from rollout.cli.chaos import acts
    from rollout.cli.chaos.shape import undone
    from rollout.cli.session import seconds, session

    limit = seconds(timeout, "--timeout")
    with session(target, manager="rollout-chaos") as cluster:
        stopped = acts.stop(cluster, name)
        said = "is stopping: its faults are being undone"
        _follow(cluster, stopped, output, limit, wait=wait, said=said, good=undone)


@connected
def report(
    name: RunName,
    target: Target,
    *,
    format: Annotated[
        ReportFormat, typer.Option("--format", help="For people, programs or pipelines.")
    ] = ReportFormat.markdown,
) -> None:
    """Write what a ChaosRun has shown, for those who were not there."""
    from rollout.cli import output as out
    from rollout.cli.chaos import acts, report
    from rollout.cli.chaos.shape import run_of, shape
    from rollout.cli.session import session

    with session(target) as cluster:
        run = run_of(acts.find(cluster, name))
        drawn = acts.drawn(cluster, run, width=80)
    shown = shape(run)
    if format is ReportFormat.json:
        out.document(shown, Output.json)
    elif format is ReportFormat.junit:
        out.lines(report.junit([shown]).splitlines())
    else:
        out.lines(report.markdown(shown, drawn))


@connected
def preflight(
    target: Target,
    *,
    file: FileOption = "",
    template: TemplateOption = "",
    args: ArgOption = None,
    output: OutputOption = None,
) -> None:
    """Say whether a run could begin, what stands in its way, and what to use instead; nothing is changed."""
    from rollout.cli import output as out
    from rollout.cli.chaos import acts, preflight
    from rollout.cli.session import session

    with session(target) as cluster:
        obj = acts.wanted(cluster, acts.Wish(file, template, args or [], "preflight"))
        found = preflight.preflight(cluster, obj)
    if output in (Output.json, Output.yaml):
        out.document(found, output)
    else:
        out.lines(found.lines())
    raise typer.Exit(OK if found.possible else FAILED)


@connected
def halt(
    target: Target,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for those who find it.")] = "",
    hold_releases: Annotated[
        bool, typer.Option("--hold-releases", help="New releases do not begin either.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
) -> None:
    """Stop all chaos of the cluster: every run is ended and undone, none starts."""
    from rollout.cli import output as out
    from rollout.cli.chaos import acts, make
    from rollout.cli.session import seconds, session

    limit = seconds(timeout, "--timeout")
    with session(target, manager="rollout-chaos") as cluster:
        acts.put_switch(cluster, make.halt(reason, hold_releases=hold_releases), dry_run=dry_run)
        out.lines([f"chaosswitch.surefoot.dev/default engaged{' (dry run)' if dry_run else ''}"])
        if dry_run:
            return
        if ending := acts.unfinished(cluster):
            out.say(f"being ended and undone: {', '.join(ending)}")
        if not wait:
            return
        if left := acts.wait_quiet(cluster, limit):
            out.say(f"Still not ended after {timeout}: {', '.join(left)}")
            raise typer.Exit(TIMEOUT)
        out.say("no run is at work")


@connected
def resume(target: Target, *, dry_run: DryRun = False) -> None:
    """Allow chaos (and releases) again. What was ended stays ended."""
    from rollout.cli import output as out
    from rollout.cli.chaos import acts, make
    from rollout.cli.session import session

    with session(target, manager="rollout-chaos") as cluster:
        acts.put_switch(cluster, make.resume(), dry_run=dry_run)
        out.lines([f"chaosswitch.surefoot.dev/default disengaged{' (dry run)' if dry_run else ''}"])
        for line in acts.other_switches(cluster):
            out.say(line)


@connected
def reap(target: Target, *, output: OutputOption = None) -> None:
    """Delete what faults have left in the cluster: past its lease, or of a run that has ended or is gone.

    The controller does so by itself; this is for when there is none (as is `python -m chaos.reap`, for a CronJob).
    """
    import asyncio

    from chaos.reap import reap as look
    from rollout.cli import output as out
    from rollout.cli.session import session
    from rollout.runtime.client import HttpKube

    with session(target, manager="rollout-chaos") as cluster:

        async def once() -> list[dict[str, str]]:
            kube = HttpKube(cluster.connection, clock=cluster.clock)
            try:
                found = await look(kube, cluster.clock)
            finally:
                await kube.close()
            return [
                {"kind": one.resource.kind, "namespace": one.namespace, "name": one.name, "reason": why}
                for one, why in found
            ]

        deleted = asyncio.run(once())
    if output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, "deleted": deleted}, output)
    else:
        out.lines(
            f"{one['kind']} {one['namespace']}/{one['name']} deleted: {one['reason']}" for one in deleted
        )
        if not deleted:
            out.say("Nothing is left behind.")


@connected
def schedule_list(
    target: Target, *, output: OutputOption = None, all_namespaces: AllNamespaces = False
) -> None:
    """List ChaosSchedules with their last and next times."""
    from rollout.api.chaos import ChaosSchedule
    from rollout.api.codec import view
    from rollout.api.resources import CHAOS_SCHEDULES
    from rollout.cli import output as out
    from rollout.cli.chaos.text import schedule_lines
    from rollout.cli.session import session

    with session(target) as cluster:
        namespace = None if all_namespaces else cluster.namespace
        raws = cluster.all(CHAOS_SCHEDULES, namespace)
        now = cluster.clock.now()
    if output is Output.name:
        out.lines(f"chaosschedule.surefoot.dev/{raw['metadata']['name']}" for raw in raws)
    elif output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, "items": raws}, output)
    elif not raws:
        out.say(
            f"No ChaosSchedules in {'any namespace' if namespace is None else f'namespace {namespace!r}'}."
        )
    else:
        found = [view(raw, ChaosSchedule) for raw in raws]
        out.lines(schedule_lines(found, now, namespaces=all_namespaces))


@connected
def schedule_run(
    name: ScheduleName,
    target: Target,
    *,
    wait: Wait = False,
    watch: WatchOption = False,
    timeout: Timeout = "30m",
    output: OutputOption = None,
    no_color: NoColor = False,
) -> None:
    """Start what a ChaosSchedule would start, now, with its checks. Its own times are not touched."""
    from rollout.cli.chaos import acts
    from rollout.cli.session import seconds, session

    _picture_or_data(output, watch=watch)
    limit = seconds(timeout, "--timeout")
    with session(target, manager="rollout-chaos") as cluster:
        made = acts.create(cluster, acts.of_schedule(cluster, name))
        _follow(cluster, made, output, limit, wait=wait, watch=watch, no_color=no_color)


@connected
def schedule_suspend(name: ScheduleName, target: Target) -> None:
    """Let a ChaosSchedule make no more runs."""
    _suspend(target, name, suspend=True)


@connected
def schedule_resume(name: ScheduleName, target: Target) -> None:
    """Let a ChaosSchedule make runs again."""
    _suspend(target, name, suspend=False)


def _suspend(target: Target, name: str, *, suspend: bool) -> None:
    from rollout.api.resources import CHAOS_SCHEDULES
    from rollout.cli import output as out
    from rollout.cli.chaos import acts
    from rollout.cli.session import session

    with session(target, manager="rollout-chaos") as cluster:
        acts.schedule(cluster, name)
        cluster.kube.patch(CHAOS_SCHEDULES, cluster.namespace, name, {"spec": {"suspend": suspend}})
    out.lines([f"chaosschedule.surefoot.dev/{name} {'suspended' if suspend else 'resumed'}"])


# --- following a run ----------------------------------------------------------------------------------


def _follow(
    cluster: Any,
    raw: dict[str, Any],
    output: Output | None,
    limit: float,
    *,
    wait: bool = False,
    watch: bool = False,
    no_color: bool = False,
    said: str = "created",
    good: Callable[[RunView], bool] | None = None,
) -> None:
    """Tell of a run that was made or changed; with --wait or --watch until it has completed. Ends with the exit code.

    `good` says of a completed run whether it is what was asked for; without it, whether it went well.
    """
    from rollout.cli import output as out
    from rollout.cli.chaos import live
    from rollout.cli.chaos.shape import run_of, shape, went_well

    name = raw["metadata"]["name"]
    if watch:
        _exit(live.watch(cluster, name, _paint(no_color=no_color)), good or went_well)
    if wait:
        out.say(f"chaosrun.surefoot.dev/{name} {said}")
        raw = live.wait(cluster, name, limit)
        _show(cluster, raw, output, no_color=no_color)
        _exit(shape(run_of(raw)), good or went_well)
    if output in (Output.json, Output.yaml):
        _show(cluster, raw, output, no_color=no_color)
    elif output is Output.name:
        out.lines([f"chaosrun.surefoot.dev/{name}"])
    else:
        out.lines([f"chaosrun.surefoot.dev/{name} {said}"])


def _picture_or_data(output: Output | None, *, watch: bool) -> None:
    if watch and output not in (None, Output.wide):
        raise typer.BadParameter(f"--watch draws a picture; it cannot be combined with -o {output}")


def _exit(shown: RunView, good: Callable[[RunView], bool]) -> None:
    from rollout.cli import output as out

    if shown.phase != "Completed":
        out.say("Not completed in time.")
        raise typer.Exit(TIMEOUT)
    raise typer.Exit(OK if good(shown) else FAILED)


def _watch(cluster: Any, name: str, *, no_color: bool) -> None:
    from rollout.cli.chaos import live

    live.watch(cluster, name, _paint(no_color=no_color))


def _show(cluster: Any, raw: dict[str, Any], output: Output | None, *, no_color: bool) -> None:
    from rollout.cli import output as out
    from rollout.cli.chaos import acts
    from rollout.cli.chaos.shape import run_of, shape
    from rollout.cli.chaos.text import run_text

    run = run_of(raw)
    if output in (Output.json, Output.yaml):
        out.document(shape(run), output)
    elif output is Output.name:
        out.lines([f"chaosrun.surefoot.dev/{run.metadata.name}"])
    else:
        drawn = acts.drawn(cluster, run, width=acts.lane_width())
        everything = len(run.status.journal)
        journal = everything if output is Output.wide else min(everything, 8)
        out.lines(
            run_text(shape(run), drawn, cluster.clock.now(), paint=_paint(no_color=no_color), journal=journal)
        )


def _paint(*, no_color: bool) -> Any:
    from rollout.cli import output as out
    from rollout.cli.text import plain

    return plain if no_color else out.painter()
