"""`hey` command lines of Flagger's load tester -> our loadTest. hey's flags: https://github.com/rakyll/hey#usage."""

from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from rollout.api.meta import duration

Json = dict[str, Any]
HEY_WORKERS = 50
HEY_TIMEOUT = 20
_WITH_VALUE = frozenset("zqcmdnHtTaADxo") | {"host", "cpus"}
_FLAGS = {"h2", "disable-compression", "disable-keepalive", "disable-redirects", "more"}


class NotHey(Exception):
    """The command is something else, or says something that ours cannot; the text says what."""


def hey(command: str) -> tuple[Json, list[str]]:
    """The loadTest of a hey command, and what differs. NotHey when it must stay a command of the user's."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise NotHey(f"the command cannot be read: {error}") from None
    if not words or words[0].rpartition("/")[2] != "hey":
        raise NotHey(f'"{words[0] if words else ""}" is not hey')
    options, headers, urls = _options(words[1:])
    if len(urls) != 1:
        raise NotHey("hey needs exactly one URL")
    if any(sign in command for sign in "$`|;&>") or unknown(options):
        raise NotHey(
            f"hey with {', '.join(sorted(unknown(options))) or 'a shell'} cannot be said as a loadTest"
        )
    if "z" not in options:
        raise NotHey("hey without -z (a duration) sends a number of requests")
    return _load_test(options, headers, urls[0])


def unknown(options: Json) -> set[str]:
    return {
        f"-{name}" for name in options if name not in {"z", "q", "c", "m", "d", "T", "t", "h2", "host", "n"}
    }


def _options(words: list[str]) -> tuple[Json, list[str], list[str]]:
    options: Json = {}
    headers: list[str] = []
    urls: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-") or word == "-":
            urls.append(word)
            continue
        name, glued, value = word.lstrip("-").partition("=")
        if name in _FLAGS:
            options[name] = True
        elif name in _WITH_VALUE:
            value = value if glued else next(waiting, "")
            if name == "H":
                headers.append(value)
            else:
                options[name] = value
        else:
            raise NotHey(f"hey has no flag -{name} that this importer knows")
    return options, headers, urls


def _load_test(options: Json, headers: list[str], url: str) -> tuple[Json, list[str]]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise NotHey(f"{url} is no http URL")
    try:
        seconds = duration(options["z"])
    except ValueError as error:
        raise NotHey(str(error)) from None
    differs = []
    workers, rate = _number(options.get("c", HEY_WORKERS), "c"), options.get("q")
    spec: Json = {"target": {"url": f"{parts.scheme}://{parts.netloc}"}, "duration": f"{seconds:g}s"}
    if rate is not None and (wanted := workers * _number(rate, "q")) > 0:
        spec["requestsPerSecond"] = wanted
        differs.append(
            f"{workers} workers of {rate} requests/s become {wanted:g} requests/s together, kept up when answers are slow"
        )
    else:
        spec["users"] = workers
    if options.get("h2"):
        raise NotHey("HTTP/2 is not spoken by our load test")
    sent = dict(_header(one) for one in headers)
    if "T" in options:
        sent["Content-Type"] = options["T"]
    if "host" in options:
        sent["Host"] = options["host"]
    if sent:
        spec["headers"] = [{"key": name, "value": value} for name, value in sent.items()]
    request: Json = {"path": (parts.path or "/") + (f"?{parts.query}" if parts.query else "")}
    if (method := str(options.get("m", "GET")).upper()) != "GET":
        request["method"] = method
    if "d" in options:
        request["body"] = options["d"]
    spec["requests"] = [request]
    return spec, differs


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


def _number(value: Any, flag: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", str(value)):
        raise NotHey(f"-{flag} {value} is no whole number")
    return int(value)
