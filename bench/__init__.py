"""Benchmarks: one command (`python -m bench`), one table, every rate as a ratio to the bare floor of the same run."""
