"""Keeps the record of decisions (DecisionRecord): each is written once, before it is carried out.

What was recorded last is read from the server once per Rollout, when it first has something to decide, and then
remembered: records are too big to be cached as other objects are.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import structlog

from rollout import effects
from rollout.api.meta import Key, metadata
from rollout.api.resources import DECISION_RECORDS
from rollout.core.observed import Observed
from rollout.errors import NotFound
from rollout.plan.decisions import Outcome, decision_of
from rollout.plan.inputs import inputs_of
from rollout.plan.ledger import Ledger, appended, entry_of, ledger_of
from rollout.plan.references import router_for
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube
from rollout.traffic.base import Live

log = structlog.get_logger()

UNSERVED_SECONDS = 300.0
"""How long we do not ask again for a kind that the server does not know."""


class Journal:
    """The records of all Rollouts, as far as this process has met them."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._ledgers: dict[Key, tuple[str, Ledger]] = {}
        self._ask_after = 0.0
        self.counts: Counter[str] = Counter()
        """Decisions that were recorded since the start, by kind."""

    async def note(self, seen: Observed, outcome: Outcome) -> None:
        """Record what the pass has come to, unless it is what was recorded last.

        Raises an ApiError when it cannot be recorded: then it must not be carried out either. A server that does
        not know DecisionRecords at all keeps none, which is said.
        """
        ledger = await self._ledger(seen)
        decision = decision_of(outcome, ledger.last) if ledger is not None else None
        if ledger is None or decision is None:
            return
        inputs = inputs_of(seen, _live(seen), refused=outcome.refused, gateless=outcome.gateless)
        entry, spec = entry_of(seen, decision, inputs)
        # Until the server has answered we do not know what it has.
        del self._ledgers[seen.key]
        body, grown = appended(ledger, seen, entry, spec)
        written = metadata(await effects.record(body, self._kube))
        version = str(written.get("resourceVersion") or "")
        self._ledgers[seen.key] = seen.rollout.metadata.uid, msgspec.structs.replace(grown, version=version)
        self.counts[decision.kind] += 1
        log.info(
            "decided",
            decision=decision.kind,
            generation=entry.generation,
            because=decision.because,
            step=decision.after.step,
        )

    def forget(self, key: Key) -> None:
        """The Rollout is gone."""
        self._ledgers.pop(key, None)

    async def _ledger(self, seen: Observed) -> Ledger | None:
        """What was recorded so far; None when the server does not keep records."""
        uid = seen.rollout.metadata.uid
        whose, known = self._ledgers.get(seen.key, ("", None))
        if known is not None and whose == uid:
            return known
        read = await self._read(seen) if self._clock.monotonic() >= self._ask_after else None
        if read is not None:
            self._ledgers[seen.key] = uid, read
        return read

    async def _read(self, seen: Observed) -> Ledger | None:
        meta = seen.rollout.metadata
        try:
            raw = await self._kube.get(DECISION_RECORDS, meta.namespace, meta.name)
        except NotFound as error:
            if "could not find the requested resource" not in error.message:
                return Ledger()
            self._ask_after = self._clock.monotonic() + UNSERVED_SECONDS
            log.warning(
                "decisions are not recorded: the server does not know DecisionRecords; "
                "install our CustomResourceDefinitions (rollout crds | kubectl apply --server-side -f -)"
            )
            return None
        return ledger_of(raw, meta.uid)


def _live(seen: Observed) -> Live | None:
    """What the router says, when there is one and it can be understood."""
    router = router_for(seen.rollout)
    return None if router is None or router.problems(seen) else router.live(seen)
