"""Lists: selectors, pages of one snapshot, versions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.resources import CONFIG_MAPS, EVENTS, PODS
from rollout.errors import BadRequest, Expired, Invalid, Timeout
from rollout.sandbox.storage import Storage
from rollout.sandbox.storage.selectors import compile_selector, parse_fields, parse_labels, selector_text


def make(storage: Storage, *names: str, namespace: str = "default") -> None:
    for name in names:
        storage.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}})


def listed(storage: Storage, **query: Any) -> list[str]:
    return [obj["metadata"]["name"] for obj in storage.list(CONFIG_MAPS, "default", **query).items]


def test_objects_come_sorted_by_namespace_and_name(storage: Storage) -> None:
    make(storage, "b", "a", namespace="kube-system")
    make(storage, "d", "c")
    page = storage.list(CONFIG_MAPS)
    assert [obj["metadata"]["name"] for obj in page.items] == ["c", "d", "a", "b"]
    assert page.resource_version == storage.resource_version


def test_pages_show_one_snapshot_whatever_happens_meanwhile(storage: Storage) -> None:
    make(storage, "a", "c", "e", "g")
    first = storage.list(CONFIG_MAPS, "default", limit=2)
    assert [obj["metadata"]["name"] for obj in first.items] == ["a", "c"]
    assert first.remaining == 2
    make(storage, "b", "f")
    storage.delete(CONFIG_MAPS, "default", "e")
    storage.patch(CONFIG_MAPS, "default", "g", {"data": {"new": "1"}})
    second = storage.list(CONFIG_MAPS, "default", limit=2, continue_token=first.continue_token)
    assert [obj["metadata"]["name"] for obj in second.items] == ["e", "g"]
    assert "data" not in second.items[1]
    assert second.continue_token == ""
    assert second.resource_version == first.resource_version
    assert listed(storage) == ["a", "b", "c", "f", "g"]


def test_a_last_page_that_is_full_has_no_token(storage: Storage) -> None:
    make(storage, "a", "b")
    assert storage.list(CONFIG_MAPS, "default", limit=2).continue_token == ""


def test_a_token_older_than_the_history_has_expired(clock: Any) -> None:
    storage = Storage(clock, history=2)
    make(storage, "a", "b", "c")
    token = storage.list(CONFIG_MAPS, limit=1).continue_token
    make(storage, "d", "e")
    assert storage.list(CONFIG_MAPS, continue_token=token).items[0]["metadata"]["name"] == "b"
    make(storage, "f")
    with pytest.raises(
        Expired, match="The provided continue parameter is too old to display a consistent list result"
    ):
        storage.list(CONFIG_MAPS, continue_token=token)


@pytest.mark.parametrize("token", ["nonsense", "e30", "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6WyIiLCIiXX0"])
def test_a_token_that_is_none_is_refused(storage: Storage, token: str) -> None:
    with pytest.raises(BadRequest, match="continue key is not valid"):
        storage.list(CONFIG_MAPS, continue_token=token)


def test_an_exact_version_shows_the_past(storage: Storage) -> None:
    make(storage, "a")
    then = storage.resource_version
    make(storage, "b")
    assert listed(storage, resource_version=then, resource_version_match="Exact") == ["a"]
    assert listed(storage, resource_version=then, limit=10) == ["a"]
    assert listed(storage, resource_version=then) == ["a", "b"]
    assert listed(storage, resource_version=then, resource_version_match="NotOlderThan") == ["a", "b"]


def test_versions_too_old_too_new_and_unreadable_are_refused(clock: Any) -> None:
    storage = Storage(clock, history=1)
    make(storage, "a", "b", "c")
    with pytest.raises(Expired, match="The resourceVersion for the provided list is too old"):
        storage.list(CONFIG_MAPS, resource_version="4", resource_version_match="Exact")
    with pytest.raises(Timeout, match="Too large resource version"):
        storage.list(CONFIG_MAPS, resource_version="1000")
    with pytest.raises(BadRequest, match="resourceVersion"):
        storage.list(CONFIG_MAPS, resource_version="x")
    with pytest.raises(Invalid, match="resourceVersionMatch is forbidden unless resourceVersion is provided"):
        storage.list(CONFIG_MAPS, resource_version_match="Exact")


def test_field_selectors_take_names_and_what_the_kind_allows(storage: Storage) -> None:
    make(storage, "a", "b")
    assert listed(storage, fields="metadata.name=a") == ["a"]
    assert listed(storage, fields="metadata.name!=a,metadata.namespace=default") == ["b"]
    with pytest.raises(BadRequest, match=r"\"data\.x\" is not a known field selector"):
        listed(storage, fields="data.x=1")
    event = {
        "metadata": {"name": "e1"},
        "involvedObject": {"kind": "Pod", "name": "p", "uid": "u"},
        "reason": "Killing",
        "type": "Normal",
    }
    storage.create(EVENTS, "default", event)
    query = "involvedObject.uid=u,involvedObject.kind=Pod,reason=Killing,type=Normal"
    assert len(storage.list(EVENTS, "default", fields=query).items) == 1
    assert not storage.list(EVENTS, "default", fields="reason!=Killing").items


def test_pods_are_found_by_node_and_phase(storage: Storage) -> None:
    storage.create(
        PODS, "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    assert len(storage.list(PODS, fields="spec.nodeName=").items) == 1
    storage.bind("default", "p", "n1")
    assert len(storage.list(PODS, fields="spec.nodeName=n1,status.phase=Pending").items) == 1
    assert not storage.list(PODS, fields="spec.nodeName=n1,status.phase!=Pending").items


LABELS = {"app": "web", "tier": "front", "n": "5", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db,cache)", True),
        ("missing notin (db)", True),
        ("app notin (web)", False),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app>1", False),
        ("empty=", True),
        ("empty in ()", True),
        ("app in (,web)", True),
        ("app=web , tier in (front),!x", True),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    assert all(term.holds(LABELS) for term in parse_labels(selector)) is matches


@pytest.mark.parametrize(
    "selector",
    ["=x", "a=b,", "a in b", "a in (b", "a notin", "a=b c", "a~b", "(a)", "a>x", "a=b=c", "-a=b", "a=_"],
)
def test_label_selectors_that_cannot_be_read(selector: str) -> None:
    with pytest.raises(BadRequest, match=r"unable to parse requirement|expected: "):
        parse_labels(selector)


def test_field_selectors_have_escapes() -> None:
    assert parse_fields(r"a=b\,c\=d\\,e!=f") == (("a", "=", r"b,c=d" + "\\"), ("e", "!=", "f"))
    with pytest.raises(BadRequest, match="can't understand 'nothing'"):
        parse_fields("nothing")


def test_a_label_selector_as_text_is_sorted_by_key() -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]},
            {"key": "aa", "operator": "Exists"},
            {"key": "d", "operator": "NotIn", "values": ["z"]},
            {"key": "e", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "a=1,aa,b=2,c in (x,y),d notin (z),!e"


KEYS = st.sampled_from(["a", "b", "x.io/c"])
VALUES = st.sampled_from(["", "1", "2", "v-w"])


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    operator = draw(st.sampled_from(["=", "!=", "in", "notin", "exists", "!"]))
    count = 1 if operator in {"=", "!="} else 3
    return draw(KEYS), operator, draw(st.lists(VALUES, min_size=1, max_size=count))


def rendered(key: str, operator: str, values: list[str]) -> str:
    match operator:
        case "exists":
            return key
        case "!":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {operator} ({','.join(values)})"
        case _:
            return f"{key}{operator}{values[0]}"


def expected(labels: dict[str, str], key: str, operator: str, values: list[str]) -> bool:
    if operator in {"exists", "!"}:
        return (key in labels) is (operator == "exists")
    inside = key in labels and labels[key] in values
    return inside is (operator in {"=", "in"})


@given(st.lists(terms(), max_size=4), st.dictionaries(KEYS, VALUES))
def test_any_label_selector_means_what_its_terms_mean(
    wanted: list[tuple[str, str, list[str]]], labels: dict[str, str]
) -> None:
    predicate = compile_selector(",".join(rendered(*term) for term in wanted), "", ("", "pods"), builtin=True)
    matches = predicate is None or predicate({"metadata": {"labels": labels}})
    assert matches is all(expected(labels, *term) for term in wanted)


@given(st.text(max_size=40))
def test_no_text_makes_the_parsers_fail_otherwise_than_with_bad_request(text: str) -> None:
    for parse in (parse_labels, parse_fields):
        try:
            parse(text)
        except BadRequest:
            continue
