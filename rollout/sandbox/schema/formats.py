"""String formats and patterns of OpenAPI v3 schemas, as kube-apiserver understands them.

Patterns are RE2, run by the CEL library's own engine: linear time, and the dialect users write for a cluster.
Formats it does not know are ignored, as the API says.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from cel_expr_python import cel

from rollout.api.meta import duration

_TEXT = cel.NewEnv(variables={"text": cel.Type.STRING})


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> Any:
    """The compiled search for `pattern`, or None when it is not a valid expression."""
    literal = "".join(f"\\U{ord(char):08x}" for char in pattern)
    try:
        return _TEXT.compile(f'text.matches("{literal}")')
    except (RuntimeError, ValueError):
        return None


def is_pattern(pattern: str) -> bool:
    """Whether `pattern` is a valid RE2 expression."""
    program = _pattern(pattern)
    return program is not None and program.eval(data={"text": ""}).type() != cel.Type.ERROR


def matches(pattern: str, text: str) -> bool:
    """Whether RE2 `pattern` occurs in `text` (unanchored, as in JSON Schema). A bad pattern matches nothing."""
    program = _pattern(pattern)
    if program is None:
        return False
    try:
        return program.eval(data={"text": text}).value() is True
    except (RuntimeError, ValueError):  # lone surrogates: not UTF-8
        return False


def format_holds(name: str, text: str) -> bool:
    """Whether `text` has the format `name`; True for formats that are not checked."""
    check = _FORMATS.get(name)
    return check is None or check(text)


def _parses(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _matching(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.,]\d+)?([Zz]|[+-]\d\d:?\d\d)",
    re.ASCII,
)


def _date_time(text: str) -> datetime:
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(text)
    # Fractions of any length are allowed; the standard library takes six digits.
    return datetime.fromisoformat(re.sub(r"[.,]\d+", "", text).upper())


def _date(text: str) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _cidr(text: str) -> Any:
    if "/" not in text:
        raise ValueError(text)
    return ipaddress.ip_network(text, strict=False)


def _uri(text: str) -> None:
    if not urlsplit(text).scheme and not text.startswith("/"):
        raise ValueError(text)


def _uuid(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return UUID(text).version == version
        except ValueError:
            return False

    return check


_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

_FORMATS: dict[str, Callable[[str], bool]] = {
    "byte": _parses(lambda text: base64.b64decode(text.translate({10: None, 13: None}), validate=True)),
    "cidr": _parses(_cidr),
    "date": _parses(_date),
    "date-time": _parses(_date_time),
    "datetime": _parses(_date_time),
    "duration": _parses(duration),
    "email": _matching(r"[^@\s]+@[^@\s]+"),
    "hexcolor": _matching(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _matching(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?"),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "k8s-short-name": _matching(_DNS_LABEL),
    "k8s-long-name": _matching(rf"(?=.{{1,253}}$){_DNS_LABEL}(\.{_DNS_LABEL})*"),
    "mac": _matching(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"),
    "uri": _parses(_uri),
    "uuid": _parses(UUID),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
}
