"""`rollout load run`: the load test of a gate, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.exits import FAILED, USAGE, Failure
from rollout.cli.options import Output, OutputOption, help_with

if TYPE_CHECKING:
    from rollout.cli.loading import Body, Outcome

ABOUT = "Load tests: what a gate with a loadTest does, on this machine."
RUN_EXAMPLES = help_with(
    "rollout load run --target http://127.0.0.1:8080/a --rps 200 --duration 30s",
    "rollout load run --target http://127.0.0.1:8080 --users 20 --duration 1m",
    "rollout load run -f plan.yaml --fail-if 'result.p95 > 300' -o json",
) + (
    "\n\nExit codes: 0 done, 3 a --fail-if condition holds or cannot be answered (without one: every request failed), "
    "or the load was not reached, "
    "2 usage, 130 interrupted."
)
SAY_SECONDS = 5


def run(
    *,
    target: Annotated[
        str, typer.Option("--target", metavar="URL", help="Where to; http or https.", show_default=False)
    ] = "",
    rps: Annotated[
        str,
        typer.Option(
            "--rps", metavar="N", help="Requests per second that arrive (open).", show_default=False
        ),
    ] = "",
    users: Annotated[
        str,
        typer.Option(
            "--users", metavar="N", help="Users that wait for answers (closed).", show_default=False
        ),
    ] = "",
    spawn_rate: Annotated[
        str, typer.Option("--spawn-rate", metavar="N", help="Users started per second.", show_default=False)
    ] = "",
    duration: Annotated[
        str, typer.Option("--duration", metavar="TIME", help="How long: 30s, 5m.", show_default=False)
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="TEXT", help='"Name: value" (repeat).', show_default=False),
    ] = None,
    filename: Annotated[
        str,
        typer.Option("--filename", "-f", metavar="FILE", help="The fields of a loadTest; - for stdin."),
    ] = "",
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="Fail when it holds (repeat). [default: result.failRatio == 1]",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Send load to a URL, watch it, and say what came of it."""
    from rollout.cli import loading

    sources = fail_if or [*loading.UNSAID]
    loading.conditions(sources)
    given: dict[str, Any] = {
        "url": target,
        "requestsPerSecond": rps,
        "users": users,
        "spawnRate": spawn_rate,
        "duration": duration,
        "headers": loading.headers_in(header or []),
    }
    if not filename:
        loading.sufficient(given)
    body = loading.with_options(_body(filename), given)
    outcome = _outcome(body, sources)
    _show(outcome, output)
    if outcome.failed:
        raise typer.Exit(FAILED)


def _body(filename: str) -> Body:
    import sys
    from pathlib import Path

    from rollout.cli.loading import body_in

    if not filename:
        return {}
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(USAGE, f"cannot read {filename}: {error}") from error
    return body_in(text, filename)


def _outcome(body: Body, sources: list[str]) -> Outcome:
    import asyncio

    from analysis.load.lines import undecided
    from rollout.cli import loading
    from rollout.runtime.clock import SystemClock

    plan = loading.plan_of(body)
    with _progress() as tell:
        said = asyncio.run(loading.carry_out(plan, body.get("locustfile", {}).get("inline", ""), tell))
    now = SystemClock().now()
    return loading.Outcome(
        target=plan.target,
        result=dict(said.result),
        timeline=dict(said.timeline),
        conditions=tuple(loading.judged(source, said.result, now) for source in sources),
        inconclusive=undecided(said.result),
    )


@contextmanager
def _progress() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """How it goes, to stderr: one line that changes on a terminal, otherwise a line every few seconds."""
    import sys

    from analysis.load.lines import progress_text
    from rollout.cli import output as out

    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True, highlight=False).status("starting locust") as status:
            yield lambda progress: status.update(progress_text(progress))
        return
    last = 0

    def tell(progress: Mapping[str, Any]) -> None:
        nonlocal last
        if progress["seconds"] >= last + SAY_SECONDS:
            last = progress["seconds"]
            out.say(progress_text(progress))

    yield tell


def _show(outcome: Outcome, output: Output | None) -> None:
    from analysis.load.lines import summary_text
    from rollout.cli import output as out
    from rollout.cli.loading import table

    if output in (Output.json, Output.yaml):
        out.document(outcome, output)
    else:
        out.lines([*table(outcome.result), "", summary_text(outcome.result)])
    if outcome.inconclusive:
        out.say(f"inconclusive: {outcome.inconclusive}")
    for one in outcome.conditions:
        if one.error:
            out.say(f"failed: {one.condition}: {one.error}")
        elif one.holds:
            out.say(f"failed: {one.condition}")
