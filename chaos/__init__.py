"""Chaos: faults with receipts, judged by probes. Decisions are pure; see ARCHITECTURE.md."""
