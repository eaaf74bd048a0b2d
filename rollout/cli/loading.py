"""A load test on this machine: the plan of a `loadTest`, carried out by locust as a child process."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from analysis.load import lines, spec
from analysis.load.plan import LOCUSTFILE_VARIABLE, PLAN_VARIABLE, START_ALLOWANCE, Plan, arguments, encode
from rollout.cli.exits import UNEXPECTED, USAGE, Failure
from rollout.cli.text import columns
from rollout.core import expr
from rollout.core.validate_providers.load_test import check_load_test
from rollout.runtime.process import Process, Supervisor

Body = dict[str, Any]
LOOK_SECONDS = 0.25
UNSAID = ("result.failRatio == 1",)
"""The conditions where nobody gives one: a target that answered nothing as it should is not a run that went well."""
_ROOT = "loadTest"


class Judged(msgspec.Struct, frozen=True):
    """A condition of --fail-if, and whether it holds; `error` when that cannot be said."""

    condition: str
    holds: bool
    error: str = ""


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """What `rollout load run -o json` prints."""

    target: str
    result: dict[str, Any]
    timeline: dict[str, Any]
    conditions: tuple[Judged, ...] = ()
    inconclusive: str = ""
    """Why the result decides nothing; "" when the wanted load was there."""
    schema_version: int = 1

    @property
    def failed(self) -> bool:
        return bool(self.inconclusive) or any(one.holds or one.error for one in self.conditions)


def body_in(text: str, name: str) -> Body:
    """The body of a `loadTest` in a YAML file: as it is, or below the key loadTest."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(USAGE, f"{name}: {' '.join(str(error).split())}") from error
    if isinstance(found, Mapping) and isinstance(found.get(_ROOT), Mapping):
        found = found[_ROOT]
    if not isinstance(found, Mapping):
        raise Failure(
            USAGE, f"{name}: expected the fields of a loadTest, for example target, users, duration"
        )
    return dict(found)


def sufficient(given: Mapping[str, Any]) -> None:
    """Failure with the options that lack, when there is no file to say the rest."""
    wanted = {
        "--target URL": given["url"],
        "--rps N or --users N": given["requestsPerSecond"] or given["users"],
        "--duration TIME": given["duration"],
    }
    if missing := [option for option, value in wanted.items() if not value]:
        raise Failure(USAGE, f"say also {', '.join(missing)}; or -f FILE with all of it")


def with_options(body: Body, given: Mapping[str, Any]) -> Body:
    """The body with what the command line says; `users` and `requestsPerSecond` displace each other."""
    said = {key: value for key, value in given.items() if value}
    merged = dict(body)
    if "requestsPerSecond" in said:
        merged = {key: one for key, one in merged.items() if key not in {"users", "spawnRate", "thinkTime"}}
    elif "users" in said:
        merged = {key: one for key, one in merged.items() if key not in {"requestsPerSecond", "maxUsers"}}
    url = said.pop("url", "")
    merged |= said
    if url:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise Failure(USAGE, f"--target {url}: write a URL, for example http://127.0.0.1:8080/api")
        path = (parts.path if parts.path != "/" else "") + (f"?{parts.query}" if parts.query else "")
        merged["target"] = {"url": f"{parts.scheme}://{parts.netloc}"}
        if path and not {"requests", "locustfile"} & set(merged):
            merged["requests"] = [{"path": path}]
        elif path:
            merged["target"] = {"url": url}
    return merged


def plan_of(body: Body) -> Plan:
    """The plan. Failure with all problems, or when the target has no address on this machine."""
    if problems := [str(problem) for problem in check_load_test(body, _ROOT)]:
        raise Failure(USAGE, "\n".join(problems))
    if "url" not in body["target"]:
        raise Failure(
            USAGE, "a role is a Service of a Rollout, which only a cluster knows; name a URL with --target"
        )
    if "configMapRef" in body.get("locustfile", {}):
        raise Failure(USAGE, "a ConfigMap is in a cluster; put the locustfile into the plan with inline: |")
    return spec.plan_of(body, body["target"]["url"])


