"""The commands of `rollout`, one file each. They parse, call and print; decisions are elsewhere."""
