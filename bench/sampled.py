"""`rollout` under a sampling profiler: `python -m bench.sampled FILE controller run ...`.

Every few milliseconds of CPU time the stack is noted; on the end FILE gets folded stacks, one per line with its
count ("a;b;c 12"), as flame graph tools read them. Costs a few per cent, and unlike cProfile it does not make
small functions look expensive. `python -m bench.sampled --show FILE` prints where the time went.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

INTERVAL_SECONDS = 0.002
DEPTH = 60
LINES = 45


class Sampler:
    """Counts stacks of the main thread while it uses CPU."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._names: dict[CodeType, str] = {}

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH:
            name = self._names.get(frame.f_code)
            if name is None:
                # Made once for each function, for the stacks keep it: what is measured includes memory.
                name = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
                self._names[frame.f_code] = name
            stack.append(name)
            frame = frame.f_back
        self.stacks[tuple(reversed(stack))] += 1

    def write(self, file: Path) -> None:
        lines = (f"{';'.join(stack)} {count}\n" for stack, count in self.stacks.most_common())
        file.write_text("".join(lines))


def show(file: Path) -> None:
    """Per function: share of samples in it with what it calls, and in itself alone."""
    within: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    total = 0
    for line in file.read_text().splitlines():
        folded, _, text = line.rpartition(" ")
        stack, count = folded.split(";"), int(text)
        total += count
        within.update(dict.fromkeys(stack, count))
        alone[stack[-1]] += count
    for title, counts in (("with what it calls", within), ("itself", alone)):
        print(f"--- {title} ({total} samples)")
        for name, count in counts.most_common(LINES):
            print(f"{count / total:6.1%}  {name}")


def main(arguments: list[str]) -> int:
    file = Path(arguments[-1] if arguments[0] == "--show" else arguments[0])
    if arguments[0] == "--show":
        show(file)
        return 0
    from rollout.cli.main import run

    sampler = Sampler()
    sampler.start()
    try:
        return run(arguments[1:])
    finally:
        sampler.stop()
        sampler.write(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
