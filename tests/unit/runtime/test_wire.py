"""Pure parts of the wire: lines out of chunks, errors out of whatever comes back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.resources import PODS
from rollout.errors import ApiError, Throttled, Unavailable
from rollout.runtime import wire
from rollout.runtime.wire import Lines

REQUEST = wire.get(PODS, "ns", "a")


@given(st.lists(st.binary(max_size=20), max_size=10), st.data())
def test_lines_do_not_depend_on_how_the_stream_was_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(lines)
    whole = stream.split(b"\n")
    cutter, seen, at = Lines(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 15))
        seen += cutter.feed(stream[at : at + size])
        at += size
    assert seen == [line for line in whole[:-1] if line.strip()]
    assert cutter.rest() == whole[-1]


def test_a_line_above_the_limit_is_an_error_and_not_memory() -> None:
    cutter = Lines(limit=10)
    assert cutter.feed(b"0123456789") == []
    with pytest.raises(Unavailable, match="longer than 10 bytes"):
        cutter.feed(b"x")


@given(st.integers(300, 599), st.text(max_size=20), st.binary(max_size=400))
def test_any_failure_becomes_an_error_with_a_message(code: int, retry_after: str, body: bytes) -> None:
    error = wire.failure(REQUEST, code, retry_after, body)
    assert isinstance(error, ApiError)
    assert error.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_json_that_is_no_watch_event_is_unavailable(value: object) -> None:
    with pytest.raises(Unavailable):
        wire.event_of(REQUEST, PODS, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("text", "after"), [("7", 7.0), ("0", 0.0), ("", None), ("-1", None), ("soon", None), ("9" * 30, None)]
)
def test_only_seconds_count_as_retry_after(text: str, after: float | None) -> None:
    error = wire.failure(REQUEST, 429, text, b"{}")
    assert isinstance(error, Throttled)
    assert error.after == after
