"""What the ground of the cluster tests decides without a cluster."""

from __future__ import annotations

import json
import tarfile
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.ground.commands import Failed
from tests.cluster.ground.images import write_image
from tests.cluster.ground.network import CANDIDATES, free_one
from tests.cluster.ground.place import Place, name_of

networks = st.builds(
    lambda number, length: IPv4Network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


@given(used=st.lists(networks, max_size=8))
def test_a_network_is_chosen_that_touches_none_in_use(used: list[IPv4Network]) -> None:
    try:
        chosen = free_one(CANDIDATES, used)
    except Failed:
        assert all(any(one.overlaps(other) for other in used) for one in CANDIDATES)
    else:
        assert not any(chosen.overlaps(other) for other in used)


def test_the_first_free_network_is_chosen_and_a_default_route_takes_none() -> None:
    used = [IPv4Network("0.0.0.0/0"), IPv4Network("10.240.3.0/24"), IPv4Network("192.168.0.0/16")]
    assert free_one(CANDIDATES, used) == IPv4Network("10.241.0.0/16")
    with pytest.raises(Failed, match="is in use"):
        free_one(CANDIDATES, [IPv4Network("10.0.0.0/8")])


def test_node_pods_and_services_have_addresses_of_their_own_within_the_network() -> None:
    place = Place(Path("/tmp/x"), IPv4Network("10.240.0.0/16"))
    parts = [IPv4Network(f"{place.host_address}/24", strict=False), place.pods, place.services]
    assert all(one.subnet_of(place.network) for one in parts)
    assert not any(a.overlaps(b) for a in parts for b in parts if a is not b)
    assert IPv4Address(place.node_address) in parts[0]
    assert place.node_address != place.host_address
    assert IPv4Address(place.dns_address) in place.services


@given(path=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_name_is_short_enough_for_a_network_device(path: str) -> None:
    assert len(f"{name_of(Path('/tmp') / path)}n") <= 15


def test_an_image_says_what_it_starts_and_has_its_files_and_links(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    archive = tmp_path / "image.tar"
    write_image(archive, "surefoot.test/it:1", {"/bin/it": program}, ["/bin/it"], {"/bin/sh": "it"})
    with tarfile.open(archive) as outer:
        [manifest] = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(outer.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        [layer] = manifest["Layers"]
        with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
            found = {one.name: (one.mode, one.linkname) for one in inner if not one.isdir()}
    assert manifest["RepoTags"] == ["surefoot.test/it:1"]
    assert config["config"]["Entrypoint"] == ["/bin/it"]
    assert found == {"bin/it": (0o755, ""), "bin/sh": (0o644, "it")}
