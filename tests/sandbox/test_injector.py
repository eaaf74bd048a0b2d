"""The injector's guardian for real, in a network namespace: whatever happens to it, the qdisc goes away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.injector_support import Namespace, deadline, eventually

pytestmark = pytest.mark.sandbox

SERVER = """
import http.server, sys
class Lease(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status}); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Lease)
print(server.server_port, flush=True)
server.serve_forever()
"""
SEND = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range({count}):
    sender.sendto(b"x", ("{address}", 9))
"""


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a network namespace here")
    if missing := [name for name in ("unshare", "nsenter", "ip", "tc") if not shutil.which(name)]:
        pytest.skip(f"{', '.join(missing)} (util-linux, iproute2) not installed")
    made = Namespace(tmp_path / "termination-log")
    try:
        if not made.usable:
            pytest.skip("this container may make no network namespace")
        yield made
    finally:
        made.close()


def lease_server(netns: Namespace, status: int = 200) -> tuple[subprocess.Popen[str], str]:
    server = netns.python(SERVER.format(status=status))
    assert server.stdout is not None
    return server, f"http://127.0.0.1:{server.stdout.readline().strip()}/lease"


def test_undoes_at_the_deadline_and_verifies_it(netns: Namespace) -> None:
    injector = netns.impair(seconds=2)
    assert not netns.clean()
    assert injector.ended() == 0
    assert netns.clean()
    said = netns.words()
    assert said["verified"]
    assert "deadline" in said["message"]


def test_undoes_when_the_worker_is_killed_with_9(netns: Namespace) -> None:
    injector = netns.impair()
    injector.process.kill()
    eventually(netns.clean)
    eventually(lambda: bool(netns.words_file.read_text()))
    assert netns.words()["verified"]
    assert "worker is gone" in netns.words()["message"]


