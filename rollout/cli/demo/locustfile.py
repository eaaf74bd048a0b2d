"""The load of the demo. Run by locust in a process of its own; never imported by us.

Each simulated user sends requests at a constant rate to one of $DEMO_HOSTS (JSON: host to share of the users) through the
gateway. Every half second the totals
are written to $DEMO_STATS (atomically): per host and version the requests, the errors the application answered, and
latencies in whole milliseconds; and what was dropped, that is, not answered by the application at all.
"""

# Locust's own process: it has its own clock, and gevent instead of asyncio.
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_throughput, events, task

STATS = Path(os.environ["DEMO_STATS"])
RATE = float(os.environ.get("DEMO_RATE", "4"))

totals: dict[str, Counter[str]] = defaultdict(Counter)
latencies: dict[str, Counter[int]] = defaultdict(Counter)
dropped: Counter[str] = Counter()
unlucky: dict[str, set[str]] = defaultdict(set)
users = 0


class Visitor(FastHttpUser):
    """One user of one host."""

    abstract = True
    wait_time = constant_throughput(RATE)
    visited = ""

    def on_start(self) -> None:
        global users  # noqa: PLW0603 - one counter for the process
        users += 1
        self.identity = f"user-{users}"

    @task
    def visit(self) -> None:
        with self.client.get(
            "/api/products",
            headers={"Host": self.visited},
            name=self.visited,
            context={"user": self.identity},
            catch_response=True,
        ) as answer:
            note(self.visited, self.identity, answer)
            answer.success()


for index, (visited, weight) in enumerate(json.loads(os.environ["DEMO_HOSTS"]).items()):
    globals()[f"Visitor{index}"] = type(f"Visitor{index}", (Visitor,), {"visited": visited, "weight": weight})


def note(host: str, user: str, answer: Any) -> None:
    version = (answer.headers or {}).get("x-version", "") if answer.status_code else ""
    if not version:
        reason = f"HTTP {answer.status_code}" if answer.status_code else str(answer.error or "no answer")
        dropped[f"{host} {reason}"] += 1
        unlucky[host].add(user)
        return
    key = f"{host} {version}"
    totals[key]["requests"] += 1
    if answer.status_code >= 500:
        totals[key]["errors"] += 1
        unlucky[host].add(user)
    latencies[key][round(answer.request_meta["response_time"])] += 1


def write() -> None:
    stats = {
        "users": users,
        "versions": {
            key: {**count, "milliseconds": {str(ms): n for ms, n in latencies[key].items()}}
            for key, count in totals.items()
        },
        "dropped": dict(dropped),
        "unlucky": {host: len(names) for host, names in unlucky.items()},
    }
    fresh = STATS.with_suffix(".new")
    fresh.write_text(json.dumps(stats))
    fresh.replace(STATS)


def write_forever() -> None:
    while True:
        gevent.sleep(0.5)
        write()


@events.init.add_listener
def _start(**_: Any) -> None:
    gevent.spawn(write_forever)


@events.quitting.add_listener
def _end(**_: Any) -> None:
    write()
