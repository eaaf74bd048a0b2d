"""The step controller: caches in, plan, effects out."""