def test_undoes_when_the_guardian_is_killed_with_9(netns: Namespace) -> None:
    injector = netns.impair()
    os.kill(injector.guardian(), signal.SIGKILL)
    assert injector.ended() == 0
    assert netns.clean()
    assert "guardian was killed" in netns.words()["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_undoes_on_a_signal(netns: Namespace, number: signal.Signals) -> None:
    injector = netns.impair()
    injector.process.send_signal(number)
    assert injector.ended() == 0
    assert netns.clean()
    assert number.name in netns.words()["message"]


def test_undoes_when_the_guardian_gets_the_signal(netns: Namespace) -> None:
    injector = netns.impair()
    os.kill(injector.guardian(), signal.SIGTERM)
    assert injector.ended() == 0
    assert netns.clean()


def test_undoes_when_the_lease_server_is_gone(netns: Namespace) -> None:
    server, url = lease_server(netns)
    injector = netns.impair(f"--lease-url={url}", "--lease-period=0.2")
    injector.wait_for("statistics")
    server.kill()
    assert injector.ended() == 0
    assert netns.clean()
    assert "lease was lost" in netns.words()["message"]


def test_undoes_when_the_lease_server_stops_answering(netns: Namespace) -> None:
    server, url = lease_server(netns)
    injector = netns.impair(f"--lease-url={url}", "--lease-period=0.2")
    injector.wait_for("statistics")
    server.send_signal(signal.SIGSTOP)
    assert injector.ended() == 0
    assert netns.clean()
    assert "lease was lost" in netns.words()["message"]


def test_undoes_at_once_when_the_lease_is_revoked(netns: Namespace) -> None:
    _, url = lease_server(netns, status=410)
    injector = netns.impair(f"--lease-url={url}", "--lease-period=20")
    assert injector.ended() == 0
    assert netns.clean()
    assert "lease was lost" in netns.words()["message"]


def test_stays_while_the_lease_is_answered(netns: Namespace) -> None:
    _, url = lease_server(netns)
    injector = netns.impair(f"--lease-url={url}", "--lease-period=1", seconds=5)
    assert injector.ended() == 0
    assert "deadline" in netns.words()["message"]


def test_refuses_an_interface_with_a_qdisc_of_its_own_and_leaves_it(netns: Namespace) -> None:
    netns.run("tc", "qdisc", "add", "dev", "lo", "root", "handle", "7:", "pfifo")
    refused = netns.injector("netem", deadline(60), "--interface=lo", "--qdisc=tbf")
    assert refused.ended() == 3
    assert netns.handles() == {"7:"}
    assert "pfifo 7:" in netns.words()["message"]
    assert not netns.words()["verified"]


def test_revert_leaves_a_qdisc_that_is_not_ours(netns: Namespace) -> None:
    netns.run("tc", "qdisc", "add", "dev", "lo", "root", "handle", "7:", "pfifo")
    assert netns.injector("revert", "--interface=lo").ended() == 0
    assert netns.handles() == {"7:"}


def test_refuses_when_the_deadline_has_passed(netns: Namespace) -> None:
    late = netns.injector("netem", deadline(-1), "--interface=lo", "--qdisc=tbf")
    assert late.ended() == 3
    assert netns.clean()


def test_leaves_nothing_when_the_qdisc_cannot_be_added(netns: Namespace) -> None:
    """The last filter is impossible: the commands before it have succeeded, and are undone."""
    broken = netns.injector(
        "netem",
        deadline(60),
        "--interface=lo",
        "--qdisc=tbf",
        "--host=127.0.0.2",
        "--port=70000",
    )
    assert broken.ended() == 1
    assert netns.clean()
    assert "failed" in netns.words()["message"]


def test_what_both_killed_leave_behind_a_second_container_reverts(netns: Namespace) -> None:
    injector = netns.impair()
    guardian = injector.guardian()
    injector.process.send_signal(signal.SIGSTOP)
    os.kill(guardian, signal.SIGKILL)
    injector.process.kill()
    injector.ended()
    assert not netns.clean()
    assert netns.injector("revert", "--interface=lo").ended() == 0
    assert netns.clean()
    assert netns.words()["verified"]


def test_ends_well_when_another_container_has_reverted(netns: Namespace) -> None:
    injector = netns.impair()
    assert netns.injector("revert", "--interface=lo").ended() == 0
    assert injector.ended() == 0
    assert netns.clean()


def test_counts_the_packets_that_it_impaired(netns: Namespace) -> None:
    injector = netns.impair()
    netns.run(sys.executable, "-c", SEND.format(count=7, address="127.0.0.1"))
    injector.process.terminate()
    assert injector.ended() == 0
    assert netns.words()["packets"] >= 7


def test_impairs_the_chosen_host_but_no_exempt_address(netns: Namespace) -> None:
    injector = netns.impair("--host=127.0.0.2", "--host=127.0.0.3", "--exempt=127.0.0.3")
    for address in ("127.0.0.1", "127.0.0.3"):
        netns.run(sys.executable, "-c", SEND.format(count=50, address=address))
    netns.run(sys.executable, "-c", SEND.format(count=7, address="127.0.0.2"))
    injector.process.terminate()
    assert injector.ended() == 0
    assert 7 <= netns.words()["packets"] < 50


def test_impairs_both_directions_of_a_port_alone(netns: Namespace) -> None:
    injector = netns.impair("--port=9")
    netns.run(sys.executable, "-c", SEND.format(count=7, address="127.0.0.1"))
    netns.run(sys.executable, "-c", SEND.format(count=50, address="127.0.0.1").replace(", 9)", ", 10)"))
    injector.process.terminate()
    assert injector.ended() == 0
    assert 7 <= netns.words()["packets"] < 50


def test_reach_sees_an_open_and_a_blocked_address(netns: Namespace) -> None:
    _, url = lease_server(netns)
    address = url.split("/")[2]
    until = deadline(30)
    assert netns.injector("reach", f"--address={address}", "--expect=open", until).ended() == 0
    assert netns.words()["verified"]
    netns.run("ip", "route", "add", "unreachable", "10.9.9.9")
    assert netns.injector("reach", "--address=10.9.9.9:80", "--expect=blocked", until).ended() == 0


def test_reach_takes_a_refused_connection_for_neither(netns: Namespace) -> None:
    soon = deadline(2)
    assert netns.injector("reach", "--address=127.0.0.1:1", "--expect=blocked", soon).ended() == 1
    assert not netns.words()["verified"]


def test_kill_signals_the_process_that_the_sandbox_names(tmp_path: Path) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        log = tmp_path / "log"
        log.touch()
        argv = [sys.executable, "-m", "chaos.injector", f"--termination-log={log}", "kill", "--signal=TERM"]
        done = subprocess.run(argv, env={**os.environ, "SUREFOOT_TARGET_PID": str(victim.pid)}, check=False)
        assert done.returncode == 0
        assert victim.wait(30) == -signal.SIGTERM
        assert "sent TERM" in log.read_text()
    finally:
        victim.kill()
        victim.wait()


def test_kill_refuses_to_signal_itself() -> None:
    code = (
        "import os, sys; os.environ['SUREFOOT_TARGET_PID'] = str(os.getpid());"
        "from chaos.injector.__main__ import main; sys.exit(main(['kill']))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
