"""The kinds of fault, by the name of their field. A kind that is not here cannot be asked for."""

from __future__ import annotations

from chaos.faults.base import Kinds
from chaos.faults.pod_delete import PodDeletion

KINDS: Kinds = {
    "podDelete": PodDeletion(),
}