def conditions(sources: Sequence[str]) -> None:
    """Failure when one of them cannot be read."""
    for source in sources:
        try:
            program = expr.compile(source)
        except expr.ExprError as error:
            raise Failure(USAGE, f"--fail-if {source!r}: {error.reason}") from error
        for name in expr.unknown_names(program, ("result",)):
            raise Failure(USAGE, f"--fail-if {source!r}: there is no variable {name!r}; there is result")


def judged(source: str, result: Mapping[str, Any], now: datetime) -> Judged:
    """Whether a condition holds. One that cannot be answered does not pass either."""
    try:
        return Judged(source, expr.compile(source).evaluate_bool({"result": dict(result)}, now))
    except expr.ExprError as error:
        return Judged(source, holds=False, error=error.sentence)


async def carry_out(plan: Plan, locustfile: str, tell: Callable[[Mapping[str, Any]], None]) -> lines.Said:
    """Run locust to its end; `tell` hears of the progress. Nothing of it is left, whatever happens.

    Failure when there is no result, with locust's last words.
    """
    if importlib.util.find_spec("locust") is None:
        raise Failure(UNEXPECTED, "locust is not installed; pip install 'surefoot[load]'")
    env = {**os.environ, PLAN_VARIABLE: encode(plan)} | (
        {LOCUSTFILE_VARIABLE: locustfile} if locustfile else {}
    )
    with tempfile.TemporaryDirectory(prefix="surefoot-load-") as name:
        folder = Path(name)
        async with Supervisor() as children:

            async def start(title: str, *args: str) -> Process:
                argv = [sys.executable, "-m", "analysis.load", *args]
                return await children.start(
                    argv, name=title, env=env, cwd=folder, log=folder / f"{title}.log"
                )

            main = await _start_all(plan, start)
            said = await _follow(main, folder / "main.log", tell)
    if not said.result:
        raise Failure(
            UNEXPECTED,
            f"no result: {said.failed or said.last_words or f'locust ended with {main.returncode}'}",
        )
    return said


async def _start_all(plan: Plan, start: Callable[..., Any]) -> Process:
    """The process that prints the result, and its workers if there are several."""
    args = arguments(plan)
    if plan.workers == 1:
        return await start("main", *args)  # type: ignore[no-any-return]
    port = str(_free_port())
    master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    waiting = ["--expect-workers", str(plan.workers), "--expect-workers-max-wait", f"{START_ALLOWANCE:.0f}"]
    main = await start("main", *args, *master, *waiting)
    for number in range(plan.workers):
        await start(f"worker-{number}", "--worker", "--master-host", "127.0.0.1", "--master-port", port)
    return main  # type: ignore[no-any-return]


async def _follow(main: Process, log: Path, tell: Callable[[Mapping[str, Any]], None]) -> lines.Said:
    last: Mapping[str, Any] = {}
    ended = asyncio.ensure_future(main.wait())
    while not ended.done():
        await asyncio.wait({ended}, timeout=LOOK_SECONDS)
        said = _said(log)
        if said.progress != last:
            last = said.progress
            tell(last)
    return _said(log)


def _said(log: Path) -> lines.Said:
    """The end of the log. Its last line may be half written; it is read again."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return lines.Said()
    return lines.read(text.splitlines())


_TAIL = 256 * 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def table(result: Mapping[str, Any]) -> list[str]:
    """The result for people: a row per kind of request, one for all, then the errors."""
    head = ("REQUEST", "COUNT", "PER SECOND", "FAILED", "P50", "P95", "P99", "MAX")
    rows = [head, *(_row(name, one) for name, one in result["perName"].items()), _row("all", result)]
    errors = [f"{one['count']} x {one['error']}" for one in result["errors"]]
    return [*columns(rows), *(["", "Errors:", *errors] if errors else [])]


def _row(name: str, counts: Mapping[str, Any]) -> tuple[str, ...]:
    times = (f"{lines.number(counts[key])} ms" for key in ("p50", "p95", "p99", "max"))
    failed = lines.percent(counts["failRatio"])
    return (name, str(counts["requests"]), lines.number(counts["rps"]), failed, *times)


def headers_in(texts: Sequence[str]) -> list[dict[str, str]]:
    """`-H "Name: value"`, as curl has it."""
    found = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise Failure(USAGE, f'--header {text!r}: write for example -H "Accept: text/html"')
        found.append({"key": name.strip(), "value": value.strip()})
    return found
