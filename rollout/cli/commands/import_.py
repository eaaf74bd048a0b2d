"""`rollout import litmus|flagger -f FILE`: what people have today, turned into ours, with every loss said."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.exits import APPROXIMATE, OK, REFUSED, USAGE, Failure
from rollout.cli.options import Output, OutputOption, help_with

if TYPE_CHECKING:
    from rollout.importers.report import Imported

ABOUT = "Turn manifests of Litmus and Flagger into ours, and say what is lost."
EXIT_CODES = (
    "Exit codes: 0 exact, 10 approximate (read the notes before you apply), 7 something was refused, 2 usage. "
    "Objects go to standard output, notes to standard error."
)
LITMUS_EXAMPLES = (
    help_with(
        "rollout import litmus -f chaosengines.yaml > chaos.yaml", "rollout import litmus -f engines/ -o json"
    )
    + "\n\n"
    + EXIT_CODES
)
FLAGGER_EXAMPLES = (
    help_with(
        "rollout import flagger -f canary.yaml -f deployment.yaml > release.yaml",
        "kubectl get canary,metrictemplate,deploy -o yaml | rollout import flagger -f - --replicas 10",
    )
    + "\n\n"
    + EXIT_CODES
)
_MEANING = {
    "exact": "nothing is lost",
    "approximate": "not quite the same: read the notes before you apply",
    "refused": "something was refused: see above what to do",
}
_FileOption = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE", help="File, directory, or - for stdin (repeat)."),
]


class Profile(StrEnum):
    hub = "litmus-hub"
    code = "litmus-code"


class Network(StrEnum):
    mesh = "mesh"
    netem = "netem"


def litmus(
    files: _FileOption,
    *,
    profile: Annotated[
        Profile,
        typer.Option(help="Whose defaults count where the engine says nothing: the hub's or the code's."),
    ] = Profile.hub,
    network: Annotated[
        Network, typer.Option(help="Network faults: in the mesh (no privilege) or by tc netem in the pod.")
    ] = Network.mesh,
    cmd_image: Annotated[str, typer.Option(help="Image for cmd probes that name none.")] = "",
    output: OutputOption = None,
) -> None:
    """Convert Litmus' ChaosEngines and ChaosSchedules.

    They become ChaosRuns and ChaosSchedules of ours. Give their ChaosExperiments, too: these hold what an engine does
    not say. Objects that are not of Litmus are left alone.
    """
    from rollout.importers.litmus import CMD_IMAGE, Options, convert
    from rollout.runtime.clock import SystemClock

    _refuse_short(output)
    options = Options(
        profile=profile.value,
        network=network.value,
        cmd_image=cmd_image or CMD_IMAGE,
        now=SystemClock().now(),
    )
    _tell(convert(_documents(files), options), output)


def flagger(
    files: _FileOption,
    *,
    provider: Annotated[
        str, typer.Option(help="The provider of Canaries that name none (Flagger's -mesh-provider).")
    ] = "istio",
    job_image: Annotated[str, typer.Option(help="Image for commands that become Jobs.")] = "",
    replicas: Annotated[
        str, typer.Option(help="Pods of the Rollout where the Deployment does not tell.", metavar="N")
    ] = "",
    output: OutputOption = None,
) -> None:
    """Convert Flagger's Canaries.

    They become Rollouts, with the Services, routes and analysis templates that these name. Give the Deployments and
    MetricTemplates, too: labels, size and queries come from there. Other objects are left alone.
    """
    from rollout.importers.flagger import JOB_IMAGE, Options, convert

    _refuse_short(output)
    if replicas and not (replicas.isdecimal() and 0 < int(replicas) < 100_000):
        raise Failure(USAGE, f"--replicas {replicas}: must be a whole number of at least 1")
    options = Options(
        provider=provider, job_image=job_image or JOB_IMAGE, replicas=int(replicas) if replicas else None
    )
    _tell(convert(_documents(files), options), output)


def _refuse_short(output: Output | None) -> None:
    if output in (Output.name, Output.wide):
        raise Failure(USAGE, f"-o {output.value}: an import is printed whole; use json or yaml, or neither")


def _documents(files: list[str]) -> list[dict[str, Any]]:
    from rollout.cli.files import documents

    found: list[dict[str, Any]] = []
    for one in documents(files):
        if not isinstance(one.object, dict) or not isinstance(one.object.get("metadata"), dict):
            raise Failure(USAGE, f"{one.file}:{one.line}: this is no Kubernetes object")
        found.append(one.object)
    return found


def _tell(imported: Imported, output: Output | None) -> None:
    """Objects to stdout, notes to stderr; with -o json or yaml everything in one document."""
    from rollout.cli import output as out

    if output in (Output.json, Output.yaml):
        body = {
            "schemaVersion": 1,
            "outcome": imported.outcome,
            "objects": list(imported.objects),
            "notes": list(imported.notes),
        }
        out.document(body, output)
    else:
        import yaml

        if imported.objects:
            text = yaml.dump_all(imported.objects, Dumper=_without_aliases(), sort_keys=False, width=110)
            out.lines(text.splitlines())
        for note in imported.notes:
            out.say(str(note))
        count = len(imported.objects)
        out.say(f"{count} object{'' if count == 1 else 's'} made, {_MEANING[imported.outcome]}.")
    code = {"exact": OK, "approximate": APPROXIMATE, "refused": REFUSED}[imported.outcome]
    if code:
        raise typer.Exit(code)


def _without_aliases() -> Any:
    """PyYAML's safe dumper, writing out what stands in several places: nobody edits `*id001`."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    return Plain
