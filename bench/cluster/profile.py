"""Where the controller's time goes: the samples of `bench.sampled` by part, each counted once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.figures import Figure

LOOP = "asyncio.base_events.BaseEventLoop.run_until_complete"
PARTS = {
    "Events": ("rollout.runtime.events.",),
    "the record of decisions": ("rollout.controller.journal.",),
    "AnalysisRuns: asking Prometheus": ("analysis.measuring.",),
    "AnalysisRuns: planning and status": ("analysis.",),
    "observing and planning": ("rollout.plan.", "rollout.traffic.", "rollout.controller.caches."),
    "writing: routes, sets, runs, status": ("rollout.effects.",),
    "watches: decoding, caches, waking": ("rollout.runtime.informer.", "rollout.runtime.watch."),
    "log lines": ("structlog.",),
    "TLS and sockets, where the loop itself serves them": ("asyncio.sslproto.", "asyncio.selector_events."),
    "queues, barriers and passes beside these": ("rollout.",),
}
"""Part -> how the names of its functions begin. A stack belongs to the first part that any of its functions is of."""
REST = "the event loop"


def parts(folded: str) -> Counter[str]:
    """Samples by part, start-up left out. `folded`: a stack ("a;b;c 12") per line."""
    found: Counter[str] = Counter()
    for line in folded.splitlines():
        names, _, count = line.rpartition(" ")
        stack = names.split(";")
        if LOOP in stack:
            found[part(stack[stack.index(LOOP) + 1 :])] += int(count)
    return found


def part(stack: list[str]) -> str:
    for name, begins in PARTS.items():
        if any(one.startswith(begins) for one in stack):
            return name
    return REST


def figures(file: Path) -> list[Figure]:
    """The share of each part in the controller's CPU."""
    found = parts(file.read_text())
    return [
        Figure(what=f"controller's CPU: {name}", value=100 * count / found.total(), unit="%")
        for name, count in found.most_common()
    ]
