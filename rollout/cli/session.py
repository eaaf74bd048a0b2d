"""The one place where the command line meets a cluster and a clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rollout.api.meta import duration
from rollout.api.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS, Resource
from rollout.api.rollout import HASH_LABEL
from rollout.cli.exits import USAGE, Failure, code_of, text_of
from rollout.cli.options import Target
from rollout.errors import NotFound, Unauthorized, Unavailable
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import Connection, load
from rollout.runtime.sync import SyncKube

Object = dict[str, Any]
PAGE = 500


class Session:
    """A connection for one command. `namespace` is the one it is about."""

    def __init__(self, target: Target, manager: str = "rollout-cli") -> None:
        self.connection: Connection = load(
            kubeconfig=target.kubeconfig,
            context=target.context,
            as_user=target.as_user,
            as_groups=target.as_groups,
        )
        self.namespace = target.namespace or self.connection.namespace
        self.clock = SystemClock()
        self._deadline = seconds(target.request_timeout, "--request-timeout")
        self._manager = manager
        self.kube = self.client()

    def client(self) -> SyncKube:
        """A further client, for another thread."""
        return SyncKube(self.connection, deadline=self._deadline, field_manager=self._manager)

    def rollout(self, name: str) -> Object:
        """The Rollout as it is now; NotFound with what to do about it."""
        try:
            return self.kube.get(ROLLOUTS, self.namespace, name)
        except NotFound as error:
            if "could not find the requested resource" in error.message:
                raise
            raise NotFound(
                f'Rollout "{name}" not found in namespace "{self.namespace}"\n'
                f"Those that are there: rollout list -n {self.namespace}"
            ) from error

    def all(self, resource: Resource, namespace: str | None, *, labels: str = "") -> list[Object]:
        """All objects, page by page."""
        page = self.kube.list(resource, namespace, labels=labels, limit=PAGE)
        found = list(page.items)
        while page.continue_token:
            page = self.kube.list(
                resource, namespace, labels=labels, limit=PAGE, continue_token=page.continue_token
            )
            found += page.items
        return found


FAMILY: tuple[Resource, ...] = (REPLICA_SETS, PODS, ANALYSIS_RUNS)
"""What stands below a Rollout in the tree. All of it carries the pod-template hash label."""
FAMILY_LABELS = HASH_LABEL


@contextlib.contextmanager
def session(target: Target, manager: str = "rollout-cli") -> Iterator[Session]:
    """A session whose connection is closed at the end."""
    opened = Session(target, manager)
    try:
        yield opened
    except (Unavailable, Unauthorized) as error:
        where = f"{opened.connection.server} ({opened.connection.source})"
        raise Failure(code_of(error), text_of(error, where)) from error
    finally:
        opened.kube.close()


def seconds(text: str, option: str) -> float:
    """The seconds of a duration option; plain numbers are seconds, as kubectl has it. Usage error otherwise."""
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else duration(text)
    except ValueError as error:
        raise Failure(USAGE, f"{option}: {error}") from error
    if value <= 0:
        raise Failure(USAGE, f"{option} must be more than 0, not {text}")
    return value
