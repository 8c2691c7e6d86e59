"""Exports of adapters to other programs: what can be written (`targets`), writing it in a job, and proving it."""
