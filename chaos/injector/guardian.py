"""Impair, and be sure to undo it: the worker that adds the qdisc, and the guardian that was armed before it.

The guardian is a second process. It removes the qdisc at the absolute deadline, when the worker is gone (its end of a
pipe closes, also by kill -9), when the lease was not renewed for three periods, and on a signal. The worker removes it
when the guardian is gone. Should both be killed at once, what is left is the deadline of whoever watches from outside.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import NoReturn

from chaos.injector import tc, words

MISSED_PERIODS = 3
ATTEMPTS = 20
PAUSE = 0.25
"""Seconds between two looks while undoing. While nothing happens, the statistics are told every four of them."""
COMMAND_SECONDS = 10.0


@dataclass(frozen=True)
class Order:
    """What to do, until when (seconds of the Unix epoch), and whom to ask for life."""

    what: tc.Impairment
    deadline: float
    lease_url: str = ""
    lease_period: float = 5.0
    place: str = words.PLACE


def run(order: Order) -> int:
    """Impair until the deadline or an earlier reason. Returns the exit code; everything is undone before."""
    if time.time() >= order.deadline:
        return words.finish(words.REFUSED, "late", "the deadline has passed already", place=order.place)
    if found := tc.foreign(_show(order.what.interface)):
        message = f"{order.what.interface} has a root qdisc of its own ({found}), which would be lost"
        return words.finish(words.REFUSED, "refused", message, place=order.place)
    armed, ready = os.pipe()
    tether, leash = os.pipe()
    guardian = os.fork()
    if guardian == 0:
        os.close(armed)
        os.close(leash)
        _guard(order, tether, ready)
    os.close(ready)
    os.close(tether)
    if os.read(armed, 1) != b"!":
        return _alone(order, guardian, "the guardian did not start")
    os.close(armed)
    return _work(order, guardian, leash)


def revert(interface: str, place: str = words.PLACE) -> int:
    """Only undo: what another container of the pod has left."""
    return _undo(Order(tc.Impairment(interface=interface), 0, place=place), "asked to")


def _work(order: Order, guardian: int, leash: int) -> int:
    """Add the qdisc, tell its statistics, hand the first reason to end to the guardian, and end as it does."""
    reasons: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: reasons.append(f"signal {signal.Signals(received).name}"))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if problem := _add(order):
        reasons.append(f"failed: {problem}")
    told = False
    while True:
        pid, status = os.waitpid(guardian, os.WNOHANG)
        if pid:
            return _ended(order, os.waitstatus_to_exitcode(status))
        if not reasons and (reason := _look(order.what.interface)):
            reasons.append(reason)
        if reasons and not told:
            told = True
            with contextlib.suppress(BrokenPipeError):
                os.write(leash, reasons[0].encode())
        time.sleep(PAUSE if told else 4 * PAUSE)


def _add(order: Order) -> str:
    """Impair. A signal meanwhile is remembered and acted upon afterwards, so that nothing is added after the undoing."""
    for argv in tc.adding(order.what):
        if problem := _run(argv):
            return problem
    words.tell(event="impaired", interface=order.what.interface, deadline=order.deadline)
    return ""


def _look(interface: str) -> str:
    """Tell the statistics; a reason to end when there are none."""
    try:
        entries = _show(interface)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"failed: {error}"
    if not tc.present(entries):
        return "somebody removed it"
    seen = tc.statistics(entries)
    words.tell(event="statistics", packets=seen.packets, dropped=seen.dropped)
    return ""


def _ended(order: Order, code: int) -> int:
    """The guardian has ended. What it could not do, or what was added behind its back, is undone here."""
    if code < 0:
        return _undo(order, f"the guardian was killed (signal {-code})")
    return _undo(order, "added after the undoing") if tc.present(_show(order.what.interface)) else code


def _alone(order: Order, guardian: int, reason: str) -> int:
    os.waitpid(guardian, 0)
    return words.finish(words.FAILED, "failed", f"{reason}; nothing was impaired", place=order.place)


# --- the guardian -------------------------------------------------------------------------------------


def _guard(order: Order, tether: int, ready: int) -> NoReturn:
    """The guardian's life, from its fork on. It never returns into the worker's code."""
    code = words.FAILED
    try:
        os.setsid()  # a terminal's Ctrl-C and the end of its session are the worker's business
        told, tells = os.pipe()
        os.set_blocking(tells, False)
        signal.set_wakeup_fd(tells)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # heard through the wake-up descriptor
        lease = _Lease(order.lease_url, order.lease_period)
        lease.start()
        os.write(ready, b"!")
        os.close(ready)
        reason = _wait(order, lease, tether, told)
        code = _undo(order, reason)
        if reason.startswith("failed:"):
            code = words.FAILED  # though undone, and verified so
    except BaseException as error:  # noqa: BLE001 — whatever it was: the worker must see that the guardian is gone
        sys.stderr.write(f"guardian: {error!r}\n")
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(order: Order, lease: _Lease, tether: int, told: int) -> str:
    """Until there is a reason to end, and which. Both clocks count, so that one set back cannot prolong the fault."""
    latest = time.monotonic() + (order.deadline - time.time())
    while True:
        left = min(order.deadline - time.time(), latest - time.monotonic())
        if left <= 0:
            return "deadline"
        if lease.lost():
            return "the lease was lost"
        heard, _, _ = select.select([tether, told], [], [], min(left, lease.period / 5))
        if told in heard:
            return "signal"
        if tether in heard:
            return os.read(tether, 4096).decode(errors="replace") or "the worker is gone"


@dataclass
class _Lease:
    """Asks the lease's server once a period, in a thread of its own: a server that hangs delays nothing."""

    url: str
    period: float
    held: float = field(default_factory=time.monotonic)
    revoked: bool = False

    def start(self) -> None:
        if self.url:
            threading.Thread(target=self._ask_for_ever, daemon=True).start()

    def lost(self) -> bool:
        missed = time.monotonic() - self.held > MISSED_PERIODS * self.period
        return bool(self.url) and (self.revoked or missed)

    def _ask_for_ever(self) -> None:
        while not self.revoked:
            began = time.monotonic()
            self._ask()
            time.sleep(max(0.0, self.period - (time.monotonic() - began)))

    def _ask(self) -> None:
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.url, timeout=self.period):
                self.held = time.monotonic()
        except urllib.error.HTTPError as answer:
            self.revoked = answer.code == 410
        except (OSError, ValueError) as error:
            sys.stderr.write(f"lease: {error}\n")


