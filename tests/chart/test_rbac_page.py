"""docs/rbac.md says what the chart grants to people, and which of it each command needs."""

from __future__ import annotations

import re

import pytest

from tests.chart.grants import grants
from tests.chart.support import named, rendered
from tests.pages import text_of

PAGE = text_of("rbac.md")
ABOVE = {
    "surefoot-view": ("surefoot-view",),
    "surefoot-edit": ("surefoot-view", "surefoot-edit"),
    "surefoot-admin": ("surefoot-view", "surefoot-edit", "surefoot-admin"),
    "surefoot-approver": ("surefoot-approver",),
}
"""Role -> the roles that whoever has it has by aggregation."""
Verbs = set[tuple[str, str]]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading; an empty first cell repeats the one above."""
    chapter = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found: list[list[str]] = []
    for line in re.findall(r"^\| .*\|$", chapter, re.MULTILINE)[1:]:
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        found.append([cells[0] or found[-1][0], *cells[1:]])
    return found


def verbs_of(text: str) -> Verbs:
    """ "get, list of a, b; patch of c" as pairs."""
    pairs: Verbs = set()
    for part in text.split(";"):
        verbs, _, resources = part.strip().partition(" of ")
        pairs |= {
            (verb.strip(), resource.strip()) for verb in verbs.split(",") for resource in resources.split(",")
        }
    return pairs


def granted(role: str) -> Verbs:
    rules = named(rendered(), "ClusterRole", role)["rules"]
    return {(one.verb, one.resource) for one in grants(rules)}


def test_the_roles_of_people_are_what_the_page_says() -> None:
    said: dict[str, Verbs] = {}
    for role, _, verbs, _ in rows("Roles of people"):
        said[role.strip("`")] = said.get(role.strip("`"), set()) | verbs_of(verbs)
    assert said.keys() == ABOVE.keys()
    for role, verbs in said.items():
        assert verbs == granted(role), role


@pytest.mark.parametrize("role", ABOVE)
def test_a_command_needs_nothing_that_its_role_does_not_have(role: str) -> None:
    mine = [verbs for _, verbs, needs in rows("What each command needs") if role == needs]
    have = set().union(*(granted(one) for one in ABOVE[role]))
    assert mine
    for verbs in mine:
        assert verbs_of(verbs) <= have, (role, verbs)


def test_no_smaller_role_would_do() -> None:
    order = ("surefoot-view", "surefoot-approver", "surefoot-edit", "surefoot-admin")
    for command, verbs, needs in rows("What each command needs"):
        for smaller in order[: order.index(needs)] if needs in order else ():
            have = set().union(*(granted(one) for one in ABOVE[smaller]))
            assert not verbs_of(verbs) <= have, (command, smaller)


def test_aggregation_is_as_the_page_says() -> None:
    for role, _, _, _ in rows("Roles of people"):
        name = role.strip("`")
        labels = named(rendered(), "ClusterRole", name)["metadata"]["labels"]
        reached = {key.rpartition("-to-")[2] for key in labels if "aggregate-to" in key}
        wanted = {"surefoot-view": {"view", "edit", "admin"}, "surefoot-edit": {"edit", "admin"}}
        assert reached == wanted.get(name, {"admin"} if name == "surefoot-admin" else set())
