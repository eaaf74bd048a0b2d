import pytest

from rollout import errors
from rollout.cli.exits import Failure, Refused, code_of, text_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 6),
        (errors.Conflict("x"), 7),
        (errors.Invalid("x"), 7),
        (Refused("x"), 7),
        (errors.Unavailable("x"), 8),
        (errors.Timeout("x"), 8),
        (errors.Throttled("x"), 8),
        (errors.Forbidden("x"), 9),
        (errors.Unauthorized("x"), 9),
        (errors.ConfigError("x"), 2),
        (errors.InvalidSpec("x"), 3),
        (errors.SandboxError("x"), 1),
        (errors.ApiError("x"), 1),
        (Failure(4, "x"), 4),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert code_of(error) == code


def test_errors_say_what_to_do_in_one_or_two_lines():
    shown = {
        text_of(errors.NotFound("the server could not find the requested resource")),
        text_of(errors.Unauthorized("no"), "https://x"),
        text_of(errors.Forbidden("no")),
        text_of(errors.Unavailable("no", sent=True), "https://x"),
        text_of(errors.Conflict("no")),
    }
    assert all(len(text.splitlines()) == 2 for text in shown)


def test_a_request_that_never_left_has_no_effect_to_look_for():
    assert "may have had an effect" not in text_of(errors.Unavailable("refused", sent=False))
    assert "may have had an effect" in text_of(errors.Unavailable("reset", sent=True))
