"""What can go wrong, told apart by what the caller should do about it.

API errors carry the Kubernetes `Status` object they came from (or would be sent as): the sandbox's
server raises the same classes that the client raises, so both sides share one vocabulary.

| class | what the runner does |
|---|---|
| NotFound, Conflict, AlreadyExists | look again and decide again, at once |
| Expired | drop the cache, list again |
| Throttled | wait `after` seconds |
| Unavailable, Timeout | back off; the write may or may not have happened |
| Forbidden, Unauthorized | retry slowly, say which verb is missing |
| Invalid, BadRequest | our own fault or the user's: say it, do not hammer |
| InvalidSpec | condition InvalidSpec, then wait for a change |
| ProviderError | a measurement of phase Error, never a failed reconcile |
| InvariantBroken | nothing of the plan is carried out; said loudly, decided again slowly |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class SurefootError(Exception):
    """The root of everything we raise on purpose."""


class ApiError(SurefootError):
    """A Kubernetes API answer that is not a success.

    `message` is the server's own sentence; `details` the Status object's details (kind, name,
    causes, retryAfterSeconds), or None.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details) if details is not None else None

    def status(self) -> dict[str, Any]:
        """The `v1` Status object that a server sends for this error."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if not self.reason:
            del body["reason"]
        if self.details is not None:
            body["details"] = self.details
        return body


class Unclassified(ApiError):
    """HTTP 500 without a reason: what kube-apiserver says to some mistakes of its clients."""

    reason = ""


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """A failed precondition: resourceVersion, uid, JSON patch `test`, or an apply conflict."""

    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The resourceVersion or continue token is older than the server's history (HTTP 410)."""

    code, reason = 410, "Expired"


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object was understood and refused (HTTP 422); `details.causes` lists field and rule."""

    code, reason = 422, "Invalid"


class Throttled(ApiError):
    """HTTP 429: too many requests, or an eviction that a disruption budget forbids.

    `after` is the server's Retry-After in seconds, or None.
    """

    code, reason = 429, "TooManyRequests"

    def __init__(
        self, message: str, details: Mapping[str, Any] | None = None, after: float | None = None
    ) -> None:
        super().__init__(message, details)
        self.after = after


class Unavailable(ApiError):
    """A 5xx, or no connection. `sent` says whether the request may have had an effect."""

    code, reason = 503, "ServiceUnavailable"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None, *, sent: bool = True) -> None:
        super().__init__(message, details)
        self.sent = sent


class Internal(Unavailable):
    """A 500: the server itself says that it cannot."""

    code, reason = 500, "InternalError"


class Timeout(Unavailable):
    code, reason = 504, "Timeout"


_CLASSES: tuple[type[ApiError], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Expired,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    Throttled,
    Unavailable,
    Internal,
    Timeout,
)
_BY_REASON = {kind.reason: kind for kind in _CLASSES} | {"Gone": Expired}
_BY_CODE = {kind.code: kind for kind in _CLASSES if kind is not AlreadyExists}


def api_error(code: int, status: Mapping[str, Any]) -> ApiError:
    """The error for an answer with HTTP `code` and (perhaps incomplete) Status body `status`."""
    fallback = Unavailable if code >= 500 else ApiError
    kind = _BY_REASON.get(str(status.get("reason", ""))) or _BY_CODE.get(code) or fallback
    details = status.get("details") or None
    message = str(status.get("message") or f"the server answered with HTTP {code}")
    if kind is Throttled:
        after = (details or {}).get("retryAfterSeconds")
        return Throttled(message, details, after=float(after) if after is not None else None)
    return kind(message, details)


class ConfigError(SurefootError):
    """Our own set-up cannot be used (kubeconfig, credentials). The message says which file and what to do."""


class InvalidSpec(SurefootError):
    """A spec of ours that cannot be acted on. `problems` are full sentences: path, value, rule, fix."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ProviderError(SurefootError):
    """A measurement could not be taken. Becomes a measurement of phase Error, never a pass."""


class NoAnswer(ProviderError):
    """Whom a provider asked was not there or did not answer in time. To a probe that is an answer, too."""


class InvariantBroken(SurefootError):
    """Our own plan would break a safety rule. Nothing of it is carried out."""


class SandboxError(SurefootError):
    """The sandbox cannot start or go on. The message says what to do about it."""
