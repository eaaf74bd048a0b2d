"""The list of what is in an image: an SPDX document that names everything and keeps the format's rules."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.images.support import built
from tools.images import sbom
from tools.images.cache import checksum

STATUS = """\
Package: libfoo1
Status: install ok installed
Maintainer: Some Body <some@body>
Architecture: amd64
Version: 1:2.0+dfsg-1~deb12u1
Description: a library
 with a long description

Package: gone
Status: deinstall ok config-files
Maintainer: Some Body <some@body>
Architecture: amd64
Version: 1.0
"""
DIGEST = "ab" * 32
LICENCE = re.compile(r"NOASSERTION|NONE|[A-Za-z0-9.+-]+( (AND|OR|WITH) \(?[A-Za-z0-9.+-]+\)?)*|\(.*\).*")


def broken_rules(document: dict[str, Any]) -> list[str]:
    """Which of the specification's main rules a document breaks (SPDX 2.3, chapters 6, 7 and 11)."""
    needed = ("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo")
    broken = [f"{field} is missing" for field in needed if not document.get(field)]
    if document.get("spdxVersion") != "SPDX-2.3" or document.get("dataLicense") != "CC0-1.0":
        broken.append("version or data licence is wrong")
    if not re.fullmatch(r"https?://[^#]+", document.get("documentNamespace", "")):
        broken.append("the namespace is no URI without a fragment")
    created = document.get("creationInfo", {})
    datetime.strptime(created["created"], "%Y-%m-%dT%H:%M:%SZ")
    if not all(re.match(r"(Tool|Person|Organization): ", one) for one in created["creators"]):
        broken.append("a creator is of no kind")
    ids = [document["SPDXID"], *(one["SPDXID"] for one in document["packages"])]
    broken += [f"{one} is no identifier" for one in ids if not re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one)]
    if len(ids) != len(set(ids)):
        broken.append("identifiers are not unique")
    for one in document["packages"]:
        broken += [
            f"{one['name']}: no {field}" for field in ("name", "downloadLocation") if not one.get(field)
        ]
        if not LICENCE.fullmatch(one["licenseDeclared"]):
            broken.append(f"{one['name']}: {one['licenseDeclared']} is no licence expression")
        for reference in one["externalRefs"]:
            if not re.fullmatch(r"pkg:[a-z]+/[^ ]+@[^ ]+", reference["referenceLocator"]):
                broken.append(f"{one['name']}: {reference['referenceLocator']} is no package URL")
        for sum in one.get("checksums", ()):
            if not re.fullmatch(r"[0-9a-f]{64}", sum["checksumValue"]) or sum["algorithm"] != "SHA256":
                broken.append(f"{one['name']}: a checksum is none")
    for one in document["relationships"]:
        broken += [
            f"{end} is nowhere" for end in (one["spdxElementId"], one["relatedSpdxElement"]) if end not in ids
        ]
    contained = {one["relatedSpdxElement"] for one in document["relationships"]}
    broken += [f"{one} is in no relationship" for one in ids[1:] if one not in contained]
    return broken


def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "Some_Thing-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: Some_Thing\nVersion: 1.2\nLicense-Expression: MIT\n\nLong text\n")
    return tmp_path


def test_installed_debian_packages_are_listed_with_their_versions():
    [part] = sbom.debian_parts(STATUS, "bookworm")
    assert (part.name, part.version) == ("libfoo1", "1:2.0+dfsg-1~deb12u1")
    assert part.url == "pkg:deb/debian/libfoo1@1%3A2.0%2Bdfsg-1~deb12u1?arch=amd64&distro=bookworm"


def test_installed_python_packages_are_listed_with_licence_and_checksum(tmp_path: Path):
    [part] = sbom.python_parts(packages(tmp_path), {"some_thing-1.2-py3-none-any.whl": DIGEST})
    assert part == sbom.Part("some-thing", "1.2", "pkg:pypi/some-thing@1.2", "MIT", DIGEST)


def test_a_document_keeps_the_rules_and_says_the_same_for_the_same_image(tmp_path: Path):
    parts = [*sbom.debian_parts(STATUS, "bookworm"), *sbom.python_parts(packages(tmp_path), {})]
    document = sbom.document("surefoot/x", "1.0", DIGEST, parts)
    assert broken_rules(document) == []
    assert document == sbom.document("surefoot/x", "1.0", DIGEST, parts[::-1])
    assert [one["name"] for one in document["packages"]] == ["surefoot/x", "libfoo1", "some-thing"]


@pytest.mark.parametrize(
    "part",
    [
        sbom.Part("libfoo1", "2", "pkg:deb/debian/libfoo1@2"),  # twice the same identifier
        sbom.Part("other", "2", "no package URL"),
        sbom.Part("other", "2", "pkg:pypi/other@2", licence="do as you like; really"),
        sbom.Part("other", "2", "pkg:pypi/other@2", checksum="short"),
    ],
)
def test_the_check_of_the_rules_can_fail(part: sbom.Part):
    parts = [*sbom.debian_parts(STATUS, "bookworm"), part]
    assert broken_rules(sbom.document("surefoot/x", "1.0", DIGEST, parts))


@pytest.mark.slow
@pytest.mark.parametrize("image", ["controller", "load"])
def test_the_sbom_of_an_image_of_ours_keeps_the_rules_and_is_of_this_archive(image: str):
    where = built(image)
    document = json.loads(Path(where["sbom"]).read_text())
    assert broken_rules(document) == []
    [whole] = document["packages"][:1]
    assert whole["checksums"][0]["checksumValue"] == checksum(Path(where["archive"]))
    names = {one["name"] for one in document["packages"]}
    assert {"surefoot", "python3.11", "ca-certificates", "aiohttp", "kubernetes"} <= names
    assert ("locust" in names) == (image == "load")
