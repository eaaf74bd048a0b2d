"""What must be true of a metric's `provider`: one validator per provider, found by name in an explicit dict.

A provider under another group's CRDs, which would prune its field, is written
`provider: {plugin: {"surefoot/<name>": {...}}}`: the same body, the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rollout.core.problem import Problem, invalid, problems_of, unsupported
from rollout.core.validate_providers.chaos import check_chaos
from rollout.core.validate_providers.cmd import check_cmd
from rollout.core.validate_providers.http import check_http
from rollout.core.validate_providers.job import check_job
from rollout.core.validate_providers.kubernetes import check_kubernetes
from rollout.core.validate_providers.load_test import check_load_test
from rollout.core.validate_providers.prometheus import check_prometheus
from rollout.core.validate_providers.web import check_web
from rollout.errors import InvalidSpec

Validator = Callable[[Mapping[str, Any], str], Iterator[Problem]]
"""The problems of a provider's body at a path. Placeholders of arguments may still stand in any text."""

VALIDATORS: Mapping[str, Validator] = {
    "loadTest": check_load_test,
    "chaos": check_chaos,
    "cmd": check_cmd,
    "http": check_http,
    "job": check_job,
    "kubernetes": check_kubernetes,
    "prometheus": check_prometheus,
    "web": check_web,
}
NOT_YET = frozenset(
    {
        "kayenta",
        "datadog",
        "wavefront",
        "newRelic",
        "cloudWatch",
        "graphite",
        "influxdb",
        "skywalking",
        "canaryComparison",
        "sloBurnRate",
    }
)
"""Providers that the API knows and we do not act on."""
LASTING = frozenset({"job", "cmd", "loadTest", "chaos"})
"""Providers whose measurements last (`analysis.providers.base.Lasting`): only these can start as a group."""
PLUGIN_PREFIX = "surefoot/"


def check_provider(provider: Any, path: str) -> Iterator[Problem]:
    """The problems of a metric's `provider` (plain data)."""
    try:
        name, body, where = chosen(provider, path)
    except InvalidSpec as error:
        yield from problems_of(error)
        return
    if name in NOT_YET:
        yield unsupported(where, f"the provider {name}", _known())
    elif (validator := VALIDATORS.get(name)) is None:
        yield invalid(where, name, "there is no such provider", _known())
    elif not isinstance(body, Mapping):
        yield invalid(where, body, "must be an object")
    else:
        yield from validator(body, where)


def chosen(provider: Any, path: str) -> tuple[str, Any, str]:
    """Name, body and path of the one provider that is named, directly or as plugin. InvalidSpec otherwise."""
    names = sorted(provider, key=str) if isinstance(provider, Mapping) else []
    if len(names) != 1:
        rule = "a metric needs exactly one provider"
        raise InvalidSpec(
            str(invalid(path, names, rule, "write for example prometheus: {address: ..., query: ...}"))
        )
    name = names[0]
    if name != "plugin":
        return name, provider[name], f"{path}.{name}"
    return _plugin(provider[name], f"{path}.plugin")


def _plugin(plugins: Any, path: str) -> tuple[str, Any, str]:
    names = sorted(plugins, key=str) if isinstance(plugins, Mapping) else []
    if len(names) != 1:
        rule = "must have exactly one plugin"
        raise InvalidSpec(str(invalid(path, names, rule, f'write for example "{PLUGIN_PREFIX}web": {{...}}')))
    full = str(names[0])
    where, name = f'{path}["{full}"]', full.removeprefix(PLUGIN_PREFIX)
    if name == full or name not in VALIDATORS:
        plugins_known = ", ".join(f"{PLUGIN_PREFIX}{known}" for known in sorted(VALIDATORS))
        raise InvalidSpec(
            str(invalid(where, full, "there is no such plugin", f"use one of: {plugins_known}"))
        )
    return name, plugins[full], where


def _known() -> str:
    names = sorted(VALIDATORS)
    return f"use one of: {', '.join(names)}" if len(names) > 1 else f"use {names[0]}"
