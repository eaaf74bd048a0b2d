"""Builds images as OCI archives, and prints where they are as JSON:

    python -m tools.images controller load            # {"controller": {"archive": ..., "images": [...], "sbom": ...}, ...}
    python -m tools.images --if-there controller      # builds nothing; exit code 3 when one is not there

Needs root, mmdebstrap and, the first time, Debian's package sources and a Python package index. What is there already
(in ~/.cache/surefoot/images, by the checksum of all inputs) is not built again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollout.errors import SandboxError
from tools.images import base, cache, python, sbom
from tools.images.archive import write_archive
from tools.images.base import Missing
from tools.images.recipes import PRODUCT, RECIPES, Recipe, architecture, version

NOT_THERE = 3


def archive_name(image: str, recipe: Recipe) -> str:
    """The archive's name in the cache."""
    said = json.dumps({reference: config.as_json() for reference, config in recipe.images.items()})
    layers = [layer.name for layer in recipe.layers]
    here = Path(__file__).parent
    return f"{image}-{cache.key(cache.sources(here, ['archive.py', 'sbom.py']), said, *layers)}.tar"


def build(image: str, recipe: Recipe) -> None:
    """Writes the archive of an image and, for the product's, its SBOM, unless they are there."""
    name = archive_name(image, recipe)

    def write(target: Path) -> None:
        cache.say(f"images: writing {name}")
        write_archive(target, recipe.made(), architecture())

    def write_bill(target: Path) -> None:
        target.write_text(bill(image, archive))

    archive = cache.made(name, write)
    if image in PRODUCT:
        cache.made(f"{archive.stem}.spdx.json", write_bill)
    for suffix in (".tar", ".spdx.json"):
        cache.prune(image, suffix)
    cache.prune(f"{image}-own", ".tar")
    cache.prune(f"{image}-packages", "")
    cache.prune("base", "")
    cache.sweep()


def bill(image: str, archive: Path) -> str:
    """The SBOM of an image of the product."""
    status = (base.base() / "root/var/lib/dpkg/status").read_text()
    packages = python.packages(image)
    sums = json.loads((packages / python.WHEELS).read_text())
    ours = sbom.Part("surefoot", version(), f"pkg:generic/surefoot@{version()}", licence="Apache-2.0")
    parts = [*sbom.debian_parts(status, base.SUITE), *sbom.python_parts(packages / python.SITE, sums), ours]
    return sbom.text(sbom.document(f"surefoot/{image}", version(), cache.checksum(archive), parts))


def described(image: str, recipe: Recipe) -> dict[str, Any]:
    """Where an image is, and which references it has."""
    archive = cache.folder() / archive_name(image, recipe)
    found: dict[str, Any] = {"archive": str(archive), "images": list(recipe.images)}
    if image in PRODUCT:
        found["sbom"] = str(archive.with_suffix(".spdx.json"))
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", choices=list(RECIPES), metavar="IMAGE", help=", ".join(RECIPES))
    parser.add_argument(
        "--if-there", action="store_true", help="build nothing; exit code 3 if one is missing"
    )
    said = parser.parse_args(arguments)
    try:
        found = {}
        for image in said.images:
            recipe = RECIPES[image]()
            if not said.if_there:
                build(image, recipe)
            found[image] = described(image, recipe)
    except (Missing, SandboxError, RuntimeError) as error:
        cache.say(f"error: {error}")
        return NOT_THERE if said.if_there and isinstance(error, Missing) else 1
    absent = [one["archive"] for one in found.values() if not Path(one["archive"]).exists()]
    if absent:
        cache.say(
            f"not there: {', '.join(absent)}; build them: python -m tools.images {' '.join(said.images)}"
        )
        return NOT_THERE
    json.dump(found, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
