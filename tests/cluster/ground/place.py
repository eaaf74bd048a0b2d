"""Where the things of one cluster are: its folder, its name, its addresses."""

from __future__ import annotations

import os
import tempfile
import zlib
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

API_PORT = 6443
NODE_NAME = "node-1"
MARKER = "cluster.json"
"""The file that makes a folder a cluster's: how it stands. Only a folder with it is ever deleted."""


def default_folder() -> Path:
    return Path(tempfile.gettempdir()) / "surefoot-cluster"


def name_of(folder: Path) -> str:
    """The name of the cluster in that folder; all it makes outside of the folder carries it. At most 12 characters."""
    return f"sf{zlib.crc32(os.fsencode(folder)):08x}"


def cgroup_of(folder: Path) -> str:
    return f"surefoot-{name_of(folder)}"


@dataclass(frozen=True)
class Place:
    """One cluster's folder and its network, of which it uses a /24 for the node and a quarter for pods and Services.

    It writes nowhere else, but for cgroups and network interfaces with its name.
    """

    folder: Path
    network: IPv4Network

    @property
    def name(self) -> str:
        return name_of(self.folder)

    @property
    def host_address(self) -> str:
        """The machine's end of the cable to the node."""
        return str(self.network[1])

    @property
    def node_address(self) -> str:
        return str(self.network[2])

    @property
    def pods(self) -> IPv4Network:
        return list(self.network.subnets(new_prefix=18))[1]

    @property
    def services(self) -> IPv4Network:
        return list(self.network.subnets(new_prefix=18))[2]

    @property
    def dns_address(self) -> str:
        return str(self.services[10])

    @property
    def cable(self) -> tuple[str, str]:
        """The two ends of the veth pair: the machine's, and the node's before it is renamed inside."""
        return f"{self.name}h", f"{self.name}n"

    @property
    def cgroup(self) -> str:
        return cgroup_of(self.folder)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.log"
