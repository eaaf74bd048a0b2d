"""One file per kind of fault: pure functions from victims to receipts and actions, and from what is seen to proof."""
