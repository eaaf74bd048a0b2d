"""`python -m bench`: measure, print, and keep the chapter in bench/RESULTS.md.

    python -m bench                     # all, and RESULTS.md
    python -m bench --only plan         # some of it, printed only (repeat --only for more)
    python -m bench -o json             # for machines

Exit code 1 when a measurement failed; a missed goal is told in the table and is no failure: the machine may be
busy, and timings are no tests.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import msgspec

from bench import results
from bench.figures import Figure, Section, progress
from bench.machine import Machine, machine
from bench.results import RESULTS
from rollout.runtime import logs

TITLE = "# Measured"
SUBJECTS = {
    "sandbox": "`rollout sandbox up` until it is ready, and until a first Rollout is Healthy in it",
    "apiserver": "The sandbox's API server over HTTPS",
    "runtime": "Clients and informer of the runtime, against a trivial server",
    "plan": "One decision: 10-step canary, Istio subsets, 3 ReplicaSets",
    "fleet": "Many canaries at once: 3 instant pods each, Istio subsets, steps 20, pause 2 s, 50",
    "commands": "Start-up of the command line",
}
"""Module of this package -> what it measures. Each has `measure() -> list[Figure]`."""
WORDS = (
    "Figures are medians where there were several runs. Load of other work on the machine makes everything",
    "slower: a load average near or above the number of cores before a section means that its figures are noisy",
    "and too high. CPU times suffer less than wall times. Goals are from issue 3 and hold for an idle machine.",
)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one run of the benchmarks; what `-o json` prints."""

    schema_version: int = msgspec.field(default=1, name="schemaVersion")
    machine: Machine
    sections: tuple[Section, ...]
    failed: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    where = machine()
    sections, failed = results.measured(options.only or SUBJECTS, SUBJECTS, _measure)
    found = Results(machine=where, sections=tuple(sections), failed=tuple(failed))
    sys.stdout.write(_json(found) if options.output == "json" else markdown(found))
    if failed:
        progress(f"RESULTS.md is left as it was: {', '.join(failed)} failed")
    elif not options.only:
        progress(f"written: {results.keep(TITLE, markdown(found), RESULTS)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and write RESULTS.md.")
    parser.add_argument(
        "--only", action="append", choices=SUBJECTS, help="measure this only (repeat); prints, writes nothing"
    )
    parser.add_argument("-o", "--output", choices=("markdown", "json"), default="markdown")
    return parser


def _measure(name: str) -> Sequence[Figure]:
    found: Sequence[Figure] = importlib.import_module(f"bench.{name}").measure()
    return found


def _json(found: Results) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def markdown(found: Results) -> str:
    """The chapter that is kept in RESULTS.md."""
    return results.chapter(TITLE, "make bench", found.machine, WORDS, found.sections)


if __name__ == "__main__":
    logs.configure(level="warning")
    sys.exit(main())
