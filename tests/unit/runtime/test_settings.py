"""The configuration file: what may be in it, who wins, what can change live, and that nothing wrong is ignored."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.providers.registry import lasting_providers, providers
from rollout.api.features import FEATURES, NEEDS, PROVIDERS
from rollout.errors import ConfigError
from rollout.runtime.settings import (
    LIVE,
    MAX_BYTES,
    AnalysisSettings,
    ControllerConfig,
    MetricsSettings,
    changed,
    live,
    load,
    parse,
)

FILE = b"""
logLevel: debug
workers: 5
features: [core, decisions, istio]
metricsAddress: ":8090"
analysis:
  providers: [prometheus, web]
  namespaces: {ci: [prometheus, job]}
  labelledSecrets: true
metrics: {maxObjects: 100}
"""


def test_a_file_is_read_and_what_is_not_in_it_has_its_default():
    config = parse(FILE)
    assert (config.log_level, config.workers, config.address) == ("debug", 5, ":8090")
    assert config.features == ("core", "decisions", "istio")
    assert config.analysis.providers == ("prometheus", "web")
    assert config.analysis.namespaces == {"ci": ("prometheus", "job")}
    assert (config.analysis.labelled_secrets, config.metrics.max_objects) == (True, 100)
    assert (config.analysis.measurements, config.leader_election) == (64, True)


def test_nothing_at_all_is_the_default():
    assert parse(b"") == parse(b"# only a comment") == ControllerConfig()


def test_the_page_for_operators_shows_every_field_with_its_default():
    text = (Path(__file__).parents[3] / "docs/install.md").read_text()
    chapter = text.partition("## Configuration")[2].partition("All fields are optional")[0]
    lines = "\n".join(line for line in chapter.splitlines() if line.startswith("    "))
    shown = parse(lines.encode())
    analysis = msgspec.structs.replace(shown.analysis, namespaces={})  # its example
    assert msgspec.structs.replace(shown, analysis=analysis) == ControllerConfig()
    kinds = (ControllerConfig, AnalysisSettings, MetricsSettings)
    names = [field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)]
    assert [name for name in names if f"{name}:" not in lines] == []


def test_options_of_the_command_line_win():
    config = parse(FILE, {"workers": 7, "address": "", "namespaces": ["a"]})
    assert (config.workers, config.address, config.namespaces) == (7, "", ("a",))
    assert config.log_level == "debug"


WRONG = {
    "worker: 5": "unknown field `worker`",
    "workers: many": "Expected `int`",
    "workers: 0": ">= 1",
    "workers: 1001": "<= 1000",
    "logLevel: loud": "Invalid enum value 'loud'",
    "features: [core, magic]": "Invalid enum value 'magic'",
    "features: [core, chaosNetwork]": "chaosNetwork needs the feature chaos",
    "analysis: {providers: [shell]}": "Invalid enum value 'shell' - at `$.analysis.providers",
    "analysis: {provider: [web]}": "unknown field `provider`",
    "[a, b]": "must be a map of fields, not list",
    "a: [": "is not YAML",
    "workers: 1\nworkers: 2": "the field 'workers' is there twice",
    "!!python/object/apply:os.system [id]": "is not YAML",
}


@pytest.mark.parametrize("content", WRONG)
def test_what_is_wrong_is_said_with_its_place(content: str):
    with pytest.raises(ConfigError) as caught:
        parse(content.encode(), path="/etc/c.yaml")
    assert WRONG[content] in str(caught.value)
    assert "the configuration /etc/c.yaml" in str(caught.value)


def test_a_file_that_is_not_there_or_too_large_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*/none.yaml: No such file"):
        load(str(tmp_path / "none.yaml"))
    (tmp_path / "big.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="is larger than"):
        load(str(tmp_path / "big.yaml"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = [field.encode_name for field in msgspec.structs.fields(ControllerConfig)]


@given(
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4).map(msgspec.json.encode)
)
def test_whatever_is_in_the_file_it_is_a_configuration_or_one_sentence(content: bytes):
    with suppress(ConfigError):
        assert isinstance(parse(content), ControllerConfig)


def test_only_some_fields_change_live_and_the_others_are_named():
    old = ControllerConfig()
    new = parse(FILE)
    after, pending = live(old, new)
    assert pending == ("features", "metricsAddress")
    assert changed(old, after) == ("workers", "logLevel", "analysis", "metrics")
    assert after.features == FEATURES
    assert live(new, new) == (new, ())


def test_what_is_called_live_is_a_field():
    assert {one.name for one in msgspec.structs.fields(ControllerConfig)} >= LIVE


def test_the_known_providers_are_those_that_there_are():
    anything: Any = None
    there = {**providers(anything, {}), **lasting_providers(anything, anything, {})}
    assert set(PROVIDERS) == set(there)
    assert set(NEEDS) <= set(PROVIDERS)
    assert set(NEEDS.values()) <= set(FEATURES)
