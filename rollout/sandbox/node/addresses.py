"""Loopback addresses for pods: a block of 127.0.0.0/8 that is this agent's own.

On Linux every address of 127.0.0.0/8 can be bound. An agent draws a block 127.x.0.0/16 at random and owns
it while it holds a listening socket on 127.x.0.1:10250 (the kubelet's port), so sandboxes and test runs
side by side do not collide. Where only 127.0.0.1 exists (macOS), pods share it and get ports of their own.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping, Sequence
from random import Random  # noqa: TID251 - only the type; the instance is the clock's

import msgspec

from rollout.errors import SandboxError

KUBELET_PORT = 10250
SHARED = "127.0.0.1"
_ATTEMPTS = 64


class Address(msgspec.Struct, frozen=True):
    """A pod's address. `ports` has the container ports that are served on another number."""

    ip: str
    ports: Mapping[int, int] = {}


class Addresses:
    """Gives out addresses. `host_ip` is the node's own."""

    def __init__(self, random: Random, *, shared: bool | None = None, wanted: str = "") -> None:
        """SandboxError when no free block is found. `shared` forces one way; None finds out.

        `wanted` is the `host_ip` of an earlier agent, whose block is taken if it is free.
        """
        self._used: set[str] = set()
        self._next = 1
        self._lock: socket.socket | None = None
        self._block = 0
        self.host_ip = SHARED
        if shared or (shared is None and not _has_loopback_block()):
            return
        earlier = [int(wanted.split(".")[1])] if re.fullmatch(r"127\.[0-9]{1,3}\.0\.1", wanted) else []
        for self._block in (*earlier, *(random.randrange(2, 255) for _ in range(_ATTEMPTS))):
            self._lock = _listen(f"127.{self._block}.0.1", KUBELET_PORT)
            if self._lock is not None:
                self.host_ip = f"127.{self._block}.0.1"
                return
        raise SandboxError(
            f"no free block of loopback addresses in {_ATTEMPTS} attempts: too many sandboxes run on this"
            " machine; stop some with `rollout sandbox down`"
        )

    @property
    def shared(self) -> bool:
        """Whether all pods have 127.0.0.1 and are told apart by port."""
        return self._lock is None

    def allocate(self, ports: Sequence[int], wanted: str = "") -> Address:
        """A free address on which all `ports` can be bound; `wanted` if that is one.

        Ports that need a privilege we lack (below 1024) or whose address is shared are mapped to others.
        """
        if self.shared:
            return Address(SHARED, {port: _free_port(SHARED) for port in ports})
        ip = wanted if self._is_free(wanted) else self._draw(ports)
        self._used.add(ip)
        mapped = {port: _free_port(ip) for port in ports if _trouble(ip, port) == errno.EACCES}
        return Address(ip, mapped)

    def release(self, address: Address) -> None:
        self._used.discard(address.ip)

    def close(self) -> None:
        """Gives the block back."""
        if self._lock is not None:
            self._lock.close()

    def _is_free(self, ip: str) -> bool:
        return ip.startswith(f"127.{self._block}.") and ip not in self._used and ip != self.host_ip

    def _draw(self, ports: Sequence[int]) -> str:
        # Round robin, so that an address is not used again while somebody may still talk to its last pod.
        for _ in range(65_000):
            self._next = self._next + 1 if self._next < 65_000 else 2
            high, low = divmod(self._next, 254)
            ip = f"127.{self._block}.{high}.{low + 1}"
            if self._is_free(ip) and all(_trouble(ip, port) in {0, errno.EACCES} for port in ports):
                return ip
        raise SandboxError("the node has no free pod address left; delete some pods")


def _has_loopback_block() -> bool:
    return _trouble("127.254.254.254", 0) != errno.EADDRNOTAVAIL


def _listen(ip: str, port: int) -> socket.socket | None:
    sock = socket.socket()
    try:
        # Without SO_REUSEADDR two owners are impossible, also right after one of them ended.
        sock.bind((ip, port))
        sock.listen(1)
    except OSError:
        sock.close()
        return None
    return sock


def _trouble(ip: str, port: int) -> int:
    """The errno of binding (ip, port), 0 when it works."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ip, port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def _free_port(ip: str) -> int:
    with socket.socket() as sock:
        sock.bind((ip, 0))
        return int(sock.getsockname()[1])
