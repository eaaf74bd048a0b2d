"""The reaper, which every controller runs, and `python -m chaos.reap` for when none is alive. It deletes what faults left behind.

A mesh fault, a BackendTrafficPolicy and a NetworkPolicy of ours carry their expiry. The sandbox's mesh honours it by
itself; Istio, Envoy Gateway and a network plugin do not, so on a cluster this runs beside the controller, in a process
and a pod of its own (examples/chaos-reaper-cronjob.yaml). It is harmless while the controller lives: that one renews
what shall stay.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from itertools import product

from chaos.actions import Delete
from chaos.plan.reaper import litter
from rollout.api.chaos import RUN_LABEL, ChaosRun, ChaosRunStatus
from rollout.api.codec import view
from rollout.api.meta import duration, metadata
from rollout.api.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CHAOS_RUNS,
    ENVOY_FILTERS,
    NETWORK_POLICIES,
    Resource,
)
from rollout.errors import ApiError, ConfigError, Conflict, Forbidden, InvalidSpec, NotFound, SurefootError
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import Clock, SystemClock
from rollout.runtime.config import Connection, in_cluster_possible, load
from rollout.runtime.kube import Kube, Object

MADE = (ENVOY_FILTERS, BACKEND_TRAFFIC_POLICIES, NETWORK_POLICIES)
"""The kinds of object that faults make beside their victims."""


async def reap(kube: Kube, clock: Clock) -> list[tuple[Delete, str]]:
    """One look at the server: delete what is expired or nobody's, and say what and why.

    What cannot be listed or deleted keeps nothing else from it: the first ApiError is raised when all was tried.
    """
    objects, refused = await left(kube)
    found = await clear(kube, clock, objects)
    if refused is not None:
        raise refused
    return found


async def left(
    kube: Kube, namespaces: Sequence[str] = ()
) -> tuple[list[tuple[Resource, Object]], Forbidden | None]:
    """What faults have made and not taken away yet, whether it should be there or not: in `namespaces`, or in all.

    And why some of it could not be looked at, if it may not be: who may not read a kind has made nothing of it.
    """
    objects: list[tuple[Resource, Object]] = []
    refused = None
    for resource, namespace in product(MADE, namespaces or (None,)):
        try:
            page = await kube.list(resource, namespace, labels=RUN_LABEL)
        except NotFound:
            continue  # no Istio, or no Envoy Gateway here
        except Forbidden as error:
            refused = refused or error
            continue
        objects += [(resource, one) for one in page.items]
    return objects, refused


async def clear(
    kube: Kube, clock: Clock, objects: Sequence[tuple[Resource, Object]], namespaces: Sequence[str] = ()
) -> list[tuple[Delete, str]]:
    """Of what is left, delete what is expired or nobody's, and say what and why.

    Who sees the runs of some `namespaces` only cannot say that a run is gone: there the expiry alone counts.
    """
    if not objects:
        return []
    pages = [await kube.list(CHAOS_RUNS, namespace) for namespace in namespaces or (None,)]
    runs = {str(metadata(one).get("uid")): _status(one) for page in pages for one in page.items}
    found, failed = litter(objects, runs, clock.now(), all_runs=not namespaces), []
    for delete, _ in found:
        try:
            await kube.delete(delete.resource, delete.namespace, delete.name, uid=delete.uid)
        except (NotFound, Conflict):
            continue  # gone, or another one has its name
        except ApiError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return found


def _status(run: Object) -> ChaosRunStatus:
    """A run that cannot be read counts as one that knows nothing of the object: only its lease keeps that alive."""
    try:
        return view(run, ChaosRun).status
    except InvalidSpec:
        return ChaosRunStatus()


async def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.reap", description=__doc__)
    parser.add_argument("--every", default="10s", help="pause between two looks")
    parser.add_argument("--for", dest="lasts", default="0s", help="how long to go on looking; 0s = once")
    parser.add_argument("--context", default="", help="of the kubeconfig; not needed in a cluster")
    given = parser.parse_args(argv)
    clock, failed = SystemClock(), False
    try:
        every, lasts = duration(given.every), duration(given.lasts)
        kube = HttpKube(_connection(given.context), clock=clock)
    except (ValueError, ConfigError) as error:
        sys.stderr.write(f"reap: {error}\n")
        return 2
    end = clock.monotonic() + lasts
    try:
        while True:
            try:
                for delete, why in await reap(kube, clock):
                    sys.stdout.write(
                        f"deleted {delete.resource.kind} {delete.namespace}/{delete.name}: {why}\n"
                    )
            except SurefootError as error:
                failed = True
                sys.stderr.write(f"reap: {error}\n")
            if clock.monotonic() + every > end:
                return 1 if failed else 0
            await clock.sleep(every)
    finally:
        await kube.close()


def _connection(context: str) -> Connection:
    if not context and not in_cluster_possible():
        raise ConfigError("outside a cluster say which one is meant: --context NAME")
    return load(context=context)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
