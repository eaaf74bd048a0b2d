"""`python -m tests.simulation --seeds 1000:2000 [--jobs 2]`: any number of random releases.

Each failure prints its seed, the commit, the scenario and what was wrong; the smallest failing scenario is printed
as JSON, ready for tests/simulation/regressions.
"""

# ruff: noqa: T201 - a command line
from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from rollout.api import codec
from tests.simulation.run import simulate
from tests.simulation.scenario import draw
from tests.simulation.shrink import shrink


def one(seed: int) -> tuple[int, list[str]]:
    return seed, simulate(draw(seed))


def report(seed: int, *, small: bool = True) -> str:
    """The story of a failing seed, in words."""
    scenario = draw(seed)
    if small:
        scenario = shrink(scenario, lambda less: bool(simulate(less)))
    wrong = simulate(scenario)
    lines = [f"seed {seed}, commit {commit()}", codec.encode(scenario).decode(), *wrong[:4]]
    return "\n".join(lines)


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:200", help="FIRST:END, END not included")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--show", type=int, default=3, help="failures to print in full")
    asked = parser.parse_args()
    first, end = map(int, asked.seeds.split(":"))
    started, failed = time.process_time(), []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for seed, wrong in pool.map(one, range(first, end), chunksize=5):
            if wrong:
                failed.append(seed)
                print(f"seed {seed}: {wrong[0].splitlines()[0][:220]}", flush=True)
    for seed in failed[: asked.show]:
        print("\n" + report(seed, small=not asked.no_shrink), flush=True)
    print(
        f"{end - first} runs, {len(failed)} failed: {failed}", f"{time.process_time() - started:.1f} s here"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
