"""Exit codes, and what is said when a command ends badly. Pure; documented in docs/cli.md."""

from __future__ import annotations

from rollout.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    ConfigError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    InvalidSpec,
    NotFound,
    SandboxError,
    SurefootError,
    Throttled,
    Unauthorized,
    Unavailable,
)

OK = 0
UNEXPECTED = 1
USAGE = 2
FAILED = 3
"""A gate failed, the release was aborted or is degraded, or a file did not pass lint."""
TIMEOUT = 4
"""Still progressing when the time was up (or when `status` looked, without --wait)."""
PAUSED = 5
"""Paused, and only a person can let it go on. 0 with --success-on-pause."""
NOT_FOUND = 6
REFUSED = 7
"""Nothing was changed: the request makes no sense now, or somebody else was faster."""
UNREACHABLE = 8
FORBIDDEN = 9
APPROXIMATE = 10
"""`rollout import`: converted, but not word for word; the notes say what differs."""
INTERRUPTED = 130

HELP = (
    "Exit codes: 0 reached the asked state, 1 unexpected error, 2 usage, 3 degraded, aborted or gate failed, "
    "4 time-out or still progressing, 5 paused and waiting for a person, 6 not found, 7 refused or conflict, "
    "8 cluster not reachable, 9 forbidden, 10 imported with differences, 130 interrupted."
)


class Refused(SurefootError):
    """What was asked makes no sense in the present state; the message says why and what to do instead."""


class ReaderGone(SurefootError):
    """Whoever read our standard output has seen enough."""


class Failure(SurefootError):
    """A command ends with `code`; the message is what the user reads."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


_CODES: tuple[tuple[tuple[type[SurefootError], ...], int], ...] = (
    ((Refused, Conflict, AlreadyExists, Invalid, BadRequest, Expired), REFUSED),
    ((NotFound,), NOT_FOUND),
    ((Unauthorized, Forbidden), FORBIDDEN),
    ((Unavailable, Throttled), UNREACHABLE),
    ((ConfigError,), USAGE),
    ((InvalidSpec,), FAILED),
)


def code_of(error: SurefootError) -> int:
    """The exit code for an error that ends a command."""
    if isinstance(error, Failure):
        return error.code
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), UNEXPECTED)


def text_of(error: SurefootError, server: str = "") -> str:
    """One or two lines: what happened, where, and what to do."""
    said = str(error)
    match error:
        case NotFound() if "could not find the requested resource" in said:
            return f"{said}\nAre the CustomResourceDefinitions installed? rollout crds | kubectl apply --server-side -f -"
        case Unauthorized():
            return f"the API server{_at(server)} does not know who you are: {said}\nCheck the token or certificate in your kubeconfig."
        case Forbidden():
            return f"{said}\nAsk for that verb, or name another user with --as or --context."
        case Unavailable():
            lost = "\nThe request may have had an effect: look with `rollout get`." if error.sent else ""
            return f"cannot reach the API server{_at(server)}: {said}{lost}"
        case Conflict():
            return (
                f"{said}\nSomebody else changed it at the same moment; look with `rollout get` and try again."
            )
        case SandboxError() | ApiError() | _:
            return said


def _at(server: str) -> str:
    return f" {server}" if server else ""
