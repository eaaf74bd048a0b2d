"""The step controller's decisions: from a snapshot of one Rollout to what should be done about it."""
