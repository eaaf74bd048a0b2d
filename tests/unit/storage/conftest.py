from datetime import UTC, datetime, timedelta
from random import Random  # noqa: TID251 - a seed of our own
from typing import Any

import pytest

from rollout.sandbox.storage import Storage


class FakeClock:
    """A clock that stands still until it is told; chance with a fixed seed."""

    def __init__(self) -> None:
        self.random = Random(7)
        self.time = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def uid(self) -> str:
        return f"uid-{self.random.getrandbits(64):016x}"

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storage(clock: FakeClock) -> Storage:
    return Storage(clock)


@pytest.fixture
def config_map() -> dict[str, Any]:
    return {"metadata": {"name": "settings"}, "data": {"a": "1"}}
