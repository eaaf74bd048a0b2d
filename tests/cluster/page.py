"""The commands of a page in docs/ that need an installed controller (```sh cluster), run as they are written there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.cluster.ground.api import AnyCluster, kubectl_path
from tests.cluster.ground.needs import ROOT, required
from tests.pages import scripts

PATIENCE = 600.0
"""Seconds for a block."""


class Page:
    """A shell with `rollout`, `kubectl`, `helm` and the cluster, in a folder."""

    def __init__(self, name: str, cluster: AnyCluster, folder: Path) -> None:
        self._name, self._folder = name, folder
        programs = folder / "programs"
        programs.mkdir()
        ours = programs / "rollout"
        ours.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
        ours.chmod(0o755)
        path = (programs, kubectl_path().parent, required("get_helm.sh").parent, os.environ["PATH"])
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PATH": ":".join(map(str, path)),
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(cluster.kubeconfig),
        }

    async def run(self, heading: str, holding: str = "") -> str:
        """The one block below this heading (that has these words in it), and what it said."""
        [text] = [one.text for one in scripts(self._name) if one.heading == heading and holding in one.text]
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            f"set -euo pipefail\n{text}",
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, (heading, out.decode())
        return out.decode()
