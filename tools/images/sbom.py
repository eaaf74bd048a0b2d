"""The list of what is in an image (SBOM), as an SPDX 2.3 document in JSON.

From what is installed, not from what was asked for: the status file of dpkg, and the metadata that pip leaves with each
package. https://spdx.github.io/spdx-spec/v2.3/
"""

from __future__ import annotations

import email
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.images.archive import CREATED

UNKNOWN = "NOASSERTION"


@dataclass(frozen=True)
class Part:
    """A package in an image. `url` is its package URL, `checksum` the SHA-256 of the file that it came in."""

    name: str
    version: str
    url: str
    licence: str = UNKNOWN
    checksum: str = ""
    supplier: str = UNKNOWN


def debian_parts(status: str, suite: str) -> list[Part]:
    """The installed packages of a dpkg status file. Licences are in /usr/share/doc/*/copyright, in words."""
    found = []
    for block in filter(None, status.split("\n\n")):
        fields = email.message_from_string(block)
        if fields["Status"] != "install ok installed":
            continue
        name, version, architecture = (str(fields[one]) for one in ("Package", "Version", "Architecture"))
        where = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}&distro={suite}"
        found.append(Part(name, version, where, supplier=f"Person: {fields['Maintainer']}"))
    return found


def python_parts(packages: Path, sums: Mapping[str, str]) -> list[Part]:
    """The packages installed in a site-packages folder; `sums` are SHA-256 by names of wheels."""
    by_name = {"-".join(wheel.split("-")[:2]).lower(): checksum for wheel, checksum in sums.items()}
    found = []
    for folder in sorted(packages.glob("*.dist-info")):
        fields = email.message_from_string((folder / "METADATA").read_text())
        name, version = normal(fields["Name"]), fields["Version"]
        found.append(
            Part(
                name,
                version,
                f"pkg:pypi/{name}@{quote(version, safe='')}",
                licence=_licence(fields),
                checksum=by_name.get(folder.name.removesuffix(".dist-info").lower(), ""),
            )
        )
    return found


def normal(name: str) -> str:
    """The name of a Python package as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(fields: Message) -> str:
    """License-Expression is SPDX's language (PEP 639); what older packages say in words is not."""
    return fields["License-Expression"] or UNKNOWN


def document(image: str, version: str, digest: str, parts: list[Part]) -> dict[str, Any]:
    """The SPDX document of the image with this digest, which contains these parts."""
    whole = Part(image, version, f"pkg:oci/{image.rpartition('/')[2]}@sha256:{digest}", checksum=digest)
    listed = list(_identified([whole, *sorted(parts, key=lambda one: (one.url, one.name))]))
    top = listed[0]["SPDXID"]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{image}:{version}",
        "documentNamespace": f"https://surefoot.dev/spdx/{image}-{version}-{digest}",
        # The time of the image's content, so that the same image has the same document.
        "creationInfo": {"created": CREATED, "creators": ["Tool: surefoot-tools.images"]},
        "documentDescribes": [top],
        "packages": listed,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": top},
            *(
                {"spdxElementId": top, "relationshipType": "CONTAINS", "relatedSpdxElement": one["SPDXID"]}
                for one in listed[1:]
            ),
        ],
    }


def _identified(parts: list[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        kind = re.match(r"pkg:(\w+)/", part.url)
        # SPDX allows letters, digits, "." and "-" in an identifier.
        name = re.sub(r"[^A-Za-z0-9.-]", "-", f"{kind.group(1) if kind else 'part'}-{part.name}")
        described: dict[str, Any] = {
            "SPDXID": f"SPDXRef-{name}",
            "name": part.name,
            "versionInfo": part.version,
            "supplier": part.supplier,
            "downloadLocation": UNKNOWN,
            "filesAnalyzed": False,
            "licenseConcluded": UNKNOWN,
            "licenseDeclared": part.licence,
            "copyrightText": UNKNOWN,
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": part.url,
                }
            ],
        }
        if part.checksum:
            described["checksums"] = [{"algorithm": "SHA256", "checksumValue": part.checksum}]
        yield described


def text(document: dict[str, Any]) -> str:
    """The document as it is written to a file."""
    return json.dumps(document, indent=1) + "\n"
