"""`python -m tests.chart.controller OPTIONS`: `rollout controller run`, with the rights of the chart's roles and no more.

The environment says which those are, and where to note what was asked for (`tests.chart.under_roles`).
"""

from __future__ import annotations

from typing import Any

from rollout import manager
from rollout.runtime.client import HttpKube
from rollout.runtime.kube import Kube
from tests.chart.under_roles import obedient


class ObedientHttpKube(HttpKube):
    """A client whose every call goes through one that obeys; the manager's own uses of it stay as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rights: Kube = obedient(HttpKube(*args, **kwargs))
        for name in ("get", "list", "watch", "create", "replace", "patch", "delete", "evict", "log"):
            setattr(self, name, getattr(rights, name))


def main() -> None:
    manager.HttpKube = ObedientHttpKube
    from rollout.cli.main import main as rollout

    rollout()


if __name__ == "__main__":
    main()
