"""The syntax of names and labels, with kube-apiserver's sentences for what is wrong.

Answers are remembered, because the same few names come with every write.

Rules: https://kubernetes.io/docs/concepts/overview/working-with-objects/names and .../labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rollout.sandbox.schema.fields import FieldError, invalid

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_EDGES = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"

Problems = tuple[str, ...]
Check = Callable[[str], Problems]

_remembered = lru_cache(maxsize=4096)


def _sentence(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def _checked(value: str, limit: int, pattern: str, sentence: str) -> Problems:
    problems = () if len(value) <= limit else (f"must be no more than {limit} characters",)
    return problems if re.fullmatch(pattern, value) else (*problems, sentence)


@_remembered
def dns_label(value: str) -> Problems:
    """What is wrong with a DNS-1123 label (names of namespaces and containers)."""
    return _checked(
        value,
        63,
        _DNS_LABEL,
        _sentence(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
            "start and end with an alphanumeric character",
            _DNS_LABEL,
            "my-name",
            "123-abc",
        ),
    )


@_remembered
def dns_subdomain(value: str) -> Problems:
    """What is wrong with a DNS-1123 subdomain (names of most objects)."""
    return _checked(
        value,
        253,
        _DNS_SUBDOMAIN,
        _sentence(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character",
            _DNS_SUBDOMAIN,
            "example.com",
        ),
    )


@_remembered
def dns_1035_label(value: str) -> Problems:
    """What is wrong with a DNS-1035 label (names of Services)."""
    return _checked(
        value,
        63,
        _DNS_1035,
        _sentence(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
            "alphabetic character, and end with an alphanumeric character",
            _DNS_1035,
            "my-name",
            "abc-123",
        ),
    )


@_remembered
def qualified_name(value: str) -> Problems:
    """What is wrong with the key of a label: an optional DNS prefix, "/", a name."""
    sentence = _sentence(_EDGES, _QUALIFIED, "MyName", "my.name", "123-abc")
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return (
            f"a qualified name {sentence} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {text}" for text in dns_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    problems += [f"name part {text}" for text in _checked(name, 63, _QUALIFIED, sentence)]
    return tuple(problems)


@_remembered
def label_value(value: str) -> Problems:
    return _checked(
        value,
        63,
        f"({_QUALIFIED})?",
        _sentence(
            f"a valid label must be an empty string or {_EDGES.removeprefix('must ')}",
            f"({_QUALIFIED})?",
            "MyValue",
            "my_value",
            "12345",
        ),
    )


@_remembered
def config_key(value: str) -> Problems:
    """What is wrong with a key of a ConfigMap or Secret."""
    sentence = _sentence(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        _CONFIG_KEY,
        "key.name",
        "KEY_NAME",
        "key-name",
    )
    problems = _checked(value, 253, _CONFIG_KEY, sentence)
    return (*problems, f"must not be '{value}'") if value in {".", ".."} else problems


@_remembered
def port_name(value: str) -> Problems:
    """What is wrong with an IANA service name (names of ports)."""
    problems = [] if len(value) <= 15 else ["must be no more than 15 characters"]
    if not re.fullmatch("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        problems.append("must not begin or end with a hyphen")
    return tuple(problems)


def labels(value: Any, path: str) -> list[FieldError]:
    """Problems of a map of labels. A bad key is shown as the value, as kube-apiserver does."""
    errors: list[FieldError] = []
    for key, text in value.items() if isinstance(value, Mapping) else ():
        errors += [invalid(path, key, problem) for problem in qualified_name(key)]
        if isinstance(text, str):
            errors += [invalid(path, text, problem) for problem in label_value(text)]
    return errors