# --- tc -----------------------------------------------------------------------------------------------


def _undo(order: Order, reason: str) -> int:
    """Remove what is ours, look twice whether it is gone, and say so. Again for a while when it is not.

    Twice: a `tc` that its killed worker had started may still be adding at the first look.
    """
    interface, problem = order.what.interface, ""
    seen, absent, how = tc.Statistics(), 0, "was not there any more"
    for _ in range(ATTEMPTS):
        try:
            entries = _show(interface)
            absent = 0 if tc.present(entries) else absent + 1
            if absent == 2:
                return words.finish(
                    words.DONE,
                    "reverted",
                    f"verified gone: the qdisc on {interface} {how} ({reason})",
                    place=order.place,
                    packets=seen.packets,
                    dropped=seen.dropped,
                )
            if not absent:
                seen, how = tc.statistics(entries), "was removed"
                problem = _run(tc.removing(interface))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            problem = str(error)
        time.sleep(PAUSE)
    message = f"the qdisc on {interface} could not be removed ({reason}): {problem}"
    return words.finish(words.FAILED, "stuck", message, place=order.place)


def _show(interface: str) -> list[dict[str, object]]:
    done = subprocess.run(
        tc.showing(interface), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise OSError(done.stderr.strip() or f"tc ended with {done.returncode}")
    return tc.parsed(done.stdout)


def _run(argv: tc.Argv) -> str:
    """Run one command; what it complained of, "" when it succeeded."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{argv[0]} ended with {done.returncode}"
