"""The commands of a page in docs/ that need an installed controller (```sh cluster), run as they are written there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.ground.api import AnyCluster, kubectl_path
from tests.cluster.ground.needs import required
from tests.pages import scripts
from tests.shell import bash, with_rollout

PATIENCE = 600.0
"""Seconds for a block."""


class Page:
    """A shell with `rollout`, `kubectl`, `helm` and the cluster, in a folder."""

    def __init__(self, name: str, cluster: AnyCluster, folder: Path) -> None:
        self._name, self._folder = name, folder
        programs = folder / "programs"
        programs.mkdir()
        ours = with_rollout(programs)
        path = (kubectl_path().parent, required("get_helm.sh").parent, ours["PATH"])
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            **ours,
            "PATH": ":".join(map(str, path)),
            "KUBECONFIG": str(cluster.kubeconfig),
        }

    async def run(self, heading: str, holding: str = "") -> str:
        """The one block below this heading (that has these words in it), and what it said."""
        [text] = [one.text for one in scripts(self._name) if one.heading == heading and holding in one.text]
        script = ("-c", f"set -euo pipefail\n{text}")
        code, said = await bash(*script, environment=self._environment, seconds=PATIENCE, folder=self._folder)
        assert code == 0, (heading, said)
        return said
