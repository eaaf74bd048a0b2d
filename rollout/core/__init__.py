"""The words that all pure parts share: what was seen, what is wanted, what to do, what must never happen."""
