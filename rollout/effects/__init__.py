"""The only writes of the controllers: `releases` for the step controller, `chaos` for chaos runs."""

from rollout.effects.decisions import record
from rollout.effects.releases import apply, patch_status

__all__ = ["apply", "patch_status", "record"]
