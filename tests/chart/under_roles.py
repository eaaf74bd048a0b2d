"""A plugin of pytest (`-p tests.chart.under_roles`): stories and sandboxes whose controllers have the chart's rights.

What is not granted is Forbidden to them, as a real API server would answer. What they asked for goes, one `Grant` in
each line, into files in the folder $SUREFOOT_ASKED; what they may is read from $SUREFOOT_GRANTED.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.cli import sandbox_parts
from rollout.runtime.kube import Kube
from rollout.sandbox import inmemory
from rollout.sandbox.config import ExtraCommand
from tests.chart.grants import Grant, ObedientKube

GRANTED, ASKED = "SUREFOOT_GRANTED", "SUREFOOT_ASKED"
OURS = "surefoot"
ROOT = Path(__file__).parents[2]
WORLDS = (
    "tests.stories.world",
    "tests.stories.schedule_world",
    "tests.stories.test_job_metrics",
)
"""The modules that make the clients of our controllers."""


class Record:
    """What was asked in this process: appended to a file of its own, each grant once."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"asked-{os.getpid()}"
        self._seen: set[Grant] = set()

    def __call__(self, grant: Grant) -> None:
        if grant not in self._seen:
            self._seen.add(grant)
            with self._file.open("a") as file:
                file.write(f"{grant}\n")


def obedient(kube: Kube) -> Kube:
    """`kube` with the rights that the environment names."""
    granted = {Grant.read(line) for line in Path(os.environ[GRANTED]).read_text().splitlines()}
    return ObedientKube(kube, granted, Record(Path(os.environ[ASKED])))


def storage_kube(storage: Any, *, manager: str = "", **how: Any) -> Kube:
    """In place of `StorageKube`: that of our controllers has rights, those of everybody else have all."""
    kube = inmemory.StorageKube(storage, manager=manager, **how)
    return obedient(kube) if manager == OURS else kube


def controller_command(*more: str) -> ExtraCommand:
    """In place of `rollout controller run`: the same with rights."""
    plain = _plain_command(*more)
    argv = tuple("tests.chart.controller" if word == "rollout.cli.main" else word for word in plain.argv)
    assert argv != plain.argv
    told = {name: os.environ[name] for name in (GRANTED, ASKED)}
    return msgspec.structs.replace(plain, argv=argv, env={**plain.env, **told, "PYTHONPATH": str(ROOT)})


_plain_command = sandbox_parts.controller_command
if ASKED in os.environ and "pytest" in sys.modules:
    # Now, and not in a hook: the conftest of the sandbox's tests is loaded before pytest_configure is called.
    sandbox_parts.controller_command = controller_command


def pytest_configure() -> None:
    for name in WORLDS:
        module = importlib.import_module(name)
        assert module.StorageKube is inmemory.StorageKube
        module.StorageKube = storage_kube


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """importlib mode gives test files modules of their own: they are patched where they were collected."""
    for module in [sys.modules[item.module.__name__] for item in items]:
        if getattr(module, "StorageKube", None) is inmemory.StorageKube:
            module.StorageKube = storage_kube
