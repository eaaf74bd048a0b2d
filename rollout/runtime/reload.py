"""Reads the configuration file again when it changes, and has what can change live take effect.

A mounted ConfigMap is swapped under the same path, so the content is compared, not a time. A file that cannot be used is
refused: the one before stays in force, and that is said in the log, in a metric and to `tell` (an Event).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import structlog

from rollout.errors import ConfigError
from rollout.runtime import settings
from rollout.runtime.clock import Clock
from rollout.runtime.settings import ControllerConfig

log = structlog.get_logger()

LOOK_SECONDS = 5.0
Result = Literal["applied", "refused", "unchanged"]
RESULTS: tuple[Result, ...] = get_args(Result)
Tell = Callable[[Literal["Normal", "Warning"], str, str], None]
"""Type, reason and message of an Event."""


class Reloader:
    """Watches one file. `apply` is called with each configuration that comes into force."""

    def __init__(
        self,
        path: str,
        given: Mapping[str, Any],
        config: ControllerConfig,
        clock: Clock,
        *,
        apply: Callable[[ControllerConfig], None],
        tell: Tell,
    ) -> None:
        self.config = config
        """What is in force."""
        self.counts: Counter[Result] = Counter()
        self.refused = ""
        """Why the file as it is now was refused; "" when it was not."""
        self.pending: tuple[str, ...] = ()
        """Fields of the file that take effect only with a restart."""
        self._path = path
        self._given = given
        self._clock = clock
        self._apply = apply
        self._tell = tell
        self._seen: bytes | str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once; what is the same as the last time is not looked at twice."""
        found: bytes | str
        try:
            found = settings.read(self._path)
        except ConfigError as error:
            found = str(error)
        if found == self._seen:
            return
        self._seen = found
        if isinstance(found, str):
            self._refuse(found)
            return
        try:
            new = settings.parse(found, self._given, self._path)
        except ConfigError as error:
            self._refuse(str(error))
        else:
            self._take(new)

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.counts["refused"] += 1
        log.error("the new configuration is refused; the old one stays in force", error=why)
        self._tell("Warning", "ConfigRefused", f"{why}. The configuration before it stays in force")

    def _take(self, new: ControllerConfig) -> None:
        after, pending = settings.live(self.config, new)
        changed = settings.changed(self.config, after)
        self.refused = ""
        news = pending != self.pending
        self.pending = pending
        if changed:
            self.config = after
            self._apply(after)
            log.info("the configuration has changed", fields=changed)
            self._tell("Normal", "ConfigApplied", f"in force now: {', '.join(changed)}")
        if pending and news:
            log.warning("a part of the configuration takes effect only with a restart", fields=pending)
            message = f"only a restart brings these into force: {', '.join(pending)}"
            self._tell("Warning", "ConfigNeedsRestart", message)
        self.counts["applied" if changed else "unchanged"] += 1
