from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollout.errors import SandboxError
from rollout.sandbox.node.images import DEMO_APP, Images, image_tag, parse_images, program_of

ENTRIES = parse_images(
    """
- image: "web-frontend:v3"
  env: {ERROR_RATE: 0.08, VERBOSE: true}
- image: "registry.example/db:*"
  command: ["db", "--listen", "$POD_IP:$PORT"]
- image: "web-*"
  command: ["demo-app"]
  env: {VERSION: mine}
""",
    "images.yaml",
)


def test_the_first_match_wins_and_the_demo_app_is_told_the_tag_as_its_version() -> None:
    program = program_of("web-frontend:v3", ENTRIES)
    assert program.command == DEMO_APP
    assert program.env == {"VERSION": "v3", "ERROR_RATE": "0.08", "VERBOSE": "true"}
    assert program_of("web-frontend:v4", ENTRIES).env == {"VERSION": "mine"}


def test_an_image_matches_without_its_registry_and_path() -> None:
    assert program_of("registry.company.com/team/web-frontend:v3", ENTRIES).env["ERROR_RATE"] == "0.08"
    assert program_of("registry.example/db:15", ENTRIES).command[0] == "db"
    assert not program_of("db:15", ENTRIES).known


def test_an_unknown_image_runs_the_demo_app_and_says_that_it_is_unknown() -> None:
    program = program_of("nginx:1.27", ENTRIES)
    assert (program.command, program.env, program.known) == (DEMO_APP, {"VERSION": "1.27"}, False)


@pytest.mark.parametrize(
    ("image", "tag"),
    [("web", "latest"), ("host:5000/web", "latest"), ("host:5000/web:v1", "v1"), ("web:v2@sha256:abc", "v2")],
)
def test_the_tag_of_an_image(image: str, tag: str) -> None:
    assert image_tag(image) == tag


@pytest.mark.parametrize(
    "text", ["image: x", "- {}", "- image: x\n  comand: [a]", "- image: [", "- image: 3"]
)
def test_a_file_that_is_wrong_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(SandboxError, match=r"images\.yaml"):
        parse_images(text, "images.yaml")


def test_a_change_is_picked_up_and_a_broken_one_leaves_the_last_good_entries(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text("- image: a\n  command: [one]\n")
    images = Images(path)
    assert images.program("a").command == ("one",)
    path.write_text("- image: a\n  command: [second]\n")
    assert images.program("a").command == ("second",)
    path.write_text("- image: {\n")
    os.utime(path, ns=(1, 1))
    assert images.program("a").command == ("second",)
    assert "images.yaml" in images.problem


def test_a_file_that_is_missing_or_broken_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SandboxError):
        Images(tmp_path / "none.yaml")
    assert not Images(None).program("a").known


def test_the_example_file_is_valid_and_makes_v3_the_bad_release() -> None:
    path = Path(__file__).parents[3] / "examples/sandbox-images.yaml"
    entries = parse_images(path.read_text(), str(path))
    assert (
        program_of("registry.company.com/frontend-team/web-frontend:v3", entries).env["ERROR_RATE"] == "0.08"
    )
    assert "ERROR_RATE" not in program_of("web-frontend:v2", entries).env
    assert program_of("static-files:1", entries).command[-2:] == ("$POD_IP", "$PORT")


@pytest.mark.parametrize(
    "image",
    ["surefoot/load", "surefoot/load:0.1.0", "ghcr.io/surefoot/load:1@sha256:abc", "surefoot/load@sha256:a"],
)
def test_our_own_images_are_known_without_an_entry(image: str) -> None:
    program = program_of(image, ENTRIES)
    assert program.known
    assert program.command[1:] == ("-m", "analysis.load")


@pytest.mark.parametrize(
    "image", ["load", "load:1", "mysurefoot/load:1", "other/load:1", "surefoot/loader:1"]
)
def test_an_image_that_only_looks_like_ours_is_not_ours(image: str) -> None:
    assert not program_of(image, ENTRIES).known


def test_an_entry_of_the_user_comes_before_our_own() -> None:
    mine = parse_images('[{image: "*/load:*", command: [mine]}]', "images.yaml")
    assert program_of("surefoot/load:1", mine).command == ("mine",)
