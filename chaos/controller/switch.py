"""The loop of ChaosSwitches: it only tells, in each one's status, what is at work.

What a switch forbids, each controller reads for itself (`chaos.plan.switch`): nothing waits for this loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chaos.plan.switch import switch_status
from rollout.api.chaos import ChaosRun, ChaosSwitch
from rollout.api.codec import merge_diff, plain, view
from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import CHAOS_RUNS, CHAOS_SWITCHES, Resource
from rollout.effects.schedules import patch_status
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Runner

NEEDS = (CHAOS_SWITCHES, CHAOS_RUNS)
"""What `SwitchController` must be given informers of."""


class SwitchController:
    """Keeps the status of ChaosSwitches. `informers` are run by whoever made them."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        informers: Mapping[Resource, Informer],
        *,
        on_reconcile: Callable[[str, float], None] | None = None,
    ) -> None:
        self._kube = kube
        self._switches = informers[CHAOS_SWITCHES]
        self._runs = informers[CHAOS_RUNS]
        self.fresh = Fresh([self._switches.store], clock=clock)
        self.runner: Runner[Key] = Runner(
            "chaos switch",
            self.reconcile,
            clock=clock,
            workers=1,
            keys=self._switches.store.keys,
            ready=self.fresh.ready,
            on_reconcile=on_reconcile,
        )
        self._switches.on_change(lambda old, new: self.runner.add(key_of(new or old or {})))
        self._runs.on_change(self._run_changed)

    async def run(self) -> None:
        """Wait for the caches, then reconcile until `stop` or cancelled."""
        await wait_synced(self._switches, self._runs)
        await self.runner.run()

    def stop(self) -> None:
        self.runner.stop()

    async def reconcile(self, key: Key) -> After | None:
        """One pass over one ChaosSwitch."""
        raw = self._switches.store.get(key)
        if raw is None or metadata(raw).get("deletionTimestamp"):
            self.fresh.forget(key)
            return None
        switch = view(raw, ChaosSwitch)
        status = switch_status(switch, (view(run, ChaosRun) for run in self._runs.store.list()))
        if change := merge_diff(plain(switch.status), plain(status)):
            await patch_status(CHAOS_SWITCHES, raw, change, self.fresh.kube(key, self._kube))
        return None

    def _run_changed(self, old: Object | None, new: Object | None) -> None:
        """Only a change of phase can change the count."""
        if _phase(old) != _phase(new):
            for switch in self._switches.store:
                self.runner.add(key_of(switch))


def _phase(run: Object | None) -> str:
    return str(((run or {}).get("status") or {}).get("phase", ""))
