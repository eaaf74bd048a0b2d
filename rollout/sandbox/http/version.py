"""The Kubernetes version that the sandbox speaks."""

from __future__ import annotations

from typing import Any

MAJOR, MINOR = 1, 32
GIT_VERSION = f"v{MAJOR}.{MINOR}.0+surefoot"


def version_info() -> dict[str, Any]:
    """/version. Clients pick features by it; the suffix tells a reader who really answers."""
    return {
        "major": str(MAJOR),
        "minor": str(MINOR),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }
