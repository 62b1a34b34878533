"""Benchmarks and the demo: clients of the product, not parts of it. `python -m benchmarks` runs them all."""
