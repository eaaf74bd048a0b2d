"""Carries out probes and lifecycle hooks: one HTTP request, one connection, or one command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rollout.runtime import dial
from rollout.sandbox.node.launch import Launch
from rollout.sandbox.node.probes import Exec, Handler, HttpGet
from rollout.sandbox.node.process import Processes, StartError, Tail

USER_AGENT = ("User-Agent", "kube-probe/1.32")


class Result(msgspec.Struct, frozen=True):
    """Whether it succeeded, and what the kubelet would say if not."""

    success: bool
    output: str = ""


class Target(msgspec.Struct, frozen=True):
    """The running container that is asked: where its ports are, and what commands in it see.

    `ports` are by container port, `names` the container's named ports.
    """

    ip: str
    ports: Mapping[int, int]
    names: Mapping[str, int]
    launch: Launch
    directory: Path

    def port(self, port: int | str) -> int:
        """The local port of a number or name. ValueError for a name the container does not have."""
        if isinstance(port, str) and not port.isdigit():
            if port not in self.names:
                raise ValueError(f"couldn't find port: {port}")
            port = self.names[port]
        return self.ports.get(int(port), int(port))


def named_ports(container: Mapping[str, Any]) -> dict[str, int]:
    return {
        item["name"]: int(item["containerPort"]) for item in container.get("ports") or () if item.get("name")
    }


async def perform(handler: Handler, target: Target, processes: Processes, seconds: float) -> Result:
    """Does what `handler` says, for at most `seconds`; a command that takes longer is killed."""
    if handler.exec is not None:
        return await _command(handler.exec, target, processes, seconds)
    if handler.http_get is not None:
        return await _http(handler.http_get, target, seconds)
    if handler.tcp_socket is not None:
        return await _tcp(handler.tcp_socket.host or target.ip, handler.tcp_socket.port, target, seconds)
    if handler.sleep is not None:
        await asyncio.sleep(min(handler.sleep.seconds, seconds))
        return Result(success=True)
    return Result(success=False, output="missing handler: one of httpGet, tcpSocket, exec is needed")


async def _http(action: HttpGet, target: Target, seconds: float) -> Result:
    if action.scheme == "HTTPS":
        return Result(success=False, output="scheme HTTPS is not supported by the sandbox; probe with HTTP")
    headers = [(item["name"], item.get("value", "")) for item in action.http_headers]
    if not any(name.lower() == "user-agent" for name, _ in headers):
        headers.append(USER_AGENT)
    path = action.path if action.path.startswith("/") else "/" + action.path
    try:
        port = target.port(action.port)
        code, _ = await dial.http_get(action.host or target.ip, port, path, headers=headers, seconds=seconds)
    except TimeoutError:
        return Result(
            success=False,
            output="Get: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        )
    except (OSError, ValueError) as error:
        return Result(success=False, output=f'Get "http://{target.ip}:{action.port}{path}": {error}')
    if 200 <= code < 400:
        return Result(success=True)
    return Result(success=False, output=f"HTTP probe failed with statuscode: {code}")


async def _tcp(host: str, port: int | str, target: Target, seconds: float) -> Result:
    try:
        await dial.connect(host, target.port(port), seconds)
    except TimeoutError:
        return Result(success=False, output=f"dial tcp {host}:{port}: i/o timeout")
    except (OSError, ValueError) as error:
        return Result(success=False, output=f"dial tcp {host}:{port}: {error}")
    return Result(success=True)


async def _command(action: Exec, target: Target, processes: Processes, seconds: float) -> Result:
    said = Tail()
    try:
        process = await processes.start(
            action.command, env=target.launch.env, cwd=target.directory, output=said
        )
    except StartError as error:
        return Result(success=False, output=str(error))
    try:
        async with asyncio.timeout(seconds):
            code = await process.wait()
    except TimeoutError:
        return Result(success=False, output=f'command "{" ".join(action.command)}" timed out')
    finally:
        # Also when we are cancelled because the container ended: nothing of the command stays behind.
        await asyncio.shield(process.kill())
    return Result(success=code == 0, output=said.text())
