"""The loops around the plans: observe, plan, apply, save the status."""
