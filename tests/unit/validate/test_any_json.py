"""Whatever JSON comes: `validate` answers, and what it accepts can be decoded."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.codec import view
from rollout.api.fields import Field, fields_of
from rollout.api.rollout import RolloutSpec
from rollout.core.references import references
from rollout.core.validate import validate
from tests.unit.validate.examples import blue_green, by_route, canary

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["30s", "-1h", "25%", "0%", "", "a/b", "Stable", "(", "In", 0, -1, 100, 101])
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def shaped(field: Field, depth: int = 0) -> st.SearchStrategy[Any]:
    """Mostly values of the field's shape, sometimes anything at all."""
    return st.one_of(_of(field, depth), _of(field, depth), SCALARS)


def _of(field: Field, depth: int) -> st.SearchStrategy[Any]:
    match field.type:
        case "object":
            members = {name: shaped(member, depth + 1) for name, member in field.fields.items()}
            return st.fixed_dictionaries({}, optional=dict(list(members.items())))
        case "map":
            return st.dictionaries(st.sampled_from(["app", "x"]), st.sampled_from(["a", "b"]), max_size=2)
        case "array" if field.items is not None:
            return st.lists(st.deferred(lambda: shaped(field.items, depth + 1)), max_size=3)
        case "integer":
            return st.integers(-2, 120)
        case "boolean":
            return st.booleans()
        case "string" | "int-or-string":
            return st.sampled_from(["a", "b", "a/b", "30s", "25%", *field.enum])
        case _:
            return st.dictionaries(st.sampled_from(["metadata", "spec", "name"]), ANY, max_size=2)


SPEC = shaped(fields_of(RolloutSpec))


@settings(max_examples=2000, deadline=None)
@given(ANY | st.fixed_dictionaries({"spec": SPEC | ANY}, optional={"metadata": ANY}))
def test_validate_never_raises_and_what_it_accepts_can_be_decoded(obj):
    problems = validate(obj)

    assert all(isinstance(p.path, str) and p.message for p in problems)
    if not problems:
        view(obj["spec"], RolloutSpec)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, member in inner for place in _places(member, (*path, key)))]


PLACES = [(make, place) for make in (canary, blue_green, by_route) for place in _places(make()["spec"])[1:]]


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(PLACES), ANY)
def test_one_field_of_a_valid_rollout_changed_is_accepted_or_refused_but_never_breaks(where, value):
    make, place = where
    rollout = make()
    here = rollout["spec"]
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = value

    if not validate(rollout):
        from rollout.api.rollout import Rollout

        references(view(rollout, Rollout))
